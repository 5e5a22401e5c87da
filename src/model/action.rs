//! Retry or abort.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One of the two things the daemon can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// Execute the failed task again.
    Retry,
    /// Terminate the failed task.
    Abort,
}

impl Action {
    /// What it does, in a sentence.
    pub fn verb(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::Abort => "abort",
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.verb())
    }
}
