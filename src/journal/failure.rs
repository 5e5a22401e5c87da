//! Why a transaction failed, by what is known of what it was to keep.

use std::path::PathBuf;
use std::sync::Arc;

use super::error::JournalError;
use super::place::Place;

/// Why a transaction failed.
pub(super) enum Failure {
    /// It did not begin, most likely because another program has the database locked: nothing is kept.
    NotBegun(Arc<rusqlite::Error>),
    /// Before its commit: nothing is kept.
    NotKept(Arc<rusqlite::Error>),
    /// The commit itself.
    Commit(Arc<rusqlite::Error>),
    /// Another file lies at the path.
    Replaced,
    /// The lock file is not the one that is locked.
    Unlocked(PathBuf),
    /// Somebody wrote into this file beside `SQLite`.
    Overwritten(PathBuf),
}

impl Failure {
    pub(super) fn error(&self, place: &Place) -> JournalError {
        match self {
            Self::NotBegun(error) | Self::NotKept(error) => {
                JournalError::sqlite(place.path(), Arc::clone(error))
            }
            Self::Commit(error) => JournalError::commit(place.path(), Arc::clone(error)),
            Self::Replaced => JournalError::Replaced { path: place.path().to_owned() },
            Self::Unlocked(lock) => {
                JournalError::Unlocked { path: place.path().to_owned(), lock: lock.clone() }
            }
            Self::Overwritten(file) => {
                JournalError::Overwritten { path: place.path().to_owned(), file: file.clone() }
            }
        }
    }
}
