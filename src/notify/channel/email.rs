//! Email over SMTP.
//!
//! With a user, or with certificates of its own, the connection must be encrypted: by TLS from the
//! first byte at port 465, otherwise by STARTTLS. Otherwise it is encrypted if the server offers
//! STARTTLS. To a loopback address it need not be.
//!
//! The three digits of an answer decide. Its text may be in any encoding, and is only shown.

use std::fmt;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lettre::Address;
use lettre::message::Mailbox;
use lettre::message::header::ContentType;
use mail_send::smtp::message::Parameters;
use mail_send::{Credentials, SmtpClient};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls_platform_verifier::Verifier;
use smtp_proto::{EXT_SMTP_UTF8, EXT_START_TLS, EhloResponse, Response};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::{Channel, SendError, Sending, Taken};
use crate::model::secret::{ExposeSecret as _, Secret};
use crate::model::text::{chain, is_full_host_name, shown, span};
use crate::notify::message::Message;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const TIMEOUT: Duration = Duration::from_secs(20);
/// How long the server may take to answer QUIT.
const QUIT_TIMEOUT: Duration = Duration::from_secs(1);
/// A refused login is not tried again before this: servers lock out repeated logins.
const AFTER_A_REFUSED_LOGIN: Duration = Duration::from_hours(1);
const TLS_PORT: u16 = 465;
const SUBMISSION_PORT: u16 = 587;
const RELAY_PORT: u16 = 25;
/// A line that mail programs still show as a whole.
const SUBJECT: usize = 200;
/// The longest part of an answer that is shown.
const LONGEST_ANSWER: usize = 200;
/// Parts of at least this length count as secrets, wherever they occur again.
const SECRET_PART: usize = 4;

/// What is needed to send email.
#[derive(Debug)]
pub struct EmailOptions {
    /// The server.
    pub host: String,
    /// Its port; default 587 with a user and 25 without one.
    pub port: Option<u16>,
    /// The user, with the password.
    pub user: Option<(String, Secret)>,
    /// The name in EHLO; default: the name of this machine, or its address.
    pub hello: Option<String>,
    /// PEM certificates that are trusted beside the system's. With them the connection must be
    /// encrypted.
    pub ca_pem: Option<Vec<u8>>,
    /// The sender.
    pub from: String,
    /// The receivers.
    pub to: Vec<String>,
}

/// Why email cannot be sent with these options.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EmailFault {
    /// A text that is no address.
    #[error("\"{0}\" is not an email address")]
    Address(String),
    /// No certificate can be read there.
    #[error("the file contains no PEM certificate that can be used")]
    CaFile,
    /// No certificates on this machine.
    #[error("no TLS can be spoken with the host: {0}")]
    Tls(String),
}

impl EmailFault {
    /// The key of the channel that is at fault.
    pub fn key(&self) -> &'static str {
        match self {
            Self::Address(_) => "from",
            Self::CaFile => "ca_file",
            Self::Tls(_) => "host",
        }
    }
}

/// When the connection is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encryption {
    Never,
    /// From the first byte.
    Always,
    /// By STARTTLS, or nothing is sent.
    Required,
    /// By STARTTLS where it is offered.
    Offered,
}

/// Sends email.
pub struct Email {
    host: String,
    port: u16,
    encryption: Encryption,
    tls: Option<TlsConnector>,
    user: Option<(String, Secret)>,
    hello: Option<String>,
    from: Mailbox,
    to: Vec<Mailbox>,
}

impl fmt::Debug for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Email").field("from", &self.from).field("to", &self.to).finish_non_exhaustive()
    }
}

/// Returns whether a text is an address, with or without a name before it.
///
/// # Errors
/// If it is not.
pub fn address(text: &str) -> Result<(), EmailFault> {
    mailbox(text).map(drop)
}

fn mailbox(text: &str) -> Result<Mailbox, EmailFault> {
    let bad = || EmailFault::Address(shown(text, 100));
    if text.chars().any(char::is_control) {
        return Err(bad());
    }
    text.parse::<Mailbox>().or_else(|_| text.parse::<Address>().map(Mailbox::from)).map_err(|_| bad())
}

