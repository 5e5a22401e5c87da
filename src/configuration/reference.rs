//! References to secrets, and reading the secrets. The configuration contains references only.
//!
//! Must never: put a secret, or a text that may be one, into a message.

use std::fmt;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::environment::Environment;
use super::files::{ReadError, Readers, read_text};
use super::problem::Problem;
use crate::model::secret::Secret;

/// Systemd's variable with the folder of a unit's credentials.
const CREDENTIALS_DIRECTORY: &str = "CREDENTIALS_DIRECTORY";

/// The place of a secret.
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

    /// A table of exactly one of the three keys.
    pub(super) fn of(table: &Map<String, Value>) -> Result<Self, String> {
        let mut entries = table.iter();
        let (Some((key, value)), None) = (entries.next(), entries.next()) else {
            return Err(format!(
                "found {} keys; exactly one of credential, file and env is needed",
                table.len()
            ));
        };
        let Some(value) = value.as_str().filter(|value| !value.is_empty()) else {
            return Err("the reference is empty or not text".to_owned());
        };
        match key.as_str() {
            "credential" => Self::credential(value),
            "file" => Self::file(value),
            "env" => Self::environment(value),
            _ => Err("unknown kind of reference; allowed: credential, file, env".to_owned()),
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
                let broken =
                    |what| Unavailable::Broken(format!("the environment variable {name} {what}"), None);
                let value = env.get(name).ok_or_else(|| broken("is not set"))?;
                value.to_str().ok_or_else(|| broken("is not UTF-8 text"))?.to_owned()
            }
        };
        plain(text).map_err(|why| Unavailable::Broken(format!("{self}: {why}"), None))
    }
}

/// Returns its form in the configuration.
impl fmt::Display for SecretReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Credential(name) => write!(f, "{{ credential = {name:?} }}"),
            Self::File(path) => write!(f, "{{ file = \"{}\" }}", path.display()),
            Self::Environment(name) => write!(f, "{{ env = {name:?} }}"),
        }
    }
}

/// Why a secret is missing.
pub(super) enum Unavailable {
    /// Outside the unit there is no folder of credentials.
    GivenAtStart { name: String },
    /// What is wrong, and advice.
    Broken(String, Option<&'static str>),
}

fn read(path: &Path, readers: Readers) -> Result<String, Unavailable> {
    read_text(path, readers).map_err(|error| {
        let hint = match error {
            ReadError::Open { .. } => Some("make it readable by its owner alone: chmod 0600"),
            _ => None,
        };
        Unavailable::Broken(format!("{}: {error}", path.display()), hint)
    })
}

/// Removes the line break that editors put at the end; the rest must be one line.
fn plain(mut text: String) -> Result<Secret, &'static str> {
    text.truncate(text.trim_end_matches(['\n', '\r']).len());
    if text.trim().is_empty() {
        return Err("the secret is empty");
    }
    if text.starts_with('\u{feff}') {
        return Err(
            "the secret begins with a byte order mark, which an editor wrote: save it as UTF-8 without BOM",
        );
    }
    if text.chars().any(char::is_control) {
        return Err("the secret contains a line break or a control character");
    }
    Ok(Secret::from(text))
}

impl Unavailable {
    /// Makes it a problem at this key.
    pub(super) fn problem_at(self, at: String) -> Problem {
        match self {
            Self::GivenAtStart { name } => Problem::error(format!(
                "systemd gives the credential {name:?} at start, but ${CREDENTIALS_DIRECTORY} is not set"
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
        unavailable.problem_at("credentials.main.secret_key".to_owned()).to_string()
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
        assert!(outside.contains("systemd gives the credential"), "{outside}");
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
