//! What follows once the lifecycle of a task has ended.

use super::*;

impl Harness {
    pub(super) fn count(&self, shown: &str) -> usize {
        self.journaled.iter().filter(|word| **word == shown).count()
    }

    /// Retried once, and read as SUCCESS without ever being read RUNNING.
    fn remedied() -> Self {
        let mut harness = Self::new();
        harness.read(&[failed(1)]);
        harness.pass(2 * MINUTE);
        harness.send(&[failed(1)], Meaning::Accepted);
        for _ in 0..2 {
            assert!(!harness.known().is_ended(), "one poll does not confirm it");
            harness.pass(Duration::from_secs(15));
            assert_eq!(harness.code(&[success(2)]), "idle");
        }
        assert_eq!(harness.known().outcome().cloned(), Some(Outcome::ResolvedByRetry));
        harness
    }
}

#[test]
fn an_aborted_task_is_told_as_aborted_whatever_the_service_makes_of_it() {
    let word = |word: &str| Task { status: TaskStatus::from(word.to_owned()), ..failed(1) };
    for shown in [word("ABORTED"), word("SUCCESS"), word("PARTIAL_FAILED"), word("FAILED")] {
        let mut harness = Harness::new();
        harness.terms.as_mut().unwrap().retry.max_retries = 0;
        harness.read(&[failed(1)]);
        harness.pass(15 * MINUTE);
        harness.send(&[failed(1)], Meaning::Accepted);
        let decision = harness.read(&[shown]);
        assert_eq!((decision.verdict, decision.reason.code()), (Verdict::Wait, "aborted-by-us"));
        assert_eq!(decision.next_poll, harness.poll.idle_interval);
    }
}

#[test]
fn a_success_is_told_once() {
    let mut harness = Harness::remedied();
    for _ in 0..3 {
        harness.pass(10 * MINUTE);
        harness.read(&[success(2)]);
    }
    assert_eq!(harness.count("ended"), 1);
}

#[test]
fn the_failure_before_a_success_is_no_new_one_until_no_reading_can_be_stale() {
    let mut solved_by_others = Harness::new();
    solved_by_others.read(&[failed(1)]);
    solved_by_others.pass(MINUTE);
    solved_by_others.read(&[success(1)]);
    for mut harness in [Harness::remedied(), solved_by_others] {
        harness.pass(a_moment_less_than(5 * MINUTE));
        assert_eq!(harness.code(&[failed(1)]), "stale-poll");
        assert_eq!(harness.known().failure.unwrap().seen.number, 1);
        assert!(harness.known().is_ended());
        harness.pass(Duration::from_millis(1));
        assert_eq!(harness.code(&[failed(1)]), "backoff", "what is shown after so long is the present");
        assert_eq!(harness.known().failure.unwrap().seen.number, 2);
    }
}

#[test]
fn another_failure_after_a_success_is_a_new_one_at_once() {
    let mut harness = Harness::remedied();
    harness.terms.as_mut().unwrap().retry.max_retries = 5;
    harness.pass(MINUTE);
    assert_eq!(harness.code(&[failed(3)]), "backoff");
    assert_eq!(harness.known().failure.unwrap().seen.number, 2);
}

#[test]
fn an_earlier_failure_that_is_shown_after_a_success_is_no_new_one() {
    let mut harness = Harness::new();
    harness.read(&[failed(1)]);
    harness.pass(MINUTE);
    harness.read(&[failed(2)]);
    harness.pass(MINUTE);
    harness.read(&[success(3)]);
    harness.pass(6 * MINUTE);
    assert_eq!(harness.code(&[failed(1)]), "stale-poll");
    assert_eq!(harness.known().failure.unwrap().seen.number, 2);
}

#[test]
fn a_superseded_task_is_history_though_nobody_knows_the_newer_one_any_more() {
    let mut harness = Harness::new();
    let old = named("t", "2026-01-01T00:00:00", failed(1));
    harness.read(std::slice::from_ref(&old));
    harness.pass(2 * MINUTE);
    harness.read(&[named("n", "2026-01-02T00:00:00", success(1)), old.clone()]);
    assert!(matches!(harness.known().outcome(), Some(Outcome::Superseded { .. })));
    // A restart knows no task that never failed or ran, and the API shows it no more.
    let record = std::sync::Arc::make_mut(harness.project_state.clusters.get_mut(&cluster()).unwrap());
    record.newest_start = old.start_time.map(|start| (start, old.id.clone()));
    harness.pass(60 * MINUTE);
    let decision = harness.read(&[old]);
    assert_eq!((decision.verdict, decision.reason.code()), (Verdict::Wait, "ended"));
}

#[test]
fn a_task_whose_story_has_ended_may_vanish_without_a_word() {
    let mut harness = Harness::remedied();
    let shown = harness.journaled.len();
    for _ in 0..3 {
        harness.pass(10 * MINUTE);
        harness.read(&[]);
    }
    assert_eq!(harness.journaled.len(), shown);
    assert_eq!(harness.known().outcome().cloned(), Some(Outcome::ResolvedByRetry));
}

#[test]
fn a_task_is_gone_by_two_looks_in_a_row_and_by_complete_lists_only() {
    let mut harness = Harness::new();
    harness.read(&[failed(1)]);
    for _ in 0..5 {
        harness.pass(10 * MINUTE);
        let short = TaskList { tasks: Vec::new(), unusable: 0, total_size: Some(1) };
        assert_eq!(harness.read_lists(short).reason.code(), "list-incomplete");
    }
    assert!(harness.known().missing.is_none(), "it may stand in the part that is not shown");
    for _ in 0..3 {
        harness.pass(10 * MINUTE);
        harness.read(&[]);
        assert!(
            harness.known().missing.is_some() && !harness.known().is_ended(),
            "one reconcile is not enough"
        );
        harness.pass(10 * MINUTE);
        harness.read(&[failed(1)]);
        assert!(harness.known().missing.is_none());
    }
    assert_eq!(harness.count("reappeared"), 3);
    for gone in [false, true] {
        harness.pass(10 * MINUTE);
        harness.read(&[]);
        assert_eq!(harness.known().is_ended(), gone);
    }
}

#[test]
fn a_task_that_began_in_the_same_second_supersedes_nothing() {
    let mut harness = Harness::new();
    harness.read(&[failed(1)]);
    harness.pass(MINUTE);
    let twin = named("n", "2026-01-02T11:00:00", running(1));
    assert_eq!(harness.code(&[twin, failed(1)]), "running");
    assert!(!harness.known().is_ended(), "which of them is newer cannot be shown");
}
