//! Retries: when they are due, and what counts against the limit.

use crate::model::cluster::Traits;

use super::*;
use crate::model::setup::Nodes;

#[test]
fn a_failed_task_is_retried_after_its_backoff_and_not_before() {
    let mut harness = Harness::new();
    assert_eq!(harness.code(&[failed(1)]), "backoff");
    harness.pass((2 * MINUTE).checked_sub(Duration::from_millis(1)).unwrap());
    assert_eq!(harness.code(&[failed(1)]), "backoff");
    harness.pass(Duration::from_millis(1));
    let decision = harness.read(&[failed(1)]);
    assert_eq!(decision.reason.code(), "retry-due");
    assert_eq!(decision.verdict, Verdict::Act(Order::Retry(TaskId::new("t").unwrap())));
}

#[test]
fn a_retry_that_ends_in_success_is_a_remedy() {
    let mut harness = Harness::new();
    harness.read(&[failed(1)]);
    harness.pass(2 * MINUTE);
    harness.send(&[failed(1)], Meaning::Accepted);
    for _ in 0..3 {
        harness.pass(Duration::from_secs(15));
        assert_eq!(harness.code(&[running(2)]), "running");
    }
    assert!(harness.known().open.is_none(), "two polls with RUNNING confirm it");
    assert_eq!(harness.known().used.ours, 1);
    harness.pass(MINUTE);
    assert_eq!(harness.code(&[success(2)]), "idle");
    assert_eq!(harness.known().outcome().cloned(), Some(Outcome::ResolvedByRetry));
}

#[test]
fn progress_gives_the_retries_back_and_flapping_does_not() {
    let mut harness = Harness::new();
    harness.terms.as_mut().unwrap().retry.max_retries = 1;
    harness.read(&[failed(1)]);
    harness.pass(2 * MINUTE);
    harness.send(&[failed(1)], Meaning::Accepted);
    for _ in 0..2 {
        harness.pass(Duration::from_secs(15));
        harness.read(&[running(2)]);
    }
    harness.pass(10 * MINUTE);
    assert_eq!(harness.code(&[with_nodes(failed(2), &["a"])]), "backoff", "a node was completed");
    harness.pass(2 * MINUTE);
    harness.send(&[with_nodes(failed(2), &["a"])], Meaning::Accepted);
    for _ in 0..2 {
        harness.pass(Duration::from_secs(15));
        harness.read(&[running(3)]);
    }
    harness.pass(10 * MINUTE);
    assert_eq!(
        harness.code(&[with_nodes(failed(3), &["a"])]),
        "node-completed",
        "the same node is no progress"
    );
}

#[test]
fn progress_gives_back_what_retries_of_others_used() {
    for seen_running in [true, false] {
        let mut harness = Harness::new();
        harness.terms.as_mut().unwrap().retry.max_retries = 1;
        harness.read(&[failed(1)]);
        harness.pass(MINUTE);
        if seen_running {
            harness.read(&[with_nodes(running(2), &["a"])]);
            harness.pass(MINUTE);
        }
        let decision = harness.read(&[with_nodes(failed(2), &["a"])]);
        assert!(matches!(decision.reason, Reason::Backoff { retry: 1, .. }), "{decision:?}");
        // One more external retry without progress counts.
        harness.pass(MINUTE);
        assert_eq!(harness.code(&[with_nodes(failed(3), &["a"])]), "node-completed");
    }
}

#[test]
fn executions_before_the_journal_count_where_no_node_is_done() {
    let mut harness = Harness::new();
    let decision = harness.read(&[failed(2)]);
    assert!(matches!(decision.reason, Reason::Backoff { retry: 2, .. }), "{decision:?}");
    let mut harness = Harness::new();
    assert_eq!(
        harness.code(&[failed(3)]),
        "abort-pending",
        "used up, under the policy in force, with its grace"
    );
    let mut harness = Harness::new();
    let decision = harness.read(&[with_nodes(failed(3), &["a"])]);
    assert!(matches!(decision.reason, Reason::Backoff { retry: 1, .. }), "{decision:?}");
}

#[test]
fn a_retry_of_others_uses_one_up() {
    let mut harness = Harness::new();
    harness.read(&[failed(1)]);
    harness.pass(MINUTE);
    harness.read(&[running(2)]);
    harness.pass(10 * MINUTE);
    let decision = harness.read(&[failed(2)]);
    assert!(matches!(decision.reason, Reason::Backoff { retry: 2, .. }), "{decision:?}");
    assert_eq!(harness.known().used, crate::model::record::Used { ours: 0, external: 1 });
}

#[test]
fn a_number_of_executions_beyond_all_measure_keeps_nobody_busy() {
    let mut harness = Harness::new();
    let terms = harness.terms.as_mut().unwrap();
    terms.retry.max_retries = u32::MAX;
    terms.retry.multiplier = 1.0;
    assert_eq!(harness.code(&[failed(1)]), "backoff");
    let mut many = failed(1);
    many.execute_times = Some(4_000_000_000);
    let mut harness = Harness { project_state: ProjectState::default(), ..harness };
    let decision = harness.read(&[many]);
    assert!(matches!(decision.reason, Reason::Backoff { wait, .. } if wait == 2 * MINUTE), "{decision:?}");
}

#[test]
fn a_partial_failure_is_retried_where_allowed_and_never_aborted() {
    let partial = |n| Task { status: TaskStatus::PartialFailed, ..failed(n) };
    let mut harness = Harness::new();
    assert_eq!(harness.code(&[partial(1)]), "backoff");
    harness.terms.as_mut().unwrap().retry.retry_partial_failed = false;
    assert_eq!(harness.code(&[partial(1)]), "partial-failed");
    let mut harness = Harness::new();
    harness.terms.as_mut().unwrap().retry.max_retries = 0;
    assert_eq!(harness.code(&[partial(1)]), "partial-failed");
}

#[test]
fn a_failure_that_was_kept_in_doubt_and_is_journaled_again_counts_once() {
    let mut harness = Harness::new();
    harness.read(&[failed(1)]);
    harness.pass(MINUTE);
    // An external retry that the journal has twice, as after a flush that reported an error but was
    // done.
    harness.read(&[failed(2)]);
    let known = harness.known();
    let seen = known.failure.clone().unwrap().seen;
    assert_eq!((seen.external, known.used.external), (1, 1));
    harness.record(&TaskId::new("t").unwrap(), Event::Failed(Box::new(seen)));
    assert_eq!(harness.known().used, known.used);
    assert_eq!(harness.known().earlier, known.earlier);
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
        setup: None,
        nodes: Nodes::default(),
    };
    let mut harness = Harness::new();
    let task = TaskId::new("t").unwrap();
    harness.record(&task, seen(0, 2));
    harness.record(&task, seen(2, 0));
    assert_eq!((harness.known().most_completed, harness.known().used.external), (Some(2), 0));
    // A task whose lifecycle has continued keeps it.
    let mut harness = Harness::new();
    harness.read(&[failed(1)]);
    harness.pass(2 * MINUTE);
    harness.send(&[failed(1)], Meaning::Unknown);
    let known = harness.known();
    harness.record(&task, seen(0, 0));
    assert_eq!(harness.known().attempts, known.attempts);
    assert_eq!(harness.known().open, known.open);
}
