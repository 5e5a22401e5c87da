//! The credentials of all projects: built from the configuration, shared if they are the same, and
//! kept over a reload.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::sync::Arc;
use std::time::Duration;

use super::BuildFault;
use super::measured::CredentialMeter;
use crate::clock::{SystemClock, random_seed};
use crate::cloud::credential::{Key, LocalSource, Refused};
use crate::cloud::error::KeyError;
use crate::cloud::http::HttpTransport;
use crate::cloud::iam::{self, AgencySource, Iam, PasswordSource, Scope, User};
use crate::cloud::metadata::MetadataSource;
use crate::cloud::{AccessKey, AccountCircuits, AuthToken, BuildError, Credential, Meter, ProxyCircuit};
use crate::configuration::{
    self, Configuration, CredentialSecrets, Environment, Problem, Problems, Project, SecretReader,
};
use crate::journal::Opened;
use crate::model::id::{ProjectId, ProjectName};
use crate::status::metrics::Metrics;

/// Where credentials sign in, and over which connection.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Site {
    iam_endpoint: String,
    sts_endpoint: String,
    pub(super) ca_pem: Option<Vec<u8>>,
    pub(super) proxy: Option<Arc<ProxyCircuit>>,
    request_timeout: Duration,
}

impl Site {
    /// Returns that of this project.
    fn of(configuration: &Configuration, project: &Project, proxies: &Proxies) -> Result<Self, BuildFault> {
        let ca_pem = project.ca_file.as_ref().map(|path| {
            let at = ["project", project.name.as_str(), "ca_file"];
            fs::read(path).map_err(|error| {
                BuildFault::at(&at, format!("{}: the file cannot be read: {error}", path.display()))
            })
        });
        Ok(Self {
            iam_endpoint: project.iam_endpoint.clone(),
            sts_endpoint: project.sts_endpoint.clone(),
            ca_pem: ca_pem.transpose()?,
            proxy: proxies.get(&project.name).cloned(),
            request_timeout: configuration.poll.request_timeout,
        })
    }

    /// Makes the IAM client for it.
    pub(super) fn iam(
        &self,
        clock: &Arc<SystemClock>,
    ) -> Result<Iam<HttpTransport, SystemClock>, BuildError> {
        self.at(&self.iam_endpoint, clock)
    }

    fn at(
        &self,
        endpoint: &str,
        clock: &Arc<SystemClock>,
    ) -> Result<Iam<HttpTransport, SystemClock>, BuildError> {
        let (ca_pem, proxy) = (self.ca_pem.as_deref(), self.proxy.as_ref());
        Iam::over_http(endpoint, ca_pem, proxy, self.request_timeout, Arc::clone(clock))
    }
}

/// The proxies of projects, with their users. Equal ones are shared.
type Proxies = BTreeMap<ProjectName, Arc<ProxyCircuit>>;

/// What distinguishes two credentials.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Identity {
    /// Their name in the configuration.
    name: String,
    /// Where they sign in; absent if they do not.
    site: Option<Site>,
    /// What they sign in for; absent if that makes no difference.
    scope: Option<Target>,
}

/// What a token is valid for.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Target {
    Project(ProjectId),
    Region(String),
    Domain,
}

/// A credential with what it was built from.
struct Built {
    configuration: Vec<configuration::Credentials>,
    credential: Arc<Credential>,
}

/// All credentials in use.
#[derive(Default)]
pub(super) struct Credentials {
    built: BTreeMap<Identity, Built>,
    gates: AccountCircuits,
    /// By the names of projects.
    proxies: Proxies,
    /// Where requests to IAM are counted.
    metrics: Option<Arc<Metrics>>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.built.keys().map(|identity| &identity.name)).finish()
    }
}

impl Credentials {
    /// Builds those of this configuration. An unchanged one is kept.
    pub(super) fn renewed(
        &self,
        configuration: &Configuration,
        environment: &Environment,
        clock: &Arc<SystemClock>,
    ) -> Result<Self, BuildFault> {
        let secrets = configuration.resolve_secrets(environment).map_err(BuildFault::Secrets)?;
        let mut proxies = Proxies::new();
        for (name, proxy) in configuration.resolve_proxies(environment).map_err(BuildFault::Secrets)? {
            let known = proxies.values().chain(self.proxies.values()).find(|known| *known.proxy() == proxy);
            let through = known.cloned().unwrap_or_else(|| ProxyCircuit::new(proxy, Arc::clone(clock)));
            proxies.insert(name, through);
        }
        #[expect(clippy::mutable_key_type, reason = "a proxy is compared by what never changes of it")]
        let built = BTreeMap::new();
        let mut making = Making {
            configuration,
            environment,
            clock,
            secrets,
            before: self,
            built,
            gates: self.gates.clone(),
        };
        for project in &configuration.projects {
            let site = Site::of(configuration, project, &proxies)?;
            making.credential(&project.credentials, project, &site, scope(project))?;
        }
        Ok(Self { built: making.built, gates: making.gates, proxies, metrics: self.metrics.clone() })
    }

