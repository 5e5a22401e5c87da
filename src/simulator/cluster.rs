//! One simulated cluster: its nodes, its tasks, and their changes in time.

use std::collections::BTreeMap;
use std::time::Duration;

use super::ids::Ids;
use super::log::{Hazard, PutKind, PutRecord, Record, TaskChange, TaskLog};
use super::scenario::{
    AfterAbort, ByHand, ClusterScript, FailRule, HandAct, Kind, Refusal, Scenario, TaskScript, Ways,
};
use super::task::{Next, Passed, Phase, Plan, Task};
use super::time::{Offset, SimTime};

/// A cluster's state.
#[derive(Debug)]
pub(super) struct Cluster {
    pub(super) id: String,
    pub(super) name: String,
    /// The name of the scenario's `[[cluster]]` it comes from.
    pub(super) group: String,
    pub(super) engine: String,
    pub(super) version: String,
    pub(super) tags: BTreeMap<String, String>,
    pub(super) created: SimTime,
    pub(super) updated: SimTime,
    pub(super) deleted: bool,
    pub(super) nodes: Vec<Node>,
    /// Its tasks, in the order in which they appeared.
    pub(super) tasks: Vec<Task>,
    pub(super) ways: Ways,
    /// How a task that is started over the API fails, and how long a node takes.
    pub(super) posted_fail: Vec<FailRule>,
    pub(super) node_time: Duration,
    deleted_at: Option<SimTime>,
    pending: Vec<PendingTask>,
    hands: Vec<ByHand>,
    /// The ids of the scenario's tasks, in its order.
    scripted: Vec<String>,
    /// The number of answered reads of its tasks.
    reads: u64,
    /// Its tasks after each change, for answers with an old state.
    past: Vec<(SimTime, Vec<Task>)>,
}

/// A node of a cluster.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) zone: String,
    pub(super) resource_id: String,
    pub(super) volume_id: String,
}

#[derive(Debug)]
struct PendingTask {
    id: String,
    script: TaskScript,
}

/// The result of a PUT on a task that exists.
#[derive(Debug)]
pub(super) enum PutOutcome {
    /// The answer is 200.
    Ok(PutRecord),
    /// The answer is an error.
    Refused(PutRecord, Refusal),
}

/// A change without a request, in the order of rank if there are several at once.
enum Due {
    Task(usize, Next),
    Hand(usize),
    Appears(usize),
    Deleted,
}

/// A change with its time, for the log.
pub(super) type Happened = Vec<(SimTime, Record)>;

impl Cluster {
    pub(super) fn new(script: &ClusterScript, name: String, scenario: &Scenario, ids: &mut Ids) -> Self {
        let zone = script
            .task
            .iter()
            .find(|task| task.kind == Kind::AzSwitchover)
            .map_or("cn-north-4a", |task| task.source_az.split(',').next().unwrap_or("cn-north-4a"));
        let kind = if script.engine == "logstash" { "lgs" } else { "ess" };
        let nodes = (1..=script.nodes)
            .map(|number| Node {
                id: ids.uuid(),
                name: format!("{name}-{kind}-esn-{number}-1"),
                zone: zone.to_owned(),
                resource_id: ids.uuid(),
                volume_id: ids.uuid(),
            })
            .collect();
        let pending: Vec<_> =
            script.task.iter().map(|script| PendingTask { id: ids.uuid(), script: script.clone() }).collect();
        Self {
            id: script.id.clone().unwrap_or_else(|| ids.uuid()),
            name,
            group: script.name.clone(),
            engine: script.engine.clone(),
            version: script.version.clone(),
            tags: script.tags.clone(),
            created: script.created.0,
            updated: script.created.0,
            deleted: false,
            nodes,
            tasks: Vec::new(),
            ways: script.ways.over(&scenario.ways),
            posted_fail: script.posted_fail.clone(),
            node_time: scenario.node_time.div_f64(scenario.speed),
            deleted_at: script.deleted_at.map(|at| at.0),
            scripted: pending.iter().map(|task| task.id.clone()).collect(),
            pending,
            hands: script.by_hand.clone(),
            reads: 0,
            past: vec![(SimTime(i64::MIN), Vec::new())],
        }
    }

