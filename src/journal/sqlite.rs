//! The journal in one `SQLite` file.
//!
//! # Durability
//! WAL with `synchronous=FULL`: a commit is flushed to disk before [`Store::append`](super::Store::append) returns. One thread owns
//! the connection; dropping a future of `record` does not undo it.
//!
//! # One writer
//! A lock beside the file (`journal.db.lock`) keeps a second daemon out. It goes by the real path, so a symbolic
//! link does not slip past; a file with several hard links is refused. The lock is asked with every commit, as is
//! whether the files are those that were opened and whole (`files`): a lock file removed by hand, a journal replaced or
//! a log truncated stops every commit. Whoever takes the lock waits for a commit under way before reading. On a network
//! file system whose locks do not work neither this nor `SQLite` is safe: keep the journal on a local disk.
//!
//! # Refusals
//! Everything that can be known without writing is asked first: the header, the schema's number, the soundness
//! of the pages, and every entry. A journal that is refused is not changed.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use jiff::Timestamp;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rusqlite::Connection;
use rusqlite::config::DbConfig;
use tokio::sync::oneshot;

use super::connect::{self, Way};
use super::error::JournalError;
use super::files::Files;
use super::holds;
use super::lock::Lock;
use super::names;
use super::owner::{Command, Owner};
use super::place::Place;
use super::schema::{self, Meta};
use super::seen::{self, Numbers, Seen};
use super::stored;
use crate::failpoint::{self, Point};
use crate::model::event::StoredEntry;
use crate::model::hold::{NewHold, Scope, StoredHold};

/// Longer than any transaction of a shell or a backup should take, and short enough for a stop, which waits for
/// the record that is under way and may have to wait for one more.
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);

/// How to open a journal.
#[derive(Debug, Clone)]
pub struct SqliteOptions {
    /// The present, written into a new journal.
    pub now: Timestamp,
    /// From which a new journal makes its id and the seed of its jitter. An existing one keeps its own.
    pub seed: u64,
    /// How long to wait for another program that has the database locked.
    pub busy_timeout: Duration,
}

impl SqliteOptions {
    /// With the usual time to wait.
    pub fn new(now: Timestamp, seed: u64) -> Self {
        Self { now, seed, busy_timeout: BUSY_TIMEOUT }
    }
}

/// A journal in an `SQLite` file, open to write. Clones share it.
///
/// When the last clone is dropped, what was asked before is still kept, and the file is closed; that blocks for
/// as long as it takes. [`Store::close`](super::Store::close) does the same without blocking, and tells of errors.
#[derive(Debug, Clone)]
pub struct SqliteJournal {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    place: Place,
    meta: Meta,
    is_new: bool,
    is_lost: bool,
    restored: bool,
    /// As they stood when it was opened.
    holds: Vec<StoredHold>,
    refusals: Option<String>,
    /// `None` only while this is dropped.
    commands: Option<mpsc::Sender<Command>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        drop(self.commands.take());
        if let Some(thread) = self.thread.take() {
            // A panic of the thread was already seen by whoever waited for an answer.
            let _ = thread.join();
        }
    }
}

impl SqliteJournal {
    /// Opens the journal, or creates it in a directory that is there, and returns what it holds, in order.
    /// Blocks.
    ///
    /// # Errors
    /// See [`JournalError`]. Nothing on disk is changed then.
    pub fn open(path: &Path, options: &SqliteOptions) -> Result<(Self, Vec<StoredEntry>), JournalError> {
        let mut entries = Vec::new();
        let journal = Self::open_each(path, options, |entry| entries.push(entry))?;
        Ok((journal, entries))
    }

    /// As [`Self::open`], but hands each entry to `each` as it is read, so that a large journal need not be in
    /// memory beside what is made of it. Where this fails, `each` may have been handed some.
    ///
    /// # Errors
    /// See [`JournalError`]. Nothing on disk is changed then.
    pub fn open_each(
        path: &Path,
        options: &SqliteOptions,
        each: impl FnMut(StoredEntry),
    ) -> Result<Self, JournalError> {
        let place = Place::resolve(path)?;
        // What can never be a journal does not even get a lock file.
        if place.inspect()? {
            place.check_writable()?;
        }
        let lock = Lock::take(&place)?;
        failpoint::pass(Point::Locked);
        match prepare(&place, options, each) {
            Ok(prepared) => Self::start(place, lock, prepared),
            Err(error) => {
                lock.abandon();
                Err(error)
            }
        }
    }

