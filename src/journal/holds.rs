//! Holds as rows: how they are written, released and read back.

use std::path::Path;
use std::str::FromStr;

use jiff::Timestamp;
use rusqlite::{Connection, Row};

use super::error::JournalError;
use super::stored::time_text;
use crate::model::hold::{NewHold, Scope, StoredHold};

/// The columns in the order that [`understand`] reads.
const COLUMNS: &str = "number, at, scope, cluster_name, until, reason, placed_by, released_at, released_by";

/// Adds one and returns it with its number.
pub(super) fn insert(connection: &Connection, hold: NewHold) -> rusqlite::Result<StoredHold> {
    let number = connection
        .prepare_cached(
            "INSERT INTO hold (at, scope, cluster_name, until, reason, placed_by) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .insert((
            time_text(hold.at),
            hold.scope.to_string(),
            &hold.cluster_name,
            hold.until.map(time_text),
            &hold.reason,
            &hold.by,
        ))?;
    Ok(StoredHold::new(number.cast_unsigned(), hold))
}

/// Notes that these were released.
pub(super) fn release(connection: &Connection, release: &Release) -> rusqlite::Result<()> {
    let mut update = connection.prepare_cached(
        "UPDATE hold SET released_at = ?1, released_by = ?2 WHERE number = ?3 AND released_at IS NULL",
    )?;
    for number in &release.numbers {
        update.execute((time_text(release.at), &release.by, number.cast_signed()))?;
    }
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
    if !connection.table_exists(None, "hold").map_err(fault)? {
        return Ok(Vec::new());
    }
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
    let mut select =
        connection.prepare(&format!("SELECT {COLUMNS} FROM hold WHERE number > ?1 ORDER BY number"))?;
    let mut rows = select.query([number])?;
    let mut holds = Vec::new();
    while let Some(row) = rows.next()? {
        holds
            .push(understand(row)?.map_err(|detail| rusqlite::Error::ToSqlConversionFailure(detail.into()))?);
    }
    Ok(holds)
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
