//! The daemon as those see it who are outside its loop.

use std::sync::{Arc, RwLock};

use tokio::sync::watch;

use super::{Daemon, Running};
use crate::clock::Clock as _;
use crate::daemon::view::{Current, Seen, View};
use crate::status::metrics::Metrics;
use crate::status::{PolicyReport, Report};

impl Daemon {
    /// The daemon as it is seen from outside, kept up to date from now on.
    /// `changes` changes when something was told.
    pub fn view(&mut self, metrics: Arc<Metrics>, changes: watch::Receiver<u64>) -> Arc<View> {
        let view = Arc::new(View {
            clock: Arc::clone(&self.builder.clock),
            holds: Arc::clone(&self.builder.holds),
            journal: self.builder.share_journal(),
            post: self.builder.post.clone(),
            metrics,
            changes,
            current: RwLock::new(self.current()),
        });
        self.view = Some(Arc::clone(&view));
        view
    }

    /// Shows how it stands to those who look from outside.
    pub(in crate::daemon) fn show(&self) {
        if let Some(view) = &self.view {
            view.show(self.current());
        }
    }

    /// What the daemon knows of itself.
    pub(in crate::daemon) fn report(&self) -> Report {
        self.current().report(self.clock().now(), self.holds_in_force(), self.builder.post.as_ref())
    }

    fn current(&self) -> Current {
        let seen = |running: &Running| Seen {
            project: Arc::clone(&running.project),
            liveness: running.liveness.clone(),
            leaving: running.leaving,
        };
        Current {
            started: self.started,
            mode: self.settings().mode,
            in_force: self.in_force.clone(),
            policies: self.settings().policies.iter().map(PolicyReport::new).collect(),
            projects: self.running.values().map(seen).collect(),
        }
    }
}
