//! The journal's file: what is refused and left as it was, who holds it, and who may read it meanwhile.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use jiff::Timestamp;
use rusqlite::Connection;
use rusqlite::config::DbConfig;
use tempfile::TempDir;
use upgrade_remediator::journal::reader::{KnownCluster, Query};
use upgrade_remediator::journal::{Journal, JournalError, JournalReader, SqliteJournal, SqliteOptions};
use upgrade_remediator::model::event::{Event, Shape, StoredEntry, Subject};
use upgrade_remediator::model::id::{ClusterId, ProjectName, TaskId};
use upgrade_remediator::model::moment::{Moment, Mono};
use upgrade_remediator::model::outbox::OutboxWrite;

use crate::conformance::outbox::{name, note};
use crate::conformance::{Kind as _, file, first_seen};

/// In the environment of the other process: the journal it is to hold.
const HELD: &str = "JOURNAL_TO_HOLD";

fn wall(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn now() -> Moment {
    Moment { wall: wall("2026-01-02T03:04:05.678Z"), mono: Mono(0) }
}

fn open(path: &Path) -> Result<(SqliteJournal, Vec<StoredEntry>), JournalError> {
    SqliteJournal::open(path, &SqliteOptions::new(now().wall, 1))
}

fn subject(cluster: &str) -> Subject {
    Subject {
        project: ProjectName::new("prod").unwrap(),
        cluster: ClusterId::new(cluster).unwrap(),
        task: TaskId::new("task").unwrap(),
    }
}

async fn record(journal: &SqliteJournal, at: &str, cluster: &str, event: Event) {
    let at = Moment { wall: wall(at), mono: Mono(0) };
    Journal::from(journal.clone()).record(at, vec![(subject(cluster), event)]).await.unwrap();
}

/// A journal with some hundred entries that was closed well, in a directory of its own.
async fn closed_journal() -> (TempDir, PathBuf) {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("journal.db");
    let journal = Journal::from(open(&path).unwrap().0);
    let shape = Shape { execute_times: None, end_time: None };
    let changed = |n| Event::Changed { whole: format!("{n:0>500}"), shape: shape.clone() };
    let lines = (0..300).map(|n| (subject("c1"), changed(n)));
    journal.record(now(), lines.collect()).await.unwrap();
    journal.close().await.unwrap();
    (directory, path)
}

/// Every file of a directory with its content.
fn content(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let file = |entry: std::io::Result<fs::DirEntry>| {
        let path = entry.unwrap().path();
        let bytes = fs::read(&path).unwrap_or_default();
        (path, bytes)
    };
    fs::read_dir(directory).unwrap().map(file).collect()
}

/// Refused, with the path in the message, and everything as it was.
fn refused(path: &Path) -> JournalError {
    let directory = path.parent().unwrap();
    let before = content(directory);
    let error = open(path).expect_err("opening was to be refused");
    assert!(content(directory) == before, "something was changed: {error}");
    assert!(error.to_string().contains(path.file_name().unwrap().to_str().unwrap()), "{error}");
    error
}

fn shell(path: &Path, sql: &str) {
    Connection::open(path).unwrap().execute_batch(sql).unwrap();
}

macro_rules! assert_matches {
    ($error:expr, $pattern:pat $(if $precondition:expr)?) => {{
        let error = &$error;
        assert!(matches!(error, $pattern $(if $precondition)?), "{error:?}");
    }};
}

#[test]
fn a_directory_that_is_missing_is_not_created() {
    let directory = TempDir::new().unwrap();
    let missing = directory.path().join("missing");
    let error = open(&missing.join("journal.db")).unwrap_err();
    assert_matches!(&error, JournalError::DirectoryMissing { directory, .. } if *directory == missing);
    assert!(!missing.exists());
}

#[cfg(target_os = "linux")]
#[test]
fn a_directory_where_nothing_can_be_created_is_told_as_that() {
    // In sysfs nobody can create files, whatever their rights.
    assert_matches!(
        open(Path::new("/sys/kernel/journal.db")).unwrap_err(),
        JournalError::DirectoryNotWritable { .. }
    );
}

#[test]
fn what_is_not_a_regular_file_is_refused() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("journal.db");
    fs::create_dir(&path).unwrap();
    assert_matches!(refused(&path), JournalError::IsDirectory { .. });
    assert_matches!(open(Path::new("/dev/full")).unwrap_err(), JournalError::NotAFile { .. });
    assert_matches!(open(Path::new("/")).unwrap_err(), JournalError::IsDirectory { .. });
}

