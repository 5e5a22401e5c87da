use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::cloud::Refusal;
use crate::model::event::Subject;
use crate::model::id::{ProjectName, TaskId};
use crate::model::moment::Mono;

fn cluster(name: &str) -> Cluster {
    let id = ClusterId::new(name).unwrap();
    ProjectState::default().cluster(&id).recall(&id)
}

fn now() -> Moment {
    Moment { wall: jiff::Timestamp::UNIX_EPOCH, mono: Mono(0) }
}

fn found(faults: &Faults, about: &str) -> Found {
    let project = ProjectState::default();
    let known =
        Known { project: &project, clock_offset: Some(SignedDuration::ZERO), watched: &|| 8, now: now() };
    faults.conditions(&known, Some(&cluster(about).id))
}

fn codes(faults: &Faults, about: &str) -> Vec<&'static str> {
    found(faults, about).conditions.iter().map(|condition| condition.code().word()).collect()
}

fn refusal(status: u16) -> Refusal {
    Refusal { status, code: None, message: String::new(), request_id: None, retry_after: None }
}

fn cannot_poll(faults: &mut Faults, name: &str, error: CloudError) {
    faults.met(&cluster(name), &ReconcileError::Cloud(error));
}

fn decided(reason: Reason) -> Decision {
    Decision { task: None, verdict: Verdict::Wait, reason, next_poll: Duration::ZERO }
}

/// A poll of the cluster, and what was decided. `fails`: a task of it shows a failure that is not over.
fn poll(faults: &mut Faults, name: &str, at: Moment, reason: Reason, fails: bool) {
    faults.polled(&cluster(name), at, &decided(reason), fails, || false);
}

fn list(names: &[&str], total_size: Option<u64>, unusable: &[&str]) -> ClusterList {
    ClusterList {
        clusters: names.iter().map(|name| Arc::new(cluster(name))).collect(),
        unusable: unusable.iter().map(|id| (*id).to_owned()).collect(),
        total_size,
    }
}

#[test]
fn three_clusters_that_cannot_be_polled_are_conditions_of_their_own_and_more_are_one() {
    let mut faults = Faults::default();
    for name in ["a", "b", "c", "d", "e"] {
        cannot_poll(&mut faults, name, CloudError::Server(refusal(500)));
    }
    assert_eq!(codes(&faults, "a"), ["clusters-unreachable", "cluster-unreachable"]);
    assert_eq!(codes(&faults, "d"), ["clusters-unreachable"]);
    assert_eq!(codes(&faults, "e"), ["clusters-unreachable"]);
    let more = |faults: &Faults| found(faults, "e").conditions.pop().unwrap().text();
    assert!(!more(&faults).contains("503"));
    assert!(more(&faults).contains("5 of 8 clusters"), "{}", more(&faults));
    cannot_poll(&mut faults, "d", CloudError::Server(refusal(503)));
    assert!(
        more(&faults).contains("503"),
        "it is of one that has no condition of its own: {}",
        more(&faults)
    );
    assert_eq!(faults.unreachable_clusters(), 5);
    faults.gone(&[cluster("d").id, cluster("e").id]);
    assert_eq!(codes(&faults, "a"), ["cluster-unreachable"]);
    // A cluster that can be polled again makes no room for another cluster's own condition.
    poll(&mut faults, "a", now(), Reason::Idle, false);
    assert_eq!((codes(&faults, "a"), codes(&faults, "b")), (vec![], vec!["cluster-unreachable"]));
}

#[test]
fn a_credential_that_is_refused_is_one_condition_of_the_project() {
    let mut faults = Faults::default();
    assert_eq!(codes(&faults, "a"), [""; 0]);
    for name in ["a", "b"] {
        cannot_poll(&mut faults, name, CloudError::Unauthorized(refusal(401)));
    }
    faults.cannot_list(&CloudError::Unauthorized(refusal(401)));
    assert_eq!(codes(&faults, "a"), ["unreachable"]);
    assert_eq!(faults.block(&cluster("z").id).unwrap().code, "unreachable");
    assert_eq!(faults.unreachable_clusters(), 2);
    // A credential is valid for all clusters or for none: one successful poll ends the fault for
    // all clusters, but not for the list.
    poll(&mut faults, "a", now(), Reason::Idle, false);
    assert!(faults.is_unreachable() && faults.unreachable_clusters() == 0);
    faults.listed(&list(&["a", "b"], Some(2), &[]));
    assert!(!faults.is_unreachable() && codes(&faults, "a").is_empty());
}

#[test]
fn any_other_trouble_of_the_project_lasts_until_each_cluster_that_met_it_can_be_polled() {
    let mut faults = Faults::default();
    for name in ["a", "b"] {
        cannot_poll(&mut faults, name, CloudError::WrongAddress(refusal(404)));
    }
    poll(&mut faults, "a", now(), Reason::Idle, false);
    assert!(faults.is_unreachable(), "b still meets it");
    poll(&mut faults, "b", now(), Reason::Idle, false);
    assert!(!faults.is_unreachable());
    // Or until the cluster is gone.
    cannot_poll(&mut faults, "a", CloudError::WrongAddress(refusal(404)));
    faults.gone(&[cluster("a").id]);
    poll(&mut faults, "b", now(), Reason::Idle, false);
    assert!(!faults.is_unreachable());
}

