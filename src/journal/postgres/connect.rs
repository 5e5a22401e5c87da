//! Connecting to the primary: each host of the URL in turn, each address of its name, looked up anew; over TLS that is always
//! checked. Passwords and certificates are read anew, so that what was rotated is taken.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls_platform_verifier::Verifier;
use tokio::time::timeout;
use tokio_postgres::config::SslMode as Mode;
use tokio_postgres::{Config, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::error::{Kind, PostgresError, Said};
use super::link::{Link, STATEMENT_LIMIT};
use super::options::{OptionsError, PostgresOptions, ReadSecret};
use super::url::{Host, SslMode};
use crate::model::secret::{ExposeSecret as _, Secret};
use crate::model::text::{chain, shown, span};

/// So long TCP may take to connect to one address.
const CONNECT_LIMIT: Duration = Duration::from_secs(2);
/// So long all of it may take, the signing in too.
const WHOLE_LIMIT: Duration = Duration::from_secs(5);
/// A connection on which nothing comes is asked after so long, …
const KEEPALIVE_IDLE: Duration = Duration::from_secs(5);
/// … again after so long each, …
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(2);
/// … and given up after so many without an answer.
const KEEPALIVE_RETRIES: u32 = 3;
/// What was sent and is not acknowledged for so long ends the connection.
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(5);
/// PostgreSQL 13, as the server says it.
const OLDEST: i32 = 130_000;
const APPLICATION: &str = "upgrade-remediator";

/// What a server says of itself: asked in one round trip, because the answer decides whether it is the one.
const SERVER: &str = "SELECT version(), current_setting('server_version_num')::int, pg_is_in_recovery(), \
                      current_setting('transaction_read_only') = 'on'";

/// How long connecting and statements may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// TCP, to one address.
    pub connect: Duration,
    /// All of it up to the first statement, to one address.
    pub whole: Duration,
    /// One statement.
    pub statement: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connect: CONNECT_LIMIT, whole: WHOLE_LIMIT, statement: STATEMENT_LIMIT }
    }
}

/// Opens connections to one database.
#[derive(Debug, Clone)]
pub struct Connector {
    options: Arc<PostgresOptions>,
    limits: Limits,
}

/// What is read anew for each connection.
struct Fresh {
    password: Option<Secret>,
    /// Where some host is reached over TCP and encrypted.
    tls: Option<MakeRustlsConnect>,
}

/// A host's address; none of a socket.
type Address = Option<IpAddr>;

impl Connector {
    /// For these options. Connects to nothing.
    ///
    /// # Errors
    /// Where they do not go together.
    pub fn new(options: PostgresOptions) -> Result<Self, OptionsError> {
        options.check()?;
        Ok(Self { options: Arc::new(options), limits: Limits::default() })
    }

    /// With other limits.
    #[must_use]
    pub fn with_limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// What it was made of.
    pub fn options(&self) -> &PostgresOptions {
        &self.options
    }

    /// Connects to the first host that is the primary.
    ///
    /// # Errors
    /// Where there is none, with what each host said. Its kind is the most passing of theirs: only where every host refuses,
    /// is it refused.
    pub async fn connect(&self) -> Result<Link, PostgresError> {
        let fresh = self.fresh().await?;
        let mut failed: Vec<PostgresError> = Vec::new();
        for host in self.options.url.hosts() {
            let addresses = match self.addresses(host).await {
                Ok(addresses) => addresses,
                Err(error) => {
                    failed.push(error);
                    continue;
                }
            };
            for address in addresses {
                match self.attempt(host, address, &fresh).await {
                    Ok(link) => return Ok(link),
                    Err(error) => failed.push(error),
                }
            }
        }
        Err(all(failed))
    }

