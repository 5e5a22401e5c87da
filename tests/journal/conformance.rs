//! What every journal does, asked of each kind.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use proptest::prelude::*;
use tempfile::TempDir;
use upgrade_remediator::journal::memory::Failure;
use upgrade_remediator::journal::reader::Query;
use upgrade_remediator::journal::{
    Intent, Journal, JournalError, JournalReader, MemoryJournal, SqliteJournal, SqliteOptions,
};
use upgrade_remediator::model::answer::{Answer, Meaning};
use upgrade_remediator::model::breaker::{Healing, Opening};
use upgrade_remediator::model::cluster::Traits;
use upgrade_remediator::model::decision::{Action, Order, PassiveVerdict};
use upgrade_remediator::model::event::{
    Confirmation, Entry, Event, FailureSeen, Outcome, Shape, StoredEntry, Subject, TooLong,
};
use upgrade_remediator::model::hold::{Identified, NewHold, Scope, StoredHold};
use upgrade_remediator::model::id::{AttemptId, ClusterId, ProjectId, ProjectName, TaskId};
use upgrade_remediator::model::moment::{Moment, Mono};
use upgrade_remediator::model::names::{Named, Rename};
use upgrade_remediator::model::policy::{Mode, Terms};
use upgrade_remediator::model::reason::Reason;
use upgrade_remediator::model::setup::{Nodes, Place};
use upgrade_remediator::model::task::{TaskKind, TaskStatus};

/// A journal that can be left and come back to, as a restart does.
trait Kind {
    fn open(&self) -> (Journal, Vec<StoredEntry>);
    /// The holds, as somebody finds them who comes later.
    fn holds(&self) -> Vec<StoredHold>;
}

struct Memory(MemoryJournal);

impl Kind for Memory {
    fn open(&self) -> (Journal, Vec<StoredEntry>) {
        (self.0.clone().into(), self.0.stored())
    }
    fn holds(&self) -> Vec<StoredHold> {
        self.0.holds()
    }
}

struct Sqlite(TempDir);

impl Kind for Sqlite {
    fn open(&self) -> (Journal, Vec<StoredEntry>) {
        let (journal, entries) = open(&self.0.path().join("journal.db"));
        (journal.into(), entries)
    }
    fn holds(&self) -> Vec<StoredHold> {
        let path = self.0.path().join("journal.db");
        let read = JournalReader::open(&path).unwrap().holds().unwrap();
        assert_eq!(open(&path).0.holds(), read, "whoever reads sees what a daemon sees");
        read
    }
}

fn open(path: &Path) -> (SqliteJournal, Vec<StoredEntry>) {
    SqliteJournal::open(path, &SqliteOptions::new(wall(), 1)).unwrap()
}

fn sqlite() -> Sqlite {
    Sqlite(TempDir::new().unwrap())
}

fn memory() -> Memory {
    Memory(MemoryJournal::new(1))
}

fn wall() -> Timestamp {
    "2026-01-02T03:04:05.678Z".parse().unwrap()
}

fn at(seconds: u32) -> Moment {
    Moment { wall: wall(), mono: Mono(0) }.after(Duration::from_secs(seconds.into()))
}

fn subject(task: &str) -> Subject {
    Subject {
        project: ProjectName::new("prod").unwrap(),
        cluster: ClusterId::new("ea244205-d641-45d9-9dcb-ab2236bcd07e").unwrap(),
        task: TaskId::new(task).unwrap(),
    }
}

