//! Retry or abort.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One of the two requests that the daemon can send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// Run the failed task again.
    Retry,
    /// Abort the failed task.
    Abort,
}

impl Action {
    /// Returns the verb, for a sentence.
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
