//! Why the daemon is or is not acting on one cluster, with everything that decides it: the content
//! of `explain` and of the page.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::cluster::Cluster;
use super::decision::{Decision, Verdict};
use super::id::{ClusterId, ProjectName, TaskId};
use super::outlook::{Block, Outlook};
use super::policy::{Mode, Terms};
use super::reason::Reason;
pub use super::reason::Why;
use super::record::{ClusterRecord, TaskRecord};
use super::task::{Reading, Task, TaskKind};
use super::text::{counted, shown};
use super::window::Window;

/// A poll that is neither journaled nor kept, with its consequences.
#[derive(Debug, Clone, PartialEq)]
pub struct Peek {
    /// The poll.
    pub reading: Reading,
    /// The decision.
    pub decision: Decision,
    /// The outlook of the task.
    pub outlook: Outlook,
}

/// One cluster, explained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    /// When this was asked.
    pub at: Timestamp,
    /// The project's name in the configuration.
    pub project: ProjectName,
    /// The cluster's id.
    pub cluster: ClusterId,
    /// Its name.
    pub cluster_name: String,
    /// Engine and version, where a list has shown them.
    pub engine: Option<String>,
    /// Its tags, where a list has shown them.
    pub tags: BTreeMap<String, String>,
    /// What is missing, because the daemon is down or the CSS API did not answer. Then this is the
    /// journal's state.
    pub limits: Vec<String>,
    /// The newest task, by the poll.
    pub task: Option<TaskFacts>,
    /// What an abort of that task would change; `None` if the task is not failed, or was aborted by
    /// the daemon.
    #[serde(default)]
    pub abort: Option<AbortEffect>,
    /// The record of that task, or of the last known one.
    pub lifecycle: Option<Lifecycle>,
    /// The word of the present verdict.
    pub verdict: String,
    /// The outlook of the task.
    #[serde(flatten)]
    pub outlook: Outlook,
    /// When the daemon polls again, at the latest. Unknown while it is down.
    pub next_poll_seconds: Option<f64>,
    /// Every policy in its order.
    pub policies: Vec<PolicyVerdict>,
    /// The coming steps if the task continues to fail.
    pub schedule: Vec<Step>,
    /// Everything that can block a PUT.
    pub preconditions: Vec<Precondition>,
    /// When the policy that governs the task may act, if it has a window. For the drawing; not in
    /// the JSON.
    #[serde(skip)]
    pub window: Option<Window>,
}

impl Explanation {
    /// Makes an explanation with the decision alone.
    pub fn new(at: Timestamp, project: &ProjectName, cluster: &Cluster, decision: &Decision) -> Self {
        let engine = format!("{} {}", cluster.engine, cluster.version);
        Self {
            at,
            project: project.clone(),
            cluster: cluster.id.clone(),
            cluster_name: cluster.name.clone(),
            engine: Some(engine.trim().to_owned()).filter(|engine| !engine.is_empty()),
            tags: cluster.tags.iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
            limits: Vec::new(),
            task: None,
            abort: None,
            lifecycle: None,
            verdict: decision.verdict.word().to_owned(),
            outlook: Outlook::new(None, &decision.reason, &[], None),
            next_poll_seconds: None,
            policies: Vec::new(),
            schedule: Vec::new(),
            preconditions: Vec::new(),
            window: None,
        }
    }

    /// Makes an explanation from the journal alone, while this blocks every request.
    pub fn by_journal(
        at: Timestamp,
        project: &ProjectName,
        cluster: &Cluster,
        record: &ClusterRecord,
        limits: Vec<String>,
        block: Block,
    ) -> Self {
        let last = record.newest();
        let decision = Decision {
            task: last.map(|(id, _)| id.clone()),
            verdict: Verdict::Wait,
            reason: last.map_or(Reason::Idle, |(_, task)| task.last_known()),
            next_poll: std::time::Duration::ZERO,
        };
        let lifecycle = last.map(|(id, task)| Lifecycle::new(id, task, None));
        let bare = Self::new(at, project, cluster, &decision);
        let outlook = last.map_or_else(|| bare.outlook.clone(), |(_, task)| Outlook::by_journal(task, block));
        Self { limits, lifecycle, outlook, ..bare }
    }
}

