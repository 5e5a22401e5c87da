use std::os::unix::fs::PermissionsExt;

use tempfile::TempDir;

use super::*;
use crate::journal::store::{Fence, Store as _};
use crate::model::event::{Entry, Event, Shape, Subject};
use crate::model::id::{ClusterId, ProjectName, TaskId};
use crate::model::moment::{Moment, Mono};

impl SqliteJournal {
    async fn record(&self, at: Moment, lines: Vec<(Subject, Event)>) -> Result<Vec<Entry>, JournalError> {
        self.append(Fence::ALONE, at, lines).await
    }
}

fn at() -> Moment {
    Moment { wall: "2026-01-02T03:04:05.678Z".parse().unwrap(), mono: Mono(1_000) }
}

fn options() -> SqliteOptions {
    SqliteOptions { busy_timeout: Duration::ZERO, ..SqliteOptions::new(at().wall, 7) }
}

fn subject() -> Subject {
    Subject {
        project: ProjectName::new("prod").unwrap(),
        cluster: ClusterId::new("cluster").unwrap(),
        task: TaskId::new("task").unwrap(),
    }
}

fn changed(length: usize) -> Vec<(Subject, Event)> {
    let shape = Shape { execute_times: None, end_time: None };
    vec![(subject(), Event::Changed { whole: "x".repeat(length), shape })]
}

fn new_journal(directory: &TempDir) -> SqliteJournal {
    let (journal, entries) = SqliteJournal::open(&directory.path().join("journal.db"), &options()).unwrap();
    assert!(journal.is_new() && entries.is_empty());
    journal
}

#[test]
fn a_journal_that_was_lost_is_told_from_one_that_never_was() {
    let directory = TempDir::new().unwrap();
    let first = new_journal(&directory);
    assert!(!first.is_lost(), "a first start has lost nothing");
    let path = first.path().to_owned();
    drop(first);
    let open = || SqliteJournal::open(&path, &options()).unwrap().0;
    assert!(!open().is_lost());
    fs::remove_file(&path).unwrap();
    let second = open();
    assert!(second.is_new() && second.is_lost());
    drop(second);
    assert!(!open().is_lost(), "it is told once");
}

fn reopened(journal: SqliteJournal) -> Vec<u64> {
    let path = journal.path().to_owned();
    drop(journal);
    let (journal, entries) = SqliteJournal::open(&path, &options()).unwrap();
    assert!(!journal.is_new());
    entries.into_iter().map(|entry| entry.number).collect()
}

#[tokio::test]
async fn a_full_disk_keeps_nothing_and_the_next_record_works_once_there_is_space() {
    let directory = TempDir::new().unwrap();
    let journal = new_journal(&directory);
    journal.record(at(), changed(10)).await.unwrap();
    journal.sql("PRAGMA max_page_count = 1").await;
    let full = journal.record(at(), changed(100_000)).await.unwrap_err();
    assert!(matches!(full, JournalError::DiskFull { .. }), "{full:?}");
    assert!(full.to_string().contains("journal.db"), "{full}");
    journal.sql("PRAGMA max_page_count = 1000000").await;
    let kept = journal.record(at(), changed(100_000)).await.unwrap();
    assert_eq!(kept[0].number, 2);
    assert_eq!(reopened(journal), [1, 2]);
}

#[tokio::test]
async fn on_a_full_disk_what_still_fits_is_kept_and_nothing_is_kept_by_half() {
    let directory = TempDir::new().unwrap();
    let journal = new_journal(&directory);
    journal.record(at(), changed(10)).await.unwrap();
    journal.sql("PRAGMA max_page_count = 1").await;
    let mut half = changed(10);
    half.extend(changed(100_000));
    let (small, half, other) = tokio::join!(
        journal.record(at(), changed(10)),
        journal.record(at(), half),
        journal.record(at(), changed(10))
    );
    assert_eq!(small.unwrap()[0].number, 2);
    assert!(matches!(half.unwrap_err(), JournalError::DiskFull { .. }));
    assert_eq!(other.unwrap()[0].number, 3);
    assert_eq!(reopened(journal), [1, 2, 3]);
}

