//! What operators order, and which orders are allowed.
//!
//! An operator's order ignores what is a matter of judgement: backoff, retry limit, window,
//! breaker, limits, escalation, age, and for an abort the policy and its grace too. No order
//! ignores what would do harm: a status other than FAILED, a task that is not the newest, a request
//! of unknown outcome, a hold, dry-run, a pause, a wrong clock, and for an abort a completed or
//! unreadable node.

use super::{CONFIRMATION_PATIENCE, FailedTask, NewestTask, StepInput, running};
use crate::model::decision::{Action, ManualOrder, Order};
use crate::model::event::{Outcome, Shape};
use crate::model::id::TaskId;
use crate::model::moment::Moment;
use crate::model::policy::{Mode, Terms};
use crate::model::project_state::ProjectState;
use crate::model::reason::Reason;
use crate::model::record::TaskRecord;
use crate::model::task::{Task, TaskStatus};

/// Returns the order to send if it is allowed, or why it is not.
///
/// # Errors
/// The first reason against the order.
pub fn act(
    action: Action,
    ordered: &ManualOrder,
    state: &ProjectState,
    input: StepInput<'_>,
    now: Moment,
) -> Result<Order, Reason> {
    let (task, known) = newest(ordered, state, input)?;
    let (terms, preconditions, cluster) = (input.terms(task), input.preconditions(state), &input.cluster.id);
    let by_policy = |retry: &Terms| action == Action::Retry && retry.retry.retry_partial_failed;
    match &task.status {
        TaskStatus::Failed => {}
        TaskStatus::PartialFailed if terms.is_some_and(by_policy) => {}
        status => return Err(Reason::NotFailed { status: status.word().to_owned() }),
    }
    FailedTask { state, input, task, known, now }.may_be_sent()?;
    if let Some(other) = input.shown_elsewhere(state, &task.id) {
        return Err(Reason::SharedTask { other: other.clone() });
    }
    if let Some(reason) = preconditions.on_hold(cluster, now) {
        return Err(reason);
    }
    if input.rules.mode == Mode::DryRun || terms.is_some_and(|terms| terms.mode == Mode::DryRun) {
        return Err(Reason::DryRun { action });
    }
    if action == Action::Retry && terms.is_none() {
        return Err(Reason::NoPolicy);
    }
    if let Some(reason) = preconditions.forbids(now).or_else(|| preconditions.paused(cluster, now)) {
        return Err(reason);
    }
    match action {
        Action::Retry => Ok(Order::Retry(task.id.clone())),
        Action::Abort => {
            known.abortable(task).map(Order::Abort).map_err(|doubt| Reason::NotAbortable { doubt })
        }
    }
}

/// A task that is returned to the daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResetByOperator {
    /// The task.
    pub task: TaskId,
    /// The shape of its failure, if it has failed: later polls are compared with it.
    pub failed: Option<(String, Shape)>,
}

/// Returns the task to reset if that is allowed, or why it is not.
///
/// # Errors
/// The first reason against the reset.
pub fn reset(
    ordered: &ManualOrder,
    state: &ProjectState,
    input: StepInput<'_>,
    now: Moment,
) -> Result<ResetByOperator, Reason> {
    let (task, known) = match newest(ordered, state, input) {
        // The task runs when it is reset: the daemon handles whatever follows.
        Err(Reason::Running { .. }) => {
            let running = input.newest(state).task();
            let known = running.and_then(|task| Some((task, input.record(state).tasks.get(&task.id)?)));
            known.ok_or(Reason::NotEscalated)?
        }
        found => found?,
    };
    if let Some(outcome) = known.outcome() {
        return Err(if *outcome == Outcome::Aborted { Reason::AbortedByUs } else { Reason::NotEscalated });
    }
    let Some(escalation) = &known.escalated else { return Err(Reason::NotEscalated) };
    // Polls may still show whether a PUT was accepted. If none can, the operator has decided.
    let given_up = matches!(escalation.reason, Reason::CannotConfirm { .. });
    if let Some(open) = known.open_retry().filter(|_| !given_up)
        && now.since(open.sent) < input.rules.poll.settle_timeout + CONFIRMATION_PATIENCE
    {
        let (attempt, action, answered) = (open.id, open.action, open.is_answered());
        return Err(Reason::OutcomeUnknown { attempt, action, answered });
    }
    let failed = task.status.is_failure().then(|| Some((task.whole.clone()?, Shape::of(task))));
    Ok(ResetByOperator { task: task.id.clone(), failed: failed.flatten() })
}

/// Returns the newest task with its record, if it is certain and the one that the order names.
fn newest<'a>(
    ordered: &ManualOrder,
    state: &'a ProjectState,
    input: StepInput<'a>,
) -> Result<(&'a Task, &'a TaskRecord), Reason> {
    let record = input.record(state);
    if record.tasks.values().any(|task| task.commands.contains(&ordered.command)) {
        return Err(Reason::AlreadyDone);
    }
    let standing = input.newest(state);
    if let (Some(task), Some(newest)) = (&ordered.task, standing.task())
        && *task != newest.id
    {
        return Err(Reason::NotNewest { task: task.clone(), newest: newest.id.clone() });
    }
    let task = match standing {
        NewestTask::Nothing => return Err(Reason::Idle),
        NewestTask::Running(task) => return Err(running(task)),
        NewestTask::Uncertain(reason) => return Err(reason),
        NewestTask::Newest(task) => task,
    };
    match record.tasks.get(&task.id) {
        Some(known) => Ok((task, known)),
        None if task.status.is_failure() => Err(Reason::StalePoll),
        None => Err(Reason::NotFailed { status: task.status.word().to_owned() }),
    }
}

impl FailedTask<'_> {
    /// Returns whether no earlier PUT may still take effect, and the poll shows the present
    /// failure.
    fn may_be_sent(&self) -> Result<(), Reason> {
        match self.known.outcome() {
            Some(Outcome::Aborted) => return Err(Reason::AbortedByUs),
            Some(_) => return Err(Reason::StalePoll),
            None => {}
        }
        if let Some(open) = &self.known.open {
            return Err(match open.action {
                Action::Abort => Reason::AbortUnknown { attempt: open.id, answer: open.answer.clone() },
                Action::Retry => Reason::OutcomeUnknown {
                    attempt: open.id,
                    action: open.action,
                    answered: open.is_answered(),
                },
            });
        }
        let Some(failure) = &self.known.failure else { return Err(Reason::StalePoll) };
        if let Some((_, reason, _)) = self.stale(failure) {
            return Err(reason);
        }
        match &failure.doubt {
            Some((_, _, answer)) => Err(Reason::CheckingIfGone { answer: answer.clone() }),
            None => Ok(()),
        }
    }
}