#[test]
fn that_a_project_can_be_polled_is_known_once_a_list_and_a_poll_have_shown_it() {
    let unknown = |faults: &Faults| found(faults, "a").unknown;
    let mut faults = Faults::default();
    assert_eq!(unknown(&faults), [Code::Unreachable]);
    poll(&mut faults, "a", now(), Reason::Idle, false);
    assert_eq!(unknown(&faults), [Code::Unreachable], "a poll alone does not show it");
    faults.listed(&list(&["a"], Some(1), &[]));
    assert_eq!(unknown(&faults), [Code::Unreachable]);
    poll(&mut faults, "a", now(), Reason::Idle, false);
    assert_eq!(unknown(&faults), []);
    // A project without a cluster has nothing to poll.
    let mut empty = Faults::default();
    empty.listed(&list(&[], Some(0), &[]));
    assert_eq!(unknown(&empty), []);
    // The error is definite, so it counts at once.
    let mut refused = Faults::default();
    refused.cannot_list(&CloudError::Unauthorized(refusal(401)));
    assert_eq!(unknown(&refused), []);
    // Whether a cluster is unclear is not known while it cannot be polled.
    cannot_poll(&mut faults, "a", CloudError::Server(refusal(500)));
    assert_eq!(unknown(&faults), [Code::Unclear]);
    let project = ProjectState::default();
    let known = Known { project: &project, clock_offset: None, watched: &|| 8, now: now() };
    assert_eq!(faults.conditions(&known, None).unknown, [Code::ClockOff]);
}

#[test]
fn a_list_that_is_shorter_than_it_says_is_a_condition_and_a_whole_one_ends_it() {
    let mut faults = Faults::default();
    for (list, is_short) in [
        (list(&["a"], Some(2), &[]), true),
        (list(&["a"], Some(1), &[]), false),
        (list(&["a"], Some(1), &["x y"]), true),
        (list(&["a"], None, &[]), true),
    ] {
        faults.listed(&list);
        assert_eq!(codes(&faults, "a") == ["cluster-list-incomplete"], is_short, "{list:?}");
    }
}

#[test]
fn the_journal_and_connections_are_conditions_as_long_as_they_fail() {
    let mut faults = Faults::default();
    let closed = || JournalError::Closed { path: "journal.db".into() };
    faults.met(&cluster("a"), &ReconcileError::Journal(closed()));
    assert_eq!(codes(&faults, "a"), ["journal-failing"]);
    assert_eq!(faults.block(&cluster("a").id).unwrap().code, "journal-failing");
    faults.journal(None);
    faults.met(&cluster("a"), &ReconcileError::SentUnwritten(closed()));
    assert_eq!(codes(&faults, "a"), ["journal-failing"]);
    faults.journal(None);
    faults.met(&cluster("a"), &ReconcileError::NoConnection(TransportError::Connect("none left".into())));
    assert_eq!(codes(&faults, "a"), ["no-connection"]);
    faults.connection(None);
    faults.met(&cluster("a"), &ReconcileError::Stopping);
    assert_eq!((codes(&faults, "a"), faults.block(&cluster("a").id)), (vec![], None));
    cannot_poll(&mut faults, "a", CloudError::Server(refusal(500)));
    assert_eq!(faults.block(&cluster("a").id).unwrap().code, "cluster-unreachable");
}

