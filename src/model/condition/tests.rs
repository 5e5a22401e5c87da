//! The texts of each condition, and when operators are notified of it again.

use super::*;

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn cluster() -> ClusterId {
    ClusterId::new("c-1").unwrap()
}

fn paused(cause: PauseCause, refusals: u32) -> Condition {
    Condition::ProjectPaused { cause, refusals, until: time("2026-01-02T12:00:00Z") }
}

fn open(until: &str, probing: bool) -> Condition {
    let opening = Opening::ManyFailed { failures: 12, within: Duration::from_mins(10) };
    Condition::BreakerOpen { opening, until: time(until), probing }
}

fn unclear(reason: Reason, long: bool) -> Condition {
    Condition::Unclear { cluster: cluster(), name: "logs".to_owned(), reason, long }
}

fn unreachable(trouble: &str) -> Condition {
    let (error, advice) = ("HTTP 403".to_owned(), "look at the access key".to_owned());
    Condition::Unreachable { trouble: trouble.to_owned(), error, advice }
}

fn lost(trouble: &str) -> Condition {
    let (name, error) = ("logs".to_owned(), "HTTP 404".to_owned());
    Condition::ClusterUnreachable { cluster: cluster(), name, trouble: trouble.to_owned(), error }
}

fn short(unusable: &[&str], total: Option<u64>) -> Condition {
    let unusable = unusable.iter().map(|id| (*id).to_owned()).collect();
    Condition::ClusterListIncomplete { shown: 7, total, unusable }
}

/// So many of 201 clusters.
fn more(failing: usize) -> Condition {
    Condition::ClustersUnreachable { error: "disk full".to_owned(), failing, watched: 201 }
}

/// One of each, with the facts in its text.
fn all() -> Vec<(Condition, &'static [&'static str])> {
    let error = || "disk full".to_owned();
    let stretched = Condition::IdleIntervalStretched {
        per_second: 2.5,
        actual: Duration::from_hours(2),
        wanted: Duration::from_mins(30),
    };
    vec![
        (unreachable("forbidden"), &["HTTP 403"]),
        (paused(PauseCause::Forbidden, 2), &["2026-01-02 12:00", "2 refusals"]),
        (open("2026-01-02T12:00:00Z", false), &["2026-01-02 12:00", "12", "10m"]),
        (Condition::ClockOff { seconds: 400 }, &["6m 40s"]),
        (Condition::JournalFailing { error: error() }, &["disk full"]),
        (Condition::NoConnection { error: error() }, &["disk full"]),
        (unclear(Reason::ListIncomplete, false), &["list"]),
        (lost("gone"), &["HTTP 404"]),
        (more(198), &["disk full", "198 of 201 clusters"]),
        (short(&["x y"], Some(9)), &["7 clusters", "9", "x y"]),
        (stretched, &["2.5", "2h", "30m"]),
    ]
}

#[test]
fn every_condition_tells_its_facts_what_goes_on_and_what_to_do() {
    let all = all();
    let codes: Vec<Code> = all.iter().map(|(condition, _)| condition.code()).collect();
    assert_eq!(codes, Code::ALL);
    for (condition, facts) in all {
        let text = condition.text();
        for fact in facts {
            assert!(text.contains(fact), "{fact:?} is not in {text:?}");
        }
        assert!(condition.meanwhile().contains(' '), "{condition:?}");
        let advice = condition.advice();
        assert!(!advice.is_empty() && advice.iter().all(|(what, _)| what.contains(' ')), "{condition:?}");
        let of_one = matches!(condition.code(), Code::Unclear | Code::ClusterUnreachable);
        assert_eq!(condition.cluster(), of_one.then_some((&cluster(), "logs")));
        let ends = condition.code() == Code::BreakerOpen;
        assert_eq!(condition.code().ends_by_itself(), ends, "{condition:?}");
    }
    assert!(!short(&[], Some(9)).text().contains("cannot be used"), "every entry can");
    assert_ne!(unclear(Reason::ListIncomplete, true).text(), unclear(Reason::ListIncomplete, false).text());
}

/// Who reads the end in the log finds the line of the beginning by these words.
#[test]
fn the_end_of_a_condition_takes_up_the_words_of_its_beginning() {
    let words: [&[&str]; 11] = [
        &["its clusters", "be polled"],
        &["the project is", "paused"],
        &["the circuit breaker is"],
        &["this machine's clock", "the CSS API's clock"],
        &["the journal", "written"],
        &["connection", "can be opened"],
        &["request", "for the cluster", "the list of tasks is shorter than its totalSize"],
        &["the cluster", "be polled"],
        &["clusters", "cannot be polled"],
        &["the list shows", "clusters"],
        &["idle clusters are polled every", "30m"],
    ];
    let all = all();
    assert_eq!(all.len(), words.len());
    for ((condition, _), words) in all.into_iter().zip(words) {
        let (begin, end) = (condition.text(), condition.end_text(Duration::from_secs(10)));
        for word in words {
            assert!(begin.contains(word) && end.contains(word), "{word}: {begin} / {end}");
        }
        assert!(end.contains("after 10s"), "{end}");
    }
    assert!(more(201).text().starts_with("none of the 201 clusters can be polled"), "{}", more(201).text());
}

#[test]
fn the_cause_is_a_stable_word() {
    assert_eq!(unreachable("forbidden").cause(), "forbidden");
    assert_eq!(lost("gone").cause(), "gone");
    assert_eq!(paused(PauseCause::WrongAddress, 1).cause(), "wrong-address");
    assert_eq!(unclear(Reason::ListIncomplete, true).cause(), "list-incomplete");
    assert_eq!(short(&[], None).cause(), "cluster-list-incomplete");
}

/// Another step for an operator, or only another number in the log.
#[test]
fn operators_are_notified_again_where_what_to_do_differs_and_the_log_tells_more() {
    let noon = "2026-01-02T12:00:00Z";
    for (before, now, notified, logged) in [
        (unreachable("forbidden"), unreachable("forbidden"), false, false),
        (unreachable("forbidden"), unreachable("timeout"), true, true),
        (paused(PauseCause::Forbidden, 1), paused(PauseCause::Forbidden, 2), false, true),
        (paused(PauseCause::Forbidden, 1), paused(PauseCause::WrongAddress, 1), true, true),
        (open(noon, false), open(noon, true), false, true),
        (open(noon, false), open("2026-01-02T12:30:00Z", false), true, true),
        (unclear(Reason::ListIncomplete, true), unclear(Reason::StalePoll, true), true, true),
        (unclear(Reason::ListIncomplete, false), unclear(Reason::ListIncomplete, true), false, true),
        (lost("gone"), lost("timeout"), false, true),
        (short(&[], None), short(&["x"], None), false, false),
        (more(4), more(200), false, false),
        (more(200), more(201), false, true),
    ] {
        assert_eq!(before.notice_sign() != now.notice_sign(), notified, "{before:?} {now:?}");
        assert_eq!(before.log_sign() != now.log_sign(), logged, "{before:?} {now:?}");
    }
}
