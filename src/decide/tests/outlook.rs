//! What is announced of a task, and that this is what happens.

use super::*;
use crate::model::event::{FailureSeen, Shape};
use crate::model::outlook::{Block, NextRequest};
use crate::model::record::PhaseWord;
use crate::model::setup::{Nodes, Place};

impl Harness {
    /// A task of another cluster is seen to fail.
    pub(super) fn fail_elsewhere(&mut self, other: &str, too_old: bool) {
        let first_seen = Event::FirstSeen {
            kind: TaskKind::Upgrade,
            cluster_name: other.to_owned(),
            traits: Traits::default(),
            start_time: None,
            execute_times: Some(1),
            completed: Some(0),
            external: 0,
            setup: None,
            nodes: Nodes::default(),
        };
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
            too_old,
            age_unknown: false,
            seen_to_happen: !too_old,
            terms: None,
            place: Place::default(),
        };
        for event in [first_seen, Event::Failed(Box::new(seen))] {
            self.number += 1;
            let subject = Subject {
                project: ProjectName::new("p").unwrap(),
                cluster: ClusterId::new(other).unwrap(),
                task: TaskId::new(&format!("task-of-{other}")).unwrap(),
            };
            self.project_state.apply(&Entry { number: self.number, at: self.now, subject, event });
        }
    }

    /// What is announced for a certain time, and what for no earlier one.
    fn times(&self) -> [Option<String>; 2] {
        let outlook = self.outlook(&[failed(1)]);
        let time = |next: NextRequest| format!("{} {}", next.action, next.at.strftime("%T"));
        [outlook.next.map(time), outlook.not_before.map(time)]
    }

    /// What is announced: the blocks by their codes, and the next request with its time.
    fn announced(&self, tasks: &[Task]) -> (Vec<String>, Option<(Action, String)>) {
        let outlook = self.outlook(tasks);
        let blocks = outlook.blocked_by.into_iter().map(|block| block.code).collect();
        (blocks, outlook.next.map(|next| (next.action, next.at.strftime("%T").to_string())))
    }
}

/// What a harness is brought to, with the tasks that it shows then.
type Case<'a> = &'a dyn Fn(&mut Harness) -> Vec<Task>;

fn none() -> (Vec<String>, Option<(Action, String)>) {
    (Vec::new(), None)
}

#[test]
fn the_retry_is_announced_for_when_its_wait_ends() {
    let mut harness = Harness::new();
    harness.read(&[failed(1)]);
    let retry = |at: &str| (Vec::new(), Some((Action::Retry, at.to_owned())));
    assert_eq!(harness.announced(&[failed(1)]), retry("12:02:00"));
    harness.pass(2 * MINUTE);
    assert_eq!(harness.announced(&[failed(1)]), retry("12:02:00"), "it is due");
    harness.send(&[failed(1)], Meaning::Accepted);
    assert_eq!(harness.outlook(&[failed(1)]).phase, Some(PhaseWord::OutcomeUnknown));
    assert_eq!(harness.announced(&[failed(1)]), none(), "polls tell first what came of it");
}

#[test]
fn the_abort_is_announced_for_the_end_of_its_grace() {
    let mut harness = Harness::new();
    harness.terms.as_mut().unwrap().retry.max_retries = 0;
    harness.read(&[failed(1)]);
    assert_eq!(harness.announced(&[failed(1)]), (Vec::new(), Some((Action::Abort, "12:15:00".to_owned()))));
    let doubtful = [with_nodes(failed(1), &["a"])];
    assert_eq!(harness.announced(&doubtful).1, None, "not with a node completed");
}

