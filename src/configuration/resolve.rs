//! The secrets of the configuration: one list of their places, which reading them, checking that
//! they can be read, and showing their state use alike.

use std::collections::{BTreeMap, BTreeSet};

use super::channel::ChannelKind;
use super::checked::{Configuration, Loaded};
use super::credentials::{CredentialSecrets, Credentials};
use super::environment::Environment;
use super::key::KeyPath;
use super::problem::{Problem, Problems};
use super::profile;
use super::reference::{SecretReference, Unavailable};
use super::variant::Variants as _;
use crate::journal::JournalLocation;
use crate::model::id::ProjectName;
use crate::model::proxy;
use crate::model::secret::Secret;

/// The state of a secret that only the unit has.
pub const GIVEN_AT_START: &str = "systemd gives it at start";

/// The secrets of one channel, by their keys.
pub type ChannelSecrets = BTreeMap<&'static str, Secret>;

/// The owner of the secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owner<'a> {
    Credentials(&'a str),
    /// A project's proxy.
    Project(&'a str),
    Channel(&'a str),
    /// The database of the journal.
    Journal,
}

/// A secret with its place.
struct Wanted<'a> {
    owner: Owner<'a>,
    key: &'static str,
    reference: &'a SecretReference,
}

impl Owner<'_> {
    fn at(self, key: &str) -> String {
        let (section, name) = match self {
            Self::Credentials(name) => ("credentials", name),
            Self::Project(name) => ("project", name),
            Self::Channel(name) => ("channel", name),
            Self::Journal => return KeyPath::of(&["journal", key]).to_string(),
        };
        KeyPath::of(&[section, name, key]).to_string()
    }
}

/// Reads the secrets of one entry of `[credentials]`, at each call: files may change.
#[derive(Debug, Clone)]
pub struct SecretReader {
    name: String,
    credentials: Credentials,
    env: Environment,
}

impl SecretReader {
    /// Reads them.
    ///
    /// # Errors
    /// What is missing or cannot be used, in one line and without the secret.
    pub fn read(&self) -> Result<CredentialSecrets, String> {
        fetch(&self.credentials, &self.env).map_err(|failures| {
            let owner = Owner::Credentials(&self.name);
            let told = failures.into_iter().map(|(key, why)| why.problem_at(owner.at(key)).in_one_line());
            told.collect::<Vec<_>>().join("; ")
        })
    }
}

/// Reads the secrets of credentials, or returns a problem for every unreadable one, with its key.
fn fetch(
    credentials: &Credentials,
    env: &Environment,
) -> Result<CredentialSecrets, Vec<(&'static str, Unavailable)>> {
    if let Credentials::Profile(profile) = credentials {
        return profile::read(profile.path.as_deref(), env)
            .map_err(|why| vec![("path", Unavailable::Broken(why, None))]);
    }
    let mut fetched = fetch_all(credentials.references(), env)?;
    let mut take = |key: &str| fetched.remove(key);
    let secrets = match credentials {
        Credentials::AkSk(_) => take("access_key").zip(take("secret_key")).map(|(access_key, secret_key)| {
            CredentialSecrets::AccessKey { access_key, secret_key, security_token: take("security_token") }
        }),
        Credentials::Password(_) => take("password").map(CredentialSecrets::Password),
        Credentials::Token(_) => take("token").map(CredentialSecrets::Token),
        Credentials::EcsAgency(_) | Credentials::Assumed(_) | Credentials::Profile(_) => None,
    };
    Ok(secrets.unwrap_or(CredentialSecrets::Elsewhere))
}

