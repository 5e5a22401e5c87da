//! Polls that show an old state, found by walking every state (`tests/core/exhaustive`).

use super::*;

/// An external retry has failed already and is shown after our PUT: ours still runs, and the shown
/// failure is not its end.
#[test]
fn no_abort_within_settle_timeout_of_our_last_put() {
    let mut harness = Harness::new();
    let terms = harness.terms.as_mut().unwrap();
    (terms.retry.max_retries, terms.abort_grace) = (1, MINUTE);
    harness.read(&[failed(1)]);
    harness.pass(2 * MINUTE);
    harness.send(&[failed(1)], Meaning::Accepted);
    let sent = harness.now;
    // The end of the external run.
    harness.pass(Duration::from_secs(15));
    assert_eq!(harness.code(&[failed(2)]), "outcome-unknown");
    harness.pass(Duration::from_secs(15));
    let decision = harness.read(&[failed(2)]);
    let until = sent.after(5 * MINUTE);
    let shown = Reason::AbortPending {
        used: 1,
        external: 0,
        grace: MINUTE,
        after_put: Some(5 * MINUTE),
        until: until.wall,
    };
    assert_eq!((decision.verdict, decision.reason), (Verdict::Wait, shown));
    let mut shown = harness.journaled.len();
    while harness.now.after(Duration::from_secs(30)).mono < until.mono {
        harness.pass(Duration::from_secs(30));
        assert_eq!(harness.code(&[failed(2)]), "abort-pending");
        assert_eq!(
            std::mem::replace(&mut shown, harness.journaled.len()),
            harness.journaled.len(),
            "it is shown once"
        );
    }
    harness.pass(until.since(harness.now));
    assert_eq!(harness.code(&[failed(2)]), "abort-due", "what is shown now is the end of ours too");
}

#[test]
fn a_grace_that_is_longer_is_what_an_abort_waits_for() {
    let mut harness = Harness::new();
    harness.terms.as_mut().unwrap().retry.max_retries = 1;
    harness.read(&[failed(1)]);
    harness.pass(2 * MINUTE);
    harness.send(&[failed(1)], Meaning::Accepted);
    harness.pass(MINUTE);
    harness.read(&[failed(2)]);
    harness.pass(Duration::from_secs(15));
    let reason = harness.read(&[failed(2)]).reason;
    let until = harness.now.after(15 * MINUTE).wall;
    let shown = Reason::AbortPending { used: 1, external: 0, grace: 15 * MINUTE, after_put: None, until };
    assert_eq!(reason, shown);
}

#[test]
fn where_both_waits_end_at_the_same_moment_the_grace_alone_is_told() {
    let mut harness = Harness::new();
    let terms = harness.terms.as_mut().unwrap();
    (terms.retry.max_retries, terms.abort_grace) = (1, MINUTE);
    harness.read(&[failed(1)]);
    harness.pass(2 * MINUTE);
    harness.send(&[failed(1)], Meaning::Accepted);
    let until = harness.now.after(5 * MINUTE).wall;
    harness.pass(3 * MINUTE);
    harness.read(&[failed(2)]);
    harness.pass(MINUTE);
    let shown = Reason::AbortPending { used: 1, external: 0, grace: MINUTE, after_put: None, until };
    assert_eq!(harness.read(&[failed(2)]).reason, shown);
}

#[test]
fn a_completed_node_that_is_missing_from_the_last_answer_forbids_the_abort_all_the_same() {
    let mut harness = Harness::new();
    harness.terms.as_mut().unwrap().retry.max_retries = 0;
    harness.terms.as_mut().unwrap().abort_grace = MINUTE;
    harness.read(&[with_nodes(running(1), &["a"])]);
    harness.pass(MINUTE);
    let decision = harness.read(&[failed(1)]);
    assert_eq!((decision.verdict, decision.reason.code()), (Verdict::Escalate, "node-completed"));
}

#[test]
fn an_older_answer_is_nothing_to_compare_later_ones_with() {
    let mut harness = Harness::new();
    harness.read(&[with_nodes(failed(1), &["a"])]);
    harness.pass(2 * MINUTE);
    assert_eq!(harness.code(&[failed(1)]), "stale-poll", "the node is not undone");
    harness.pass(Duration::from_secs(15));
    harness.send(&[with_nodes(failed(1), &["a"])], Meaning::Unknown);
    for _ in 0..2 {
        harness.pass(5 * MINUTE);
        harness.read(&[with_nodes(failed(1), &["a"])]);
    }
    assert_eq!(harness.known().used.ours, 0, "the PUT never arrived: nothing has changed since");
}

#[test]
fn a_failure_of_an_execution_before_the_first_sight_counts_no_retry_twice() {
    let mut harness = Harness::new();
    harness.read(&[running(2)]);
    harness.pass(MINUTE);
    assert_eq!(harness.code(&[failed(1)]), "stale-poll");
    harness.pass(MINUTE);
    harness.read(&[running(2)]);
    harness.pass(MINUTE);
    assert_eq!(harness.code(&[failed(2)]), "backoff");
    assert_eq!(harness.known().used.external, 1, "one retry, by others");
    // A state that stays is the present.
    let mut harness = Harness::new();
    harness.read(&[running(2)]);
    harness.pass(5 * MINUTE);
    assert_eq!(harness.code(&[failed(1)]), "backoff");
}

