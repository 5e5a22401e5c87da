//! The journal: what was seen, decided, sent and answered, on disk before anything leaves.
//!
//! It takes events and gives them back in order. The intent of a PUT is durable before [`Journal::begin`]
//! returns, and only `begin` makes a [`Journaled`] intent, which is the only thing that `act` sends.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::model::decision::{Decision, Order, Verdict};
use crate::model::event::{Entry, Event, StoredEntry, Subject};
use crate::model::hold::{Identified, NewHold, StoredHold};
use crate::model::id::{AttemptId, ClusterId, ProjectName};
use crate::model::moment::Moment;
use crate::model::names::Named;
use crate::model::reason::Reason;
use crate::model::record::ClusterRecord;
use crate::planted::{self, Fault};

mod connect;
pub mod error;
mod failure;
mod files;
pub mod history;
mod holds;
mod lock;
pub mod memory;
mod names;
mod outbox;
mod owner;
mod place;
pub mod reader;
mod schema;
mod seen;
pub mod sqlite;
mod stored;

pub use error::JournalError;
pub use history::History;
pub use lock::{Holder, HolderUnknown, holder};
pub use memory::MemoryJournal;
pub use reader::JournalReader;
pub use schema::Meta;
pub use sqlite::{SqliteJournal, SqliteOptions};

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

/// Where events are kept.
pub trait Journal: Send + Sync + 'static {
    /// Keeps these events, all or none, and returns them as entries in the same order. They are durable when
    /// this returns.
    ///
    /// # Errors
    /// Where they could not be made durable. Whether they were kept after all is then unknown.
    ///
    /// Cancel safety: the events may be kept although the future was dropped.
    fn record(
        &self,
        at: Moment,
        lines: Vec<(Subject, Event)>,
    ) -> impl Future<Output = Result<Vec<Entry>, JournalError>> + Send;

    /// Keeps the intent. When this returns `Ok`, it is durable and may be sent, once.
    ///
    /// # Errors
    /// As [`Journal::record`], and where the order is for another task than the intent's own.
    fn begin(
        &self,
        at: Moment,
        intent: Intent,
    ) -> impl Future<Output = Result<Journaled<Intent>, JournalError>> + Send {
        async move {
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
            if planted::is(Fault::PutBeforeTheCommit) {
                let entry = Entry { number: u64::MAX, at, subject: intent.subject.clone(), event };
                return Ok(Journaled { value: intent, entry });
            }
            let entries = self.record(at, vec![(intent.subject.clone(), event)]).await?;
            let entry = entries.into_iter().next().ok_or(JournalError::Lost)?;
            Ok(Journaled { value: intent, entry })
        }
    }

    /// Forgets all that was kept of these tasks, all or none; what [is of their project](Event::is_of_project)
    /// stays. Their numbers are never used again.
    ///
    /// # Errors
    /// As [`Journal::record`].
    fn forget(&self, tasks: Vec<Subject>) -> impl Future<Output = Result<(), JournalError>> + Send;

    /// Keeps a hold. It is durable when this returns.
    ///
    /// # Errors
    /// As [`Journal::record`].
    fn place_hold(&self, hold: NewHold) -> impl Future<Output = Result<StoredHold, JournalError>> + Send;

    /// Keeps that these holds were released.
    ///
    /// # Errors
    /// As [`Journal::record`].
    fn release_holds(
        &self,
        at: Timestamp,
        numbers: Vec<u64>,
        by: String,
    ) -> impl Future<Output = Result<(), JournalError>> + Send;

    /// All entries of a project, in their order.
    ///
    /// # Errors
    /// Where the journal cannot be read.
    fn read_project(
        &self,
        project: &ProjectName,
    ) -> impl Future<Output = Result<Vec<StoredEntry>, JournalError>> + Send;

    /// Keeps these projects under their present names from now on, and all that it keeps of them with it: entries, and
    /// holds on a project. All or none, and durable when this returns. One that keeps no names does nothing.
    ///
    /// # Errors
    /// As [`Journal::record`].
    fn identify(
        &self,
        projects: Vec<Named>,
    ) -> impl Future<Output = Result<Identified, JournalError>> + Send {
        let _ = projects;
        async { Ok(Identified::default()) }
    }

    /// A sign of life: returns once what was asked before is done, whether it could be kept or not.
    ///
    /// # Errors
    /// Where nothing will ever be kept again, because whoever keeps it is gone.
    fn check_alive(&self) -> impl Future<Output = Result<(), JournalError>> + Send {
        async { Ok(()) }
    }
}

impl<J: Journal> Journal for Arc<J> {
    fn record(
        &self,
        at: Moment,
        lines: Vec<(Subject, Event)>,
    ) -> impl Future<Output = Result<Vec<Entry>, JournalError>> + Send {
        J::record(self, at, lines)
    }

    fn forget(&self, tasks: Vec<Subject>) -> impl Future<Output = Result<(), JournalError>> + Send {
        J::forget(self, tasks)
    }

    fn place_hold(&self, hold: NewHold) -> impl Future<Output = Result<StoredHold, JournalError>> + Send {
        J::place_hold(self, hold)
    }

    fn release_holds(
        &self,
        at: Timestamp,
        numbers: Vec<u64>,
        by: String,
    ) -> impl Future<Output = Result<(), JournalError>> + Send {
        J::release_holds(self, at, numbers, by)
    }

    fn read_project(
        &self,
        project: &ProjectName,
    ) -> impl Future<Output = Result<Vec<StoredEntry>, JournalError>> + Send {
        J::read_project(self, project)
    }

    fn identify(
        &self,
        projects: Vec<Named>,
    ) -> impl Future<Output = Result<Identified, JournalError>> + Send {
        J::identify(self, projects)
    }

    fn check_alive(&self) -> impl Future<Output = Result<(), JournalError>> + Send {
        J::check_alive(self)
    }
}
