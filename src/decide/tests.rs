//! Stories of one task, told reading by reading: observe, fold, decide, as a look does, without any I/O.

use std::collections::BTreeSet;
use std::time::Duration;

use super::*;
use crate::decide::observe::{Eyes, observe};
use crate::model::answer::{Answer, Meaning};
use crate::model::event::{Entry, Event, Subject};
use crate::model::hold::Holds;
use crate::model::id::{AttemptId, ClusterId, ProjectName, TaskId};
use crate::model::ledger::Ledger;
use crate::model::moment::Mono;
use crate::model::policy::Expect;
use crate::model::project::{Breaker, Limits};
use crate::model::task::{CompletedNodes, Step, TaskKind, TaskList};

mod by_hand;
mod ends;
mod expect;
mod explain;
mod held;
mod looks;
mod planted_faults;
mod readings;
mod settling;
mod shown_late;
mod waits;

const MINUTE: Duration = Duration::from_mins(1);

/// A project with one cluster, its history and a clock.
struct Scene {
    now: Moment,
    ledger: Ledger,
    terms: Option<Terms>,
    poll: Poll,
    limits: Limits,
    holds: Holds,
    breaker: Breaker,
    looked_before: bool,
    expect: Option<Expect>,
    listed: Option<Moment>,
    clock_offset: Option<jiff::SignedDuration>,
    number: u64,
    told: Vec<&'static str>,
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

impl Scene {
    fn new() -> Self {
        Self {
            now: Moment { wall: "2026-01-02T12:00:00Z".parse().unwrap(), mono: Mono(0) },
            ledger: Ledger::default(),
            terms: Some(terms()),
            poll: Poll::default(),
            limits: Limits::default(),
            holds: Holds::default(),
            breaker: Breaker::default(),
            looked_before: true,
            expect: Some(Expect::default()),
            listed: None,
            clock_offset: None,
            number: 0,
            told: Vec::new(),
        }
    }

    fn pass(&mut self, wait: Duration) {
        self.now = self.now.after(wait);
    }

    fn record(&mut self, task: &TaskId, event: Event) {
        self.number += 1;
        self.told.push(event.word());
        let subject =
            Subject { project: ProjectName::new("p").unwrap(), cluster: cluster(), task: task.clone() };
        self.ledger.apply(&Entry { number: self.number, at: self.now, subject, event });
    }

    fn history(&self) -> ClusterHistory {
        self.ledger.clusters.get(&cluster()).cloned().unwrap_or_default()
    }

    fn known(&self) -> TaskHistory {
        self.history().tasks[&TaskId::new("t").unwrap()].clone()
    }

