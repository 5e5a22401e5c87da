//! Sequences of a breaker: entries are folded in, and then its state is checked.

use std::time::Duration;

use crate::model::cluster::Traits;

use super::*;
use crate::model::answer::{Answer, Meaning};
use crate::model::decision::Action;
use crate::model::event::{Confirmation, Entry, FailureSeen, Outcome, Shape, Subject};
use crate::model::id::{AttemptId, ProjectName};
use crate::model::moment::Mono;
use crate::model::setup::{Nodes, Place};
use crate::model::task::{TaskKind, TaskStatus};

const MINUTE: Duration = Duration::from_mins(1);

struct Harness {
    now: Moment,
    project_state: ProjectState,
    breaker: Breaker,
    number: u64,
}

impl Harness {
    /// A breaker that opens at three failures.
    fn new() -> Self {
        let now = Moment { wall: "2026-01-02T12:00:00Z".parse().unwrap(), mono: Mono(0) };
        let breaker = Breaker { failures: 3, ..Breaker::default() };
        Self { now, project_state: ProjectState::default(), breaker, number: 0 }
    }

    fn pass(&mut self, wait: Duration) {
        self.now = self.now.after(wait);
    }

    fn record(&mut self, cluster: &str, event: Event) -> u64 {
        self.number += 1;
        let subject = Subject {
            project: ProjectName::new("p").unwrap(),
            cluster: ClusterId::new(cluster).unwrap(),
            task: TaskId::new(&format!("task-of-{cluster}")).unwrap(),
        };
        self.project_state.apply(&Entry { number: self.number, at: self.now, subject, event });
        self.number
    }

    fn fail(&mut self, cluster: &str, seen_to_happen: bool) {
        if self.project_state.cluster(&ClusterId::new(cluster).unwrap()).tasks.is_empty() {
            self.record(
                cluster,
                Event::FirstSeen {
                    kind: TaskKind::Upgrade,
                    cluster_name: cluster.to_owned(),
                    traits: Traits::default(),
                    start_time: None,
                    execute_times: Some(1),
                    completed: Some(0),
                    external: 0,
                    setup: None,
                    nodes: Nodes::default(),
                },
            );
        }
        let seen = FailureSeen {
            number: 1,
            status: TaskStatus::Failed,
            shape: Shape { execute_times: Some(1), end_time: None },
            seen_before: Duration::ZERO,
            whole: String::new(),
            completed: Some(0),
            total: 3,
            failing: String::new(),
            external: 0,
            too_old: false,
            age_unknown: false,
            seen_to_happen,
            terms: None,
            place: Place::default(),
        };
        self.record(cluster, Event::Failed(Box::new(seen)));
    }

    /// Journals the breaker's turn, if there is one, and returns its word.
    fn turn(&mut self) -> Option<&'static str> {
        let (event, of) = turn(&self.project_state, &self.breaker, self.now)?;
        let word = event.word();
        let cluster = of.map_or_else(|| "any".to_owned(), |(cluster, _)| cluster.to_string());
        self.record(&cluster, event);
        Some(word)
    }

    fn held(&self) -> Option<&'static str> {
        hold_back(&self.project_state, &self.breaker, self.now).map(|reason| reason.code())
    }

    fn send(&mut self, cluster: &str, action: Action, meaning: Option<Meaning>) -> AttemptId {
        let reason = Reason::StalePoll;
        let number = self.record(cluster, Event::Intent { action, failure: 1, waited: MINUTE, reason });
        let attempt = AttemptId(number);
        if let Some(meaning) = meaning {
            let (status, message) = (Some(200), String::new());
            let answer = Answer { meaning, status, code: None, message, request_id: None, retry_after: None };
            self.record(cluster, Event::Answered { attempt, answer });
        }
        attempt
    }

    /// Opened, and waiting for its probe.
    fn half_open() -> Self {
        let mut harness = Self::new();
        for cluster in ["a", "b", "c"] {
            harness.fail(cluster, true);
        }
        assert_eq!(harness.turn(), Some("breaker-opened"));
        harness.pass(30 * MINUTE);
        assert_eq!(harness.held(), None, "one PUT may try");
        harness
    }

    /// As a restart finds it.
    fn restart(&mut self) {
        self.project_state.wake(self.now);
    }
}

