//! What the answers to a PUT lead to.

use super::*;

#[test]
fn a_busy_service_is_asked_again_after_the_same_interval_and_uses_no_retry() {
    let mut harness = Harness::new();
    harness.read(&[failed(1)]);
    harness.pass(2 * MINUTE);
    harness.send(&[failed(1)], Meaning::Busy);
    assert_eq!(harness.code(&[failed(1)]), "service-busy");
    harness.pass((2 * MINUTE).checked_sub(Duration::from_secs(1)).unwrap());
    assert_eq!(harness.code(&[failed(1)]), "service-busy");
    harness.pass(Duration::from_secs(1));
    assert_eq!(harness.code(&[failed(1)]), "retry-due");
    assert_eq!(harness.known().used.ours, 0);
    let mut rounds = 0;
    while harness.code(&[failed(1)]) == "retry-due" {
        harness.send(&[failed(1)], Meaning::Busy);
        harness.pass(2 * MINUTE);
        rounds += 1;
    }
    assert_eq!(harness.known().escalated.unwrap().reason.code(), "busy-too-long");
    assert_eq!(rounds, 24 * 30 - 1);
}

#[test]
fn a_busy_service_delays_an_abort_too() {
    let mut harness = Harness::new();
    harness.terms.as_mut().unwrap().retry.max_retries = 0;
    harness.read(&[failed(1)]);
    harness.pass(15 * MINUTE);
    harness.send(&[failed(1)], Meaning::Busy);
    assert_eq!(harness.code(&[failed(1)]), "service-busy");
    harness.pass(2 * MINUTE);
    assert_eq!(harness.code(&[failed(1)]), "abort-due");
}

#[test]
fn what_the_service_will_not_take_is_never_repeated() {
    let mut harness = Harness::new();
    harness.read(&[failed(1)]);
    harness.pass(2 * MINUTE);
    harness.send(&[failed(1)], Meaning::NotAcceptable);
    assert_eq!(harness.code(&[failed(1)]), "not-acceptable");
}

#[test]
fn a_project_that_was_refused_rests_and_then_sends_one_probe() {
    let mut harness = Harness::new();
    harness.read(&[failed(1)]);
    harness.pass(2 * MINUTE);
    harness.send(&[failed(1)], Meaning::ForbiddenProject);
    assert_eq!(harness.code(&[failed(1)]), "project-paused");
    harness.pass(30 * MINUTE);
    assert_eq!(harness.code(&[failed(1)]), "was-blocked", "nothing overdue fires at once");
    harness.pass(2 * MINUTE);
    harness.send(&[failed(1)], Meaning::ForbiddenProject);
    let pause = harness.project_state.pause.unwrap();
    assert_eq!(pause.until.since(harness.now), 60 * MINUTE, "the pause doubles");
    harness.read(&[failed(1)]);
    harness.pass(60 * MINUTE);
    harness.read(&[failed(1)]);
    harness.pass(2 * MINUTE);
    harness.send(&[failed(1)], Meaning::Accepted);
    assert!(harness.project_state.pause.is_none());
    assert_eq!(harness.known().retries_used(&terms()), 1, "refusals used none");
}

#[test]
fn one_code_for_gone_and_forbidden_is_told_apart_by_the_list_and_a_reading() {
    let mut harness = Harness::new();
    harness.read(&[failed(1)]);
    harness.pass(2 * MINUTE);
    harness.send(&[failed(1)], Meaning::GoneOrForbidden);
    harness.pass(Duration::from_secs(20));
    assert_eq!(harness.code(&[failed(1)]), "checking-if-gone", "the list was not read since");
    harness.listed = Some(harness.now);
    assert_eq!(harness.code(&[failed(1)]), "cluster-paused");

    let mut harness = Harness::new();
    harness.read(&[failed(1)]);
    harness.pass(2 * MINUTE);
    harness.send(&[failed(1)], Meaning::GoneOrForbidden);
    harness.read(&[]);
    harness.pass(a_moment_less_than(harness.poll.settle_interval));
    harness.read(&[]);
    assert!(!harness.known().is_ended(), "two readings of one reconcile are not enough");
    harness.pass(Duration::from_millis(1));
    harness.read(&[]);
    assert_eq!(harness.known().outcome().cloned(), Some(Outcome::Gone));
}

#[test]
fn a_probe_that_may_be_gone_lets_the_project_go_on_whatever_its_task_shows_next() {
    let unknown = Task { status: TaskStatus::Other("TERMINATED".to_owned()), ..failed(1) };
    for shown in [unknown, running(2)] {
        let mut harness = Harness::new();
        harness.read(&[failed(1)]);
        harness.pass(2 * MINUTE);
        harness.send(&[failed(1)], Meaning::ForbiddenProject);
        harness.read(&[failed(1)]);
        harness.pass(30 * MINUTE);
        harness.read(&[failed(1)]);
        harness.pass(2 * MINUTE);
        harness.send(&[failed(1)], Meaning::GoneOrForbidden);
        harness.read(std::slice::from_ref(&shown));
        assert!(harness.project_state.pause.unwrap().probe.is_some(), "gone, or forbidden");
        harness.pass(Duration::from_secs(20));
        harness.listed = Some(harness.now);
        harness.read(&[shown]);
        let pause = harness.project_state.pause.unwrap();
        assert!(pause.probe.is_none(), "it is still there, so another PUT may be the probe");
        assert_eq!(pause.until.since(harness.now), 60 * MINUTE, "and was forbidden");
    }
}
