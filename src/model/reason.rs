//! Why: the one type that every decision carries, with a stable code for machines and a sentence for people
//! made from the numbers that decided. Logged, journaled and shown with the same words everywhere.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::action::Action;
use super::answer::Answer;
use super::hold::Scope;
use super::id::{AttemptId, ClusterId, TaskId};
use super::project::{MAX_CLOCK_OFFSET, MAX_READING_AGE, PauseCause};
use super::task::AbortDoubt;
use super::text::{counted, shown, span, utc as at};
use super::turn::Opening;

/// What a reason means for whoever reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// There is nothing to act on.
    NothingToDo,
    /// The daemon goes on by itself, once time has passed or another poll shows more.
    Waiting,
    /// A precondition of a request does not hold.
    Blocked,
    /// A request is sent.
    Due,
    /// The daemon will not act by itself.
    NeedsOperator,
    /// What an operator ordered is not done.
    Refused,
}

/// The one table of reasons: each with its fields, its stable code and its class.
macro_rules! reasons {
    ($($(#[$about:meta])* $name:ident $({ $($fields:tt)* })? = ($code:literal, $class:ident),)*) => {
        /// Why a decision was made. The field `until` is always the time at which a wait ends.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "code")]
        #[expect(missing_docs, reason = "the variants' docs tell their fields")]
        pub enum Reason {
            $($(#[$about])* #[serde(rename = $code)] $name $({ $($fields)* })?,)*
        }

        impl Reason {
            /// The stable code.
            pub fn code(&self) -> &'static str {
                match self {
                    $(Self::$name { .. } => $code,)*
                }
            }

            /// What it means for whoever reads it.
            pub fn class(&self) -> Class {
                match self {
                    $(Self::$name { .. } => Class::$class,)*
                }
            }
        }
    };
}

reasons! {
    // Nothing to act on.
    /// No task of the cluster runs or failed.
    Idle = ("idle", NothingToDo),
    /// A task runs; it cannot be stopped, and nothing else of the cluster is acted on.
    Running { done: Option<u32>, total: u32, execution: Option<u64> } = ("running", NothingToDo),
    /// A list of tasks is shorter than it says.
    ListIncomplete = ("list-incomplete", Waiting),
    /// Which task is the newest cannot be told.
    OrderUnclear { detail: String } = ("order-unclear", Waiting),
    /// A newer task was seen before, and is missing now.
    NewestMissing { task: Option<TaskId> } = ("newest-missing", Waiting),
    /// A task that was running is missing now, and no second poll has said so yet.
    RunningMissing { task: TaskId } = ("running-missing", Waiting),
    /// The last answer about another cluster shows this task too, so whose it is cannot be told.
    SharedTask { other: ClusterId } = ("shared-task", Waiting),
    /// A status that we do not know.
    UnknownStatus { word: String } = ("unknown-status", Waiting),
    /// We aborted it. The API has no status for that.
    AbortedByUs = ("aborted-by-us", NothingToDo),
    /// It was closed: superseded by a newer task, or gone.
    #[serde(alias = "closed")]
    Ended = ("ended", NothingToDo),
    /// It was handed to an operator.
    #[serde(alias = "with-human")]
    NeedsOperator { since: Timestamp, why: String } = ("needs-operator", NeedsOperator),
    /// A failure that had ended long before it was first seen.
    TooOld {
        ended: Option<String>,
        limit: Duration,
        /// It is said to end in the future, which says nothing of its age.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        in_future: bool,
    } = ("too-old", NeedsOperator),

    // Waiting.
    /// A PUT was sent; its effect is not certain yet.
    #[serde(alias = "settling")]
    OutcomeUnknown { attempt: AttemptId, action: Action, answered: bool } = ("outcome-unknown", Waiting),
    /// The reading shows the past: the failure that was already retried, or an even older one.
    #[serde(alias = "stale-reading")]
    StalePoll = ("stale-poll", Waiting),
    /// The next retry waits for its backoff.
    Backoff { retry: u32, max_retries: u32, wait: Duration, until: Timestamp } = ("backoff", Waiting),
    /// The service was busy; the same retry waits once more.
    ServiceBusy { answer: Answer, until: Timestamp } = ("service-busy", Waiting),
    /// An answer said 'gone or forbidden': the list and another reading decide which.
    CheckingIfGone { answer: Answer } = ("checking-if-gone", Waiting),
    /// What held the task back has ended; nothing overdue fires at once.
    #[serde(alias = "held-until-now")]
    WasBlocked { until: Timestamp } = ("was-blocked", Waiting),
    /// Retries are used up and the abort waits for its grace. `after_put`: and for longer, so long after the last PUT.
    AbortPending {
        used: u32,
        external: u32,
        grace: Duration,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after_put: Option<Duration>,
        until: Timestamp,
    } = ("abort-pending", Waiting),

    /// Something is due, and the lists took so long to arrive that they show the past.
    #[serde(alias = "slow-reading")]
    SlowPoll { took: Duration } = ("slow-poll", Waiting),

    // Held back.
    /// No policy matches.
    NoPolicy = ("no-policy", Blocked),
    /// The mode is dry-run.
    DryRun { action: Action } = ("dry-run", Blocked),
    /// The project is paused after a refusal.
    #[serde(alias = "project-resting")]
    ProjectPaused { cause: PauseCause, until: Timestamp } = ("project-paused", Blocked),
    /// No list of the project's clusters has shown the cluster since the start, so which policy governs it is not certain.
    NotListed = ("not-listed", Blocked),
    /// This cluster is paused after a refusal.
    #[serde(alias = "cluster-resting")]
    ClusterPaused { until: Timestamp } = ("cluster-paused", Blocked),
    /// Our clock and the service's differ too much.
    ClockOff { seconds: i64 } = ("clock-off", Blocked),
    /// As many retried tasks run as are allowed.
    ActionsInFlight { limit: u32 } = ("actions-in-flight", Blocked),
    /// As many PUTs were sent within an hour as are allowed.
    ActionsPerHour { limit: u32 } = ("actions-per-hour", Blocked),
    /// An operator said that it is to be left alone.
    OnHold { hold: u64, scope: Scope, by: String, why: String, until: Option<Timestamp> } = ("on-hold", Blocked),
    /// The policy acts at other times only.
    WindowClosed { opens: Option<Timestamp> } = ("window-closed", Blocked),
    /// Too many tasks failed at once: the breaker of the project is open.
    BreakerOpen { opening: Opening, until: Timestamp } = ("breaker-open", Blocked),
    /// One PUT was let through, and what becomes of its task decides whether the breaker closes.
    BreakerProbing { attempt: AttemptId, cluster: ClusterId } = ("breaker-probing", Blocked),

    // Acting.
    /// A retry is due.
    RetryDue { retry: u32, max_retries: u32, waited: Duration } = ("retry-due", Due),
    /// An abort is due: retries used up, no node completed, grace over.
    AbortDue { used: u32, max_retries: u32, grace: Duration } = ("abort-due", Due),
    /// An operator orders it. `command`: what tells a repeated command from a new one.
    #[serde(alias = "by-hand")]
    Manual { action: Action, by: String, why: String, command: String } = ("manual", Due),

    // Refusing what an operator orders.
    /// The named task is not the newest of its cluster.
    NotNewest { task: TaskId, newest: TaskId } = ("not-newest", Refused),
    /// The task's status is another one than FAILED.
    NotFailed { status: String } = ("not-failed", Refused),
    /// An abort could leave a mixed cluster.
    NotAbortable { doubt: AbortDoubt } = ("not-abortable", Refused),
    /// It is not escalated.
    #[serde(alias = "not-with-human")]
    NotEscalated = ("not-escalated", Refused),
    /// This very command was carried out before.
    AlreadyDone = ("already-done", Refused),

    // To an operator.
    /// Retries are used up, and the policy says to call an operator.
    #[serde(alias = "retries-used-up")]
    RetriesExhausted { used: u32, external: u32 } = ("retries-exhausted", NeedsOperator),
    /// Retries are used up, and an abort could leave a mixed cluster.
    NodeCompleted { used: u32, doubt: AbortDoubt } = ("node-completed", NeedsOperator),
    /// `PARTIAL_FAILED`: not to be retried, or its retries are used up; never aborted.
    PartialFailed { used: u32 } = ("partial-failed", NeedsOperator),
    /// Retries are used up under another policy than the one the failure was first seen under.
    PolicyChanged { used: u32, first: Option<String>, now: String } = ("policy-changed", NeedsOperator),
    /// Waited as long as the policy allows, with retries left.
    MaxElapsedTime { waited: Duration, limit: Duration, left: u32 } = ("max-elapsed-time", NeedsOperator),
    /// Somebody else changed the failed task.
    #[serde(alias = "touched-by-others")]
    ChangedExternally { changed: String } = ("changed-externally", NeedsOperator),
    /// The service will never take this request.
    NotAcceptable { answer: Answer } = ("not-acceptable", NeedsOperator),
    /// Accepted PUTs in a row without any effect.
    WithoutEffect { times: u32 } = ("without-effect", NeedsOperator),
    /// PUTs of unknown outcome in a row that showed not to have been accepted.
    NotAccepted { times: u32 } = ("not-accepted", NeedsOperator),
    /// The service has been busy for too long.
    BusyTooLong { since: Timestamp, answer: Answer } = ("busy-too-long", NeedsOperator),
    /// Whether a PUT was accepted cannot be told from this task.
    #[serde(alias = "cannot-settle")]
    CannotConfirm { attempt: AttemptId, detail: String } = ("cannot-confirm", NeedsOperator),
    /// An abort leaves no trace, so one of unknown outcome is never sent again.
    AbortUnknown { attempt: AttemptId, answer: Option<Answer> } = ("abort-unknown", NeedsOperator),
}

impl Reason {
    /// When it ends by itself, where it does and that is known.
    pub fn until(&self) -> Option<Timestamp> {
        match self {
            Self::Backoff { until, .. }
            | Self::ServiceBusy { until, .. }
            | Self::WasBlocked { until }
            | Self::AbortPending { until, .. }
            | Self::BreakerOpen { until, .. }
            | Self::ProjectPaused { until, .. }
            | Self::ClusterPaused { until } => Some(*until),
            Self::OnHold { until, .. } => *until,
            Self::WindowClosed { opens } => *opens,
            _ => None,
        }
    }

    /// Whether this tells the same as `other`, the times at which waits end aside: those move with the wall
    /// clock, and a moved clock is no news.
    pub fn tells_the_same_as(&self, other: &Self) -> bool {
        fn timeless(reason: &Reason) -> Reason {
            let mut reason = reason.clone();
            match &mut reason {
                Reason::Backoff { until, .. }
                | Reason::ServiceBusy { until, .. }
                | Reason::WasBlocked { until }
                | Reason::AbortPending { until, .. }
                | Reason::BreakerOpen { until, .. }
                | Reason::ProjectPaused { until, .. }
                | Reason::ClusterPaused { until } => *until = Timestamp::UNIX_EPOCH,
                Reason::ClockOff { seconds } => *seconds = seconds.signum(),
                Reason::SlowPoll { took } => *took = Duration::ZERO,
                _ => {}
            }
            reason
        }
        timeless(self) == timeless(other)
    }
}

/// A reason with its code and its words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Why {
    /// The stable code.
    pub code: String,
    /// The sentence.
    #[serde(alias = "sentence")]
    pub text: String,
}

impl From<&Reason> for Why {
    fn from(reason: &Reason) -> Self {
        Self { code: reason.code().to_owned(), text: reason.to_string() }
    }
}

/// That retries are used up, and how many of them were somebody else's.
fn used_up(used: u32, external: u32) -> String {
    match (used, external) {
        (0, _) => "no retry is allowed".to_owned(),
        (1, 0) => "the one retry is used up".to_owned(),
        (1, _) => "the one retry is used up (by others)".to_owned(),
        (_, 0) => format!("all {used} retries are used up"),
        _ => format!("all {used} retries are used up ({external} of them by others)"),
    }
}

impl fmt::Display for Reason {
    #[expect(clippy::too_many_lines, reason = "one sentence for each reason, in one list")]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Idle => f.write_str(
                "nothing to do: no task is running, and the newest, if there is one, did not fail",
            ),
            Self::Running { done, total, execution } => {
                let nodes = if *total == 1 { "node" } else { "nodes" };
                match done {
                    Some(done) => write!(f, "the task is running, {done} of {total} {nodes} done")?,
                    None => {
                        write!(
                            f,
                            "the task is running; how many of its {total} {nodes} are done cannot be read"
                        )?;
                    }
                }
                match execution {
                    Some(n) if *n > 1 => write!(f, " (execution {n}); it cannot be stopped"),
                    _ => f.write_str("; it cannot be stopped"),
                }
            }
            Self::ListIncomplete => f.write_str(
                "the list of tasks is shorter than it says it is, so a newer task may be missing from it",
            ),
            Self::OrderUnclear { detail } => write!(f, "which task is the newest cannot be told: {detail}"),
            Self::NewestMissing { task: Some(task) } => write!(
                f,
                "task {task}, the newest ever seen, is missing from the list, so older ones are left alone"
            ),
            Self::NewestMissing { task: None } => f.write_str(
                "the newest task ever seen is missing from the list, so older ones are left alone",
            ),
            Self::RunningMissing { task } => write!(
                f,
                "task {task}, which was running when it was last read, is missing from the list, so nothing is sent before \
                 another poll"
            ),
            Self::SharedTask { other } => write!(
                f,
                "the last answer about cluster {other} shows this task too, so whose task it is cannot be told and nothing is \
                 sent for it"
            ),
            Self::UnknownStatus { word } if word.is_empty() => {
                f.write_str("it shows no status, so it is left alone")
            }
            Self::UnknownStatus { word } => {
                write!(f, "its status \"{}\" is not one that we know, so it is left alone", shown(word, 60))
            }
            Self::AbortedByUs => f.write_str(
                "we aborted it, and nothing more is sent for it, whatever the service goes on showing",
            ),
            Self::Ended => f.write_str("it is closed: a newer task took its place, or it was gone"),
            Self::NeedsOperator { since, why } => {
                write!(
                    f,
                    "it was escalated to an operator at {} ({why}), and nothing is sent for it",
                    at(*since)
                )
            }
            Self::TooOld { ended: Some(ended), in_future: true, .. } => write!(
                f,
                "it is said to end at {ended} (cloud time), which lies in the future, and it was never seen running: its age \
                 cannot be told, so it is left alone"
            ),
            Self::TooOld { ended: Some(ended), limit, .. } => write!(
                f,
                "it ended at {ended} (cloud time), more than {} before it was first seen, so it is left alone",
                span(*limit)
            ),
            Self::TooOld { ended: None, limit, .. } => write!(
                f,
                "it does not tell when it ended and was never seen running, so it counts as older than {} and is left alone",
                span(*limit)
            ),
            Self::OutcomeUnknown { attempt, action, answered: true } => write!(
                f,
                "the service accepted the {action} (PUT {attempt}); readings do not show for certain yet what came of it"
            ),
            Self::OutcomeUnknown { attempt, action, answered: false } => write!(
                f,
                "whether the service accepted the {action} (PUT {attempt}) is unknown; readings will show it"
            ),
            Self::StalePoll => {
                f.write_str("the reading may show the past, so nothing is sent before another one")
            }
            Self::Backoff { retry, max_retries, wait, until } => {
                write!(f, "retry {retry} of {max_retries} waits {} and is due at {}", span(*wait), at(*until))
            }
            Self::ServiceBusy { answer, until } => {
                write!(f, "the service was busy ({answer}); the same PUT is due again at {}", at(*until))
            }
            Self::CheckingIfGone { answer } => write!(
                f,
                "the answer ({answer}) means gone or forbidden; the list and another reading will tell which"
            ),
            Self::WasBlocked { until } => {
                write!(f, "what held it back has ended; it is due at {}", at(*until))
            }
            Self::AbortPending { used, external, grace, after_put, until } => {
                let used = used_up(*used, *external);
                write!(f, "{used} and no node is completed: it will be aborted at {}", at(*until))?;
                match after_put {
                    None => write!(f, " (grace {})", span(*grace)),
                    Some(after) => {
                        let (grace, after) = (span(*grace), span(*after));
                        write!(f, " (grace {grace}, and not within {after} of the last PUT)")
                    }
                }
            }
            Self::SlowPoll { took } => write!(
                f,
                "reading both lists of tasks took {}, and nothing is sent on what is older than {}: they are read again",
                span(*took),
                span(MAX_READING_AGE)
            ),
            Self::NoPolicy => f.write_str("no policy matches it, so it is watched and never touched"),
            Self::DryRun { action } => write!(f, "dry-run: would {} now", action.verb()),
            Self::NotListed => f.write_str(
                "no list of clusters has shown it since the start, so which policy covers it is not certain",
            ),
            Self::ProjectPaused { cause, until } => {
                let cause = match cause {
                    PauseCause::Forbidden => "the service refused a PUT as forbidden",
                    PauseCause::WrongAddress => "something other than the service answered a PUT",
                };
                write!(
                    f,
                    "the project is paused because {cause}; from {} on one PUT at a time tries again",
                    at(*until)
                )
            }
            Self::ClusterPaused { until } => write!(
                f,
                "the cluster is paused because the service refused a PUT as forbidden, until {}",
                at(*until)
            ),
            Self::ClockOff { seconds } => {
                let way = if *seconds < 0 { "behind" } else { "ahead of" };
                write!(
                    f,
                    "our clock is {} {way} the service's, and nothing is sent while they differ by more than {}",
                    span(Duration::from_secs(seconds.unsigned_abs())),
                    span(MAX_CLOCK_OFFSET)
                )
            }
            Self::ActionsInFlight { limit } => write!(
                f,
                "retried tasks run on as many other clusters as max_actions_in_flight allows ({limit})"
            ),
            Self::ActionsPerHour { limit } => write!(
                f,
                "as many PUTs were sent within the last hour as max_actions_per_hour allows ({limit})"
            ),
            Self::OnHold { hold, scope, by, why, until } => {
                write!(f, "hold #{hold} by {by} on {scope}, ")?;
                match until {
                    Some(until) => write!(f, "until {}", at(*until))?,
                    None => f.write_str("until it is released")?,
                }
                write!(f, ": {}", shown(why, 200))
            }
            Self::WindowClosed { opens: Some(opens) } => {
                write!(f, "the policy's window is closed, and opens at {}", at(*opens))
            }
            Self::WindowClosed { opens: None } => {
                f.write_str("the policy's window is closed, and no opening of it can be found")
            }
            Self::BreakerOpen { opening, until } => write!(
                f,
                "the breaker of the project is open because {opening}; from {} on one PUT tries again",
                at(*until)
            ),
            Self::BreakerProbing { attempt, cluster } => write!(
                f,
                "the breaker of the project let PUT {attempt} on cluster {cluster} through, and waits for what becomes of it"
            ),
            Self::RetryDue { retry, max_retries, waited } if waited.is_zero() => {
                write!(f, "retry {retry} of {max_retries} is due again")
            }
            Self::RetryDue { retry, max_retries, waited } => {
                write!(f, "retry {retry} of {max_retries} is due after waiting {}", span(*waited))
            }
            Self::AbortDue { used, grace, .. } => write!(
                f,
                "{}, no node is completed and the grace of {} is over",
                used_up(*used, 0),
                span(*grace)
            ),
            Self::Manual { action, by, why, .. } => {
                write!(f, "{by} orders the {action}: {}", shown(why, 200))
            }
            Self::NotNewest { task, newest } => {
                write!(f, "task {task} is not the newest task of the cluster: {newest} is")
            }
            Self::NotFailed { status } => write!(
                f,
                "its status is \"{}\", and only a task that is FAILED is acted on",
                shown(status, 60)
            ),
            Self::NotAbortable { doubt } => write!(
                f,
                "it must not be aborted: {doubt}; aborting it could leave a cluster of mixed versions or zones"
            ),
            Self::NotEscalated => f.write_str("it is not escalated, so there is nothing to reset"),
            Self::AlreadyDone => f.write_str("this very command was carried out before, and acts once"),
            Self::RetriesExhausted { used, external } => {
                write!(f, "{}, and the policy says to call an operator", used_up(*used, *external))
            }
            Self::NodeCompleted { used, doubt } => write!(
                f,
                "{}, and it must not be aborted: {doubt}; aborting it could leave a cluster of mixed versions or zones",
                used_up(*used, 0)
            ),
            Self::PartialFailed { used } => write!(
                f,
                "it is PARTIAL_FAILED, with {} used; the policy allows no more, and such a task is never aborted",
                counted(u64::from(*used), "retry", "retries")
            ),
            Self::PolicyChanged { used, first, now } => {
                write!(f, "{}, but it is not aborted: the failure was first seen under ", used_up(*used, 0))?;
                let now = shown(now, 60);
                match first {
                    None => write!(f, "no policy, and policy {now} is in force"),
                    Some(first) if shown(first, 60) == now => write!(f, "other terms of policy {now}"),
                    Some(first) => write!(f, "policy {}, and policy {now} is in force", shown(first, 60)),
                }
            }
            Self::MaxElapsedTime { waited, limit, left } => write!(
                f,
                "it has waited {} since the first failure or the last progress, more than max_elapsed_time ({}), with {} left",
                span(*waited),
                span(*limit),
                counted(u64::from(*left), "retry", "retries")
            ),
            Self::ChangedExternally { changed } => {
                write!(
                    f,
                    "somebody else changed the failed task ({}), so it is left to them",
                    shown(changed, 200)
                )
            }
            Self::NotAcceptable { answer } => {
                write!(f, "the service will not take this request as it is: {answer}")
            }
            Self::WithoutEffect { times } => {
                write!(f, "{times} retries in a row were accepted and had no effect on the task")
            }
            Self::NotAccepted { times } => {
                write!(
                    f,
                    "{times} PUTs in a row had no clear answer, or could not be sent, and none took effect"
                )
            }
            Self::BusyTooLong { since, answer } => {
                write!(f, "the service has been busy since {}; its last answer was {answer}", at(*since))
            }
            Self::CannotConfirm { attempt, detail } => {
                write!(f, "whether PUT {attempt} was accepted cannot be told: {detail}")
            }
            Self::AbortUnknown { attempt, answer } => {
                let answer =
                    answer.as_ref().map_or_else(|| "no answer was recorded".to_owned(), ToString::to_string);
                write!(
                    f,
                    "whether the abort (PUT {attempt}) was accepted is unknown ({answer}); an abort leaves no trace in the \
                     API, so it is never sent again"
                )
            }
        }
    }
}

#[cfg(test)]
mod tests;
