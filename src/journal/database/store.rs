//! What the journal in PostgreSQL does as a store.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use tokio_postgres::types::Type;

use super::append::{self, Held, NewRow, Shared};
use super::lanes::{Lane, Lanes};
use super::rows::{self, ask, get, to_the_millisecond, unsigned};
use super::sql::{Sql, together};
use super::{outbox, scopes};
use crate::journal::JournalError;
use crate::journal::database_clock::DatabaseClock;
use crate::journal::postgres::connect::Connector;
use crate::journal::postgres::error::Kind;
use crate::journal::postgres::options::SchemaName;
use crate::journal::query::{KnownCluster, Query};
use crate::journal::schema::Meta;
use crate::journal::store::{Answer, Fence, Store};
use crate::model::event::{Entry, Event, StoredEntry, Subject};
use crate::model::hold::{Identified, NewHold, StoredHold};
use crate::model::id::{ClusterId, ProjectName};
use crate::model::moment::Moment;
use crate::model::names::Named;
use crate::model::outbox::{Kept, Note, OutboxWrite};
use crate::model::scope_entry::ScopeEntry;

/// A statement that was certainly not kept is sent so often.
const TRIES: u32 = 3;

/// A journal in PostgreSQL, open to write. Clones share it.
#[derive(Clone)]
pub struct PostgresJournal {
    inner: Arc<Inner>,
}

struct Inner {
    lanes: Lanes,
    schema: SchemaName,
    meta: Meta,
    clock: DatabaseClock,
    projects: Mutex<Projects>,
    beside: Mutex<Beside>,
}

/// The projects that this process writes.
#[derive(Default)]
struct Projects {
    keys: BTreeMap<String, i32>,
    held: BTreeMap<i32, Shared>,
}

/// What is written without anybody waiting for it.
#[derive(Default)]
struct Beside {
    alive: Option<Timestamp>,
    refusals: Option<String>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl PostgresJournal {
    /// Of which this process holds these projects.
    pub(super) fn new(
        connector: Connector,
        meta: Meta,
        clock: DatabaseClock,
        held: Vec<(String, Held)>,
    ) -> Self {
        let schema = connector.options().schema.clone();
        let mut projects = Projects::default();
        for (name, held) in held {
            projects.keys.insert(name, held.key);
            projects.held.insert(held.key, Arc::new(tokio::sync::Mutex::new(held)));
        }
        let (projects, lanes) = (Mutex::new(projects), Lanes::new(connector));
        let beside = Mutex::default();
        Self { inner: Arc::new(Inner { lanes, schema, meta, clock, projects, beside }) }
    }

    fn sql(&self, text: &str) -> Sql {
        Sql::new(&self.inner.schema, text)
    }

    async fn reader(&self) -> Result<Lane<'_>, JournalError> {
        Ok(self.inner.lanes.reader().await?)
    }

    /// The project of this name. One that nobody has written yet becomes this process's.
    async fn held(&self, name: &str) -> Result<Shared, JournalError> {
        let known = || {
            let projects = locked(&self.inner.projects);
            let key = projects.keys.get(name)?;
            projects.held.get(key).cloned()
        };
        if let Some(held) = known() {
            return Ok(held);
        }
        let mut link = self.reader().await?;
        // Whoever had the lane may have asked for the same.
        if let Some(held) = known() {
            return Ok(held);
        }
        let take = "UPDATE @project SET term = term + 1 WHERE name = $1 RETURNING key, term, last";
        let all = [scopes::insert_project(&self.inner.schema, name), self.sql(take).text(name)];
        let taken = together(&mut link, &all).await?;
        let row = taken.last().and_then(|rows| rows.first()).ok_or(JournalError::Lost)?;
        let held = Held::new(get(row, 0)?, unsigned(row, 1)?, unsigned(row, 2)?);
        let key = held.key;
        let held = Arc::new(tokio::sync::Mutex::new(held));
        let mut projects = locked(&self.inner.projects);
        projects.keys.insert(name.to_owned(), key);
        projects.held.insert(key, Arc::clone(&held));
        Ok(held)
    }

    /// Learns the names again.
    async fn learn_names(&self, link: &mut Lane<'_>) -> Result<(), JournalError> {
        let rows = ask(link, &self.sql("SELECT name, key FROM @project WHERE key > 0")).await?;
        let names: Result<BTreeMap<String, i32>, JournalError> =
            rows.iter().map(|row| Ok((get(row, 0)?, get(row, 1)?))).collect();
        let mut projects = locked(&self.inner.projects);
        projects.keys = names?;
        let there: BTreeSet<i32> = projects.keys.values().copied().collect();
        projects.held.retain(|key, _| there.contains(key));
        Ok(())
    }

    /// Writes what nobody waits for.
    async fn write_beside(&self) {
        let Beside { alive, refusals } = std::mem::take(&mut *locked(&self.inner.beside));
        if alive.is_none() && refusals.is_none() {
            return;
        }
        let text = "UPDATE @journal SET alive = greatest(alive, $1), refusals = coalesce($2, refusals)";
        let sql = self.sql(text).with(alive, Type::TIMESTAMPTZ).with(refusals, Type::TEXT);
        let written = async {
            let mut link = self.reader().await?;
            ask(&mut link, &sql).await
        };
        if let Err(error) = written.await {
            tracing::debug!(%error, "a sign of life, or a refused credential, could not be written to the journal");
        }
    }

