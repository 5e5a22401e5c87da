//! The checked configuration, with its warnings.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;

use super::channel::{Channel, Notify};
use super::credentials::Credentials;
use super::environment::Environment;
use super::files;
use super::journal::Database;
use super::key::KeyPath;
use super::problem::{Problem, Problems};
use super::project::Project;
use super::sections::{Http, Log};
use super::window;
use crate::journal::{JournalLocation, JournalUrl};
use crate::model::policy::{Mode, Policy};
use crate::model::project::{Breaker, Limits, Poll};
use crate::model::window::{HORIZON, WindowState};

/// A checked configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Configuration {
    /// The global mode; each policy's own is in its terms, never above this one.
    pub mode: Mode,
    /// The journal, as it is written.
    pub journal_url: JournalUrl,
    /// Where the journal is.
    pub journal: JournalLocation,
    /// How a database is reached.
    pub database: Database,
    /// How long the journal keeps finished tasks.
    pub retention: Duration,
    /// The intervals of polls.
    pub poll: Poll,
    /// The limits of requests, for each project.
    pub limits: Limits,
    /// The circuit breaker, for each project.
    pub breaker: Breaker,
    /// The control socket, an absolute path; `None` turns it off.
    pub control: Option<PathBuf>,
    /// The status page, the JSON API and the metrics; `None` turns them off.
    pub http: Option<Http>,
    /// The log.
    pub log: Log,
    /// Which channels are notified of what.
    pub notify: Notify,
    /// In the order of the file.
    pub channels: Vec<Channel>,
    /// By name. They contain those of every project.
    pub credentials: BTreeMap<String, Credentials>,
    /// In the order of the file.
    pub projects: Vec<Project>,
    /// Enabled policies in the order in which they are tried: the first that matches governs a task.
    pub policies: Vec<Policy>,
}

/// A usable configuration, with its warnings.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// The configuration.
    pub configuration: Configuration,
    /// The warnings that follow from the files alone; see [`Loaded::warnings_at`].
    pub warnings: Vec<Problem>,
    /// The origin of each given key: `FILE:LINE` or `environment NAME`. All others have their
    /// defaults.
    pub origins: BTreeMap<String, String>,
    /// For problems that only the use shows: the places of secrets, windows and paths, by their
    /// keys.
    pub(super) places: BTreeMap<String, Problem>,
}

impl Loaded {
    /// Returns all warnings at this time: `check`, the log at the start and at a reload, the status
    /// report and the page show the same.
    pub fn warnings_at(&self, now: Timestamp) -> Vec<Problem> {
        let closed = self.configuration.policies.iter().filter(|policy| {
            let window = policy.terms.window.as_ref();
            window.is_some_and(|window| window.at(now) == WindowState::Closed { opens: None })
        });
        let days = HORIZON.as_hours() / 24;
        let never_opens = closed.map(|policy| {
            let message = format!(
                "the window does not open within the next {days} days: no request is sent under this policy"
            );
            let key = KeyPath::of(&["policy", policy.name(), "window"]).to_string();
            self.located(Problem::error(message).at_key(key).as_warning())
        });
        let over = self.configuration.policies.iter().filter_map(|policy| {
            let message = window::over(policy.terms.window.as_ref()?, now)?;
            let key = KeyPath::of(&["policy", policy.name(), "window", "deny"]).to_string();
            let problem = Problem::error(message).at_key(key).as_warning();
            Some(self.located(problem.with_hint("remove what is over, or correct its year")))
        });
        self.warnings.iter().cloned().chain(never_opens).chain(over).collect()
    }

    /// Returns the missing directories of the journal and of the control socket, which the daemon
    /// never creates. `systemd`: the machine runs systemd, which creates the default ones when it
    /// starts the unit.
    pub fn check_directories(&self, env: &Environment, systemd: bool) -> Vec<Problem> {
        let socket = match self.configuration.mode {
            Mode::DryRun => "no command can reach the daemon",
            Mode::Enforce => "the daemon does not start in enforce",
        };
        let journal = self.configuration.journal_url.path();
        let places = [
            ("journal", "url", "STATE_DIRECTORY", journal, "the daemon does not start"),
            ("control", "socket", "RUNTIME_DIRECTORY", self.configuration.control.as_deref(), socket),
        ];
        let missing = places.into_iter().filter_map(|(section, key, variable, path, effect)| {
            let directory = path?.parent()?;
            let key = KeyPath::of(&[section, key]).to_string();
            let created = systemd && !self.origins.contains_key(&key) && env.directory(variable).is_none();
            let what = if created { None } else { files::not_a_directory(directory) }?;
            let message = format!("the directory {} {what}: {effect}", directory.display());
            let hint = "create the directory for the daemon's user, or correct the path";
            Some(self.located(Problem::error(message).at_key(key).with_hint(hint).as_warning()))
        });
        missing.collect()
    }

    /// The same problems at the places of their keys.
    #[must_use]
    pub fn all_located(&self, problems: Problems) -> Problems {
        Problems(problems.0.into_iter().map(|problem| self.located(problem)).collect())
    }

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