fn intent() -> Intent {
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

async fn every_event_comes_back_as_it_was(kind: &impl Kind) {
    let mut variants: Vec<_> = events().iter().map(variant).collect();
    variants.sort_unstable();
    variants.dedup();
    assert_eq!(variants, (0..VARIANTS).collect::<Vec<_>>());

    let (journal, before) = kind.open();
    assert!(before.is_empty());
    let lines: Vec<_> = events().into_iter().map(|event| (subject("task"), event)).collect();
    let entries = journal.record(at(0), lines.clone()).await.unwrap();
    let (subjects, kept): (Vec<_>, Vec<_>) =
        entries.iter().map(|entry| (entry.subject.clone(), entry.event.clone())).unzip();
    assert_eq!(subjects.into_iter().zip(kept).collect::<Vec<_>>(), lines);
    assert!(entries.iter().all(|entry| entry.at == at(0)), "the moment is the one given");
    drop(journal);
    same(&entries, &kind.open().1);
}

async fn numbers_grow_and_are_never_used_again(kind: &impl Kind) {
    let mut all: Vec<Entry> = Vec::new();
    for round in 0..3 {
        let (journal, stored) = kind.open();
        same(&all, &stored);
        for task in ["one", "two"] {
            let lines = vec![(subject(task), Event::Missing), (subject(task), Event::Reappeared)];
            all.extend(journal.record(at(round), lines).await.unwrap());
        }
    }
    assert!(all.is_sorted_by(|earlier, later| earlier.number < later.number));
    assert_eq!(all.len(), 12);
    assert!(all[0].number > 0);
}

async fn nothing_recorded_is_nothing_kept(kind: &impl Kind) {
    let (journal, _) = kind.open();
    assert!(journal.record(at(0), Vec::new()).await.unwrap().is_empty());
    drop(journal);
    assert!(kind.open().1.is_empty());
}

async fn an_attempt_has_the_number_of_its_intent(kind: &impl Kind) {
    let (journal, _) = kind.open();
    journal.record(at(0), vec![(subject("task"), Event::Missing)]).await.unwrap();
    let journaled = journal.begin(at(1), intent()).await.unwrap();
    assert_eq!(journaled.attempt(), AttemptId(journaled.entry().number));
    assert_eq!(journaled.value(), &intent());
    let attempt = journaled.attempt();
    drop(journal);
    let (_, stored) = kind.open();
    let kept = stored.last().unwrap();
    assert_eq!(AttemptId(kept.number), attempt);
    assert!(
        matches!(&kept.event, Event::Intent { action: Action::Retry, failure: 1, waited, reason }
            if *waited == intent().waited && *reason == intent().reason),
        "{kept:?}"
    );
}

async fn an_intent_for_another_task_than_its_order_is_refused(kind: &impl Kind) {
    let (journal, _) = kind.open();
    let intent = Intent { order: Order::Retry(TaskId::new("other").unwrap()), ..intent() };
    assert!(matches!(journal.begin(at(0), intent).await, Err(JournalError::OtherTask { .. })));
    drop(journal);
    assert!(kind.open().1.is_empty());
}

async fn what_many_record_at_once_stays_together(kind: &impl Kind) {
    let (journal, _) = kind.open();
    let journal = std::sync::Arc::new(journal);
    let mut waiting = tokio::task::JoinSet::new();
    for number in 0..200_u32 {
        let journal = std::sync::Arc::clone(&journal);
        let subject = subject(&format!("task-{number}"));
        waiting.spawn(async move {
            let lines = vec![(subject.clone(), Event::Missing), (subject, Event::Reappeared)];
            journal.record(at(number), lines).await.unwrap()
        });
    }
    let mut answered: Vec<Entry> = waiting.join_all().await.into_iter().flatten().collect();
    answered.sort_by_key(|entry| entry.number);
    drop(journal);
    same(&answered, &kind.open().1);
    assert_eq!(answered.len(), 400);
    for pair in answered.chunks(2) {
        assert_eq!(pair[0].subject, pair[1].subject);
        assert_eq!([&pair[0].event, &pair[1].event], [&Event::Missing, &Event::Reappeared]);
    }
}

macro_rules! conform {
    ($($behaviour:ident),* $(,)?) => {
        mod in_memory {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $behaviour() {
                super::$behaviour(&super::memory()).await;
            })*
        }
        mod in_sqlite {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $behaviour() {
                super::$behaviour(&super::sqlite()).await;
            })*
        }
    };
}

conform!(
    every_event_comes_back_as_it_was,
    numbers_grow_and_are_never_used_again,
    nothing_recorded_is_nothing_kept,
    an_attempt_has_the_number_of_its_intent,
    an_intent_for_another_task_than_its_order_is_refused,
    what_many_record_at_once_stays_together,
);

#[tokio::test]
async fn a_simulated_failure_keeps_what_it_was_asked_to_keep() {
    let memory = MemoryJournal::new(1);
    let journal = Journal::from(memory.clone());
    memory.fail_next(Failure::BeforeKeeping);
    memory.fail_next(Failure::AfterKeeping);
    assert!(journal.begin(at(0), intent()).await.is_err());
    assert!(memory.entries().is_empty());
    assert!(journal.begin(at(0), intent()).await.is_err());
    assert_eq!(memory.entries().len(), 1);
    memory.set_full(true);
    assert!(journal.begin(at(0), intent()).await.is_err());
    memory.set_full(false);
    assert_eq!(journal.begin(at(0), intent()).await.unwrap().attempt(), AttemptId(2));
}