    /// Reads the files and secrets, on a thread that may wait for them.
    async fn fresh(&self) -> Result<Fresh, PostgresError> {
        let options = Arc::clone(&self.options);
        let read = tokio::task::spawn_blocking(move || {
            let password = options.password.as_ref().map(|password| secret("journal.password", password));
            let encrypts = options.url.ssl_mode() == SslMode::VerifyFull
                && options.url.hosts().iter().any(|host| matches!(host, Host::Tcp { .. }));
            let tls = if encrypts { Some(tls(&options)?) } else { None };
            Ok(Fresh { password: password.transpose()?, tls })
        });
        let lost = |error| {
            PostgresError::new(Kind::Unreachable, "the secrets of the journal could not be read")
                .because(error)
        };
        read.await.map_err(lost)?
    }

    async fn addresses(&self, host: &Host) -> Result<Vec<Address>, PostgresError> {
        let Host::Tcp { name, port } = host else { return Ok(vec![None]) };
        let place = self.place(host);
        let fault = || {
            PostgresError::new(Kind::Unreachable, format!("{place} cannot be reached"))
                .todo("check the host in journal.url, and the name service")
        };
        let limit = self.limits.connect;
        let found = timeout(limit, tokio::net::lookup_host((name.as_str(), *port))).await;
        let found = found.map_err(|_| {
            fault().because(Said::new(format!("its name was not resolved within {}", span(limit))))
        })?;
        let found: Vec<Address> =
            found.map_err(|error| fault().because(error))?.map(|found| Some(found.ip())).collect();
        if found.is_empty() { Err(fault().because(Said::new("its name has no address"))) } else { Ok(found) }
    }

    /// Who signs in where, for messages.
    fn place(&self, host: &Host) -> String {
        let url = &self.options.url;
        format!(
            "PostgreSQL at {host} (database \"{}\", user \"{}\")",
            shown(url.database(), 100),
            shown(url.user(), 100)
        )
    }

    /// Connects to one address, signs in and asks whether it is the primary.
    async fn attempt(&self, host: &Host, address: Address, fresh: &Fresh) -> Result<Link, PostgresError> {
        let place: Arc<str> = self.place(host).into();
        let limit = self.limits.whole;
        let connect = async {
            let mut link = self.open(host, address, fresh, &place).await?;
            let rows = link.first(SERVER).await.map_err(|error| {
                // Nothing is at stake yet.
                let kind = match error.kind() {
                    Kind::Refused | Kind::Statement => Kind::Refused,
                    Kind::ReadOnly => Kind::ReadOnly,
                    Kind::Unreachable | Kind::NotKept | Kind::Unsure => Kind::Unreachable,
                };
                error.of_kind(kind)
            })?;
            judged(&place, &rows)?;
            Ok(link)
        };
        match timeout(limit, connect).await {
            Ok(connected) => connected,
            Err(_) => Err(PostgresError::new(Kind::Unreachable, format!("{place} cannot be reached"))
                .todo("the daemon connects again until the server answers")
                .because(Said::new(format!("no connection was established within {}", span(limit))))),
        }
    }

    async fn open(
        &self,
        host: &Host,
        address: Address,
        fresh: &Fresh,
        place: &Arc<str>,
    ) -> Result<Link, PostgresError> {
        let url = &self.options.url;
        let mut config = Config::new();
        config
            .user(url.user())
            .dbname(url.database())
            .application_name(APPLICATION)
            .port(host.port())
            .connect_timeout(self.limits.connect)
            .keepalives(true)
            .keepalives_idle(KEEPALIVE_IDLE)
            .keepalives_interval(KEEPALIVE_INTERVAL)
            .keepalives_retries(KEEPALIVE_RETRIES)
            .tcp_user_timeout(TCP_USER_TIMEOUT);
        if let Some(password) = &fresh.password {
            config.password(password.expose_secret());
        }
        match host {
            // The name is what the certificate is checked for.
            Host::Tcp { name, .. } => config.host(name),
            Host::Socket { folder, .. } => config.host_path(folder),
        };
        if let Some(address) = address {
            config.hostaddr(address);
        }
        // Nothing but the URL takes encryption away, and for a socket there is none.
        let is_plain = url.ssl_mode() == SslMode::Disable || matches!(host, Host::Socket { .. });
        config.ssl_mode(if is_plain { Mode::Disable } else { Mode::Require });
        let failed = |error| PostgresError::connecting(place, error);
        let (place, limit) = (Arc::clone(place), self.limits.statement);
        if let Some(tls) = fresh.tls.clone().filter(|_| !is_plain) {
            let (client, connection) = config.connect(tls).await.map_err(failed)?;
            return Ok(Link::new(client, connection, place, limit));
        }
        let (client, connection) = config.connect(NoTls).await.map_err(failed)?;
        Ok(Link::new(client, connection, place, limit))
    }
}

