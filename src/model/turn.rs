//! Why the breaker of a project opened, and why it closed.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::id::AttemptId;

/// Why the breaker opened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "because", rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the variants' docs tell their fields")]
pub enum Opening {
    /// This number of different tasks were seen to fail.
    ManyFailed { failures: u32, within: Duration },
    /// The probe's task failed again.
    ProbeFailed { attempt: AttemptId },
    /// The outcome of the probe is unknown.
    ProbeUnknown { attempt: AttemptId },
}

impl fmt::Display for Opening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ManyFailed { failures, within } => {
                write!(f, "{failures} tasks failed within {}", super::text::span(*within))
            }
            Self::ProbeFailed { attempt } => {
                write!(f, "the task of probe request {attempt} failed again")
            }
            Self::ProbeUnknown { attempt } => {
                write!(f, "the outcome of probe request {attempt} is unknown")
            }
        }
    }
}

/// Why the breaker closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Healing {
    /// The probe's task completed a node.
    CompletedNode,
    /// It succeeded.
    Succeeded,
    /// It still runs, long after the PUT.
    StillRuns,
}

impl Healing {
    /// What the probe's task did.
    pub fn words(self) -> &'static str {
        match self {
            Self::CompletedNode => "completed a node",
            Self::Succeeded => "succeeded",
            Self::StillRuns => "still runs",
        }
    }
}
