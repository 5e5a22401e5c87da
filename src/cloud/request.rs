//! Builds requests: method, path, query and signed headers of every call. Pure. Variable parts have
//! types that are safe in a URL, so no text from outside can change where a request goes.

use jiff::Timestamp;

use super::credential::Key;
use super::error::EndpointError;
use super::sign::{self, Signable};
use super::transport::{Method, Request};
use crate::model::id::{ClusterId, ProjectId, TaskId};
use crate::model::task::{Abortable, TaskKind};

/// The most elements that one page may have.
pub(super) const PAGE_SIZE: u64 = 1000;

const LIST_LIMIT: usize = 8 * 1024 * 1024;
const DETAIL_LIMIT: usize = 1024 * 1024;
const PUT_LIMIT: usize = 64 * 1024;

/// The address of the API: scheme and authority, and nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Endpoint {
    base: String,
    host: String,
}

impl Endpoint {
    /// Reads `https://host[:port]`; `http://` is accepted only for a loopback host.
    pub(super) fn parse(text: &str) -> Result<Self, EndpointError> {
        let url = reqwest::Url::parse(text)
            .map_err(|source| EndpointError::Url { endpoint: text.to_owned(), source: Box::new(source) })?;
        let refused = |problem| Err(EndpointError::Refused { endpoint: text.to_owned(), problem });
        // Before anything is shown: a password in a URL must not be.
        if !url.username().is_empty() || url.password().is_some() {
            let endpoint = "(masked)".to_owned();
            return Err(EndpointError::Refused {
                endpoint,
                problem: "it must not contain a user or a password",
            });
        }
        let Some(name) = url.host_str() else { return refused("it has no host") };
        match url.scheme() {
            "https" => {}
            "http" if is_loopback(name) => {}
            "http" => return refused("http:// is allowed only for a loopback address; write https://"),
            _ => return refused("its scheme must be https"),
        }
        if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
            return refused("it must end after the host and the port");
        }
        // Rendered from the parsed form, without the default port and with the host in lower case:
        // the signed Host header is the one that HTTP renders from the URL.
        let host = url.port().map_or_else(|| name.to_owned(), |port| format!("{name}:{port}"));
        Ok(Self { base: format!("{}://{host}", url.scheme()), host })
    }

    /// The metadata service of a cloud machine: unencrypted, on the machine's own link.
    pub(super) fn metadata() -> Self {
        let host = "169.254.169.254".to_owned();
        Self { base: format!("http://{host}"), host }
    }

    /// Whether the connection is encrypted.
    pub(super) fn is_https(&self) -> bool {
        self.base.starts_with("https:")
    }
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || address.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// The project whose API is called.
#[derive(Debug, Clone, Copy)]
pub(super) struct Site<'a> {
    pub(super) endpoint: &'a Endpoint,
    pub(super) project: &'a ProjectId,
}