    fn start(place: Place, lock: Lock, prepared: Prepared) -> Result<Self, JournalError> {
        let Prepared { connection, meta, is_new, is_lost, restored, holds, refusals } = prepared;
        let files = Files::of(&place, &connection).map_err(|source| JournalError::File {
            path: place.path().to_owned(),
            doing: "looking at the opened files",
            source,
        })?;
        let file_fault = |source| JournalError::File {
            path: place.path().to_owned(),
            doing: "writing its sign of life (.seen)",
            source,
        };
        let mut seen = Seen::open(&place, &meta.id).map_err(file_fault)?;
        seen.note(Numbers::of(&connection).map_err(|error| JournalError::sqlite(place.path(), error))?);
        let owner = Owner { connection, place: place.clone(), files, seen, lock };
        let (commands, waiting) = mpsc::channel();
        let thread = std::thread::Builder::new()
            .name("journal".to_owned())
            .spawn(move || owner.run(&waiting))
            .map_err(|source| JournalError::Thread { path: place.path().to_owned(), source })?;
        let (commands, thread) = (Some(commands), Some(thread));
        let inner = Inner { place, meta, is_new, is_lost, restored, holds, refusals, commands, thread };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The real path of the file.
    pub fn path(&self) -> &Path {
        self.inner.place.path()
    }

    /// Which journal it is: 32 hexadecimal digits, made when it was created.
    pub fn id(&self) -> &str {
        &self.inner.meta.id
    }

    /// The seed of all jitter, made when it was created.
    pub fn seed(&self) -> u64 {
        self.inner.meta.seed
    }

    /// When it was created.
    pub fn created_at(&self) -> Timestamp {
        self.inner.meta.created_at
    }

    /// Whether this opening created it.
    pub fn is_new(&self) -> bool {
        self.inner.is_new
    }

    /// Whether this opening created it although another one was here before, as what lies beside it shows.
    pub fn is_lost(&self) -> bool {
        self.inner.is_lost
    }

    /// Whether it knows less than was seen of it: it was restored from a backup, or has lost its log. This opening has
    /// placed a hold on everything then.
    pub fn is_restored(&self) -> bool {
        self.inner.restored
    }

    /// The holds as they stood when it was opened, oldest first.
    pub fn holds(&self) -> &[StoredHold] {
        &self.inner.holds
    }

    /// What was kept of refused credentials when it was opened.
    pub fn refusals(&self) -> Option<&str> {
        self.inner.refusals.as_deref()
    }

    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T, JournalError> {
        let closed = || JournalError::Closed { path: self.path().to_owned() };
        let (answer, answered) = oneshot::channel();
        let commands = self.inner.commands.as_ref().ok_or_else(closed)?;
        commands.send(command(answer)).map_err(|_| closed())?;
        answered.await.map_err(|_| closed())
    }

    /// Asks for something whose answer nobody waits for.
    fn tell(&self, command: Command) {
        if let Some(commands) = &self.inner.commands {
            // One that is closed keeps nothing more.
            let _ = commands.send(command);
        }
    }

    /// Runs any SQL on the connection: to make the disk full, or a commit fail.
    #[cfg(test)]
    async fn sql(&self, sql: &str) {
        let sql = sql.to_owned();
        self.ask(|answer| Command::Sql(sql, answer)).await.unwrap().unwrap();
    }

    /// Has the thread that owns the connection panic.
    #[cfg(test)]
    fn panic(&self) {
        self.inner.commands.as_ref().unwrap().send(Command::Panic).unwrap();
    }
}

/// A journal that is ready to be written.
struct Prepared {
    connection: Connection,
    meta: Meta,
    is_new: bool,
    is_lost: bool,
    restored: bool,
    holds: Vec<StoredHold>,
    refusals: Option<String>,
}

fn prepare(
    place: &Place,
    options: &SqliteOptions,
    each: impl FnMut(StoredEntry),
) -> Result<Prepared, JournalError> {
    // Again, now that nobody else can create or change it.
    let is_new = !place.inspect()?;
    let is_lost = is_new && seen::is_there(place);
    if is_new {
        create(place, options)?;
    } else {
        wait_for_the_last_commit(place, options)?;
        verify(place, options, each)?;
    }
    let fault = |error| JournalError::sqlite(place.path(), error);
    let mut connection = connect::read_write(place.path(), options.busy_timeout).map_err(fault)?;
    keep_log(&connection).map_err(fault)?;
    if schema::check(place.path(), &connection)? < schema::newest() {
        schema::migrate(&mut connection, schema::MIGRATIONS).map_err(fault)?;
        failpoint::pass(Point::Migrated);
    }
    let meta = Meta::read(place.path(), &connection)?;
    let numbers = Numbers::of(&connection).map_err(fault)?;
    let seen = seen::read(place, &meta.id).filter(|seen| seen.know_more_than(numbers));
    if let Some(seen) = seen {
        holds::insert(&connection, after_a_restore(options.now, seen, numbers)).map_err(fault)?;
    }
    let holds = holds::read(place.path(), &connection)?;
    let refusals = refusals::read(&connection).map_err(fault)?;
    Ok(Prepared { connection, meta, is_new, is_lost, restored: seen.is_some(), holds, refusals })
}

/// Waits for a commit that another daemon has under way. Its lock file is gone, as we hold the one that is there, and it
/// sees so with its next commit; what it committed before is read from here on.
fn wait_for_the_last_commit(place: &Place, options: &SqliteOptions) -> Result<(), JournalError> {
    if Way::for_now(place) == Way::Immutable {
        return Ok(());
    }
    let fault = |error| JournalError::sqlite(place.path(), error);
    let connection = connect::read_write(place.path(), options.busy_timeout).map_err(fault)?;
    // Nothing is changed: neither now nor when it is closed.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).map_err(fault)?;
    connection.execute_batch("BEGIN IMMEDIATE; ROLLBACK").map_err(fault)
}

/// What was aborted, sent or held since is not known: nothing is sent before somebody has looked.
fn after_a_restore(now: Timestamp, seen: Numbers, kept: Numbers) -> NewHold {
    NewHold {
        at: now,
        scope: Scope::All,
        cluster_name: None,
        until: None,
        reason: format!(
            "the journal was restored from a backup or lost its end: it has {} of {} entries and {} of {} holds, and later \
             requests and holds are unknown. Check each failed task, place the holds that are missing, then release all",
            kept.entry, seen.entry, kept.hold, seen.hold
        ),
        by: "the daemon".to_owned(),
    }
}

/// Reads all of it before anything is changed.
fn verify(place: &Place, options: &SqliteOptions, each: impl FnMut(StoredEntry)) -> Result<(), JournalError> {
    let connection = connect::read_only(place, Way::for_now(place), options.busy_timeout)?;
    schema::check(place.path(), &connection)?;
    schema::check_pages(place.path(), &connection)?;
    Meta::read(place.path(), &connection)?;
    holds::read(place.path(), &connection)?;
    names::read(place.path(), &connection)?;
    stored::read(place.path(), &connection, each)
}

/// Turns the write-ahead log on. It is kept in the file, but a shell may have turned it off.
fn keep_log(connection: &Connection) -> rusqlite::Result<()> {
    let mode: String = connection.query_row("PRAGMA journal_mode = WAL", (), |row| row.get(0))?;
    if mode != "wal" {
        let cannot = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CANTOPEN);
        let message = "the file system cannot hold a write-ahead log: keep the journal on a local disk";
        return Err(rusqlite::Error::SqliteFailure(cannot, Some(message.to_owned())));
    }
    Ok(())
}

