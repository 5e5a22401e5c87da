//! The outbox: what is still to be notified, behind the same gate as entries.

use jiff::Timestamp;
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::rows::{get, to_the_millisecond, unsigned, unusable};
use super::sql::{Sql, number, together};
use crate::journal::JournalError;
use crate::journal::postgres::link::Link;
use crate::journal::postgres::options::SchemaName;
use crate::model::condition::Standing;
use crate::model::event::Subject;
use crate::model::id::{ClusterId, ProjectName, TaskId};
use crate::model::outbox::{Delivery, Kept, NewNote, Note, OutboxWrite};

/// Notes without a key that every channel has delivered go.
const LET_GO: &str = "n.key IS NULL AND NOT EXISTS \
                      (SELECT FROM @outbox o WHERE o.project = n.project AND o.number = n.number)";

/// The name of the project that a write is of; `""`: of none; `None`: of all.
pub(super) fn project_of(write: &OutboxWrite) -> Option<&str> {
    match write {
        OutboxWrite::Note(note) => Some(&note.project),
        OutboxWrite::Read { project, .. } => Some(project.as_str()),
        OutboxWrite::Condition { standing, .. } => Some(standing.project.as_str()),
        OutboxWrite::Sending { project, .. } | OutboxWrite::Delivered { project, .. } => Some(project),
        OutboxWrite::Join { .. } | OutboxWrite::Leave { .. } | OutboxWrite::Trim { .. } => None,
    }
}

/// The statements of one write. The first one of a note returns its number, where it was added.
pub(super) fn of_write(schema: &SchemaName, key: i32, write: &OutboxWrite) -> Result<Vec<Sql>, JournalError> {
    let sql = |text: &str| Sql::new(schema, text);
    Ok(match write {
        OutboxWrite::Note(note) => vec![insert(schema, key, note)],
        OutboxWrite::Read { through, .. } => {
            vec![sql("UPDATE @project SET through = $2 WHERE key = $1").key(key).number(*through)]
        }
        OutboxWrite::Condition { standing, ended: true } => {
            vec![
                sql("DELETE FROM @condition WHERE project = $1 AND word = $2").key(key).text(standing.word()),
            ]
        }
        OutboxWrite::Condition { standing, ended: false } => {
            let text = "INSERT INTO @condition (project, word, data) VALUES ($1, $2, $3::text::json) \
                        ON CONFLICT (project, word) DO UPDATE SET data = excluded.data";
            vec![sql(text).key(key).text(standing.word()).text(serde_json::to_string(standing)?)]
        }
        OutboxWrite::Sending { channel, through, .. } => {
            let text = "INSERT INTO @delivery (channel, project, through, sending) VALUES ($1, $2, 0, $3) \
                        ON CONFLICT (channel, project) DO UPDATE SET sending = excluded.sending";
            vec![sql(text).text(channel.as_str()).key(key).number(*through)]
        }
        OutboxWrite::Delivered { channel, through, .. } => {
            let text = "INSERT INTO @delivery (channel, project, through, sending) VALUES ($1, $2, $3, NULL) \
                        ON CONFLICT (channel, project) DO UPDATE SET through = excluded.through, sending = NULL";
            let delivered = sql(text).text(channel.as_str()).key(key).number(*through);
            let text = format!("DELETE FROM @note n WHERE n.project = $1 AND n.number <= $2 AND {LET_GO}");
            vec![delivered, sql(&text).key(key).number(*through)]
        }
        OutboxWrite::Join { channel } => {
            let text = "WITH joined AS (INSERT INTO @channel (name) VALUES ($1) ON CONFLICT DO NOTHING RETURNING name) \
                        INSERT INTO @delivery (channel, project, through, sending) \
                        SELECT j.name, n.project, max(n.number), NULL FROM joined j, @note n GROUP BY j.name, n.project";
            vec![sql(text).text(channel.as_str())]
        }
        OutboxWrite::Leave { channel } => {
            let gone = |table, column| {
                sql(&format!("DELETE FROM {table} WHERE {column} = $1")).text(channel.as_str())
            };
            let notes = sql(&format!("DELETE FROM @note n WHERE {LET_GO}"));
            vec![gone("@channel", "name"), gone("@delivery", "channel"), notes]
        }
        OutboxWrite::Trim { notes, keys_since } => {
            let text = "DELETE FROM @note n USING @project p WHERE p.key = n.project AND n.number <= p.notes - $1 \
                        AND (n.key IS NULL OR n.at < $2)";
            vec![sql(text).number(*notes).time(*keys_since)]
        }
    })
}

