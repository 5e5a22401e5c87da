//! How polls confirm the outcome of a PUT.

use super::*;

const SOON: Duration = Duration::from_secs(15);

/// The failure of the same run with other fields.
fn in_other_words(task: Task) -> Task {
    Task { whole: task.whole.map(|whole| format!("{whole} differently")), ..task }
}

impl Harness {
    /// A retry that was sent for this failure, so long after it was first seen.
    fn retried(task: &Task, after: Duration, meaning: Meaning) -> Self {
        let mut harness = Self::new();
        harness.read(&[Task { status: TaskStatus::Running, ..task.clone() }]);
        harness.read(std::slice::from_ref(task));
        harness.pass(after);
        harness.send(std::slice::from_ref(task), meaning);
        harness
    }

    fn is_open(&self) -> bool {
        self.known().open.is_some()
    }
}

#[test]
fn one_of_execute_times_and_end_time_is_enough_to_tell_by() {
    let no_executions = Task { execute_times: None, ..failed(1) };
    let no_end = Task { end_time: None, ..failed(1) };
    for task in [no_executions, no_end] {
        let mut harness = Harness::retried(&task, 2 * MINUTE, Meaning::Unknown);
        harness.pass(5 * MINUTE);
        assert_eq!(harness.code(std::slice::from_ref(&task)), "outcome-unknown");
        harness.pass(SOON);
        assert_eq!(harness.code(&[task]), "retry-due", "not accepted, and no operator is called");
        assert_eq!(harness.known().used.ours, 0);
    }
}

#[test]
fn a_new_end_time_shows_that_a_put_was_accepted_without_waiting_for_its_time_to_run_out() {
    let before = Task { execute_times: None, ..failed(1) };
    let after = in_other_words(Task { end_time: failed(2).end_time, ..before.clone() });
    let mut harness = Harness::retried(&before, 2 * MINUTE, Meaning::Unknown);
    for _ in 0..2 {
        assert!(harness.is_open());
        harness.pass(SOON);
        harness.read(std::slice::from_ref(&after));
    }
    let known = harness.known();
    assert!(known.open.is_none());
    assert_eq!((known.used.ours, known.failure.unwrap().seen.number), (1, 2));
}

#[test]
fn where_execute_times_fell_for_good_the_end_time_tells() {
    for (end_time, ours) in [(failed(2).end_time, 0), (failed(9).end_time, 1)] {
        let mut harness = Harness::retried(&failed(2), 4 * MINUTE, Meaning::Unknown);
        let fallen = in_other_words(Task { execute_times: Some(1), end_time, ..failed(2) });
        harness.pass(a_moment_less_than(5 * MINUTE));
        harness.read(std::slice::from_ref(&fallen));
        assert!(harness.known().open.unwrap().reading.is_none(), "most likely an old reading");
        harness.pass(Duration::from_millis(1));
        harness.read(std::slice::from_ref(&fallen));
        harness.pass(SOON);
        harness.read(&[fallen]);
        assert!(!harness.is_open());
        assert_eq!(harness.known().used.ours, ours, "{end_time:?}");
    }
}

#[test]
fn a_task_that_certainly_ran_since_and_fails_in_other_words_used_the_retry() {
    // RUNNING was polled so late that it can only be the effect.
    for meaning in [Meaning::Accepted, Meaning::Unknown] {
        let mut harness = Harness::retried(&failed(1), 6 * MINUTE, meaning);
        harness.pass(SOON);
        harness.read(&[running(1)]);
        harness.pass(SOON);
        harness.read(&[in_other_words(failed(1))]);
        assert!(!harness.is_open(), "{meaning:?}: RUNNING and another failure agree");
        assert_eq!(harness.known().used.ours, 1);
    }
    // RUNNING so soon after the failure was first seen may be an older state; a failure with other
    // fields may be the result of an external abort just before our request.
    for meaning in [Meaning::Accepted, Meaning::Unknown] {
        let mut harness = Harness::retried(&failed(1), 2 * MINUTE, meaning);
        harness.pass(SOON);
        harness.read(&[running(1)]);
        for _ in 0..3 {
            harness.pass(SOON);
            harness.read(&[in_other_words(failed(1))]);
            assert!(harness.is_open(), "{meaning:?}");
        }
    }
}