/// Reads all of these, or returns a problem for every unreadable one.
fn fetch_all(
    references: Vec<(&'static str, &SecretReference)>,
    env: &Environment,
) -> Result<ChannelSecrets, Vec<(&'static str, Unavailable)>> {
    let (mut secrets, mut failures) = (ChannelSecrets::new(), Vec::new());
    for (key, reference) in references {
        match reference.fetch(env) {
            Ok(secret) => drop(secrets.insert(key, secret)),
            Err(why) => failures.push((key, why)),
        }
    }
    if failures.is_empty() { Ok(secrets) } else { Err(failures) }
}

/// Returns the values of all of them, or the problems of all of them.
fn together<'a, K: Ord, T>(
    all: impl Iterator<Item = (K, Owner<'a>, Result<T, Vec<(&'static str, Unavailable)>>)>,
) -> Result<BTreeMap<K, T>, Problems> {
    let (mut good, mut problems) = (BTreeMap::new(), Vec::new());
    for (key, owner, result) in all {
        match result {
            Ok(value) => drop(good.insert(key, value)),
            Err(failures) => {
                problems.extend(failures.into_iter().map(|(key, why)| why.problem_at(owner.at(key))));
            }
        }
    }
    if problems.is_empty() { Ok(good) } else { Err(Problems(problems)) }
}

impl Configuration {
    /// Reads the secrets of all credentials that a project uses, by the name of the credentials.
    ///
    /// # Errors
    /// All that are missing, empty, readable by others or no text.
    pub fn resolve_secrets(
        &self,
        env: &Environment,
    ) -> Result<BTreeMap<String, CredentialSecrets>, Problems> {
        together(
            self.used_credentials()
                .map(|(name, of)| (name.clone(), Owner::Credentials(name), fetch(of, env))),
        )
    }

    /// Reads the passwords of the projects' proxies: the proxies by the names of the projects.
    ///
    /// # Errors
    /// All that are missing, empty, readable by others or no text.
    pub fn resolve_proxies(
        &self,
        env: &Environment,
    ) -> Result<BTreeMap<ProjectName, proxy::Proxy>, Problems> {
        together(self.projects.iter().filter_map(|project| {
            let proxy = project.proxy.as_ref()?;
            let secrets = fetch_all(proxy.reference().into_iter().collect(), env);
            let proxy = secrets.map(|secrets| proxy.with(|key| secrets.get(key).cloned()));
            Some((project.name.clone(), Owner::Project(project.name.as_str()), proxy))
        }))
    }

    /// Reads the secrets of all channels, by the channels' names.
    ///
    /// # Errors
    /// All that are missing, empty, readable by others or no text.
    pub fn resolve_channels(&self, env: &Environment) -> Result<BTreeMap<String, ChannelSecrets>, Problems> {
        together(self.channels.iter().map(|channel| {
            let secrets = fetch_all(channel.references(), env);
            (channel.name.clone(), Owner::Channel(&channel.name), secrets)
        }))
    }

    /// Returns a function that reads the secrets of these credentials again.
    pub fn secret_reader(&self, name: &str, env: &Environment) -> Option<SecretReader> {
        let credentials = self.credentials.get(name)?.clone();
        Some(SecretReader { name: name.to_owned(), credentials, env: env.clone() })
    }

