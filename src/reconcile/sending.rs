//! From what is due to what came back: the preconditions judged once more, the intent committed, its PUT sent, its answer
//! journaled.

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

/// How long a stop waits for the answer to a PUT. After that it is journaled as unknown, and settled by reading. A stop
/// takes ten seconds at most, and needs some of them for the journal.
const STOP_GRACE: Duration = Duration::from_secs(7);

/// What a PUT needs, taken before its intent is committed.
pub(super) struct Ready<'a> {
    permit: Permit,
    /// Until the intent is committed.
    commit_lock: Exclusive<'a>,
    /// The moment to judge by.
    pub(super) now: Moment,
}

impl<S: Css, C: Clock> Reconciler<S, C> {
    /// Sends what the fresh reading says is due: takes what the PUT needs, judges all preconditions once more in one
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

/// Sends the PUT that was journaled, once: only the journal makes a [`Journaled`] intent. The permit was taken before the
/// intent was committed, so nothing waits here. It is over before the request can count as not accepted, `settle_timeout`
/// after the intent.
///
/// Cancel safety: none. Dropped half-way, the PUT may have been taken; its intent stays open in the journal and
/// is settled by reading.
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

/// What is journaled of a PUT's outcome. An accepted abort is also the end of the task's lifecycle.
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

/// The outcome of a PUT that is not waited for any longer, as the daemon is stopping: it may have been taken.
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

    /// The words of what is journaled.
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
