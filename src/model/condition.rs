//! Conditions: states of a project, or of one of its clusters, that last and that an operator should know of.
//!
//! Which conditions are in force follows from the state of the daemon (`reconcile::faults`).
//! [`Conditions::update`] compares them with those in force before. Each [`Change`] leads to a log
//! line and, for level critical, to a notification and an alert; `status`, the page and the gauges
//! show what is in force.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::command::command;
use super::id::ClusterId;
use super::level::Level;
use super::project::{PauseCause, UNCLEAR_PATIENCE};
use super::reason::Reason;
use super::text::{counted, longer_span, shown, span, utc};
use super::turn::Opening;

mod standing;
#[cfg(test)]
mod tests;

pub use standing::{Change, Conditions, Found, Standing, Told};

macro_rules! conditions {
    ($($(#[$doc:meta])* $name:ident { $($field:ident: $type:ty),* $(,)? }
        $code:literal $level:ident $alert:literal, $title:literal, $ended:literal $ended_title:literal;)*) => {
        /// A state that lasts.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "condition")]
        #[expect(missing_docs, reason = "the variants' docs tell their fields")]
        pub enum Condition {
            $($(#[$doc])* #[serde(rename = $code)] $name { $($field: $type),* },)*
        }

        /// Which condition.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Code {
            $($(#[$doc])* $name,)*
        }

        impl Condition {
            /// Which one.
            pub fn code(&self) -> Code {
                match self { $(Self::$name { .. } => Code::$name,)* }
            }
        }

        impl Code {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The stable word.
            pub fn word(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }

            /// The stable word for its end.
            pub fn end_word(self) -> &'static str {
                match self { $(Self::$name => $ended,)* }
            }

            /// The level of its notifications.
            pub fn level(self) -> Level {
                match self { $(Self::$name => Level::$level,)* }
            }

            /// The name of its alert.
            pub fn alert(self) -> &'static str {
                match self { $(Self::$name => $alert,)* }
            }

            /// The condition as a heading.
            pub fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)* }
            }

            /// Its end as a heading.
            pub fn end_title(self) -> &'static str {
                match self { $(Self::$name => $ended_title,)* }
            }
        }
    };
}

conditions! {
    /// The clusters of the project can be neither listed nor polled. `trouble`: one word for each
    /// different step of an operator.
    Unreachable { trouble: String, error: String, advice: String }
        "unreachable" Critical "UpgradeRemediatorProjectUnreachable",
        "project cannot be polled", "reachable" "project can be polled again";
    /// Nothing is sent in the project after a refusal, until one request has succeeded.
    ProjectPaused { cause: PauseCause, refusals: u32, until: Timestamp }
        "project-paused" Critical "UpgradeRemediatorProjectPaused",
        "project is paused", "project-resumed" "project is resumed";
    /// Many tasks of the project failed at once. `probing`: the cooldown is over, and one request
    /// is allowed.
    BreakerOpen { opening: Opening, until: Timestamp, probing: bool }
        "breaker-open" Critical "UpgradeRemediatorBreakerOpen",
        "circuit breaker opened", "breaker-closed" "circuit breaker closed";
    /// This machine's clock and that of the CSS API differ too much.
    ClockOff { seconds: i64 }
        "clock-off" Critical "UpgradeRemediatorClockOff",
        "clock is off", "clock-right" "clocks agree again";
    /// The daemon's journal cannot be written.
    JournalFailing { error: String }
        "journal-failing" Critical "UpgradeRemediatorJournalFailing",
        "journal cannot be written", "journal-works" "journal is written again";
    /// A request is due, and no connection can be begun for it.
    NoConnection { error: String }
        "no-connection" Critical "UpgradeRemediatorNoConnection",
        "no connection can be opened", "connects" "connections can be opened again";
    /// The lists of a cluster's tasks do not show what to do about it. `long`: a failed task has waited for an hour.
    Unclear { cluster: ClusterId, name: String, reason: Reason, long: bool }
        "unclear" Critical "UpgradeTaskUnclear",
        "unclear", "clear" "no longer unclear";
    /// The cluster cannot be polled, and others of the project can.
    ClusterUnreachable { cluster: ClusterId, name: String, trouble: String, error: String }
        "cluster-unreachable" Warning "UpgradeRemediatorClusterUnreachable",
        "cluster cannot be polled", "cluster-reachable" "cluster can be polled again";
    /// More clusters cannot be polled than have conditions of their own.
    ClustersUnreachable { error: String, failing: usize, watched: usize }
        "clusters-unreachable" Warning "UpgradeRemediatorClustersUnreachable",
        "more clusters cannot be polled", "clusters-reachable" "only the clusters named before cannot be polled";
    /// The list of the project's clusters is shorter than its `totalSize`, or has entries that cannot be used.
    ClusterListIncomplete { shown: usize, total: Option<u64>, unusable: Vec<String> }
        "cluster-list-incomplete" Warning "UpgradeRemediatorClusterListIncomplete",
        "list of clusters is incomplete", "cluster-list-complete" "list of clusters is complete again";
    /// The request rate is too low for the idle interval.
    IdleIntervalStretched { per_second: f64, actual: Duration, wanted: Duration }
        "idle-interval-stretched" Warning "UpgradeRemediatorIdleIntervalStretched",
        "idle clusters are polled less often", "idle-interval-kept" "idle clusters are polled as often as configured";
}