#[test]
fn it_opens_when_so_many_different_tasks_were_seen_to_fail_within_the_time() {
    let mut harness = Harness::new();
    harness.fail("a", true);
    harness.fail("a", true);
    harness.fail("b", true);
    assert_eq!((harness.turn(), harness.held()), (None, None), "two tasks, one of them twice");
    harness.pass(9 * MINUTE);
    harness.fail("c", true);
    assert_eq!(harness.held(), Some("breaker-open"), "nothing slips out before it is journaled");
    assert_eq!(harness.turn(), Some("breaker-opened"));
    assert_eq!(harness.turn(), None, "it tells once");
    harness.pass((30 * MINUTE).saturating_sub(Duration::from_millis(1)));
    assert_eq!(harness.held(), Some("breaker-open"));
}

#[test]
fn what_is_older_or_was_only_found_does_not_count() {
    let mut harness = Harness::new();
    harness.fail("a", true);
    harness.pass(11 * MINUTE);
    harness.fail("b", true);
    harness.fail("c", true);
    for found in ["d", "e", "f", "g"] {
        harness.fail(found, false);
    }
    assert_eq!((harness.turn(), harness.held()), (None, None));
}

#[test]
fn half_open_lets_one_put_through_and_the_others_wait_for_what_it_shows() {
    let mut harness = Harness::half_open();
    harness.send("a", Action::Retry, Some(Meaning::Accepted));
    assert_eq!((harness.turn(), harness.held()), (None, Some("breaker-probing")));
}

#[test]
fn it_closes_when_the_probe_completes_a_node_or_succeeds_and_counts_anew() {
    for event in [Event::Progress { completed: 1 }, Event::Ended(Outcome::ResolvedByRetry)] {
        let mut harness = Harness::half_open();
        let attempt = harness.send("a", Action::Retry, Some(Meaning::Accepted));
        harness.record("a", Event::Confirmed { attempt, settlement: Confirmation::Accepted });
        assert_eq!(harness.held(), Some("breaker-probing"), "accepted is not healed");
        harness.record("a", event);
        assert_eq!(harness.turn(), Some("breaker-closed"));
        assert_eq!(harness.held(), None);
        harness.fail("d", true);
        harness.fail("e", true);
        assert_eq!(harness.turn(), None, "closing empties the count");
    }
}

#[test]
fn it_closes_when_the_probe_still_runs_long_after_the_put() {
    let mut harness = Harness::half_open();
    harness.send("a", Action::Retry, Some(Meaning::Accepted));
    harness.record("a", Event::Running { execute_times: Some(2) });
    harness.pass(15 * MINUTE);
    assert_eq!(harness.turn(), None, "it was read running, but not at this time");
    let task = TaskId::new("task-of-a").unwrap();
    let record = std::sync::Arc::make_mut(
        harness.project_state.clusters.get_mut(&ClusterId::new("a").unwrap()).unwrap(),
    );
    record.tasks.get_mut(&task).unwrap().saw_running(harness.now);
    assert_eq!(harness.turn(), Some("breaker-closed"));
}

#[test]
fn it_opens_again_when_the_probe_fails_or_has_no_effect_or_its_outcome_is_unknown() {
    let mut harness = Harness::half_open();
    let attempt = harness.send("a", Action::Retry, Some(Meaning::Accepted));
    harness.record("a", Event::Confirmed { attempt, settlement: Confirmation::Accepted });
    harness.fail("a", true);
    assert_eq!((harness.turn(), harness.held()), (Some("breaker-opened"), Some("breaker-open")));

    let mut harness = Harness::half_open();
    let attempt = harness.send("a", Action::Retry, Some(Meaning::Accepted));
    harness.record("a", Event::Confirmed { attempt, settlement: Confirmation::WithoutEffect });
    assert_eq!(harness.turn(), Some("breaker-opened"));

    let mut harness = Harness::half_open();
    harness.send("a", Action::Retry, Some(Meaning::Unknown));
    assert_eq!(harness.turn(), Some("breaker-opened"));
    harness.pass(30 * MINUTE);
    assert_eq!(harness.held(), None, "and lets the next one through after its time");
}

