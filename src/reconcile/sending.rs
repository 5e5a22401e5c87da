//! From a due request to its journaled answer: checks the preconditions once more, commits the
//! intent, sends its PUT, journals the answer.

use std::sync::Arc;
use std::time::Duration;

use super::{Exclusive, ReconcileError, Reconciler, Unwritten};
use crate::clock::Clock;
use crate::cloud::{CloudError, Css, Delivery, Permit, SendingSpan};
use crate::failpoint::{self, Point};
use crate::journal::{Intent, Journaled};
use crate::model::answer::{Answer, Meaning};
use crate::model::cluster::Cluster;
use crate::model::decision::{Action, Decision, Order};
use crate::model::event::{Event, Outcome};
use crate::model::id::AttemptId;
use crate::model::moment::Moment;
use crate::model::project::MAX_READING_AGE;
use crate::model::task::Reading;

/// How long a stop waits for the answer to a PUT. After that the outcome is journaled as unknown,
/// and polls confirm it. A stop takes ten seconds at most, and needs some of them for the journal.
const STOP_GRACE: Duration = Duration::from_secs(7);

/// What a PUT needs, taken before its intent is committed.
pub(super) struct Ready<'a> {
    permit: Permit,
    /// Until the intent is committed.
    commit_lock: Exclusive<'a>,
    /// The moment at which the preconditions are checked.
    pub(super) now: Moment,
}

impl<S: Css, C: Clock> Reconciler<S, C> {
    /// Sends the request that is due after the second poll: takes what the PUT needs, checks all
    /// preconditions once more in one step with the commit of the intent, and sends with the client
    /// that polled.
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

    /// Takes what a PUT needs and the commit lock, so that what is checked now still holds when the
    /// intent is committed. Returns `None` if the poll is not fresh any more, or if a reload has
    /// replaced the client that polled; the next reconcile polls again.
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
            // Before anything is written: a stop must not wait for a locked journal once for each
            // reconcile.
            return Err(ReconcileError::Stopping);
        }
        self.write_what_is_unwritten(&commit_lock).await?;
        let now = self.now();
        // The clock may have been set since the poll, too: the next reconcile ties the journaled
        // times to it.
        let set = !self.state().tie.is_kept(self.clock.now());
        if set || now.age(fresh.asked) > MAX_READING_AGE || !Arc::ptr_eq(css, &self.css()) {
            return Ok(None);
        }
        if self.stopping.is_cancelled() {
            return Err(ReconcileError::Stopping);
        }
        Ok(Some(Ready { permit, commit_lock, now }))
    }

    /// Commits the intent, sends its PUT and journals the answer. After the commit this must run to
    /// its end.
    pub(super) async fn send(
        &self,
        css: &Arc<S>,
        cluster: &Cluster,
        intent: Intent,
        ready: Ready<'_>,
    ) -> Result<Delivery, ReconcileError> {
        let Ready { permit, commit_lock, now } = ready;
        let subject = intent.subject.clone();
        let settle_timeout = self.rules().poll.settle_timeout;
        let journaled = self.journal.begin(now, intent).await?;
        self.fold(cluster, std::slice::from_ref(journaled.entry()));
        drop(commit_lock);
        failpoint::pass(Point::PutIntended);

        let outcome = tokio::select! {
            biased;
            outcome = execute(&**css, &journaled, permit, settle_timeout) => outcome,
            () = self.cut() => left_behind(),
        };
        failpoint::pass(Point::PutOver);
        let attempt = journaled.attempt();
        let action = journaled.value().order.action();
        let lines = what_came_back(attempt, action, &outcome)
            .into_iter()
            .map(|event| (subject.clone(), event))
            .collect();
        // Written under the commit lock: after an answer that pauses the project, no further intent
        // is committed.
        let commit_lock = self.commit_lock.write().await;
        let unwritten = Unwritten { attempt, at: self.now(), cluster: cluster.clone(), lines };
        self.state().unwritten.push(unwritten);
        self.write_what_is_unwritten(&commit_lock).await.map_err(ReconcileError::SentUnwritten)?;
        drop(commit_lock);
        Ok(outcome)
    }

    /// Ends when the stopping daemon does not wait for a PUT any longer.
    async fn cut(&self) {
        self.stopping.cancelled().await;
        self.clock.sleep(STOP_GRACE).await;
    }

    /// Makes the intent of a decision to act, with the failure that it answers and the backoff that
    /// ended.
    fn what_to_send(&self, cluster: &Cluster, decision: &Decision) -> Option<Intent> {
        let state = self.state();
        Intent::of(self.project.clone(), cluster.id.clone(), decision, state.project.cluster(&cluster.id))
    }
}

