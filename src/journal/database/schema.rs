//! The tables, and how an older schema becomes a newer one.

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use super::rows::{ask, get, unusable};
use super::sql::{Sql, text};
use crate::journal::JournalError;
use crate::journal::postgres::connect::Connector;
use crate::journal::postgres::link::Link;
use crate::journal::postgres::options::SchemaName;
use crate::journal::schema::Meta;

/// The ordered list. The n-th (from 1) makes schema n of schema n - 1. It only adds, so that the version before goes on beside
/// this one.
const MIGRATIONS: &[&str] = &[include_str!("schema/0001.sql")];

/// The newest schema that this version knows.
fn newest() -> i32 {
    i32::try_from(MIGRATIONS.len()).unwrap_or(i32::MAX)
}

/// What there is in this schema: `None`: no journal.
pub(super) async fn find(link: &mut Link, schema: &SchemaName) -> Result<Option<Meta>, JournalError> {
    let there = Sql::new(schema, "SELECT to_regclass($1::text) IS NOT NULL").text(text(schema, "@journal"));
    if !ask(link, &there).await?.first().is_some_and(|row| row.get(0)) {
        return Ok(None);
    }
    let sql = Sql::new(schema, "SELECT id, seed, created_at, schema FROM @journal");
    let rows = ask(link, &sql).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    let found: i32 = get(row, 3)?;
    if found > newest() {
        let (place, known) = (link.place().to_owned(), newest());
        return Err(JournalError::NewerDatabase { place, found, known });
    }
    let seed: &str = get(row, 1)?;
    let seed = seed.parse().map_err(|_| unusable(link.place(), &"its table journal has no usable seed"))?;
    Ok(Some(Meta { id: get(row, 0)?, seed, created_at: get(row, 2)? }))
}

/// The journal in this schema; makes it where there is none. Whoever comes first makes it, and others wait for that. Also
/// whether this call made it.
pub(super) async fn prepare(
    connector: &Connector,
    link: &mut Link,
    seed: u64,
) -> Result<(Meta, bool), JournalError> {
    let schema = &connector.options().schema;
    if let Some(meta) = find(link, schema).await? {
        // There is one schema so far: nothing is older.
        return Ok((meta, false));
    }
    let mut random = StdRng::seed_from_u64(seed);
    let id = format!("{:016x}{:016x}", random.next_u64(), random.next_u64());
    let seed = random.next_u64();
    // Where another process makes the same tables at this moment, the statement waits for it and fails.
    let mut batch = format!("BEGIN; CREATE SCHEMA IF NOT EXISTS {schema}; ");
    for migration in MIGRATIONS {
        batch += &text(schema, migration);
    }
    batch += &text(
        schema,
        &format!(
            " INSERT INTO @journal (one, id, seed, created_at, schema) \
             VALUES (1, '{id}', '{seed}', date_trunc('milliseconds', clock_timestamp()), {}); COMMIT",
            newest()
        ),
    );
    let made = link.batch(&batch).await;
    if made.is_err() {
        *link = connector.connect().await?;
    }
    match (made, find(link, schema).await) {
        (_, Ok(Some(meta))) => {
            let is_new = meta.id == id;
            Ok((meta, is_new))
        }
        (Err(error), _) => Err(error.into()),
        (Ok(()), found) => {
            found?;
            Err(unusable(link.place(), &"its table journal is empty"))
        }
    }
}
