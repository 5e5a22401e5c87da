//! Counts the daemon's work: every entry of the journal, every commit, every request.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::clock::{Clock, SystemClock};
use crate::cloud::Meter;
use crate::journal::{Answer, Fence, Journal, Layer, Store};
use crate::model::event::{Entry, Event, Subject};
use crate::model::hold::{Identified, NewHold, StoredHold};
use crate::model::id::ProjectName;
use crate::model::moment::Moment;
use crate::model::names::Named;
use crate::status::metrics::Metrics;

/// A store that counts its entries and measures its commits.
pub struct Measured<C = SystemClock> {
    inner: Arc<dyn Store>,
    clock: Arc<C>,
    metrics: Arc<Metrics>,
}

impl<C: Clock> Measured<C> {
    /// Returns the same journal, measured.
    pub fn over(journal: &Journal, clock: Arc<C>, metrics: Arc<Metrics>) -> Journal {
        Journal::from(Self { inner: journal.store(), clock, metrics })
    }

    /// Measures a commit. A failed one took its time too.
    fn measure<'a, R: Send + 'a>(&'a self, commit: Answer<'a, R>) -> Answer<'a, R> {
        Box::pin(async move {
            let begin = self.clock.now();
            let kept = commit.await;
            self.metrics.commit(self.clock.now().since(begin));
            kept
        })
    }
}

impl<C: Clock> Layer for Measured<C> {
    fn beneath(&self) -> &dyn Store {
        &*self.inner
    }

    fn append(&self, fence: Fence, at: Moment, lines: Vec<(Subject, Event)>) -> Answer<'_, Vec<Entry>> {
        if lines.is_empty() {
            // Nothing is committed for it.
            return self.inner.append(fence, at, lines);
        }
        Box::pin(async move {
            let entries = self.measure(self.inner.append(fence, at, lines)).await?;
            for entry in &entries {
                self.metrics.entry(entry);
            }
            Ok(entries)
        })
    }

    fn forget(&self, tasks: Vec<Subject>) -> Answer<'_, ()> {
        self.measure(self.inner.forget(tasks))
    }

    fn place_hold(&self, hold: NewHold) -> Answer<'_, StoredHold> {
        self.measure(self.inner.place_hold(hold))
    }

    fn release_holds(&self, at: Timestamp, numbers: Vec<u64>, by: String) -> Answer<'_, ()> {
        self.measure(self.inner.release_holds(at, numbers, by))
    }

    fn identify(&self, projects: Vec<Named>) -> Answer<'_, Identified> {
        self.measure(self.inner.identify(projects))
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
