//! What one reading adds to what is known.

use super::*;

impl Scene {
    fn told(&self, word: &str) -> usize {
        self.told.iter().filter(|told| **told == word).count()
    }
}

#[test]
fn a_stretch_of_running_is_told_once() {
    let mut scene = Scene::new();
    for execution in 1..=2 {
        for _ in 0..5 {
            scene.read(&[running(execution)]);
            scene.pass(MINUTE);
        }
        assert_eq!(scene.told("running"), usize::try_from(execution).unwrap());
        scene.read(&[failed(execution)]);
        scene.pass(MINUTE);
    }
}

#[test]
fn a_fall_of_execute_times_is_told_once_for_each_value_and_not_of_a_stale_reading() {
    let shown =
        |execution| Task { execute_times: Some(execution), whole: Some("{}".to_owned()), ..failed(9) };
    let mut scene = Scene::new();
    scene.terms.as_mut().unwrap().retry.max_retries = 9;
    scene.read(&[failed(5)]);
    scene.read(&[failed(5)]);
    assert_eq!(scene.told("fell-back"), 0, "it stays");
    for (read, told) in [(5, 0), (3, 1), (3, 1), (5, 1), (4, 2), (3, 3), (6, 3)] {
        scene.pass(MINUTE);
        scene.read(&[shown(read)]);
        assert_eq!(scene.told("fell-back"), told, "{read}");
    }
    assert_eq!(scene.known().highest_execute_times, Some(6));
    let mut stale = Scene::new();
    for execution in [1, 2, 1] {
        stale.read(&[failed(execution)]);
        stale.pass(MINUTE);
    }
    assert_eq!(stale.told("fell-back"), 0, "the last one shows the failure before");
}

#[test]
fn a_failure_tells_where_it_failed() {
    let unnumbered = |mut task: Task| {
        task.steps[0].order = None;
        task
    };
    for (task, told) in [
        (failed(1), "a, step 0 Data migration"),
        (unnumbered(failed(1)), "a, step ? Data migration"),
        (Task { current_node: String::new(), ..failed(1) }, "unknown node, step 0 Data migration"),
        (Task { steps: Vec::new(), ..failed(1) }, "a"),
    ] {
        let mut scene = Scene::new();
        scene.read(&[task]);
        assert_eq!(scene.known().failure.unwrap().seen.failing, told);
    }
}

#[test]
fn a_failure_is_too_old_by_more_than_max_failure_age_and_by_no_time_that_no_zone_explains() {
    // First seen on 2 January at 12:00 UTC; 72 hours before that is the limit.
    for (ended, too_old) in [
        ("2025-12-30T12:00:00", false),
        ("2025-12-30T11:59:59", true),
        // The widest zone is 14 hours ahead.
        ("2026-01-03T02:00:00", false),
        ("2026-01-03T02:00:01", true),
        ("2030-01-01T00:00:00", true),
    ] {
        for ever_ran in [false, true] {
            let mut scene = Scene::new();
            if ever_ran {
                scene.read(&[running(1)]);
            }
            let task = Task { end_time: Some(ended.parse().unwrap()), ..failed(1) };
            let code = scene.code(&[task]);
            // Where no time tells, it is fresh if it was seen running.
            let by_the_future = ended > "2026-01-03T02:00:00";
            let expected = if too_old && !(by_the_future && ever_ran) { "too-old" } else { "backoff" };
            assert_eq!(code, expected, "{ended}, seen running: {ever_ran}");
        }
    }
}

#[test]
fn the_breaker_counts_what_was_seen_to_happen_and_what_was_retried() {
    let seen_to_happen = |scene: &Scene| scene.known().failure.unwrap().seen.seen_to_happen;
    let mut found = Scene::new();
    found.looked_before = false;
    found.read(&[failed(1)]);
    assert!(!seen_to_happen(&found), "it may be old: the first look of a process found it");
    let mut watched = Scene::new();
    watched.read(&[failed(1)]);
    assert!(seen_to_happen(&watched));
    // Over a restart: a failure of our own retry is no find.
    for retried in [false, true] {
        let mut scene = Scene::new();
        scene.read(&[failed(1)]);
        if retried {
            scene.pass(2 * MINUTE);
            scene.send(&[failed(1)], Meaning::Accepted);
            for _ in 0..2 {
                scene.pass(MINUTE);
                scene.read(&[running(2)]);
            }
        }
        scene.pass(MINUTE);
        scene.looked_before = false;
        scene.read(&[failed(2)]);
        assert_eq!(scene.known().failure.clone().unwrap().seen.number, 2);
        assert_eq!(seen_to_happen(&scene), retried);
    }
}

#[test]
fn a_list_of_the_very_moment_of_the_answer_tells_nothing_of_what_came_after_it() {
    let mut scene = Scene::new();
    scene.read(&[failed(1)]);
    scene.pass(2 * MINUTE);
    scene.send(&[failed(1)], Meaning::GoneOrForbidden);
    scene.listed = Some(scene.now);
    let answered = scene.now;
    scene.pass(MINUTE);
    assert_eq!(scene.code(&[failed(1)]), "checking-if-gone");
    scene.listed = Some(answered.after(Duration::from_millis(1)));
    assert_eq!(scene.code(&[failed(1)]), "cluster-resting");
}

#[test]
fn a_reading_so_soon_after_the_answer_may_show_what_was_before_it() {
    let mut scene = Scene::new();
    scene.read(&[failed(1)]);
    scene.pass(2 * MINUTE);
    scene.send(&[failed(1)], Meaning::GoneOrForbidden);
    let answered = scene.now;
    scene.pass(Duration::from_secs(15) - Duration::from_millis(1));
    scene.listed = Some(answered.after(Duration::from_secs(1)));
    assert_eq!(scene.code(&[failed(1)]), "checking-if-gone");
    scene.pass(Duration::from_millis(1));
    assert_eq!(scene.code(&[failed(1)]), "cluster-resting");
}