#[test]
fn a_cluster_is_unclear_for_long_once_a_failed_task_has_waited_for_an_hour() {
    let hour = now().after(UNCLEAR_PATIENCE);
    let unclear = |faults: &Faults| {
        let found = found(faults, "a").conditions.pop();
        found.map(|condition| matches!(condition, Condition::Unclear { long: true, .. }))
    };
    let newest = || Reason::NewestMissing { task: None };
    // Each of these is a condition at once, and long only if a failed task waits for it.
    for reason in [Reason::ListIncomplete, Reason::OrderUnclear { detail: "x".to_owned() }, newest()] {
        for fails in [true, false] {
            let mut faults = Faults::default();
            poll(&mut faults, "a", now(), reason.clone(), fails);
            assert_eq!(unclear(&faults), Some(false), "{reason:?}");
            poll(&mut faults, "a", hour, newest(), fails);
            assert_eq!(unclear(&faults), Some(fails), "the hour goes on over another reason");
            assert_eq!(faults.is_unclear_for_long(&cluster("a").id), fails);
            poll(&mut faults, "a", hour, Reason::Idle, fails);
            assert_eq!(unclear(&faults), None);
        }
    }
    // These are conditions only after they have lasted.
    let shared = Reason::SharedTask { other: ClusterId::new("b").unwrap() };
    let unknown = Reason::UnknownStatus { word: "HALTED".to_owned() };
    let slow = Reason::SlowPoll { took: Duration::from_mins(1) };
    for (reason, fails, lasts) in
        [(unknown, false, true), (slow.clone(), true, true), (slow, false, false), (shared, true, true)]
    {
        let mut faults = Faults::default();
        poll(&mut faults, "a", now(), reason.clone(), fails);
        assert_eq!(unclear(&faults), None, "{reason:?}");
        poll(&mut faults, "a", hour, reason.clone(), fails);
        assert_eq!(unclear(&faults), lasts.then_some(true), "{reason:?}");
    }
    // The hour starts when a failed task first waits.
    let mut faults = Faults::default();
    poll(&mut faults, "a", now(), Reason::ListIncomplete, false);
    poll(&mut faults, "a", hour, Reason::ListIncomplete, true);
    assert_eq!(unclear(&faults), Some(false));
    poll(&mut faults, "a", hour.after(UNCLEAR_PATIENCE), Reason::ListIncomplete, true);
    assert_eq!(unclear(&faults), Some(true));
    // A task that another cluster shows, too, is escalated after the same time, and is not unclear
    // then.
    let shared = || Reason::SharedTask { other: ClusterId::new("b").unwrap() };
    for (verdict, fails) in [(Verdict::Escalate, true), (Verdict::Wait, false)] {
        let mut faults = Faults::default();
        for at in [now(), hour] {
            let decision = Decision { verdict: verdict.clone(), ..decided(shared()) };
            faults.polled(&cluster("a"), at, &decision, fails, || false);
        }
        assert_eq!(unclear(&faults), None, "{verdict:?} {fails}");
    }
    // The cluster had been unclear for long when an earlier process ended.
    let mut faults = Faults::default();
    faults.polled(&cluster("a"), now(), &decided(Reason::ListIncomplete), true, || true);
    assert_eq!(unclear(&faults), Some(true));
}

#[test]
fn of_many_tasks_that_are_never_acted_on_three_are_told_and_the_others_counted_once() {
    let entry = |reason: Reason| Entry {
        number: 1,
        at: now(),
        subject: Subject {
            project: ProjectName::new("prod").unwrap(),
            cluster: cluster("a").id,
            task: TaskId::new("t").unwrap(),
        },
        event: Event::Decided { verdict: crate::model::decision::PassiveVerdict::Wait, reason },
    };
    let mut faults = Faults::default();
    let notified = (0..5).filter(|_| faults.is_notified(&entry(Reason::NoPolicy))).count();
    assert_eq!(notified, 3);
    assert!((0..5).all(|_| faults.is_notified(&entry(Reason::ListIncomplete))), "each is notified of");
    assert_eq!(faults.without_action(), [("no-policy", 2)]);
    assert_eq!(faults.without_action(), []);
    assert!(!faults.is_notified(&entry(Reason::NoPolicy)));
    assert_eq!(faults.without_action(), [("no-policy", 1)]);
}

/// The same trouble, met in two ways, is one condition with its first error; another trouble replaces it.
#[test]
fn the_error_of_a_project_that_cannot_be_polled_is_that_of_its_latest_trouble() {
    let text = |faults: &Faults| found(faults, "a").conditions.remove(0).text();
    let refused = |message: &str| Refusal { message: message.to_owned(), ..refusal(401) };
    let mut faults = Faults::default();
    cannot_poll(&mut faults, "a", CloudError::Unauthorized(refused("first")));
    faults.cannot_list(&CloudError::Unauthorized(refused("second")));
    assert!(text(&faults).contains("first"), "{}", text(&faults));
    faults.cannot_list(&CloudError::WrongAddress(refused("third")));
    assert!(text(&faults).contains("third"), "{}", text(&faults));
}

#[test]
fn an_open_breaker_lets_a_probe_through_once_its_cooldown_is_over() {
    let mut project = ProjectState::default();
    let opening = crate::model::turn::Opening::ManyFailed { failures: 3, within: Duration::from_mins(10) };
    let subject = Subject {
        project: ProjectName::new("prod").unwrap(),
        cluster: cluster("a").id,
        task: TaskId::new("t").unwrap(),
    };
    let cooldown = Duration::from_mins(30);
    project.apply(&Entry {
        number: 1,
        at: now(),
        subject,
        event: Event::BreakerOpened { opening, cooldown },
    });
    for (minutes, probes) in [(29, false), (30, true)] {
        let now = now().after(Duration::from_mins(minutes));
        let known = Known { project: &project, clock_offset: None, watched: &|| 8, now };
        let found = Faults::default().conditions(&known, None);
        let [Condition::BreakerOpen { probing, .. }] = &found.conditions[..] else { panic!("{found:?}") };
        assert_eq!(*probing, probes, "after {minutes} minutes");
    }
}