/// Makes TLS that trusts these certificates beside the system's.
fn tls(ca_pem: Option<&[u8]>) -> Result<TlsConnector, EmailFault> {
    let extra = match ca_pem {
        Some(pem) => CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>(),
        None => Ok(Vec::new()),
    };
    let extra = extra.map_err(|_| EmailFault::CaFile)?;
    if ca_pem.is_some() && extra.is_empty() {
        return Err(EmailFault::CaFile);
    }
    let fault = |error: rustls::Error| EmailFault::Tls(chain(&error));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = Verifier::new_with_extra_roots(extra, Arc::clone(&provider)).map_err(fault)?;
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(fault)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

impl Email {
    /// Makes a channel with these options. Connects to nothing.
    ///
    /// # Errors
    /// If an address is invalid, or no certificates can be read.
    pub fn new(options: EmailOptions) -> Result<Self, EmailFault> {
        let EmailOptions { host, port, user, hello, ca_pem, from, to } = options;
        let port = port.unwrap_or(if user.is_some() { SUBMISSION_PORT } else { RELAY_PORT });
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let loopback =
            host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
        let encryption = match () {
            () if port == TLS_PORT => Encryption::Always,
            () if ca_pem.is_some() => Encryption::Required,
            () if loopback => Encryption::Never,
            () if user.is_some() => Encryption::Required,
            () => Encryption::Offered,
        };
        let tls = match encryption {
            // A system without any certificate is no reason to fail.
            Encryption::Never => None,
            _ => Some(tls(ca_pem.as_deref())?),
        };
        let from = mailbox(&from)?;
        let to = to.iter().map(|to| mailbox(to)).collect::<Result<_, _>>()?;
        Ok(Self { host, port, encryption, tls, user, hello, from, to })
    }

    /// Makes the email of a message.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn email(&self, message: &Message) -> Result<lettre::Message, SendError> {
        let mut builder = lettre::Message::builder()
            .from(self.from.clone())
            .subject(crate::notify::message::cut(&message.title(), SUBJECT))
            .date(SystemTime::from(message.at))
            .message_id(Some(format!("<{}@{}>", message.id, self.from.email.domain())))
            .header(ContentType::TEXT_PLAIN);
        for to in &self.to {
            builder = builder.to(to.clone());
        }
        builder.body(message.text(200_000)).map_err(|error| SendError::passing(chain(&error)))
    }

    async fn deliver(&self, email: &[u8]) -> Result<Taken, SendError> {
        let mut client = SmtpClient { stream: self.connect().await?, timeout: TIMEOUT };
        let hello = match &self.hello {
            Some(hello) => hello.clone(),
            None => own_name().or_else(|| client.stream.local_addr().ok().map(literal)).unwrap_or_default(),
        };
        if self.encryption == Encryption::Always {
            let tls = self.tls.as_ref().ok_or_else(no_tls)?;
            let mut client =
                client.into_tls(tls, &self.host).await.map_err(|error| self.failed("TLS", error))?;
            self.greeted(&mut client).await?;
            let offers = self.hello(&mut client, &hello).await?;
            return self.converse(client, &offers, email).await;
        }
        self.greeted(&mut client).await?;
        let offers = self.hello(&mut client, &hello).await?;
        let offered = offers.has_capability(EXT_START_TLS);
        match (self.encryption, &self.tls) {
            (Encryption::Required | Encryption::Offered, Some(tls)) if offered => {
                let secure = client.start_tls(tls, &self.host).await;
                let mut client = secure.map_err(|error| self.failed("STARTTLS", error))?;
                let offers = self.hello(&mut client, &hello).await?;
                self.converse(client, &offers, email).await
            }
            (Encryption::Required, _) => Err(SendError::passing(format!(
                "{} offers no STARTTLS, and the daemon sends no email without encryption; for TLS from the first byte set port = {TLS_PORT}",
                self.host
            ))),
            _ => self.converse(client, &offers, email).await,
        }
    }

    /// Connects to the first address that answers.
    async fn connect(&self) -> Result<TcpStream, SendError> {
        let passing = |what: String| SendError::passing(format!("no connection to {}: {what}", self.host));
        let addresses = tokio::net::lookup_host((self.host.as_str(), self.port)).await;
        let mut failed = Vec::new();
        for address in addresses.map_err(|error| passing(error.to_string()))? {
            match timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => failed.push(format!("{address}: {error}")),
                Err(_) => failed.push(format!("{address}: no response within {}", span(CONNECT_TIMEOUT))),
            }
        }
        Err(passing(if failed.is_empty() { "it has no address".to_owned() } else { failed.join("; ") }))
    }

    /// Waits for the server's greeting.
    async fn greeted<S: Stream>(&self, client: &mut SmtpClient<S>) -> Result<(), SendError> {
        let greeting = timeout(TIMEOUT, client.read()).await.unwrap_or(Err(mail_send::Error::Timeout));
        let greeting = greeting.map_err(|error| self.failed("the greeting", error))?;
        if greeting.code() == 220 { Ok(()) } else { Err(self.refused("the connection", &greeting)) }
    }

    async fn hello<S: Stream>(
        &self,
        client: &mut SmtpClient<S>,
        hello: &str,
    ) -> Result<EhloResponse<String>, SendError> {
        client.ehlo(hello).await.map_err(|error| {
            let refused = matches!(error, mail_send::Error::UnexpectedReply(_));
            let mut error = self.failed(&format!("EHLO {hello}"), error);
            if refused {
                error.detail.push_str("; the key hello gives another name");
            }
            error
        })
    }

    /// Signs in, names the receivers and hands the email over.
    async fn converse<S: Stream>(
        &self,
        mut client: SmtpClient<S>,
        offers: &EhloResponse<String>,
        email: &[u8],
    ) -> Result<Taken, SendError> {
        let taken = self.transact(&mut client, offers, email).await;
        // An accepted email is accepted, whatever the server answers to QUIT.
        let _ = timeout(QUIT_TIMEOUT, client.quit()).await;
        taken
    }

    async fn transact<S: Stream>(
        &self,
        client: &mut SmtpClient<S>,
        offers: &EhloResponse<String>,
        email: &[u8],
    ) -> Result<Taken, SendError> {
        if let Some((user, password)) = &self.user {
            let credentials = Credentials::new(user.as_str(), password.expose_secret());
            client
                .authenticate(&credentials, offers)
                .await
                .map_err(|error| self.not_signed_in(user, error))?;
        }
        let mut parameters = Parameters::new();
        let addresses = || std::iter::once(&self.from).chain(&self.to).map(|mailbox| &mailbox.email);
        if addresses().any(|address| !AsRef::<str>::as_ref(address).is_ascii()) {
            if !offers.has_capability(EXT_SMTP_UTF8) {
                let what = "an address is not ASCII, and the server does not offer SMTPUTF8";
                return Err(SendError::passing(what));
            }
            parameters.add("SMTPUTF8");
        }
        let from = self.from.email.to_string();
        let sender = client.mail_from(&from, &parameters).await;
        sender.map_err(|error| self.failed(&format!("the sender {from}"), error))?;
        let mut refused = Vec::new();
        for to in &self.to {
            let to = to.email.to_string();
            match client.rcpt_to(&to, &Parameters::new()).await {
                Ok(()) => {}
                // Also for a temporary refusal (4xx): the other receivers must not wait for a
                // mailbox that stays full.
                Err(mail_send::Error::UnexpectedReply(reply)) if reply.code() != 421 => {
                    refused.push((to, self.redacted(&reply)));
                }
                Err(error) => return Err(self.failed(&format!("the receiver {to}"), error)),
            }
        }
        if refused.len() == self.to.len() {
            let shown: Vec<String> = refused.iter().map(|(to, why)| format!("{to}: {why}")).collect();
            return Err(SendError::passing(format!("no receiver is accepted: {}", shown.join("; "))));
        }
        client.data(email).await.map_err(|error| {
            // A permanent refusal of the content: it is too long, or filtered.
            let refused =
                matches!(&error, mail_send::Error::UnexpectedReply(reply) if (500..600).contains(&reply.code()));
            SendError { refused, ..self.failed("the message", error) }
        })?;
        Ok(Taken { refused: refused.into_iter().collect() })
    }

    /// Returns why a login did not succeed.
    fn not_signed_in(&self, user: &str, error: mail_send::Error) -> SendError {
        match error {
            mail_send::Error::AuthenticationFailed(reply) if (500..600).contains(&reply.code()) => {
                SendError {
                    detail: format!(
                        "the login of {user} is refused: {}; check user and password, then reload; the daemon tries once an hour",
                        self.redacted(&reply)
                    ),
                    refused: false,
                    retry_after: Some(AFTER_A_REFUSED_LOGIN),
                }
            }
            mail_send::Error::AuthenticationFailed(reply) => {
                self.refused(&format!("the login of {user}"), &reply)
            }
            mail_send::Error::UnsupportedAuthMechanism => SendError::passing(format!(
                "{} offers no login method that the daemon supports (PLAIN, LOGIN)",
                self.host
            )),
            error => self.failed(&format!("the login of {user}"), error),
        }
    }

    /// Returns why a step failed.
    fn failed(&self, step: &str, error: mail_send::Error) -> SendError {
        use mail_send::Error;
        let host = &self.host;
        SendError::passing(match error {
            Error::UnexpectedReply(reply) => return self.refused(step, &reply),
            Error::Timeout => format!("{step}: no response of {host} within {}", span(TIMEOUT)),
            Error::UnparseableReply => {
                format!("{step}: {host} closed the connection, or its response is not SMTP")
            }
            Error::Io(error) => format!("{step}: {}", chain(&error)),
            Error::Tls(error) => {
                let unknown = matches!(
                    &*error,
                    rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer)
                );
                let hint = if unknown {
                    "; for a private CA, or a certificate signed by itself, give ca_file"
                } else {
                    ""
                };
                format!("{step}: {host}: {}{hint}", chain(&*error))
            }
            error => format!("{step}: {}", chain(&error)),
        })
    }

    fn refused(&self, step: &str, reply: &Response<String>) -> SendError {
        SendError::passing(format!("{step}: {}", self.redacted(reply)))
    }

    /// Returns the digits of an answer and its text, without secrets.
    fn redacted(&self, reply: &Response<String>) -> String {
        let mut text = reply.message().split_whitespace().collect::<Vec<_>>().join(" ");
        if let Some((user, password)) = &self.user {
            let password = password.expose_secret();
            let plain = STANDARD.encode(format!("\0{user}\0{password}"));
            let secrets = [plain, STANDARD.encode(password), password.to_owned()];
            for secret in secrets.iter().filter(|secret| secret.len() >= SECRET_PART) {
                text = text.replace(secret.as_str(), "***");
            }
        }
        let enhanced = match reply.esc {
            [0, ..] => String::new(),
            [class, subject, detail] => format!(" {class}.{subject}.{detail}"),
        };
        shown(format!("{}{enhanced} {text}", reply.code()).trim_end(), LONGEST_ANSWER)
    }
}

