//! What holds a task back by an operator's word or by the clock on the wall: holds and windows.

use super::*;
use crate::model::hold::{NewHold, Scope, StoredHold};
use crate::model::window::{Span, Window};

impl Scene {
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

    /// A policy that acts from 22:00 to 06:00 UTC; the scene begins at noon.
    fn at_night(&mut self) {
        let span = Span { days: [true; 7], from: 22 * 60, to: 6 * 60 };
        self.terms.as_mut().unwrap().window = Window::new("UTC", Some(&[span]), &[]);
    }
}

#[test]
fn a_hold_stops_a_retry_and_what_it_held_waits_once_more_after_it() {
    for scope in ["all", "project:p", "cluster:c-1"] {
        let mut scene = Scene::new();
        scene.read(&[failed(1)]);
        let hold = scene.hold(scope, None);
        scene.pass(2 * MINUTE);
        let decision = scene.read(&[failed(1)]);
        assert_eq!((decision.verdict, decision.reason.code()), (Verdict::Blocked, "on-hold"), "{scope}");
        let said = decision.reason.to_string();
        assert!(said.contains("uid 7") && said.contains("I am at it") && said.contains(scope), "{said}");
        scene.pass(300 * MINUTE);
        assert_eq!(scene.code(&[failed(1)]), "on-hold");
        scene.holds.release(&[hold], scene.now, "uid 7");
        assert_eq!(scene.code(&[failed(1)]), "was-blocked", "nothing overdue fires at once");
        scene.pass(2 * MINUTE);
        assert_eq!(scene.code(&[failed(1)]), "retry-due");
    }
}

#[test]
fn what_became_due_under_a_hold_that_nobody_looked_under_waits_once_more_too() {
    let mut scene = Scene::new();
    scene.read(&[failed(1)]);
    scene.pass(MINUTE);
    scene.hold("all", Some(30));
    // The service could not be reached, or the daemon was down.
    scene.pass(31 * MINUTE);
    assert_eq!(scene.code(&[failed(1)]), "was-blocked", "nothing overdue fires at once");
    scene.pass(MINUTE);
    assert_eq!(scene.code(&[failed(1)]), "retry-due", "an initial interval after the end of the hold");
}

#[test]
fn a_hold_that_ended_before_anything_was_due_delays_nothing() {
    let mut scene = Scene::new();
    scene.read(&[failed(1)]);
    scene.hold("all", Some(1));
    scene.pass(2 * MINUTE);
    assert_eq!(scene.code(&[failed(1)]), "retry-due");
}

#[test]
fn a_hold_of_something_else_holds_nothing() {
    let mut scene = Scene::new();
    scene.read(&[failed(1)]);
    scene.hold("project:other", None);
    scene.hold("cluster:c-2", None);
    scene.pass(2 * MINUTE);
    assert_eq!(scene.code(&[failed(1)]), "retry-due");
}

#[test]
fn a_hold_stops_a_pending_abort_and_its_grace_runs_on() {
    let mut scene = Scene::new();
    scene.terms.as_mut().unwrap().retry.max_retries = 0;
    assert_eq!(scene.code(&[failed(1)]), "abort-pending");
    scene.pass(5 * MINUTE);
    let hold = scene.hold("cluster:c-1", None);
    assert_eq!(scene.code(&[failed(1)]), "abort-pending", "exhaustion is told, held or not");
    scene.pass(10 * MINUTE);
    assert_eq!(scene.code(&[failed(1)]), "on-hold", "the grace is over and the hold is not");
    scene.pass(60 * MINUTE);
    scene.holds.release(&[hold], scene.now, "uid 7");
    assert_eq!(scene.code(&[failed(1)]), "was-blocked");
    scene.pass(2 * MINUTE);
    assert_eq!(scene.code(&[failed(1)]), "abort-due");
}

#[test]
fn an_abort_waits_the_longer_of_its_rest_and_an_initial_interval_after_a_release() {
    for (released_after, due_after) in [(4, 15), (14, 16)] {
        let mut scene = Scene::new();
        scene.terms.as_mut().unwrap().retry.max_retries = 0;
        scene.read(&[failed(1)]);
        let hold = scene.hold("all", None);
        scene.pass(released_after * MINUTE);
        scene.read(&[failed(1)]);
        scene.holds.release(&[hold], scene.now, "uid 7");
        scene.pass(((due_after - released_after) * MINUTE).saturating_sub(Duration::from_millis(1)));
        assert_ne!(scene.code(&[failed(1)]), "abort-due");
        scene.pass(Duration::from_millis(1));
        assert_eq!(scene.code(&[failed(1)]), "abort-due", "released after {released_after} minutes");
    }
}