#[tokio::test]
async fn a_failed_commit_is_in_doubt_is_rolled_back_and_loses_no_later_record() {
    let directory = TempDir::new().unwrap();
    let journal = new_journal(&directory);
    // A deferred foreign key fails at COMMIT, and leaves the transaction open.
    journal
        .sql(
            "CREATE TEMP TABLE parent (id INTEGER PRIMARY KEY);
             CREATE TEMP TABLE child (id INTEGER REFERENCES parent (id) DEFERRABLE INITIALLY DEFERRED);
             CREATE TEMP TRIGGER break_the_commit AFTER INSERT ON main.entry
             BEGIN INSERT INTO child VALUES (1); END;",
        )
        .await;
    let (one, two) = tokio::join!(journal.record(at(), changed(1)), journal.record(at(), changed(2)));
    for outcome in [one, two] {
        let doubt = outcome.unwrap_err();
        assert!(matches!(doubt, JournalError::InDoubt { .. }), "{doubt:?}");
    }
    journal.sql("DROP TRIGGER temp.break_the_commit").await;
    journal.record(at(), changed(3)).await.unwrap();
    assert_eq!(reopened(journal), [1]);
}

#[tokio::test]
async fn a_transaction_that_was_left_open_does_not_stop_the_next_record() {
    let directory = TempDir::new().unwrap();
    let journal = new_journal(&directory);
    journal.sql("BEGIN").await;
    journal.record(at(), changed(1)).await.unwrap();
    assert_eq!(reopened(journal), [1]);
}

#[tokio::test]
async fn a_lock_of_another_program_is_told_as_one() {
    let directory = TempDir::new().unwrap();
    let journal = new_journal(&directory);
    let shell = rusqlite::Connection::open(journal.path()).unwrap();
    shell.execute_batch("BEGIN IMMEDIATE").unwrap();
    let busy = journal.record(at(), changed(1)).await.unwrap_err();
    assert!(matches!(busy, JournalError::Busy { .. }), "{busy:?}");
    shell.execute_batch("ROLLBACK").unwrap();
    drop(shell);
    journal.record(at(), changed(1)).await.unwrap();
    assert_eq!(reopened(journal), [1]);
}

#[tokio::test]
async fn a_journal_that_was_moved_away_keeps_nothing_until_it_is_back() {
    let directory = TempDir::new().unwrap();
    let journal = new_journal(&directory);
    for name in ["journal.db", "journal.db-wal"] {
        let (there, away) = (directory.path().join(name), directory.path().join("away"));
        fs::rename(&there, &away).unwrap();
        let refused = journal.record(at(), changed(1)).await.unwrap_err();
        assert!(matches!(refused, JournalError::Replaced { .. }), "{refused:?}");
        fs::rename(&away, &there).unwrap();
    }
    journal.record(at(), changed(1)).await.unwrap();
    assert_eq!(reopened(journal), [1]);
}

#[tokio::test]
async fn the_connection_flushes_every_commit() {
    let directory = TempDir::new().unwrap();
    let journal = new_journal(&directory);
    // Each line fails unless the setting is as it must be.
    for (pragma, value) in [("synchronous", "2"), ("journal_mode", "'wal'"), ("foreign_keys", "1")] {
        journal
            .sql(&format!(
                "CREATE TEMP TABLE must (be INTEGER NOT NULL CHECK (be));
                 INSERT INTO must SELECT (SELECT {pragma} = {value} FROM pragma_{pragma});
                 DROP TABLE must;"
            ))
            .await;
    }
}

#[tokio::test]
async fn after_close_another_opening_works_and_this_one_says_that_it_is_closed() {
    let directory = TempDir::new().unwrap();
    let journal = new_journal(&directory);
    let asked_before = journal.record(at(), changed(1));
    let (kept, closed) = tokio::join!(asked_before, journal.close());
    assert!(kept.is_ok() && closed.is_ok());
    let (_second, entries) = SqliteJournal::open(journal.path(), &options()).unwrap();
    assert_eq!(entries.len(), 1);
    assert!(matches!(journal.record(at(), changed(1)).await, Err(JournalError::Closed { .. })));
    assert!(matches!(journal.close().await, Err(JournalError::Closed { .. })));
}

#[test]
fn a_new_journal_is_for_its_owner_alone_and_its_identity_comes_from_the_seed() {
    let (one, two) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let (first, second) = (new_journal(&one), new_journal(&two));
    let mode = fs::metadata(first.path()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!((first.id(), first.seed()), (second.id(), second.seed()));
    assert_eq!(first.id().len(), 32);
    assert_eq!(first.created_at(), at().wall);
}

#[test]
fn what_a_crash_left_of_creating_a_journal_is_no_journal_and_no_obstacle() {
    let directory = TempDir::new().unwrap();
    fs::write(directory.path().join("journal.db.new"), "half").unwrap();
    fs::write(directory.path().join("journal.db.new-journal"), "half").unwrap();
    let journal = new_journal(&directory);
    assert_eq!(reopened(journal), [0_u64; 0]);
    assert!(!directory.path().join("journal.db.new").exists());
    assert!(!directory.path().join("journal.db.new-journal").exists());
}

#[test]
fn a_journal_whose_write_ahead_log_a_shell_turned_off_is_opened_with_it_on() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("journal.db");
    let mut connection = rusqlite::Connection::open(&path).unwrap();
    schema::migrate(&mut connection, schema::MIGRATIONS).unwrap();
    Meta { id: "old".to_owned(), seed: 1, created_at: at().wall }.write(&connection).unwrap();
    drop(connection);
    let (journal, entries) = SqliteJournal::open(&path, &options()).unwrap();
    assert_eq!((journal.id(), journal.seed(), journal.is_new()), ("old", 1, false));
    assert!(entries.is_empty() && directory.path().join("journal.db-wal").exists());
}

