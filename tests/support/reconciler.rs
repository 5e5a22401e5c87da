//! The one builder of the reconciler for tests and benches, and the one observer of theirs.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::sync::{Arc, Mutex, PoisonError};

use tokio_util::sync::CancellationToken;
use upgrade_remediator::clock::Clock;
use upgrade_remediator::cloud::{AccessKey, Credential, Css, Options};
use upgrade_remediator::journal::Journal;
use upgrade_remediator::model::id::{ProjectId, ProjectName};
use upgrade_remediator::model::project::Rules;
use upgrade_remediator::model::project_state::ProjectState;
use upgrade_remediator::notify::{Notification, Observer};
use upgrade_remediator::reconcile::{Parts, Reconciler};
use upgrade_remediator::simulator::scenario::{DEFAULT_ACCESS_KEY, DEFAULT_PROJECT_ID, DEFAULT_SECRET_KEY};

/// What a recorder makes of what it is told; `None`: nothing.
type Words = Box<dyn Fn(&Notification<'_>) -> Option<String> + Send + Sync>;

/// Keeps what it is told, in the words of the test.
pub(crate) struct Recorder {
    words: Words,
    heard: Mutex<Vec<String>>,
}

impl Recorder {
    pub(crate) fn new(
        words: impl Fn(&Notification<'_>) -> Option<String> + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self { words: Box::new(words), heard: Mutex::default() })
    }

    /// Keeps nothing.
    pub(crate) fn deaf() -> Arc<Self> {
        Self::new(|_| None)
    }

    /// Everything, in its order.
    pub(crate) fn all(&self) -> Vec<String> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How often it heard this.
    pub(crate) fn heard(&self, what: &str) -> usize {
        self.all().iter().filter(|heard| *heard == what).count()
    }
}

impl Observer for Recorder {
    fn tell(&self, notification: &Notification<'_>) {
        if let Some(words) = (self.words)(notification) {
            self.heard.lock().unwrap_or_else(PoisonError::into_inner).push(words);
        }
    }
}

/// What a client of the simulated service at this address is made of.
pub(crate) fn options(endpoint: impl Into<String>, rules: &Rules, seed: u64) -> Options {
    let key = AccessKey::new(DEFAULT_ACCESS_KEY.into(), DEFAULT_SECRET_KEY.into(), None).unwrap();
    Options {
        endpoint: endpoint.into(),
        project: ProjectId::new(DEFAULT_PROJECT_ID).unwrap().into(),
        ca_pem: None,
        proxy: None,
        request_timeout: rules.poll.request_timeout,
        limits: rules.limits.clone(),
        credential: Credential::new(key, seed),
        seed,
        meter: None,
    }
}

/// A reconciler of a project `prod` of which nothing is known and nothing is held, and whom nobody hears; `change` says what
/// is otherwise.
pub(crate) fn reconciler<S: Css, C: Clock>(
    css: S,
    journal: &Journal,
    clock: &Arc<C>,
    rules: Rules,
    change: impl FnOnce(&mut Parts<S, C>),
) -> Reconciler<S, C> {
    let mut parts = Parts {
        project: ProjectName::new("prod").unwrap(),
        css,
        journal: journal.clone(),
        clock: Arc::clone(clock),
        observer: Recorder::deaf(),
        conditions: Arc::default(),
        rules,
        holds: Arc::default(),
        seed: 1,
        stopping: CancellationToken::new(),
        project_state: ProjectState::default(),
    };
    change(&mut parts);
    Reconciler::new(parts)
}
