//! The journal: what was seen, decided, sent and answered, on disk before anything leaves.
//!
//! It takes events and gives them back in order. The intent of a PUT is durable before [`Journal::begin`]
//! returns, and only `begin` makes a [`Journaled`] intent, which is the only thing that `act` sends.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::model::decision::{Decision, Order, Verdict};
use crate::model::event::{Entry, Event, StoredEntry, Subject};
use crate::model::hold::{Identified, NewHold, StoredHold};
use crate::model::id::{AttemptId, ClusterId, ProjectName};
use crate::model::moment::Moment;
use crate::model::names::Named;
use crate::model::outbox::{Kept, Note, OutboxWrite};
use crate::model::reason::Reason;
use crate::model::record::ClusterRecord;
use crate::model::scope_entry::Position;

mod chronicle;
mod connect;
pub mod database;
mod database_clock;
pub mod error;
mod failure;
mod files;
pub mod history;
mod holds;
pub mod location;
mod lock;
pub mod memory;
mod names;
mod opening;
mod outbox;
mod owner;
mod place;
pub mod postgres;
pub mod query;
pub mod reader;
mod schema;
mod seen;
pub mod sqlite;
pub mod store;
mod stored;
mod url;

pub use database_clock::DatabaseClock;
pub use error::JournalError;
pub use history::{History, HistoryError};
pub use location::{Found, JournalLocation, Opened, Reader};
pub use lock::{Holder, HolderUnknown, holder};
pub use memory::MemoryJournal;
pub use opening::Opening;
pub use query::{Part, Query};
pub use reader::JournalReader;
pub use schema::Meta;
pub use sqlite::{SqliteJournal, SqliteOptions};
pub use store::{Answer, Fence, Layer, Store};
pub use url::JournalUrl;

/// What is about to be sent, and why.
#[derive(Debug, Clone, PartialEq)]
pub struct Intent {
    /// The task.
    pub subject: Subject,
    /// The PUT.
    pub order: Order,
    /// The number of the failure it answers.
    pub failure: u32,
    /// How long the backoff before it was.
    pub waited: Duration,
    /// Why.
    pub reason: Reason,
}

impl Intent {
    /// The intent of a decision to act: with the failure it answers and the backoff that ended. `None`: it is none, or
    /// no failure of its task is known.
    pub fn of(
        project: ProjectName,
        cluster: ClusterId,
        decision: &Decision,
        history: &ClusterRecord,
    ) -> Option<Self> {
        let Verdict::Act(order) = &decision.verdict else { return None };
        let waited = match decision.reason {
            Reason::RetryDue { waited, .. } => waited,
            _ => Duration::ZERO,
        };
        let subject = Subject { project, cluster, task: order.task().clone() };
        Self::new(subject, order.clone(), waited, decision.reason.clone(), history)
    }

    /// The intent of this order for the present failure of its task. `None`: no failure of it is known.
    pub fn new(
        subject: Subject,
        order: Order,
        waited: Duration,
        reason: Reason,
        history: &ClusterRecord,
    ) -> Option<Self> {
        let failure = history.tasks.get(order.task())?.failure.as_ref()?.seen.number;
        Some(Self { subject, order, failure, waited, reason })
    }
}

/// Proof that this is in the journal, durably. Only [`Journal::begin`] makes one, and it cannot be copied: one
/// intent, one PUT.
#[derive(Debug)]
#[must_use = "an intent that is journaled must be sent, or journaled as not sent"]
pub struct Journaled<T> {
    value: T,
    entry: Entry,
}

impl<T> Journaled<T> {
    /// What was journaled.
    pub fn value(&self) -> &T {
        &self.value
    }

    /// The entry that holds it.
    pub fn entry(&self) -> &Entry {
        &self.entry
    }

    /// The attempt's id: the number of the entry.
    pub fn attempt(&self) -> AttemptId {
        AttemptId(self.entry.number)
    }
}

/// Where events are kept: a [`Store`], and what is the same over each of them. Clones share it.
#[derive(Clone)]
pub struct Journal {
    store: Arc<dyn Store>,
    fence: Option<Fence>,
}

impl<S: Store> From<S> for Journal {
    fn from(store: S) -> Self {
        Self::over(Arc::new(store))
    }
}

impl Journal {
    /// Over this store, which knows what this process has leased.
    pub fn over(store: Arc<dyn Store>) -> Self {
        Self { store, fence: None }
    }

