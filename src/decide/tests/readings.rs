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
    assert!(!seen_to_happen(&found), "it may be old: the first reconcile of a process found it");
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
    assert_eq!(scene.code(&[failed(1)]), "cluster-paused");
}

#[test]
fn a_reading_so_soon_after_the_answer_may_show_what_was_before_it() {
    let mut scene = Scene::new();
    scene.read(&[failed(1)]);
    scene.pass(2 * MINUTE);
    scene.send(&[failed(1)], Meaning::GoneOrForbidden);
    let answered = scene.now;
    scene.pass(a_moment_less_than(Duration::from_secs(15)));
    scene.listed = Some(answered.after(Duration::from_secs(1)));
    assert_eq!(scene.code(&[failed(1)]), "checking-if-gone");
    scene.pass(Duration::from_millis(1));
    assert_eq!(scene.code(&[failed(1)]), "cluster-paused");
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
    assert_eq!(decision.reason, Reason::ChangedExternally { changed: "agencyName".to_owned() });
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
    assert_eq!(scene.code(&[later]), "changed-externally");
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
    assert_eq!(scene.code(&[failed(1)]), "stale-poll");
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
    assert_eq!(scene.code(&[same(failed(1))]), "stale-poll");
    scene.pass(2 * MINUTE);
    assert_eq!(scene.code(&[same(failed(1))]), "backoff");
    assert_eq!(scene.known().failure.unwrap().seen.number, 2);
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
    assert_eq!(scene.code(&[failed(1)]), "stale-poll");
    let mut code = "";
    for _ in 0..600 {
        scene.pass(MINUTE);
        code = scene.code(&[failed(1)]);
    }
    assert_eq!(code, "needs-operator");
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
    assert_eq!(scene.known().closed.map(|(closing, _)| closing), Some(Outcome::Gone));
}

#[test]
fn where_an_end_time_stays_as_it_was_the_steps_tell_how_old_a_failure_is() {
    let frozen = |execution| {
        let mut task = Task { end_time: failed(1).end_time, ..failed(execution) };
        task.steps[0].end_time = Some("2026-01-06T11:00:00".parse().unwrap());
        task
    };
    let mut scene = Scene::new();
    scene.read(&[failed(1)]);
    scene.pass(100 * 60 * MINUTE);
    assert_eq!(scene.code(&[frozen(2)]), "backoff", "an hour old, and not a hundred");
    scene.pass(100 * 60 * MINUTE);
    assert_eq!(scene.code(&[frozen(3)]), "too-old");
}

#[test]
fn an_unknown_status_after_a_success_changes_nothing() {
    let mut scene = Scene::new();
    scene.read(&[failed(1)]);
    scene.pass(MINUTE);
    scene.read(&[success(1)]);
    let odd = Task { status: TaskStatus::Other("ARCHIVED".to_owned()), ..failed(1) };
    assert_eq!(scene.code(&[odd]), "unknown-status");
    assert_eq!(scene.known().closed.map(|(closing, _)| closing), Some(Outcome::ResolvedExternally));
}
