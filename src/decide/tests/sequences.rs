//! Sequences in which what one answer lacks, or what nobody could read for a while, must not bring a request about.

use super::*;

/// What the history of a cluster looks like to a process that starts now.
fn restart(scene: &mut Scene) {
    let cluster = std::sync::Arc::make_mut(scene.project_state.clusters.get_mut(&cluster()).unwrap());
    // Readings raise it, and the journal knows its own part alone.
    let known = cluster.tasks.iter().filter_map(|(id, task)| Some((task.start_time?, id.clone()))).max();
    cluster.newest_start = cluster.journaled_start.map(|start| match known {
        Some((at, id)) if at == start => (start, id),
        _ => (start, TaskId::new("of-the-journal").unwrap()),
    });
    cluster.wake(scene.now);
}

/// An older AZ switchover that somebody has retried, and a newer upgrade that failed.
fn older_and_newer(older: Task) -> [Task; 2] {
    let older = Task { kind: TaskKind::AzSwitchover, ..named("o", "2026-01-01T00:00:00", older) };
    [failed(1), older]
}

#[test]
fn a_running_task_that_an_answer_lacks_stops_everything_until_a_second_look() {
    // The older one is tracked, superseded, or was aborted by the daemon.
    for superseded in [false, true] {
        let mut scene = Scene::new();
        if superseded {
            let older = named("o", "2026-01-01T00:00:00", failed(1));
            scene.read(std::slice::from_ref(&older));
            scene.read(&older_and_newer(failed(1)));
            assert!(scene.cluster_record().tasks[&TaskId::new("o").unwrap()].closed.is_some());
        } else {
            scene.read(&[failed(1)]);
        }
        scene.pass(MINUTE);
        assert_eq!(scene.code(&older_and_newer(running(2))), "running");
        scene.pass(MINUTE);
        restart(&mut scene);
        for wait in [Duration::ZERO, a_moment_less_than(scene.poll.settle_interval)] {
            scene.pass(wait);
            let decision = scene.read(&[failed(1)]);
            assert_eq!((decision.verdict, decision.reason.code()), (Verdict::Wait, "running-missing"));
        }
        scene.pass(Duration::from_millis(1));
        assert_eq!(scene.code(&[failed(1)]), "retry-due", "superseded: {superseded}");
        assert_eq!(scene.code(&older_and_newer(running(2))), "running", "it is back");
        assert_eq!(scene.code(&[failed(1)]), "running-missing", "and has to be missed twice again");
    }
}

#[test]
fn an_older_task_that_ran_and_ended_holds_nothing_back() {
    let mut scene = Scene::new();
    scene.read(&older_and_newer(running(2)));
    scene.pass(2 * MINUTE);
    scene.read(&older_and_newer(success(2)));
    scene.pass(2 * MINUTE);
    assert_eq!(scene.code(&[failed(1)]), "retry-due");
}

#[test]
fn that_there_is_a_newer_task_is_known_after_a_restart() {
    let old = named("t", "2026-01-01T00:00:00", failed(1));
    let new = named("n", "2026-01-02T00:00:00", success(1));
    for known_before in [false, true] {
        let mut scene = Scene::new();
        if known_before {
            scene.read(std::slice::from_ref(&old));
        }
        scene.read(&[new.clone(), old.clone()]);
        scene.read(&[new.clone(), old.clone()]);
        assert_eq!(scene.count("newest-seen"), 1, "once");
        restart(&mut scene);
        scene.looked_before = false;
        for _ in 0..3 {
            scene.pass(60 * MINUTE);
            assert_eq!(scene.code(std::slice::from_ref(&old)), "newest-missing");
        }
    }
    let mut scene = Scene::new();
    scene.read(&[new]);
    assert_eq!(scene.told, [""; 0], "where nothing failed nothing is journaled");
}

#[test]
fn what_fell_due_while_nobody_could_read_waits_once_more() {
    let mut scene = Scene::new();
    scene.read(&[failed(1)]);
    scene.polled = Some(scene.now);
    scene.pass(scene.poll.idle_interval);
    assert_eq!(scene.code(&[failed(1)]), "retry-due", "not longer than idle_interval");

    let mut scene = Scene::new();
    scene.read(&[failed(1)]);
    scene.polled = Some(scene.now);
    scene.pass(60 * MINUTE);
    assert_eq!(scene.code(&[failed(1)]), "was-blocked");
    scene.polled = None;
    scene.pass(a_moment_less_than(2 * MINUTE));
    assert_eq!(scene.code(&[failed(1)]), "was-blocked");
    scene.pass(Duration::from_millis(1));
    assert_eq!(scene.code(&[failed(1)]), "retry-due");
}

