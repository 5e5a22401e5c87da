//! What the policy says of one task now: an action or a wait, always with its reason and the time of the next
//! poll.

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use super::action::Action;
use super::id::TaskId;
use super::reason::Reason;
use super::task::Abortable;

/// An action with all that is needed to send it. An abort carries its proof.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// Retry this task.
    Retry(TaskId),
    /// Abort the task that the reading showed to be abortable.
    Abort(Abortable),
}

impl Order {
    /// Which of the two.
    pub fn action(&self) -> Action {
        match self {
            Self::Retry(_) => Action::Retry,
            Self::Abort(_) => Action::Abort,
        }
    }

    /// For which task.
    pub fn task(&self) -> &TaskId {
        match self {
            Self::Retry(task) => task,
            Self::Abort(abortable) => abortable.task(),
        }
    }
}

/// What an operator orders for one cluster, beside the action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManualOrder {
    /// The task that is meant; the newest one, where none is named.
    pub task: Option<TaskId>,
    /// What tells a repeated command from a new one.
    pub command: String,
    /// Who: the user's name, or `uid 1000` where there is none.
    pub by: String,
    /// Why.
    pub why: String,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Send this.
    Act(Order),
    /// Nothing is due.
    Wait,
    /// Something is due, and something else than time holds it back.
    Blocked,
    /// It is an operator's now.
    Escalate,
}

impl Verdict {
    /// As it is journaled, where it sends and escalates nothing.
    pub fn passive(&self) -> Option<PassiveVerdict> {
        match self {
            Self::Wait => Some(PassiveVerdict::Wait),
            Self::Blocked => Some(PassiveVerdict::Blocked),
            Self::Act(_) | Self::Escalate => None,
        }
    }

    /// The stable word.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Act(Order::Retry(_)) => "retry",
            Self::Act(Order::Abort(_)) => "abort",
            Self::Wait => PassiveVerdict::Wait.word(),
            Self::Blocked => PassiveVerdict::Blocked.word(),
            Self::Escalate => "escalate",
        }
    }
}

/// A verdict that sends and escalates nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PassiveVerdict {
    /// As [`Verdict::Wait`].
    Wait,
    /// As [`Verdict::Blocked`].
    #[serde(alias = "held")]
    Blocked,
}

impl PassiveVerdict {
    /// The stable word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Wait => "wait",
            Self::Blocked => "blocked",
        }
    }
}

/// A decision about one cluster, and about one task of it where there is one to decide about.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// The task it is about.
    pub task: Option<TaskId>,
    /// What to do.
    pub verdict: Verdict,
    /// Why.
    pub reason: Reason,
    /// When to poll again.
    pub next_poll: Duration,
}
