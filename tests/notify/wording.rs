//! What people read: snapshots, worth reading. `UPDATE_EXPECTED=1` writes them anew.

use std::fs;
use std::path::Path;

use jiff::Timestamp;
use serde_json::Value;
use upgrade_remediator::model::answer::{Answer, Meaning};
use upgrade_remediator::model::decision::{Action, PassiveVerdict};
use upgrade_remediator::model::event::{Confirmation, Event, Outcome, StoredEntry};
use upgrade_remediator::model::id::AttemptId;
use upgrade_remediator::model::outlook::{NextRequest, Outlook};
use upgrade_remediator::model::policy::{Mode, Terms};
use upgrade_remediator::model::reason::Reason;
use upgrade_remediator::model::secret::Secret;
use upgrade_remediator::model::task::AbortDoubt;
use upgrade_remediator::notify::channel::alertmanager::Alertmanager;
use upgrade_remediator::notify::channel::chat::{Chat, Service};
use upgrade_remediator::notify::channel::email::{Email, EmailOptions};
use upgrade_remediator::notify::channel::webhook::Webhook;
use upgrade_remediator::notify::channel::{Network, smn};
use upgrade_remediator::notify::kind::Kind;
use upgrade_remediator::notify::message::Message;
use upgrade_remediator::notify::notice::{self, Notice, Todo};

use crate::harness::{MINUTE, accepted, escalated, failed, fails, sends, subject, terms};

const PAGE: &str = "https://status.example";

fn now() -> Timestamp {
    "2026-06-01T12:00:00Z".parse().unwrap()
}

/// The story of `logs-prod`, an entry a minute.
fn story(events: Vec<Event>) -> Vec<StoredEntry> {
    let mut at = now();
    (1..)
        .zip(events)
        .map(|(number, event)| {
            at += jiff::SignedDuration::from_mins(1);
            StoredEntry { number, at, subject: subject("prod", "logs-prod"), event }
        })
        .collect()
}

fn notice(kind: Kind, events: Vec<Event>) -> Notice {
    let story = story(events);
    notice::of_entry(kind, story.len() as u64, &story, foreseen(&story), Some(PAGE)).unwrap()
}

/// What the daemon foresees of the task: what it waits for, and that nothing but the mode blocks it.
fn foreseen(story: &[StoredEntry]) -> Option<Outlook> {
    let known = notice::fold(story)?;
    let reason = known.last_known();
    let (blocks, next) = match &reason {
        Reason::Backoff { until, .. } => (vec![], Some(NextRequest { action: Action::Retry, at: *until })),
        Reason::AbortPending { until, .. } => {
            (vec![], Some(NextRequest { action: Action::Abort, at: *until }))
        }
        Reason::DryRun { .. } => (vec![reason.clone()], None),
        _ => (vec![], None),
    };
    (!known.is_ended()).then(|| Outlook::new(Some(&known), &reason, &blocks, next))
}

fn message(notice: Notice) -> Message {
    Message::of_one("6d1f0a52c1e54b1fb1a9f6a4d7c2e830".to_owned(), notice)
}

/// Fails at the second node, is retried with a lost answer, and fails there again.
fn long_story() -> Vec<Event> {
    let mut events = fails("logs-prod", Some("standard"));
    let lost = Answer {
        meaning: Meaning::Unknown,
        status: None,
        code: None,
        message: "the connection broke".to_owned(),
        request_id: None,
        retry_after: None,
    };
    events.extend([
        sends(Action::Retry, 1),
        Event::Answered { attempt: AttemptId(4), answer: lost },
        Event::Running { execute_times: Some(2) },
        Event::Confirmed { attempt: AttemptId(4), settlement: Confirmation::Accepted },
        Event::Progress { completed: 1 },
        failed(2, 1, Some(terms("standard"))),
        sends(Action::Retry, 2),
        accepted(10),
        Event::Running { execute_times: Some(3) },
        Event::Confirmed { attempt: AttemptId(10), settlement: Confirmation::Accepted },
        failed(3, 1, Some(terms("standard"))),
    ]);
    events
}

fn handed_over() -> Notice {
    let mut events = long_story();
    let doubt = AbortDoubt::Completed { done: 1, total: 3 };
    events.push(Event::Escalated { reason: Reason::NodeCompleted { used: 5, doubt } });
    notice(Kind::Escalated, events)
}

fn exhausted() -> Notice {
    let mut events = fails("logs-prod", Some("standard"));
    events.extend([
        sends(Action::Retry, 1),
        accepted(4),
        Event::Running { execute_times: Some(2) },
        Event::Confirmed { attempt: AttemptId(4), settlement: Confirmation::Accepted },
        failed(2, 0, Some(terms("standard"))),
    ]);
    let until = "2026-06-01T12:22:00Z".parse().unwrap();
    let reason = Reason::AbortPending { used: 5, external: 0, grace: 15 * MINUTE, after_put: None, until };
    events.push(Event::Decided { verdict: PassiveVerdict::Wait, reason });
    notice(Kind::Exhausted, events)
}

