//! Once, in time, and with everything that happened: over kills, dead channels and storms.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use upgrade_remediator::journal::Journal;
use upgrade_remediator::model::breaker::Opening;
use upgrade_remediator::model::condition::{Code, Condition, Standing};
use upgrade_remediator::model::decision::{Action, PassiveVerdict};
use upgrade_remediator::model::event::{Event, Outcome, Subject, TooLong};
use upgrade_remediator::model::hold::Scope;
use upgrade_remediator::model::id::{ClusterId, ProjectId, ProjectName};
use upgrade_remediator::model::names::Named;
use upgrade_remediator::model::outbox::OutboxWrite;
use upgrade_remediator::model::outlook::NextRequest;
use upgrade_remediator::model::project::PauseCause;
use upgrade_remediator::model::reason::Reason;
use upgrade_remediator::notify::channel::{Channel, Sending, Taken};
use upgrade_remediator::notify::kind::Kind;
use upgrade_remediator::notify::message::Message;
use upgrade_remediator::notify::notice::Notice;

use crate::harness::{
    HOUR, Harness, MINUTE, Manner, SECOND, accepted, escalated, failed, fails, first_seen, sends, subject,
    terms,
};

#[tokio::test(start_paused = true)]
async fn a_failure_is_told_within_seconds_and_once() {
    let harness = Harness::new(&["ops"]).await;
    harness.pass(MINUTE).await;
    let next = NextRequest { action: Action::Retry, at: at("2026-06-01T12:02:00Z") };
    harness.foresees(&[], Some(next));
    harness.journal("prod", "logs", fails("logs", Some("standard"))).await;
    harness.pass(3 * SECOND).await;
    assert_eq!(harness.channel("ops").kinds(), ["first-failure"]);
    let (at, message) = harness.channel("ops").taken().remove(0);
    assert!(at <= MINUTE + 3 * SECOND, "{at:?}");
    assert_eq!(message.notices[0].next, "retry at 2026-06-01 12:02:00 UTC");
    harness.pass(HOUR).await;
    assert_eq!(harness.channel("ops").taken().len(), 1);
    let counts = harness.post.counts().remove(0);
    assert_eq!((counts.sent, counts.notices, counts.failed, counts.waiting), (1, 1, 0, 0));
}

fn at(time: &str) -> jiff::Timestamp {
    time.parse().unwrap()
}

