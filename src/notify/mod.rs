//! People: what changed is told, once, when it changed.
//!
//! A stage of its own so that a dead listener never delays a remediation: [`Tell::tell`] must not block and
//! cannot fail. For now the one listener is the log ([`log`]); channels come beside it.

use crate::model::event::Entry;
use crate::model::id::{ClusterId, ProjectName};
use crate::model::ledger::Rest;
use crate::model::project::Stretch;
use crate::model::reason::Reason;

pub mod log;

/// One thing worth telling.
#[derive(Debug)]
#[expect(missing_docs, reason = "the variants' docs tell their fields")]
pub enum News<'a> {
    /// Something was journaled.
    Journaled { cluster_name: &'a str, entry: &'a Entry },
    /// Something about a cluster that concerns no task in the journal changed (and its reason is new).
    Cluster { project: &'a ProjectName, cluster: &'a ClusterId, cluster_name: &'a str, reason: &'a Reason },
    /// A task has shown a status that we do not know for an hour.
    UnknownStatus { project: &'a ProjectName, cluster: &'a ClusterId, cluster_name: &'a str, word: &'a str },
    /// The project began to rest, or rests for longer.
    ProjectRests { project: &'a ProjectName, rest: &'a Rest },
    /// The project acts again.
    ProjectActs { project: &'a ProjectName },
    /// A cluster could not be read, for another reason than at the last look.
    Unreadable { project: &'a ProjectName, cluster: &'a ClusterId, cluster_name: &'a str, error: &'a str },
    /// More clusters cannot be read than are told of one by one.
    ManyUnreadable { project: &'a ProjectName, error: &'a str },
    /// A cluster can be read again.
    Readable { project: &'a ProjectName, cluster: &'a ClusterId, cluster_name: &'a str },
    /// The journal could not be written, so nothing is sent.
    JournalFails { project: &'a ProjectName, error: &'a str },
    /// The journal is written again.
    JournalWorks { project: &'a ProjectName },
    /// The project as a whole cannot be seen, for another reason than last time.
    Blind { project: &'a ProjectName, error: &'a str, advice: &'a str },
    /// Something of the project can be seen again.
    Sees { project: &'a ProjectName },
    /// More tasks are left alone, for the reason with this code, than are told of one by one.
    LeftAlone { project: &'a ProjectName, code: &'a str, more: usize },
    /// The list is shorter than its totalSize.
    ListShort { project: &'a ProjectName, seen: usize, total: Option<u64>, unusable: &'a [String] },
    /// Idle clusters are read less often than the settings ask for, or (`None`) often enough again.
    Stretched { project: &'a ProjectName, stretch: Option<&'a Stretch> },
    /// Clusters came or went.
    Clusters { project: &'a ProjectName, came: usize, went: &'a [ClusterId], watched: usize },
}

/// Who hears of it.
pub trait Tell: Send + Sync + 'static {
    /// Tells it. Must return at once.
    fn tell(&self, news: &News<'_>);
}