impl Lifecycle {
    /// Returns what is known of a task, counted by the terms that govern it.
    pub fn new(id: &TaskId, known: &TaskRecord, terms: Option<&Terms>) -> Self {
        let failure = known.failure.as_ref();
        let first = failure.and_then(|failure| failure.seen.terms.as_ref());
        let defaults = Terms::defaults("", Mode::DryRun);
        let by = terms.or(first).unwrap_or(&defaults);
        Self {
            task: id.clone(),
            failures: failure.map_or(0, |failure| failure.seen.number),
            failed: failure.map(|failure| failure.first_seen.wall),
            used: known.retries_used(by),
            by_others: known.external_used(by),
            allowed: terms.or(first).map(|terms| terms.retry.max_retries),
            puts: known.attempts,
            open: known.open.as_ref().map(|open| {
                let (action, attempt) = (open.action, open.id);
                let answered = if open.is_answered() { "accepted" } else { "no clear response" };
                format!("{action} request {attempt}: {answered}; its effect is not confirmed yet")
            }),
            needs_operator: known
                .escalated
                .as_ref()
                .map(|escalation| (escalation.at.wall, Why::from(&escalation.reason))),
            runs_too_long_since: known.runs_too_long().map(|since| since.wall),
            ended: known.outcome().map(|outcome| outcome.word().to_owned()),
        }
    }
}

/// A task as a poll shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskFacts {
    /// Its id.
    pub id: TaskId,
    /// Upgrade or AZ switchover.
    pub kind: TaskKind,
    /// Its status, as the API writes it.
    pub status: String,
    /// By the CSS API's clock, whose zone is unknown.
    #[serde(rename = "started_api_time")]
    pub started: Option<String>,
    /// By the CSS API's clock.
    #[serde(rename = "ended_api_time")]
    pub ended: Option<String>,
    /// Its `executeTimes`.
    pub executions: Option<u64>,
    /// Completed nodes; `None` if unknown.
    pub nodes_done: Option<u32>,
    /// All nodes.
    pub nodes: u32,
    /// The node that is worked on, or was.
    pub current_node: String,
    /// The step that failed.
    pub failing_step: Option<String>,
}

/// What an abort of a failed task would change, by one poll.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AbortEffect {
    /// Whether this poll shows that it is safe: otherwise none is ever sent.
    pub safe: bool,
    /// Why it is not.
    pub doubt: Option<String>,
    /// All nodes of the task.
    pub nodes: u32,
    /// Completed nodes of them; `None` if unknown.
    pub nodes_done: Option<u32>,
    /// The node at which it failed.
    pub current_node: String,
    /// The resulting state of the cluster: a sentence.
    pub leaves: String,
}

impl AbortEffect {
    /// Makes it from a poll of the task and the cluster's entry in the list. `None` if the task is
    /// not failed: there is nothing to abort.
    pub fn of(task: &Task, cluster: &Cluster) -> Option<Self> {
        if !task.status.is_failure() {
            return None;
        }
        let doubt = task.abortable().err().map(|doubt| doubt.to_string());
        let (what, mixed) = match task.kind {
            TaskKind::Upgrade => {
                let known = format!("{} {}", cluster.engine, cluster.version);
                let known = known.trim();
                let known = if known.is_empty() { String::new() } else { format!(" ({})", shown(known, 60)) };
                (format!("the version that it had{known}"), "versions")
            }
            TaskKind::AzSwitchover => ("the availability zones that it had".to_owned(), "zones"),
        };
        let node = if task.current_node.is_empty() {
            String::new()
        } else {
            format!("; node {}, at which the task failed, stays as it is now", shown(&task.current_node, 80))
        };
        let leaves = match &doubt {
            None => format!("the task ends permanently, and the cluster keeps {what}{node}"),
            Some(doubt) => {
                format!(
                    "never sent: {doubt}; an abort could leave a cluster of mixed {mixed}, which nothing rolls back"
                )
            }
        };
        Some(Self {
            safe: doubt.is_none(),
            doubt,
            nodes: u32::try_from(task.total_nodes.len()).unwrap_or(u32::MAX),
            nodes_done: task.completed.count(),
            current_node: task.current_node.clone(),
            leaves,
        })
    }

    /// Returns the state in words, for a table.
    pub fn words(&self) -> String {
        let nodes = counted(u64::from(self.nodes), "node", "nodes");
        let done = match self.nodes_done {
            Some(done) => format!("{done} of {nodes} completed"),
            None => format!("how many of {nodes} are completed cannot be read"),
        };
        format!("{done}; {}", self.leaves)
    }
}

