//! The transport over HTTP. Only this module builds HTTPS clients. They never do the following:
//!
//! - **No resend.** reqwest's own retries are off. Beneath it, hyper-util sends a request again only when it had
//!   picked a *reused* connection that turned out to be closed before anything was written (`connection_reused`
//!   in its `Client::send_request`). PUTs go through a client that keeps no idle connections: each goes out on a
//!   connection of its own, none is ever reused, and so there is nothing that could send one twice. It also
//!   means that a PUT never meets a connection that the other side is just closing, and that an error while
//!   connecting is proof that it never left.
//! - **No redirect**: a signature is for one URL. A 3xx is an answer like any other.
//! - **No proxy** from the environment, where it could be set by accident; only one that the configuration names.
//! - **No unverified certificate**: a private CA is added to the system's, and checking cannot be turned off.
//! - **No compression**: `identity` alone is accepted, so the bytes that are counted are the bytes that are received. An
//!   answer that is encoded all the same is not read.

use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{ACCEPT_ENCODING, CONTENT_ENCODING, HOST, HeaderMap, HeaderValue};
use reqwest::{Certificate, redirect, retry};
use tokio::sync::Semaphore;
use tower::util::MapResultLayer;

use super::error::BuildError;
use super::proxy_circuit::ProxyCircuit;
use super::request::Endpoint;
use super::transport::{
    Cause, Method, READ_HEADERS, Request, Reserve, Response, SendingLimits, TooLate, Transport,
    TransportError,
};
use crate::failpoint::{self, Point};
use crate::model::proxy::Proxy;
use crate::model::secret::ExposeSecret as _;
use crate::model::text::shown;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Load balancers close idle connections after a minute or more; ours are closed before.
const IDLE_TIMEOUT: Duration = Duration::from_secs(50);
/// An HTTP/2 connection whose other side has silently ended must not stay in the pool for further
/// requests.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(15);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// Up to this size, in bytes, an answer is read whatever else is being read. Beyond it, …
const SHORT: usize = 32 * 1024;
/// … this number of them are read at the same time, and the others wait: so that a server that
/// floods every request takes no more memory than one that floods a few.
const LONG_AT_ONCE: usize = 2;
/// An answer that may be longer than this, in bytes, is expected to be long: the list of clusters,
/// which is read once at a time and waits for no other answer.
const LONG_BY_NATURE: usize = 2 * 1024 * 1024;

/// The answer of a proxy, instead of the server, to a client that must sign in.
const PROXY_AUTHENTICATION_REQUIRED: u16 = 407;

/// Sends over HTTP: reads over HTTP/2 if the server offers it.
#[derive(Debug)]
pub struct HttpTransport {
    /// With one pool of connections.
    reads: reqwest::Client,
    /// With a connection for each request.
    puts: reqwest::Client,
    /// Places for those answers that are long although most of their kind are short.
    long: Semaphore,
    request_timeout: Duration,
    through: Option<Arc<ProxyCircuit>>,
    /// Whether the proxy passes on what it cannot read.
    tunnels: bool,
}

impl HttpTransport {
    /// Makes a transport to this endpoint. `ca_pem` is added to the system's certificates;
    /// `through`: the proxy for all connections.
    pub(super) fn new(
        endpoint: &Endpoint,
        ca_pem: Option<&[u8]>,
        through: Option<&Arc<ProxyCircuit>>,
        request_timeout: Duration,
    ) -> Result<Self, BuildError> {
        let certificates = certificates(ca_pem)?;
        let http_error = |error: reqwest::Error| BuildError::Http(Box::new(error.without_url()));
        let proxy = through.map(|through| through.proxy()).map(|proxy| {
            let all = reqwest::Proxy::all(&proxy.url);
            all.map(|all| match &proxy.login {
                Some(login) => all.basic_auth(&login.user, login.password.expose_secret()),
                None => all,
            })
        });
        let proxy = proxy.transpose().map_err(http_error)?;
        // reqwest takes the process's provider, and panics if there is none. There is only one in
        // the build, so an error here means that it is installed already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let builder = || {
            #[expect(clippy::disallowed_methods, reason = "this module is the one that builds the clients")]
            let builder = reqwest::Client::builder()
                .https_only(endpoint.is_https())
                .retry(retry::never())
                .redirect(redirect::Policy::none())
                .referer(false)
                .no_proxy();
            let builder = match &proxy {
                Some(proxy) => builder.proxy(proxy.clone()),
                None => builder,
            };
            let builder = builder
                .connect_timeout(CONNECT_TIMEOUT.min(request_timeout))
                .timeout(request_timeout)
                .pool_idle_timeout(IDLE_TIMEOUT)
                .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
                .http2_keep_alive_timeout(KEEP_ALIVE_TIMEOUT);
            // Without encryption no certificate is needed, and a system without any is no reason to
            // fail.
            if endpoint.is_https() {
                builder.tls_certs_merge(certificates.clone())
            } else {
                builder.tls_certs_only([])
            }
        };
        let build = |builder: reqwest::ClientBuilder| builder.build().map_err(http_error);
        // A connection for one request does not profit from HTTP/2, and HTTP/1.1 has fewer ways to
        // fail.
        let puts = builder().http1_only().pool_max_idle_per_host(0);
        let puts = puts.connector_layer(MapResultLayer::new(connected));
        let (reads, puts) = (build(builder())?, build(puts)?);
        let tunnels = endpoint.is_https();
        let (long, through) = (Semaphore::new(LONG_AT_ONCE), through.cloned());
        Ok(Self { reads, puts, long, request_timeout, through, tunnels })
    }
}