/// Whether this server is one that the journal can be on, and the primary.
fn judged(place: &str, rows: &[tokio_postgres::Row]) -> Result<(), PostgresError> {
    let strange = |source: Option<tokio_postgres::Error>| {
        let fault = PostgresError::new(Kind::Refused, format!("{place} does not answer as PostgreSQL does"));
        let fault = fault.todo("give a PostgreSQL server in journal.url");
        match source {
            Some(source) => fault.because(source),
            None => fault,
        }
    };
    let row = rows.first().ok_or_else(|| strange(None))?;
    let get = |error| strange(Some(error));
    let version: String = row.try_get(0).map_err(get)?;
    let number: i32 = row.try_get(1).map_err(get)?;
    let in_recovery: bool = row.try_get(2).map_err(get)?;
    let read_only: bool = row.try_get(3).map_err(get)?;
    judge(place, &version, number, in_recovery, read_only)
}

fn judge(
    place: &str,
    version: &str,
    number: i32,
    in_recovery: bool,
    read_only: bool,
) -> Result<(), PostgresError> {
    let refused = |what: &str, todo: &str| {
        let version = shown(version, 100);
        Err(PostgresError::new(Kind::Refused, format!("{place} is {what} ({version})")).todo(todo))
    };
    let lower = version.to_lowercase();
    if lower.contains("opengauss") || lower.contains("gaussdb") {
        let todo = "its SQL is that of PostgreSQL 9.2: give a PostgreSQL server, such as RDS for PostgreSQL, in journal.url";
        return refused("a GaussDB or openGauss, which is not supported", todo);
    }
    if number < OLDEST {
        return refused("too old", "upgrade the server to PostgreSQL 13 or newer");
    }
    if in_recovery || read_only {
        let what = if in_recovery { "a standby" } else { "read-only (default_transaction_read_only)" };
        return Err(PostgresError::new(Kind::ReadOnly, format!("{place} is {what}"))
            .todo("the daemon looks for the primary among the hosts of journal.url"));
    }
    Ok(())
}

/// One failure of all of them.
fn all(mut failed: Vec<PostgresError>) -> PostgresError {
    let kind = failed.iter().map(PostgresError::kind).max().unwrap_or(Kind::Unreachable);
    match (failed.pop(), failed.is_empty()) {
        (Some(only), true) => only,
        (Some(last), false) => {
            let told: Vec<String> = failed.iter().chain([&last]).map(|error| chain(error)).collect();
            PostgresError::new(kind, told.join("; "))
        }
        (None, _) => PostgresError::new(kind, "the journal's URL names no host"),
    }
}

fn secret(key: &str, read: &ReadSecret) -> Result<Secret, PostgresError> {
    read.read().map_err(|error| {
        PostgresError::new(Kind::Refused, format!("the secret of {key} cannot be read"))
            .todo(format!("correct {key}"))
            .because(error)
    })
}