    /// Has what nobody waits for written soon.
    fn soon(&self, change: impl FnOnce(&mut Beside)) {
        change(&mut locked(&self.inner.beside));
        let journal = self.clone();
        tokio::spawn(async move { journal.write_beside().await });
    }

    async fn write_all(&self, writes: Vec<OutboxWrite>) -> Result<Vec<Note>, JournalError> {
        let mut held: BTreeMap<i32, u64> = BTreeMap::new();
        let mut keys = Vec::new();
        for write in &writes {
            let key = match outbox::project_of(write) {
                None | Some("") => 0,
                Some(name) => {
                    let held_by_us = self.held(name).await?;
                    let project = held_by_us.lock().await;
                    held.insert(project.key, project.term);
                    project.key
                }
            };
            keys.push(key);
        }
        // All rows are locked in one order, and under the terms that are known here.
        let gate = "WITH ours AS (SELECT p.key FROM @project p JOIN unnest($1::int[], $2::bigint[]) AS u(key, term) \
                    ON u.key = p.key AND u.term = p.term ORDER BY p.key FOR UPDATE OF p) \
                    SELECT 1 / (count(*) = cardinality($1))::int FROM ours";
        let (of, terms): (Vec<i32>, Vec<i64>) =
            held.iter().map(|(key, term)| (*key, super::sql::number(*term))).unzip();
        let mut all = vec![self.sql(gate).with(of, Type::INT4_ARRAY).with(terms, Type::INT8_ARRAY)];
        let mut notes = Vec::new();
        for (write, key) in writes.into_iter().zip(keys) {
            let place = all.len();
            all.extend(outbox::of_write(&self.inner.schema, key, &write)?);
            if let OutboxWrite::Note(note) = write {
                notes.push((place, note));
            }
        }
        let key = held.keys().next().copied().unwrap_or_default();
        let mut link = self.inner.lanes.writer(key).await?;
        let answers = match together(&mut link, &all).await {
            Ok(answers) => answers,
            // The gate is shut.
            Err(error) if error.sql_state() == Some("22012") => return Err(self.fenced(&held).await?),
            Err(error) => return Err(error.into()),
        };
        let mut added = Vec::new();
        for (place, note) in notes {
            if let Some(row) = answers.get(place).and_then(|rows| rows.first()) {
                added.push(Note { number: unsigned(row, 0)?, note });
            }
        }
        Ok(added)
    }

    /// Which of these projects has another term by now.
    async fn fenced(&self, held: &BTreeMap<i32, u64>) -> Result<JournalError, JournalError> {
        let mut link = self.reader().await?;
        let rows = ask(&mut link, &self.sql("SELECT key, term FROM @project")).await?;
        for row in &rows {
            let (key, term): (i32, u64) = (get(row, 0)?, unsigned(row, 1)?);
            if let Some(ours) = held.get(&key).filter(|ours| **ours != term) {
                return Ok(JournalError::Fenced { ours: *ours, term });
            }
        }
        Ok(JournalError::Lost)
    }
}

impl Store for PostgresJournal {
    fn meta(&self) -> &Meta {
        &self.inner.meta
    }

