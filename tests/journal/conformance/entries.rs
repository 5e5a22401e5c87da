//! What is recorded comes back as it was, under numbers that grow.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use tokio::task::JoinSet;
use upgrade_remediator::journal::{Intent, JournalError, Query};
use upgrade_remediator::model::answer::{Answer, Meaning};
use upgrade_remediator::model::breaker::{Healing, Opening};
use upgrade_remediator::model::cluster::Traits;
use upgrade_remediator::model::decision::{Action, Order, PassiveVerdict};
use upgrade_remediator::model::event::{
    Confirmation, Entry, Event, FailureSeen, Outcome, Shape, StoredEntry, Subject, TooLong,
};
use upgrade_remediator::model::id::{AttemptId, TaskId};
use upgrade_remediator::model::moment::{Moment, Mono};
use upgrade_remediator::model::policy::{Mode, Terms};
use upgrade_remediator::model::reason::Reason;
use upgrade_remediator::model::setup::{Nodes, Place};
use upgrade_remediator::model::task::{TaskKind, TaskStatus};

use super::{Kind, at, wall};

fn subject(task: &str) -> Subject {
    super::subject("prod", "c-1", task)
}

pub(crate) fn intent() -> Intent {
    Intent {
        subject: subject("task"),
        order: Order::Retry(TaskId::new("task").unwrap()),
        failure: 1,
        waited: Duration::from_millis(120_500),
        reason: Reason::RetryDue { retry: 1, max_retries: 5, waited: Duration::from_mins(2) },
    }
}

fn answer() -> Answer {
    Answer {
        meaning: Meaning::Busy,
        status: Some(400),
        code: Some("CSS.0078".to_owned()),
        message: "busy: \"quoted\" \u{0} \n 忙".to_owned(),
        request_id: None,
        retry_after: Some(Duration::from_millis(1_500)),
    }
}

fn failure(whole: &str, multiplier: f64) -> Event {
    let shape = Shape { execute_times: Some(u64::MAX), end_time: "2026-01-02T03:00:00".parse().ok() };
    let mut terms = Terms::defaults("logs", Mode::Enforce);
    terms.retry.multiplier = multiplier;
    Event::Failed(Box::new(FailureSeen {
        number: 1,
        status: TaskStatus::PartialFailed,
        shape,
        seen_before: Duration::from_millis(15_250),
        whole: whole.to_owned(),
        completed: Some(0),
        total: 3,
        failing: "node-1: stop".to_owned(),
        external: 0,
        too_old: false,
        age_unknown: false,
        seen_to_happen: true,
        terms: Some(terms),
        place: Place::default(),
    }))
}