    /// Returns the same, with the pauses in this journal, which also keeps new ones.
    pub(super) fn remembering(self, journal: &Opened) -> Self {
        let before =
            journal.refusals.as_deref().map(serde_json::from_str).transpose().unwrap_or_else(|error| {
                // Most likely written by another version: each key is then tried once.
                tracing::debug!(%error, "the record of refused credentials cannot be read from the journal");
                None
            });
        let keeper = journal.journal.clone();
        let keep = move |kept: Vec<Refused>| match serde_json::to_string(&kept) {
            Ok(text) => keeper.keep_refusals(text),
            Err(error) => {
                tracing::debug!(%error, "the refusal of a credential could not be written to the journal");
            }
        };
        let gates =
            AccountCircuits::remembering(&journal.journal.meta().id, before.unwrap_or_default(), keep);
        Self { gates, ..self }
    }

    /// Counts requests to IAM there, by all that are built from now on.
    pub(super) fn with_metrics(self, metrics: Arc<Metrics>) -> Self {
        Self { metrics: Some(metrics), ..self }
    }

    /// Counts the requests to IAM with the credentials of this name.
    pub(super) fn meter(&self, name: &str) -> Option<Arc<dyn Meter>> {
        self.metrics.as_ref().map(|metrics| CredentialMeter::of(name, metrics))
    }

    /// Returns where this project signs in, and over which connection.
    pub(super) fn site(&self, configuration: &Configuration, project: &Project) -> Result<Site, BuildFault> {
        Site::of(configuration, project, &self.proxies)
    }

    /// Returns that of a project.
    pub(super) fn of(&self, project: &Project, site: &Site) -> Option<Arc<Credential>> {
        let of_project = self.built.iter().find(|(identity, _)| {
            identity.name == project.credentials
                && identity.site.as_ref().is_none_or(|other| other == site)
                && identity.scope.as_ref().is_none_or(|other| *other == scope(project))
        });
        of_project.map(|(_, built)| Arc::clone(&built.credential))
    }

    /// Requires a new proof of all, and reads files again.
    pub(super) fn wake(&self) {
        self.built.values().for_each(|built| built.credential.wake());
        self.proxies.values().for_each(|through| through.wake());
    }
}

fn scope(project: &Project) -> Target {
    project.project_id.clone().map_or_else(|| Target::Region(project.region.clone()), Target::Project)
}

/// Credentials while they are built.
struct Making<'a> {
    configuration: &'a Configuration,
    environment: &'a Environment,
    clock: &'a Arc<SystemClock>,
    secrets: BTreeMap<String, CredentialSecrets>,
    before: &'a Credentials,
    built: BTreeMap<Identity, Built>,
    gates: AccountCircuits,
}

