//! Builds the parts from the configuration, one scheduler for each project, and runs them until they are to stop.

use std::sync::{Arc, RwLock};

use tracing::info;

use crate::clock::{Clock, SystemClock, TOLD_EVERY, random_seed};
use crate::cloud::http::HttpTransport;
use crate::cloud::{BuildError, Client};
use crate::configuration::{Configuration, Loaded, Problem, Problems, Project, key_of};
use crate::journal::{Found, Journal, JournalError, Opened, Opening};
use crate::model::action::Action;
use crate::model::event::StoredEntry;
use crate::model::hold::{Holds, Identified};
use crate::model::id::{AttemptId, ProjectName};
use crate::model::moment::Moment;
use crate::model::names::{Named, Names, Naming};
use crate::model::project_state::ProjectState;
use crate::model::record::Phase;
use crate::model::text::{chain, span};
use crate::reconcile::Reconciler;

mod build;
mod changes;
mod channels;
mod control_handlers;
mod credentials;
mod identity;
mod in_force;
mod liveness;
pub mod measured;
pub mod process;
mod projects;
mod reading;
mod run;
mod running;
mod snapshot;
mod trial;

pub use build::Builder;
pub use channels::{channel_of, start_of};
pub use measured::Measured;
pub use projects::Projects;
use reading::Reading;
pub use run::Daemon;
pub use snapshot::View;
pub use trial::unusable;

/// The client of the daemon.
pub type HttpClient = Client<HttpTransport, SystemClock>;

/// A project over HTTP.
pub type HttpProject = Reconciler<HttpClient, SystemClock>;

