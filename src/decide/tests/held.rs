//! Blocks by an operator and by the wall clock: holds and windows.

use super::*;
use crate::model::hold::{NewHold, Scope, StoredHold};
use crate::model::window::{Span, Window};

impl Harness {
    pub(super) fn hold(&mut self, scope: &str, minutes: Option<u64>) -> u64 {
        self.number += 1;
        let new = NewHold {
            at: self.now.wall,
            scope: Scope::try_from(scope.to_owned()).unwrap(),
            cluster_name: None,
            until: minutes.map(|minutes| self.now.after(Duration::from_mins(minutes)).wall),
            reason: "I am at it".to_owned(),
            by: "uid 7".to_owned(),
        };
        self.holds.place(StoredHold::new(self.number, new), self.now);
        self.number
    }

    /// A policy that acts from 22:00 to 06:00 UTC; the harness begins at noon.
    pub(super) fn at_night(&mut self) {
        let span = Span { days: [true; 7], from: 22 * 60, to: 6 * 60 };
        self.terms.as_mut().unwrap().window = Window::new("UTC", Some(&[span]), &[]);
    }
}

#[test]
fn a_hold_stops_a_retry_and_what_it_held_waits_once_more_after_it() {
    for scope in ["all", "project:p", "cluster:c-1"] {
        let mut harness = Harness::new();
        harness.read(&[failed(1)]);
        let hold = harness.hold(scope, None);
        harness.pass(2 * MINUTE);
        let decision = harness.read(&[failed(1)]);
        assert_eq!((decision.verdict, decision.reason.code()), (Verdict::Blocked, "on-hold"), "{scope}");
        let said = decision.reason.to_string();
        assert!(said.contains("uid 7") && said.contains("I am at it") && said.contains(scope), "{said}");
        harness.pass(300 * MINUTE);
        assert_eq!(harness.code(&[failed(1)]), "on-hold");
        harness.holds.release(&[hold], harness.now, "uid 7");
        assert_eq!(harness.code(&[failed(1)]), "was-blocked", "nothing overdue fires at once");
        harness.pass(2 * MINUTE);
        assert_eq!(harness.code(&[failed(1)]), "retry-due");
    }
}

#[test]
fn what_became_due_under_a_hold_that_nobody_looked_under_waits_once_more_too() {
    let mut harness = Harness::new();
    harness.read(&[failed(1)]);
    harness.pass(MINUTE);
    harness.hold("all", Some(30));
    // The API was unreachable, or the daemon was down.
    harness.pass(31 * MINUTE);
    assert_eq!(harness.code(&[failed(1)]), "was-blocked", "nothing overdue fires at once");
    harness.pass(MINUTE);
    assert_eq!(harness.code(&[failed(1)]), "retry-due", "an initial interval after the end of the hold");
}

#[test]
fn a_hold_that_ended_before_anything_was_due_delays_nothing() {
    let mut harness = Harness::new();
    harness.read(&[failed(1)]);
    harness.hold("all", Some(1));
    harness.pass(2 * MINUTE);
    assert_eq!(harness.code(&[failed(1)]), "retry-due");
}

#[test]
fn a_hold_of_something_else_holds_nothing() {
    let mut harness = Harness::new();
    harness.read(&[failed(1)]);
    harness.hold("project:other", None);
    harness.hold("cluster:c-2", None);
    harness.pass(2 * MINUTE);
    assert_eq!(harness.code(&[failed(1)]), "retry-due");
}

#[test]
fn a_hold_stops_a_pending_abort_and_its_grace_runs_on() {
    let mut harness = Harness::new();
    harness.terms.as_mut().unwrap().retry.max_retries = 0;
    assert_eq!(harness.code(&[failed(1)]), "abort-pending");
    harness.pass(5 * MINUTE);
    let hold = harness.hold("cluster:c-1", None);
    assert_eq!(harness.code(&[failed(1)]), "abort-pending", "exhaustion is shown, held or not");
    harness.pass(10 * MINUTE);
    assert_eq!(harness.code(&[failed(1)]), "on-hold", "the grace is over and the hold is not");
    harness.pass(60 * MINUTE);
    harness.holds.release(&[hold], harness.now, "uid 7");
    assert_eq!(harness.code(&[failed(1)]), "was-blocked");
    harness.pass(2 * MINUTE);
    assert_eq!(harness.code(&[failed(1)]), "abort-due");
}