#[test]
fn the_same_failure_soon_after_running_settles_nothing() {
    let mute = with_nothing_to_tell_by(failed(1));
    let mut harness = Harness::retried(&mute, 2 * MINUTE, Meaning::Accepted);
    harness.pass(SOON);
    harness.read(&[with_nothing_to_tell_by(running(1))]);
    for _ in 0..19 {
        harness.pass(SOON);
        assert_eq!(harness.code(std::slice::from_ref(&mute)), "outcome-unknown");
        assert!(harness.is_open(), "it may show what was before the retry");
    }
    harness.pass(SOON);
    harness.read(&[mute]);
    assert!(!harness.is_open(), "no reading is as old as that");
    assert_eq!((harness.known().used.ours, harness.known().failure.unwrap().seen.number), (1, 2));
}

#[test]
fn a_running_reading_of_the_past_does_not_shorten_the_wait_for_an_effect() {
    // RUNNING and the very same failure were polled long ago, before the PUT could have been given
    // up.
    let mut harness = Harness::retried(&failed(1), 2 * MINUTE, Meaning::Unknown);
    harness.pass(SOON);
    harness.read(&[running(1)]);
    harness.pass(a_moment_less_than((5 * MINUTE).saturating_sub(SOON)));
    harness.read(&[failed(1)]);
    assert!(harness.known().open.unwrap().reading.is_none());
}

#[test]
fn the_same_failure_is_a_new_one_as_soon_as_no_reading_can_be_stale() {
    let mute = with_nothing_to_tell_by(failed(1));
    let mut harness = Harness::new();
    harness.read(&[with_nothing_to_tell_by(running(1))]);
    harness.read(std::slice::from_ref(&mute));
    harness.pass(10 * MINUTE);
    harness.read(&[with_nothing_to_tell_by(running(1))]);
    harness.pass(a_moment_less_than(5 * MINUTE));
    assert_eq!(harness.code(std::slice::from_ref(&mute)), "stale-poll");
    harness.pass(Duration::from_millis(1));
    assert_eq!(harness.code(&[mute]), "backoff");
    assert_eq!(harness.known().failure.unwrap().seen.number, 2);
}

#[test]
fn after_running_the_same_failure_in_other_words_is_a_new_one_at_once() {
    let mut harness = Harness::new();
    harness.read(&[failed(1)]);
    harness.pass(10 * MINUTE);
    harness.read(&[running(1)]);
    harness.pass(SOON);
    assert_eq!(harness.code(&[in_other_words(failed(1))]), "backoff");
    assert_eq!(harness.known().failure.unwrap().seen.number, 2);
}

#[test]
fn the_backoff_of_a_new_failure_runs_from_the_first_reading_of_this_very_failure() {
    let no_end = |task: Task| Task { end_time: None, ..task };
    for (first, second) in [
        // RUNNING, with the same numbers as the failure that follows.
        (no_end(running(2)), no_end(failed(2))),
        // Another run.
        (failed(2), failed(3)),
    ] {
        let mut harness = Harness::retried(&failed(1), 2 * MINUTE, Meaning::Unknown);
        harness.terms.as_mut().unwrap().retry.max_retries = 9;
        harness.pass(3 * MINUTE);
        harness.read(&[first]);
        harness.pass(MINUTE);
        harness.read(&[second]);
        assert!(!harness.is_open());
        assert_eq!(harness.known().failure.unwrap().first_seen, harness.now);
    }
}

#[test]
fn nothing_is_sent_while_the_old_failure_is_still_shown() {
    let mut harness = Harness::new();
    harness.read(&[failed(1)]);
    harness.pass(2 * MINUTE);
    harness.send(&[failed(1)], Meaning::Accepted);
    for _ in 0..19 {
        harness.pass(Duration::from_secs(15));
        assert_eq!(harness.code(&[failed(1)]), "outcome-unknown");
    }
}

