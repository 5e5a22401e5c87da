//! The client of the CSS API: requests out, model values or errors by meaning back.
//!
//! Beside it are the clients of the sources of keys: [`iam`] and [`metadata`].
//!
//! A client has an endpoint, a project and a credential ([`Options`]), and implements [`Css`]. A
//! read is repeated a few times after temporary errors; a PUT is sent once, and its result is a
//! [`Delivery`]: an answer with its meaning, by the one table in [`meaning`].
//!
//! ```text
//!   Client ─► pace ─► credential ─► request + sign ─► Transport ─► wire ─► model
//!             place    circuit:       pure              http          lenient where the API
//!             & rate   alone, proven                                 varies, strict on ids
//! ```
//!
//! # Guarantees
//!
//! - A PUT is never sent twice: not by the retry loop (which handles reads only), not by reqwest,
//!   not by the connection pool ([`http`] says what guarantees it).
//! - No redirect is followed, no proxy of the environment used, no certificate left unchecked, no
//!   compression offered.
//! - An answer that cannot be read is never an empty list, and an incomplete list never looks
//!   complete.
//! - A refused credential is not tried again until its pause is over, and an unproven one is sent
//!   alone ([`credential`]).
//! - No key, token, signature or body is logged. Texts from outside are cut short, made safe to
//!   show, and freed of what they repeat of the key.

use std::fmt;
use std::future::Future;
use std::time::Duration;

use jiff::SignedDuration;

use crate::model::answer::Answer;
use crate::model::cluster::{Cluster, ClusterList};
use crate::model::id::{ClusterId, TaskId};
use crate::model::moment::{Moment, Mono};
use crate::model::task::{Abortable, TaskKind, TaskList};

mod answer;
mod client;
pub mod credential;
pub mod error;
pub mod http;
pub mod iam;
pub mod meaning;
pub mod metadata;
mod pace;
mod pages;
mod paging;
#[doc(hidden)]
pub mod parse;
pub mod project;
mod proxy_circuit;
mod reach;
mod request;
mod retry;
pub mod sign;
pub mod smn;
#[cfg(test)]
mod testing;
mod tls;
pub mod transport;
mod wire;

pub use client::{Client, Options};
pub use credential::{AccessKey, AccountCircuits, AuthToken, Credential};
pub use error::{BuildError, CloudError, Refusal};
pub use project::ProjectSource;
pub use proxy_circuit::ProxyCircuit;
pub use reach::Reach;
pub use wire::shape::BodyKind;

/// Is notified of every request that was sent.
pub trait Meter: fmt::Debug + Send + Sync + 'static {
    /// Takes in the end of one request. `result`: `ok` for a complete successful answer, or the
    /// [code](CloudError::code) of the error.
    fn call(&self, operation: &'static str, result: &'static str, took: Duration);
}