#[tokio::test]
async fn whoever_keeps_the_journal_shows_that_it_lives_until_it_is_gone() {
    let directory = TempDir::new().unwrap();
    let journal = new_journal(&directory);
    journal.check_alive().await.unwrap();
    journal.sql("PRAGMA max_page_count = 1").await;
    // Nothing can be kept now, but that may change.
    journal.record(at(), changed(100_000)).await.unwrap_err();
    journal.check_alive().await.unwrap();
    journal.panic();
    let gone = journal.check_alive().await.unwrap_err();
    assert!(matches!(gone, JournalError::Closed { .. }), "{gone:?}");
}

#[tokio::test]
async fn a_lock_file_that_was_removed_or_replaced_stops_every_commit() {
    let directory = TempDir::new().unwrap();
    let journal = new_journal(&directory);
    journal.record(at(), changed(1)).await.unwrap();
    let (lock, away) = (directory.path().join("journal.db.lock"), directory.path().join("away"));
    fs::rename(&lock, &away).unwrap();
    let refused = || async { journal.record(at(), changed(1)).await.unwrap_err() };
    let removed = refused().await;
    assert!(matches!(removed, JournalError::Unlocked { .. }), "{removed:?}");
    for part in ["journal.db.lock", "removed or replaced", "stop every daemon"] {
        assert!(removed.to_string().contains(part), "{removed}");
    }
    fs::write(&lock, "").unwrap();
    assert!(matches!(refused().await, JournalError::Unlocked { .. }));
    fs::rename(&away, &lock).unwrap();
    journal.record(at(), changed(1)).await.unwrap();
}

#[tokio::test]
async fn of_two_that_hold_one_journal_after_its_lock_file_was_removed_only_the_later_one_commits() {
    let directory = TempDir::new().unwrap();
    let first = new_journal(&directory);
    first.record(at(), changed(1)).await.unwrap();
    fs::remove_file(directory.path().join("journal.db.lock")).unwrap();
    let (second, entries) = SqliteJournal::open(first.path(), &options()).unwrap();
    assert_eq!(entries.len(), 1);
    for _ in 0..2 {
        let refused = first.record(at(), changed(1)).await.unwrap_err();
        assert!(matches!(refused, JournalError::Unlocked { .. }), "{refused:?}");
        second.record(at(), changed(1)).await.unwrap();
    }
    // Its end takes nothing from the other one.
    first.close().await.unwrap();
    second.record(at(), changed(1)).await.unwrap();
    assert_eq!(reopened(second), [1, 2, 3, 4]);
}

#[tokio::test]
async fn whoever_takes_the_lock_waits_for_a_commit_that_is_under_way() {
    let directory = TempDir::new().unwrap();
    let first = new_journal(&directory);
    first.record(at(), changed(1)).await.unwrap();
    fs::remove_file(directory.path().join("journal.db.lock")).unwrap();
    // As a commit of the first that was judged just before its lock file was removed.
    first.sql("BEGIN IMMEDIATE").await;
    let refused = SqliteJournal::open(first.path(), &options()).unwrap_err();
    assert!(matches!(refused, JournalError::Busy { .. }), "{refused:?}");
    first.sql("COMMIT").await;
    SqliteJournal::open(first.path(), &options()).unwrap();
}

#[tokio::test]
async fn a_log_that_was_truncated_or_overwritten_in_place_stops_every_commit() {
    for (what, length) in [("emptied", 0), ("its header alone", 32), ("the last page missing", -1)] {
        let directory = TempDir::new().unwrap();
        let journal = new_journal(&directory);
        journal.record(at(), changed(10_000)).await.unwrap();
        let log = fs::OpenOptions::new().write(true).open(directory.path().join("journal.db-wal")).unwrap();
        let whole = log.metadata().unwrap().len();
        log.set_len(u64::try_from(length).unwrap_or(whole - 1)).unwrap();
        for _ in 0..2 {
            let refused = journal.record(at(), changed(1)).await.unwrap_err();
            assert!(matches!(refused, JournalError::Overwritten { .. }), "{what}: {refused:?}");
            assert!(refused.to_string().contains("journal.db-wal was truncated"), "{refused}");
        }
        // Zeros where its content was hold nothing either.
        log.set_len(0).unwrap();
        log.set_len(whole).unwrap();
        let refused = journal.record(at(), changed(1)).await.unwrap_err();
        assert!(matches!(refused, JournalError::Overwritten { .. }), "{what}: {refused:?}");
    }
}

