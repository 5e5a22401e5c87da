//! What one poll adds to the state.

use super::*;

impl Harness {
    fn journaled(&self, word: &str) -> usize {
        self.journaled.iter().filter(|shown| **shown == word).count()
    }
}

#[test]
fn a_stretch_of_running_is_told_once() {
    let mut harness = Harness::new();
    for execution in 1..=2 {
        for _ in 0..5 {
            harness.read(&[running(execution)]);
            harness.pass(MINUTE);
        }
        assert_eq!(harness.journaled("running"), usize::try_from(execution).unwrap());
        harness.read(&[failed(execution)]);
        harness.pass(MINUTE);
    }
}

#[test]
fn a_fall_of_execute_times_is_told_once_for_each_value_and_not_of_a_stale_reading() {
    let shown =
        |execution| Task { execute_times: Some(execution), whole: Some("{}".to_owned()), ..failed(9) };
    let mut harness = Harness::new();
    harness.terms.as_mut().unwrap().retry.max_retries = 9;
    harness.read(&[failed(5)]);
    harness.read(&[failed(5)]);
    assert_eq!(harness.journaled("fell-back"), 0, "it stays");
    for (read, times) in [(5, 0), (3, 1), (3, 1), (5, 1), (4, 2), (3, 3), (6, 3)] {
        harness.pass(MINUTE);
        harness.read(&[shown(read)]);
        assert_eq!(harness.journaled("fell-back"), times, "{read}");
    }
    assert_eq!(harness.known().highest_execute_times, Some(6));
    let mut stale = Harness::new();
    for execution in [1, 2, 1] {
        stale.read(&[failed(execution)]);
        stale.pass(MINUTE);
    }
    assert_eq!(stale.journaled("fell-back"), 0, "the last one shows the failure before");
}

#[test]
fn a_failure_tells_where_it_failed() {
    let unnumbered = |mut task: Task| {
        task.steps[0].order = None;
        task
    };
    for (task, shown) in [
        (failed(1), "a, step 0 Data migration"),
        (unnumbered(failed(1)), "a, step ? Data migration"),
        (Task { current_node: String::new(), ..failed(1) }, "unknown node, step 0 Data migration"),
        (Task { steps: Vec::new(), ..failed(1) }, "a"),
    ] {
        let mut harness = Harness::new();
        harness.read(&[task]);
        assert_eq!(harness.known().failure.unwrap().seen.failing, shown);
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
            let mut harness = Harness::new();
            if ever_ran {
                harness.read(&[running(1)]);
            }
            let task = Task { end_time: Some(ended.parse().unwrap()), ..failed(1) };
            let code = harness.code(&[task]);
            // Without any time it is fresh if it was seen running.
            let by_the_future = ended > "2026-01-03T02:00:00";
            let expected = if too_old && !(by_the_future && ever_ran) { "too-old" } else { "backoff" };
            assert_eq!(code, expected, "{ended}, seen running: {ever_ran}");
        }
    }
}

#[test]
fn the_breaker_counts_what_was_seen_to_happen_and_what_was_retried() {
    let seen_to_happen = |harness: &Harness| harness.known().failure.unwrap().seen.seen_to_happen;
    let mut found = Harness::new();
    found.polled_before = false;
    found.read(&[failed(1)]);
    assert!(!seen_to_happen(&found), "it may be old: the first reconcile of a process found it");
    let mut watched = Harness::new();
    watched.read(&[failed(1)]);
    assert!(seen_to_happen(&watched));
    // Over a restart: a failure of our own retry is not new.
    for retried in [false, true] {
        let mut harness = Harness::new();
        harness.read(&[failed(1)]);
        if retried {
            harness.pass(2 * MINUTE);
            harness.send(&[failed(1)], Meaning::Accepted);
            for _ in 0..2 {
                harness.pass(MINUTE);
                harness.read(&[running(2)]);
            }
        }
        harness.pass(MINUTE);
        harness.polled_before = false;
        harness.read(&[failed(2)]);
        assert_eq!(harness.known().failure.clone().unwrap().seen.number, 2);
        assert_eq!(seen_to_happen(&harness), retried);
    }
}

#[test]
fn a_list_of_the_very_moment_of_the_answer_tells_nothing_of_what_came_after_it() {
    let mut harness = Harness::new();
    harness.read(&[failed(1)]);
    harness.pass(2 * MINUTE);
    harness.send(&[failed(1)], Meaning::GoneOrForbidden);
    harness.listed = Some(harness.now);
    let answered = harness.now;
    harness.pass(MINUTE);
    assert_eq!(harness.code(&[failed(1)]), "checking-if-gone");
    harness.listed = Some(answered.after(Duration::from_millis(1)));
    assert_eq!(harness.code(&[failed(1)]), "cluster-paused");
}

