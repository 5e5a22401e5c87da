//! Where a secret is to be found, and fetching it from there. The settings hold references only.
//!
//! Must never: put a secret, or a text that may be one, into a message.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::environment::Environment;
use super::files::{Readers, read_text};
use super::problem::{Problem, Problems};
use super::profile;
use super::{Credentials, Settings};
use crate::model::secret::Secret;

/// Where systemd puts the credentials of a unit.
const CREDENTIALS_DIRECTORY: &str = "CREDENTIALS_DIRECTORY";

/// Where a secret is to be found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretReference {
    /// The file of this name in `$CREDENTIALS_DIRECTORY`, which systemd fills at start.
    Credential(String),
    /// A file that its owner alone can read.
    File(PathBuf),
    /// The environment variable of this name.
    Environment(String),
}

impl SecretReference {
    /// A credential of systemd: its name is a file name.
    pub(super) fn credential(name: &str) -> Result<Self, String> {
        let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
        if plain && name != "." && name != ".." && name.len() <= 255 {
            Ok(Self::Credential(name.to_owned()))
        } else {
            Err("the name of a credential has letters, digits, '-', '_' and '.' only".to_owned())
        }
    }

    /// A file, by its absolute path.
    pub(super) fn file(path: &str) -> Result<Self, String> {
        if path.starts_with('/') && !path.chars().any(char::is_control) {
            Ok(Self::File(path.into()))
        } else {
            Err("the path of a file with a secret must be absolute".to_owned())
        }
    }

    /// An environment variable.
    pub(super) fn environment(name: &str) -> Result<Self, String> {
        let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if plain && !name.starts_with(|c: char| c.is_ascii_digit()) {
            Ok(Self::Environment(name.to_owned()))
        } else {
            Err("the name of an environment variable has letters, digits and '_' only".to_owned())
        }
    }

    /// The reference as a value, for `check`.
    pub fn to_json(&self) -> Value {
        match self {
            Self::Credential(name) => json!({ "credential": name }),
            Self::File(path) => json!({ "file": path.to_string_lossy() }),
            Self::Environment(name) => json!({ "env": name }),
        }
    }

    pub(super) fn fetch(&self, env: &Environment) -> Result<Secret, Unavailable> {
        let text = match self {
            Self::Credential(name) => {
                let folder = env
                    .directory(CREDENTIALS_DIRECTORY)
                    .ok_or_else(|| Unavailable::GivenAtStart { name: name.clone() })?;
                read(&folder.join(name), Readers::Anybody)?
            }
            Self::File(path) => read(path, Readers::OwnerOnly)?,
            Self::Environment(name) => {
                let value = env.get(name).ok_or_else(|| {
                    Unavailable::Broken(format!("the environment variable {name} is not set"), None)
                })?;
                value
                    .to_str()
                    .ok_or_else(|| {
                        Unavailable::Broken(
                            format!("the environment variable {name} is not UTF-8 text"),
                            None,
                        )
                    })?
                    .to_owned()
            }
        };
        plain(text).map_err(|why| Unavailable::Broken(format!("{self}: {why}"), None))
    }
}

/// As it is written in the settings.
impl fmt::Display for SecretReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Credential(name) => write!(f, "{{ credential = {name:?} }}"),
            Self::File(path) => write!(f, "{{ file = \"{}\" }}", path.display()),
            Self::Environment(name) => write!(f, "{{ env = {name:?} }}"),
        }
    }
}

/// Why a secret is not there.
pub(super) enum Unavailable {
    /// Outside the unit there is nothing to look at.
    GivenAtStart { name: String },
    /// What is wrong, and advice.
    Broken(String, Option<&'static str>),
}

fn read(path: &Path, readers: Readers) -> Result<String, Unavailable> {
    read_text(path, readers).map_err(|error| {
        let hint = match error {
            super::files::ReadError::Open { .. } => Some("make it readable by its owner alone: chmod 0600"),
            _ => None,
        };
        Unavailable::Broken(format!("{}: {error}", path.display()), hint)
    })
}

/// Without the line break that editors put at the end; what is left must be one line.
fn plain(mut text: String) -> Result<Secret, &'static str> {
    text.truncate(text.trim_end_matches(['\n', '\r']).len());
    if text.trim().is_empty() {
        return Err("the secret is empty");
    }
    if text.chars().any(char::is_control) {
        return Err("the secret has a line break or a control character in it");
    }
    Ok(Secret::from(text))
}

/// The secrets of one entry of `[credentials]`. Its `Debug` masks them.
#[derive(Debug, Clone)]
pub enum CredentialSecrets {
    /// Permanent keys, or temporary ones where there is a token.
    AccessKey {
        /// The access key id.
        access_key: Secret,
        /// The secret access key.
        secret_key: Secret,
        /// `X-Security-Token`.
        security_token: Option<Secret>,
    },
    /// A user's password.
    Password(Secret),
    /// `X-Auth-Token`.
    Token(Secret),
    /// There is none in the settings: others have it.
    Elsewhere,
}

