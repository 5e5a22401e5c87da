//! What is needed to reach the database: one field for each key of `[journal]`.

use std::error::Error;
use std::fmt;
use std::num::NonZeroU8;
use std::path::PathBuf;
use std::sync::Arc;

use super::url::{Host, PostgresUrl, SslMode};
use crate::model::secret::Secret;

/// So many connections carry records where nothing else is said.
const CONNECTIONS: NonZeroU8 = NonZeroU8::new(4).unwrap();
/// PostgreSQL cuts longer names.
const LONGEST_NAME: usize = 63;

/// Why a secret cannot be read.
pub type SecretError = Box<dyn Error + Send + Sync>;

/// Reads a secret anew, at each connection, so that a rotated one is taken. May block.
#[derive(Clone)]
pub struct ReadSecret(Arc<dyn Fn() -> Result<Secret, SecretError> + Send + Sync>);

impl ReadSecret {
    /// One that reads in this way.
    pub fn new(read: impl Fn() -> Result<Secret, SecretError> + Send + Sync + 'static) -> Self {
        Self(Arc::new(read))
    }

    /// One whose secret never changes.
    pub fn constant(secret: Secret) -> Self {
        Self::new(move || Ok(secret.clone()))
    }

    pub(super) fn read(&self) -> Result<Secret, SecretError> {
        (self.0)()
    }
}

impl fmt::Debug for ReadSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReadSecret")
    }
}

/// The name of the schema that the journal's tables are in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaName(String);

impl SchemaName {
    /// Takes a name: lower-case letters, digits and underscores, so that it is the same with and without quotes.
    ///
    /// # Errors
    /// Where it is another one, or one of PostgreSQL's own.
    pub fn new(name: &str) -> Result<Self, OptionsError> {
        let is_name = name.len() <= LONGEST_NAME
            && name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
            && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
        if !is_name || name.starts_with("pg_") || name == "information_schema" {
            return Err(OptionsError::Schema);
        }
        Ok(Self(name.to_owned()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for SchemaName {
    fn default() -> Self {
        Self("upgrade_remediator".to_owned())
    }
}

/// As it stands in a statement: in quotes, because it may be a word of SQL.
impl fmt::Display for SchemaName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0)
    }
}

/// The keys of `[journal]` that belong to PostgreSQL, as values. Nothing of it shows a secret.
#[derive(Debug, Clone)]
pub struct PostgresOptions {
    /// `url`.
    pub url: PostgresUrl,
    /// `password`; absent with a client certificate.
    pub password: Option<ReadSecret>,
    /// `ca_file`: PEM certificates that are trusted beside the system's.
    pub ca_file: Option<PathBuf>,
    /// `client_cert`: a PEM certificate, with those between it and its CA.
    pub client_cert: Option<PathBuf>,
    /// `client_key`: the PEM key of that certificate.
    pub client_key: Option<ReadSecret>,
    /// `schema`.
    pub schema: SchemaName,
    /// `connections`: over so many go records.
    pub connections: NonZeroU8,
    /// `require_synchronous`: nothing is sent while no standby confirms commits.
    pub require_synchronous: bool,
    /// `replicated_storage`: the server's storage itself loses no commit.
    pub replicated_storage: bool,
    /// `allow_plaintext`: `sslmode=disable` over a network too.
    pub allow_plaintext: bool,
}

/// What is wrong with the options: with one key, or with two together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OptionsError {
    /// The name of the schema.
    #[error(
        "the key journal.schema is not the name of a schema; lower-case letters, digits and underscores are allowed, 63 at \
         most, and neither information_schema nor a name that begins with pg_"
    )]
    Schema,
    /// Plain text to another machine.
    #[error(
        "sslmode=disable in journal.url would send the password and the journal unencrypted to {0}; leave it out, or set \
         journal.allow_plaintext = true"
    )]
    Plaintext(Host),
    /// Half of a client certificate.
    #[error("journal.client_cert and journal.client_key go together; {0} is missing")]
    ClientCertificate(&'static str),
}

impl PostgresOptions {
    /// Those of this URL, with the defaults of all other keys.
    pub fn new(url: PostgresUrl) -> Self {
        Self {
            url,
            password: None,
            ca_file: None,
            client_cert: None,
            client_key: None,
            schema: SchemaName::default(),
            connections: CONNECTIONS,
            require_synchronous: false,
            replicated_storage: false,
            allow_plaintext: false,
        }
    }

    /// Whether they go together.
    ///
    /// # Errors
    /// The first fault.
    pub fn check(&self) -> Result<(), OptionsError> {
        let missing = match (&self.client_cert, &self.client_key) {
            (Some(_), None) => Some("journal.client_key"),
            (None, Some(_)) => Some("journal.client_cert"),
            _ => None,
        };
        if let Some(missing) = missing {
            return Err(OptionsError::ClientCertificate(missing));
        }
        let away = self.url.hosts().iter().find(|host| !host.is_local());
        match away {
            Some(host) if self.url.ssl_mode() == SslMode::Disable && !self.allow_plaintext => {
                Err(OptionsError::Plaintext(host.clone()))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(url: &str) -> PostgresOptions {
        PostgresOptions::new(PostgresUrl::parse(url).unwrap())
    }

    #[test]
    fn plain_text_leaves_the_machine_only_where_that_is_allowed() {
        assert_eq!(options("postgres://u@db1/d").check(), Ok(()));
        assert_eq!(options("postgres://u@localhost,[::1],%2Frun/d?sslmode=disable").check(), Ok(()));
        let away = options("postgres://u@localhost,db1/d?sslmode=disable");
        let told = away.check().unwrap_err().to_string();
        assert!(told.contains("db1:5432") && told.contains("journal.allow_plaintext"), "{told}");
        assert_eq!(PostgresOptions { allow_plaintext: true, ..away }.check(), Ok(()));
    }

    #[test]
    fn a_client_certificate_needs_its_key_and_a_key_its_certificate() {
        let key = Some(ReadSecret::constant(Secret::from("key")));
        let cert = Some(PathBuf::from("/client.pem"));
        let both = PostgresOptions { client_cert: cert, client_key: key, ..options("postgres://u@h/d") };
        assert_eq!(both.check(), Ok(()));
        let alone = PostgresOptions { client_cert: None, ..both.clone() };
        assert_eq!(alone.check(), Err(OptionsError::ClientCertificate("journal.client_cert")));
        let alone = PostgresOptions { client_key: None, ..both };
        assert_eq!(alone.check(), Err(OptionsError::ClientCertificate("journal.client_key")));
    }

    #[test]
    fn a_schema_is_a_plain_name() {
        for name in ["upgrade_remediator", "_a1", "user", &"a".repeat(63)] {
            assert_eq!(SchemaName::new(name).unwrap().to_string(), format!("\"{name}\""));
        }
        for name in ["", "1a", "A", "a-b", "a\"b", "ä", "pg_a", "information_schema", &"a".repeat(64)] {
            assert_eq!(SchemaName::new(name), Err(OptionsError::Schema), "{name}");
        }
    }

    #[test]
    fn no_secret_is_in_the_debug_output() {
        let key = ReadSecret::constant(Secret::from("hunter2"));
        let options = PostgresOptions {
            password: Some(key.clone()),
            client_key: Some(key),
            ..options("postgres://u@h/d")
        };
        assert!(!format!("{options:?}").contains("hunter2"));
    }
}
