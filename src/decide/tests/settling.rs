//! How readings tell what became of a PUT.

use super::*;

const SOON: Duration = Duration::from_secs(15);

/// The failure of the same execution in other words.
fn in_other_words(task: Task) -> Task {
    Task { whole: task.whole.map(|whole| format!("{whole} differently")), ..task }
}

impl Scene {
    /// A retry that was sent for this failure, so long after it was first seen.
    fn retried(task: &Task, after: Duration, meaning: Meaning) -> Self {
        let mut scene = Self::new();
        scene.read(&[Task { status: TaskStatus::Running, ..task.clone() }]);
        scene.read(std::slice::from_ref(task));
        scene.pass(after);
        scene.send(std::slice::from_ref(task), meaning);
        scene
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
        let mut scene = Scene::retried(&task, 2 * MINUTE, Meaning::Unknown);
        scene.pass(5 * MINUTE);
        assert_eq!(scene.code(std::slice::from_ref(&task)), "outcome-unknown");
        scene.pass(SOON);
        assert_eq!(scene.code(&[task]), "retry-due", "not accepted, and no operator is called");
        assert_eq!(scene.known().used.ours, 0);
    }
}

#[test]
fn a_new_end_time_shows_that_a_put_was_accepted_without_waiting_for_its_time_to_run_out() {
    let before = Task { execute_times: None, ..failed(1) };
    let after = in_other_words(Task { end_time: failed(2).end_time, ..before.clone() });
    let mut scene = Scene::retried(&before, 2 * MINUTE, Meaning::Unknown);
    for _ in 0..2 {
        assert!(scene.is_open());
        scene.pass(SOON);
        scene.read(std::slice::from_ref(&after));
    }
    let known = scene.known();
    assert!(known.open.is_none());
    assert_eq!((known.used.ours, known.failure.unwrap().seen.number), (1, 2));
}

#[test]
fn where_execute_times_fell_for_good_the_end_time_tells() {
    for (end_time, ours) in [(failed(2).end_time, 0), (failed(9).end_time, 1)] {
        let mut scene = Scene::retried(&failed(2), 4 * MINUTE, Meaning::Unknown);
        let fallen = in_other_words(Task { execute_times: Some(1), end_time, ..failed(2) });
        scene.pass(a_moment_less_than(5 * MINUTE));
        scene.read(std::slice::from_ref(&fallen));
        assert!(scene.known().open.unwrap().reading.is_none(), "most likely an old reading");
        scene.pass(Duration::from_millis(1));
        scene.read(std::slice::from_ref(&fallen));
        scene.pass(SOON);
        scene.read(&[fallen]);
        assert!(!scene.is_open());
        assert_eq!(scene.known().used.ours, ours, "{end_time:?}");
    }
}

#[test]
fn a_task_that_certainly_ran_since_and_fails_in_other_words_used_the_retry() {
    // RUNNING was read so late that it can be nothing else.
    for meaning in [Meaning::Accepted, Meaning::Unknown] {
        let mut scene = Scene::retried(&failed(1), 6 * MINUTE, meaning);
        scene.pass(SOON);
        scene.read(&[running(1)]);
        scene.pass(SOON);
        scene.read(&[in_other_words(failed(1))]);
        assert!(!scene.is_open(), "{meaning:?}: RUNNING and another failure agree");
        assert_eq!(scene.known().used.ours, 1);
    }
    // RUNNING so soon after the failure was first seen may show what was before it; and a failure in other words what a
    // termination by somebody left, just before ours arrived.
    for meaning in [Meaning::Accepted, Meaning::Unknown] {
        let mut scene = Scene::retried(&failed(1), 2 * MINUTE, meaning);
        scene.pass(SOON);
        scene.read(&[running(1)]);
        for _ in 0..3 {
            scene.pass(SOON);
            scene.read(&[in_other_words(failed(1))]);
            assert!(scene.is_open(), "{meaning:?}");
        }
    }
}

