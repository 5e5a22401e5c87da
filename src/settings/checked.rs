//! The settings as they are used: checked values, with what there is to say of them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::channel::{Channel, Notify};
use super::credentials::Credentials;
use super::problem::Problem;
use super::project::Project;
use super::sections::{Http, Log};
use crate::journal::JournalUrl;
use crate::model::policy::{Mode, Policy};
use crate::model::project::{Breaker, Limits, Poll};

/// Checked settings.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// The global mode; each policy's own is in its terms, never above this one.
    pub mode: Mode,
    /// The journal.
    pub journal: JournalUrl,
    /// How long the journal keeps what is finished.
    pub retention: Duration,
    /// How often to look.
    pub poll: Poll,
    /// How much at once, for each project.
    pub limits: Limits,
    /// When to take the cloud for ill, for each project.
    pub breaker: Breaker,
    /// Where commands reach the daemon, an absolute path; `None` turns it off.
    pub control: Option<PathBuf>,
    /// The status page, the JSON API and the metrics; `None` turns them off.
    pub http: Option<Http>,
    /// The log.
    pub log: Log,
    /// Whom to tell of what.
    pub notify: Notify,
    /// In the order of the file.
    pub channels: Vec<Channel>,
    /// By name. Each project's are among them.
    pub credentials: BTreeMap<String, Credentials>,
    /// In the order of the file.
    pub projects: Vec<Project>,
    /// Enabled policies in the order in which they are tried: the first that matches governs a task.
    pub policies: Vec<Policy>,
}

/// Settings that can be used, and what there is to say of them.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// The settings.
    pub settings: Settings,
    /// What was accepted and should be polled.
    pub warnings: Vec<Problem>,
    /// Where each key that was given comes from: `FILE:LINE` or `environment NAME`. All others have their defaults.
    pub origins: BTreeMap<String, String>,
    /// For what is found only when it is used: the places of secrets and windows, by their keys.
    pub(super) places: BTreeMap<String, Problem>,
}

impl Loaded {
    /// The same problem at the place of its key, where that is known and not told yet.
    #[must_use]
    pub fn located(&self, mut problem: Problem) -> Problem {
        let place = problem.key.as_ref().and_then(|key| self.places.get(key));
        if let (None, Some(place)) = (&problem.file, place) {
            problem.file.clone_from(&place.file);
            (problem.line, problem.column) = (place.line, place.column);
            problem.snippet.clone_from(&place.snippet);
        }
        problem
    }
}