/// Why the daemon could not be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildFault {
    /// A secret cannot be read.
    #[error("secrets cannot be read:\n{0}")]
    Secrets(Problems),
    /// A key, an endpoint, a certificate or a channel that cannot be used: what the configuration refers to was had.
    #[error("the configuration cannot be used:\n{0}")]
    Unusable(Problems),
    /// The journal.
    #[error("the journal cannot be used")]
    Journal(#[from] JournalError),
    /// The journal, at a reload.
    #[error("the journal cannot be read for a new project")]
    NewProject(#[source] JournalError),
}

impl BuildFault {
    /// What cannot be used at this key of a part of the configuration: `project.NAME`, `channel.NAME`.
    fn at(steps: &[&str], message: impl Into<String>) -> Self {
        Self::Unusable(Problems(vec![Problem::error(message).at_key(key_of(steps))]))
    }

    /// The client of a project cannot be built.
    fn of_client(project: &Project, error: &BuildError) -> Self {
        let key = match error {
            BuildError::CaFormat(_) | BuildError::CaEmpty => "ca_file",
            BuildError::Http(_) if project.ca_file.is_some() => "ca_file",
            BuildError::Http(_) | BuildError::Endpoint(_) => "endpoint",
        };
        let message = format!("the client of the project cannot be built: {}", chain(error));
        Self::at(&["project", project.name.as_str(), key], message)
    }

    /// The problems of the configuration that it is, with their places; else the machine is to blame.
    fn located(self, loaded: &Loaded) -> Self {
        match self {
            Self::Secrets(problems) => Self::Secrets(loaded.all_located(problems)),
            Self::Unusable(problems) => Self::Unusable(loaded.all_located(problems)),
            fault => fault,
        }
    }
}

/// Why the daemon ended without an order. Everything else was stopped in order before.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    /// A part of it panicked.
    #[error("a part of the daemon panicked; everything else was stopped")]
    Panicked(#[from] tokio::task::JoinError),
    /// The thread of the journal has ended.
    #[error("the journal can no longer be written, so the daemon stopped")]
    Journal(#[from] JournalError),
}

/// What the journal knows, by project: the fold of its entries, and the holds.
#[derive(Debug, Default)]
pub struct ProjectStates {
    projects: std::collections::BTreeMap<ProjectName, ProjectState>,
    holds: Holds,
    /// The name under which each project is kept.
    names: Names,
    /// The renames of the last start, for the notifier.
    naming: Naming,
    /// The number of the last entry of each project.
    last: std::collections::BTreeMap<ProjectName, u64>,
}

impl ProjectStates {
    /// Makes it with these holds, and no entries yet.
    pub fn with_holds(holds: Holds) -> Self {
        Self { holds, ..Self::default() }
    }

    /// Folds one stored entry in, by the clocks of a process that starts at `now`.
    pub fn fold(&mut self, entry: StoredEntry, now: Moment) {
        let entry = entry.recall(now);
        let last = self.last.entry(entry.subject.project.clone()).or_default();
        *last = (*last).max(entry.number);
        self.projects.entry(entry.subject.project.clone()).or_default().apply(&entry);
    }

    /// Keeps the projects of this configuration under their present names, in the journal and here.
    ///
    /// # Errors
    /// If the journal cannot be written.
    pub async fn identify(
        &mut self,
        journal: &Journal,
        configuration: &Configuration,
        now: Moment,
    ) -> Result<(), JournalError> {
        let identified = journal.identify(named(configuration)).await?;
        identity::tell(&identified);
        self.rename(identified, now);
        Ok(())
    }

    /// Returns what [`ProjectStates::identify`] has renamed.
    pub fn naming(&self) -> &Naming {
        &self.naming
    }

    /// Renames as a journal with these names would: for commands that only read.
    pub fn identified(&mut self, names: &Names, configuration: &Configuration, now: Moment) {
        let naming = names.naming(&named(configuration), |name| self.projects.contains_key(name));
        self.rename(Identified { naming, holds: Vec::new() }, now);
    }

    /// Returns the present name of what is kept under this one.
    pub fn renamed<'a>(&'a self, name: &'a ProjectName) -> &'a ProjectName {
        self.naming.renamed(name)
    }

    fn rename(&mut self, identified: Identified, now: Moment) {
        self.holds.rename(&identified, now);
        let projects = std::mem::take(&mut self.projects).into_iter();
        self.projects = projects
            .map(|(name, project_state)| (identified.naming.renamed(&name).clone(), project_state))
            .collect();
        let last = std::mem::take(&mut self.last).into_iter();
        self.last = last.map(|(name, number)| (identified.naming.renamed(&name).clone(), number)).collect();
        self.names = identified.naming.names.clone();
        self.naming = identified.naming;
    }

    /// Returns that of one project, as its last entry left it.
    fn of(&self, project: &ProjectName) -> Option<&ProjectState> {
        self.projects.get(project)
    }

    /// Returns the tasks of a project that need an operator, by the names of their clusters, each
    /// with the code of the cause.
    pub fn needing_operator(&self, project: &ProjectName) -> Vec<(String, &'static str)> {
        let tasks = self.of(project).into_iter().flat_map(|state| state.clusters.values());
        let escalated = tasks.flat_map(|cluster| cluster.tasks.values()).filter_map(|task| {
            let Phase::Escalated(escalation) = task.phase() else { return None };
            Some((task.cluster_name.clone(), escalation.reason.code()))
        });
        let mut escalated: Vec<_> = escalated.collect();
        escalated.sort();
        escalated
    }

    /// Returns the requests of a project without a confirmed outcome, the oldest first: each with
    /// the name of its cluster.
    pub fn unconfirmed(&self, project: &ProjectName) -> Vec<(AttemptId, String, Action)> {
        let tasks = self.of(project).into_iter().flat_map(|state| state.clusters.values());
        let open = tasks.flat_map(|cluster| cluster.tasks.values()).filter_map(|task| {
            let open = task.open.as_ref()?;
            Some((open.id, task.cluster_name.clone(), open.action))
        });
        let mut open: Vec<_> = open.collect();
        open.sort_by_key(|(attempt, ..)| *attempt);
        open
    }

    /// Returns that of one project, ready to be used from `now` on.
    pub fn take(&mut self, project: &ProjectName, now: Moment) -> ProjectState {
        let mut project_state = self.projects.remove(project).unwrap_or_default();
        project_state.wake(now);
        project_state
    }

    /// Returns the holds, to be shared by all projects.
    pub fn share_holds(&mut self) -> Arc<RwLock<Holds>> {
        Arc::new(RwLock::new(std::mem::take(&mut self.holds)))
    }
}

/// Returns the projects, for the journal.
fn named(configuration: &Configuration) -> Vec<Named> {
    let named = |project: &Project| Named { name: project.name.clone(), id: project.project_id.clone() };
    configuration.projects.iter().map(named).collect()
}

/// Opens the journal that the configuration names and folds its entries.
///
/// # Errors
/// If it cannot be used. Nothing on disk is changed then.
pub fn open_journal(
    configuration: &Configuration,
    clock: &Arc<SystemClock>,
) -> Result<(Opened, ProjectStates), JournalError> {
    let now = clock.now();
    let mut states = ProjectStates::default();
    let place = configuration.journal.place();
    let reading = Reading::begin(TOLD_EVERY, move |entries, waited| {
        let waited = span(waited);
        info!(
            journal = place,
            entries, "the journal {place} is still being read: {entries} entries in {waited} so far"
        );
    });
    let ours = Arc::clone(clock);
    let opening = Opening { now: Arc::new(move || ours.now()), seed: random_seed(), clock: None };
    let opened = configuration.journal.open(&opening, |entry| {
        states.fold(entry, now);
        reading.read_one();
    })?;
    drop(reading);
    if opened.found == Found::TakenOver {
        states.projects.values_mut().for_each(|state| state.take_over(clock.now()));
    }
    states.holds = Holds::recall(opened.holds.iter().cloned(), now);
    Ok((opened, states))
}