#[test]
fn the_same_failure_soon_after_running_settles_nothing() {
    let mute = with_nothing_to_tell_by(failed(1));
    let mut scene = Scene::retried(&mute, 2 * MINUTE, Meaning::Accepted);
    scene.pass(SOON);
    scene.read(&[with_nothing_to_tell_by(running(1))]);
    for _ in 0..19 {
        scene.pass(SOON);
        assert_eq!(scene.code(std::slice::from_ref(&mute)), "outcome-unknown");
        assert!(scene.is_open(), "it may show what was before the retry");
    }
    scene.pass(SOON);
    scene.read(&[mute]);
    assert!(!scene.is_open(), "no reading is as old as that");
    assert_eq!((scene.known().used.ours, scene.known().failure.unwrap().seen.number), (1, 2));
}

#[test]
fn a_running_reading_of_the_past_does_not_shorten_the_wait_for_an_effect() {
    // RUNNING and the very same failure were read long ago, before the PUT could have been given up.
    let mut scene = Scene::retried(&failed(1), 2 * MINUTE, Meaning::Unknown);
    scene.pass(SOON);
    scene.read(&[running(1)]);
    scene.pass(a_moment_less_than((5 * MINUTE).saturating_sub(SOON)));
    scene.read(&[failed(1)]);
    assert!(scene.known().open.unwrap().reading.is_none());
}

#[test]
fn the_same_failure_is_a_new_one_as_soon_as_no_reading_can_be_stale() {
    let mute = with_nothing_to_tell_by(failed(1));
    let mut scene = Scene::new();
    scene.read(&[with_nothing_to_tell_by(running(1))]);
    scene.read(std::slice::from_ref(&mute));
    scene.pass(10 * MINUTE);
    scene.read(&[with_nothing_to_tell_by(running(1))]);
    scene.pass(a_moment_less_than(5 * MINUTE));
    assert_eq!(scene.code(std::slice::from_ref(&mute)), "stale-poll");
    scene.pass(Duration::from_millis(1));
    assert_eq!(scene.code(&[mute]), "backoff");
    assert_eq!(scene.known().failure.unwrap().seen.number, 2);
}

#[test]
fn after_running_the_same_failure_in_other_words_is_a_new_one_at_once() {
    let mut scene = Scene::new();
    scene.read(&[failed(1)]);
    scene.pass(10 * MINUTE);
    scene.read(&[running(1)]);
    scene.pass(SOON);
    assert_eq!(scene.code(&[in_other_words(failed(1))]), "backoff");
    assert_eq!(scene.known().failure.unwrap().seen.number, 2);
}

#[test]
fn the_backoff_of_a_new_failure_runs_from_the_first_reading_of_this_very_failure() {
    let no_end = |task: Task| Task { end_time: None, ..task };
    for (first, second) in [
        // RUNNING, told by the same numbers as the failure that follows.
        (no_end(running(2)), no_end(failed(2))),
        // Another execution.
        (failed(2), failed(3)),
    ] {
        let mut scene = Scene::retried(&failed(1), 2 * MINUTE, Meaning::Unknown);
        scene.terms.as_mut().unwrap().retry.max_retries = 9;
        scene.pass(3 * MINUTE);
        scene.read(&[first]);
        scene.pass(MINUTE);
        scene.read(&[second]);
        assert!(!scene.is_open());
        assert_eq!(scene.known().failure.unwrap().first_seen, scene.now);
    }
}