/// One of each kind of event, and of those that hold others some more.
fn events() -> Vec<Event> {
    let attempt = AttemptId(7);
    let shape = Shape { execute_times: None, end_time: None };
    let reason = Reason::Backoff { retry: 2, max_retries: 5, wait: Duration::from_mins(4), until: wall() };
    let mut events = vec![
        Event::FirstSeen {
            kind: TaskKind::AzSwitchover,
            cluster_name: "logs-1 \"é\"".to_owned(),
            traits: Traits::default(),
            start_time: "2026-01-01T00:00:00".parse().ok(),
            execute_times: Some(2),
            completed: None,
            external: 1,
            setup: None,
            nodes: Nodes::default(),
        },
        Event::Running { execute_times: Some(2) },
        Event::Progress { completed: 1 },
        failure(&format!("{{\"id\":\"task\",\"pad\":\"{}\"}}", "é".repeat(200_000)), 0.1 + 0.2),
        Event::Changed {
            whole: "{}".to_owned(),
            shape: Shape { execute_times: Some(2), end_time: "2026-01-02T03:00:00".parse().ok() },
        },
        Event::ChangedExternally { changed: "endTime".to_owned() },
        Event::FellBack { highest: 3, read: 2 },
        Event::Missing,
        Event::AgeJudged { too_old: true },
        Event::Unpolled,
        Event::NewestSeen { start_time: "2026-01-01T00:00:00".parse().unwrap() },
        Event::Reappeared,
        Event::ConfirmingPoll { attempt, effect: true, status: TaskStatus::Other("NEW".to_owned()), shape },
        Event::Intent {
            action: Action::Abort,
            failure: 1,
            waited: Duration::from_mins(15),
            reason: reason.clone(),
        },
        Event::Answered { attempt, answer: answer() },
        Event::NotSent { attempt },
        Event::StillThere { attempt },
        Event::Decided { verdict: PassiveVerdict::Wait, reason },
        Event::Escalated { reason: Reason::NotAcceptable { answer: answer() } },
        Event::Escalated { reason: Reason::AbortUnknown { attempt, answer: None } },
    ];
    for settlement in [Confirmation::Accepted, Confirmation::WithoutEffect, Confirmation::NotAccepted] {
        events.push(Event::Confirmed { attempt, settlement });
    }
    let by = TaskId::new("newer").unwrap();
    for closing in [
        Outcome::ResolvedByRetry,
        Outcome::ResolvedExternally,
        Outcome::Aborted,
        Outcome::Superseded { by },
        Outcome::Gone,
    ] {
        events.push(Event::Ended(closing));
    }
    for opening in [
        Opening::ManyFailed { failures: 10, within: Duration::from_mins(10) },
        Opening::ProbeFailed { attempt },
        Opening::ProbeUnknown { attempt },
    ] {
        events.push(Event::BreakerOpened { opening, cooldown: Duration::from_mins(30) });
    }
    for failed in [None, Some(("{}".to_owned(), Shape { execute_times: Some(2), end_time: None }))] {
        let (by, why, command) = ("uid 1000".to_owned(), "room again".to_owned(), "c-1".to_owned());
        events.push(Event::Reset { by, why, command, failed });
    }
    let (ran, expected) = (Duration::from_mins(290), Duration::from_millis(1));
    for too_long in [TooLong::Whole { ran, expected }, TooLong::NoProgress { without: ran, expected }] {
        let (policy, nodes) = ("standard".to_owned(), 3);
        events.push(Event::RunningTooLong { too_long, policy, nodes, completed: None });
    }
    for because in [Healing::CompletedNode, Healing::Succeeded, Healing::StillRuns] {
        events.push(Event::BreakerClosed { attempt, because });
    }
    events
}

/// Every variant once: a new one does not compile until it has a number here, and `events` must have it.
fn variant(event: &Event) -> usize {
    match event {
        Event::FirstSeen { .. } => 0,
        Event::Running { .. } => 1,
        Event::Progress { .. } => 2,
        Event::Failed(_) => 3,
        Event::Changed { .. } => 4,
        Event::ChangedExternally { .. } => 5,
        Event::FellBack { .. } => 6,
        Event::Missing => 7,
        Event::Reappeared => 8,
        Event::ConfirmingPoll { .. } => 9,
        Event::Confirmed { .. } => 10,
        Event::Intent { .. } => 11,
        Event::Answered { .. } => 12,
        Event::NotSent { .. } => 13,
        Event::StillThere { .. } => 14,
        Event::Decided { .. } => 15,
        Event::Escalated { .. } => 16,
        Event::Ended(_) => 17,
        Event::BreakerOpened { .. } => 18,
        Event::BreakerClosed { .. } => 19,
        Event::Reset { .. } => 20,
        Event::RunningTooLong { .. } => 21,
        Event::AgeJudged { .. } => 22,
        Event::Unpolled => 23,
        Event::NewestSeen { .. } => 24,
    }
}

const VARIANTS: usize = 25;

fn same(entries: &[Entry], stored: &[StoredEntry]) {
    assert_eq!(entries.len(), stored.len());
    for (entry, stored) in entries.iter().zip(stored) {
        assert_eq!((entry.number, entry.at.wall), (stored.number, stored.at));
        assert_eq!((&entry.subject, &entry.event), (&stored.subject, &stored.event));
    }
}