/// The journal's record of a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lifecycle {
    /// The task.
    pub task: TaskId,
    /// Its failures so far.
    pub failures: u32,
    /// When the present or last one was first seen.
    pub failed: Option<Timestamp>,
    /// Retries used since the last progress.
    pub used: u32,
    /// The external ones of them.
    pub by_others: u32,
    /// Retries that the policy allows, if one governs it.
    pub allowed: Option<u32>,
    /// The number of requests that the daemon ever sent for it.
    pub puts: u32,
    /// A request whose outcome is unknown.
    pub open: Option<String>,
    /// Escalated: since when, and why.
    pub needs_operator: Option<(Timestamp, Why)>,
    /// Since when it runs, if it was reported to run too long.
    pub runs_too_long_since: Option<Timestamp>,
    /// How its lifecycle ended.
    pub ended: Option<String>,
}

/// Whether one policy governs the task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyVerdict {
    /// Its name.
    pub policy: String,
    /// It is the first that matches the task.
    pub governs: bool,
    /// Why it does not match the task.
    pub mismatch: Option<String>,
}

/// A coming step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Its time, if known.
    pub at: Option<Timestamp>,
    /// The step and its condition.
    pub what: String,
}

/// One check before a PUT.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Precondition {
    /// The stable word of the check.
    pub name: String,
    /// The present value.
    pub value: String,
    /// The allowed values.
    pub limit: String,
    /// Whether it allows a PUT.
    pub passes: bool,
}

#[cfg(test)]
mod tests {
    use crate::model::cluster::Traits;
    use std::collections::BTreeSet;

    use super::*;
    use crate::model::task::{CompletedNodes, TaskStatus};

    fn cluster(engine: &str, version: &str) -> Cluster {
        Cluster {
            engine: engine.into(),
            version: version.into(),
            ..Cluster::recalled(ClusterId::new("c").unwrap(), "logs".to_owned(), Traits::default())
        }
    }

    fn failed(kind: TaskKind, completed: CompletedNodes) -> Task {
        Task {
            id: TaskId::new("t").unwrap(),
            kind,
            status: TaskStatus::Failed,
            start_time: None,
            end_time: None,
            execute_times: Some(1),
            total_nodes: BTreeSet::from(["a", "b", "c"].map(str::to_owned)),
            completed,
            current_node: "a".to_owned(),
            current_batch: BTreeSet::new(),
            steps: Vec::new(),
            setup: None,
            whole: None,
        }
    }

    #[test]
    fn what_an_abort_would_touch_is_told_for_each_kind() {
        let told = |task: &Task, cluster: &Cluster| {
            let effect = AbortEffect::of(task, cluster).unwrap();
            (effect.safe, effect.words())
        };
        let none = || CompletedNodes::None;
        let one = CompletedNodes::Some(["a".to_owned()].into());
        let known = cluster("elasticsearch", "7.10.2");
        for (task, cluster, safe, words) in [
            (
                failed(TaskKind::Upgrade, none()),
                &known,
                true,
                "0 of 3 nodes completed; the task ends permanently, and the cluster keeps the version that it had \
                 (elasticsearch 7.10.2); node a, at which the task failed, stays as it is now",
            ),
            (
                failed(TaskKind::AzSwitchover, none()),
                &known,
                true,
                "0 of 3 nodes completed; the task ends permanently, and the cluster keeps the availability zones that it \
                 had; node a, at which the task failed, stays as it is now",
            ),
            (
                Task { current_node: String::new(), ..failed(TaskKind::Upgrade, none()) },
                &cluster("", ""),
                true,
                "0 of 3 nodes completed; the task ends permanently, and the cluster keeps the version that it had",
            ),
            (
                failed(TaskKind::Upgrade, one),
                &known,
                false,
                "1 of 3 nodes completed; never sent: 1 of 3 nodes is completed; an abort could leave a cluster of mixed \
                 versions, which nothing rolls back",
            ),
            (
                failed(TaskKind::AzSwitchover, CompletedNodes::Unreadable("null".to_owned())),
                &known,
                false,
                "how many of 3 nodes are completed cannot be read; never sent: completedNodes cannot be read (null), so \
                 some node may be completed; an abort could leave a cluster of mixed zones, which nothing rolls back",
            ),
        ] {
            assert_eq!(told(&task, cluster), (safe, words.to_owned()));
        }
        let running = Task { status: TaskStatus::Running, ..failed(TaskKind::Upgrade, none()) };
        assert_eq!(AbortEffect::of(&running, &known), None);
    }
}
