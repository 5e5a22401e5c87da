//! Rows of entries: how they are read back.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use tokio_postgres::Row;
use tokio_postgres::types::{FromSql, Type};

use super::sql::Sql;
use crate::journal::JournalError;
use crate::journal::error::EntryFault;
use crate::journal::postgres::link::Link;
use crate::journal::postgres::options::SchemaName;
use crate::journal::query::{KnownCluster, Part, Query};
use crate::model::event::{Event, StoredEntry, Subject};
use crate::model::hold::Scope;
use crate::model::id::{ClusterId, ProjectName, TaskId};
use crate::model::names::Names;
use crate::model::scope_entry::{Position, ScopeEntry, ScopeEvent};

/// So many entries are read at once.
const AT_ONCE: u32 = 10_000;

/// One column of a row.
pub(super) fn get<'a, T: FromSql<'a>>(row: &'a Row, column: usize) -> Result<T, JournalError> {
    row.try_get(column).map_err(JournalError::from)
}

/// A number.
pub(super) fn unsigned(row: &Row, column: usize) -> Result<u64, JournalError> {
    Ok(get::<i64>(row, column)?.cast_unsigned())
}

/// Sends one statement that only reads.
pub(super) async fn ask(link: &mut Link, sql: &Sql) -> Result<Vec<Row>, JournalError> {
    Ok(link.query(&sql.text, &sql.parameters()).await?)
}

/// The entries that are asked for.
pub(super) async fn entries(
    link: &mut Link,
    schema: &SchemaName,
    query: &Query,
) -> Result<Vec<StoredEntry>, JournalError> {
    let mut sql = Sql::new(
        schema,
        "SELECT e.number, e.at, p.name, e.cluster, e.task, e.event, e.data::text \
         FROM @entry e JOIN @project p ON p.key = e.project WHERE true",
    );
    if let Some(cluster) = &query.cluster {
        let clusters = " AND (e.project, e.cluster) IN (SELECT project, cluster FROM @entry WHERE cluster = ? OR name = ?)";
        sql = sql.and(clusters).text(cluster.as_str());
    }
    if let Some(project) = &query.project {
        // By its key, so that the index serves.
        let key = " AND e.project = (SELECT key FROM @project WHERE name = ?)";
        sql = sql.and(key).text(project.as_str());
    }
    if let Some((cluster, task)) = &query.task {
        sql = sql.and(" AND e.cluster = ?").text(cluster.as_str());
        sql = sql.and(" AND e.task = ?").text(task.as_str());
    }
    if let Some(since) = query.since {
        sql = sql.and(" AND e.at >= ?").time(to_the_millisecond(since));
    }
    sql = match &query.part {
        Part::Numbered { after, through } => {
            let above = sql.and(" AND e.number > ?").number(*after);
            above.and(" AND e.number <= ?").number(*through).and(" ORDER BY e.project, e.number")
        }
        Part::History(past) => {
            if let Some(Position { at, project, number }) = past {
                // The first comparison is for the index.
                sql = sql.and(" AND e.at >= ? AND (e.at, p.name COLLATE \"C\", e.number) > (?").time(*at);
                sql = sql.and(", ?").text(project.as_str()).and(", ?)").number(*number);
            }
            sql.and(" ORDER BY e.at, p.name COLLATE \"C\", e.number")
        }
    };
    if let Some(at_most) = query.at_most {
        sql = sql.and(&format!(" LIMIT {at_most}"));
    }
    let rows = ask(link, &sql).await?;
    rows.iter().map(|row| entry(link.place(), row)).collect()
}

/// Hands each entry of a project to `each`, in order, and returns the number of the last.
pub(super) async fn each_entry(
    link: &mut Link,
    schema: &SchemaName,
    key: i32,
    mut each: impl FnMut(StoredEntry),
) -> Result<u64, JournalError> {
    let text = format!(
        "SELECT e.number, e.at, p.name, e.cluster, e.task, e.event, e.data::text \
         FROM @entry e JOIN @project p ON p.key = e.project \
         WHERE e.project = $1 AND e.number > $2 ORDER BY e.number LIMIT {AT_ONCE}"
    );
    let mut last = 0;
    loop {
        let rows = ask(link, &Sql::new(schema, &text).key(key).number(last)).await?;
        for row in &rows {
            let entry = entry(link.place(), row)?;
            last = entry.number;
            each(entry);
        }
        if rows.len() < AT_ONCE as usize {
            return Ok(last);
        }
    }
}

fn entry(place: &str, row: &Row) -> Result<StoredEntry, JournalError> {
    let (number, at) = (unsigned(row, 0)?, get::<Timestamp>(row, 1)?);
    let (project, cluster, task): (&str, &str, &str) = (get(row, 2)?, get(row, 3)?, get(row, 4)?);
    let (word, data): (&str, &str) = (get(row, 5)?, get(row, 6)?);
    let understand = || {
        let subject = Subject {
            project: ProjectName::new(project)?,
            cluster: ClusterId::new(cluster)?,
            task: TaskId::new(task)?,
        };
        let event: Event = serde_json::from_str(data)?;
        if !event.is_called(word) {
            return Err(EntryFault::Word { column: word.to_owned(), data: event.word() });
        }
        Ok(StoredEntry { number, at, subject, event })
    };
    understand().map_err(|source| bad(place, project, number, source))
}