#[test]
fn an_older_execution_shown_after_a_later_one_counts_no_retry_twice() {
    let mut harness = Harness::new();
    harness.read(&[failed(2)]);
    for past in [failed(1), running(2)] {
        harness.pass(Duration::from_secs(15));
        harness.read(&[past]);
    }
    harness.pass(6 * MINUTE);
    harness.read(&[failed(2)]);
    assert_eq!(harness.known().used.external, 1, "one retry, by others");
}

#[test]
fn a_completed_node_that_was_read_while_a_put_was_settled_forbids_the_abort() {
    let mut harness = Harness::new();
    harness.terms.as_mut().unwrap().retry.max_retries = 1;
    harness.read(&[failed(1)]);
    harness.pass(2 * MINUTE);
    harness.send(&[failed(1)], Meaning::Accepted);
    harness.pass(Duration::from_secs(15));
    assert_eq!(harness.code(&[with_nodes(failed(2), &["a"])]), "outcome-unknown");
    harness.terms.as_mut().unwrap().retry.max_retries = 0;
    harness.pass(Duration::from_secs(15));
    assert_eq!(harness.code(&[failed(2)]), "node-completed");
}

#[test]
fn what_a_termination_just_before_our_put_left_is_not_the_end_of_ours() {
    let terminated = Task { whole: Some("{\"terminated\":\"1\"}".to_owned()), ..failed(1) };
    let mut harness = Harness::new();
    harness.read(&[failed(1)]);
    harness.pass(2 * MINUTE);
    harness.send(&[failed(1)], Meaning::Accepted);
    // From before the failure, and from before the PUT.
    harness.pass(Duration::from_secs(15));
    assert_eq!(harness.code(&[running(1)]), "running");
    for _ in 0..2 {
        harness.pass(Duration::from_secs(15));
        assert_eq!(harness.code(std::slice::from_ref(&terminated)), "outcome-unknown");
    }
    harness.pass(MINUTE);
    harness.read(&[running(2)]);
    harness.pass(MINUTE);
    harness.read(&[running(2)]);
    assert_eq!((harness.known().used.ours, harness.known().used.external), (1, 0));
}

#[test]
fn once_a_later_execution_was_seen_running_an_earlier_failure_in_other_words_is_the_past() {
    let terminated = Task { whole: Some("{\"terminated\":\"1\"}".to_owned()), ..failed(1) };
    let mut harness = Harness::new();
    harness.read(&[failed(1)]);
    harness.pass(2 * MINUTE);
    harness.send(&[failed(1)], Meaning::Accepted);
    for past_and_present in [running(1), running(2)] {
        harness.pass(Duration::from_secs(15));
        assert_eq!(harness.code(&[past_and_present]), "running");
    }
    assert!(harness.known().open.is_none(), "two polls with RUNNING confirm it");
    harness.pass(Duration::from_secs(15));
    assert_eq!(harness.code(&[terminated]), "stale-poll");
    harness.pass(Duration::from_secs(15));
    assert_eq!(harness.code(&[failed(2)]), "backoff");
    assert_eq!((harness.known().used.ours, harness.known().used.external), (1, 0));
}

#[test]
fn an_earlier_failure_shown_soon_after_success_is_the_past() {
    let mut harness = Harness::new();
    harness.read(&[failed(1)]);
    harness.pass(2 * MINUTE);
    harness.send(&[failed(1)], Meaning::Unknown);
    harness.pass(4 * MINUTE);
    harness.read(&[running(2)]);
    harness.pass(Duration::from_secs(15));
    harness.read(&[success(2)]);
    assert_eq!(harness.known().outcome().cloned(), Some(Outcome::ResolvedByRetry));
    harness.pass(Duration::from_secs(15));
    assert_eq!(harness.code(&[failed(1)]), "stale-poll");
    // A state that stays is the present.
    harness.pass(5 * MINUTE);
    assert_eq!(harness.code(&[failed(1)]), "backoff");
}

#[test]
fn two_running_readings_from_before_the_failure_do_not_make_a_termination_the_end_of_ours() {
    let terminated = Task { whole: Some("{\"terminated\":\"1\"}".to_owned()), ..failed(1) };
    let mut harness = Harness::new();
    harness.read(&[failed(1)]);
    harness.pass(2 * MINUTE);
    harness.send(&[failed(1)], Meaning::Accepted);
    for _ in 0..2 {
        harness.pass(Duration::from_secs(15));
        assert_eq!(harness.code(&[running(1)]), "running");
    }
    harness.pass(Duration::from_secs(15));
    assert_eq!(harness.code(&[terminated]), "stale-poll");
    harness.pass(Duration::from_secs(15));
    harness.read(&[failed(2)]);
    assert_eq!((harness.known().used.ours, harness.known().used.external), (1, 0));
}

#[test]
fn a_completed_node_that_is_read_while_stale_readings_are_waited_out_forbids_the_abort() {
    let mut harness = Harness::new();
    let terms = harness.terms.as_mut().unwrap();
    (terms.retry.max_retries, terms.abort_grace) = (0, MINUTE);
    for task in [failed(1), running(1), with_nodes(failed(1), &["a"])] {
        harness.read(&[task]);
        harness.pass(Duration::from_secs(15));
    }
    harness.pass(6 * MINUTE);
    assert_eq!(harness.code(&[failed(1)]), "node-completed");
}
