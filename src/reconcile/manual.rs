//! A reconcile that an operator orders: it polls as any other reconcile does, and sends the ordered
//! request if that is allowed.

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

/// The result of an operator's order that was carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Done {
    /// The CSS API accepted the PUT.
    Accepted {
        /// The task.
        task: TaskId,
        /// The answer.
        answer: Answer,
    },
    /// The task is returned to the daemon.
    Reset(TaskId),
}

/// Why an operator's order was not carried out, or is not known to be.
#[derive(Debug, thiserror::Error)]
pub enum ManualError {
    /// The order is not allowed.
    #[error("{0} [{code}]", code = .0.code())]
    Refused(Reason),
    /// No list of the project's clusters has shown the cluster since the start.
    #[error(
        "no list of clusters has shown the cluster since the daemon started, so the daemon cannot act on it yet"
    )]
    NotListed,
    /// The CSS API did not accept the PUT.
    #[error("the CSS API did not accept the {action}: {answer}")]
    NotAccepted {
        /// The request.
        action: Action,
        /// The answer.
        answer: Answer,
    },
    /// It is unknown whether the CSS API accepted the PUT.
    #[error("whether the CSS API accepted the {action} is unknown ({answer}); {then}")]
    Unknown {
        /// The request.
        action: Action,
        /// The answer.
        answer: Answer,
        /// What follows from the answer.
        then: &'static str,
    },
    /// The PUT was not sent.
    #[error("the {action} request could not be sent; the CSS API did not receive it: {detail}")]
    NotSent {
        /// The request.
        action: Action,
        /// The error.
        detail: String,
    },
    /// The PUT was sent, and its outcome is not in the journal yet.
    #[error("{0}; `history` will show it once the journal can be written")]
    Unjournaled(String),
    /// The cluster could not be polled, or the journal not be written.
    #[error("{0}")]
    Poll(String),
    /// Waiting for the permit took so long that the poll was no longer fresh, or a reload came
    /// between.
    #[error("the poll was too old when the request could have been sent; try again")]
    NotFresh,
}

impl ManualError {
    /// Returns whether a PUT was sent, or may have been sent.
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
    /// Sends what an operator orders, if it is allowed. Polls a second time before the PUT.
    ///
    /// Cancel safety: none, as [`Reconciler::reconcile`].
    ///
    /// # Errors
    /// If the request was not sent, or not accepted.
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

    /// Resets an escalated task: the daemon handles it again.
    ///
    /// # Errors
    /// If the task was not reset.
    pub async fn reset_manually(
        &self,
        cluster: &ClusterId,
        ordered: &ManualOrder,
    ) -> Result<Done, ManualError> {
        let cluster = self.listed(cluster)?;
        let _lock = self.one_at_a_time.lock(&cluster.id).await;
        let reading = self.read(&self.css(), &cluster.id, READ_LAST).await?;
        self.step_and_commit(&cluster, &reading).await?;
        // What is checked here must still hold when the reset is journaled.
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

    /// Returns the cluster as the latest list that showed it did.
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