impl HttpTransport {
    /// Why no answer came.
    fn not_answered(&self, error: reqwest::Error) -> TransportError {
        match &self.through {
            Some(through) if Proxy::asks_for_login(&error) => through.refused(),
            _ if is_too_late(&error) => TransportError::TooLate(TooLate),
            _ => transport_error(error),
        }
    }
}

tokio::task_local! {
    /// Set for the request whose connection is being made. reqwest makes it within the future that
    /// sends the request.
    static LIMITS: Option<SendingLimits>;
}

/// Returns the connection of a request if the request may still begin. A caller outside of
/// [`HttpTransport::send`] gets none.
fn connected<T>(connection: Result<T, Cause>) -> Result<T, Cause> {
    let connection = connection?;
    failpoint::pass(Point::PutConnected);
    LIMITS.try_with(|limits| SendingLimits::check(limits.as_ref()))??;
    Ok(connection)
}

fn is_too_late(error: &reqwest::Error) -> bool {
    let mut cause = error.source();
    while let Some(error) = cause {
        if error.is::<TooLate>() {
            return true;
        }
        cause = error.source();
    }
    false
}

fn certificates(ca_pem: Option<&[u8]>) -> Result<Vec<Certificate>, BuildError> {
    let Some(pem) = ca_pem else { return Ok(Vec::new()) };
    let certificates =
        Certificate::from_pem_bundle(pem).map_err(|error| BuildError::CaFormat(Box::new(error)))?;
    if certificates.is_empty() { Err(BuildError::CaEmpty) } else { Ok(certificates) }
}

impl Transport for HttpTransport {
    fn reserve(&self) -> Result<Reserve, TransportError> {
        Reserve::descriptor().map_err(|error| TransportError::Connect(Box::new(error)))
    }

    async fn send(&self, request: Request) -> Result<Response, TransportError> {
        if let Some(through) = &self.through {
            through.enter()?;
        }
        let (client, method) = match request.method {
            Method::Get => (&self.reads, reqwest::Method::GET),
            Method::Put | Method::PutForToken => (&self.puts, reqwest::Method::PUT),
            Method::Post => (&self.puts, reqwest::Method::POST),
        };
        let acts = request.method == Method::Put;
        let pass = |point| {
            if acts {
                failpoint::pass(point);
            }
        };
        pass(Point::PutLeaving);
        SendingLimits::check(request.limits.as_ref()).map_err(TransportError::TooLate)?;
        let mut sending = client.request(method, request.url()).headers(headers(&request)?);
        if let Some(limits) = &request.limits {
            sending = sending.timeout(limits.at_most.min(self.request_timeout));
        }
        if !request.body.is_empty() {
            sending = sending.body(request.body);
        }
        let sent = LIMITS.scope(request.limits, sending.send()).await;
        let response = sent.map_err(|error| self.not_answered(error))?;
        pass(Point::PutAnswered);
        let status = response.status().as_u16();
        if let Some(through) = &self.through {
            if status == PROXY_AUTHENTICATION_REQUIRED && !self.tunnels {
                return Err(through.refused());
            }
            through.passed();
        }
        // A value that is not text is not used anywhere.
        let read =
            |name: &str| Some((name.to_owned(), response.headers().get(name)?.to_str().ok()?.to_owned()));
        let headers = READ_HEADERS.into_iter().filter_map(read).collect();
        if let Some(coding) = coding(&response) {
            return Ok(Response { status, headers, body: Err(TransportError::Encoded { coding }) });
        }
        // The answer to a PUT is read at once.
        let waits = request.method == Method::Get && request.body_limit <= LONG_BY_NATURE;
        let waits = waits.then_some(&self.long);
        let body = tokio::time::timeout(self.request_timeout, body(response, request.body_limit, waits));
        let body = body.await.unwrap_or_else(|late| Err(TransportError::Timeout(Box::new(late))));
        pass(Point::PutRead);
        Ok(Response { status, headers, body })
    }
}

