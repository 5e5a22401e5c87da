//! Journals of older schemas: all that matters of them goes on, at whichever statement of the migration the process dies,
//! and an older version refuses what a newer one wrote.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use rusqlite::fallible_iterator::FallibleIterator as _;
use rusqlite::{Batch, Connection};
use tempfile::TempDir;
use upgrade_remediator::journal::{Journal, JournalReader, SqliteJournal, SqliteOptions};
use upgrade_remediator::model::hold::Holds;
use upgrade_remediator::model::id::{AttemptId, ClusterId, ProjectName, TaskId};
use upgrade_remediator::model::moment::{Moment, Mono};
use upgrade_remediator::model::outbox::Note;
use upgrade_remediator::model::project_state::ProjectState;

/// Those that were, and the one that is.
const SCHEMAS: [&str; 5] = [
    concat!(
        include_str!("../../src/journal/schema/0001_entries.sql"),
        include_str!("../../src/journal/schema/0001_views.sql")
    ),
    include_str!("../../src/journal/schema/0002_holds.sql"),
    include_str!("../../src/journal/schema/0003_outbox.sql"),
    include_str!("../../src/journal/schema/0004_projects.sql"),
    include_str!("../../src/journal/schema/0005_positions.sql"),
];

/// What the first versions wrote, in their words: a failed task whose retry has no answer, one that an operator has, and a
/// breaker that opened.
const ENTRIES: [(&str, &str, &str); 7] = [
    (
        "t-open",
        "first-seen",
        r#"{"event":"first-seen","kind":"upgrade","cluster_name":"logs","start_time":"2026-01-02T02:00:00","execute_times":1,"completed":0,"external":0}"#,
    ),
    ("t-open", "failed", FAILED),
    (
        "t-open",
        "intent",
        r#"{"event":"intent","action":"retry","failure":1,"waited":{"secs":120,"nanos":0},"reason":{"code":"retry-due","retry":1,"max_retries":5,"waited":{"secs":120,"nanos":0}}}"#,
    ),
    (
        "t-escalated",
        "first-seen",
        r#"{"event":"first-seen","kind":"upgrade","cluster_name":"logs","start_time":"2026-01-02T01:00:00","execute_times":1,"completed":0,"external":0}"#,
    ),
    ("t-escalated", "failed", FAILED),
    (
        "t-escalated",
        "escalated",
        r#"{"event":"escalated","reason":{"code":"retries-used-up","used":3,"external":1}}"#,
    ),
    (
        "t-open",
        "breaker-opened",
        r#"{"event":"breaker-opened","opening":{"because":"many-failed","failures":3,"within":{"secs":600,"nanos":0}},"cooldown":{"secs":1800,"nanos":0}}"#,
    ),
];
const FAILED: &str = r#"{"event":"failed","number":1,"status":"FAILED","shape":{"execute_times":1,"end_time":null},"seen_before":{"secs":0,"nanos":0},"whole":"{}","completed":0,"total":3,"failing":"n-1","external":0,"too_old":false,"seen_to_happen":true,"terms":null}"#;

const HOLDS: &str = "INSERT INTO hold (at, scope, cluster_name, until, reason, placed_by, released_at, released_by) VALUES
  ('2026-01-02T03:00:00.000Z', 'all', NULL, NULL, 'over', 'uid 0', '2026-01-02T03:01:00.000Z', 'uid 1'),
  ('2026-01-02T03:00:00.000Z', 'project:prod', NULL, '2036-01-02T03:00:00.000Z', 'it''s \"maintenance\"', 'uid 2', NULL, NULL),
  ('2026-01-02T03:00:00.000Z', 'cluster:c-1', 'logs é', NULL, 'x', 'uid 0', NULL, NULL)";

/// The first note is delivered to one channel, and does not concern the other, which came later.
const OUTBOX: &str = "INSERT INTO note (at, project, kind, channels, data) VALUES
  ('2026-01-02T03:00:00.000Z', 'prod', 'escalated', '[\"ops\",\"night\"]', '{}'),
  ('2026-01-02T03:00:00.000Z', 'prod', 'escalated', '[\"ops\",\"night\"]', '{}'),
  ('2026-01-02T03:00:00.000Z', 'test', 'escalated', '[\"night\"]', '{}');
  INSERT INTO channel (name, since) VALUES ('ops', 0), ('night', 2);
  INSERT INTO delivery (channel, project, through) VALUES ('ops', 'prod', 1);
  INSERT INTO reading (one, through) VALUES (1, 6);";