pub(super) async fn every_event_comes_back_as_it_was(kind: &impl Kind) {
    let mut variants: Vec<_> = events().iter().map(variant).collect();
    variants.sort_unstable();
    variants.dedup();
    assert_eq!(variants, (0..VARIANTS).collect::<Vec<_>>());

    let journal = kind.open();
    let lines: Vec<_> = events().into_iter().map(|event| (subject("task"), event)).collect();
    let entries = journal.record(at(0), lines.clone()).await.unwrap();
    let (subjects, kept): (Vec<_>, Vec<_>) =
        entries.iter().map(|entry| (entry.subject.clone(), entry.event.clone())).unzip();
    assert_eq!(subjects.into_iter().zip(kept).collect::<Vec<_>>(), lines);
    assert!(entries.iter().all(|entry| entry.at == at(0)), "the moment is the one given");
    drop(journal);
    same(&entries, &kind.found().entries);
}

pub(super) async fn numbers_grow_and_are_never_used_again(kind: &impl Kind) {
    let mut all: Vec<Entry> = Vec::new();
    for round in 0..3 {
        same(&all, &kind.found().entries);
        let journal = kind.open();
        for task in ["one", "two"] {
            let lines = vec![(subject(task), Event::Missing), (subject(task), Event::Reappeared)];
            all.extend(journal.record(at(round), lines).await.unwrap());
        }
    }
    assert!(all.is_sorted_by(|earlier, later| earlier.number < later.number));
    assert_eq!(all.len(), 12);
    assert!(all[0].number > 0);
}

pub(super) async fn nothing_recorded_is_nothing_kept(kind: &impl Kind) {
    let journal = kind.open();
    assert!(journal.record(at(0), Vec::new()).await.unwrap().is_empty());
    drop(journal);
    assert!(kind.found().entries.is_empty());
}

pub(super) async fn an_attempt_has_the_number_of_its_intent(kind: &impl Kind) {
    let journal = kind.open();
    journal.record(at(0), vec![(subject("task"), Event::Missing)]).await.unwrap();
    let journaled = journal.begin(at(1), intent()).await.unwrap();
    assert_eq!(journaled.attempt(), AttemptId(journaled.entry().number));
    assert_eq!(journaled.value(), &intent());
    let attempt = journaled.attempt();
    drop(journal);
    let stored = kind.found().entries;
    let kept = stored.last().unwrap();
    assert_eq!(AttemptId(kept.number), attempt);
    assert!(
        matches!(&kept.event, Event::Intent { action: Action::Retry, failure: 1, waited, reason }
            if *waited == intent().waited && *reason == intent().reason),
        "{kept:?}"
    );
}

pub(super) async fn an_intent_for_another_task_than_its_order_is_refused(kind: &impl Kind) {
    let journal = kind.open();
    let intent = Intent { order: Order::Retry(TaskId::new("other").unwrap()), ..intent() };
    assert!(matches!(journal.begin(at(0), intent).await, Err(JournalError::OtherTask { .. })));
    drop(journal);
    assert!(kind.found().entries.is_empty());
}

pub(super) async fn what_many_record_at_once_stays_together(kind: &impl Kind) {
    let journal = kind.open();
    let journal = Arc::new(journal);
    let mut waiting = JoinSet::new();
    for number in 0..200_u64 {
        let journal = Arc::clone(&journal);
        let subject = subject(&format!("task-{number}"));
        waiting.spawn(async move {
            let lines = vec![(subject.clone(), Event::Missing), (subject, Event::Reappeared)];
            journal.record(at(number), lines).await.unwrap()
        });
    }
    let mut answered: Vec<Entry> = waiting.join_all().await.into_iter().flatten().collect();
    answered.sort_by_key(|entry| entry.number);
    drop(journal);
    same(&answered, &kind.found().entries);
    assert_eq!(answered.len(), 400);
    for pair in answered.chunks(2) {
        assert_eq!(pair[0].subject, pair[1].subject);
        assert_eq!([&pair[0].event, &pair[1].event], [&Event::Missing, &Event::Reappeared]);
    }
}

