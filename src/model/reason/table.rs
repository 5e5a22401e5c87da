//! The one table of reasons.

use std::time::Duration;

use jiff::Timestamp;

use super::sentence::{
    clock_off, exhausted, grace_of_abort, hold_ends, newest_missing, outcome_unknown, policies, recorded,
    refusal, retry_is_due, running, too_old, unknown_status, window_opens,
};
use super::{Advice, Class};
use crate::model::action::Action;
use crate::model::answer::Answer;
use crate::model::command::command;
use crate::model::hold::Scope;
use crate::model::id::{AttemptId, ClusterId, TaskId};
use crate::model::project::{MAX_READING_AGE, PauseCause};
use crate::model::task::AbortDoubt;
use crate::model::text::{counted, shown, span, utc};
use crate::model::turn::Opening;

/// A reload reads the files again, and tries at once what is paused.
const RELOAD: &str = "systemctl reload upgrade-remediator";
const OPERATOR_ACTS: (&str, &str) = (
    "fix the cause, then `reset` returns the task to the daemon, or `retry-now` sends one retry; to act in the console, `hold` the \
     cluster first",
    "fix the cause, then `reset` returns the task to the daemon; to act in the console, `hold` the cluster first",
);
const WAIT_ENDS: (&str, &str) = (
    "the wait ends automatically; `retry-now` sends the retry at once, `hold` blocks the request",
    "the wait ends automatically",
);
const FIX_AND_RELOAD: &str = "fix the permission, the endpoint or the key; a reload then sends one request as a probe at once, \
     otherwise the daemon sends it later";
const PROBE_GOES_WELL: (&str, &str) = (
    "the task of one retry that is sent as a probe has to make progress; `retry-now` bypasses the circuit breaker",
    "the task of one retry that is sent as a probe has to make progress",
);
const IS_DUE: &str = "the daemon sends the request unless something blocks it; `hold` blocks it";

