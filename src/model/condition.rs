//! Conditions: states of a project, or of one of its clusters, that last and that an operator should know of.
//!
//! Which conditions are in force follows from what the daemon knows (`reconcile::faults`). [`Conditions::update`] compares
//! that with what was in force before. From each [`Change`] follow a log line and, where the level is critical, a
//! notification and an alert; `status`, the page and the gauges show what is in force.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::id::{ClusterId, ProjectName};
use super::level::Level;
use super::names::Naming;
use super::project::{PauseCause, UNCLEAR_PATIENCE};
use super::reason::Reason;
use super::text::{counted, longer_span, shown, span, utc};
use super::turn::Opening;

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
    /// The clusters of the project can be neither listed nor polled. `trouble`: one word for each thing that an operator
    /// would do about it.
    Unreachable { trouble: String, error: String, advice: String }
        "unreachable" Critical "UpgradeRemediatorProjectUnreachable",
        "project cannot be polled", "reachable" "project can be polled again";
    /// Nothing is sent in the project after a refusal, until one request went through.
    ProjectPaused { cause: PauseCause, refusals: u32, until: Timestamp }
        "project-paused" Critical "UpgradeRemediatorProjectPaused",
        "project is paused", "project-resumed" "project is resumed";
    /// Many tasks of the project failed at once. `probing`: the cooldown is over, and one request is let through.
    BreakerOpen { opening: Opening, until: Timestamp, probing: bool }
        "breaker-open" Critical "UpgradeRemediatorBreakerOpen",
        "circuit breaker opened", "breaker-closed" "circuit breaker closed";
    /// This machine's clock and that of the CSS API differ too much.
    ClockOff { seconds: i64 }
        "clock-off" Critical "UpgradeRemediatorClockOff",
        "clock is off", "clock-right" "clocks agree again";
    /// The daemon's journal cannot be written.
    JournalFailing { error: String }
        "journal-failing" Critical "UpgradeRemediatorJournalFails",
        "journal cannot be written", "journal-works" "journal is written again";
    /// A request is due, and the system gives no connection for it.
    NoConnection { error: String }
        "no-connection" Critical "UpgradeRemediatorNoConnection",
        "no connection can be begun", "connects" "connections can be begun again";
    /// The lists of a cluster's tasks do not show what to do about it. `long`: a failed task has waited for an hour.
    Unclear { cluster: ClusterId, name: String, reason: Reason, long: bool }
        "unclear" Critical "UpgradeTaskUnclear",
        "unclear", "clear" "no longer unclear";
    /// The cluster cannot be polled, and others of the project can.
    ClusterUnreachable { cluster: ClusterId, name: String, trouble: String, error: String }
        "cluster-unreachable" Warning "UpgradeRemediatorClusterUnreachable",
        "cluster cannot be polled", "cluster-reachable" "cluster can be polled again";
    /// More clusters cannot be polled than stand in conditions of their own.
    ClustersUnreachable { error: String }
        "clusters-unreachable" Warning "UpgradeRemediatorClustersUnreachable",
        "more clusters cannot be polled", "clusters-reachable" "no more clusters than those named cannot be polled";
    /// The list of the project's clusters is shorter than its `totalSize`, or has entries that cannot be used.
    ClusterListIncomplete { shown: usize, total: Option<u64>, unusable: Vec<String> }
        "cluster-list-incomplete" Warning "UpgradeRemediatorClusterListIncomplete",
        "list of clusters is incomplete", "cluster-list-complete" "list of clusters is complete again";
    /// The request rate is too low for the idle interval.
    IdleIntervalStretched { per_second: f64, actual: Duration, wanted: Duration }
        "idle-interval-stretched" Warning "UpgradeRemediatorIdleIntervalStretched",
        "idle clusters are polled less often", "idle-interval-kept" "idle clusters are polled as often as configured";
}

