//! What follows once the story of a task has ended.

use super::*;

impl Scene {
    pub(super) fn count(&self, told: &str) -> usize {
        self.told.iter().filter(|word| **word == told).count()
    }

    /// Retried once, and read as SUCCESS without ever being read RUNNING.
    fn remedied() -> Self {
        let mut scene = Self::new();
        scene.read(&[failed(1)]);
        scene.pass(2 * MINUTE);
        scene.send(&[failed(1)], Meaning::Accepted);
        for _ in 0..2 {
            assert!(scene.known().closed.is_none(), "one reading does not settle it");
            scene.pass(Duration::from_secs(15));
            assert_eq!(scene.code(&[success(2)]), "idle");
        }
        assert_eq!(scene.known().closed.map(|(closing, _)| closing), Some(Outcome::ResolvedByRetry));
        scene
    }
}

#[test]
fn an_aborted_task_is_told_as_aborted_whatever_the_service_makes_of_it() {
    let word = |word: &str| Task { status: TaskStatus::from(word.to_owned()), ..failed(1) };
    for shown in [word("ABORTED"), word("SUCCESS"), word("PARTIAL_FAILED"), word("FAILED")] {
        let mut scene = Scene::new();
        scene.terms.as_mut().unwrap().retry.max_retries = 0;
        scene.read(&[failed(1)]);
        scene.pass(15 * MINUTE);
        scene.send(&[failed(1)], Meaning::Accepted);
        let decision = scene.read(&[shown]);
        assert_eq!((decision.verdict, decision.reason.code()), (Verdict::Wait, "aborted-by-us"));
        assert_eq!(decision.next_poll, scene.poll.idle_interval);
    }
}

#[test]
fn a_success_is_told_once() {
    let mut scene = Scene::remedied();
    for _ in 0..3 {
        scene.pass(10 * MINUTE);
        scene.read(&[success(2)]);
    }
    assert_eq!(scene.count("ended"), 1);
}

#[test]
fn the_failure_before_a_success_is_no_new_one_until_no_reading_can_be_stale() {
    let mut solved_by_others = Scene::new();
    solved_by_others.read(&[failed(1)]);
    solved_by_others.pass(MINUTE);
    solved_by_others.read(&[success(1)]);
    for mut scene in [Scene::remedied(), solved_by_others] {
        scene.pass(a_moment_less_than(5 * MINUTE));
        assert_eq!(scene.code(&[failed(1)]), "stale-poll");
        assert_eq!(scene.known().failure.unwrap().seen.number, 1);
        assert!(scene.known().closed.is_some());
        scene.pass(Duration::from_millis(1));
        assert_eq!(scene.code(&[failed(1)]), "backoff", "what is shown after so long is the present");
        assert_eq!(scene.known().failure.unwrap().seen.number, 2);
    }
}

#[test]
fn another_failure_after_a_success_is_a_new_one_at_once() {
    let mut scene = Scene::remedied();
    scene.terms.as_mut().unwrap().retry.max_retries = 5;
    scene.pass(MINUTE);
    assert_eq!(scene.code(&[failed(3)]), "backoff");
    assert_eq!(scene.known().failure.unwrap().seen.number, 2);
}

#[test]
fn an_earlier_failure_that_is_shown_after_a_success_is_no_new_one() {
    let mut scene = Scene::new();
    scene.read(&[failed(1)]);
    scene.pass(MINUTE);
    scene.read(&[failed(2)]);
    scene.pass(MINUTE);
    scene.read(&[success(3)]);
    scene.pass(6 * MINUTE);
    assert_eq!(scene.code(&[failed(1)]), "stale-poll");
    assert_eq!(scene.known().failure.unwrap().seen.number, 2);
}

#[test]
fn a_superseded_task_is_history_though_nobody_knows_the_newer_one_any_more() {
    let mut scene = Scene::new();
    let old = named("t", "2026-01-01T00:00:00", failed(1));
    scene.read(std::slice::from_ref(&old));
    scene.pass(2 * MINUTE);
    scene.read(&[named("n", "2026-01-02T00:00:00", success(1)), old.clone()]);
    assert!(matches!(scene.known().closed, Some((Outcome::Superseded { .. }, _))));
    // A restart knows no task that never failed or ran, and the service has lost it.
    let record = std::sync::Arc::make_mut(scene.project_state.clusters.get_mut(&cluster()).unwrap());
    record.newest_start = old.start_time.map(|start| (start, old.id.clone()));
    scene.pass(60 * MINUTE);
    let decision = scene.read(&[old]);
    assert_eq!((decision.verdict, decision.reason.code()), (Verdict::Wait, "ended"));
}

#[test]
fn a_task_whose_story_has_ended_may_vanish_without_a_word() {
    let mut scene = Scene::remedied();
    let told = scene.told.len();
    for _ in 0..3 {
        scene.pass(10 * MINUTE);
        scene.read(&[]);
    }
    assert_eq!(scene.told.len(), told);
    assert_eq!(scene.known().closed.map(|(closing, _)| closing), Some(Outcome::ResolvedByRetry));
}

#[test]
fn a_task_is_gone_by_two_looks_in_a_row_and_by_complete_lists_only() {
    let mut scene = Scene::new();
    scene.read(&[failed(1)]);
    for _ in 0..5 {
        scene.pass(10 * MINUTE);
        let short = TaskList { tasks: Vec::new(), unusable: 0, total_size: Some(1) };
        assert_eq!(scene.read_lists(short).reason.code(), "list-incomplete");
    }
    assert!(scene.known().missing.is_none(), "it may stand in the part that is not shown");
    for _ in 0..3 {
        scene.pass(10 * MINUTE);
        scene.read(&[]);
        assert!(
            scene.known().missing.is_some() && scene.known().closed.is_none(),
            "one reconcile is not enough"
        );
        scene.pass(10 * MINUTE);
        scene.read(&[failed(1)]);
        assert!(scene.known().missing.is_none());
    }
    assert_eq!(scene.count("reappeared"), 3);
    for gone in [false, true] {
        scene.pass(10 * MINUTE);
        scene.read(&[]);
        assert_eq!(scene.known().closed.is_some(), gone);
    }
}

#[test]
fn a_task_that_began_in_the_same_second_supersedes_nothing() {
    let mut scene = Scene::new();
    scene.read(&[failed(1)]);
    scene.pass(MINUTE);
    let twin = named("n", "2026-01-02T11:00:00", running(1));
    assert_eq!(scene.code(&[twin, failed(1)]), "running");
    assert!(scene.known().closed.is_none(), "which of them is newer cannot be told");
}
