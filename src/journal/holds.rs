//! Holds as rows: how they are written, released and read back. They are entries whose subject is a scope.

use std::path::Path;
use std::str::FromStr;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Row};

use super::error::{EntryFault, JournalError};
use super::stored::{self, time_text};
use crate::model::hold::{NewHold, Scope, StoredHold};
use crate::model::id::ProjectName;
use crate::model::scope_entry::{ScopeEntry, ScopeEvent, fold};

/// The columns of the former table in the order that [`understand`] reads.
const COLUMNS: &str = "number, at, scope, cluster_name, until, reason, placed_by, released_at, released_by";

/// The number of the last hold.
pub(super) fn last(connection: &Connection) -> rusqlite::Result<i64> {
    if connection.table_exists(None, "hold")? {
        let sql = "SELECT seq FROM sqlite_sequence WHERE name = 'hold'";
        return Ok(connection.query_row(sql, (), |row| row.get(0)).optional()?.unwrap_or(0));
    }
    let mut select = connection.prepare_cached(
        "SELECT json_extract(data, '$.hold') FROM entry WHERE number = \
         (SELECT max(number) FROM entry INDEXED BY entry_by_event WHERE event = 'held')",
    )?;
    Ok(select.query_row((), |row| row.get(0)).optional()?.unwrap_or(0))
}

/// Adds one and returns it with its number.
pub(super) fn insert(connection: &Connection, hold: NewHold) -> rusqlite::Result<StoredHold> {
    let number = last(connection)?.cast_unsigned() + 1;
    let entry = ScopeEntry::held(0, number, hold.clone());
    let (project, cluster) = columns(&entry.scope);
    add(connection, entry.at, project, cluster, &entry.event)?;
    Ok(StoredHold::new(number, hold))
}

/// Notes that these were released, where nothing says so yet.
pub(super) fn release(connection: &Connection, release: &Release) -> rusqlite::Result<()> {
    for hold in open(connection)? {
        if release.numbers.contains(&hold.number) {
            let released = ScopeEvent::Released { hold: hold.number, by: release.by.clone() };
            let (project, cluster) = columns(&hold.scope);
            add(connection, release.at, project, cluster, &released)?;
        }
    }
    Ok(())
}

/// Says of a project that has made way for another one what is said of it under its former name.
pub(super) fn copy(connection: &Connection, of: &ProjectName, to: &ProjectName) -> rusqlite::Result<()> {
    let of_it = |hold: &StoredHold| hold.scope == Scope::Project(of.clone());
    for hold in open(connection)?.into_iter().filter(of_it) {
        let StoredHold { at, cluster_name, until, reason, by, .. } = hold;
        let scope = Scope::Project(to.clone());
        insert(connection, NewHold { at, scope, cluster_name, until, reason, by })?;
    }
    Ok(())
}

/// Those that nobody released.
fn open(connection: &Connection) -> rusqlite::Result<Vec<StoredHold>> {
    let unusable = |fault: EntryFault| rusqlite::Error::ToSqlConversionFailure(Box::new(fault));
    let entries = stored::scopes(connection)?.map_err(|(_, fault)| unusable(fault))?;
    Ok(fold(entries).into_iter().filter(|hold| hold.released.is_none()).collect())
}

/// Where a scope stands in an entry: its project and its cluster.
fn columns(scope: &Scope) -> (&str, &str) {
    match scope {
        Scope::All => ("", ""),
        Scope::Project(name) => (name.as_str(), ""),
        Scope::Cluster(id) => ("", id.as_str()),
    }
}

fn add(
    connection: &Connection,
    at: Timestamp,
    project: &str,
    cluster: &str,
    event: &ScopeEvent,
) -> rusqlite::Result<()> {
    let data = serde_json::to_string(event)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
    connection
        .prepare_cached(
            "INSERT INTO entry (at, project, cluster, task, event, data) VALUES (?1, ?2, ?3, '', ?4, ?5)",
        )?
        .execute((time_text(at), project, cluster, event.word(), data))?;
    Ok(())
}

/// Who releases which holds.
#[derive(Debug)]
pub(super) struct Release {
    pub(super) at: Timestamp,
    pub(super) numbers: Vec<u64>,
    pub(super) by: String,
}

/// Reads all of them, oldest first; none from a journal of a schema that knew none.
pub(super) fn read(path: &Path, connection: &Connection) -> Result<Vec<StoredHold>, JournalError> {
    let fault = |error| JournalError::sqlite(path, error);
    if connection.table_exists(None, "hold").map_err(fault)? {
        return former(path, connection);
    }
    let entries = stored::scopes(connection).map_err(fault)?;
    let bad = |(number, source)| JournalError::BadEntry { path: path.to_owned(), number, source };
    Ok(fold(entries.map_err(bad)?))
}

/// Reads them from a journal of a schema that had a table of them.
fn former(path: &Path, connection: &Connection) -> Result<Vec<StoredHold>, JournalError> {
    let fault = |error| JournalError::sqlite(path, error);
    let sql = format!("SELECT {COLUMNS} FROM hold ORDER BY number");
    let mut select = connection.prepare(&sql).map_err(fault)?;
    let mut rows = select.query(()).map_err(fault)?;
    let mut holds = Vec::new();
    while let Some(row) = rows.next().map_err(fault)? {
        let hold = understand(row).map_err(fault)?.map_err(|detail| JournalError::Corrupt {
            path: path.to_owned(),
            detail: format!("a hold cannot be read: {detail}"),
        })?;
        holds.push(hold);
    }
    Ok(holds)
}

/// Those with a higher number, oldest first.
pub(super) fn after(connection: &Connection, number: i64) -> rusqlite::Result<Vec<StoredHold>> {
    let number = number.cast_unsigned();
    Ok(open(connection)?.into_iter().filter(|hold| hold.number > number).collect())
}

/// One row: the outer error is the database's, the inner one says what does not make sense.
fn understand(row: &Row<'_>) -> rusqlite::Result<Result<StoredHold, String>> {
    let time =
        |text: String| Timestamp::from_str(&text).map_err(|error| format!("{text:?} is no time: {error}"));
    let (number, at, scope): (i64, String, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
    let (until, released_at): (Option<String>, Option<String>) = (row.get(4)?, row.get(7)?);
    let (cluster_name, reason, by) = (row.get(3)?, row.get(5)?, row.get(6)?);
    let released_by: Option<String> = row.get(8)?;
    let make = || {
        let released = released_at.map(time).transpose()?;
        Ok(StoredHold {
            number: number.cast_unsigned(),
            at: time(at)?,
            scope: Scope::try_from(scope)?,
            cluster_name,
            until: until.map(time).transpose()?,
            reason,
            by,
            released: released.map(|at| (at, released_by.unwrap_or_default())),
        })
    };
    Ok(make())
}