/// What an operator can do: what for, and the command, where there is one.
pub type Advice = (String, Option<&'static str>);

const DOCTOR: &str = "upgrade-remediator doctor";
const RELOAD: &str = "systemctl reload upgrade-remediator";

impl Condition {
    /// The cluster and its name, where it is a condition of one.
    pub fn cluster(&self) -> Option<(&ClusterId, &str)> {
        match self {
            Self::Unclear { cluster, name, .. } | Self::ClusterUnreachable { cluster, name, .. } => {
                Some((cluster, name))
            }
            _ => None,
        }
    }

    /// How grave it is now.
    pub fn level(&self) -> Level {
        match self {
            Self::Unclear { long: false, .. } => Level::Warning,
            other => other.code().level(),
        }
    }

    /// Whether operators are notified of it and reminded of it.
    pub fn notifies(&self) -> bool {
        self.level() == Level::Critical
    }

    /// What it says to an operator: where this changes, they are notified again.
    fn notice_sign(&self) -> String {
        match self {
            Self::Unreachable { trouble, .. } => trouble.clone(),
            Self::ProjectPaused { cause, .. } => cause.code().to_owned(),
            Self::BreakerOpen { until, .. } => until.to_string(),
            Self::Unclear { reason, .. } => reason.code().to_owned(),
            _ => String::new(),
        }
    }

    /// What it says to the log.
    fn log_sign(&self) -> String {
        let more = match self {
            Self::ProjectPaused { refusals, .. } => refusals.to_string(),
            Self::BreakerOpen { probing, .. } => probing.to_string(),
            Self::Unclear { reason, long, .. } => format!("{long} {reason}"),
            Self::ClusterUnreachable { trouble, .. } => trouble.clone(),
            _ => String::new(),
        };
        format!("{} {more}", self.notice_sign())
    }

    /// Why, as one stable word.
    pub fn cause(&self) -> &str {
        match self {
            Self::Unreachable { trouble, .. } | Self::ClusterUnreachable { trouble, .. } => trouble,
            Self::ProjectPaused { cause, .. } => cause.code(),
            Self::Unclear { reason, .. } => reason.code(),
            other => other.code().word(),
        }
    }

    /// What is true now, as one sentence without its subject.
    pub fn text(&self) -> String {
        match self {
            Self::Unreachable { error, .. } => {
                format!("its clusters cannot be polled, and no request is sent: {error}")
            }
            Self::ProjectPaused { cause, refusals, until } => format!(
                "no request is sent until {}, then one as a probe: {} ({})",
                utc(*until),
                match cause {
                    PauseCause::Forbidden => "the CSS API forbids what was sent",
                    PauseCause::WrongAddress => "something other than the CSS API answered",
                },
                counted(u64::from(*refusals), "refusal in a row", "refusals in a row"),
            ),
            Self::BreakerOpen { opening, until, probing: false } => {
                format!("no request is sent until {}, then one as a probe: {opening}", utc(*until))
            }
            Self::BreakerOpen { opening, probing: true, .. } => {
                format!("one request is let through as a probe; what becomes of its task decides: {opening}")
            }
            Self::ClockOff { seconds } => Reason::ClockOff { seconds: *seconds }.to_string(),
            Self::JournalFailing { error } => {
                format!("no request is sent while the journal cannot be written: {error}")
            }
            Self::NoConnection { error } => {
                format!("a request is due and waits, as no connection can be begun: {error}")
            }
            Self::Unclear { reason, long: false, .. } => format!("no request is sent for it: {reason}"),
            Self::Unclear { reason, long: true, .. } => {
                let long = span(UNCLEAR_PATIENCE);
                format!(
                    "no request has been sent for it for more than {long}; an operator should look: {reason}"
                )
            }
            Self::ClusterUnreachable { error, .. } => format!("it cannot be polled: {error}"),
            Self::ClustersUnreachable { error } => {
                format!("more clusters cannot be polled; the latest: {error}")
            }
            Self::ClusterListIncomplete { shown: seen, total, unusable } => {
                let total = total.map_or_else(|| "no number".to_owned(), |total| total.to_string());
                let mut text = format!(
                    "the list shows {} and says that there are {total}; some are not watched",
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

    /// What the daemon does while it lasts.
    pub fn meanwhile(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } => {
                "the daemon tries again by itself; overdue requests are spread over time afterwards"
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
                "the daemon tries again by itself; no request is sent for such a cluster"
            }
            Self::ClusterListIncomplete { .. } => "clusters that the list has shown are watched",
            Self::IdleIntervalStretched { .. } => {
                "clusters with a running or failed task are polled as configured"
            }
        }
    }

    /// What an operator can do, the most useful first.
    pub fn advice(&self) -> Vec<Advice> {
        let plain = |what: &str| (what.to_owned(), None);
        let doctor = || ("to have each step tried".to_owned(), Some(DOCTOR));
        match self {
            Self::Unreachable { advice, .. } => vec![(shown(advice, 500), None), doctor()],
            Self::ProjectPaused { cause: PauseCause::Forbidden, .. } => vec![
                (
                    "check that the credential has css:cluster:retryAction, then reload".to_owned(),
                    Some(RELOAD),
                ),
                doctor(),
            ],
            Self::ProjectPaused { cause: PauseCause::WrongAddress, .. } => {
                vec![
                    ("check the endpoint, and any proxy before it, then reload".to_owned(), Some(RELOAD)),
                    doctor(),
                ]
            }
            Self::BreakerOpen { .. } => vec![
                ("to see which tasks failed".to_owned(), Some("upgrade-remediator status")),
                plain("look for a fault of the cloud that is behind them all"),
            ],
            Self::ClockOff { .. } => {
                vec![("to set this machine's clock".to_owned(), Some("timedatectl set-ntp true")), doctor()]
            }
            Self::JournalFailing { .. } => {
                vec![
                    ("to see the space that is left where the journal lies".to_owned(), Some("df -h")),
                    doctor(),
                ]
            }
            Self::NoConnection { .. } => {
                vec![plain("raise LimitNOFILE= of the unit, or free ports"), doctor()]
            }
            Self::Unclear { .. } => vec![plain("look at the cluster in the console")],
            Self::ClusterUnreachable { .. } | Self::ClustersUnreachable { .. } => vec![doctor()],
            Self::ClusterListIncomplete { .. } => vec![plain("look at the list of clusters in the console")],
            Self::IdleIntervalStretched { .. } => {
                vec![plain("raise limits.requests_per_second or poll.idle_interval")]
            }
        }
    }
}

impl Code {
    /// Whether it ends without an operator, so that nobody is reminded of it.
    pub fn ends_by_itself(self) -> bool {
        self == Self::BreakerOpen
    }
}

/// A condition in force.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Standing {
    /// The project.
    pub project: ProjectName,
    /// Since when.
    pub since: Timestamp,
    /// The condition as it is now.
    #[serde(flatten)]
    pub condition: Condition,
    /// An earlier process found it, and this one has not found it yet.
    #[serde(skip)]
    pub recalled: bool,
}

impl Standing {
    /// Under which word it is kept: one for each condition of the project, and of each of its clusters.
    pub fn word(&self) -> String {
        let code = self.condition.code().word();
        match self.condition.cluster() {
            Some((cluster, _)) => format!("{code}/{cluster}"),
            None => code.to_owned(),
        }
    }

    /// How long it has lasted, in whole seconds.
    pub fn lasted(&self, now: Timestamp) -> Duration {
        Duration::from_secs(now.duration_since(self.since).unsigned_abs().as_secs())
    }
}

/// A condition began (`before` is `None`), changed, was found again after a restart, or ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// When.
    pub at: Timestamp,
    /// The condition, as it is now or as it was last.
    pub standing: Standing,
    /// What it was before.
    pub before: Option<Condition>,
    /// Whether it is over.
    pub ended: bool,
}

/// What operators are notified of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// The condition, as one that began or changed.
    Began,
    /// Its end.
    Ended,
}

