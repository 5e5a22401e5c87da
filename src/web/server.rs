//! The listener: few connections at once, and none that says nothing for long.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::connections;

/// Connections at once; more wait. Some of them may stay open for live pages.
const AT_ONCE: usize = 24;
/// Who has not said what is wanted by then is not listened to any more.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen at {address}")]
pub struct BindError {
    address: SocketAddr,
    #[source]
    source: io::Error,
}

/// A socket that is listened at.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
}

impl Server {
    /// Listens at this address.
    ///
    /// # Errors
    /// Where the system refuses, most likely because something else listens there.
    pub async fn bind(address: SocketAddr) -> Result<Self, BindError> {
        let fault = |source| BindError { address, source };
        let listener = TcpListener::bind(address).await.map_err(fault)?;
        let address = listener.local_addr().map_err(fault)?;
        Ok(Self { listener, address })
    }

    /// Where.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop`. Readers only lose a page that is not whole yet.
    pub async fn run(self, router: Router, stop: CancellationToken) {
        let places = connections::places(AT_ONCE);
        while let Some((place, stream)) =
            connections::next(&self.listener, &places, "the status page", &stop).await
        {
            let (service, stop) = (TowerToHyperService::new(router.clone()), stop.clone());
            tokio::spawn(async move {
                let _place = place;
                let served = http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(PATIENCE)
                    .serve_connection(TokioIo::new(stream), service);
                if let Some(Err(error)) = stop.run_until_cancelled(served).await {
                    debug!(error = %error, "a connection to the status page broke off");
                }
            });
        }
    }
}
