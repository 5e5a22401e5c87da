//! What is counted while the daemon works: every entry of the journal, every commit, every request.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::clock::{Clock, SystemClock};
use crate::cloud::Meter;
use crate::journal::{Intent, Journal, JournalError, Journaled};
use crate::model::event::{Entry, Event, StoredEntry, Subject};
use crate::model::hold::{Identified, NewHold, StoredHold};
use crate::model::id::ProjectName;
use crate::model::moment::Moment;
use crate::model::names::Named;
use crate::status::metrics::Metrics;

/// A journal that tells what it kept, and how long that took.
pub struct Measured<J, C = SystemClock> {
    inner: J,
    clock: Arc<C>,
    metrics: Arc<Metrics>,
}

impl<J, C> Measured<J, C> {
    /// Puts the measure around a journal.
    pub fn new(inner: J, clock: Arc<C>, metrics: Arc<Metrics>) -> Self {
        Self { inner, clock, metrics }
    }
}

impl<J: Journal, C: Clock> Measured<J, C> {
    /// Measures a commit. One that failed took its time too.
    async fn measure<R>(
        &self,
        commit: impl Future<Output = Result<R, JournalError>> + Send,
    ) -> Result<R, JournalError> {
        let begin = self.clock.now();
        let kept = commit.await;
        self.metrics.commit(self.clock.now().since(begin));
        kept
    }
}

impl<J: Journal, C: Clock> Journal for Measured<J, C> {
    async fn record(&self, at: Moment, lines: Vec<(Subject, Event)>) -> Result<Vec<Entry>, JournalError> {
        if lines.is_empty() {
            // Nothing is committed for it.
            return self.inner.record(at, lines).await;
        }
        let entries = self.measure(self.inner.record(at, lines)).await?;
        for entry in &entries {
            self.metrics.entry(entry);
        }
        Ok(entries)
    }

    async fn begin(&self, at: Moment, intent: Intent) -> Result<Journaled<Intent>, JournalError> {
        // The inner one's, which keeps it by a way of its own: it is counted here alone.
        let journaled = self.measure(self.inner.begin(at, intent)).await?;
        self.metrics.entry(journaled.entry());
        Ok(journaled)
    }

    async fn forget(&self, tasks: Vec<Subject>) -> Result<(), JournalError> {
        self.measure(self.inner.forget(tasks)).await
    }

    async fn place_hold(&self, hold: NewHold) -> Result<StoredHold, JournalError> {
        self.measure(self.inner.place_hold(hold)).await
    }

    async fn release_holds(&self, at: Timestamp, numbers: Vec<u64>, by: String) -> Result<(), JournalError> {
        self.measure(self.inner.release_holds(at, numbers, by)).await
    }

    async fn read_project(&self, project: &ProjectName) -> Result<Vec<StoredEntry>, JournalError> {
        self.inner.read_project(project).await
    }

    async fn identify(&self, projects: Vec<Named>) -> Result<Identified, JournalError> {
        self.measure(self.inner.identify(projects)).await
    }

    async fn check_alive(&self) -> Result<(), JournalError> {
        self.inner.check_alive().await
    }
}

/// Counts the requests of one project.
#[derive(Debug)]
pub(super) struct ProjectMeter {
    project: ProjectName,
    metrics: Arc<Metrics>,
}

impl ProjectMeter {
    pub(super) fn of(project: &ProjectName, metrics: &Arc<Metrics>) -> Arc<dyn Meter> {
        Arc::new(Self { project: project.clone(), metrics: Arc::clone(metrics) })
    }
}

impl Meter for ProjectMeter {
    fn call(&self, operation: &'static str, result: &'static str, took: Duration) {
        self.metrics.call(&self.project, operation, result, took);
    }
}

/// Counts the requests to IAM with one of the credentials.
#[derive(Debug)]
pub(super) struct CredentialMeter {
    name: String,
    metrics: Arc<Metrics>,
}

impl CredentialMeter {
    pub(super) fn of(name: &str, metrics: &Arc<Metrics>) -> Arc<dyn Meter> {
        Arc::new(Self { name: name.to_owned(), metrics: Arc::clone(metrics) })
    }
}

impl Meter for CredentialMeter {
    fn call(&self, operation: &'static str, result: &'static str, _took: Duration) {
        self.metrics.iam_call(&self.name, operation, result);
    }
}

/// What the journal takes on disk, in bytes: its file and those that SQLite puts beside it. `None` where the file cannot be
/// read.
pub fn journal_size(path: &Path) -> Option<u64> {
    let size = |path: &Path| Some(std::fs::metadata(path).ok()?.len());
    let beside = |suffix: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        size(Path::new(&name)).unwrap_or(0)
    };
    Some(size(path)?.saturating_add(beside("-wal")).saturating_add(beside("-shm")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_size_of_the_journal_counts_what_lies_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.db");
        assert_eq!(journal_size(&path), None);
        std::fs::write(&path, [0; 100]).unwrap();
        assert_eq!(journal_size(&path), Some(100));
        std::fs::write(folder.path().join("journal.db-wal"), [0; 20]).unwrap();
        assert_eq!(journal_size(&path), Some(120));
    }
}
