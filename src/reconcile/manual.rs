//! A reconcile that an operator orders: it reads as any other reconcile does, and sends what was ordered where that may be sent.

use std::sync::Arc;
use std::time::Duration;

use super::{READ_LAST, ReconcileError, Reconciler, read_last};
use crate::clock::Clock;
use crate::cloud::{Css, Delivery};
use crate::decide::manual::{self, ResetByOperator};
use crate::journal::Intent;
use crate::model::answer::{Answer, Meaning};
use crate::model::cluster::Cluster;
use crate::model::decision::{Action, ManualOrder, Order};
use crate::model::event::Event;
use crate::model::id::{ClusterId, TaskId};
use crate::model::moment::Moment;
use crate::model::reason::Reason;
use crate::model::task::Reading;
use crate::model::text::chain;

/// What an operator ordered was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Done {
    /// The service accepted the PUT.
    Accepted {
        /// For which task.
        task: TaskId,
        /// Its answer.
        answer: Answer,
    },
    /// The task is the daemon's again.
    Reset(TaskId),
}

/// Why what an operator ordered was not done, or is not known to be.
#[derive(Debug, thiserror::Error)]
pub enum ManualError {
    /// It must not be done.
    #[error("{0} [{code}]", code = .0.code())]
    Refused(Reason),
    /// No list of the project's clusters has shown the cluster since the start.
    #[error(
        "no list of clusters has shown the cluster since the daemon started, so the daemon cannot act on it yet"
    )]
    NotListed,
    /// The service did not accept the PUT.
    #[error("the CSS API did not accept the {action}: {answer}")]
    NotAccepted {
        /// What was sent.
        action: Action,
        /// Its answer.
        answer: Answer,
    },
    /// Whether the service accepted the PUT is unknown.
    #[error("whether the CSS API accepted the {action} is unknown ({answer}); {then}")]
    Unknown {
        /// What was sent.
        action: Action,
        /// Its answer.
        answer: Answer,
        /// What follows from it.
        then: &'static str,
    },
    /// The PUT never left.
    #[error("the {action} request could not be sent; the CSS API did not receive it: {detail}")]
    NotSent {
        /// What was to be sent.
        action: Action,
        /// What is wrong.
        detail: String,
    },
    /// The PUT was sent, and the journal does not know yet what came of it.
    #[error("{0}; `history` will show it once the journal can be written")]
    Unjournaled(String),
    /// The cluster could not be read, or the journal not be written.
    #[error("{0}")]
    Poll(String),
    /// Waiting for the permit took so long that the reading was no longer fresh, or a reload came between.
    #[error("the poll was too old when the request could have been sent; try again")]
    NotFresh,
}

impl ManualError {
    /// Whether a PUT left, or may have left.
    pub fn was_sent(&self) -> bool {
        matches!(self, Self::NotAccepted { .. } | Self::Unknown { .. } | Self::Unjournaled(_))
    }
}

impl From<ReconcileError> for ManualError {
    fn from(error: ReconcileError) -> Self {
        match error {
            ReconcileError::SentUnwritten(_) => Self::Unjournaled(chain(&error)),
            _ => Self::Poll(chain(&error)),
        }
    }
}

impl<S: Css, C: Clock> Reconciler<S, C> {
    /// Sends what an operator orders, where it may be sent. The reading before the PUT is another one than the first.
    ///
    /// Cancel safety: none, as [`Reconciler::reconcile`].
    ///
    /// # Errors
    /// Where it was not sent, or not accepted.
    pub async fn act_manually(
        &self,
        cluster: &ClusterId,
        action: Action,
        ordered: &ManualOrder,
    ) -> Result<Done, ManualError> {
        let cluster = self.listed(cluster)?;
        let _lock = self.one_at_a_time.lock(&cluster.id).await;
        let css = self.css();
        let reading = self.read(&css, &cluster.id, READ_LAST).await?;
        self.step_and_commit(&cluster, &reading).await?;
        let first = self.may_act(&cluster, &reading, action, ordered, self.now());
        let order = first.map_err(ManualError::Refused)?;

        let fresh = self.read(&css, &cluster.id, read_last(&reading, &order)).await?;
        if self.stood_still(&reading, &fresh) {
            return Err(ManualError::NotFresh);
        }
        self.step_and_commit(&cluster, &fresh).await?;
        let ready = self.make_ready(&css, &fresh).await?.ok_or(ManualError::NotFresh)?;
        let order =
            self.may_act(&cluster, &fresh, action, ordered, ready.now).map_err(ManualError::Refused)?;
        let task = order.task().clone();
        let reason = Reason::Manual {
            action,
            by: ordered.by.clone(),
            why: ordered.why.clone(),
            command: ordered.command.clone(),
        };
        let intent = {
            let (subject, state) = (self.subject(&cluster, &task), self.state());
            Intent::new(subject, order, Duration::ZERO, reason, state.project.cluster(&cluster.id))
        };
        let intent = intent.ok_or(ManualError::Refused(Reason::StalePoll))?;
        let outcome = self.send(&css, &cluster, intent, ready).await?;
        of_outcome(action, task, outcome)
    }

    /// Takes a task back from an operator, where one has it.
    ///
    /// # Errors
    /// Where it was not taken back.
    pub async fn reset_manually(
        &self,
        cluster: &ClusterId,
        ordered: &ManualOrder,
    ) -> Result<Done, ManualError> {
        let cluster = self.listed(cluster)?;
        let _lock = self.one_at_a_time.lock(&cluster.id).await;
        let reading = self.read(&self.css(), &cluster.id, READ_LAST).await?;
        self.step_and_commit(&cluster, &reading).await?;
        // What is judged here must still hold when it is journaled.
        let exclusive = self.commit_lock.write().await;
        self.write_what_is_unwritten(&exclusive).await.map_err(ReconcileError::from)?;
        let now = self.now();
        let given_back =
            self.judge(&cluster, &reading, |state, input| manual::reset(ordered, state, input, now));
        let ResetByOperator { task, failed } = given_back.map_err(ManualError::Refused)?;
        let ManualOrder { command, by, why, .. } = ordered.clone();
        let line = (self.subject(&cluster, &task), Event::Reset { by, why, command, failed });
        self.record(&exclusive, &cluster, now, vec![line]).await.map_err(ReconcileError::from)?;
        Ok(Done::Reset(task))
    }

    fn may_act(
        &self,
        cluster: &Cluster,
        reading: &Reading,
        action: Action,
        ordered: &ManualOrder,
        now: Moment,
    ) -> Result<Order, Reason> {
        self.judge(cluster, reading, |state, input| manual::act(action, ordered, state, input, now))
    }

    /// The cluster as the latest list has shown it.
    fn listed(&self, cluster: &ClusterId) -> Result<Arc<Cluster>, ManualError> {
        let listed = self.state().listed.get(cluster).map(|(cluster, _)| Arc::clone(cluster));
        listed.ok_or(ManualError::NotListed)
    }
}

fn of_outcome(action: Action, task: TaskId, outcome: Delivery) -> Result<Done, ManualError> {
    match outcome {
        Delivery::Sent(answer) => match answer.meaning {
            Meaning::Accepted => Ok(Done::Accepted { task, answer }),
            Meaning::Unknown => {
                let then = match action {
                    Action::Retry => "the next polls will show it, and `history` lists the result",
                    Action::Abort => "an abort leaves no trace in the API: check the cluster in the console",
                };
                Err(ManualError::Unknown { action, answer, then })
            }
            _ => Err(ManualError::NotAccepted { action, answer }),
        },
        Delivery::NotSent(detail) => Err(ManualError::NotSent { action, detail }),
    }
}
