//! How the channels fare that people are told by, as plain values: for the log, the status and the metrics.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// How one channel fares, since the process began.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelCounts {
    /// Its name in the configuration.
    pub name: String,
    /// The word under `type`.
    pub kind: String,
    /// Messages that were taken.
    pub sent: u64,
    /// Notices in them.
    pub notices: u64,
    /// Times that a message was not taken.
    pub failed: u64,
    /// Notices that wait to be told.
    pub waiting: u64,
    /// When the oldest of them happened.
    pub oldest_waiting: Option<Timestamp>,
    /// Since when no message is taken; `None`: the last one was.
    pub failing_since: Option<Timestamp>,
    /// What the receiver said last, where it did not take a message. No secret stands in it.
    pub last_error: Option<String>,
}