/// Returns the encoding of the body; `None` if it has none.
fn coding(response: &reqwest::Response) -> Option<String> {
    let given = response.headers().get_all(CONTENT_ENCODING).iter();
    let mut given = given.map(|value| String::from_utf8_lossy(value.as_bytes()).trim().to_owned());
    given
        .find(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case("identity"))
        .map(|coding| shown(&coding, 40))
}

fn headers(request: &Request) -> Result<HeaderMap, TransportError> {
    let mut headers = HeaderMap::with_capacity(request.headers.len() + 2);
    // Without it any encoding is acceptable.
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    for (name, value) in &request.headers {
        // HTTP renders the same value from the URL: as Host, or as :authority, beside which a Host is odd.
        if *name == HOST.as_str() {
            continue;
        }
        let mut value =
            HeaderValue::from_str(value).map_err(|error| TransportError::Invalid(Box::new(error)))?;
        value.set_sensitive(!Request::may_be_shown(name));
        headers.insert(*name, value);
    }
    Ok(headers)
}

/// Reads the body, and stops as soon as it is longer than allowed. `long`: where a long one waits
/// for its turn.
async fn body(
    mut response: reqwest::Response,
    limit: usize,
    long: Option<&Semaphore>,
) -> Result<Vec<u8>, TransportError> {
    // A body that is announced as too long need not be read. Otherwise the announced length is only
    // a hint.
    let promised =
        response.content_length().and_then(|length| usize::try_from(length).ok()).unwrap_or_default();
    if promised > limit {
        return Err(TransportError::TooLong { limit });
    }
    let mut blocks = Blocks(vec![Vec::with_capacity(promised.min(SHORT))]);
    let (mut length, mut turn) = (0, None);
    while let Some(part) = response.chunk().await.map_err(transport_error)? {
        length += part.len();
        if length > limit {
            return Err(TransportError::TooLong { limit });
        }
        if length > SHORT && turn.is_none() {
            turn = match long {
                // It is never closed.
                Some(long) => long.acquire().await.ok(),
                None => None,
            };
        }
        blocks.append(&part);
    }
    Ok(blocks.joined(length))
}

/// A body while it arrives: in blocks, because one piece would be copied whenever it had to grow.
struct Blocks(Vec<Vec<u8>>);

impl Blocks {
    fn append(&mut self, mut part: &[u8]) {
        while !part.is_empty() {
            let Some(last) = self.0.last_mut().filter(|last| last.len() < SHORT) else {
                self.0.push(Vec::new());
                continue;
            };
            let (fits, rest) = part.split_at(part.len().min(SHORT - last.len()));
            last.extend_from_slice(fits);
            part = rest;
        }
    }

    fn joined(mut self, length: usize) -> Vec<u8> {
        if self.0.len() == 1 {
            return self.0.pop().unwrap_or_default();
        }
        let mut body = Vec::with_capacity(length);
        // Each block is freed as it is taken.
        self.0.into_iter().for_each(|block| body.extend_from_slice(&block));
        body
    }
}

fn transport_error(error: reqwest::Error) -> TransportError {
    let error = error.without_url();
    if error.is_builder() {
        TransportError::Invalid(Box::new(error))
    } else if error.is_connect() {
        TransportError::Connect(Box::new(error))
    } else if error.is_timeout() {
        TransportError::Timeout(Box::new(error))
    } else {
        TransportError::Broken(Box::new(error))
    }
}

#[cfg(test)]
mod hostile;
#[cfg(test)]
mod tests;
