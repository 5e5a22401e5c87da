//! What an answer to one of our PUTs means.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::text::{shown, span};

/// The meaning of an answer: one word for each reaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Meaning {
    /// 200 without an errCode: the task will run again, or is aborted.
    Accepted,
    /// Not accepted: another operation runs, or the state does not allow it. Retry later.
    Busy,
    /// The task or cluster is gone, or the credential may not see it: one code for both.
    GoneOrForbidden,
    /// The answer does not come from the CSS API: a wrong address or a proxy. It concerns the whole
    /// project.
    WrongAddress,
    /// Not acceptable as it is; never to be repeated for this failure.
    NotAcceptable,
    /// The signature or token was refused before the CSS API received the request.
    Unauthorized,
    /// Forbidden for this cluster, as far as one answer shows.
    ForbiddenCluster,
    /// Forbidden for the whole project, by its code.
    ForbiddenProject,
    /// The request may have been accepted or not: only polls can confirm it.
    Unknown,
}

impl Meaning {
    /// Returns the meaning in words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Busy => "not accepted, the CSS API is busy",
            Self::GoneOrForbidden => "gone or forbidden",
            Self::WrongAddress => "not answered by the CSS API",
            Self::NotAcceptable => "not accepted",
            Self::Unauthorized => "credential refused",
            Self::ForbiddenCluster => "forbidden for the cluster",
            Self::ForbiddenProject => "forbidden for the project",
            Self::Unknown => "outcome unknown",
        }
    }

    /// The stable word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Busy => "busy",
            Self::GoneOrForbidden => "gone-or-forbidden",
            Self::WrongAddress => "wrong-address",
            Self::NotAcceptable => "not-acceptable",
            Self::Unauthorized => "unauthorized",
            Self::ForbiddenCluster => "forbidden-cluster",
            Self::ForbiddenProject => "forbidden-project",
            Self::Unknown => "unknown",
        }
    }
}

/// An answer to one PUT, or the lack of one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// What it means.
    pub meaning: Meaning,
    /// The HTTP status, where an answer came.
    pub status: Option<u16>,
    /// The error code of the body, such as `CSS.0078` or `APIGW.0308`.
    pub code: Option<String>,
    /// The body's message, or what happened to the connection. Never longer than a few hundred characters.
    pub message: String,
    /// The `X-Request-Id`, for the provider's support.
    pub request_id: Option<String>,
    /// The wait that the server asked for.
    pub retry_after: Option<Duration>,
}

impl Answer {
    /// No answer came, for the reason in `message`: the PUT may have been accepted or not.
    pub fn none(message: String) -> Self {
        Self {
            meaning: Meaning::Unknown,
            status: None,
            code: None,
            message,
            request_id: None,
            retry_after: None,
        }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.status {
            Some(status) => write!(f, "{status}")?,
            None => f.write_str("no response")?,
        }
        if let Some(code) = &self.code {
            write!(f, " {}", shown(code, 40))?;
        }
        // More text follows, so the API's own full stop is dropped.
        let message = self.message.trim_end().trim_end_matches('.');
        if !message.is_empty() {
            write!(f, ": {}", shown(message, 200))?;
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