/// The connection below SMTP.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// Returns whether the connection is encrypted if it must be.
fn no_tls() -> SendError {
    SendError::passing("no TLS can be spoken")
}

/// Returns the whole name of this machine, if it has one.
fn own_name() -> Option<String> {
    let name = gethostname::gethostname();
    full_name(name.to_str()?, &fs::read_to_string("/etc/hosts").unwrap_or_default())
}

/// Returns the whole name for a machine's name: itself, or the one beside it in `/etc/hosts`, as
/// `hostname --fqdn` does.
fn full_name(name: &str, hosts: &str) -> Option<String> {
    let is_whole = |name: &&str| {
        is_full_host_name(name)
            && name.parse::<IpAddr>().is_err()
            && !name.ends_with(".localdomain")
            && !name.ends_with(".localhost")
    };
    if name.contains('.') {
        return Some(name).filter(is_whole).map(str::to_owned);
    }
    let names = |line: &'_ str| -> Vec<String> {
        let line = line.split('#').next().unwrap_or_default();
        line.split_whitespace().skip(1).map(str::to_owned).collect()
    };
    let of_the_machine = |names: &Vec<String>| names.iter().any(|known| known == name);
    let line = hosts.lines().map(names).find(of_the_machine)?;
    line.iter().map(String::as_str).find(is_whole).map(str::to_owned)
}

