//! The project in the URLs: its id, or a lookup of it.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::OnceCell;

use super::error::CloudError;
use crate::model::id::ProjectId;

/// A future id.
pub type Finding<'a> = Pin<Box<dyn Future<Output = Result<ProjectId, CloudError>> + Send + 'a>>;

/// Finds the id of a project.
pub trait FindProject: Send + Sync + 'static {
    /// Finds it.
    fn find(&self) -> Finding<'_>;
}

/// The project in the URLs.
#[derive(Clone)]
pub enum ProjectSource {
    /// Its id.
    Id(ProjectId),
    /// Looked up when it is first needed, once for all requests that wait. A failed lookup is not
    /// kept.
    Lookup(Arc<dyn FindProject>, Arc<OnceCell<ProjectId>>),
}

impl ProjectSource {
    /// Makes a project that is looked up.
    pub fn lookup(finder: impl FindProject) -> Self {
        Self::Lookup(Arc::new(finder), Arc::default())
    }

    /// Returns the id, looked up if it is not known yet.
    pub(super) async fn id(&self) -> Result<&ProjectId, CloudError> {
        match self {
            Self::Id(id) => Ok(id),
            Self::Lookup(finder, found) => found.get_or_try_init(|| finder.find()).await,
        }
    }

    /// Returns the id, if known.
    pub(super) fn known(&self) -> Option<&ProjectId> {
        match self {
            Self::Id(id) => Some(id),
            Self::Lookup(_, found) => found.get(),
        }
    }
}

impl From<ProjectId> for ProjectSource {
    fn from(id: ProjectId) -> Self {
        Self::Id(id)
    }
}

impl fmt::Debug for ProjectSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ProjectSource").field(&self.known()).finish()
    }
}
