//! Copying a journal at rest into an empty one, in one transaction.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use tokio_postgres::types::Type;

use super::append::NewRow;
use super::outbox;
use super::rows::{self, ask, get};
use super::schema;
use super::sql::{Sql, number};
use crate::journal::JournalError;
use crate::journal::postgres::connect::Connector;
use crate::journal::postgres::link::Link;
use crate::journal::postgres::options::SchemaName;
use crate::journal::schema::Meta;
use crate::model::event::StoredEntry;
use crate::model::hold::Scope;
use crate::model::id::ProjectName;
use crate::model::names::Names;
use crate::model::outbox::{Kept, OutboxWrite};
use crate::model::scope_entry::{ScopeEntry, fold};

/// So many entries go in one statement.
const AT_ONCE: usize = 2_000;

/// All that a journal holds, but for the keys of notes that were delivered.
#[derive(Debug)]
pub struct Contents {
    /// Which journal it is.
    pub meta: Meta,
    /// The entries of tasks, those of each project in order.
    pub entries: Vec<StoredEntry>,
    /// Holds and releases, in order.
    pub scopes: Vec<ScopeEntry>,
    /// Which project is kept under which name.
    pub names: Names,
    /// What is still to be notified.
    pub kept: Kept,
    /// What was in force, since when.
    pub in_force: Vec<(Timestamp, String)>,
    /// When the daemon last lived.
    pub alive: Option<Timestamp>,
    /// What was kept of refused credentials.
    pub refusals: Option<String>,
}

/// Copies a journal into the empty one of this database. Numbers, ids and times stay. `progress` is called with the size
/// of each part.
///
/// # Errors
/// Where the target is not empty, or cannot be written; nothing is changed then, but tables may have been made.
pub async fn copy(
    connector: &Connector,
    contents: &Contents,
    progress: impl Fn(usize),
) -> Result<(), JournalError> {
    let schema = &connector.options().schema;
    let mut link = connector.connect().await?;
    schema::prepare(connector, &mut link, contents.meta.seed).await?;
    link.batch("BEGIN").await?;
    // Whatever fails ends the connection, and with it the transaction.
    let empty = "SELECT NOT EXISTS (SELECT FROM @project WHERE key > 0) AND NOT EXISTS (SELECT FROM @scope) \
                 AND NOT EXISTS (SELECT FROM @in_force) FROM @journal FOR UPDATE";
    let found = ask(&mut link, &Sql::new(schema, empty)).await?;
    if !found.first().map_or(Ok(false), |row| get(row, 0))? {
        let (place, schema) = (link.place().to_owned(), schema.as_str().to_owned());
        return Err(JournalError::NotEmpty { place, schema });
    }
    let keys = projects(&mut link, schema, contents).await?;
    for (name, key) in &keys {
        let of_it: Vec<&StoredEntry> =
            contents.entries.iter().filter(|entry| entry.subject.project == *name).collect();
        for part in of_it.chunks(AT_ONCE) {
            entries(&mut link, schema, *key, part).await?;
            progress(part.len());
        }
        let mut back = Vec::new();
        rows::each_entry(&mut link, schema, *key, |entry| back.push(entry)).await?;
        if back.iter().ne(of_it) {
            return Err(JournalError::Lost);
        }
    }
    for entry in &contents.scopes {
        ask(&mut link, &super::scopes::insert(schema, entry)?).await?;
    }
    for (place, (at, data)) in (1_u64..).zip(&contents.in_force) {
        let sql = Sql::new(schema, "INSERT INTO @in_force (number, at, data) VALUES ($1, $2, $3)");
        ask(&mut link, &sql.number(place).time(*at).text(data.as_str())).await?;
    }
    notices(&mut link, schema, &keys, &contents.kept).await?;
    if fold(rows::scopes(&mut link, schema).await?) != fold(contents.scopes.iter().cloned()) {
        return Err(JournalError::Lost);
    }
    let Meta { id, seed, created_at } = &contents.meta;
    let journal = "UPDATE @journal SET id = $1, seed = $2, created_at = $3, alive = $4, refusals = $5";
    let sql = Sql::new(schema, journal).text(id.as_str()).text(seed.to_string()).time(*created_at);
    let sql = sql.with(contents.alive, Type::TIMESTAMPTZ).with(contents.refusals.clone(), Type::TEXT);
    ask(&mut link, &sql).await?;
    Ok(link.batch("COMMIT").await?)
}

