//! One writer for each journal: an advisory lock on a file beside it, which dies with the process that holds it.
//!
//! The file stays; only its lock means something. It holds the pid of the last holder, for messages. A lock on a file
//! that was removed or replaced keeps nobody out, so it is asked with every commit whether it lies in its place.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::error::JournalError;
use super::place::Place;

/// More than a pid and a line feed ever need.
const MAX_PID_LENGTH: u64 = 32;
/// How often a lock file that vanishes while it is being locked is looked for again.
const TRIES: u32 = 16;
/// How long a lock that is only asked for is waited for each time.
const ASKED: Duration = Duration::from_millis(10);

/// The process that holds a journal open to write, as far as that can be told without changing anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Its pid, where it can be read.
    pub pid: Option<u32>,
    /// The real path of the journal.
    pub journal: PathBuf,
}

/// Why it cannot be told who holds a journal.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages tell the fields")]
pub enum HolderUnknown {
    /// The journal's directory or its lock cannot be read: it is the daemon's user's alone.
    #[error("{} cannot be read", path.display())]
    Unreadable {
        path: PathBuf,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A database has no lock beside it.
    #[error("a database does not show which daemon uses it")]
    Database,
    /// A daemon leaves its lock file where it is, so somebody else removed it, and its holder may run on.
    #[error("{} is missing beside the journal: the daemon that locked it may still run", .0.display())]
    LockMissing(PathBuf),
}

/// Who holds the journal at this path; `None`: nobody. Creates nothing.
///
/// # Errors
/// Where that cannot be told.
pub fn holder(journal: &Path) -> Result<Option<Holder>, HolderUnknown> {
    let place = match Place::resolve(journal) {
        Ok(place) => place,
        Err(JournalError::DirectoryMissing { .. }) => return Ok(None),
        Err(error) => {
            return Err(HolderUnknown::Unreadable { path: journal.to_owned(), source: Box::new(error) });
        }
    };
    let lock = place.beside(".lock");
    let unreadable =
        |error: io::Error| HolderUnknown::Unreadable { path: lock.clone(), source: Box::new(error) };
    let file = match File::open(&lock) {
        Ok(file) => file,
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(unreadable(error)),
        Err(_) => {
            return match fs::exists(place.path()) {
                Ok(false) => Ok(None),
                Ok(true) => Err(HolderUnknown::LockMissing(lock)),
                Err(error) => Err(unreadable(error)),
            };
        }
    };
    match file.try_lock_shared() {
        // It is given back with the file.
        Ok(()) => Ok(None),
        Err(TryLockError::WouldBlock) => {
            Ok(Some(Holder { pid: pid_in(&file), journal: place.path().to_owned() }))
        }
        Err(TryLockError::Error(error)) => Err(unreadable(error)),
    }
}

/// The lock, held until this is dropped.
#[derive(Debug)]
pub(super) struct Lock {
    file: File,
    path: PathBuf,
    created: bool,
}

impl Lock {
    /// Takes the lock, or tells who holds it.
    pub(super) fn take(place: &Place) -> Result<Self, JournalError> {
        let path = place.beside(".lock");
        let fault = |source| JournalError::Lock { path: place.path().to_owned(), lock: path.clone(), source };
        for tried in 0..TRIES {
            let (file, created) = open(place, &path)?;
            match file.try_lock() {
                Ok(()) => {}
                // A command may be asking who holds it, which takes an instant.
                Err(TryLockError::WouldBlock) if tried < TRIES / 2 => {
                    wait_while_it_is_asked_for();
                    continue;
                }
                Err(TryLockError::WouldBlock) => {
                    return Err(JournalError::Held {
                        path: place.path().to_owned(),
                        lock: path.clone(),
                        pid: pid_in(&file),
                    });
                }
                Err(TryLockError::Error(source)) => return Err(fault(source)),
            }
            let mut lock = Self { file, path: path.clone(), created };
            // A start that was refused removes the lock file it had made; a lock on such a file preconditions nothing.
            if lock.is_in_place() {
                lock.write_pid().map_err(fault)?;
                return Ok(lock);
            }
        }
        Err(fault(io::Error::other("the lock file is removed repeatedly")))
    }

