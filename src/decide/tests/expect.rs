//! A task that runs too long: told once for each stretch of RUNNING, and nothing else follows.

use super::*;
use crate::decide::expect::overdue;
use crate::model::event::TooLong;
use crate::model::record::Run;

const HOUR: Duration = Duration::from_hours(1);

impl Scene {
    fn told_too_long(&self) -> usize {
        self.told.iter().filter(|word| **word == "running-too-long").count()
    }

    /// What a process that starts now knows, from entries that are told by wall time alone.
    fn restart(&mut self) {
        self.project_state.wake(self.now);
    }
}

#[test]
fn it_is_told_once_when_it_takes_longer_than_its_nodes_explain() {
    let mut scene = Scene::new();
    scene.read(&[running(1)]);
    // 4 h and 15 min for each of three nodes; a node completes now and then.
    scene.pass(4 * HOUR + 45 * MINUTE);
    let one = with_nodes(running(1), &["a"]);
    scene.read(std::slice::from_ref(&one));
    assert_eq!(scene.told_too_long(), 0, "to the minute is still as expected");
    scene.pass(MINUTE);
    let decision = scene.read(std::slice::from_ref(&one));
    assert_eq!((scene.told_too_long(), decision.reason.code()), (1, "running"));
    assert_eq!(scene.known().runs_too_long().unwrap().mono, Mono(0));
    scene.restart();
    for _ in 0..50 {
        scene.pass(HOUR);
        assert_eq!(scene.code(std::slice::from_ref(&one)), "running");
    }
    assert_eq!(scene.told_too_long(), 1);
}

#[test]
fn it_is_told_when_no_node_completed_for_too_long() {
    let mut scene = Scene::new();
    scene.expect = Expect { allowance: 1000 * HOUR, ..Expect::default() };
    scene.read(&[running(1)]);
    scene.pass(11 * HOUR);
    scene.read(&[with_nodes(running(1), &["a"])]);
    scene.pass(12 * HOUR);
    scene.read(&[with_nodes(running(1), &["a"])]);
    assert_eq!(scene.told_too_long(), 0);
    // Flapping is no progress.
    scene.read(&[running(1)]);
    scene.pass(MINUTE);
    scene.read(&[with_nodes(running(1), &["a"])]);
    assert_eq!(scene.told_too_long(), 1);
}

#[test]
fn the_numbers_that_decided_are_told() {
    let run = Run { since: Scene::new().now, progress: Scene::new().now, too_long: None };
    let told = |task: &Task, ran: Duration, expect: &Expect| {
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
    assert_eq!(told(&running(1), 5 * HOUR, &by_default), Some(event));

    // Without a list of nodes nobody can tell how long it should take.
    let unnamed = Task {
        total_nodes: BTreeSet::new(),
        completed: CompletedNodes::Unreadable("null".to_owned()),
        ..running(1)
    };
    assert_eq!(told(&unnamed, 12 * HOUR, &by_default), None);
    let Some(Event::RunningTooLong { too_long, completed: None, nodes: 0, .. }) =
        told(&unnamed, 13 * HOUR, &by_default)
    else {
        panic!("not told")
    };
    assert_eq!(too_long, TooLong::NoProgress { without: 13 * HOUR, expected: 12 * HOUR });

    // The longest times that the settings take are no trouble.
    let endless = Expect { per_node: Duration::MAX, allowance: Duration::MAX, no_progress: Duration::MAX };
    assert_eq!(told(&running(1), 1_000_000 * HOUR, &endless), None);
}

#[test]
fn each_execution_is_judged_anew() {
    let mut scene = Scene::new();
    scene.read(&[running(1)]);
    scene.pass(5 * HOUR);
    scene.read(&[running(1)]);
    assert_eq!(scene.told_too_long(), 1);
    scene.pass(MINUTE);
    scene.read(&[failed(1)]);
    assert_eq!(scene.known().runs_too_long(), None);
    scene.pass(MINUTE);
    scene.read(&[running(2)]);
    scene.pass(4 * HOUR);
    scene.read(&[running(2)]);
    assert_eq!(scene.told_too_long(), 1, "the time of the first one does not count");
    scene.pass(HOUR);
    scene.read(&[running(2)]);
    assert_eq!(scene.told_too_long(), 2);
    scene.pass(MINUTE);
    scene.read(&[success(2)]);
    assert_eq!(scene.known().runs_too_long(), None);
    assert_eq!(scene.known().closed.map(|(closing, _)| closing), Some(Outcome::ResolvedExternally));
}

#[test]
fn a_task_without_a_policy_is_not_judged() {
    let mut scene = Scene::new();
    scene.terms = None;
    scene.read(&[running(1)]);
    scene.pass(100 * HOUR);
    scene.read(&[running(1)]);
    assert_eq!(scene.told_too_long(), 0);
    // Once one covers it, it is told at once.
    scene.terms = Some(terms());
    scene.pass(MINUTE);
    scene.read(&[running(1)]);
    assert_eq!(scene.told_too_long(), 1);
}

/// The same story with and without it: every decision is the same, and so is every event beside it.
#[test]
fn it_changes_no_decision() {
    let story = |expect: Expect| {
        let mut scene = Scene::new();
        scene.expect = expect;
        let mut decisions = vec![scene.read(&[running(1)])];
        scene.pass(13 * HOUR);
        decisions.push(scene.read(&[running(1)]));
        for execution in 1..=3 {
            scene.pass(MINUTE);
            decisions.push(scene.read(&[failed(execution)]));
            scene.pass(HOUR);
            let due = scene.read(&[failed(execution)]);
            let acts = matches!(due.verdict, Verdict::Act(_));
            decisions.push(due);
            if acts && execution < 3 {
                scene.send(&[failed(execution)], Meaning::Accepted);
                scene.pass(MINUTE);
                decisions.push(scene.read(&[running(execution + 1)]));
                scene.pass(13 * HOUR);
                decisions.push(scene.read(&[running(execution + 1)]));
            }
        }
        let told: Vec<_> = scene.told.iter().filter(|word| **word != "running-too-long").copied().collect();
        (decisions, told, scene.told_too_long())
    };
    let (with, events_with, told) = story(Expect::default());
    let (without, events_without, none) =
        story(Expect { allowance: 1000 * HOUR, no_progress: 1000 * HOUR, ..Expect::default() });
    assert_eq!((told, none), (3, 0));
    assert!(
        with.iter().any(|decision| matches!(decision.verdict, Verdict::Act(Order::Abort(_)))),
        "{with:?}"
    );
    assert_eq!((with, events_with), (without, events_without));
}
