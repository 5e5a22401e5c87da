//! Sequences in which an incomplete answer, or a time without polls, must not lead to a request.

use super::*;

/// The record of a cluster in a process that starts now.
fn restart(harness: &mut Harness) {
    let cluster = std::sync::Arc::make_mut(harness.project_state.clusters.get_mut(&cluster()).unwrap());
    // Polls raise it, and the journal has only its own part.
    let known = cluster.tasks.iter().filter_map(|(id, task)| Some((task.start_time?, id.clone()))).max();
    cluster.newest_start = cluster.journaled_start.map(|start| match known {
        Some((at, id)) if at == start => (start, id),
        _ => (start, TaskId::new("of-the-journal").unwrap()),
    });
    cluster.wake(harness.now);
}

/// An older AZ switchover with an external retry, and a newer upgrade that failed.
fn older_and_newer(older: Task) -> [Task; 2] {
    let older = Task { kind: TaskKind::AzSwitchover, ..named("o", "2026-01-01T00:00:00", older) };
    [failed(1), older]
}

#[test]
fn a_running_task_that_an_answer_lacks_stops_everything_until_a_second_look() {
    // The older one is tracked, superseded, or was aborted by the daemon.
    for superseded in [false, true] {
        let mut harness = Harness::new();
        if superseded {
            let older = named("o", "2026-01-01T00:00:00", failed(1));
            harness.read(std::slice::from_ref(&older));
            harness.read(&older_and_newer(failed(1)));
            assert!(harness.cluster_record().tasks[&TaskId::new("o").unwrap()].is_ended());
        } else {
            harness.read(&[failed(1)]);
        }
        harness.pass(MINUTE);
        assert_eq!(harness.code(&older_and_newer(running(2))), "running");
        harness.pass(MINUTE);
        restart(&mut harness);
        for wait in [Duration::ZERO, a_moment_less_than(harness.poll.settle_interval)] {
            harness.pass(wait);
            let decision = harness.read(&[failed(1)]);
            assert_eq!((decision.verdict, decision.reason.code()), (Verdict::Wait, "running-missing"));
        }
        harness.pass(Duration::from_millis(1));
        assert_eq!(harness.code(&[failed(1)]), "retry-due", "superseded: {superseded}");
        assert_eq!(harness.code(&older_and_newer(running(2))), "running", "it is back");
        assert_eq!(harness.code(&[failed(1)]), "running-missing", "and has to be missed twice again");
    }
}

#[test]
fn an_older_task_that_ran_and_ended_holds_nothing_back() {
    let mut harness = Harness::new();
    harness.read(&older_and_newer(running(2)));
    harness.pass(2 * MINUTE);
    harness.read(&older_and_newer(success(2)));
    harness.pass(2 * MINUTE);
    assert_eq!(harness.code(&[failed(1)]), "retry-due");
}

#[test]
fn that_there_is_a_newer_task_is_known_after_a_restart() {
    let old = named("t", "2026-01-01T00:00:00", failed(1));
    let new = named("n", "2026-01-02T00:00:00", success(1));
    for known_before in [false, true] {
        let mut harness = Harness::new();
        if known_before {
            harness.read(std::slice::from_ref(&old));
        }
        harness.read(&[new.clone(), old.clone()]);
        harness.read(&[new.clone(), old.clone()]);
        assert_eq!(harness.count("newest-seen"), 1, "once");
        restart(&mut harness);
        harness.polled_before = false;
        for _ in 0..3 {
            harness.pass(60 * MINUTE);
            assert_eq!(harness.code(std::slice::from_ref(&old)), "newest-missing");
        }
    }
    let mut harness = Harness::new();
    harness.read(&[new]);
    assert_eq!(harness.journaled, [""; 0], "where nothing failed nothing is journaled");
}

