//! Upgrade and AZ-switchover tasks as one poll of a cluster shows them (`GET
//! /v1.0/{project_id}/clusters/{cluster_id}/upgrade/detail`).
//!
//! Times of the API have no zone. They order tasks and show old states with a wide margin; no wait
//! depends on them.

use std::collections::BTreeSet;
use std::fmt;

use jiff::civil::DateTime;
use serde::{Deserialize, Serialize};

use super::id::TaskId;
use super::moment::Moment;
use super::setup::Setup;
use super::text::shown;

/// Which of the two lists of tasks: the API's `action_mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TaskKind {
    /// A version or image upgrade (`UPGRADING`).
    Upgrade,
    /// A move between availability zones (`AZ_MIGRATION`).
    AzSwitchover,
}

impl TaskKind {
    /// Both, in the order in which they are read.
    pub const ALL: [Self; 2] = [Self::Upgrade, Self::AzSwitchover];

    /// The other one.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Upgrade => Self::AzSwitchover,
            Self::AzSwitchover => Self::Upgrade,
        }
    }

    /// The word that policies use.
    pub fn word(self) -> &'static str {
        match self {
            Self::Upgrade => "upgrade",
            Self::AzSwitchover => "az-switchover",
        }
    }
}

impl fmt::Display for TaskKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// A task's `status`, compared exactly. An unknown word is kept as it is and never acted on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum TaskStatus {
    /// `RUNNING`.
    Running,
    /// `SUCCESS`.
    Success,
    /// `FAILED`.
    Failed,
    /// `PARTIAL_FAILED`: how it differs from FAILED is not documented.
    PartialFailed,
    /// Any other word; empty if the API returned none.
    Other(String),
}

impl TaskStatus {
    /// The API's word.
    pub fn word(&self) -> &str {
        match self {
            Self::Running => "RUNNING",
            Self::Success => "SUCCESS",
            Self::Failed => "FAILED",
            Self::PartialFailed => "PARTIAL_FAILED",
            Self::Other(word) => word,
        }
    }

    /// Returns whether this is a failure: FAILED or `PARTIAL_FAILED`.
    pub fn is_failure(&self) -> bool {
        matches!(self, Self::Failed | Self::PartialFailed)
    }
}

impl From<String> for TaskStatus {
    fn from(word: String) -> Self {
        match word.as_str() {
            "RUNNING" => Self::Running,
            "SUCCESS" => Self::Success,
            "FAILED" => Self::Failed,
            "PARTIAL_FAILED" => Self::PartialFailed,
            _ => Self::Other(word),
        }
    }
}

impl From<TaskStatus> for String {
    fn from(status: TaskStatus) -> Self {
        status.word().to_owned()
    }
}

/// Which nodes are completed: the API's `completedNodes`. Only an exactly empty text means none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CompletedNodes {
    /// Exactly `""`.
    None,
    /// These names.
    Some(BTreeSet<String>),
    /// Absent, null, another type, blanks: some node may be completed.
    Unreadable(String),
}

impl CompletedNodes {
    /// Returns how many are completed, if that is known.
    pub fn count(&self) -> Option<u32> {
        match self {
            Self::None => Some(0),
            Self::Some(names) => Some(u32::try_from(names.len()).unwrap_or(u32::MAX)),
            Self::Unreadable(_) => None,
        }
    }
}

/// One step of the current node: an element of `currentNodeDetail`. Names may be localised; match on `order`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Its number, where given.
    pub order: Option<i64>,
    /// Its name.
    pub name: String,
    /// `SUCCESS`, `FAILED`, `RUNNING`, `WAITING` or another word.
    pub status: String,
    /// When it began.
    pub begin_time: Option<DateTime>,
    /// When it ended.
    pub end_time: Option<DateTime>,
}

/// One task as one poll shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    /// Its id (the `action_id` of a retry).
    pub id: TaskId,
    /// The list that it is in.
    pub kind: TaskKind,
    /// Its status.
    pub status: TaskStatus,
    /// `startTime`; `None` where missing or unreadable.
    pub start_time: Option<DateTime>,
    /// `endTime`; `None` where missing, empty or unreadable.
    pub end_time: Option<DateTime>,
    /// `executeTimes`: the number of its runs, the first run counted as 1 (inferred from samples).
    pub execute_times: Option<u64>,
    /// `totalNodes`.
    pub total_nodes: BTreeSet<String>,
    /// `completedNodes`.
    pub completed: CompletedNodes,
    /// `currentNodeName`; empty where there is none.
    pub current_node: String,
    /// `currentBatchNodes`.
    pub current_batch: BTreeSet<String>,
    /// `currentNodeDetail`.
    pub steps: Vec<Step>,
    /// How it is set up; `None` if the answer shows nothing of that, and for a task that succeeded.
    pub setup: Option<Box<Setup>>,
    /// The whole element in canonical JSON (sorted keys, no blanks), to detect changes. Kept for
    /// failures only.
    pub whole: Option<String>,
}

