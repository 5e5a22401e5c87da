//! Opening the journal: to write, as a daemon does, and to read, beside it.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::append::Held;
use super::rows::{self, ask, get, unsigned};
use super::schema;
use super::sql::Sql;
use super::store::PostgresJournal;
use crate::journal::JournalError;
use crate::journal::database_clock::DatabaseClock;
use crate::journal::opening::Opening;
use crate::journal::postgres::connect::Connector;
use crate::journal::postgres::link::Link;
use crate::journal::postgres::options::SchemaName;
use crate::journal::query::{KnownCluster, Query};
use crate::journal::schema::Meta;
use crate::model::event::StoredEntry;
use crate::model::hold::StoredHold;
use crate::model::id::{ClusterId, ProjectName};
use crate::model::moment::Moment;
use crate::model::names::Names;
use crate::model::scope_entry::{ScopeEntry, fold};

/// What was found when it was opened.
pub struct Found {
    /// The journal.
    pub journal: PostgresJournal,
    /// Whether this opening created it.
    pub is_new: bool,
    /// The holds, oldest first.
    pub holds: Vec<StoredHold>,
    /// What was kept of refused credentials.
    pub refusals: Option<String>,
}

impl PostgresJournal {
    /// Takes every project of the journal, so that no other process can write them any more, and hands each entry to `each`
    /// in the order of its project, by this process's clock. Makes the journal where there is none.
    ///
    /// # Errors
    /// Where the database cannot be used, or holds what this version does not understand.
    pub async fn open(
        connector: &Connector,
        opening: &Opening,
        mut each: impl FnMut(StoredEntry),
    ) -> Result<Found, JournalError> {
        let schema = &connector.options().schema;
        let mut link = connector.connect().await?;
        let (meta, is_new) = schema::prepare(connector, &mut link, opening.seed).await?;
        let clock = match opening.clock {
            Some(clock) => clock,
            None => read_clock(&mut link, &*opening.now).await?,
        };
        let take = "UPDATE @project SET term = term + 1 WHERE key > 0 RETURNING name, key, term, last";
        let taken = ask(&mut link, &Sql::new(schema, take)).await?;
        let mut held = Vec::new();
        for row in &taken {
            let (name, key, last): (String, i32, u64) = (get(row, 0)?, get(row, 1)?, unsigned(row, 3)?);
            let now = (opening.now)();
            let by_our_clock = |mut entry: StoredEntry| {
                entry.at = clock.here(entry.at, now);
                each(entry);
            };
            let found = rows::each_entry(&mut link, schema, key, by_our_clock).await?;
            // What was forgotten last may have been the last.
            if found > last {
                return Err(JournalError::WentBack {
                    place: link.place().to_owned(),
                    known: found,
                    found: last,
                });
            }
            held.push((name, Held::new(key, unsigned(row, 2)?, last)));
        }
        let holds = fold(rows::scopes(&mut link, schema).await?);
        let refusals = ask(&mut link, &Sql::new(schema, "SELECT refusals FROM @journal")).await?;
        let refusals = refusals.first().map_or(Ok(None), |row| get(row, 0))?;
        let journal = Self::new(connector.clone(), meta, clock, held);
        Ok(Found { journal, is_new, holds, refusals })
    }
}

/// Reads the database's clock.
async fn read_clock(
    link: &mut Link,
    now: &(dyn Fn() -> Moment + Send + Sync),
) -> Result<DatabaseClock, JournalError> {
    let sql = "SELECT date_trunc('milliseconds', clock_timestamp())";
    let rows = link.query(sql, &[]).await?;
    let wall: Timestamp = rows.first().ok_or(JournalError::Lost).and_then(|row| get(row, 0))?;
    Ok(DatabaseClock { mono: now().mono, wall })
}

/// Reads a journal in PostgreSQL beside whoever writes it. Blocks, as everything here does.
pub struct PostgresReader {
    connector: Connector,
    meta: Meta,
}

impl PostgresReader {
    /// Finds the journal.
    ///
    /// # Errors
    /// [`JournalError::NoJournal`] where there is none; else what keeps it from being read.
    pub fn open(connector: Connector) -> Result<Self, JournalError> {
        let meta = blocking(async || {
            let mut link = connector.connect().await?;
            let found = schema::find(&mut link, &connector.options().schema).await?;
            found.ok_or_else(|| JournalError::NoJournal {
                place: link.place().to_owned(),
                schema: connector.options().schema.as_str().to_owned(),
            })
        })?;
        Ok(Self { connector, meta })
    }

    /// What was made once for this journal.
    pub fn meta(&self) -> &Meta {
        &self.meta
    }

    /// The entries that are asked for, in the order that is asked for.
    ///
    /// # Errors
    /// Where the journal cannot be read.
    pub fn entries(&self, query: &Query) -> Result<Vec<StoredEntry>, JournalError> {
        self.ask(async |link, schema| rows::entries(link, schema, query).await)
    }

    /// Which project is kept under which name.
    ///
    /// # Errors
    /// Where the journal cannot be read.
    pub fn names(&self) -> Result<Names, JournalError> {
        self.ask(async |link, schema| rows::names(link, schema).await)
    }

    /// All that was said of scopes, in order.
    ///
    /// # Errors
    /// Where the journal cannot be read.
    pub fn scopes(&self) -> Result<Vec<ScopeEntry>, JournalError> {
        self.ask(async |link, schema| rows::scopes(link, schema).await)
    }

    /// The names of these clusters, as they were last seen.
    ///
    /// # Errors
    /// Where the journal cannot be read.
    pub fn cluster_names(
        &self,
        clusters: &BTreeSet<(ProjectName, ClusterId)>,
    ) -> Result<BTreeMap<ClusterId, String>, JournalError> {
        self.ask(async |link, schema| rows::cluster_names(link, schema, clusters).await)
    }

    /// The clusters that the journal knows, ordered by project and id.
    ///
    /// # Errors
    /// Where the journal cannot be read.
    pub fn clusters(&self) -> Result<Vec<KnownCluster>, JournalError> {
        self.ask(async |link, schema| rows::clusters(link, schema).await)
    }

    fn ask<T: Send>(
        &self,
        question: impl AsyncFnOnce(&mut Link, &SchemaName) -> Result<T, JournalError> + Send,
    ) -> Result<T, JournalError> {
        blocking(async move || {
            let mut link = self.connector.connect().await?;
            question(&mut link, &self.connector.options().schema).await
        })
    }
}

/// Does this on a thread of its own: whoever asks may be a task of a runtime, which must not wait in this way.
pub(in crate::journal) fn blocking<T: Send>(
    work: impl AsyncFnOnce() -> Result<T, JournalError> + Send,
) -> Result<T, JournalError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|source| JournalError::Runtime { source })?;
    std::thread::scope(|scope| {
        scope.spawn(move || runtime.block_on(work())).join().unwrap_or(Err(JournalError::Lost))
    })
}
