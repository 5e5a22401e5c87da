//! The URL of a journal in PostgreSQL: hosts, user, database and whether TLS is used. Everything else has a key of its own.
//!
//! No error shows a part of the URL that could be a password, whatever is wrong with it.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

const SCHEMES: [&str; 2] = ["postgres://", "postgresql://"];
const DEFAULT_PORT: u16 = 5432;
/// What stands in a URL as it is.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// A parameter's name is shown so far.
const SHOWN: usize = 40;

/// Whether and how connections over TCP are encrypted. A Unix socket never is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SslMode {
    /// TLS; the certificate's chain and the host's name are checked.
    VerifyFull,
    /// Plain text.
    Disable,
}

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    /// A name or an address, and a port.
    Tcp {
        /// The name, or the address without brackets.
        name: String,
        /// The port.
        port: u16,
    },
    /// A Unix socket.
    Socket {
        /// The folder that it is in.
        folder: PathBuf,
        /// The number in its name.
        port: u16,
    },
}

impl Host {
    /// Whether connections to it do not leave this machine.
    pub fn is_local(&self) -> bool {
        match self {
            Self::Socket { .. } => true,
            Self::Tcp { name, .. } => {
                name == "localhost" || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
            }
        }
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        match self {
            Self::Tcp { port, .. } | Self::Socket { port, .. } => *port,
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { name, port } if name.contains(':') => write!(f, "[{name}]:{port}"),
            Self::Tcp { name, port } => write!(f, "{}:{port}", encoded(name)),
            Self::Socket { folder, port } => write!(f, "{}:{port}", encoded(&folder.to_string_lossy())),
        }
    }
}

/// Where the database is and who signs in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostgresUrl {
    hosts: Vec<Host>,
    user: String,
    database: String,
    ssl_mode: SslMode,
}

/// What is wrong with the URL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// It begins with another scheme.
    #[error(
        "unknown kind of journal; postgres://USER@HOST[:PORT][,HOST[:PORT]…]/DATABASE[?sslmode=…] is needed"
    )]
    Scheme,
    /// It bears a password, or what may be one.
    #[error(
        "a password must not stand in the URL, use journal.password (an @ or a : in a name is written %40 or %3A)"
    )]
    Password,
    /// It names no user.
    #[error("the URL names no user; postgres://USER@HOST/DATABASE is needed")]
    User,
    /// One of its hosts is empty or no name.
    #[error(
        "host {0} of the URL is not a name or an address (an IPv6 address stands in brackets, the folder of a Unix socket is \
         written %2Frun%2Fpostgresql)"
    )]
    Host(usize),
    /// A port is not a number.
    #[error("the port of host {0} of the URL is not a number from 1 to 65535")]
    Port(usize),
    /// It names no database.
    #[error("the URL names no database; postgres://USER@HOST/DATABASE is needed")]
    Database,
    /// A part is not UTF-8 or has control characters in it.
    #[error("the {0} in the URL has characters in it that are not allowed")]
    Characters(&'static str),
    /// Another `sslmode` than the two.
    #[error(
        "sslmode={0} is not allowed: TLS is always checked; allowed are sslmode=verify-full (the default) and sslmode=disable \
         (only to a loopback address or a Unix socket, or with journal.allow_plaintext)"
    )]
    SslMode(&'static str),
    /// A parameter that has a key of its own.
    #[error("the parameter {parameter} must not stand in the URL, use {key}")]
    Key {
        /// The parameter.
        parameter: &'static str,
        /// The key.
        key: &'static str,
    },
    /// Another target than the primary.
    #[error("target_session_attrs must not be given: the daemon always connects to the primary (read-write)")]
    Target,
    /// A parameter is there twice.
    #[error("the parameter {0} is given twice")]
    Twice(&'static str),
    /// A parameter that is not known.
    #[error("unknown parameter \"{0}\" in the URL; only sslmode=verify-full and sslmode=disable are allowed")]
    Parameter(String),
}

impl PostgresUrl {
    /// Whether a text is such a URL, right or wrong.
    pub fn is_meant(text: &str) -> bool {
        ["postgres:", "postgresql:"].iter().any(|begin| text.starts_with(begin))
    }

    /// Reads one.
    ///
    /// # Errors
    /// What is wrong with it, without any part of it that may be secret.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        let rest = SCHEMES.iter().find_map(|scheme| text.strip_prefix(scheme)).ok_or(UrlError::Scheme)?;
        // First of all, and in the whole: a password may have any character in it.
        if let (Some(colon), Some(at)) = (rest.find(':'), rest.find('@'))
            && colon < at
        {
            return Err(UrlError::Password);
        }
        let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
        let ssl_mode = ssl_mode(query)?;
        let (authority, database) = place.split_once('/').unwrap_or((place, ""));
        let (user, hosts) = authority.rsplit_once('@').ok_or(UrlError::User)?;
        if user.contains(':') {
            return Err(UrlError::Password);
        }
        let user = decoded(user, "user")?;
        if user.is_empty() {
            return Err(UrlError::User);
        }
        let database = decoded(database, "database")?;
        if database.is_empty() {
            return Err(UrlError::Database);
        }
        let hosts = hosts.split(',').zip(1..).map(|(text, number)| host(text, number));
        Ok(Self { hosts: hosts.collect::<Result<_, _>>()?, user, database, ssl_mode })
    }

    /// The hosts, in the order in which they are tried.
    pub fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    /// Who signs in.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The database.
    pub fn database(&self) -> &str {
        &self.database
    }

    /// Whether connections over TCP are encrypted.
    pub fn ssl_mode(&self) -> SslMode {
        self.ssl_mode
    }
}

