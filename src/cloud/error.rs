//! Why a call failed, by meaning: one variant for each reaction, not for each cause.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::tls;
use super::transport::{Cause, TransportError};
use super::wire::shape::BodyKind;
use crate::model::moment::Moment;
use crate::model::text::{shown, span, utc};

/// An answer that is not the requested one, for messages and for the provider's support.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// The body's error code, such as `CSS.0015` or `APIGW.0308`.
    pub code: Option<String>,
    /// The body's message, or what the body was; a few hundred characters at most.
    pub message: String,
    /// The `X-Request-Id`.
    pub request_id: Option<String>,
    /// The wait that the API asked for.
    pub retry_after: Option<Duration>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.status)?;
        if let Some(code) = &self.code {
            write!(f, " {}", shown(code, 64))?;
        }
        if !self.message.is_empty() {
            write!(f, " ({})", shown(&self.message, 300))?;
        }
        if let Some(wait) = self.retry_after {
            write!(f, ", retry after {}", span(wait))?;
        }
        if let Some(id) = &self.request_id {
            write!(f, ", request id {}", shown(id, 80))?;
        }
        Ok(())
    }
}

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum CloudError {
    /// The API could not be reached, or the connection broke. Temporary, or a fault of the network.
    #[error("the API could not be reached")]
    Transport(#[source] TransportError),
    /// The proxy requires a user and password, or others. Needs an operator.
    #[error("the API could not be reached")]
    Proxy(#[source] TransportError),
    /// No answer in time. Temporary, or a fault of the network.
    #[error("the API did not respond in time")]
    Timeout(#[source] TransportError),
    /// The API failed (5xx). Temporary.
    #[error("the API returned a server error: {0}")]
    Server(Refusal),
    /// The API asked to slow down (429): not before `retry_after`.
    #[error("the API throttled the request: {0}")]
    Throttled(Refusal),
    /// The API is busy with another operation, or the cluster is in another state. Retry later.
    #[error("the API is busy: {0}")]
    Busy(Refusal),
    /// The signature or the key was refused (401), and the credential is paused from now on. An
    /// operator must check the key, or this machine's clock.
    #[error("the credential was refused: {0}")]
    Unauthorized(Refusal),
    /// Nothing was sent: the credential is paused after a refusal, so that the API does not lock
    /// its key.
    #[error("the credential was refused and is paused until {}: {refusal}", utc(until.wall))]
    CredentialResting {
        /// When one request may be sent again.
        until: Moment,
        /// The refusal that began the pause.
        refusal: Arc<Refusal>,
    },
    /// Nothing was sent: no answer has proven the credential yet. A read has to come first.
    #[error("no response has shown yet that the credential is accepted")]
    CredentialUnproven,
    /// Nothing was sent: the source of keys (IAM, the metadata service) returned none.
    #[error("signing in failed, so no request was sent")]
    SignIn(#[source] Arc<Self>),
    /// The secrets of a key cannot be read. Needs an operator.
    #[error("the secrets cannot be used: {detail}")]
    Secrets {
        /// What is wrong; it contains no secret.
        detail: String,
    },
    /// A returned key has no time left. An operator must check the clocks.
    #[error("the temporary key has expired, or is about to")]
    SpentKey,
    /// The machine has no agency, so its metadata service has no keys. An operator must set one up.
    #[error("this machine has no agency: {0}")]
    NoAgency(Refusal),
    /// The region does not identify the project. An operator must configure its id.
    #[error("the id of the project is not known: {detail}")]
    NoProject {
        /// How many there are, and which.
        detail: String,
    },
    /// Not allowed for this key or this project (403 and some codes). An operator must check the
    /// rights.
    #[error("the API refused the request as forbidden: {0}")]
    Forbidden(Refusal),
    /// The cluster or task is gone, or hidden from this key: the API has one code for both.
    #[error("the requested object is gone, or hidden from this credential: {0}")]
    Gone(Refusal),
    /// Another server than the API answered: a wrong endpoint, or a proxy. Needs an operator.
    #[error("something other than the API answered: {0}")]
    WrongAddress(Refusal),
    /// The API does not accept the request. Repeating it does not help.
    #[error("the API does not accept the request: {0}")]
    Refused(Refusal),
    /// The answer is not what the API describes, or too long. It means nothing, and never 'none'.
    #[error("the response cannot be read: {detail}")]
    Unreadable {
        /// What was found instead.
        detail: String,
        /// The `X-Request-Id`.
        request_id: Option<String>,
    },
}

impl CloudError {
    /// The stable word.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Transport(_) => "transport",
            Self::Proxy(_) => "proxy",
            Self::Timeout(_) => "timeout",
            Self::Server(_) => "server-error",
            Self::Throttled(_) => "throttled",
            Self::Busy(_) => "busy",
            Self::Unauthorized(_) => "unauthorized",
            Self::CredentialResting { .. } => "credential-resting",
            Self::CredentialUnproven => "credential-unproven",
            Self::SignIn(_) => "sign-in",
            Self::Secrets { .. } => "secrets",
            Self::SpentKey => "spent-key",
            Self::NoAgency(_) => "no-agency",
            Self::NoProject { .. } => "no-project",
            Self::Forbidden(_) => "forbidden",
            Self::Gone(_) => "gone",
            Self::WrongAddress(_) => "wrong-address",
            Self::Refused(_) => "refused",
            Self::Unreadable { .. } => "unreadable",
        }
    }

    /// Returns its answer, if one came.
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Server(refusal)
            | Self::Throttled(refusal)
            | Self::Busy(refusal)
            | Self::Unauthorized(refusal)
            | Self::Forbidden(refusal)
            | Self::Gone(refusal)
            | Self::WrongAddress(refusal)
            | Self::NoAgency(refusal)
            | Self::Refused(refusal) => Some(refusal),
            Self::CredentialResting { refusal, .. } => Some(refusal),
            Self::SignIn(cause) => cause.refusal(),
            Self::Transport(_)
            | Self::Proxy(_)
            | Self::Timeout(_)
            | Self::CredentialUnproven
            | Self::Secrets { .. }
            | Self::SpentKey
            | Self::NoProject { .. }
            | Self::Unreadable { .. } => None,
        }
    }

    /// Returns the wait that the API asked for, if any.
    pub fn retry_after(&self) -> Option<Duration> {
        self.refusal().and_then(|refusal| refusal.retry_after)
    }

    /// Returns whether the same read may succeed a moment later: transport, time limit, 5xx, 429.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Transport(_) | Self::Timeout(_) | Self::Server(_) | Self::Throttled(_) => true,
            Self::SignIn(cause) => cause.is_passing(),
            _ => false,
        }
    }

    /// The word of [`Self::trouble`] for an error that withholds a valid key.
    pub const OF_THE_CREDENTIAL: &'static str = "credential";

    /// Returns what to do if a connection failed because of TLS. `ca_file`: whether one is
    /// configured, if known.
    pub fn tls_advice(&self, ca_file: Option<bool>) -> Option<String> {
        match self {
            Self::Transport(TransportError::Connect(cause)) => tls::advice(&**cause, ca_file),
            Self::SignIn(cause) => cause.tls_advice(ca_file),
            _ => None,
        }
    }

    /// Returns the fault, as one word for each different step of an operator, and that step.
    pub fn trouble(&self) -> (&'static str, Cow<'static, str>) {
        let (word, usual) = self.usual_trouble();
        (word, self.tls_advice(None).map_or(Cow::Borrowed(usual), Cow::Owned))
    }

    fn usual_trouble(&self) -> (&'static str, &'static str) {
        match self {
            Self::Unauthorized(_) | Self::CredentialResting { .. } | Self::CredentialUnproven => (
                Self::OF_THE_CREDENTIAL,
                "check the keys of its credentials and this machine's clock, then reload; the daemon tries again \
                 automatically, seldom enough not to lock the key",
            ),
            Self::Secrets { .. } => {
                (Self::OF_THE_CREDENTIAL, "check the files and variables of its credentials, then reload")
            }
            Self::SpentKey => {
                (Self::OF_THE_CREDENTIAL, "check this machine's clock; the daemon tries again automatically")
            }
            Self::NoAgency(_) => (
                Self::OF_THE_CREDENTIAL,
                "set an agency for this machine in the console (Elastic Cloud Server), or use other credentials",
            ),
            Self::NoProject { .. } => ("project-id", "give its project_id, then reload"),
            Self::SignIn(cause) => match &**cause {
                Self::Transport(_) | Self::Timeout(_) => (
                    "sign-in",
                    "check its iam_endpoint (or this machine's metadata service) and the network; the daemon tries again \
                     automatically",
                ),
                Self::Forbidden(_) | Self::Refused(_) | Self::Gone(_) => (
                    "sign-in",
                    "check the names in its credentials, and that they may assume the agency (Agent Operator)",
                ),
                Self::WrongAddress(_) => ("sign-in", "check its iam_endpoint"),
                cause => cause.usual_trouble(),
            },
            Self::Forbidden(_) | Self::Gone(_) => (
                "permission",
                "check that its credentials have css:cluster:list and css:cluster:listUpgradeCluster in this project",
            ),
            Self::Proxy(TransportError::Proxy { advice, .. }) => ("proxy", advice),
            Self::WrongAddress(_) => ("address", "check its endpoint, and any proxy before it"),
            Self::Transport(_) | Self::Timeout(_) | Self::Proxy(_) => (
                "unreachable",
                "check its endpoint, the name service and the network; the daemon tries again automatically",
            ),
            Self::Throttled(_) => (
                "throttled",
                "lower limits.requests_per_second, or ask for a higher quota; the daemon tries again automatically",
            ),
            Self::Server(_) | Self::Busy(_) => ("service", "the daemon tries again automatically"),
            Self::Refused(_) | Self::Unreadable { .. } => {
                ("answer", "the response differs from the API's documentation: please report this")
            }
        }
    }

    /// Returns the meaning of an answer to a read that is not the requested one. For a PUT there is
    /// `meaning`: its codes decide whether the request counts, and are judged more narrowly.
    pub(super) fn from_answer(refusal: Refusal, body: BodyKind) -> Self {
        let code = refusal.code.as_deref().unwrap_or_default();
        match (refusal.status, code) {
            // These have their meaning from the status, whatever the body.
            (401, _) => Self::Unauthorized(refusal),
            (429, _) => Self::Throttled(refusal),
            (500.., _) => Self::Server(refusal),
            (300..=399 | 405, _) => Self::WrongAddress(refusal),
            (403, "CSS.0015") | (_, "CSS.0047" | "CSS.0082") => Self::Gone(refusal),
            (403, _) | (_, "CSS.0010" | "CSS.0021" | "CSS.0051" | "CSS.5045") => Self::Forbidden(refusal),
            (404, code) if code.starts_with("CSS.") => Self::Gone(refusal),
            (404, _) => Self::WrongAddress(refusal),
            (_, "CSS.0011")
            | (409, _)
            | (400 | 415, "CSS.0036" | "CSS.0077" | "CSS.0078" | "CSS.5090" | "CSS.5140" | "CSS.0004") => {
                Self::Busy(refusal)
            }
            (400.., _) if body != BodyKind::Error => Self::WrongAddress(refusal),
            (_, "") => Self::Unreadable { detail: refusal.to_string(), request_id: refusal.request_id },
            _ => Self::Refused(refusal),
        }
    }

    /// Returns the code of the result of [`Self::from_transport`].
    pub(super) fn code_without_answer(error: &TransportError) -> &'static str {
        match error {
            TransportError::TooLong { .. } => "unreadable",
            TransportError::Encoded { .. } => "wrong-address",
            TransportError::Timeout(_) => "timeout",
            TransportError::Proxy { .. } => "proxy",
            TransportError::Invalid(_)
            | TransportError::TooLate(_)
            | TransportError::Connect(_)
            | TransportError::Broken(_) => "transport",
        }
    }

    /// Returns the error of an answer that is missing or incomplete.
    pub(super) fn from_transport(error: TransportError, request_id: Option<String>) -> Self {
        match error {
            TransportError::TooLong { .. } | TransportError::Encoded { .. } => {
                Self::Unreadable { detail: error.to_string(), request_id }
            }
            TransportError::Timeout(_) => Self::Timeout(error),
            TransportError::Proxy { .. } => Self::Proxy(error),
            TransportError::Invalid(_)
            | TransportError::TooLate(_)
            | TransportError::Connect(_)
            | TransportError::Broken(_) => Self::Transport(error),
        }
    }
}