    /// Judges the reading by all that is known.
    fn with_facts<R>(&self, reading: &Reading, of: impl FnOnce(Facts<'_>, &ClusterHistory) -> R) -> R {
        let (project, id) = (ProjectName::new("p").unwrap(), cluster());
        let guards = Guards {
            project: &project,
            ledger: &self.ledger,
            holds: &self.holds,
            limits: &self.limits,
            breaker: &self.breaker,
            clock_offset: self.clock_offset,
        };
        let facts = Facts { cluster: &id, reading, guards, poll: &self.poll, seed: 1 };
        of(facts, &self.history())
    }

    /// One reading, taken in as a look takes it.
    fn read(&mut self, tasks: &[Task]) -> Decision {
        self.read_lists(TaskList { tasks: tasks.to_vec(), unusable: 0, total_size: Some(tasks.len() as u64) })
    }

    fn read_lists(&mut self, upgrades: TaskList) -> Decision {
        let reading = Reading::new(self.now, [upgrades, TaskList::default()]);
        let all_terms = self.terms.clone();
        let terms = |_: TaskKind| all_terms.clone();
        let expected = self.expect.clone();
        let expect = |_: TaskKind| Some(("standard".to_owned(), expected.clone()?));
        let (project, id) = (ProjectName::new("p").unwrap(), cluster());
        let eyes = Eyes {
            project: &project,
            cluster: &id,
            cluster_name: "logs",
            terms: &terms,
            expect: &expect,
            poll: &self.poll,
            listed: self.listed,
            looked_before: self.looked_before,
        };
        for (subject, event) in observe(eyes, &reading, &self.history()) {
            self.record(&subject.task, event);
        }
        for task in reading.tasks.iter().filter(|task| task.status == TaskStatus::Running) {
            let history = self.ledger.clusters.get_mut(&id).unwrap();
            history.tasks.get_mut(&task.id).unwrap().saw_running(self.now);
        }
        if let Some(task) = reading.tasks.iter().max_by_key(|task| task.start_time)
            && let Some(start) = task.start_time
        {
            self.ledger.clusters.entry(id.clone()).or_default().raise_newest(start, &task.id);
        }
        let decision = self.with_facts(&reading, |facts, history| {
            let decision = decide(self.terms.as_ref(), facts, history, self.now);
            assert_eq!(decision, decide(self.terms.as_ref(), facts, history, self.now), "equal inputs");
            decision
        });
        if let Some(task) = &decision.task
            && self.history().tasks.contains_key(task)
        {
            let reason = decision.reason.clone();
            match &decision.verdict {
                Verdict::Wait | Verdict::Held => {
                    let verdict = decision.verdict.word().to_owned();
                    let same = self.history().tasks[task]
                        .decided
                        .as_ref()
                        .is_some_and(|(before, why)| *before == verdict && why.tells_the_same_as(&reason));
                    if !same {
                        self.record(task, Event::Decided { verdict, reason });
                    }
                }
                Verdict::Escalate => self.record(task, Event::Escalated { reason }),
                Verdict::Act(_) => {}
            }
        }
        decision
    }

    /// Expects that this reading makes something due, and sends it with this answer.
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

#[test]
fn a_failed_task_is_retried_after_its_backoff_and_not_before() {
    let mut scene = Scene::new();
    assert_eq!(scene.code(&[failed(1)]), "backoff");
    scene.pass((2 * MINUTE).checked_sub(Duration::from_millis(1)).unwrap());
    assert_eq!(scene.code(&[failed(1)]), "backoff");
    scene.pass(Duration::from_millis(1));
    let decision = scene.read(&[failed(1)]);
    assert_eq!(decision.reason.code(), "retry-due");
    assert_eq!(decision.verdict, Verdict::Act(Order::Retry(TaskId::new("t").unwrap())));
}

#[test]
fn a_retry_that_ends_in_success_is_a_remedy() {
    let mut scene = Scene::new();
    scene.read(&[failed(1)]);
    scene.pass(2 * MINUTE);
    scene.send(&[failed(1)], Meaning::Accepted);
    for _ in 0..3 {
        scene.pass(Duration::from_secs(15));
        assert_eq!(scene.code(&[running(2)]), "running");
    }
    assert!(scene.known().open.is_none(), "two RUNNING readings settle it");
    assert_eq!(scene.known().used.ours, 1);
    scene.pass(MINUTE);
    assert_eq!(scene.code(&[success(2)]), "idle");
    assert_eq!(scene.known().closed.map(|(closing, _)| closing), Some(Closing::Remedied));
}

#[test]
fn nothing_is_sent_while_the_old_failure_is_still_shown() {
    let mut scene = Scene::new();
    scene.read(&[failed(1)]);
    scene.pass(2 * MINUTE);
    scene.send(&[failed(1)], Meaning::Accepted);
    for _ in 0..19 {
        scene.pass(Duration::from_secs(15));
        assert_eq!(scene.code(&[failed(1)]), "settling");
    }
}

#[test]
fn an_accepted_retry_without_effect_is_used_and_two_in_a_row_are_a_humans() {
    let mut scene = Scene::new();
    scene.terms.as_mut().unwrap().retry.max_retries = 5;
    scene.read(&[failed(1)]);
    scene.pass(2 * MINUTE);
    scene.send(&[failed(1)], Meaning::Accepted);
    scene.pass(5 * MINUTE);
    assert_eq!(scene.code(&[failed(1)]), "settling");
    scene.pass(Duration::from_secs(15));
    let decision = scene.read(&[failed(1)]);
    assert!(
        matches!(decision.reason, Reason::Backoff { retry: 2, wait, .. } if wait == 4 * MINUTE),
        "{decision:?}"
    );
    scene.pass(4 * MINUTE);
    scene.send(&[failed(1)], Meaning::Accepted);
    scene.pass(5 * MINUTE);
    scene.read(&[failed(1)]);
    scene.pass(Duration::from_secs(15));
    assert_eq!(scene.code(&[failed(1)]), "without-effect");
    assert_eq!(scene.code(&[failed(1)]), "with-human");
}

#[test]
fn an_unknown_outcome_without_effect_uses_no_retry_and_three_in_a_row_are_a_humans() {
    let mut scene = Scene::new();
    scene.read(&[failed(1)]);
    scene.pass(2 * MINUTE);
    for n in 1..=3 {
        scene.send(&[failed(1)], Meaning::Unknown);
        assert_eq!(scene.known().retries_used(&terms()), 1, "an open attempt counts as used");
        scene.pass(5 * MINUTE);
        assert_eq!(scene.code(&[failed(1)]), "settling");
        scene.pass(Duration::from_secs(14));
        assert_eq!(scene.code(&[failed(1)]), "settling", "two readings must be settle_interval apart");
        scene.pass(Duration::from_secs(1));
        if n < 3 {
            assert!(scene.known().open.is_some());
        } else {
            assert_eq!(scene.code(&[failed(1)]), "not-accepted");
        }
    }
    assert_eq!(scene.known().used.ours, 0);
    assert_eq!(scene.known().waited, 2 * MINUTE, "one wait is counted once");
}

#[test]
fn an_unknown_outcome_that_was_accepted_is_found_out_by_the_next_failure() {
    let mut scene = Scene::new();
    scene.read(&[failed(1)]);
    scene.pass(2 * MINUTE);
    scene.send(&[failed(1)], Meaning::Unknown);
    scene.pass(MINUTE);
    assert_eq!(scene.code(&[failed(2)]), "settling", "one reading is not enough");
    scene.pass(Duration::from_secs(15));
    let decision = scene.read(&[failed(2)]);
    let known = scene.known();
    assert!(matches!(decision.reason, Reason::Backoff { retry: 2, .. }), "{decision:?}");
    let failure = known.failure.unwrap();
    assert_eq!(failure.seen.number, 2);
    assert_eq!(failure.seen.external, 0);
    assert_eq!(
        scene.now.since(failure.first_seen),
        Duration::from_secs(15),
        "first seen at the first such reading"
    );
}

#[test]
fn retries_used_up_with_no_node_done_end_in_an_abort_after_the_grace() {
    let mut scene = Scene::new();
    scene.terms.as_mut().unwrap().retry.max_retries = 0;
    assert_eq!(scene.code(&[failed(1)]), "abort-pending");
    scene.pass((15 * MINUTE).checked_sub(Duration::from_secs(1)).unwrap());
    assert_eq!(scene.code(&[failed(1)]), "abort-pending");
    scene.pass(Duration::from_secs(1));
    scene.send(&[failed(1)], Meaning::Accepted);
    for _ in 0..5 {
        scene.pass(60 * MINUTE);
        assert_eq!(scene.code(&[failed(1)]), "aborted-by-us");
    }
    scene.pass(MINUTE);
    assert_eq!(scene.code(&[failed(7)]), "aborted-by-us", "nothing reopens an aborted task");
}

#[test]
fn a_completed_or_unreadable_node_means_escalation_instead_of_an_abort() {
    let mut hinted = failed(1);
    hinted.steps[0].status = "SUCCESS".to_owned();
    let unreadable = Task { completed: CompletedNodes::Unreadable("null".to_owned()), ..failed(1) };
    for task in [with_nodes(failed(1), &["a"]), with_nodes(failed(1), &["stranger"]), unreadable, hinted] {
        let mut scene = Scene::new();
        scene.terms.as_mut().unwrap().retry.max_retries = 0;
        assert_eq!(scene.code(&[task]), "node-completed");
    }
}

#[test]
fn an_abort_of_unknown_outcome_is_never_sent_again() {
    let mut scene = Scene::new();
    scene.terms.as_mut().unwrap().retry.max_retries = 0;
    scene.read(&[failed(1)]);
    scene.pass(15 * MINUTE);
    scene.send(&[failed(1)], Meaning::Unknown);
    assert_eq!(scene.code(&[failed(1)]), "abort-unknown");
    for _ in 0..50 {
        scene.pass(30 * MINUTE);
        assert_eq!(scene.code(&[failed(1)]), "with-human");
    }
}

#[test]
fn a_change_of_policy_never_makes_an_abort_due() {
    let mut scene = Scene::new();
    scene.read(&[failed(1)]);
    scene.terms.as_mut().unwrap().retry.max_retries = 0;
    scene.pass(60 * MINUTE);
    assert_eq!(scene.code(&[failed(1)]), "policy-changed");
}

#[test]
fn time_never_makes_an_abort_due() {
    let mut scene = Scene::new();
    scene.terms.as_mut().unwrap().retry.max_elapsed_time = Some(MINUTE);
    scene.read(&[failed(1)]);
    scene.pass(2 * MINUTE);
    assert_eq!(scene.code(&[failed(1)]), "max-elapsed-time");
}

#[test]
fn a_partial_failure_is_retried_where_allowed_and_never_aborted() {
    let partial = |n| Task { status: TaskStatus::PartialFailed, ..failed(n) };
    let mut scene = Scene::new();
    assert_eq!(scene.code(&[partial(1)]), "backoff");
    scene.terms.as_mut().unwrap().retry.retry_partial_failed = false;
    assert_eq!(scene.code(&[partial(1)]), "partial-failed");
    let mut scene = Scene::new();
    scene.terms.as_mut().unwrap().retry.max_retries = 0;
    assert_eq!(scene.code(&[partial(1)]), "partial-failed");
}

#[test]
fn progress_gives_the_retries_back_and_flapping_does_not() {
    let mut scene = Scene::new();
    scene.terms.as_mut().unwrap().retry.max_retries = 1;
    scene.read(&[failed(1)]);
    scene.pass(2 * MINUTE);
    scene.send(&[failed(1)], Meaning::Accepted);
    for _ in 0..2 {
        scene.pass(Duration::from_secs(15));
        scene.read(&[running(2)]);
    }
    scene.pass(10 * MINUTE);
    assert_eq!(scene.code(&[with_nodes(failed(2), &["a"])]), "backoff", "a node was completed");
    scene.pass(2 * MINUTE);
    scene.send(&[with_nodes(failed(2), &["a"])], Meaning::Accepted);
    for _ in 0..2 {
        scene.pass(Duration::from_secs(15));
        scene.read(&[running(3)]);
    }
    scene.pass(10 * MINUTE);
    assert_eq!(
        scene.code(&[with_nodes(failed(3), &["a"])]),
        "node-completed",
        "the same node is no progress"
    );
}

#[test]
fn an_older_failed_task_below_a_newer_one_is_history() {
    let mut scene = Scene::new();
    let old = named("t", "2026-01-01T00:00:00", failed(1));
    let new = named("n", "2026-01-02T00:00:00", success(1));
    assert_eq!(scene.code(&[new.clone(), old.clone()]), "idle");
    assert_eq!(
        scene.code(std::slice::from_ref(&old)),
        "newest-missing",
        "also when the newer one is missing from an answer"
    );
    scene.pass(60 * MINUTE);
    assert_eq!(scene.code(&[old]), "newest-missing");
}

#[test]
fn a_newer_task_closes_a_failed_one() {
    let mut scene = Scene::new();
    let old = named("t", "2026-01-01T00:00:00", failed(1));
    scene.read(std::slice::from_ref(&old));
    scene.pass(2 * MINUTE);
    let new = named("n", "2026-01-02T00:00:00", running(1));
    assert_eq!(scene.code(&[new, old]), "running");
    assert!(matches!(scene.known().closed, Some((Closing::Superseded { .. }, _))));
}

#[test]
fn a_newer_task_closes_one_whose_attempt_nothing_can_settle() {
    // A retry, and an abort.
    for max_retries in [2, 0] {
        let mut scene = Scene::new();
        scene.terms.as_mut().unwrap().retry.max_retries = max_retries;
        let mute = Task { execute_times: None, end_time: None, whole: Some("{}".to_owned()), ..failed(1) };
        let old = named("t", "2026-01-01T00:00:00", mute);
        scene.read(&[Task { status: TaskStatus::Running, ..old.clone() }]);
        scene.read(std::slice::from_ref(&old));
        scene.pass(15 * MINUTE);
        scene.send(std::slice::from_ref(&old), Meaning::Unknown);
        let new = named("n", "2026-01-02T00:00:00", running(1));
        let both = [new, old];
        scene.pass(MINUTE);
        scene.read(&both);
        assert_eq!(scene.ledger.others_in_flight(&ClusterId::new("c-2").unwrap()), 1);
        assert!(scene.known().closed.is_none(), "its effect may still be seen");
        scene.pass(65 * MINUTE);
        scene.read(&both);
        assert!(matches!(scene.known().closed, Some((Closing::Superseded { .. }, _))));
        assert_eq!(scene.ledger.others_in_flight(&ClusterId::new("c-2").unwrap()), 0);
    }
}

#[test]
fn a_task_below_one_that_vanished_is_history_too() {
    let mut scene = Scene::new();
    let old = named("t", "2026-01-01T00:00:00", failed(1));
    scene.read(std::slice::from_ref(&old));
    scene.pass(2 * MINUTE);
    scene.send(std::slice::from_ref(&old), Meaning::Unknown);
    // The newer one is read while the attempt on the older one waits for its effect, and is gone after that.
    let word = TaskStatus::Other("QUEUED".to_owned());
    let new = Task { status: word, ..named("n", "2026-01-02T00:00:00", failed(1)) };
    scene.read(&[new, old.clone()]);
    assert!(scene.known().closed.is_none());
    scene.pass(66 * MINUTE);
    assert_eq!(scene.code(std::slice::from_ref(&old)), "newest-missing");
    scene.pass(MINUTE);
    assert_eq!(scene.code(&[old]), "newest-missing");
    assert!(matches!(scene.known().closed, Some((Closing::Superseded { .. }, _))));
    assert_eq!(scene.ledger.others_in_flight(&ClusterId::new("c-2").unwrap()), 0);
}

#[test]
fn nothing_is_acted_on_while_the_newest_task_is_uncertain() {
    let undated = Task { start_time: None, ..named("x", "2026-01-01T00:00:00", success(1)) };
    let rival = named("x", "2026-01-02T11:00:00", success(1));
    for (tasks, code) in [
        (vec![failed(1), undated], "order-unclear"),
        (vec![failed(1), rival], "order-unclear"),
        (vec![failed(1), named("x", "2025-01-01T00:00:00", running(1))], "running"),
    ] {
        let mut scene = Scene::new();
        scene.read(&[failed(1)]);
        scene.pass(2 * MINUTE);
        assert_eq!(scene.code(&tasks), code);
    }
    let mut scene = Scene::new();
    scene.read(&[failed(1)]);
    scene.pass(2 * MINUTE);
    let short = TaskList { tasks: vec![failed(1)], unusable: 0, total_size: Some(2) };
    assert_eq!(scene.read_lists(short).reason.code(), "list-incomplete");
}

#[test]
fn an_unknown_status_is_left_alone() {
    let mut scene = Scene::new();
    scene.read(&[failed(1)]);
    scene.pass(2 * MINUTE);
    let odd = Task { status: TaskStatus::Other("TERMINATED".to_owned()), whole: None, ..failed(1) };
    assert_eq!(scene.code(&[odd]), "unknown-status");
}

#[test]
fn an_attempt_that_an_unknown_status_hides_is_a_humans_and_holds_back_nobody() {
    let terminated = Task { status: TaskStatus::Other("TERMINATED".to_owned()), ..failed(1) };
    let in_flight = |scene: &Scene| scene.ledger.others_in_flight(&ClusterId::new("c-2").unwrap());
    // An abort, at once; a retry, when it could long have been settled.
    for (max_retries, patience, reason) in [(0, MINUTE, "abort-unknown"), (2, 65 * MINUTE, "cannot-settle")] {
        let mut scene = Scene::new();
        scene.terms.as_mut().unwrap().retry.max_retries = max_retries;
        scene.read(&[failed(1)]);
        scene.pass(15 * MINUTE);
        scene.send(&[failed(1)], Meaning::Unknown);
        if reason == "cannot-settle" {
            scene.pass(10 * MINUTE);
            assert_eq!(scene.code(std::slice::from_ref(&terminated)), "unknown-status");
        }
        assert_eq!(in_flight(&scene), 1);
        scene.pass(patience);
        assert_eq!(scene.code(std::slice::from_ref(&terminated)), reason);
        assert_eq!(in_flight(&scene), 0);
        scene.pass(MINUTE);
        assert_eq!(scene.code(std::slice::from_ref(&terminated)), "unknown-status", "told once");
    }
    // One that ran, and was settled.
    let mut scene = Scene::new();
    scene.read(&[failed(1)]);
    scene.pass(2 * MINUTE);
    scene.send(&[failed(1)], Meaning::Accepted);
    for _ in 0..2 {
        scene.pass(MINUTE);
        scene.read(&[running(2)]);
    }
    assert_eq!(in_flight(&scene), 1);
    scene.pass(MINUTE);
    scene.read(&[terminated]);
    assert_eq!(in_flight(&scene), 0, "what does not run needs no place");
}

#[test]
fn an_old_failure_is_told_once_and_left_alone() {
    let mut old = failed(1);
    old.end_time = Some("2025-12-30T11:59:59".parse().unwrap());
    let no_time = Task { end_time: None, steps: Vec::new(), ..failed(1) };
    for task in [old, no_time.clone()] {
        let mut scene = Scene::new();
        for _ in 0..20 {
            assert_eq!(scene.code(std::slice::from_ref(&task)), "too-old");
            scene.pass(60 * MINUTE);
        }
        assert_eq!(scene.told.iter().filter(|word| **word == "decided").count(), 1);
    }
    let mut scene = Scene::new();
    scene.read(&[running(1)]);
    assert_eq!(scene.code(&[no_time]), "backoff", "without a time it is fresh if it was seen running");
}

#[test]
fn a_failed_task_that_others_change_is_left_to_them() {
    let touched =
        Task { whole: Some("{\"executeTimes\":\"1\",\"agencyName\":\"x\"}".to_owned()), ..failed(1) };
    let mut scene = Scene::new();
    scene.read(&[failed(1)]);
    scene.pass(4 * MINUTE);
    assert_eq!(
        scene.code(std::slice::from_ref(&touched)),
        "retry-due",
        "soon after the first sight it is only late"
    );
    let mut scene = Scene::new();
    scene.terms.as_mut().unwrap().retry.initial_interval = 20 * MINUTE;
    scene.read(&[failed(1)]);
    scene.pass(6 * MINUTE);
    let decision = scene.read(&[touched]);
    assert_eq!(decision.reason, Reason::TouchedByOthers { changed: "agencyName".to_owned() });
}

#[test]
fn a_changed_end_time_alone_is_a_touch_and_no_new_failure() {
    let mut scene = Scene::new();
    scene.terms.as_mut().unwrap().retry.initial_interval = 20 * MINUTE;
    scene.read(&[failed(1)]);
    scene.pass(6 * MINUTE);
    let mut later = failed(1);
    later.end_time = Some("2026-01-02T11:59:00".parse().unwrap());
    later.whole = Some("{\"endTime\":\"later\"}".to_owned());
    assert_eq!(scene.code(&[later]), "touched-by-others");
}

#[test]
fn a_retry_of_others_uses_one_up() {
    let mut scene = Scene::new();
    scene.read(&[failed(1)]);
    scene.pass(MINUTE);
    scene.read(&[running(2)]);
    scene.pass(10 * MINUTE);
    let decision = scene.read(&[failed(2)]);
    assert!(matches!(decision.reason, Reason::Backoff { retry: 2, .. }), "{decision:?}");
    assert_eq!(scene.known().used, crate::model::history::Used { ours: 0, external: 1 });
}

#[test]
fn a_stale_failure_after_running_is_no_new_failure() {
    let mut scene = Scene::new();
    scene.read(&[failed(1)]);
    scene.pass(2 * MINUTE);
    scene.send(&[failed(1)], Meaning::Accepted);
    for task in [running(2), failed(1), running(2), failed(1)] {
        scene.pass(Duration::from_secs(20));
        scene.read(&[task]);
        assert_eq!(scene.known().failure.unwrap().seen.number, 1);
    }
    assert_eq!(scene.known().used.ours, 1, "it was settled as accepted");
    assert_eq!(scene.code(&[failed(1)]), "stale-reading");
}

#[test]
fn the_same_words_after_running_are_a_new_failure_once_no_reading_can_be_stale() {
    let same =
        |task: Task| Task { execute_times: None, end_time: None, whole: Some("{}".to_owned()), ..task };
    let mut scene = Scene::new();
    scene.read(&[running(1)]);
    scene.pass(MINUTE);
    scene.read(&[same(failed(1))]);
    scene.pass(2 * MINUTE);
    scene.send(&[same(failed(1))], Meaning::Accepted);
    for _ in 0..2 {
        scene.pass(Duration::from_secs(15));
        scene.read(&[running(1)]);
    }
    scene.pass(4 * MINUTE);
    assert_eq!(scene.code(&[same(failed(1))]), "stale-reading");
    scene.pass(2 * MINUTE);
    assert_eq!(scene.code(&[same(failed(1))]), "backoff");
    assert_eq!(scene.known().failure.unwrap().seen.number, 2);
}

#[test]
fn an_outcome_that_nothing_can_tell_is_a_humans() {
    let mute = Task { execute_times: None, end_time: None, whole: Some("{}".to_owned()), ..failed(1) };
    let mut scene = Scene::new();
    scene.read(&[running(1)]);
    scene.pass(MINUTE);
    scene.read(std::slice::from_ref(&mute));
    scene.pass(2 * MINUTE);
    scene.send(std::slice::from_ref(&mute), Meaning::Unknown);
    scene.pass(5 * MINUTE);
    assert_eq!(scene.code(&[mute]), "cannot-settle");
}

#[test]
fn executions_before_the_journal_count_where_no_node_is_done() {
    let mut scene = Scene::new();
    let decision = scene.read(&[failed(2)]);
    assert!(matches!(decision.reason, Reason::Backoff { retry: 2, .. }), "{decision:?}");
    let mut scene = Scene::new();
    assert_eq!(
        scene.code(&[failed(3)]),
        "abort-pending",
        "used up, under the policy in force, with its grace"
    );
    let mut scene = Scene::new();
    let decision = scene.read(&[with_nodes(failed(3), &["a"])]);
    assert!(matches!(decision.reason, Reason::Backoff { retry: 1, .. }), "{decision:?}");
}

#[test]
fn a_busy_service_is_asked_again_after_the_same_interval_and_uses_no_retry() {
    let mut scene = Scene::new();
    scene.read(&[failed(1)]);
    scene.pass(2 * MINUTE);
    scene.send(&[failed(1)], Meaning::Busy);
    assert_eq!(scene.code(&[failed(1)]), "service-busy");
    scene.pass((2 * MINUTE).checked_sub(Duration::from_secs(1)).unwrap());
    assert_eq!(scene.code(&[failed(1)]), "service-busy");
    scene.pass(Duration::from_secs(1));
    assert_eq!(scene.code(&[failed(1)]), "retry-due");
    assert_eq!(scene.known().used.ours, 0);
    let mut rounds = 0;
    while scene.code(&[failed(1)]) == "retry-due" {
        scene.send(&[failed(1)], Meaning::Busy);
        scene.pass(2 * MINUTE);
        rounds += 1;
    }
    assert_eq!(scene.known().escalated.unwrap().reason.code(), "busy-too-long");
    assert_eq!(rounds, 24 * 30 - 1);
}

#[test]
fn a_busy_service_delays_an_abort_too() {
    let mut scene = Scene::new();
    scene.terms.as_mut().unwrap().retry.max_retries = 0;
    scene.read(&[failed(1)]);
    scene.pass(15 * MINUTE);
    scene.send(&[failed(1)], Meaning::Busy);
    assert_eq!(scene.code(&[failed(1)]), "service-busy");
    scene.pass(2 * MINUTE);
    assert_eq!(scene.code(&[failed(1)]), "abort-due");
}

#[test]
fn what_the_service_will_not_take_is_never_repeated() {
    let mut scene = Scene::new();
    scene.read(&[failed(1)]);
    scene.pass(2 * MINUTE);
    scene.send(&[failed(1)], Meaning::NotAcceptable);
    assert_eq!(scene.code(&[failed(1)]), "not-acceptable");
}

#[test]
fn a_project_that_was_refused_rests_and_then_sends_one_probe() {
    let mut scene = Scene::new();
    scene.read(&[failed(1)]);
    scene.pass(2 * MINUTE);
    scene.send(&[failed(1)], Meaning::ForbiddenProject);
    assert_eq!(scene.code(&[failed(1)]), "project-resting");
    scene.pass(30 * MINUTE);
    assert_eq!(scene.code(&[failed(1)]), "held-until-now", "nothing overdue fires at once");
    scene.pass(2 * MINUTE);
    scene.send(&[failed(1)], Meaning::ForbiddenProject);
    let rest = scene.ledger.rest.unwrap();
    assert_eq!(rest.until.since(scene.now), 60 * MINUTE, "the rest doubles");
    scene.read(&[failed(1)]);
    scene.pass(60 * MINUTE);
    scene.read(&[failed(1)]);
    scene.pass(2 * MINUTE);
    scene.send(&[failed(1)], Meaning::Accepted);
    assert!(scene.ledger.rest.is_none());
    assert_eq!(scene.known().retries_used(&terms()), 1, "refusals used none");
}

#[test]
fn one_code_for_gone_and_forbidden_is_told_apart_by_the_list_and_a_reading() {
    let mut scene = Scene::new();
    scene.read(&[failed(1)]);
    scene.pass(2 * MINUTE);
    scene.send(&[failed(1)], Meaning::GoneOrForbidden);
    scene.pass(Duration::from_secs(20));
    assert_eq!(scene.code(&[failed(1)]), "checking-if-gone", "the list was not read since");
    scene.listed = Some(scene.now);
    assert_eq!(scene.code(&[failed(1)]), "cluster-resting");

    let mut scene = Scene::new();
    scene.read(&[failed(1)]);
    scene.pass(2 * MINUTE);
    scene.send(&[failed(1)], Meaning::GoneOrForbidden);
    scene.read(&[]);
    assert!(scene.known().closed.is_none(), "one look is not enough");
    scene.read(&[]);
    assert_eq!(scene.known().closed.map(|(closing, _)| closing), Some(Closing::Gone));
}

#[test]
fn dry_run_tells_once_and_uses_nothing() {
    let mut scene = Scene::new();
    scene.terms.as_mut().unwrap().mode = Mode::DryRun;
    scene.read(&[failed(1)]);
    for _ in 0..10 {
        scene.pass(10 * MINUTE);
        assert_eq!(scene.code(&[failed(1)]), "dry-run");
    }
    assert_eq!(
        scene.told.iter().filter(|word| **word == "decided").count(),
        2,
        "the backoff, and 'would retry'"
    );
    scene.terms.as_mut().unwrap().mode = Mode::Enforce;
    assert_eq!(scene.code(&[failed(1)]), "held-until-now");
    scene.pass(2 * MINUTE);
    assert_eq!(scene.code(&[failed(1)]), "retry-due");
}

#[test]
fn a_task_without_a_policy_is_watched_and_never_touched() {
    let mut scene = Scene::new();
    scene.terms = None;
    for _ in 0..10 {
        assert_eq!(scene.code(&[failed(1)]), "no-policy");
        scene.pass(60 * MINUTE);
    }
    scene.terms = Some(terms());
    assert_eq!(scene.code(&[failed(1)]), "held-until-now");
}

#[test]
fn limits_and_a_wrong_clock_hold_back() {
    let mut scene = Scene::new();
    scene.read(&[failed(1)]);
    scene.pass(2 * MINUTE);
    scene.limits.max_actions_per_hour = 0;
    assert_eq!(scene.code(&[failed(1)]), "actions-per-hour");
    scene.limits = Limits { max_actions_in_flight: 0, ..Limits::default() };
    assert_eq!(scene.code(&[failed(1)]), "actions-in-flight");
    scene.limits = Limits::default();
    scene.clock_offset = Some(jiff::SignedDuration::from_secs(-301));
    assert_eq!(scene.code(&[failed(1)]), "clock-off");
}

#[test]
fn an_early_change_is_what_the_effect_of_a_put_is_compared_with() {
    // The first reading of the failure had no endTime, or no executeTimes, yet.
    for first in [
        Task { end_time: None, whole: Some("{}".to_owned()), ..failed(1) },
        Task { execute_times: None, whole: Some("{}".to_owned()), ..failed(1) },
    ] {
        for meaning in [Meaning::Accepted, Meaning::Unknown] {
            let mut scene = Scene::new();
            scene.read(&[running(1)]);
            scene.pass(Duration::from_secs(30));
            scene.read(std::slice::from_ref(&first));
            scene.pass(Duration::from_secs(30));
            assert_eq!(scene.code(&[failed(1)]), "backoff");
            scene.pass(2 * MINUTE);
            scene.send(&[failed(1)], meaning);
            for _ in 0..19 {
                scene.pass(Duration::from_secs(15));
                assert_eq!(scene.code(&[failed(1)]), "settling", "{first:?}: nothing has happened");
            }
            assert_eq!(scene.known().used.ours, 0);
            assert_eq!(scene.known().failure.unwrap().seen.number, 1);
        }
    }
}

#[test]
fn a_task_that_comes_back_still_has_its_open_attempt() {
    for meaning in [Meaning::Accepted, Meaning::Unknown] {
        let mut scene = Scene::new();
        scene.read(&[failed(1)]);
        scene.pass(2 * MINUTE);
        scene.send(&[failed(1)], meaning);
        for _ in 0..2 {
            scene.pass(Duration::from_secs(90));
            scene.read(&[]);
        }
        assert_eq!(scene.known().closed.map(|(closing, _)| closing), Some(Closing::Gone));
        assert_eq!(scene.ledger.others_in_flight(&ClusterId::new("c-2").unwrap()), 0);
        scene.pass(Duration::from_secs(30));
        assert_eq!(scene.code(&[failed(1)]), "settling", "the PUT may have been accepted");
        scene.pass(MINUTE);
        scene.read(&[failed(2)]);
        scene.pass(MINUTE);
        scene.read(&[failed(2)]);
        assert_eq!(scene.known().used, crate::model::history::Used { ours: 1, external: 0 });
    }
}

#[test]
fn an_attempt_that_nobody_could_read_for_long_is_settled_and_no_humans() {
    for meaning in [Meaning::Accepted, Meaning::Unknown] {
        for shown in [failed(1), failed(2)] {
            let mut scene = Scene::new();
            scene.read(&[failed(1)]);
            scene.pass(2 * MINUTE);
            scene.send(&[failed(1)], meaning);
            // The daemon was down, or the service.
            scene.pass(10 * 60 * MINUTE);
            assert_eq!(scene.code(std::slice::from_ref(&shown)), "settling");
            scene.pass(Duration::from_secs(15));
            scene.read(&[shown]);
            assert!(scene.known().open.is_none() && scene.known().escalated.is_none());
        }
    }
    // A service that asked to wait for longer than that.
    let mut scene = Scene::new();
    scene.read(&[failed(1)]);
    scene.pass(2 * MINUTE);
    let attempt = scene.send(&[failed(1)], Meaning::Unknown);
    scene.answer(attempt, Meaning::Unknown, Some(120 * MINUTE));
    for _ in 0..119 {
        scene.pass(MINUTE);
        assert_eq!(scene.code(&[failed(1)]), "settling");
    }
    scene.pass(MINUTE);
    scene.read(&[failed(1)]);
    scene.pass(MINUTE);
    assert_eq!(scene.code(&[failed(1)]), "retry-due");
}

#[test]
fn progress_gives_back_what_retries_of_others_used() {
    for seen_running in [true, false] {
        let mut scene = Scene::new();
        scene.terms.as_mut().unwrap().retry.max_retries = 1;
        scene.read(&[failed(1)]);
        scene.pass(MINUTE);
        if seen_running {
            scene.read(&[with_nodes(running(2), &["a"])]);
            scene.pass(MINUTE);
        }
        let decision = scene.read(&[with_nodes(failed(2), &["a"])]);
        assert!(matches!(decision.reason, Reason::Backoff { retry: 1, .. }), "{decision:?}");
        // One more of theirs without progress counts.
        scene.pass(MINUTE);
        assert_eq!(scene.code(&[with_nodes(failed(3), &["a"])]), "node-completed");
    }
}

#[test]
fn a_newer_task_closes_one_that_ran_and_shows_an_unknown_status() {
    let mut scene = Scene::new();
    let old = |task: Task| named("t", "2026-01-01T00:00:00", task);
    scene.read(&[old(failed(1))]);
    scene.pass(2 * MINUTE);
    scene.send(&[old(failed(1))], Meaning::Accepted);
    for _ in 0..2 {
        scene.pass(MINUTE);
        scene.read(&[old(running(2))]);
    }
    assert_eq!(scene.ledger.others_in_flight(&ClusterId::new("c-2").unwrap()), 1);
    let terminated = old(Task { status: TaskStatus::Other("TERMINATED".to_owned()), ..failed(2) });
    scene.pass(MINUTE);
    scene.read(&[named("n", "2026-01-02T00:00:00", success(1)), terminated]);
    assert_eq!(scene.ledger.others_in_flight(&ClusterId::new("c-2").unwrap()), 0);
    assert!(matches!(scene.known().closed, Some((Closing::Superseded { .. }, _))));
}

#[test]
fn a_failure_with_the_words_of_an_earlier_one_is_no_stale_reading_for_ever() {
    let mute = |whole: &str| Task {
        execute_times: None,
        end_time: None,
        whole: Some(whole.to_owned()),
        ..failed(1)
    };
    let running = Task { execute_times: None, ..running(1) };
    let mut scene = Scene::new();
    scene.terms.as_mut().unwrap().retry.max_retries = 5;
    scene.read(std::slice::from_ref(&running));
    scene.pass(MINUTE);
    for (number, whole) in [(1, "{\"step\":1}"), (2, "{\"step\":2}"), (3, "{\"step\":1}")] {
        scene.read(&[mute(whole)]);
        scene.pass(6 * MINUTE);
        scene.read(&[mute(whole)]);
        assert_eq!(scene.known().failure.unwrap().seen.number, number);
        scene.pass(60 * MINUTE);
        scene.send(&[mute(whole)], Meaning::Accepted);
        for _ in 0..2 {
            scene.pass(MINUTE);
            scene.read(std::slice::from_ref(&running));
        }
        scene.pass(MINUTE);
    }
}

#[test]
fn an_older_failure_that_is_shown_for_good_is_a_humans() {
    let mut scene = Scene::new();
    scene.terms.as_mut().unwrap().retry.initial_interval = 60 * MINUTE;
    scene.read(&[failed(1)]);
    scene.pass(MINUTE);
    scene.read(&[failed(2)]);
    scene.pass(MINUTE);
    assert_eq!(scene.code(&[failed(1)]), "stale-reading");
    let mut code = "";
    for _ in 0..600 {
        scene.pass(MINUTE);
        code = scene.code(&[failed(1)]);
    }
    assert_eq!(code, "with-human");
}

#[test]
fn a_number_of_executions_beyond_all_measure_keeps_nobody_busy() {
    let mut scene = Scene::new();
    let terms = scene.terms.as_mut().unwrap();
    terms.retry.max_retries = u32::MAX;
    terms.retry.multiplier = 1.0;
    assert_eq!(scene.code(&[failed(1)]), "backoff");
    let mut many = failed(1);
    many.execute_times = Some(4_000_000_000);
    let mut scene = Scene { ledger: Ledger::default(), ..scene };
    let decision = scene.read(&[many]);
    assert!(matches!(decision.reason, Reason::Backoff { wait, .. } if wait == 2 * MINUTE), "{decision:?}");
}

#[test]
fn an_abort_that_a_policy_took_back_begins_its_grace_anew() {
    let mut scene = Scene::new();
    scene.terms.as_mut().unwrap().retry.max_retries = 0;
    assert_eq!(scene.code(&[failed(1)]), "abort-pending");
    scene.pass(MINUTE);
    scene.terms.as_mut().unwrap().retry.max_retries = 5;
    assert_eq!(scene.code(&[failed(1)]), "backoff");
    scene.pass(20 * MINUTE);
    scene.terms.as_mut().unwrap().retry.max_retries = 0;
    assert_eq!(scene.code(&[failed(1)]), "abort-pending", "it is told again, with time to say no");
    scene.pass(15 * MINUTE);
    assert_eq!(scene.code(&[failed(1)]), "abort-due");
}

#[test]
fn an_end_time_that_stays_as_it_was_does_not_make_a_new_failure_old() {
    let frozen = |execution| Task { end_time: failed(1).end_time, ..failed(execution) };
    let mut scene = Scene::new();
    scene.terms.as_mut().unwrap().retry.max_retries = 5;
    scene.read(&[frozen(1)]);
    scene.pass(2 * MINUTE);
    scene.send(&[frozen(1)], Meaning::Accepted);
    for _ in 0..100 {
        scene.pass(60 * MINUTE);
        assert_eq!(scene.code(&[running(2)]), "running");
    }
    assert_eq!(scene.code(&[frozen(2)]), "backoff");
    // Where nothing else tells its age, that endTime still does.
    let mut scene = Scene::new();
    scene.read(&[frozen(1)]);
    scene.pass(MINUTE);
    assert_eq!(scene.code(&[frozen(2)]), "backoff");
}

#[test]
fn an_abort_of_unknown_outcome_is_a_humans_whatever_the_task_shows_next() {
    for next in [
        running(2),
        success(2),
        failed(2),
        Task { status: TaskStatus::from("ABORTED".to_owned()), ..failed(1) },
    ] {
        let mut scene = Scene::new();
        scene.terms.as_mut().unwrap().retry.max_retries = 0;
        scene.terms.as_mut().unwrap().abort_grace = Duration::ZERO;
        scene.read(&[failed(1)]);
        scene.pass(MINUTE);
        scene.send(&[failed(1)], Meaning::Unknown);
        scene.pass(MINUTE);
        let decision = scene.read(std::slice::from_ref(&next));
        let code = decision.reason.code();
        if next.status == TaskStatus::Success {
            assert_eq!(code, "idle", "its story is over");
        } else {
            assert_eq!((decision.verdict, code), (Verdict::Escalate, "abort-unknown"), "{:?}", next.status);
        }
        scene.pass(10 * MINUTE);
        assert!(!matches!(scene.read(&[failed(3)]).verdict, Verdict::Act(_)), "never sent again");
    }
}

#[test]
fn a_running_reading_of_the_past_is_no_retry_by_others() {
    let mut scene = Scene::new();
    scene.read(&[running(1)]);
    scene.pass(MINUTE);
    scene.read(&[failed(1)]);
    scene.pass(Duration::from_secs(30));
    scene.read(&[running(1)]);
    scene.pass(6 * MINUTE);
    scene.read(&[failed(1)]);
    assert_eq!(scene.known().used.external, 0);
    // Long after the failure was first seen, no reading shows what was before it.
    scene.pass(10 * MINUTE);
    scene.read(&[running(1)]);
    scene.pass(6 * MINUTE);
    scene.read(&[failed(1)]);
    assert_eq!(scene.known().used.external, 1);
}

#[test]
fn a_failure_that_was_kept_in_doubt_and_is_journaled_again_counts_once() {
    let mut scene = Scene::new();
    scene.read(&[failed(1)]);
    scene.pass(MINUTE);
    // Somebody retried it; the journal keeps that twice, as after a flush that failed and was done all the same.
    scene.read(&[failed(2)]);
    let known = scene.known();
    let seen = known.failure.clone().unwrap().seen;
    assert_eq!((seen.external, known.used.external), (1, 1));
    scene.record(&TaskId::new("t").unwrap(), Event::Failed(Box::new(seen)));
    assert_eq!(scene.known().used, known.used);
    assert_eq!(scene.known().earlier, known.earlier);
}

#[test]
fn a_first_sight_that_was_kept_in_doubt_is_replaced_by_the_next() {
    let seen = |completed, external| Event::FirstSeen {
        kind: TaskKind::Upgrade,
        cluster_name: "logs".to_owned(),
        start_time: None,
        execute_times: Some(3),
        completed: Some(completed),
        external,
    };
    let mut scene = Scene::new();
    let task = TaskId::new("t").unwrap();
    scene.record(&task, seen(0, 2));
    scene.record(&task, seen(2, 0));
    assert_eq!((scene.known().most_completed, scene.known().used.external), (Some(2), 0));
    // Whose story has gone on keeps it.
    let mut scene = Scene::new();
    scene.read(&[failed(1)]);
    scene.pass(2 * MINUTE);
    scene.send(&[failed(1)], Meaning::Unknown);
    let known = scene.known();
    scene.record(&task, seen(0, 0));
    assert_eq!(scene.known().attempts, known.attempts);
    assert_eq!(scene.known().open, known.open);
}

#[test]
fn other_words_of_the_same_failure_settle_nothing_while_the_put_may_be_on_its_way() {
    let mut scene = Scene::new();
    scene.read(&[failed(1)]);
    scene.pass(2 * MINUTE);
    scene.send(&[failed(1)], Meaning::Unknown);
    // A human terminates it: the triple stays.
    let touched = Task { whole: Some("{\"currentNodeName\":\"\"}".to_owned()), ..failed(1) };
    for _ in 0..4 {
        scene.pass(MINUTE);
        assert_eq!(scene.code(std::slice::from_ref(&touched)), "settling");
        assert!(scene.known().open.is_some());
    }
    scene.pass(MINUTE);
    scene.read(std::slice::from_ref(&touched));
    scene.pass(Duration::from_secs(15));
    scene.read(std::slice::from_ref(&touched));
    let known = scene.known();
    assert!(known.open.is_none());
    assert_eq!((known.used.ours, known.failure.unwrap().seen.number), (1, 2), "used, and no PUT before that");
}

/// A task as a service tells it that shows neither `executeTimes` nor `endTime`.
fn with_nothing_to_tell_by(task: Task) -> Task {
    Task { execute_times: None, end_time: None, ..task }
}

#[test]
fn a_running_reading_of_the_past_uses_no_retry_up_and_brings_no_abort() {
    for plain in [false, true] {
        let told = |task| if plain { with_nothing_to_tell_by(task) } else { task };
        let (ran, fails) = (told(running(1)), told(failed(1)));
        let mut scene = Scene::new();
        scene.terms.as_mut().unwrap().retry.max_retries = 1;
        scene.read(std::slice::from_ref(&ran));
        scene.pass(MINUTE);
        scene.read(std::slice::from_ref(&fails));
        scene.pass(2 * MINUTE);
        // It never arrives, and the service shows once more what was before the failure.
        scene.send(std::slice::from_ref(&fails), Meaning::Unknown);
        for _ in 0..3 {
            scene.pass(Duration::from_secs(20));
            assert_eq!(scene.code(std::slice::from_ref(&ran)), "running");
            assert!(scene.known().open.is_some(), "RUNNING may show what was before the failure");
        }
        for _ in 0..20 {
            scene.pass(MINUTE);
            let decision = scene.read(std::slice::from_ref(&fails));
            let abort = matches!(decision.verdict, Verdict::Act(Order::Abort(_)));
            assert!(!abort && decision.reason.code() != "abort-pending", "{decision:?}");
        }
        assert_eq!(scene.known().used.ours, 0);
        assert_eq!(scene.known().open.is_some(), plain, "where nothing can tell it is never settled");
        assert!(scene.known().escalated.is_none());
        if plain {
            scene.pass(60 * MINUTE);
            assert_eq!(scene.code(std::slice::from_ref(&fails)), "cannot-settle");
        }
    }
}

#[test]
fn running_long_after_the_failure_was_seen_shows_that_a_put_was_accepted() {
    for plain in [false, true] {
        let told = |task| if plain { with_nothing_to_tell_by(task) } else { task };
        let mut scene = Scene::new();
        scene.read(&[told(running(1))]);
        scene.read(&[told(failed(1))]);
        scene.pass(2 * MINUTE);
        scene.send(&[told(failed(1))], Meaning::Unknown);
        scene.pass(3 * MINUTE);
        for _ in 0..2 {
            assert_eq!(scene.code(&[told(running(1))]), "running");
            scene.pass(Duration::from_secs(15));
        }
        assert!(scene.known().open.is_none());
        assert_eq!(scene.known().used.ours, 1);
    }
}

#[test]
fn a_probe_that_may_be_gone_lets_the_project_go_on_whatever_its_task_shows_next() {
    let unknown = Task { status: TaskStatus::Other("TERMINATED".to_owned()), ..failed(1) };
    for shown in [unknown, running(2)] {
        let mut scene = Scene::new();
        scene.read(&[failed(1)]);
        scene.pass(2 * MINUTE);
        scene.send(&[failed(1)], Meaning::ForbiddenProject);
        scene.read(&[failed(1)]);
        scene.pass(30 * MINUTE);
        scene.read(&[failed(1)]);
        scene.pass(2 * MINUTE);
        scene.send(&[failed(1)], Meaning::GoneOrForbidden);
        scene.read(std::slice::from_ref(&shown));
        assert!(scene.ledger.rest.unwrap().probe.is_some(), "gone, or forbidden");
        scene.pass(Duration::from_secs(20));
        scene.listed = Some(scene.now);
        scene.read(&[shown]);
        let rest = scene.ledger.rest.unwrap();
        assert!(rest.probe.is_none(), "it is still there, so another PUT may be the probe");
        assert_eq!(rest.until.since(scene.now), 60 * MINUTE, "and was forbidden");
    }
}

#[test]
fn an_older_answer_without_a_new_task_does_not_make_it_gone() {
    let mut scene = Scene::new();
    scene.read(&[running(1)]);
    for _ in 0..9 {
        scene.pass(Duration::from_secs(30));
        scene.read(&[]);
        assert!(scene.known().closed.is_none(), "it may show what was before the task began");
    }
    scene.pass(Duration::from_secs(30));
    scene.read(&[]);
    assert_eq!(scene.known().closed.map(|(closing, _)| closing), Some(Closing::Gone));
}
