//! The input and output of the world: requests and answers as plain values, without a socket.

use std::time::Duration;

use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimePrinter;
use serde_json::{Value, json};

/// One HTTP request, as the world sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SimRequest {
    /// The method in upper case.
    pub method: String,
    /// The path as it was sent, percent-encoded, without the query.
    pub path: String,
    /// The query's pairs, decoded, in the order sent. A pair without `=` has an empty value.
    pub query: Vec<(String, String)>,
    /// The headers; names in any case. `Host` must be among them if it was signed.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl SimRequest {
    /// The first header of this name, compared without case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The first value of this query parameter.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// The result of a request: its answer, and when it is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SimAnswer {
    /// The answer, if there is one.
    pub delivery: Delivery,
    /// How long the client waits for it. The request's effect, if any, came before this.
    pub delay: Duration,
}

/// How an answer reaches the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivery {
    /// Whole.
    Respond(Response),
    /// Never: the connection ends before the request took effect.
    CutBefore,
    /// Never: the request took effect, and the connection ends before any byte of the answer.
    CutAfter,
    /// In part: the head announces the whole body, and the connection ends after this number of its
    /// bytes.
    Truncate {
        /// The whole answer.
        response: Response,
        /// How many bytes of its body arrive; fewer than it has.
        body_bytes: usize,
    },
}

/// One HTTP answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The status.
    pub status: u16,
    /// The headers, without `Content-Length`.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Response {
    /// An answer with this JSON.
    pub(super) fn json(status: u16, body: &Value) -> Self {
        Self::of(status, "application/json", body.to_string())
    }

    /// An answer with a body of this type.
    pub(super) fn of(status: u16, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        Self {
            status,
            headers: vec![("Content-Type".to_owned(), content_type.to_owned())],
            body: body.into(),
        }
    }

    /// Returns 200 without a body: how the API answers an accepted PUT or POST.
    pub(super) fn taken() -> Self {
        Self { status: 200, headers: Vec::new(), body: Vec::new() }
    }

    /// An error in the shape of the body that belongs to its code: CSS's own, or the gateway's.
    pub(super) fn error(status: u16, code: &str, message: &str, request_id: &str) -> Self {
        if code.starts_with("APIGW.") || code.starts_with("APIG.") {
            let body = json!({ "error_msg": message, "error_code": code, "request_id": request_id });
            return Self::json(status, &body);
        }
        Self::json(status, &json!({ "errCode": code, "externalMessage": message }))
    }

    #[must_use]
    pub(super) fn with_header(mut self, name: &str, value: String) -> Self {
        self.headers.push((name.to_owned(), value));
        self
    }

    /// Adds the two headers of every answer.
    #[must_use]
    pub(super) fn stamped(self, wall: Timestamp, request_id: &str) -> Self {
        let date = DateTimePrinter::new().timestamp_to_rfc9110_string(&wall).unwrap_or_default();
        self.with_header("Date", date).with_header("X-Request-Id", request_id.to_owned())
    }

    /// The first header of this name, compared without case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The error code of the body, whichever of the two shapes it has.
    pub(super) fn code(&self) -> Option<String> {
        /// Only this part of a body is read, which may be long.
        #[derive(serde::Deserialize)]
        struct Coded {
            #[serde(rename = "errCode")]
            service: Option<String>,
            #[serde(rename = "error_code")]
            gateway: Option<String>,
        }
        let body: Coded = serde_json::from_slice(&self.body).ok()?;
        body.service.or(body.gateway)
    }
}

/// Decodes `%XX`; any other text stays as it is.
pub(super) fn percent_decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let [first, tail @ ..] = rest {
        let digits = tail.get(..2).filter(|_| *first == b'%').and_then(|two| hex::decode(two).ok());
        if let Some(decoded) = digits {
            out.extend(decoded);
            rest = tail.get(2..).unwrap_or_default();
        } else {
            out.push(*first);
            rest = tail;
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// The pairs of a raw query, decoded. `+` stays `+`: the signing scheme sends a blank as `%20`.
pub fn query_pairs(raw: &str) -> Vec<(String, String)> {
    raw.split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (percent_decoded(key), percent_decoded(value))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_decoded_into_its_pairs() {
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(
            query_pairs("a=x%2Fy%2B&empty=&bare&k=%E4%B8%AD&odd=%zz%4"),
            [pair("a", "x/y+"), pair("empty", ""), pair("bare", ""), pair("k", "中"), pair("odd", "%zz%4")]
        );
        assert!(query_pairs("").is_empty());
    }

    #[test]
    fn every_answer_is_stamped_with_its_date_and_an_id() {
        let stamped = Response::taken().stamped("2026-01-02T03:04:05Z".parse().unwrap(), "r-1");
        assert_eq!(stamped.header("date"), Some("Fri, 02 Jan 2026 03:04:05 GMT"));
        assert_eq!(stamped.header("x-request-id"), Some("r-1"));
    }
}
