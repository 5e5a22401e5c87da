//! What the daemon knows of itself, as values: for the command line, the page and the metrics.
//!
//! A reason stands here with its code and with its own words, as in the log and the journal.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::model::channel::ChannelCounts;
use crate::model::event::StoredEntry;
pub use crate::model::explanation::{Explanation, Why};
use crate::model::hold::StoredHold;
use crate::model::id::{ClusterId, ProjectName, TaskId};
use crate::model::ledger::Ledger;
use crate::model::moment::Moment;
use crate::model::policy::{Mode, OnExhausted, Policy};
use crate::model::project::Stretch;
use crate::model::reason::Reason;
use crate::model::task::TaskKind;
use crate::model::text::{counted, span};

pub mod summary;

/// A running daemon at one moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Its version.
    pub version: String,
    /// When this was asked.
    pub at: Timestamp,
    /// When it started.
    pub started: Timestamp,
    /// The global mode in force.
    pub mode: Mode,
    /// The settings in force.
    pub settings: InForce,
    /// Each project.
    pub projects: Vec<ProjectReport>,
    /// The holds in force, oldest first.
    pub holds: Vec<StoredHold>,
    /// The enabled policies in their order: the first that covers a task governs it.
    pub policies: Vec<PolicyReport>,
    /// How each channel fares.
    #[serde(default)]
    pub channels: Vec<ChannelCounts>,
}

/// The settings in force, and whether newer ones were refused.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InForce {
    /// The file.
    pub file: String,
    /// When they were read.
    pub since: Timestamp,
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

/// One project.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProjectReport {
    /// Its name in the settings.
    pub name: ProjectName,
    /// Clusters that the list of clusters has shown.
    pub clusters: usize,
    /// The list of clusters is shorter than it says, or has some that cannot be used.
    pub list_short: bool,
    /// It is gone from the settings, and only what is open is still settled.
    pub leaving: bool,
    /// Why nothing is sent in it, where that is so for all of it: a rest, or the breaker.
    pub sends_nothing: Option<Why>,
    /// PUTs within the last hour, and how many are allowed.
    pub actions_last_hour: (u32, u32),
    /// Clusters where nothing runs are read less often than the settings ask for: this many seconds apart.
    pub idle_interval_stretched_to: Option<f64>,
    /// Tasks whose story has no end yet.
    pub tasks: Vec<TaskReport>,
}

/// A task whose story has no end yet.
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
    /// It is a human's.
    pub with_human: bool,
    /// Since when it runs, where it was told to run too long.
    pub runs_too_long_since: Option<Timestamp>,
    /// What was last decided about it, or that it runs.
    pub why: Option<Why>,
    /// What comes next, where that waits for a time.
    pub next: Option<NextAction>,
    /// What would have to change, or what a human can do.
    pub way_on: Option<String>,
}

/// What is sent when its time comes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NextAction {
    /// When.
    pub at: Timestamp,
    /// `retry`, `abort`, or `PUT` for either.
    pub what: String,
}

/// An entry of the journal as `history --json` and the JSON API give it.
pub fn history_json(entry: &StoredEntry) -> serde_json::Value {
    serde_json::json!({
        "number": entry.number,
        "at": entry.at,
        "project": entry.subject.project,
        "cluster": entry.subject.cluster,
        "task": entry.subject.task,
        "words": entry.event.to_string(),
        "event": entry.event,
    })
}

/// A policy in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyReport {
    /// Its name.
    pub name: String,
    /// What it does with what it covers, in words.
    pub words: String,
}

impl PolicyReport {
    /// In words, as the settings have it.
    pub fn new(policy: &Policy) -> Self {
        let (terms, retry) = (&policy.terms, &policy.terms.retry);
        let mode = match terms.mode {
            Mode::DryRun => "dry-run",
            Mode::Enforce => "enforce",
        };
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
                format!("then an abort after {} where no node is done, else a human", span(terms.abort_grace))
            }
            OnExhausted::Escalate => "then a human".to_owned(),
        };
        let window = if terms.window.is_some() { "; within its window" } else { "" };
        Self { name: policy.name().to_owned(), words: format!("{mode}: {retries}; {end}{window}") }
    }
}

/// What is known of a project beside its ledger.
pub struct Around<'a> {
    /// Its name in the settings.
    pub name: &'a ProjectName,
    /// Clusters that the list of clusters has shown.
    pub clusters: usize,
    /// That list is short.
    pub list_short: bool,
    /// It is gone from the settings.
    pub leaving: bool,
    /// What holds everything in it back now.
    pub sends_nothing: Option<Reason>,
    /// PUTs that are allowed within an hour.
    pub max_actions_per_hour: u32,
    /// Whether idle clusters are read less often.
    pub stretch: Option<Stretch>,
}

impl ProjectReport {
    /// Puts it together.
    pub fn new(around: &Around<'_>, ledger: &Ledger, now: Moment) -> Self {
        let tasks = ledger.clusters.iter().flat_map(|(cluster, history)| {
            let open = history.tasks.iter().filter(|(_, task)| task.closed.is_none());
            open.map(move |(id, task)| {
                let decided = task.decided.as_ref().map(|(_, reason)| reason);
                let reason = task.escalated.as_ref().map(|escalation| &escalation.reason).or(decided);
                TaskReport {
                    cluster: cluster.clone(),
                    cluster_name: task.cluster_name.clone(),
                    task: id.clone(),
                    kind: task.kind,
                    with_human: task.escalated.is_some(),
                    runs_too_long_since: task.runs_too_long().map(|since| since.wall),
                    why: reason.map(Why::from),
                    next: reason
                        .and_then(summary::waits_for)
                        .map(|(at, what)| NextAction { at, what: what.to_owned() }),
                    way_on: reason.map(|reason| reason.way_on().to_owned()),
                }
            })
        });
        let mut tasks: Vec<TaskReport> = tasks.collect();
        tasks.sort_by(|a, b| {
            (!a.with_human, &a.cluster_name, &a.cluster).cmp(&(!b.with_human, &b.cluster_name, &b.cluster))
        });
        Self {
            name: around.name.clone(),
            clusters: around.clusters,
            list_short: around.list_short,
            leaving: around.leaving,
            sends_nothing: around.sends_nothing.as_ref().map(Why::from),
            actions_last_hour: (ledger.puts_within_an_hour(now), around.max_actions_per_hour),
            idle_interval_stretched_to: around.stretch.map(|stretch| stretch.actual.as_secs_f64()),
            tasks,
        }
    }
}