fn now() -> Moment {
    Moment { wall: "2026-01-02T03:10:00Z".parse().unwrap(), mono: Mono(1_000) }
}

/// A journal as the version with this schema left it.
fn of_schema(schema: usize) -> (TempDir, PathBuf) {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("journal.db");
    let connection = Connection::open(&path).unwrap();
    connection.execute_batch("PRAGMA journal_mode = WAL; PRAGMA application_id = 1433424493").unwrap();
    let migrate = |from: usize, to: usize| {
        for (number, sql) in (1..=to).zip(SCHEMAS).skip(from) {
            connection.execute_batch(&format!("{sql}; PRAGMA user_version = {number}")).unwrap();
        }
    };
    // Holds were rows of a table of their own before they became entries.
    let before = schema.min(3);
    migrate(0, before);
    let meta = "INSERT INTO meta VALUES ('journal-id', 'abcdabcdabcdabcdabcdabcdabcdabcd'), ('jitter-seed', '7'), \
                ('created-at', '2026-01-01T00:00:00.000Z')";
    connection.execute(meta, ()).unwrap();
    for (task, event, data) in ENTRIES {
        let insert = "INSERT INTO entry (at, project, cluster, task, event, data) \
                      VALUES ('2026-01-02T03:05:00.000Z', 'prod', 'c-1', ?1, ?2, ?3)";
        connection.execute(insert, (task, event, data)).unwrap();
    }
    if before >= 2 {
        connection.execute(HOLDS, ()).unwrap();
    }
    if before >= 3 {
        connection.execute_batch(OUTBOX).unwrap();
    }
    migrate(before, schema);
    connection.close().unwrap();
    (directory, path)
}

/// Opens it as the daemon does, and looks for all that must go on.
fn goes_on(path: &Path, schema: usize, what: &str) {
    let (journal, entries) = SqliteJournal::open(path, &SqliteOptions::new(now().wall, 1))
        .unwrap_or_else(|error| panic!("{what}: {error:?}"));
    assert!(!journal.is_new() && !journal.is_restored(), "{what}");
    assert_eq!((journal.seed(), journal.id().len()), (7, 32), "{what}");
    assert!(entries.iter().map(|entry| entry.number).eq(1..=7), "{what}: {entries:#?}");
    let mut state = ProjectState::default();
    for entry in entries {
        state.apply(&entry.recall(now()));
    }
    let record = state.cluster(&ClusterId::new("c-1").unwrap());
    let failure = |task: &str| record.tasks[&TaskId::new(task).unwrap()].clone();
    assert_eq!(failure("t-open").open.map(|open| open.id), Some(AttemptId(3)), "{what}");
    assert!(failure("t-escalated").escalated.is_some(), "{what}");
    assert!(state.breaker.open.is_some(), "{what}: the breaker is open");
    let holds: Vec<_> = journal.holds().iter().map(|hold| (hold.number, hold.scope.to_string())).collect();
    let all = [(1, "all"), (2, "project:prod"), (3, "cluster:c-1")]
        .map(|(number, scope)| (number, scope.to_owned()));
    assert_eq!(holds, if schema >= 2 { all.to_vec() } else { Vec::new() }, "{what}");
    if schema >= 2 {
        let (prod, cluster) = (ProjectName::new("prod").unwrap(), ClusterId::new("c-1").unwrap());
        let known = Holds::recall(journal.holds().iter().cloned(), now());
        assert_eq!(known.in_force(now()).count(), 2, "{what}");
        assert!(known.covering(&prod, &cluster, now()).is_some(), "{what}");
        let second = &journal.holds()[1];
        assert_eq!((second.reason.as_str(), second.by.as_str()), ("it's \"maintenance\"", "uid 2"), "{what}");
        assert!(second.until.is_some() && journal.holds()[0].released.is_some(), "{what}");
    }
    drop(journal);
    let reader = JournalReader::open(path).unwrap();
    let scopes = reader.scopes().unwrap();
    assert_eq!(scopes.len(), if schema >= 2 { 4 } else { 0 }, "{what}: three holds and a release");
    let view = "SELECT group_concat(number || ' ' || scope, ', ') FROM (SELECT * FROM holds ORDER BY number)";
    let connection = Connection::open(path).unwrap();
    let shown: Option<String> = connection.query_row(view, (), |row| row.get(0)).unwrap();
    assert_eq!(shown.as_deref(), (schema >= 2).then_some("2 project:prod, 3 cluster:c-1"), "{what}");
}