/// User, hosts, database and the mode; it never had a secret.
impl fmt::Display for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hosts: Vec<String> = self.hosts.iter().map(Host::to_string).collect();
        write!(f, "{}{}@{}/{}", SCHEMES[0], encoded(&self.user), hosts.join(","), encoded(&self.database))?;
        match self.ssl_mode {
            SslMode::VerifyFull => Ok(()),
            SslMode::Disable => f.write_str("?sslmode=disable"),
        }
    }
}

fn encoded(text: &str) -> impl fmt::Display {
    utf8_percent_encode(text, ENCODED)
}

/// A part of the URL as it is meant.
fn decoded(text: &str, part: &'static str) -> Result<String, UrlError> {
    let text = percent_decode_str(text).decode_utf8().map(Cow::into_owned);
    text.ok().filter(|text| !text.chars().any(char::is_control)).ok_or(UrlError::Characters(part))
}

fn host(text: &str, number: usize) -> Result<Host, UrlError> {
    let bad = UrlError::Host(number);
    let (name, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']').ok_or(UrlError::Host(number))?;
            if !address.parse::<IpAddr>().is_ok_and(|address| address.is_ipv6()) {
                return Err(bad);
            }
            (address, if port.is_empty() { None } else { Some(port.strip_prefix(':').ok_or(bad)?) })
        }
        None => match text.split_once(':') {
            Some((name, port)) => (name, Some(port)),
            None => (text, None),
        },
    };
    let port = match port {
        // As libpq reads it.
        None | Some("") => DEFAULT_PORT,
        Some(port) => port.parse().ok().filter(|port| *port > 0).ok_or(UrlError::Port(number))?,
    };
    let name = decoded(name, "host")?;
    if Path::new(&name).is_absolute() {
        return Ok(Host::Socket { folder: PathBuf::from(name), port });
    }
    let is_name = !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || "/@[]".contains(c));
    if is_name { Ok(Host::Tcp { name, port }) } else { Err(UrlError::Host(number)) }
}

