//! The decision about one task: an action or a wait, always with its reason and the time of the
//! next poll.

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use super::action::Action;
use super::id::TaskId;
use super::reason::Reason;
use super::task::Abortable;

/// An action with all that is needed to send it. An abort contains its proof.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// Retry this task.
    Retry(TaskId),
    /// Abort the task that the poll showed to be abortable.
    Abort(Abortable),
}

impl Order {
    /// Returns which of the two.
    pub fn action(&self) -> Action {
        match self {
            Self::Retry(_) => Action::Retry,
            Self::Abort(_) => Action::Abort,
        }
    }

    /// Returns the task.
    pub fn task(&self) -> &TaskId {
        match self {
            Self::Retry(task) => task,
            Self::Abort(abortable) => abortable.task(),
        }
    }
}

/// An operator's order for one cluster, without the action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManualOrder {
    /// The task that the order names; the newest one if it names none.
    pub task: Option<TaskId>,
    /// The id of the command, which distinguishes a repeated command from a new one.
    pub command: String,
    /// The user's name, or `uid 1000` if there is none.
    pub by: String,
    /// The operator's reason.
    pub why: String,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Send this.
    Act(Order),
    /// Nothing is due.
    Wait,
    /// A request is due, and something other than time blocks it.
    Blocked,
    /// The task is escalated.
    Escalate,
}

impl Verdict {
    /// Returns the verdict that is journaled if nothing is sent or escalated.
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

/// A verdict that neither sends nor escalates.
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

/// A decision about one cluster, and about one task of it, if there is one.
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