#[test]
fn nothing_is_sent_while_the_old_failure_is_still_shown() {
    let mut scene = Scene::new();
    scene.read(&[failed(1)]);
    scene.pass(2 * MINUTE);
    scene.send(&[failed(1)], Meaning::Accepted);
    for _ in 0..19 {
        scene.pass(Duration::from_secs(15));
        assert_eq!(scene.code(&[failed(1)]), "outcome-unknown");
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
    assert_eq!(scene.code(&[failed(1)]), "outcome-unknown");
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
    assert_eq!(scene.code(&[failed(1)]), "needs-operator");
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
        assert_eq!(scene.code(&[failed(1)]), "outcome-unknown");
        scene.pass(Duration::from_secs(14));
        assert_eq!(scene.code(&[failed(1)]), "outcome-unknown", "two readings must be settle_interval apart");
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
    assert_eq!(scene.code(&[failed(2)]), "outcome-unknown", "one reading is not enough");
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
                assert_eq!(scene.code(&[failed(1)]), "outcome-unknown", "{first:?}: nothing has happened");
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
        assert_eq!(scene.known().closed.map(|(closing, _)| closing), Some(Outcome::Gone));
        assert_eq!(scene.project_state.others_in_flight(&ClusterId::new("c-2").unwrap()), 0);
        scene.pass(Duration::from_secs(30));
        assert_eq!(scene.code(&[failed(1)]), "outcome-unknown", "the PUT may have been accepted");
        scene.pass(MINUTE);
        scene.read(&[failed(2)]);
        scene.pass(MINUTE);
        scene.read(&[failed(2)]);
        assert_eq!(scene.known().used, crate::model::record::Used { ours: 1, external: 0 });
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
            assert_eq!(scene.code(std::slice::from_ref(&shown)), "outcome-unknown");
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
        assert_eq!(scene.code(&[failed(1)]), "outcome-unknown");
    }
    scene.pass(MINUTE);
    scene.read(&[failed(1)]);
    scene.pass(MINUTE);
    assert_eq!(scene.code(&[failed(1)]), "retry-due");
}

#[test]
fn other_words_of_the_same_failure_settle_nothing_while_the_put_may_be_on_its_way() {
    let mut scene = Scene::new();
    scene.read(&[failed(1)]);
    scene.pass(2 * MINUTE);
    scene.send(&[failed(1)], Meaning::Unknown);
    // An operator terminates it: the triple stays.
    let touched = Task { whole: Some("{\"currentNodeName\":\"\"}".to_owned()), ..failed(1) };
    for _ in 0..4 {
        scene.pass(MINUTE);
        assert_eq!(scene.code(std::slice::from_ref(&touched)), "outcome-unknown");
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
            assert_eq!(scene.code(std::slice::from_ref(&fails)), "cannot-confirm");
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
fn an_outcome_that_nothing_can_tell_is_a_humans() {
    let mute = Task { execute_times: None, end_time: None, whole: Some("{}".to_owned()), ..failed(1) };
    let mut scene = Scene::new();
    scene.read(&[running(1)]);
    scene.pass(MINUTE);
    scene.read(std::slice::from_ref(&mute));
    scene.pass(2 * MINUTE);
    scene.send(std::slice::from_ref(&mute), Meaning::Unknown);
    scene.pass(a_moment_less_than(5 * MINUTE));
    assert_eq!(scene.code(std::slice::from_ref(&mute)), "outcome-unknown", "RUNNING may still be read");
    scene.pass(Duration::from_millis(1));
    assert_eq!(scene.code(&[mute]), "cannot-confirm");
}

#[test]
fn an_attempt_that_an_unknown_status_hides_is_a_humans_and_holds_back_nobody() {
    let terminated = Task { status: TaskStatus::Other("TERMINATED".to_owned()), ..failed(1) };
    let in_flight = |scene: &Scene| scene.project_state.others_in_flight(&ClusterId::new("c-2").unwrap());
    // An abort, at once; a retry, when it could long have been settled.
    for (max_retries, patience, reason) in [(0, MINUTE, "abort-unknown"), (2, 65 * MINUTE, "cannot-confirm")]
    {
        let mut scene = Scene::new();
        scene.terms.as_mut().unwrap().retry.max_retries = max_retries;
        scene.read(&[failed(1)]);
        scene.pass(15 * MINUTE);
        scene.send(&[failed(1)], Meaning::Unknown);
        if reason == "cannot-confirm" {
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
fn an_answer_tells_where_nothing_else_can() {
    let mute = with_nothing_to_tell_by(failed(1));
    let mut scene = Scene::retried(&mute, 2 * MINUTE, Meaning::Accepted);
    scene.pass(5 * MINUTE);
    assert_eq!(scene.code(std::slice::from_ref(&mute)), "outcome-unknown", "it is known to be accepted");
    scene.pass(SOON);
    assert_eq!(scene.code(&[mute]), "backoff", "without effect");
    assert_eq!(scene.known().used.ours, 1);
}
