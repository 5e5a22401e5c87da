//! Which orders of an operator are allowed.

use super::*;
use crate::decide::manual;
use crate::model::decision::ManualOrder;
use crate::model::window::{Span, Window};

fn ordered(command: &str) -> ManualOrder {
    ManualOrder { task: None, command: command.to_owned(), by: "uid 7".to_owned(), why: "test".to_owned() }
}

impl Harness {
    pub(super) fn reading(&self, tasks: &[Task]) -> Reading {
        let upgrades = TaskList { tasks: tasks.to_vec(), unusable: 0, total_size: Some(tasks.len() as u64) };
        Reading::new(self.now, self.now, [upgrades, TaskList::default()])
    }

    /// The result of this order: its task, or the code of the reason against it.
    fn order(&self, action: Action, tasks: &[Task]) -> Result<Order, &'static str> {
        self.order_in(Mode::Enforce, action, &ordered("new"), tasks)
    }

    fn order_in(
        &self,
        mode: Mode,
        action: Action,
        ordered: &ManualOrder,
        tasks: &[Task],
    ) -> Result<Order, &'static str> {
        let rules = Rules { mode, ..self.rules() };
        let judge = |state: &_, input: StepInput<'_>| manual::act(action, ordered, state, input, self.now);
        self.judge_by(&rules, &self.reading(tasks), judge).map_err(|reason| reason.code())
    }

    fn send_by_hand(&mut self, action: Action, command: &str, tasks: &[Task], meaning: Meaning) {
        let order = self.order_in(Mode::Enforce, action, &ordered(command), tasks).unwrap();
        let failure = self.known().failure.unwrap().seen.number;
        let ManualOrder { command, by, why, .. } = ordered(command);
        let reason = Reason::Manual { action, by, why, command };
        self.record(&order.task().clone(), Event::Intent { action, failure, waited: Duration::ZERO, reason });
        self.answer(AttemptId(self.number), meaning, None);
    }

    fn reset(&mut self, tasks: &[Task]) -> Result<(), &'static str> {
        let ordered = ordered("reset");
        let given_back = self
            .judge(&self.reading(tasks), |state, input| manual::reset(&ordered, state, input, self.now))
            .map_err(|reason| reason.code())?;
        let ManualOrder { command, by, why, .. } = ordered;
        self.record(&given_back.task, Event::Reset { by, why, command, failed: given_back.failed });
        Ok(())
    }

    /// Escalated with all retries exhausted.
    fn given_up() -> Self {
        let mut harness = Self::new();
        harness.terms.as_mut().unwrap().retry.max_retries = 0;
        harness.terms.as_mut().unwrap().on_exhausted = OnExhausted::Escalate;
        assert_eq!(harness.code(&[failed(1)]), "retries-exhausted");
        harness
    }
}

