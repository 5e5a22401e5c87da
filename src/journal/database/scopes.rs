//! Holds, and projects under their names: what operators say and what the configuration says, from any instance.
//!
//! Both are worked out here from what was read, and written where nothing has changed since; else once more. So no
//! transaction waits for this process.

use std::collections::BTreeSet;

use jiff::Timestamp;
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::rows::{self, ask, get, to_the_millisecond, unusable};
use super::sql::{Sql, together};
use crate::journal::JournalError;
use crate::journal::postgres::link::Link;
use crate::journal::postgres::options::SchemaName;
use crate::model::hold::{Identified, NewHold, Scope, StoredHold};
use crate::model::id::{ProjectId, ProjectName};
use crate::model::names::{Named, Names};
use crate::model::scope_entry::{ScopeEntry, ScopeEvent, fold};

/// So often something is worked out anew before it is given up.
const TRIES: u32 = 20;

/// A project's row.
struct Known {
    key: i32,
    name: ProjectName,
    id: Option<ProjectId>,
    /// Whether anything was journaled of it.
    taken: bool,
}

/// Adds a hold and returns it with its number.
pub(super) async fn place(
    link: &mut Link,
    schema: &SchemaName,
    hold: NewHold,
) -> Result<StoredHold, JournalError> {
    let hold = NewHold { at: to_the_millisecond(hold.at), ..hold };
    for _ in 0..TRIES {
        let before = rows::scopes(link, schema).await?;
        let number = fold(before.iter().cloned()).last().map_or(0, |hold| hold.number) + 1;
        let entry = ScopeEntry::held(next(&before), number, hold.clone());
        if add(link, schema, &[entry], Vec::new()).await? {
            return Ok(StoredHold::new(number, hold));
        }
    }
    Err(unusable(link.place(), &"other processes write its holds all the time"))
}

/// Notes that these were released, where nothing says so yet.
pub(super) async fn release(
    link: &mut Link,
    schema: &SchemaName,
    at: Timestamp,
    numbers: &[u64],
    by: &str,
) -> Result<(), JournalError> {
    for _ in 0..TRIES {
        let before = rows::scopes(link, schema).await?;
        let open = open(&before).into_iter().filter(|hold| numbers.contains(&hold.number));
        let released = |(number, hold): (u64, StoredHold)| {
            let event = ScopeEvent::Released { hold: hold.number, by: by.to_owned() };
            ScopeEntry { number, at: to_the_millisecond(at), scope: hold.scope, event }
        };
        let entries: Vec<_> = (next(&before)..).zip(open).map(released).collect();
        if add(link, schema, &entries, Vec::new()).await? {
            return Ok(());
        }
    }
    Err(unusable(link.place(), &"other processes write its holds all the time"))
}

/// The number of the next entry.
fn next(before: &[ScopeEntry]) -> u64 {
    before.last().map_or(0, |entry| entry.number) + 1
}

/// Those that nobody released.
fn open(before: &[ScopeEntry]) -> Vec<StoredHold> {
    fold(before.iter().cloned()).into_iter().filter(|hold| hold.released.is_none()).collect()
}