async fn what_is_forgotten_is_gone_and_its_numbers_are_never_used_again(kind: &impl Kind) {
    let (journal, _) = kind.open();
    let line = |task: &str| (subject(task), Event::Missing);
    journal.record(at(0), vec![line("one"), line("two"), line("one"), line("three")]).await.unwrap();
    journal.forget(Vec::new()).await.unwrap();
    journal.forget(vec![subject("one"), subject("three"), subject("unknown")]).await.unwrap();
    drop(journal);
    let (journal, stored) = kind.open();
    assert_eq!(stored.iter().map(|entry| entry.number).collect::<Vec<_>>(), [2]);
    let entries = journal.record(at(1), vec![line("one")]).await.unwrap();
    assert_eq!(entries[0].number, 5);
}

#[tokio::test]
async fn memory_forgets() {
    what_is_forgotten_is_gone_and_its_numbers_are_never_used_again(&memory()).await;
}

#[tokio::test]
async fn sqlite_forgets() {
    what_is_forgotten_is_gone_and_its_numbers_are_never_used_again(&sqlite()).await;
}

async fn what_is_kept_of_a_breaker_outlives_the_task_that_it_was_kept_with(kind: &impl Kind) {
    let (journal, _) = kind.open();
    let attempt = AttemptId(1);
    let opened =
        Event::BreakerOpened { opening: Opening::ProbeFailed { attempt }, cooldown: Duration::from_mins(30) };
    let closed = Event::BreakerClosed { attempt, because: Healing::Succeeded };
    let lines = [("one", opened), ("two", Event::Missing), ("two", closed)];
    let lines = lines.map(|(task, event)| (subject(task), event)).to_vec();
    journal.record(at(0), lines).await.unwrap();
    journal.forget(vec![subject("one"), subject("two")]).await.unwrap();
    drop(journal);
    let (_, stored) = kind.open();
    let words: Vec<_> = stored.iter().map(|entry| entry.event.word()).collect();
    assert_eq!(words, ["breaker-opened", "breaker-closed"]);
}

#[tokio::test]
async fn memory_keeps_what_is_of_the_breaker() {
    what_is_kept_of_a_breaker_outlives_the_task_that_it_was_kept_with(&memory()).await;
}

#[tokio::test]
async fn sqlite_keeps_what_is_of_the_breaker() {
    what_is_kept_of_a_breaker_outlives_the_task_that_it_was_kept_with(&sqlite()).await;
}

async fn holds_and_their_release_come_back_as_they_were(kind: &impl Kind) {
    let new = |scope: &str, until: Option<Timestamp>| NewHold {
        at: wall(),
        scope: Scope::try_from(scope.to_owned()).unwrap(),
        cluster_name: scope.starts_with("cluster").then(|| "logs \"é\"".to_owned()),
        until,
        reason: "it's \n maintenance".to_owned(),
        by: "uid 1000".to_owned(),
    };
    let (journal, _) = kind.open();
    let mut expected = Vec::new();
    for (scope, until) in [("all", None), ("project:prod", Some(at(60).wall)), ("cluster:c-1", None)] {
        expected.push(journal.place_hold(new(scope, until)).await.unwrap());
    }
    let numbers: Vec<u64> = expected.iter().map(|hold| hold.number).collect();
    assert_eq!(numbers, [1, 2, 3]);
    journal.release_holds(at(5).wall, vec![1, 3], "uid 0".to_owned()).await.unwrap();
    journal.release_holds(at(9).wall, vec![1], "uid 7".to_owned()).await.unwrap();
    for released in [0, 2] {
        expected[released].released = Some((at(5).wall, "uid 0".to_owned()));
    }
    drop(journal);
    assert_eq!(kind.holds(), expected, "a release that was made is not made again");
}

#[tokio::test]
async fn holds_come_back_from_memory() {
    holds_and_their_release_come_back_as_they_were(&memory()).await;
}

#[tokio::test]
async fn holds_come_back_from_sqlite() {
    holds_and_their_release_come_back_as_they_were(&sqlite()).await;
}

#[tokio::test]
async fn times_are_kept_to_the_millisecond_in_both() {
    let precise = Moment { wall: "2026-01-02T03:04:05.678999Z".parse().unwrap(), mono: Mono(0) };
    let (memory, sqlite) = (memory(), sqlite());
    memory.open().0.record(precise, vec![(subject("t"), Event::Missing)]).await.unwrap();
    sqlite.open().0.record(precise, vec![(subject("t"), Event::Missing)]).await.unwrap();
    assert_eq!(memory.open().1, sqlite.open().1);
    assert_eq!(memory.open().1[0].at, wall());
}

