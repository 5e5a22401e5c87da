//! The state of the daemon, as values: for the command line, the page and the metrics.
//!
//! A reason has its code and its own words, as in the log and the journal.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::model::channel::ChannelCounts;
use crate::model::condition::Standing;
pub use crate::model::explanation::{Explanation, Why};
use crate::model::hold::StoredHold;
use crate::model::id::{ClusterId, ProjectName, TaskId};
use crate::model::level::Level;
use crate::model::moment::Moment;
use crate::model::outlook::Outlook;
use crate::model::policy::{Mode, OnExhausted, Policy};
use crate::model::project_state::ProjectState;
use crate::model::record::{Phase, TaskRecord};
use crate::model::task::TaskKind;
use crate::model::text::{counted, named, shown, span};

pub mod json;
pub mod metrics;
pub mod summary;

/// A running daemon at one moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Its version.
    pub version: String,
    /// The time of the report.
    pub at: Timestamp,
    /// When it started.
    pub started: Timestamp,
    /// The global mode in force.
    pub mode: Mode,
    /// The configuration in force.
    pub configuration: InForce,
    /// The conditions in force, the most important first.
    #[serde(default)]
    pub conditions: Vec<ConditionReport>,
    /// Each project.
    pub projects: Vec<ProjectReport>,
    /// The holds in force, oldest first.
    pub holds: Vec<StoredHold>,
    /// The enabled policies in their order: the first that matches a task governs it.
    pub policies: Vec<PolicyReport>,
    /// The state of each channel.
    #[serde(default)]
    pub channels: Vec<ChannelCounts>,
}

/// The configuration in force, and whether newer ones were refused.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InForce {
    /// The file.
    pub file: String,
    /// When they were read.
    pub since: Timestamp,
    /// The first 12 hexadecimal digits of SHA-256 over them.
    pub hash: String,
    /// The warnings of it, as `check` shows them.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// A later reload that changed nothing, and why.
    pub refused: Option<Refused>,
}

/// A reload that changed nothing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Refused {
    /// When.
    pub at: Timestamp,
    /// What is wrong, one problem each.
    pub problems: Vec<String>,
}

/// A condition in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConditionReport {
    /// Its stable code.
    pub code: String,
    /// Its level.
    pub level: Level,
    /// The project; `None` if it concerns the whole daemon.
    pub project: Option<ProjectName>,
    /// The cluster, if it concerns one.
    pub cluster: Option<ClusterId>,
    /// Since when.
    pub since: Timestamp,
    /// What is true.
    pub text: String,
    /// What an operator can do; `None` if there is nothing.
    pub next_step: Option<String>,
}

impl ConditionReport {
    /// Returns these, the most important first, and of those the oldest.
    pub fn all(standing: impl IntoIterator<Item = Standing>) -> Vec<Self> {
        let mut all: Vec<Self> = standing.into_iter().map(Self::new).collect();
        all.sort_by_key(|condition| (std::cmp::Reverse(condition.level), condition.since));
        all
    }

    fn new(standing: Standing) -> Self {
        let Standing { project, since, condition, .. } = standing;
        let text = match condition.cluster() {
            Some((_, name)) => format!("cluster {}: {}", named(name, 80), condition.text()),
            None => format!("project {project}: {}", condition.text()),
        };
        let next_step = condition.advice().into_iter().next().map(|(purpose, command)| match command {
            Some(command) => format!("{purpose}: `{command}`"),
            None => purpose,
        });
        Self {
            code: condition.code().word().to_owned(),
            level: condition.level(),
            project: Some(project),
            cluster: condition.cluster().map(|(cluster, _)| cluster.clone()),
            since,
            text: shown(&text, 2_000),
            next_step,
        }
    }
}

