//! What the faults that tests plant do: each one breaks its own rule and no other, or nothing is proved by finding it.

use super::*;
use crate::planted::plant;

/// The fault is planted while this lives.
struct Planted;

impl Planted {
    fn this(fault: &'static str) -> Self {
        plant(Some(fault));
        Self
    }
}

impl Drop for Planted {
    fn drop(&mut self) {
        plant(None);
    }
}

#[test]
fn the_hold_that_aborts_ignore_still_holds_retries() {
    for (max_retries, fault, code) in [
        (2, None, "on-hold"),
        (0, None, "on-hold"),
        (2, Some("hold-ignored-for-aborts"), "on-hold"),
        (0, Some("hold-ignored-for-aborts"), "abort-due"),
    ] {
        let mut harness = Harness::new();
        harness.terms.as_mut().unwrap().retry.max_retries = max_retries;
        harness.read(&[failed(1)]);
        harness.pass(15 * MINUTE);
        harness.hold("all", None);
        let _planted = fault.map(Planted::this);
        assert_eq!(harness.code(&[failed(1)]), code, "{fault:?}");
    }
}

#[test]
fn nodes_that_come_and_go_are_progress_when_they_go() {
    for (fault, expected) in [(None, 1), (Some("flapping-is-progress"), 2)] {
        let mut harness = Harness::new();
        let _planted = fault.map(Planted::this);
        harness.read(&[running(1)]);
        for nodes in [&["a"][..], &["a"], &[], &[]] {
            harness.pass(MINUTE);
            harness.read(&[if nodes.is_empty() { running(1) } else { with_nodes(running(1), nodes) }]);
        }
        assert_eq!(harness.told.iter().filter(|word| **word == "progress").count(), expected, "{fault:?}");
    }
}

#[test]
fn without_the_rule_of_the_newest_task_an_older_failure_is_acted_on() {
    let old = named("t", "2026-01-01T00:00:00", failed(1));
    let new = named("n", "2026-01-02T00:00:00", success(1));
    let tasks = [new, old];
    let mut harness = Harness::new();
    assert_eq!(harness.code(&tasks), "idle");
    let _planted = Planted::this("no-newest-task-rule");
    assert_eq!(harness.code(&tasks), "backoff");
    assert_eq!(harness.code(&tasks[..1]), "idle", "nothing failed");
}

#[test]
fn time_makes_an_abort_due() {
    let mut harness = Harness::new();
    harness.terms.as_mut().unwrap().retry.max_elapsed_time = Some(MINUTE);
    harness.terms.as_mut().unwrap().abort_grace = MINUTE;
    harness.read(&[failed(1)]);
    harness.pass(2 * MINUTE);
    let _planted = Planted::this("abort-by-elapsed-time");
    assert_eq!(harness.code(&[failed(1)]), "abort-pending");
}

#[test]
fn a_stale_failure_is_a_new_one() {
    let mut harness = Harness::new();
    harness.read(&[failed(1)]);
    harness.pass(MINUTE);
    harness.read(&[failed(2)]);
    let _planted = Planted::this("stale-failed-is-new");
    harness.pass(10 * MINUTE);
    let code = harness.code(&[failed(1)]);
    assert_eq!(code, "changed-externally", "the reading counts as one of the present");
}