/// Why an endpoint cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// It is no URL.
    #[error("endpoint {endpoint:?} is not a URL")]
    Url {
        /// The configured text.
        endpoint: String,
        /// What the parser said.
        #[source]
        source: Cause,
    },
    /// It is a URL that must not be used.
    #[error("endpoint {endpoint:?} cannot be used: {problem}")]
    Refused {
        /// The configured text; masked if it contained a password.
        endpoint: String,
        /// What is wrong with it.
        problem: &'static str,
    },
}

/// Why a key cannot be used. Never contains the key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// It is empty.
    #[error("the {part} is empty")]
    Empty {
        /// Which part of the key.
        part: &'static str,
    },
    /// It cannot be in a header.
    #[error("the {part} holds a blank, a line break or another character that no key has")]
    Character {
        /// Which part of the key.
        part: &'static str,
    },
}

impl KeyError {
    /// The key of the configuration that this part is of.
    pub fn key(&self) -> &'static str {
        let (Self::Empty { part } | Self::Character { part }) = self;
        match *part {
            "access key" => "access_key",
            "secret key" => "secret_key",
            "security token" => "security_token",
            part => part,
        }
    }

    /// What to do.
    pub fn advice(&self) -> &'static str {
        match self {
            Self::Empty { .. } => "give the key as it was downloaded, in one line",
            Self::Character { .. } => {
                "a key has letters, digits and marks of ASCII: give it as it was downloaded, in one line, without quotes \
                 and blanks"
            }
        }
    }
}