/// No request is announced for a time at which a known block stops it.
#[test]
fn what_blocks_is_judged_before_a_time_is_announced() {
    let hour = 60 * MINUTE;
    let retry = |at: &str| Some((Action::Retry, at.to_owned()));
    let blocked = |code: &str, next: Option<(Action, String)>| (vec![code.to_owned()], next);
    let mut harness = Harness::new();
    harness.read(&[failed(1)]);
    harness.hold("all", None);
    assert_eq!(harness.announced(&[failed(1)]), blocked("on-hold", None), "it has no end");
    assert!(harness.outlook(&[failed(1)]).needs_attention, "nor will the daemon end it");
    let mut harness = Harness::new();
    harness.read(&[failed(1)]);
    harness.hold("all", Some(60));
    // Its end, and once more the first wait.
    assert_eq!(harness.announced(&[failed(1)]), blocked("on-hold", retry("13:02:00")));
    let mut harness = Harness::new();
    harness.terms.as_mut().unwrap().mode = Mode::DryRun;
    harness.read(&[failed(1)]);
    assert_eq!(harness.announced(&[failed(1)]), blocked("dry-run", None));
    let mut harness = Harness::new();
    harness.terms = None;
    harness.read(&[failed(1)]);
    assert_eq!(harness.announced(&[failed(1)]), blocked("no-policy", None));
    assert!(harness.outlook(&[failed(1)]).needs_attention);
    let mut harness = Harness::new();
    harness.limits.max_actions_per_hour = 0;
    harness.read(&[failed(1)]);
    assert_eq!(
        harness.announced(&[failed(1)]),
        blocked("actions-per-hour", None),
        "when it is free is not known"
    );
    let mut harness = Harness::new();
    harness.clock_offset = Some(jiff::SignedDuration::from_hours(1));
    harness.read(&[failed(1)]);
    assert_eq!(harness.announced(&[failed(1)]), blocked("clock-off", None));
    let mut harness = Harness::new();
    harness.read(&[failed(1)]);
    harness.project_state.pause = Some(paused_until(harness.now.after(hour)));
    assert_eq!(harness.announced(&[failed(1)]), blocked("project-paused", retry("13:02:00")));
    let mut harness = Harness::new();
    harness.read(&[failed(1)]);
    harness.listed = None;
    assert_eq!(
        harness.announced(&[failed(1)]),
        blocked("not-listed", None),
        "which policy covers it is not certain"
    );
    let mut harness = Harness::new();
    harness.at_night();
    harness.read(&[failed(1)]);
    assert_eq!(harness.announced(&[failed(1)]), blocked("window-closed", retry("22:02:00")));
}

#[test]
fn an_escalated_task_is_announced_nothing_for_and_tells_its_cause() {
    let mut harness = Harness::new();
    harness.terms.as_mut().unwrap().retry.max_retries = 0;
    harness.terms.as_mut().unwrap().on_exhausted = OnExhausted::Escalate;
    harness.read(&[failed(1)]);
    let outlook = harness.outlook(&[failed(1)]);
    assert_eq!(outlook.phase, Some(PhaseWord::Escalated));
    assert_eq!((outlook.reason.code.as_str(), outlook.next), ("retries-exhausted", None));
    assert!(outlook.needs_attention && outlook.blocked_by.is_empty());
    assert_eq!(outlook.next_in_words(), "nothing until an operator acts");
}

#[test]
fn what_runs_is_waited_for() {
    let mut harness = Harness::new();
    harness.read(&[running(1)]);
    let outlook = harness.outlook(&[running(1)]);
    assert_eq!((outlook.phase, outlook.next), (Some(PhaseWord::Running), None));
    assert!(!outlook.needs_attention);
}

#[test]
fn a_time_is_announced_by_the_wall_clock_as_it_stands() {
    let mut harness = Harness::new();
    harness.read(&[failed(1)]);
    harness.pass(MINUTE);
    harness.now.wall = "2026-01-02T14:00:00Z".parse().unwrap();
    let announced = harness.announced(&[failed(1)]);
    assert_eq!(announced.1, Some((Action::Retry, "14:01:00".to_owned())), "the wait goes by the other clock");
}

/// The decision about a cluster concerns its newest task. The reason of any other task is its own
/// state.
#[test]
fn a_task_that_is_not_the_newest_is_shown_by_itself_and_has_nothing_announced() {
    let newer = || named("u", "2026-01-02T11:30:00", failed(1));
    let mut harness = Harness::new();
    harness.read(&[running(1)]);
    let outlook = harness.outlook(&[running(1), newer()]);
    assert_eq!((outlook.reason.code.as_str(), outlook.next), ("running", None));
    assert!(outlook.reason.text.contains("of 3 nodes"), "{}", outlook.reason.text);
    // The newer task's decision does not become its reason either if the poll shows that it runs no
    // longer.
    assert_eq!(harness.outlook(&[failed(1), newer()]).reason.code, "running");
    let mut harness = Harness::new();
    harness.read(&[failed(1)]);
    assert_eq!(harness.announced(&[failed(1), newer()]), none(), "the retry of the newer one is not its own");
    harness.pass(2 * MINUTE);
    harness.send(&[failed(1)], Meaning::Unknown);
    let outlook = harness.outlook(&[failed(1), newer()]);
    assert_eq!((outlook.reason.code.as_str(), outlook.next), ("outcome-unknown", None));
}

