//! People: what changed is told, once, when it changed.
//!
//! A stage of its own so that a dead listener never delays a remediation: [`Observer::tell`] must not block and
//! cannot fail. One listener is the log ([`log`]); another one, [`NotifyQueue`], wakes those who tell the channels.
//!
//! ```text
//!  reconcile ──► NotifyQueue ──► outbox writer ──► outbox ──► channel worker ──► channel   one worker for each channel
//!           wakes    entries    in the     groups,     one way
//!                    → notes    journal    retries     to people
//! ```
//!
//! What stands in the journal is told from the journal: the outbox writer remembers up to which entry it has come, in
//! the same transaction in which it keeps what is to be told. So a restart loses nothing and repeats nothing, but for
//! one message of each channel and project that may have been taken just when the process ended; it goes out again
//! under the same id.

use crate::model::event::Entry;
use crate::model::id::{ClusterId, ProjectName};
use crate::model::project::Stretch;
use crate::model::project_state::Pause;
use crate::model::reason::Reason;

pub mod channel;
mod channel_worker;
pub mod facts;
pub mod kind;
pub mod log;
pub mod message;
pub mod notice;
mod notifier;
mod outbox_writer;
mod outlooks;
mod queue;
mod route;

pub use crate::model::channel::ChannelCounts;
pub use notifier::{Notifier, Start};
pub use queue::NotifyQueue;
pub use route::Routes;

/// One thing worth telling.
#[derive(Debug)]
#[expect(missing_docs, reason = "the variants' docs tell their fields")]
pub enum Notification<'a> {
    /// Something was journaled.
    Journaled { cluster_name: &'a str, entry: &'a Entry },
    /// Something about a cluster that concerns no task in the journal changed (and its reason is new).
    Cluster { project: &'a ProjectName, cluster: &'a ClusterId, cluster_name: &'a str, reason: &'a Reason },
    /// A task has shown a status that we do not know for an hour.
    Unclear { project: &'a ProjectName, cluster: &'a ClusterId, cluster_name: &'a str, reason: &'a Reason },
    /// The project was paused, or rests for longer.
    ProjectPaused { project: &'a ProjectName, pause: &'a Pause },
    /// The project acts again.
    ProjectResumed { project: &'a ProjectName },
    /// A cluster could not be read, for another reason than at the last reconcile.
    Unreadable { project: &'a ProjectName, cluster: &'a ClusterId, cluster_name: &'a str, error: &'a str },
    /// More clusters cannot be read than are told of one by one.
    ManyUnreadable { project: &'a ProjectName, error: &'a str },
    /// A cluster can be read again.
    Readable { project: &'a ProjectName, cluster: &'a ClusterId, cluster_name: &'a str },
    /// The journal could not be written, so nothing is sent.
    JournalFails { project: &'a ProjectName, error: &'a str },
    /// The journal is written again.
    JournalWorks { project: &'a ProjectName },
    /// Something is due and cannot be sent: the system gives no further connection.
    CannotConnect { project: &'a ProjectName, error: &'a str },
    /// The system gives connections again.
    Connects { project: &'a ProjectName },
    /// The project as a whole cannot be seen, for another reason than last time.
    Unreachable { project: &'a ProjectName, trouble: &'static str, error: &'a str, advice: &'a str },
    /// Something of the project can be seen again.
    Reachable { project: &'a ProjectName },
    /// The process has listed the clusters and read one, or all of none, for the first time.
    SeenAtFirst { project: &'a ProjectName },
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
pub trait Observer: Send + Sync + 'static {
    /// Tells it. Must return at once.
    fn tell(&self, notification: &Notification<'_>);
}

/// Both hear of it.
impl<A: Observer, B: Observer> Observer for (A, B) {
    fn tell(&self, notification: &Notification<'_>) {
        self.0.tell(notification);
        self.1.tell(notification);
    }
}