/// Why a task must not be aborted: aborting it could leave a cluster of mixed versions or zones.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "doubt", rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the variants' docs tell their fields")]
pub enum AbortDoubt {
    /// Its status is not exactly FAILED.
    #[error("the task's status is {status}, not FAILED")]
    NotFailed { status: String },
    /// Nodes are completed.
    #[error("{done} of {total} nodes {} completed", if *done == 1 { "is" } else { "are" })]
    Completed { done: u32, total: u32 },
    /// `completedNodes` cannot be read.
    #[error("completedNodes cannot be read ({found}), so some node may be completed")]
    Unreadable { found: String },
    /// All steps of the current node succeeded.
    #[error("every step of the current node {node} succeeded, so the node may be completed")]
    CurrentNodeDone { node: String },
    /// Several nodes are worked on at once.
    #[error("the task works on {nodes} nodes at once, so some of them may be completed")]
    Batch { nodes: u32 },
    /// `currentBatchNodes` has a name that is not among the nodes: it may stand for several nodes.
    #[error(
        "currentBatchNodes names \"{name}\", which totalNodes lacks, so several nodes may be worked on and completed"
    )]
    StrangeNode { name: String },
}

/// Proof that a poll showed a task that is safe to abort: status FAILED, no completed node, and no
/// sign of one. Only [`Task::abortable`] makes it, and no abort can be sent without it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Abortable {
    task: TaskId,
}

impl Abortable {
    /// The task that may be aborted.
    pub fn task(&self) -> &TaskId {
        &self.task
    }
}

impl Task {
    /// Checks whether this poll shows that the task is safe to abort. A task without steps may be.
    ///
    /// # Errors
    /// The doubt: it is not FAILED, or a node is or may be completed.
    pub fn abortable(&self) -> Result<Abortable, AbortDoubt> {
        if self.status != TaskStatus::Failed {
            return Err(AbortDoubt::NotFailed { status: self.status.word().to_owned() });
        }
        let count = |names: &BTreeSet<String>| u32::try_from(names.len()).unwrap_or(u32::MAX);
        match &self.completed {
            CompletedNodes::None => {}
            CompletedNodes::Some(names) => {
                return Err(AbortDoubt::Completed { done: count(names), total: count(&self.total_nodes) });
            }
            CompletedNodes::Unreadable(found) => return Err(AbortDoubt::Unreadable { found: found.clone() }),
        }
        if self.current_batch.len() > 1 {
            return Err(AbortDoubt::Batch { nodes: count(&self.current_batch) });
        }
        if let Some(name) = self.current_batch.difference(&self.total_nodes).next() {
            return Err(AbortDoubt::StrangeNode { name: shown(name, 80) });
        }
        if !self.steps.is_empty() && self.steps.iter().all(|step| step.status == "SUCCESS") {
            return Err(AbortDoubt::CurrentNodeDone { node: self.current_node.clone() });
        }
        Ok(Abortable { task: self.id.clone() })
    }

    /// Returns how much this poll of the task allows, for the choice between two of them.
    fn allows(&self) -> u8 {
        match self.status {
            TaskStatus::Running => 0,
            TaskStatus::Success | TaskStatus::Other(_) => 1,
            TaskStatus::PartialFailed => 2,
            TaskStatus::Failed => 3 + u8::from(self.abortable().is_ok()),
        }
    }

    /// Returns when it ended, as far as the task shows: `endTime`, else the latest time of a step.
    pub fn ended(&self) -> Option<DateTime> {
        self.end_time.or_else(|| self.last_step())
    }

    /// Returns the latest time of a step.
    pub fn last_step(&self) -> Option<DateTime> {
        self.steps.iter().flat_map(|step| [step.begin_time, step.end_time]).flatten().max()
    }

    /// Returns the failed step, if there is one.
    pub fn failing_step(&self) -> Option<&Step> {
        self.steps.iter().find(|step| step.status == "FAILED")
    }
}

/// The tasks of one kind, from one answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TaskList {
    /// The tasks, in the order of the answer (which no source documents).
    pub tasks: Vec<Task>,
    /// Elements that are no task (no usable id).
    pub unusable: u64,
    /// The API's `totalSize`.
    pub total_size: Option<u64>,
}

impl TaskList {
    /// Returns whether the answer shows every task that it counts. An answer without a `totalSize`
    /// is complete.
    pub fn is_complete(&self) -> bool {
        self.unusable == 0 && self.total_size.is_none_or(|total| self.tasks.len() as u64 >= total)
    }
}

