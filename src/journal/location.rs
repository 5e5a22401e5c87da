//! Where a journal is: the only place that knows which kinds of stores there are.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::database::{PostgresJournal, PostgresReader, blocking};
use super::lock::{self, Holder, HolderUnknown};
use super::opening::Opening;
use super::postgres::Connector;
use super::query::{KnownCluster, Query};
use super::reader::JournalReader;
use super::schema::Meta;
use super::{Journal, JournalError, SqliteJournal, SqliteOptions};
use crate::model::event::StoredEntry;
use crate::model::hold::StoredHold;
use crate::model::id::{ClusterId, ProjectName};
use crate::model::names::Names;
use crate::model::scope_entry::{ScopeEntry, fold};

/// Where the journal is kept, with all that is needed to reach it.
#[derive(Debug, Clone)]
pub enum JournalLocation {
    /// An `SQLite` file, by its absolute path.
    Sqlite(PathBuf),
    /// A `PostgreSQL` database.
    Postgres(Connector),
}

/// How a journal was found that is open to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// There was none: this opening created it.
    New,
    /// There was none, although there was one before: this opening created it in the place of that.
    Lost,
    /// It knows less than was seen of it: it was restored from a backup, or has lost its end. This opening has placed a hold on
    /// everything.
    Restored,
    /// Another process, perhaps on another machine, may have written it and may still be sending what it wrote last.
    TakenOver,
    /// As the last process left it.
    Continued,
}

/// A journal that is open to write, and how it was found.
#[derive(Clone)]
pub struct Opened {
    /// The journal.
    pub journal: Journal,
    /// What people look for: the real path of a file, or the database.
    pub place: String,
    /// How it was found.
    pub found: Found,
    /// The holds as they stood then, oldest first.
    pub holds: Vec<StoredHold>,
    /// What was kept of refused credentials.
    pub refusals: Option<String>,
}

/// Whether it is the same journal. How it is reached does not matter.
impl PartialEq for JournalLocation {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Sqlite(one), Self::Sqlite(other)) => one == other,
            (Self::Postgres(one), Self::Postgres(other)) => {
                let (one, other) = (one.options(), other.options());
                one.url == other.url && one.schema == other.schema
            }
            _ => false,
        }
    }
}

impl JournalLocation {
    /// That of a file.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self::Sqlite(path.into())
    }

    /// Opens the journal to write, and makes it where there is none. Hands each entry to `each`, those of a project in
    /// order, so that a large journal need not be in memory beside what is made of it. Blocks.
    ///
    /// # Errors
    /// Where it cannot be used. `each` may have been handed some entries.
    pub fn open(
        &self,
        opening: &Opening,
        each: impl FnMut(StoredEntry) + Send,
    ) -> Result<Opened, JournalError> {
        match self {
            Self::Sqlite(path) => {
                let options = SqliteOptions::new((opening.now)().wall, opening.seed);
                SqliteJournal::open_each(path, &options, each).map(Opened::from)
            }
            Self::Postgres(connector) => {
                let found = {
                    let open = async move || PostgresJournal::open(connector, opening, each).await;
                    blocking(open)?
                };
                Ok(Opened {
                    journal: Journal::from(found.journal),
                    place: self.place(),
                    found: if found.is_new { Found::New } else { Found::TakenOver },
                    holds: found.holds,
                    refusals: found.refusals,
                })
            }
        }
    }

    /// Opens it to read, beside whoever writes. Blocks.
    ///
    /// # Errors
    /// [`JournalError::is_missing`] where there is none; else what keeps it from being read.
    pub fn reader(&self) -> Result<Reader, JournalError> {
        Ok(match self {
            Self::Sqlite(path) => Reader::File(JournalReader::open(path)?),
            Self::Postgres(connector) => Reader::Database(PostgresReader::open(connector.clone())?),
        })
    }

    /// Who has it open to write.
    ///
    /// # Errors
    /// Where that cannot be told.
    pub fn holder(&self) -> Result<Option<Holder>, HolderUnknown> {
        match self {
            Self::Sqlite(path) => lock::holder(path),
            Self::Postgres(_) => Err(HolderUnknown::Database),
        }
    }

    /// What people look for: the path of a file, or the database.
    pub fn place(&self) -> String {
        match self {
            Self::Sqlite(path) => path.display().to_string(),
            Self::Postgres(connector) => {
                let options = connector.options();
                format!("schema {} of {}", options.schema.as_str(), options.url)
            }
        }
    }
}

impl From<SqliteJournal> for Opened {
    fn from(store: SqliteJournal) -> Self {
        Self {
            place: store.path().display().to_string(),
            found: match (store.is_lost(), store.is_new(), store.is_restored()) {
                (true, ..) => Found::Lost,
                (_, true, _) => Found::New,
                (.., true) => Found::Restored,
                // Its lock says that the process before is gone.
                _ => Found::Continued,
            },
            holds: store.holds().to_vec(),
            refusals: store.refusals().map(str::to_owned),
            journal: Journal::from(store),
        }
    }
}

/// Reads a journal without the right to write it. Blocks, as everything here does.
pub enum Reader {
    /// One in a file.
    File(JournalReader),
    /// One in a database.
    Database(PostgresReader),
}

/// Asks whichever reader there is.
macro_rules! ask {
    ($self:expr, $reader:ident => $question:expr) => {
        match $self {
            Reader::File($reader) => $question,
            Reader::Database($reader) => $question,
        }
    };
}

impl Reader {
    /// What was made once for this journal.
    pub fn meta(&self) -> &Meta {
        ask!(self, reader => reader.meta())
    }

    /// The entries that are asked for, in the order that is asked for.
    ///
    /// # Errors
    /// Where the journal cannot be read, or holds an entry that cannot be understood.
    pub fn entries(&self, query: &Query) -> Result<Vec<StoredEntry>, JournalError> {
        ask!(self, reader => reader.entries(query))
    }

    /// Which project is kept under which name.
    ///
    /// # Errors
    /// Where the journal cannot be read.
    pub fn names(&self) -> Result<Names, JournalError> {
        ask!(self, reader => reader.names())
    }

    /// All holds that were ever placed, oldest first.
    ///
    /// # Errors
    /// Where the journal cannot be read.
    pub fn holds(&self) -> Result<Vec<StoredHold>, JournalError> {
        match self {
            // Journals of older schemas had them elsewhere.
            Self::File(reader) => reader.holds(),
            Self::Database(reader) => Ok(fold(reader.scopes()?)),
        }
    }

    /// All that was said of scopes, in order.
    ///
    /// # Errors
    /// Where the journal cannot be read.
    pub fn scopes(&self) -> Result<Vec<ScopeEntry>, JournalError> {
        ask!(self, reader => reader.scopes())
    }

    /// The names of these clusters, as they were last seen.
    ///
    /// # Errors
    /// Where the journal cannot be read.
    pub fn cluster_names(
        &self,
        clusters: &BTreeSet<(ProjectName, ClusterId)>,
    ) -> Result<BTreeMap<ClusterId, String>, JournalError> {
        ask!(self, reader => reader.cluster_names(clusters))
    }

    /// The clusters that the journal knows, ordered by project and id. A name may stand there several times.
    ///
    /// # Errors
    /// Where the journal cannot be read.
    pub fn clusters(&self) -> Result<Vec<KnownCluster>, JournalError> {
        ask!(self, reader => reader.clusters())
    }
}