/// What the newest poll shows of the task precedes the journal's record of it.
#[test]
fn what_the_poll_shows_of_a_task_that_runs_or_waits_for_its_outcome_is_its_reason() {
    let strange = || [Task { status: TaskStatus::Other("HALTED".to_owned()), ..running(1) }];
    let mut harness = Harness::new();
    harness.read(&[running(1)]);
    assert_eq!(harness.outlook(&strange()).reason.code, "unknown-status");
    let mut harness = Harness::new();
    harness.read(&[failed(1)]);
    harness.pass(2 * MINUTE);
    harness.send(&[failed(1)], Meaning::Unknown);
    assert_eq!(harness.outlook(&[]).reason.code, "newest-missing");
}

#[test]
fn how_long_the_last_poll_took_keeps_no_request_from_being_announced() {
    let mut harness = Harness::new();
    harness.read(&[failed(1)]);
    let asked = harness.now;
    harness.pass(MINUTE);
    let slow = Reading { asked, ..harness.reading(&[failed(1)]) };
    let (id, known) = (TaskId::new("t").unwrap(), harness.known());
    let outlook = harness.judge(&slow, |state, input| outlook(state, input, (&id, &known), harness.now));
    let next = outlook.next.map(|next| next.at.strftime("%T").to_string());
    assert_eq!(next.as_deref(), Some("12:02:00"));
}

#[test]
fn of_what_leads_to_no_request_nothing_is_said_to_block_one() {
    let mut harness = Harness::new();
    harness.read(&[failed(1)]);
    harness.hold("all", None);
    let strange = Task { status: TaskStatus::Other("HALTED".to_owned()), ..failed(1) };
    assert_eq!(harness.announced(&[strange]), none());
}

/// One request of the project is sent as a probe, and which one is not known: nobody announces a time of its own.
#[test]
fn past_an_open_breaker_no_task_announces_a_time_of_its_own() {
    let opens = |others: u32| {
        let mut harness = Harness::new();
        harness.breaker.failures = others + 1;
        for other in 0..others {
            harness.fail_elsewhere(&format!("o-{other}"), false);
        }
        harness.read(&[failed(1)]);
        harness
    };
    let mut harness = opens(7);
    assert_eq!(harness.announced(&[failed(1)]), (vec!["breaker-open".to_owned()], None));
    assert_eq!(harness.times(), [None, None]);
    let next = harness.outlook(&[failed(1)]).next_with_blocks();
    assert!(next.starts_with("nothing while the request is blocked: the circuit breaker"), "{next}");
    assert!(next.contains("12:30:00 UTC on, one request of the project is sent as a probe"), "{next}");
    harness.pass(2 * MINUTE);
    harness.read(&[failed(1)]);
    assert_eq!(harness.times(), [None, None], "nor once it is due");
    // Half open, whoever comes first is the probe.
    harness.pass(28 * MINUTE);
    harness.read(&[failed(1)]);
    assert_eq!(harness.times(), [None, Some("retry 12:32:00".to_owned())]);
    let outlook = harness.outlook(&[failed(1)]);
    assert_eq!(
        outlook.next_in_words(),
        "retry, not before 2026-01-02 12:32:00 UTC: other tasks of the project may go first"
    );
    // Where nobody else waits, it is this one.
    let alone = opens(0);
    assert_eq!(
        alone.announced(&[failed(1)]),
        (vec!["breaker-open".to_owned()], Some((Action::Retry, "12:32:00".to_owned())))
    );
}

#[test]
fn past_the_pause_of_a_project_no_task_announces_a_time_of_its_own() {
    let mut harness = Harness::new();
    harness.fail_elsewhere("o", false);
    harness.read(&[failed(1)]);
    harness.project_state.pause = Some(paused_until(harness.now.after(60 * MINUTE)));
    assert_eq!(harness.announced(&[failed(1)]), (vec!["project-paused".to_owned()], None));
    assert_eq!(harness.times(), [None, None]);
}

