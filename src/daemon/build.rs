//! Makes projects and their clients from the configuration: at the start, and again at every
//! reload.

use std::sync::{Arc, RwLock};

use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::channels::Channels;
use super::credentials::{Credentials, Site};
use super::identity::{Claiming, Identities};
use super::measured::ProjectMeter;
use super::{BuildFault, HttpClient, HttpProject, ProjectStates};
use crate::clock::{SystemClock, random_seed};
use crate::cloud::iam::ProjectByRegion;
use crate::cloud::{BuildError, Client, Credential, Options, ProjectSource, ProxyCircuit};
use crate::configuration::{Configuration, Environment, Project};
use crate::descriptors;
use crate::journal::{Journal, Opened};
use crate::model::hold::Holds;
use crate::model::id::{ProjectId, ProjectName};
use crate::model::project::{Limits, Rules};
use crate::model::project_state::ProjectState;
use crate::notify::{NotifyQueue, Observer};
use crate::reconcile::{Parts, Reconciler};
use crate::status::metrics::Metrics;

/// What all projects share, and what they are made with.
pub struct Builder {
    environment: Environment,
    journal: Journal,
    pub(super) clock: Arc<SystemClock>,
    observer: Arc<dyn Observer>,
    pub(super) stopping: CancellationToken,
    pub(super) holds: Arc<RwLock<Holds>>,
    pub(super) identities: Arc<Identities>,
    credentials: Credentials,
    channels: Channels,
    /// The queue that is notified of changed channels; absent: there are no notifications.
    pub(super) post: Option<NotifyQueue>,
    metrics: Option<Arc<Metrics>>,
}

/// The connection of a project: while it is the same, so is its client.
#[derive(Clone)]
pub(super) struct Connection {
    endpoint: String,
    /// Looked up by the region if absent.
    project: Option<ProjectId>,
    site: Site,
    ca_pem: Option<Vec<u8>>,
    proxy: Option<Arc<ProxyCircuit>>,
    request_timeout: std::time::Duration,
    limits: Limits,
    credential: Arc<Credential>,
}

impl Connection {
    /// Returns the project's id, if the configuration has it.
    pub(super) fn project(&self) -> Option<&ProjectId> {
        self.project.as_ref()
    }
}

impl PartialEq for Connection {
    fn eq(&self, other: &Self) -> bool {
        let Self { endpoint, project, site, ca_pem, proxy, request_timeout, limits, credential } = self;
        *endpoint == other.endpoint
            && *project == other.project
            && *site == other.site
            && *ca_pem == other.ca_pem
            && *proxy == other.proxy
            && *request_timeout == other.request_timeout
            && limits.max_requests_in_flight == other.limits.max_requests_in_flight
            && limits.requests_per_second == other.limits.requests_per_second
            && Arc::ptr_eq(credential, &other.credential)
    }
}

/// Returns the configured limits, with fewer concurrent requests if descriptors are few.
fn limits(configuration: &Configuration) -> Limits {
    let wanted = configuration.limits.max_requests_in_flight;
    let at_once = descriptors::requests(wanted, configuration.projects.len(), descriptors::limit());
    Limits { max_requests_in_flight: at_once, ..configuration.limits.clone() }
}

/// Warns if there are too few descriptors for the configuration.
pub(super) fn tell_of_limits(configuration: &Configuration) {
    let (wanted, at_once) =
        (configuration.limits.max_requests_in_flight, limits(configuration).max_requests_in_flight);
    if at_once < wanted {
        warn!(
            descriptors = descriptors::limit(),
            "the limit of open files is low: each project sends at most {at_once} requests at once instead of {wanted} \
             (limits.max_requests_in_flight); raise `ulimit -n`, or LimitNOFILE= of the unit",
        );
    }
}

/// Returns what the configuration says for every project.
pub(super) fn rules(configuration: &Configuration) -> Rules {
    Rules {
        policies: configuration.policies.clone(),
        poll: configuration.poll.clone(),
        limits: limits(configuration),
        breaker: configuration.breaker.clone(),
        retention: Some(configuration.retention),
        mode: configuration.mode,
    }
}

impl Builder {
    /// Takes what all projects share. `states` gives up its holds.
    pub fn new(
        environment: &Environment,
        (journal, states): (Journal, &mut ProjectStates),
        clock: &Arc<SystemClock>,
        observer: &Arc<impl Observer>,
        stopping: &CancellationToken,
    ) -> Self {
        let holds = states.share_holds();
        Self {
            environment: environment.clone(),
            identities: Identities::new(&journal, clock, &holds, states.names.clone()),
            journal,
            clock: Arc::clone(clock),
            observer: observer.clone(),
            stopping: stopping.clone(),
            holds,
            credentials: Credentials::default(),
            channels: Channels::default(),
            post: None,
            metrics: None,
        }
    }

    /// Returns the same, with every request counted there.
    #[must_use]
    pub fn with_metrics(self, metrics: Arc<Metrics>) -> Self {
        let credentials = self.credentials.with_metrics(Arc::clone(&metrics));
        Self { metrics: Some(metrics), credentials, ..self }
    }