    /// Returns every secret that the configuration refers to.
    fn wanted(&self) -> impl Iterator<Item = Wanted<'_>> {
        let of = |owner, references: Vec<(&'static str, _)>| {
            references.into_iter().map(move |(key, reference)| Wanted { owner, key, reference })
        };
        let credentials = self
            .credentials
            .iter()
            .flat_map(move |(name, all)| of(Owner::Credentials(name), all.references()));
        let projects = self.projects.iter().flat_map(move |project| {
            let references = project.proxy.iter().filter_map(super::network::Proxy::reference).collect();
            of(Owner::Project(project.name.as_str()), references)
        });
        let channels = self
            .channels
            .iter()
            .flat_map(move |channel| of(Owner::Channel(&channel.name), channel.references()));
        let journal = match &self.journal {
            JournalLocation::Sqlite(_) => Vec::new(),
            JournalLocation::Postgres(_) => self.database.references(),
        };
        credentials.chain(projects).chain(channels).chain(of(Owner::Journal, journal))
    }

    /// Returns those in use that cannot be read, with their keys.
    fn unavailable<'a>(
        &'a self,
        env: &'a Environment,
    ) -> impl Iterator<Item = (Owner<'a>, &'static str, Unavailable)> {
        let used: BTreeSet<&str> = self.used_credentials().map(|(name, _)| name.as_str()).collect();
        let profiles = self.used_credentials().filter_map(|(name, credentials)| {
            let Credentials::Profile(_) = credentials else { return None };
            Some((Owner::Credentials(name), fetch(credentials, env).err()?))
        });
        let of_profiles = profiles
            .flat_map(|(owner, failures)| failures.into_iter().map(move |(key, why)| (owner, key, why)));
        let is_used = move |owner| !matches!(owner, Owner::Credentials(name) if !used.contains(name));
        let others = self.wanted().filter(move |wanted| is_used(wanted.owner));
        others
            .filter_map(|Wanted { owner, key, reference }| Some((owner, key, reference.fetch(env).err()?)))
            .chain(of_profiles)
    }

    /// Returns whether one of these owners has a secret that systemd provides at the start, and has
    /// not provided here.
    fn any_is_given_at_start(&self, env: &Environment, of: impl Fn(Owner<'_>) -> bool) -> bool {
        self.unavailable(env)
            .any(|(owner, _, why)| of(owner) && matches!(why, Unavailable::GivenAtStart { .. }))
    }

    /// Returns the problems of reading all secrets in use; if systemd has provided no folder, as
    /// outside the unit, its credentials are assumed to be provided at the start and are no
    /// problem.
    pub fn check_secrets(&self, env: &Environment) -> Vec<Problem> {
        let broken = self.unavailable(env).filter(|(_, _, why)| matches!(why, Unavailable::Broken(..)));
        broken.map(|(owner, key, why)| why.problem_at(owner.at(key))).collect()
    }

    /// Returns each secret by its key, and whether it can be read, in a few words.
    pub fn secrets(&self, env: &Environment) -> BTreeMap<String, &'static str> {
        let state = |reference: &SecretReference| match reference.fetch(env) {
            Ok(_) => "found, not shown",
            Err(Unavailable::GivenAtStart { .. }) => GIVEN_AT_START,
            Err(Unavailable::Broken(..)) => "not available",
        };
        self.wanted().map(|wanted| (wanted.owner.at(wanted.key), state(wanted.reference))).collect()
    }

    /// Returns whether there is a secret that systemd provides at the start, and has not provided
    /// here.
    pub fn needs_the_unit(&self, env: &Environment) -> bool {
        self.any_is_given_at_start(env, |_| true)
    }

    /// Returns the same for projects alone: for their credentials, and the passwords of their
    /// proxies.
    pub fn credentials_need_the_unit(&self, env: &Environment) -> bool {
        self.any_is_given_at_start(env, |owner| !matches!(owner, Owner::Channel(_)))
    }

    /// Returns whether this channel, or the project that it publishes with, has a secret that
    /// systemd provides at the start, and has not provided here.
    pub fn channel_needs_the_unit(&self, name: &str, env: &Environment) -> bool {
        let publishes = self
            .channels
            .iter()
            .any(|channel| channel.name == name && matches!(channel.way, ChannelKind::Smn(_)));
        self.any_is_given_at_start(env, |owner| owner == Owner::Channel(name))
            || (publishes && self.credentials_need_the_unit(env))
    }

    /// Returns those that a project uses, and the sources of their agencies.
    fn used_credentials(&self) -> impl Iterator<Item = (&String, &Credentials)> {
        let mut used = BTreeSet::new();
        for project in &self.projects {
            let mut name = &project.credentials;
            while used.insert(name) {
                match self.credentials.get(name) {
                    Some(Credentials::Assumed(assumed)) => name = &assumed.source,
                    _ => break,
                }
            }
        }
        self.credentials.iter().filter(move |(name, _)| used.contains(name))
    }
}

impl Loaded {
    /// Returns the problems of [`Configuration::check_secrets`], with their places.
    pub fn check_secrets(&self, env: &Environment) -> Vec<Problem> {
        self.configuration.check_secrets(env).into_iter().map(|problem| self.located(problem)).collect()
    }
}