/// Makes a whole new journal under another name and then renames it, so that a half-made one never lies at the
/// path.
fn create(place: &Place, options: &SqliteOptions) -> Result<(), JournalError> {
    let unfinished = place.beside(".new");
    let file_fault =
        |doing| move |source| JournalError::File { path: place.path().to_owned(), doing, source };
    // What a crash left of an earlier beginning.
    remove_unfinished(place).map_err(file_fault("removing an unfinished journal"))?;
    let made = File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&unfinished)
        .map_err(file_fault("creating the file"))
        .inspect(|_| failpoint::pass(Point::FileMade))
        .and_then(|_| fill(&unfinished, options).map_err(|error| JournalError::sqlite(place.path(), error)))
        .inspect(|()| failpoint::pass(Point::Filled))
        .and_then(|()| {
            fs::rename(&unfinished, place.path()).map_err(file_fault("renaming the finished file"))
        })
        .inspect(|()| failpoint::pass(Point::Renamed))
        .and_then(|()| {
            File::open(place.directory())
                .and_then(|directory| directory.sync_all())
                .map_err(file_fault("flushing the directory"))
        })
        .inspect(|()| failpoint::pass(Point::Created));
    if made.is_err() {
        let _ = remove_unfinished(place);
    }
    made
}

fn fill(unfinished: &Path, options: &SqliteOptions) -> rusqlite::Result<()> {
    let mut connection = connect::read_write(unfinished, options.busy_timeout)?;
    schema::migrate(&mut connection, schema::MIGRATIONS)?;
    failpoint::pass(Point::SchemaMade);
    let mut random = StdRng::seed_from_u64(options.seed);
    let id = format!("{:016x}{:016x}", random.next_u64(), random.next_u64());
    Meta { id, seed: random.next_u64(), created_at: options.now }.write(&connection)?;
    keep_log(&connection)?;
    connection.close().map_err(|(_, error)| error)
}

fn remove_unfinished(place: &Place) -> io::Result<()> {
    for suffix in [".new", ".new-journal", ".new-wal", ".new-shm"] {
        match fs::remove_file(place.beside(suffix)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

mod refusals;
mod store;
#[cfg(test)]
mod tests;