reasons! {
    // Nothing to do.
    /// No task of the cluster runs or failed.
    Idle = ("idle", NothingToDo) {
        text: ("nothing to do: no task is running, and the newest task, if there is one, did not fail"),
    }
    /// A task runs; it cannot be stopped, and the daemon sends nothing for the cluster.
    Running { done: Option<u32>, total: u32, execution: Option<u64> } = ("running", NothingToDo) {
        text: ("{}", running(*done, *total, *execution)),
        step: "the task has to end; nobody can stop it while it runs",
    }
    /// A list of tasks is incomplete.
    ListIncomplete = ("list-incomplete", Waiting) {
        text: ("the list of tasks is shorter than its totalSize, so a newer task may be missing from it"),
        step: "the CSS API has to list all tasks",
    }
    /// It is unknown which task is the newest.
    OrderUnclear { detail: String } = ("order-unclear", Waiting) {
        text: ("the newest task of the cluster cannot be determined: {detail}"),
        step: "a newer task has to appear in the list, or an operator has to act in the console",
        attention: true,
    }
    /// A newer task was seen before, and is missing now.
    NewestMissing { task: Option<TaskId> } = ("newest-missing", Waiting) {
        text: ("{}", newest_missing(task.as_ref())),
        step: "the CSS API has to list that task again, or a newer one",
        attention: true,
    }
    /// A task that was running is missing now, and no second poll has confirmed that yet.
    RunningMissing { task: TaskId } = ("running-missing", Waiting) {
        text: (
            "task {task}, which was running at the last poll, is missing from the list, so no request is sent before \
             another poll"
        ),
        step: "another poll has to show the task or confirm that it is gone; the daemon polls automatically",
    }
    /// The last answer about another cluster shows this task too, so it is unknown to which one it
    /// belongs.
    SharedTask { other: ClusterId } = ("shared-task", Waiting) {
        text: (
            "the last response about cluster {other} shows this task too, so its cluster is unclear and no request is \
             sent for it"
        ),
        step: "the CSS API has to show the task in one cluster only; check in the console which cluster it belongs to",
        attention: true,
    }
    /// A status that we do not know.
    UnknownStatus { word: String } = ("unknown-status", Waiting) {
        text: ("{}", unknown_status(word)),
        step: "the status has to become a known one; check the task in the console",
        attention: true,
    }
    /// The daemon aborted it. The API has no status for that.
    AbortedByUs = ("aborted-by-us", NothingToDo) {
        text: ("the daemon aborted the task; no further request is sent for it, whatever the CSS API shows"),
    }
    /// It was closed: superseded by a newer task, or gone.
    #[serde(alias = "closed")]
    Ended = ("ended", NothingToDo) {
        text: ("the task ended: a newer task superseded it, or it is gone"),
    }
    /// It is escalated.
    #[serde(alias = "with-human")]
    NeedsOperator { since: Timestamp, why: String } = ("needs-operator", NeedsOperator) {
        text: ("the task was escalated to an operator at {} ({why}), and no request is sent for it", utc(*since)),
        step: OPERATOR_ACTS,
    }
    /// A failure that had ended long before it was first seen.
    TooOld {
        ended: Option<String>,
        limit: Duration,
        /// Its end lies in the future, so its age is unknown.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        in_future: bool,
    } = ("too-old", NeedsOperator) {
        text: ("{}", too_old(ended.as_deref(), *limit, *in_future)),
        step: (
            "decide about the old failure: `retry-now` or `abort` sends one request; the daemon handles a new failure",
            "decide about the old failure, and act in the console",
        ),
    }

    // Waiting.
    /// A PUT was sent; its outcome is not known yet.
    #[serde(alias = "settling")]
    OutcomeUnknown { attempt: AttemptId, action: Action, answered: bool } = ("outcome-unknown", Waiting) {
        text: ("{}", outcome_unknown(*attempt, *action, *answered)),
        step: "polls have to confirm the outcome of the request; the daemon polls automatically",
    }
    /// The poll shows an old state: the failure that was already retried, or an even older one.
    #[serde(alias = "stale-reading")]
    StalePoll = ("stale-poll", Waiting) {
        text: ("the poll may show an old state, so no request is sent before another poll"),
        step: "the CSS API has to show the current state; the daemon polls again automatically",
    }
    /// The next retry waits for its backoff.
    Backoff { retry: u32, max_retries: u32, wait: Duration, until: Timestamp } = ("backoff", Waiting) {
        text: ("retry {retry} of {max_retries} waits {} and is due at {}", span(*wait), utc(*until)),
        step: WAIT_ENDS,
        until: Some(*until),
    }
    /// The API was busy; the same retry waits once more.
    ServiceBusy { answer: Answer, until: Timestamp } = ("service-busy", Waiting) {
        text: ("the CSS API was busy ({answer}); the same request is due again at {}", utc(*until)),
        step: "`hold` stops the same request from being sent again when the wait is over",
        until: Some(*until),
    }
    /// An answer said 'gone or forbidden': the list and another poll decide which.
    CheckingIfGone { answer: Answer } = ("checking-if-gone", Waiting) {
        text: ("the response ({answer}) means gone or forbidden; the list and another poll decide which"),
        step: "the list and another poll have to show which; the daemon reads both automatically",
    }
    /// A block has ended; overdue requests wait first.
    #[serde(alias = "held-until-now")]
    WasBlocked { until: Timestamp } = ("was-blocked", Waiting) {
        text: ("the request is no longer blocked and is due at {}", utc(*until)),
        step: WAIT_ENDS,
        until: Some(*until),
    }
    /// The retries are exhausted and the abort waits for its grace. `after_put`: and longer, this
    /// time after the last PUT.
    AbortPending {
        used: u32,
        external: u32,
        grace: Duration,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after_put: Option<Duration>,
        until: Timestamp,
    } = ("abort-pending", Waiting) {
        text: (
            "{} and no node is completed: the abort is due at {} ({})",
            exhausted(*used, *external),
            utc(*until),
            grace_of_abort(*grace, *after_put)
        ),
        step: ("`hold` stops the abort, `retry-now` sends one more retry", "`hold` stops the abort"),
        until: Some(*until),
    }

    /// A request is due, and the lists took so long to arrive that their state is old.
    #[serde(alias = "slow-reading")]
    SlowPoll { took: Duration } = ("slow-poll", Waiting) {
        text: (
            "polling both lists of tasks took {}, and no request is sent on data older than {}: the daemon polls again",
            span(*took),
            span(MAX_READING_AGE)
        ),
        step: "the CSS API has to respond faster; the daemon polls again automatically, and `doctor` shows how long it takes",
    }

    // Blocked.
    /// No policy matches.
    NoPolicy = ("no-policy", Blocked) {
        text: ("no policy covers the task, so the daemon watches it and sends no request"),
        step: "a policy has to cover the task, and the configuration to be reloaded (`systemctl reload upgrade-remediator`, or \
               SIGHUP)",
        attention: true,
    }
    /// The mode is dry-run.
    DryRun { action: Action } = ("dry-run", Blocked) {
        text: ("no request is sent in dry-run; with mode = \"enforce\" the daemon would {action}"),
        step: "the mode has to be \"enforce\", globally and in the policy, and the configuration to be reloaded (`systemctl \
               reload upgrade-remediator`, or SIGHUP)",
    }
    /// The project is paused after a refusal.
    #[serde(alias = "project-resting")]
    ProjectPaused { cause: PauseCause, until: Timestamp } = ("project-paused", Blocked) {
        text: (
            "the project is paused because {}; from {} on, one request at a time is sent as a probe",
            refusal(*cause),
            utc(*until)
        ),
        step: FIX_AND_RELOAD,
        until: Some(*until),
        ended_by: RELOAD,
    }
    /// No list of the project's clusters has shown the cluster since the start, so which policy governs it is not certain.
    NotListed = ("not-listed", Blocked) {
        text: ("no list of clusters has shown the cluster since the daemon started, so its policy is not certain"),
        step: "the list of clusters has to show the cluster; the daemon reads the list every `discovery_interval`",
    }
    /// This cluster is paused after a refusal.
    #[serde(alias = "cluster-resting")]
    ClusterPaused { until: Timestamp } = ("cluster-paused", Blocked) {
        text: (
            "the cluster is paused until {} because the CSS API refused a request as forbidden",
            utc(*until)
        ),
        step: FIX_AND_RELOAD,
        until: Some(*until),
        ended_by: RELOAD,
    }
    /// Our clock and the API's differ too much.
    ClockOff { seconds: i64 } = ("clock-off", Blocked) {
        text: ("{}", clock_off(*seconds)),
        step: "the clock of this machine has to be set (time synchronisation)",
        ended_by: "timedatectl set-ntp true",
    }
    /// The limit of running retried tasks is reached.
    ActionsInFlight { limit: u32 } = ("actions-in-flight", Blocked) {
        text: ("retried tasks run on as many other clusters as max_actions_in_flight allows ({limit})"),
        step: "a retried task on another cluster has to end, or the limit has to be raised",
    }
    /// The limit of PUTs within an hour is reached.
    ActionsPerHour { limit: u32 } = ("actions-per-hour", Blocked) {
        text: ("as many requests were sent within the last hour as max_actions_per_hour allows ({limit})"),
        step: "an hour has to pass since the earlier requests, or the limit has to be raised",
    }
    /// An operator has placed a hold.
    OnHold { hold: u64, scope: Scope, by: String, why: String, until: Option<Timestamp> } = ("on-hold", Blocked) {
        text: ("hold #{hold} by {by} on {scope}, {}: {}", hold_ends(*until), shown(why, 200)),
        step: "the hold has to end: `release` ends it",
        until: *until,
        ended_by: command(format_args!("release {scope}")),
        attention: until.is_none(),
    }
    /// The policy acts at other times only.
    WindowClosed { opens: Option<Timestamp> } = ("window-closed", Blocked) {
        text: ("the policy's window is closed, and {}", window_opens(*opens)),
        step: ("the policy's window has to open; `retry-now` bypasses the window", "the policy's window has to open"),
        until: *opens,
    }
    /// Too many tasks failed at once: the breaker of the project is open.
    BreakerOpen { opening: Opening, until: Timestamp } = ("breaker-open", Blocked) {
        text: (
            "the circuit breaker of the project is open because {opening}; from {} on, one request of the project is \
             sent as a probe, and the others wait for its outcome",
            utc(*until)
        ),
        step: PROBE_GOES_WELL,
        until: Some(*until),
    }
    /// One PUT was allowed, and its task decides whether the breaker closes.
    BreakerProbing { attempt: AttemptId, cluster: ClusterId } = ("breaker-probing", Blocked) {
        text: (
            "the circuit breaker of the project waits for the outcome of probe request {attempt} on cluster {cluster}"
        ),
        step: PROBE_GOES_WELL,
    }

    // Acting.
    /// A retry is due.
    RetryDue { retry: u32, max_retries: u32, waited: Duration } = ("retry-due", Due) {
        text: ("retry {retry} of {max_retries} is {}", retry_is_due(*waited)),
        step: IS_DUE,
    }
    /// An abort is due: retries exhausted, no node completed, grace over.
    AbortDue { used: u32, max_retries: u32, grace: Duration } = ("abort-due", Due) {
        text: ("{}, no node is completed and the grace of {} is over", exhausted(*used, 0), span(*grace)),
        step: IS_DUE,
    }
    /// An operator's order. `command`: the id that distinguishes a repeated command from a new one.
    #[serde(alias = "by-hand")]
    Manual { action: Action, by: String, why: String, command: String } = ("manual", Due) {
        text: ("{by} orders the {action}: {}", shown(why, 200)),
        step: IS_DUE,
    }

    // An operator's order is refused.
    /// The named task is not the newest of its cluster.
    NotNewest { task: TaskId, newest: TaskId } = ("not-newest", Refused) {
        text: ("task {task} is not the newest task of the cluster: {newest} is"),
        step: "name the newest task, or none",
    }
    /// The task's status is not FAILED.
    NotFailed { status: String } = ("not-failed", Refused) {
        text: ("the task's status is \"{}\"; only a FAILED task can be retried or aborted", shown(status, 60)),
        step: "the task has to be FAILED",
    }
    /// An abort could leave a mixed cluster.
    NotAbortable { doubt: AbortDoubt } = ("not-abortable", Refused) {
        text: ("the task must not be aborted: {doubt}; an abort could leave a cluster of mixed versions or zones"),
        step: "do not abort the task in the console either: a retry, or the provider's support, has to complete it",
    }
    /// It is not escalated.
    #[serde(alias = "not-with-human")]
    NotEscalated = ("not-escalated", Refused) {
        text: ("the task is not escalated, so there is nothing to reset"),
        step: "the daemon handles the task itself; `hold` stops that",
    }
    /// This command was carried out before.
    AlreadyDone = ("already-done", Refused) {
        text: ("this command was carried out before and is not repeated"),
        step: "to repeat it, give the command again",
    }

    // Escalations.
    /// The retries are exhausted, and the policy escalates.
    #[serde(alias = "retries-used-up")]
    RetriesExhausted { used: u32, external: u32 } = ("retries-exhausted", NeedsOperator) {
        text: ("{}, and the policy says to escalate to an operator", exhausted(*used, *external)),
        step: OPERATOR_ACTS,
    }
    /// The retries are exhausted, and an abort could leave a mixed cluster.
    NodeCompleted { used: u32, doubt: AbortDoubt } = ("node-completed", NeedsOperator) {
        text: (
            "{}, and the task must not be aborted: {doubt}; an abort could leave a cluster of mixed versions or zones",
            exhausted(*used, 0)
        ),
        step: OPERATOR_ACTS,
    }
    /// `PARTIAL_FAILED`: not to be retried, or its retries are exhausted; never aborted.
    PartialFailed { used: u32 } = ("partial-failed", NeedsOperator) {
        text: (
            "the task is PARTIAL_FAILED, with {} used; the policy allows no more, and a PARTIAL_FAILED task is never \
             aborted",
            counted(u64::from(*used), "retry", "retries")
        ),
        step: OPERATOR_ACTS,
    }
    /// The retries are exhausted under another policy than the one in force when the failure was
    /// first seen.
    PolicyChanged { used: u32, first: Option<String>, now: String } = ("policy-changed", NeedsOperator) {
        text: (
            "{}, but the task is not aborted: the failure was first seen under {}",
            exhausted(*used, 0),
            policies(first.as_deref(), now)
        ),
        step: OPERATOR_ACTS,
    }
    /// Waited as long as the policy allows, with retries left.
    MaxElapsedTime { waited: Duration, limit: Duration, left: u32 } = ("max-elapsed-time", NeedsOperator) {
        text: (
            "the task has waited {} since the first failure or the last progress, more than max_elapsed_time ({}), with \
             {} left",
            span(*waited),
            span(*limit),
            counted(u64::from(*left), "retry", "retries")
        ),
        step: OPERATOR_ACTS,
    }
    /// The failed task changed externally.
    #[serde(alias = "touched-by-others")]
    ChangedExternally { changed: String } = ("changed-externally", NeedsOperator) {
        text: ("somebody else changed the failed task ({}), so the daemon does not act on it", shown(changed, 200)),
        step: OPERATOR_ACTS,
    }
    /// The API will never accept this request.
    NotAcceptable { answer: Answer } = ("not-acceptable", NeedsOperator) {
        text: ("the CSS API does not accept this request: {answer}"),
        step: OPERATOR_ACTS,
    }
    /// Accepted PUTs in a row without any effect.
    WithoutEffect { times: u32 } = ("without-effect", NeedsOperator) {
        text: ("{times} retries in a row were accepted and had no effect on the task"),
        step: OPERATOR_ACTS,
    }
    /// Consecutive PUTs of unknown outcome that were confirmed as not accepted.
    NotAccepted { times: u32 } = ("not-accepted", NeedsOperator) {
        text: ("{times} requests in a row had no clear response, or could not be sent, and none took effect"),
        step: OPERATOR_ACTS,
    }
    /// The API has been busy for too long.
    BusyTooLong { since: Timestamp, answer: Answer } = ("busy-too-long", NeedsOperator) {
        text: ("the CSS API has been busy since {}; its last response was {answer}", utc(*since)),
        step: OPERATOR_ACTS,
    }
    /// This task cannot show whether a PUT was accepted.
    #[serde(alias = "cannot-settle")]
    CannotConfirm { attempt: AttemptId, detail: String } = ("cannot-confirm", NeedsOperator) {
        text: ("whether the CSS API accepted request {attempt} cannot be determined: {detail}"),
        step: "check in the console whether the request was accepted; then `reset` returns the task to \
               the daemon",
    }
    /// An abort leaves no trace, so one of unknown outcome is never sent again.
    AbortUnknown { attempt: AttemptId, answer: Option<Answer> } = ("abort-unknown", NeedsOperator) {
        text: (
            "whether the CSS API accepted abort request {attempt} is unknown ({}); an abort leaves no trace in the API, so \
             the daemon never sends it again",
            recorded(answer.as_ref())
        ),
        step: "check in the console whether the task was aborted; if it was not, `reset` returns the task \
               to the daemon",
    }
}

impl Reason {
    /// Whether `retry-now` and `abort` are refused, too, while this blocks requests.
    pub fn refuses_orders(&self) -> bool {
        matches!(
            self,
            Self::NoPolicy
                | Self::DryRun { .. }
                | Self::ProjectPaused { .. }
                | Self::NotListed
                | Self::ClusterPaused { .. }
                | Self::ClockOff { .. }
                | Self::OnHold { .. }
        )
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
