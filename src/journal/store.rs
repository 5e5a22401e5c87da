//! Where a journal is kept: the one seam between what the daemon does and a database.
//!
//! Whoever uses a journal uses the struct [`Journal`](super::Journal), which is the same over every store.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;

use jiff::Timestamp;

use super::JournalError;
use super::query::{KnownCluster, Query};
use super::schema::Meta;
use crate::model::event::{Entry, Event, StoredEntry, Subject};
use crate::model::hold::{Identified, NewHold, StoredHold};
use crate::model::id::{ClusterId, ProjectName};
use crate::model::moment::Moment;
use crate::model::names::Named;
use crate::model::outbox::{Kept, Note, OutboxWrite};
use crate::model::scope_entry::ScopeEntry;

/// What a store answers, once it can.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, JournalError>> + Send + 'a>>;

/// What must still be so for anything to be kept: whoever writes holds the lease of this term.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fence {
    /// The term of the lease.
    pub term: u64,
}

impl Fence {
    /// That of a store which one process has to itself, by a lock beside it: there is no other term.
    pub const ALONE: Self = Self { term: 1 };

    /// Refuses what comes under another one than `holds`.
    pub(super) fn check(self, holds: Self) -> Result<(), JournalError> {
        if self == holds {
            return Ok(());
        }
        Err(JournalError::Fenced { ours: self.term, term: holds.term })
    }
}

/// Makes the trait of stores, and the one of layers, from one list of methods.
macro_rules! store {
    ($($(#[$doc:meta])* fn $name:ident($($argument:ident: $type:ty),*) -> $answer:ty;)*) => {
        /// Keeps a journal. Object-safe, so that nothing but the composition root knows which one is there.
        ///
        /// Whatever is answered with `Ok` is durable. Where it is an error, whether it was kept after all is unknown, but
        /// where the error says otherwise. Cancel safety: a write may be kept although its future was dropped.
        pub trait Store: Send + Sync + 'static {
            $($(#[$doc])* fn $name(&self, $($argument: $type),*) -> $answer;)*
        }

        /// A store over another one, which does some of it in another way: measured, slower, failing.
        pub trait Layer: Send + Sync + 'static {
            /// The store beneath.
            fn beneath(&self) -> &dyn Store;
            $(
                #[doc = concat!("As [`Store::", stringify!($name), "`].")]
                fn $name(&self, $($argument: $type),*) -> $answer {
                    self.beneath().$name($($argument),*)
                }
            )*
        }

        impl<L: Layer> Store for L {
            $(fn $name(&self, $($argument: $type),*) -> $answer {
                Layer::$name(self, $($argument),*)
            })*
        }
    };
}

store! {
    /// What was made once for this journal.
    fn meta() -> &Meta;
    /// The fence that holds now for what is written of this project.
    fn lease(project: &ProjectName) -> Answer<'_, Fence>;
    /// Keeps these events, all or none, and gives them back as entries in the same order. Another fence than the one that
    /// holds keeps nothing: [`JournalError::Fenced`].
    fn append(fence: Fence, at: Moment, lines: Vec<(Subject, Event)>) -> Answer<'_, Vec<Entry>>;
    /// Forgets all that was kept of these tasks, all or none; what [is of their project](Event::is_of_project) stays. Their
    /// numbers are never used again.
    fn forget(tasks: Vec<Subject>) -> Answer<'_, ()>;
    /// Keeps a hold.
    fn place_hold(hold: NewHold) -> Answer<'_, StoredHold>;
    /// Keeps that these holds were released.
    fn release_holds(at: Timestamp, numbers: Vec<u64>, by: String) -> Answer<'_, ()>;
    /// Keeps these projects under their present names from now on, and all that it keeps of them with it: entries, and
    /// holds on a project. All or none.
    fn identify(projects: Vec<Named>) -> Answer<'_, Identified>;
    /// The entries that are asked for, in the order that is asked for.
    fn read(query: Query) -> Answer<'_, Vec<StoredEntry>>;
    /// All that was said of scopes, in order: holds and releases.
    fn read_scopes() -> Answer<'_, Vec<ScopeEntry>>;
    /// The clusters of which a task was ever seen, ordered by project and id. A name may stand there several times.
    fn clusters() -> Answer<'_, Vec<KnownCluster>>;
    /// The names of these clusters, as they were last seen.
    fn cluster_names(clusters: BTreeSet<(ProjectName, ClusterId)>) -> Answer<'_, BTreeMap<ClusterId, String>>;
    /// Everything that the outbox keeps.
    fn outbox() -> Answer<'_, Kept>;
    /// Does all of this to the outbox or nothing, and gives the notes that were added.
    fn write_outbox(writes: Vec<OutboxWrite>) -> Answer<'_, Vec<Note>>;
    /// Keeps what is in force from this time on, in JSON, where it is something else than before: for reports.
    fn note_in_force(at: Timestamp, what: String) -> Answer<'_, ()>;
    /// What was in force, since when, in order.
    fn in_force() -> Answer<'_, Vec<(Timestamp, String)>>;
    /// Keeps that the daemon lived at this time. Returns at once; where it cannot be kept, the next sign of life tells.
    fn mark_alive(at: Timestamp) -> ();
    /// When the daemon last lived, as far as that was kept.
    fn last_alive() -> Answer<'_, Option<Timestamp>>;
    /// Keeps what is known of refused credentials, instead of what was kept. Returns at once; where it cannot be kept, a
    /// restart knows less.
    fn keep_refusals(text: String) -> ();
    /// Returns once what was asked before is done, whether it could be kept or not. An error: nothing will ever be kept
    /// again, because whoever keeps it is gone.
    fn check_alive() -> Answer<'_, ()>;
    /// What it takes on disk here, in bytes, where that can be told.
    fn size() -> Option<u64>;
    /// Closes it for everybody, after all that was asked before.
    fn close() -> Answer<'_, ()>;
}