fn bad(place: &str, project: &str, number: u64, source: EntryFault) -> JournalError {
    JournalError::BadRow { place: place.to_owned(), project: project.to_owned(), number, source }
}

/// All that was said of scopes, in order.
pub(super) async fn scopes(link: &mut Link, schema: &SchemaName) -> Result<Vec<ScopeEntry>, JournalError> {
    let sql = Sql::new(
        schema,
        "SELECT s.number, s.at, p.name, s.cluster, s.event, s.data::text \
         FROM @scope s LEFT JOIN @project p ON p.key = s.project ORDER BY s.number",
    );
    let rows = ask(link, &sql).await?;
    rows.iter().map(|row| scope(link.place(), row)).collect()
}

/// One row of what was said of a scope.
pub(super) fn scope(place: &str, row: &Row) -> Result<ScopeEntry, JournalError> {
    let (number, at) = (unsigned(row, 0)?, get::<Timestamp>(row, 1)?);
    let (project, cluster): (Option<&str>, Option<&str>) = (get(row, 2)?, get(row, 3)?);
    let (word, data): (&str, &str) = (get(row, 4)?, get(row, 5)?);
    let understand = || {
        let scope = match (project, cluster) {
            (Some(project), _) => Scope::Project(ProjectName::new(project)?),
            (None, Some(cluster)) => Scope::Cluster(ClusterId::new(cluster)?),
            (None, None) => Scope::All,
        };
        let event: ScopeEvent = serde_json::from_str(data)?;
        if event.word() != word {
            return Err(EntryFault::Word { column: word.to_owned(), data: event.word() });
        }
        Ok(ScopeEntry { number, at, scope, event })
    };
    understand().map_err(|source| bad(place, project.unwrap_or_default(), number, source))
}

/// The clusters of which a task was ever seen, with the names of the last time.
pub(super) async fn clusters(
    link: &mut Link,
    schema: &SchemaName,
) -> Result<Vec<KnownCluster>, JournalError> {
    let sql = Sql::new(
        schema,
        "SELECT DISTINCT ON (p.name COLLATE \"C\", e.cluster COLLATE \"C\") e.number, p.name, e.cluster, e.name \
         FROM @entry e JOIN @project p ON p.key = e.project WHERE e.name IS NOT NULL \
         ORDER BY p.name COLLATE \"C\", e.cluster COLLATE \"C\", e.number DESC",
    );
    let rows = ask(link, &sql).await?;
    let known = |row: &Row| {
        let (number, project, id): (u64, &str, &str) = (unsigned(row, 0)?, get(row, 1)?, get(row, 2)?);
        let name: String = get(row, 3)?;
        let understand =
            || Ok(KnownCluster { project: ProjectName::new(project)?, id: ClusterId::new(id)?, name });
        understand().map_err(|source| bad(link.place(), project, number, source))
    };
    rows.iter().map(known).collect()
}

/// The names of these clusters, as they were last seen.
pub(super) async fn cluster_names(
    link: &mut Link,
    schema: &SchemaName,
    clusters: &BTreeSet<(ProjectName, ClusterId)>,
) -> Result<BTreeMap<ClusterId, String>, JournalError> {
    let (projects, ids): (Vec<_>, Vec<_>) =
        clusters.iter().map(|(project, id)| (project.to_string(), id.to_string())).unzip();
    let sql = Sql::new(
        schema,
        "SELECT u.cluster, n.name FROM unnest($1::text[], $2::text[]) AS u(project, cluster) \
         JOIN @project p ON p.name = u.project CROSS JOIN LATERAL \
         (SELECT e.name FROM @entry e WHERE e.project = p.key AND e.cluster = u.cluster AND e.name IS NOT NULL \
          ORDER BY e.number DESC LIMIT 1) n ORDER BY p.name COLLATE \"C\"",
    )
    .with(projects, Type::TEXT_ARRAY)
    .with(ids, Type::TEXT_ARRAY);
    let rows = ask(link, &sql).await?;
    let mut names = BTreeMap::new();
    for row in &rows {
        let id: &str = get(row, 0)?;
        names.insert(ClusterId::new(id).map_err(|error| unusable(link.place(), &error))?, get(row, 1)?);
    }
    Ok(names)
}

/// Which project is kept under which name.
pub(super) async fn names(link: &mut Link, schema: &SchemaName) -> Result<Names, JournalError> {
    let rows = ask(link, &Sql::new(schema, "SELECT name, id FROM @project WHERE id IS NOT NULL")).await?;
    let place = link.place();
    rows.iter()
        .map(|row| {
            let (name, id): (&str, &str) = (get(row, 0)?, get(row, 1)?);
            let name = ProjectName::new(name).map_err(|error| unusable(place, &error))?;
            Ok((name, id.parse().map_err(|error| unusable(place, &error))?))
        })
        .collect()
}

/// What is in the database and cannot be understood.
pub(super) fn unusable(place: &str, why: &dyn std::fmt::Display) -> JournalError {
    JournalError::Unusable { place: place.to_owned(), detail: why.to_string() }
}

/// Times are kept to the millisecond.
pub(super) fn to_the_millisecond(time: Timestamp) -> Timestamp {
    Timestamp::from_millisecond(time.as_millisecond()).unwrap_or(time)
}
