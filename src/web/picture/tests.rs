use std::time::Duration;

use jiff::SignedDuration;
use proptest::prelude::*;

use super::*;
use crate::model::answer::{Answer, Meaning};
use crate::model::cluster::{Cluster, Traits};
use crate::model::decision::{Decision, PassiveVerdict, Verdict};
use crate::model::event::{
    Confirmation, Event, FailureSeen, Outcome, Shape as FailureShape, StoredEntry, Subject,
};
use crate::model::explanation::{Explanation, Lifecycle};
use crate::model::hold::{NewHold, Scope, StoredHold};
use crate::model::id::{AttemptId, ClusterId, ProjectName, TaskId};
use crate::model::outlook::{Block, NextRequest};
use crate::model::reason::Reason;
use crate::model::record::PhaseWord;
use crate::model::setup::{Nodes, Place};
use crate::model::task::{TaskKind, TaskStatus};
use crate::model::turn::Opening;
use crate::model::window::{DAY, Span as Hours, Window};

fn start() -> Timestamp {
    "2026-11-30T10:00:00Z".parse().unwrap()
}

fn minute(minutes: i64) -> Timestamp {
    start().checked_add(SignedDuration::from_mins(minutes)).unwrap()
}

fn first_seen() -> Event {
    Event::FirstSeen {
        kind: TaskKind::Upgrade,
        cluster_name: "logs".to_owned(),
        traits: Traits::default(),
        start_time: None,
        execute_times: Some(1),
        completed: Some(0),
        external: 0,
        setup: None,
        nodes: Nodes::default(),
    }
}

fn failed(number: u32, completed: u32) -> Event {
    Event::Failed(Box::new(FailureSeen {
        number,
        status: TaskStatus::Failed,
        shape: FailureShape { execute_times: None, end_time: None },
        seen_before: Duration::ZERO,
        whole: String::new(),
        completed: Some(completed),
        total: 9,
        failing: String::new(),
        external: 0,
        too_old: false,
        age_unknown: false,
        seen_to_happen: true,
        terms: None,
        place: Place::default(),
    }))
}

fn intent(action: Action) -> Event {
    let reason = Reason::RetryDue { retry: 1, max_retries: 5, waited: Duration::ZERO };
    Event::Intent { action, failure: 1, waited: Duration::ZERO, reason }
}

fn answered(attempt: u64, meaning: Meaning) -> Event {
    let answer = Answer { meaning, ..Answer::none(String::new()) };
    Event::Answered { attempt: AttemptId(attempt), answer }
}

fn confirmed(attempt: u64, settlement: Confirmation) -> Event {
    Event::Confirmed { attempt: AttemptId(attempt), settlement }
}

fn blocked(reason: Reason) -> Event {
    Event::Decided { verdict: PassiveVerdict::Blocked, reason }
}

/// A cluster with these entries, numbered from 1, in this phase.
fn view(entries: Vec<(Timestamp, Event)>, phase: PhaseWord, now: Timestamp) -> ClusterView {
    let (project, task) = (ProjectName::new("prod").unwrap(), TaskId::new("t-1").unwrap());
    let cluster = Cluster::recalled(ClusterId::new("c-1").unwrap(), "logs".to_owned(), Traits::default());
    let decision =
        Decision { task: None, verdict: Verdict::Wait, reason: Reason::Idle, next_poll: Duration::ZERO };
    let mut explanation = Explanation::new(now, &project, &cluster, &decision);
    explanation.outlook.phase = Some(phase);
    explanation.lifecycle = Some(Lifecycle {
        task: task.clone(),
        failures: 0,
        failed: None,
        used: 0,
        by_others: 0,
        allowed: None,
        puts: 0,
        open: None,
        needs_operator: None,
        runs_too_long_since: None,
        ended: None,
    });
    let subject = Subject { project, cluster: cluster.id, task };
    let entry = |(n, (at, event))| StoredEntry { number: n, at, subject: subject.clone(), event };
    let timeline = (1..).zip(entries).map(entry).collect();
    ClusterView { explanation, timeline, cut: false, holds: Vec::new() }
}

