//! The channels: each turns a message into the form of its receiver, sends it once, and returns the
//! result.
//!
//! Nothing here retries, waits or remembers: the channel worker does. A URL is a secret: no error
//! and no `Debug` output contains it.

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

/// What a channel returns after it has sent.
pub type Sending<'a> = Pin<Box<dyn Future<Output = Result<Taken, SendError>> + Send + 'a>>;

/// A message was accepted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Taken {
    /// The receivers that did not accept it while others did, with the reasons.
    pub refused: BTreeMap<String, String>,
}

/// A channel.
pub trait Channel: Send + Sync + 'static {
    /// The word under `type` in the configuration.
    fn kind(&self) -> &'static str;

    /// Sends a message, once.
    fn send<'a>(&'a self, message: &'a Message) -> Sending<'a>;

    /// Returns how many notices of one message it can show in full.
    fn details(&self) -> usize {
        10
    }

    /// Takes the lasting states, as they were before this process began.
    fn stands(&self, _notices: Vec<Notice>) {}

    /// Returns the tasks of the lasting states that are sent again.
    fn lasting(&self) -> Vec<Subject> {
        Vec::new()
    }

    /// Takes the present outlook of one of them, in words.
    fn comes_next(&self, _subject: &Subject, _next: &str) {}

    /// Returns how often the lasting states are to be sent again, for a receiver that forgets.
    fn repeats(&self) -> Option<Duration> {
        None
    }

    /// Sends them again, if there are any.
    fn repeat(&self, _now: jiff::Timestamp) -> Option<Sending<'_>> {
        None
    }
}

/// Why a message was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct SendError {
    /// The receiver refuses this message; a shorter one may be accepted.
    pub refused: bool,
    /// The text of the answer, without any secret.
    pub detail: String,
    /// The wait that the receiver asked for.
    pub retry_after: Option<Duration>,
}

impl SendError {
    /// The message may be accepted later.
    pub fn passing(detail: impl Into<String>) -> Self {
        Self { refused: false, detail: detail.into(), retry_after: None }
    }

    /// The receiver answered with a refusal.
    pub fn refused(detail: impl Into<String>) -> Self {
        Self { refused: true, detail: detail.into(), retry_after: None }
    }
}
