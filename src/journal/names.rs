//! Which project is kept under which name, as rows; and renaming all that is kept of one.

use std::collections::BTreeMap;
use std::path::Path;

use rusqlite::{Connection, OptionalExtension};

use super::error::JournalError;
use super::holds;
use crate::model::hold::Identified;
use crate::model::id::{IdError, ProjectId, ProjectName};
use crate::model::names::{Named, Names};

/// Reads the names; none from a journal of a schema that knew none.
pub(super) fn read(path: &Path, connection: &Connection) -> Result<Names, JournalError> {
    let fault = |error| JournalError::sqlite(path, error);
    if !connection.table_exists(None, "project").map_err(fault)? {
        return Ok(Names::default());
    }
    all(connection).map_err(fault)?.map_err(|error| JournalError::Corrupt {
        path: path.to_owned(),
        detail: format!("the name of a project cannot be read: {error}"),
    })
}

/// The outer error is the database's, the inner one says what is no name or no id.
fn all(connection: &Connection) -> rusqlite::Result<Result<Names, IdError>> {
    let mut select = connection.prepare_cached("SELECT name, id FROM project")?;
    let rows = select.query_map((), |row| Ok((row.get(0)?, row.get(1)?)))?;
    let rows = rows.collect::<rusqlite::Result<Vec<(String, String)>>>()?;
    let understand = |(name, id): &(String, String)| Ok((ProjectName::new(name)?, ProjectId::new(id)?));
    Ok(rows.iter().map(understand).collect())
}

/// Keeps these projects under their present names, and with them all that is kept of them.
pub(super) fn identify(connection: &Connection, wanted: &[Named]) -> rusqlite::Result<Identified> {
    let unusable = |error: IdError| rusqlite::Error::ToSqlConversionFailure(Box::new(error));
    let before = all(connection)?.map_err(unusable)?;
    // Where that cannot be told, it is: nothing is mixed up then.
    let naming = before.naming(wanted, |name| is_taken(connection, name).unwrap_or(true));
    if naming.names == before {
        return Ok(Identified { naming, holds: Vec::new() });
    }
    connection.prepare_cached("DELETE FROM project")?.execute(())?;
    let mut insert = connection.prepare_cached("INSERT INTO project (name, id) VALUES (?1, ?2)")?;
    for (name, id) in naming.names.iter() {
        insert.execute((name.as_str(), id.as_str()))?;
    }
    if naming.renames.is_empty() {
        return Ok(Identified { naming, holds: Vec::new() });
    }
    let new_of: BTreeMap<&str, &str> =
        naming.renames.iter().map(|rename| (rename.from.as_str(), rename.to.as_str())).collect();
    let new_of = serde_json::to_string(&new_of)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
    // All at once: names may be exchanged.
    for table in ["entry", "condition", "reading"] {
        let rename = format!(
            "UPDATE {table} SET project = (SELECT value FROM json_each(?1) WHERE key = {table}.project) \
             WHERE project IN (SELECT key FROM json_each(?1))"
        );
        connection.execute(&rename, [&new_of])?;
    }
    let last = holds::last(connection)?;
    for rename in naming.renames.iter().filter(|rename| rename.aside) {
        holds::copy(connection, &rename.to, &rename.from)?;
    }
    let holds = holds::after(connection, last)?;
    Ok(Identified { naming, holds })
}

fn is_taken(connection: &Connection, name: &ProjectName) -> rusqlite::Result<bool> {
    let found: Option<i64> = connection
        .prepare_cached("SELECT 1 FROM entry WHERE project = ?1 AND task <> '' LIMIT 1")?
        .query_row([name.as_str()], |row| row.get(0))
        .optional()?;
    Ok(found.is_some())
}
