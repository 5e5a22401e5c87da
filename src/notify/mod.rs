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

use crate::model::condition::Change;
use crate::model::event::Entry;
use crate::model::id::{ClusterId, ProjectName};

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

/// One thing that changed.
#[derive(Debug)]
#[expect(missing_docs, reason = "the variants' docs tell their fields")]
pub enum Notification<'a> {
    /// Something was journaled.
    Journaled { cluster_name: &'a str, entry: &'a Entry },
    /// A condition began, changed or ended.
    Condition(&'a Change),
    /// More tasks are left alone, for the reason with this code, than are told of one by one.
    LeftAlone { project: &'a ProjectName, code: &'a str, more: usize },
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