    fn lease(&self, project: &ProjectName) -> Answer<'_, Fence> {
        let project = project.clone();
        Box::pin(async move {
            let held = self.held(project.as_str()).await?;
            let term = held.lock().await.term;
            Ok(Fence { term })
        })
    }

    fn append(&self, fence: Fence, at: Moment, lines: Vec<(Subject, Event)>) -> Answer<'_, Vec<Entry>> {
        Box::pin(async move {
            let Some((Subject { project, .. }, _)) = lines.first() else { return Ok(Vec::new()) };
            let project = project.clone();
            if let Some((other, _)) = lines.iter().find(|(subject, _)| subject.project != project) {
                return Err(JournalError::SeveralProjects { project, other: other.project.clone() });
            }
            let wall = to_the_millisecond(self.inner.clock.wall_of(at));
            let row = |(subject, event): &(Subject, Event)| NewRow::new(wall, subject, event);
            let rows = lines.iter().map(row).collect::<Result<Vec<_>, _>>()?;
            let held = self.held(project.as_str()).await?;
            let mut held = held.lock().await;
            fence.check(Fence { term: held.term })?;
            let mut tries = 0;
            let first = loop {
                tries += 1;
                let mut link = self.inner.lanes.writer(held.key).await?;
                match append::append(&mut link, &self.inner.schema, &mut held, wall, &rows).await {
                    // Certainly not kept: it met another transaction.
                    Err(JournalError::Database(error)) if error.kind() == Kind::NotKept && tries < TRIES => {}
                    done => break done?,
                }
            };
            let entry = |(number, (subject, event))| Entry { number, at, subject, event };
            Ok((first..).zip(lines).map(entry).collect())
        })
    }

    fn forget(&self, tasks: Vec<Subject>) -> Answer<'_, ()> {
        Box::pin(async move {
            let mut all = Vec::new();
            let mut last = 0;
            for Subject { project, cluster, task } in &tasks {
                let held = self.held(project.as_str()).await?;
                let held = held.lock().await;
                last = held.key;
                // Nothing is deleted under another term: the division fails.
                let text = "WITH gate AS (UPDATE @project SET last = last + 0 / (term = $2)::int WHERE key = $1 RETURNING key) \
                            DELETE FROM @entry e USING gate WHERE e.project = gate.key AND e.cluster = $3 AND e.task = $4 \
                            AND e.event NOT IN ('breaker-opened', 'breaker-closed')";
                let sql = self.sql(text).key(held.key).number(held.term);
                all.push(sql.text(cluster.as_str()).text(task.as_str()));
            }
            let mut link = self.inner.lanes.writer(last).await?;
            together(&mut link, &all).await?;
            Ok(())
        })
    }

    fn place_hold(&self, hold: NewHold) -> Answer<'_, StoredHold> {
        Box::pin(async move { scopes::place(&mut *self.reader().await?, &self.inner.schema, hold).await })
    }

    fn release_holds(&self, at: Timestamp, numbers: Vec<u64>, by: String) -> Answer<'_, ()> {
        Box::pin(async move {
            scopes::release(&mut *self.reader().await?, &self.inner.schema, at, &numbers, &by).await
        })
    }

    fn identify(&self, projects: Vec<Named>) -> Answer<'_, Identified> {
        Box::pin(async move {
            let mut link = self.reader().await?;
            let identified = scopes::identify(&mut link, &self.inner.schema, &projects).await?;
            self.learn_names(&mut link).await?;
            Ok(identified)
        })
    }

    fn read(&self, query: Query) -> Answer<'_, Vec<StoredEntry>> {
        Box::pin(async move { rows::entries(&mut *self.reader().await?, &self.inner.schema, &query).await })
    }

    fn read_scopes(&self) -> Answer<'_, Vec<ScopeEntry>> {
        Box::pin(async move { rows::scopes(&mut *self.reader().await?, &self.inner.schema).await })
    }

    fn clusters(&self) -> Answer<'_, Vec<KnownCluster>> {
        Box::pin(async move { rows::clusters(&mut *self.reader().await?, &self.inner.schema).await })
    }

    fn cluster_names(
        &self,
        clusters: BTreeSet<(ProjectName, ClusterId)>,
    ) -> Answer<'_, BTreeMap<ClusterId, String>> {
        Box::pin(async move {
            rows::cluster_names(&mut *self.reader().await?, &self.inner.schema, &clusters).await
        })
    }

    fn outbox(&self) -> Answer<'_, Kept> {
        Box::pin(async move { outbox::kept(&mut *self.reader().await?, &self.inner.schema).await })
    }

    fn write_outbox(&self, writes: Vec<OutboxWrite>) -> Answer<'_, Vec<Note>> {
        Box::pin(self.write_all(writes))
    }

    fn note_in_force(&self, at: Timestamp, what: String) -> Answer<'_, ()> {
        let text = "INSERT INTO @in_force (number, at, data) SELECT coalesce(max(number), 0) + 1, $1, $2 FROM @in_force \
                    HAVING $2 IS DISTINCT FROM (SELECT data FROM @in_force ORDER BY number DESC LIMIT 1)";
        let sql = self.sql(text).time(to_the_millisecond(at)).text(what);
        Box::pin(async move { ask(&mut *self.reader().await?, &sql).await.map(drop) })
    }

    fn in_force(&self) -> Answer<'_, Vec<(Timestamp, String)>> {
        let sql = self.sql("SELECT at, data FROM @in_force ORDER BY number");
        Box::pin(async move {
            let rows = ask(&mut *self.reader().await?, &sql).await?;
            rows.iter().map(|row| Ok((get(row, 0)?, get(row, 1)?))).collect()
        })
    }

    fn mark_alive(&self, at: Timestamp) {
        self.soon(|beside| beside.alive = Some(to_the_millisecond(at)));
    }

    fn last_alive(&self) -> Answer<'_, Option<Timestamp>> {
        let sql = self.sql("SELECT alive FROM @journal");
        Box::pin(async move {
            let rows = ask(&mut *self.reader().await?, &sql).await?;
            rows.first().map_or(Ok(None), |row| get(row, 0))
        })
    }

    fn keep_refusals(&self, text: String) {
        self.soon(|beside| beside.refusals = Some(text));
    }

    /// There is no thread that could be gone, and the database may be away for a while.
    fn check_alive(&self) -> Answer<'_, ()> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// It takes nothing here.
    fn size(&self) -> Option<u64> {
        None
    }

    fn close(&self) -> Answer<'_, ()> {
        Box::pin(async move {
            self.write_beside().await;
            self.inner.lanes.close().await;
            Ok(())
        })
    }
}
