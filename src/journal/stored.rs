//! Entries as rows: how they are written, and how they are read back.

use std::path::Path;
use std::str::FromStr;

use jiff::Timestamp;
use rusqlite::types::ToSql;
use rusqlite::{Connection, Row};

use super::error::{EntryFault, JournalError};
use crate::model::event::{Event, StoredEntry, Subject};
use crate::model::id::{ClusterId, ProjectName, TaskId};

/// The columns in the order that [`Columns::of`] reads.
pub(super) const COLUMNS: &str = "number, at, project, cluster, task, event, data";

/// RFC 3339 in UTC with milliseconds: always as long, so that texts sort as times do.
pub(super) fn time_text(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

/// An entry that has no number yet.
#[derive(Debug)]
pub(super) struct NewRow {
    at: String,
    subject: Subject,
    event: &'static str,
    data: String,
}

impl NewRow {
    /// Writes the event as it will be stored.
    pub(super) fn new(at: Timestamp, subject: &Subject, event: &Event) -> Result<Self, JournalError> {
        let data = serde_json::to_string(event)?;
        Ok(Self { at: time_text(at), subject: subject.clone(), event: event.word(), data })
    }

    /// Its event's word.
    pub(super) fn word(&self) -> &'static str {
        self.event
    }

    /// Adds it and returns its number.
    pub(super) fn insert(&self, connection: &Connection) -> rusqlite::Result<i64> {
        let mut insert = connection.prepare_cached(
            "INSERT INTO entry (at, project, cluster, task, event, data) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?;
        let Subject { project, cluster, task } = &self.subject;
        insert.insert((&self.at, project.as_str(), cluster.as_str(), task.as_str(), self.event, &self.data))
    }
}

/// Removes all entries of a task, but for those of its project's breaker: an opening without its closing would be
/// an open breaker again.
pub(super) fn forget(connection: &Connection, task: &Subject) -> rusqlite::Result<()> {
    let Subject { project, cluster, task } = task;
    connection
        .prepare_cached(
            "DELETE FROM entry WHERE project = ?1 AND cluster = ?2 AND task = ?3 \
             AND event NOT IN ('breaker-opened', 'breaker-closed')",
        )?
        .execute((project.as_str(), cluster.as_str(), task.as_str()))?;
    Ok(())
}

/// One row, before it is understood.
struct Columns {
    number: i64,
    at: String,
    project: String,
    cluster: String,
    task: String,
    event: String,
    data: String,
}

impl Columns {
    fn of(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            number: row.get(0)?,
            at: row.get(1)?,
            project: row.get(2)?,
            cluster: row.get(3)?,
            task: row.get(4)?,
            event: row.get(5)?,
            data: row.get(6)?,
        })
    }

    fn understand(self) -> Result<StoredEntry, EntryFault> {
        let number =
            u64::try_from(self.number).ok().filter(|number| *number > 0).ok_or(EntryFault::Number)?;
        let at = Timestamp::from_str(&self.at).map_err(EntryFault::Time)?;
        let subject = Subject {
            project: ProjectName::new(&self.project)?,
            cluster: ClusterId::new(&self.cluster)?,
            task: TaskId::new(&self.task)?,
        };
        let event: Event = serde_json::from_str(&self.data)?;
        if !event.is_called(&self.event) {
            return Err(EntryFault::Word { column: self.event, data: event.word() });
        }
        Ok(StoredEntry { number, at, subject, event })
    }
}

/// Reads entries in the order of their numbers, one at a time. `filter` is SQL after `FROM entry`, or empty.
pub(super) fn read(
    path: &Path,
    connection: &Connection,
    filter: &str,
    parameters: &[(&str, &dyn ToSql)],
    each: impl FnMut(StoredEntry),
) -> Result<(), JournalError> {
    read_some(path, connection, filter, u32::MAX, parameters, each)
}

/// As [`read`], but at most so many.
pub(super) fn read_some(
    path: &Path,
    connection: &Connection,
    filter: &str,
    at_most: u32,
    parameters: &[(&str, &dyn ToSql)],
    mut each: impl FnMut(StoredEntry),
) -> Result<(), JournalError> {
    let fault = |error| JournalError::sqlite(path, error);
    let sql = format!("SELECT {COLUMNS} FROM entry {filter} ORDER BY number LIMIT {at_most}");
    let mut select = connection.prepare(&sql).map_err(fault)?;
    let mut rows = select.query(parameters).map_err(fault)?;
    while let Some(row) = rows.next().map_err(fault)? {
        let columns = Columns::of(row).map_err(fault)?;
        let number = columns.number;
        let entry = columns.understand().map_err(|source| JournalError::BadEntry {
            path: path.to_owned(),
            number,
            source,
        })?;
        each(entry);
    }
    Ok(())
}
