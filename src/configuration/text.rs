//! Kinds of texts: names, places, addresses. Each says what is allowed, and what of it may be shown.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use reqwest::Url;
use serde_json::Value;
use tracing_subscriber::EnvFilter;

use super::files::{Readers, read_bytes};
use super::kind::{Scalar, listed, word};
use super::schema::Shown;
use crate::journal::JournalUrl;
use crate::journal::postgres::SchemaName;
use crate::model::id::{ProjectId, ProjectName};
use crate::model::policy::Pattern;
use crate::model::text::{is_full_host_name, shown};

/// The longest name or pattern, in characters; it also bounds the size of a compiled glob.
const MAX_LENGTH: usize = 128;
/// The longest path of a Unix socket, in bytes: 107, without the suffix while it is made.
const MAX_SOCKET_PATH: usize = 103;

/// The form of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// The form that suits its destination.
    Auto,
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
    /// With its fields, to the system's journal.
    Journald,
}

const LOG_FORMATS: [(&str, LogFormat); 4] = [
    ("auto", LogFormat::Auto),
    ("text", LogFormat::Text),
    ("json", LogFormat::Json),
    ("journald", LogFormat::Journald),
];

listed! {
    JournalUrl: |it| it.to_string();
    SchemaName: |it| it.as_str();
    LogFormat: |it| LOG_FORMATS.iter().find(|(_, format)| format == it).map_or("", |(word, _)| word);
    ProjectId: |it| it.as_str();
    ProjectName: |it| it.as_str();
    Pattern: |it| it.as_str();
    Option<PathBuf>: |it| it.as_deref().map(Path::to_string_lossy).unwrap_or_default();
    Option<SocketAddr>: |it| it.map(|it| it.to_string()).unwrap_or_default();
}

