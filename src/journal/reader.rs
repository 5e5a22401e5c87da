//! Reading a journal without the right to write it: for commands that run beside a daemon, or while none runs.
//!
//! Never locks, never creates, never changes the file or its log. Each question is answered from one state of
//! the journal, as of when it is asked.
//!
//! While a daemon runs, or after it was killed, the write-ahead log is read too, for which this user must be
//! able to write the index beside it (`-shm`). Without a log the file is read as immutable, which works on
//! read-only media. A copy on such media that has a log but no index cannot be read there: what is in the log
//! would be missing, so that is an error.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension as _};

use super::connect::{self, Way};
use super::error::JournalError;
use super::holds;
use super::names;
use super::place::Place;
pub use super::query::{KnownCluster, Part, Query};
use super::schema::{self, Meta};
use super::stored;
use crate::model::event::StoredEntry;
use crate::model::hold::StoredHold;
use crate::model::id::{ClusterId, ProjectName};
use crate::model::names::Names;
use crate::model::scope_entry::ScopeEntry;

/// A daemon that starts while the file is read as immutable is noticed, and the file read again; after so many
/// times it is read with locks.
const IMMUTABLE_TRIES: u32 = 3;
/// How long to wait for a daemon that recovers its log.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Reads the journal at one path.
#[derive(Debug, Clone)]
pub struct JournalReader {
    place: Place,
    meta: Meta,
}

impl JournalReader {
    /// Finds the journal and checks that this version can read it. Blocks, as everything here does.
    ///
    /// # Errors
    /// [`JournalError::Missing`] where there is none; else what keeps it from being read.
    pub fn open(path: &Path) -> Result<Self, JournalError> {
        let place = Place::resolve(path)?;
        let meta = read(&place, |connection| Meta::read(place.path(), connection))?;
        Ok(Self { place, meta })
    }

    /// What was made once for this journal.
    pub fn meta(&self) -> &Meta {
        &self.meta
    }

    /// The entries that are asked for, in order.
    ///
    /// # Errors
    /// Where the journal cannot be read, or holds an entry that cannot be understood.
    pub fn entries(&self, query: &Query) -> Result<Vec<StoredEntry>, JournalError> {
        read(&self.place, |connection| stored::wanted(self.place.path(), connection, query))
    }

    /// Which project is kept under which name.
    ///
    /// # Errors
    /// Where the journal cannot be read.
    pub fn names(&self) -> Result<Names, JournalError> {
        read(&self.place, |connection| names::read(self.place.path(), connection))
    }

    /// All holds that were ever placed, oldest first.
    ///
    /// # Errors
    /// Where the journal cannot be read.
    pub fn holds(&self) -> Result<Vec<StoredHold>, JournalError> {
        read(&self.place, |connection| holds::read(self.place.path(), connection))
    }

    /// All that was said of scopes, in order; none of it from a journal of a schema that had
    /// holds elsewhere.
    ///
    /// # Errors
    /// Where the journal cannot be read.
    pub fn scopes(&self) -> Result<Vec<ScopeEntry>, JournalError> {
        let path = self.place.path();
        let bad = |(number, source)| JournalError::BadEntry { path: path.to_owned(), number, source };
        read(&self.place, |connection| {
            let entries = stored::scopes(connection);
            entries.map_err(|error| JournalError::sqlite(path, error))?.map_err(bad)
        })
    }

    /// The names of these clusters, as they were last seen.
    ///
    /// # Errors
    /// Where the journal cannot be read.
    pub fn cluster_names(
        &self,
        clusters: &BTreeSet<(ProjectName, ClusterId)>,
    ) -> Result<BTreeMap<ClusterId, String>, JournalError> {
        let fault = |error| JournalError::sqlite(self.place.path(), error);
        let sql = "SELECT coalesce(json_extract(data, '$.cluster_name'), '') FROM entry \
                   WHERE project = ?1 AND cluster = ?2 AND event = 'first-seen' ORDER BY number DESC LIMIT 1";
        read(&self.place, |connection| {
            let mut select = connection.prepare(sql).map_err(fault)?;
            let mut names = BTreeMap::new();
            for (project, id) in clusters {
                let name = select
                    .query_row([project.as_str(), id.as_str()], |row| row.get(0))
                    .optional()
                    .map_err(fault)?;
                names.extend(name.map(|name| (id.clone(), name)));
            }
            Ok(names)
        })
    }

    /// The clusters that the journal knows, ordered by project and id. A name may stand there several times.
    ///
    /// # Errors
    /// Where the journal cannot be read.
    pub fn clusters(&self) -> Result<Vec<KnownCluster>, JournalError> {
        let path = self.place.path();
        let fault = |error| JournalError::sqlite(path, error);
        let bad = |number| {
            move |fault| JournalError::BadEntry {
                path: path.to_owned(),
                number,
                source: super::error::EntryFault::Subject(fault),
            }
        };
        // With max(number), SQLite takes the other columns from the row that has it.
        let sql = "SELECT max(number), project, cluster, coalesce(json_extract(data, '$.cluster_name'), '') \
                   FROM entry WHERE event = 'first-seen' GROUP BY project, cluster ORDER BY project, cluster";
        read(&self.place, |connection| {
            let mut select = connection.prepare(sql).map_err(fault)?;
            let mut rows = select.query(()).map_err(fault)?;
            let mut clusters = Vec::new();
            while let Some(row) = rows.next().map_err(fault)? {
                let (number, project, id, name): (i64, String, String, String) =
                    row.try_into().map_err(fault)?;
                clusters.push(KnownCluster {
                    project: ProjectName::new(&project).map_err(bad(number))?,
                    id: ClusterId::new(&id).map_err(bad(number))?,
                    name,
                });
            }
            Ok(clusters)
        })
    }
}

/// Answers one question from one state of the journal.
fn read<T>(
    place: &Place,
    question: impl Fn(&Connection) -> Result<T, JournalError>,
) -> Result<T, JournalError> {
    for _ in 0..IMMUTABLE_TRIES {
        if !place.inspect()? {
            return Err(JournalError::Missing { path: place.path().to_owned() });
        }
        let before = trace(place);
        if Way::for_now(place) == Way::Shared {
            break;
        }
        let answer = ask(place, Way::Immutable, &question);
        if Way::for_now(place) == Way::Immutable && trace(place) == before {
            return answer;
        }
    }
    ask(place, Way::Shared, &question)
}

fn ask<T>(
    place: &Place,
    way: Way,
    question: impl Fn(&Connection) -> Result<T, JournalError>,
) -> Result<T, JournalError> {
    let fault = |error| JournalError::sqlite(place.path(), error);
    let connection = connect::read_only(place, way, BUSY_TIMEOUT)?;
    let transaction = connection.unchecked_transaction().map_err(fault)?;
    schema::check(place.path(), &transaction)?;
    question(&transaction)
}

/// What a writer cannot leave as it was: which file it is, how long, and when it was last written.
fn trace(place: &Place) -> Option<(u64, u64, u64, i64, i64)> {
    let found = fs::metadata(place.path()).ok()?;
    Some((found.dev(), found.ino(), found.len(), found.mtime(), found.mtime_nsec()))
}
