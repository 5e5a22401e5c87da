//! The service, as small as it can be: one task that runs, fails, completes nodes and is ordered about; readings that may
//! show the past; PUTs that may arrive late.
//!
//! Time is counted in ticks. Nothing here knows the daemon.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::Duration;

use jiff::civil::{DateTime, date};
use upgrade_remediator::model::id::TaskId;
use upgrade_remediator::model::moment::Moment;
use upgrade_remediator::model::task::{CompletedNodes, Reading, Task, TaskKind, TaskList, TaskStatus};

/// One tick. A multiple of everything that the daemon waits for by itself, so that every instant at which anything
/// changes is a tick: an hour of patience is six of them, half an hour of rest three.
pub(crate) const TICK: Duration = Duration::from_mins(10);
/// Nodes of the task.
pub(crate) const NODES: u8 = 2;

/// How the task stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Status {
    Running,
    Failed,
    Partial,
    Success,
}

/// The task as a reading may show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Version {
    pub(crate) status: Status,
    pub(crate) execution: u8,
    /// Which of its endings `endTime` tells of; 0 while there was none.
    pub(crate) ending: u8,
    pub(crate) completed: u8,
    /// A termination left something that can be seen.
    pub(crate) mark: bool,
}

impl Version {
    pub(crate) fn is_failed(self) -> bool {
        matches!(self.status, Status::Failed | Status::Partial)
    }
}

/// What the API shows of a task's executions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shows {
    /// `executeTimes` grows; else it is always 1.
    pub(crate) executions: bool,
    /// `endTime` is there.
    pub(crate) endings: bool,
}

/// A PUT that has left, and has not arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Late {
    pub(crate) abort: bool,
    pub(crate) age: u8,
}

/// The service.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct World {
    pub(crate) now: Version,
    /// What it was, and how long ago it ceased to be that; the youngest first. As long as a reading may show it.
    pub(crate) past: Vec<(Version, u8)>,
    endings: u8,
    pub(crate) late: Vec<Late>,
    pub(crate) terminated: bool,
    /// It was executed again so often, by whomever.
    pub(crate) restarts: u8,
    pub(crate) succeeded: bool,
}

impl World {
    /// A task in its first execution.
    pub(crate) fn new() -> Self {
        let now = Version { status: Status::Running, execution: 1, ending: 0, completed: 0, mark: false };
        Self {
            now,
            past: Vec::new(),
            endings: 0,
            late: Vec::new(),
            terminated: false,
            restarts: 0,
            succeeded: false,
        }
    }

    fn become_version(&mut self, next: Version) {
        if next != self.now {
            self.past.retain(|(version, _)| *version != self.now);
            self.past.insert(0, (self.now, 0));
            self.past.retain(|(version, _)| *version != next);
            self.now = next;
        }
    }

    /// A tick passes. What is older than `lag` is not shown any more.
    pub(crate) fn tick(&mut self, lag: u8) {
        for (_, age) in &mut self.past {
            *age += 1;
        }
        self.past.retain(|(_, age)| *age <= lag);
        for late in &mut self.late {
            late.age += 1;
        }
    }

    pub(crate) fn fail(&mut self, status: Status) {
        self.end(status, self.now.completed);
    }

    pub(crate) fn succeed(&mut self) {
        self.end(Status::Success, NODES);
        self.succeeded = true;
    }

    fn end(&mut self, status: Status, completed: u8) {
        self.endings += 1;
        self.become_version(Version { status, ending: self.endings, completed, ..self.now });
    }

    pub(crate) fn complete_node(&mut self) {
        self.become_version(Version { completed: self.now.completed + 1, ..self.now });
    }

    /// A retry arrives. Whether it was taken: nothing but a failed task is executed again.
    pub(crate) fn retry(&mut self) -> bool {
        let taken = self.now.is_failed();
        if taken {
            self.restarts += 1;
            self.terminated = false;
            let execution = self.now.execution + 1;
            self.become_version(Version { status: Status::Running, execution, mark: false, ..self.now });
        }
        taken
    }

    /// An abort arrives. It ends a failed task; what runs it cannot stop.
    pub(crate) fn terminate(&mut self, leaves_a_mark: bool) {
        if self.now.is_failed() {
            self.terminated = true;
            self.become_version(Version { mark: leaves_a_mark, ..self.now });
        }
    }

    /// What a reading may show now: the present first.
    pub(crate) fn shown(&self) -> impl Iterator<Item = Version> {
        std::iter::once(self.now).chain(self.past.iter().map(|(version, _)| *version))
    }
}

/// The reading of a cluster that shows this. `older`: a failed task that this one replaced stands there too.
pub(crate) fn reading(at: Moment, version: Version, shows: Shows, older: bool) -> Reading {
    let task = task(version, shows);
    let mut tasks = Vec::new();
    if older {
        let start_time = Some(began().saturating_sub(jiff::Span::new().hours(9)));
        tasks.push(Task { id: older_id(), start_time, status: TaskStatus::Failed, ..task.clone() });
    }
    tasks.push(task);
    let total_size = Some(tasks.len() as u64);
    Reading::new(at, at, [TaskList { tasks, unusable: 0, total_size }, TaskList::default()])
}

fn task(version: Version, shows: Shows) -> Task {
    let Version { status, execution, ending, completed, mark } = version;
    let execution = if shows.executions { execution } else { 1 };
    let ending = if shows.endings { ending } else { 0 };
    let status = match status {
        Status::Running => TaskStatus::Running,
        Status::Failed => TaskStatus::Failed,
        Status::Partial => TaskStatus::PartialFailed,
        Status::Success => TaskStatus::Success,
    };
    let mut whole = String::with_capacity(64);
    let word = status.word();
    let _ = write!(whole, r#"{{"c":{completed},"e":{execution},"m":{mark},"n":{ending},"s":"{word}"}}"#);
    let names = |count: u8| (0..count).map(|node| format!("n{node}")).collect::<BTreeSet<_>>();
    Task {
        id: task_id(),
        kind: TaskKind::Upgrade,
        whole: status.is_failure().then_some(whole),
        status,
        start_time: Some(began()),
        end_time: (ending > 0).then(|| began().saturating_add(jiff::Span::new().minutes(i64::from(ending)))),
        execute_times: Some(u64::from(execution)),
        total_nodes: names(NODES),
        completed: if completed == 0 { CompletedNodes::None } else { CompletedNodes::Some(names(completed)) },
        current_node: String::new(),
        current_batch: BTreeSet::new(),
        steps: Vec::new(),
        setup: None,
    }
}

fn began() -> DateTime {
    date(2026, 1, 2).at(12, 0, 0, 0)
}

pub(crate) fn task_id() -> TaskId {
    static ID: std::sync::LazyLock<TaskId> = std::sync::LazyLock::new(|| TaskId::new("t").unwrap());
    ID.clone()
}

fn older_id() -> TaskId {
    static ID: std::sync::LazyLock<TaskId> = std::sync::LazyLock::new(|| TaskId::new("old").unwrap());
    ID.clone()
}
