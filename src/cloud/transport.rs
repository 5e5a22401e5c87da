//! One exchange over the network, behind an interface that tests can replace: [`Transport`].

use std::fmt;
use std::future::Future;
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;
use std::time::Duration;

/// Sends one request as it is and returns the answer: no retry, no redirect.
pub trait Transport: Send + Sync + 'static {
    /// Sends it, once.
    ///
    /// # Errors
    /// If no head of an answer came. [`TransportError::never_left`] says whether the request can
    /// have reached the server.
    ///
    /// Cancel safety: a dropped future may have sent the request.
    fn send(&self, request: Request) -> impl Future<Output = Result<Response, TransportError>> + Send;

    /// Reserves what one further connection takes from the system, until it is dropped.
    ///
    /// # Errors
    /// If the system has no descriptor left.
    fn reserve(&self) -> Result<Reserve, TransportError> {
        Ok(Reserve::default())
    }
}

/// The reserve for one connection.
#[derive(Debug, Default)]
pub struct Reserve {
    _descriptor: Option<UnixDatagram>,
}

impl Reserve {
    /// A descriptor, held by an unconnected socket.
    pub(super) fn descriptor() -> std::io::Result<Self> {
        Ok(Self { _descriptor: Some(UnixDatagram::unbound()?) })
    }
}

/// The HTTP methods that are used.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Reads; may be repeated.
    #[default]
    Get,
    /// Acts; never repeated.
    Put,
    /// Signs in; never repeated by the transport.
    Post,
    /// A PUT that requests a token from the metadata service, and changes nothing.
    PutForToken,
}

impl Method {
    /// The method's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Put | Self::PutForToken => "PUT",
            Self::Post => "POST",
        }
    }
}

/// A request with everything that its signature covers: it must be sent exactly like this.
#[derive(Clone)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// Scheme and authority, such as `https://css.eu-west-101.myhuaweicloud.com`.
    pub base: String,
    /// The path, escaped.
    pub path: String,
    /// The query in canonical form; empty where there is none.
    pub query: String,
    /// The headers: names in lower case.
    pub headers: Vec<(&'static str, String)>,
    /// The body; calls of the CSS API have none. It may contain a password, and is never shown.
    pub body: Vec<u8>,
    /// The longest body of an answer that is read, in bytes.
    pub body_limit: usize,
    /// The time limits; absent: those of every request.
    pub limits: Option<SendingLimits>,
}

/// When a request may be sent. A transport checks it directly before the first byte, when the
/// connection stands.
#[derive(Clone)]
pub struct SendingLimits {
    /// Returns whether it may still begin.
    pub may_begin: Arc<dyn Fn() -> bool + Send + Sync>,
    /// Returns how long it may take in all.
    pub at_most: Duration,
}

impl SendingLimits {
    /// Checks whether a request with these limits may still begin.
    ///
    /// # Errors
    /// [`TooLate`].
    pub fn check(limits: Option<&Self>) -> Result<(), TooLate> {
        if limits.is_none_or(|limits| (limits.may_begin)()) { Ok(()) } else { Err(TooLate) }
    }
}

impl fmt::Debug for SendingLimits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendingLimits").field("at_most", &self.at_most).finish_non_exhaustive()
    }
}

/// A request was not begun in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "too much time had passed since its intent was journaled: this process was paused, or the journal or the connection was slow"
)]
pub struct TooLate;

impl Request {
    /// The whole URL.
    pub fn url(&self) -> String {
        let Self { base, path, query, .. } = self;
        if query.is_empty() { [base.as_str(), path].concat() } else { [base, path, "?", query].concat() }
    }

    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
    }

    /// Returns whether a header may be shown. Unknown ones are masked.
    pub(super) fn may_be_shown(name: &str) -> bool {
        matches!(
            name,
            "content-length" | "content-type" | "host" | "user-agent" | "x-project-id" | "x-sdk-date"
        )
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |(name, value): &(&'static str, String)| {
            (*name, if Self::may_be_shown(name) { value.clone() } else { "(masked)".to_owned() })
        };
        f.debug_struct("Request")
            .field("method", &self.method)
            .field("url", &self.url())
            .field("headers", &self.headers.iter().map(shown).collect::<Vec<_>>())
            .field("body_limit", &self.body_limit)
            .finish_non_exhaustive()
    }
}

