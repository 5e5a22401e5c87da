//! What the journal in one file does as a store: each method asks the thread that owns the connection, or reads beside it.

use std::collections::{BTreeMap, BTreeSet};
use std::future::ready;

use jiff::Timestamp;
use rusqlite::Connection;

use super::{SqliteJournal, refusals};
use crate::journal::error::JournalError;
use crate::journal::holds::{self, Release};
use crate::journal::owner::{Command, Keep, Owner};
use crate::journal::query::{KnownCluster, Query};
use crate::journal::reader::JournalReader;
use crate::journal::schema::Meta;
use crate::journal::store::{Answer, Fence, Store};
use crate::journal::stored::{self, NewRow};
use crate::journal::{chronicle, names, outbox};
use crate::model::event::{Entry, Event, StoredEntry, Subject};
use crate::model::hold::{Identified, NewHold, StoredHold};
use crate::model::id::{ClusterId, ProjectName};
use crate::model::moment::Moment;
use crate::model::names::Named;
use crate::model::outbox::{Kept, Note, OutboxWrite};
use crate::model::scope_entry::ScopeEntry;

/// So many entries are a little.
const A_LITTLE: u32 = 256;

impl Store for SqliteJournal {
    fn meta(&self) -> &Meta {
        &self.inner.meta
    }

    /// The lock beside the file keeps every other writer out.
    fn lease(&self, _: &ProjectName) -> Answer<'_, Fence> {
        Box::pin(ready(Ok(Fence::ALONE)))
    }

    fn append(&self, fence: Fence, at: Moment, lines: Vec<(Subject, Event)>) -> Answer<'_, Vec<Entry>> {
        Box::pin(async move {
            fence.check(Fence::ALONE)?;
            if lines.is_empty() {
                return Ok(Vec::new());
            }
            let rows = lines
                .iter()
                .map(|(subject, event)| NewRow::new(at.wall, subject, event))
                .collect::<Result<Vec<_>, _>>()?;
            let numbers = self.ask(|answer| Command::Keep(Keep { rows, answer })).await??;
            if numbers.len() != lines.len() {
                return Err(JournalError::Lost);
            }
            let entry = |(number, (subject, event))| Entry { number, at, subject, event };
            Ok(numbers.into_iter().zip(lines).map(entry).collect())
        })
    }

    fn forget(&self, tasks: Vec<Subject>) -> Answer<'_, ()> {
        Box::pin(self.write("forget", move |transaction| {
            tasks.iter().try_for_each(|task| stored::forget(transaction, task))
        }))
    }

    fn place_hold(&self, hold: NewHold) -> Answer<'_, StoredHold> {
        Box::pin(self.write("hold", move |transaction| holds::insert(transaction, hold)))
    }

    fn release_holds(&self, at: Timestamp, numbers: Vec<u64>, by: String) -> Answer<'_, ()> {
        let release = Release { at, numbers, by };
        Box::pin(self.write("release", move |transaction| holds::release(transaction, &release)))
    }

    fn identify(&self, projects: Vec<Named>) -> Answer<'_, Identified> {
        Box::pin(self.write("identify", move |transaction| names::identify(transaction, &projects)))
    }

    /// What is a little is read by whoever writes, and anything more beside them, so that no commit waits for it.
    fn read(&self, query: Query) -> Answer<'_, Vec<StoredEntry>> {
        let is_little = query.task.is_some() || query.at_most.is_some_and(|at_most| at_most <= A_LITTLE);
        Box::pin(async move {
            if is_little {
                let read =
                    move |owner: &mut Owner| stored::wanted(owner.place.path(), &owner.connection, &query);
                return self.with(read).await;
            }
            self.beside(move |reader| reader.entries(&query)).await
        })
    }

    fn read_scopes(&self) -> Answer<'_, Vec<ScopeEntry>> {
        Box::pin(self.beside(JournalReader::scopes))
    }

    fn clusters(&self) -> Answer<'_, Vec<KnownCluster>> {
        Box::pin(self.beside(JournalReader::clusters))
    }

    fn cluster_names(
        &self,
        clusters: BTreeSet<(ProjectName, ClusterId)>,
    ) -> Answer<'_, BTreeMap<ClusterId, String>> {
        Box::pin(self.beside(move |reader| reader.cluster_names(&clusters)))
    }

    fn outbox(&self) -> Answer<'_, Kept> {
        Box::pin(self.with(|owner| outbox::kept(owner.place.path(), &owner.connection)))
    }

    fn write_outbox(&self, writes: Vec<OutboxWrite>) -> Answer<'_, Vec<Note>> {
        Box::pin(self.write("outbox", move |transaction| outbox::all(transaction, writes)))
    }

    fn note_in_force(&self, at: Timestamp, what: String) -> Answer<'_, ()> {
        Box::pin(self.write("in-force", move |transaction| chronicle::note_in_force(transaction, at, &what)))
    }

    fn in_force(&self) -> Answer<'_, Vec<(Timestamp, String)>> {
        Box::pin(self.with(|owner| chronicle::in_force(owner.place.path(), &owner.connection)))
    }

    fn mark_alive(&self, at: Timestamp) {
        self.tell(Command::Work(Box::new(move |owner: &mut Owner| chronicle::mark_alive(owner, at))));
    }

    fn last_alive(&self) -> Answer<'_, Option<Timestamp>> {
        Box::pin(self.with(|owner| chronicle::last_alive(owner.place.path(), &owner.connection)))
    }

    fn keep_refusals(&self, text: String) {
        self.tell(Command::Work(Box::new(move |owner: &mut Owner| refusals::keep(owner, &text))));
    }

    fn check_alive(&self) -> Answer<'_, ()> {
        Box::pin(self.ask(Command::CheckAlive))
    }

    /// Its file, and those that `SQLite` puts beside it.
    fn size(&self) -> Option<u64> {
        self.inner.place.size()
    }

    fn close(&self) -> Answer<'_, ()> {
        Box::pin(async move { self.ask(Command::Close).await? })
    }
}

impl SqliteJournal {
    /// Has the thread that owns the connection do this.
    async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Owner) -> Result<T, JournalError> + Send + 'static,
    ) -> Result<T, JournalError> {
        self.ask(|answer| {
            Command::Work(Box::new(move |owner| {
                let _ = answer.send(work(owner));
            }))
        })
        .await?
    }

    /// Has it do this in one transaction; `what` names that, for a failure point.
    async fn write<T: Send + 'static>(
        &self,
        what: &'static str,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, JournalError> {
        self.with(move |owner| {
            let place = owner.place.clone();
            owner.write(|| what.to_owned(), work).map_err(|failure| failure.error(&place))
        })
        .await
    }

    /// Reads beside it, on a thread of its own: that blocks.
    async fn beside<T: Send + 'static>(
        &self,
        question: impl FnOnce(&JournalReader) -> Result<T, JournalError> + Send + 'static,
    ) -> Result<T, JournalError> {
        let path = self.path().to_owned();
        let read = tokio::task::spawn_blocking(move || question(&JournalReader::open(&path)?));
        read.await.map_err(|_| JournalError::Lost)?
    }
}
