//! The outlooks of tasks: each project of the daemon knows those of its own tasks.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use crate::model::event::Subject;
use crate::model::id::ProjectName;
use crate::model::outlook::Outlook;

type Foresee = dyn Fn(&Subject) -> Option<Outlook> + Send + Sync;

/// The source of each project.
#[derive(Default)]
pub(super) struct Outlooks(RwLock<BTreeMap<ProjectName, Arc<Foresee>>>);

impl Outlooks {
    /// Takes this source for the project.
    pub(super) fn take(&self, project: &ProjectName, foresee: Arc<Foresee>) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(project.clone(), foresee);
    }

    /// Removes the source of the project.
    pub(super) fn leave(&self, project: &ProjectName) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).remove(project);
    }

    /// Returns the outlook of an unfinished task; `None` if no project knows it.
    pub(super) fn of(&self, subject: &Subject) -> Option<Outlook> {
        let all = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let foresee = all.get(&subject.project).cloned();
        // The source takes locks of its own.
        drop(all);
        foresee?(subject)
    }
}

impl fmt::Debug for Outlooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = self.0.read().unwrap_or_else(PoisonError::into_inner);
        f.debug_set().entries(all.keys()).finish()
    }
}