#[test]
fn an_accepted_retry_without_effect_is_used_and_two_in_a_row_are_a_humans() {
    let mut harness = Harness::new();
    harness.terms.as_mut().unwrap().retry.max_retries = 5;
    harness.read(&[failed(1)]);
    harness.pass(2 * MINUTE);
    harness.send(&[failed(1)], Meaning::Accepted);
    harness.pass(5 * MINUTE);
    assert_eq!(harness.code(&[failed(1)]), "outcome-unknown");
    harness.pass(Duration::from_secs(15));
    let decision = harness.read(&[failed(1)]);
    assert!(
        matches!(decision.reason, Reason::Backoff { retry: 2, wait, .. } if wait == 4 * MINUTE),
        "{decision:?}"
    );
    harness.pass(4 * MINUTE);
    harness.send(&[failed(1)], Meaning::Accepted);
    harness.pass(5 * MINUTE);
    harness.read(&[failed(1)]);
    harness.pass(Duration::from_secs(15));
    assert_eq!(harness.code(&[failed(1)]), "without-effect");
    assert_eq!(harness.code(&[failed(1)]), "needs-operator");
}

#[test]
fn an_unknown_outcome_without_effect_uses_no_retry_and_three_in_a_row_are_a_humans() {
    let mut harness = Harness::new();
    harness.read(&[failed(1)]);
    harness.pass(2 * MINUTE);
    for n in 1..=3 {
        harness.send(&[failed(1)], Meaning::Unknown);
        assert_eq!(harness.known().retries_used(&terms()), 1, "an open attempt counts as used");
        harness.pass(5 * MINUTE);
        assert_eq!(harness.code(&[failed(1)]), "outcome-unknown");
        harness.pass(Duration::from_secs(14));
        assert_eq!(
            harness.code(&[failed(1)]),
            "outcome-unknown",
            "two readings must be settle_interval apart"
        );
        harness.pass(Duration::from_secs(1));
        if n < 3 {
            assert!(harness.known().open.is_some());
        } else {
            assert_eq!(harness.code(&[failed(1)]), "not-accepted");
        }
    }
    assert_eq!(harness.known().used.ours, 0);
    assert_eq!(harness.known().waited, 2 * MINUTE, "one wait is counted once");
}

#[test]
fn an_unknown_outcome_that_was_accepted_is_found_out_by_the_next_failure() {
    let mut harness = Harness::new();
    harness.read(&[failed(1)]);
    harness.pass(2 * MINUTE);
    harness.send(&[failed(1)], Meaning::Unknown);
    harness.pass(MINUTE);
    assert_eq!(harness.code(&[failed(2)]), "outcome-unknown", "one reading is not enough");
    harness.pass(Duration::from_secs(15));
    let decision = harness.read(&[failed(2)]);
    let known = harness.known();
    assert!(matches!(decision.reason, Reason::Backoff { retry: 2, .. }), "{decision:?}");
    let failure = known.failure.unwrap();
    assert_eq!(failure.seen.number, 2);
    assert_eq!(failure.seen.external, 0);
    assert_eq!(
        harness.now.since(failure.first_seen),
        Duration::from_secs(15),
        "first seen at the first such reading"
    );
}

#[test]
fn an_early_change_is_what_the_effect_of_a_put_is_compared_with() {
    // The first poll of the failure had no endTime, or no executeTimes, yet.
    for first in [
        Task { end_time: None, whole: Some("{}".to_owned()), ..failed(1) },
        Task { execute_times: None, whole: Some("{}".to_owned()), ..failed(1) },
    ] {
        for meaning in [Meaning::Accepted, Meaning::Unknown] {
            let mut harness = Harness::new();
            harness.read(&[running(1)]);
            harness.pass(Duration::from_secs(30));
            harness.read(std::slice::from_ref(&first));
            harness.pass(Duration::from_secs(30));
            assert_eq!(harness.code(&[failed(1)]), "backoff");
            harness.pass(2 * MINUTE);
            harness.send(&[failed(1)], meaning);
            for _ in 0..19 {
                harness.pass(Duration::from_secs(15));
                assert_eq!(harness.code(&[failed(1)]), "outcome-unknown", "{first:?}: nothing has happened");
            }
            assert_eq!(harness.known().used.ours, 0);
            assert_eq!(harness.known().failure.unwrap().seen.number, 1);
        }
    }
}