/// One call of the API.
#[derive(Debug, Clone, Copy)]
pub(super) enum Call<'a> {
    /// A page of the list of clusters, from this 1-based index; the first page names none.
    Clusters { start: Option<u64> },
    /// One cluster.
    Cluster(&'a ClusterId),
    /// A page of the tasks of one kind of one cluster.
    Tasks { cluster: &'a ClusterId, kind: TaskKind, start: Option<u64> },
    /// Runs a failed task again.
    Retry { cluster: &'a ClusterId, task: &'a TaskId },
    /// Aborts a failed task that a poll showed to be safe to abort.
    Abort { cluster: &'a ClusterId, task: &'a Abortable },
}

impl Call<'_> {
    /// The call's name, for logs.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Clusters { .. } => "list-clusters",
            Self::Cluster(_) => "show-cluster",
            Self::Tasks { .. } => "list-tasks",
            Self::Retry { .. } => "retry-task",
            Self::Abort { .. } => "abort-task",
        }
    }

    fn method(self) -> Method {
        match self {
            Self::Clusters { .. } | Self::Cluster(_) | Self::Tasks { .. } => Method::Get,
            Self::Retry { .. } | Self::Abort { .. } => Method::Put,
        }
    }

    fn path(self, project: &ProjectId) -> String {
        let clusters = ["/v1.0/", project.as_str(), "/clusters"];
        let of_task = |cluster: &ClusterId, task: &TaskId| {
            ["/", cluster.as_str(), "/upgrade/", task.as_str(), "/retry"].concat()
        };
        let rest = match self {
            Self::Clusters { .. } => String::new(),
            Self::Cluster(cluster) => ["/", cluster.as_str()].concat(),
            Self::Tasks { cluster, .. } => ["/", cluster.as_str(), "/upgrade/detail"].concat(),
            Self::Retry { cluster, task } => of_task(cluster, task),
            Self::Abort { cluster, task } => of_task(cluster, task.task()),
        };
        clusters.concat() + &rest
    }

    fn query(self) -> Vec<(&'static str, String)> {
        let page = |start: Option<u64>| {
            let mut pairs = vec![("limit", PAGE_SIZE.to_string())];
            // It is unknown which of the two names a region's server reads; both mean the same.
            pairs.extend(start.iter().flat_map(|n| [("offset", n.to_string()), ("start", n.to_string())]));
            pairs
        };
        match self {
            // Without the mode every edition of the API means upgrades, so naming them would not be
            // equivalent.
            Self::Clusters { start } | Self::Tasks { kind: TaskKind::Upgrade, start, .. } => page(start),
            Self::Tasks { kind: TaskKind::AzSwitchover, start, .. } => {
                let mut pairs = page(start);
                pairs.push(("action_mode", "AZ_MIGRATION".to_owned()));
                pairs
            }
            // In a body it would be ignored, and the request would then retry the task.
            Self::Abort { .. } => vec![("retry_mode", "abort".to_owned())],
            Self::Cluster(_) | Self::Retry { .. } => Vec::new(),
        }
    }

    fn body_limit(self) -> usize {
        match self {
            Self::Clusters { .. } => LIST_LIMIT,
            Self::Cluster(_) | Self::Tasks { .. } => DETAIL_LIMIT,
            Self::Retry { .. } | Self::Abort { .. } => PUT_LIMIT,
        }
    }

    /// Returns the request, signed for this moment: one that waits longer than 15 minutes would be
    /// refused.
    pub(super) fn render(self, site: Site<'_>, key: &Key, now: Timestamp) -> Request {
        let project = ("x-project-id", site.project.as_str().to_owned());
        Plain {
            method: self.method(),
            path: self.path(site.project),
            query: self.query(),
            headers: vec![project],
            body: Vec::new(),
            body_limit: self.body_limit(),
        }
        .with_key(site.endpoint, key, now)
    }
}

/// A request without a signature.
#[derive(Default)]
pub(super) struct Plain {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) query: Vec<(&'static str, String)>,
    /// In addition to those of every request.
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Vec<u8>,
    pub(super) body_limit: usize,
}

impl Plain {
    /// Returns the request with a signature for this moment, or with the token.
    pub(super) fn with_key(mut self, endpoint: &Endpoint, key: &Key, now: Timestamp) -> Request {
        let key = match key {
            Key::Access(key) => key,
            Key::Token(token) => {
                self.headers.push(("x-auth-token", token.expose().to_owned()));
                return self.unsigned(endpoint);
            }
        };
        if let Some(token) = key.security_token() {
            self.headers.push(("x-security-token", token.to_owned()));
        }
        let mut signed = vec![("content-type", "application/json"), ("host", endpoint.host.as_str())];
        signed.extend(self.headers.iter().map(|(name, value)| (*name, value.as_str())));
        let query: Vec<(&str, &str)> =
            self.query.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let date = sign::date(now);
        let signable = Signable {
            method: self.method.as_str(),
            path: &self.path,
            query: &query,
            headers: &signed,
            date: &date,
            body: &self.body,
        };
        let authorization = key.authorization(&signable);
        self.headers.extend([(sign::DATE_HEADER, date), ("authorization", authorization)]);
        self.unsigned(endpoint)
    }

    /// Returns the request with neither.
    pub(super) fn unsigned(self, endpoint: &Endpoint) -> Request {
        let Self { method, path, query, headers: own, body, body_limit } = self;
        let query: Vec<(&str, &str)> = query.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let mut headers = Vec::with_capacity(own.len() + 4);
        headers.push(("content-type", "application/json".to_owned()));
        headers.push(("host", endpoint.host.clone()));
        headers.extend(own);
        headers.push(("user-agent", concat!("upgrade-remediator/", env!("CARGO_PKG_VERSION")).to_owned()));
        if method != Method::Get {
            headers.push(("content-length", body.len().to_string()));
        }
        let query = sign::canonical_query(&query);
        Request { method, base: endpoint.base.clone(), path, query, headers, body, body_limit, limits: None }
    }
}