/// What an operator can do: the purpose, and the command, if there is one.
pub type Advice = (String, Option<String>);

const RELOAD: &str = "systemctl reload upgrade-remediator";

impl Condition {
    /// The cluster and its name, if the condition concerns one.
    pub fn cluster(&self) -> Option<(&ClusterId, &str)> {
        match self {
            Self::Unclear { cluster, name, .. } | Self::ClusterUnreachable { cluster, name, .. } => {
                Some((cluster, name))
            }
            _ => None,
        }
    }

    /// Returns its present level.
    pub fn level(&self) -> Level {
        match self {
            Self::Unclear { long: false, .. } => Level::Warning,
            other => other.code().level(),
        }
    }

    /// Returns whether operators are notified of it and reminded of it.
    pub fn notifies(&self) -> bool {
        self.level() == Level::Critical
    }

    /// Returns its content for an operator: a change of it leads to another notification.
    fn notice_sign(&self) -> String {
        match self {
            Self::Unreachable { trouble, .. } => trouble.clone(),
            Self::ProjectPaused { cause, .. } => cause.code().to_owned(),
            Self::BreakerOpen { until, .. } => until.to_string(),
            Self::Unclear { reason, .. } => reason.code().to_owned(),
            _ => String::new(),
        }
    }

    /// Returns its text for the log.
    fn log_sign(&self) -> String {
        let more = match self {
            Self::ProjectPaused { refusals, .. } => refusals.to_string(),
            Self::BreakerOpen { probing, .. } => probing.to_string(),
            Self::Unclear { reason, long, .. } => format!("{long} {reason}"),
            Self::ClusterUnreachable { trouble, .. } => trouble.clone(),
            // Of the number only whether it is all: not a line for each cluster.
            Self::ClustersUnreachable { failing, watched, .. } => (failing >= watched).to_string(),
            _ => String::new(),
        };
        format!("{} {more}", self.notice_sign())
    }

    /// Returns its cause, as one stable word.
    pub fn cause(&self) -> &str {
        match self {
            Self::Unreachable { trouble, .. } | Self::ClusterUnreachable { trouble, .. } => trouble,
            Self::ProjectPaused { cause, .. } => cause.code(),
            Self::Unclear { reason, .. } => reason.code(),
            other => other.code().word(),
        }
    }

    /// Returns what is true now, as one sentence without its subject.
    pub fn text(&self) -> String {
        match self {
            Self::Unreachable { error, .. } => {
                format!("its clusters cannot be polled, and no request is sent: {error}")
            }
            Self::ProjectPaused { cause, refusals, until } => format!(
                "the project is paused because {} ({}): no request is sent until {}, then one as a probe",
                match cause {
                    PauseCause::Forbidden => "the CSS API refused a request as forbidden",
                    PauseCause::WrongAddress => "something other than the CSS API answered a request",
                },
                counted(u64::from(*refusals), "refusal in a row", "refusals in a row"),
                utc(*until),
            ),
            Self::BreakerOpen { opening, until, probing: false } => format!(
                "the circuit breaker is open because {opening}: no request is sent until {}, then one as a probe",
                utc(*until)
            ),
            Self::BreakerOpen { opening, probing: true, .. } => format!(
                "the circuit breaker is half-open because {opening}: one request is sent as a probe, and the outcome of \
                 its task decides whether the circuit breaker closes"
            ),
            Self::ClockOff { seconds } => Reason::ClockOff { seconds: *seconds }.to_string(),
            Self::JournalFailing { error } => {
                format!("no request is sent while the journal cannot be written: {error}")
            }
            Self::NoConnection { error } => {
                format!("a request is due and is not sent, because no connection can be opened: {error}")
            }
            Self::Unclear { reason, long: false, .. } => {
                format!("no request is sent for the cluster: {reason}")
            }
            Self::Unclear { reason, long: true, .. } => {
                let long = span(UNCLEAR_PATIENCE);
                format!(
                    "no request has been sent for the cluster for more than {long}; an operator should check it: {reason}"
                )
            }
            Self::ClusterUnreachable { error, .. } => format!("the cluster cannot be polled: {error}"),
            Self::ClustersUnreachable { error, failing, watched } if failing < watched => {
                format!("{failing} of {watched} clusters cannot be polled; the latest: {error}")
            }
            Self::ClustersUnreachable { error, watched, .. } => {
                format!("none of the {watched} clusters can be polled; the latest: {error}")
            }
            Self::ClusterListIncomplete { shown: seen, total, unusable } => {
                let total = total.map_or_else(|| "no number".to_owned(), |total| total.to_string());
                let mut text = format!(
                    "the list shows {} of {total}; the daemon does not watch the others",
                    counted(*seen as u64, "cluster", "clusters")
                );
                if !unusable.is_empty() {
                    let ids: Vec<String> = unusable.iter().map(|id| shown(id, 60)).collect();
                    text = format!("{text}; entries that cannot be used: {}", ids.join(", "));
                }
                text
            }
            Self::IdleIntervalStretched { per_second, actual, wanted } => format!(
                "{per_second:.1} requests a second are not enough: idle clusters are polled every {} instead of every {}",
                longer_span(*actual),
                span(*wanted)
            ),
        }
    }

