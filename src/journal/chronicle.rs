//! What was in force since when, and when the daemon last lived, as rows: for reports.

use std::path::Path;
use std::str::FromStr;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _};

use super::error::JournalError;
use super::owner::Owner;
use super::stored::time_text;

/// The key of the sign of life in the table of what there is once.
const ALIVE: &str = "last-alive";

/// Keeps this, where it is something else than what was kept last.
pub(super) fn note_in_force(connection: &Connection, at: Timestamp, what: &str) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO in_force (at, data) SELECT ?1, ?2 \
             WHERE ?2 IS NOT (SELECT data FROM in_force ORDER BY number DESC LIMIT 1)",
        )?
        .execute((time_text(at), what))?;
    Ok(())
}

/// Reads all of it, in order.
pub(super) fn in_force(
    path: &Path,
    connection: &Connection,
) -> Result<Vec<(Timestamp, String)>, JournalError> {
    let fault = |error| JournalError::sqlite(path, error);
    let mut select = connection.prepare("SELECT at, data FROM in_force ORDER BY number").map_err(fault)?;
    let rows = select.query_map((), |row| Ok((row.get(0)?, row.get(1)?))).map_err(fault)?;
    let rows: Vec<(String, String)> = rows.collect::<rusqlite::Result<_>>().map_err(fault)?;
    rows.into_iter().map(|(at, data)| Ok((time(path, &at)?, data))).collect()
}

/// Keeps that the daemon lived then.
pub(super) fn mark_alive(owner: &mut Owner, at: Timestamp) {
    let kept = owner.write(
        || "alive".to_owned(),
        |transaction| {
            transaction
                .prepare_cached("INSERT OR REPLACE INTO meta (key, value) VALUES (?1, ?2)")?
                .execute((ALIVE, time_text(at)))
        },
    );
    if let Err(failure) = kept {
        let error = failure.error(&owner.place);
        tracing::debug!(%error, "the daemon's sign of life could not be written to the journal");
    }
}

/// When it last lived.
pub(super) fn last_alive(path: &Path, connection: &Connection) -> Result<Option<Timestamp>, JournalError> {
    let read = connection.query_row("SELECT value FROM meta WHERE key = ?1", [ALIVE], |row| row.get(0));
    let text: Option<String> = read.optional().map_err(|error| JournalError::sqlite(path, error))?;
    text.map(|text| time(path, &text)).transpose()
}

fn time(path: &Path, text: &str) -> Result<Timestamp, JournalError> {
    Timestamp::from_str(text).map_err(|error| JournalError::Corrupt {
        path: path.to_owned(),
        detail: format!("{text:?} is no time: {error}"),
    })
}