impl Change {
    /// What operators are notified of, if of anything.
    pub fn told(&self) -> Option<Told> {
        let condition = &self.standing.condition;
        let was_told = self.before.as_ref().is_some_and(Condition::notifies);
        if self.ended || !condition.notifies() {
            return was_told.then_some(Told::Ended);
        }
        let same = self.before.as_ref().is_some_and(|before| before.notice_sign() == condition.notice_sign());
        (!was_told || !same).then_some(Told::Began)
    }

    /// Whether operators were notified of the condition, and not of its end.
    pub fn lasts(&self) -> bool {
        !self.ended && self.standing.condition.notifies()
    }
}

/// The conditions in force, of all projects.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Conditions {
    standing: BTreeMap<ProjectName, BTreeMap<Option<ClusterId>, BTreeMap<Code, Standing>>>,
}

/// What is in force by what is known, of a project and one of its clusters.
#[derive(Debug, Default)]
pub struct Found {
    /// What is certain to be in force.
    pub conditions: Vec<Condition>,
    /// Of these it is not known yet.
    pub unknown: Vec<Code>,
}

impl Conditions {
    /// Those that were in force when an earlier process ended.
    pub fn recall(kept: Vec<Standing>) -> Self {
        Self::all_of(kept.into_iter().map(|standing| Standing { recalled: true, ..standing }))
    }

