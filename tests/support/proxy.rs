//! A relay between a client and a service that can hold a PUT back on its way there, or its answer on its way
//! back: what a network may do, at the very moment that a test wants.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
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

/// A forward proxy that lets through who signs in, by HTTP Basic authentication: tunnels (CONNECT) and plain requests.
pub(crate) struct LoginProxy {
    address: SocketAddr,
    shared: Arc<LoginShared>,
}

#[derive(Default)]
struct LoginShared {
    /// Where each host is; one that is not named is nowhere.
    hosts: BTreeMap<String, SocketAddr>,
    /// The value of the header that it takes.
    takes: Mutex<String>,
    /// The first lines of what it let through, and of what it refused.
    passed: Mutex<Vec<String>>,
    refused: Mutex<Vec<String>>,
}

impl LoginProxy {
    /// It knows these hosts, and this user with this password.
    pub(crate) async fn start(hosts: &[(&str, SocketAddr)], user: &str, password: &str) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let hosts = hosts.iter().map(|(host, at)| ((*host).to_owned(), *at)).collect();
        let shared = Arc::new(LoginShared { hosts, ..LoginShared::default() });
        let serving = Arc::clone(&shared);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let shared = Arc::clone(&serving);
                tokio::spawn(async move { shared.serve(client).await });
            }
        });
        let proxy = Self { address, shared };
        proxy.takes(user, password);
        proxy
    }

    /// From now on it knows this user with this password.
    pub(crate) fn takes(&self, user: &str, password: &str) {
        let takes = format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
        *self.shared.takes.lock().unwrap() = takes;
    }

    /// Where it listens.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The first lines of what it let through.
    pub(crate) fn passed(&self) -> Vec<String> {
        self.shared.passed.lock().unwrap().clone()
    }

    /// The first lines of what it answered with 407.
    pub(crate) fn refused(&self) -> Vec<String> {
        self.shared.refused.lock().unwrap().clone()
    }
}

impl LoginShared {
    /// One request, or one tunnel.
    async fn serve(&self, mut client: TcpStream) -> Option<()> {
        let mut head = Vec::new();
        let end = loop {
            if client.read_buf(&mut head).await.ok()? == 0 {
                return None;
            }
            if let Some(at) = head.windows(4).position(|part| part == b"\r\n\r\n") {
                break at + 4;
            }
        };
        let body = head.split_off(end);
        let head = String::from_utf8(head).unwrap();
        let mut lines = head.trim_end().split("\r\n");
        let first = lines.next()?.to_owned();
        let (of_the_proxy, others): (Vec<&str>, Vec<&str>) =
            lines.partition(|line| line.to_ascii_lowercase().starts_with("proxy-authorization:"));
        let given = of_the_proxy.first().and_then(|line| line.split_once(':')).map(|(_, value)| value.trim());
        if given != Some(self.takes.lock().unwrap().as_str()) {
            self.refused.lock().unwrap().push(first);
            let no = "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=\"test\"\r\n\
                      Content-Length: 0\r\nConnection: close\r\n\r\n";
            return client.write_all(no.as_bytes()).await.ok();
        }
        self.passed.lock().unwrap().push(first.clone());
        let mut words = first.split(' ');
        let (method, target) = (words.next()?, words.next()?);
        let authority = target.trim_start_matches("http://").split('/').next()?;
        let host = authority.split(':').next()?;
        let mut service = TcpStream::connect(self.hosts.get(host)?).await.ok()?;
        if method == "CONNECT" {
            client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await.ok()?;
        } else {
            let path = target.trim_start_matches("http://").trim_start_matches(authority);
            let head =
                format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n{}\r\n\r\n", others.join("\r\n"));
            service.write_all(head.as_bytes()).await.ok()?;
            service.write_all(&body).await.ok()?;
        }
        copy_bidirectional(&mut client, &mut service).await.ok().map(drop)
    }
}
