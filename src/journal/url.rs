//! Where the configuration says the journal is: the only place that knows which kinds of stores there are.

use std::fmt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::lock::{self, Holder, HolderUnknown};
use super::{Journal, JournalError, JournalReader, SqliteJournal, SqliteOptions};
use crate::model::event::StoredEntry;
use crate::model::hold::StoredHold;

/// How the URL of a file begins.
const FILE: &str = "sqlite:";
/// How those of a database begin that comes in a later version.
const DATABASE: [&str; 2] = ["postgres:", "postgresql:"];

/// Where the journal is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JournalUrl {
    /// An `SQLite` file, by its absolute path.
    Sqlite(PathBuf),
}

impl JournalUrl {
    /// Reads one. The path of a file is left to whoever asks, to be checked.
    ///
    /// # Errors
    /// What is wrong with it, without the URL itself: it may bear a password.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        if let Some(path) = text.strip_prefix(FILE) {
            return Ok(Self::Sqlite(PathBuf::from(path)));
        }
        if DATABASE.iter().any(|begin| text.starts_with(begin)) {
            return Err("a journal in PostgreSQL comes in a later version; \"sqlite:/PATH\" is allowed");
        }
        Err("unknown kind of journal; \"sqlite:/PATH\" is needed")
    }

    /// That of a file.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self::Sqlite(path.into())
    }

    /// Whether such a text, as it stands in the configuration, can bear no secret.
    pub fn is_harmless(text: &str) -> bool {
        text.starts_with(FILE)
    }

    /// Opens the journal to write, and makes it where there is none. Hands each entry to `each`, in order, so that a large
    /// journal need not be in memory beside what is made of it. `seed`: from which a new one makes its id and the seed of
    /// its jitter. Blocks.
    ///
    /// # Errors
    /// Where it cannot be used. Nothing of it is changed then, and `each` may have been handed some.
    pub fn open(
        &self,
        now: Timestamp,
        seed: u64,
        each: impl FnMut(StoredEntry),
    ) -> Result<Opened, JournalError> {
        let Self::Sqlite(path) = self;
        SqliteJournal::open_each(path, &SqliteOptions::new(now, seed), each).map(Opened::from)
    }

    /// Opens it to read, beside whoever writes. Blocks.
    ///
    /// # Errors
    /// [`JournalError::Missing`] where there is none; else what keeps it from being read.
    pub fn reader(&self) -> Result<JournalReader, JournalError> {
        JournalReader::open(self.path())
    }

    /// Who has it open to write.
    ///
    /// # Errors
    /// Where that cannot be told.
    pub fn holder(&self) -> Result<Option<Holder>, HolderUnknown> {
        lock::holder(self.path())
    }

    /// What people look for: the path of a file.
    pub fn place(&self) -> String {
        self.path().display().to_string()
    }

    /// The file.
    pub fn path(&self) -> &Path {
        let Self::Sqlite(path) = self;
        path
    }
}

/// As it stands in the configuration.
impl fmt::Display for JournalUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{FILE}{}", self.path().display())
    }
}

/// A journal that is open to write, and how it was found.
#[derive(Clone)]
pub struct Opened {
    /// The journal.
    pub journal: Journal,
    /// What people look for: the real path of a file.
    pub place: String,
    /// Whether this opening created it.
    pub is_new: bool,
    /// Whether it created it in the place of another one that is gone: a first start does not.
    pub is_lost: bool,
    /// Whether it knows less than was seen of it: it was restored from a backup, or has lost its end. This opening has
    /// placed a hold on everything then.
    pub is_restored: bool,
    /// The holds as they stood then, oldest first.
    pub holds: Vec<StoredHold>,
    /// What was kept of refused credentials.
    pub refusals: Option<String>,
}

impl From<SqliteJournal> for Opened {
    fn from(store: SqliteJournal) -> Self {
        Self {
            place: store.path().display().to_string(),
            is_new: store.is_new(),
            is_lost: store.is_lost(),
            is_restored: store.is_restored(),
            holds: store.holds().to_vec(),
            refusals: store.refusals().map(str::to_owned),
            journal: Journal::from(store),
        }
    }
}
