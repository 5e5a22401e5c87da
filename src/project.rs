//! One project as the scheduler drives it: listing its clusters, polling them, letting go of those that are gone.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use crate::clock::Clock;
use crate::cloud::Css;
use crate::model::cluster::{Cluster, ClusterList};
use crate::model::id::ClusterId;
use crate::model::project::{Poll, Rules, Stretch};
use crate::model::reason::Reason;
use crate::reconcile::{Reconciler, Report};
use crate::schedule::{Lane, Next, Project};

/// A project under watch.
pub struct WatchedProject<S, C> {
    reconciler: Reconciler<S, C>,
    stretch: Mutex<Option<Stretch>>,
    nudge: Notify,
}

impl<S: Css, C: Clock> WatchedProject<S, C> {
    /// Puts a project under watch.
    pub fn new(reconciler: Reconciler<S, C>) -> Self {
        Self { reconciler, stretch: Mutex::default(), nudge: Notify::new() }
    }

    /// The reconciler of its clusters.
    pub fn reconciler(&self) -> &Reconciler<S, C> {
        &self.reconciler
    }

    /// Has clusters with an unfinished story polled at once.
    pub fn nudge(&self) {
        self.nudge.notify_one();
    }

    /// Whether idle clusters are read less often than the settings ask for, for want of requests: for status.
    pub fn stretch(&self) -> Option<Stretch> {
        *self.stretch.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: Css, C: Clock> Project for WatchedProject<S, C> {
    async fn discover(&self) -> Option<ClusterList> {
        let mut list = self.reconciler.list().await?;
        let total = list.clusters.len();
        list.clusters.retain(|cluster| cluster.may_have_tasks());
        // What is not watched is no shortfall of the list.
        let left_out = (total - list.clusters.len()) as u64;
        list.total_size = list.total_size.map(|size| size.saturating_sub(left_out));
        Some(list)
    }

    async fn reconcile(&self, cluster: &Cluster) -> Next {
        let report = self.reconciler.reconcile(cluster).await;
        let lane = lane(&report, &self.reconciler.rules().poll);
        Next { after: report.next_poll, lane, discovery: report.wants_discovery }
    }

    async fn forget(&self, cluster: &Cluster) -> bool {
        self.reconciler.forget(cluster).await
    }

    fn remembered(&self) -> Vec<Cluster> {
        self.reconciler.remembered()
    }

    fn changed(&self, came: usize, went: &[ClusterId], watched: usize) {
        self.reconciler.tell_clusters(came, went, watched);
    }

    fn rules(&self) -> Arc<Rules> {
        self.reconciler.rules()
    }

    async fn nudged(&self) {
        self.nudge.notified().await;
    }

    fn requests_per_second(&self) -> Option<f64> {
        self.reconciler.css().requests_per_second()
    }

    fn stretched(&self, stretch: Option<Stretch>) {
        let before = {
            let mut known = self.stretch.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *known, stretch)
        };
        if before.is_some() != stretch.is_some() {
            self.reconciler.tell_stretch(stretch.as_ref());
        }
    }
}

/// What the next poll of a cluster is for.
fn lane(report: &Report, poll: &Poll) -> Lane {
    if report.sent {
        return Lane::Urgent;
    }
    let Some(decision) = &report.decision else {
        // A cluster that could not be read is polled soon where something of it is unfinished.
        return if report.next_poll < poll.idle_interval { Lane::Running } else { Lane::Idle };
    };
    match decision.reason {
        Reason::OutcomeUnknown { .. }
        | Reason::CheckingIfGone { .. }
        | Reason::RetryDue { .. }
        | Reason::AbortDue { .. } => Lane::Urgent,
        Reason::StalePoll | Reason::Idle if report.next_poll < poll.idle_interval => Lane::Urgent,
        // The next reconcile comes when the wait is over, and not before.
        Reason::Backoff { .. }
        | Reason::WasBlocked { .. }
        | Reason::AbortPending { .. }
        | Reason::ServiceBusy { .. }
            if report.next_poll < poll.active_interval =>
        {
            Lane::Urgent
        }
        _ if report.next_poll >= poll.idle_interval && !matches!(decision.reason, Reason::Running { .. }) => {
            Lane::Idle
        }
        _ => Lane::Running,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::model::decision::{Decision, Verdict};
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
            assert_eq!(lane(&report(reason.clone(), next_poll), &poll), expected, "{reason:?} {next_poll:?}");
        }
        let all_alike = Poll { idle_interval: poll.active_interval, ..poll.clone() };
        assert_eq!(lane(&report(running, poll.active_interval), &all_alike), Lane::Running);
        let sent = Report { sent: true, ..report(Reason::Idle, poll.settle_interval) };
        assert_eq!(lane(&sent, &poll), Lane::Urgent);
        let unreadable = |next_poll| Report { decision: None, ..report(Reason::Idle, next_poll) };
        assert_eq!(lane(&unreadable(poll.idle_interval), &poll), Lane::Idle);
        assert_eq!(lane(&unreadable(poll.active_interval), &poll), Lane::Running);
    }
}
