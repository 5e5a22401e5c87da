//! The content of `explain`.

use crate::model::cluster::Traits;

use super::*;
use crate::decide::explain;
use crate::model::setup::Nodes;
use crate::model::window::{Span, Window};

impl Harness {
    fn steps(&mut self, tasks: &[Task]) -> Vec<(Option<String>, String)> {
        self.read(tasks);
        let (terms, outlook) = (self.terms.as_ref().unwrap(), self.outlook(tasks));
        let steps = explain::schedule(&self.known(), terms, &self.poll, &outlook);
        let at = |step: &crate::model::explanation::Step| step.at.map(|at| at.strftime("%T").to_string());
        steps.iter().map(|step| (at(step), step.what.clone())).collect()
    }
}

/// An abort waits for the grace, and until the outcome of the last request must be known.
#[test]
fn the_wait_before_an_abort_is_the_one_that_applies() {
    let mut harness = Harness::new();
    harness.poll.settle_timeout = 7 * MINUTE;
    let terms = harness.terms.as_mut().unwrap();
    terms.retry.max_retries = 1;
    terms.abort_grace = Duration::from_secs(20);
    let shown = |steps: Vec<(Option<String>, String)>| {
        steps.into_iter().find(|(_, what)| what.starts_with("an abort")).unwrap()
    };
    let (at, what) = shown(harness.steps(&[failed(1)]));
    assert!(at.is_none() && what.contains("20s after the retries"), "{what}");
    assert!(what.contains("7m after the last request at the earliest"), "{what}");
    harness.pass(2 * MINUTE);
    harness.send(&[failed(1)], Meaning::Accepted);
    let sent = harness.now;
    harness.pass(MINUTE);
    harness.read(&[failed(2)]);
    harness.pass(MINUTE);
    let (at, _) = shown(harness.steps(&[failed(2)]));
    assert_eq!(at, Some(sent.after(7 * MINUTE).wall.strftime("%T").to_string()));
    // Without any request before it, the grace alone applies.
    let mut harness = Harness::new();
    let terms = harness.terms.as_mut().unwrap();
    terms.retry.max_retries = 0;
    terms.abort_grace = Duration::from_secs(20);
    let (at, what) = shown(harness.steps(&[failed(1)]));
    assert!(at.as_deref() == Some("12:00:20") && !what.contains("the last request"), "{at:?} {what}");
}

#[test]
fn what_is_to_come_is_told_to_its_end() {
    let mut harness = Harness::new();
    let steps = harness.steps(&[failed(1)]);
    let step = |at: Option<&str>, what: &str| (at.map(str::to_owned), what.to_owned());
    let end = "an abort, 15m after the retries are exhausted, if no node is completed; otherwise an escalation to an operator";
    let limit =
        "an escalation to an operator before a retry that would make the task wait more than 7d in total";
    assert_eq!(
        steps,
        [
            step(Some("12:02:00"), "retry 1 of 2"),
            step(None, "retry 2 of 2, 4m after the next failure"),
            step(None, end),
            step(None, limit),
        ]
    );
    let mut harness = Harness::new();
    harness.terms.as_mut().unwrap().retry.max_retries = 0;
    let (at, what) = harness.steps(&[failed(1)]).remove(0);
    assert_eq!((at.as_deref(), what.as_str()), (Some("12:15:00"), end));
    let mut given_up = Harness::new();
    given_up.terms.as_mut().unwrap().retry.max_retries = 0;
    given_up.terms.as_mut().unwrap().on_exhausted = OnExhausted::Escalate;
    assert_eq!(given_up.steps(&[failed(1)]), [], "nothing comes by itself");
}

#[test]
fn what_is_due_in_a_closed_window_comes_when_it_opens() {
    let mut harness = Harness::new();
    let span = Span { days: [true; 7], from: 22 * 60, to: 6 * 60 };
    harness.terms.as_mut().unwrap().window = Window::new("UTC", Some(&[span]), &[]);
    let (at, what) = harness.steps(&[failed(1)]).remove(0);
    assert_eq!(
        (at.as_deref(), what.as_str()),
        (Some("22:02:00"), "retry 1 of 2"),
        "the first wait after the window opens"
    );
}