/// Declares kinds of texts: the type of the read value, its function, and what of it may be shown.
macro_rules! texts {
    ($($(#[$meta:meta])* $name:ident: $value:ty, $shown:expr, $take:expr;)*) => {
        $(
            $(#[$meta])*
            pub(super) struct $name;

            impl Scalar for $name {
                type Value = $value;
                const SHOWN: Shown = $shown;

                fn take(found: &Value) -> Result<$value, String> {
                    String::take(found).and_then(|text| $take(text.as_str()))
                }
            }
        )*
    };
}

texts! {
    /// That of a project.
    NameOfProject: ProjectName, Shown::Open, |text| ProjectName::new(text).map_err(|error| error.to_string());
    /// The id of a project.
    IdOfProject: ProjectId, Shown::Open, |text| ProjectId::new(text).map_err(|error| error.to_string());
    /// A region: it becomes a label of a host name.
    Region: String, Shown::Open, region;
    /// A glob over a whole name.
    Glob: Pattern, Shown::Open, glob;
    /// Any text that is not empty.
    Filled: String, Shown::Never, |text: &str| said(!text.trim().is_empty(), text, "it is empty");
    /// Any text in one line.
    Line: String, Shown::Never, line;
    /// The absolute path of a file.
    AbsolutePath: PathBuf, Shown::Never, absolute;
    /// The PEM file of CAs that are trusted beside the system's; it can be read.
    CaFile: PathBuf, Shown::Open, ca_file;
    /// The address of a server. A password may be before an '@', a token in a path or a query.
    Endpoint: String, Shown::Here(is_bare_url), endpoint;
    /// The URL of a proxy, without user and password.
    ProxyUrl: String, Shown::Here(is_bare_url), proxy_url;
    /// The user of a proxy.
    ProxyUser: String, Shown::Never, |text: &str| {
        said(line(text).is_ok() && !text.contains(':'), text, "a text of one line without ':' is needed")
    };
    /// The address of the status page, for links.
    Page: String, Shown::Never, page;
    /// The name of a host, in lower case for comparisons. Addresses and `localhost` are always
    /// valid.
    HostName: String, Shown::Open, |text: &str| {
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
        let what = format!(
            "found \"{}\"; the name of a host is needed, such as \"upgrades.example.com\", without scheme and port",
            shown(text, 60)
        );
        said(!text.is_empty() && text.chars().all(is_name), &text.to_ascii_lowercase(), &what)
    };
    /// The address of the status page; `""`: none.
    Listen: Option<SocketAddr>, Shown::Open, |text: &str| match text.parse() {
        Ok(address) => Ok(Some(address)),
        Err(_) if text.is_empty() => Ok(None),
        Err(_) => Err(format!(
            "found \"{}\"; ADDRESS:PORT such as \"127.0.0.1:9187\" or \"\" is needed",
            shown(text, 60)
        )),
    };
    /// The control socket; `""`: none.
    Socket: Option<PathBuf>, Shown::Open, socket;
    /// Directives of `tracing`.
    Directives: String, Shown::Open, |text: &str| match EnvFilter::builder().parse(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => {
            Err(format!("found \"{}\"; not a valid filter (tracing directives): {error}", shown(text, 60)))
        }
    };
    /// The place of a journal. A URL of another kind may contain a password, and is not repeated.
    Journal: JournalUrl, Shown::Here(JournalUrl::is_harmless), journal_url;
    /// The schema of a database that the journal's tables are in.
    Schema: SchemaName, Shown::Open, |text: &str| SchemaName::new(text).map_err(|error| error.to_string());
    /// The host of a mail server.
    MailHost: String, Shown::Open, |text: &str| {
        line(text)?;
        let plain = !text.contains(char::is_whitespace) && !text.contains('/');
        said(plain, text, "the name of a host is needed, or its address")
    };
    /// An address of email.
    Mailbox: String, Shown::Open, |text: &str| {
        let good = text.parse::<lettre::message::Mailbox>().is_ok() && !text.chars().any(char::is_control);
        said(good, text, "an address of email is needed: NAME@HOST or Text <NAME@HOST>")
    };
    /// The name in EHLO: at least two labels, or an address in brackets.
    Hello: String, Shown::Open, |text: &str| said(
        is_hello(text),
        text,
        "the whole name of this machine is needed, such as \"host.example.com\", or an address in brackets: \"[192.0.2.1]\" or \"[IPv6:2001:db8::1]\"",
    );
    /// A topic of Simple Message Notification.
    TopicUrn: String, Shown::Never, |text: &str| {
        let safe = |c: char| c.is_ascii_alphanumeric() || matches!(c, ':' | '-' | '_');
        let good = text.split(':').count() == 5 && text.starts_with("urn:smn:") && text.chars().all(safe);
        said(good, text, "urn:smn:REGION:PROJECT_ID:NAME is needed")
    };
    /// The word that selects one of several tables; a secret could be in its place.
    TypeWord: String, Shown::Like(|text| {
        text.len() <= 16 && text.chars().all(|c| c.is_ascii_lowercase() || c == '-')
    }), |text: &str| Ok(text.to_owned());
}

impl Scalar for LogFormat {
    type Value = Self;

    fn take(found: &Value) -> Result<Self, String> {
        word(found, &LOG_FORMATS)
    }
}

/// A port of TCP.
pub(super) struct Port;

impl Scalar for Port {
    type Value = u16;

    fn take(found: &Value) -> Result<u16, String> {
        let port = u16::try_from(u32::take(found)?).ok().filter(|port| *port != 0);
        port.ok_or_else(|| "a port from 1 to 65535 is needed".to_owned())
    }
}

fn said(good: bool, text: &str, otherwise: &str) -> Result<String, String> {
    if good { Ok(text.to_owned()) } else { Err(otherwise.to_owned()) }
}

fn line(text: &str) -> Result<String, String> {
    let good = !text.trim().is_empty() && !text.chars().any(char::is_control);
    said(good, text, "a text of one line is needed")
}

/// Returns whether it is a name that can be shown in one line and typed.
pub(super) fn check_name(name: &str) -> Result<(), String> {
    let problem = if name.trim().is_empty() {
        "it is empty"
    } else if name.chars().count() > MAX_LENGTH {
        "at most 128 characters are allowed"
    } else if name.trim() != name {
        "blanks at its ends are not allowed"
    } else if shown(name, MAX_LENGTH) != name {
        "control and invisible characters are not allowed"
    } else {
        return Ok(());
    };
    Err(format!("found \"{}\"; {problem}", shown(name, 60)))
}

fn glob(text: &str) -> Result<Pattern, String> {
    check_name(text)?;
    Pattern::new(text)
        .map_err(|error| format!("found \"{}\"; not a valid glob: {}", shown(text, 60), error.kind()))
}

fn region(text: &str) -> Result<String, String> {
    let plain = text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    let good = plain && (1..=63).contains(&text.len()) && !text.starts_with('-') && !text.ends_with('-');
    let what = format!(
        "found \"{}\"; small letters, digits and '-' are allowed, such as \"eu-west-101\"",
        shown(text, 60)
    );
    said(good, text, &what)
}

fn absolute(path: &str) -> Result<PathBuf, String> {
    let problem = if !path.starts_with('/') || path.starts_with("//") {
        "the path must be absolute"
    } else if path.chars().any(|c| c.is_control() || c == '\u{fffd}') {
        "the path contains a control character, or is not text"
    } else if path.ends_with('/') {
        "the path is that of a folder; a file is needed"
    } else {
        return Ok(path.into());
    };
    Err(format!("found \"{}\"; {problem}", shown(path, 80)))
}

fn ca_file(text: &str) -> Result<PathBuf, String> {
    let path = absolute(text)?;
    let place = shown(text, 200);
    let bytes = read_bytes(&path, Readers::Anybody).map_err(|error| format!("{place}: {error}"))?;
    let mark = b"-----BEGIN CERTIFICATE-----";
    let is_pem = bytes.windows(mark.len()).any(|part| part == mark);
    if is_pem { Ok(path) } else { Err(format!("{place}: the file contains no PEM certificate")) }
}

fn socket(text: &str) -> Result<Option<PathBuf>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let path = absolute(text)?;
    if text.len() > MAX_SOCKET_PATH {
        let length = text.len();
        return Err(format!(
            "the path has {length} bytes; the path of the socket may have at most {MAX_SOCKET_PATH}"
        ));
    }
    Ok(Some(path))
}

fn journal_url(url: &str) -> Result<JournalUrl, String> {
    let url = JournalUrl::parse(url)?;
    if let Some(path) = url.path() {
        absolute(&path.to_string_lossy())?;
    }
    Ok(url)
}

fn page(text: &str) -> Result<String, String> {
    let good = Url::parse(text).is_ok_and(|url| {
        matches!(url.scheme(), "http" | "https")
            && url.has_host()
            && url.query().is_none()
            && url.fragment().is_none()
    });
    let plain = !text.chars().any(|c| c.is_control() || c.is_whitespace());
    said(good && plain, text, "the address of the status page is needed: https://HOST[:PORT][/PATH]")
}

fn proxy_url(text: &str) -> Result<String, String> {
    match Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => {
            let bare = url.username().is_empty() && url.password().is_none() && !text.contains('@');
            said(
                bare,
                text,
                "a user or password in a URL is not allowed; give proxy_user, and proxy_password as a reference",
            )
        }
        _ => Err("an http:// or https:// URL is needed".to_owned()),
    }
}

/// Returns whether this is a host with its port, with or without the scheme, so that no part of it
/// can be a secret.
fn is_bare_url(text: &str) -> bool {
    let scheme = ["https://", "http://"].into_iter().find(|scheme| text.starts_with(scheme));
    let rest = text.strip_prefix(scheme.unwrap_or_default()).unwrap_or(text);
    let host = rest.strip_suffix('/').unwrap_or(rest);
    let of_a_host = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || ".:-[]".contains(c);
    (scheme.is_some() || host.contains('.')) && host.chars().all(of_a_host)
}

fn is_hello(text: &str) -> bool {
    let literal = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    match literal.map(|text| text.strip_prefix("IPv6:").ok_or(text)) {
        Some(Ok(text)) => text.parse::<Ipv6Addr>().is_ok(),
        Some(Err(text)) => text.parse::<Ipv4Addr>().is_ok(),
        None => is_full_host_name(text),
    }
}

/// Returns the origin of a URL that requests may be sent to. The URL is not repeated: it may
/// contain a password.
fn endpoint(text: &str) -> Result<String, String> {
    const EXPECTED: &str = "https://HOST or https://HOST:PORT is needed";
    if text.chars().any(|c| c.is_whitespace() || c.is_control() || c == '\\') {
        return Err(format!("the URL has blanks, control characters or backslashes; {EXPECTED}"));
    }
    if !text.starts_with("https://") && !text.starts_with("http://") {
        return Err(format!("it begins neither with https:// nor with http://; {EXPECTED}"));
    }
    let url = Url::parse(text).map_err(|error| format!("it is no URL ({error}); {EXPECTED}"))?;
    if !url.username().is_empty() || url.password().is_some() || text.contains('@') {
        return Err("a user or password in a URL is not allowed; use credentials".to_owned());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(format!("a query or fragment is not allowed; {EXPECTED}"));
    }
    if url.path() != "/" {
        return Err(format!("a path is not allowed; {EXPECTED}"));
    }
    if url.port() == Some(0) {
        return Err("port 0 cannot be reached".to_owned());
    }
    if let Some(what) = address(&url).and_then(nowhere) {
        return Err(format!("the address is {what}, where no CSS service is; {EXPECTED}"));
    }
    if url.scheme() == "http" && !address(&url).is_some_and(|address| address.is_loopback()) {
        return Err(
            "http:// is allowed only to a loopback address (127.0.0.1, [::1]); use https://".to_owned()
        );
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

/// Returns the address that is written as the host. Names are resolved elsewhere.
fn address(url: &Url) -> Option<IpAddr> {
    let host = url.host_str()?;
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    address.parse::<IpAddr>().ok().map(|address| address.to_canonical())
}

/// Returns what an address is to which no signed request may be sent: a metadata service, or
/// nothing.
fn nowhere(address: IpAddr) -> Option<&'static str> {
    let link_local = match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    if link_local {
        return Some("link-local");
    }
    if address.is_multicast() || address == IpAddr::V4(Ipv4Addr::BROADCAST) {
        return Some("one of many hosts");
    }
    address.is_unspecified().then_some("unspecified")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_an_origin() {
        for (text, origin) in [
            ("https://css.eu-west-101.myhuaweicloud.com", "https://css.eu-west-101.myhuaweicloud.com"),
            ("https://css.example/", "https://css.example"),
            ("https://CSS.example:443", "https://css.example"),
            ("https://css.example:8443", "https://css.example:8443"),
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
            ("http://[::1]:8080", "http://[::1]:8080"),
        ] {
            assert_eq!(endpoint(text).as_deref(), Ok(origin), "{text}");
        }
    }

    #[test]
    fn an_endpoint_that_is_more_or_less_than_an_origin_is_refused() {
        for (text, part) in [
            ("css.example", "begins neither"),
            ("ftp://css.example", "begins neither"),
            ("https://", "no URL"),
            ("https://user:canary@css.example", "password"),
            ("https://@css.example", "password"),
            ("https://css.example/v1.0", "path"),
            ("https://css.example?x=1", "query"),
            ("https://css.example#x", "fragment"),
            ("https://css.example:0", "port 0"),
            ("https:\\\\css.example", "backslashes"),
            (" https://css.example", "blanks"),
            ("http://css.example", "loopback"),
            ("http://localhost:8080", "loopback"),
            ("http://128.0.0.1", "loopback"),
            ("http://0.0.0.0:1", "unspecified"),
            ("https://[::]", "unspecified"),
            ("https://169.254.169.254", "link-local"),
            ("https://2852039166", "link-local"),
            ("https://0xa9.0xfe.0xa9.0xfe", "link-local"),
            ("https://[fe80::1]", "link-local"),
            ("https://[::ffff:169.254.169.254]", "link-local"),
            ("https://224.0.0.1", "many hosts"),
            ("https://[ff02::1]", "many hosts"),
            ("http://127.0.0.1.example", "loopback"),
        ] {
            let problem = endpoint(text).unwrap_err();
            assert!(problem.contains(part) && !problem.contains("canary"), "{text}: {problem}");
        }
    }
}