/// Sends the journaled PUT once: only the journal makes a [`Journaled`] intent. The permit was
/// taken before the intent was committed, so nothing waits here. The PUT ends before it can count
/// as not accepted, `settle_timeout` after the intent.
///
/// Cancel safety: none. If this is dropped half-way, the API may have accepted the PUT; its intent
/// stays open in the journal, and polls confirm the outcome.
pub async fn execute<S: Css>(
    css: &S,
    intent: &Journaled<Intent>,
    permit: Permit,
    settle_timeout: Duration,
) -> Delivery {
    let permit = permit.within(SendingSpan::new(intent.entry().at, settle_timeout));
    let cluster = &intent.value().subject.cluster;
    match &intent.value().order {
        Order::Retry(task) => css.retry(cluster, task, permit).await,
        Order::Abort(abortable) => css.abort(cluster, abortable, permit).await,
    }
}

/// Returns the events of a PUT's answer. An accepted abort also ends the task's lifecycle.
pub fn what_came_back(attempt: AttemptId, action: Action, outcome: &Delivery) -> Vec<Event> {
    match outcome {
        Delivery::NotSent(_) => vec![Event::NotSent { attempt }],
        Delivery::Sent(answer) => {
            let aborted = action == Action::Abort && answer.meaning == Meaning::Accepted;
            let answered = Event::Answered { attempt, answer: answer.clone() };
            if aborted { vec![answered, Event::Ended(Outcome::Aborted)] } else { vec![answered] }
        }
    }
}

/// Returns the outcome of a PUT whose answer a stop did not wait for: the API may have accepted it.
fn left_behind() -> Delivery {
    Delivery::Sent(Answer::none("the daemon was stopped before a response arrived".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ATTEMPT: AttemptId = AttemptId(7);

    fn answered(meaning: Meaning) -> Delivery {
        Delivery::Sent(Answer { meaning, ..Answer::none(String::new()) })
    }

    /// Returns the text that is journaled.
    fn journaled(action: Action, outcome: &Delivery) -> Vec<&'static str> {
        what_came_back(ATTEMPT, action, outcome).iter().map(Event::word).collect()
    }

    #[test]
    fn only_an_accepted_abort_ends_the_story_of_its_task() {
        for meaning in [
            Meaning::Accepted,
            Meaning::Unknown,
            Meaning::Busy,
            Meaning::GoneOrForbidden,
            Meaning::WrongAddress,
            Meaning::NotAcceptable,
            Meaning::Unauthorized,
            Meaning::ForbiddenCluster,
            Meaning::ForbiddenProject,
        ] {
            assert_eq!(journaled(Action::Retry, &answered(meaning)), ["answered"], "{meaning:?}");
            let of_an_abort = journaled(Action::Abort, &answered(meaning));
            if meaning == Meaning::Accepted {
                assert_eq!(of_an_abort, ["answered", "ended"]);
            } else {
                assert_eq!(of_an_abort, ["answered"], "{meaning:?}");
            }
        }
        let closed = what_came_back(ATTEMPT, Action::Abort, &answered(Meaning::Accepted)).pop();
        assert_eq!(closed, Some(Event::Ended(Outcome::Aborted)));
    }

    #[test]
    fn what_certainly_never_left_is_journaled_as_not_sent() {
        for action in [Action::Retry, Action::Abort] {
            let lines = what_came_back(ATTEMPT, action, &Delivery::NotSent("no connection".to_owned()));
            assert_eq!(lines, [Event::NotSent { attempt: ATTEMPT }]);
        }
    }

    #[test]
    fn what_is_not_waited_for_any_longer_may_have_been_taken() {
        let Delivery::Sent(answer) = left_behind() else { panic!("it left, or may have left") };
        assert_eq!((answer.meaning, answer.status), (Meaning::Unknown, None));
        assert!(!answer.message.is_empty());
    }
}