#[test]
fn what_is_no_database_is_refused() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("journal.db");
    for garbage in ["", "x", "SQLite format 3\0 and then no more", &"garbage ".repeat(10_000)] {
        fs::write(&path, garbage).unwrap();
        assert_matches!(refused(&path), JournalError::NotAJournal { .. });
    }
}

#[test]
fn the_database_of_another_program_is_refused() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("journal.db");
    shell(&path, "CREATE TABLE theirs (x)");
    assert_matches!(refused(&path), JournalError::NotAJournal { .. });
    shell(&path, "PRAGMA application_id = 252006674");
    assert_matches!(refused(&path), JournalError::Foreign { found: 252_006_674, .. });
}

#[tokio::test]
async fn a_newer_schema_is_refused() {
    let (_directory, path) = closed_journal().await;
    shell(&path, "PRAGMA user_version = 99");
    assert_matches!(refused(&path), JournalError::Newer { found: 99, known: 5, .. });
    assert_matches!(JournalReader::open(&path).unwrap_err(), JournalError::Newer { .. });
}

#[tokio::test]
async fn a_newer_schema_that_only_the_log_knows_is_refused_and_the_log_is_kept() {
    let (directory, path) = closed_journal().await;
    let newer = Connection::open(&path).unwrap();
    newer.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).unwrap();
    newer.execute_batch("PRAGMA user_version = 99").unwrap();
    drop(newer);
    let kept = |directory: &Path| {
        let mut content = content(directory);
        content.retain(|path, _| !path.to_str().unwrap().ends_with("-shm"));
        content
    };
    let before = kept(directory.path());
    assert!(before.keys().any(|path| path.to_str().unwrap().ends_with("-wal")));
    assert_matches!(open(&path).unwrap_err(), JournalError::Newer { found: 99, .. });
    assert!(kept(directory.path()) == before);
}

#[tokio::test]
async fn a_damaged_page_is_found_before_anything_is_changed() {
    let (_directory, path) = closed_journal().await;
    // A start that is refused leaves no lock file either, where there was none.
    fs::remove_file(path.with_extension("db.lock")).unwrap();
    let sound = fs::read(&path).unwrap();
    let mut damaged = sound.clone();
    let middle = sound.len() / 2 / 4096 * 4096;
    damaged[middle..middle + 4096].fill(0xa5);
    fs::write(&path, &damaged).unwrap();
    assert_matches!(refused(&path), JournalError::Corrupt { .. });
    fs::write(&path, &sound[..middle]).unwrap();
    assert_matches!(refused(&path), JournalError::Corrupt { .. });
    fs::write(&path, &sound).unwrap();
    assert_eq!(open(&path).unwrap().1.len(), 300);
}