#[tokio::test(start_paused = true)]
async fn no_message_announces_a_request_that_something_in_force_will_stop() {
    let hold = Reason::OnHold {
        hold: 3,
        scope: Scope::All,
        by: "uid 1000".to_owned(),
        why: "an incident".to_owned(),
        until: None,
    };
    let opening = Opening::ManyFailed { failures: 10, within: 10 * MINUTE };
    let opens = at("2026-06-01T22:00:00Z");
    let table = [
        (hold, "on-hold", "(ended by: upgrade-remediator release all)"),
        (Reason::BreakerOpen { opening, until: opens }, "breaker-open", "from 2026-06-01 22:00:00 UTC on"),
        (Reason::WindowClosed { opens: Some(opens) }, "window-closed", "opens at 2026-06-01 22:00:00 UTC"),
        (
            Reason::DryRun { action: Action::Retry },
            "dry-run",
            "with mode = \"enforce\" the daemon would retry",
        ),
    ];
    for (block, code, end) in table {
        let harness = Harness::new(&["ops"]).await;
        harness.foresees(std::slice::from_ref(&block), None);
        // The journal alone would have a retry sent two minutes later, and then an abort.
        harness.journal("prod", "logs", fails("logs", Some("standard"))).await;
        harness.pass(2 * MINUTE).await;
        let until = at("2026-06-01T12:20:00Z");
        let reason =
            Reason::AbortPending { used: 5, external: 0, grace: 15 * MINUTE, after_put: None, until };
        let decided = Event::Decided { verdict: PassiveVerdict::Wait, reason };
        harness.journal("prod", "logs", vec![failed(2, 0, Some(terms("standard"))), decided]).await;
        harness.pass(2 * MINUTE).await;
        let told = harness.channel("ops").taken();
        assert_eq!(harness.channel("ops").kinds(), ["first-failure", "exhausted"]);
        for (_, message) in told {
            let notice = &message.notices[0];
            let next = format!("nothing while the request is blocked: {block}");
            assert!(notice.next.starts_with(&next), "{notice:?}");
            assert!(notice.next.contains(end), "{notice:?}");
            assert!(!notice.title.contains(" at "), "{notice:?}");
            let short = Message { short: true, ..message.clone() }.text(2_000);
            assert!(short.contains(end) && message.text(20_000).contains(end), "{short}");
            let json = &message.to_json()["notices"][0]["outlook"];
            assert_eq!((&json["blocked_by"][0]["code"], &json["next"]), (&code.into(), &Value::Null));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_block_that_ends_by_itself_is_named_with_the_request_after_it() {
    let harness = Harness::new(&["ops"]).await;
    let opens = Reason::WindowClosed { opens: Some(at("2026-06-01T22:00:00Z")) };
    let next = NextRequest { action: Action::Retry, at: at("2026-06-01T22:02:00Z") };
    harness.foresees(&[opens], Some(next));
    harness.journal("prod", "logs", fails("logs", Some("standard"))).await;
    harness.pass(MINUTE).await;
    let (_, message) = harness.channel("ops").taken().remove(0);
    assert_eq!(
        message.notices[0].next,
        "retry at 2026-06-01 22:02:00 UTC, once it is no longer blocked: the policy's window is closed, and opens \
         at 2026-06-01 22:00:00 UTC"
    );
}

/// A channel of a receiver that forgets, with one task that lasts.
#[derive(Default)]
struct Forgetful(Mutex<Vec<String>>);

impl Channel for Forgetful {
    fn kind(&self) -> &'static str {
        "alertmanager"
    }

    fn send<'a>(&'a self, _: &'a Message) -> Sending<'a> {
        Box::pin(async { Ok(Taken::default()) })
    }

    fn stands(&self, notices: Vec<Notice>) {
        self.0.lock().unwrap().extend(notices.into_iter().map(|notice| notice.next));
    }

    fn lasting(&self) -> Vec<Subject> {
        vec![subject("prod", "logs")]
    }

    fn comes_next(&self, _: &Subject, next: &str) {
        self.0.lock().unwrap().push(next.to_owned());
    }

    fn repeats(&self) -> Option<Duration> {
        Some(MINUTE)
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_told_again_says_what_comes_next_by_then() {
    let mut harness = Harness::new(&["ops"]).await;
    let channel = Arc::new(Forgetful::default());
    harness.journal("prod", "logs", fails("logs", Some("standard"))).await;
    harness.foresees(&[], Some(NextRequest { action: Action::Retry, at: at("2026-06-01T12:02:00Z") }));
    harness.reload(|routes| drop(routes.channels.insert("am".to_owned(), channel.clone())));
    harness.pass(SECOND).await;
    harness.foresees(&[Reason::DryRun { action: Action::Retry }], None);
    harness.pass(MINUTE).await;
    let told = channel.0.lock().unwrap().clone();
    assert_eq!(told[0], "retry at 2026-06-01 12:02:00 UTC");
    assert!(
        told[1].starts_with("nothing while the request is blocked: no request is sent in dry-run; "),
        "{told:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn what_stands_at_the_start_is_told_with_what_blocks_it_and_so_is_a_reminder() {
    let mut harness = Harness::new(&["ops"]).await;
    let channel = Arc::new(Forgetful::default());
    harness.reload(|routes| {
        routes.channels.insert("am".to_owned(), channel.clone());
        routes.default.push("am".to_owned());
    });
    harness.journal("prod", "logs", fails("logs", Some("standard"))).await;
    harness.pass(SECOND).await;
    harness.kill().await;
    harness.foresees(&[Reason::DryRun { action: Action::Retry }], None);
    channel.0.lock().unwrap().clear();
    harness.start().await;
    harness.pass(SECOND).await;
    let told = channel.0.lock().unwrap().remove(0);
    assert!(
        told.starts_with("nothing while the request is blocked: no request is sent in dry-run; "),
        "{told}"
    );
    harness.foresees(&[], None);
    harness.journal("prod", "logs", vec![escalated()]).await;
    harness.pass(2 * HOUR).await;
    let told = harness.channel("ops").taken();
    let notices = told.iter().flat_map(|(_, message)| &message.notices);
    let reminders: Vec<_> = notices.filter(|notice| notice.kind == Kind::Reminder).collect();
    assert_eq!(reminders.len(), 1, "{told:?}");
    assert_eq!(reminders[0].next, "nothing until an operator acts");
    assert!(reminders[0].outlook.as_ref().is_some_and(|outlook| outlook.needs_attention), "{reminders:?}");
}

#[tokio::test(start_paused = true)]
async fn of_a_task_that_no_project_knows_no_request_is_announced() {
    let harness = Harness::new(&["ops"]).await;
    harness.journal("prod", "logs", fails("logs", Some("standard"))).await;
    harness.pass(MINUTE).await;
    let (_, message) = harness.channel("ops").taken().remove(0);
    assert!(
        message.notices[0]
            .next
            .starts_with("nothing while the request is blocked: the daemon does not watch "),
        "{message:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_whole_story_is_told_in_its_order() {
    let harness = Harness::new(&["ops"]).await;
    harness.journal("prod", "logs", fails("logs", Some("standard"))).await;
    harness.pass(2 * MINUTE).await;
    let put = harness.journal("prod", "logs", vec![sends(Action::Retry, 1)]).await;
    harness.journal("prod", "logs", vec![accepted(put), Event::Running { execute_times: Some(2) }]).await;
    harness.pass(2 * MINUTE).await;
    // That it failed again after a retry is told by what is done about it.
    harness.journal("prod", "logs", vec![failed(2, 0, Some(terms("standard")))]).await;
    let until = "2026-06-01T12:20:00Z".parse().unwrap();
    let pending = Reason::AbortPending { used: 5, external: 0, grace: 15 * MINUTE, after_put: None, until };
    harness
        .journal("prod", "logs", vec![Event::Decided { verdict: PassiveVerdict::Wait, reason: pending }])
        .await;
    harness.pass(2 * MINUTE).await;
    let put = harness.journal("prod", "logs", vec![sends(Action::Abort, 5)]).await;
    harness.journal("prod", "logs", vec![accepted(put), Event::Ended(Outcome::Aborted)]).await;
    harness.pass(2 * MINUTE).await;
    assert_eq!(harness.channel("ops").kinds(), ["first-failure", "retry-sent", "exhausted", "aborted"]);
}

#[tokio::test(start_paused = true)]
async fn what_was_handed_over_is_still_told_of() {
    let harness = Harness::new(&["ops"]).await;
    harness.journal("prod", "logs", fails("logs", Some("standard"))).await;
    for events in [
        vec![escalated()],
        vec![Event::Running { execute_times: Some(2) }],
        vec![failed(2, 0, Some(terms("standard")))],
        vec![Event::Running { execute_times: Some(3) }],
        vec![Event::Ended(Outcome::ResolvedExternally)],
    ] {
        harness.pass(2 * MINUTE).await;
        harness.journal("prod", "logs", events).await;
    }
    harness.pass(2 * MINUTE).await;
    assert_eq!(
        harness.channel("ops").kinds(),
        [
            "first-failure",
            "escalated",
            "running-again",
            "failed-again",
            "running-again",
            "resolved-externally"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_task_that_only_runs_and_succeeds_is_nobodys_business() {
    let harness = Harness::new(&["ops"]).await;
    let events = vec![
        first_seen("logs"),
        Event::Running { execute_times: Some(1) },
        Event::Progress { completed: 1 },
        Event::Ended(Outcome::ResolvedExternally),
    ];
    harness.journal("prod", "logs", events).await;
    harness.pass(HOUR).await;
    assert_eq!(harness.channel("ops").kinds(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_task_that_runs_too_long_is_told_to_whom_its_policy_names() {
    let mut harness = Harness::new(&["ops", "search"]).await;
    harness.reload(|routes| {
        routes.by_policy = BTreeMap::from([("logs".to_owned(), vec!["search".to_owned()])]);
    });
    let too_long = TooLong::Whole { ran: 9 * HOUR, expected: 5 * HOUR };
    let events = vec![
        first_seen("logs"),
        Event::Running { execute_times: Some(1) },
        Event::RunningTooLong { too_long, policy: "logs".to_owned(), nodes: 3, completed: Some(1) },
    ];
    harness.journal("prod", "logs", events).await;
    harness.pass(HOUR).await;
    assert_eq!(harness.channel("ops").kinds(), [""; 0]);
    assert_eq!(harness.channel("search").kinds(), ["running-too-long"]);
    let (_, message) = harness.channel("search").taken().remove(0);
    let notice = &message.notices[0];
    assert_eq!(notice.title, "logs: running too long");
    assert!(notice.what.contains("policy logs expects at most 5h for 3 nodes"), "{}", notice.what);
    assert_eq!(notice.next, "nothing while the task runs");
}

#[tokio::test(start_paused = true)]
async fn policies_say_whom_to_tell() {
    let mut harness = Harness::new(&["ops", "search", "quiet"]).await;
    harness.reload(|routes| {
        routes.by_policy = BTreeMap::from([
            ("logs".to_owned(), vec!["search".to_owned(), "search".to_owned()]),
            ("test".to_owned(), Vec::new()),
        ]);
    });
    harness.journal("prod", "a", fails("a", Some("logs"))).await;
    harness.journal("prod", "b", fails("b", Some("test"))).await;
    harness.journal("prod", "c", fails("c", Some("other"))).await;
    harness.journal("prod", "d", fails("d", None)).await;
    harness.pass(MINUTE).await;
    harness.journal("prod", "a", vec![escalated()]).await;
    harness.pass(2 * MINUTE).await;
    let names = |channel: &str| -> Vec<String> {
        let taken = harness.channel(channel).taken();
        taken.iter().flat_map(|(_, message)| &message.notices).map(|notice| notice.title.clone()).collect()
    };
    assert_eq!(names("search"), ["a: upgrade failed", "a: needs an operator"]);
    assert_eq!(names("ops"), ["c: upgrade failed", "d: upgrade failed"]);
    assert_eq!(names("quiet"), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_storm_of_ten_thousand_is_one_message_a_minute() {
    let harness = Harness::new(&["ops"]).await;
    for n in 0..10_000 {
        let name = format!("c{n}");
        harness.journal("prod", &name, fails(&name, Some("standard"))).await;
        // Over an hour and a half.
        if n % 2 == 0 {
            harness.pass(SECOND).await;
        }
    }
    harness.journal("other", "elsewhere", fails("elsewhere", Some("standard"))).await;
    harness.pass(3 * MINUTE).await;
    let taken = harness.channel("ops").taken();
    let total: u64 = taken.iter().map(|(_, message)| message.total()).sum();
    assert_eq!(total, 10_001);
    let of = |project: &str| -> Vec<Duration> {
        taken.iter().filter(|(_, message)| message.project == project).map(|(at, _)| *at).collect()
    };
    assert!(of("prod").windows(2).all(|pair| pair[1] >= pair[0] + MINUTE), "{:?}", of("prod"));
    assert!(of("prod").len() <= 90 && of("other").len() == 1);
    for (_, message) in &taken {
        assert!(message.notices.len() <= 10);
        assert!(message.text(15_000).len() <= 15_000);
    }
    assert_eq!(harness.post.counts()[0].waiting, 0);
}

#[tokio::test(start_paused = true)]
async fn a_storm_at_a_dead_channel_is_bounded_and_told_in_numbers() {
    let mut harness = Harness::new(&["ops"]).await;
    harness.channel("ops").set(Manner::Fails);
    for n in 0..10_000 {
        let name = format!("c{n}");
        harness.journal("prod", &name, fails(&name, Some("standard"))).await;
    }
    harness.pass(HOUR).await;
    let waiting = harness.post.counts().remove(0);
    assert_eq!((waiting.waiting, waiting.sent), (10_000, 0));
    assert!(waiting.failing_since.is_some() && waiting.last_error.is_some());
    harness.kill().await;
    harness.start().await;
    harness.channel("ops").set(Manner::Takes);
    harness.pass(3 * MINUTE).await;
    let taken = harness.channel("ops").taken();
    assert_eq!(taken.iter().map(|(_, message)| message.total()).sum::<u64>(), 10_000);
    assert!(taken.len() <= 2, "{}", taken.len());
}

#[tokio::test(start_paused = true)]
async fn a_dead_channel_holds_up_no_other_and_is_tried_ever_more_seldom() {
    let harness = Harness::new(&["ops", "night"]).await;
    harness.channel("ops").set(Manner::Hangs);
    let mut both = harness;
    both.reload(|routes| routes.default = vec!["ops".to_owned(), "night".to_owned()]);
    let harness = both;
    harness.journal("prod", "logs", fails("logs", Some("standard"))).await;
    harness.pass(5 * SECOND).await;
    assert_eq!(harness.channel("night").kinds(), ["first-failure"]);
    harness.pass(40 * SECOND).await;
    harness.channel("ops").set(Manner::Fails);
    harness.pass(3 * HOUR).await;
    let tries = harness.channel("ops").tries();
    let gaps: Vec<Duration> = tries.windows(2).map(|pair| pair[1].0.saturating_sub(pair[0].0)).collect();
    assert!(gaps.iter().all(|gap| *gap >= 8 * SECOND && *gap <= 11 * MINUTE), "{gaps:?}");
    assert!(gaps.last().unwrap() >= &(7 * MINUTE), "{gaps:?}");
    assert!((20..=40).contains(&tries.len()), "{}", tries.len());
    assert!(tries.iter().all(|(_, message)| message.id == tries[0].1.id), "it is the same message");
    let counts = harness.post.counts();
    assert_eq!(counts.iter().map(|counts| counts.name.as_str()).collect::<Vec<_>>(), ["night", "ops"]);
    assert_eq!((counts[1].waiting, counts[1].sent), (1, 0));
    assert_eq!(counts[1].failed, tries.len() as u64);
    assert_eq!(counts[1].last_error.as_deref(), Some("nobody answers"));
    // What has happened meanwhile is the next message.
    harness.journal("prod", "logs", vec![escalated()]).await;
    harness.pass(20 * MINUTE).await;
    harness.channel("ops").set(Manner::Takes);
    harness.pass(15 * MINUTE).await;
    assert_eq!(harness.channel("ops").kinds(), ["first-failure", "escalated"]);
    let counts = harness.post.counts();
    assert_eq!((counts[1].failing_since, counts[1].waiting), (None, 0));
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_asks_to_wait_is_heeded() {
    let harness = Harness::new(&["ops"]).await;
    harness.channel("ops").set(Manner::AsksToWait(30 * MINUTE));
    harness.journal("prod", "logs", fails("logs", Some("standard"))).await;
    harness.pass(29 * MINUTE).await;
    assert_eq!(harness.channel("ops").tries().len(), 1);
    harness.channel("ops").set(Manner::Takes);
    harness.pass(2 * MINUTE).await;
    assert_eq!(harness.channel("ops").kinds(), ["first-failure"]);
}

#[tokio::test(start_paused = true)]
async fn a_second_try_comes_when_its_wait_is_over_and_not_a_minute_after_the_first() {
    let harness = Harness::new(&["ops"]).await;
    for (manner, shortest, longest) in [
        (Manner::Fails, 8 * SECOND, 12 * SECOND),
        (Manner::Refuses, 8 * SECOND, 12 * SECOND),
        (Manner::AsksToWait(20 * SECOND), 20 * SECOND, 21 * SECOND),
    ] {
        let before = harness.channel("ops").tries().len();
        harness.channel("ops").set(manner.clone());
        harness.journal("prod", "logs", fails("logs", Some("standard"))).await;
        harness.pass(5 * SECOND).await;
        harness.channel("ops").set(Manner::Takes);
        harness.pass(40 * SECOND).await;
        let tries = harness.channel("ops").tries();
        assert_eq!(tries.len(), before + 2, "{manner:?}");
        let gap = tries[before + 1].0.saturating_sub(tries[before].0);
        assert!(gap >= shortest && gap <= longest, "{manner:?}: {gap:?}");
        // The minute is between messages that were taken.
        harness.journal("prod", "other", fails("other", Some("standard"))).await;
        harness.pass(2 * MINUTE).await;
        let taken = harness.channel("ops").taken();
        let [.., one, next] = taken.as_slice() else { panic!("{taken:?}") };
        assert!(next.0 >= one.0 + MINUTE && next.0 <= one.0 + MINUTE + SECOND, "{:?} {:?}", one.0, next.0);
        harness.pass(2 * MINUTE).await;
    }
}

#[tokio::test(start_paused = true)]
async fn who_is_refused_while_others_are_not_is_named_once_and_holds_up_nothing() {
    let log = tempfile::NamedTempFile::new().unwrap();
    let writer = Arc::new(log.reopen().unwrap());
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(writer).finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let harness = Harness::new(&["ops"]).await;
    let named = || {
        let log = std::fs::read_to_string(log.path()).unwrap();
        let of = |who: &str| {
            log.matches(&format!("a message was accepted, but not for {who}: 550 no such user")).count()
        };
        (of("gone@example.com"), of("old@example.com"))
    };
    for (who, times) in
        [("gone@example.com", (1, 0)), ("gone@example.com", (1, 0)), ("old@example.com", (1, 1))]
    {
        harness.channel("ops").set(Manner::TakesBut(who));
        harness.journal("prod", "logs", fails("logs", Some("standard"))).await;
        harness.pass(2 * MINUTE).await;
        assert_eq!(named(), times);
    }
    assert_eq!(harness.channel("ops").tries().len(), 3);
    let counts = harness.post.counts().remove(0);
    assert_eq!((counts.sent, counts.failed, counts.waiting), (3, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_again_and_again_is_told_in_short() {
    let harness = Harness::new(&["ops"]).await;
    harness.channel("ops").set(Manner::Refuses);
    harness.journal("prod", "logs", fails("logs", Some("standard"))).await;
    harness.pass(10 * MINUTE).await;
    let tries = harness.channel("ops").tries();
    assert!(tries.len() >= 4);
    assert!(tries.iter().take(3).all(|(_, message)| !message.short));
    assert!(tries.iter().skip(3).all(|(_, message)| message.short));
    assert!(tries[3].1.text(15_000).len() < tries[0].1.text(15_000).len());
}

#[tokio::test(start_paused = true)]
async fn a_kill_loses_nothing_and_repeats_only_what_was_on_its_way() {
    for kill_after in 0..12 {
        let mut harness = Harness::new(&["ops"]).await;
        let mut told = Vec::new();
        for n in 0..6_u64 {
            let name = format!("c{n}");
            harness.journal("prod", &name, fails(&name, Some("standard"))).await;
            // Before it was read, while it gathers, after it was sent, and in between.
            harness.pass(Duration::from_millis(kill_after * 250)).await;
            harness.kill().await;
            told.push(name);
            harness.start().await;
        }
        harness.pass(10 * MINUTE).await;
        let taken = harness.channel("ops").taken();
        let mut titles: Vec<String> = Vec::new();
        let mut seen: BTreeMap<String, Message> = BTreeMap::new();
        for (_, message) in &taken {
            if seen.insert(message.id.clone(), message.clone()).is_none() {
                titles.extend(message.notices.iter().map(|notice| notice.title.clone()));
            }
        }
        titles.sort();
        let expected: Vec<String> = told.iter().map(|name| format!("{name}: upgrade failed")).collect();
        assert_eq!(titles, expected, "killed after {kill_after} quarters of a second");
        let notes: u64 = taken.iter().map(|(_, message)| message.total()).sum();
        assert!(notes <= 7, "more than one message was repeated: {notes}");
    }
}

#[tokio::test(start_paused = true)]
async fn projects_that_exchange_their_names_lose_no_notification_and_repeat_none() {
    let named = |names: [(&str, &str); 2]| {
        let named = |(name, id): (&str, &str)| Named {
            name: ProjectName::new(name).unwrap(),
            id: Some(ProjectId::new(id).unwrap()),
        };
        names.map(named).to_vec()
    };
    for killed in [false, true] {
        let mut harness = Harness::new(&["ops"]).await;
        let journal = Journal::from(harness.journal.clone());
        journal.identify(named([("a", "1"), ("b", "2")])).await.unwrap();
        // The numbers of one project are behind those of the other.
        for (project, name) in [("a", "of-1"), ("b", "of-2"), ("b", "of-2-too")] {
            harness.journal(project, name, fails(name, Some("standard"))).await;
            harness.pass(5 * MINUTE).await;
        }
        let paused = harness.post.pause_notes().await;
        let exchanged = journal.identify(named([("b", "1"), ("a", "2")])).await.unwrap();
        // Journaled before anybody knows of the names.
        harness.journal("b", "of-1-too", fails("of-1-too", Some("standard"))).await;
        harness.pass(5 * MINUTE).await;
        harness.post.renamed(&exchanged.naming);
        drop(paused);
        if killed {
            harness.kill().await;
            harness.start().await;
        }
        harness.journal("a", "of-2-again", fails("of-2-again", Some("standard"))).await;
        harness.pass(5 * MINUTE).await;
        let taken = harness.channel("ops").taken();
        let notices = taken.iter().flat_map(|(_, message)| &message.notices);
        let mut found: Vec<_> =
            notices.map(|notice| (notice.title.clone(), notice.project.clone())).collect();
        found.sort();
        let expected =
            [("of-1", "a"), ("of-1-too", "b"), ("of-2", "b"), ("of-2-again", "a"), ("of-2-too", "b")];
        let mut expected =
            expected.map(|(name, project)| (format!("{name}: upgrade failed"), project.to_owned()));
        expected.sort();
        assert_eq!(found, expected, "killed: {killed}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_whose_answer_was_lost_goes_out_again_under_the_same_id() {
    let mut harness = Harness::new(&["ops"]).await;
    harness.channel("ops").set(Manner::TakesAndFails);
    harness.journal("prod", "a", fails("a", Some("standard"))).await;
    harness.pass(5 * SECOND).await;
    harness.kill().await;
    harness.journal("prod", "b", fails("b", Some("standard"))).await;
    harness.start().await;
    harness.channel("ops").set(Manner::Takes);
    harness.pass(5 * MINUTE).await;
    let taken = harness.channel("ops").taken();
    assert_eq!(harness.channel("ops").kinds(), ["first-failure"; 3]);
    assert_eq!(taken[0].1.id, taken[1].1.id);
    assert_eq!(taken[0].1.notices[0].title, taken[1].1.notices[0].title);
    assert_ne!(taken[1].1.id, taken[2].1.id);
}

#[tokio::test(start_paused = true)]
async fn a_stop_in_order_keeps_what_was_told() {
    let mut harness = Harness::new(&["ops"]).await;
    harness.pass(SECOND).await;
    harness.finds(vec![unreachable("sign-in")], Vec::new());
    let running = harness.running.take().unwrap();
    running.stop(&*harness.clock).await.unwrap();
    assert_eq!(harness.channel("ops").tries().len(), 0);
    harness.start().await;
    harness.pass(5 * SECOND).await;
    assert_eq!(harness.channel("ops").kinds(), ["unreachable"]);
}

#[tokio::test(start_paused = true)]
async fn one_look_ends_once_everything_was_tried() {
    let mut harness = Harness::new(&["ops", "dead"]).await;
    harness.channel("dead").set(Manner::Fails);
    harness.reload(|routes| routes.default = vec!["ops".to_owned(), "dead".to_owned()]);
    harness.pass(SECOND).await;
    harness.journal("prod", "a", fails("a", Some("standard"))).await;
    harness.journal("other", "b", fails("b", Some("standard"))).await;
    let running = harness.running.take().unwrap();
    running.finish(&*harness.clock, 20 * SECOND).await.unwrap();
    assert!(harness.clock.passed() < 3 * SECOND, "{:?}", harness.clock.passed());
    assert_eq!(harness.channel("ops").kinds(), ["first-failure"; 2]);
    assert_eq!(harness.channel("dead").tries().len(), 1);
    harness.channel("dead").set(Manner::Takes);
    harness.start().await;
    harness.pass(MINUTE).await;
    assert_eq!(harness.channel("dead").kinds(), ["first-failure"; 2]);
    assert_eq!(harness.channel("ops").taken().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn one_look_does_not_wait_for_a_channel_that_hangs() {
    let mut harness = Harness::new(&["ops"]).await;
    harness.channel("ops").set(Manner::Hangs);
    harness.journal("prod", "a", fails("a", Some("standard"))).await;
    harness.pass(SECOND).await;
    let running = harness.running.take().unwrap();
    running.finish(&*harness.clock, 20 * SECOND).await.unwrap();
    assert!(harness.clock.passed() <= 24 * SECOND, "{:?}", harness.clock.passed());
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_a_human_is_told_again_thrice() {
    let mut harness = Harness::new(&["ops"]).await;
    harness.journal("prod", "a", fails("a", Some("standard"))).await;
    harness.journal("prod", "b", fails("b", Some("standard"))).await;
    harness.pass(MINUTE).await;
    harness.journal("prod", "a", vec![escalated()]).await;
    harness.journal("prod", "b", vec![escalated()]).await;
    harness.pass(90 * MINUTE).await;
    harness.journal("prod", "b", vec![Event::Ended(Outcome::ResolvedExternally)]).await;
    // A restart between the reminders changes nothing.
    harness.kill().await;
    harness.pass(10 * MINUTE).await;
    harness.start().await;
    harness.pass(4 * HOUR).await;
    harness.kill().await;
    harness.start().await;
    harness.pass(100 * HOUR).await;
    let reminders: Vec<(Duration, Vec<String>)> = harness
        .channel("ops")
        .taken()
        .iter()
        .filter(|(_, message)| message.counts.iter().any(|(kind, _)| *kind == Kind::Reminder))
        .map(|(at, message)| {
            let reminders = message.notices.iter().filter(|notice| notice.kind == Kind::Reminder);
            (*at, reminders.map(|notice| notice.what.clone()).collect())
        })
        .collect();
    assert_eq!(reminders.len(), 3, "{reminders:?}");
    assert_eq!(reminders[0].1.len(), 2);
    for ((at, whats), hours) in reminders.iter().zip([1, 4, 24]) {
        let due = MINUTE + hours * HOUR;
        assert!(*at >= due && *at <= due + MINUTE, "{at:?} is not {due:?}");
        assert!(whats[0].starts_with("the task has been waiting for an operator for"), "{whats:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn reminders_that_fell_due_while_nothing_ran_are_one() {
    let mut harness = Harness::new(&["ops"]).await;
    harness.journal("prod", "a", fails("a", Some("standard"))).await;
    harness.journal("prod", "a", vec![escalated()]).await;
    harness.pass(MINUTE).await;
    harness.kill().await;
    harness.pass(10 * HOUR).await;
    harness.start().await;
    harness.pass(MINUTE).await;
    assert_eq!(harness.channel("ops").kinds(), ["escalated", "first-failure", "reminder"]);
}

#[tokio::test(start_paused = true)]
async fn who_was_given_back_is_not_reminded_of() {
    let harness = Harness::new(&["ops"]).await;
    harness.journal("prod", "a", fails("a", Some("standard"))).await;
    harness.journal("prod", "a", vec![escalated()]).await;
    harness.pass(MINUTE).await;
    let given_back = Event::Reset {
        by: "uid 1000".to_owned(),
        why: "the zone has room".to_owned(),
        command: "c".to_owned(),
        failed: None,
    };
    harness.journal("prod", "a", vec![given_back]).await;
    harness.pass(100 * HOUR).await;
    assert_eq!(harness.channel("ops").kinds(), ["escalated", "first-failure", "reset-by-operator"]);
}

fn unreachable(trouble: &str) -> Condition {
    let error = "it cannot be reached: the connection was refused".to_owned();
    Condition::Unreachable { trouble: trouble.to_owned(), error, advice: "check the endpoint".to_owned() }
}

#[tokio::test(start_paused = true)]
async fn that_a_project_is_unreachable_is_notified_once_and_so_is_its_end() {
    let mut harness = Harness::new(&["ops"]).await;
    harness.finds(vec![unreachable("unreachable")], Vec::new());
    harness.pass(5 * MINUTE).await;
    // A restart meets the same trouble again, and that is no news. Another trouble is.
    harness.kill().await;
    harness.start().await;
    harness.finds(Vec::new(), vec![Code::Unreachable]);
    harness.finds(vec![unreachable("unreachable")], Vec::new());
    harness.pass(5 * MINUTE).await;
    assert_eq!(harness.channel("ops").kinds(), ["unreachable"]);
    harness.finds(vec![unreachable("credential")], Vec::new());
    harness.pass(5 * MINUTE).await;
    harness.kill().await;
    harness.start().await;
    harness.pass(3 * HOUR).await;
    assert_eq!(
        harness.channel("ops").kinds(),
        ["unreachable", "unreachable", "unreachable"],
        "the last is a reminder"
    );
    harness.finds(Vec::new(), Vec::new());
    harness.pass(5 * MINUTE).await;
    harness.finds(Vec::new(), Vec::new());
    harness.pass(5 * MINUTE).await;
    assert_eq!(harness.channel("ops").kinds()[3..], ["reachable"]);
}

#[tokio::test(start_paused = true)]
async fn a_paused_project_is_notified_once_also_where_the_process_died_at_it() {
    let mut harness = Harness::new(&["ops"]).await;
    let until = "2026-06-01T12:30:00Z".parse().unwrap();
    let paused = |refusals| Condition::ProjectPaused { cause: PauseCause::Forbidden, refusals, until };
    harness.finds(vec![paused(1)], Vec::new());
    harness.pass(5 * MINUTE).await;
    harness.finds(vec![paused(2)], Vec::new());
    harness.pass(5 * MINUTE).await;
    assert_eq!(harness.channel("ops").kinds(), ["project-paused"]);
    // The journal says after a restart that it acts: nobody was notified of that.
    harness.kill().await;
    harness.start().await;
    harness.finds(Vec::new(), Vec::new());
    harness.pass(5 * MINUTE).await;
    assert_eq!(harness.channel("ops").kinds(), ["project-paused", "project-resumed"]);
}

#[tokio::test(start_paused = true)]
async fn the_breaker_is_notified_when_it_opens_opens_again_and_closes() {
    let mut harness = Harness::new(&["ops"]).await;
    let open = |until: &str, probing| Condition::BreakerOpen {
        opening: Opening::ManyFailed { failures: 10, within: 10 * MINUTE },
        until: until.parse().unwrap(),
        probing,
    };
    harness.finds(vec![open("2026-06-01T12:30:00Z", false)], Vec::new());
    harness.pass(30 * MINUTE).await;
    // It is known after a restart that it is open; that a probe is let through is no news.
    harness.kill().await;
    harness.start().await;
    harness.finds(vec![open("2026-06-01T12:30:00Z", true)], Vec::new());
    harness.pass(2 * MINUTE).await;
    assert_eq!(harness.channel("ops").kinds(), ["breaker-open"]);
    harness.finds(vec![open("2026-06-01T13:02:00Z", false)], Vec::new());
    harness.pass(200 * MINUTE).await;
    harness.finds(Vec::new(), Vec::new());
    harness.pass(2 * MINUTE).await;
    assert_eq!(harness.channel("ops").kinds(), ["breaker-open", "breaker-open", "breaker-closed"]);
}

#[tokio::test(start_paused = true)]
async fn a_condition_is_notified_under_the_name_that_its_project_has_by_then() {
    let mut harness = Harness::new(&["ops"]).await;
    harness.finds(vec![unreachable("credential")], Vec::new());
    harness.pass(MINUTE).await;
    let id = ProjectId::new("6204a5bd270343b5885144cf9c8c158d").unwrap();
    let named = |name: &str| Named { name: ProjectName::new(name).unwrap(), id: Some(id.clone()) };
    let journal = Journal::from(harness.journal.clone());
    journal.identify(vec![named("prod")]).await.unwrap();
    let identified = journal.identify(vec![named("live")]).await.unwrap();
    harness.post.renamed(&identified.naming);
    let names = |harness: &Harness| -> Vec<String> {
        let conditions = harness.post.share_conditions();
        let conditions = conditions.lock().unwrap();
        conditions.all().map(|standing| standing.project.to_string()).collect()
    };
    assert_eq!(names(&harness), ["live"]);
    harness.kill().await;
    harness.start().await;
    assert_eq!(names(&harness), ["live"]);
}

#[tokio::test(start_paused = true)]
async fn nobody_is_reminded_of_a_project_that_is_watched_no_more() {
    let mut harness = Harness::new(&["ops"]).await;
    harness.finds(vec![unreachable("credential")], Vec::new());
    harness.pass(MINUTE).await;
    harness.post.forget(&ProjectName::new("prod").unwrap());
    harness.pass(100 * HOUR).await;
    harness.kill().await;
    // One that went from the configuration while no process ran.
    let gone = ProjectName::new("gone").unwrap();
    let standing = Standing {
        project: gone,
        since: Timestamp::UNIX_EPOCH,
        condition: unreachable("credential"),
        recalled: false,
    };
    let journal = Journal::from(harness.journal.clone());
    let kept = OutboxWrite::Condition { standing: Box::new(standing), ended: false };
    journal.write(vec![kept]).await.unwrap();
    harness.start().await;
    harness.pass(100 * HOUR).await;
    assert_eq!(harness.channel("ops").kinds(), ["unreachable"]);
    assert_eq!(journal.kept().await.unwrap().conditions, []);
    assert_eq!(harness.post.share_conditions().lock().unwrap().all().count(), 0);
}

#[tokio::test(start_paused = true)]
async fn in_dry_run_it_says_would_once_for_each_failure() {
    let mut harness = Harness::new(&["ops"]).await;
    harness.journal("prod", "a", fails("a", Some("standard"))).await;
    let would = || Event::Decided {
        verdict: PassiveVerdict::Blocked,
        reason: Reason::DryRun { action: Action::Retry },
    };
    let closed =
        || Event::Decided { verdict: PassiveVerdict::Blocked, reason: Reason::WindowClosed { opens: None } };
    for _ in 0..3 {
        harness.pass(2 * MINUTE).await;
        harness.journal("prod", "a", vec![would()]).await;
        harness.pass(2 * MINUTE).await;
        harness.journal("prod", "a", vec![closed()]).await;
        harness.kill().await;
        harness.start().await;
    }
    harness.journal("prod", "a", vec![failed(2, 0, Some(terms("standard"))), would()]).await;
    harness.pass(2 * MINUTE).await;
    assert_eq!(harness.channel("ops").kinds(), ["first-failure", "would-retry", "would-retry"]);
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_off_is_notified_until_it_is_known_to_be_right() {
    let mut harness = Harness::new(&["ops"]).await;
    harness.finds(vec![Condition::ClockOff { seconds: 400 }], Vec::new());
    harness.pass(2 * MINUTE).await;
    harness.finds(vec![Condition::ClockOff { seconds: 500 }], Vec::new());
    harness.kill().await;
    harness.start().await;
    // Before the first response nothing is known of the clock.
    harness.finds(Vec::new(), vec![Code::ClockOff]);
    harness.pass(2 * MINUTE).await;
    assert_eq!(harness.channel("ops").kinds(), ["clock-off"]);
    harness.finds(Vec::new(), Vec::new());
    harness.pass(2 * MINUTE).await;
    assert_eq!(harness.channel("ops").kinds(), ["clock-off", "clock-right"]);
}

#[tokio::test(start_paused = true)]
async fn an_unclear_cluster_is_notified_once_it_has_lasted() {
    let mut harness = Harness::new(&["ops"]).await;
    let unclear = |long| Condition::Unclear {
        cluster: ClusterId::new("c").unwrap(),
        name: "a".to_owned(),
        reason: Reason::UnknownStatus { word: "PAUSED".to_owned() },
        long,
    };
    harness.finds(vec![unclear(false)], Vec::new());
    harness.pass(5 * MINUTE).await;
    assert_eq!(harness.channel("ops").kinds(), [""; 0]);
    for _ in 0..3 {
        harness.finds(vec![unclear(true)], Vec::new());
        harness.pass(5 * MINUTE).await;
        harness.kill().await;
        harness.start().await;
    }
    assert_eq!(harness.channel("ops").kinds(), ["unclear"]);
    harness.finds(vec![unclear(false)], Vec::new());
    harness.pass(5 * MINUTE).await;
    assert_eq!(harness.channel("ops").kinds(), ["unclear", "clear"]);
}

#[tokio::test(start_paused = true)]
async fn a_journal_that_cannot_be_written_is_told_from_memory() {
    let harness = Harness::new(&["ops"]).await;
    harness.pass(SECOND).await;
    harness.journal.set_full(true);
    harness.finds(vec![Condition::JournalFailing { error: "the disk is full".to_owned() }], Vec::new());
    harness.pass(MINUTE).await;
    assert_eq!(harness.channel("ops").kinds(), ["journal-failing"]);
    harness.journal.set_full(false);
    harness.finds(Vec::new(), Vec::new());
    harness.pass(2 * MINUTE).await;
    harness.journal("prod", "a", fails("a", Some("standard"))).await;
    harness.pass(2 * MINUTE).await;
    assert_eq!(harness.channel("ops").kinds(), ["journal-failing", "journal-works", "first-failure"]);
}

#[tokio::test(start_paused = true)]
async fn a_new_channel_hears_nothing_old_and_one_that_is_gone_is_not_waited_for() {
    let mut harness = Harness::new(&["ops", "night"]).await;
    let night = harness.channels["night"].clone();
    harness.reload(|routes| drop(routes.channels.remove("night")));
    harness.journal("prod", "a", fails("a", Some("standard"))).await;
    harness.pass(2 * MINUTE).await;
    harness.reload(|routes| {
        routes.channels.insert("night".to_owned(), night);
        routes.default = vec!["night".to_owned()];
    });
    harness.pass(MINUTE).await;
    harness.journal("prod", "b", fails("b", Some("standard"))).await;
    harness.pass(2 * MINUTE).await;
    assert_eq!(harness.channel("night").taken().len(), 1);
    assert_eq!(harness.channel("ops").taken().len(), 1);
    let counts = harness.post.counts();
    assert_eq!(
        counts.iter().map(|counts| (counts.sent, counts.waiting)).collect::<Vec<_>>(),
        [(1, 0), (1, 0)]
    );
}

#[tokio::test(start_paused = true)]
async fn history_before_the_first_channel_is_not_told() {
    let mut harness = Harness::new(&["ops"]).await;
    harness.kill().await;
    let channels = harness.channels["ops"].clone();
    // As with a version that had no channels.
    let journal = upgrade_remediator::journal::MemoryJournal::new(2);
    harness.journal = journal;
    harness.journal("prod", "old", fails("old", Some("standard"))).await;
    harness.reload(|routes| routes.channels.clear());
    harness.start().await;
    harness.pass(MINUTE).await;
    harness.journal("prod", "older", fails("older", Some("standard"))).await;
    harness.pass(MINUTE).await;
    harness.reload(|routes| drop(routes.channels.insert("ops".to_owned(), channels)));
    harness.pass(MINUTE).await;
    harness.journal("prod", "new", fails("new", Some("standard"))).await;
    harness.pass(2 * MINUTE).await;
    let taken = harness.channel("ops").taken();
    let titles: Vec<&str> =
        taken.iter().flat_map(|(_, message)| &message.notices).map(|notice| notice.title.as_str()).collect();
    assert_eq!(titles, ["new: upgrade failed"]);
}

#[tokio::test(start_paused = true)]
async fn a_stop_waits_for_no_channel_that_hangs() {
    let mut harness = Harness::new(&["ops"]).await;
    harness.channel("ops").set(Manner::Hangs);
    harness.journal("prod", "a", fails("a", Some("standard"))).await;
    harness.pass(10 * SECOND).await;
    let began = harness.clock.passed();
    harness.running.take().unwrap().stop(&*harness.clock).await.unwrap();
    assert!(harness.clock.passed() <= began + 3 * SECOND, "{:?}", harness.clock.passed());
    harness.channel("ops").set(Manner::Takes);
    harness.start().await;
    harness.pass(10 * SECOND).await;
    assert_eq!(harness.channel("ops").kinds(), ["first-failure"]);
}
