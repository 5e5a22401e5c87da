//! What a failure means: what is known of a statement, and who has to do something.

use std::error::Error;
use std::fmt;
use std::io;

use rustls::{AlertDescription, CertificateError};
use tokio_postgres::error::{Severity, SqlState};

use crate::model::text::shown;

/// So much of a server's message is told.
const SAID: usize = 400;

/// How the messages begin and go on by which `PgBouncer` refuses, or passes on that the server did. It has one code for
/// them and for what passes, such as too many connections.
const POOLER_REFUSES: [(&str, &str); 9] = [
    ("SASL authentication failed", ""),
    ("password authentication failed", ""),
    ("wrong password type", ""),
    ("no such user", ""),
    ("no such database", ""),
    ("no pg_hba.conf entry", ""),
    ("database \"", "does not exist"),
    ("role \"", "does not exist"),
    ("permission denied for database", ""),
];

/// What is known after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The server does not want this: who signs in, the database, the certificate, a right. A human has to change
    /// something, so at the start the process ends.
    Refused,
    /// A standby, or a primary that was demoted: another host has to be looked for. Nothing was kept.
    ReadOnly,
    /// No host answers, or none is ready. Nothing was sent.
    Unreachable,
    /// The statement was certainly not kept: it may be sent again.
    NotKept,
    /// The statement may have been kept, or may be yet: the database has to be asked.
    Unsure,
    /// The database takes this statement for wrong: a fault of this program. Nothing was kept.
    Statement,
}

/// What a server or this program said of a failure, safe to be shown.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Said(String);

impl Said {
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

type Cause = Box<dyn Error + Send + Sync>;

/// A connection or a statement that failed: what, at which database, why, and what to do.
#[derive(Debug, thiserror::Error)]
pub struct PostgresError {
    kind: Kind,
    what: String,
    todo: Option<String>,
    sql_state: Option<SqlState>,
    source: Option<Cause>,
}

/// What failed and what to do; why is the source.
impl fmt::Display for PostgresError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.todo {
            Some(todo) => write!(f, "{}; {todo}", self.what),
            None => f.write_str(&self.what),
        }
    }
}

impl PostgresError {
    pub(super) fn new(kind: Kind, what: impl Into<String>) -> Self {
        Self { kind, what: what.into(), todo: None, sql_state: None, source: None }
    }

    pub(super) fn because(self, source: impl Into<Cause>) -> Self {
        Self { source: Some(source.into()), ..self }
    }

    pub(super) fn todo(self, todo: impl Into<String>) -> Self {
        Self { todo: Some(todo.into()), ..self }
    }

    pub(super) fn of_kind(self, kind: Kind) -> Self {
        Self { kind, ..self }
    }

    /// What is known after it.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The five characters by which PostgreSQL names the error, where it answered with one.
    pub fn sql_state(&self) -> Option<&str> {
        self.sql_state.as_ref().map(SqlState::code)
    }

    /// With why, where the server itself said it: its words, made safe.
    fn said_by(self, error: tokio_postgres::Error) -> Self {
        let Some(said) = error.as_db_error() else { return self.because(error) };
        let sql_state = Some(said.code().clone());
        let text = format!("{}: {} ({})", said.severity(), said.message(), said.code().code());
        Self { sql_state, ..self.because(Said(shown(&text, SAID))) }
    }

    /// A connection to `place` that was not established.
    pub(super) fn connecting(place: &str, error: tokio_postgres::Error) -> Self {
        let refused = |what: &str, todo: &str| {
            Self::new(Kind::Refused, format!("{place} refused the connection: {what}")).todo(todo)
        };
        let unreachable = || {
            let todo = "the daemon connects again until the server answers";
            Self::new(Kind::Unreachable, format!("{place} cannot be reached")).todo(todo)
        };
        let fault = match error.as_db_error() {
            Some(said) => match said.code().code() {
                "28P01" => refused(
                    "it does not accept the user and the password",
                    "check journal.password, and the user in journal.url",
                ),
                "3D000" => refused(
                    "there is no such database",
                    "create the database, or correct its name in journal.url",
                ),
                "42501" => refused(
                    "the user may not connect to the database",
                    "grant CONNECT on the database to the user in journal.url",
                ),
                code if code.starts_with("28") => refused(
                    "the user may not sign in in this way",
                    "check the user and sslmode in journal.url, journal.password, journal.client_cert, and pg_hba.conf on the \
                     server",
                ),
                "08P01" if is_refused_by_pooler(said.message()) => refused(
                    "the pooler does not let the user into the database",
                    "check the user and the database in journal.url, journal.password, and the pooler's users and databases",
                ),
                _ => unreachable(),
            },
            None => match tls_error(&error) {
                Some(fault) => match of_tls(fault) {
                    Some((what, todo)) => refused(what, todo),
                    None => unreachable(),
                },
                None if error.is_closed() || is_network(&error) => unreachable(),
                // An answer that is none of PostgreSQL's, or none that this program can go on from.
                None => refused(
                    "the server does not sign this program in as PostgreSQL does",
                    "check host and port in journal.url, whether the server offers TLS (ssl = on), and journal.password; \
                     GaussDB and openGauss are not supported",
                ),
            },
        };
        fault.said_by(error)
    }