/// Reads the secrets of one entry of `[credentials]`, as often as it is asked: files may change.
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
        self.credentials.fetch(&self.env).map_err(|failures| {
            let told = failures.into_iter().map(|(key, why)| why.problem(&self.name, key).in_one_line());
            told.collect::<Vec<_>>().join("; ")
        })
    }
}

impl Credentials {
    /// Fetches the secrets, or tells of every one that cannot be had, with its key.
    fn fetch(&self, env: &Environment) -> Result<CredentialSecrets, Vec<(&'static str, Unavailable)>> {
        let mut failures = Vec::new();
        let mut fetch = |key: &'static str, reference: &SecretReference| {
            reference.fetch(env).map_err(|why| failures.push((key, why))).ok()
        };
        let secrets = match self {
            Self::AccessKey { access_key, secret_key, security_token } => {
                let access_key = fetch("access_key", access_key);
                let secret_key = fetch("secret_key", secret_key);
                let security_token = security_token.as_ref().and_then(|token| fetch("security_token", token));
                access_key.zip(secret_key).map(|(access_key, secret_key)| CredentialSecrets::AccessKey {
                    access_key,
                    secret_key,
                    security_token,
                })
            }
            Self::Password { password, .. } => fetch("password", password).map(CredentialSecrets::Password),
            Self::Token { token } => fetch("token", token).map(CredentialSecrets::Token),
            Self::EcsAgency | Self::Agency { .. } => Some(CredentialSecrets::Elsewhere),
            Self::Profile { path } => match profile::read(path.as_deref(), env) {
                Ok(secrets) => Some(secrets),
                Err(why) => {
                    failures.push(("path", Unavailable::Broken(why, None)));
                    None
                }
            },
        };
        secrets.filter(|_| failures.is_empty()).ok_or(failures)
    }
}

impl Settings {
    /// Fetches the secrets of all credentials that a project uses, by the name of the credentials.
    ///
    /// # Errors
    /// All that are missing, empty, readable by others or no text.
    pub fn resolve_secrets(
        &self,
        env: &Environment,
    ) -> Result<BTreeMap<String, CredentialSecrets>, Problems> {
        let mut fetched = BTreeMap::new();
        let mut problems = Vec::new();
        for (name, credentials) in self.used_credentials() {
            match credentials.fetch(env) {
                Ok(secrets) => drop(fetched.insert(name.clone(), secrets)),
                Err(failures) => {
                    problems.extend(failures.into_iter().map(|(key, why)| why.problem(name, key)));
                }
            }
        }
        if problems.is_empty() { Ok(fetched) } else { Err(Problems(problems)) }
    }

    /// What reads the secrets of these credentials again.
    pub fn secret_reader(&self, name: &str, env: &Environment) -> Option<SecretReader> {
        let credentials = self.credentials.get(name)?.clone();
        Some(SecretReader { name: name.to_owned(), credentials, env: env.clone() })
    }

    /// What [`Self::resolve_secrets`] would find wrong; but where systemd has given no folder, as outside the unit,
    /// its credentials are taken to be given at start and are no problem.
    pub fn check_secrets(&self, env: &Environment) -> Vec<Problem> {
        let mut problems = Vec::new();
        for (name, credentials) in self.used_credentials() {
            for (key, why) in credentials.fetch(env).err().into_iter().flatten() {
                if let why @ Unavailable::Broken(..) = why {
                    problems.push(why.problem(name, key));
                }
            }
        }
        for (at, why) in self.missing_of_proxies(env) {
            if let why @ Unavailable::Broken(..) = why {
                problems.push(why.problem_at(at));
            }
        }
        problems.extend(self.check_channel_secrets(env));
        problems
    }

    /// Each secret by its key, and whether it can be had, in a few words.
    pub fn secrets(&self, env: &Environment) -> BTreeMap<String, &'static str> {
        let of = |(name, credentials): (&String, &Credentials)| {
            let references = credentials.references();
            references.into_iter().map(|(key, of)| (at(name, key), state(of, env))).collect::<Vec<_>>()
        };
        let of_channel = |channel: &super::Channel| {
            let references = channel.references().into_iter();
            references
                .map(|(key, of)| (super::channel::at(&channel.name, key), state(of, env)))
                .collect::<Vec<_>>()
        };
        let of_proxies = self.references_of_proxies().map(|(at, of)| (at, state(of, env)));
        let of_channels = self.channels.iter().flat_map(of_channel);
        self.credentials.iter().flat_map(of).chain(of_channels).chain(of_proxies).collect()
    }

    /// Whether there is a secret that systemd gives at start, and has not given here.
    pub fn needs_the_unit(&self, env: &Environment) -> bool {
        self.credentials_need_the_unit(env) || self.channels_need_the_unit(env)
    }

    /// The same of projects alone: of their credentials, and of the passwords of their proxies.
    pub fn credentials_need_the_unit(&self, env: &Environment) -> bool {
        let of_credentials = self.used_credentials().flat_map(|(_, credentials)| {
            let failures = credentials.fetch(env).err().unwrap_or_default();
            failures.into_iter().map(|(_, why)| why)
        });
        of_credentials
            .chain(self.missing_of_proxies(env).map(|(_, why)| why))
            .any(|why| matches!(why, Unavailable::GivenAtStart { .. }))
    }

    /// Those that a project uses, and those that these take agencies on with.
    fn used_credentials(&self) -> impl Iterator<Item = (&String, &Credentials)> {
        let mut used = BTreeSet::new();
        for project in &self.projects {
            let mut name = &project.credentials;
            while used.insert(name) {
                match self.credentials.get(name) {
                    Some(Credentials::Agency { source, .. }) => name = source,
                    _ => break,
                }
            }
        }
        self.credentials.iter().filter(move |(name, _)| used.contains(name))
    }
}