#[test]
fn what_was_not_due_yet_when_it_could_be_read_again_keeps_its_time() {
    let mut scene = Scene::new();
    scene.terms.as_mut().unwrap().retry.initial_interval = 30 * MINUTE;
    scene.read(&[failed(1)]);
    scene.polled = Some(scene.now);
    scene.pass(20 * MINUTE);
    assert_eq!(scene.code(&[failed(1)]), "backoff");
    scene.polled = None;
    scene.pass(10 * MINUTE);
    assert_eq!(scene.code(&[failed(1)]), "retry-due");
}

#[test]
fn the_grace_of_an_abort_begins_anew_when_it_can_be_read_again_and_is_announced_anew() {
    let mut scene = Scene::new();
    scene.terms.as_mut().unwrap().retry.max_retries = 0;
    scene.read(&[failed(1)]);
    scene.polled = Some(scene.now);
    scene.pass(60 * MINUTE);
    let decision = scene.read(&[failed(1)]);
    let Reason::AbortPending { until, .. } = decision.reason else { panic!("{decision:?}") };
    assert_eq!(until, scene.now.after(15 * MINUTE).wall);
    assert_eq!(scene.count("decided"), 2, "announced twice");
    scene.polled = None;
    scene.pass(a_moment_less_than(15 * MINUTE));
    assert_eq!(scene.code(&[failed(1)]), "abort-pending");
    scene.pass(Duration::from_millis(1));
    assert_eq!(scene.code(&[failed(1)]), "abort-due");
}

#[test]
fn a_request_whose_outcome_was_open_while_nobody_could_read_is_followed_by_no_other_at_once() {
    let mut scene = Scene::new();
    scene.read(&[failed(1)]);
    scene.pass(2 * MINUTE);
    scene.send(&[failed(1)], Meaning::Unknown);
    scene.polled = Some(scene.now);
    scene.pass(60 * MINUTE);
    scene.read(&[failed(1)]);
    scene.polled = None;
    scene.pass(Duration::from_secs(15));
    assert_eq!(scene.code(&[failed(1)]), "was-blocked", "not accepted, and due for long");
    scene.pass(2 * MINUTE);
    assert_eq!(scene.code(&[failed(1)]), "retry-due");
}

#[test]
fn a_cluster_that_was_gone_and_comes_back_waits_once_more() {
    for (max_retries, code) in [(2, "was-blocked"), (0, "abort-pending")] {
        let mut scene = Scene::new();
        scene.terms.as_mut().unwrap().retry.max_retries = max_retries;
        scene.read(&[failed(1)]);
        scene.pass(60 * MINUTE);
        scene.record(&TaskId::new("t").unwrap(), Event::Ended(Outcome::Gone));
        // The process keeps no time of a reconcile of a cluster that was gone.
        scene.looked_before = false;
        scene.pass(60 * MINUTE);
        assert_eq!(scene.code(&[failed(1)]), code);
    }
}

#[test]
fn a_task_that_another_cluster_shows_too_is_left_alone_and_escalated_where_that_lasts() {
    let mut scene = Scene::new();
    scene.read(&[failed(1)]);
    scene.pass(2 * MINUTE);
    scene.shown_by("c-2", &[failed(1)]);
    for _ in 0..2 {
        let decision = scene.read(&[failed(1)]);
        assert_eq!((decision.verdict, decision.reason.code()), (Verdict::Wait, "shared-task"));
        scene.pass(a_moment_less_than(30 * MINUTE));
    }
    scene.shown_by("c-2", &[]);
    assert_eq!(scene.code(&[failed(1)]), "retry-due", "only what is shown now by both counts");
    scene.shown_by("c-2", &[failed(1)]);
    scene.read(&[failed(1)]);
    scene.pass(60 * MINUTE);
    let decision = scene.read(&[failed(1)]);
    assert_eq!((decision.verdict, decision.reason.code()), (Verdict::Escalate, "shared-task"));
}

#[test]
fn a_task_of_another_cluster_counts_while_its_last_answer_shows_it() {
    let mut scene = Scene::new();
    scene.read(&[failed(1)]);
    assert!(scene.known().is_shown());
    scene.read(&[]);
    assert!(!scene.known().is_shown(), "one answer about that cluster without it is enough");

    let mut scene = Scene::new();
    scene.read(&[running(1)]);
    scene.read(&[success(1)]);
    assert!(scene.known().is_shown());
    scene.read(&[]);
    assert!(!scene.known().is_shown(), "also where it is over");
    scene.read(&[success(1)]);
    assert!(scene.known().is_shown());
}