#[test]
fn what_fell_due_while_nobody_could_read_waits_once_more() {
    let mut harness = Harness::new();
    harness.read(&[failed(1)]);
    harness.polled = Some(harness.now);
    harness.pass(harness.poll.idle_interval);
    assert_eq!(harness.code(&[failed(1)]), "retry-due", "not longer than idle_interval");

    let mut harness = Harness::new();
    harness.read(&[failed(1)]);
    harness.polled = Some(harness.now);
    harness.pass(60 * MINUTE);
    assert_eq!(harness.code(&[failed(1)]), "was-blocked");
    harness.polled = None;
    harness.pass(a_moment_less_than(2 * MINUTE));
    assert_eq!(harness.code(&[failed(1)]), "was-blocked");
    harness.pass(Duration::from_millis(1));
    assert_eq!(harness.code(&[failed(1)]), "retry-due");
}

#[test]
fn what_was_not_due_yet_when_it_could_be_read_again_keeps_its_time() {
    let mut harness = Harness::new();
    harness.terms.as_mut().unwrap().retry.initial_interval = 30 * MINUTE;
    harness.read(&[failed(1)]);
    harness.polled = Some(harness.now);
    harness.pass(20 * MINUTE);
    assert_eq!(harness.code(&[failed(1)]), "backoff");
    harness.polled = None;
    harness.pass(10 * MINUTE);
    assert_eq!(harness.code(&[failed(1)]), "retry-due");
}

#[test]
fn the_grace_of_an_abort_begins_anew_when_it_can_be_read_again_and_is_announced_anew() {
    let mut harness = Harness::new();
    harness.terms.as_mut().unwrap().retry.max_retries = 0;
    harness.read(&[failed(1)]);
    harness.polled = Some(harness.now);
    harness.pass(60 * MINUTE);
    let decision = harness.read(&[failed(1)]);
    let Reason::AbortPending { until, .. } = decision.reason else { panic!("{decision:?}") };
    assert_eq!(until, harness.now.after(15 * MINUTE).wall);
    assert_eq!(harness.count("decided"), 2, "announced twice");
    harness.polled = None;
    harness.pass(a_moment_less_than(15 * MINUTE));
    assert_eq!(harness.code(&[failed(1)]), "abort-pending");
    harness.pass(Duration::from_millis(1));
    assert_eq!(harness.code(&[failed(1)]), "abort-due");
}

#[test]
fn a_request_whose_outcome_was_open_while_nobody_could_read_is_followed_by_no_other_at_once() {
    let mut harness = Harness::new();
    harness.read(&[failed(1)]);
    harness.pass(2 * MINUTE);
    harness.send(&[failed(1)], Meaning::Unknown);
    harness.polled = Some(harness.now);
    harness.pass(60 * MINUTE);
    harness.read(&[failed(1)]);
    harness.polled = None;
    harness.pass(Duration::from_secs(15));
    assert_eq!(harness.code(&[failed(1)]), "was-blocked", "not accepted, and due for long");
    harness.pass(2 * MINUTE);
    assert_eq!(harness.code(&[failed(1)]), "retry-due");
}

#[test]
fn a_cluster_that_was_gone_and_comes_back_waits_once_more() {
    for (max_retries, code) in [(2, "was-blocked"), (0, "abort-pending")] {
        let mut harness = Harness::new();
        harness.terms.as_mut().unwrap().retry.max_retries = max_retries;
        harness.read(&[failed(1)]);
        harness.pass(60 * MINUTE);
        harness.record(&TaskId::new("t").unwrap(), Event::Ended(Outcome::Gone));
        // The process keeps no time of a poll of a cluster that was gone.
        harness.polled_before = false;
        harness.pass(60 * MINUTE);
        assert_eq!(harness.code(&[failed(1)]), code);
    }
}