    /// The same, for whoever has the lease of this project: what it writes is kept only as long as the lease is its own.
    ///
    /// # Errors
    /// Where the store cannot tell.
    pub async fn leased(&self, project: &ProjectName) -> Result<Self, JournalError> {
        Ok(Self { store: Arc::clone(&self.store), fence: Some(self.store.lease(project).await?) })
    }

    /// The store beneath, to put a layer over it.
    pub fn store(&self) -> Arc<dyn Store> {
        Arc::clone(&self.store)
    }

    /// What was made once for this journal.
    pub fn meta(&self) -> &Meta {
        self.store.meta()
    }

    /// Keeps these events, all or none, and returns them as entries in the same order. They are durable when
    /// this returns.
    ///
    /// # Errors
    /// Where they could not be made durable. Whether they were kept after all is then unknown.
    ///
    /// Cancel safety: the events may be kept although the future was dropped.
    pub async fn record(&self, at: Moment, lines: Vec<(Subject, Event)>) -> Result<Vec<Entry>, JournalError> {
        let Some((Subject { project, .. }, _)) = lines.first() else { return Ok(Vec::new()) };
        let fence = match self.fence {
            Some(fence) => fence,
            None => self.store.lease(project).await?,
        };
        self.store.append(fence, at, lines).await
    }

    /// Keeps the intent. When this returns `Ok`, it is durable and may be sent, once.
    ///
    /// # Errors
    /// As [`Journal::record`], and where the order is for another task than the intent's own.
    pub async fn begin(&self, at: Moment, intent: Intent) -> Result<Journaled<Intent>, JournalError> {
        if intent.order.task() != &intent.subject.task {
            return Err(JournalError::OtherTask {
                task: intent.subject.task,
                ordered: intent.order.task().clone(),
            });
        }
        let event = Event::Intent {
            action: intent.order.action(),
            failure: intent.failure,
            waited: intent.waited,
            reason: intent.reason.clone(),
        };
        let entries = self.record(at, vec![(intent.subject.clone(), event)]).await?;
        let entry = entries.into_iter().next().ok_or(JournalError::Lost)?;
        Ok(Journaled { value: intent, entry })
    }

    /// Forgets all that was kept of these tasks, all or none; what [is of their project](Event::is_of_project)
    /// stays. Their numbers are never used again.
    ///
    /// # Errors
    /// As [`Journal::record`].
    pub async fn forget(&self, tasks: Vec<Subject>) -> Result<(), JournalError> {
        if tasks.is_empty() {
            return Ok(());
        }
        self.store.forget(tasks).await
    }

    /// Keeps a hold. It is durable when this returns.
    ///
    /// # Errors
    /// As [`Journal::record`].
    pub async fn place_hold(&self, hold: NewHold) -> Result<StoredHold, JournalError> {
        self.store.place_hold(hold).await
    }

    /// Keeps that these holds were released.
    ///
    /// # Errors
    /// As [`Journal::record`].
    pub async fn release_holds(
        &self,
        at: Timestamp,
        numbers: Vec<u64>,
        by: String,
    ) -> Result<(), JournalError> {
        self.store.release_holds(at, numbers, by).await
    }

    /// All entries of a project, in the order of their numbers.
    ///
    /// # Errors
    /// Where the journal cannot be read.
    pub async fn read_project(&self, project: &ProjectName) -> Result<Vec<StoredEntry>, JournalError> {
        self.entries(Query { project: Some(project.clone()), ..Query::default() }).await
    }

    /// The entries that are asked for, in the order that is asked for.
    ///
    /// # Errors
    /// Where the journal cannot be read.
    pub async fn entries(&self, query: Query) -> Result<Vec<StoredEntry>, JournalError> {
        self.store.read(query).await
    }

    /// The first part of the history that is asked for, after this place of it, with the names of its clusters.
    ///
    /// # Errors
    /// Where the journal cannot be read, or the cluster that is asked for cannot be told.
    pub async fn history(&self, query: &Query, past: Option<Position>) -> Result<History, HistoryError> {
        let meant = match &query.cluster {
            Some(name) => Some(history::find(name, self.store.clusters().await?)?),
            None => None,
        };
        let entries = self.entries(history::part(query, past.clone())).await?;
        let scopes = self.store.read_scopes().await?;
        let scopes = history::scopes_of(scopes, query, past.as_ref(), meant.as_deref());
        let names = self.store.cluster_names(history::clusters(&entries)).await?;
        Ok(History::new(entries, scopes, names))
    }