#[test]
fn a_hold_never_stops_the_settling() {
    let mut scene = Scene::new();
    scene.read(&[failed(1)]);
    scene.pass(2 * MINUTE);
    scene.send(&[failed(1)], Meaning::Accepted);
    scene.hold("all", None);
    for _ in 0..2 {
        scene.pass(Duration::from_secs(15));
        scene.read(&[running(2)]);
    }
    assert!(scene.known().open.is_none());
    assert_eq!(scene.known().used.ours, 1);
}

#[test]
fn time_under_a_hold_or_outside_a_window_is_no_waiting_that_ends_in_an_escalation() {
    let mut scene = Scene::new();
    scene.terms.as_mut().unwrap().retry.max_elapsed_time = Some(10 * MINUTE);
    scene.at_night();
    scene.read(&[failed(1)]);
    scene.pass(2 * MINUTE);
    assert_eq!(scene.code(&[failed(1)]), "window-closed");
    scene.pass(9 * 60 * MINUTE);
    assert_eq!(scene.code(&[failed(1)]), "window-closed");
    scene.pass(60 * MINUTE);
    assert_eq!(scene.code(&[failed(1)]), "was-blocked", "the window has opened, and there is no burst");
    scene.pass(2 * MINUTE);
    assert_eq!(scene.code(&[failed(1)]), "retry-due");
}

#[test]
fn a_closed_window_says_when_it_opens_and_holds_an_abort_too() {
    let mut scene = Scene::new();
    scene.at_night();
    scene.terms.as_mut().unwrap().retry.max_retries = 0;
    assert_eq!(scene.code(&[failed(1)]), "abort-pending");
    scene.pass(15 * MINUTE);
    let decision = scene.read(&[failed(1)]);
    let opens = "2026-01-02T22:00:00Z".parse().unwrap();
    assert_eq!(decision.reason, Reason::WindowClosed { opens: Some(opens) });
    assert_eq!(decision.verdict, Verdict::Blocked);
}

#[test]
fn whether_a_window_is_open_is_decided_at_the_moment_of_sending() {
    let mut scene = Scene::new();
    scene.at_night();
    scene.pass(17 * 60 * MINUTE + 57 * MINUTE);
    scene.read(&[failed(1)]);
    scene.pass(2 * MINUTE);
    assert_eq!(scene.code(&[failed(1)]), "retry-due", "a minute before it closes");
    scene.pass(MINUTE);
    assert_eq!(scene.code(&[failed(1)]), "window-closed");
}

#[test]
fn a_window_that_was_changed_is_another_policy_and_makes_no_abort_due() {
    let mut scene = Scene::new();
    scene.terms.as_mut().unwrap().retry.max_retries = 0;
    scene.read(&[failed(1)]);
    scene.terms.as_mut().unwrap().window = Window::new("UTC", None, &[]);
    scene.pass(15 * MINUTE);
    assert_eq!(scene.code(&[failed(1)]), "policy-changed");
}

#[test]
fn a_cluster_that_no_list_has_shown_since_the_start_is_read_and_nothing_is_sent_to_it() {
    let mut scene = Scene::new();
    scene.read(&[failed(1)]);
    scene.pass(10 * MINUTE);
    let listed = scene.listed.take();
    scene.terms = None;
    let told = scene.told.len();
    let decision = scene.read(&[failed(1)]);
    assert_eq!((decision.verdict, decision.reason.code()), (Verdict::Wait, "not-listed"));
    assert_eq!(decision.next_poll, scene.poll.active_interval);
    assert_eq!(scene.told.len(), told, "nothing is journaled of what the next list ends");
    // It is observed all the same.
    assert_eq!(scene.code(&[running(2)]), "running");
    scene.read(&[failed(2)]);
    assert_eq!(scene.known().failure.unwrap().seen.number, 2);
    scene.listed = listed;
    assert_eq!(scene.code(&[failed(2)]), "no-policy", "what the list shows decides");
}
