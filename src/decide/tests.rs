//! Lifecycles of one task, poll by poll: observe, fold, decide, as a reconcile does, without any
//! I/O.

use std::collections::BTreeSet;
use std::time::Duration;

use super::*;
use crate::model::answer::{Answer, Meaning};
use crate::model::cluster::{Cluster, Traits};
use crate::model::event::{Entry, Event, Subject};
use crate::model::hold::Holds;
use crate::model::id::{AttemptId, ClusterId, ProjectName, TaskId};
use crate::model::moment::Mono;
use crate::model::outlook::Outlook;
use crate::model::policy::{Expect, Match, Policy};
use crate::model::project::{Breaker, Limits, PauseCause, Rules};
use crate::model::project_state::{Pause, ProjectState};
use crate::model::task::{CompletedNodes, Reading, Step, TaskKind, TaskList};

mod aborts;
mod answers;
mod ends;
mod expect;
mod explain;
mod held;
mod manual;
mod newest;
mod news;
mod outlook;
mod polls;
mod readings;
mod retries;
mod sequences;
mod settling;
mod shown_late;
mod steps;
mod waits;

const MINUTE: Duration = Duration::from_mins(1);

/// As long as `wait`, but for the shortest time that the clock tells.
fn a_moment_less_than(wait: Duration) -> Duration {
    wait.saturating_sub(Duration::from_millis(1))
}

/// A pause after one refusal.
fn paused_until(until: Moment) -> Pause {
    Pause { cause: PauseCause::Forbidden, refusals: 1, until, probe: None, probe_at_once: false }
}

/// A project with one cluster, its history and a clock.
struct Harness {
    now: Moment,
    project_state: ProjectState,
    terms: Option<Terms>,
    poll: Poll,
    limits: Limits,
    holds: Holds,
    breaker: Breaker,
    polled_before: bool,
    /// When the cluster was last polled; absent: right before.
    polled: Option<Moment>,
    expect: Expect,
    /// When a list last showed the cluster; absent: not since the start.
    listed: Option<Moment>,
    clock_offset: Option<jiff::SignedDuration>,
    number: u64,
    journaled: Vec<&'static str>,
}

fn cluster() -> ClusterId {
    ClusterId::new("c-1").unwrap()
}

fn terms() -> Terms {
    let mut terms = Terms::defaults("standard", Mode::Enforce);
    terms.retry.randomization_factor = 0.0;
    terms.retry.max_retries = 2;
    terms
}

impl Harness {
    fn new() -> Self {
        let now = Moment { wall: "2026-01-02T12:00:00Z".parse().unwrap(), mono: Mono(0) };
        Self {
            now,
            project_state: ProjectState::default(),
            terms: Some(terms()),
            poll: Poll::default(),
            limits: Limits::default(),
            holds: Holds::default(),
            breaker: Breaker::default(),
            polled_before: true,
            polled: None,
            expect: Expect::default(),
            listed: Some(now),
            clock_offset: None,
            number: 0,
            journaled: Vec::new(),
        }
    }

    fn pass(&mut self, wait: Duration) {
        self.now = self.now.after(wait);
    }

    fn record(&mut self, task: &TaskId, event: Event) {
        self.number += 1;
        self.journaled.push(event.word());
        let subject =
            Subject { project: ProjectName::new("p").unwrap(), cluster: cluster(), task: task.clone() };
        self.project_state.apply(&Entry { number: self.number, at: self.now, subject, event });
    }

    fn cluster_record(&self) -> ClusterRecord {
        self.project_state.cluster(&cluster()).clone()
    }

    fn known(&self) -> TaskRecord {
        self.cluster_record().tasks[&TaskId::new("t").unwrap()].clone()
    }

    /// The configuration, with no mode below the policy's.
    fn rules(&self) -> Rules {
        let policy = |terms: &Terms| Policy {
            matches: Match::default(),
            terms: terms.clone(),
            expect: self.expect.clone(),
        };
        Rules {
            policies: self.terms.iter().map(policy).collect(),
            poll: self.poll.clone(),
            limits: self.limits.clone(),
            breaker: self.breaker.clone(),
            retention: None,
            mode: Mode::Enforce,
        }
    }

