//! Events in words: the one wording for the log, the history and every message.

use std::fmt;

use super::command::command;
use super::decision::PassiveVerdict;
use super::event::{Confirmation, Entry, Event, Outcome, TooLong};
use super::level::Level;
use super::reason::{Class, Reason};
use super::text::{counted, shown, span};

impl Event {
    /// Returns its level.
    pub fn level(&self) -> Level {
        match self {
            Self::FirstSeen { .. }
            | Self::Changed { .. }
            | Self::Missing
            | Self::Reappeared
            | Self::Unpolled
            | Self::NewestSeen { .. }
            | Self::AgeJudged { .. }
            | Self::ConfirmingPoll { .. } => Level::Debug,
            Self::Running { .. }
            | Self::Progress { .. }
            | Self::Intent { .. }
            | Self::Reset { .. }
            | Self::Ended(_)
            | Self::BreakerClosed { .. } => Level::Info,
            Self::Confirmed { settlement, .. } => match settlement {
                Confirmation::Accepted => Level::Info,
                Confirmation::WithoutEffect | Confirmation::NotAccepted => Level::Warning,
            },
            Self::Answered { answer, .. } if answer.meaning == super::answer::Meaning::Accepted => {
                Level::Info
            }
            Self::Decided { reason, .. } => match reason {
                Reason::AbortPending { .. } | Reason::NoPolicy | Reason::TooOld { .. } => Level::Warning,
                // The turns of the breaker have lines of their own: not one more for each task that waits for them.
                Reason::BreakerOpen { .. }
                | Reason::BreakerProbing { .. }
                | Reason::Running { .. }
                | Reason::OutcomeUnknown { .. }
                | Reason::StalePoll
                | Reason::Idle => Level::Debug,
                _ => Level::Info,
            },
            Self::Failed(seen) if seen.too_old => Level::Debug,
            Self::Failed(_)
            | Self::ChangedExternally { .. }
            | Self::FellBack { .. }
            | Self::Answered { .. }
            | Self::NotSent { .. }
            | Self::StillThere { .. } => Level::Warning,
            // The CSS API has no request to stop a running task: only an operator can act.
            Self::Escalated { .. } | Self::BreakerOpened { .. } | Self::RunningTooLong { .. } => {
                Level::Critical
            }
        }
    }
}

impl Entry {
    /// Returns the command that an operator needs with this, and its purpose.
    pub fn advice(&self) -> Option<String> {
        let purpose = match &self.event {
            Event::Decided { reason: Reason::AbortPending { .. }, .. } => "to stop the abort",
            Event::Escalated { .. } => "before acting by hand",
            _ => return None,
        };
        let cluster = &self.subject.cluster;
        let hold = command(format_args!("hold cluster:{cluster} --reason \"…\""));
        Some(format!("{purpose}: `{hold}`"))
    }
}

impl Event {
    /// Returns the sentence of an entry of the journal with this number, which is that of the request that it sends.
    pub fn words(&self, number: u64) -> String {
        match self {
            Self::Intent { action, reason, .. } => format!("sending {action} request #{number}: {reason}"),
            event => event.to_string(),
        }
    }
}

