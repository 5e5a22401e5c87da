//! The result of a reconcile, and when the next one of the cluster is due.

use std::time::Duration;

use crate::model::decision::Decision;
use crate::model::project::Poll;
use crate::model::reason::Reason;
use crate::schedule::Lane;

/// The result of a reconcile.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// The decision, if the cluster could be polled.
    pub decision: Option<Decision>,
    /// When to poll again.
    pub next_poll: Duration,
    /// The list of clusters should be read soon: an answer said that this cluster may be gone.
    pub wants_discovery: bool,
    /// A PUT was sent.
    pub sent: bool,
    /// The error, with its code.
    pub problem: Option<String>,
}

impl Report {
    /// Returns what the next poll of the cluster is for.
    pub(super) fn lane(&self, poll: &Poll) -> Lane {
        if self.sent {
            return Lane::Urgent;
        }
        let Some(decision) = &self.decision else {
            // A cluster that could not be polled is polled soon if a task of it is unfinished.
            return if self.next_poll < poll.idle_interval { Lane::Running } else { Lane::Idle };
        };
        match decision.reason {
            Reason::OutcomeUnknown { .. }
            | Reason::CheckingIfGone { .. }
            | Reason::RetryDue { .. }
            | Reason::AbortDue { .. } => Lane::Urgent,
            Reason::StalePoll | Reason::Idle if self.next_poll < poll.idle_interval => Lane::Urgent,
            // The next reconcile comes when the wait is over, and not before.
            Reason::Backoff { .. }
            | Reason::WasBlocked { .. }
            | Reason::AbortPending { .. }
            | Reason::ServiceBusy { .. }
                if self.next_poll < poll.active_interval =>
            {
                Lane::Urgent
            }
            _ if self.next_poll >= poll.idle_interval
                && !matches!(decision.reason, Reason::Running { .. }) =>
            {
                Lane::Idle
            }
            _ => Lane::Running,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::decision::Verdict;
    use crate::model::id::AttemptId;

    fn report(reason: Reason, next_poll: Duration) -> Report {
        let decision = Some(Decision { task: None, verdict: Verdict::Wait, reason, next_poll });
        Report { decision, next_poll, wants_discovery: false, sent: false, problem: None }
    }

    #[test]
    fn what_is_settled_or_due_comes_before_what_runs_and_that_before_what_is_idle() {
        let poll = Poll::default();
        let until = jiff::Timestamp::UNIX_EPOCH;
        let running = Reason::Running { done: None, total: 3, execution: None };
        let settling = Reason::OutcomeUnknown {
            attempt: AttemptId(1),
            action: crate::model::decision::Action::Retry,
            answered: true,
        };
        let backoff = Reason::Backoff { retry: 1, max_retries: 5, wait: Duration::from_mins(2), until };
        let soon = Duration::from_secs(7);
        for (reason, next_poll, expected) in [
            (Reason::Idle, poll.idle_interval, Lane::Idle),
            (Reason::Idle, poll.settle_interval, Lane::Urgent),
            (running.clone(), poll.active_interval, Lane::Running),
            (settling, poll.settle_interval, Lane::Urgent),
            (backoff.clone(), poll.active_interval, Lane::Running),
            (backoff, soon, Lane::Urgent),
            (Reason::StalePoll, poll.settle_interval, Lane::Urgent),
            (Reason::StalePoll, poll.idle_interval, Lane::Idle),
            (Reason::NoPolicy, poll.idle_interval, Lane::Idle),
            (Reason::ListIncomplete, poll.active_interval, Lane::Running),
        ] {
            assert_eq!(report(reason.clone(), next_poll).lane(&poll), expected, "{reason:?} {next_poll:?}");
        }
        let all_alike = Poll { idle_interval: poll.active_interval, ..poll.clone() };
        assert_eq!(report(running, poll.active_interval).lane(&all_alike), Lane::Running);
        let sent = Report { sent: true, ..report(Reason::Idle, poll.settle_interval) };
        assert_eq!(sent.lane(&poll), Lane::Urgent);
        let unreadable = |next_poll| Report { decision: None, ..report(Reason::Idle, next_poll) };
        assert_eq!(unreadable(poll.idle_interval).lane(&poll), Lane::Idle);
        assert_eq!(unreadable(poll.active_interval).lane(&poll), Lane::Running);
    }
}
