//! The channels: each turns a message into what its receiver takes, sends it once, and says what came of it.
//!
//! Nothing here retries, waits or remembers what was told: that is the channel worker's. A URL is a secret: it stands in no
//! error and in no `Debug` output.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

pub mod alertmanager;
pub mod chat;
pub mod email;
mod http;
pub mod smn;
pub mod webhook;

pub use http::{Network, UrlFault};

use super::message::Message;
use super::notice::Notice;
use crate::model::event::Subject;

/// What a channel gives while it sends.
pub type Sending<'a> = Pin<Box<dyn Future<Output = Result<Taken, SendError>> + Send + 'a>>;

/// A message was taken.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Taken {
    /// Those who do not get it while others do, with why.
    pub refused: BTreeMap<String, String>,
}

/// A way to people.
pub trait Channel: Send + Sync + 'static {
    /// The word under `type` in the configuration.
    fn kind(&self) -> &'static str;

    /// Sends it, once.
    fn send<'a>(&'a self, message: &'a Message) -> Sending<'a>;

    /// How many notices of one message it can tell in full.
    fn details(&self) -> usize {
        10
    }

    /// Takes note of what lasts, as it stood before this process began.
    fn stands(&self, _notices: Vec<Notice>) {}

    /// The tasks of what lasts and is told again.
    fn lasting(&self) -> Vec<Subject> {
        Vec::new()
    }

    /// Takes note of what comes next of one of them by now, in words.
    fn comes_next(&self, _subject: &Subject, _next: &str) {}

    /// How often what lasts is to be told again, for a receiver that forgets.
    fn repeats(&self) -> Option<Duration> {
        None
    }

    /// Tells it again, where there is something.
    fn repeat(&self, _now: jiff::Timestamp) -> Option<Sending<'_>> {
        None
    }
}

/// Why a message was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct SendError {
    /// The receiver answered, and does not want it as it is: less may do.
    pub refused: bool,
    /// What it said, without any secret.
    pub detail: String,
    /// What it asked to wait.
    pub retry_after: Option<Duration>,
}

impl SendError {
    /// It may do later.
    pub fn passing(detail: impl Into<String>) -> Self {
        Self { refused: false, detail: detail.into(), retry_after: None }
    }

    /// It was answered with a no.
    pub fn refused(detail: impl Into<String>) -> Self {
        Self { refused: true, detail: detail.into(), retry_after: None }
    }
}
