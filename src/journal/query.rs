//! What of a journal is asked for.

use jiff::Timestamp;

use crate::model::id::{ClusterId, ProjectName, TaskId};
use crate::model::scope_entry::Position;

/// Which entries are wanted; by default all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query {
    /// Of clusters with this id, or with this name when a task of theirs was first seen.
    pub cluster: Option<String>,
    /// Of this project.
    pub project: Option<ProjectName>,
    /// Of this task of this cluster.
    pub task: Option<(ClusterId, TaskId)>,
    /// Journaled then or later.
    pub since: Option<Timestamp>,
    /// Which part of them, in which order.
    pub part: Part,
    /// The first so many of them.
    pub at_most: Option<u32>,
}

/// A part of the entries, and their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// In the order of their numbers, which are of one project: those numbered above `after`, and up to `through`.
    Numbered {
        /// The last number that is not wanted.
        after: u64,
        /// The last number that is.
        through: u64,
    },
    /// In the order of a history: those after this place.
    History(Option<Position>),
}

impl Default for Part {
    fn default() -> Self {
        Self::Numbered { after: 0, through: u64::MAX }
    }
}

/// A cluster that the journal knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownCluster {
    /// The name of its project.
    pub project: ProjectName,
    /// Its id.
    pub id: ClusterId,
    /// Its name when a task of it was last seen for the first time.
    pub name: String,
}