/// Whether a secret can be had, in a few words.
fn state(reference: &SecretReference, env: &Environment) -> &'static str {
    match reference.fetch(env) {
        Ok(_) => "found, not shown",
        Err(Unavailable::GivenAtStart { .. }) => "given by systemd at start",
        Err(Unavailable::Broken(..)) => "cannot be had",
    }
}

/// The key of a secret.
fn at(name: &str, key: &str) -> String {
    super::key::KeyPath::default().key("credentials").key(name).key(key).to_string()
}

impl Unavailable {
    fn problem(self, name: &str, key: &str) -> Problem {
        self.problem_at(at(name, key))
    }

    /// As a problem at this key.
    pub(super) fn problem_at(self, at: String) -> Problem {
        match self {
            Self::GivenAtStart { name } => Problem::error(format!(
                "the credential {name:?} is given by systemd at start, and ${CREDENTIALS_DIRECTORY} is not set"
            ))
            .at_key(at)
            .with_hint(format!(
                "start the unit with LoadCredential={name}:… or LoadCredentialEncrypted=, or give {{ file = … }}"
            )),
            Self::Broken(message, None) => Problem::error(message).at_key(at),
            Self::Broken(message, Some(hint)) => Problem::error(message).at_key(at).with_hint(hint),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use secrecy::ExposeSecret as _;

    use super::*;

    fn message(unavailable: Unavailable) -> String {
        unavailable.problem("main", "secret_key").to_string()
    }

    fn failure(reference: &SecretReference, env: &Environment) -> String {
        message(reference.fetch(env).err().unwrap())
    }

    #[test]
    fn a_credential_of_systemd_is_read_whatever_its_mode() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret-key");
        fs::write(&path, "canary-7f3a\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o444)).unwrap();
        let env = Environment::new([(CREDENTIALS_DIRECTORY, folder.path())]);
        let secret = SecretReference::credential("secret-key").unwrap().fetch(&env).ok().unwrap();
        assert_eq!(secret.expose_secret(), "canary-7f3a");
        let absent = failure(&SecretReference::credential("other").unwrap(), &env);
        assert!(absent.contains("/other: the file does not exist"), "{absent}");
        let outside = failure(&SecretReference::credential("other").unwrap(), &Environment::default());
        assert!(outside.contains("given by systemd at start"), "{outside}");
    }

    #[test]
    fn a_file_must_be_for_its_owner_alone_and_one_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let reference = SecretReference::File(path.clone());
        let env = Environment::default();
        assert!(failure(&reference, &env).contains("does not exist"));
        let write = |text: &str, mode| {
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        };
        write("canary-7f3a\r\n", 0o600);
        assert_eq!(reference.fetch(&env).ok().unwrap().expose_secret(), "canary-7f3a");
        write("canary-7f3a", 0o640);
        let open = failure(&reference, &env);
        assert!(open.contains("0640") && open.contains("chmod 0600") && !open.contains("canary"), "{open}");
        write("canary\n7f3a", 0o600);
        let lines = failure(&reference, &env);
        assert!(lines.contains("line break") && !lines.contains("canary"), "{lines}");
        write("\n", 0o600);
        assert!(failure(&reference, &env).contains("empty"));
    }

    #[test]
    fn an_environment_variable_must_be_set_and_not_empty() {
        let reference = SecretReference::environment("SK").unwrap();
        let fetch = |value: &str| reference.fetch(&Environment::new([("SK", value)]));
        assert_eq!(fetch("canary-7f3a").ok().unwrap().expose_secret(), "canary-7f3a");
        assert!(message(fetch("").err().unwrap()).contains("empty"));
        assert!(failure(&reference, &Environment::default()).contains("SK is not set"));
    }

    #[test]
    fn a_reference_that_could_lead_elsewhere_is_refused() {
        for name in ["../x", "a/b", "..", "", "a b"] {
            assert!(SecretReference::credential(name).is_err() || name.is_empty(), "{name}");
        }
        assert!(SecretReference::file("relative/key").is_err());
        assert!(SecretReference::environment("A=B").is_err());
    }
}