#[test]
fn the_first_policy_that_covers_it_governs() {
    let matching = [("a", Some("no")), ("b", None), ("c", None)];
    let matching = matching.map(|(name, miss)| (name.to_owned(), miss.map(str::to_owned)));
    let governs: Vec<_> = explain::policies(matching.to_vec()).iter().map(|it| it.governs).collect();
    assert_eq!(governs, [false, true, false]);
}

#[test]
fn steps_that_wait_for_something_else_than_time_say_so_and_many_are_told_as_one() {
    let mut harness = Harness::new();
    let retry = &mut harness.terms.as_mut().unwrap().retry;
    (retry.max_retries, retry.multiplier) = (12, 1.0);
    harness.read(&[failed(1)]);
    harness.pass(2 * MINUTE);
    harness.send(&[failed(1)], Meaning::Accepted);
    for _ in 0..2 {
        harness.pass(Duration::from_secs(15));
        harness.read(&[running(2)]);
    }
    harness.limits.max_actions_per_hour = 0;
    harness.pass(MINUTE);
    harness.terms.as_mut().unwrap().retry.randomization_factor = 0.2;
    let so_far = "an escalation to an operator before a retry that would make the task wait more than 7d in total (2m so far)";
    let whats = |harness: &mut Harness| harness.steps(&[failed(2)]).into_iter().map(|(_, what)| what);
    let shown: Vec<_> = whats(&mut harness).collect();
    assert_eq!(shown.len(), 13, "ten retries, the rest of them, the abort and the limit");
    assert_eq!(shown[1], "retry 3 of 12, 2m after the next failure, give or take 20 %");
    assert_eq!(shown[9], "retry 11 of 12, 2m after the next failure, give or take 20 %");
    assert_eq!(shown[10], "1 more retry");
    assert_eq!(shown[12], so_far);
    harness.pass(5 * MINUTE);
    assert_eq!(whats(&mut harness).next().unwrap(), "retry 2 of 12, once it is no longer blocked");
    harness.terms.as_mut().unwrap().retry.max_retries = 20;
    assert_eq!(whats(&mut harness).nth(10).unwrap(), "9 more retries");
    // Ten steps are shown one by one.
    harness.terms.as_mut().unwrap().retry.max_retries = 11;
    let shown: Vec<_> = whats(&mut harness).collect();
    assert_eq!(shown.len(), 12);
    assert!(!shown[10].contains("more"), "{shown:?}");
}

#[test]
fn nothing_is_to_come_of_what_is_over_too_old_or_did_not_fail() {
    let mut too_old = failed(1);
    too_old.end_time = Some("2025-12-01T00:00:00".parse().unwrap());
    for shown in [success(1), too_old] {
        let mut harness = Harness::new();
        harness.read(&[running(1)]);
        assert_eq!(harness.steps(&[shown]), []);
    }
    let mut runs = Harness::new();
    assert_eq!(runs.steps(&[running(1)]), [], "it did not fail yet");
}

#[test]
fn the_next_step_has_the_time_at_which_its_wait_ends_whatever_it_waits_for() {
    let mut harness = Harness::new();
    let terms = harness.terms.as_mut().unwrap();
    terms.on_exhausted = OnExhausted::Escalate;
    terms.window = Window::new("UTC", None, &[]);
    let first = |harness: &mut Harness| harness.steps(&[failed(1)]).remove(0);
    harness.read(&[failed(1)]);
    harness.pass(2 * MINUTE);
    harness.send(&[failed(1)], Meaning::Busy);
    assert_eq!(first(&mut harness), (Some("12:04:00".to_owned()), "retry 1 of 2".to_owned()));
    harness.pass(2 * MINUTE);
    harness.limits.max_actions_per_hour = 0;
    harness.read(&[failed(1)]);
    harness.limits = Limits::default();
    assert_eq!(first(&mut harness), (Some("12:06:00".to_owned()), "retry 1 of 2".to_owned()));
    let shown: Vec<_> = harness.steps(&[failed(1)]).into_iter().map(|(_, what)| what).collect();
    assert_eq!(shown[2], "an escalation to an operator, once the retries are exhausted");
}

