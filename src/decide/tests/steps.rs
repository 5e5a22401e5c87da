//! One step as a value: what it takes into account, and what goes with what it journals.

use super::*;
use crate::decide::step::with_breaker;

fn words(events: &[(Subject, Event)]) -> Vec<&'static str> {
    events.iter().map(|(_, event)| event.word()).collect()
}

#[test]
fn the_breaker_opens_in_the_step_that_journals_the_failure() {
    let mut harness = Harness::new();
    let of = |harness: &Harness| {
        harness.judge(&harness.reading(&[failed(1)]), |state, input| step(state, input, harness.now))
    };
    let alone = of(&harness);
    assert!(!alone.turns_breaker(), "{:?}", words(&alone.events));
    harness.breaker.failures = 1;
    let opens = of(&harness);
    assert_eq!(words(&opens.events), ["first-seen", "failed", "breaker-opened", "decided"]);
    assert!(opens.turns_breaker());
    let failed = opens.events.iter().find(|(_, event)| event.word() == "failed").unwrap();
    let with = with_breaker(&after_first_seen(&opens), vec![failed.clone()], &harness.breaker, harness.now);
    assert_eq!(words(&with), ["failed", "breaker-opened"], "what is journaled without a poll opens it too");
    assert_eq!(with_breaker(&ProjectState::default(), Vec::new(), &harness.breaker, harness.now), []);
}

/// What is known once the first event of the step is.
fn after_first_seen(step: &crate::decide::Step) -> ProjectState {
    let (subject, event) = step.events[0].clone();
    let now = Harness::new().now;
    let mut state = ProjectState::default();
    state.apply(&Entry { number: 1, at: now, subject, event });
    state
}

/// A task that stands in both lists may be of either kind.
#[test]
fn a_task_of_either_kind_is_governed_by_what_governs_both_kinds_alone() {
    let harness = Harness::new();
    let policy = |kind: Option<TaskKind>, retries| {
        let mut terms = terms();
        terms.retry.max_retries = retries;
        let matches = Match { task: kind.map(|kind| vec![kind]), ..Match::default() };
        Policy { matches, terms, expect: Expect::default() }
    };
    let governed = |policies: Vec<Policy>, in_both| {
        let mut reading = harness.reading(&[failed(1)]);
        if in_both {
            reading.in_both.push(TaskId::new("t").unwrap());
        }
        let rules = Rules { policies, ..harness.rules() };
        let retries = |_: &ProjectState, input: StepInput<'_>| {
            input.terms(&failed(1)).map(|terms| terms.retry.max_retries)
        };
        harness.judge_by(&rules, &reading, retries)
    };
    let (upgrade, switchover) = (Some(TaskKind::Upgrade), Some(TaskKind::AzSwitchover));
    assert_eq!(governed(vec![policy(upgrade, 1)], false), Some(1));
    assert_eq!(governed(vec![policy(upgrade, 1)], true), None, "none governs the other kind");
    assert_eq!(governed(vec![policy(upgrade, 1), policy(switchover, 2)], true), None, "they differ");
    assert_eq!(governed(vec![policy(upgrade, 1), policy(switchover, 1)], true), Some(1), "they agree");
    assert_eq!(governed(vec![policy(None, 3)], true), Some(3));
}

#[test]
fn each_policy_is_named_with_the_line_that_does_not_cover_the_task() {
    let harness = Harness::new();
    let mut other = terms();
    other.policy = "night".to_owned();
    let matches = Match { task: Some(vec![TaskKind::AzSwitchover]), ..Match::default() };
    let policies = vec![
        Policy { matches, terms: other, expect: Expect::default() },
        Policy { matches: Match::default(), terms: terms(), expect: Expect::default() },
    ];
    let rules = Rules { policies, ..harness.rules() };
    let reading = harness.reading(&[failed(1)]);
    let shown = harness.judge_by(&rules, &reading, |_, input| input.policies(TaskKind::Upgrade));
    let [(night, Some(line)), (standard, None)] = &shown[..] else { panic!("{shown:?}") };
    assert_eq!((night.as_str(), standard.as_str()), ("night", "standard"));
    assert!(line.contains("task"), "{line}");
}

/// The times of the configuration in force, and not the defaults.
#[test]
fn a_request_without_an_answer_is_waited_for_as_long_as_the_configuration_says() {
    let mut harness = Harness::new();
    harness.poll.settle_timeout = 40 * MINUTE;
    harness.poll.settle_interval = MINUTE;
    harness.read(&[failed(1)]);
    harness.pass(2 * MINUTE);
    harness.send(&[failed(1)], Meaning::Unknown);
    let sent = harness.now;
    while harness.now.mono < sent.after(40 * MINUTE).mono {
        assert_eq!(harness.code(&[failed(1)]), "outcome-unknown");
        harness.pass(5 * MINUTE);
    }
    harness.code(&[failed(1)]);
    harness.pass(2 * MINUTE);
    assert_ne!(harness.code(&[failed(1)]), "outcome-unknown");
}