#[test]
fn a_journal_of_each_older_schema_goes_on_with_all_that_was_open() {
    for schema in 1..SCHEMAS.len() {
        let (_directory, path) = of_schema(schema);
        goes_on(&path, schema, &format!("schema {schema}"));
        goes_on(&path, schema, &format!("schema {schema}, at the next start"));
    }
}

#[test]
fn a_process_that_dies_at_any_statement_of_the_migration_leaves_a_journal_that_goes_on() {
    for schema in 1..SCHEMAS.len() {
        let mut statements = 1;
        loop {
            let (directory, path) = of_schema(schema);
            let (done, crash) = dies_after(&path, schema, statements);
            let what = format!("schema {schema}, statement {statements}");
            goes_on(&crash.path().join("journal.db"), schema, &what);
            drop(directory);
            if !done {
                break;
            }
            statements += 1;
        }
        assert!(statements > 10, "{statements}");
    }
}

/// Does so many statements of the migration and no commit; gives the files as they lie then, and whether there were so many.
fn dies_after(path: &Path, schema: usize, statements: usize) -> (bool, TempDir) {
    let mut connection = Connection::open(path).unwrap();
    // So that pages of the transaction reach the log before any commit.
    connection.execute_batch("PRAGMA cache_size = 1; PRAGMA synchronous = FULL").unwrap();
    let transaction = connection.transaction().unwrap();
    let mut left = statements;
    'all: for sql in &SCHEMAS[schema..] {
        let mut batch = Batch::new(&transaction, sql);
        while let Some(mut statement) = batch.next().unwrap() {
            if left == 0 {
                break 'all;
            }
            statement.execute(()).unwrap();
            left -= 1;
        }
    }
    let crash = TempDir::new().unwrap();
    for name in ["journal.db", "journal.db-wal"] {
        fs::copy(path.with_file_name(name), crash.path().join(name)).unwrap();
    }
    (left == 0, crash)
}

#[test]
fn an_older_version_refuses_what_a_newer_one_wrote_and_says_what_to_do() {
    let (_directory, path) = of_schema(SCHEMAS.len());
    let newer = SCHEMAS.len() + 1;
    Connection::open(&path).unwrap().execute_batch(&format!("PRAGMA user_version = {newer}")).unwrap();
    let before = fs::read(&path).unwrap();
    let opened = SqliteJournal::open(&path, &SqliteOptions::new(now().wall, 1)).unwrap_err().to_string();
    let read = JournalReader::open(&path).unwrap_err().to_string();
    for refused in [opened, read] {
        assert!(refused.contains(&format!("has schema {newer}")), "{refused}");
        assert!(refused.contains("use the version that wrote it, or a newer one"), "{refused}");
    }
    assert_eq!(fs::read(&path).unwrap(), before, "nothing of it was changed");
}

#[tokio::test]
async fn what_was_still_to_be_sent_and_how_far_entries_were_read_stays() {
    for schema in 1..=SCHEMAS.len() {
        let (_directory, path) = of_schema(schema);
        let kept = Journal::from(SqliteJournal::open(&path, &SqliteOptions::new(now().wall, 1)).unwrap().0);
        let kept = kept.kept().await.unwrap();
        let read = [(ProjectName::new("prod").unwrap(), 6)].into();
        assert_eq!(kept.read, if schema >= 3 { read } else { BTreeMap::new() }, "schema {schema}");
        let numbers: Vec<_> = kept.notes.iter().map(|note| note.number).collect();
        assert_eq!(numbers, if schema >= 3 { vec![2, 3] } else { Vec::new() }, "schema {schema}");
        let waits = |channel: &str| {
            let of = |note: &&Note| note.note.channels.contains(&channel.to_owned());
            let through = |note: &&Note| {
                let delivery = kept.deliveries.get(&(channel.to_owned(), note.note.project.clone()));
                note.number > delivery.map_or(0, |delivery| delivery.through)
            };
            kept.notes.iter().filter(of).filter(through).map(|note| note.number).collect::<Vec<_>>()
        };
        if schema >= 3 {
            assert_eq!((waits("ops"), waits("night")), (vec![2], vec![3]), "schema {schema}");
        }
    }
}
