//! Which task is acted on: the newest, if that is certain.

use super::*;

#[test]
fn an_older_failed_task_below_a_newer_one_is_history() {
    let mut harness = Harness::new();
    let old = named("t", "2026-01-01T00:00:00", failed(1));
    let new = named("n", "2026-01-02T00:00:00", success(1));
    assert_eq!(harness.code(&[new.clone(), old.clone()]), "idle");
    assert_eq!(
        harness.code(std::slice::from_ref(&old)),
        "newest-missing",
        "also when the newer one is missing from an answer"
    );
    harness.pass(60 * MINUTE);
    assert_eq!(harness.code(&[old]), "newest-missing");
}

#[test]
fn a_newer_task_closes_a_failed_one() {
    let mut harness = Harness::new();
    let old = named("t", "2026-01-01T00:00:00", failed(1));
    harness.read(std::slice::from_ref(&old));
    harness.pass(2 * MINUTE);
    let new = named("n", "2026-01-02T00:00:00", running(1));
    assert_eq!(harness.code(&[new, old]), "running");
    assert!(matches!(harness.known().outcome(), Some(Outcome::Superseded { .. })));
}

#[test]
fn a_newer_task_closes_one_whose_attempt_nothing_can_settle() {
    // A retry, and an abort.
    for max_retries in [2, 0] {
        let mut harness = Harness::new();
        harness.terms.as_mut().unwrap().retry.max_retries = max_retries;
        let mute = Task { execute_times: None, end_time: None, whole: Some("{}".to_owned()), ..failed(1) };
        let old = named("t", "2026-01-01T00:00:00", mute);
        harness.read(&[Task { status: TaskStatus::Running, ..old.clone() }]);
        harness.read(std::slice::from_ref(&old));
        harness.pass(15 * MINUTE);
        harness.send(std::slice::from_ref(&old), Meaning::Unknown);
        let new = named("n", "2026-01-02T00:00:00", running(1));
        let both = [new, old];
        harness.pass(MINUTE);
        harness.read(&both);
        assert_eq!(harness.project_state.others_in_flight(&ClusterId::new("c-2").unwrap()), 1);
        assert!(!harness.known().is_ended(), "its effect may still be seen");
        harness.pass(65 * MINUTE);
        harness.read(&both);
        assert!(matches!(harness.known().outcome(), Some(Outcome::Superseded { .. })));
        assert_eq!(harness.project_state.others_in_flight(&ClusterId::new("c-2").unwrap()), 0);
    }
}

#[test]
fn a_task_below_one_that_vanished_is_history_too() {
    let mut harness = Harness::new();
    let old = named("t", "2026-01-01T00:00:00", failed(1));
    harness.read(std::slice::from_ref(&old));
    harness.pass(2 * MINUTE);
    harness.send(std::slice::from_ref(&old), Meaning::Unknown);
    // The newer one is polled while the request for the older one waits for its effect, and is gone
    // after that.
    let word = TaskStatus::Other("QUEUED".to_owned());
    let new = Task { status: word, ..named("n", "2026-01-02T00:00:00", failed(1)) };
    harness.read(&[new, old.clone()]);
    assert!(!harness.known().is_ended());
    harness.pass(66 * MINUTE);
    assert_eq!(harness.code(std::slice::from_ref(&old)), "newest-missing");
    harness.pass(MINUTE);
    assert_eq!(harness.code(&[old]), "newest-missing");
    assert!(matches!(harness.known().outcome(), Some(Outcome::Superseded { .. })));
    assert_eq!(harness.project_state.others_in_flight(&ClusterId::new("c-2").unwrap()), 0);
}

#[test]
fn nothing_is_acted_on_while_the_newest_task_is_uncertain() {
    let undated = Task { start_time: None, ..named("x", "2026-01-01T00:00:00", success(1)) };
    let rival = named("x", "2026-01-02T11:00:00", success(1));
    for (tasks, code) in [
        (vec![failed(1), undated], "order-unclear"),
        (vec![failed(1), rival], "order-unclear"),
        (vec![failed(1), named("x", "2025-01-01T00:00:00", running(1))], "running"),
    ] {
        let mut harness = Harness::new();
        harness.read(&[failed(1)]);
        harness.pass(2 * MINUTE);
        assert_eq!(harness.code(&tasks), code);
    }
    let mut harness = Harness::new();
    harness.read(&[failed(1)]);
    harness.pass(2 * MINUTE);
    let short = TaskList { tasks: vec![failed(1)], unusable: 0, total_size: Some(2) };
    assert_eq!(harness.read_lists(short).reason.code(), "list-incomplete");
}

#[test]
fn a_newer_task_closes_one_that_ran_and_shows_an_unknown_status() {
    let mut harness = Harness::new();
    let old = |task: Task| named("t", "2026-01-01T00:00:00", task);
    harness.read(&[old(failed(1))]);
    harness.pass(2 * MINUTE);
    harness.send(&[old(failed(1))], Meaning::Accepted);
    for _ in 0..2 {
        harness.pass(MINUTE);
        harness.read(&[old(running(2))]);
    }
    assert_eq!(harness.project_state.others_in_flight(&ClusterId::new("c-2").unwrap()), 1);
    let terminated = old(Task { status: TaskStatus::Other("TERMINATED".to_owned()), ..failed(2) });
    harness.pass(MINUTE);
    harness.read(&[named("n", "2026-01-02T00:00:00", success(1)), terminated]);
    assert_eq!(harness.project_state.others_in_flight(&ClusterId::new("c-2").unwrap()), 0);
    assert!(matches!(harness.known().outcome(), Some(Outcome::Superseded { .. })));
}

#[test]
fn an_unknown_status_is_left_alone() {
    let mut harness = Harness::new();
    harness.read(&[failed(1)]);
    harness.pass(2 * MINUTE);
    let odd = Task { status: TaskStatus::Other("TERMINATED".to_owned()), whole: None, ..failed(1) };
    assert_eq!(harness.code(&[odd]), "unknown-status");
}

#[test]
fn a_task_that_is_listed_twice_is_not_acted_on() {
    let mut harness = Harness::new();
    harness.read(&[failed(1)]);
    harness.pass(2 * MINUTE);
    let twice = [failed(1), named("t", "2026-01-01T00:00:00", failed(1))];
    assert_eq!(harness.code(&twice), "order-unclear");
}

#[test]
fn an_older_task_that_still_runs_is_not_superseded() {
    let mut harness = Harness::new();
    let old = named("t", "2026-01-01T00:00:00", running(1));
    let new = named("n", "2026-01-02T00:00:00", running(1));
    for _ in 0..3 {
        harness.read(&[new.clone(), old.clone()]);
        harness.pass(MINUTE);
    }
    assert!(!harness.known().is_ended());
}

#[test]
fn a_task_of_which_nobody_knows_when_it_began_is_not_superseded() {
    let mut harness = Harness::new();
    let undated = |task| Task { start_time: None, ..task };
    harness.read(&[undated(running(1))]);
    harness.pass(MINUTE);
    harness.read(&[named("n", "2026-01-02T00:00:00", running(1)), undated(failed(1))]);
    assert!(!harness.known().is_ended());
}
