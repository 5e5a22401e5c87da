//! A task that runs too long: journaled once for each stretch of RUNNING, and nothing else follows.

use super::*;
use crate::decide::expect::overdue;
use crate::model::event::TooLong;
use crate::model::record::Run;

const HOUR: Duration = Duration::from_hours(1);

impl Harness {
    fn times_too_long(&self) -> usize {
        self.journaled.iter().filter(|word| **word == "running-too-long").count()
    }

    /// The state of a process that starts now, from entries with wall time only.
    fn restart(&mut self) {
        self.project_state.wake(self.now);
    }
}

#[test]
fn it_is_told_once_when_it_takes_longer_than_its_nodes_explain() {
    let mut harness = Harness::new();
    harness.read(&[running(1)]);
    // 4 h and 15 min for each of three nodes; a node completes now and then.
    harness.pass(4 * HOUR + 45 * MINUTE);
    let one = with_nodes(running(1), &["a"]);
    harness.read(std::slice::from_ref(&one));
    assert_eq!(harness.times_too_long(), 0, "to the minute is still as expected");
    harness.pass(MINUTE);
    let decision = harness.read(std::slice::from_ref(&one));
    assert_eq!((harness.times_too_long(), decision.reason.code()), (1, "running"));
    assert_eq!(harness.known().runs_too_long().unwrap().mono, Mono(0));
    harness.restart();
    for _ in 0..50 {
        harness.pass(HOUR);
        assert_eq!(harness.code(std::slice::from_ref(&one)), "running");
    }
    assert_eq!(harness.times_too_long(), 1);
}

#[test]
fn it_is_told_when_no_node_completed_for_too_long() {
    let mut harness = Harness::new();
    harness.expect = Expect { allowance: 1000 * HOUR, ..Expect::default() };
    harness.read(&[running(1)]);
    harness.pass(11 * HOUR);
    harness.read(&[with_nodes(running(1), &["a"])]);
    harness.pass(12 * HOUR);
    harness.read(&[with_nodes(running(1), &["a"])]);
    assert_eq!(harness.times_too_long(), 0);
    // Flapping is no progress.
    harness.read(&[running(1)]);
    harness.pass(MINUTE);
    harness.read(&[with_nodes(running(1), &["a"])]);
    assert_eq!(harness.times_too_long(), 1);
}

#[test]
fn the_numbers_that_decided_are_told() {
    let run = Run { since: Harness::new().now, progress: Harness::new().now, too_long: None };
    let shown = |task: &Task, ran: Duration, expect: &Expect| {
        let policy = Policy { matches: Match::default(), terms: terms(), expect: expect.clone() };
        overdue(&policy, task, run, run.since.after(ran))
    };
    let by_default = Expect::default();
    let whole = TooLong::Whole { ran: 5 * HOUR, expected: 4 * HOUR + 45 * MINUTE };
    let event = Event::RunningTooLong {
        too_long: whole,
        policy: "standard".to_owned(),
        nodes: 3,
        completed: Some(0),
    };
    assert_eq!(shown(&running(1), 5 * HOUR, &by_default), Some(event));

    // Without a list of nodes the expected time is unknown.
    let unnamed = Task {
        total_nodes: BTreeSet::new(),
        completed: CompletedNodes::Unreadable("null".to_owned()),
        ..running(1)
    };
    assert_eq!(shown(&unnamed, 12 * HOUR, &by_default), None);
    let Some(Event::RunningTooLong { too_long, completed: None, nodes: 0, .. }) =
        shown(&unnamed, 13 * HOUR, &by_default)
    else {
        panic!("not shown")
    };
    assert_eq!(too_long, TooLong::NoProgress { without: 13 * HOUR, expected: 12 * HOUR });

    // The longest times that the configuration accepts work.
    let endless = Expect { per_node: Duration::MAX, allowance: Duration::MAX, no_progress: Duration::MAX };
    assert_eq!(shown(&running(1), 1_000_000 * HOUR, &endless), None);
}

#[test]
fn each_execution_is_judged_anew() {
    let mut harness = Harness::new();
    harness.read(&[running(1)]);
    harness.pass(5 * HOUR);
    harness.read(&[running(1)]);
    assert_eq!(harness.times_too_long(), 1);
    harness.pass(MINUTE);
    harness.read(&[failed(1)]);
    assert_eq!(harness.known().runs_too_long(), None);
    harness.pass(MINUTE);
    harness.read(&[running(2)]);
    harness.pass(4 * HOUR);
    harness.read(&[running(2)]);
    assert_eq!(harness.times_too_long(), 1, "the time of the first one does not count");
    harness.pass(HOUR);
    harness.read(&[running(2)]);
    assert_eq!(harness.times_too_long(), 2);
    harness.pass(MINUTE);
    harness.read(&[success(2)]);
    assert_eq!(harness.known().runs_too_long(), None);
    assert_eq!(harness.known().outcome().cloned(), Some(Outcome::ResolvedExternally));
}

#[test]
fn a_task_without_a_policy_is_not_judged() {
    let mut harness = Harness::new();
    harness.terms = None;
    harness.read(&[running(1)]);
    harness.pass(100 * HOUR);
    harness.read(&[running(1)]);
    assert_eq!(harness.times_too_long(), 0);
    // A policy covers it now: the event follows at once.
    harness.terms = Some(terms());
    harness.pass(MINUTE);
    harness.read(&[running(1)]);
    assert_eq!(harness.times_too_long(), 1);
}

/// The same lifecycle with and without it: every decision and every other event is the same.
#[test]
fn it_changes_no_decision() {
    let lifecycle = |expect: Expect| {
        let mut harness = Harness::new();
        harness.expect = expect;
        let mut decisions = vec![harness.read(&[running(1)])];
        harness.pass(13 * HOUR);
        decisions.push(harness.read(&[running(1)]));
        for execution in 1..=3 {
            harness.pass(MINUTE);
            decisions.push(harness.read(&[failed(execution)]));
            harness.pass(HOUR);
            let due = harness.read(&[failed(execution)]);
            let acts = matches!(due.verdict, Verdict::Act(_));
            decisions.push(due);
            if acts && execution < 3 {
                harness.send(&[failed(execution)], Meaning::Accepted);
                harness.pass(MINUTE);
                decisions.push(harness.read(&[running(execution + 1)]));
                harness.pass(13 * HOUR);
                decisions.push(harness.read(&[running(execution + 1)]));
            }
        }
        let shown: Vec<_> =
            harness.journaled.iter().filter(|word| **word != "running-too-long").copied().collect();
        (decisions, shown, harness.times_too_long())
    };
    let (with, events_with, shown) = lifecycle(Expect::default());
    let (without, events_without, none) =
        lifecycle(Expect { allowance: 1000 * HOUR, no_progress: 1000 * HOUR, ..Expect::default() });
    assert_eq!((shown, none), (3, 0));
    assert!(
        with.iter().any(|decision| matches!(decision.verdict, Verdict::Act(Order::Abort(_)))),
        "{with:?}"
    );
    assert_eq!((with, events_with), (without, events_without));
}
