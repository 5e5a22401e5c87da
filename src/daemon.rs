//! Builds the parts from the settings, one watcher for each project, and runs them until they are to stop.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::clock::{Clock, SystemClock, random_seed};
use crate::cloud::http::HttpTransport;
use crate::cloud::{AccessKey, BuildError, Client, Credential, Options};
use crate::journal::sqlite::{SqliteJournal, SqliteOptions};
use crate::journal::{Journal, JournalError};
use crate::look::Looker;
use crate::model::event::StoredEntry;
use crate::model::id::ProjectName;
use crate::model::ledger::Ledger;
use crate::model::moment::Moment;
use crate::notify::Tell;
use crate::project::WatchedProject;
use crate::settings::{CredentialSecrets, Environment, JournalUrl, Problems, Settings};
use crate::watch::Watcher;

/// The client of the daemon.
pub type HttpClient = Client<HttpTransport, SystemClock>;

/// A project over HTTP.
pub type HttpProject<J, T> = WatchedProject<HttpClient, J, SystemClock, T>;

/// Why the daemon could not be put together.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages tell the fields")]
pub enum BuildFault {
    /// A secret cannot be had.
    #[error("secrets cannot be read:\n{0}")]
    Secrets(Problems),
    /// A key that is none.
    #[error("credentials {name} cannot be used")]
    Key {
        name: String,
        #[source]
        source: crate::cloud::error::KeyError,
    },
    /// The file of a private CA.
    #[error("cannot read the ca_file {path} of project {project}")]
    CaFile {
        project: ProjectName,
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    /// An endpoint or a CA that cannot be used.
    #[error("the client of project {project} cannot be built")]
    Client {
        project: ProjectName,
        #[source]
        source: BuildError,
    },
    /// The journal.
    #[error("the journal cannot be used")]
    Journal(#[from] JournalError),
}

impl BuildFault {
    /// Whether the settings are to blame, and not the machine.
    pub fn is_of_the_settings(&self) -> bool {
        !matches!(self, Self::Journal(_))
    }
}

/// What the journal knows, by project: the fold of its entries.
#[derive(Debug, Default)]
pub struct Ledgers(BTreeMap<ProjectName, Ledger>);

impl Ledgers {
    /// Folds one stored entry in, as a process that starts at `now` understands it.
    pub fn fold(&mut self, entry: StoredEntry, now: Moment) {
        let entry = entry.recall(now);
        self.0.entry(entry.subject.project.clone()).or_default().apply(&entry);
    }

    /// That of one project, ready to be used from `now` on.
    pub fn take(&mut self, project: &ProjectName, now: Moment) -> Ledger {
        let mut ledger = self.0.remove(project).unwrap_or_default();
        ledger.wake(now);
        ledger
    }
}

/// Opens the journal that the settings name and folds what it holds.
///
/// # Errors
/// Where it cannot be used. Nothing on disk is changed then.
pub fn open_journal(
    settings: &Settings,
    clock: &impl Clock,
) -> Result<(SqliteJournal, Ledgers), JournalError> {
    let JournalUrl::Sqlite(path) = &settings.journal;
    let now = clock.now();
    let mut ledgers = Ledgers::default();
    let options = SqliteOptions::new(now.wall, random_seed());
    let journal = SqliteJournal::open_each(path, &options, |entry| ledgers.fold(entry, now))?;
    Ok((journal, ledgers))
}

/// The projects of the settings, each with its client and what the journal knows of it.
pub struct Projects<J, T> {
    all: Vec<Arc<HttpProject<J, T>>>,
    clock: Arc<SystemClock>,
    stopping: CancellationToken,
}

impl<J: Journal, T: Tell> Projects<J, T> {
    /// Builds every project. Connects to nothing.
    ///
    /// # Errors
    /// Where a secret, a key, an endpoint or a CA cannot be used.
    pub fn build(
        settings: &Settings,
        environment: &Environment,
        journal: (Arc<J>, u64, Ledgers),
        clock: &Arc<SystemClock>,
        teller: &Arc<T>,
        stopping: &CancellationToken,
    ) -> Result<Self, BuildFault> {
        let (journal, seed, mut ledgers) = journal;
        let now = clock.now();
        let credentials = credentials(settings, environment)?;
        let mut projects = Vec::new();
        for project in &settings.projects {
            // The settings check the reference; a project without its key is an unusable secret.
            let Some(credential) = credentials.get(&project.credentials) else { continue };
            let ca_pem =
                project.ca_file.as_ref().map(fs::read).transpose().map_err(|source| BuildFault::CaFile {
                    project: project.name.clone(),
                    path: project.ca_file.clone().unwrap_or_default(),
                    source,
                })?;
            let options = Options {
                endpoint: project.endpoint.clone(),
                project: project.project_id.clone(),
                ca_pem,
                request_timeout: settings.poll.request_timeout,
                limits: settings.limits.clone(),
                credential: Arc::clone(credential),
                seed: random_seed(),
            };
            let css = Client::over_http(options, Arc::clone(clock))
                .map_err(|source| BuildFault::Client { project: project.name.clone(), source })?;
            let looker = Looker::new(
                project.name.clone(),
                css,
                Arc::clone(&journal),
                Arc::clone(clock),
                Arc::clone(teller),
                settings.policies.clone(),
                settings.poll.clone(),
                settings.limits.clone(),
                seed,
                stopping.clone(),
                ledgers.take(&project.name, now),
            );
            projects.push(Arc::new(WatchedProject::new(looker)));
        }
        Ok(Self { all: projects, clock: Arc::clone(clock), stopping: stopping.clone() })
    }

    /// The projects, in the order of the settings.
    pub fn all(&self) -> &[Arc<HttpProject<J, T>>] {
        &self.all
    }

    /// Watches all projects until the daemon is stopping, then waits for the looks that are under way.
    ///
    /// # Errors
    /// Where a part of the daemon panicked: the others are stopped in order first.
    pub async fn watch(&self) -> Result<(), JoinError> {
        let mut watchers = JoinSet::new();
        for watcher in self.watchers() {
            watchers.spawn(watcher.run(self.stopping.clone()));
        }
        if watchers.is_empty() {
            self.stopping.cancelled().await;
        }
        let mut result = Ok(());
        while let Some(ended) = watchers.join_next().await {
            // A watcher ends when all stop, or because something panicked: then nothing is left half-alive.
            self.stopping.cancel();
            result = result.and(ended.and_then(|watched| watched));
        }
        self.write_what_is_left().await;
        result
    }

    /// Looks at everything once. `false` where some project could not be listed.
    ///
    /// # Errors
    /// Where a part of the daemon panicked.
    pub async fn watch_once(&self) -> Result<bool, JoinError> {
        let mut watchers = JoinSet::new();
        for watcher in self.watchers() {
            watchers.spawn(watcher.run_once(self.stopping.clone()));
        }
        let mut all = Ok(true);
        while let Some(ended) = watchers.join_next().await {
            let seen = ended.and_then(|watched| watched);
            all = all.and_then(|all| seen.map(|seen| all && seen));
        }
        self.write_what_is_left().await;
        all
    }

    async fn write_what_is_left(&self) {
        for project in &self.all {
            project.looker().write_what_is_left().await;
        }
    }

    fn watchers(&self) -> impl Iterator<Item = Watcher<HttpProject<J, T>, SystemClock>> + '_ {
        self.all.iter().map(|project| {
            let looker = project.looker();
            let at_once = looker.limits.max_requests_in_flight;
            Watcher::new(Arc::clone(project), Arc::clone(&self.clock), looker.poll.clone(), at_once)
        })
    }
}

/// One credential for each name that a project uses, shared by all projects that use it.
fn credentials(
    settings: &Settings,
    environment: &Environment,
) -> Result<BTreeMap<String, Arc<Credential>>, BuildFault> {
    let secrets = settings.resolve_secrets(environment).map_err(BuildFault::Secrets)?;
    let mut credentials = BTreeMap::new();
    for (name, secrets) in secrets {
        let CredentialSecrets::AccessKey { access_key, secret_key, security_token } = secrets;
        let key = AccessKey::new(access_key, secret_key, security_token)
            .map_err(|source| BuildFault::Key { name: name.clone(), source })?;
        credentials.insert(name, Credential::new(key, random_seed()));
    }
    Ok(credentials)
}