/// Returns an address as SMTP writes it in place of a name.
fn literal(address: SocketAddr) -> String {
    match address.ip().to_canonical() {
        IpAddr::V4(address) => format!("[{address}]"),
        IpAddr::V6(address) => format!("[IPv6:{address}]"),
    }
}

impl Channel for Email {
    fn kind(&self) -> &'static str {
        "email"
    }

    fn details(&self) -> usize {
        50
    }

    fn send<'a>(&'a self, message: &'a Message) -> Sending<'a> {
        Box::pin(async move {
            let email = self.email(message)?;
            self.deliver(&email.formatted()).await
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_greets_with_its_whole_name_or_with_its_address() {
        for (name, hosts, greeted) in [
            ("logs.example.com", "", Some("logs.example.com")),
            (
                "logs",
                "127.0.0.1 localhost\n127.0.1.1 logs.example.com logs # this one\n",
                Some("logs.example.com"),
            ),
            ("logs", "127.0.1.1 logs\n", None),
            ("logs", "127.0.1.1 logs.localdomain logs\n", None),
            ("logs", "127.0.1.1 other.example.com other\n", None),
            ("localhost.localdomain", "", None),
            ("bad_name.example.com", "", None),
            ("", "", None),
        ] {
            assert_eq!(full_name(name, hosts).as_deref(), greeted, "{name}");
        }
        assert_eq!(literal("192.0.2.1:25".parse().unwrap()), "[192.0.2.1]");
        assert_eq!(literal("[::ffff:192.0.2.1]:25".parse().unwrap()), "[192.0.2.1]");
        assert_eq!(literal("[2001:db8::1]:25".parse().unwrap()), "[IPv6:2001:db8::1]");
    }
}