    /// Returns the same, with channels: they are built with everything else, and again at every
    /// reload.
    #[must_use]
    pub fn notifying(self, post: NotifyQueue) -> Self {
        self.identities.notifying(&post);
        Self { post: Some(post), ..self }
    }

    /// Returns the same, with refused credentials that continue the pauses in this journal.
    #[must_use]
    pub fn remembering(self, journal: &Opened) -> Self {
        Self { credentials: self.credentials.remembering(journal), ..self }
    }

    /// Cancelled when the daemon stops.
    pub fn stopping(&self) -> CancellationToken {
        self.stopping.clone()
    }

    /// The journal.
    pub(super) fn journal(&self) -> &Journal {
        &self.journal
    }

    /// Returns a handle of the same, to be kept.
    pub(super) fn share_journal(&self) -> Journal {
        self.journal.clone()
    }

    /// Builds the credentials of this configuration: unchanged ones are kept, with their state.
    /// Changes nothing; [`Self::take_credentials`] does.
    pub(super) fn credentials(&self, configuration: &Configuration) -> Result<Credentials, BuildFault> {
        self.credentials.renewed(configuration, &self.environment, &self.clock)
    }

    /// Takes these credentials.
    pub(super) fn take_credentials(&mut self, credentials: Credentials) {
        self.credentials = credentials;
    }

    /// Builds the channels of this configuration, if there is a notifier. Changes nothing;
    /// [`Self::take_channels`] does.
    pub(super) fn channels(
        &self,
        configuration: &Configuration,
        credentials: &Credentials,
    ) -> Result<Channels, BuildFault> {
        if self.post.is_none() {
            return Ok(Channels::default());
        }
        self.channels.renewed(configuration, &self.environment, credentials, &self.clock)
    }

    /// Takes these channels.
    pub(super) fn take_channels(&mut self, channels: Channels, configuration: &Configuration) {
        if let Some(post) = &self.post {
            post.take(channels.routes(configuration));
        }
        self.channels = channels;
    }

    /// Returns the connection of this project.
    pub(super) fn link(
        configuration: &Configuration,
        project: &Project,
        credentials: &Credentials,
    ) -> Result<Option<Connection>, BuildFault> {
        let site = credentials.site(configuration, project)?;
        // The configuration checks the reference; a project without its key has an unusable secret.
        let Some(credential) = credentials.of(project, &site) else { return Ok(None) };
        Ok(Some(Connection {
            endpoint: project.endpoint.clone(),
            project: project.project_id.clone(),
            ca_pem: site.ca_pem.clone(),
            proxy: site.proxy.clone(),
            request_timeout: configuration.poll.request_timeout,
            limits: limits(configuration),
            site,
            credential,
        }))
    }

    /// Makes a client. It connects when the first request is sent.
    pub(super) fn client(&self, project: &Project, link: &Connection) -> Result<HttpClient, BuildFault> {
        let fault = |error: BuildError| BuildFault::of_client(project, &error);
        let id = if let Some(id) = &link.project {
            ProjectSource::Id(id.clone())
        } else {
            let meter = self.credentials.meter(&project.credentials);
            let iam = link.site.iam(&self.clock).map_err(fault)?.metered(meter);
            let (region, credential) = (project.region.clone(), Arc::clone(&link.credential));
            let finder = ProjectByRegion::new(iam, region, credential);
            let (name, identities) = (project.name.clone(), Arc::clone(&self.identities));
            ProjectSource::lookup(Claiming { finder, name, identities })
        };
        let options = Options {
            endpoint: link.endpoint.clone(),
            project: id,
            ca_pem: link.ca_pem.clone(),
            proxy: link.proxy.clone(),
            request_timeout: link.request_timeout,
            limits: link.limits.clone(),
            credential: Arc::clone(&link.credential),
            seed: random_seed(),
            meter: self.metrics.as_ref().map(|metrics| ProjectMeter::of(&project.name, metrics)),
        };
        Client::over_http(options, Arc::clone(&self.clock)).map_err(fault)
    }

    /// Ends the notifications of a project that is no longer watched.
    pub(super) fn let_go(&self, project: &ProjectName) {
        if let Some(post) = &self.post {
            post.forget(project);
        }
    }

    /// Makes a watched project.
    pub(super) fn project(
        &self,
        configuration: &Configuration,
        project: &Project,
        css: HttpClient,
        project_state: ProjectState,
        stopping: CancellationToken,
    ) -> Arc<HttpProject> {
        let reconciler = Arc::new(Reconciler::new(Parts {
            project: project.name.clone(),
            css,
            journal: self.journal.clone(),
            clock: Arc::clone(&self.clock),
            observer: Arc::clone(&self.observer),
            conditions: self.post.as_ref().map(NotifyQueue::share_conditions).unwrap_or_default(),
            rules: rules(configuration),
            holds: Arc::clone(&self.holds),
            seed: self.journal.meta().seed,
            stopping,
            project_state,
        }));
        if let Some(post) = &self.post {
            let reconciler = Arc::downgrade(&reconciler);
            post.foreseen_by(&project.name, move |subject| {
                let outlooks = reconciler.upgrade()?.outlooks(&subject.cluster);
                outlooks.into_iter().find_map(|(task, outlook)| (task == subject.task).then_some(outlook))
            });
        }
        reconciler
    }
}