fn a_group() -> Message {
    let mut notices = vec![exhausted(), handed_over()];
    for name in ["search-1", "search-2", "search-3"] {
        let entry =
            |(number, event)| StoredEntry { number, at: now(), subject: subject("prod", name), event };
        let story: Vec<StoredEntry> = (1..).zip(fails(name, Some("standard"))).map(entry).collect();
        notices.push(notice::of_entry(Kind::FirstFailure, 2, &story, foreseen(&story), Some(PAGE)).unwrap());
    }
    notices.sort_by_key(|notice| notice.at);
    Message {
        id: "6d1f0a52c1e54b1fb1a9f6a4d7c2e830".to_owned(),
        at: now(),
        project: "prod".to_owned(),
        notices,
        counts: vec![(Kind::Escalated, 1), (Kind::FirstFailure, 212), (Kind::Exhausted, 1)],
        short: false,
    }
}

/// Compares with the snapshot of this name.
fn check(name: &str, found: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/notices").join(name);
    let found = format!("{}\n", found.trim_end());
    if std::env::var_os("UPDATE_EXPECTED").is_some() {
        fs::write(&path, &found).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(found, expected, "{name} is another one; UPDATE_EXPECTED=1 writes it anew");
}

fn plain(message: &Message) -> String {
    format!("{}\n\n{}", message.title(), message.text(20_000))
}

#[test]
fn a_first_failure_reads_so() {
    let mut events = fails("logs-prod", Some("standard"));
    let decided = events.pop().unwrap();
    let story = story([events, vec![decided]].concat());
    let told = notice::of_entry(Kind::FirstFailure, 2, &story, foreseen(&story), Some(PAGE)).unwrap();
    check("first-failure.txt", &plain(&message(told)));
}

#[test]
fn used_up_retries_read_so() {
    check("exhausted.txt", &plain(&message(exhausted())));
}

#[test]
fn a_task_handed_over_reads_so() {
    check("escalated.txt", &plain(&message(handed_over())));
}

#[test]
fn a_remedied_task_reads_so() {
    let mut events = fails("logs-prod", Some("standard"));
    events.extend([
        sends(Action::Retry, 1),
        accepted(4),
        Event::Running { execute_times: Some(2) },
        Event::Confirmed { attempt: AttemptId(4), settlement: Confirmation::Accepted },
        Event::Ended(Outcome::ResolvedByRetry),
    ]);
    check("remedied.txt", &plain(&message(notice(Kind::ResolvedByRetry, events))));
}

#[test]
fn dry_run_reads_so() {
    let dry = Terms::defaults("standard", Mode::DryRun);
    let mut events = fails("logs-prod", Some("standard"));
    events[1] = failed(1, 0, Some(dry));
    events.push(Event::Decided {
        verdict: PassiveVerdict::Blocked,
        reason: Reason::DryRun { action: Action::Retry },
    });
    let told = message(notice(Kind::WouldRetry, events));
    assert!(told.title().contains("would retry"));
    check("would-retry.txt", &plain(&told));
}

#[test]
fn a_reminder_reads_so() {
    let mut events = long_story();
    events.push(escalated());
    let story = story(events);
    let later = "2026-06-01T16:15:00Z".parse().unwrap();
    let (subject, outlook) = (subject("prod", "logs-prod"), foreseen(&story));
    let told = notice::reminder(&subject, &story, outlook, later, Some(PAGE)).unwrap();
    check("reminder.txt", &plain(&message(told)));
}

#[test]
fn a_group_reads_so() {
    check("group.txt", &plain(&a_group()));
    // The same where little is taken.
    let short = a_group().text(2_000);
    assert!(short.len() <= 2_000);
    check("group-of-2000-bytes.txt", &short);
}

#[test]
fn each_channel_has_its_form() {
    let secret = |text: &str| Secret::from(text.to_owned());
    let clock = || std::sync::Arc::new(now) as upgrade_remediator::notify::channel::chat::Now;
    let pretty = |value: &Value| serde_json::to_string_pretty(value).unwrap();
    for (name, message) in [("one", message(handed_over())), ("group", a_group())] {
        let event: Value = serde_json::from_slice(&Webhook::body(&message).unwrap()).unwrap();
        check(&format!("webhook-{name}.json"), &pretty(&event));

        let alertmanager =
            Alertmanager::new(&secret("http://alertmanager.example:9093"), &Network::default()).unwrap();
        let alerts = serde_json::to_value(alertmanager.alerts(&message)).unwrap();
        check(&format!("alertmanager-{name}.json"), &pretty(&alerts));

        for (service, word) in [
            (Service::Slack, "slack"),
            (Service::Feishu, "feishu"),
            (Service::DingTalk, "dingtalk"),
            (Service::WeCom, "wecom"),
        ] {
            let url = secret("https://chat.example/hook?key=0123456789abcdef");
            let key = (service != Service::Slack && service != Service::WeCom).then(|| secret("canary-7f3a"));
            let chat = Chat::new(service, &url, key, clock(), &Network::default()).unwrap();
            let (body, query) = chat.request(&message, now());
            let bytes = serde_json::to_vec(&body).unwrap();
            assert!(bytes.len() < 20_000 && !String::from_utf8(bytes).unwrap().contains("canary"), "{word}");
            let query: Vec<String> = query.iter().map(|(name, value)| format!("?{name}={value}")).collect();
            check(&format!("{word}-{name}.json"), format!("{}\n{}", pretty(&body), query.join("\n")).trim());
        }

        let (subject, text) = smn::texts(&message);
        assert!(!format!("{subject}{text}").contains(['[', ']']));
        check(&format!("smn-{name}.txt"), &format!("{subject}\n\n{text}"));

        let email = Email::new(EmailOptions {
            host: "localhost".to_owned(),
            port: None,
            user: None,
            hello: None,
            ca_pem: None,
            from: "Upgrades <upgrades@example.com>".to_owned(),
            to: vec!["ops@example.com".to_owned(), "night@example.com".to_owned()],
        })
        .unwrap();
        let email = String::from_utf8(email.email(&message).unwrap().formatted()).unwrap();
        check(&format!("email-{name}.eml"), &email.replace("\r\n", "\n"));
    }
}

#[test]
fn a_text_of_a_stranger_has_no_control_character_and_no_mention() {
    let mut events = fails("logs\u{1b}[31m<@all>\n```", Some("standard"));
    let Event::Failed(seen) = &mut events[1] else { panic!("it is a failure") };
    seen.failing = "\u{7}node\r\n<!channel> \u{202e}".to_owned();
    let told = message(notice(Kind::FirstFailure, events[..2].to_vec()));
    let mut all = vec![told.title(), told.text(20_000)];
    let (subject, text) = smn::texts(&told);
    all.extend([subject, text]);
    for text in &all {
        let strange = |c: char| (c.is_control() && c != '\n') || ('\u{202a}'..='\u{202e}').contains(&c);
        assert!(!text.contains(strange), "{text:?}");
        assert!(text.lines().all(|line| !line.starts_with("```")), "{text}");
    }
    let url = Secret::from("https://chat.example/".to_owned());
    let chat = Chat::new(Service::Slack, &url, None, std::sync::Arc::new(now), &Network::default()).unwrap();
    let (body, _) = chat.request(&told, now());
    let block = body["blocks"][1]["text"]["text"].as_str().unwrap();
    assert!(!block.contains("<!channel>") && block.matches("```").count() == 2, "{block}");
}

#[test]
fn however_little_is_taken_it_fits() {
    let group = a_group();
    for at_most in [200, 500, 1_000, 2_000, 4_000, 9_000, 60_000] {
        let text = group.text(at_most);
        assert!(text.len() <= at_most, "{} > {at_most}", text.len());
        assert!(text.contains(&group.id));
    }
}

#[test]
fn what_can_still_be_stopped_is_told_with_its_command_however_many_others_there_are() {
    let text = a_group().text(2_000);
    assert!(text.contains("to stop the abort: upgrade-remediator hold cluster:id-of-logs-prod"), "{text}");
    assert!(
        text.contains("before acting by hand: upgrade-remediator hold cluster:id-of-logs-prod"),
        "{text}"
    );
}

#[test]
fn an_advice_without_a_command_ends_without_a_colon_in_every_form() {
    let mut told = exhausted();
    told.todo = vec![Todo { purpose: "nothing; the channel works".to_owned(), command: String::new() }];
    let whole = message(told);
    for message in [Message { short: true, ..whole.clone() }, whole] {
        let text = message.text(20_000);
        assert!(text.contains("Do:    nothing; the channel works\n"), "{text}");
    }
}

#[test]
fn the_heading_of_a_group_has_each_count_once() {
    let group = |counts| Message { counts, ..a_group() }.title();
    assert_eq!(group(vec![(Kind::FirstFailure, 4)]), "[warning] prod: 4 × task failed");
    assert_eq!(
        group(vec![(Kind::Escalated, 1), (Kind::FirstFailure, 4)]),
        "[critical] prod: 5 notifications: 1 × needs an operator, 4 × task failed"
    );
}

#[test]
fn the_documentation_shows_what_is_sent() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("docs/notifications.md")).unwrap();
    for name in ["escalated.txt", "group-of-2000-bytes.txt"] {
        let text = fs::read_to_string(root.join("tests/notices").join(name)).unwrap();
        assert!(page.contains(text.trim_end()), "docs/notifications.md does not show {name} as it is");
    }
    for kind in Kind::all().filter(|kind| *kind != Kind::Test) {
        assert!(page.contains(&format!("`{}`", kind.word())), "{}", kind.word());
    }
}