#[test]
fn a_reading_so_soon_after_the_answer_may_show_what_was_before_it() {
    let mut harness = Harness::new();
    harness.read(&[failed(1)]);
    harness.pass(2 * MINUTE);
    harness.send(&[failed(1)], Meaning::GoneOrForbidden);
    let answered = harness.now;
    harness.pass(a_moment_less_than(Duration::from_secs(15)));
    harness.listed = Some(answered.after(Duration::from_secs(1)));
    assert_eq!(harness.code(&[failed(1)]), "checking-if-gone");
    harness.pass(Duration::from_millis(1));
    assert_eq!(harness.code(&[failed(1)]), "cluster-paused");
}

#[test]
fn an_old_failure_is_told_once_and_left_alone() {
    let mut old = failed(1);
    old.end_time = Some("2025-12-30T11:59:59".parse().unwrap());
    let no_time = Task { end_time: None, steps: Vec::new(), ..failed(1) };
    for task in [old, no_time.clone()] {
        let mut harness = Harness::new();
        for _ in 0..20 {
            assert_eq!(harness.code(std::slice::from_ref(&task)), "too-old");
            harness.pass(60 * MINUTE);
        }
        assert_eq!(harness.journaled.iter().filter(|word| **word == "decided").count(), 1);
    }
    let mut harness = Harness::new();
    harness.read(&[running(1)]);
    assert_eq!(harness.code(&[no_time]), "backoff", "without a time it is fresh if it was seen running");
}

#[test]
fn a_failed_task_that_others_change_is_left_to_them() {
    let touched =
        Task { whole: Some("{\"executeTimes\":\"1\",\"agencyName\":\"x\"}".to_owned()), ..failed(1) };
    let mut harness = Harness::new();
    harness.read(&[failed(1)]);
    harness.pass(4 * MINUTE);
    assert_eq!(
        harness.code(std::slice::from_ref(&touched)),
        "retry-due",
        "soon after the first sight it is only late"
    );
    let mut harness = Harness::new();
    harness.terms.as_mut().unwrap().retry.initial_interval = 20 * MINUTE;
    harness.read(&[failed(1)]);
    harness.pass(6 * MINUTE);
    let decision = harness.read(&[touched]);
    assert_eq!(decision.reason, Reason::ChangedExternally { changed: "agencyName".to_owned() });
}

#[test]
fn a_changed_end_time_alone_is_a_touch_and_no_new_failure() {
    let mut harness = Harness::new();
    harness.terms.as_mut().unwrap().retry.initial_interval = 20 * MINUTE;
    harness.read(&[failed(1)]);
    harness.pass(6 * MINUTE);
    let mut later = failed(1);
    later.end_time = Some("2026-01-02T11:59:00".parse().unwrap());
    later.whole = Some("{\"endTime\":\"later\"}".to_owned());
    assert_eq!(harness.code(&[later]), "changed-externally");
}

#[test]
fn a_stale_failure_after_running_is_no_new_failure() {
    let mut harness = Harness::new();
    harness.read(&[failed(1)]);
    harness.pass(2 * MINUTE);
    harness.send(&[failed(1)], Meaning::Accepted);
    for task in [running(2), failed(1), running(2), failed(1)] {
        harness.pass(Duration::from_secs(20));
        harness.read(&[task]);
        assert_eq!(harness.known().failure.unwrap().seen.number, 1);
    }
    assert_eq!(harness.known().used.ours, 1, "it was confirmed as accepted");
    assert_eq!(harness.code(&[failed(1)]), "stale-poll");
}

#[test]
fn the_same_words_after_running_are_a_new_failure_once_no_reading_can_be_stale() {
    let same =
        |task: Task| Task { execute_times: None, end_time: None, whole: Some("{}".to_owned()), ..task };
    let mut harness = Harness::new();
    harness.read(&[running(1)]);
    harness.pass(MINUTE);
    harness.read(&[same(failed(1))]);
    harness.pass(2 * MINUTE);
    harness.send(&[same(failed(1))], Meaning::Accepted);
    for _ in 0..2 {
        harness.pass(Duration::from_secs(15));
        harness.read(&[running(1)]);
    }
    harness.pass(4 * MINUTE);
    assert_eq!(harness.code(&[same(failed(1))]), "stale-poll");
    harness.pass(2 * MINUTE);
    assert_eq!(harness.code(&[same(failed(1))]), "backoff");
    assert_eq!(harness.known().failure.unwrap().seen.number, 2);
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
    let mut harness = Harness::new();
    harness.terms.as_mut().unwrap().retry.max_retries = 5;
    harness.read(std::slice::from_ref(&running));
    harness.pass(MINUTE);
    for (number, whole) in [(1, "{\"step\":1}"), (2, "{\"step\":2}"), (3, "{\"step\":1}")] {
        harness.read(&[mute(whole)]);
        harness.pass(6 * MINUTE);
        harness.read(&[mute(whole)]);
        assert_eq!(harness.known().failure.unwrap().seen.number, number);
        harness.pass(60 * MINUTE);
        harness.send(&[mute(whole)], Meaning::Accepted);
        for _ in 0..2 {
            harness.pass(MINUTE);
            harness.read(std::slice::from_ref(&running));
        }
        harness.pass(MINUTE);
    }
}

