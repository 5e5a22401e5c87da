//! How much an event or a notification matters.

use serde::{Deserialize, Serialize};

/// The level of an event or a notification, from the least to the most important.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// For operators who examine one task.
    Debug,
    /// A change of state.
    Info,
    /// Something went wrong, and the daemon handles it.
    Warning,
    /// An operator is needed.
    Critical,
}

impl Level {
    /// The stable word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}