#[test]
fn a_task_that_another_cluster_shows_too_is_left_alone_and_escalated_where_that_lasts() {
    let mut harness = Harness::new();
    harness.read(&[failed(1)]);
    harness.pass(2 * MINUTE);
    harness.shown_by("c-2", &[failed(1)]);
    for _ in 0..2 {
        let decision = harness.read(&[failed(1)]);
        assert_eq!((decision.verdict, decision.reason.code()), (Verdict::Wait, "shared-task"));
        harness.pass(a_moment_less_than(30 * MINUTE));
    }
    harness.shown_by("c-2", &[]);
    assert_eq!(harness.code(&[failed(1)]), "retry-due", "only what is shown now by both counts");
    harness.shown_by("c-2", &[failed(1)]);
    harness.read(&[failed(1)]);
    harness.pass(60 * MINUTE);
    let decision = harness.read(&[failed(1)]);
    assert_eq!((decision.verdict, decision.reason.code()), (Verdict::Escalate, "shared-task"));
}

#[test]
fn a_task_of_another_cluster_counts_while_its_last_answer_shows_it() {
    let mut harness = Harness::new();
    harness.read(&[failed(1)]);
    assert!(harness.known().is_shown());
    harness.read(&[]);
    assert!(!harness.known().is_shown(), "one answer about that cluster without it is enough");

    let mut harness = Harness::new();
    harness.read(&[running(1)]);
    harness.read(&[success(1)]);
    assert!(harness.known().is_shown());
    harness.read(&[]);
    assert!(!harness.known().is_shown(), "also where it is over");
    harness.read(&[success(1)]);
    assert!(harness.known().is_shown());
}

/// The tasks that the last answer about another cluster showed.
fn shown_by_another(harness: &mut Harness, tasks: &[Task]) {
    let list = TaskList { tasks: tasks.to_vec(), unusable: 0, total_size: Some(tasks.len() as u64) };
    let reading = Reading::new(harness.now, harness.now, [list, TaskList::default()]);
    harness.project_state.remember_shown(&ClusterId::new("c-2").unwrap(), &reading);
}

#[test]
fn a_newer_task_of_another_cluster_does_not_make_history_of_this_ones() {
    let elsewhere = |task: Task| named("e", "2026-01-02T11:30:00", task);
    for other in [running(1), failed(1), success(1)] {
        let runs = other.status == TaskStatus::Running;
        let mut harness = Harness::new();
        harness.read(&[failed(1)]);
        harness.pass(2 * MINUTE);
        shown_by_another(&mut harness, &[elsewhere(other.clone())]);
        let once = harness.read(&[elsewhere(other.clone()), failed(1)]);
        assert!(!matches!(once.verdict, Verdict::Act(_)), "what is shown may be its own: {once:?}");
        assert!(!harness.known().is_ended(), "{:?}", other.status);
        if runs {
            assert_eq!(harness.code(&[failed(1)]), "running-missing", "it may be its own all the same");
            harness.pass(MINUTE);
        }
        assert_eq!(harness.code(&[failed(1)]), "retry-due", "{:?}", other.status);
        restart(&mut harness);
        assert_eq!(harness.code(&[failed(1)]), "retry-due", "{:?}, after a restart", other.status);
        // Shown here alone, it belongs to this cluster.
        shown_by_another(&mut harness, &[]);
        harness.read(&[elsewhere(other.clone()), failed(1)]);
        assert!(matches!(harness.known().outcome(), Some(Outcome::Superseded { .. })), "{:?}", other.status);
    }
}

#[test]
fn a_failure_that_another_cluster_shows_too_is_not_journaled_again_for_this_one() {
    let mut harness = Harness::new();
    shown_by_another(&mut harness, &[failed(1)]);
    let decision = harness.read(&[failed(1)]);
    assert_eq!((decision.verdict, decision.reason.code()), (Verdict::Wait, "shared-task"));
    assert_eq!(decision.next_poll, harness.poll.active_interval);
    assert_eq!(harness.journaled, [""; 0]);
    shown_by_another(&mut harness, &[]);
    assert_eq!(harness.code(&[failed(1)]), "backoff");
}