fn insert(schema: &SchemaName, key: i32, note: &NewNote) -> Sql {
    let text = "WITH given AS (UPDATE @project SET notes = notes + 1 WHERE key = $1 \
                AND NOT EXISTS (SELECT FROM @note WHERE project = $1 AND key = $7) RETURNING notes) \
                INSERT INTO @note (project, number, at, kind, entry, cluster, task, key, channels, data) \
                SELECT $1, given.notes, $2, $3, $4, $5, $6, $7, $8, $9 FROM given RETURNING number";
    let (entry, subject) = match &note.entry {
        Some((entry, subject)) => (Some(number(*entry)), Some(subject)),
        None => (None, None),
    };
    Sql::new(schema, text)
        .key(key)
        .time(to_the_millisecond(note.at))
        .text(note.kind.as_str())
        .with(entry, Type::INT8)
        .with(subject.map(|subject| subject.cluster.to_string()), Type::TEXT)
        .with(subject.map(|subject| subject.task.to_string()), Type::TEXT)
        .with(note.key.clone(), Type::TEXT)
        .with(note.channels.clone(), Type::TEXT_ARRAY)
        .text(note.data.as_str())
}

/// Reads everything that it keeps, from one state of the journal.
pub(super) async fn kept(link: &mut Link, schema: &SchemaName) -> Result<Kept, JournalError> {
    let all = [
        Sql::new(schema, "SELECT name, through FROM @project WHERE through IS NOT NULL"),
        Sql::new(
            schema,
            "SELECT n.number, n.at, p.name, n.kind, n.entry, n.cluster, n.task, n.key, n.channels, n.data \
             FROM @note n JOIN @project p ON p.key = n.project \
             WHERE EXISTS (SELECT FROM @outbox o WHERE o.project = n.project AND o.number = n.number) \
             ORDER BY n.project, n.number",
        ),
        Sql::new(schema, "SELECT name FROM @channel"),
        Sql::new(
            schema,
            "SELECT d.channel, p.name, d.through, d.sending FROM @delivery d JOIN @project p ON p.key = d.project",
        ),
        Sql::new(
            schema,
            "SELECT p.name, c.data::text FROM @condition c JOIN @project p ON p.key = c.project ORDER BY p.name, c.word",
        ),
    ];
    let mut answers = together(link, &all).await?.into_iter();
    let mut next = || answers.next().unwrap_or_default();
    let place = link.place();
    let mut kept = Kept::default();
    for row in next() {
        kept.read.insert(project(place, get(&row, 0)?)?, unsigned(&row, 1)?);
    }
    for row in next() {
        kept.notes.push(note(place, &row)?);
    }
    for row in next() {
        kept.channels.insert(get(&row, 0)?);
    }
    for row in next() {
        let sending: Option<i64> = get(&row, 3)?;
        let delivery = Delivery { through: unsigned(&row, 2)?, sending: sending.map(i64::cast_unsigned) };
        kept.deliveries.insert((get(&row, 0)?, get(&row, 1)?), delivery);
    }
    for row in next() {
        let standing: Standing =
            serde_json::from_str(get(&row, 1)?).map_err(|error| unusable(place, &error))?;
        // The project may bear another name than when that was kept.
        kept.conditions.push(Standing { project: project(place, get(&row, 0)?)?, ..standing });
    }
    Ok(kept)
}

fn project(place: &str, name: &str) -> Result<ProjectName, JournalError> {
    ProjectName::new(name).map_err(|error| unusable(place, &error))
}

fn note(place: &str, row: &Row) -> Result<Note, JournalError> {
    let of: String = get(row, 2)?;
    let (entry, cluster, task): (Option<i64>, Option<&str>, Option<&str>) =
        (get(row, 4)?, get(row, 5)?, get(row, 6)?);
    let subject = match (cluster, task) {
        (Some(cluster), Some(task)) => Some(Subject {
            project: project(place, &of)?,
            cluster: ClusterId::new(cluster).map_err(|error| unusable(place, &error))?,
            task: TaskId::new(task).map_err(|error| unusable(place, &error))?,
        }),
        _ => None,
    };
    let note = NewNote {
        at: get::<Timestamp>(row, 1)?,
        project: of,
        kind: get(row, 3)?,
        entry: entry.map(i64::cast_unsigned).zip(subject),
        key: get(row, 7)?,
        channels: get(row, 8)?,
        data: get(row, 9)?,
    };
    Ok(Note { number: unsigned(row, 0)?, note })
}
