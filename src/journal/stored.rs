//! Entries as rows: how they are written, and how they are read back.

use std::path::Path;
use std::str::FromStr;

use jiff::Timestamp;
use rusqlite::types::ToSql;
use rusqlite::{Connection, Row};

use super::error::{EntryFault, JournalError};
use super::query::{Part, Query};
use crate::model::event::{Event, StoredEntry, Subject};
use crate::model::hold::Scope;
use crate::model::id::{ClusterId, ProjectName, TaskId};
use crate::model::scope_entry::{Position, ScopeEntry, ScopeEvent};

/// The columns in the order that [`Columns::of`] reads.
pub(super) const COLUMNS: &str = "number, at, project, cluster, task, event, data";

/// RFC 3339 in UTC with milliseconds: always as long, so that texts sort as times do.
pub(super) fn time_text(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

/// An entry that has no number yet.
#[derive(Debug)]
pub(super) struct NewRow {
    at: String,
    subject: Subject,
    event: &'static str,
    data: String,
}

impl NewRow {
    /// Writes the event as it will be stored.
    pub(super) fn new(at: Timestamp, subject: &Subject, event: &Event) -> Result<Self, JournalError> {
        let data = serde_json::to_string(event)?;
        Ok(Self { at: time_text(at), subject: subject.clone(), event: event.word(), data })
    }

    /// Its event's word.
    pub(super) fn word(&self) -> &'static str {
        self.event
    }

    /// Adds it and returns its number.
    pub(super) fn insert(&self, connection: &Connection) -> rusqlite::Result<i64> {
        let mut insert = connection.prepare_cached(
            "INSERT INTO entry (at, project, cluster, task, event, data) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?;
        let Subject { project, cluster, task } = &self.subject;
        insert.insert((&self.at, project.as_str(), cluster.as_str(), task.as_str(), self.event, &self.data))
    }
}

/// Removes all entries of a task, but for those of its project's breaker: an opening without its closing would be
/// an open breaker again.
pub(super) fn forget(connection: &Connection, task: &Subject) -> rusqlite::Result<()> {
    let Subject { project, cluster, task } = task;
    connection
        .prepare_cached(
            "DELETE FROM entry WHERE project = ?1 AND cluster = ?2 AND task = ?3 \
             AND event NOT IN ('breaker-opened', 'breaker-closed')",
        )?
        .execute((project.as_str(), cluster.as_str(), task.as_str()))?;
    Ok(())
}

/// One row, before it is understood.
struct Columns {
    number: i64,
    at: String,
    project: String,
    cluster: String,
    task: String,
    event: String,
    data: String,
}

impl Columns {
    fn of(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            number: row.get(0)?,
            at: row.get(1)?,
            project: row.get(2)?,
            cluster: row.get(3)?,
            task: row.get(4)?,
            event: row.get(5)?,
            data: row.get(6)?,
        })
    }

    fn number_and_time(&self) -> Result<(u64, Timestamp), EntryFault> {
        let number =
            u64::try_from(self.number).ok().filter(|number| *number > 0).ok_or(EntryFault::Number)?;
        Ok((number, Timestamp::from_str(&self.at).map_err(EntryFault::Time)?))
    }

    fn understand_scope(self) -> Result<ScopeEntry, EntryFault> {
        let (number, at) = self.number_and_time()?;
        let scope = match (self.project.as_str(), self.cluster.as_str()) {
            ("", "") => Scope::All,
            (project, "") => Scope::Project(ProjectName::new(project)?),
            (_, cluster) => Scope::Cluster(ClusterId::new(cluster)?),
        };
        let event: ScopeEvent = serde_json::from_str(&self.data)?;
        if event.word() != self.event {
            return Err(EntryFault::Word { column: self.event, data: event.word() });
        }
        Ok(ScopeEntry { number, at, scope, event })
    }

    fn understand(self) -> Result<StoredEntry, EntryFault> {
        let (number, at) = self.number_and_time()?;
        let subject = Subject {
            project: ProjectName::new(&self.project)?,
            cluster: ClusterId::new(&self.cluster)?,
            task: TaskId::new(&self.task)?,
        };
        let event: Event = serde_json::from_str(&self.data)?;
        if !event.is_called(&self.event) {
            return Err(EntryFault::Word { column: self.event, data: event.word() });
        }
        Ok(StoredEntry { number, at, subject, event })
    }
}

/// The order of a history: that of [`Position`].
const HISTORY: &str = "at, project, number";