#[test]
fn whatever_the_last_answer_about_another_cluster_shows_counts_until_the_next_whole_one() {
    let (mut harness, id, other) =
        (Harness::new(), TaskId::new("t").unwrap(), ClusterId::new("c-2").unwrap());
    let newer = named("n", "2026-01-03T00:00:00", success(1));
    shown_by_another(&mut harness, &[newer.clone(), failed(1)]);
    assert_eq!(
        harness.project_state.shown_elsewhere(&cluster(), &id),
        Some(&other),
        "also one that is not the newest"
    );
    assert_eq!(harness.project_state.shown_elsewhere(&other, &id), None, "it is shown there alone");
    let short = TaskList { tasks: vec![newer], unusable: 0, total_size: Some(2) };
    let short = Reading::new(harness.now, harness.now, [short, TaskList::default()]);
    harness.project_state.remember_shown(&other, &short);
    assert!(
        harness.project_state.shown_elsewhere(&cluster(), &id).is_some(),
        "a short answer does not show that it is gone"
    );
    let mut anew = ProjectState::default();
    anew.take_shown(&harness.project_state);
    assert!(anew.shown_elsewhere(&cluster(), &id).is_some(), "the project_state was folded anew");
    anew.let_go(&other);
    assert!(anew.shown_elsewhere(&cluster(), &id).is_none(), "that cluster is gone");
    shown_by_another(&mut harness, &[]);
    assert!(harness.project_state.shown_elsewhere(&cluster(), &id).is_none());
}

#[test]
fn no_failure_is_judged_too_old_while_our_clock_is_off() {
    let long_ago = Task { end_time: Some("2025-12-01T00:00:00".parse().unwrap()), ..failed(1) };
    let to_come = Task { end_time: Some("2026-02-01T00:00:00".parse().unwrap()), ..failed(1) };
    for (task, code) in [(long_ago, "too-old"), (to_come, "too-old"), (failed(1), "retry-due")] {
        let mut harness = Harness::new();
        harness.clock_offset = Some(jiff::SignedDuration::from_hours(24 * 40));
        assert_eq!(harness.code(std::slice::from_ref(&task)), "backoff");
        harness.pass(2 * MINUTE);
        assert_eq!(harness.code(std::slice::from_ref(&task)), "clock-off");
        harness.clock_offset = Some(jiff::SignedDuration::ZERO);
        let decision = harness.read(std::slice::from_ref(&task));
        assert_eq!(harness.count("age-judged"), 1);
        if code == "too-old" {
            assert_eq!(decision.reason.code(), code);
        } else {
            assert_eq!(decision.reason.code(), "was-blocked", "what the clock held back waits once more");
        }
        harness.read(&[task]);
        assert_eq!(harness.count("age-judged"), 1, "once");
    }
}

#[test]
fn a_failure_in_the_future_is_told_as_one() {
    let mut harness = Harness::new();
    let to_come = Task { end_time: Some("2026-02-01T00:00:00".parse().unwrap()), ..failed(1) };
    let said = harness.read(&[to_come]).reason.to_string();
    assert!(said.contains("is in the future") && !said.contains("more than"), "{said}");
    let mut harness = Harness::new();
    let long_ago = Task { end_time: Some("2025-12-01T00:00:00".parse().unwrap()), ..failed(1) };
    let said = harness.read(&[long_ago]).reason.to_string();
    assert!(!said.contains("future") && said.contains("more than"), "{said}");
}

#[test]
fn nothing_is_sent_on_lists_that_took_long_to_arrive() {
    let mut harness = Harness::new();
    harness.read(&[failed(1)]);
    harness.pass(2 * MINUTE);
    let asked = harness.now;
    for (took, code) in [(Duration::from_secs(5), "retry-due"), (Duration::from_millis(5_001), "slow-poll")] {
        harness.now = asked.after(took);
        let list = TaskList { tasks: vec![failed(1)], unusable: 0, total_size: Some(1) };
        let reading = Reading::new(asked, harness.now, [list, TaskList::default()]);
        let decision = harness.judge(&reading, |state, input| step(state, input, harness.now)).decision;
        assert_eq!(decision.reason.code(), code, "{took:?}");
        assert_eq!(decision.next_poll, harness.poll.settle_interval, "and no sooner");
    }
}