/// The calls of the API.
pub trait Css: Send + Sync + 'static {
    /// Returns all clusters of the project. Whether the list is complete is
    /// [`ClusterList::is_complete`].
    ///
    /// # Errors
    /// If a page of the list could not be read.
    fn clusters(&self) -> impl Future<Output = Result<ClusterList, CloudError>> + Send;

    /// Returns one cluster.
    ///
    /// # Errors
    /// [`CloudError::Gone`] if it is gone or hidden, or any other error of the request.
    fn cluster(&self, id: &ClusterId) -> impl Future<Output = Result<Cluster, CloudError>> + Send;

    /// Returns the tasks of one kind of a cluster, and the moment before the first request for them
    /// was sent: the state in the answers may be as old as that. Whether the list is complete is
    /// [`TaskList::is_complete`].
    ///
    /// # Errors
    /// If a page of the list could not be read. An unreadable answer is an error too, never an
    /// empty list.
    fn tasks(
        &self,
        cluster: &ClusterId,
        kind: TaskKind,
    ) -> impl Future<Output = Result<(Moment, TaskList), CloudError>> + Send;

    /// Takes what a PUT needs before it may be sent: a proven credential, a place in flight, the
    /// rate. So nothing waits between the commit of an intent and its PUT. An unused one is simply
    /// dropped.
    ///
    /// Take it after the second poll, and read nothing while holding it: with one place in flight
    /// that read would wait for ever. It may wait for reads, so check the age of the poll after it.
    ///
    /// # Errors
    /// [`CloudError::CredentialUnproven`] if nothing has been read yet since the start, a reload or
    /// a pause, and [`CloudError::CredentialResting`]; [`CloudError::Transport`] if the system
    /// allows no further connection.
    fn permit(&self) -> impl Future<Output = Result<Permit, CloudError>> + Send;

    /// Sends the retry of a task, once.
    ///
    /// Cancel safety: none. A dropped future may have sent it.
    fn retry(
        &self,
        cluster: &ClusterId,
        task: &TaskId,
        permit: Permit,
    ) -> impl Future<Output = Delivery> + Send;

    /// Sends the abort of a task, once.
    ///
    /// Cancel safety: none. A dropped future may have sent it.
    fn abort(
        &self,
        cluster: &ClusterId,
        task: &Abortable,
        permit: Permit,
    ) -> impl Future<Output = Delivery> + Send;

    /// Returns how many requests may begin in a second now: fewer than the limit after a 429.
    /// `None` if there is no limit.
    fn requests_per_second(&self) -> Option<f64> {
        None
    }

    /// Returns the state of the credential, for people; `None` if there is none.
    fn credential(&self) -> Option<String> {
        None
    }

    /// Returns by how much our wall clock is ahead of the API's, from the `Date` of the latest
    /// answer, to the second. `None` before there was one. Known after a refusal too: a wrong clock
    /// is a common cause of one.
    fn clock_offset(&self) -> Option<SignedDuration>;
}

/// Permission to send one PUT, without any more waiting. It holds its place in flight until it is
/// dropped.
#[derive(Debug)]
#[must_use = "it holds a place in flight"]
pub struct Permit {
    place: Option<pace::Place>,
    /// The reserved descriptor of its connection, so that a journaled PUT does not fail for want of
    /// one.
    reserve: transport::Reserve,
    /// Absent: at any time.
    span: Option<SendingSpan>,
}

/// When a PUT may be sent and answered: so that it ends before it can count as not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SendingSpan {
    /// Its first byte is sent by then, or none is.
    pub begins_by: Mono,
    /// Its answer is not waited for any longer.
    pub over_by: Mono,
}

impl SendingSpan {
    /// The part of the time from the intent to the confirmation by polls that is for beginning, …
    const SHARE: u32 = 4;
    /// … and never more than this.
    const AT_MOST: Duration = Duration::from_secs(5);

    /// Returns that of a PUT whose intent was about to be committed at `intended`, and which counts
    /// as not accepted `settle_timeout` later if its task shows no effect.
    pub fn new(intended: Moment, settle_timeout: Duration) -> Self {
        let begins_by = intended.mono.after((settle_timeout / Self::SHARE).min(Self::AT_MOST));
        Self { begins_by, over_by: intended.mono.after(settle_timeout) }
    }
}

impl Permit {
    /// Makes a permit that holds no place: for another [`Css`] than [`Client`], such as one for
    /// tests.
    pub fn without_place() -> Self {
        Self { place: None, reserve: transport::Reserve::default(), span: None }
    }

    /// Returns the same, for a PUT that must be sent within this span.
    pub fn within(self, span: SendingSpan) -> Self {
        Self { span: Some(span), ..self }
    }
}

/// The result of a PUT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivery {
    /// It was sent, or may have been: its answer, or [that there is none](Answer::none).
    Sent(Answer),
    /// It certainly never reached the API: the credential was paused, there was no connection, or
    /// it was too late. Why, with all causes.
    NotSent(String),
}