/// One project.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProjectReport {
    /// Its name in the configuration.
    pub name: ProjectName,
    /// Clusters that the list of clusters has shown.
    pub clusters: usize,
    /// It is gone from the configuration, and the daemon only confirms open requests.
    pub leaving: bool,
    /// The state of its circuit breaker.
    pub breaker: BreakerState,
    /// Requests of unknown outcome.
    pub unknown_outcomes: u32,
    /// PUTs within the last hour, and the limit.
    pub actions_last_hour: (u32, u32),
    /// The part that only a running daemon knows. `None` if this comes from the journal alone.
    pub live: Option<Live>,
    /// Unfinished tasks.
    pub tasks: Vec<TaskReport>,
    /// Tasks that had failed and ended within the last 24 hours, the latest first.
    #[serde(default)]
    pub ended: Vec<EndedReport>,
}

/// The state of the circuit breaker of a project.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BreakerState {
    /// Requests are sent.
    Closed,
    /// Nothing is sent.
    Open,
    /// One PUT is allowed as a probe.
    HalfOpen,
}

impl BreakerState {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Closed, Self::Open, Self::HalfOpen];

    fn of(project_state: &ProjectState, now: Moment) -> Self {
        match &project_state.breaker.open {
            None => Self::Closed,
            Some(open) if now.mono < open.until.mono => Self::Open,
            Some(_) => Self::HalfOpen,
        }
    }

    /// The stable word: the same as in JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half-open",
        }
    }
}

/// What a running daemon knows of a project, and how recent that is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Live {
    /// The time of the last complete list of clusters.
    pub last_list: Option<Timestamp>,
    /// Clusters that are watched: those of engines that have tasks.
    pub watched: usize,
    /// Of the watched clusters that were polled, the oldest last complete poll.
    pub oldest_poll: Option<Timestamp>,
    /// Watched clusters that this process never polled.
    pub never_read: usize,
    /// When a list first showed the one of them that has waited longest.
    pub never_read_since: Option<Timestamp>,
    /// A poll that is older than this is too old, in seconds.
    pub poll_age_limit_seconds: f64,
    /// The state of its credential, in words.
    #[serde(default)]
    pub credential: Option<String>,
    /// Clusters that could not be polled at the last try.
    pub unreachable: usize,
    /// Our clock minus the CSS API's, in seconds. `None` before the first answer.
    pub clock_offset_seconds: Option<i64>,
    /// The limits of requests.
    pub limits: Pace,
}

impl Live {
    /// Returns the oldest last poll of all watched clusters. One that was never polled counts from
    /// when a list first showed it.
    pub fn oldest(&self) -> Option<Timestamp> {
        self.oldest_poll.into_iter().chain(self.never_read_since).min()
    }
}

/// The limits of requests in one project.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pace {
    /// Requests without an answer yet.
    pub requests_in_flight: u32,
    /// Requests begun in a second, by the configuration.
    pub requests_per_second: u32,
    /// The same at present: fewer after a 429.
    pub requests_per_second_now: Option<f64>,
    /// Clusters with a retried task running.
    pub actions_in_flight: u32,
}

/// An unfinished task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskReport {
    /// Its cluster.
    pub cluster: ClusterId,
    /// The cluster's name.
    pub cluster_name: String,
    /// The task.
    pub task: TaskId,
    /// Upgrade or AZ switchover.
    pub kind: TaskKind,
    /// Its outlook.
    #[serde(flatten)]
    pub outlook: Outlook,
    /// Since when it runs, if it was reported to run too long.
    pub runs_too_long_since: Option<Timestamp>,
}

/// A task that had failed and has ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EndedReport {
    /// Its cluster.
    pub cluster: ClusterId,
    /// The cluster's name.
    pub cluster_name: String,
    /// The task.
    pub task: TaskId,
    /// Upgrade or AZ switchover.
    pub kind: TaskKind,
    /// How it ended, as a stable word.
    pub outcome: String,
    /// The number of requests that were sent for it.
    pub requests_sent: u32,
    /// From when its first failure was first seen to its end.
    pub first_failure_to_end_seconds: f64,
    /// When it ended.
    pub at: Timestamp,
}

/// How long an ended task is shown.
const ENDED_FOR: Duration = Duration::from_hours(24);