/// PEM certificates of a file.
fn certificates(key: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>, PostgresError> {
    let fault = |what: String, todo: &str| PostgresError::new(Kind::Refused, what).todo(todo);
    let pem = fs::read(path).map_err(|error: io::Error| {
        let what = format!("{}, the file of {key}, cannot be read", path.display());
        fault(what, "check the path, and that the daemon's user may read it").because(error)
    })?;
    let none = || {
        let what =
            format!("{}, the file of {key}, holds no PEM certificate that can be used", path.display());
        fault(what, "give one with BEGIN CERTIFICATE in it")
    };
    let found = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>().map_err(|_| none())?;
    if found.is_empty() { Err(none()) } else { Ok(found) }
}

/// TLS with the certificates that the system and `ca_file` trust, and the client certificate.
fn tls(options: &PostgresOptions) -> Result<MakeRustlsConnect, PostgresError> {
    let fault = |what: &str, error: rustls::Error| PostgresError::new(Kind::Refused, what).because(error);
    let no_tls = |error| fault("no TLS can be spoken with PostgreSQL", error);
    let extra = options.ca_file.as_deref().map(|path| certificates("journal.ca_file", path)).transpose()?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = Verifier::new_with_extra_roots(extra.unwrap_or_default(), Arc::clone(&provider));
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(no_tls)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier.map_err(no_tls)?));
    let config = match (&options.client_cert, &options.client_key) {
        (Some(path), Some(key)) => {
            let chain = certificates("journal.client_cert", path)?;
            let key = secret("journal.client_key", key)?;
            let key = PrivateKeyDer::from_pem_slice(key.expose_secret().as_bytes()).map_err(|_| {
                PostgresError::new(Kind::Refused, "the secret of journal.client_key is no PEM key")
                    .todo("give a key with BEGIN PRIVATE KEY in it")
            })?;
            builder.with_client_auth_cert(chain, key).map_err(|error| {
                fault("journal.client_cert and journal.client_key cannot be used together", error)
            })?
        }
        _ => builder.with_no_client_auth(),
    };
    Ok(MakeRustlsConnect::new(config))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged_as(version: &str, number: i32, in_recovery: bool, read_only: bool) -> Option<(Kind, String)> {
        let fault = judge("there", version, number, in_recovery, read_only).err()?;
        Some((fault.kind(), fault.to_string()))
    }

    #[test]
    fn a_server_is_judged_by_what_it_is_and_a_standby_is_no_fault_of_the_configuration() {
        let fifteen = "PostgreSQL 15.18 on x86_64-pc-linux-gnu";
        assert_eq!(judged_as(fifteen, 150_018, false, false), None);
        assert_eq!(judged_as("PostgreSQL 13.0", 130_000, false, false), None);
        for (in_recovery, read_only) in [(true, true), (false, true)] {
            assert_eq!(judged_as(fifteen, 150_018, in_recovery, read_only).unwrap().0, Kind::ReadOnly);
        }
        let (kind, told) = judged_as("PostgreSQL 12.22 on x86_64", 120_022, true, true).unwrap();
        assert!(kind == Kind::Refused && told.contains("12.22") && told.contains("13 or newer"), "{told}");
        for version in [
            "(openGauss 5.0.0 build a07d57c3) compiled at 2023-03-29 on x86_64-unknown-linux-gnu",
            "PostgreSQL 9.2.4 (GaussDB Kernel V500R002C00 build 1) compiled at 2022",
        ] {
            let (kind, told) = judged_as(version, 90_204, false, false).unwrap();
            assert!(kind == Kind::Refused && told.contains("not supported"), "{told}");
        }
    }

    #[test]
    fn all_hosts_together_are_refused_only_if_each_refuses() {
        use Kind::{ReadOnly, Refused, Unreachable};
        let of = |kinds: &[Kind]| {
            let faults = kinds.iter().zip(["one", "two", "three"]);
            let error = all(faults.map(|(kind, what)| PostgresError::new(*kind, what)).collect());
            (error.kind(), error.to_string())
        };
        assert_eq!(of(&[Refused]), (Refused, "one".to_owned()));
        assert_eq!(of(&[Refused, Refused]), (Refused, "one; two".to_owned()));
        assert_eq!(of(&[Refused, ReadOnly]), (ReadOnly, "one; two".to_owned()));
        assert_eq!(of(&[Unreachable, Refused, ReadOnly]), (Unreachable, "one; two; three".to_owned()));
        assert_eq!(of(&[]).0, Unreachable);
    }
}