#[tokio::test]
async fn an_entry_that_cannot_be_understood_is_named_by_its_number() {
    let insert = |at, task, event, data| {
        format!(
            "INSERT INTO entry (at, project, cluster, task, event, data) \
             VALUES ('{at}', 'prod', 'c1', '{task}', '{event}', '{data}')"
        )
    };
    let good = "2026-01-02T03:04:05.678Z";
    for (sql, fault) in [
        (insert(good, "t", "missing", r#"{"event":"from-the-future"}"#), "Event("),
        (insert(good, "t", "running", r#"{"event":"missing"}"#), "Word {"),
        (insert(good, "a/b", "missing", r#"{"event":"missing"}"#), "Subject("),
        (insert("yesterday", "t", "missing", r#"{"event":"missing"}"#), "Time("),
    ] {
        let (_directory, path) = closed_journal().await;
        shell(&path, &sql);
        let JournalError::BadEntry { number: 301, source, .. } = refused(&path) else {
            panic!("the entry was not named");
        };
        assert!(format!("{source:?}").starts_with(fault), "{source:?}");
        let reader = JournalReader::open(&path).unwrap();
        assert_matches!(
            reader.entries(&Query::default()).unwrap_err(),
            JournalError::BadEntry { number: 301, .. }
        );
    }
}

#[tokio::test]
async fn a_journal_without_its_seed_is_damaged() {
    let (_directory, path) = closed_journal().await;
    shell(&path, "DELETE FROM meta WHERE key = 'jitter-seed'");
    assert_matches!(refused(&path), JournalError::Corrupt { detail, .. } if detail.contains("jitter-seed"));
}

#[tokio::test]
async fn a_file_that_may_not_be_written_is_refused() {
    let (_directory, path) = closed_journal().await;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
    // Permissions do not bind the superuser.
    if File::options().write(true).open(&path).is_ok() {
        assert!(open(&path).is_ok());
    } else {
        assert_matches!(refused(&path), JournalError::ReadOnly { .. });
    }
}

#[tokio::test]
async fn a_log_whose_journal_is_gone_is_not_mixed_into_a_new_one() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("journal.db");
    for left in ["journal.db-wal", "journal.db-journal"] {
        let left = directory.path().join(left);
        fs::write(&left, "pages").unwrap();
        assert_matches!(refused(&path), JournalError::LeftOver { left: named, .. } if *named == fs::canonicalize(&left).unwrap());
        fs::remove_file(left).unwrap();
    }
}

#[tokio::test]
async fn a_link_to_nothing_and_a_second_name_are_refused() {
    let (directory, path) = closed_journal().await;
    let dangling = directory.path().join("dangling.db");
    symlink(directory.path().join("absent-mount.db"), &dangling).unwrap();
    assert_matches!(refused(&dangling), JournalError::DanglingLink { .. });
    let second = directory.path().join("second.db");
    fs::hard_link(&path, &second).unwrap();
    for name in [&path, &second] {
        assert_matches!(refused(name), JournalError::HardLinked { links: 2, .. });
    }
}

/// What [`OtherProcess`] runs. On its own it has nothing to hold.
#[tokio::test]
async fn hold_the_journal_until_killed() {
    let Some(path) = std::env::var_os(HELD).map(PathBuf::from) else { return };
    let (journal, _) = open(&path).unwrap();
    for _ in 0..5 {
        record(&journal, "2026-01-02T03:04:05Z", "c1", Event::Missing).await;
    }
    std::io::stdout().write_all(b"\nheld\n").unwrap();
    // Ends with the process that started this one.
    let _ = std::io::stdin().read(&mut [0]);
}

/// A process that holds a journal in which it has recorded five entries.
struct OtherProcess(Child);

impl OtherProcess {
    fn holding(path: &Path) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "file::hold_the_journal_until_killed", "--nocapture"])
            .env(HELD, path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let held = lines.map(Result::unwrap).any(|line| line == "held");
        let process = Self(child);
        assert!(held, "the other process could not open the journal");
        process
    }
}

impl Drop for OtherProcess {
    /// As `kill -9` does.
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[test]
fn a_second_process_is_told_who_holds_the_journal_by_whatever_name() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("journal.db");
    let link = directory.path().join("link.db");
    let other = OtherProcess::holding(&path);
    symlink(&path, &link).unwrap();
    for name in [&path, &link] {
        let error = open(name).unwrap_err();
        assert!(error.to_string().contains(&format!("the process with pid {}", other.0.id())), "{error}");
        assert_matches!(error, JournalError::Held { pid, .. } if *pid == Some(other.0.id()));
    }
}

#[test]
fn a_killed_process_leaves_its_entries_and_no_lock() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("journal.db");
    drop(OtherProcess::holding(&path));
    assert_eq!(JournalReader::open(&path).unwrap().entries(&Query::default()).unwrap().len(), 5);
    let (journal, entries) = open(&path).unwrap();
    assert!(entries.iter().map(|entry| entry.number).eq(1..=5));
    assert!(!journal.is_new());
}

#[test]
fn a_second_opening_in_the_same_process_is_refused_too() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("journal.db");
    let (first, _) = open(&path).unwrap();
    assert_matches!(open(&path).unwrap_err(), JournalError::Held { pid, .. } if *pid == Some(std::process::id()));
    drop(first);
    assert!(open(&path).is_ok());
}

#[test]
fn a_reader_of_a_journal_that_is_not_there_creates_nothing() {
    let directory = TempDir::new().unwrap();
    let missing = JournalReader::open(&directory.path().join("journal.db")).unwrap_err();
    assert_matches!(missing, JournalError::Missing { .. });
    assert!(content(directory.path()).is_empty());
}

#[tokio::test]
async fn a_reader_sees_what_is_recorded_while_the_journal_is_held() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("journal.db");
    let (journal, _) = open(&path).unwrap();
    let reader = JournalReader::open(&path).unwrap();
    assert_eq!((reader.meta().id.as_str(), reader.meta().seed), (journal.id(), journal.seed()));
    for count in 1..=3 {
        record(&journal, "2026-01-02T03:04:05Z", "c1", Event::Missing).await;
        assert_eq!(reader.entries(&Query::default()).unwrap().len(), count);
    }
    Journal::from(journal).close().await.unwrap();
    assert_eq!(reader.entries(&Query::default()).unwrap().len(), 3, "the log is gone, and nothing with it");
}

#[tokio::test]
async fn a_reader_changes_nothing_beside_a_closed_journal() {
    let (directory, path) = closed_journal().await;
    let before = content(directory.path());
    let reader = JournalReader::open(&path).unwrap();
    assert_eq!(reader.entries(&Query::default()).unwrap().len(), 300);
    assert!(content(directory.path()) == before);
}

#[tokio::test]
async fn a_reader_finds_clusters_by_name_or_id_and_entries_by_time() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("a b?#%41.db");
    let (journal, _) = open(&path).unwrap();
    record(&journal, "2026-01-01T00:00:00Z", "c1", first_seen("logs")).await;
    record(&journal, "2026-01-02T00:00:00Z", "c1", Event::Missing).await;
    record(&journal, "2026-01-03T00:00:00Z", "c2", first_seen("logs")).await;
    record(&journal, "2026-01-04T00:00:00Z", "c3", first_seen("search")).await;
    record(&journal, "2026-01-05T00:00:00Z", "c3", first_seen("search-renamed")).await;
    let reader = JournalReader::open(&path).unwrap();
    let numbers = |cluster: Option<&str>, since: Option<&str>| {
        let query = Query { cluster: cluster.map(str::to_owned), since: since.map(wall), ..Query::default() };
        reader.entries(&query).unwrap().into_iter().map(|entry| entry.number).collect::<Vec<_>>()
    };
    assert_eq!(numbers(None, None), [1, 2, 3, 4, 5]);
    assert_eq!(numbers(Some("c1"), None), [1, 2]);
    assert_eq!(numbers(Some("logs"), None), [1, 2, 3]);
    assert_eq!(numbers(Some("logs"), Some("2026-01-02T00:00:00Z")), [2, 3]);
    assert_eq!(numbers(None, Some("2026-01-04T00:00:00.001Z")), [5]);
    assert_eq!(numbers(Some("nobody"), None), [0_u64; 0]);
    let known = |id: &str, name: &str| KnownCluster {
        project: ProjectName::new("prod").unwrap(),
        id: ClusterId::new(id).unwrap(),
        name: name.to_owned(),
    };
    assert_eq!(
        reader.clusters().unwrap(),
        [known("c1", "logs"), known("c2", "logs"), known("c3", "search-renamed")]
    );
}

#[tokio::test]
async fn writes_to_the_outbox_are_done_whole_or_not_at_all() {
    let outbox = file();
    let journal = outbox.open();
    journal.write(vec![OutboxWrite::Join { channel: name("ops") }]).await.unwrap();
    let connection = rusqlite::Connection::open(outbox.path()).unwrap();
    connection.execute_batch("DROP TABLE reading").unwrap();
    let writes = vec![
        OutboxWrite::Note(note("prod", &["ops"])),
        OutboxWrite::Read { project: ProjectName::new("prod").unwrap(), through: 1 },
    ];
    journal.write(writes).await.unwrap_err();
    let notes: i64 = connection.query_row("SELECT count(*) FROM note", (), |row| row.get(0)).unwrap();
    assert_eq!(notes, 0);
}
