//! Aborts: what makes one due, and what never does.

use super::*;

#[test]
fn retries_used_up_with_no_node_done_end_in_an_abort_after_the_grace() {
    let mut harness = Harness::new();
    harness.terms.as_mut().unwrap().retry.max_retries = 0;
    assert_eq!(harness.code(&[failed(1)]), "abort-pending");
    harness.pass((15 * MINUTE).checked_sub(Duration::from_secs(1)).unwrap());
    assert_eq!(harness.code(&[failed(1)]), "abort-pending");
    harness.pass(Duration::from_secs(1));
    harness.send(&[failed(1)], Meaning::Accepted);
    for _ in 0..5 {
        harness.pass(60 * MINUTE);
        assert_eq!(harness.code(&[failed(1)]), "aborted-by-us");
    }
    harness.pass(MINUTE);
    assert_eq!(harness.code(&[failed(7)]), "aborted-by-us", "nothing reopens an aborted task");
}

#[test]
fn a_completed_or_unreadable_node_means_escalation_instead_of_an_abort() {
    let mut hinted = failed(1);
    hinted.steps[0].status = "SUCCESS".to_owned();
    let unreadable = Task { completed: CompletedNodes::Unreadable("null".to_owned()), ..failed(1) };
    for task in [with_nodes(failed(1), &["a"]), with_nodes(failed(1), &["stranger"]), unreadable, hinted] {
        let mut harness = Harness::new();
        harness.terms.as_mut().unwrap().retry.max_retries = 0;
        assert_eq!(harness.code(&[task]), "node-completed");
    }
}

#[test]
fn an_abort_of_unknown_outcome_is_never_sent_again() {
    let mut harness = Harness::new();
    harness.terms.as_mut().unwrap().retry.max_retries = 0;
    harness.read(&[failed(1)]);
    harness.pass(15 * MINUTE);
    harness.send(&[failed(1)], Meaning::Unknown);
    assert_eq!(harness.code(&[failed(1)]), "abort-unknown");
    for _ in 0..50 {
        harness.pass(30 * MINUTE);
        assert_eq!(harness.code(&[failed(1)]), "needs-operator");
    }
}

#[test]
fn a_change_of_policy_never_makes_an_abort_due() {
    let mut harness = Harness::new();
    harness.read(&[failed(1)]);
    harness.terms.as_mut().unwrap().retry.max_retries = 0;
    harness.pass(60 * MINUTE);
    assert_eq!(harness.code(&[failed(1)]), "policy-changed");
}

#[test]
fn time_never_makes_an_abort_due() {
    let mut harness = Harness::new();
    harness.terms.as_mut().unwrap().retry.max_elapsed_time = Some(MINUTE);
    harness.read(&[failed(1)]);
    harness.pass(2 * MINUTE);
    assert_eq!(harness.code(&[failed(1)]), "max-elapsed-time");
}

#[test]
fn an_abort_that_a_policy_took_back_begins_its_grace_anew() {
    let mut harness = Harness::new();
    harness.terms.as_mut().unwrap().retry.max_retries = 0;
    assert_eq!(harness.code(&[failed(1)]), "abort-pending");
    harness.pass(MINUTE);
    harness.terms.as_mut().unwrap().retry.max_retries = 5;
    assert_eq!(harness.code(&[failed(1)]), "backoff");
    harness.pass(20 * MINUTE);
    harness.terms.as_mut().unwrap().retry.max_retries = 0;
    assert_eq!(harness.code(&[failed(1)]), "abort-pending", "it is shown again, with time to say no");
    harness.pass(15 * MINUTE);
    assert_eq!(harness.code(&[failed(1)]), "abort-due");
}

#[test]
fn an_abort_of_unknown_outcome_is_a_humans_whatever_the_task_shows_next() {
    for next in [
        running(2),
        success(2),
        failed(2),
        Task { status: TaskStatus::from("ABORTED".to_owned()), ..failed(1) },
    ] {
        let mut harness = Harness::new();
        harness.terms.as_mut().unwrap().retry.max_retries = 0;
        harness.terms.as_mut().unwrap().abort_grace = Duration::ZERO;
        harness.read(&[failed(1)]);
        harness.pass(MINUTE);
        harness.send(&[failed(1)], Meaning::Unknown);
        harness.pass(MINUTE);
        let decision = harness.read(std::slice::from_ref(&next));
        let code = decision.reason.code();
        if next.status == TaskStatus::Success {
            assert_eq!(code, "idle", "its lifecycle is over");
        } else {
            assert_eq!((decision.verdict, code), (Verdict::Escalate, "abort-unknown"), "{:?}", next.status);
        }
        harness.pass(10 * MINUTE);
        assert!(!matches!(harness.read(&[failed(3)]).verdict, Verdict::Act(_)), "never sent again");
    }
}
