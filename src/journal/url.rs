//! How the configuration says where the journal is.

use std::fmt;
use std::path::{Path, PathBuf};

use super::postgres::PostgresUrl;

/// How the URL of a file begins.
const FILE: &str = "sqlite:";

/// Where the journal is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JournalUrl {
    /// An `SQLite` file, by its absolute path.
    Sqlite(PathBuf),
    /// A `PostgreSQL` database, which several instances can share.
    Postgres(PostgresUrl),
}

impl JournalUrl {
    /// Reads one. The path of a file is left to whoever asks, to be checked.
    ///
    /// # Errors
    /// What is wrong with it, without the URL itself: it may bear a password.
    pub fn parse(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix(FILE) {
            return Ok(Self::Sqlite(PathBuf::from(path)));
        }
        if PostgresUrl::is_meant(text) {
            return PostgresUrl::parse(text).map(Self::Postgres).map_err(|error| error.to_string());
        }
        Err("unknown kind of journal; \"sqlite:/PATH\" or \"postgres://USER@HOST/DATABASE\" is needed"
            .to_owned())
    }

    /// That of a file.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self::Sqlite(path.into())
    }

    /// Whether such a text, as it stands in the configuration, can bear no secret.
    pub fn is_harmless(text: &str) -> bool {
        text.starts_with(FILE)
    }

    /// The file, where it is one.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Sqlite(path) => Some(path),
            Self::Postgres(_) => None,
        }
    }
}

/// As it stands in the configuration.
impl fmt::Display for JournalUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "{FILE}{}", path.display()),
            Self::Postgres(url) => write!(f, "{url}"),
        }
    }
}
