//! What is said over the control socket.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use crate::model::event::StoredEntry;
use crate::model::hold::StoredHold;
use crate::model::id::{ClusterId, TaskId};
use crate::model::scope_entry::{Position, ScopeEntry};
use crate::status::{Explanation, Report};

/// Both sides say which form they speak; another one is refused.
pub const VERSION: u32 = 1;

/// No request is longer, in bytes.
pub const MAX_BYTES: u64 = 1 << 20;

/// No answer is longer, in bytes: room for a hold on each of many thousand clusters.
pub const MAX_ANSWER_BYTES: u64 = 1 << 26;

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "kebab-case", deny_unknown_fields)]
#[expect(missing_docs, reason = "the variants' docs tell their fields")]
pub enum Request {
    /// Send nothing for what the scope covers: `all`, `project:NAME`, `cluster:NAME-OR-ID`, or a cluster's name or id
    /// alone. Without a time until it is released.
    Hold {
        scope: String,
        #[serde(rename = "for")]
        lasts: Option<Duration>,
        reason: String,
    },
    /// End the holds of this scope.
    Release { scope: String },
    /// The holds in force.
    Holds,
    /// What the daemon knows of itself.
    Status,
    /// Everything about one cluster, and why what is done is done.
    Explain { cluster: String },
    /// What happened, of one cluster or of all: the first part of what comes after this place.
    History { cluster: Option<String>, since: Option<Timestamp>, past: Option<Position> },
    /// Retry the newest task of a cluster now.
    RetryNow(Order),
    /// Abort the newest task of a cluster now.
    Abort(Order),
    /// Take the newest task of a cluster back from an operator.
    Reset(Order),
}

/// What an operator orders for one cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Order {
    /// Its name or its id.
    pub cluster: String,
    /// The task that is meant. Refused if it is not the newest any more.
    pub task: Option<TaskId>,
    /// Why.
    pub reason: String,
    /// Drawn anew for each command, so that one that arrives twice acts once.
    pub command: String,
}

/// What is answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the variants' docs tell their fields")]
pub enum Answer {
    /// It is held: no further intent can be committed for what the hold covers. `dry_run`: none would be anyway.
    /// `written`: the scope as an operator writes it, a cluster by its name where no other one bears it.
    Held { hold: StoredHold, dry_run: bool, written: String },
    /// These were ended. `still`: what else covers some of it.
    Released { released: Vec<StoredHold>, still: Vec<StoredHold> },
    /// The holds in force, oldest first.
    Holds { holds: Vec<StoredHold> },
    /// What the daemon knows of itself.
    Status { status: Box<Report> },
    /// Everything about one cluster.
    Explained { explanation: Box<Explanation> },
    /// A part of what happened, with the names of its clusters. `more`: there is more after the last of it.
    History {
        entries: Vec<StoredEntry>,
        #[serde(default)]
        scopes: Vec<ScopeEntry>,
        names: BTreeMap<ClusterId, String>,
        more: bool,
    },
    /// What was ordered was done: the PUT was accepted, or the task is the daemon's again.
    Done { cluster: ClusterId, cluster_name: String, task: TaskId, words: String },
    /// It was not done, and why.
    Refused { why: String },
}

/// A request on the wire.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Asked<R> {
    pub(super) version: u32,
    pub(super) request: R,
}

/// Who asks, as the kernel says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// The user.
    pub uid: u32,
    /// The user's name, where the system's database has one.
    pub name: Option<String>,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => f.write_str(name),
            None => write!(f, "uid {}", self.uid),
        }
    }
}

/// A request that waits for its answer. Dropped without one, the asker is told that the daemon is stopping.
#[derive(Debug)]
pub struct Question {
    /// What is asked for.
    pub request: Request,
    /// Who asks.
    pub peer: Peer,
    /// Where the answer goes.
    pub answer: oneshot::Sender<Answer>,
}