/// What the last answer about another cluster showed.
fn shown_by_another(scene: &mut Scene, tasks: &[Task]) {
    let list = TaskList { tasks: tasks.to_vec(), unusable: 0, total_size: Some(tasks.len() as u64) };
    let reading = Reading::new(scene.now, scene.now, [list, TaskList::default()]);
    scene.project_state.remember_shown(&ClusterId::new("c-2").unwrap(), &reading);
}

#[test]
fn a_newer_task_of_another_cluster_does_not_make_history_of_this_ones() {
    let elsewhere = |task: Task| named("e", "2026-01-02T11:30:00", task);
    for other in [running(1), failed(1), success(1)] {
        let runs = other.status == TaskStatus::Running;
        let mut scene = Scene::new();
        scene.read(&[failed(1)]);
        scene.pass(2 * MINUTE);
        shown_by_another(&mut scene, &[elsewhere(other.clone())]);
        let once = scene.read(&[elsewhere(other.clone()), failed(1)]);
        assert!(!matches!(once.verdict, Verdict::Act(_)), "what is shown may be its own: {once:?}");
        assert!(scene.known().closed.is_none(), "{:?}", other.status);
        if runs {
            assert_eq!(scene.code(&[failed(1)]), "running-missing", "it may be its own all the same");
            scene.pass(MINUTE);
        }
        assert_eq!(scene.code(&[failed(1)]), "retry-due", "{:?}", other.status);
        restart(&mut scene);
        assert_eq!(scene.code(&[failed(1)]), "retry-due", "{:?}, after a restart", other.status);
        // Shown here alone it is this one's.
        shown_by_another(&mut scene, &[]);
        scene.read(&[elsewhere(other.clone()), failed(1)]);
        assert!(matches!(scene.known().closed, Some((Outcome::Superseded { .. }, _))), "{:?}", other.status);
    }
}

#[test]
fn a_failure_that_another_cluster_shows_too_is_not_journaled_again_for_this_one() {
    let mut scene = Scene::new();
    shown_by_another(&mut scene, &[failed(1)]);
    let decision = scene.read(&[failed(1)]);
    assert_eq!((decision.verdict, decision.reason.code()), (Verdict::Wait, "shared-task"));
    assert_eq!(decision.next_poll, scene.poll.active_interval);
    assert_eq!(scene.told, [""; 0]);
    shown_by_another(&mut scene, &[]);
    assert_eq!(scene.code(&[failed(1)]), "backoff");
}

#[test]
fn whatever_the_last_answer_about_another_cluster_shows_counts_until_the_next_whole_one() {
    let (mut scene, id, other) = (Scene::new(), TaskId::new("t").unwrap(), ClusterId::new("c-2").unwrap());
    let newer = named("n", "2026-01-03T00:00:00", success(1));
    shown_by_another(&mut scene, &[newer.clone(), failed(1)]);
    assert_eq!(
        scene.project_state.shown_elsewhere(&cluster(), &id),
        Some(&other),
        "also one that is not the newest"
    );
    assert_eq!(scene.project_state.shown_elsewhere(&other, &id), None, "it is shown there alone");
    let short = TaskList { tasks: vec![newer], unusable: 0, total_size: Some(2) };
    let short = Reading::new(scene.now, scene.now, [short, TaskList::default()]);
    scene.project_state.remember_shown(&other, &short);
    assert!(
        scene.project_state.shown_elsewhere(&cluster(), &id).is_some(),
        "a short answer does not show that it is gone"
    );
    let mut anew = ProjectState::default();
    anew.take_shown(&scene.project_state);
    assert!(anew.shown_elsewhere(&cluster(), &id).is_some(), "the project_state was folded anew");
    anew.let_go(&other);
    assert!(anew.shown_elsewhere(&cluster(), &id).is_none(), "that cluster is gone");
    shown_by_another(&mut scene, &[]);
    assert!(scene.project_state.shown_elsewhere(&cluster(), &id).is_none());
}

#[test]
fn no_failure_is_judged_too_old_while_our_clock_is_off() {
    let long_ago = Task { end_time: Some("2025-12-01T00:00:00".parse().unwrap()), ..failed(1) };
    let to_come = Task { end_time: Some("2026-02-01T00:00:00".parse().unwrap()), ..failed(1) };
    for (task, code) in [(long_ago, "too-old"), (to_come, "too-old"), (failed(1), "retry-due")] {
        let mut scene = Scene::new();
        scene.clock_offset = Some(jiff::SignedDuration::from_hours(24 * 40));
        assert_eq!(scene.code(std::slice::from_ref(&task)), "backoff");
        scene.pass(2 * MINUTE);
        assert_eq!(scene.code(std::slice::from_ref(&task)), "clock-off");
        scene.clock_offset = Some(jiff::SignedDuration::ZERO);
        let decision = scene.read(std::slice::from_ref(&task));
        assert_eq!(scene.count("age-judged"), 1);
        if code == "too-old" {
            assert_eq!(decision.reason.code(), code);
        } else {
            assert_eq!(decision.reason.code(), "was-blocked", "what the clock held back waits once more");
        }
        scene.read(&[task]);
        assert_eq!(scene.count("age-judged"), 1, "once");
    }
}

