//! The world on a socket: it accepts HTTP/1.1, passes the time to the world, and treats connections
//! as it says.
//!
//! Beside the API it serves `GET /_simulator/log` (JSON lines) and `GET /_simulator/state`,
//! unsigned, for tests of programs that run elsewhere.

use std::fmt;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response as HttpResponse};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::warn;

use super::exchange::{Delivery, Response, SimAnswer, SimRequest, query_pairs};
use super::log::{self, LogEntry};
use super::time::SimTime;
use super::wire::{Cutter, Wires};
use super::world::World;
use crate::clock::Clock;

/// The gateway takes bodies up to 12 MB.
const MAX_BODY_BYTES: usize = 12 * 1024 * 1024;
/// How long a stop waits for begun requests.
const PATIENCE: Duration = Duration::from_secs(1);

/// Why the simulator could not start.
#[derive(Debug, thiserror::Error)]
pub enum SimulatorError {
    /// The listener has no address.
    #[error("the simulator's listener has no address")]
    Address(#[source] std::io::Error),
}

/// A running simulator. It stops when this is dropped, or in order by [`Self::shutdown`].
pub struct Simulator {
    address: SocketAddr,
    shared: Arc<Shared>,
    server: JoinHandle<()>,
    stop: DropGuard,
}

impl fmt::Debug for Simulator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Simulator").field("address", &self.address).finish_non_exhaustive()
    }
}

/// What the connections share.
struct Shared {
    stage: Mutex<Stage>,
    now: Box<dyn Fn() -> SimTime + Send + Sync>,
    stopped: CancellationToken,
}

struct Stage {
    world: World,
    sink: Option<Box<dyn Write + Send>>,
    /// The number of entries of the log in the sink.
    written: usize,
}

/// The state of a connection's handler.
struct Service<C> {
    shared: Arc<Shared>,
    clock: Arc<C>,
}

impl<C> Clone for Service<C> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), clock: Arc::clone(&self.clock) }
    }
}

impl Simulator {
    /// Serves the world on this listener, by this clock. The world's time continues from its
    /// beginning at the present wall clock. Needs a tokio runtime.
    ///
    /// # Errors
    /// If the listener has no address.
    pub fn start<C: Clock>(
        listener: TcpListener,
        world: World,
        clock: Arc<C>,
    ) -> Result<Self, SimulatorError> {
        let address = listener.local_addr().map_err(SimulatorError::Address)?;
        let started = clock.now();
        let age = i64::try_from(started.wall.duration_since(world.begin()).as_millis()).unwrap_or(0);
        let (ticking, stopped) = (Arc::clone(&clock), CancellationToken::new());
        let now = move || SimTime(age).after(ticking.now().since(started));
        let shared = Arc::new(Shared {
            stage: Mutex::new(Stage { world, sink: None, written: 0 }),
            now: Box::new(now),
            stopped: stopped.clone(),
        });
        let service = Service { shared: Arc::clone(&shared), clock };
        let app = Router::new().fallback(answer::<C>).with_state(service);
        let serving = axum::serve(Wires(listener), app.into_make_service_with_connect_info::<Cutter>())
            .with_graceful_shutdown(stopped.clone().cancelled_owned());
        let server = tokio::spawn(async move {
            if let Err(error) = serving.await {
                warn!(error = &error as &dyn std::error::Error, "the simulator stopped serving");
            }
        });
        Ok(Self { address, shared, server, stop: stopped.drop_guard() })
    }

    /// Returns its address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its endpoint, without a slash at the end.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Writes the log as JSON lines, the entries so far and further ones as they happen.
    pub fn log_to(&self, sink: impl Write + Send + 'static) {
        let mut stage = self.shared.lock();
        stage.sink = Some(Box::new(sink));
        stage.written = 0;
        stage.flush();
    }

