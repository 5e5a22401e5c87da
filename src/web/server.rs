//! The listener: few connections at once, and none that says nothing for long.

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

/// Connections at once; more wait. Half of them may stay open for live pages.
pub(super) const AT_ONCE: usize = 24;
/// Who has not said what is wanted by then is not listened to any more.
const PATIENCE: Duration = Duration::from_secs(3);

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
        let places = Places::new(AT_ONCE);
        while let Some((place, stream)) =
            connections::next(&self.listener, &places, "the status page", &stop).await
        {
            let (router, stop) = (router.clone(), stop.clone());
            tokio::spawn(async move { stop.run_until_cancelled(serve(stream, place, router)).await });
        }
    }
}

/// One request, one answer: a connection that is kept open for more would take a place and ask nothing.
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
