//! What is announced of a task, and that this is what happens.

use super::*;
use crate::model::record::PhaseWord;

impl Harness {
    /// What is announced: the blocks by their codes, and the next request with its time.
    fn announced(&self, tasks: &[Task]) -> (Vec<String>, Option<(Action, String)>) {
        let outlook = self.outlook(tasks);
        let blocks = outlook.blocked_by.into_iter().map(|block| block.code).collect();
        (blocks, outlook.next.map(|next| (next.action, next.at.strftime("%T").to_string())))
    }
}

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