/// A limit that the other failed tasks may use up lets no time be certain.
#[test]
fn where_others_may_use_a_limit_up_the_time_is_the_earliest() {
    let certain = [Some("retry 12:02:00".to_owned()), None];
    let earliest = [None, Some("retry 12:02:00".to_owned())];
    for (in_flight, an_hour, times) in
        [(1, 120, &earliest), (2, 120, &certain), (20, 1, &earliest), (20, 2, &certain)]
    {
        let mut harness = Harness::new();
        (harness.limits.max_actions_in_flight, harness.limits.max_actions_per_hour) = (in_flight, an_hour);
        harness.read(&[failed(1)]);
        assert_eq!(harness.times(), [Some("retry 12:02:00".to_owned()), None], "it is alone");
        harness.fail_elsewhere("old", true);
        assert_eq!(harness.times(), certain, "an old failure takes no place");
        harness.fail_elsewhere("o", false);
        assert_eq!(harness.times(), *times, "{in_flight} in flight, {an_hour} an hour");
    }
    // An abort takes no place of a retried task.
    let mut harness = Harness::new();
    harness.limits.max_actions_in_flight = 1;
    harness.terms.as_mut().unwrap().retry.max_retries = 0;
    harness.read(&[failed(1)]);
    harness.fail_elsewhere("o", false);
    assert_eq!(harness.times(), [Some("abort 12:15:00".to_owned()), None]);
}

/// An order that is refused is no advice.
#[test]
fn no_next_step_names_an_order_that_is_refused() {
    let names_an_order = |harness: &Harness, tasks: &[Task]| {
        let outlook = harness.outlook(tasks);
        assert!(outlook.next_step.is_some(), "{outlook:?}");
        outlook.advises("retry-now") || outlook.advises("abort")
    };
    let old = || [Task { end_time: Some("2025-12-01T00:00:00".parse().unwrap()), ..failed(1) }];
    let waits = |_: &mut Harness| vec![failed(1)];
    let is_too_old = |_: &mut Harness| old().to_vec();
    let is_escalated = |harness: &mut Harness| {
        harness.terms.as_mut().unwrap().retry.max_retries = 0;
        harness.terms.as_mut().unwrap().on_exhausted = OnExhausted::Escalate;
        vec![failed(1)]
    };
    let cases: [Case<'_>; 3] = [&waits, &is_too_old, &is_escalated];
    let blocks: [&dyn Fn(&mut Harness); 4] = [
        &|harness| harness.terms.as_mut().unwrap().mode = Mode::DryRun,
        &|harness| {
            harness.hold("all", Some(60));
        },
        &|harness| harness.project_state.pause = Some(paused_until(harness.now.after(60 * MINUTE))),
        &|harness| harness.clock_offset = Some(jiff::SignedDuration::from_hours(1)),
    ];
    for case in cases {
        for block in blocks {
            let mut harness = Harness::new();
            let tasks = case(&mut harness);
            harness.read(&tasks);
            assert!(names_an_order(&harness, &tasks), "{:?}", harness.outlook(&tasks));
            block(&mut harness);
            assert!(!names_an_order(&harness, &tasks), "{:?}", harness.outlook(&tasks));
        }
    }
    // Without a daemon nobody takes an order.
    let mut harness = Harness::new();
    harness.read(&[failed(1)]);
    let advises = |block| Outlook::by_journal(&harness.known(), block).advises("retry-now");
    assert_eq!(
        [Block::not_running(), Block::not_watched(), Block::not_polled()].map(advises),
        [false, false, true]
    );
}

#[test]
fn during_a_backoff_in_dry_run_nothing_is_said_to_be_done_now_and_no_command_to_end_it() {
    let mut harness = Harness::new();
    harness.terms.as_mut().unwrap().mode = Mode::DryRun;
    harness.read(&[failed(1)]);
    let outlook = harness.outlook(&[failed(1)]);
    assert_eq!(outlook.reason.code, "backoff");
    assert_eq!(
        outlook.next_with_blocks(),
        "nothing while the request is blocked: no request is sent in dry-run; with mode = \"enforce\" the daemon would \
         retry"
    );
    assert_eq!(outlook.blocked_by[0].ended_by, None, "a reload alone changes no mode");
}

#[test]
fn of_a_task_that_ended_it_is_said_how_and_when() {
    let mut harness = Harness::new();
    harness.read(&[failed(1)]);
    harness.pass(2 * MINUTE);
    harness.send(&[failed(1)], Meaning::Accepted);
    for _ in 0..2 {
        harness.pass(MINUTE);
        harness.read(&[success(2)]);
    }
    let outlook = harness.outlook(&[success(2)]);
    assert_eq!(outlook.phase, Some(PhaseWord::Ended));
    assert_eq!(
        (outlook.reason.code.as_str(), outlook.reason.text.as_str()),
        ("ended", "the task ended at 2026-01-02 12:04:00 UTC: resolved by retry")
    );
    assert_eq!((outlook.next_in_words().as_str(), outlook.next_step), ("", None));
}