/// The header with a token of IAM.
pub(super) const TOKEN_HEADER: &str = "x-subject-token";
/// The headers of an answer that are read, in lower case.
pub const READ_HEADERS: [&str; 5] = ["date", "retry-after", "x-iam-trace-id", "x-request-id", TOKEN_HEADER];

/// An answer whose head arrived. Its `Debug` shows neither body nor headers: either may contain a
/// token.
pub struct Response {
    /// The HTTP status.
    pub status: u16,
    /// The headers that are used ([`READ_HEADERS`]).
    pub headers: Vec<(String, String)>,
    /// The body, or why it is incomplete.
    pub body: Result<Vec<u8>, TransportError>,
}

impl Response {
    /// The value of a header, by its name in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let body = self.body.as_ref().map(Vec::len);
        f.debug_struct("Response").field("status", &self.status).field("body", &body).finish_non_exhaustive()
    }
}

/// The cause of a transport's error.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Why an answer did not arrive, or not completely.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// The request could not be rendered. It was never sent.
    #[error("the request could not be built")]
    Invalid(#[source] Cause),
    /// No connection: name, route, refusal, TLS. The request was never sent.
    #[error("no connection to the API")]
    Connect(#[source] Cause),
    /// It was not begun in time. It was never sent.
    #[error("the request was not sent")]
    TooLate(#[source] TooLate),
    /// The proxy answered instead of the server, with a 407. The request never got beyond it.
    #[error("{refusal}")]
    Proxy {
        /// What the proxy requires, without the password.
        refusal: String,
        /// What to do.
        advice: &'static str,
    },
    /// The time for the whole exchange ran out.
    #[error("no response within the time limit")]
    Timeout(#[source] Cause),
    /// The connection broke, or its data was not HTTP.
    #[error("the connection broke")]
    Broken(#[source] Cause),
    /// The body is compressed or otherwise encoded, although every request forbids it.
    #[error(
        "the response has a Content-Encoding ({coding}), though none was requested; a proxy or gateway on the way adds it"
    )]
    Encoded {
        /// The value of the header.
        coding: String,
    },
    /// The body is longer than allowed.
    #[error("the response is longer than {limit} bytes")]
    TooLong {
        /// The limit, in bytes.
        limit: usize,
    },
}

impl TransportError {
    /// Returns whether it is certain that the request never reached the server.
    pub fn never_left(&self) -> bool {
        match self {
            Self::Invalid(_) | Self::Connect(_) | Self::TooLate(_) | Self::Proxy { .. } => true,
            Self::Timeout(_) | Self::Broken(_) | Self::TooLong { .. } | Self::Encoded { .. } => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_masks_whatever_is_not_known_to_be_harmless() {
        let request = Request {
            method: Method::Get,
            base: "https://css.example.com".to_owned(),
            path: "/v1.0/p/clusters".to_owned(),
            query: "limit=1000".to_owned(),
            headers: vec![
                ("authorization", "hunter2".to_owned()),
                ("x-security-token", "hunter3".to_owned()),
                ("x-auth-token", "hunter4".to_owned()),
                ("x-sdk-date", "20260102T030405Z".to_owned()),
            ],
            body: b"hunter5".to_vec(),
            body_limit: 1,
            limits: None,
        };
        let response = Response {
            status: 201,
            headers: vec![(TOKEN_HEADER.to_owned(), "hunter6".to_owned())],
            body: Ok(b"hunter7".to_vec()),
        };
        let shown = format!("{request:?} {response:?}");
        assert!(!shown.contains("hunter"), "{shown}");
        assert!(
            shown.contains("20260102T030405Z") && shown.contains("/v1.0/p/clusters?limit=1000"),
            "{shown}"
        );
    }
}
