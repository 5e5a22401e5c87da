//! Notifications: what changed is reported once, when it changed.
//!
//! A stage of its own, so that a failing receiver never delays a remediation: [`Observer::tell`]
//! must not block and cannot fail. One observer is the log ([`log`]); another one, [`NotifyQueue`],
//! wakes the notifier of the channels.
//!
//! ```text
//!  reconcile ──► NotifyQueue ──► outbox writer ──► outbox ──► channel worker ──► channel   one worker for each channel
//!           wakes    entries    in the     groups,     one way
//!                    → notes    journal    retries     to people
//! ```
//!
//! Notifications of journaled entries are made from the journal: the outbox writer keeps the number
//! of the last entry that it has read, in the same transaction in which it keeps the notes. So a
//! restart loses and repeats nothing, except one message of each channel and project that may have
//! been accepted just when the process ended; it is sent again under the same id.

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
    /// An entry was journaled.
    Journaled { cluster_name: &'a str, entry: &'a Entry },
    /// A condition began, changed or ended.
    Condition(&'a Change),
    /// The daemon does not act on more tasks, for the reason with this code, than are reported one
    /// by one.
    LeftAlone { project: &'a ProjectName, code: &'a str, more: usize },
    /// Clusters came or went.
    Clusters { project: &'a ProjectName, came: usize, went: &'a [ClusterId], watched: usize },
}

/// Is notified of changes.
pub trait Observer: Send + Sync + 'static {
    /// Notifies it. Must return at once.
    fn tell(&self, notification: &Notification<'_>);
}

/// Notifies both.
impl<A: Observer, B: Observer> Observer for (A, B) {
    fn tell(&self, notification: &Notification<'_>) {
        self.0.tell(notification);
        self.1.tell(notification);
    }
}
