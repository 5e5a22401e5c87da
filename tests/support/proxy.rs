//! A relay between a client and a service that can hold a PUT back on its way there, or its answer on its way
//! back: what a network may do, at the very moment that a test wants.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::eventually;

/// What happens to PUTs and their answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    /// They go through.
    Pass,
    /// A PUT waits before the service, also when its sender is gone.
    HoldPut,
    /// Its answer waits before the client.
    HoldAnswer,
}

/// How many PUTs and answers have come so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Seen {
    puts: usize,
    answers: usize,
    delivered: usize,
}

/// The relay. It serves until its runtime ends.
pub(crate) struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    service: SocketAddr,
    rule: watch::Sender<Rule>,
    seen: Mutex<Seen>,
    /// The connections of now: the token cuts them all, the tracker waits for their end.
    relays: Mutex<(CancellationToken, TaskTracker)>,
}

impl Proxy {
    /// Begins to relay to this service.
    pub(crate) async fn start(service: SocketAddr, rule: Rule) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (rule, seen, relays) = (watch::Sender::new(rule), Mutex::default(), Mutex::default());
        let shared = Arc::new(Shared { service, rule, seen, relays });
        let serving = Arc::clone(&shared);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let shared = Arc::clone(&serving);
                let (cut, tracker) = shared.relays.lock().unwrap().clone();
                tracker.spawn(async move { cut.run_until_cancelled(shared.relay(client)).await });
            }
        });
        Self { address, shared }
    }

    /// Where it listens.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Changes what happens to PUTs and answers, those that are held included.
    pub(crate) fn rule(&self, rule: Rule) {
        self.shared.rule.send_replace(rule);
    }

    /// Cuts all connections; what they hold is lost. They are gone when this returns: a relay that is woken by
    /// the next rule and by the cut at once would still hand on what it holds.
    pub(crate) async fn cut(&self) {
        let (cut, tracker) = std::mem::take(&mut *self.shared.relays.lock().unwrap());
        cut.cancel();
        tracker.close();
        tracker.wait().await;
    }

    /// Waits until a PUT has come from the client.
    pub(crate) async fn has_a_put(&self) {
        eventually("a PUT at the proxy", || (self.shared.seen().puts > 0).then_some(())).await;
    }

    /// Waits until the answer to a PUT has come from the service.
    pub(crate) async fn has_an_answer(&self) {
        eventually("an answer at the proxy", || (self.shared.seen().answers > 0).then_some(())).await;
    }

    /// Waits until the answer to a PUT was given to the client's socket.
    pub(crate) async fn has_delivered(&self) {
        eventually("a delivered answer", || (self.shared.seen().delivered > 0).then_some(())).await;
    }
}

impl Shared {
    fn seen(&self) -> Seen {
        *self.seen.lock().unwrap()
    }

    fn note(&self, change: impl FnOnce(&mut Seen)) {
        change(&mut self.seen.lock().unwrap());
    }

    async fn no_longer(&self, rule: Rule) {
        let _ = self.rule.subscribe().wait_for(|now| *now != rule).await;
    }

    /// Relays one connection until the service ends it.
    async fn relay(&self, client: TcpStream) {
        let Ok(service) = TcpStream::connect(self.service).await else { return };
        let ((from_client, to_client), (from_service, to_service)) =
            (client.into_split(), service.into_split());
        let is_put = Mutex::new(false);
        tokio::join!(
            self.there(from_client, to_service, &is_put),
            self.back(from_service, to_client, &is_put)
        );
    }

    /// Requests have no body here, and each waits for the answer to the one before.
    async fn there(&self, mut client: OwnedReadHalf, mut service: OwnedWriteHalf, is_put: &Mutex<bool>) {
        let mut head = Vec::new();
        while let Ok(1..) = client.read_buf(&mut head).await {
            if !head.ends_with(b"\r\n\r\n") {
                continue;
            }
            if head.starts_with(b"PUT ") {
                *is_put.lock().unwrap() = true;
                self.note(|seen| seen.puts += 1);
                self.no_longer(Rule::HoldPut).await;
            }
            if service.write_all(&head).await.is_err() {
                return;
            }
            head.clear();
        }
        if *is_put.lock().unwrap() {
            // Its sender is gone, but the PUT is on its way: the service sees a connection that stays open.
            std::future::pending::<()>().await;
        }
    }

    async fn back(&self, mut service: OwnedReadHalf, mut client: OwnedWriteHalf, is_put: &Mutex<bool>) {
        let mut answer = vec![0; 8192];
        while let Ok(length @ 1..) = service.read(&mut answer).await {
            let to_put = *is_put.lock().unwrap();
            if to_put {
                self.note(|seen| seen.answers += 1);
                self.no_longer(Rule::HoldAnswer).await;
            }
            if client.write_all(&answer[..length]).await.is_err() {
                return;
            }
            if to_put {
                self.note(|seen| seen.delivered += 1);
            }
        }
    }
}
