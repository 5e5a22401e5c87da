//! What of a journal is asked for.

use jiff::Timestamp;

use crate::model::id::{ClusterId, ProjectName, TaskId};

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
    /// Numbered above this.
    pub after: u64,
    /// Numbered up to this, it included.
    pub through: Option<u64>,
    /// The first so many of them.
    pub at_most: Option<u32>,
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