/// What is of a task, and not of a scope.
const OF_TASKS: &str = "event NOT IN ('held', 'released')";

/// The entries whose subject is a scope, in order. The outer error is the database's, the inner one says
/// of which entry what does not make sense.
pub(super) fn scopes(
    connection: &Connection,
) -> rusqlite::Result<Result<Vec<ScopeEntry>, (i64, EntryFault)>> {
    let mut select = connection.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM entry INDEXED BY entry_by_event \
         WHERE event IN ('held', 'released') ORDER BY number"
    ))?;
    let rows = select.query_map((), Columns::of)?;
    let rows = rows.collect::<rusqlite::Result<Vec<_>>>()?;
    let understand = |columns: Columns| {
        let number = columns.number;
        columns.understand_scope().map_err(|fault| (number, fault))
    };
    Ok(rows.into_iter().map(understand).collect())
}

/// Reads all that is of tasks, in order, one at a time.
pub(super) fn read(
    path: &Path,
    connection: &Connection,
    each: impl FnMut(StoredEntry),
) -> Result<(), JournalError> {
    read_some(path, connection, &format!("WHERE {OF_TASKS} ORDER BY number"), &[], each)
}

/// Reads those that are asked for.
pub(super) fn wanted(
    path: &Path,
    connection: &Connection,
    query: &Query,
) -> Result<Vec<StoredEntry>, JournalError> {
    // SQLite's numbers end where those of `i64` do.
    let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let since = query.since.map(time_text);
    let project = query.project.as_ref().map(ProjectName::as_str);
    let task = query.task.as_ref().map(|(cluster, task)| (cluster.as_str(), task.as_str()));
    let mut filters = vec![OF_TASKS];
    let mut parameters: Vec<(&str, &dyn ToSql)> = Vec::new();
    if let Some(cluster) = &query.cluster {
        filters.push(
            "(project, cluster) IN (SELECT project, cluster FROM entry WHERE cluster = :cluster \
             OR (event = 'first-seen' AND json_extract(data, '$.cluster_name') = :cluster))",
        );
        parameters.push((":cluster", cluster));
    }
    if let Some(project) = &project {
        filters.push("project = :project");
        parameters.push((":project", project));
    }
    if let Some((cluster, task)) = &task {
        filters.push("cluster = :of AND task = :task");
        parameters.extend([(":of", cluster as &dyn ToSql), (":task", task)]);
    }
    if let Some(since) = &since {
        filters.push("at >= :since");
        parameters.push((":since", since));
    }
    let (first, last, past);
    let order = match &query.part {
        Part::Numbered { after, through } => {
            (first, last) = (number(*after), number(*through));
            filters.push("number > :after AND number <= :through");
            parameters.extend([(":after", &first as &dyn ToSql), (":through", &last)]);
            "number"
        }
        Part::History(None) => HISTORY,
        Part::History(Some(Position { at, project, number: of })) => {
            past = (time_text(*at), project, number(*of));
            filters.push("(at, project, number) > (:at, :past, :number)");
            parameters.extend([(":at", &past.0 as &dyn ToSql), (":past", past.1), (":number", &past.2)]);
            HISTORY
        }
    };
    let at_most = query.at_most.unwrap_or(u32::MAX);
    let rest = format!("WHERE {} ORDER BY {order} LIMIT {at_most}", filters.join(" AND "));
    let mut entries = Vec::new();
    read_some(path, connection, &rest, &parameters, |entry| entries.push(entry))?;
    Ok(entries)
}

/// Reads entries, one at a time. `rest` is SQL after `FROM entry`.
fn read_some(
    path: &Path,
    connection: &Connection,
    rest: &str,
    parameters: &[(&str, &dyn ToSql)],
    mut each: impl FnMut(StoredEntry),
) -> Result<(), JournalError> {
    let fault = |error| JournalError::sqlite(path, error);
    let sql = format!("SELECT {COLUMNS} FROM entry {rest}");
    let mut select = connection.prepare(&sql).map_err(fault)?;
    let mut rows = select.query(parameters).map_err(fault)?;
    while let Some(row) = rows.next().map_err(fault)? {
        let columns = Columns::of(row).map_err(fault)?;
        let number = columns.number;
        let entry = columns.understand().map_err(|source| JournalError::BadEntry {
            path: path.to_owned(),
            number,
            source,
        })?;
        each(entry);
    }
    Ok(())
}
