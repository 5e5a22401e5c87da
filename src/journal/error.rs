//! Why the journal cannot be used: one variant for each thing an operator would do about it.
//!
//! Every message names the file and says what to do. Nothing on disk was changed where opening was refused.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::ErrorCode;

use super::postgres::{Kind, PostgresError};
use crate::model::id::{IdError, ProjectName, TaskId};

/// Why the journal could not be opened, read or written.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the message of each variant says what its fields are")]
pub enum JournalError {
    // The path does not lead to a file that can be a journal.
    /// The directory is not there. It is never created: a wrong path or an absent mount would otherwise begin
    /// a new journal, which has forgotten every attempt.
    #[error("the directory {directory} of the journal {path} does not exist; create it or correct the path")]
    DirectoryMissing { path: PathBuf, directory: PathBuf },
    /// Files cannot be created in the directory, by its permissions or because the file system is read-only.
    #[error(
        "files cannot be created in {directory}, the directory of the journal {path}; make it writable for this user"
    )]
    DirectoryNotWritable { path: PathBuf, directory: PathBuf, source: io::Error },
    /// A reader found no journal.
    #[error("there is no journal at {path}; start the daemon once, or correct the path")]
    Missing { path: PathBuf },
    /// The path is a directory.
    #[error("the journal {path} is a directory; give the path of a file in it")]
    IsDirectory { path: PathBuf },
    /// The path is a device, a pipe or a socket.
    #[error("the journal {path} is not a regular file; give the path of one")]
    NotAFile { path: PathBuf },
    /// The path is a symbolic link to nothing: perhaps an absent mount.
    #[error("the journal {path} is a symbolic link to nothing; restore what it leads to, or remove the link")]
    DanglingLink { path: PathBuf },
    /// The file has several names. `SQLite` and the lock beside it go by the name, so two daemons could write it.
    #[error("the journal {path} has {links} names (hard links); leave it only one")]
    HardLinked { path: PathBuf, links: u64 },
    /// The file may not be read.
    #[error("the journal {path} cannot be read; run this as root or as the daemon's user")]
    Unreadable { path: PathBuf, source: io::Error },
    /// The file, or its file system, is read-only.
    #[error("the journal {path} cannot be written; make the file and its file system writable for this user")]
    ReadOnly { path: PathBuf, source: Arc<dyn std::error::Error + Send + Sync> },

    // The file is not a journal that this program can use.
    /// It is not an `SQLite` database at all, or empty.
    #[error(
        "{path} is not a journal ({found}); correct the path, restore a backup, or move the file away to begin a new journal"
    )]
    NotAJournal { path: PathBuf, found: String },
    /// It is an `SQLite` database of another program.
    #[error(
        "{path} is the database of another program (application id {found:#010x}); correct the path, or move the file away"
    )]
    Foreign { path: PathBuf, found: u32 },
    /// A newer version of this program wrote it.
    #[error(
        "the journal {path} has schema {found}, and this version knows schemas up to {known}; use the version that wrote it, or a newer one"
    )]
    Newer { path: PathBuf, found: u32, known: u32 },
    /// The file is damaged.
    #[error(
        "the journal {path} is damaged ({detail}); restore a backup, or move it away to begin a new journal"
    )]
    Corrupt { path: PathBuf, detail: String },
    /// One entry cannot be understood.
    #[error(
        "entry {number} of the journal {path} cannot be understood; restore a backup, or use the version that wrote it"
    )]
    BadEntry { path: PathBuf, number: i64, source: EntryFault },
    /// Files of an interrupted write lie beside the journal, and what they belong to is missing or was written
    /// by another program. Going on could mix two journals.
    #[error(
        "{left} is in the directory of the journal {path} and belongs to a removed journal, or to an unfinished write of \
         another program; restore the journal that it belongs to, or move it away"
    )]
    LeftOver { path: PathBuf, left: PathBuf },

    // Somebody else.
    /// Another process has it open to write.
    #[error(
        "the journal {path} is in use by {}; stop that process, or give this one a journal of its own",
        holder(*pid)
    )]
    Held { path: PathBuf, lock: PathBuf, pid: Option<u32> },
    /// The lock file cannot be used.
    #[error("the lock {lock} of the journal {path} cannot be taken; check the file and its permissions")]
    Lock { path: PathBuf, lock: PathBuf, source: io::Error },
    /// Another program (a shell, a backup) holds a lock in the database. Nothing was kept.
    #[error(
        "another program locks the journal {path}; end the program that has it open, such as an sqlite3 shell"
    )]
    Busy { path: PathBuf, source: Arc<rusqlite::Error> },
    /// The file was moved, deleted or replaced while it was in use. Nothing was kept: it would be lost at the
    /// next start.
    #[error("the journal {path} was moved, deleted or replaced while in use; put it back, or restart")]
    Replaced { path: PathBuf },

    /// The lock file was removed or replaced while it was held: a second daemon may have taken the new one. Nothing was
    /// kept.
    #[error(
        "the lock file {lock} of the journal {path} was removed or replaced while in use, and a second daemon may hold \
         the new one, so this daemon writes no entry and sends no request; stop every daemon of this journal, start one, and \
         never remove its lock file"
    )]
    Unlocked { path: PathBuf, lock: PathBuf },
    /// Somebody wrote into the file, or into its log, beside `SQLite`. What is committed now would be lost at the next
    /// start.
    #[error(
        "{file} was truncated or overwritten while the journal {path} was in use, so no entry is written and no request is \
         sent; restart the daemon, with a backup in the journal's place if the backup is newer than the rest of the file"
    )]
    Overwritten { path: PathBuf, file: PathBuf },

    // The disk.
    /// No space, or a quota is used up. Nothing was kept; the next record works by itself once there is space.
    #[error(
        "no space is left for the journal {path}; free disk space, then the daemon continues automatically"
    )]
    DiskFull { path: PathBuf, source: Arc<rusqlite::Error> },
    /// Reading or writing failed. Nothing was kept.
    #[error("the disk failed at the journal {path}; check the kernel's log, the disk and its quota")]
    Disk { path: PathBuf, source: Arc<rusqlite::Error> },
    /// An operation on the file system failed.
    #[error("{doing} failed at the journal {path}; check the file system")]
    File { path: PathBuf, doing: &'static str, source: io::Error },
    /// The commit itself failed. In this process the entries are not kept; after a crash of the machine they may
    /// turn out to be. A failed commit sends nothing, and an intent found after a restart is settled by reading.
    #[error(
        "whether the journal {path} kept the last entries is unknown; check the kernel's log and the disk"
    )]
    InDoubt { path: PathBuf, source: Arc<rusqlite::Error> },
    /// Anything else that `SQLite` reports. Nothing was kept.
    #[error("the journal {path} cannot be used")]
    Sqlite { path: PathBuf, source: Arc<rusqlite::Error> },

    // The database.
    /// A statement, or the connection, failed.
    #[error(transparent)]
    Database(#[from] PostgresError),
    /// A row is not what a statement of this version gives.
    #[error("the database's answer cannot be understood; use the version that wrote the journal")]
    Answer(#[from] tokio_postgres::Error),
    /// There is no journal in the database.
    #[error(
        "there is no journal in schema {schema} of {place}; start the daemon once, or correct journal.url and journal.schema"
    )]
    NoJournal { place: String, schema: String },
    /// A journal is copied into an empty one only.
    #[error(
        "the journal in schema {schema} of {place} is not empty, and nothing was copied; give an empty schema in journal.schema, or \
         drop this one"
    )]
    NotEmpty { place: String, schema: String },
    /// A newer version of this program made it.
    #[error(
        "the journal in {place} has schema {found}, and this version knows schemas up to {known}; use the version that wrote \
         it, or a newer one"
    )]
    NewerDatabase { place: String, found: i32, known: i32 },
    /// Something in it cannot be understood.
    #[error(
        "the journal in {place} cannot be used ({detail}); restore a backup, or use the version that wrote it"
    )]
    Unusable { place: String, detail: String },
    /// One entry cannot be understood.
    #[error(
        "entry {number} of project {project:?} in the journal in {place} cannot be understood; restore a backup, or use the \
         version that wrote it"
    )]
    BadRow { place: String, project: String, number: u64, source: EntryFault },
    /// The database knows less than this process: a replica without the last commits was promoted, or a backup restored.
    #[error(
        "the journal in {place} went back from entry {known} to {found}: later requests are unknown to it, so this daemon \
         writes no entry and sends no request; hold all, check each failed task, then restart"
    )]
    WentBack { place: String, known: u64, found: u64 },
    /// No runtime to wait for the database.
    #[error("no runtime could be started to read the journal")]
    Runtime { source: io::Error },

    // The program.
    /// Events of two projects were to be kept at once. Nothing was kept.
    #[error("events of project {project} and of project {other} were to be kept at once")]
    SeveralProjects { project: ProjectName, other: ProjectName },
    /// The journal gave back less than it was given.
    #[error("the journal lost an entry that it had accepted")]
    Lost,
    /// Somebody else writes by now. Nothing was kept.
    #[error(
        "another process has taken over the journal (fencing token {term}, not {ours}), so this one writes no entry and sends \
         no request"
    )]
    Fenced { ours: u64, term: u64 },
    /// An intent carries an order for another task than its own. Nothing was kept.
    #[error("an intent for task {task} carries an order for task {ordered}")]
    OtherTask { task: TaskId, ordered: TaskId },
    /// An event cannot be written as JSON. Nothing was kept.
    #[error("an event cannot be written as JSON")]
    Unwritable {
        #[from]
        source: serde_json::Error,
    },
    /// It was closed, or the thread that owns it has ended.
    #[error("the journal at {path} is closed")]
    Closed { path: PathBuf },
    /// The thread that owns the journal could not be started.
    #[error("the thread of the journal {path} could not be started")]
    Thread { path: PathBuf, source: io::Error },
    /// A failure that a simulation asked for.
    #[error("the simulated journal failed, as it was asked to")]
    Simulated,
}