    /// A statement that was sent to `place`. `ended`: why the connection is at its end, where that is known.
    pub(super) fn statement(
        place: &str,
        error: tokio_postgres::Error,
        ended: Option<tokio_postgres::Error>,
    ) -> Self {
        let error = if error.is_closed() { ended.unwrap_or(error) } else { error };
        let kind = of_statement(&error);
        let (what, todo) = match kind {
            Kind::NotKept => (format!("{place} did not keep the statement"), None),
            Kind::ReadOnly => (format!("{place} is read-only"), Some("the daemon looks for the primary")),
            Kind::Refused => (
                format!("{place} refused the statement"),
                Some(
                    "grant the user in journal.url all rights on the schema of the journal (journal.schema)",
                ),
            ),
            Kind::Statement => (format!("{place} takes a statement of this program for wrong"), None),
            Kind::Unsure | Kind::Unreachable => (
                format!("whether {place} kept the statement is unknown"),
                Some("the daemon asks the database before it goes on"),
            ),
        };
        Self { todo: todo.map(str::to_owned), ..Self::new(kind, what) }.said_by(error)
    }
}

fn is_refused_by_pooler(message: &str) -> bool {
    POOLER_REFUSES.iter().any(|(begin, then)| message.starts_with(begin) && message.contains(then))
}

/// What is known of a statement after this error.
fn of_statement(error: &tokio_postgres::Error) -> Kind {
    let Some(said) = error.as_db_error() else {
        // A parameter that cannot be written never left. The type of the error does not tell it from the others.
        let text = error.to_string();
        let unsent = ["error serializing parameter", "error encoding message to server", "expected "];
        let is_unsent = unsent.iter().any(|begin| text.starts_with(begin));
        return if is_unsent { Kind::Statement } else { Kind::Unsure };
    };
    // What ends the connection says nothing of the statement.
    let ends = matches!(said.parsed_severity(), Some(Severity::Fatal | Severity::Panic));
    match said.code().code() {
        "40001" | "40P01" | "55P03" => Kind::NotKept,
        "25006" => Kind::ReadOnly,
        "42501" => Kind::Refused,
        code if code.starts_with("28") || code.starts_with("3D") => Kind::Refused,
        "40003" => Kind::Unsure,
        // Connection, resources, the operator, the system, the server itself.
        code if ["08", "53", "57", "58", "F0", "XX"].iter().any(|class| code.starts_with(class)) => {
            Kind::Unsure
        }
        _ if ends => Kind::Unsure,
        _ => Kind::Statement,
    }
}

/// Each error of the causes. Those of the system hide what is in them from who asks for causes.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| {
        let error: &'a (dyn Error + 'static) = *error;
        match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner as &(dyn Error + 'static)),
            None => error.source(),
        }
    })
}

fn tls_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    causes(error).find_map(|cause| cause.downcast_ref())
}

/// Whether the network, or the lack of a listener, is at fault.
fn is_network(error: &(dyn Error + 'static)) -> bool {
    let kinds = causes(error).filter_map(|cause| cause.downcast_ref::<io::Error>()).map(io::Error::kind);
    kinds.into_iter().any(|kind| !matches!(kind, io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput))
}

/// What of TLS was refused and what to do. `None`: it may go better the next time.
fn of_tls(fault: &rustls::Error) -> Option<(&'static str, &'static str)> {
    let of_certificate = "the certificate of the server is not accepted";
    Some(match fault {
        // Another CA of the same name is another CA.
        rustls::Error::InvalidCertificate(
            CertificateError::UnknownIssuer | CertificateError::BadSignature,
        ) => (
            of_certificate,
            "no trusted CA issued it: set journal.ca_file to the CA that did; checking cannot be turned off",
        ),
        rustls::Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => (
            of_certificate,
            "it is for other names: use one of them as the host in journal.url, or issue one with this name in its \
             subjectAltName",
        ),
        rustls::Error::InvalidCertificate(_) => {
            (of_certificate, "it is always checked: issue one that is valid now and for this use")
        }
        rustls::Error::AlertReceived(alert) if is_of_client(*alert) => (
            "it does not accept the client certificate, or wants one",
            "check journal.client_cert and journal.client_key",
        ),
        rustls::Error::AlertReceived(_) | rustls::Error::PeerIncompatible(_) => {
            ("it speaks no TLS that this program accepts", "use TLS 1.2 or newer with ECDHE on the server")
        }
        rustls::Error::InvalidMessage(_) => ("it does not speak TLS", "check host and port in journal.url"),
        _ => return None,
    })
}

fn is_of_client(alert: AlertDescription) -> bool {
    use AlertDescription as A;
    matches!(
        alert,
        A::CertificateRequired
            | A::BadCertificate
            | A::UnsupportedCertificate
            | A::CertificateRevoked
            | A::CertificateExpired
            | A::CertificateUnknown
            | A::UnknownCA
            | A::AccessDenied
            | A::DecryptError
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_pooler_refuses_is_told_from_what_passes() {
        for refuses in [
            "SASL authentication failed",
            "database \"nothing\" does not exist",
            "role \"nobody\" does not exist",
            "no such user: nobody",
        ] {
            assert!(is_refused_by_pooler(refuses), "{refuses}");
        }
        for passes in [
            "no more connections allowed (max_client_conn)",
            "query_wait_timeout",
            "pgbouncer cannot connect to server",
            "the database system is starting up",
            "database \"journal\" is disabled",
        ] {
            assert!(!is_refused_by_pooler(passes), "{passes}");
        }
    }
}