#[test]
fn a_failure_in_the_future_is_told_as_one() {
    let mut scene = Scene::new();
    let to_come = Task { end_time: Some("2026-02-01T00:00:00".parse().unwrap()), ..failed(1) };
    let said = scene.read(&[to_come]).reason.to_string();
    assert!(said.contains("lies in the future") && !said.contains("more than"), "{said}");
    let mut scene = Scene::new();
    let long_ago = Task { end_time: Some("2025-12-01T00:00:00".parse().unwrap()), ..failed(1) };
    let said = scene.read(&[long_ago]).reason.to_string();
    assert!(!said.contains("future") && said.contains("more than"), "{said}");
}

#[test]
fn nothing_is_sent_on_lists_that_took_long_to_arrive() {
    let mut scene = Scene::new();
    scene.read(&[failed(1)]);
    scene.pass(2 * MINUTE);
    let asked = scene.now;
    for (took, code) in [(Duration::from_secs(5), "retry-due"), (Duration::from_millis(5_001), "slow-poll")] {
        scene.now = asked.after(took);
        let list = TaskList { tasks: vec![failed(1)], unusable: 0, total_size: Some(1) };
        let reading = Reading::new(asked, scene.now, [list, TaskList::default()]);
        let decision = scene.judge(&reading, |state, input| step(state, input, scene.now)).decision;
        assert_eq!(decision.reason.code(), code, "{took:?}");
        assert_eq!(decision.next_poll, scene.poll.settle_interval, "and no sooner");
    }
}

#[test]
fn of_two_answers_about_one_task_the_one_that_allows_less_counts() {
    let at = Scene::new().now;
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
    let unpolled = |before: &dyn Fn(&mut Scene)| {
        let mut scene = Scene::new();
        scene.read(&[failed(1)]);
        before(&mut scene);
        scene.polled = Some(scene.now);
        scene.pass(60 * MINUTE);
        scene.read(&[failed(1)]);
        scene.count("unpolled")
    };
    let id = TaskId::new("t").unwrap();
    assert_eq!(unpolled(&|_| {}), 1);
    let blocked = |scene: &mut Scene| {
        scene.terms = None;
        scene.read(&[failed(1)]);
    };
    assert_eq!(unpolled(&blocked), 0, "it waits once more anyway when what blocks it ends");
    assert_eq!(unpolled(&|scene| scene.record(&id, Event::Escalated { reason: Reason::NoPolicy })), 0);
    assert_eq!(unpolled(&|scene| scene.record(&id, Event::Ended(Outcome::Aborted))), 0);
    let mut old = Scene::new();
    let long_ago = Task { end_time: Some("2025-12-01T00:00:00".parse().unwrap()), ..failed(1) };
    old.read(std::slice::from_ref(&long_ago));
    old.polled = Some(old.now);
    old.pass(60 * MINUTE);
    assert_eq!(old.code(&[long_ago]), "too-old");
    assert_eq!(old.count("unpolled"), 0);
}

#[test]
fn that_an_ended_task_runs_again_is_journaled_once_and_nothing_else_of_it() {
    let mut scene = Scene::new();
    let older = named("o", "2026-01-01T00:00:00", failed(1));
    scene.read(std::slice::from_ref(&older));
    scene.read(&older_and_newer(failed(1)));
    assert_eq!(scene.count("ended"), 1, "superseded");
    scene.read(&older_and_newer(failed(2)));
    scene.read(&older_and_newer(success(2)));
    assert_eq!(scene.count("running"), 0, "it did not run");
    for _ in 0..3 {
        scene.pass(MINUTE);
        scene.read(&older_and_newer(running(3)));
    }
    assert_eq!(scene.count("running"), 1);
}

#[test]
fn what_falls_due_at_the_very_moment_of_the_poll_was_not_overdue() {
    let mut scene = Scene::new();
    scene.terms.as_mut().unwrap().retry.initial_interval = 60 * MINUTE;
    scene.terms.as_mut().unwrap().retry.max_interval = 60 * MINUTE;
    scene.read(&[failed(1)]);
    scene.polled = Some(scene.now);
    scene.pass(60 * MINUTE);
    assert_eq!(scene.code(&[failed(1)]), "retry-due");
}
