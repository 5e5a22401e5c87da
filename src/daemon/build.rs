//! Making projects and their clients from the settings: at the start, and again at every reload.

use std::collections::BTreeMap;
use std::fs;
use std::sync::{Arc, RwLock};

use tokio_util::sync::CancellationToken;

use super::{BuildFault, HttpClient, HttpProject, Ledgers};
use crate::clock::{SystemClock, random_seed};
use crate::cloud::{AccessKey, Client, Credential, Options};
use crate::journal::Journal;
use crate::look::{Looker, Parts};
use crate::model::hold::Holds;
use crate::model::id::ProjectId;
use crate::model::ledger::Ledger;
use crate::model::project::{Limits, Rules};
use crate::notify::Tell;
use crate::project::WatchedProject;
use crate::settings::{CredentialSecrets, Environment, Project, Settings};

/// What all projects share, and what they are made with.
pub struct Builder<J, T> {
    environment: Environment,
    journal: Arc<J>,
    seed: u64,
    pub(super) clock: Arc<SystemClock>,
    teller: Arc<T>,
    pub(super) stopping: CancellationToken,
    pub(super) holds: Arc<RwLock<Holds>>,
    /// By name. Shared by all projects that use it.
    credentials: BTreeMap<String, Arc<Credential>>,
}

/// How a project is reached: where this is the same, so is its client.
#[derive(Clone)]
pub(super) struct Link {
    endpoint: String,
    project: ProjectId,
    ca_pem: Option<Vec<u8>>,
    proxy: Option<String>,
    request_timeout: std::time::Duration,
    limits: Limits,
    credential: Arc<Credential>,
}

impl Link {
    /// Whether both lead to one project, however it is named in the settings.
    pub(super) fn is_of_the_same_project(&self, other: &Self) -> bool {
        self.endpoint == other.endpoint && self.project == other.project
    }
}

impl PartialEq for Link {
    fn eq(&self, other: &Self) -> bool {
        let Self { endpoint, project, ca_pem, proxy, request_timeout, limits, credential } = self;
        *endpoint == other.endpoint
            && *project == other.project
            && *ca_pem == other.ca_pem
            && *proxy == other.proxy
            && *request_timeout == other.request_timeout
            && limits.max_requests_in_flight == other.limits.max_requests_in_flight
            && limits.requests_per_second == other.limits.requests_per_second
            && Arc::ptr_eq(credential, &other.credential)
    }
}

/// What the settings prescribe for every project.
pub(super) fn rules(settings: &Settings) -> Rules {
    Rules {
        policies: settings.policies.clone(),
        poll: settings.poll.clone(),
        limits: settings.limits.clone(),
        breaker: settings.breaker.clone(),
        retention: Some(settings.retention),
        mode: settings.mode,
    }
}

impl<J: Journal, T: Tell> Builder<J, T> {
    /// Takes what all projects share. `ledgers` gives up its holds.
    pub fn new(
        environment: &Environment,
        (journal, seed, ledgers): (Arc<J>, u64, &mut Ledgers),
        clock: &Arc<SystemClock>,
        teller: &Arc<T>,
        stopping: &CancellationToken,
    ) -> Self {
        Self {
            environment: environment.clone(),
            journal,
            seed,
            clock: Arc::clone(clock),
            teller: Arc::clone(teller),
            stopping: stopping.clone(),
            holds: ledgers.share_holds(),
            credentials: BTreeMap::new(),
        }
    }

    /// Cancelled once the daemon is stopping.
    pub fn stopping(&self) -> CancellationToken {
        self.stopping.clone()
    }

    /// The journal.
    pub(super) fn journal(&self) -> &J {
        &self.journal
    }

    /// The same, to be kept.
    pub(super) fn share_journal(&self) -> Arc<J> {
        Arc::clone(&self.journal)
    }

    /// What these settings need of credentials: a key that is the same as before keeps its credential, with what
    /// is known of it. Changes nothing; [`Self::take_credentials`] does.
    pub(super) fn credentials(
        &self,
        settings: &Settings,
    ) -> Result<BTreeMap<String, Arc<Credential>>, BuildFault> {
        let secrets = settings.resolve_secrets(&self.environment).map_err(BuildFault::Secrets)?;
        let mut credentials = BTreeMap::new();
        for (name, secrets) in secrets {
            let CredentialSecrets::AccessKey { access_key, secret_key, security_token } = secrets;
            let key = AccessKey::new(access_key, secret_key, security_token)
                .map_err(|source| BuildFault::Key { name: name.clone(), source })?;
            let before = self.credentials.get(&name).filter(|before| before.is_of(&key));
            let credential = before.map_or_else(|| Credential::new(key, random_seed()), Arc::clone);
            credentials.insert(name, credential);
        }
        Ok(credentials)
    }

    /// From now on these are the credentials. Those of before must prove themselves anew.
    pub(super) fn take_credentials(&mut self, credentials: BTreeMap<String, Arc<Credential>>) {
        self.credentials = credentials;
        self.credentials.values().for_each(|credential| credential.wake());
    }

    /// How this project is reached.
    pub(super) fn link(
        settings: &Settings,
        project: &Project,
        credentials: &BTreeMap<String, Arc<Credential>>,
    ) -> Result<Option<Link>, BuildFault> {
        // The settings check the reference; a project without its key is an unusable secret.
        let Some(credential) = credentials.get(&project.credentials) else { return Ok(None) };
        let ca_pem =
            project.ca_file.as_ref().map(fs::read).transpose().map_err(|source| BuildFault::CaFile {
                project: project.name.clone(),
                path: project.ca_file.clone().unwrap_or_default(),
                source,
            })?;
        Ok(Some(Link {
            endpoint: project.endpoint.clone(),
            project: project.project_id.clone(),
            ca_pem,
            proxy: project.proxy.clone(),
            request_timeout: settings.poll.request_timeout,
            limits: settings.limits.clone(),
            credential: Arc::clone(credential),
        }))
    }

    /// A client. It connects when the first request is sent.
    pub(super) fn client(&self, project: &Project, link: &Link) -> Result<HttpClient, BuildFault> {
        let options = Options {
            endpoint: link.endpoint.clone(),
            project: link.project.clone(),
            ca_pem: link.ca_pem.clone(),
            proxy: link.proxy.clone(),
            request_timeout: link.request_timeout,
            limits: link.limits.clone(),
            credential: Arc::clone(&link.credential),
            seed: random_seed(),
        };
        Client::over_http(options, Arc::clone(&self.clock))
            .map_err(|source| BuildFault::Client { project: project.name.clone(), source })
    }

    /// A project under watch.
    pub(super) fn project(
        &self,
        settings: &Settings,
        project: &Project,
        css: HttpClient,
        ledger: Ledger,
    ) -> Arc<HttpProject<J, T>> {
        Arc::new(WatchedProject::new(Looker::new(Parts {
            project: project.name.clone(),
            css,
            journal: Arc::clone(&self.journal),
            clock: Arc::clone(&self.clock),
            teller: Arc::clone(&self.teller),
            rules: rules(settings),
            holds: Arc::clone(&self.holds),
            seed: self.seed,
            stopping: self.stopping.clone(),
            ledger,
        })))
    }
}