/// Makes the rows of all projects, and returns their keys.
async fn projects(
    link: &mut Link,
    schema: &SchemaName,
    contents: &Contents,
) -> Result<BTreeMap<ProjectName, i32>, JournalError> {
    let mut last: BTreeMap<ProjectName, u64> =
        contents.names.iter().map(|(name, _)| (name.clone(), 0)).collect();
    for StoredEntry { subject, number, .. } in &contents.entries {
        let last = last.entry(subject.project.clone()).or_default();
        *last = (*last).max(*number);
    }
    let of_notes = contents.kept.notes.iter().map(|note| note.note.project.as_str());
    let of_deliveries = contents.kept.deliveries.keys().map(|(_, project)| project.as_str());
    let others: BTreeSet<&str> = of_notes.chain(of_deliveries).collect();
    for name in others.into_iter().filter_map(|name| ProjectName::new(name).ok()) {
        last.entry(name).or_default();
    }
    for standing in &contents.kept.conditions {
        last.entry(standing.project.clone()).or_default();
    }
    for entry in &contents.scopes {
        if let Scope::Project(name) = &entry.scope {
            last.entry(name.clone()).or_default();
        }
    }
    let mut keys = BTreeMap::new();
    for (key, (name, last)) in (1..).zip(last) {
        let id = contents.names.id_of(&name).map(ToString::to_string);
        let read = contents.kept.read.get(&name).map(|through| number(*through));
        let text = "INSERT INTO @project (key, id, name, last, through) VALUES ($1, $2, $3, $4, $5)";
        let sql = Sql::new(schema, text).key(key).with(id, Type::TEXT).text(name.as_str()).number(last);
        ask(link, &sql.with(read, Type::INT8)).await?;
        keys.insert(name, key);
    }
    Ok(keys)
}

/// Copies entries of one project.
async fn entries(
    link: &mut Link,
    schema: &SchemaName,
    key: i32,
    part: &[&StoredEntry],
) -> Result<(), JournalError> {
    let row = |entry: &&StoredEntry| NewRow::new(entry.at, &entry.subject, &entry.event);
    let rows = part.iter().map(row).collect::<Result<Vec<_>, _>>()?;
    let numbers: Vec<i64> = part.iter().map(|entry| number(entry.number)).collect();
    let text = "INSERT INTO @entry (project, number, term, at, cluster, task, event, name, data) \
                SELECT $1, u.number, 0, u.at, u.cluster, u.task, u.event, u.name, u.data::json \
                FROM unnest($2::bigint[], $3::timestamptz[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[]) \
                AS u(number, at, cluster, task, event, name, data)";
    let sql = Sql::new(schema, text).key(key).with(numbers, Type::INT8_ARRAY);
    ask(link, &NewRow::columns(&rows.iter().collect::<Vec<_>>(), sql)).await?;
    Ok(())
}

/// Copies what is still to be notified.
async fn notices(
    link: &mut Link,
    schema: &SchemaName,
    keys: &BTreeMap<ProjectName, i32>,
    kept: &Kept,
) -> Result<(), JournalError> {
    let key_of = |name: &str| {
        ProjectName::new(name).ok().and_then(|name| keys.get(&name).copied()).unwrap_or_default()
    };
    for channel in &kept.channels {
        ask(link, &Sql::new(schema, "INSERT INTO @channel (name) VALUES ($1)").text(channel.as_str()))
            .await?;
    }
    for ((channel, project), delivery) in &kept.deliveries {
        let text = "INSERT INTO @delivery (channel, project, through, sending) VALUES ($1, $2, $3, $4)";
        let sql = Sql::new(schema, text).text(channel.as_str()).key(key_of(project)).number(delivery.through);
        ask(link, &sql.with(delivery.sending.map(number), Type::INT8)).await?;
    }
    for note in &kept.notes {
        let key = key_of(&note.note.project);
        // Its number stays: deliveries name it.
        let before = Sql::new(schema, "UPDATE @project SET notes = $2 WHERE key = $1").key(key);
        ask(link, &before.number(note.number.saturating_sub(1))).await?;
        for sql in outbox::of_write(schema, key, &OutboxWrite::Note(note.note.clone()))? {
            ask(link, &sql).await?;
        }
    }
    for ((_, project), delivery) in &kept.deliveries {
        // A number that a channel was given is never given to another note.
        let sql = Sql::new(schema, "UPDATE @project SET notes = greatest(notes, $2) WHERE key = $1");
        let last = delivery.through.max(delivery.sending.unwrap_or_default());
        ask(link, &sql.key(key_of(project)).number(last)).await?;
    }
    for standing in &kept.conditions {
        let write = OutboxWrite::Condition { standing: Box::new(standing.clone()), ended: false };
        for sql in outbox::of_write(schema, key_of(standing.project.as_str()), &write)? {
            ask(link, &sql).await?;
        }
    }
    Ok(())
}