#[test]
fn without_a_limit_of_waiting_the_abort_comes_last() {
    let mut harness = Harness::new();
    harness.terms.as_mut().unwrap().retry.max_elapsed_time = None;
    let (_, last) = harness.steps(&[failed(1)]).pop().unwrap();
    assert!(last.starts_with("an abort"), "{last}");
}

#[test]
fn a_task_is_laid_out_as_it_was_read() {
    let facts = explain::facts(&with_nodes(failed(2), &["a"]));
    let shown = (facts.status.as_str(), facts.executions, facts.nodes_done, facts.nodes);
    assert_eq!(shown, ("FAILED", Some(2), Some(1), 3));
    assert_eq!(facts.started.as_deref(), Some("2026-01-02T11:00:00"));
    assert_eq!(facts.ended.as_deref(), Some("2026-01-02T11:12:00"));
    assert_eq!(facts.failing_step.as_deref(), Some("step 0 Data migration"));
    let mut unnumbered = failed(1);
    unnumbered.steps[0].order = None;
    assert_eq!(explain::facts(&unnumbered).failing_step.as_deref(), Some("Data migration"));
}

impl Harness {
    /// Each precondition as one line: its value, what is allowed, and whether it passes.
    fn preconditions(&self, mode: Mode, tasks: &[Task]) -> Vec<String> {
        let rules = Rules { mode, ..self.rules() };
        let judge = |state: &_, input: StepInput<'_>| explain::preconditions(state, input, self.now);
        let preconditions = self.judge_by(&rules, &self.reading(tasks), judge);
        let line = |precondition: crate::model::explanation::Precondition| {
            let verdict = if precondition.passes { "passes" } else { "HOLDS BACK" };
            format!("{}: {} ({}) {verdict}", precondition.name, precondition.value, precondition.limit)
        };
        preconditions.into_iter().map(line).collect()
    }

    /// A retry of a task of another cluster, without an answer yet.
    fn send_elsewhere(&mut self) {
        let first_seen = Event::FirstSeen {
            kind: TaskKind::Upgrade,
            cluster_name: "other".to_owned(),
            traits: Traits::default(),
            start_time: None,
            execute_times: Some(1),
            completed: Some(0),
            external: 0,
            setup: None,
            nodes: Nodes::default(),
        };
        let (action, reason) = (Action::Retry, Reason::StalePoll);
        let intent = Event::Intent { action, failure: 1, waited: Duration::ZERO, reason };
        for event in [first_seen, intent] {
            self.number += 1;
            let subject = Subject {
                project: ProjectName::new("p").unwrap(),
                cluster: ClusterId::new("c-2").unwrap(),
                task: TaskId::new("u").unwrap(),
            };
            self.project_state.apply(&Entry { number: self.number, at: self.now, subject, event });
        }
    }

    /// The line of one precondition.
    fn precondition(&self, precondition: &str, tasks: &[Task]) -> String {
        let lines = self.preconditions(Mode::Enforce, tasks);
        lines.into_iter().find(|line| line.starts_with(&format!("{precondition}: "))).unwrap()
    }
}

#[test]
fn every_precondition_is_told_with_its_value_its_limit_and_its_verdict() {
    let mut harness = Harness::new();
    harness.read(&[failed(1)]);
    assert_eq!(
        harness.preconditions(Mode::Enforce, &[failed(1)]),
        [
            "newest: task t (a certain newest task, and none that is running) passes",
            "status: FAILED (FAILED) passes",
            "open request: none (none) passes",
            "escalation: none (none) passes",
            "nodes (for an abort only): no node completed (no completed and no unreadable node) passes",
            "hold: none (none) passes",
            "policy: standard (one that covers the task) passes",
            "mode: enforce (enforce) passes",
            "clock: not known yet (5m at most) passes",
            "pause: none (none) passes",
            "breaker: closed, 1 failure in 10m (fewer than 10 in 10m) passes",
            "actions per hour: 0 (fewer than 120) passes",
            "retries in flight elsewhere: 0 (fewer than 20) passes",
        ]
    );
}