/// Why one stored entry cannot be understood.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the message of each variant says what its fields are")]
pub enum EntryFault {
    /// Entries are numbered from 1.
    #[error("its number is not a positive one")]
    Number,
    /// Its time is not RFC 3339.
    #[error("its time is not an RFC 3339 time")]
    Time(#[source] jiff::Error),
    /// Its project, cluster or task is not an id.
    #[error("its project, cluster or task is not an id")]
    Subject(#[from] IdError),
    /// Its data is not an event that this version knows.
    #[error("its data is not an event that this version knows")]
    Event(#[from] serde_json::Error),
    /// Its two words differ.
    #[error("it is called {column:?} and holds the event {data:?}")]
    Word { column: String, data: &'static str },
}

fn holder(pid: Option<u32>) -> String {
    pid.map_or_else(|| "another process".to_owned(), |pid| format!("the process with pid {pid}"))
}

impl JournalError {
    /// Whether somebody has to change something before a start can succeed: a database refuses what the configuration says.
    pub fn is_of_the_configuration(&self) -> bool {
        matches!(self, Self::Database(error) if error.kind() == Kind::Refused)
    }

    /// Whether there is no journal, as before the first start.
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Missing { .. } | Self::DirectoryMissing { .. } | Self::NoJournal { .. })
    }

    /// What an error of `SQLite` at `path` means to an operator, for everything but a failed COMMIT.
    pub(super) fn sqlite(path: &Path, error: impl Into<Arc<rusqlite::Error>>) -> Self {
        let (path, source) = (path.to_owned(), error.into());
        let rusqlite::Error::SqliteFailure(failure, message) = source.as_ref() else {
            return Self::Sqlite { path, source };
        };
        match failure.code {
            ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => Self::Busy { path, source },
            ErrorCode::DiskFull => Self::DiskFull { path, source },
            // The index of the write-ahead log could not grow.
            ErrorCode::SystemIoFailure if failure.extended_code == rusqlite::ffi::SQLITE_IOERR_SHMSIZE => {
                Self::DiskFull { path, source }
            }
            ErrorCode::SystemIoFailure => Self::Disk { path, source },
            ErrorCode::ReadOnly => Self::ReadOnly { path, source },
            ErrorCode::NotADatabase => Self::NotAJournal { path, found: source.to_string() },
            ErrorCode::DatabaseCorrupt => {
                let detail = message.clone().unwrap_or_else(|| failure.to_string());
                Self::Corrupt { path, detail }
            }
            _ => Self::Sqlite { path, source },
        }
    }

    /// What a failed COMMIT means. Without space its last frame was not written, and while locked nothing was.
    pub(super) fn commit(path: &Path, error: Arc<rusqlite::Error>) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull | ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                Self::sqlite(path, error)
            }
            _ => Self::InDoubt { path: path.to_owned(), source: error },
        }
    }
}
