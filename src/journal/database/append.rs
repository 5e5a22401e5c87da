//! Entries behind the gate of their project: its row, whose term and last number must be those that are known here.

use std::sync::Arc;

use jiff::Timestamp;
use tokio_postgres::types::Type;

use super::rows::{ask, get, to_the_millisecond, unsigned, unusable};
use super::sql::{Sql, number};
use crate::journal::JournalError;
use crate::journal::postgres::error::Kind;
use crate::journal::postgres::link::Link;
use crate::journal::postgres::options::SchemaName;
use crate::model::event::{Event, Subject};
use crate::model::id::{AttemptId, ClusterId, IdError, ProjectName, TaskId};

/// So often a shut gate is looked at before it is given up.
const TRIES: u32 = 3;

/// What is held of a project.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) key: i32,
    /// The fencing token of this process.
    pub(super) term: u64,
    /// The number of the last entry.
    pub(super) last: u64,
    /// Whether entries may stand above that: a statement has had no answer.
    pub(super) unsure: bool,
    /// Intents that were kept although nobody was told so: they are to be journaled as not sent.
    left: Vec<(Subject, AttemptId)>,
}

impl Held {
    pub(super) fn new(key: i32, term: u64, last: u64) -> Self {
        Self { key, term, last, unsure: false, left: Vec::new() }
    }
}

/// Held by one statement at a time.
pub(super) type Shared = Arc<tokio::sync::Mutex<Held>>;

/// An entry that has no number yet.
pub(super) struct NewRow {
    at: Timestamp,
    cluster: ClusterId,
    task: TaskId,
    event: &'static str,
    name: Option<String>,
    data: String,
}

impl NewRow {
    pub(super) fn new(at: Timestamp, subject: &Subject, event: &Event) -> Result<Self, JournalError> {
        let name = match event {
            // PostgreSQL's texts have no NUL.
            Event::FirstSeen { cluster_name, .. } => Some(cluster_name.replace('\0', "\u{fffd}")),
            _ => None,
        };
        Ok(Self {
            at: to_the_millisecond(at),
            cluster: subject.cluster.clone(),
            task: subject.task.clone(),
            event: event.word(),
            name,
            data: serde_json::to_string(event)?,
        })
    }

    /// The statement with these rows as its next parameters: a column each.
    pub(super) fn columns(rows: &[&Self], sql: Sql) -> Sql {
        fn column<T>(rows: &[&NewRow], of: impl Fn(&NewRow) -> T) -> Vec<T> {
            rows.iter().map(|row| of(row)).collect()
        }
        sql.with(column(rows, |row| row.at), Type::TIMESTAMPTZ_ARRAY)
            .with(column(rows, |row| row.cluster.to_string()), Type::TEXT_ARRAY)
            .with(column(rows, |row| row.task.to_string()), Type::TEXT_ARRAY)
            .with(column(rows, |row| row.event), Type::TEXT_ARRAY)
            .with(column(rows, |row| row.name.clone()), Type::TEXT_ARRAY)
            .with(column(rows, |row| row.data.clone()), Type::TEXT_ARRAY)
    }
}

/// Keeps these rows, all or none, and returns the number of the first.
pub(super) async fn append(
    link: &mut Link,
    schema: &SchemaName,
    held: &mut Held,
    at: Timestamp,
    rows: &[NewRow],
) -> Result<u64, JournalError> {
    let mut tries = 0;
    loop {
        tries += 1;
        if held.unsure {
            find_out(link, schema, held).await?;
        }
        let not_sent = |(subject, attempt): &(Subject, AttemptId)| {
            NewRow::new(at, subject, &Event::NotSent { attempt: *attempt })
        };
        let left: Vec<NewRow> = held.left.iter().map(not_sent).collect::<Result<_, _>>()?;
        let count = left.len() + rows.len();
        let sql = statement(schema, held, left.iter().chain(rows));
        // Until the answer is there: this future may be dropped on its way.
        held.unsure = true;
        match link.query(&sql.text, &sql.parameters()).await {
            Ok(kept) if kept.len() == count => {
                let first = held.last + left.len() as u64 + 1;
                held.last += count as u64;
                held.unsure = false;
                held.left.clear();
                return Ok(first);
            }
            // The gate is shut: another term, or another last number.
            Ok(_) if tries < TRIES => {}
            Ok(_) => return Err(JournalError::Lost),
            Err(error) => {
                held.unsure = error.kind() == Kind::Unsure;
                return Err(error.into());
            }
        }
    }
}

fn statement<'a>(schema: &SchemaName, held: &Held, rows: impl Iterator<Item = &'a NewRow>) -> Sql {
    let rows: Vec<&NewRow> = rows.collect();
    let text = "WITH gate AS (UPDATE @project SET last = last + $1 WHERE key = $2 AND term = $3 AND last = $4 \
                RETURNING last - $1 AS base) \
                INSERT INTO @entry (project, number, term, at, cluster, task, event, name, data) \
                SELECT $2, gate.base + u.ord, $3, u.at, u.cluster, u.task, u.event, u.name, u.data::json \
                FROM gate, unnest($5::timestamptz[], $6::text[], $7::text[], $8::text[], $9::text[], $10::text[]) \
                WITH ORDINALITY AS u(at, cluster, task, event, name, data, ord) RETURNING number";
    let gate = Sql::new(schema, text).with(number(rows.len() as u64), Type::INT8).key(held.key);
    NewRow::columns(&rows, gate.number(held.term).number(held.last))
}

/// Finds out what became of a statement without an answer.
async fn find_out(link: &mut Link, schema: &SchemaName, held: &mut Held) -> Result<(), JournalError> {
    let sql = Sql::new(schema, "SELECT term, last FROM @project WHERE key = $1").key(held.key);
    let rows = ask(link, &sql).await?;
    let (term, last) = match rows.first() {
        Some(row) => (unsigned(row, 0)?, unsigned(row, 1)?),
        None => (0, 0),
    };
    if term != held.term {
        return Err(JournalError::Fenced { ours: held.term, term });
    }
    if last < held.last {
        let place = link.place().to_owned();
        return Err(JournalError::WentBack { place, known: held.last, found: last });
    }
    let sql = Sql::new(
        schema,
        "SELECT e.number, p.name, e.cluster, e.task FROM @entry e JOIN @project p ON p.key = e.project \
         WHERE e.project = $1 AND e.number > $2 AND e.event = 'intent' ORDER BY e.number",
    );
    for row in ask(link, &sql.key(held.key).number(held.last)).await? {
        let text = |column| get::<&str>(&row, column);
        let understand = |project, cluster, task| {
            Ok(Subject {
                project: ProjectName::new(project)?,
                cluster: ClusterId::new(cluster)?,
                task: TaskId::new(task)?,
            })
        };
        let subject: Result<Subject, IdError> = understand(text(1)?, text(2)?, text(3)?);
        let subject = subject.map_err(|error| unusable(link.place(), &error))?;
        held.left.push((subject, AttemptId(unsigned(&row, 0)?)));
    }
    held.last = last;
    held.unsure = false;
    Ok(())
}
