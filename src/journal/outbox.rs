//! The outbox: what is still to be told, in the same file as what happened, and in transactions of its own.

use std::path::Path;
use std::str::FromStr;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::error::JournalError;
use super::stored::time_text;
use crate::model::condition::Standing;
use crate::model::event::Subject;
use crate::model::id::{ClusterId, ProjectName, TaskId};
use crate::model::outbox::{Delivery, Kept, NewNote, Note, OutboxWrite};

/// Does all of it.
pub(super) fn all(connection: &Connection, writes: Vec<OutboxWrite>) -> rusqlite::Result<Vec<Note>> {
    let mut notes = Vec::new();
    for write in writes {
        notes.extend(one(connection, write)?);
    }
    Ok(notes)
}

/// A note is there as long as one of its channels, of those that there are, has not told it. What has a key stays.
const TOLD: &str = "key IS NULL AND NOT EXISTS (SELECT 1 FROM outbox o WHERE o.number = note.number)";

fn one(connection: &Connection, write: OutboxWrite) -> rusqlite::Result<Option<Note>> {
    match write {
        OutboxWrite::Note(note) => return insert(connection, note),
        OutboxWrite::Read { project, through } => {
            connection
                .prepare_cached("DELETE FROM reading WHERE project = ?1")?
                .execute([project.as_str()])?;
            connection
                .prepare_cached("INSERT INTO reading (project, through) VALUES (?1, ?2)")?
                .execute(params![project.as_str(), through.cast_signed()])?;
        }
        OutboxWrite::Condition { standing, ended } => {
            let (project, word) = (standing.project.as_str(), standing.word());
            connection
                .prepare_cached("DELETE FROM condition WHERE project = ?1 AND word = ?2")?
                .execute([project, &word])?;
            if !ended {
                let data = json(&standing)?;
                connection
                    .prepare_cached("INSERT INTO condition (project, word, data) VALUES (?1, ?2, ?3)")?
                    .execute([project, &word, &data])?;
            }
        }
        OutboxWrite::Sending { channel, project, through } => {
            connection
                .prepare_cached(
                    "INSERT INTO delivery (channel, project, through, sending) VALUES (?1, ?2, 0, ?3) \
                     ON CONFLICT (channel, project) DO UPDATE SET sending = excluded.sending",
                )?
                .execute(params![channel, project, through.cast_signed()])?;
        }
        OutboxWrite::Delivered { channel, project, through } => {
            connection
                .prepare_cached(
                    "INSERT INTO delivery (channel, project, through, sending) VALUES (?1, ?2, ?3, NULL) \
                     ON CONFLICT (channel, project) DO UPDATE SET through = excluded.through, sending = NULL",
                )?
                .execute(params![channel, project, through.cast_signed()])?;
            connection
                .prepare_cached(&format!("DELETE FROM note WHERE project = ?1 AND number <= ?2 AND {TOLD}"))?
                .execute(params![project, through.cast_signed()])?;
        }
        OutboxWrite::Join { channel } => {
            let added = connection
                .prepare_cached("INSERT OR IGNORE INTO channel (name) VALUES (?1)")?
                .execute([&channel])?;
            if added == 1 {
                connection
                    .prepare_cached(
                        "INSERT INTO delivery (channel, project, through, sending) \
                         SELECT ?1, project, max(number), NULL FROM note GROUP BY project",
                    )?
                    .execute([&channel])?;
            }
        }
        OutboxWrite::Leave { channel } => {
            connection.prepare_cached("DELETE FROM channel WHERE name = ?1")?.execute([&channel])?;
            connection.prepare_cached("DELETE FROM delivery WHERE channel = ?1")?.execute([&channel])?;
            connection.prepare_cached(&format!("DELETE FROM note WHERE {TOLD}"))?.execute(())?;
        }
        OutboxWrite::Trim { notes, keys_since } => {
            let oldest = last_note(connection)?.saturating_sub(notes);
            connection
                .prepare_cached("DELETE FROM note WHERE number <= ?1 AND (key IS NULL OR at < ?2)")?
                .execute(params![oldest.cast_signed(), time_text(keys_since)])?;
        }
    }
    Ok(None)
}

fn json(value: &impl serde::Serialize) -> rusqlite::Result<String> {
    serde_json::to_string(value).map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))
}