/// Adds these entries after other statements, all or none. `false`: something was added since their numbers were read, and
/// nothing was kept.
async fn add(
    link: &mut Link,
    schema: &SchemaName,
    entries: &[ScopeEntry],
    mut all: Vec<Sql>,
) -> Result<bool, JournalError> {
    for entry in entries {
        if let Scope::Project(name) = &entry.scope {
            all.push(insert_project(schema, name.as_str()));
        }
        all.push(insert(schema, entry)?);
    }
    if all.is_empty() {
        return Ok(true);
    }
    match together(link, &all).await {
        Ok(_) => Ok(true),
        // The same number, or the same key: another process was faster. A division by zero: the names have changed.
        Err(error) if matches!(error.sql_state(), Some("23505" | "22012")) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Adds an entry under its own number. The row of its project is there.
pub(super) fn insert(schema: &SchemaName, entry: &ScopeEntry) -> Result<Sql, JournalError> {
    let (project, cluster) = match &entry.scope {
        Scope::All => (None, None),
        Scope::Project(name) => (Some(name.to_string()), None),
        Scope::Cluster(id) => (None, Some(id.to_string())),
    };
    let text = "INSERT INTO @scope (number, at, project, cluster, event, data) VALUES \
                ($1, $2, (SELECT key FROM @project WHERE name = $3), $4, $5, $6::text::json)";
    Ok(Sql::new(schema, text)
        .number(entry.number)
        .time(entry.at)
        .with(project, Type::TEXT)
        .with(cluster, Type::TEXT)
        .text(entry.event.word())
        .text(serde_json::to_string(&entry.event)?))
}

/// Makes the row of a project, where there is none of this name.
pub(super) fn insert_project(schema: &SchemaName, name: &str) -> Sql {
    let text = "INSERT INTO @project (key, name) SELECT max(key) + 1, $1 FROM @project \
                HAVING NOT EXISTS (SELECT FROM @project WHERE name = $1)";
    Sql::new(schema, text).text(name)
}

/// Keeps these projects under their present names, and with them all that is kept of them.
pub(super) async fn identify(
    link: &mut Link,
    schema: &SchemaName,
    wanted: &[Named],
) -> Result<Identified, JournalError> {
    for _ in 0..TRIES {
        let (seen, known) = projects(link, schema).await?;
        let before: Names =
            known.iter().filter_map(|project| Some((project.name.clone(), project.id.clone()?))).collect();
        let is_taken = |name: &ProjectName| known.iter().any(|it| it.name == *name && it.taken);
        let naming = before.naming(wanted, is_taken);
        if naming.names == before {
            return Ok(Identified { naming, holds: Vec::new() });
        }
        let gate = "UPDATE @journal SET names = names + 1 / (names = $1)::int";
        let mut all = vec![Sql::new(schema, gate).with(seen, Type::INT8)];
        let new_names: BTreeSet<&ProjectName> = naming
            .renames
            .iter()
            .filter(|rename| rename.from != rename.to)
            .map(|rename| &rename.to)
            .collect();
        // Nothing was journaled under the name, and nobody is known to bear it.
        let (dropped, kept): (Vec<&Known>, Vec<&Known>) =
            known.iter().partition(|it| it.id.is_none() && !it.taken && new_names.contains(&it.name));
        let dropped: Vec<i32> = dropped.iter().map(|project| project.key).collect();
        all.push(
            Sql::new(schema, "DELETE FROM @project WHERE key = ANY ($1)").with(dropped, Type::INT4_ARRAY),
        );
        let renamed: Vec<(i32, String, String)> = kept
            .iter()
            .map(|project| {
                let name = naming.renamed(&project.name);
                let id = naming.names.id_of(name).map(ToString::to_string).unwrap_or_default();
                (project.key, name.to_string(), id)
            })
            .collect();
        let text = "UPDATE @project p SET name = u.name, id = nullif(u.id, '') \
                    FROM unnest($1::int[], $2::text[], $3::text[]) AS u(key, name, id) WHERE p.key = u.key";
        let keys: Vec<i32> = renamed.iter().map(|(key, ..)| *key).collect();
        let (names, ids): (Vec<String>, Vec<String>) =
            renamed.iter().map(|(_, name, id)| (name.clone(), id.clone())).unzip();
        let is_there: BTreeSet<String> = names.iter().cloned().collect();
        all.push(
            Sql::new(schema, text)
                .with(keys, Type::INT4_ARRAY)
                .with(names, Type::TEXT_ARRAY)
                .with(ids, Type::TEXT_ARRAY),
        );
        for (name, id) in naming.names.iter().filter(|(name, _)| !is_there.contains(name.as_str())) {
            all.push(insert_project(schema, name.as_str()));
            let text = "UPDATE @project SET id = $2 WHERE name = $1";
            all.push(Sql::new(schema, text).text(name.as_str()).text(id.as_str()));
        }
        let said = rows::scopes(link, schema).await?;
        let last = fold(said.iter().cloned()).last().map_or(0, |hold| hold.number);
        let mut copies = Vec::new();
        for rename in naming.renames.iter().filter(|rename| rename.aside) {
            let of_it = |hold: &StoredHold| hold.scope == Scope::Project(rename.from.clone());
            copies.extend(open(&said).into_iter().filter(of_it));
        }
        let placed = |(number, hold): (u64, &StoredHold)| {
            let StoredHold { at, scope, cluster_name, until, reason, by, .. } = hold.clone();
            (number, NewHold { at, scope, cluster_name, until, reason, by })
        };
        let copies: Vec<_> = (last + 1..).zip(&copies).map(placed).collect();
        let entries: Vec<_> = (next(&said)..)
            .zip(&copies)
            .map(|(number, (hold, new))| ScopeEntry::held(number, *hold, new.clone()))
            .collect();
        if add(link, schema, &entries, all).await? {
            let holds = copies.into_iter().map(|(number, new)| StoredHold::new(number, new)).collect();
            return Ok(Identified { naming, holds });
        }
    }
    Err(unusable(link.place(), &"other processes change the names of its projects all the time"))
}

/// How often names have changed, and the projects.
async fn projects(link: &mut Link, schema: &SchemaName) -> Result<(i64, Vec<Known>), JournalError> {
    let sql = Sql::new(
        schema,
        "SELECT j.names, p.key, p.name, p.id, p.last > 0 OR p.notes > 0 \
         OR EXISTS (SELECT FROM @scope s WHERE s.project = p.key) \
         OR EXISTS (SELECT FROM @condition c WHERE c.project = p.key) \
         OR EXISTS (SELECT FROM @delivery d WHERE d.project = p.key) \
         FROM @journal j LEFT JOIN @project p ON p.key > 0",
    );
    let rows = ask(link, &sql).await?;
    let place = link.place();
    let known = |row: &Row| {
        let Some(key) = get::<Option<i32>>(row, 1)? else { return Ok(None) };
        let name = ProjectName::new(get(row, 2)?).map_err(|error| unusable(place, &error))?;
        let id = get::<Option<&str>>(row, 3)?.map(ProjectId::new).transpose();
        let id = id.map_err(|error| unusable(place, &error))?;
        Ok(Some(Known { key, name, id, taken: get(row, 4)? }))
    };
    let seen = rows.first().map(|row| get(row, 0)).transpose()?.unwrap_or_default();
    let found: Result<Vec<Option<Known>>, JournalError> = rows.iter().map(known).collect();
    Ok((seen, found?.into_iter().flatten().collect()))
}