    /// Returns what is true once it is over after this time, in the words of [`Condition::text`].
    pub fn end_text(&self, lasted: Duration) -> String {
        let lasted = span(lasted);
        let over = match self {
            Self::Unreachable { .. } => "its clusters can be polled again".to_owned(),
            Self::ProjectPaused { .. } => "the project is no longer paused".to_owned(),
            Self::BreakerOpen { .. } => "the circuit breaker is closed again".to_owned(),
            Self::ClockOff { .. } => {
                "this machine's clock and the CSS API's clock no longer differ too much".to_owned()
            }
            Self::JournalFailing { .. } => "the journal is written again".to_owned(),
            Self::NoConnection { .. } => "connections can be opened again".to_owned(),
            Self::Unclear { reason, .. } => {
                return format!(
                    "the polls no longer stop every request for the cluster, after {lasted}; before: {reason}"
                );
            }
            Self::ClusterUnreachable { .. } => "the cluster can be polled again".to_owned(),
            Self::ClustersUnreachable { .. } => {
                "only clusters with a line of their own cannot be polled".to_owned()
            }
            Self::ClusterListIncomplete { .. } => "the list shows all clusters again".to_owned(),
            Self::IdleIntervalStretched { wanted, .. } => {
                format!("idle clusters are polled every {} again", span(*wanted))
            }
        };
        format!("{over}, after {lasted}")
    }

    /// Returns what the daemon does while it lasts.
    pub fn meanwhile(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } => {
                "the daemon tries again automatically; overdue requests are spread over time afterwards"
            }
            Self::ProjectPaused { .. } | Self::BreakerOpen { .. } => {
                "polling continues; no request but the probe is sent"
            }
            Self::ClockOff { .. } => "polling continues; no request is sent until the clocks agree",
            Self::JournalFailing { .. } | Self::NoConnection { .. } => {
                "polling continues; the daemon tries again at each poll"
            }
            Self::Unclear { .. } => "polling continues; no request is sent for the cluster",
            Self::ClusterUnreachable { .. } | Self::ClustersUnreachable { .. } => {
                "the daemon tries again automatically; no request is sent for such a cluster"
            }
            Self::ClusterListIncomplete { .. } => "the daemon watches the clusters that the list has shown",
            Self::IdleIntervalStretched { .. } => {
                "clusters with a running or failed task are polled as configured"
            }
        }
    }

    /// Returns what an operator can do, the most useful first.
    pub fn advice(&self) -> Vec<Advice> {
        let plain = |what: &str| (what.to_owned(), None);
        let doctor = || ("to test each step".to_owned(), Some(command("doctor")));
        match self {
            Self::Unreachable { advice, .. } => vec![(shown(advice, 500), None), doctor()],
            Self::ProjectPaused { cause: PauseCause::Forbidden, .. } => vec![
                (
                    "check that the credential has css:cluster:retryAction, then reload".to_owned(),
                    Some(RELOAD.to_owned()),
                ),
                doctor(),
            ],
            Self::ProjectPaused { cause: PauseCause::WrongAddress, .. } => {
                vec![
                    (
                        "check the endpoint, and any proxy before it, then reload".to_owned(),
                        Some(RELOAD.to_owned()),
                    ),
                    doctor(),
                ]
            }
            Self::BreakerOpen { .. } => vec![
                ("to see which tasks failed".to_owned(), Some(command("status"))),
                plain("check whether the failures have one cause in the cloud"),
            ],
            Self::ClockOff { .. } => {
                vec![
                    ("to set this machine's clock".to_owned(), Some("timedatectl set-ntp true".to_owned())),
                    doctor(),
                ]
            }
            Self::JournalFailing { .. } => {
                vec![
                    ("to see the free space of the journal's disk".to_owned(), Some("df -h".to_owned())),
                    doctor(),
                ]
            }
            Self::NoConnection { .. } => {
                vec![plain("raise LimitNOFILE= of the unit, or free ports"), doctor()]
            }
            Self::Unclear { .. } => vec![plain("check the cluster in the console")],
            Self::ClusterUnreachable { .. } | Self::ClustersUnreachable { .. } => vec![doctor()],
            Self::ClusterListIncomplete { .. } => {
                vec![plain("compare with the list of clusters in the console")]
            }
            Self::IdleIntervalStretched { .. } => {
                vec![plain("raise limits.requests_per_second or poll.idle_interval")]
            }
        }
    }
}

impl Code {
    /// Returns whether it ends without an operator, so that there are no reminders.
    pub fn ends_by_itself(self) -> bool {
        self == Self::BreakerOpen
    }
}
