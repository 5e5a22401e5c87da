//! Readings that show the past, found by walking every state (`tests/exhaustive`).

use super::*;

/// A human's retry has failed already and is shown after our PUT: ours still runs, and what is shown is not its end.
#[test]
fn no_abort_within_settle_timeout_of_our_last_put() {
    let mut scene = Scene::new();
    let terms = scene.terms.as_mut().unwrap();
    (terms.retry.max_retries, terms.abort_grace) = (1, MINUTE);
    scene.read(&[failed(1)]);
    scene.pass(2 * MINUTE);
    scene.send(&[failed(1)], Meaning::Accepted);
    let sent = scene.now;
    // The end of the other one's execution.
    scene.pass(Duration::from_secs(15));
    assert_eq!(scene.code(&[failed(2)]), "settling");
    scene.pass(Duration::from_secs(15));
    let decision = scene.read(&[failed(2)]);
    let until = sent.after(5 * MINUTE);
    let told = Reason::AbortPending {
        used: 1,
        external: 0,
        grace: MINUTE,
        after_put: Some(5 * MINUTE),
        until: until.wall,
    };
    assert_eq!((decision.verdict, decision.reason), (Verdict::Wait, told));
    let mut told = scene.told.len();
    while scene.now.after(Duration::from_secs(30)).mono < until.mono {
        scene.pass(Duration::from_secs(30));
        assert_eq!(scene.code(&[failed(2)]), "abort-pending");
        assert_eq!(std::mem::replace(&mut told, scene.told.len()), scene.told.len(), "it is told once");
    }
    scene.pass(until.since(scene.now));
    assert_eq!(scene.code(&[failed(2)]), "abort-due", "what is shown now is the end of ours too");
}

#[test]
fn a_grace_that_is_longer_is_what_an_abort_waits_for() {
    let mut scene = Scene::new();
    scene.terms.as_mut().unwrap().retry.max_retries = 1;
    scene.read(&[failed(1)]);
    scene.pass(2 * MINUTE);
    scene.send(&[failed(1)], Meaning::Accepted);
    scene.pass(MINUTE);
    scene.read(&[failed(2)]);
    scene.pass(Duration::from_secs(15));
    let reason = scene.read(&[failed(2)]).reason;
    let until = scene.now.after(15 * MINUTE).wall;
    let told = Reason::AbortPending { used: 1, external: 0, grace: 15 * MINUTE, after_put: None, until };
    assert_eq!(reason, told);
}

#[test]
fn where_both_waits_end_at_the_same_moment_the_grace_alone_is_told() {
    let mut scene = Scene::new();
    let terms = scene.terms.as_mut().unwrap();
    (terms.retry.max_retries, terms.abort_grace) = (1, MINUTE);
    scene.read(&[failed(1)]);
    scene.pass(2 * MINUTE);
    scene.send(&[failed(1)], Meaning::Accepted);
    let until = scene.now.after(5 * MINUTE).wall;
    scene.pass(3 * MINUTE);
    scene.read(&[failed(2)]);
    scene.pass(MINUTE);
    let told = Reason::AbortPending { used: 1, external: 0, grace: MINUTE, after_put: None, until };
    assert_eq!(scene.read(&[failed(2)]).reason, told);
}

#[test]
fn a_completed_node_that_is_missing_from_the_last_answer_forbids_the_abort_all_the_same() {
    let mut scene = Scene::new();
    scene.terms.as_mut().unwrap().retry.max_retries = 0;
    scene.terms.as_mut().unwrap().abort_grace = MINUTE;
    scene.read(&[with_nodes(running(1), &["a"])]);
    scene.pass(MINUTE);
    let decision = scene.read(&[failed(1)]);
    assert_eq!((decision.verdict, decision.reason.code()), (Verdict::Escalate, "node-completed"));
}

#[test]
fn an_older_answer_is_nothing_to_compare_later_ones_with() {
    let mut scene = Scene::new();
    scene.read(&[with_nodes(failed(1), &["a"])]);
    scene.pass(2 * MINUTE);
    assert_eq!(scene.code(&[failed(1)]), "stale-reading", "the node is not undone");
    scene.pass(Duration::from_secs(15));
    scene.send(&[with_nodes(failed(1), &["a"])], Meaning::Unknown);
    for _ in 0..2 {
        scene.pass(5 * MINUTE);
        scene.read(&[with_nodes(failed(1), &["a"])]);
    }
    assert_eq!(scene.known().used.ours, 0, "the PUT never arrived: nothing has changed since");
}

#[test]
fn a_failure_of_an_execution_before_the_first_sight_counts_no_retry_twice() {
    let mut scene = Scene::new();
    scene.read(&[running(2)]);
    scene.pass(MINUTE);
    assert_eq!(scene.code(&[failed(1)]), "stale-reading");
    scene.pass(MINUTE);
    scene.read(&[running(2)]);
    scene.pass(MINUTE);
    assert_eq!(scene.code(&[failed(2)]), "backoff");
    assert_eq!(scene.known().used.external, 1, "one retry, by others");
    // What goes on being shown is the present.
    let mut scene = Scene::new();
    scene.read(&[running(2)]);
    scene.pass(5 * MINUTE);
    assert_eq!(scene.code(&[failed(1)]), "backoff");
}
