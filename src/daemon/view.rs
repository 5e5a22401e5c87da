//! What can be seen of the running daemon from outside its loop: for the status page, which must show how it stands even
//! while the loop is busy.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;

use super::{HttpProject, process};
use crate::clock::{Clock as _, SystemClock};
use crate::journal::{Journal, JournalError, Query};
use crate::model::hold::{Holds, StoredHold};
use crate::model::id::ClusterId;
use crate::model::moment::Moment;
use crate::model::policy::Mode;
use crate::model::text::chain;
use crate::notify::{Notification, NotifyQueue, Observer};
use crate::schedule::liveness::LivenessProbe;
use crate::status::metrics::{Metrics, MetricsInput};
use crate::status::{InForce, PolicyReport, Report, line_json};
use crate::web::{ClusterView, Source};

/// Whatever gives no sign of life within this counts as dead.
const PATIENCE: Duration = Duration::from_secs(5);
/// So much of a cluster's history is on its page.
const TIMELINE: usize = 500;

/// What of the daemon changes while it runs.
pub(super) struct Current {
    pub(super) started: Timestamp,
    pub(super) mode: Mode,
    pub(super) in_force: InForce,
    pub(super) policies: Vec<PolicyReport>,
    pub(super) projects: Vec<Seen>,
}

/// A project under watch.
pub(super) struct Seen {
    pub(super) project: Arc<HttpProject>,
    pub(super) liveness: LivenessProbe,
    pub(super) leaving: bool,
}

impl Current {
    /// What the daemon knows of itself. `holds`: those in force, and not the lock on them: each project takes that itself.
    pub(super) fn report(&self, now: Moment, holds: Vec<StoredHold>, post: Option<&NotifyQueue>) -> Report {
        let report = |seen: &Seen| seen.project.report(seen.leaving);
        Report {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            at: now.wall,
            started: self.started,
            mode: self.mode,
            settings: self.in_force.clone(),
            projects: self.projects.iter().map(report).collect(),
            holds,
            policies: self.policies.clone(),
            channels: post.map(NotifyQueue::counts).unwrap_or_default(),
        }
    }
}

/// The daemon, seen from outside.
pub struct View {
    pub(super) clock: Arc<SystemClock>,
    pub(super) holds: Arc<RwLock<Holds>>,
    pub(super) journal: Journal,
    pub(super) post: Option<NotifyQueue>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) changes: watch::Receiver<u64>,
    pub(super) current: RwLock<Current>,
}

impl View {
    fn current(&self) -> RwLockReadGuard<'_, Current> {
        self.current.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on this is what is seen.
    pub(super) fn show(&self, current: Current) {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = current;
    }
}

fn cannot_be_read(error: &JournalError) -> String {
    format!("the journal cannot be read: {}", chain(error))
}

impl Source for View {
    fn report(&self) -> Report {
        let now = self.clock.now();
        let holds =
            self.holds.read().unwrap_or_else(PoisonError::into_inner).in_force(now).cloned().collect();
        self.current().report(now, holds, self.post.as_ref())
    }

    async fn cluster(&self, id: &ClusterId) -> Result<Option<ClusterView>, String> {
        let explained = {
            let current = self.current();
            current.projects.iter().find_map(|seen| seen.project.explain_without_reading(id))
        };
        let Some(explanation) = explained else { return Ok(None) };
        let project = Some(explanation.project.clone());
        let query = Query { project, cluster: Some(id.to_string()), ..Query::default() };
        let mut timeline = self.journal.entries(query).await.map_err(|error| cannot_be_read(&error))?;
        let cut = timeline.len() > TIMELINE;
        timeline.drain(..timeline.len().saturating_sub(TIMELINE));
        Ok(Some(ClusterView { explanation, timeline, cut }))
    }

    async fn history(
        &self,
        cluster: Option<String>,
        since: Option<Timestamp>,
        most: usize,
    ) -> Result<Vec<serde_json::Value>, String> {
        let history = self.journal.whole_history(Query { cluster, since, ..Query::default() }).await;
        let history = history.map_err(|error| cannot_be_read(&error))?;
        let lines = history.lines();
        let older = lines.len().saturating_sub(most);
        Ok(lines.into_iter().skip(older).map(line_json).collect())
    }

    async fn lives(&self) -> bool {
        let probes: Vec<LivenessProbe> =
            self.current().projects.iter().map(|seen| seen.liveness.clone()).collect();
        let journal = self.journal.clone();
        let round = async move {
            for liveness in probes {
                liveness.answered().await;
            }
            journal.check_alive().await
        };
        matches!(tokio::time::timeout(PATIENCE, round).await, Ok(Ok(())))
    }

    fn metrics(&self) -> Result<String, std::fmt::Error> {
        let beside = MetricsInput { journal_bytes: self.journal.size(), process: process::read() };
        self.metrics.render(&self.report(), &beside)
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.changes.clone()
    }
}

/// Counts what is told, so that live pages know that there is something new.
#[derive(Debug, Clone, Default)]
pub struct Changes(watch::Sender<u64>);

impl Changes {
    /// Hears of each.
    pub fn heard(&self) -> watch::Receiver<u64> {
        self.0.subscribe()
    }
}

impl Observer for Changes {
    fn tell(&self, _: &Notification<'_>) {
        self.0.send_modify(|count| *count = count.wrapping_add(1));
    }
}
