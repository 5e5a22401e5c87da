//! `[journal]`: where it is, how a database is reached, and how long what is finished is kept.

use std::num::NonZeroU8;
use std::path::PathBuf;
use std::time::Duration;

use super::duration;
use super::environment::Environment;
use super::kind::{AtLeastOne, Positive};
use super::reference::SecretReference;
use super::section::Section;
use super::sections::default;
use super::table::{Table as _, table};
use super::text::{CaFile, Journal as Url, Schema};
use crate::journal::postgres::{
    Connector, OptionsError, PostgresOptions, PostgresUrl, ReadSecret, SchemaName,
};
use crate::journal::{JournalLocation, JournalUrl};
use crate::model::project::Poll;

/// Where the journal lies outside a unit with a `StateDirectory=`.
const STATE_DIRECTORY: &str = "/var/lib/upgrade-remediator";
/// How long finished tasks are kept.
const RETENTION: Duration = Duration::from_hours(365 * 24);
/// The cloud's times carry no zone, and may be up to 14 hours ahead of ours.
const RETENTION_BEYOND_AGE: Duration = Duration::from_hours(24);
/// So many connections carry what is written where nothing else is said.
const CONNECTIONS: NonZeroU8 = NonZeroU8::new(4).unwrap();

table! {
    /// `[journal]`
    pub(super) struct WrittenJournal {
        url: Url,
        retention: Positive<Duration>,
        password: SecretReference,
        ca_file: CaFile,
        client_cert: CaFile,
        client_key: SecretReference,
        schema: Schema,
        connections: AtLeastOne<u32>,
        allow_plaintext: bool,
    }
}

/// How a database is reached, beside its URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Database {
    /// The password of the user; none with a client certificate.
    pub password: Option<SecretReference>,
    /// The schema that the tables are in.
    pub schema: SchemaName,
    /// Certificates that are trusted beside the system's.
    pub ca_file: Option<PathBuf>,
    /// The certificate that this program shows.
    pub client_cert: Option<PathBuf>,
    /// Its key.
    pub client_key: Option<SecretReference>,
    /// Over so many connections go records.
    pub connections: NonZeroU8,
    /// Whether `sslmode=disable` may send everything unencrypted to another machine.
    pub allow_plaintext: bool,
}

impl Database {
    /// What was written, or why it does not go together.
    pub(super) fn of(written: &WrittenJournal) -> Self {
        let connections = written.connections.and_then(|count| u8::try_from(count).ok());
        Self {
            password: written.password.clone(),
            schema: written.schema.clone().unwrap_or_default(),
            ca_file: written.ca_file.clone(),
            client_cert: written.client_cert.clone(),
            client_key: written.client_key.clone(),
            connections: connections.and_then(NonZeroU8::new).unwrap_or(CONNECTIONS),
            allow_plaintext: written.allow_plaintext.unwrap_or_default(),
        }
    }

    /// The same as it would be written.
    pub(super) fn written(&self) -> WrittenJournal {
        WrittenJournal {
            password: self.password.clone(),
            schema: Some(self.schema.clone()),
            ca_file: self.ca_file.clone(),
            client_cert: self.client_cert.clone(),
            client_key: self.client_key.clone(),
            connections: Some(self.connections.get().into()),
            allow_plaintext: Some(self.allow_plaintext),
            ..WrittenJournal::default()
        }
    }

    /// Its secrets, with their keys.
    pub(super) fn references(&self) -> Vec<(&'static str, &SecretReference)> {
        let all = [("password", &self.password), ("client_key", &self.client_key)];
        all.into_iter().filter_map(|(key, reference)| Some((key, reference.as_ref()?))).collect()
    }

    /// The database at this URL. Its secrets are read anew at each connection.
    fn at(&self, url: &PostgresUrl, env: &Environment) -> Result<Connector, OptionsError> {
        let read = |key: &'static str, reference: &SecretReference| {
            let (reference, env) = (reference.clone(), env.clone());
            ReadSecret::new(move || {
                reference.fetch(&env).map_err(|why| why.problem_at(key.to_owned()).to_string().into())
            })
        };
        Connector::new(PostgresOptions {
            password: self.password.as_ref().map(|of| read("journal.password", of)),
            ca_file: self.ca_file.clone(),
            client_cert: self.client_cert.clone(),
            client_key: self.client_key.as_ref().map(|of| read("journal.client_key", of)),
            schema: self.schema.clone(),
            connections: self.connections,
            allow_plaintext: self.allow_plaintext,
            ..PostgresOptions::new(url.clone())
        })
    }
}

/// What is written of the journal.
type Written = (JournalUrl, JournalLocation, Database);

impl WrittenJournal {
    /// Where the journal is, how a database is reached, and how long what is finished is kept. `top` is the whole file.
    pub(super) fn check(
        self,
        top: &Section<'_>,
        poll: &Poll,
        env: &Environment,
    ) -> (Option<Written>, Duration) {
        let section = &top.child("journal");
        let of_the_unit = || {
            let folder = env.directory("STATE_DIRECTORY").unwrap_or_else(|| STATE_DIRECTORY.into());
            default::<Url>(section, "url", JournalUrl::file(folder.join("journal.db")).to_string())
        };
        let least = poll.max_failure_age.saturating_add(RETENTION_BEYOND_AGE);
        let comparable = top.child("poll").can_compare(&["max_failure_age"]);
        if self.retention.is_some_and(|retention| retention < least) && comparable {
            section.warn(
                "retention",
                format!(
                    "the retention is shorter than poll.max_failure_age plus a day, so the daemon keeps entries for {}: an older \
                     failure whose entries were deleted earlier could count as a new failure",
                    duration::quoted(least)
                ),
            );
        }
        let retention = self.retention.unwrap_or(RETENTION).max(least);
        let written = self.url.clone().or_else(of_the_unit).and_then(|url| {
            let location = location(section, &url, &self, env)?;
            Some((url, location, Database::of(&self)))
        });
        (written, retention)
    }
}

/// Where the journal at this URL is. `None`: what was written does not go together, which the section is told.
pub(super) fn location(
    section: &Section<'_>,
    url: &JournalUrl,
    written: &WrittenJournal,
    env: &Environment,
) -> Option<JournalLocation> {
    match url {
        JournalUrl::Sqlite(path) => {
            let of_a_file = |key: &str| matches!(key, "url" | "retention");
            for (key, _) in written.list().into_iter().filter(|(key, _)| !of_a_file(key)) {
                section.warn(key, "the key has no effect, because journal.url is a file".to_owned());
            }
            Some(JournalLocation::file(path))
        }
        JournalUrl::Postgres(url) => {
            if written.connections.is_some_and(|count| u8::try_from(count).is_err()) {
                section.error("connections", "found more than 255; 1 to 255 are allowed".to_owned());
                return None;
            }
            match Database::of(written).at(url, env) {
                Ok(connector) => Some(JournalLocation::Postgres(connector)),
                Err(error) => {
                    let key = match &error {
                        OptionsError::Schema => "schema",
                        OptionsError::Plaintext(_) => "url",
                        OptionsError::ClientCertificate(_) => "client_cert",
                    };
                    section.error(key, error.to_string());
                    None
                }
            }
        }
    }
}