#[test]
fn an_older_failure_that_is_shown_for_good_is_a_humans() {
    let mut harness = Harness::new();
    harness.terms.as_mut().unwrap().retry.initial_interval = 60 * MINUTE;
    harness.read(&[failed(1)]);
    harness.pass(MINUTE);
    harness.read(&[failed(2)]);
    harness.pass(MINUTE);
    assert_eq!(harness.code(&[failed(1)]), "stale-poll");
    let mut code = "";
    for _ in 0..600 {
        harness.pass(MINUTE);
        code = harness.code(&[failed(1)]);
    }
    assert_eq!(code, "needs-operator");
}

#[test]
fn an_end_time_that_stays_as_it_was_does_not_make_a_new_failure_old() {
    let frozen = |execution| Task { end_time: failed(1).end_time, ..failed(execution) };
    let mut harness = Harness::new();
    harness.terms.as_mut().unwrap().retry.max_retries = 5;
    harness.read(&[frozen(1)]);
    harness.pass(2 * MINUTE);
    harness.send(&[frozen(1)], Meaning::Accepted);
    for _ in 0..100 {
        harness.pass(60 * MINUTE);
        assert_eq!(harness.code(&[running(2)]), "running");
    }
    assert_eq!(harness.code(&[frozen(2)]), "backoff");
    // If no other field shows the age, that endTime still does.
    let mut harness = Harness::new();
    harness.read(&[frozen(1)]);
    harness.pass(MINUTE);
    assert_eq!(harness.code(&[frozen(2)]), "backoff");
}

#[test]
fn a_running_reading_of_the_past_is_no_retry_by_others() {
    let mut harness = Harness::new();
    harness.read(&[running(1)]);
    harness.pass(MINUTE);
    harness.read(&[failed(1)]);
    harness.pass(Duration::from_secs(30));
    harness.read(&[running(1)]);
    harness.pass(6 * MINUTE);
    harness.read(&[failed(1)]);
    assert_eq!(harness.known().used.external, 0);
    // Long after the failure was first seen, no poll shows a state before it.
    harness.pass(10 * MINUTE);
    harness.read(&[running(1)]);
    harness.pass(6 * MINUTE);
    harness.read(&[failed(1)]);
    assert_eq!(harness.known().used.external, 1);
}

#[test]
fn an_older_answer_without_a_new_task_does_not_make_it_gone() {
    let mut harness = Harness::new();
    harness.read(&[running(1)]);
    for _ in 0..9 {
        harness.pass(Duration::from_secs(30));
        harness.read(&[]);
        assert!(!harness.known().is_ended(), "it may show what was before the task began");
    }
    harness.pass(Duration::from_secs(30));
    harness.read(&[]);
    assert_eq!(harness.known().outcome().cloned(), Some(Outcome::Gone));
}

#[test]
fn where_an_end_time_stays_as_it_was_the_steps_tell_how_old_a_failure_is() {
    let frozen = |execution| {
        let mut task = Task { end_time: failed(1).end_time, ..failed(execution) };
        task.steps[0].end_time = Some("2026-01-06T11:00:00".parse().unwrap());
        task
    };
    let mut harness = Harness::new();
    harness.read(&[failed(1)]);
    harness.pass(100 * 60 * MINUTE);
    assert_eq!(harness.code(&[frozen(2)]), "backoff", "an hour old, and not a hundred");
    harness.pass(100 * 60 * MINUTE);
    assert_eq!(harness.code(&[frozen(3)]), "too-old");
}

#[test]
fn an_unknown_status_after_a_success_changes_nothing() {
    let mut harness = Harness::new();
    harness.read(&[failed(1)]);
    harness.pass(MINUTE);
    harness.read(&[success(1)]);
    let odd = Task { status: TaskStatus::Other("ARCHIVED".to_owned()), ..failed(1) };
    assert_eq!(harness.code(&[odd]), "unknown-status");
    assert_eq!(harness.known().outcome().cloned(), Some(Outcome::ResolvedExternally));
}