#[test]
fn a_task_that_comes_back_still_has_its_open_attempt() {
    for meaning in [Meaning::Accepted, Meaning::Unknown] {
        let mut harness = Harness::new();
        harness.read(&[failed(1)]);
        harness.pass(2 * MINUTE);
        harness.send(&[failed(1)], meaning);
        for _ in 0..2 {
            harness.pass(Duration::from_secs(90));
            harness.read(&[]);
        }
        assert_eq!(harness.known().outcome().cloned(), Some(Outcome::Gone));
        assert_eq!(harness.project_state.others_in_flight(&ClusterId::new("c-2").unwrap()), 0);
        harness.pass(Duration::from_secs(30));
        assert_eq!(harness.code(&[failed(1)]), "outcome-unknown", "the PUT may have been accepted");
        harness.pass(MINUTE);
        harness.read(&[failed(2)]);
        harness.pass(MINUTE);
        harness.read(&[failed(2)]);
        assert_eq!(harness.known().used, crate::model::record::Used { ours: 1, external: 0 });
    }
}

#[test]
fn an_attempt_that_nobody_could_read_for_long_is_settled_and_no_humans() {
    for meaning in [Meaning::Accepted, Meaning::Unknown] {
        for shown in [failed(1), failed(2)] {
            let mut harness = Harness::new();
            harness.read(&[failed(1)]);
            harness.pass(2 * MINUTE);
            harness.send(&[failed(1)], meaning);
            // The daemon was down, or the API.
            harness.pass(10 * 60 * MINUTE);
            assert_eq!(harness.code(std::slice::from_ref(&shown)), "outcome-unknown");
            harness.pass(Duration::from_secs(15));
            harness.read(&[shown]);
            assert!(harness.known().open.is_none() && harness.known().escalated.is_none());
        }
    }
    // An API that asked to wait for longer than that.
    let mut harness = Harness::new();
    harness.read(&[failed(1)]);
    harness.pass(2 * MINUTE);
    let attempt = harness.send(&[failed(1)], Meaning::Unknown);
    harness.answer(attempt, Meaning::Unknown, Some(120 * MINUTE));
    for _ in 0..119 {
        harness.pass(MINUTE);
        assert_eq!(harness.code(&[failed(1)]), "outcome-unknown");
    }
    harness.pass(MINUTE);
    harness.read(&[failed(1)]);
    harness.pass(MINUTE);
    assert_eq!(harness.code(&[failed(1)]), "retry-due");
}

#[test]
fn other_words_of_the_same_failure_settle_nothing_while_the_put_may_be_on_its_way() {
    let mut harness = Harness::new();
    harness.read(&[failed(1)]);
    harness.pass(2 * MINUTE);
    harness.send(&[failed(1)], Meaning::Unknown);
    // An operator aborts it: the triple stays.
    let touched = Task { whole: Some("{\"currentNodeName\":\"\"}".to_owned()), ..failed(1) };
    for _ in 0..4 {
        harness.pass(MINUTE);
        assert_eq!(harness.code(std::slice::from_ref(&touched)), "outcome-unknown");
        assert!(harness.known().open.is_some());
    }
    harness.pass(MINUTE);
    harness.read(std::slice::from_ref(&touched));
    harness.pass(Duration::from_secs(15));
    harness.read(std::slice::from_ref(&touched));
    let known = harness.known();
    assert!(known.open.is_none());
    assert_eq!((known.used.ours, known.failure.unwrap().seen.number), (1, 2), "used, and no PUT before that");
}

#[test]
fn a_running_reading_of_the_past_uses_no_retry_up_and_brings_no_abort() {
    for plain in [false, true] {
        let shown = |task| if plain { with_nothing_to_tell_by(task) } else { task };
        let (ran, fails) = (shown(running(1)), shown(failed(1)));
        let mut harness = Harness::new();
        harness.terms.as_mut().unwrap().retry.max_retries = 1;
        harness.read(std::slice::from_ref(&ran));
        harness.pass(MINUTE);
        harness.read(std::slice::from_ref(&fails));
        harness.pass(2 * MINUTE);
        // The request never arrives, and the API shows once more what was before the failure.
        harness.send(std::slice::from_ref(&fails), Meaning::Unknown);
        for _ in 0..3 {
            harness.pass(Duration::from_secs(20));
            assert_eq!(harness.code(std::slice::from_ref(&ran)), "running");
            assert!(harness.known().open.is_some(), "RUNNING may show what was before the failure");
        }
        for _ in 0..20 {
            harness.pass(MINUTE);
            let decision = harness.read(std::slice::from_ref(&fails));
            let abort = matches!(decision.verdict, Verdict::Act(Order::Abort(_)));
            assert!(!abort && decision.reason.code() != "abort-pending", "{decision:?}");
        }
        assert_eq!(harness.known().used.ours, 0);
        assert_eq!(harness.known().open.is_some(), plain, "no poll can confirm it");
        assert!(harness.known().escalated.is_none());
        if plain {
            harness.pass(60 * MINUTE);
            assert_eq!(harness.code(std::slice::from_ref(&fails)), "cannot-confirm");
        }
    }
}