    fn all_of(each: impl Iterator<Item = Standing>) -> Self {
        let mut all = Self::default();
        for standing in each {
            all.insert(standing);
        }
        all
    }

    fn insert(&mut self, standing: Standing) {
        let cluster = standing.condition.cluster().map(|(cluster, _)| cluster.clone());
        let of = self.standing.entry(standing.project.clone()).or_default().entry(cluster).or_default();
        of.insert(standing.condition.code(), standing);
    }

    /// Takes in which conditions are in force of the project itself and of this cluster. Returns what changed.
    pub fn update(
        &mut self,
        project: &ProjectName,
        cluster: Option<&ClusterId>,
        found: Found,
        at: Timestamp,
    ) -> Vec<Change> {
        let mut changes = Vec::new();
        if found.conditions.is_empty() && !self.standing.contains_key(project) {
            return changes;
        }
        let Found { conditions, unknown } = found;
        let is_found = |code| conditions.iter().any(|condition| condition.code() == code);
        let of = self.standing.entry(project.clone()).or_default();
        for about in [None, cluster.cloned()].into_iter().take(1 + usize::from(cluster.is_some())) {
            let Some(known) = of.get_mut(&about) else { continue };
            let over = known.extract_if(.., |code, _| !is_found(*code) && !unknown.contains(code));
            changes.extend(over.map(|(_, standing)| Change {
                at,
                before: Some(standing.condition.clone()),
                standing,
                ended: true,
            }));
            if known.is_empty() {
                of.remove(&about);
            }
        }
        for condition in conditions {
            let about = condition.cluster().map(|(cluster, _)| cluster.clone());
            let known = of.entry(about).or_default();
            let before = known.get(&condition.code());
            let is_same =
                |before: &Standing| !before.recalled && before.condition.log_sign() == condition.log_sign();
            let same = before.is_some_and(is_same);
            let since = before.map_or(at, |before| before.since);
            let before = before.map(|before| before.condition.clone());
            let standing = Standing { project: project.clone(), since, condition, recalled: false };
            known.insert(standing.condition.code(), standing.clone());
            if !same {
                changes.push(Change { at, standing, before, ended: false });
            }
        }
        if of.is_empty() {
            self.standing.remove(project);
        }
        changes
    }

    /// The condition of this code, of a project or one of its clusters.
    pub fn get(&self, project: &ProjectName, cluster: Option<&ClusterId>, code: Code) -> Option<&Standing> {
        self.standing.get(project)?.get(&cluster.cloned())?.get(&code)
    }

    /// Those of a project, in the order of their codes.
    pub fn of<'a>(&'a self, project: &ProjectName) -> impl Iterator<Item = &'a Standing> + use<'a> {
        self.standing.get(project).into_iter().flat_map(BTreeMap::values).flat_map(BTreeMap::values)
    }

    /// All of them, by project.
    pub fn all(&self) -> impl Iterator<Item = &Standing> {
        self.standing.values().flat_map(BTreeMap::values).flat_map(BTreeMap::values)
    }

    /// A project is watched no more. Returns the conditions that were in force in it.
    pub fn forget(&mut self, project: &ProjectName) -> Vec<Standing> {
        let of = self.standing.remove(project).unwrap_or_default();
        of.into_values().flat_map(BTreeMap::into_values).collect()
    }

    /// Projects have other names from now on.
    pub fn rename(&mut self, naming: &Naming) {
        let all: Vec<Standing> = self.all().cloned().collect();
        let renamed =
            |standing: Standing| Standing { project: naming.renamed(&standing.project).clone(), ..standing };
        *self = Self::all_of(all.into_iter().map(renamed));
    }
}
