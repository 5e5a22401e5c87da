//! Which decisions are journaled.

use super::*;

impl Harness {
    /// The journaled decisions, and the escalations.
    fn decisions_told(&self) -> (usize, usize) {
        let count = |word| self.journaled.iter().filter(|shown| **shown == word).count();
        (count("decided"), count("escalated"))
    }
}

#[test]
fn a_decision_is_told_where_it_says_something_else_than_the_one_before() {
    let mut harness = Harness::new();
    for (execution, code, shown) in [
        (1, "backoff", 1),
        (1, "backoff", 1),
        (2, "backoff", 2),
        // Another reason to wait.
        (1, "stale-poll", 3),
        (1, "stale-poll", 3),
        (2, "backoff", 4),
        (2, "backoff", 4),
    ] {
        assert_eq!(harness.code(&[failed(execution)]), code);
        assert_eq!(harness.decisions_told(), (shown, 0));
        harness.pass(Duration::from_secs(1));
    }
}

#[test]
fn that_a_task_is_with_a_human_is_told_by_its_escalation_alone() {
    let mut harness = Harness::new();
    harness.terms.as_mut().unwrap().retry.max_retries = 0;
    harness.terms.as_mut().unwrap().on_exhausted = OnExhausted::Escalate;
    for code in ["retries-exhausted", "needs-operator", "needs-operator"] {
        assert_eq!(harness.code(&[failed(1)]), code);
        assert_eq!(harness.decisions_told(), (0, 1));
    }
}

#[test]
fn of_a_task_whose_story_has_ended_nothing_more_is_told() {
    let mut harness = Harness::new();
    harness.terms.as_mut().unwrap().retry.max_retries = 0;
    harness.read(&[failed(1)]);
    harness.pass(15 * MINUTE);
    harness.send(&[failed(1)], Meaning::Accepted);
    let shown = harness.decisions_told();
    for _ in 0..3 {
        assert_eq!(harness.code(&[failed(1)]), "aborted-by-us");
    }
    assert_eq!(harness.decisions_told(), shown);
}