fn hold(number: u64, from: Timestamp, until: Option<Timestamp>) -> StoredHold {
    let (reason, by) = ("an audit".to_owned(), "uid 0".to_owned());
    StoredHold::new(number, NewHold { at: from, scope: Scope::All, cluster_name: None, until, reason, by })
}

fn picture(view: &ClusterView) -> Picture {
    Picture::new(view).unwrap()
}

fn lane<'a>(picture: &'a Picture, label: &str) -> &'a Lane {
    let found = picture.lanes.iter().find(|lane| lane.label.contains(label));
    found.unwrap_or_else(|| panic!("no {label}: {:?}", picture.lanes))
}

/// Everything lies inside, in order, and is in the description; each request and failure has its
/// mark.
fn check(view: &ClusterView) -> Result<(), TestCaseError> {
    let picture = picture(view);
    let story = Story::new(view).unwrap();
    let inside = |x: f64| (0.0..=100.0).contains(&x);
    for lane in &picture.lanes {
        prop_assert!(lane.top + LANE <= picture.bottom(), "{lane:?}");
        for piece in &lane.pieces {
            let (x, width) = (piece.x.0, piece.width.0);
            prop_assert!(inside(x) && width > 0.0 && x + width <= 100.001, "{piece:?}");
            prop_assert!(picture.description.contains(&piece.words), "{piece:?}");
            prop_assert!(piece.height <= FULL);
        }
        for mark in &lane.marks {
            prop_assert!(inside(mark.x.0) && picture.description.contains(&mark.words), "{mark:?}");
        }
        let apart = |pair: &[Mark]| pair[1].x.0 - pair[0].x.0 >= DISTANCES[0] - 1e-9;
        prop_assert!(lane.marks.windows(2).all(apart), "{:?}", lane.marks);
        prop_assert!(picture.description.contains(&lane.label), "{}", lane.label);
    }
    prop_assert!(picture.ticks.len() <= 7 && picture.ticks.iter().all(|tick| inside(tick.x.0)));
    prop_assert!(picture.ticks.windows(2).all(|pair| pair[0].x < pair[1].x));
    prop_assert!(picture.now.is_none_or(|now| inside(now.0)));
    let marks = |word: &str| -> usize {
        let of_it = picture.lanes.iter().filter(|lane| lane.label.contains(word));
        of_it.flat_map(|lane| &lane.marks).map(|mark| mark.count).sum()
    };
    prop_assert_eq!(marks("request"), story.requests.len());
    prop_assert_eq!(marks("failure"), story.failures.len());
    let svg = picture.render().unwrap();
    prop_assert!(!svg.contains("NaN") && !svg.contains("inf%"), "{}", svg);
    // However much happened, it stays a drawing.
    prop_assert!(svg.len() < 400_000, "{} bytes", svg.len());
    Ok(())
}

