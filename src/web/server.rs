//! The listener: few connections at once, and none that is idle for long.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::connections::{self, Place, Places, Read};

/// Concurrent connections; further ones wait. Half of them may stay open for live pages.
pub(super) const AT_ONCE: usize = 24;
/// A client that has not sent its request by then is disconnected.
const PATIENCE: Duration = Duration::from_secs(3);

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen at {address}")]
pub struct BindError {
    address: SocketAddr,
    #[source]
    source: io::Error,
}

/// A listening socket.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
}

impl Server {
    /// Listens at this address.
    ///
    /// # Errors
    /// If the system refuses it, most likely because another process listens there.
    pub async fn bind(address: SocketAddr) -> Result<Self, BindError> {
        let fault = |source| BindError { address, source };
        let listener = TcpListener::bind(address).await.map_err(fault)?;
        let address = listener.local_addr().map_err(fault)?;
        Ok(Self { listener, address })
    }

    /// Returns the address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop`. Clients lose only a page that is not complete yet.
    pub async fn run(self, router: Router, stop: CancellationToken) {
        let places = Places::new(AT_ONCE);
        while let Some((place, stream)) =
            connections::next(&self.listener, &places, "the status page", &stop).await
        {
            let (router, stop) = (router.clone(), stop.clone());
            tokio::spawn(async move { stop.run_until_cancelled(serve(stream, place, router)).await });
        }
    }
}

/// One request, one answer: a kept connection would take a place without a request.
async fn serve(stream: TcpStream, place: Place, router: Router) {
    let place = Arc::new(place);
    let asked = Arc::clone(&place);
    let service = service_fn(move |request: Request<Incoming>| {
        asked.asked();
        TowerToHyperService::new(router.clone()).call(request)
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .keep_alive(false)
        .serve_connection(TokioIo::new(Read::new(stream, Arc::clone(&place))), service);
    tokio::select! {
        biased;
        served = served => if let Err(error) = served {
            debug!(error = %error, "a connection to the status page broke off");
        },
        () = place.given_up() => debug!(
            "a connection to the status page asked nothing, or did not read its answer, and made room for another one"
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use jiff::Timestamp;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::sync::{mpsc, watch};

    use super::*;
    use crate::model::id::ClusterId;
    use crate::status::Report;
    use crate::web::{ClusterView, HostFilter, Source, router};

    /// A daemon whose journal is read without end, from a disk that does not answer.
    struct Stuck(mpsc::UnboundedSender<()>);

    impl Source for Stuck {
        fn report(&self) -> Report {
            panic!("nobody asks for it")
        }

        async fn cluster(&self, _: &ClusterId) -> Result<Option<ClusterView>, String> {
            self.0.send(()).unwrap();
            pending().await
        }

        async fn history(
            &self,
            _: Option<String>,
            _: Option<Timestamp>,
            _: usize,
        ) -> Result<Vec<serde_json::Value>, String> {
            self.0.send(()).unwrap();
            pending().await
        }

        async fn lives(&self) -> bool {
            true
        }

        fn metrics(&self) -> Result<String, std::fmt::Error> {
            Ok(String::new())
        }

        fn changes(&self) -> watch::Receiver<u64> {
            watch::channel(0).1
        }
    }

    async fn ask(at: SocketAddr, path: &str) -> TcpStream {
        let mut stream = TcpStream::connect(at).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        stream
    }

    /// The answer, if there is one within the test's patience.
    async fn answer(mut stream: TcpStream) -> String {
        let mut answer = String::new();
        let read = stream.read_to_string(&mut answer);
        tokio::time::timeout(Duration::from_secs(5), read).await.expect("an answer").unwrap();
        answer
    }

    #[tokio::test]
    async fn readings_of_the_journal_that_take_long_leave_room_for_a_sign_of_life() {
        for path in ["/api/v1/history", "/clusters/c-1", "/api/v1/clusters/c-1"] {
            let server = Server::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
            let (at, (reads, mut reading)) = (server.address(), mpsc::unbounded_channel());
            let stop = CancellationToken::new();
            let router = router(Arc::new(Stuck(reads)), HostFilter::default());
            let served = tokio::spawn(server.run(router, stop.clone()));
            let mut all = Vec::new();
            for _ in 0..AT_ONCE / 2 {
                all.push(ask(at, "/events").await);
            }
            for _ in 0..AT_ONCE {
                all.push(ask(at, path).await);
            }
            reading.recv().await.unwrap();
            let alive = answer(ask(at, "/livez").await).await;
            assert!(alive.starts_with("HTTP/1.1 200"), "{path}: {alive}");
            let more = answer(ask(at, path).await).await;
            assert!(more.starts_with("HTTP/1.1 503") && more.contains("retry-after: 1"), "{path}: {more}");
            stop.cancel();
            served.await.unwrap();
        }
    }
}