#[test]
fn the_preconditions_of_the_task_tell_what_is_uncertain_open_or_a_humans() {
    let mut harness = Harness::new();
    let undated = Task { start_time: None, ..success(1) };
    let newest = |harness: &Harness, tasks: &[Task]| harness.precondition("newest", tasks);
    let limit = "(a certain newest task, and none that is running) HOLDS BACK";
    assert_eq!(newest(&harness, &[]), format!("newest: no task {limit}"));
    assert_eq!(harness.precondition("status", &[]), "status: none (FAILED) HOLDS BACK");
    assert_eq!(newest(&harness, &[running(1)]), format!("newest: task t is running {limit}"));
    assert_eq!(harness.precondition("status", &[running(1)]), "status: RUNNING (FAILED) HOLDS BACK");
    let unclear = newest(&harness, &[undated]);
    assert!(unclear.ends_with(limit) && unclear.contains("startTime of task t"), "{unclear}");
    harness.read(&[failed(1)]);
    let missing = newest(&harness, &[]);
    assert!(missing.ends_with(limit) && missing.contains("is missing from the list"), "{missing}");
    let done = with_nodes(failed(1), &["a"]);
    assert_eq!(
        harness.precondition("nodes (for an abort only)", &[done]),
        "nodes (for an abort only): 1 of 3 nodes is completed (no completed and no unreadable node) HOLDS BACK"
    );
    harness.pass(2 * MINUTE);
    let attempt = harness.send(&[failed(1)], Meaning::Unknown);
    let open = format!("open request: retry request {attempt} (none) HOLDS BACK");
    assert_eq!(harness.precondition("open request", &[failed(1)]), open);

    let mut given_up = Harness::new();
    given_up.terms.as_mut().unwrap().retry.max_retries = 0;
    given_up.terms.as_mut().unwrap().on_exhausted = OnExhausted::Escalate;
    given_up.read(&[failed(1)]);
    assert_eq!(
        given_up.precondition("escalation", &[failed(1)]),
        "escalation: retries-exhausted (none) HOLDS BACK"
    );
}

#[test]
fn the_preconditions_of_the_policy_tell_the_mode_in_force_and_when_the_window_changes() {
    let mut harness = Harness::new();
    harness.read(&[failed(1)]);
    let span = Span { days: [true; 7], from: 22 * 60, to: 6 * 60 };
    let terms = harness.terms.as_mut().unwrap();
    terms.mode = Mode::DryRun;
    terms.window = Window::new("UTC", Some(&[span]), &[]);
    let preconditions = harness.preconditions(Mode::Enforce, &[failed(1)]);
    assert_eq!(
        preconditions[7..9],
        [
            "mode: dry-run (enforce) HOLDS BACK",
            "window: closed, opens at 2026-01-02 22:00 UTC (open) HOLDS BACK",
        ]
    );
    harness.pass(12 * 60 * MINUTE);
    assert_eq!(
        harness.precondition("window", &[failed(1)]),
        "window: open, closes at 2026-01-03 06:00 UTC (open) passes"
    );
    harness.terms.as_mut().unwrap().window = Window::new("UTC", None, &[]);
    assert_eq!(harness.precondition("window", &[failed(1)]), "window: open (open) passes");
    harness.terms = None;
    for (mode, shown) in [
        (Mode::Enforce, "mode: enforce (enforce) passes"),
        (Mode::DryRun, "mode: dry-run (enforce) HOLDS BACK"),
    ] {
        let preconditions = harness.preconditions(mode, &[failed(1)]);
        assert_eq!(preconditions[6..8], ["policy: none (one that covers the task) HOLDS BACK", shown]);
    }
}