#[test]
fn a_probe_that_a_crash_left_without_an_answer_opens_it_again() {
    let mut harness = Harness::half_open();
    harness.send("a", Action::Retry, None);
    assert_eq!(harness.turn(), None, "the answer may be under way");
    harness.restart();
    assert_eq!(harness.turn(), Some("breaker-opened"));
}

#[test]
fn a_probe_that_never_shows_anything_is_of_unknown_outcome_after_a_while() {
    // The task's cluster is unreachable, or its status unknown.
    for runs in [false, true] {
        let mut harness = Harness::half_open();
        let attempt = harness.send("a", Action::Retry, Some(Meaning::Accepted));
        harness.record("a", Event::Confirmed { attempt, settlement: Confirmation::Accepted });
        if runs {
            harness.pass(10 * MINUTE);
            harness.record("a", Event::Running { execute_times: Some(2) });
        }
        harness.pass((75 * MINUTE).saturating_sub(Duration::from_millis(1)));
        assert_eq!((harness.turn(), harness.held()), (None, Some("breaker-probing")), "it is waited for");
        harness.pass(Duration::from_millis(1));
        assert_eq!((harness.turn(), harness.held()), (Some("breaker-opened"), Some("breaker-open")));
        harness.pass(30 * MINUTE);
        assert_eq!(harness.held(), None, "another PUT may try");
    }
}

#[test]
fn a_put_that_shows_nothing_makes_room_for_another_one() {
    for (action, meaning) in [
        (Action::Retry, Meaning::Busy),
        (Action::Retry, Meaning::NotAcceptable),
        (Action::Retry, Meaning::ForbiddenCluster),
        (Action::Abort, Meaning::Accepted),
    ] {
        let mut harness = Harness::half_open();
        harness.send("a", action, Some(meaning));
        assert_eq!((harness.turn(), harness.held()), (None, Some("breaker-open")), "{action} {meaning:?}");
        harness.pass(Duration::from_secs(119));
        assert_eq!(harness.held(), Some("breaker-open"), "{action} {meaning:?}");
        harness.pass(Duration::from_secs(1));
        assert_eq!((harness.turn(), harness.held()), (None, None), "{action} {meaning:?}");
    }
    let mut harness = Harness::half_open();
    let attempt = harness.send("a", Action::Retry, Some(Meaning::Accepted));
    harness.record("a", Event::Confirmed { attempt, settlement: Confirmation::Accepted });
    harness.record("a", Event::Ended(Outcome::Gone));
    harness.pass(2 * MINUTE);
    assert_eq!(harness.held(), None, "a probe that is gone");
}

#[test]
fn a_probe_that_ran_before_a_restart_is_read_again_before_it_closes_anything() {
    let mut harness = Harness::half_open();
    let attempt = harness.send("a", Action::Retry, Some(Meaning::Accepted));
    harness.record("a", Event::Confirmed { attempt, settlement: Confirmation::Accepted });
    harness.pass(MINUTE);
    harness.record("a", Event::Running { execute_times: Some(2) });
    harness.pass(30 * MINUTE);
    harness.restart();
    assert_eq!((harness.turn(), harness.held()), (None, Some("breaker-probing")), "nothing was read yet");
    harness.fail("a", true);
    assert_eq!(harness.turn(), Some("breaker-opened"));
}

#[test]
fn a_restart_changes_nothing_about_it() {
    let mut harness = Harness::half_open();
    let attempt = harness.send("a", Action::Retry, Some(Meaning::Accepted));
    harness.record("a", Event::Confirmed { attempt, settlement: Confirmation::Accepted });
    let before = harness.project_state.breaker.clone();
    harness.restart();
    assert_eq!(harness.project_state.breaker, before);
    assert_eq!(harness.held(), Some("breaker-probing"));
}