#[test]
fn a_lifecycle_is_drawn_with_every_fact_and_told_in_the_same_words() {
    let entries = vec![
        (minute(0), first_seen()),
        (minute(0), Event::Running { execute_times: Some(1) }),
        (minute(20), Event::Progress { completed: 1 }),
        (minute(40), failed(1, 3)),
        (minute(60), intent(Action::Retry)),
        (minute(60), answered(5, Meaning::Accepted)),
        (minute(62), Event::Running { execute_times: Some(2) }),
        (minute(62), confirmed(5, Confirmation::Accepted)),
        (minute(90), failed(2, 3)),
        (minute(100), intent(Action::Retry)),
        (minute(100), answered(10, Meaning::Busy)),
    ];
    let mut view = view(entries, PhaseWord::Failed, minute(120));
    view.explanation.outlook.next = Some(NextRequest { at: minute(150), action: Action::Retry });
    let picture = picture(&view);
    let classes: Vec<&str> = lane(&picture, "Task").pieces.iter().map(|piece| piece.class).collect();
    assert_eq!(classes, ["runs", "waits", "confirms", "runs", "waits", "confirms", "waits"]);
    assert_eq!(lane(&picture, "2 failures").marks.len(), 2);
    let requests: Vec<&str> =
        lane(&picture, "2 retry requests").marks.iter().map(|mark| mark.class).collect();
    assert_eq!(requests, ["accepted", "refused"]);
    assert_eq!(lane(&picture, "3 of 9 nodes seen completed").pieces.len(), 2);
    assert_eq!(lane(&picture, "Next: retry at").marks[0].class, "next");
    for words in [
        "running from 2026-11-30 10:00:00 UTC to 2026-11-30 10:40:00 UTC",
        "failed from 2026-11-30 10:40:00 UTC to 2026-11-30 11:00:00 UTC",
        "failure 1 at 2026-11-30 10:40:00 UTC",
        "1 node completed from 2026-11-30 10:20:00 UTC",
        "retry request #5 at 2026-11-30 11:00:00 UTC, accepted",
        "retry request #10 at 2026-11-30 11:40:00 UTC, not accepted",
        "it is 2026-11-30 12:00:00 UTC",
        "Next: retry at 2026-11-30 12:30:00 UTC (in 30m)",
    ] {
        assert!(picture.description.contains(words), "{words}: {}", picture.description);
    }
    assert!(picture.now.unwrap() < lane(&picture, "Next").marks[0].x);
    check(&view).unwrap();
}

#[test]
fn what_the_drawing_says_of_now_is_the_phase_of_the_outlook() {
    for (phase, last) in [
        (PhaseWord::Running, "runs"),
        (PhaseWord::Failed, "waits"),
        (PhaseWord::OutcomeUnknown, "confirms"),
        (PhaseWord::Escalated, "operator"),
    ] {
        // The entries end with something else; with a confirmed retry, even with nothing.
        for end in [Event::Running { execute_times: None }, confirmed(3, Confirmation::Accepted)] {
            let entries = vec![
                (minute(0), first_seen()),
                (minute(5), failed(1, 0)),
                (minute(10), intent(Action::Retry)),
                (minute(20), end),
            ];
            let picture = picture(&view(entries, phase, minute(60)));
            let piece = lane(&picture, "Task").pieces.last().unwrap();
            assert_eq!(piece.class, last);
            assert!(piece.words.ends_with("to 2026-11-30 11:00:00 UTC"), "{}", piece.words);
        }
    }
}

#[test]
fn holds_windows_and_the_breaker_are_bands_in_lanes_of_their_own() {
    let opening = Opening::ManyFailed { failures: 10, within: Duration::from_mins(10) };
    let open = Reason::BreakerOpen { opening, until: minute(50) };
    let entries = vec![
        (minute(0), first_seen()),
        (minute(1), failed(1, 0)),
        (minute(10), blocked(open)),
        (minute(40), blocked(Reason::WindowClosed { opens: Some(minute(130)) })),
    ];
    let mut view = view(entries, PhaseWord::Failed, minute(60));
    let block = |code: &str, until| Block { until, ..Block::of(code, "") };
    view.explanation.outlook.blocked_by =
        vec![block("on-hold", None), block("window-closed", Some(minute(130)))];
    view.holds = vec![
        StoredHold { released: Some((minute(30), "uid 0".to_owned())), ..hold(3, minute(20), None) },
        hold(4, minute(50), None),
    ];
    let picture = picture(&view);
    assert_eq!(lane(&picture, "Breaker open, over").pieces.len(), 1);
    assert_eq!(lane(&picture, "Window closed until 2026-11-30 12:10:00 UTC").pieces.len(), 1);
    assert_eq!(lane(&picture, "On hold, no known end").pieces.len(), 2);
    for words in [
        "Breaker open from 2026-11-30 10:10:00 UTC to 2026-11-30 10:40:00 UTC",
        "Window closed from 2026-11-30 10:40:00 UTC to 2026-11-30 12:10:00 UTC",
        "Hold #3 from 2026-11-30 10:20:00 UTC to 2026-11-30 10:30:00 UTC",
        "Hold #4 from 2026-11-30 10:50:00 UTC, with no known end",
    ] {
        assert!(picture.description.contains(words), "{words}: {}", picture.description);
    }
    check(&view).unwrap();
}

