//! Where news are dropped: at once, without a wait and without a failure. Whoever tells never learns what becomes of it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, watch};

use super::outlooks::Outlooks;
use super::route::Routes;
use super::{Notification, Observer};
use crate::model::channel::ChannelCounts;
use crate::model::event::Subject;
use crate::model::id::{ClusterId, ProjectName};
use crate::model::names::Naming;
use crate::model::outlook::Outlook;
use crate::model::project::PauseCause;
use crate::model::reason::Reason;

/// So much news that stands in no journal waits to be written down; of more, the oldest is lost.
const WAITING: usize = 1_000;

/// What stands in no entry of the journal, and is told all the same.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Transient {
    Unclear {
        project: ProjectName,
        cluster: ClusterId,
        cluster_name: String,
        reason: Reason,
    },
    Rests {
        project: ProjectName,
        cause: PauseCause,
        refusals: u32,
        until: jiff::Timestamp,
    },
    Acts {
        project: ProjectName,
    },
    Blind {
        project: ProjectName,
        trouble: &'static str,
        error: String,
        advice: String,
    },
    Sees {
        project: ProjectName,
    },
    /// A process has seen all of the project, and never told that it could not.
    SeenAtFirst {
        project: ProjectName,
    },
    JournalFails {
        project: ProjectName,
        error: String,
    },
    JournalWorks {
        project: ProjectName,
    },
    /// Projects have other names from now on.
    Renamed(Naming),
}

/// The letter box: for those who tell, for those who change the settings, and for those who want to know how it goes.
#[derive(Debug, Clone)]
pub struct NotifyQueue {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    words: Mutex<VecDeque<Transient>>,
    wake: Notify,
    routes: watch::Sender<Arc<Routes>>,
    counts: Mutex<BTreeMap<String, ChannelCounts>>,
    outlooks: Outlooks,
}

impl NotifyQueue {
    /// One that is emptied by whoever runs the notifier with it.
    pub fn new(routes: Routes) -> Self {
        let inner = Inner {
            words: Mutex::default(),
            wake: Notify::new(),
            routes: watch::Sender::new(Arc::new(routes)),
            counts: Mutex::default(),
            outlooks: Outlooks::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// From now on these are the routes. Channels that failed are tried at once.
    pub fn take(&self, routes: Routes) {
        self.inner.routes.send_replace(Arc::new(routes));
    }

    /// The routes in force.
    pub fn routes(&self) -> Arc<Routes> {
        Arc::clone(&self.inner.routes.borrow())
    }

    /// How each channel fares, by its name.
    pub fn counts(&self) -> Vec<ChannelCounts> {
        self.lock_counts().values().cloned().collect()
    }

    /// Projects have other names from now on.
    pub fn renamed(&self, naming: &Naming) {
        if !naming.renames.is_empty() {
            self.put(Transient::Renamed(naming.clone()));
            self.inner.wake.notify_one();
        }
    }

    /// From now on this says what comes next of the project's tasks: the same that every screen shows. It is asked when a
    /// message is put into words, and must not take long.
    pub fn foreseen_by(
        &self,
        project: &ProjectName,
        foresee: impl Fn(&Subject) -> Option<Outlook> + Send + Sync + 'static,
    ) {
        self.inner.outlooks.take(project, Arc::new(foresee));
    }

    /// What comes next of a task that is not over; `None` where no project of the daemon knows. To be asked before its story is
    /// read: the end of a task is journaled before its project knows of it.
    pub(super) fn outlook(&self, subject: &Subject) -> Option<Outlook> {
        self.inner.outlooks.of(subject)
    }

    pub(super) fn watch(&self) -> watch::Receiver<Arc<Routes>> {
        self.inner.routes.subscribe()
    }

    pub(super) fn transients(&self) -> Vec<Transient> {
        self.inner.words.lock().unwrap_or_else(PoisonError::into_inner).drain(..).collect()
    }

    /// Returns once something was told since the last time.
    pub(super) async fn woken(&self) {
        self.inner.wake.notified().await;
    }

    pub(super) fn lock_counts(&self) -> MutexGuard<'_, BTreeMap<String, ChannelCounts>> {
        self.inner.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As if it had been told.
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
        let word = match *notification {
            // What is journaled is read from the journal: nothing of it is lost, and nothing is told twice.
            Notification::Journaled { .. } => None,
            Notification::Unclear { project, cluster, cluster_name, reason } => Some(Transient::Unclear {
                project: project.clone(),
                cluster: cluster.clone(),
                cluster_name: cluster_name.to_owned(),
                reason: reason.clone(),
            }),
            Notification::ProjectPaused { project, pause } => Some(Transient::Rests {
                project: project.clone(),
                cause: pause.cause,
                refusals: pause.refusals,
                until: pause.until.wall,
            }),
            Notification::ProjectResumed { project } => Some(Transient::Acts { project: project.clone() }),
            Notification::Unreachable { project, trouble, error, advice } => Some(Transient::Blind {
                project: project.clone(),
                trouble,
                error: error.to_owned(),
                advice: advice.to_owned(),
            }),
            Notification::Reachable { project } => Some(Transient::Sees { project: project.clone() }),
            Notification::SeenAtFirst { project } => {
                Some(Transient::SeenAtFirst { project: project.clone() })
            }
            Notification::JournalFails { project, error } => {
                Some(Transient::JournalFails { project: project.clone(), error: error.to_owned() })
            }
            Notification::JournalWorks { project } => {
                Some(Transient::JournalWorks { project: project.clone() })
            }
            // The log tells these; nobody needs to act on one of them at once.
            Notification::Cluster { .. }
            | Notification::Unreadable { .. }
            | Notification::ManyUnreadable { .. }
            | Notification::Readable { .. }
            | Notification::LeftAlone { .. }
            | Notification::ListShort { .. }
            | Notification::Stretched { .. }
            | Notification::CannotConnect { .. }
            | Notification::Connects { .. }
            | Notification::Clusters { .. } => return,
        };
        if let Some(word) = word {
            self.put(word);
        }
        self.inner.wake.notify_one();
    }
}
