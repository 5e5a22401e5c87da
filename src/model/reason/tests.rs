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

/// Every reason with its sentence, as an operator reads it.
#[test]
#[expect(clippy::too_many_lines, reason = "every sentence, in one list")]
fn every_reason_reads_as_an_operator_needs_it() {
    let until: Timestamp = "2026-01-02T03:04:05Z".parse().unwrap();
    let minutes = Duration::from_mins;
    let (attempt, task) = (AttemptId(12), TaskId::new("t-1").unwrap());
    let table = [
        (
            Reason::Idle,
            "nothing to do: no task is running, and the newest task, if there is one, did not \
                        fail",
        ),
        (
            Reason::Running { done: Some(1), total: 3, execution: Some(2) },
            "the task is running, 1 of 3 nodes completed (run 2); a running task cannot be stopped",
        ),
        (
            Reason::Running { done: Some(0), total: 1, execution: Some(1) },
            "the task is running, 0 of 1 node completed; a running task cannot be stopped",
        ),
        (
            Reason::Running { done: None, total: 3, execution: None },
            "the task is running; how many of its 3 nodes are completed cannot be read; a running task \
             cannot be stopped",
        ),
        (
            Reason::ListIncomplete,
            "the list of tasks is shorter than its totalSize, so a newer task may be missing from it",
        ),
        (
            Reason::OrderUnclear { detail: "tasks a and b have the same startTime".to_owned() },
            "the newest task of the cluster cannot be determined: tasks a and b have the same startTime",
        ),
        (
            Reason::NewestMissing { task: Some(task) },
            "task t-1, the newest ever seen, is missing from the list, so the daemon does not act on older \
             tasks",
        ),
        (
            Reason::NewestMissing { task: None },
            "the newest task ever seen is missing from the list, so the daemon does not act on older tasks",
        ),
        (
            Reason::RunningMissing { task: TaskId::new("t-2").unwrap() },
            "task t-2, which was running at the last poll, is missing from the list, so no request is sent \
             before another poll",
        ),
        (
            Reason::SharedTask { other: cluster() },
            "the last response about cluster c-2 shows this task too, so its cluster is unclear and no \
             request is sent for it",
        ),
        (
            Reason::SlowPoll { took: minutes(2) },
            "polling both lists of tasks took 2m, and no request is sent on data older than 5s: the daemon \
             polls again",
        ),
        (
            Reason::UnknownStatus { word: "TERMIN\u{1b}ATED".to_owned() },
            r#"the daemon does not know the task's status "TERMIN\u{1b}ATED", so it does not act on it"#,
        ),
        (
            Reason::UnknownStatus { word: String::new() },
            "the task has no status, so the daemon does not act \
                                                         on it",
        ),
        (
            Reason::AbortedByUs,
            "the daemon aborted the task; no further request is sent for it, whatever the CSS API shows",
        ),
        (Reason::Ended, "the task ended: a newer task superseded it, or it is gone"),
        (
            Reason::NeedsOperator { since: until, why: "node-completed".to_owned() },
            "the task was escalated to an operator at 2026-01-02 03:04:05 UTC (node-completed), and no \
             request is sent for it",
        ),
        (
            Reason::TooOld {
                ended: Some("2025-12-24T01:02:03".to_owned()),
                limit: minutes(72 * 60),
                in_future: false,
            },
            "the task failed at 2025-12-24T01:02:03 (cloud time), more than 3d before it was first seen, so \
             the daemon does not act on it",
        ),
        (
            Reason::TooOld { ended: None, limit: minutes(72 * 60), in_future: false },
            "the task has no end time and was never seen running, so it counts as older than 3d and the \
             daemon does not act on it",
        ),
        (
            Reason::TooOld {
                ended: Some("2027-12-24T01:02:03".to_owned()),
                limit: minutes(72 * 60),
                in_future: true,
            },
            "the failure of the task, at 2027-12-24T01:02:03 (cloud time), is in the future, and the task was \
             never seen running: its age is unknown, so the daemon does not act on it",
        ),
        (
            Reason::OutcomeUnknown { attempt, action: Action::Retry, answered: true },
            "the CSS API accepted retry request #12; the next polls have to confirm its effect",
        ),
        (
            Reason::OutcomeUnknown { attempt, action: Action::Retry, answered: false },
            "whether the CSS API accepted retry request #12 is unknown; the next polls will show it",
        ),
        (Reason::StalePoll, "the poll may show an old state, so no request is sent before another poll"),
        (
            Reason::Backoff { retry: 1, max_retries: 5, wait: minutes(2), until },
            "retry 1 of 5 waits 2m and is due at 2026-01-02 03:04:05 UTC",
        ),
        (
            Reason::ServiceBusy { answer: answer(), until },
            "the CSS API was busy (409 CSS.0029: Another operation runs, retry after 2m, request id r-1); \
             the same request is due again at 2026-01-02 03:04:05 UTC",
        ),
        (
            Reason::CheckingIfGone { answer: Answer { retry_after: None, ..answer() } },
            "the response (409 CSS.0029: Another operation runs, request id r-1) means gone or forbidden; \
             the list and another poll decide which",
        ),
        (
            Reason::WasBlocked { until },
            "the request is no longer blocked and is due at 2026-01-02 03:04:05 \
                                        UTC",
        ),
        (
            Reason::AbortPending { used: 5, external: 2, grace: minutes(15), after_put: None, until },
            "retries exhausted (5 used, 2 of them external) and no node is completed: the abort is due \
             at 2026-01-02 03:04:05 UTC (grace 15m)",
        ),
        (
            Reason::AbortPending { used: 0, external: 0, grace: minutes(15), after_put: None, until },
            "retries exhausted (the policy allows none) and no node is completed: the abort is due \
             at 2026-01-02 03:04:05 UTC (grace 15m)",
        ),
        (
            Reason::AbortPending {
                used: 1,
                external: 0,
                grace: minutes(1),
                after_put: Some(minutes(5)),
                until,
            },
            "retries exhausted (1 used) and no node is completed: the abort is due at 2026-01-02 \
             03:04:05 UTC (grace 1m, and not within 5m of the last request)",
        ),
        (Reason::NoPolicy, "no policy covers the task, so the daemon watches it and sends no request"),
        (
            Reason::DryRun { action: Action::Abort },
            "no request is sent in dry-run; with mode = \"enforce\" the daemon would abort",
        ),
        (
            Reason::ProjectPaused { cause: PauseCause::Forbidden, until },
            "the project is paused because the CSS API refused a request as forbidden; from 2026-01-02 \
             03:04:05 UTC on, one request at a time is sent as a probe",
        ),
        (
            Reason::ProjectPaused { cause: PauseCause::WrongAddress, until },
            "the project is paused because something other than the CSS API answered a request; from \
             2026-01-02 03:04:05 UTC on, one request at a time is sent as a probe",
        ),
        (
            Reason::ClusterPaused { until },
            "the cluster is paused until 2026-01-02 03:04:05 UTC because the CSS API refused a request as \
             forbidden",
        ),
        (
            Reason::ClockOff { seconds: -301 },
            "this machine's clock is 5m 1s behind the CSS API's clock; no request is sent while they differ \
             by more than 5m",
        ),
        (
            Reason::ClockOff { seconds: 3_600 },
            "this machine's clock is 1h ahead of the CSS API's clock; no request is sent while they differ \
             by more than 5m",
        ),
        (
            Reason::ActionsInFlight { limit: 1 },
            "retried tasks run on as many other clusters as max_actions_in_flight allows (1)",
        ),
        (
            Reason::ActionsPerHour { limit: 1 },
            "as many requests were sent within the last hour as max_actions_per_hour allows (1)",
        ),
        (
            Reason::NotListed,
            "no list of clusters has shown the cluster since the daemon started, so its policy is not \
             certain",
        ),
        (on_hold(Some(until)), "hold #3 by uid 1000 on all, until 2026-01-02 03:04:05 UTC: an incident"),
        (on_hold(None), "hold #3 by uid 1000 on all, until it is released: an incident"),
        (
            Reason::WindowClosed { opens: Some(until) },
            "the policy's window is closed, and opens at 2026-01-02 03:04:05 UTC",
        ),
        (
            Reason::WindowClosed { opens: None },
            "the policy's window is closed, and no time at which it opens can be found",
        ),
        (
            Reason::BreakerOpen { opening: Opening::ManyFailed { failures: 10, within: minutes(10) }, until },
            "the circuit breaker of the project is open because 10 tasks failed within 10m; from 2026-01-02 \
             03:04:05 UTC on, one request of the project is sent as a probe, and the others wait for its outcome",
        ),
        (
            Reason::BreakerProbing { attempt, cluster: cluster() },
            "the circuit breaker of the project waits for the outcome of probe request #12 on cluster c-2",
        ),
        (
            Reason::RetryDue { retry: 1, max_retries: 5, waited: minutes(2) },
            "retry 1 of 5 is due after waiting 2m",
        ),
        (Reason::RetryDue { retry: 1, max_retries: 5, waited: Duration::ZERO }, "retry 1 of 5 is due again"),
        (
            Reason::AbortDue { used: 1, max_retries: 1, grace: minutes(15) },
            "retries exhausted (1 used), no node is completed and the grace of 15m is over",
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
            "the task's status is \"SUCCESS\"; only a FAILED task can be retried or aborted",
        ),
        (
            Reason::NotAbortable { doubt: AbortDoubt::Completed { done: 1, total: 3 } },
            "the task must not be aborted: 1 of 3 nodes is completed; an abort could leave a cluster of \
             mixed versions or zones",
        ),
        (Reason::NotEscalated, "the task is not escalated, so there is nothing to reset"),
        (Reason::AlreadyDone, "this command was carried out before and is not repeated"),
        (
            Reason::RetriesExhausted { used: 1, external: 1 },
            "retries exhausted (1 used, 1 of them external), and the policy says to escalate to an operator",
        ),
        (
            Reason::NodeCompleted { used: 5, doubt: AbortDoubt::Completed { done: 1, total: 3 } },
            "retries exhausted (5 used), and the task must not be aborted: 1 of 3 nodes is completed; an \
             abort could leave a cluster of mixed versions or zones",
        ),
        (
            Reason::NodeCompleted { used: 0, doubt: AbortDoubt::Completed { done: 2, total: 3 } },
            "retries exhausted (the policy allows none), and the task must not be aborted: 2 of 3 nodes are \
             completed; an abort could leave a cluster of mixed versions or zones",
        ),
        (
            Reason::PartialFailed { used: 1 },
            "the task is PARTIAL_FAILED, with 1 retry used; the policy allows no more, and a PARTIAL_FAILED \
             task is never aborted",
        ),
        (
            Reason::PolicyChanged { used: 2, first: None, now: "standard".to_owned() },
            "retries exhausted (2 used), but the task is not aborted: the failure was first seen under no \
             policy, and policy standard is in force",
        ),
        (
            Reason::PolicyChanged { used: 2, first: Some("standard".to_owned()), now: "standard".to_owned() },
            "retries exhausted (2 used), but the task is not aborted: the failure was first seen under \
             other terms of policy standard",
        ),
        (
            Reason::PolicyChanged { used: 2, first: Some("old".to_owned()), now: "standard".to_owned() },
            "retries exhausted (2 used), but the task is not aborted: the failure was first seen under \
             policy old, and policy standard is in force",
        ),
        (
            Reason::MaxElapsedTime { waited: minutes(14), limit: minutes(10), left: 1 },
            "the task has waited 14m since the first failure or the last progress, more than \
             max_elapsed_time (10m), with 1 retry left",
        ),
        (
            Reason::ChangedExternally { changed: "agencyName, endTime".to_owned() },
            "somebody else changed the failed task (agencyName, endTime), so the daemon does not act on it",
        ),
        (
            Reason::NotAcceptable { answer: Answer { retry_after: None, ..answer() } },
            "the CSS API does not accept this request: 409 CSS.0029: Another operation runs, request id r-1",
        ),
        (
            Reason::WithoutEffect { times: 2 },
            "2 retries in a row were accepted and had no effect on the task",
        ),
        (
            Reason::NotAccepted { times: 3 },
            "3 requests in a row had no clear response, or could not be sent, and none took effect",
        ),
        (
            Reason::BusyTooLong { since: until, answer: Answer { retry_after: None, ..answer() } },
            "the CSS API has been busy since 2026-01-02 03:04:05 UTC; its last response was 409 CSS.0029: \
             Another operation runs, request id r-1",
        ),
        (
            Reason::CannotConfirm { attempt, detail: "no two polls agreed for 1h 5m".to_owned() },
            "whether the CSS API accepted request #12 cannot be determined: no two polls agreed for 1h 5m",
        ),
        (
            Reason::AbortUnknown { attempt, answer: Some(Answer { retry_after: None, ..answer() }) },
            "whether the CSS API accepted abort request #12 is unknown (409 CSS.0029: Another operation \
             runs, request id r-1); an abort leaves no trace in the API, so the daemon never sends it again",
        ),
        (
            Reason::AbortUnknown { attempt, answer: None },
            "whether the CSS API accepted abort request #12 is unknown (no response was recorded); an abort \
             leaves no trace in the API, so the daemon never sends it again",
        ),
    ];
    let mut told = BTreeSet::new();
    for (reason, sentence) in table {
        assert_eq!(reason.to_string(), sentence);
        let refused = reason.next_step_without_orders();
        let names_an_order = |step: &str| ["`retry-now`", "`abort`"].iter().any(|order| step.contains(order));
        assert_eq!(refused.is_some(), reason.next_step().is_some(), "{reason}");
        assert!(!refused.is_some_and(names_an_order), "{reason}: {refused:?}");
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
