use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;

use super::*;
use crate::model::action::Action;
use crate::model::answer::Answer;
use crate::model::hold::Scope;
use crate::model::id::{AttemptId, ClusterId, TaskId};
use crate::model::project::PauseCause;
use crate::model::task::AbortDoubt;
use crate::model::turn::Opening;

#[test]
fn the_code_is_the_same_in_json_and_in_logs() {
    let reasons = [
        Reason::Idle,
        Reason::ListIncomplete,
        Reason::AbortedByUs,
        Reason::StalePoll,
        Reason::NoPolicy,
        Reason::DryRun { action: Action::Retry },
        Reason::RetryDue { retry: 1, max_retries: 5, waited: Duration::from_mins(2) },
        Reason::NodeCompleted { used: 5, doubt: AbortDoubt::Completed { done: 1, total: 3 } },
    ];
    for reason in reasons {
        let json = serde_json::to_value(&reason).unwrap();
        assert_eq!(json["code"], reason.code());
        assert_eq!(serde_json::from_value::<Reason>(json).unwrap(), reason);
    }
}

#[test]
fn a_moved_wall_clock_is_no_news() {
    let backoff = |retry, until: &str| Reason::Backoff {
        retry,
        max_retries: 5,
        wait: Duration::from_mins(1),
        until: until.parse().unwrap(),
    };
    let one = backoff(1, "2026-01-01T00:00:00Z");
    assert!(one.tells_the_same_as(&backoff(1, "2026-01-01T00:00:01Z")));
    assert!(!one.tells_the_same_as(&backoff(2, "2026-01-01T00:00:00Z")));
}

fn answer() -> Answer {
    Answer {
        meaning: super::super::answer::Meaning::Busy,
        status: Some(409),
        code: Some("CSS.0029".to_owned()),
        message: "Another operation runs.".to_owned(),
        request_id: Some("r-1".to_owned()),
        retry_after: Some(Duration::from_mins(2)),
    }
}

fn cluster() -> ClusterId {
    ClusterId::new("c-2").unwrap()
}

fn on_hold(until: Option<Timestamp>) -> Reason {
    Reason::OnHold {
        hold: 3,
        scope: Scope::All,
        by: "uid 1000".to_owned(),
        why: "an incident".to_owned(),
        until,
    }
}

