//! The state of the notification channels, as plain values: for the log, the status and the
//! metrics.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The state of one channel, since the process began.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelCounts {
    /// Its name in the configuration.
    pub name: String,
    /// The word under `type`.
    pub kind: String,
    /// Messages that were accepted.
    pub sent: u64,
    /// Notices in them.
    pub notices: u64,
    /// Messages that were not accepted.
    pub failed: u64,
    /// Notices that wait to be sent.
    pub waiting: u64,
    /// When the oldest of them happened.
    pub oldest_waiting: Option<Timestamp>,
    /// Since when no message is accepted; `None`: the last one was.
    pub failing_since: Option<Timestamp>,
    /// The last error of the receiver. It contains no secret.
    pub last_error: Option<String>,
}