/// One poll of one cluster: both lists, read one right after the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// Before the first request of either list was sent. The state in the answers may be as old as
    /// this.
    pub asked: Moment,
    /// When the later of the two answers arrived.
    pub at: Moment,
    /// All tasks of both kinds, each once.
    pub tasks: Vec<Task>,
    /// Tasks in both lists: their kind is unknown.
    pub in_both: Vec<TaskId>,
    /// Whether both lists show all the tasks that they count.
    pub complete: bool,
}

impl Reading {
    /// Combines the answers for both kinds, the older answer first. An API that ignores
    /// `action_mode` returns the same tasks twice. Of two with one id the one that allows less is
    /// kept: RUNNING before every other status, FAILED after them, and of two failures one that
    /// must not be aborted; else the later one.
    pub fn new(asked: Moment, at: Moment, lists: [TaskList; 2]) -> Self {
        let complete = lists.iter().all(TaskList::is_complete);
        let [first, second] = lists.map(|list| list.tasks);
        let (mut tasks, mut in_both) = (first, Vec::new());
        for task in second {
            let Some(twin) = tasks.iter_mut().find(|known| known.id == task.id) else {
                tasks.push(task);
                continue;
            };
            in_both.push(task.id.clone());
            // If both are alike, the kind is that of the first list.
            if task.allows() <= twin.allows() && (Task { kind: twin.kind, ..task.clone() }) != *twin {
                *twin = task;
            }
        }
        Self { asked, at, tasks, in_both, complete }
    }

    /// Returns when the newest of its tasks for which this is true began, and which it is, if that
    /// was later than `floor`.
    pub fn newest(
        &self,
        floor: Option<DateTime>,
        is_its_own: impl Fn(&TaskId) -> bool,
    ) -> Option<(DateTime, &TaskId)> {
        let dated = self.tasks.iter().filter_map(|task| Some((task.start_time?, &task.id)));
        // There are few of them: the check for other owners searches every cluster.
        let newer = dated.filter(|(start, _)| floor.is_none_or(|floor| floor < *start));
        newer.filter(|(_, task)| is_its_own(task)).max()
    }

    /// Returns the task with this id.
    pub fn task(&self, id: &TaskId) -> Option<&Task> {
        self.tasks.iter().find(|task| task.id == *id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(completed: CompletedNodes) -> Task {
        Task {
            id: TaskId::new("t").unwrap(),
            kind: TaskKind::Upgrade,
            status: TaskStatus::Failed,
            start_time: None,
            end_time: None,
            execute_times: Some(1),
            total_nodes: ["a", "b"].map(str::to_owned).into(),
            completed,
            current_node: "a".to_owned(),
            current_batch: BTreeSet::new(),
            steps: Vec::new(),
            setup: None,
            whole: None,
        }
    }

    fn step(status: &str) -> Step {
        Step {
            order: Some(0),
            name: String::new(),
            status: status.to_owned(),
            begin_time: None,
            end_time: None,
        }
    }

    #[test]
    fn only_an_exactly_empty_text_means_abortable() {
        assert!(task(CompletedNodes::None).abortable().is_ok());
        assert!(task(CompletedNodes::Unreadable("null".to_owned())).abortable().is_err());
        assert!(
            task(CompletedNodes::Some(["x".to_owned()].into())).abortable().is_err(),
            "a strange name counts"
        );
    }

    #[test]
    fn nothing_but_failed_may_be_aborted() {
        for word in ["RUNNING", "SUCCESS", "PARTIAL_FAILED", "failed", "ABORTED", ""] {
            let mut other = task(CompletedNodes::None);
            other.status = TaskStatus::from(word.to_owned());
            assert!(matches!(other.abortable(), Err(AbortDoubt::NotFailed { .. })), "{word}");
        }
    }

    #[test]
    fn hints_that_a_node_may_be_done_forbid_an_abort() {
        let mut all_steps_done = task(CompletedNodes::None);
        all_steps_done.steps = vec![step("SUCCESS"), step("SUCCESS")];
        assert!(matches!(all_steps_done.abortable(), Err(AbortDoubt::CurrentNodeDone { .. })));
        all_steps_done.steps.push(step("FAILED"));
        assert!(all_steps_done.abortable().is_ok());

        let mut batch = task(CompletedNodes::None);
        batch.current_batch = ["a".to_owned()].into();
        assert!(batch.abortable().is_ok());
        batch.current_batch.insert("b".to_owned());
        assert!(matches!(batch.abortable(), Err(AbortDoubt::Batch { nodes: 2 })));
    }

    #[test]
    fn an_unknown_status_is_kept_and_is_no_failure() {
        for word in ["failed", "FAILED ", "ABORTED", ""] {
            let status = TaskStatus::from(word.to_owned());
            assert_eq!(status.word(), word);
            assert!(!status.is_failure());
        }
    }
}
