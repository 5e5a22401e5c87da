//! The sections of config.toml for the daemon itself: their keys, their defaults and the checks
//! between keys.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::duration;
use super::environment::Environment;
use super::kind::{AtLeastOne, List, Positive, Scalar};
use super::section::Section;
use super::table::table;
use super::text::{Directives, HostName, Listen, LogFormat, Socket};
use crate::model::project::{Breaker, Limits, Poll};

/// The control socket's place outside a unit with a `RuntimeDirectory=`.
const RUNTIME_DIRECTORY: &str = "/run/upgrade-remediator";

table! {
    /// `[poll]`
    pub(super) struct WrittenPoll of Poll {
        discovery_interval: Positive<Duration>,
        idle_interval: Positive<Duration>,
        active_interval: Positive<Duration>,
        settle_interval: Positive<Duration>,
        settle_timeout: Positive<Duration>,
        max_failure_age: Positive<Duration>,
        request_timeout: Positive<Duration>,
    }
}

table! {
    /// `[limits]`
    pub(super) struct WrittenLimits of Limits {
        max_requests_in_flight: AtLeastOne<u32>,
        requests_per_second: AtLeastOne<u32>,
        max_actions_in_flight: AtLeastOne<u32>,
        max_actions_per_hour: AtLeastOne<u32>,
    }
}

table! {
    /// `[breaker]`
    pub(super) struct WrittenBreaker of Breaker {
        failures: AtLeastOne<u32>,
        within: Positive<Duration>,
        cooldown: Positive<Duration>,
        probe: Positive<Duration>,
    }
}

table! {
    /// `[control]`
    pub(super) struct WrittenControl {
        socket: Socket,
    }
}

table! {
    /// `[http]`
    pub(super) struct WrittenHttp {
        listen: Listen,
        hosts: List<HostName>,
        expose_without_authentication: bool,
    }
}

table! {
    /// `[log]`
    pub(super) struct WrittenLog of Log {
        filter: Directives,
        format: LogFormat,
    }
}

/// The address of the status page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Http {
    /// The address; only a loopback address, unless the configuration acknowledges that anybody can
    /// read it.
    pub listen: SocketAddr,
    /// Accepted host names, beside `localhost` and addresses.
    pub hosts: Vec<String>,
}

/// The content and the form of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// Directives of `tracing`, valid ones.
    pub filter: String,
    /// The form.
    pub format: LogFormat,
}

impl Default for Log {
    fn default() -> Self {
        Self { filter: "info".to_owned(), format: LogFormat::Auto }
    }
}

/// A default that comes from the environment, and may be absent.
pub(super) fn default<K: Scalar>(section: &Section<'_>, key: &str, text: String) -> Option<K::Value> {
    K::take(&text.into()).map_err(|problem| section.error(key, problem)).ok()
}

impl WrittenPoll {
    /// Adds the defaults, and checks that all values fit together.
    pub(super) fn check(self, section: &Section<'_>) -> Poll {
        let poll = self.or(Poll::default());
        let comparable = section.can_compare(&["request_timeout", "settle_timeout"]);
        if poll.request_timeout >= poll.settle_timeout && comparable {
            let key = if section.is_set("settle_timeout") { "settle_timeout" } else { "request_timeout" };
            section.warn(
                key,
                format!(
                    "request_timeout is {} and settle_timeout {}: a retry or abort is given up after settle_timeout already",
                    duration::quoted(poll.request_timeout),
                    duration::quoted(poll.settle_timeout)
                ),
            );
        }
        poll
    }
}

/// Returns the control socket's place if the configuration does not name it.
pub(super) fn control_socket(env: &Environment) -> PathBuf {
    env.directory("RUNTIME_DIRECTORY").unwrap_or_else(|| RUNTIME_DIRECTORY.into()).join("control.sock")
}

impl WrittenControl {
    /// Returns its place; `None` if it is turned off.
    pub(super) fn check(self, section: &Section<'_>, env: &Environment) -> Option<PathBuf> {
        let of_the_unit = || default::<Socket>(section, "socket", control_socket(env).display().to_string());
        self.socket.or_else(of_the_unit)?
    }
}

impl WrittenHttp {
    /// Returns the address, and the accepted hosts.
    pub(super) fn check(self, section: &Section<'_>) -> Option<Http> {
        let default = SocketAddr::from(([127, 0, 0, 1], 9187));
        let listen = self.listen.unwrap_or(Some(default))?;
        if !listen.ip().is_loopback() && self.expose_without_authentication != Some(true) {
            if !section.can_compare(&["expose_without_authentication"]) {
                return None;
            }
            section.error_with_hint(
                "listen",
                format!(
                    "{listen} is not a loopback address, so everybody who reaches it can read the page without a password"
                ),
                "listen at 127.0.0.1 and put a proxy with authentication before it, or acknowledge it with \
                 expose_without_authentication = true",
            );
            return None;
        }
        Some(Http { listen, hosts: self.hosts.into_iter().flatten().flatten().collect() })
    }

    /// Returns the values in force.
    pub(super) fn of(http: Option<&Http>) -> Self {
        let hosts = http.map_or(&[][..], |http| &http.hosts);
        Self {
            listen: Some(http.map(|http| http.listen)),
            hosts: Some(hosts.iter().cloned().map(Some).collect()),
            expose_without_authentication: Some(http.is_some_and(|http| !http.listen.ip().is_loopback())),
        }
    }
}