/// The mode that the parameters give; there are no others.
fn ssl_mode(query: &str) -> Result<SslMode, UrlError> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    let pairs: Vec<(&str, &str)> = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, ""))).collect();
    if pairs.iter().any(|(name, _)| ["password", "sslpassword"].contains(name)) {
        return Err(UrlError::Password);
    }
    let mut mode = None;
    for (name, value) in pairs {
        let own = |parameter, key| Err(UrlError::Key { parameter, key });
        match name {
            "sslmode" => {
                let read = match value {
                    "verify-full" => SslMode::VerifyFull,
                    "disable" => SslMode::Disable,
                    _ => {
                        let known = ["allow", "prefer", "require", "verify-ca"];
                        let named = known.into_iter().find(|known| *known == value);
                        return Err(UrlError::SslMode(named.unwrap_or("…")));
                    }
                };
                if mode.replace(read).is_some() {
                    return Err(UrlError::Twice("sslmode"));
                }
            }
            "sslrootcert" => return own("sslrootcert", "journal.ca_file"),
            "sslcert" => return own("sslcert", "journal.client_cert"),
            "sslkey" => return own("sslkey", "journal.client_key"),
            "passfile" => return own("passfile", "journal.password"),
            // What is always done may be said.
            "target_session_attrs" if value == "read-write" => {}
            "target_session_attrs" => return Err(UrlError::Target),
            _ => {
                let is_word = name.chars().all(|c| c.is_ascii_lowercase() || c == '_');
                let shown = if is_word { name.chars().take(SHOWN).collect() } else { "…".to_owned() };
                return Err(UrlError::Parameter(shown));
            }
        }
    }
    Ok(mode.unwrap_or(SslMode::VerifyFull))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(name: &str, port: u16) -> Host {
        Host::Tcp { name: name.to_owned(), port }
    }

    #[test]
    fn hosts_user_database_and_mode_are_read_and_shown_again() {
        let socket = Host::Socket { folder: PathBuf::from("/run/postgresql"), port: 5432 };
        for (text, hosts, user, database, mode, shown) in [
            (
                "postgres://remediator@db1.example,db2.example:5433/journal",
                vec![tcp("db1.example", 5432), tcp("db2.example", 5433)],
                "remediator",
                "journal",
                SslMode::VerifyFull,
                "postgres://remediator@db1.example:5432,db2.example:5433/journal",
            ),
            (
                "postgresql://a%40b@[::1]:7,127.0.0.1/d%2Fe?sslmode=disable",
                vec![tcp("::1", 7), tcp("127.0.0.1", 5432)],
                "a@b",
                "d/e",
                SslMode::Disable,
                "postgres://a%40b@[::1]:7,127.0.0.1:5432/d%2Fe?sslmode=disable",
            ),
            (
                "postgres://u@%2Frun%2Fpostgresql/d?sslmode=verify-full&target_session_attrs=read-write",
                vec![socket],
                "u",
                "d",
                SslMode::VerifyFull,
                "postgres://u@%2Frun%2Fpostgresql:5432/d",
            ),
        ] {
            let url = PostgresUrl::parse(text).unwrap();
            assert_eq!(url.hosts(), hosts, "{text}");
            assert_eq!((url.user(), url.database(), url.ssl_mode()), (user, database, mode), "{text}");
            assert_eq!(url.to_string(), shown);
            assert_eq!(PostgresUrl::parse(shown).as_ref(), Ok(&url), "it is read again");
        }
    }

    #[test]
    fn a_password_is_refused_wherever_it_stands_and_is_never_shown() {
        for text in [
            "postgres://u:hunter2@h/d",
            "postgres://u:hunter2@h:5432/d",
            "postgres://u:hun/ter2@h/d",
            "postgres://u:hun?ter2@h/d",
            "postgres://u:hun@ter2@h/d",
            "postgres://u:@h/d",
            "postgres://u@x:hunter2@h/d",
            "postgres://u@h/d?password=hunter2",
            "postgres://u@h/d?sslmode=hunter2&password=a",
            "postgres://u@h/d?sslpassword=hunter2",
        ] {
            assert_eq!(PostgresUrl::parse(text), Err(UrlError::Password), "{text}");
        }
        // Nor where it cannot be told from a mistake.
        for text in [
            "postgres://hunter2",
            "postgres://u:hunter2",
            "postgres://u:hunter2/d",
            "postgres://u@x:hun/ter2@h/d",
            "postgres://u@h:hunter2/d",
            "postgres://u@[hunter2]/d",
            "postgres://u@h/d?sslmode=hunter2",
            "postgres://u@h/d?Hunter2=1",
            "postgres:u:hunter2@h/d",
        ] {
            let told = PostgresUrl::parse(text).unwrap_err();
            let told = format!("{told} {told:?}");
            assert!(!told.contains("unter2") && !told.contains("ter2@"), "{text}: {told}");
        }
    }

    #[test]
    fn what_is_not_understood_is_refused_with_what_is_allowed() {
        for (text, part) in [
            ("mysql://u@h/d", "postgres://USER@HOST"),
            ("postgres:u@h/d", "postgres://USER@HOST"),
            ("postgres://h/d", "no user"),
            ("postgres://@h/d", "no user"),
            ("postgres://u@h", "no database"),
            ("postgres://u@h/", "no database"),
            ("postgres://u@/d", "host 1"),
            ("postgres://u@a,/d", "host 2"),
            ("postgres://u@::1/d", "host 1"),
            ("postgres://u@a b/d", "host 1"),
            ("postgres://u@a,b:0/d", "port of host 2"),
            ("postgres://u@a:65536/d", "port of host 1"),
            ("postgres://u%00@h/d", "the user in the URL"),
            ("postgres://u@h/d%ff", "the database in the URL"),
            ("postgres://u@h/d?sslmode=prefer", "sslmode=prefer is not allowed"),
            ("postgres://u@h/d?sslmode=require", "verify-full (the default) and sslmode=disable"),
            ("postgres://u@h/d?sslmode=allow", "sslmode=allow"),
            ("postgres://u@h/d?sslmode=verify-ca", "sslmode=verify-ca"),
            ("postgres://u@h/d?sslmode=disable&sslmode=disable", "twice"),
            ("postgres://u@h/d?sslrootcert=/ca.pem", "use journal.ca_file"),
            ("postgres://u@h/d?sslcert=/c.pem", "use journal.client_cert"),
            ("postgres://u@h/d?sslkey=/k.pem", "use journal.client_key"),
            ("postgres://u@h/d?passfile=/p", "use journal.password"),
            ("postgres://u@h/d?target_session_attrs=any", "always connects to the primary"),
            ("postgres://u@h/d?connect_timeout=3", "unknown parameter \"connect_timeout\""),
            ("postgres://u@h/d?host=x", "unknown parameter \"host\""),
        ] {
            let told = PostgresUrl::parse(text).unwrap_err().to_string();
            assert!(told.contains(part), "{text}: {told}");
        }
    }

    #[test]
    fn only_loopback_addresses_and_sockets_are_local() {
        let local = |text: &str| PostgresUrl::parse(text).unwrap().hosts()[0].is_local();
        for text in ["localhost", "127.0.0.1", "127.1.2.3:5", "[::1]", "%2Frun"] {
            assert!(local(&format!("postgres://u@{text}/d")), "{text}");
        }
        for text in ["db1", "localhost.example", "10.0.0.1", "[2001:db8::1]", "0.0.0.0"] {
            assert!(!local(&format!("postgres://u@{text}/d")), "{text}");
        }
    }
}