impl Making<'_> {
    /// Returns the credential of this name for this project, built if it does not exist yet.
    fn credential(
        &mut self,
        name: &str,
        project: &Project,
        site: &Site,
        target: Target,
    ) -> Result<Option<Arc<Credential>>, BuildFault> {
        use configuration::Credentials as Kind;
        let Some(kind) = self.configuration.credentials.get(name) else { return Ok(None) };
        let (site_matters, scope) = match kind {
            Kind::Password(_) => (true, Some(target)),
            Kind::Assumed(_) => (true, None),
            Kind::AkSk(_) | Kind::Token(_) | Kind::EcsAgency(_) | Kind::Profile(_) => (false, None),
        };
        let identity = Identity {
            name: name.to_owned(),
            site: site_matters.then(|| site.clone()),
            scope: scope.clone(),
        };
        if let Some(built) = self.built.get(&identity) {
            return Ok(Some(Arc::clone(&built.credential)));
        }
        // An invalid key is reported before anything is taken, also if the credential is kept.
        let first = self.first_key(name)?;
        // Their configuration, with all that it refers to.
        let mut chain = vec![kind.clone()];
        while let Some(Kind::Assumed(assumed)) = chain.last()
            && let Some(next) = self.configuration.credentials.get(&assumed.source)
        {
            chain.push(next.clone());
        }
        let same = self.before.built.get(&identity).filter(|before| before.configuration == chain);
        let credential = match same {
            Some(before) => Arc::clone(&before.credential),
            None => self.make(name, kind, project, site, (first, scope))?,
        };
        self.built.insert(identity, Built { configuration: chain, credential: Arc::clone(&credential) });
        Ok(Some(credential))
    }

    fn first_key(&self, name: &str) -> Result<Option<Key>, BuildFault> {
        let Some(secrets) = self.secrets.get(name) else { return Ok(None) };
        key(secrets.clone()).map_err(|error| {
            // Keys of a profile stand in another file.
            let is_profile = matches!(
                self.configuration.credentials.get(name),
                Some(configuration::Credentials::Profile(_))
            );
            let at = if is_profile { "path" } else { error.key() };
            let problem =
                Problem::error(error.to_string()).at_key(configuration::key_of(&["credentials", name, at]));
            BuildFault::Unusable(Problems(vec![problem.with_hint(error.advice())]))
        })
    }

    fn make(
        &mut self,
        name: &str,
        kind: &configuration::Credentials,
        project: &Project,
        site: &Site,
        (first, scope): (Option<Key>, Option<Target>),
    ) -> Result<Arc<Credential>, BuildFault> {
        use configuration::Credentials as Kind;
        let fault = |error: BuildError| BuildFault::of_client(project, &error);
        let seed = random_seed();
        let source: Box<dyn crate::cloud::credential::Source> = match kind {
            Kind::AkSk(_) | Kind::Token(_) | Kind::Profile(_) => {
                let reader = self.reader(name);
                LocalSource::new(Box::new(move || {
                    let read = reader
                        .as_ref()
                        .ok_or("the credentials are no longer in the configuration")?
                        .read()?;
                    let key = key(read).map_err(|error| error.to_string())?;
                    key.ok_or_else(|| "there is no key in them".to_owned())
                }))
            }
            Kind::Password(configuration::Password { user, domain, .. }) => {
                let iam = site.iam(self.clock).map_err(fault)?.metered(self.before.meter(name));
                let reader = self.reader(name);
                let password = Box::new(move || {
                    match reader
                        .as_ref()
                        .ok_or("the credentials are no longer in the configuration")?
                        .read()?
                    {
                        CredentialSecrets::Password(password) => Ok(password),
                        _ => Err("there is no password in them".to_owned()),
                    }
                });
                let user = User { name: user.clone(), domain: domain.clone(), password };
                let scope = match scope {
                    Some(Target::Project(id)) => Scope::Project(id),
                    Some(Target::Region(region)) => Scope::ProjectNamed(region),
                    Some(Target::Domain) | None => Scope::Domain(user.domain.clone()),
                };
                PasswordSource::new(iam, user, scope, &self.gates, seed)
            }
            Kind::EcsAgency(_) => MetadataSource::over_http(Arc::clone(self.clock)).map_err(fault)?,
            Kind::Assumed(configuration::Assumed { source, agency }) => {
                let with = self.credential(source, project, site, Target::Domain)?;
                // The configuration checks this; it is told all the same.
                let with = with.ok_or_else(|| {
                    let message = format!("there are no credentials of the name \"{source}\"");
                    BuildFault::at(&["credentials", name, "source"], message)
                })?;
                let meter = self.before.meter(name);
                let (endpoint, agency) = match agency.clone() {
                    configuration::Agency::Named { name, domain } => {
                        (&site.iam_endpoint, iam::Agency::Named { agency: name, domain })
                    }
                    configuration::Agency::Urn(urn) => (&site.sts_endpoint, iam::Agency::Urn(urn)),
                };
                let iam = site.at(endpoint, self.clock).map_err(fault)?.metered(meter);
                AgencySource::new(iam, agency, with)
            }
        };
        Ok(Credential::from_source(first, source, &self.gates, seed))
    }

    fn reader(&self, name: &str) -> Option<SecretReader> {
        self.configuration.secret_reader(name, self.environment)
    }
}

/// Returns the key of these secrets, if they are one.
fn key(secrets: CredentialSecrets) -> Result<Option<Key>, KeyError> {
    Ok(match secrets {
        CredentialSecrets::AccessKey { access_key, secret_key, security_token } => {
            Some(AccessKey::new(access_key, secret_key, security_token)?.into())
        }
        CredentialSecrets::Token(token) => Some(AuthToken::new(token)?.into()),
        CredentialSecrets::Password(_) | CredentialSecrets::Elsewhere => None,
    })
}