#[tokio::test]
async fn ten_thousand_entries_load_in_order() {
    let kind = sqlite();
    let (journal, _) = kind.open();
    for task in 0..1_000 {
        let lines = (0..10).map(|n| (subject(&format!("task-{task}")), Event::Progress { completed: n }));
        journal.record(at(task), lines.collect()).await.unwrap();
    }
    drop(journal);
    let (_journal, stored) = kind.open();
    assert!(stored.iter().map(|entry| entry.number).eq(1..=10_000));
    for (place, entry) in (0_u32..).zip(&stored) {
        assert_eq!(entry.subject, subject(&format!("task-{}", place / 10)));
        assert_eq!(entry.event, Event::Progress { completed: place % 10 });
    }
    let path = kind.0.path().join("journal.db");
    assert_eq!(JournalReader::open(&path).unwrap().entries(&Query::default()).unwrap(), stored);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_text_and_any_number_comes_back(
        whole in any::<String>(),
        multiplier in 1.0..1e300_f64,
        milliseconds in 0..4_102_444_800_000_i64,
    ) {
        let kind = sqlite();
        let moment = Moment { wall: Timestamp::from_millisecond(milliseconds).unwrap(), mono: Mono(0) };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (journal, _) = kind.open();
        let lines = vec![(subject("task"), failure(&whole, multiplier))];
        let entries = runtime.block_on(journal.record(moment, lines)).unwrap();
        drop(journal);
        same(&entries, &kind.open().1);
    }
}

fn named(projects: &[(&str, &str)]) -> Vec<Named> {
    let named = |(name, id): &(&str, &str)| Named {
        name: ProjectName::new(name).unwrap(),
        id: (!id.is_empty()).then(|| ProjectId::new(id).unwrap()),
    };
    projects.iter().map(named).collect()
}

async fn what_is_kept_follows_the_id<K: Kind>(kind: &K) {
    let (journal, _) = kind.open();
    let now = Moment { wall: Timestamp::UNIX_EPOCH, mono: Mono(0) };
    let subject = |project: &str| Subject {
        project: ProjectName::new(project).unwrap(),
        cluster: ClusterId::new(&format!("of-{project}")).unwrap(),
        task: TaskId::new("task").unwrap(),
    };
    let unnamed = journal.identify(named(&[("a", "1"), ("b", "2")])).await.unwrap();
    assert!(unnamed.naming.renames.is_empty() && unnamed.holds.is_empty());
    for project in ["a", "b", "a"] {
        journal.record(now, vec![(subject(project), Event::Missing)]).await.unwrap();
    }
    for scope in ["project:a", "cluster:of-a", "all"] {
        let scope = Scope::try_from(scope.to_owned()).unwrap();
        let (reason, by) = ("x".to_owned(), "uid 0".to_owned());
        let hold = NewHold { at: now.wall, scope, cluster_name: None, until: None, reason, by };
        journal.place_hold(hold).await.unwrap();
    }
    let renames = |identified: &Identified| {
        let short = |rename: &Rename| format!("{}>{}", rename.from, rename.to);
        identified.naming.renames.iter().map(short).collect::<Vec<_>>()
    };
    // Exchanged, all at once.
    let exchanged = journal.identify(named(&[("b", "1"), ("a", "2")])).await.unwrap();
    assert_eq!(renames(&exchanged), ["a>b", "b>a"]);
    let again = journal.identify(named(&[("b", "1"), ("a", "2")])).await.unwrap();
    assert!(again.naming.renames.is_empty() && again.holds.is_empty(), "once is enough");
    // Another project takes a name: what was said about the name is said of both.
    let taken = journal.identify(named(&[("b", "3"), ("a", "2")])).await.unwrap();
    assert_eq!(renames(&taken), ["b>former-1-1"]);
    let scopes = |holds: &[StoredHold]| holds.iter().map(|hold| hold.scope.to_string()).collect::<Vec<_>>();
    assert_eq!(scopes(&taken.holds), ["project:b"]);
    drop(journal);
    let (_journal, entries) = kind.open();
    let kept: Vec<_> =
        entries.iter().map(|entry| format!("{}/{}", entry.subject.project, entry.subject.cluster)).collect();
    assert_eq!(kept, ["former-1-1/of-a", "a/of-b", "former-1-1/of-a"]);
    assert!(entries.iter().map(|entry| entry.number).eq(1..=3), "numbers and order stay");
}

#[tokio::test]
async fn what_is_kept_of_a_project_follows_its_id() {
    what_is_kept_follows_the_id(&Memory(MemoryJournal::new(1))).await;
    what_is_kept_follows_the_id(&Sqlite(TempDir::new().unwrap())).await;
    let kind = Sqlite(TempDir::new().unwrap());
    what_is_kept_follows_the_id(&kind).await;
    let scopes: Vec<_> = kind.holds().iter().map(|hold| hold.scope.to_string()).collect();
    assert_eq!(scopes, ["project:former-1-1", "cluster:of-a", "all", "project:b"]);
}