fn insert(connection: &Connection, note: NewNote) -> rusqlite::Result<Option<Note>> {
    let (number, subject) = match &note.entry {
        Some((number, subject)) => (Some(number.cast_signed()), Some(subject)),
        None => (None, None),
    };
    let channels = json(&note.channels)?;
    let added = connection
        .prepare_cached(
            "INSERT OR IGNORE INTO note (at, project, kind, entry, cluster, task, key, channels, data) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        )?
        .execute(params![
            time_text(note.at),
            note.project,
            note.kind,
            number,
            subject.map(|subject| subject.cluster.as_str()),
            subject.map(|subject| subject.task.as_str()),
            note.key,
            channels,
            note.data
        ])?;
    Ok((added == 1).then(|| Note { number: connection.last_insert_rowid().cast_unsigned(), note }))
}

/// The last number that was ever given to a note.
fn last_note(connection: &Connection) -> rusqlite::Result<u64> {
    let last: Option<i64> = connection
        .prepare_cached("SELECT seq FROM sqlite_sequence WHERE name = 'note'")?
        .query_row((), |row| row.get(0))
        .optional()?;
    Ok(last.unwrap_or_default().cast_unsigned())
}

/// Reads everything that it keeps.
pub(super) fn kept(path: &Path, connection: &Connection) -> Result<Kept, JournalError> {
    let fault = |error| JournalError::sqlite(path, error);
    let corrupt = |detail: String| JournalError::Corrupt {
        path: path.to_owned(),
        detail: format!("the outbox cannot be read: {detail}"),
    };
    let mut kept = Kept::default();
    let reading = |row: &Row<'_>| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?.cast_unsigned()));
    for (project, through) in
        rows(connection, "SELECT project, through FROM reading", reading).map_err(fault)?
    {
        kept.read.insert(ProjectName::new(&project).map_err(|error| corrupt(error.to_string()))?, through);
    }
    let sql = "SELECT number, at, project, kind, entry, cluster, task, key, channels, data FROM note \
               WHERE number IN (SELECT number FROM outbox) ORDER BY number";
    for note in rows(connection, sql, note).map_err(fault)? {
        kept.notes.push(note.map_err(corrupt)?);
    }
    kept.channels.extend(rows(connection, "SELECT name FROM channel", |row| row.get(0)).map_err(fault)?);
    let delivery = |row: &Row<'_>| {
        let (through, sending): (i64, Option<i64>) = (row.get(2)?, row.get(3)?);
        let through = through.cast_unsigned();
        let delivery = Delivery { through, sending: sending.map(i64::cast_unsigned) };
        Ok(((row.get(0)?, row.get(1)?), delivery))
    };
    let sql = "SELECT channel, project, through, sending FROM delivery";
    kept.deliveries.extend(rows(connection, sql, delivery).map_err(fault)?);
    let condition = |row: &Row<'_>| {
        let (project, data): (String, String) = (row.get(0)?, row.get(1)?);
        Ok(standing(&project, &data))
    };
    // A project may bear another name than when that was kept.
    for condition in rows(connection, "SELECT project, data FROM condition", condition).map_err(fault)? {
        kept.conditions.push(condition.map_err(corrupt)?);
    }
    Ok(kept)
}

fn rows<T>(
    connection: &Connection,
    sql: &str,
    each: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Vec<T>> {
    connection.prepare(sql)?.query_map((), each)?.collect()
}

fn time(text: &str) -> Result<Timestamp, String> {
    Timestamp::from_str(text).map_err(|error| format!("{text:?} is no time: {error}"))
}

fn standing(project: &str, data: &str) -> Result<Standing, String> {
    let project = ProjectName::new(project).map_err(|error| error.to_string())?;
    let standing: Standing = serde_json::from_str(data).map_err(|error| error.to_string())?;
    Ok(Standing { project, ..standing })
}

/// One row: the outer error is the database's, the inner one says what does not make sense.
fn note(row: &Row<'_>) -> rusqlite::Result<Result<Note, String>> {
    let (number, at, project): (i64, String, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
    let (kind, entry): (String, Option<i64>) = (row.get(3)?, row.get(4)?);
    let (cluster, task): (Option<String>, Option<String>) = (row.get(5)?, row.get(6)?);
    let (key, channels, data): (Option<String>, String, String) = (row.get(7)?, row.get(8)?, row.get(9)?);
    let make = || {
        let subject = match (cluster, task) {
            (Some(cluster), Some(task)) => Some(Subject {
                project: ProjectName::new(&project).map_err(|error| error.to_string())?,
                cluster: ClusterId::new(&cluster).map_err(|error| error.to_string())?,
                task: TaskId::new(&task).map_err(|error| error.to_string())?,
            }),
            _ => None,
        };
        let channels = serde_json::from_str(&channels).map_err(|error| error.to_string())?;
        let entry = entry.map(i64::cast_unsigned).zip(subject);
        let note = NewNote { at: time(&at)?, project, kind, entry, key, channels, data };
        Ok(Note { number: number.cast_unsigned(), note })
    };
    Ok(make())
}