    /// Makes every change that is due until `now`.
    pub(super) fn advance(&mut self, now: SimTime, speed: f64, happened: &mut Happened) {
        while let Some((at, due)) = self.next_due(now) {
            match due {
                Due::Task(index, next) => self.pass(at, index, next, happened),
                Due::Hand(index) => {
                    let hand = self.hands.remove(index);
                    self.by_hand(at, &hand, happened);
                }
                Due::Appears(index) => {
                    let pending = self.pending.remove(index);
                    let task = self.scripted_task(pending, at, speed);
                    self.appear(at, task, happened);
                }
                Due::Deleted => {
                    self.deleted = true;
                    let record = Record::ClusterDeleted { cluster: self.id.clone(), name: self.name.clone() };
                    happened.push((at, record));
                }
            }
        }
    }

    fn next_due(&self, now: SimTime) -> Option<(SimTime, Due)> {
        if self.deleted {
            return None;
        }
        let tasks = self.tasks.iter().enumerate().filter_map(|(index, task)| {
            let (at, next) = task.next()?;
            Some((at, Due::Task(index, next)))
        });
        let hands =
            self.hands.iter().enumerate().filter_map(|(index, hand)| Some((hand.at?.0, Due::Hand(index))));
        let pending = self.pending.iter().enumerate().filter_map(|(index, task)| {
            let start = task.script.start.or(task.script.after_reads.is_none().then(Offset::default));
            Some((start?.0, Due::Appears(index)))
        });
        let deleted = self.deleted_at.map(|at| (at, Due::Deleted));
        // The first of equals wins, so this order is the rank.
        tasks
            .chain(hands)
            .chain(pending)
            .chain(deleted)
            .filter(|(at, _)| *at <= now)
            .min_by_key(|(at, _)| *at)
    }

    /// Counts one answered read of the tasks, and makes the changes that follow it.
    pub(super) fn was_read(&mut self, now: SimTime, speed: f64, happened: &mut Happened) {
        self.reads += 1;
        let reads = self.reads;
        while let Some(index) = self.pending.iter().position(|task| task.script.after_reads == Some(reads)) {
            let pending = self.pending.remove(index);
            let task = self.scripted_task(pending, now, speed);
            self.appear(now, task, happened);
        }
        while let Some(index) = self.hands.iter().position(|hand| hand.after_reads == Some(reads)) {
            let hand = self.hands.remove(index);
            self.by_hand(now, &hand, happened);
        }
    }

    /// Adds a task. It is listed from now on.
    pub(super) fn appear(&mut self, now: SimTime, task: Task, happened: &mut Happened) {
        happened.push((now, self.record(&task, TaskChange::Appeared)));
        self.tasks.push(task);
        self.changed(now);
    }

    /// Returns the names of its nodes.
    pub(super) fn node_names(&self) -> Vec<String> {
        self.nodes.iter().map(|node| node.name.clone()).collect()
    }

    pub(super) fn has_running_task(&self) -> bool {
        self.tasks.iter().any(Task::is_running)
    }

    /// Returns the tasks as a read at `now` shows them, and the time of that state.
    pub(super) fn seen_tasks(&self, now: SimTime) -> (&[Task], SimTime) {
        if self.ways.stale_for.is_zero() {
            return (&self.tasks, now);
        }
        let as_of = now.before(self.ways.stale_for);
        let then = self.past.iter().rev().find(|(at, _)| *at <= as_of);
        (then.map_or(&[], |(_, tasks)| tasks), as_of)
    }

    /// Retries or aborts one of its tasks; returns `None` if it has no such task.
    pub(super) fn put(
        &mut self,
        now: SimTime,
        kind: PutKind,
        task_id: &str,
        happened: &mut Happened,
    ) -> Option<PutOutcome> {
        let leaves = self.ways.after_abort.clone();
        self.order(now, kind, task_id, false, &leaves, happened)
    }