fn ended(project_state: &ProjectState, now: Moment) -> Vec<EndedReport> {
    let all = project_state
        .clusters
        .iter()
        .flat_map(|(cluster, record)| record.tasks.iter().map(move |(id, task)| (cluster, id, task)));
    let ended = all.filter_map(|(cluster, id, task)| {
        let (Phase::Ended(outcome, at), Some(first)) = (task.phase(), task.first_failed) else { return None };
        (now.since(at) <= ENDED_FOR).then(|| EndedReport {
            cluster: cluster.clone(),
            cluster_name: task.cluster_name.clone(),
            task: id.clone(),
            kind: task.kind,
            outcome: outcome.word().to_owned(),
            requests_sent: task.attempts,
            first_failure_to_end_seconds: at.since(first).as_secs_f64().round(),
            at: at.wall,
        })
    });
    let mut ended: Vec<EndedReport> = ended.collect();
    ended.sort_by_key(|ended| std::cmp::Reverse(ended.at));
    ended
}

/// A policy in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyReport {
    /// Its name.
    pub name: String,
    /// What it does with the tasks that it matches, in words.
    pub words: String,
}

impl PolicyReport {
    /// In words, as the configuration has it.
    pub fn new(policy: &Policy) -> Self {
        let (terms, retry) = (&policy.terms, &policy.terms.retry);
        let mode = terms.mode.word();
        let retries = match retry.max_retries {
            0 => "no retry".to_owned(),
            retries => format!(
                "{}, the first after {}, at most {} apart",
                counted(u64::from(retries), "retry", "retries"),
                span(retry.initial_interval),
                span(retry.max_interval)
            ),
        };
        let end = match terms.on_exhausted {
            OnExhausted::Abort => {
                format!(
                    "then an abort after {} if no node is completed, otherwise an escalation",
                    span(terms.abort_grace)
                )
            }
            OnExhausted::Escalate => "then an escalation".to_owned(),
        };
        let window = if terms.window.is_some() { "; within its window" } else { "" };
        Self { name: policy.name().to_owned(), words: format!("{mode}: {retries}; {end}{window}") }
    }
}

/// The project, beside its state in the journal.
pub struct ReportInput<'a> {
    /// Its name in the configuration.
    pub name: &'a ProjectName,
    /// Clusters that the list of clusters has shown.
    pub clusters: usize,
    /// It is gone from the configuration.
    pub leaving: bool,
    /// PUTs that are allowed within an hour.
    pub max_actions_per_hour: u32,
    /// The part that only a running daemon knows.
    pub live: Option<Live>,
}

impl ProjectReport {
    /// Makes the report of it.
    pub fn new(
        around: &ReportInput<'_>,
        project_state: &ProjectState,
        outlook: impl Fn(&ClusterId, &TaskId, &TaskRecord) -> Outlook,
        now: Moment,
    ) -> Self {
        let tasks = project_state.clusters.iter().flat_map(|(cluster, history)| {
            let unfinished = history.tasks.iter().filter(|(_, task)| !task.is_ended());
            unfinished.map(|(id, task)| TaskReport {
                cluster: cluster.clone(),
                cluster_name: task.cluster_name.clone(),
                task: id.clone(),
                kind: task.kind,
                outlook: outlook(cluster, id, task),
                runs_too_long_since: task.runs_too_long().map(|since| since.wall),
            })
        });
        let mut tasks: Vec<TaskReport> = tasks.collect();
        let all = project_state.clusters.values().flat_map(|history| history.tasks.values());
        let is_unknown = |task: &&TaskRecord| {
            !task.is_ended() && task.open.as_ref().is_some_and(|open| !open.is_answered())
        };
        let unknown_outcomes = u32::try_from(all.filter(is_unknown).count()).unwrap_or(u32::MAX);
        tasks.sort_by(|a, b| {
            let key = |task: &TaskReport| !task.outlook.needs_attention;
            (key(a), &a.cluster_name, &a.cluster).cmp(&(key(b), &b.cluster_name, &b.cluster))
        });
        Self {
            name: around.name.clone(),
            clusters: around.clusters,
            leaving: around.leaving,
            breaker: BreakerState::of(project_state, now),
            unknown_outcomes,
            actions_last_hour: (project_state.puts_within_an_hour(now), around.max_actions_per_hour),
            live: around.live.clone(),
            tasks,
            ended: ended(project_state, now),
        }
    }
}
