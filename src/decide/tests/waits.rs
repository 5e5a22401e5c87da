//! What is due, and when, to the moment; and what blocks it.

use super::*;
use crate::model::project::{MAX_CLOCK_OFFSET, PauseCause};
use crate::model::project_state::Pause;

impl Harness {
    fn at(&mut self, moment: Moment) {
        self.now = moment;
    }

    fn a_moment_before(&mut self, moment: Moment) {
        self.now = moment;
        self.now.mono.0 -= 1;
    }
}

#[test]
fn a_retry_says_which_it_is_and_how_long_it_waited() {
    let mut harness = Harness::new();
    for retry in 1..=2 {
        let task = failed(u64::from(retry));
        let waited = retry * 2 * MINUTE;
        harness.read(std::slice::from_ref(&task));
        harness.pass(waited);
        let due = Reason::RetryDue { retry, max_retries: 2, waited };
        assert_eq!(harness.read(std::slice::from_ref(&task)).reason, due);
        harness.send(&[task], Meaning::Accepted);
        for _ in 0..2 {
            harness.pass(Duration::from_secs(15));
            harness.read(&[running(u64::from(retry) + 1)]);
        }
        harness.pass(10 * MINUTE);
    }
}

#[test]
fn a_human_is_called_for_more_waiting_than_the_limit_and_told_how_many_retries_are_left() {
    for (limit, shown) in [
        (2 * MINUTE, Reason::RetryDue { retry: 1, max_retries: 2, waited: 2 * MINUTE }),
        (
            a_moment_less_than(2 * MINUTE),
            Reason::MaxElapsedTime { waited: 2 * MINUTE, limit: a_moment_less_than(2 * MINUTE), left: 2 },
        ),
    ] {
        let mut harness = Harness::new();
        harness.terms.as_mut().unwrap().retry.max_elapsed_time = Some(limit);
        harness.read(&[failed(1)]);
        harness.pass(2 * MINUTE);
        assert_eq!(harness.read(&[failed(1)]).reason, shown);
    }
    // One was used before.
    let mut harness = Harness::new();
    harness.terms.as_mut().unwrap().retry.max_elapsed_time = Some(MINUTE);
    harness.read(&[failed(2)]);
    harness.pass(4 * MINUTE);
    let shown = Reason::MaxElapsedTime { waited: 4 * MINUTE, limit: MINUTE, left: 1 };
    assert_eq!(harness.read(&[failed(2)]).reason, shown);
}

#[test]
fn what_was_held_back_waits_to_the_moment_however_often_it_is_looked_at() {
    for (max_retries, due) in [(2, "retry-due"), (0, "abort-due")] {
        let mut harness = Harness::new();
        harness.terms.as_mut().unwrap().retry.max_retries = max_retries;
        harness.read(&[failed(1)]);
        harness.pass(15 * MINUTE);
        harness.limits.max_actions_per_hour = 0;
        assert_eq!(harness.code(&[failed(1)]), "actions-per-hour");
        harness.limits = Limits::default();
        assert_eq!(harness.code(&[failed(1)]), "was-blocked");
        let until = harness.now.after(2 * MINUTE);
        harness.pass(MINUTE);
        assert_eq!(harness.read(&[failed(1)]).reason, Reason::WasBlocked { until: until.wall });
        harness.a_moment_before(until);
        assert_eq!(harness.code(&[failed(1)]), "was-blocked");
        for late in [Duration::ZERO, 3 * MINUTE] {
            harness.at(until.after(late));
            assert_eq!(harness.code(&[failed(1)]), due, "{late:?} after it");
        }
    }
}

#[test]
fn an_abort_that_a_busy_service_delays_is_due_to_the_moment() {
    let mut harness = Harness::new();
    harness.terms.as_mut().unwrap().retry.max_retries = 0;
    harness.read(&[failed(1)]);
    harness.pass(15 * MINUTE);
    harness.send(&[failed(1)], Meaning::Busy);
    let due = harness.now.after(2 * MINUTE);
    harness.a_moment_before(due);
    assert_eq!(harness.code(&[failed(1)]), "service-busy");
    for late in [Duration::ZERO, MINUTE] {
        harness.at(due.after(late));
        assert_eq!(harness.code(&[failed(1)]), "abort-due", "{late:?} after it");
    }
}

#[test]
fn after_a_reload_the_first_due_put_of_a_resting_project_goes_out_as_its_probe_without_waiting_again() {
    let mut harness = Harness::new();
    harness.read(&[failed(1)]);
    harness.pass(2 * MINUTE);
    harness.send(&[failed(1)], Meaning::ForbiddenProject);
    assert_eq!(harness.code(&[failed(1)]), "project-paused");
    harness.pass(MINUTE);
    harness.project_state.end_pauses(harness.now);
    harness.send(&[failed(1)], Meaning::Unknown);
    assert!(harness.project_state.pause.unwrap().probe.is_some());
}