#[test]
fn the_preconditions_of_the_project_tell_each_limit_and_what_is_left_of_it() {
    let mut harness = Harness::new();
    harness.read(&[failed(1)]);
    for (offset, shown) in [
        (0, "clock: less than 1s off (5m at most) passes"),
        (90, "clock: 1m 30s off (5m at most) passes"),
        (-300, "clock: 5m off (5m at most) passes"),
        (301, "clock: 5m 1s off (5m at most) HOLDS BACK"),
    ] {
        harness.clock_offset = Some(jiff::SignedDuration::from_secs(offset));
        assert_eq!(harness.precondition("clock", &[failed(1)]), shown);
    }
    // A wrong clock is no pause.
    assert_eq!(harness.precondition("pause", &[failed(1)]), "pause: none (none) passes");
    harness.clock_offset = None;
    for failures in [1, 2] {
        harness.breaker.failures = failures;
        let shown = harness.precondition("breaker", &[failed(1)]);
        assert_eq!(shown.ends_with("HOLDS BACK"), failures == 1, "{shown}");
        assert!(shown.contains(&format!("(fewer than {failures} in 10m)")), "{shown}");
    }
    harness.hold("all", None);
    let shown = harness.precondition("hold", &[failed(1)]);
    assert!(shown.contains("I am at it") && shown.ends_with("HOLDS BACK"), "{shown}");
}

#[test]
fn the_preconditions_of_the_limits_count_what_was_sent_and_what_is_in_flight() {
    let mut harness = Harness::new();
    harness.read(&[failed(1)]);
    harness.pass(2 * MINUTE);
    harness.send(&[failed(1)], Meaning::Accepted);
    for (limit, shown) in [
        (0, "actions per hour: 1 (fewer than 0) HOLDS BACK"),
        (1, "actions per hour: 1 (fewer than 1) HOLDS BACK"),
        (2, "actions per hour: 1 (fewer than 2) passes"),
    ] {
        harness.limits.max_actions_per_hour = limit;
        assert_eq!(harness.precondition("actions per hour", &[failed(1)]), shown);
    }
    assert!(
        harness.precondition("retries in flight elsewhere", &[failed(1)]).contains(": 0 "),
        "its own is none"
    );
    harness.send_elsewhere();
    for (limit, shown) in [
        (0, "retries in flight elsewhere: 1 (fewer than 0) HOLDS BACK"),
        (1, "retries in flight elsewhere: 1 (fewer than 1) HOLDS BACK"),
        (2, "retries in flight elsewhere: 1 (fewer than 2) passes"),
    ] {
        harness.limits.max_actions_in_flight = limit;
        assert_eq!(harness.precondition("retries in flight elsewhere", &[failed(1)]), shown);
    }
    for (rest, change) in [
        ("the project is paused", Meaning::ForbiddenProject),
        ("the cluster is paused", Meaning::ForbiddenCluster),
    ] {
        let mut harness = Harness::new();
        harness.read(&[failed(1)]);
        harness.pass(2 * MINUTE);
        harness.send(&[failed(1)], change);
        let shown = harness.precondition("pause", &[failed(1)]);
        assert!(shown.contains(rest) && shown.ends_with("HOLDS BACK"), "{shown}");
    }
}

#[test]
fn past_the_last_retry_no_limit_of_waiting_is_announced() {
    let mut harness = Harness::new();
    harness.terms.as_mut().unwrap().retry.max_retries = 1;
    harness.read(&[failed(1)]);
    harness.pass(2 * MINUTE);
    harness.send(&[failed(1)], Meaning::Accepted);
    for _ in 0..2 {
        harness.pass(Duration::from_secs(15));
        harness.read(&[running(2)]);
    }
    harness.pass(MINUTE);
    let told: Vec<_> = harness.steps(&[failed(2)]).into_iter().map(|(_, what)| what).collect();
    assert!(matches!(told.as_slice(), [abort] if abort.starts_with("an abort")), "{told:?}");
}

#[test]
fn a_retry_that_others_may_stop_has_its_earliest_time() {
    let mut harness = Harness::new();
    harness.limits.max_actions_in_flight = 1;
    harness.fail_elsewhere("o", false);
    let first = harness.steps(&[failed(1)]).remove(0);
    assert_eq!(first, (None, "retry 1 of 2, not before 2026-01-02 12:02:00 UTC".to_owned()));
}