#[test]
fn running_long_after_the_failure_was_seen_shows_that_a_put_was_accepted() {
    for plain in [false, true] {
        let shown = |task| if plain { with_nothing_to_tell_by(task) } else { task };
        let mut harness = Harness::new();
        harness.read(&[shown(running(1))]);
        harness.read(&[shown(failed(1))]);
        harness.pass(2 * MINUTE);
        harness.send(&[shown(failed(1))], Meaning::Unknown);
        harness.pass(3 * MINUTE);
        for _ in 0..2 {
            assert_eq!(harness.code(&[shown(running(1))]), "running");
            harness.pass(Duration::from_secs(15));
        }
        assert!(harness.known().open.is_none());
        assert_eq!(harness.known().used.ours, 1);
    }
}

#[test]
fn an_outcome_that_nothing_can_tell_is_a_humans() {
    let mute = Task { execute_times: None, end_time: None, whole: Some("{}".to_owned()), ..failed(1) };
    let mut harness = Harness::new();
    harness.read(&[running(1)]);
    harness.pass(MINUTE);
    harness.read(std::slice::from_ref(&mute));
    harness.pass(2 * MINUTE);
    harness.send(std::slice::from_ref(&mute), Meaning::Unknown);
    harness.pass(a_moment_less_than(5 * MINUTE));
    assert_eq!(harness.code(std::slice::from_ref(&mute)), "outcome-unknown", "RUNNING may still be read");
    harness.pass(Duration::from_millis(1));
    assert_eq!(harness.code(&[mute]), "cannot-confirm");
}

#[test]
fn an_attempt_that_an_unknown_status_hides_is_a_humans_and_holds_back_nobody() {
    let terminated = Task { status: TaskStatus::Other("TERMINATED".to_owned()), ..failed(1) };
    let in_flight =
        |harness: &Harness| harness.project_state.others_in_flight(&ClusterId::new("c-2").unwrap());
    // An abort, at once; a retry, when it could long have been confirmed.
    for (max_retries, patience, reason) in [(0, MINUTE, "abort-unknown"), (2, 65 * MINUTE, "cannot-confirm")]
    {
        let mut harness = Harness::new();
        harness.terms.as_mut().unwrap().retry.max_retries = max_retries;
        harness.read(&[failed(1)]);
        harness.pass(15 * MINUTE);
        harness.send(&[failed(1)], Meaning::Unknown);
        if reason == "cannot-confirm" {
            harness.pass(10 * MINUTE);
            assert_eq!(harness.code(std::slice::from_ref(&terminated)), "unknown-status");
        }
        assert_eq!(in_flight(&harness), 1);
        harness.pass(patience);
        assert_eq!(harness.code(std::slice::from_ref(&terminated)), reason);
        assert_eq!(in_flight(&harness), 0);
        harness.pass(MINUTE);
        assert_eq!(harness.code(std::slice::from_ref(&terminated)), "unknown-status", "shown once");
    }
    // One that ran, and was confirmed.
    let mut harness = Harness::new();
    harness.read(&[failed(1)]);
    harness.pass(2 * MINUTE);
    harness.send(&[failed(1)], Meaning::Accepted);
    for _ in 0..2 {
        harness.pass(MINUTE);
        harness.read(&[running(2)]);
    }
    assert_eq!(in_flight(&harness), 1);
    harness.pass(MINUTE);
    harness.read(&[terminated]);
    assert_eq!(in_flight(&harness), 0, "what does not run needs no place");
}

#[test]
fn an_answer_tells_where_nothing_else_can() {
    let mute = with_nothing_to_tell_by(failed(1));
    let mut harness = Harness::retried(&mute, 2 * MINUTE, Meaning::Accepted);
    harness.pass(5 * MINUTE);
    assert_eq!(harness.code(std::slice::from_ref(&mute)), "outcome-unknown", "it is known to be accepted");
    harness.pass(SOON);
    assert_eq!(harness.code(&[mute]), "backoff", "without effect");
    assert_eq!(harness.known().used.ours, 1);
}