/// What is changed in a harness, by a name.
type Change = (&'static str, fn(&mut Harness));

const RETRY: Action = Action::Retry;
const ABORT: Action = Action::Abort;

#[test]
fn a_human_passes_over_what_is_a_matter_of_judgement() {
    let scenes: [Change; 6] = [
        ("backoff", |_| {}),
        ("window", |harness| {
            let span = Span { days: [true; 7], from: 22 * 60, to: 6 * 60 };
            harness.terms.as_mut().unwrap().window = Window::new("UTC", Some(&[span]), &[]);
        }),
        ("limits", |harness| {
            harness.limits = Limits { max_actions_per_hour: 0, max_actions_in_flight: 0, ..Limits::default() }
        }),
        ("breaker", |harness| harness.breaker.failures = 1),
        ("too old", |harness| harness.poll.max_failure_age = Duration::ZERO),
        ("budget", |harness| harness.terms.as_mut().unwrap().retry.max_retries = 0),
    ];
    for (over, change) in scenes {
        let mut harness = Harness::new();
        change(&mut harness);
        let decision = harness.read(&[failed(1)]);
        assert!(!matches!(decision.verdict, Verdict::Act(_)), "{over}");
        for action in [RETRY, ABORT] {
            let order = harness.order(action, &[failed(1)]);
            assert_eq!(order.map(|order| order.action()), Ok(action), "{over}");
        }
    }
    let harness = Harness::given_up();
    assert!(harness.order(RETRY, &[failed(1)]).is_ok() && harness.order(ABORT, &[failed(1)]).is_ok());
}

#[test]
fn nobody_acts_on_what_is_not_failed_or_not_certainly_the_newest() {
    let mut harness = Harness::new();
    harness.read(&[failed(1)]);
    let unknown = Task { status: TaskStatus::from("failed".to_owned()), ..failed(1) };
    let partial = Task { status: TaskStatus::PartialFailed, ..failed(1) };
    let undated = Task { start_time: None, ..failed(1) };
    let newer = named("u", "2026-01-02T11:30:00", success(1));
    let twin = named("u", "2026-01-02T11:00:00", success(1));
    for (tasks, code) in [
        (vec![], "newest-missing"),
        (vec![running(1)], "running"),
        (vec![success(1)], "not-failed"),
        (vec![unknown], "not-failed"),
        (vec![undated], "order-unclear"),
        (vec![failed(1), twin], "order-unclear"),
        (vec![failed(1), newer.clone()], "not-failed"),
        (vec![failed(1), Task { status: TaskStatus::Running, ..newer }], "running"),
        (vec![failed(2)], "stale-poll"),
    ] {
        for action in [RETRY, ABORT] {
            assert_eq!(harness.order(action, &tasks), Err(code), "{action}");
        }
    }
    assert_eq!(harness.order(ABORT, std::slice::from_ref(&partial)), Err("not-failed"), "never aborted");
    let mut harness = Harness::new();
    harness.read(std::slice::from_ref(&partial));
    assert!(harness.order(RETRY, std::slice::from_ref(&partial)).is_ok(), "the policy allows it");
    harness.terms.as_mut().unwrap().retry.retry_partial_failed = false;
    assert_eq!(harness.order(RETRY, &[partial]), Err("not-failed"));
    let mut named_task = ordered("new");
    named_task.task = Some(TaskId::new("another").unwrap());
    assert_eq!(harness.order_in(Mode::Enforce, RETRY, &named_task, &[failed(1)]), Err("not-newest"));
}

#[test]
fn nobody_passes_over_a_hold_dry_run_a_rest_or_a_clock_that_is_off() {
    let scenes: [Change; 5] = [
        ("on-hold", |harness| {
            harness.hold("all", None);
        }),
        ("dry-run", |harness| harness.terms.as_mut().unwrap().mode = Mode::DryRun),
        ("clock-off", |harness| harness.clock_offset = Some(jiff::SignedDuration::from_mins(6))),
        ("project-paused", |harness| {
            harness.project_state.pause = Some(paused_until(harness.now.after(MINUTE)));
        }),
        ("cluster-paused", |harness| {
            harness.project_state.paused.insert(cluster(), paused_until(harness.now.after(MINUTE)));
        }),
    ];
    for (code, change) in scenes {
        let mut harness = Harness::new();
        harness.read(&[failed(1)]);
        change(&mut harness);
        assert_eq!(harness.order(RETRY, &[failed(1)]), Err(code));
        assert_eq!(harness.order(ABORT, &[failed(1)]), Err(code));
    }
    let mut without_policy = Harness::new();
    without_policy.terms = None;
    without_policy.read(&[failed(1)]);
    assert_eq!(without_policy.order(RETRY, &[failed(1)]), Err("no-policy"));
    assert!(without_policy.order(ABORT, &[failed(1)]).is_ok());
    let dry = without_policy.order_in(Mode::DryRun, ABORT, &ordered("new"), &[failed(1)]);
    assert_eq!(dry, Err("dry-run"), "the global mode, where no policy matches");
}

#[test]
fn nobody_sends_a_put_while_an_earlier_one_may_have_been_accepted() {
    for (action, code) in [(RETRY, "outcome-unknown"), (ABORT, "abort-unknown")] {
        let mut harness = Harness::new();
        harness.read(&[failed(1)]);
        harness.send_by_hand(action, "first", &[failed(1)], Meaning::Unknown);
        for next in [RETRY, ABORT] {
            assert_eq!(harness.order(next, &[failed(1)]), Err(code));
            let again = harness.order_in(Mode::Enforce, next, &ordered("first"), &[failed(1)]);
            assert_eq!(again, Err("already-done"));
        }
    }
    let mut aborted = Harness::new();
    aborted.read(&[failed(1)]);
    aborted.send_by_hand(ABORT, "first", &[failed(1)], Meaning::Accepted);
    assert_eq!(aborted.order(RETRY, &[failed(1)]), Err("aborted-by-us"));
    assert_eq!(aborted.reset(&[failed(1)]), Err("aborted-by-us"));
}

#[test]
fn nobody_aborts_with_a_completed_or_unreadable_node() {
    let unreadable = Task { completed: CompletedNodes::Unreadable("null".to_owned()), ..failed(1) };
    let batch = Task { current_batch: BTreeSet::from(["a", "b"].map(str::to_owned)), ..failed(1) };
    let mut done = failed(1);
    done.steps.iter_mut().for_each(|step| "SUCCESS".clone_into(&mut step.status));
    for task in [with_nodes(failed(1), &["a"]), with_nodes(failed(1), &["stranger"]), unreadable, batch, done]
    {
        let mut harness = Harness::new();
        harness.read(std::slice::from_ref(&task));
        assert_eq!(harness.order(ABORT, std::slice::from_ref(&task)), Err("not-abortable"));
        assert!(harness.order(RETRY, &[task]).is_ok());
    }
}

#[test]
fn a_retry_by_hand_leaves_the_task_with_its_human_and_is_settled_soon() {
    let mut harness = Harness::given_up();
    harness.pass(MINUTE);
    harness.send_by_hand(RETRY, "first", &[failed(1)], Meaning::Accepted);
    let decision = harness.read(&[failed(1)]);
    assert_eq!(
        (decision.reason.code(), decision.next_poll),
        ("needs-operator", harness.poll.settle_interval)
    );
    for _ in 0..2 {
        harness.pass(Duration::from_secs(15));
        assert_eq!(harness.code(&[running(2)]), "running");
    }
    assert!(harness.known().open.is_none(), "confirmed");
    harness.pass(MINUTE);
    assert_eq!(harness.code(&[failed(2)]), "needs-operator", "a new failure is not acted on before a reset");
    assert!(harness.order(RETRY, &[failed(2)]).is_ok());
}

#[test]
fn what_is_given_back_has_all_its_retries_and_a_new_backoff() {
    let mut harness = Harness::new();
    assert_eq!(harness.code(&[failed(1)]), "backoff");
    assert_eq!(harness.reset(&[failed(1)]), Err("not-escalated"));
    for execution in 1..=2 {
        harness.read(&[failed(execution)]);
        harness.pass(5 * MINUTE);
        harness.send(&[failed(execution)], Meaning::Accepted);
        for _ in 0..3 {
            harness.pass(Duration::from_secs(15));
            harness.read(&[running(execution + 1)]);
        }
    }
    harness.terms.as_mut().unwrap().on_exhausted = OnExhausted::Escalate;
    harness.pass(MINUTE);
    assert_eq!(harness.code(&[failed(3)]), "retries-exhausted");
    harness.pass(60 * MINUTE);
    harness.reset(&[failed(3)]).unwrap();
    let decision = harness.read(&[failed(3)]);
    let backoff = Reason::Backoff {
        retry: 1,
        max_retries: 2,
        wait: 2 * MINUTE,
        until: harness.now.after(2 * MINUTE).wall,
    };
    assert_eq!(decision.reason, backoff);
    harness.pass(2 * MINUTE);
    assert_eq!(harness.code(&[failed(3)]), "retry-due");
}

#[test]
fn what_was_touched_is_taken_back_as_it_is_now() {
    let mut harness = Harness::new();
    harness.read(&[failed(1)]);
    harness.pass(6 * MINUTE);
    let touched = Task { whole: Some("{\"agencyName\":\"x\"}".to_owned()), ..failed(1) };
    harness.terms.as_mut().unwrap().retry.initial_interval = 20 * MINUTE;
    assert_eq!(harness.code(std::slice::from_ref(&touched)), "changed-externally");
    harness.reset(std::slice::from_ref(&touched)).unwrap();
    assert_eq!(harness.code(std::slice::from_ref(&touched)), "backoff");
    harness.pass(20 * MINUTE);
    assert_eq!(harness.code(&[touched]), "retry-due");
}

#[test]
fn an_abort_that_a_human_has_judged_no_longer_stands_in_the_way() {
    let mut harness = Harness::new();
    harness.read(&[failed(1)]);
    harness.send_by_hand(ABORT, "first", &[failed(1)], Meaning::Unknown);
    assert_eq!(harness.code(&[failed(1)]), "abort-unknown");
    harness.reset(&[failed(1)]).unwrap();
    assert_eq!(harness.code(&[failed(1)]), "backoff");
}

#[test]
fn a_reset_waits_until_a_retry_is_settled_that_may_still_show_its_effect() {
    let mut harness = Harness::given_up();
    harness.pass(MINUTE);
    harness.send_by_hand(RETRY, "first", &[failed(1)], Meaning::Unknown);
    assert_eq!(harness.reset(&[failed(1)]), Err("outcome-unknown"));
    harness.pass(harness.poll.settle_timeout);
    harness.read(&[failed(1)]);
    harness.pass(harness.poll.settle_interval);
    harness.read(&[failed(1)]);
    assert!(harness.known().open.is_none(), "not accepted, by two readings");
    assert_eq!(harness.reset(&[failed(1)]), Ok(()));
    assert_eq!(harness.reset(&[failed(1)]), Err("already-done"));
}

#[test]
fn a_retry_that_nothing_settles_any_more_is_no_reason_to_refuse_a_reset() {
    let mut harness = Harness::given_up();
    harness.send_by_hand(RETRY, "first", &[failed(1)], Meaning::Unknown);
    // The cluster was unreachable: five minutes until the request could be confirmed, and an hour
    // of patience.
    harness.pass(a_moment_less_than(65 * MINUTE));
    assert_eq!(harness.reset(&[failed(1)]), Err("outcome-unknown"));
    harness.pass(Duration::from_millis(1));
    assert_eq!(harness.reset(&[failed(1)]), Ok(()));
}

#[test]
fn a_retry_by_hand_of_the_very_moment_of_the_escalation_is_settled_as_soon() {
    let mut harness = Harness::given_up();
    assert_eq!(harness.read(&[failed(1)]).next_poll, harness.poll.idle_interval);
    harness.send_by_hand(RETRY, "first", &[failed(1)], Meaning::Unknown);
    let decision = harness.read(&[failed(1)]);
    assert_eq!(
        (decision.reason.code(), decision.next_poll),
        ("needs-operator", harness.poll.settle_interval)
    );
}

#[test]
fn a_task_of_which_nothing_is_known_yet_is_read_once_more_where_it_failed() {
    let harness = Harness::new();
    for (shown, code) in [(failed(1), "stale-poll"), (success(1), "not-failed")] {
        for action in [RETRY, ABORT] {
            assert_eq!(harness.order(action, std::slice::from_ref(&shown)), Err(code));
        }
    }
}

#[test]
fn nobody_passes_over_an_answer_that_it_may_be_gone() {
    let mut harness = Harness::new();
    harness.read(&[failed(1)]);
    harness.pass(2 * MINUTE);
    harness.send(&[failed(1)], Meaning::GoneOrForbidden);
    for action in [RETRY, ABORT] {
        assert_eq!(harness.order(action, &[failed(1)]), Err("checking-if-gone"));
    }
}

#[test]
fn a_cluster_that_rests_may_be_ordered_again_the_moment_its_rest_is_over() {
    let mut harness = Harness::new();
    harness.read(&[failed(1)]);
    harness.project_state.paused.insert(cluster(), paused_until(harness.now.after(MINUTE)));
    harness.pass(a_moment_less_than(MINUTE));
    assert_eq!(harness.order(RETRY, &[failed(1)]), Err("cluster-paused"));
    harness.pass(Duration::from_millis(1));
    assert!(harness.order(RETRY, &[failed(1)]).is_ok());
}

#[test]
fn a_task_is_given_back_while_it_runs_and_what_comes_of_that_is_the_daemons_again() {
    let mut harness = Harness::given_up();
    harness.pass(MINUTE);
    harness.read(&[running(2)]);
    assert_eq!(harness.reset(&[running(2)]), Ok(()));
    harness.terms.as_mut().unwrap().retry.max_retries = 2;
    harness.pass(6 * MINUTE);
    assert_eq!(harness.code(&[failed(2)]), "backoff");
    // A cluster without a policy, or without a known task.
    assert_eq!(harness.reset(&[running(2)]), Err("already-done"));
    let mut unknown = Harness::new();
    assert_eq!(unknown.reset(&[running(1)]), Err("not-escalated"));
}

#[test]
fn an_order_may_name_the_task_that_is_meant() {
    let mut harness = Harness::new();
    harness.read(&[failed(1)]);
    let mut order = ordered("new");
    order.task = Some(TaskId::new("t").unwrap());
    assert!(harness.order_in(Mode::Enforce, RETRY, &order, &[failed(1)]).is_ok());
}

#[test]
fn a_task_whose_story_has_ended_is_not_taken_back() {
    let mut harness = Harness::given_up();
    harness.pass(MINUTE);
    harness.read(&[success(1)]);
    assert_eq!(harness.reset(&[success(1)]), Err("not-escalated"));
    // A failure that is shown so soon after the request is an old state.
    assert_eq!(harness.order(RETRY, &[failed(1)]), Err("stale-poll"));
}

#[test]
fn nobody_acts_on_a_failure_before_the_first_sight_of_its_task() {
    let mut harness = Harness::new();
    harness.read(&[running(2)]);
    harness.pass(MINUTE);
    harness.read(&[failed(1)]);
    assert_eq!(harness.order(RETRY, &[failed(1)]), Err("stale-poll"));
}

#[test]
fn nobody_acts_by_a_list_that_is_shorter_than_it_says_or_on_nothing() {
    let harness = Harness::new();
    assert_eq!(harness.order(RETRY, &[]), Err("idle"));
    let short = TaskList { tasks: vec![failed(1)], unusable: 0, total_size: Some(2) };
    let reading = Reading::new(harness.now, harness.now, [short, TaskList::default()]);
    let reason = harness
        .judge(&reading, |state, input| manual::act(RETRY, &ordered("new"), state, input, harness.now));
    assert_eq!(reason.map_err(|reason| reason.code()), Err("list-incomplete"));
}