    /// All of the history that is asked for, without the names of its clusters.
    ///
    /// # Errors
    /// Where the journal cannot be read.
    pub async fn whole_history(&self, query: Query) -> Result<History, JournalError> {
        let meant = match &query.cluster {
            Some(name) => {
                let known = self.store.clusters().await?.into_iter();
                Some(known.filter(|known| history::is_meant(name, known)).collect::<Vec<_>>())
            }
            None => None,
        };
        let scopes = self.store.read_scopes().await?;
        let scopes = history::scopes_of(scopes, &query, None, meant.as_deref());
        let entries = self.entries(query).await?;
        Ok(History { entries, scopes, names: BTreeMap::new(), more: false })
    }

    /// What it takes on disk here, in bytes, where that can be told.
    pub fn size(&self) -> Option<u64> {
        self.store.size()
    }

    /// Keeps what is in force from this time on, in JSON, where it is something else than before: for reports.
    ///
    /// # Errors
    /// As [`Journal::record`].
    pub async fn note_in_force(&self, at: Timestamp, what: String) -> Result<(), JournalError> {
        self.store.note_in_force(at, what).await
    }

    /// What was in force, since when, in order.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub async fn in_force(&self) -> Result<Vec<(Timestamp, String)>, JournalError> {
        self.store.in_force().await
    }

    /// Keeps that the daemon lived at this time. Returns at once; where it cannot be kept, the next sign of life tells.
    pub fn mark_alive(&self, at: Timestamp) {
        self.store.mark_alive(at);
    }

    /// When the daemon last lived, as far as that was kept.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub async fn last_alive(&self) -> Result<Option<Timestamp>, JournalError> {
        self.store.last_alive().await
    }

    /// Keeps what is known of refused credentials, instead of what was kept. Returns at once; where it cannot be kept, a
    /// restart knows less.
    pub fn keep_refusals(&self, text: String) {
        self.store.keep_refusals(text);
    }

    /// Keeps these projects under their present names from now on, and all that it keeps of them with it: entries, and
    /// holds on a project. All or none, and durable when this returns.
    ///
    /// # Errors
    /// As [`Journal::record`].
    pub async fn identify(&self, projects: Vec<Named>) -> Result<Identified, JournalError> {
        self.store.identify(projects).await
    }

    /// Everything that the outbox keeps.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub async fn kept(&self) -> Result<Kept, JournalError> {
        self.store.outbox().await
    }

    /// At most so many entries of a project after this number, in order.
    ///
    /// # Errors
    /// Where they cannot be read.
    pub async fn entries_after(
        &self,
        project: ProjectName,
        number: u64,
        at_most: u32,
    ) -> Result<Vec<StoredEntry>, JournalError> {
        let part = Part::Numbered { after: number, through: u64::MAX };
        let query = Query { project: Some(project), part, at_most: Some(at_most), ..Query::default() };
        self.entries(query).await
    }

    /// All entries of one task up to this number, in order.
    ///
    /// # Errors
    /// Where they cannot be read.
    pub async fn lifecycle(&self, subject: Subject, through: u64) -> Result<Vec<StoredEntry>, JournalError> {
        let Subject { project, cluster, task } = subject;
        let part = Part::Numbered { after: 0, through };
        let of_task = Query { task: Some((cluster, task)), part, ..Query::default() };
        let lifecycle = self.entries(Query { project: Some(project), ..of_task.clone() }).await?;
        if lifecycle.is_empty() {
            // Its project has another name by now.
            return self.entries(of_task).await;
        }
        Ok(lifecycle)
    }

    /// Does all of this to the outbox or nothing, durably, and gives the notes that were added.
    ///
    /// # Errors
    /// As [`Journal::record`].
    pub async fn write(&self, writes: Vec<OutboxWrite>) -> Result<Vec<Note>, JournalError> {
        self.store.write_outbox(writes).await
    }

    /// A sign of life: returns once what was asked before is done, whether it could be kept or not.
    ///
    /// # Errors
    /// Where nothing will ever be kept again, because whoever keeps it is gone.
    pub async fn check_alive(&self) -> Result<(), JournalError> {
        self.store.check_alive().await
    }

    /// Closes it for everybody, after all that was asked before. When this returns, another process can open it.
    ///
    /// # Errors
    /// [`JournalError::Closed`] where it was closed before. Entries are as durable as they were.
    pub async fn close(&self) -> Result<(), JournalError> {
        self.store.close().await
    }
}
