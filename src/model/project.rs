//! The project as a whole: how it is polled and acted in, and whether it is paused.

use std::time::Duration;

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

use super::policy::{Mode, Policy};

/// How often to poll, and how long to wait for an effect: the configuration's `[poll]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Poll {
    /// List the clusters of the project.
    pub discovery_interval: Duration,
    /// Poll a cluster where nothing runs and nothing failed.
    pub idle_interval: Duration,
    /// Poll a cluster where a task runs, or failed and is handled by the daemon.
    pub active_interval: Duration,
    /// Poll a cluster after a PUT, until its effect is seen.
    pub settle_interval: Duration,
    /// After this a PUT of unknown outcome counts as not accepted, if the task shows no effect.
    pub settle_timeout: Duration,
    /// A failure that ended longer ago when first seen is reported, never acted on.
    pub max_failure_age: Duration,
    /// From the first byte sent to the last byte received.
    pub request_timeout: Duration,
}

impl Poll {
    /// A cluster that could not be polled for longer than this was unreachable: overdue requests
    /// wait once more. Never shorter than the usual interval between two polls of a failed task.
    pub fn unpolled_after(&self) -> Duration {
        self.idle_interval.max(self.active_interval.saturating_mul(2))
    }
}

impl Default for Poll {
    fn default() -> Self {
        Self {
            discovery_interval: Duration::from_mins(5),
            idle_interval: Duration::from_mins(10),
            active_interval: Duration::from_secs(30),
            settle_interval: Duration::from_secs(15),
            settle_timeout: Duration::from_mins(5),
            max_failure_age: Duration::from_hours(72),
            request_timeout: Duration::from_secs(30),
        }
    }
}

/// The limits of requests: the configuration's `[limits]`, each for one project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Requests without an answer yet.
    pub max_requests_in_flight: u32,
    /// Requests begun in a second.
    pub requests_per_second: u32,
    /// Clusters with a retried task running.
    pub max_actions_in_flight: u32,
    /// PUTs within any hour.
    pub max_actions_per_hour: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_requests_in_flight: 16,
            requests_per_second: 20,
            max_actions_in_flight: 20,
            max_actions_per_hour: 120,
        }
    }
}

/// Many failures at once show a fault of the cloud: the configuration's `[breaker]`, for each
/// project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Breaker {
    /// This number of different tasks that were seen to fail …
    pub failures: u32,
    /// … within this time open it …
    pub within: Duration,
    /// … for this long; then one PUT is allowed, as a probe.
    pub cooldown: Duration,
    /// A probe's task that still runs after this closes it.
    pub probe: Duration,
}

impl Default for Breaker {
    fn default() -> Self {
        Self {
            failures: 10,
            within: Duration::from_mins(10),
            cooldown: Duration::from_mins(30),
            probe: Duration::from_mins(15),
        }
    }
}

/// The configuration of a project that a reload may change.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rules {
    /// The policies in force, in their order.
    pub policies: Vec<Policy>,
    /// Intervals and time limits.
    pub poll: Poll,
    /// The limits of requests.
    pub limits: Limits,
    /// The configuration of the circuit breaker.
    pub breaker: Breaker,
    /// How long a task is kept after its end; `None`: for ever.
    pub retention: Option<Duration>,
    /// The global mode: an operator's order is not sent in dry-run either, if no policy matches.
    pub mode: Mode,
}

/// Idle clusters are polled less often than configured, because the request rate does not allow
/// more.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stretch {
    /// The configuration's `idle_interval`.
    pub wanted: Duration,
    /// How long it takes to poll each of them once.
    pub actual: Duration,
    /// The number of requests that may begin in a second: the configuration's limit, or less after
    /// a 429.
    pub per_second: f64,
}

/// The first pause after a refusal (docs/runbook.md, `UpgradeRemediatorProjectPaused`).
pub const FIRST_PAUSE: Duration = Duration::from_mins(30);
/// Pauses double up to this.
pub const LONGEST_PAUSE: Duration = Duration::from_hours(6);
/// No PUT is sent while our clock and the CSS API's differ by more than this.
pub const MAX_CLOCK_OFFSET: Duration = Duration::from_mins(5);

/// Returns whether our clock is wrong: by how much it is ahead of the API's, if known.
pub fn is_clock_off(offset: Option<SignedDuration>) -> bool {
    offset.is_some_and(|offset| offset.unsigned_abs() > MAX_CLOCK_OFFSET)
}

/// A poll that is older than this when a PUT may be sent is repeated. Its age counts from before
/// its first request was sent.
pub const MAX_READING_AGE: Duration = Duration::from_secs(5);
/// Escalate when the API has been busy for this long.
pub const MAX_BUSY: Duration = Duration::from_hours(24);
/// Notify once when the meaning of a cluster's tasks has not been certain for this long: an unknown
/// status, an uncertain order, an incomplete list, a task of two clusters.
pub const UNCLEAR_PATIENCE: Duration = Duration::from_hours(1);

/// Why a project is paused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PauseCause {
    /// The API refused: permission.
    Forbidden,
    /// The answer came from another server than the API.
    WrongAddress,
}

impl PauseCause {
    /// The stable code: the same as in JSON.
    pub fn code(self) -> &'static str {
        match self {
            Self::Forbidden => "forbidden",
            Self::WrongAddress => "wrong-address",
        }
    }
}