#[test]
fn an_abort_waits_the_longer_of_its_rest_and_an_initial_interval_after_a_release() {
    for (released_after, due_after) in [(4, 15), (14, 16)] {
        let mut harness = Harness::new();
        harness.terms.as_mut().unwrap().retry.max_retries = 0;
        harness.read(&[failed(1)]);
        let hold = harness.hold("all", None);
        harness.pass(released_after * MINUTE);
        harness.read(&[failed(1)]);
        harness.holds.release(&[hold], harness.now, "uid 7");
        harness.pass(((due_after - released_after) * MINUTE).saturating_sub(Duration::from_millis(1)));
        assert_ne!(harness.code(&[failed(1)]), "abort-due");
        harness.pass(Duration::from_millis(1));
        assert_eq!(harness.code(&[failed(1)]), "abort-due", "released after {released_after} minutes");
    }
}

#[test]
fn a_hold_never_stops_the_settling() {
    let mut harness = Harness::new();
    harness.read(&[failed(1)]);
    harness.pass(2 * MINUTE);
    harness.send(&[failed(1)], Meaning::Accepted);
    harness.hold("all", None);
    for _ in 0..2 {
        harness.pass(Duration::from_secs(15));
        harness.read(&[running(2)]);
    }
    assert!(harness.known().open.is_none());
    assert_eq!(harness.known().used.ours, 1);
}

#[test]
fn time_under_a_hold_or_outside_a_window_is_no_waiting_that_ends_in_an_escalation() {
    let mut harness = Harness::new();
    harness.terms.as_mut().unwrap().retry.max_elapsed_time = Some(10 * MINUTE);
    harness.at_night();
    harness.read(&[failed(1)]);
    harness.pass(2 * MINUTE);
    assert_eq!(harness.code(&[failed(1)]), "window-closed");
    harness.pass(9 * 60 * MINUTE);
    assert_eq!(harness.code(&[failed(1)]), "window-closed");
    harness.pass(60 * MINUTE);
    assert_eq!(harness.code(&[failed(1)]), "was-blocked", "the window has opened, and there is no burst");
    harness.pass(2 * MINUTE);
    assert_eq!(harness.code(&[failed(1)]), "retry-due");
}

#[test]
fn a_closed_window_says_when_it_opens_and_holds_an_abort_too() {
    let mut harness = Harness::new();
    harness.at_night();
    harness.terms.as_mut().unwrap().retry.max_retries = 0;
    assert_eq!(harness.code(&[failed(1)]), "abort-pending");
    harness.pass(15 * MINUTE);
    let decision = harness.read(&[failed(1)]);
    let opens = "2026-01-02T22:00:00Z".parse().unwrap();
    assert_eq!(decision.reason, Reason::WindowClosed { opens: Some(opens) });
    assert_eq!(decision.verdict, Verdict::Blocked);
}

#[test]
fn whether_a_window_is_open_is_decided_at_the_moment_of_sending() {
    let mut harness = Harness::new();
    harness.at_night();
    harness.pass(17 * 60 * MINUTE + 57 * MINUTE);
    harness.read(&[failed(1)]);
    harness.pass(2 * MINUTE);
    assert_eq!(harness.code(&[failed(1)]), "retry-due", "a minute before it closes");
    harness.pass(MINUTE);
    assert_eq!(harness.code(&[failed(1)]), "window-closed");
}

#[test]
fn a_window_that_was_changed_is_another_policy_and_makes_no_abort_due() {
    let mut harness = Harness::new();
    harness.terms.as_mut().unwrap().retry.max_retries = 0;
    harness.read(&[failed(1)]);
    harness.terms.as_mut().unwrap().window = Window::new("UTC", None, &[]);
    harness.pass(15 * MINUTE);
    assert_eq!(harness.code(&[failed(1)]), "policy-changed");
}

#[test]
fn a_cluster_that_no_list_has_shown_since_the_start_is_read_and_nothing_is_sent_to_it() {
    let mut harness = Harness::new();
    harness.read(&[failed(1)]);
    harness.pass(10 * MINUTE);
    let listed = harness.listed.take();
    harness.terms = None;
    let shown = harness.journaled.len();
    let decision = harness.read(&[failed(1)]);
    assert_eq!((decision.verdict, decision.reason.code()), (Verdict::Wait, "not-listed"));
    assert_eq!(decision.next_poll, harness.poll.active_interval);
    assert_eq!(harness.journaled.len(), shown, "nothing is journaled of what the next list ends");
    // The task is observed all the same.
    assert_eq!(harness.code(&[running(2)]), "running");
    harness.read(&[failed(2)]);
    assert_eq!(harness.known().failure.unwrap().seen.number, 2);
    harness.listed = listed;
    assert_eq!(harness.code(&[failed(2)]), "no-policy", "what the list shows decides");
}
