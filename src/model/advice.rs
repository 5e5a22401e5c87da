//! What would have to change, for each reason: what it waits for by itself, or what an operator can do. The same words for
//! the command line, the page and every message.

use super::reason::Reason;

impl Reason {
    /// What would have to change for something else to be decided, or what an operator can do; `None` where there is nothing.
    pub fn next_step(&self) -> Option<&'static str> {
        Some(match self {
            Self::Idle | Self::AbortedByUs | Self::Ended => return None,
            Self::Running { .. } => "the task has to end: nobody can stop it while it runs",
            Self::ListIncomplete => "the service has to list all tasks that it says there are",
            Self::OrderUnclear { .. } => {
                "a newer task has to show, or an operator acts in the console: which one is the newest decides"
            }
            Self::NewestMissing { .. } => "the service has to list that task again, or a newer one",
            Self::SlowPoll { .. } => {
                "the service has to answer sooner; the lists are read again by themselves, and `doctor` shows how long it takes"
            }
            Self::RunningMissing { .. } => {
                "another poll has to tell what became of it; it is taken by itself"
            }
            Self::SharedTask { .. } => {
                "the service has to show the task in one cluster alone; look in the console whose it is"
            }
            Self::UnknownStatus { .. } => {
                "the status has to become one that is known; look at it in the console"
            }
            Self::NeedsOperator { .. }
            | Self::RetriesExhausted { .. }
            | Self::NodeCompleted { .. }
            | Self::PartialFailed { .. }
            | Self::PolicyChanged { .. }
            | Self::MaxElapsedTime { .. }
            | Self::ChangedExternally { .. }
            | Self::NotAcceptable { .. }
            | Self::WithoutEffect { .. }
            | Self::NotAccepted { .. }
            | Self::BusyTooLong { .. } => {
                "an operator has to act: mend the cause, then `reset` gives it back to the daemon, or `retry-now` sends one \
                 retry; to act in the console, `hold` it first"
            }
            Self::CannotConfirm { .. } => {
                "an operator has to see in the console whether that PUT was taken; then `reset` gives it back to the daemon"
            }
            Self::AbortUnknown { .. } => {
                "an operator has to see in the console whether the task was terminated; if it was not, `reset` gives it back"
            }
            Self::TooOld { .. } => {
                "an operator decides about old failures: `retry-now` or `abort` sends one PUT; a new failure is looked after"
            }
            Self::OutcomeUnknown { .. } => {
                "readings have to show what came of the PUT; they are taken by themselves"
            }
            Self::StalePoll => "the service has to show the present; it is read again by itself",
            Self::Backoff { .. } | Self::WasBlocked { .. } => {
                "the wait ends by itself; `retry-now` ends it at once, `hold` stops what follows"
            }
            Self::ServiceBusy { .. } => {
                "`hold` stops the same request from being sent again when the wait is over"
            }
            Self::CheckingIfGone { .. } => {
                "the list and another reading have to tell; both are taken by themselves"
            }
            Self::AbortPending { .. } => "`hold` stops the abort, `retry-now` retries once more",
            Self::NoPolicy => "a policy has to cover it; then `systemctl reload upgrade-remediator`",
            Self::DryRun { .. } => {
                "the mode has to be \"enforce\", globally and in the policy; then `systemctl reload upgrade-remediator`"
            }
            Self::NotListed => "the list of clusters has to show it; it is read every `discovery_interval`",
            Self::ProjectPaused { .. } | Self::ClusterPaused { .. } => {
                "the permission, the endpoint or the key has to be mended; a reload then tries at once, time by itself"
            }
            Self::ClockOff { .. } => "the clock of this machine has to be set (time synchronisation)",
            Self::ActionsInFlight { .. } => {
                "a retried task on another cluster has to end, or the limit has to be raised"
            }
            Self::ActionsPerHour { .. } => {
                "an hour has to pass since the earlier PUTs, or the limit has to be raised"
            }
            Self::OnHold { .. } => "the hold has to end: `release` ends it",
            Self::WindowClosed { .. } => "the policy's window has to open; `retry-now` passes over it",
            Self::BreakerOpen { .. } | Self::BreakerProbing { .. } => {
                "the task of one retry that is let through has to go well; `retry-now` passes over the breaker"
            }
            Self::RetryDue { .. } | Self::AbortDue { .. } | Self::Manual { .. } => {
                "`hold` stops the request, which is sent at the next poll"
            }
            Self::NotNewest { .. } => "name the newest task, or none",
            Self::NotFailed { .. } => "the task has to be FAILED",
            Self::NotAbortable { .. } => {
                "nobody may abort it: a retry, or the service's support, has to bring it to its end"
            }
            Self::NotEscalated => "the daemon handles the task by itself; `hold` stops that",
            Self::AlreadyDone => "to do it once more, give the command again",
        })
    }
}