    /// The file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Gives the lock back after a refused start, and leaves the directory as it was.
    pub(super) fn abandon(self) {
        if self.created && self.is_in_place() {
            // Where it cannot be removed, an unlocked file remains, which means nothing.
            let _ = fs::remove_file(&self.path);
        }
    }

    /// Whether the file that is locked is the one that whoever comes next would lock.
    pub(super) fn is_in_place(&self) -> bool {
        match (self.file.metadata(), fs::metadata(&self.path)) {
            (Ok(held), Ok(there)) => (held.dev(), held.ino()) == (there.dev(), there.ino()),
            _ => false,
        }
    }

    fn write_pid(&mut self) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.rewind()?;
        writeln!(self.file, "{}", std::process::id())
    }
}

fn open(place: &Place, path: &PathBuf) -> Result<(File, bool), JournalError> {
    let mut options = File::options();
    options.read(true).write(true).mode(0o600);
    let opened = match options.clone().create_new(true).open(path) {
        Ok(file) => Ok((file, true)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            options.create(true).truncate(false).open(path).map(|file| (file, false))
        }
        Err(source)
            if matches!(
                source.kind(),
                io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem
            ) =>
        {
            return Err(JournalError::DirectoryNotWritable {
                path: place.path().to_owned(),
                directory: place.directory().to_owned(),
                source,
            });
        }
        Err(source) => Err(source),
    };
    opened.map_err(|source| JournalError::Lock { path: place.path().to_owned(), lock: path.clone(), source })
}

#[expect(clippy::disallowed_methods, reason = "at the start, before anything runs that could wait otherwise")]
fn wait_while_it_is_asked_for() {
    std::thread::sleep(ASKED);
}

fn pid_in(file: &File) -> Option<u32> {
    let mut text = String::new();
    file.take(MAX_PID_LENGTH).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_holds_a_journal_is_told_and_nothing_is_made_or_held_by_asking() {
        let folder = tempfile::tempdir().unwrap();
        let journal = folder.path().join("journal.db");
        let lock = folder.path().join("journal.db.lock");
        assert_eq!(holder(&folder.path().join("nowhere/journal.db")).unwrap(), None);
        assert_eq!(holder(&journal).unwrap(), None);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        fs::write(&journal, "").unwrap();
        assert!(matches!(holder(&journal), Err(HolderUnknown::LockMissing(_))));
        let place = Place::resolve(&journal).unwrap();
        let held = Lock::take(&place).unwrap();
        let told = holder(&journal).unwrap().unwrap();
        assert_eq!((told.pid, &told.journal), (Some(std::process::id()), &place.path().to_owned()));
        // The journal itself may be gone, and its holder runs on.
        fs::remove_file(&journal).unwrap();
        assert!(holder(&journal).unwrap().is_some());
        drop(held);
        assert_eq!(holder(&journal).unwrap(), None);
        fs::remove_file(&lock).unwrap();
        fs::create_dir(&lock).unwrap();
        assert!(holder(&journal).unwrap().is_none(), "a directory holds no lock");
    }

    #[test]
    fn a_daemon_that_starts_while_it_is_asked_takes_its_lock_all_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::resolve(&folder.path().join("journal.db")).unwrap();
        drop(Lock::take(&place).unwrap());
        let asking = File::open(place.beside(".lock")).unwrap();
        asking.try_lock_shared().unwrap();
        let starting = std::thread::spawn(move || Lock::take(&place).map(drop));
        wait_while_it_is_asked_for();
        drop(asking);
        starting.join().unwrap().unwrap();
    }
}
