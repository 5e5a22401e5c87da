//! Retries: when they are due, and what uses them up.

use crate::model::cluster::Traits;

use super::*;

#[test]
fn a_failed_task_is_retried_after_its_backoff_and_not_before() {
    let mut scene = Scene::new();
    assert_eq!(scene.code(&[failed(1)]), "backoff");
    scene.pass((2 * MINUTE).checked_sub(Duration::from_millis(1)).unwrap());
    assert_eq!(scene.code(&[failed(1)]), "backoff");
    scene.pass(Duration::from_millis(1));
    let decision = scene.read(&[failed(1)]);
    assert_eq!(decision.reason.code(), "retry-due");
    assert_eq!(decision.verdict, Verdict::Act(Order::Retry(TaskId::new("t").unwrap())));
}

#[test]
fn a_retry_that_ends_in_success_is_a_remedy() {
    let mut scene = Scene::new();
    scene.read(&[failed(1)]);
    scene.pass(2 * MINUTE);
    scene.send(&[failed(1)], Meaning::Accepted);
    for _ in 0..3 {
        scene.pass(Duration::from_secs(15));
        assert_eq!(scene.code(&[running(2)]), "running");
    }
    assert!(scene.known().open.is_none(), "two RUNNING readings settle it");
    assert_eq!(scene.known().used.ours, 1);
    scene.pass(MINUTE);
    assert_eq!(scene.code(&[success(2)]), "idle");
    assert_eq!(scene.known().closed.map(|(closing, _)| closing), Some(Outcome::ResolvedByRetry));
}

#[test]
fn progress_gives_the_retries_back_and_flapping_does_not() {
    let mut scene = Scene::new();
    scene.terms.as_mut().unwrap().retry.max_retries = 1;
    scene.read(&[failed(1)]);
    scene.pass(2 * MINUTE);
    scene.send(&[failed(1)], Meaning::Accepted);
    for _ in 0..2 {
        scene.pass(Duration::from_secs(15));
        scene.read(&[running(2)]);
    }
    scene.pass(10 * MINUTE);
    assert_eq!(scene.code(&[with_nodes(failed(2), &["a"])]), "backoff", "a node was completed");
    scene.pass(2 * MINUTE);
    scene.send(&[with_nodes(failed(2), &["a"])], Meaning::Accepted);
    for _ in 0..2 {
        scene.pass(Duration::from_secs(15));
        scene.read(&[running(3)]);
    }
    scene.pass(10 * MINUTE);
    assert_eq!(
        scene.code(&[with_nodes(failed(3), &["a"])]),
        "node-completed",
        "the same node is no progress"
    );
}

#[test]
fn progress_gives_back_what_retries_of_others_used() {
    for seen_running in [true, false] {
        let mut scene = Scene::new();
        scene.terms.as_mut().unwrap().retry.max_retries = 1;
        scene.read(&[failed(1)]);
        scene.pass(MINUTE);
        if seen_running {
            scene.read(&[with_nodes(running(2), &["a"])]);
            scene.pass(MINUTE);
        }
        let decision = scene.read(&[with_nodes(failed(2), &["a"])]);
        assert!(matches!(decision.reason, Reason::Backoff { retry: 1, .. }), "{decision:?}");
        // One more of theirs without progress counts.
        scene.pass(MINUTE);
        assert_eq!(scene.code(&[with_nodes(failed(3), &["a"])]), "node-completed");
    }
}

#[test]
fn executions_before_the_journal_count_where_no_node_is_done() {
    let mut scene = Scene::new();
    let decision = scene.read(&[failed(2)]);
    assert!(matches!(decision.reason, Reason::Backoff { retry: 2, .. }), "{decision:?}");
    let mut scene = Scene::new();
    assert_eq!(
        scene.code(&[failed(3)]),
        "abort-pending",
        "used up, under the policy in force, with its grace"
    );
    let mut scene = Scene::new();
    let decision = scene.read(&[with_nodes(failed(3), &["a"])]);
    assert!(matches!(decision.reason, Reason::Backoff { retry: 1, .. }), "{decision:?}");
}

#[test]
fn a_retry_of_others_uses_one_up() {
    let mut scene = Scene::new();
    scene.read(&[failed(1)]);
    scene.pass(MINUTE);
    scene.read(&[running(2)]);
    scene.pass(10 * MINUTE);
    let decision = scene.read(&[failed(2)]);
    assert!(matches!(decision.reason, Reason::Backoff { retry: 2, .. }), "{decision:?}");
    assert_eq!(scene.known().used, crate::model::record::Used { ours: 0, external: 1 });
}

#[test]
fn a_number_of_executions_beyond_all_measure_keeps_nobody_busy() {
    let mut scene = Scene::new();
    let terms = scene.terms.as_mut().unwrap();
    terms.retry.max_retries = u32::MAX;
    terms.retry.multiplier = 1.0;
    assert_eq!(scene.code(&[failed(1)]), "backoff");
    let mut many = failed(1);
    many.execute_times = Some(4_000_000_000);
    let mut scene = Scene { project_state: ProjectState::default(), ..scene };
    let decision = scene.read(&[many]);
    assert!(matches!(decision.reason, Reason::Backoff { wait, .. } if wait == 2 * MINUTE), "{decision:?}");
}

#[test]
fn a_partial_failure_is_retried_where_allowed_and_never_aborted() {
    let partial = |n| Task { status: TaskStatus::PartialFailed, ..failed(n) };
    let mut scene = Scene::new();
    assert_eq!(scene.code(&[partial(1)]), "backoff");
    scene.terms.as_mut().unwrap().retry.retry_partial_failed = false;
    assert_eq!(scene.code(&[partial(1)]), "partial-failed");
    let mut scene = Scene::new();
    scene.terms.as_mut().unwrap().retry.max_retries = 0;
    assert_eq!(scene.code(&[partial(1)]), "partial-failed");
}

#[test]
fn a_failure_that_was_kept_in_doubt_and_is_journaled_again_counts_once() {
    let mut scene = Scene::new();
    scene.read(&[failed(1)]);
    scene.pass(MINUTE);
    // Somebody retried it; the journal keeps that twice, as after a flush that failed and was done all the same.
    scene.read(&[failed(2)]);
    let known = scene.known();
    let seen = known.failure.clone().unwrap().seen;
    assert_eq!((seen.external, known.used.external), (1, 1));
    scene.record(&TaskId::new("t").unwrap(), Event::Failed(Box::new(seen)));
    assert_eq!(scene.known().used, known.used);
    assert_eq!(scene.known().earlier, known.earlier);
}

#[test]
fn a_first_sight_that_was_kept_in_doubt_is_replaced_by_the_next() {
    let seen = |completed, external| Event::FirstSeen {
        kind: TaskKind::Upgrade,
        cluster_name: "logs".to_owned(),
        traits: Traits::default(),
        start_time: None,
        execute_times: Some(3),
        completed: Some(completed),
        external,
    };
    let mut scene = Scene::new();
    let task = TaskId::new("t").unwrap();
    scene.record(&task, seen(0, 2));
    scene.record(&task, seen(2, 0));
    assert_eq!((scene.known().most_completed, scene.known().used.external), (Some(2), 0));
    // Whose story has gone on keeps it.
    let mut scene = Scene::new();
    scene.read(&[failed(1)]);
    scene.pass(2 * MINUTE);
    scene.send(&[failed(1)], Meaning::Unknown);
    let known = scene.known();
    scene.record(&task, seen(0, 0));
    assert_eq!(scene.known().attempts, known.attempts);
    assert_eq!(scene.known().open, known.open);
}