/// Every reason with its sentence: what an operator reads, word for word.
#[test]
#[expect(clippy::too_many_lines, reason = "every sentence, in one list")]
fn every_reason_reads_as_an_operator_needs_it() {
    let until: Timestamp = "2026-01-02T03:04:05Z".parse().unwrap();
    let minutes = Duration::from_mins;
    let (attempt, task) = (AttemptId(12), TaskId::new("t-1").unwrap());
    let table = [
        (Reason::Idle, "nothing to do: no task is running, and the newest, if there is one, did not fail"),
        (
            Reason::Running { done: Some(1), total: 3, execution: Some(2) },
            "the task is running, 1 of 3 nodes done (execution 2); it cannot be stopped",
        ),
        (
            Reason::Running { done: Some(0), total: 1, execution: Some(1) },
            "the task is running, 0 of 1 node done; it cannot be stopped",
        ),
        (
            Reason::Running { done: None, total: 3, execution: None },
            "the task is running; how many of its 3 nodes are done cannot be read; it cannot be stopped",
        ),
        (
            Reason::ListIncomplete,
            "the list of tasks is shorter than it says it is, so a newer task may be missing from it",
        ),
        (
            Reason::OrderUnclear { detail: "tasks a and b have the same startTime".to_owned() },
            "which task is the newest cannot be told: tasks a and b have the same startTime",
        ),
        (
            Reason::NewestMissing { task: Some(task) },
            "task t-1, the newest ever seen, is missing from the list, so older ones are left alone",
        ),
        (
            Reason::NewestMissing { task: None },
            "the newest task ever seen is missing from the list, so older ones are left alone",
        ),
        (
            Reason::RunningMissing { task: TaskId::new("t-2").unwrap() },
            "task t-2, which was running when it was last read, is missing from the list, so nothing is sent \
             before another poll",
        ),
        (
            Reason::SharedTask { other: cluster() },
            "the last answer about cluster c-2 shows this task too, so whose task it is cannot be told and \
             nothing is sent for it",
        ),
        (
            Reason::SlowPoll { took: minutes(2) },
            "reading both lists of tasks took 2m, and nothing is sent on what is older than 5s: they are read again",
        ),
        (
            Reason::UnknownStatus { word: "TERMIN\u{1b}ATED".to_owned() },
            r#"its status "TERMIN\u{1b}ATED" is not one that we know, so it is left alone"#,
        ),
        (Reason::UnknownStatus { word: String::new() }, "it shows no status, so it is left alone"),
        (
            Reason::AbortedByUs,
            "we aborted it, and nothing more is sent for it, whatever the service goes on showing",
        ),
        (Reason::Ended, "it is closed: a newer task took its place, or it was gone"),
        (
            Reason::NeedsOperator { since: until, why: "node-completed".to_owned() },
            "it was escalated to an operator at 2026-01-02 03:04:05 UTC (node-completed), and nothing is sent for it",
        ),
        (
            Reason::TooOld {
                ended: Some("2025-12-24T01:02:03".to_owned()),
                limit: minutes(72 * 60),
                in_future: false,
            },
            "it ended at 2025-12-24T01:02:03 (cloud time), more than 3d before it was first seen, so it is left alone",
        ),
        (
            Reason::TooOld { ended: None, limit: minutes(72 * 60), in_future: false },
            "it does not tell when it ended and was never seen running, so it counts as older than 3d and is left alone",
        ),
        (
            Reason::TooOld {
                ended: Some("2027-12-24T01:02:03".to_owned()),
                limit: minutes(72 * 60),
                in_future: true,
            },
            "it is said to end at 2027-12-24T01:02:03 (cloud time), which lies in the future, and it was never seen \
             running: its age cannot be told, so it is left alone",
        ),
        (
            Reason::OutcomeUnknown { attempt, action: Action::Retry, answered: true },
            "the service accepted the retry (PUT #12); readings do not show for certain yet what came of it",
        ),
        (
            Reason::OutcomeUnknown { attempt, action: Action::Retry, answered: false },
            "whether the service accepted the retry (PUT #12) is unknown; readings will show it",
        ),
        (Reason::StalePoll, "the reading may show the past, so nothing is sent before another one"),
        (
            Reason::Backoff { retry: 1, max_retries: 5, wait: minutes(2), until },
            "retry 1 of 5 waits 2m and is due at 2026-01-02 03:04:05 UTC",
        ),
        (
            Reason::ServiceBusy { answer: answer(), until },
            "the service was busy (409 CSS.0029: Another operation runs, retry after 2m, request id r-1); \
             the same PUT is due again at 2026-01-02 03:04:05 UTC",
        ),
        (
            Reason::CheckingIfGone { answer: Answer { retry_after: None, ..answer() } },
            "the answer (409 CSS.0029: Another operation runs, request id r-1) means gone or forbidden; \
             the list and another reading will tell which",
        ),
        (Reason::WasBlocked { until }, "what held it back has ended; it is due at 2026-01-02 03:04:05 UTC"),
        (
            Reason::AbortPending { used: 5, external: 2, grace: minutes(15), after_put: None, until },
            "all 5 retries are used up (2 of them by others) and no node is completed: it will be aborted at \
             2026-01-02 03:04:05 UTC (grace 15m)",
        ),
        (
            Reason::AbortPending { used: 0, external: 0, grace: minutes(15), after_put: None, until },
            "no retry is allowed and no node is completed: it will be aborted at 2026-01-02 03:04:05 UTC (grace 15m)",
        ),
        (
            Reason::AbortPending {
                used: 1,
                external: 0,
                grace: minutes(1),
                after_put: Some(minutes(5)),
                until,
            },
            "the one retry is used up and no node is completed: it will be aborted at 2026-01-02 03:04:05 UTC \
             (grace 1m, and not within 5m of the last PUT)",
        ),
        (Reason::NoPolicy, "no policy matches it, so it is watched and never touched"),
        (Reason::DryRun { action: Action::Abort }, "dry-run: would abort now"),
        (
            Reason::ProjectPaused { cause: PauseCause::Forbidden, until },
            "the project is paused because the service refused a PUT as forbidden; from 2026-01-02 03:04:05 UTC on \
             one PUT at a time tries again",
        ),
        (
            Reason::ProjectPaused { cause: PauseCause::WrongAddress, until },
            "the project is paused because something other than the service answered a PUT; from \
             2026-01-02 03:04:05 UTC on one PUT at a time tries again",
        ),
        (
            Reason::ClusterPaused { until },
            "the cluster is paused because the service refused a PUT as forbidden, until 2026-01-02 03:04:05 UTC",
        ),
        (
            Reason::ClockOff { seconds: -301 },
            "our clock is 5m 1s behind the service's, and nothing is sent while they differ by more than 5m",
        ),
        (
            Reason::ClockOff { seconds: 3_600 },
            "our clock is 1h ahead of the service's, and nothing is sent while they differ by more than 5m",
        ),
        (
            Reason::ActionsInFlight { limit: 1 },
            "retried tasks run on as many other clusters as max_actions_in_flight allows (1)",
        ),
        (
            Reason::ActionsPerHour { limit: 1 },
            "as many PUTs were sent within the last hour as max_actions_per_hour allows (1)",
        ),
        (
            Reason::NotListed,
            "no list of clusters has shown it since the start, so which policy covers it is not certain",
        ),
        (on_hold(Some(until)), "hold #3 by uid 1000 on all, until 2026-01-02 03:04:05 UTC: an incident"),
        (on_hold(None), "hold #3 by uid 1000 on all, until it is released: an incident"),
        (
            Reason::WindowClosed { opens: Some(until) },
            "the policy's window is closed, and opens at 2026-01-02 03:04:05 UTC",
        ),
        (
            Reason::WindowClosed { opens: None },
            "the policy's window is closed, and no opening of it can be found",
        ),
        (
            Reason::BreakerOpen { opening: Opening::ManyFailed { failures: 10, within: minutes(10) }, until },
            "the breaker of the project is open because 10 tasks were seen to fail within 10m; from \
             2026-01-02 03:04:05 UTC on one PUT tries again",
        ),
        (
            Reason::BreakerProbing { attempt, cluster: cluster() },
            "the breaker of the project let PUT #12 on cluster c-2 through, and waits for what becomes of it",
        ),
        (
            Reason::RetryDue { retry: 1, max_retries: 5, waited: minutes(2) },
            "retry 1 of 5 is due after waiting 2m",
        ),
        (Reason::RetryDue { retry: 1, max_retries: 5, waited: Duration::ZERO }, "retry 1 of 5 is due again"),
        (
            Reason::AbortDue { used: 1, max_retries: 1, grace: minutes(15) },
            "the one retry is used up, no node is completed and the grace of 15m is over",
        ),
        (
            Reason::Manual {
                action: Action::Abort,
                by: "uid 1000".to_owned(),
                why: "it blocks the release".to_owned(),
                command: "c".to_owned(),
            },
            "uid 1000 orders the abort: it blocks the release",
        ),
        (
            Reason::NotNewest { task: TaskId::new("t-1").unwrap(), newest: TaskId::new("t-2").unwrap() },
            "task t-1 is not the newest task of the cluster: t-2 is",
        ),
        (
            Reason::NotFailed { status: "SUCCESS".to_owned() },
            "its status is \"SUCCESS\", and only a task that is FAILED is acted on",
        ),
        (
            Reason::NotAbortable { doubt: AbortDoubt::Completed { done: 1, total: 3 } },
            "it must not be aborted: 1 of 3 nodes is completed; aborting it could leave a cluster of mixed \
             versions or zones",
        ),
        (Reason::NotEscalated, "it is not escalated, so there is nothing to reset"),
        (Reason::AlreadyDone, "this very command was carried out before, and acts once"),
        (
            Reason::RetriesExhausted { used: 1, external: 1 },
            "the one retry is used up (by others), and the policy says to call an operator",
        ),
        (
            Reason::NodeCompleted { used: 5, doubt: AbortDoubt::Completed { done: 1, total: 3 } },
            "all 5 retries are used up, and it must not be aborted: 1 of 3 nodes is completed; aborting it could \
             leave a cluster of mixed versions or zones",
        ),
        (
            Reason::NodeCompleted { used: 0, doubt: AbortDoubt::Completed { done: 2, total: 3 } },
            "no retry is allowed, and it must not be aborted: 2 of 3 nodes are completed; aborting it could \
             leave a cluster of mixed versions or zones",
        ),
        (
            Reason::PartialFailed { used: 1 },
            "it is PARTIAL_FAILED, with 1 retry used; the policy allows no more, and such a task is never aborted",
        ),
        (
            Reason::PolicyChanged { used: 2, first: None, now: "standard".to_owned() },
            "all 2 retries are used up, but it is not aborted: the failure was first seen under no policy, and \
             policy standard is in force",
        ),
        (
            Reason::PolicyChanged { used: 2, first: Some("standard".to_owned()), now: "standard".to_owned() },
            "all 2 retries are used up, but it is not aborted: the failure was first seen under other terms of \
             policy standard",
        ),
        (
            Reason::PolicyChanged { used: 2, first: Some("old".to_owned()), now: "standard".to_owned() },
            "all 2 retries are used up, but it is not aborted: the failure was first seen under policy old, and \
             policy standard is in force",
        ),
        (
            Reason::MaxElapsedTime { waited: minutes(14), limit: minutes(10), left: 1 },
            "it has waited 14m since the first failure or the last progress, more than max_elapsed_time (10m), \
             with 1 retry left",
        ),
        (
            Reason::ChangedExternally { changed: "agencyName, endTime".to_owned() },
            "somebody else changed the failed task (agencyName, endTime), so it is left to them",
        ),
        (
            Reason::NotAcceptable { answer: Answer { retry_after: None, ..answer() } },
            "the service will not take this request as it is: 409 CSS.0029: Another operation runs, request id r-1",
        ),
        (
            Reason::WithoutEffect { times: 2 },
            "2 retries in a row were accepted and had no effect on the task",
        ),
        (
            Reason::NotAccepted { times: 3 },
            "3 PUTs in a row had no clear answer, or could not be sent, and none took effect",
        ),
        (
            Reason::BusyTooLong { since: until, answer: Answer { retry_after: None, ..answer() } },
            "the service has been busy since 2026-01-02 03:04:05 UTC; its last answer was 409 CSS.0029: \
             Another operation runs, request id r-1",
        ),
        (
            Reason::CannotConfirm { attempt, detail: "no two readings agreed for 1h 5m".to_owned() },
            "whether PUT #12 was accepted cannot be told: no two readings agreed for 1h 5m",
        ),
        (
            Reason::AbortUnknown { attempt, answer: Some(Answer { retry_after: None, ..answer() }) },
            "whether the abort (PUT #12) was accepted is unknown (409 CSS.0029: Another operation runs, request \
             id r-1); an abort leaves no trace in the API, so it is never sent again",
        ),
        (
            Reason::AbortUnknown { attempt, answer: None },
            "whether the abort (PUT #12) was accepted is unknown (no answer was recorded); an abort leaves no \
             trace in the API, so it is never sent again",
        ),
    ];
    let mut told = BTreeSet::new();
    for (reason, sentence) in table {
        assert_eq!(reason.to_string(), sentence);
        told.insert(reason.code());
    }
    let all: BTreeSet<&str> = Reason::CODES.iter().copied().collect();
    assert_eq!(told, all, "a reason has no sentence in this table");
}

#[test]
fn a_failed_task_needs_attention_while_what_is_true_of_it_waits_for_somebody() {
    let unclear = Reason::OrderUnclear { detail: "tasks a and b have the same startTime".to_owned() };
    let waiting_for_somebody = [
        Reason::NoPolicy,
        Reason::UnknownStatus { word: "TERMINATED".to_owned() },
        unclear,
        Reason::NewestMissing { task: None },
        Reason::SharedTask { other: cluster() },
        on_hold(None),
        Reason::PartialFailed { used: 1 },
    ];
    for reason in waiting_for_somebody {
        assert!(reason.needs_attention(), "{reason}");
        assert!(reason.next_step().is_some(), "{reason}");
    }
    let until: Timestamp = "2026-01-02T03:04:05Z".parse().unwrap();
    for reason in [
        on_hold(Some(until)),
        Reason::StalePoll,
        Reason::DryRun { action: Action::Retry },
        Reason::WindowClosed { opens: None },
        Reason::ListIncomplete,
    ] {
        assert!(!reason.needs_attention(), "{reason}");
    }
}
