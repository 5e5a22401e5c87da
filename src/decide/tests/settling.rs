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
        assert_eq!(scene.code(std::slice::from_ref(&task)), "settling");
        scene.pass(SOON);
        assert_eq!(scene.code(&[task]), "retry-due", "not accepted, and no human is called");
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
        scene.pass(5 * MINUTE - Duration::from_millis(1));
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
    // An answer says that it was accepted, or RUNNING was read so late that it can be nothing else.
    for (after, meaning) in [(2 * MINUTE, Meaning::Accepted), (6 * MINUTE, Meaning::Unknown)] {
        let mut scene = Scene::retried(&failed(1), after, meaning);
        scene.pass(SOON);
        scene.read(&[running(1)]);
        scene.pass(SOON);
        scene.read(&[in_other_words(failed(1))]);
        assert!(!scene.is_open(), "{meaning:?}: RUNNING and another failure agree");
        assert_eq!(scene.known().used.ours, 1);
    }
    // RUNNING so soon after the failure was first seen may show what was before it.
    let mut scene = Scene::retried(&failed(1), 2 * MINUTE, Meaning::Unknown);
    scene.pass(SOON);
    scene.read(&[running(1)]);
    for _ in 0..3 {
        scene.pass(SOON);
        scene.read(&[in_other_words(failed(1))]);
        assert!(scene.is_open());
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
        assert_eq!(scene.code(std::slice::from_ref(&mute)), "settling");
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
    scene.pass(5 * MINUTE - SOON - Duration::from_millis(1));
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
    scene.pass(5 * MINUTE - Duration::from_millis(1));
    assert_eq!(scene.code(std::slice::from_ref(&mute)), "stale-reading");
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