    /// Decides about the poll with the whole state.
    fn judge<R>(&self, reading: &Reading, of: impl FnOnce(&ProjectState, StepInput<'_>) -> R) -> R {
        self.judge_by(&self.rules(), reading, of)
    }

    fn judge_by<R>(
        &self,
        rules: &Rules,
        reading: &Reading,
        of: impl FnOnce(&ProjectState, StepInput<'_>) -> R,
    ) -> R {
        let input = StepInput {
            project: &ProjectName::new("p").unwrap(),
            cluster: &Cluster::recalled(cluster(), "logs".to_owned(), Traits::default()),
            reading,
            rules,
            holds: &self.holds,
            seed: 1,
            clock_offset: self.clock_offset,
            listed: self.listed,
            polled: self.polled_before.then_some(self.polled.unwrap_or(self.now)),
        };
        of(&self.project_state, input)
    }

    /// The outlook of the task, if its cluster was last polled so.
    fn outlook(&self, tasks: &[Task]) -> Outlook {
        let (id, known) = (TaskId::new("t").unwrap(), self.known());
        let judge = |state: &_, input: StepInput<'_>| outlook(state, input, (&id, &known), self.now);
        self.judge(&self.reading(tasks), judge)
    }

    /// Another cluster's last answer shows these tasks.
    fn shown_by(&mut self, other: &str, tasks: &[Task]) {
        let list = TaskList { tasks: tasks.to_vec(), unusable: 0, total_size: Some(tasks.len() as u64) };
        let reading = Reading::new(self.now, self.now, [list, TaskList::default()]);
        self.project_state.remember_shown(&ClusterId::new(other).unwrap(), &reading);
    }

    /// Takes in one poll as a reconcile does.
    fn read(&mut self, tasks: &[Task]) -> Decision {
        self.read_lists(TaskList { tasks: tasks.to_vec(), unusable: 0, total_size: Some(tasks.len() as u64) })
    }

    fn read_lists(&mut self, upgrades: TaskList) -> Decision {
        let reading = Reading::new(self.now, self.now, [upgrades, TaskList::default()]);
        let step = self.judge(&reading, |state, input| {
            let step = step(state, input, self.now);
            assert_eq!(step, super::step(state, input, self.now), "equal inputs");
            step
        });
        for (subject, event) in step.events {
            self.record(&subject.task, event);
        }
        self.project_state.remember(&cluster(), &reading);
        step.decision
    }

    /// Expects that this poll makes a request due, and sends it with this answer.
    fn send(&mut self, tasks: &[Task], meaning: Meaning) -> AttemptId {
        let decision = self.read(tasks);
        let Verdict::Act(order) = &decision.verdict else { panic!("not due: {decision:?}") };
        let waited = match decision.reason {
            Reason::RetryDue { waited, .. } => waited,
            _ => Duration::ZERO,
        };
        let failure = self.known().failure.unwrap().seen.number;
        let event =
            Event::Intent { action: order.action(), failure, waited, reason: decision.reason.clone() };
        self.record(&order.task().clone(), event);
        let attempt = AttemptId(self.number);
        self.answer(attempt, meaning, None);
        attempt
    }

    fn answer(&mut self, attempt: AttemptId, meaning: Meaning, retry_after: Option<Duration>) {
        let answer = Answer {
            meaning,
            status: Some(200),
            code: None,
            message: String::new(),
            request_id: None,
            retry_after,
        };
        self.record(&TaskId::new("t").unwrap(), Event::Answered { attempt, answer });
    }

    fn code(&mut self, tasks: &[Task]) -> &'static str {
        self.read(tasks).reason.code()
    }
}

/// A task that failed at its first node.
fn failed(execution: u64) -> Task {
    Task {
        id: TaskId::new("t").unwrap(),
        kind: TaskKind::Upgrade,
        status: TaskStatus::Failed,
        start_time: Some("2026-01-02T11:00:00".parse().unwrap()),
        end_time: Some(format!("2026-01-02T11:{:02}:00", 10 + execution).parse().unwrap()),
        execute_times: Some(execution),
        total_nodes: BTreeSet::from(["a", "b", "c"].map(str::to_owned)),
        completed: CompletedNodes::None,
        current_node: "a".to_owned(),
        current_batch: BTreeSet::new(),
        steps: vec![Step {
            order: Some(0),
            name: "Data migration".to_owned(),
            status: "FAILED".to_owned(),
            begin_time: None,
            end_time: None,
        }],
        setup: None,
        whole: Some(format!("{{\"executeTimes\":\"{execution}\"}}")),
    }
}

fn running(execution: u64) -> Task {
    Task { status: TaskStatus::Running, end_time: None, whole: None, ..failed(execution) }
}

fn success(execution: u64) -> Task {
    Task { status: TaskStatus::Success, whole: None, ..failed(execution) }
}

fn with_nodes(task: Task, names: &[&str]) -> Task {
    let whole = task.whole.as_ref().map(|whole| format!("{whole}{names:?}"));
    Task {
        completed: CompletedNodes::Some(names.iter().map(|name| (*name).to_owned()).collect()),
        whole,
        ..task
    }
}

fn named(id: &str, start: &str, task: Task) -> Task {
    Task { id: TaskId::new(id).unwrap(), start_time: Some(start.parse().unwrap()), ..task }
}

/// A task as an API shows it that returns neither `executeTimes` nor `endTime`.
fn with_nothing_to_tell_by(task: Task) -> Task {
    Task { execute_times: None, end_time: None, ..task }
}