/// Why a client cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The endpoint.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// The private CA file is not PEM.
    #[error("the CA certificates are not PEM")]
    CaFormat(#[source] Cause),
    /// The private CA file holds no certificate.
    #[error("the CA file holds no certificate")]
    CaEmpty,
    /// The TLS set-up: a private CA's certificate that cannot be used, or no certificates on this system.
    #[error("the HTTPS client cannot be built")]
    Http(#[source] Cause),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn means(status: u16, code: &str, body: BodyKind) -> &'static str {
        let code = (!code.is_empty()).then(|| code.to_owned());
        let refusal = Refusal { status, code, message: String::new(), request_id: None, retry_after: None };
        CloudError::from_answer(refusal, body).code()
    }

    #[test]
    fn every_answer_has_its_meaning() {
        use BodyKind::{Empty, Error, Json, Other};
        for (status, code, body, meaning) in [
            (401, "APIGW.0301", Error, "unauthorized"),
            (401, "", Other, "unauthorized"),
            (401, "CSS.0047", Error, "unauthorized"),
            (429, "APIGW.0308", Error, "throttled"),
            (429, "", Other, "throttled"),
            (403, "CSS.0015", Error, "gone"),
            (403, "CSS.0010", Error, "forbidden"),
            (403, "APIGW.0302", Error, "forbidden"),
            (403, "", Other, "forbidden"),
            (400, "CSS.0021", Error, "forbidden"),
            (400, "CSS.0051", Error, "forbidden"),
            (400, "CSS.0047", Error, "gone"),
            (400, "CSS.0082", Error, "gone"),
            (404, "CSS.0007", Error, "gone"),
            (404, "APIGW.0101", Error, "wrong-address"),
            (404, "", Empty, "wrong-address"),
            (404, "", Other, "wrong-address"),
            (404, "404", Error, "wrong-address"),
            (405, "CSS.0001", Error, "wrong-address"),
            (301, "", Empty, "wrong-address"),
            (302, "CSS.0015", Error, "wrong-address"),
            (400, "", Other, "wrong-address"),
            (400, "", Json, "wrong-address"),
            (400, "CSS.0001", Error, "refused"),
            (422, "CSS.0040", Error, "refused"),
            (400, "CSS.0078", Error, "busy"),
            (415, "CSS.0004", Error, "busy"),
            (409, "CSS.0029", Error, "busy"),
            (409, "", Other, "busy"),
            (202, "CSS.0011", Error, "busy"),
            (200, "CSS.0047", Error, "gone"),
            (200, "CSS.0001", Error, "refused"),
            (200, "", Other, "unreadable"),
            (202, "", Json, "unreadable"),
            (204, "", Empty, "unreadable"),
            (500, "CSS.0005", Error, "server-error"),
            (500, "CSS.0015", Error, "server-error"),
            (502, "", Other, "server-error"),
            (503, "CSS.0011", Error, "server-error"),
        ] {
            assert_eq!(means(status, code, body), meaning, "{status} {code} {body:?}");
        }
    }
}