pub(super) async fn what_is_forgotten_is_gone_and_its_numbers_are_never_used_again(kind: &impl Kind) {
    let journal = kind.open();
    let line = |task: &str| (subject(task), Event::Missing);
    journal.record(at(0), vec![line("one"), line("two"), line("one"), line("three")]).await.unwrap();
    journal.forget(Vec::new()).await.unwrap();
    journal.forget(vec![subject("one"), subject("three"), subject("unknown")]).await.unwrap();
    drop(journal);
    let stored = kind.found().entries;
    assert_eq!(stored.iter().map(|entry| entry.number).collect::<Vec<_>>(), [2]);
    let entries = kind.open().record(at(1), vec![line("one")]).await.unwrap();
    assert_eq!(entries[0].number, 5);
}

pub(super) async fn what_is_kept_of_a_breaker_outlives_the_task_that_it_was_kept_with(kind: &impl Kind) {
    let journal = kind.open();
    let attempt = AttemptId(1);
    let opened =
        Event::BreakerOpened { opening: Opening::ProbeFailed { attempt }, cooldown: Duration::from_mins(30) };
    let closed = Event::BreakerClosed { attempt, because: Healing::Succeeded };
    let lines = [("one", opened), ("two", Event::Missing), ("two", closed)];
    let lines = lines.map(|(task, event)| (subject(task), event)).to_vec();
    journal.record(at(0), lines).await.unwrap();
    journal.forget(vec![subject("one"), subject("two")]).await.unwrap();
    drop(journal);
    let stored = kind.found().entries;
    let words: Vec<_> = stored.iter().map(|entry| entry.event.word()).collect();
    assert_eq!(words, ["breaker-opened", "breaker-closed"]);
}

pub(super) async fn times_are_kept_to_the_millisecond(kind: &impl Kind) {
    let precise = Moment { wall: "2026-01-02T03:04:05.678999Z".parse().unwrap(), mono: Mono(0) };
    kind.open().record(precise, vec![(subject("t"), Event::Missing)]).await.unwrap();
    assert_eq!(kind.found().entries[0].at, wall());
}

pub(super) async fn ten_thousand_entries_load_in_order(kind: &impl Kind) {
    let journal = kind.open();
    for task in 0..1_000 {
        let lines = (0..10).map(|n| (subject(&format!("task-{task}")), Event::Progress { completed: n }));
        journal.record(at(task), lines.collect()).await.unwrap();
    }
    let read = journal.entries(Query::default()).await.unwrap();
    drop(journal);
    let stored = kind.found().entries;
    assert!(stored.iter().map(|entry| entry.number).eq(1..=10_000));
    for (place, entry) in (0_u32..).zip(&stored) {
        assert_eq!(entry.subject, subject(&format!("task-{}", place / 10)));
        assert_eq!(entry.event, Event::Progress { completed: place % 10 });
    }
    assert_eq!(read, stored);
}

pub(super) async fn any_text_and_any_number_comes_back(kind: &impl Kind) {
    let any = (any::<String>(), 1.0..1e300_f64, 0..4_102_444_800_000_u64);
    let (mut runner, mut entries) = (TestRunner::default(), Vec::new());
    let journal = kind.open();
    for _ in 0..64 {
        let (whole, multiplier, milliseconds) = any.new_tree(&mut runner).unwrap().current();
        let at = at(0).after(Duration::from_millis(milliseconds));
        let lines = vec![(subject("task"), failure(&whole, multiplier))];
        entries.extend(journal.record(at, lines).await.unwrap());
    }
    drop(journal);
    same(&entries, &kind.found().entries);
}