#[test]
fn a_rest_ends_to_the_moment() {
    for (code, change) in [
        (
            "project-paused",
            (|harness, pause| harness.project_state.pause = Some(pause)) as fn(&mut Harness, Pause),
        ),
        ("cluster-paused", |harness, pause| {
            harness.project_state.paused.insert(cluster(), pause);
        }),
    ] {
        let mut harness = Harness::new();
        harness.read(&[failed(1)]);
        let pause = paused_until(harness.now.after(30 * MINUTE));
        change(&mut harness, pause);
        harness.a_moment_before(pause.until);
        assert_eq!(harness.code(&[failed(1)]), code);
        harness.at(pause.until);
        assert_eq!(harness.code(&[failed(1)]), "was-blocked", "the pause is over");
        // It blocks nothing else, and lasts no longer without polls.
        harness.pass(30 * MINUTE);
        assert_eq!(harness.code(&[failed(1)]), "retry-due");
    }
}

#[test]
fn a_clock_may_be_off_by_five_minutes_and_no_more() {
    let allowed = jiff::SignedDuration::try_from(MAX_CLOCK_OFFSET).unwrap();
    let more = allowed + jiff::SignedDuration::from_nanos(1);
    for (offset, code) in
        [(allowed, "retry-due"), (-allowed, "retry-due"), (more, "clock-off"), (-more, "clock-off")]
    {
        let mut harness = Harness::new();
        harness.read(&[failed(1)]);
        harness.pass(2 * MINUTE);
        harness.clock_offset = Some(offset);
        assert_eq!(harness.code(&[failed(1)]), code, "{offset}");
    }
}

#[test]
fn dry_run_tells_once_and_uses_nothing() {
    let mut harness = Harness::new();
    harness.terms.as_mut().unwrap().mode = Mode::DryRun;
    harness.read(&[failed(1)]);
    for _ in 0..10 {
        harness.pass(10 * MINUTE);
        assert_eq!(harness.code(&[failed(1)]), "dry-run");
    }
    assert_eq!(
        harness.journaled.iter().filter(|word| **word == "decided").count(),
        2,
        "the backoff, and 'would retry'"
    );
    harness.terms.as_mut().unwrap().mode = Mode::Enforce;
    assert_eq!(harness.code(&[failed(1)]), "was-blocked");
    harness.pass(2 * MINUTE);
    assert_eq!(harness.code(&[failed(1)]), "retry-due");
}

#[test]
fn a_task_without_a_policy_is_watched_and_never_touched() {
    let mut harness = Harness::new();
    harness.terms = None;
    for _ in 0..10 {
        assert_eq!(harness.code(&[failed(1)]), "no-policy");
        harness.pass(60 * MINUTE);
    }
    harness.terms = Some(terms());
    assert_eq!(harness.code(&[failed(1)]), "was-blocked");
}

#[test]
fn limits_and_a_wrong_clock_hold_back() {
    let mut harness = Harness::new();
    harness.read(&[failed(1)]);
    harness.pass(2 * MINUTE);
    harness.limits.max_actions_per_hour = 0;
    assert_eq!(harness.code(&[failed(1)]), "actions-per-hour");
    harness.limits = Limits { max_actions_in_flight: 0, ..Limits::default() };
    assert_eq!(harness.code(&[failed(1)]), "actions-in-flight");
    harness.limits = Limits::default();
    harness.clock_offset = Some(jiff::SignedDuration::from_secs(-301));
    assert_eq!(harness.code(&[failed(1)]), "clock-off");
}

#[test]
fn without_a_limit_no_waiting_is_too_long() {
    let mut harness = Harness::new();
    let retry = &mut harness.terms.as_mut().unwrap().retry;
    (retry.max_elapsed_time, retry.initial_interval, retry.max_interval) =
        (None, 10_000 * MINUTE, 10_000 * MINUTE);
    harness.read(&[failed(1)]);
    harness.pass(10_000 * MINUTE);
    assert_eq!(harness.code(&[failed(1)]), "retry-due");
}

#[test]
fn an_open_breaker_holds_retries_and_aborts_back() {
    for max_retries in [2, 0] {
        let mut harness = Harness::new();
        harness.breaker.failures = 1;
        harness.breaker.within = 60 * MINUTE;
        harness.terms.as_mut().unwrap().retry.max_retries = max_retries;
        harness.read(&[failed(1)]);
        harness.pass(15 * MINUTE);
        let decision = harness.read(&[failed(1)]);
        assert_eq!((decision.verdict, decision.reason.code()), (Verdict::Blocked, "breaker-open"));
    }
}

#[test]
fn a_project_rests_on_while_the_probe_of_its_rest_is_under_way() {
    let mut harness = Harness::new();
    harness.read(&[failed(1)]);
    harness.pass(2 * MINUTE);
    let (cause, refusals) = (PauseCause::Forbidden, 1);
    let probe = Some(AttemptId(99));
    harness.project_state.pause =
        Some(Pause { cause, refusals, until: harness.now, probe, probe_at_once: false });
    assert_eq!(harness.code(&[failed(1)]), "project-paused");
}

#[test]
fn dry_run_tells_of_an_abort_without_a_grace_as_nobody_need_say_no() {
    let mut harness = Harness::new();
    harness.terms.as_mut().unwrap().mode = Mode::DryRun;
    harness.terms.as_mut().unwrap().retry.max_retries = 0;
    let decision = harness.read(&[failed(1)]);
    assert_eq!(
        (decision.verdict, decision.reason),
        (Verdict::Blocked, Reason::DryRun { action: Action::Abort })
    );
}