impl fmt::Display for Event {
    #[expect(clippy::too_many_lines, reason = "one sentence for each event, in one list")]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FirstSeen { kind, execute_times, external, .. } => {
                write!(f, "{kind} first seen")?;
                if let Some(n) = execute_times {
                    write!(f, " in run {n}")?;
                }
                match external {
                    0 => Ok(()),
                    1 => f.write_str("; 1 earlier retry counts against the retry limit"),
                    _ => write!(f, "; {external} earlier retries count against the retry limit"),
                }
            }
            Self::Running { execute_times: Some(n) } => write!(f, "the task is running, run {n}"),
            Self::Running { execute_times: None } => f.write_str("the task is running"),
            Self::Progress { completed } => {
                write!(f, "progress: {} completed", counted(u64::from(*completed), "node", "nodes"))
            }
            Self::RunningTooLong { too_long, policy, nodes, completed } => {
                let total = counted(u64::from(*nodes), "node", "nodes");
                let policy = shown(policy, 60);
                match too_long {
                    TooLong::Whole { ran, expected } => write!(
                        f,
                        "running too long: for {}; policy {policy} expects at most {} for {total}",
                        span(*ran),
                        span(*expected)
                    )?,
                    TooLong::NoProgress { without, expected } => write!(
                        f,
                        "running too long: no node completed for {}; policy {policy} expects one within {}",
                        span(*without),
                        span(*expected)
                    )?,
                }
                match completed {
                    Some(done) => write!(f, "; {done} of {total} completed")?,
                    None => f.write_str("; the number of completed nodes cannot be read")?,
                }
                f.write_str("; a running task cannot be stopped, so an operator has to find the cause")
            }
            Self::Failed(seen) => {
                write!(
                    f,
                    "failure {}: {} at {}",
                    seen.number,
                    seen.status.word(),
                    shown(&seen.failing, 120)
                )?;
                match seen.completed {
                    Some(done) => {
                        write!(
                            f,
                            ", {done} of {} completed",
                            counted(u64::from(seen.total), "node", "nodes")
                        )?;
                    }
                    None => f.write_str(", the number of completed nodes cannot be read")?,
                }
                if let Some(n) = seen.shape.execute_times {
                    write!(f, ", run {n}")?;
                }
                if seen.external > 0 {
                    let retries = counted(u64::from(seen.external), "external retry", "external retries");
                    write!(f, ", after {retries}")?;
                }
                match &seen.terms {
                    Some(terms) => write!(f, ", policy {}", shown(&terms.policy, 60)),
                    None => f.write_str(", no policy"),
                }
            }
            Self::AgeJudged { too_old: true } => f.write_str(
                "the clock is correct again: the failure is too old, so the daemon does not act on it",
            ),
            Self::AgeJudged { too_old: false } => f.write_str(
                "the clock is correct again: the failure is recent enough for the daemon to act on it",
            ),
            Self::Unpolled => {
                f.write_str("the cluster can be polled again; an overdue request waits one more interval")
            }
            Self::NewestSeen { start_time } => {
                write!(f, "the newest task of the cluster, started at {start_time} (cloud time)")
            }
            Self::Changed { .. } => f.write_str("the failed task changed soon after it was first seen"),
            Self::ChangedExternally { changed } => {
                write!(f, "somebody else changed the failed task: {}", shown(changed, 200))
            }
            Self::FellBack { highest, read } => {
                write!(f, "executeTimes fell from {highest} to {read}; the daemon continues with {highest}")
            }
            Self::Missing => {
                f.write_str("the task is missing from the list; another poll decides whether it is gone")
            }
            Self::Reappeared => f.write_str("the task is in the list again"),
            Self::ConfirmingPoll { attempt, effect, status, shape } => {
                let shows = if *effect { "it had an effect" } else { "it had no effect yet" };
                let status = shown(status.word(), 40);
                write!(f, "first of two polls that confirm request {attempt}: {shows} (status {status}")?;
                shape.execute_times.map_or(Ok(()), |run| write!(f, ", run {run}"))?;
                f.write_str(")")
            }
            Self::Confirmed { attempt, settlement } => {
                write!(f, "request {attempt} is confirmed: ")?;
                f.write_str(match settlement {
                    Confirmation::Accepted => "accepted",
                    Confirmation::WithoutEffect => "accepted without effect; it counts as a used retry",
                    Confirmation::NotAccepted => "not accepted; it does not count as a used retry",
                })
            }
            Self::Intent { action, reason, .. } => write!(f, "sending {action} request: {reason}"),
            Self::Answered { attempt, answer } => {
                write!(f, "request {attempt}: {} ({answer})", answer.meaning.words())
            }
            Self::NotSent { attempt } => {
                write!(f, "request {attempt} could not be sent; the CSS API did not receive it")
            }
            Self::StillThere { attempt } => {
                write!(
                    f,
                    "the list and another poll still show the task, so request {attempt} was refused as forbidden"
                )
            }
            // Nothing that the daemon does by itself is waited for.
            Self::Decided { verdict: PassiveVerdict::Wait, reason }
                if reason.class() == Class::NeedsOperator =>
            {
                write!(f, "not handled: {reason}")
            }
            Self::Decided { verdict, reason } => write!(f, "{}: {reason}", verdict.word()),
            Self::Escalated { reason } => write!(f, "needs an operator: {reason}"),
            Self::Reset { by, why, .. } => write!(
                f,
                "{by} reset the task: {}; no retry counts as used, and a new backoff begins",
                shown(why, 200)
            ),
            Self::Ended(outcome) => match outcome {
                Outcome::ResolvedByRetry => {
                    f.write_str("resolved by retry: the task succeeded after a retry")
                }
                Outcome::ResolvedExternally => {
                    f.write_str("resolved externally: the task succeeded without a retry by the daemon")
                }
                Outcome::Aborted => f.write_str("the task was aborted"),
                Outcome::Superseded { by } => write!(f, "the task is superseded by the newer task {by}"),
                Outcome::Gone => f.write_str("the task is gone: two polls did not find it"),
            },
            Self::BreakerOpened { opening, cooldown } => write!(
                f,
                "the circuit breaker of the project opened: {opening}; no request is sent in the project for {}, then \
                 one as a probe",
                span(*cooldown)
            ),
            Self::BreakerClosed { attempt, because } => write!(
                f,
                "the circuit breaker of the project closed: the task of probe request {attempt} {}",
                because.words()
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::model::cluster::Traits;
    use crate::model::setup::{Nodes, Place};
    use std::time::Duration;

    use super::*;
    use crate::model::answer::{Answer, Meaning};
    use crate::model::decision::Action;
    use crate::model::event::{FailureSeen, Shape};
    use crate::model::id::{AttemptId, TaskId};
    use crate::model::policy::{Mode, Terms};
    use crate::model::task::{TaskKind, TaskStatus};

    fn first_seen(external: u32) -> Event {
        Event::FirstSeen {
            kind: TaskKind::Upgrade,
            cluster_name: "logs".to_owned(),
            traits: Traits::default(),
            start_time: None,
            execute_times: Some(u64::from(external) + 1),
            completed: Some(0),
            external,
            setup: None,
            nodes: Nodes::default(),
        }
    }

    fn failed(completed: Option<u32>, external: u32, terms: Option<Terms>) -> Event {
        Event::Failed(Box::new(FailureSeen {
            number: 2,
            status: TaskStatus::Failed,
            shape: Shape { execute_times: Some(3), end_time: None },
            seen_before: Duration::ZERO,
            whole: String::new(),
            completed,
            total: 3,
            failing: "ess-1, step 0 Data migration".to_owned(),
            external,
            too_old: false,
            age_unknown: false,
            seen_to_happen: true,
            terms,
            place: Place::default(),
        }))
    }

    fn too_long(too_long: TooLong) -> Event {
        Event::RunningTooLong { too_long, policy: "standard".to_owned(), nodes: 3, completed: Some(1) }
    }

    fn answered(meaning: Meaning, status: Option<u16>, message: &str) -> Event {
        let answer = Answer {
            meaning,
            status,
            code: None,
            message: message.to_owned(),
            request_id: None,
            retry_after: None,
        };
        Event::Answered { attempt: AttemptId(7), answer }
    }

    /// Every event with its sentence, as an operator reads it.
    #[test]
    #[expect(clippy::too_many_lines, reason = "one line for each event, in one table")]
    fn every_event_reads_as_an_operator_needs_it() {
        let attempt = AttemptId(7);
        let shape = || Shape { execute_times: Some(3), end_time: None };
        let terms = || Some(Terms::defaults("standard", Mode::Enforce));
        let due = || Reason::RetryDue { retry: 1, max_retries: 5, waited: Duration::from_mins(2) };
        let table = [
            (first_seen(0), "upgrade first seen in run 1"),
            (first_seen(1), "upgrade first seen in run 2; 1 earlier retry counts against the retry limit"),
            (first_seen(2), "upgrade first seen in run 3; 2 earlier retries count against the retry limit"),
            (Event::Running { execute_times: Some(2) }, "the task is running, run 2"),
            (Event::Running { execute_times: None }, "the task is running"),
            (Event::Progress { completed: 1 }, "progress: 1 node completed"),
            (Event::Progress { completed: 2 }, "progress: 2 nodes completed"),
            (
                too_long(TooLong::Whole {
                    ran: Duration::from_mins(290),
                    expected: Duration::from_mins(285),
                }),
                "running too long: for 4h 50m; policy standard expects at most 4h 45m for 3 nodes; 1 of 3 \
                 nodes completed; a running task cannot be stopped, so an operator has to find the cause",
            ),
            (
                too_long(TooLong::NoProgress {
                    without: Duration::from_hours(13),
                    expected: Duration::from_hours(12),
                }),
                "running too long: no node completed for 13h; policy standard expects one within 12h; 1 of \
                 3 nodes completed; a running task cannot be stopped, so an operator has to find the cause",
            ),
            (
                failed(Some(1), 1, terms()),
                "failure 2: FAILED at ess-1, step 0 Data migration, 1 of 3 nodes completed, run 3, after 1 \
                 external retry, policy standard",
            ),
            (
                failed(None, 0, None),
                "failure 2: FAILED at ess-1, step 0 Data migration, the number of completed nodes cannot be \
                 read, run 3, no policy",
            ),
            (
                Event::Changed { whole: String::new(), shape: shape() },
                "the failed task changed soon after it was first seen",
            ),
            (
                Event::ChangedExternally { changed: "agencyName".to_owned() },
                "somebody else changed the failed task: agencyName",
            ),
            (
                Event::FellBack { highest: 3, read: 1 },
                "executeTimes fell from 3 to 1; the daemon continues \
                                                       with 3",
            ),
            (Event::Missing, "the task is missing from the list; another poll decides whether it is gone"),
            (Event::Reappeared, "the task is in the list again"),
            (
                Event::ConfirmingPoll { attempt, effect: true, status: TaskStatus::Running, shape: shape() },
                "first of two polls that confirm request #7: it had an effect (status RUNNING, run 3)",
            ),
            (
                Event::ConfirmingPoll { attempt, effect: false, status: TaskStatus::Failed, shape: shape() },
                "first of two polls that confirm request #7: it had no effect yet (status FAILED, run 3)",
            ),
            (
                Event::Confirmed { attempt, settlement: Confirmation::Accepted },
                "request #7 is confirmed: accepted",
            ),
            (
                Event::Confirmed { attempt, settlement: Confirmation::WithoutEffect },
                "request #7 is confirmed: accepted without effect; it counts as a used retry",
            ),
            (
                Event::Confirmed { attempt, settlement: Confirmation::NotAccepted },
                "request #7 is confirmed: not accepted; it does not count as a used retry",
            ),
            (
                Event::Intent {
                    action: Action::Retry,
                    failure: 1,
                    waited: Duration::from_mins(2),
                    reason: due(),
                },
                "sending retry request: retry 1 of 5 is due after waiting 2m",
            ),
            (answered(Meaning::Accepted, Some(200), ""), "request #7: accepted (200)"),
            (
                answered(Meaning::Busy, Some(409), "Try later."),
                "request #7: not accepted, the CSS API is \
                                                                busy (409: Try later)",
            ),
            (
                answered(Meaning::Unknown, None, "connection reset"),
                "request #7: outcome unknown (no response: connection reset)",
            ),
            (Event::NotSent { attempt }, "request #7 could not be sent; the CSS API did not receive it"),
            (
                Event::StillThere { attempt },
                "the list and another poll still show the task, so request #7 was refused as forbidden",
            ),
            (
                Event::Decided { verdict: PassiveVerdict::Blocked, reason: Reason::NoPolicy },
                "blocked: no policy covers the task, so the daemon watches it and sends no request",
            ),
            (
                Event::Decided {
                    verdict: PassiveVerdict::Wait,
                    reason: Reason::TooOld { ended: None, limit: Duration::from_hours(24), in_future: false },
                },
                "not handled: the task has no end time and was never seen running, so it counts as older than 1d and the \
                 daemon does not act on it",
            ),
            (
                Event::Escalated { reason: Reason::WithoutEffect { times: 2 } },
                "needs an operator: 2 retries in a row were accepted and had no effect on the task",
            ),
            (
                Event::Reset {
                    by: "uid 1000".to_owned(),
                    why: "the zone has room again".to_owned(),
                    command: "c".to_owned(),
                    failed: None,
                },
                "uid 1000 reset the task: the zone has room again; no retry counts as used, and a new \
                 backoff begins",
            ),
            (Event::Ended(Outcome::ResolvedByRetry), "resolved by retry: the task succeeded after a retry"),
            (
                Event::Ended(Outcome::ResolvedExternally),
                "resolved externally: the task succeeded without a retry by the daemon",
            ),
            (Event::Ended(Outcome::Aborted), "the task was aborted"),
            (
                Event::Ended(Outcome::Superseded { by: TaskId::new("t-2").unwrap() }),
                "the task is superseded by the newer task t-2",
            ),
            (Event::Ended(Outcome::Gone), "the task is gone: two polls did not find it"),
        ];
        let mut told = std::collections::BTreeSet::new();
        for (event, sentence) in table {
            assert_eq!(event.to_string(), sentence);
            told.insert(event.word());
        }
        assert_eq!(told.len(), 20, "an event has no sentence in this table");
    }

    #[test]
    fn a_task_that_waits_for_the_circuit_breaker_has_no_line_of_its_own_at_each_turn() {
        let decided = |reason| Event::Decided { verdict: PassiveVerdict::Blocked, reason };
        let attempt = AttemptId(7);
        let cluster = crate::model::id::ClusterId::new("c-1").unwrap();
        let until = "2026-01-02T03:04:05Z".parse().unwrap();
        let opening =
            crate::model::turn::Opening::ManyFailed { failures: 8, within: Duration::from_mins(10) };
        for (reason, level) in [
            (Reason::BreakerOpen { opening, until }, Level::Debug),
            (Reason::BreakerProbing { attempt, cluster }, Level::Debug),
            (Reason::ActionsInFlight { limit: 1 }, Level::Info),
        ] {
            assert_eq!(decided(reason.clone()).level(), level, "{reason}");
        }
    }
}