    fn by_hand(&mut self, now: SimTime, hand: &ByHand, happened: &mut Happened) {
        let task = match hand.task {
            Some(number) => number.checked_sub(1).and_then(|index| self.scripted.get(index)).cloned(),
            None => self.tasks.iter().max_by_key(|task| task.start).map(|task| task.id.clone()),
        };
        let kind = match hand.act {
            HandAct::Retry => PutKind::Retry,
            HandAct::Abort => PutKind::Abort,
        };
        let leaves = hand.leaves.clone().unwrap_or_else(|| self.ways.after_abort.clone());
        let mut changes = Vec::new();
        let outcome = task.and_then(|task| self.order(now, kind, &task, true, &leaves, &mut changes));
        if let Some(PutOutcome::Ok(record) | PutOutcome::Refused(record, _)) = outcome {
            happened.push((now, Record::ByHand(record)));
        }
        happened.append(&mut changes);
    }

    fn order(
        &mut self,
        now: SimTime,
        kind: PutKind,
        task_id: &str,
        by_hand: bool,
        leaves: &AfterAbort,
        happened: &mut Happened,
    ) -> Option<PutOutcome> {
        let index = self.tasks.iter().position(|task| task.id == task_id)?;
        let task = self.tasks.get(index)?;
        let failed = matches!(task.status(), "FAILED" | "PARTIAL_FAILED");
        let hazards = self.hazards(index, kind)?;
        let another_runs = hazards.contains(&Hazard::AnotherRuns);
        let mut record = PutRecord {
            kind,
            by_hand,
            cluster: self.id.clone(),
            task: task.id.clone(),
            status: task.status().to_owned(),
            completed_nodes: task.completed_nodes().to_vec(),
            total_nodes: task.nodes.len(),
            execution: task.execution,
            taken: false,
            is_unsafe: kind == PutKind::Abort
                && hazards.iter().any(|hazard| matches!(hazard, Hazard::NodeCompleted | Hazard::NotFailed)),
            hazards,
        };
        match kind {
            PutKind::Retry if !failed => {
                return Some(PutOutcome::Refused(record, self.ways.retry_refusal.clone()));
            }
            PutKind::Retry if another_runs => return Some(PutOutcome::Refused(record, not_now())),
            PutKind::Retry => {
                record.taken = true;
                self.tasks.get_mut(index)?.restart(now);
                let task = self.tasks.get(index)?;
                happened.push((now, self.record(task, TaskChange::Restarted)));
            }
            // A running task cannot be stopped, and a successful one has ended: 200, without
            // effect.
            PutKind::Abort if !failed => return Some(PutOutcome::Ok(record)),
            PutKind::Abort => {
                record.taken = true;
                happened.push((now, self.record(task, TaskChange::Terminated)));
                self.terminate(index, leaves);
            }
        }
        self.changed(now);
        Some(PutOutcome::Ok(record))
    }

    fn hazards(&self, index: usize, kind: PutKind) -> Option<Vec<Hazard>> {
        let task = self.tasks.get(index)?;
        let status = task.status();
        let failed = status == "FAILED" || (kind == PutKind::Retry && status == "PARTIAL_FAILED");
        let mut others = self.tasks.iter().enumerate().filter(|(other, _)| *other != index);
        let newer = others.clone().any(|(other, its)| (its.start, other) > (task.start, index));
        let runs = others.any(|(_, other)| other.is_running());
        let all = [
            (Hazard::NodeCompleted, kind == PutKind::Abort && task.completed > 0),
            (Hazard::NotFailed, !failed),
            (Hazard::NotNewest, newer),
            (Hazard::AnotherRuns, runs),
            (Hazard::AfterTermination, task.terminated),
        ];
        Some(all.into_iter().filter(|(_, holds)| *holds).map(|(hazard, _)| hazard).collect())
    }

    fn terminate(&mut self, index: usize, leaves: &AfterAbort) {
        if *leaves == AfterAbort::Vanishes {
            self.tasks.remove(index);
            return;
        }
        let Some(task) = self.tasks.get_mut(index) else { return };
        task.terminated = true;
        match (leaves, &mut task.phase) {
            (AfterAbort::Field, _) => task.hides_current_node = true,
            (AfterAbort::Status(word), Phase::Ended { status, .. }) => status.clone_from(word),
            (AfterAbort::Nothing | AfterAbort::Vanishes | AfterAbort::Status(_), _) => {}
        }
    }

