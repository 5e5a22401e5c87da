//! The queue of notifications: adding one neither waits nor fails.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, OwnedMutexGuard, watch};

use super::outlooks::Outlooks;
use super::route::Routes;
use super::{Notification, Observer};
use crate::journal::{Journal, JournalError};
use crate::model::channel::ChannelCounts;
use crate::model::condition::{Change, Conditions, Standing};
use crate::model::event::Subject;
use crate::model::id::ProjectName;
use crate::model::names::Naming;
use crate::model::outlook::Outlook;

/// This number of notifications that are not in the journal wait to be written down; further ones
/// replace the oldest.
const WAITING: usize = 1_000;

/// A notification that is not in the journal.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Transient {
    /// A condition began, changed or ended.
    Condition(Box<Change>),
    /// These conditions were in force in a project that is no longer watched.
    Forgotten(Vec<Standing>),
    /// Projects have other names from now on.
    Renamed(Naming),
}

/// The queue, for observers, for the configuration, and for the state of the channels.
#[derive(Debug, Clone)]
pub struct NotifyQueue {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    words: Mutex<VecDeque<Transient>>,
    wake: Notify,
    routes: watch::Sender<Arc<Routes>>,
    conditions: Arc<Mutex<Conditions>>,
    counts: Mutex<BTreeMap<String, ChannelCounts>>,
    outlooks: Outlooks,
    /// The projects with entries that may not be notes yet.
    unread: Mutex<BTreeSet<ProjectName>>,
    /// Held while entries are turned into notes, or while names of projects change.
    notes: Arc<tokio::sync::Mutex<()>>,
}

impl NotifyQueue {
    /// Makes a queue that the notifier empties.
    pub fn new(routes: Routes) -> Self {
        let inner = Inner {
            words: Mutex::default(),
            wake: Notify::new(),
            routes: watch::Sender::new(Arc::new(routes)),
            conditions: Arc::default(),
            counts: Mutex::default(),
            outlooks: Outlooks::default(),
            unread: Mutex::default(),
            notes: Arc::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Takes these routes. Channels that failed are tried at once.
    pub fn take(&self, routes: Routes) {
        self.inner.routes.send_replace(Arc::new(routes));
    }

    /// The routes in force.
    pub fn routes(&self) -> Arc<Routes> {
        Arc::clone(&self.inner.routes.borrow())
    }

    /// Returns the state of each channel, by its name.
    pub fn counts(&self) -> Vec<ChannelCounts> {
        self.lock_counts().values().cloned().collect()
    }

    /// While the guard lives, no entry is turned into notes.
    pub async fn pause_notes(&self) -> OwnedMutexGuard<()> {
        Arc::clone(&self.inner.notes).lock_owned().await
    }

    /// Projects have other names from now on. To be called while [notes are paused](Self::pause_notes).
    pub fn renamed(&self, naming: &Naming) {
        if !naming.renames.is_empty() {
            self.conditions().rename(naming);
            self.put(Transient::Renamed(naming.clone()));
            self.inner.wake.notify_one();
        }
    }

    /// Takes over the conditions that were in force when an earlier process ended, except those of
    /// projects that are no longer watched. Must be called before any project is watched.
    ///
    /// # Errors
    /// If the journal cannot be read.
    pub async fn recall<'a>(
        &self,
        journal: &Journal,
        watched: impl IntoIterator<Item = &'a ProjectName>,
    ) -> Result<(), JournalError> {
        let watched: BTreeSet<&ProjectName> = watched.into_iter().collect();
        let kept = journal.kept().await?.conditions;
        let (recalled, forgotten) =
            kept.into_iter().partition(|standing| watched.contains(&standing.project));
        *self.conditions() = Conditions::recall(recalled);
        self.put(Transient::Forgotten(forgotten));
        Ok(())
    }

    /// Ends the reminders of a project that is no longer watched.
    pub fn forget(&self, project: &ProjectName) {
        self.inner.outlooks.leave(project);
        let standing = self.conditions().forget(project);
        if !standing.is_empty() {
            self.put(Transient::Forgotten(standing));
            self.inner.wake.notify_one();
        }
    }

    /// Returns the conditions in force, to be updated.
    pub fn share_conditions(&self) -> Arc<Mutex<Conditions>> {
        Arc::clone(&self.inner.conditions)
    }

    /// The conditions in force, locked.
    pub(super) fn conditions(&self) -> MutexGuard<'_, Conditions> {
        self.inner.conditions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the source of the outlooks of a project's tasks: the same that every command shows. It
    /// is called when a message is put into words, and must return soon.
    pub fn foreseen_by(
        &self,
        project: &ProjectName,
        foresee: impl Fn(&Subject) -> Option<Outlook> + Send + Sync + 'static,
    ) {
        self.inner.outlooks.take(project, Arc::new(foresee));
    }

    /// Returns the outlook of an unfinished task; `None` if no project of the daemon knows it. Must
    /// be called before the task's entries are read: the end of a task is journaled before its
    /// project knows of it.
    pub(super) fn outlook(&self, subject: &Subject) -> Option<Outlook> {
        self.inner.outlooks.of(subject)
    }

    pub(super) fn watch(&self) -> watch::Receiver<Arc<Routes>> {
        self.inner.routes.subscribe()
    }

    pub(super) fn transients(&self) -> Vec<Transient> {
        self.inner.words.lock().unwrap_or_else(PoisonError::into_inner).drain(..).collect()
    }

    /// The projects of which something was journaled since the last time.
    pub(super) fn unread(&self) -> BTreeSet<ProjectName> {
        std::mem::take(&mut *self.inner.unread.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns after the next notification since the last call.
    pub(super) async fn woken(&self) {
        self.inner.wake.notified().await;
    }

    pub(super) fn lock_counts(&self) -> MutexGuard<'_, BTreeMap<String, ChannelCounts>> {
        self.inner.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes the notifier as a notification does.
    pub(super) fn put(&self, word: Transient) {
        let mut words = self.inner.words.lock().unwrap_or_else(PoisonError::into_inner);
        if words.len() >= WAITING {
            words.pop_front();
        }
        words.push_back(word);
    }
}

impl Observer for NotifyQueue {
    fn tell(&self, notification: &Notification<'_>) {
        match notification {
            // Entries are read from the journal: none is lost, and none is reported twice.
            Notification::Journaled { entry, .. } => {
                let mut unread = self.inner.unread.lock().unwrap_or_else(PoisonError::into_inner);
                unread.insert(entry.subject.project.clone());
            }
            Notification::Condition(change) => self.put(Transient::Condition(Box::new((*change).clone()))),
            // Only the log has these; no operator needs to act on one of them at once.
            Notification::LeftAlone { .. } | Notification::Clusters { .. } => return,
        }
        self.inner.wake.notify_one();
    }
}
