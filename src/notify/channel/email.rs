//! Email over SMTP.
//!
//! With a user, the connection must be encrypted: by TLS from its first byte at port 465, else by STARTTLS. Without
//! one it is where the server offers it. To a loopback address it need not be.

use std::fmt;
use std::time::{Duration, SystemTime};

use lettre::message::Mailbox;
use lettre::message::header::ContentType;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Tls, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::{Address, AsyncSmtpTransport, AsyncTransport as _, Tokio1Executor};

use super::{Channel, SendError, Sending};
use crate::model::secret::{ExposeSecret as _, Secret};
use crate::model::text::{chain, shown};
use crate::notify::message::Message;

const TIMEOUT: Duration = Duration::from_secs(20);
const TLS_PORT: u16 = 465;
const SUBMISSION_PORT: u16 = 587;
const RELAY_PORT: u16 = 25;
/// A line that mail programs still show whole.
const SUBJECT: usize = 200;

/// What is needed to send email.
#[derive(Debug)]
pub struct EmailOptions {
    /// The server.
    pub host: String,
    /// Its port; 587 with a user and 25 without one where it is absent.
    pub port: Option<u16>,
    /// Who signs in, with the password.
    pub user: Option<(String, Secret)>,
    /// The sender.
    pub from: String,
    /// The receivers.
    pub to: Vec<String>,
}

/// Why email cannot be sent with these options.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EmailFault {
    /// A text that is no address.
    #[error("\"{0}\" is no address")]
    Address(String),
    /// A host that is none, or no certificates on this machine.
    #[error("no TLS can be spoken with the host: {0}")]
    Tls(String),
}

/// Sends email.
pub struct Email {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
    to: Vec<Mailbox>,
}

impl fmt::Debug for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Email").field("from", &self.from).field("to", &self.to).finish_non_exhaustive()
    }
}

/// Whether a text is an address, with or without a name before it.
///
/// # Errors
/// Where it is not.
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

impl Email {
    /// With these options. Connects to nothing.
    ///
    /// # Errors
    /// Where an address or the host is none.
    pub fn new(options: EmailOptions) -> Result<Self, EmailFault> {
        let EmailOptions { host, port, user, from, to } = options;
        let port = port.unwrap_or(if user.is_some() { SUBMISSION_PORT } else { RELAY_PORT });
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let loopback = bare == "localhost"
            || bare.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
        // lettre takes the process's provider.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let tls = if loopback && port != TLS_PORT {
            Tls::None
        } else {
            let parameters =
                TlsParameters::new(host.clone()).map_err(|error| EmailFault::Tls(chain(&error)))?;
            match (port, &user) {
                (TLS_PORT, _) => Tls::Wrapper(parameters),
                (_, Some(_)) => Tls::Required(parameters),
                (_, None) => Tls::Opportunistic(parameters),
            }
        };
        let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(bare)
            .port(port)
            .tls(tls)
            .timeout(Some(TIMEOUT))
            .hello_name(ClientId::Domain("upgrade-remediator".to_owned()));
        if let Some((user, password)) = user {
            builder = builder.credentials(Credentials::new(user, password.expose_secret().to_owned()));
        }
        let from = mailbox(&from)?;
        let to = to.iter().map(|to| mailbox(to)).collect::<Result<_, _>>()?;
        Ok(Self { transport: builder.build(), from, to })
    }

    /// The email of a message.
    ///
    /// # Errors
    /// Where it cannot be put together.
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
            match self.transport.send(email).await {
                Ok(_) => Ok(()),
                Err(error) => {
                    let detail = shown(&chain(&error), 300);
                    // A reply of 5xx: it will not be taken as it is.
                    Err(SendError { refused: error.is_permanent(), detail, retry_after: None })
                }
            }
        })
    }
}