#[test]
fn of_two_answers_about_one_task_the_one_that_allows_less_counts() {
    let at = Harness::new().now;
    let list = |task: &Task| TaskList { tasks: vec![task.clone()], unusable: 0, total_size: Some(1) };
    let reading = |one: &Task, other: &Task| Reading::new(at, at, [list(one), list(other)]);
    let done = with_nodes(failed(1), &["a"]);
    for (one, other, kept) in [
        (failed(1), failed(1), failed(1)),
        (failed(1), running(2), running(2)),
        (running(2), failed(1), running(2)),
        (failed(1), done.clone(), done.clone()),
        (done.clone(), failed(1), done),
        (success(2), failed(1), success(2)),
        (failed(1), failed(2), failed(2)),
    ] {
        let read = reading(&one, &other);
        assert_eq!((read.tasks, read.in_both.len()), (vec![kept], 1));
    }
}

#[test]
fn that_a_task_could_not_be_polled_is_journaled_only_where_it_changes_a_wait() {
    let unpolled = |before: &dyn Fn(&mut Harness)| {
        let mut harness = Harness::new();
        harness.read(&[failed(1)]);
        before(&mut harness);
        harness.polled = Some(harness.now);
        harness.pass(60 * MINUTE);
        harness.read(&[failed(1)]);
        harness.count("unpolled")
    };
    let id = TaskId::new("t").unwrap();
    assert_eq!(unpolled(&|_| {}), 1);
    let blocked = |harness: &mut Harness| {
        harness.terms = None;
        harness.read(&[failed(1)]);
    };
    assert_eq!(unpolled(&blocked), 0, "it waits once more anyway when what blocks it ends");
    assert_eq!(unpolled(&|harness| harness.record(&id, Event::Escalated { reason: Reason::NoPolicy })), 0);
    assert_eq!(unpolled(&|harness| harness.record(&id, Event::Ended(Outcome::Aborted))), 0);
    let mut old = Harness::new();
    let long_ago = Task { end_time: Some("2025-12-01T00:00:00".parse().unwrap()), ..failed(1) };
    old.read(std::slice::from_ref(&long_ago));
    old.polled = Some(old.now);
    old.pass(60 * MINUTE);
    assert_eq!(old.code(&[long_ago]), "too-old");
    assert_eq!(old.count("unpolled"), 0);
}

#[test]
fn that_an_ended_task_runs_again_is_journaled_once_and_nothing_else_of_it() {
    let mut harness = Harness::new();
    let older = named("o", "2026-01-01T00:00:00", failed(1));
    harness.read(std::slice::from_ref(&older));
    harness.read(&older_and_newer(failed(1)));
    assert_eq!(harness.count("ended"), 1, "superseded");
    harness.read(&older_and_newer(failed(2)));
    harness.read(&older_and_newer(success(2)));
    assert_eq!(harness.count("running"), 0, "it did not run");
    for _ in 0..3 {
        harness.pass(MINUTE);
        harness.read(&older_and_newer(running(3)));
    }
    assert_eq!(harness.count("running"), 1);
}

#[test]
fn what_falls_due_at_the_very_moment_of_the_poll_was_not_overdue() {
    let mut harness = Harness::new();
    harness.terms.as_mut().unwrap().retry.initial_interval = 60 * MINUTE;
    harness.terms.as_mut().unwrap().retry.max_interval = 60 * MINUTE;
    harness.read(&[failed(1)]);
    harness.polled = Some(harness.now);
    harness.pass(60 * MINUTE);
    assert_eq!(harness.code(&[failed(1)]), "retry-due");
}