    /// Calls `look` with the present world.
    pub fn inspect<R>(&self, look: impl FnOnce(&World) -> R) -> R {
        look(&self.shared.up_to_date().world)
    }

    /// Returns everything that happened so far.
    pub fn log(&self) -> Vec<LogEntry> {
        self.inspect(|world| world.log().to_vec())
    }

    /// Stops: delayed answers are never sent, idle connections end.
    pub async fn shutdown(self) {
        drop(self.stop);
        let mut server = self.server;
        if tokio::time::timeout(PATIENCE, &mut server).await.is_err() {
            server.abort();
        }
        self.shared.lock().flush();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Stage> {
        self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn up_to_date(&self) -> MutexGuard<'_, Stage> {
        let mut stage = self.lock();
        stage.world.advance((self.now)());
        stage.flush();
        stage
    }

    fn handle(&self, request: &SimRequest) -> SimAnswer {
        let mut stage = self.lock();
        let answer = stage.world.handle((self.now)(), request);
        stage.flush();
        answer
    }
}

impl Stage {
    fn flush(&mut self) {
        let Some(sink) = &mut self.sink else { return };
        let log = self.world.log();
        let new = log.get(self.written..).unwrap_or_default();
        if new.is_empty() {
            return;
        }
        if let Err(error) = sink.write_all(log::lines(new).as_bytes()).and_then(|()| sink.flush()) {
            warn!(error = &error as &dyn std::error::Error, "the simulator's log can no longer be written");
            self.sink = None;
        }
        self.written = log.len();
    }
}

async fn answer<C: Clock>(
    State(service): State<Service<C>>,
    ConnectInfo(cutter): ConnectInfo<Cutter>,
    request: Request,
) -> HttpResponse {
    let shared = &service.shared;
    match (request.method().as_str(), request.uri().path()) {
        ("GET", "/_simulator/log") => {
            let lines = log::lines(shared.up_to_date().world.log());
            return ([(header::CONTENT_TYPE, "application/x-ndjson")], lines).into_response();
        }
        ("GET", "/_simulator/state") => {
            let state = shared.up_to_date().world.state().to_string();
            return ([(header::CONTENT_TYPE, "application/json")], state).into_response();
        }
        _ => {}
    }
    let Some(request) = read(request).await else {
        // Too long, or the client closed the connection: nothing of it reaches the world.
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    let SimAnswer { delivery, delay } = shared.handle(&request);
    if !delay.is_zero() {
        tokio::select! {
            () = service.clock.sleep(delay) => {}
            () = shared.stopped.cancelled() => {
                cutter.cut();
                return StatusCode::OK.into_response();
            }
        }
    }
    match delivery {
        Delivery::Respond(response) => written(response),
        Delivery::CutBefore | Delivery::CutAfter => {
            cutter.cut();
            StatusCode::OK.into_response()
        }
        Delivery::Truncate { response, body_bytes } => {
            cutter.cut_after(body_bytes);
            written(response)
        }
    }
}

/// Returns the request as a value; `None` if its body is too long or does not arrive.
async fn read(request: Request) -> Option<SimRequest> {
    let (head, body) = request.into_parts();
    let body = to_bytes(body, MAX_BODY_BYTES).await.ok()?;
    let headers = head
        .headers
        .iter()
        .map(|(name, value)| {
            (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
        })
        .collect();
    Some(SimRequest {
        method: head.method.as_str().to_owned(),
        path: head.uri.path().to_owned(),
        query: query_pairs(head.uri.query().unwrap_or_default()),
        headers,
        body: body.into(),
    })
}

fn written(response: Response) -> HttpResponse {
    let mut written = HttpResponse::new(Body::from(response.body));
    *written.status_mut() =
        StatusCode::from_u16(response.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    for (name, value) in response.headers {
        if let (Ok(name), Ok(value)) = (header::HeaderName::try_from(name), HeaderValue::try_from(value)) {
            written.headers_mut().append(name, value);
        }
    }
    written
}
