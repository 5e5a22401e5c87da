//! Where a journal lies, and what can be known of it without opening it as a database.
//!
//! Takes the path of the configuration; gives the real path, and refuses what can never be a journal. Changes nothing
//! on disk.

use std::ffi::OsString;
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::error::JournalError;
use super::schema;

/// The first bytes of every `SQLite` database (<https://sqlite.org/fileformat.html>, 1.3).
const MAGIC: &[u8; 16] = b"SQLite format 3\0";
/// Where the header holds `user_version`: the schema's number.
const USER_VERSION_AT: usize = 60;
/// Where the header holds `application_id`.
const APPLICATION_ID_AT: usize = 68;
/// The length of the header.
const HEADER_LENGTH: usize = 100;

/// The real path of a journal: every symbolic link resolved, so that two names of one file take one lock.
#[derive(Debug, Clone)]
pub(super) struct Place {
    path: PathBuf,
    directory: PathBuf,
}

/// Which file lies at the path, and which log and index of the log beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    database: (u64, u64),
    log: (u64, u64),
    index: (u64, u64),
}

impl Place {
    /// Resolves the path. Where there is no file yet, its directory must be there.
    pub(super) fn resolve(path: &Path) -> Result<Self, JournalError> {
        let real = match fs::canonicalize(path) {
            Ok(real) => real,
            Err(error) if error.kind() == io::ErrorKind::NotFound => absent(path)?,
            Err(source) => return Err(JournalError::Unreadable { path: path.to_owned(), source }),
        };
        let directory = real.parent().map_or_else(|| real.clone(), Path::to_owned);
        Ok(Self { path: real, directory })
    }

    /// The real path.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The directory.
    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// The path with a suffix, for the files beside the journal.
    pub(super) fn beside(&self, suffix: &str) -> PathBuf {
        let mut name = OsString::from(&self.path);
        name.push(suffix);
        PathBuf::from(name)
    }

    /// The write-ahead log. It is there for as long as a daemon has the journal open, and after it was killed.
    pub(super) fn log(&self) -> PathBuf {
        self.beside("-wal")
    }

    /// What it takes on disk, in bytes, with its log and the index of that. `None` where the file cannot be read.
    pub(super) fn size(&self) -> Option<u64> {
        let size = |path: &Path| Some(fs::metadata(path).ok()?.len());
        let beside = |suffix| size(&self.beside(suffix)).unwrap_or(0);
        Some(size(&self.path)?.saturating_add(beside("-wal")).saturating_add(beside("-shm")))
    }

    /// Looks at the file: a regular one, with one name, that begins as a journal of a schema that we know.
    /// `false` where there is none.
    pub(super) fn inspect(&self) -> Result<bool, JournalError> {
        let path = || self.path.clone();
        let found = match fs::metadata(&self.path) {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.refuse_left_over("-wal")?;
                self.refuse_left_over("-journal")?;
                return Ok(false);
            }
            Err(source) => return Err(JournalError::Unreadable { path: path(), source }),
        };
        if found.is_dir() {
            return Err(JournalError::IsDirectory { path: path() });
        }
        if !found.is_file() {
            return Err(JournalError::NotAFile { path: path() });
        }
        if found.nlink() > 1 {
            return Err(JournalError::HardLinked { path: path(), links: found.nlink() });
        }
        self.inspect_header()?;
        // A journal is created whole and then kept in WAL mode: this program leaves no rollback journal.
        self.refuse_left_over("-journal")?;
        Ok(true)
    }

    /// Reads what stands outside the write-ahead log. A schema number there may be older than the real one,
    /// never newer.
    fn inspect_header(&self) -> Result<(), JournalError> {
        let unreadable = |source| JournalError::Unreadable { path: self.path.clone(), source };
        let mut header = Vec::with_capacity(HEADER_LENGTH);
        let file = File::open(&self.path).map_err(unreadable)?;
        file.take(HEADER_LENGTH as u64).read_to_end(&mut header).map_err(unreadable)?;
        let not_a_journal =
            |found: &str| JournalError::NotAJournal { path: self.path.clone(), found: found.to_owned() };
        if header.is_empty() {
            return Err(not_a_journal("the file is empty"));
        }
        if !header.starts_with(MAGIC) {
            return Err(not_a_journal("the file is not an SQLite database"));
        }
        let number = |at: usize| {
            let bytes = header.get(at..at + 4)?;
            Some(u32::from_be_bytes(bytes.try_into().ok()?))
        };
        let (Some(version), Some(application)) = (number(USER_VERSION_AT), number(APPLICATION_ID_AT)) else {
            return Err(not_a_journal("the file ends within its header"));
        };
        schema::check_identity(&self.path, application, version)
    }

    fn refuse_left_over(&self, suffix: &str) -> Result<(), JournalError> {
        let left = self.beside(suffix);
        if fs::metadata(&left).is_ok_and(|found| found.len() > 0) {
            return Err(JournalError::LeftOver { path: self.path.clone(), left });
        }
        Ok(())
    }

    /// Whether the file may be written, without writing.
    pub(super) fn check_writable(&self) -> Result<(), JournalError> {
        match File::options().write(true).open(&self.path) {
            Ok(_) => Ok(()),
            Err(error) => {
                Err(JournalError::ReadOnly { path: self.path.clone(), source: std::sync::Arc::new(error) })
            }
        }
    }

    /// Which files lie here now.
    pub(super) fn identity(&self) -> io::Result<Identity> {
        let identity = |found: &Metadata| (found.dev(), found.ino());
        Ok(Identity {
            database: identity(&fs::metadata(&self.path)?),
            log: identity(&fs::metadata(self.log())?),
            index: identity(&fs::metadata(self.beside("-shm"))?),
        })
    }
}

/// The real path of a file that is not there.
fn absent(path: &Path) -> Result<PathBuf, JournalError> {
    if fs::symlink_metadata(path).is_ok() {
        return Err(JournalError::DanglingLink { path: path.to_owned() });
    }
    let Some(name) = path.file_name() else {
        return Err(JournalError::IsDirectory { path: path.to_owned() });
    };
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match fs::canonicalize(parent) {
        Ok(directory) => Ok(directory.join(name)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(JournalError::DirectoryMissing { path: path.to_owned(), directory: parent.to_owned() })
        }
        Err(source) => Err(JournalError::Unreadable { path: path.to_owned(), source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_size_of_a_journal_counts_what_lies_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.db");
        let place = Place::resolve(&path).unwrap();
        assert_eq!(place.size(), None);
        fs::write(&path, [0; 100]).unwrap();
        assert_eq!(place.size(), Some(100));
        fs::write(folder.path().join("journal.db-wal"), [0; 20]).unwrap();
        assert_eq!(place.size(), Some(120));
    }
}
