//! Which requests are answered: reads, under a name of this host. Adds the headers with which a
//! browser gives nothing of an answer to another page.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{self, HeaderName, HeaderValue};
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::Response;

use super::text;

/// The accepted host names.
#[derive(Debug, Clone, Default)]
pub struct HostFilter {
    hosts: Vec<String>,
}

const HEADERS: [(HeaderName, &str); 6] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; base-uri 'none'; \
         form-action 'self'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-store"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

impl HostFilter {
    /// Makes it with these names beside `localhost` and addresses.
    pub fn new(hosts: Vec<String>) -> Self {
        Self { hosts }
    }

    /// Returns whether a request for this host is meant for the daemon. A page elsewhere that
    /// points its own name to this host (DNS rebinding) still sends that name; addresses and
    /// `localhost` cannot be pointed elsewhere.
    fn knows(&self, host: &str) -> bool {
        let name = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((address, _)) => address,
            None => host.rsplit_once(':').map_or(host, |(name, _)| name),
        };
        let name = name.to_ascii_lowercase();
        name == "localhost" || name.parse::<IpAddr>().is_ok() || self.hosts.contains(&name)
    }
}

/// Accepts the request, or says why not.
pub(super) async fn pass(State(door): State<Arc<HostFilter>>, request: Request, next: Next) -> Response {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let mut answer = if !door.knows(host) {
        text(
            StatusCode::MISDIRECTED_REQUEST,
            "this host is not known here: ask for an address or localhost, or name it in http.hosts\n",
        )
    } else if !matches!(*request.method(), Method::GET | Method::HEAD) {
        text(StatusCode::METHOD_NOT_ALLOWED, "nothing can be changed here\n")
    } else {
        next.run(request).await
    };
    for (name, value) in HEADERS {
        answer.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_cannot_be_made_to_lead_here_are_known() {
        let door = HostFilter::new(vec!["upgrades.example.com".to_owned()]);
        for good in [
            "localhost",
            "LOCALHOST:9187",
            "127.0.0.1",
            "127.0.0.1:9187",
            "[::1]",
            "[::1]:9187",
            "10.1.2.3:80",
            "upgrades.example.com",
            "Upgrades.Example.com:443",
        ] {
            assert!(door.knows(good), "{good}");
        }
        for bad in [
            "",
            ":9187",
            "evil.example",
            "localhost.evil.example:9187",
            "127.0.0.1.evil.example",
            "[",
            "[evil]",
        ] {
            assert!(!door.knows(bad), "{bad}");
        }
    }
}
