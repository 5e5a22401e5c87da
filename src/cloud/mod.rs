//! The client of the CSS API: requests out, model values or errors by meaning back.
//!
//! Beside it stand the clients of those who give out keys: [`iam`] and [`metadata`].
//!
//! It takes an endpoint, a project and a credential ([`Options`]), and gives what [`Css`] says. A reading is
//! repeated a little while its errors are passing ones; a PUT is sent once, and what came back is a [`Delivery`]: an
//! answer with its meaning, by the one table in [`meaning`].
//!
//! ```text
//!   Client ─► pace ─► credential ─► request + sign ─► Transport ─► wire ─► model
//!             place    gate: alone,   pure              http          lenient where the API
//!             & rate   proven, rests                                  varies, strict on ids
//! ```
//!
//! # What is never done
//!
//! - A PUT is never sent twice, by nobody: not by the retry loop (which knows readings only), not by reqwest, not
//!   by the connection pool ([`http`] says what guarantees it).
//! - No redirect is followed, no proxy of the environment used, no certificate left unchecked, no compression
//!   offered.
//! - An answer that cannot be read is never an empty list, and a short list never looks complete.
//! - A refused credential is not tried again until it has rested, and an unproven one goes out alone
//!   ([`credential`]).
//! - No key, token, signature or body is logged. A stranger's texts are cut short, made safe to show, and rid of
//!   what they repeat of the key.

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

/// Hears of every request that was sent.
pub trait Meter: fmt::Debug + Send + Sync + 'static {
    /// One request is over. `result`: `ok` for a whole answer that grants what was asked, or the [code](CloudError::code) of the error.
    fn call(&self, operation: &'static str, result: &'static str, took: Duration);
}

/// The calls of the API that are made.
pub trait Css: Send + Sync + 'static {
    /// All clusters of the project. Whether they are all is [`ClusterList::is_complete`].
    ///
    /// # Errors
    /// Where a page of the list could not be had.
    fn clusters(&self) -> impl Future<Output = Result<ClusterList, CloudError>> + Send;

    /// One cluster.
    ///
    /// # Errors
    /// [`CloudError::Gone`] where it is gone or hidden, or whatever else kept the answer away.
    fn cluster(&self, id: &ClusterId) -> impl Future<Output = Result<Cluster, CloudError>> + Send;

    /// The tasks of one kind of a cluster, and the moment before the first request for them left: what they show may be
    /// as old as that. Whether they are all is [`TaskList::is_complete`].
    ///
    /// # Errors
    /// Where a page of the list could not be had. What cannot be read is an error too, never an empty list.
    fn tasks(
        &self,
        cluster: &ClusterId,
        kind: TaskKind,
    ) -> impl Future<Output = Result<(Moment, TaskList), CloudError>> + Send;

    /// Takes whatever a PUT needs before it may leave: a proven credential, a place in flight, the rate. So
    /// nothing waits between the commit of an intent and its PUT. One that is not used is simply dropped.
    ///
    /// Take it after the fresh reading, and read nothing while holding it: with one place in flight that reading
    /// would wait for ever. It may have to wait its turn behind readings, so judge the reading's age after it.
    ///
    /// # Errors
    /// [`CloudError::CredentialUnproven`] where nothing has been read yet since the start, a reload or a rest, and
    /// [`CloudError::CredentialResting`]; [`CloudError::Transport`] where the system gives no further connection.
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

    /// How many requests may begin in a second, as of now: fewer than the limit after a 429. `None` where nothing
    /// limits them.
    fn requests_per_second(&self) -> Option<f64> {
        None
    }

    /// How the credential stands, for people; `None` where there is none.
    fn credential(&self) -> Option<String> {
        None
    }

    /// By how much our wall clock is ahead of the service's, from the `Date` of the latest answer, to the second.
    /// `None` before there was one. Known after a refusal too: a wrong clock is a common cause of one.
    fn clock_offset(&self) -> Option<SignedDuration>;
}

/// Leave to send one PUT, without any more waiting. It holds its place in flight until it is dropped.
#[derive(Debug)]
#[must_use = "it holds a place in flight"]
pub struct Permit {
    place: Option<pace::Place>,
    /// What its connection takes from the system. A PUT that was journaled must not find that there is nothing left.
    reserve: transport::Reserve,
    /// Absent: at any time.
    span: Option<SendingSpan>,
}

/// When a PUT may be under way: so that it is over before anybody counts it as not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SendingSpan {
    /// Its first byte leaves by then, or none does.
    pub begins_by: Mono,
    /// Its answer is not waited for any longer.
    pub over_by: Mono,
}

impl SendingSpan {
    /// Of the time from the intent on to when its outcome is told by polls, so much is for beginning, …
    const SHARE: u32 = 4;
    /// … and never more than this.
    const AT_MOST: Duration = Duration::from_secs(5);

    /// That of a PUT whose intent was about to be committed at `intended`, and which counts as not accepted
    /// `settle_timeout` later if its task shows no effect.
    pub fn new(intended: Moment, settle_timeout: Duration) -> Self {
        let begins_by = intended.mono.after((settle_timeout / Self::SHARE).min(Self::AT_MOST));
        Self { begins_by, over_by: intended.mono.after(settle_timeout) }
    }
}

impl Permit {
    /// A permit that holds no place: for another [`Css`] than [`Client`], such as one for tests.
    pub fn without_place() -> Self {
        Self { place: None, reserve: transport::Reserve::default(), span: None }
    }

    /// The same, for a PUT that must be sent within this span.
    pub fn within(self, span: SendingSpan) -> Self {
        Self { span: Some(span), ..self }
    }
}

/// What became of a PUT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivery {
    /// It left, or may have left: its answer, or [that there is none](Answer::none).
    Sent(Answer),
    /// It certainly never reached the service: the credential began to rest, there was no connection, or it was too late. Why,
    /// with all causes.
    NotSent(String),
}
