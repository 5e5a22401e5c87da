//! What can be seen of the running daemon from outside its loop: for the status page, which must show how it stands even
//! while the loop is busy.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;

use super::running::Running;
use super::{liveness, process};
use crate::clock::{Clock as _, SystemClock};
use crate::journal::{Journal, JournalError, Query};
use crate::model::explanation::Explanation;
use crate::model::hold::Holds;
use crate::model::id::ClusterId;
use crate::model::policy::Mode;
use crate::model::text::chain;
use crate::notify::{Notification, NotifyQueue, Observer};
use crate::status::metrics::{Metrics, MetricsInput};
use crate::status::{ConditionReport, InForce, PolicyReport, Report, json};
use crate::web::{ClusterView, Source};

/// Whatever gives no sign of life within this counts as dead.
const PATIENCE: Duration = Duration::from_secs(5);
/// So much of a cluster's history is on its page.
const TIMELINE: usize = 500;

/// The daemon as one turn of its loop left it.
pub(super) struct Snapshot {
    pub(super) clock: Arc<SystemClock>,
    pub(super) holds: Arc<RwLock<Holds>>,
    pub(super) journal: Journal,
    pub(super) post: Option<NotifyQueue>,
    pub(super) started: Timestamp,
    pub(super) mode: Mode,
    pub(super) in_force: InForce,
    pub(super) policies: Vec<PolicyReport>,
    pub(super) projects: Vec<Running>,
}

impl Snapshot {
    /// What the daemon knows of itself.
    pub(super) fn report(&self) -> Report {
        let now = self.clock.now();
        // The lock is free again before any project is asked: each takes it itself.
        let holds =
            self.holds.read().unwrap_or_else(PoisonError::into_inner).in_force(now).cloned().collect();
        let report = |running: &Running| running.project.report(running.leaving);
        Report {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            at: now.wall,
            started: self.started,
            mode: self.mode,
            configuration: self.in_force.clone(),
            conditions: ConditionReport::all(self.projects.iter().flat_map(|seen| seen.project.conditions())),
            projects: self.projects.iter().map(report).collect(),
            holds,
            policies: self.policies.clone(),
            channels: self.post.as_ref().map(NotifyQueue::counts).unwrap_or_default(),
        }
    }
}

/// The daemon, seen from outside.
pub struct View {
    pub(super) snapshot: watch::Receiver<Snapshot>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) changes: watch::Receiver<u64>,
}

fn cannot_be_read(error: &JournalError) -> String {
    format!("the journal cannot be read: {}", chain(error))
}

impl Source for View {
    fn report(&self) -> Report {
        self.snapshot.borrow().report()
    }

    async fn cluster(&self, id: &ClusterId) -> Result<Option<ClusterView>, String> {
        let (explained, holds, journal) = {
            let snapshot = self.snapshot.borrow();
            let mut projects = snapshot.projects.iter();
            let explained = projects.find_map(|running| running.project.explain_without_reading(id));
            // The lock is free again: explaining takes it itself.
            let known = snapshot.holds.read().unwrap_or_else(PoisonError::into_inner);
            let on_it = |explained: &Explanation| known.all_on(&explained.project, id).cloned().collect();
            let holds = explained.as_ref().map(on_it).unwrap_or_default();
            drop(known);
            (explained, holds, snapshot.journal.clone())
        };
        let Some(explanation) = explained else { return Ok(None) };
        let project = Some(explanation.project.clone());
        let query = Query { project, cluster: Some(id.to_string()), ..Query::default() };
        let mut timeline = journal.entries(query).await.map_err(|error| cannot_be_read(&error))?;
        let cut = timeline.len() > TIMELINE;
        timeline.drain(..timeline.len().saturating_sub(TIMELINE));
        Ok(Some(ClusterView { explanation, timeline, cut, holds }))
    }

    async fn history(
        &self,
        cluster: Option<String>,
        since: Option<Timestamp>,
        most: usize,
    ) -> Result<Vec<serde_json::Value>, String> {
        let journal = self.snapshot.borrow().journal.clone();
        let history = journal.whole_history(Query { cluster, since, ..Query::default() }).await;
        let history = history.map_err(|error| cannot_be_read(&error))?;
        let lines = history.lines();
        let older = lines.len().saturating_sub(most);
        Ok(lines.into_iter().skip(older).map(json::line).collect())
    }

    async fn lives(&self) -> bool {
        let answered = {
            let snapshot = self.snapshot.borrow();
            let probes = snapshot.projects.iter().map(|running| running.liveness.clone()).collect();
            liveness::answered(probes, snapshot.journal.clone())
        };
        matches!(tokio::time::timeout(PATIENCE, answered).await, Ok(Ok(())))
    }

    fn metrics(&self) -> Result<String, std::fmt::Error> {
        let snapshot = self.snapshot.borrow();
        let beside = MetricsInput { journal_bytes: snapshot.journal.size(), process: process::read() };
        self.metrics.render(&snapshot.report(), &beside)
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.changes.clone()
    }
}

/// Counts what is told, so that live pages know that there is something new.
impl Observer for watch::Sender<u64> {
    fn tell(&self, _: &Notification<'_>) {
        self.send_modify(|count| *count = count.wrapping_add(1));
    }
}
