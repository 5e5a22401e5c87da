//! Readings that show the past, found by walking every state (`tests/core/exhaustive`).

use super::*;

/// An operator's retry has failed already and is shown after our PUT: ours still runs, and what is shown is not its end.
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
    assert_eq!(scene.code(&[failed(2)]), "outcome-unknown");
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
    assert_eq!(scene.code(&[failed(1)]), "stale-poll", "the node is not undone");
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
    assert_eq!(scene.code(&[failed(1)]), "stale-poll");
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

#[test]
fn an_older_execution_shown_after_a_later_one_counts_no_retry_twice() {
    let mut scene = Scene::new();
    scene.read(&[failed(2)]);
    for past in [failed(1), running(2)] {
        scene.pass(Duration::from_secs(15));
        scene.read(&[past]);
    }
    scene.pass(6 * MINUTE);
    scene.read(&[failed(2)]);
    assert_eq!(scene.known().used.external, 1, "one retry, by others");
}

#[test]
fn a_completed_node_that_was_read_while_a_put_was_settled_forbids_the_abort() {
    let mut scene = Scene::new();
    scene.terms.as_mut().unwrap().retry.max_retries = 1;
    scene.read(&[failed(1)]);
    scene.pass(2 * MINUTE);
    scene.send(&[failed(1)], Meaning::Accepted);
    scene.pass(Duration::from_secs(15));
    assert_eq!(scene.code(&[with_nodes(failed(2), &["a"])]), "outcome-unknown");
    scene.terms.as_mut().unwrap().retry.max_retries = 0;
    scene.pass(Duration::from_secs(15));
    assert_eq!(scene.code(&[failed(2)]), "node-completed");
}

#[test]
fn what_a_termination_just_before_our_put_left_is_not_the_end_of_ours() {
    let terminated = Task { whole: Some("{\"terminated\":\"1\"}".to_owned()), ..failed(1) };
    let mut scene = Scene::new();
    scene.read(&[failed(1)]);
    scene.pass(2 * MINUTE);
    scene.send(&[failed(1)], Meaning::Accepted);
    // From before the failure, and from before the PUT.
    scene.pass(Duration::from_secs(15));
    assert_eq!(scene.code(&[running(1)]), "running");
    for _ in 0..2 {
        scene.pass(Duration::from_secs(15));
        assert_eq!(scene.code(std::slice::from_ref(&terminated)), "outcome-unknown");
    }
    scene.pass(MINUTE);
    scene.read(&[running(2)]);
    scene.pass(MINUTE);
    scene.read(&[running(2)]);
    assert_eq!((scene.known().used.ours, scene.known().used.external), (1, 0));
}

#[test]
fn once_a_later_execution_was_seen_running_an_earlier_failure_in_other_words_is_the_past() {
    let terminated = Task { whole: Some("{\"terminated\":\"1\"}".to_owned()), ..failed(1) };
    let mut scene = Scene::new();
    scene.read(&[failed(1)]);
    scene.pass(2 * MINUTE);
    scene.send(&[failed(1)], Meaning::Accepted);
    for past_and_present in [running(1), running(2)] {
        scene.pass(Duration::from_secs(15));
        assert_eq!(scene.code(&[past_and_present]), "running");
    }
    assert!(scene.known().open.is_none(), "two RUNNING readings settle it");
    scene.pass(Duration::from_secs(15));
    assert_eq!(scene.code(&[terminated]), "stale-poll");
    scene.pass(Duration::from_secs(15));
    assert_eq!(scene.code(&[failed(2)]), "backoff");
    assert_eq!((scene.known().used.ours, scene.known().used.external), (1, 0));
}

#[test]
fn an_earlier_failure_shown_soon_after_success_is_the_past() {
    let mut scene = Scene::new();
    scene.read(&[failed(1)]);
    scene.pass(2 * MINUTE);
    scene.send(&[failed(1)], Meaning::Unknown);
    scene.pass(4 * MINUTE);
    scene.read(&[running(2)]);
    scene.pass(Duration::from_secs(15));
    scene.read(&[success(2)]);
    assert_eq!(scene.known().closed.map(|(closing, _)| closing), Some(Outcome::ResolvedByRetry));
    scene.pass(Duration::from_secs(15));
    assert_eq!(scene.code(&[failed(1)]), "stale-poll");
    // What goes on being shown is the present.
    scene.pass(5 * MINUTE);
    assert_eq!(scene.code(&[failed(1)]), "backoff");
}

#[test]
fn two_running_readings_from_before_the_failure_do_not_make_a_termination_the_end_of_ours() {
    let terminated = Task { whole: Some("{\"terminated\":\"1\"}".to_owned()), ..failed(1) };
    let mut scene = Scene::new();
    scene.read(&[failed(1)]);
    scene.pass(2 * MINUTE);
    scene.send(&[failed(1)], Meaning::Accepted);
    for _ in 0..2 {
        scene.pass(Duration::from_secs(15));
        assert_eq!(scene.code(&[running(1)]), "running");
    }
    scene.pass(Duration::from_secs(15));
    assert_eq!(scene.code(&[terminated]), "stale-poll");
    scene.pass(Duration::from_secs(15));
    scene.read(&[failed(2)]);
    assert_eq!((scene.known().used.ours, scene.known().used.external), (1, 0));
}

#[test]
fn a_completed_node_that_is_read_while_stale_readings_are_waited_out_forbids_the_abort() {
    let mut scene = Scene::new();
    let terms = scene.terms.as_mut().unwrap();
    (terms.retry.max_retries, terms.abort_grace) = (0, MINUTE);
    for task in [failed(1), running(1), with_nodes(failed(1), &["a"])] {
        scene.read(&[task]);
        scene.pass(Duration::from_secs(15));
    }
    scene.pass(6 * MINUTE);
    assert_eq!(scene.code(&[failed(1)]), "node-completed");
}
