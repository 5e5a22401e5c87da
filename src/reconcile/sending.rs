//! From what is due to what came back: the guards judged once more, the intent committed, its PUT sent, its answer
//! journaled.

use std::sync::Arc;
use std::time::Duration;

use super::{Alone, ReconcileError, Reconciler, Unwritten};
use crate::act::{self, Delivery};
use crate::clock::Clock;
use crate::cloud::{CloudError, Css, Permit};
use crate::failpoint::{self, Point};
use crate::journal::Intent;
use crate::model::cluster::Cluster;
use crate::model::decision::Decision;
use crate::model::moment::Moment;
use crate::model::project::MAX_READING_AGE;
use crate::model::task::Reading;

/// How long a stop waits for the answer to a PUT. After that it is journaled as unknown, and settled by reading. A stop
/// takes ten seconds at most, and needs some of them for the journal.
const STOP_GRACE: Duration = Duration::from_secs(7);

/// What a PUT needs, taken before its intent is committed.
pub(super) struct Ready<'a> {
    permit: Permit,
    /// Until the intent is committed.
    commit_lock: Alone<'a>,
    /// The moment to judge by.
    pub(super) now: Moment,
}

impl<S: Css, C: Clock> Reconciler<S, C> {
    /// Sends what the fresh reading says is due: takes what the PUT needs, judges all guards once more in one
    /// step with the commit of the intent, and sends with the client that read.
    pub(super) async fn act(
        &self,
        css: &Arc<S>,
        cluster: &Cluster,
        fresh: &Reading,
        decision: Decision,
    ) -> Result<(Decision, bool), ReconcileError> {
        let Some(ready) = self.make_ready(css, fresh).await? else {
            return Ok((Decision { next_poll: Duration::ZERO, ..decision }, false));
        };
        let step = self.step(cluster, fresh, ready.now);
        let intent = if step.events.is_empty() { self.what_to_send(cluster, &step.decision) } else { None };
        let Some(intent) = intent else {
            self.record(&ready.commit_lock, cluster, ready.now, step.events).await?;
            return Ok((step.decision, false));
        };
        self.send(css, cluster, intent, ready).await?;
        Ok((step.decision, true))
    }

    /// Takes what a PUT needs and closes the commit lock, so that what is judged now still holds when the intent is
    /// committed. `None`: the reading is not fresh any more, or a reload has put another client in the place of the
    /// one that read; the next reconcile reads again.
    pub(super) async fn make_ready(
        &self,
        css: &Arc<S>,
        fresh: &Reading,
    ) -> Result<Option<Ready<'_>>, ReconcileError> {
        let permit = css.permit();
        let permit = self.stopping.run_until_cancelled(permit).await.ok_or(ReconcileError::Stopping)?;
        let permit = permit.map_err(|error| match error {
            CloudError::Transport(why) => ReconcileError::NoConnection(why),
            error => ReconcileError::Cloud(error),
        })?;
        self.state().faults.connection(None);
        let commit_lock = self.commit_lock.write().await;
        if self.stopping.is_cancelled() {
            // Before anything is written: a stop must not wait for a journal that is locked, once for each reconcile.
            return Err(ReconcileError::Stopping);
        }
        self.write_what_is_unwritten(&commit_lock).await?;
        let now = self.now();
        // A clock that was set since, too: the next reconcile ties what is journaled to it.
        let set = !self.state().tie.is_kept(self.clock.now());
        if set || now.age(fresh.asked) > MAX_READING_AGE || !Arc::ptr_eq(css, &self.css()) {
            return Ok(None);
        }
        if self.stopping.is_cancelled() {
            return Err(ReconcileError::Stopping);
        }
        Ok(Some(Ready { permit, commit_lock, now }))
    }

    /// Commits the intent, sends its PUT and journals what came back. Once the intent is committed this must be left
    /// to end.
    pub(super) async fn send(
        &self,
        css: &Arc<S>,
        cluster: &Cluster,
        intent: Intent,
        ready: Ready<'_>,
    ) -> Result<Delivery, ReconcileError> {
        let Ready { permit, commit_lock, now } = ready;
        let subject = intent.subject.clone();
        let journaled = self.journal.begin(now, intent).await?;
        self.fold(cluster, std::slice::from_ref(journaled.entry()));
        drop(commit_lock);
        failpoint::pass(Point::PutIntended);

        let outcome = tokio::select! {
            biased;
            outcome = act::execute(&**css, &journaled, permit) => outcome,
            () = self.cut() => act::left_behind(),
        };
        failpoint::pass(Point::PutOver);
        let attempt = journaled.attempt();
        let action = journaled.value().order.action();
        let lines = act::what_came_back(attempt, action, outcome.clone())
            .into_iter()
            .map(|event| (subject.clone(), event))
            .collect();
        // Written behind the commit lock: after an answer that stops the project, no further intent is committed.
        let commit_lock = self.commit_lock.write().await;
        let unwritten = Unwritten { attempt, at: self.now(), cluster: cluster.clone(), lines };
        self.state().unwritten.push(unwritten);
        self.write_what_is_unwritten(&commit_lock).await.map_err(ReconcileError::SentUnwritten)?;
        drop(commit_lock);
        Ok(outcome)
    }

    /// Ends when a PUT that is under way is not waited for any longer, because the daemon is stopping.
    async fn cut(&self) {
        self.stopping.cancelled().await;
        self.clock.sleep(STOP_GRACE).await;
    }

    /// The intent of a decision to act: with the failure it answers and the backoff that ended.
    fn what_to_send(&self, cluster: &Cluster, decision: &Decision) -> Option<Intent> {
        let state = self.state();
        Intent::of(self.project.clone(), cluster.id.clone(), decision, state.project.cluster(&cluster.id))
    }
}