    fn pass(&mut self, at: SimTime, index: usize, next: Next, happened: &mut Happened) {
        let Some(task) = self.tasks.get_mut(index) else { return };
        let worked_on = task.completed;
        let passed = task.pass(at, next);
        let task = task.clone();
        for passed in passed {
            match passed {
                Passed::NodeCompleted => {
                    self.node_done(&task, worked_on);
                    happened.push((at, self.record(&task, TaskChange::NodeCompleted)));
                }
                Passed::Ended(status) => {
                    if status == "SUCCESS" && task.kind == Kind::Upgrade {
                        self.engine.clone_from(&task.plan.engine);
                        self.version.clone_from(&task.plan.version);
                    }
                    happened.push((at, self.record(&task, TaskChange::Ended(status))));
                }
            }
        }
        self.changed(at);
    }

    fn node_done(&mut self, task: &Task, index: usize) {
        if task.kind == Kind::AzSwitchover {
            let zones: Vec<_> = task.plan.target_az.split(',').collect();
            let zone = index.checked_rem(zones.len()).and_then(|place| zones.get(place));
            if let (Some(zone), Some(node)) = (zone, self.nodes.get_mut(index)) {
                (*zone).clone_into(&mut node.zone);
            }
        }
    }

    /// Keeps the present state for answers with an old state, and forgets states that no answer can
    /// show any more.
    fn changed(&mut self, now: SimTime) {
        self.updated = self.updated.max(now);
        if self.ways.stale_for.is_zero() {
            return;
        }
        let oldest = now.before(self.ways.stale_for);
        let needless = self.past.iter().take_while(|(at, _)| *at <= oldest).count().saturating_sub(1);
        self.past.drain(..needless);
        self.past.push((now, self.tasks.clone()));
    }

    fn record(&self, task: &Task, change: TaskChange) -> Record {
        Record::Task(TaskLog {
            cluster: self.id.clone(),
            cluster_name: self.name.clone(),
            task: task.id.clone(),
            change,
            execution: task.execution,
            completed: task.completed,
        })
    }

    fn scripted_task(&self, pending: PendingTask, at: SimTime, speed: f64) -> Task {
        let PendingTask { id, script } = pending;
        let mut task = Task {
            id,
            kind: script.kind,
            start: at,
            nodes: self.node_names(),
            completed: if script.status == "SUCCESS" { self.nodes.len() } else { script.completed },
            execution: script.execute_times,
            first_execution: script.execute_times,
            phase: Phase::Running { since: at },
            terminated: false,
            hides_current_node: false,
            node_time: script.node_time.map_or(self.node_time, |time| time.div_f64(speed)),
            batch_size: script.batch_size,
            fail: script.fail,
            plan: Plan {
                agency: "css_test_agency".to_owned(),
                engine: self.engine.clone(),
                version: script.to_version.unwrap_or_else(|| self.version.clone()),
                image_id: super::images::SAME_VERSION_IMAGE.to_owned(),
                migrate_type: migrate_type(&script.target_az).to_owned(),
                source_az: script.source_az,
                target_az: script.target_az,
                instance_type: "ess".to_owned(),
            },
        };
        if script.status != "RUNNING" {
            let step = task
                .fail
                .iter()
                .find(|rule| rule.hits(task.completed + 1, task.execution))
                .map_or(0, |r| r.step);
            let worked = task.time_into(step);
            let nodes = u32::try_from(task.completed).unwrap_or(u32::MAX);
            // It cannot have ended later than it is seen, unless the scenario says so.
            let end =
                at.after(task.node_time.saturating_mul(nodes).saturating_add(worked)).min(at.max(SimTime(0)));
            let end = script.end.map_or(end, |end| end.0.max(at));
            task.phase = Phase::Ended { at: end, status: script.status, worked };
        }
        task
    }
}

/// Several target zones add zones; one target zone is a move.
pub(super) fn migrate_type(target_az: &str) -> &'static str {
    if target_az.contains(',') { "multi_az_change" } else { "az_migrate" }
}

/// How the API refuses a request that the cluster's state does not allow.
pub(super) fn not_now() -> Refusal {
    Refusal {
        status: 400,
        code: "CSS.0078".to_owned(),
        message: "CSS.0078 : The cluster status does not allow the upgrade.".to_owned(),
    }
}