#[test]
fn a_window_that_will_close_before_the_next_request_is_drawn() {
    let night = Hours { days: [true; 7], from: 22 * 60, to: DAY };
    let entries = vec![(minute(0), first_seen()), (minute(1), failed(1, 0))];
    let mut view = view(entries, PhaseWord::Failed, minute(13 * 60));
    view.explanation.outlook.next = Some(NextRequest { at: minute(36 * 60), action: Action::Abort });
    view.explanation.window = Window::new("UTC", Some(&[night]), &[]);
    let picture = picture(&view);
    assert_eq!(lane(&picture, "Window closed until").pieces.len(), 1, "{:?}", picture.lanes);
    assert!(
        picture.description.contains("Window closed from 2026-12-01 00:00:00 UTC to 2026-12-01 22:00:00 UTC")
    );
}

#[test]
fn a_task_that_ended_long_ago_fills_the_drawing() {
    let entries = vec![
        (minute(0), first_seen()),
        (minute(0), Event::Running { execute_times: None }),
        (minute(60), Event::Ended(Outcome::ResolvedByRetry)),
    ];
    let picture = picture(&view(entries.clone(), PhaseWord::Ended, minute(12 * 60)));
    assert!(picture.now.is_none());
    assert!(lane(&picture, "Task, ended: resolved").pieces[0].width.0 > 90.0);
    assert!(picture.description.contains("ended at 2026-11-30 11:00:00 UTC: resolved"));
    let picture = self::picture(&view(entries, PhaseWord::Ended, minute(65)));
    assert!(picture.now.is_some(), "it has only just ended");
}

/// By its own clock the CSS API says when an old failure happened; what the daemon knows is when it first saw the task.
#[test]
fn an_old_failure_is_no_failure_of_today() {
    let mut old = failed(1, 0);
    if let Event::Failed(seen) = &mut old {
        seen.too_old = true;
    }
    let picture =
        picture(&view(vec![(minute(0), first_seen()), (minute(0), old)], PhaseWord::Failed, minute(9)));
    assert!(!picture.lanes.iter().any(|lane| lane.label.contains("failure")), "{:?}", picture.lanes);
    assert_eq!(lane(&picture, "Task").pieces.last().unwrap().class, "waits");
}

/// A request that the CSS API accepted is confirmed by polls like one without an answer.
#[test]
fn a_request_that_was_answered_is_not_said_to_be_of_unknown_outcome() {
    let entries = vec![
        (minute(0), first_seen()),
        (minute(5), failed(1, 0)),
        (minute(10), intent(Action::Retry)),
        (minute(10), answered(3, Meaning::Accepted)),
    ];
    let picture = picture(&view(entries, PhaseWord::OutcomeUnknown, minute(11)));
    assert!(picture.description.contains("request sent, not yet confirmed from"), "{}", picture.description);
    assert!(!picture.description.contains("unknown"), "{}", picture.description);
}

#[test]
fn a_thousand_requests_collapse_into_marks_with_numbers() {
    let mut entries = vec![(minute(0), first_seen())];
    for n in 0..1_000 {
        entries.push((minute(n * 3 + 1), failed(1, 0)));
        entries.push((minute(n * 3 + 2), intent(Action::Retry)));
        entries.push((minute(n * 3 + 3), Event::Running { execute_times: None }));
    }
    let view = view(entries, PhaseWord::Running, minute(3_010));
    let picture = picture(&view);
    let marks = &lane(&picture, "1000 retry requests").marks;
    assert!(marks.len() <= 10, "{}", marks.len());
    assert!(marks.iter().all(|mark| mark.number().is_some_and(|number| number.len() <= 4)));
    assert!(lane(&picture, "Task").pieces.len() <= 260);
    assert!(marks[0].words.contains("retry requests from"), "{}", marks[0].words);
    check(&view).unwrap();
}