#[tokio::test]
async fn a_journal_that_was_overwritten_in_place_keeps_nothing() {
    let directory = TempDir::new().unwrap();
    let journal = new_journal(&directory);
    let backup = fs::read(journal.path()).unwrap();
    journal.record(at(), changed(10_000)).await.unwrap();
    fs::write(journal.path(), backup).unwrap();
    let refused = journal.record(at(), changed(1)).await.unwrap_err();
    assert!(matches!(refused, JournalError::Overwritten { .. }), "{refused:?}");
}

#[tokio::test]
async fn what_sqlite_itself_does_to_the_files_stops_nothing() {
    let directory = TempDir::new().unwrap();
    let journal = new_journal(&directory);
    let shell = rusqlite::Connection::open(journal.path()).unwrap();
    for mode in ["PASSIVE", "FULL", "RESTART", "TRUNCATE"] {
        journal.record(at(), changed(10_000)).await.unwrap();
        shell.query_row(&format!("PRAGMA wal_checkpoint({mode})"), (), |_| Ok(())).unwrap();
        journal.record(at(), changed(10_000)).await.unwrap();
    }
    shell.execute_batch("CREATE TABLE other (x); INSERT INTO other VALUES (1)").unwrap();
    journal.record(at(), changed(10)).await.unwrap();
    shell.execute_batch("VACUUM").unwrap();
    journal.record(at(), changed(10)).await.unwrap();
    // More than what makes a commit move the log into the database.
    for _ in 0..3 {
        journal.record(at(), changed(6_000_000)).await.unwrap();
    }
    drop(shell);
    assert_eq!(reopened(journal).len(), 13);
}

/// The holds in force as whoever opens it finds them, and whether it says that it was restored.
fn restored(path: &Path) -> (bool, Vec<String>) {
    let (journal, _) = SqliteJournal::open(path, &options()).unwrap();
    let holds = journal.holds().iter().filter(|hold| hold.released.is_none());
    (journal.is_restored(), holds.map(|hold| format!("{} by {}", hold.scope, hold.by)).collect())
}

#[tokio::test]
async fn a_journal_that_was_restored_from_a_backup_holds_everything_until_somebody_releases_it() {
    let directory = TempDir::new().unwrap();
    let journal = new_journal(&directory);
    journal.record(at(), changed(1)).await.unwrap();
    let path = journal.path().to_owned();
    drop(journal);
    let backup = fs::read(&path).unwrap();
    assert_eq!(restored(&path), (false, vec![]), "a restart is no restore");
    let (journal, _) = SqliteJournal::open(&path, &options()).unwrap();
    journal.record(at(), changed(1)).await.unwrap();
    drop(journal);
    fs::write(&path, &backup).unwrap();
    assert_eq!(restored(&path), (true, vec!["all by the daemon".to_owned()]));
    assert_eq!(restored(&path), (false, vec!["all by the daemon".to_owned()]), "once is enough");
    let (journal, _) = SqliteJournal::open(&path, &options()).unwrap();
    journal.release_holds(at().wall, vec![1], "uid 0".to_owned()).await.unwrap();
    drop(journal);
    assert_eq!(restored(&path), (false, vec![]));
    // The hold that was placed by then is missing in the backup too.
    fs::write(&path, &backup).unwrap();
    assert!(restored(&path).0);
}

#[tokio::test]
async fn a_journal_whose_log_was_lost_holds_everything_too_and_another_journal_does_not() {
    let directory = TempDir::new().unwrap();
    let journal = new_journal(&directory);
    let path = journal.path().to_owned();
    journal.record(at(), changed(1)).await.unwrap();
    fs::write(directory.path().join("journal.db-wal"), "").unwrap();
    drop(journal);
    assert!(restored(&path).0);
    let other = TempDir::new().unwrap();
    let (another, _) =
        SqliteJournal::open(&other.path().join("journal.db"), &SqliteOptions { seed: 8, ..options() })
            .unwrap();
    let file = another.path().to_owned();
    drop(another);
    fs::copy(file, &path).unwrap();
    for left in ["journal.db-wal", "journal.db-shm"] {
        let _ = fs::remove_file(directory.path().join(left));
    }
    assert_eq!(restored(&path), (false, vec![]));
}