#[test]
fn names_stay_text_in_the_drawing() {
    let mut view = view(vec![(minute(0), first_seen())], PhaseWord::Running, minute(1));
    view.explanation.cluster_name = "</title><script>alert(1)</script>\"'&\u{202e}".to_owned();
    view.explanation.outlook.blocked_by = vec![Block::of("<b>&\u{e9}", "")];
    let svg = picture(&view).render().unwrap();
    assert!(!svg.contains("<script") && !svg.contains("<b>") && !svg.contains('\u{202e}'), "{svg}");
    assert_eq!(svg.matches("</title>").count(), svg.matches("<title").count());
}

#[test]
fn nothing_is_drawn_of_a_task_of_which_nothing_is_journaled() {
    assert!(Picture::new(&view(Vec::new(), PhaseWord::Running, minute(1))).is_none());
    let mut other = view(vec![(minute(0), first_seen())], PhaseWord::Running, minute(1));
    other.timeline[0].subject.task = TaskId::new("t-2").unwrap();
    assert!(Picture::new(&other).is_none());
}

fn arbitrary_event() -> impl Strategy<Value = Event> {
    let attempt = 1..60_u64;
    prop_oneof![
        Just(first_seen()),
        Just(Event::Running { execute_times: None }),
        (0..12_u32).prop_map(|completed| Event::Progress { completed }),
        (1..9_u32, 0..12_u32).prop_map(|(number, completed)| failed(number, completed)),
        Just(intent(Action::Retry)),
        Just(intent(Action::Abort)),
        attempt.clone().prop_map(|attempt| answered(attempt, Meaning::Accepted)),
        attempt.clone().prop_map(|attempt| answered(attempt, Meaning::Busy)),
        attempt.clone().prop_map(|attempt| confirmed(attempt, Confirmation::Accepted)),
        attempt.clone().prop_map(|attempt| confirmed(attempt, Confirmation::NotAccepted)),
        attempt.prop_map(|attempt| Event::NotSent { attempt: AttemptId(attempt) }),
        Just(blocked(Reason::NoPolicy)),
        Just(blocked(Reason::WindowClosed { opens: None })),
        Just(Event::Escalated { reason: Reason::NoPolicy }),
        Just(Event::Ended(Outcome::Gone)),
    ]
}

/// Seconds since the last entry: mostly forward, also at once, back, and by years.
fn arbitrary_step() -> impl Strategy<Value = i64> {
    prop_oneof![8 => 0..4_000_i64, 2 => Just(0), 1 => -90_000..0_i64, 1 => 0..400_000_000_i64]
}

proptest! {
    #[test]
    fn any_lifecycle_is_drawn_inside_and_told(
        events in prop::collection::vec((arbitrary_step(), arbitrary_event()), 1..60),
        phase in 0..5_usize,
        now in arbitrary_step(),
        next in prop::option::of(arbitrary_step()),
        holds in prop::collection::vec((arbitrary_step(), prop::option::of(arbitrary_step())), 0..4),
        extreme in prop::option::of(any::<bool>()),
    ) {
        let after = |at: Timestamp, seconds: i64| {
            at.checked_add(SignedDuration::from_secs(seconds)).unwrap_or(Timestamp::MAX)
        };
        let mut at = match extreme {
            None => start(),
            Some(true) => after(Timestamp::MAX, -10_000),
            Some(false) => Timestamp::MIN,
        };
        let mut entries = Vec::new();
        for (step, event) in events {
            at = after(at, step);
            entries.push((at, event));
        }
        let phases = [
            PhaseWord::Running,
            PhaseWord::Failed,
            PhaseWord::OutcomeUnknown,
            PhaseWord::Escalated,
            PhaseWord::Ended,
        ];
        let now = after(at, now);
        let mut view = view(entries, phases[phase], now);
        view.explanation.outlook.next =
            next.map(|next| NextRequest { at: after(now, next), action: Action::Retry });
        view.holds = holds
            .into_iter()
            .map(|(from, until)| hold(1, after(now, -from), until.map(|until| after(now, until))))
            .collect();
        check(&view)?;
    }
}
