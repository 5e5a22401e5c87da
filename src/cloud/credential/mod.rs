//! Credentials: the key of requests, its source, and the circuit before it.
//!
//! More than five refused signatures in a row lock an access key for five minutes, for all its
//! users. So a key that no answer has proven yet is sent alone, once, and all other requests wait
//! for that answer; after a refusal nothing is sent with it for a time (`circuit`).
//!
//! The first request that needs a new key renews it, once for all that wait (`source`). The new one
//! is proven while the old one is still in use, so that no request waits for it.

use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::error::{CloudError, Refusal};
use crate::clock::Clock;
use crate::model::moment::Moment;
use crate::model::text::utc;

pub(in crate::cloud) mod circuit;
pub(in crate::cloud) mod key;
pub(in crate::cloud) mod memory;
pub(in crate::cloud) mod source;

pub use circuit::AccountCircuits;
pub use key::{AccessKey, AuthToken, Key};
pub use memory::Refused;
pub use source::{Fetching, Fresh, LocalSource, ReadKey, Source};

use circuit::{AccountCircuit, Leave, Standing, Verdict};
use key::Print;

/// A key is not used any more when this time is left: the request must arrive before its end.
const MARGIN: Duration = Duration::from_secs(30);
/// A renewal that failed while the old key is still valid is not tried again sooner.
const PAUSE: Duration = Duration::from_secs(30);
/// Pauses of an account double up to this.
const LONGEST_PAUSE: Duration = Duration::from_hours(6);
/// The number of earlier keys that are still removed from texts.
const REMEMBERED: usize = 3;

/// A key with its circuit. All clients that use the same key must share one of these.
pub struct Credential {
    /// The source of further keys; absent if the key never ends.
    source: Option<Box<dyn Source>>,
    gates: AccountCircuits,
    seed: u64,
    held: Mutex<Held>,
    /// Held during a renewal.
    renewing: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Held {
    /// The key of requests.
    current: Option<Arc<Issued>>,
    /// Its successor, which is not proven yet.
    next: Option<Arc<Issued>>,
    /// Whether the source is to be asked for another key than the present one.
    ask: Ask,
    /// No renewal before this, unless one is needed and the last one did not fail for a permanent
    /// reason.
    not_before: Option<Moment>,
    /// The number of tried renewals, and the result of the last one.
    round: u64,
    outcome: Option<Result<(), Failure>>,
    /// The earlier keys, the latest last.
    before: Vec<Arc<Issued>>,
}

/// Whether the source may have another key by now.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Ask {
    /// Nothing indicates it.
    #[default]
    No,
    /// The key was refused, or there was a reload.
    Now,
    /// The key was refused although the source had just returned it: after its pause.
    AfterTheRest,
}

/// A key from a source.
struct Issued {
    key: Key,
    print: Print,
    gate: Arc<AccountCircuit>,
    life: Option<Life>,
}

/// How long a key is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Life {
    /// From then on a new one is requested.
    pub renew: Moment,
    /// Its end.
    pub end: Moment,
}

impl Life {
    /// Returns the validity of a key with this time left at `now`: it is renewed when a fifth is
    /// left, or ten minutes if that is more; a short one after half of it.
    pub fn of(left: Duration, now: Moment) -> Self {
        let before = (left / 5).max(Duration::from_mins(10)).min(left / 2);
        Self { renew: now.after(left.saturating_sub(before)), end: now.after(left) }
    }
}

impl fmt::Debug for Issued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issued").field("key", &self.key).field("life", &self.life).finish_non_exhaustive()
    }
}

impl Issued {
    fn has_ended(&self, now: Moment) -> bool {
        self.life.is_some_and(|life| life.end.mono <= now.after(MARGIN).mono)
    }

    fn is_to_be_renewed(&self, now: Moment) -> bool {
        self.life.is_some_and(|life| life.renew.mono <= now.mono)
    }
}

/// Permission to send one request, with the key. The status of its answer must be passed to
/// [`answered`](Self::answered); without one, dropping this allows the next request.
#[derive(Debug)]
pub(super) struct Pass<'a> {
    credential: &'a Credential,
    issued: Arc<Issued>,
    leave: Leave,
}

/// The next step of a request that wants to be sent.
enum Step<'a> {
    /// Send.
    Go(Pass<'a>),
    /// Fail: the credential is paused.
    Rest(CloudError),
    /// Wait for the turn to be sent alone with this key.
    Wait(Arc<Issued>),
    /// Renew first, or wait for the renewal.
    Renew,
    /// The same; but if that fails temporarily, the present key is tried.
    Ask,
    /// Renew, or send if another request renews.
    RenewEarly(Pass<'a>),
}

/// Why a renewal returned no key, for all requests that waited for it.
#[derive(Debug, Clone)]
struct Failure(Arc<CloudError>);

impl Failure {
    /// Returns whether another try would have the same result.
    fn is_a_no(&self) -> bool {
        !self.0.is_passing()
    }

    fn error(&self) -> CloudError {
        match &*self.0 {
            // The same as if the API itself said so.
            CloudError::Unauthorized(refusal) => CloudError::Unauthorized(refusal.clone()),
            CloudError::CredentialResting { until, refusal } => Standing::resting(*until, refusal),
            _ => CloudError::SignIn(Arc::clone(&self.0)),
        }
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.with(|held| f.debug_struct("Credential").field("held", held).finish_non_exhaustive())
    }
}

impl Credential {
    /// Makes the credential of one key that never ends, and is not proven yet. The seed spreads its
    /// pauses.
    pub fn new(key: impl Into<Key>, seed: u64) -> Arc<Self> {
        Self::build(Some(key.into()), None, &AccountCircuits::default(), seed)
    }

    /// Makes a credential whose keys come from a source. `key`: the first one, if known.
    pub fn from_source(
        key: Option<Key>,
        source: Box<dyn Source>,
        gates: &AccountCircuits,
        seed: u64,
    ) -> Arc<Self> {
        Self::build(key, Some(source), gates, seed)
    }

    fn build(
        key: Option<Key>,
        source: Option<Box<dyn Source>>,
        gates: &AccountCircuits,
        seed: u64,
    ) -> Arc<Self> {
        let credential = Self {
            source,
            gates: gates.clone(),
            seed,
            held: Mutex::default(),
            renewing: tokio::sync::Mutex::default(),
        };
        if let Some(key) = key {
            let issued = credential.issue(key, None);
            credential.with(|held| held.current = Some(issued));
        }
        Arc::new(credential)
    }

    fn issue(&self, key: Key, life: Option<Life>) -> Arc<Issued> {
        let gate = self.gates.before(key.account(), self.seed);
        Arc::new(Issued { print: key.print(), gate, key, life })
    }

    /// Ends a pause, requires a new proof, and asks the source whether there is another key: for a
    /// reload. One request is then sent alone.
    pub fn wake(&self) {
        self.with(|held| {
            for issued in held.current.iter().chain(&held.next) {
                issued.gate.wake();
            }
            if let Some(source) = &self.source {
                source.wake();
                held.ask = Ask::Now;
                held.not_before = None;
            }
        });
    }

    /// Removes from a text what it may repeat of any key.
    pub(super) fn scrub(&self, text: &str) -> String {
        let text = self.source.as_ref().map_or_else(|| text.to_owned(), |source| source.scrub(text));
        self.with(|held| {
            let issued = held.current.iter().chain(&held.next).chain(&held.before);
            issued.fold(text, |text, issued| issued.key.scrub(&text))
        })
    }

    /// Waits until there is a proven key, or until it is this request's turn to prove it.
    ///
    /// # Errors
    /// [`CloudError::CredentialResting`], at once or as soon as the request before is refused; and
    /// the error of the source if there is no key.
    ///
    /// Cancel safety: only the turn is lost.
    pub(super) async fn enter<C: Clock>(&self, clock: &C) -> Result<Pass<'_>, CloudError> {
        loop {
            match self.step(clock.now()) {
                Step::Go(pass) => return Ok(pass),
                Step::Rest(error) => return Err(error),
                Step::Renew => self.renew(clock).await?,
                Step::Ask => match self.renew(clock).await {
                    Err(error @ (CloudError::Unauthorized(_) | CloudError::CredentialResting { .. })) => {
                        return Err(error);
                    }
                    Err(error) => {
                        tracing::debug!(error = error.code(), "a new credential could not be requested");
                        self.with(|held| held.ask = Ask::No);
                    }
                    Ok(()) => {}
                },
                Step::RenewEarly(pass) => {
                    let Ok(_renewing) = self.renewing.try_lock() else { return Ok(pass) };
                    // The old key is still in use: the error is reported when a key is needed.
                    if let Err(Failure(error)) = self.ask_source(clock).await {
                        tracing::debug!(error = error.code(), "the credential could not be renewed early");
                        return Ok(pass);
                    }
                }
                Step::Wait(issued) => {
                    let turn = issued.gate.turn().await;
                    let is_held = self.with(|held| held.is(&issued));
                    let standing = issued.gate.standing(&issued.print, clock.now());
                    if is_held && matches!(standing, Standing::Unproven) {
                        let leave = issued.gate.alone(issued.print, turn);
                        return Ok(Pass { credential: self, issued, leave });
                    }
                }
            }
        }
    }

    fn step(&self, now: Moment) -> Step<'_> {
        self.with(|held| {
            let beside = |issued: &Arc<Issued>| Pass {
                credential: self,
                leave: issued.gate.beside(issued.print),
                issued: Arc::clone(issued),
            };
            if let Some(next) = held.next.clone() {
                match next.gate.standing(&next.print, now) {
                    Standing::Good => held.promote(),
                    Standing::Resting { .. } => held.next = None,
                    Standing::Unproven => {
                        if let Some(leave) = next.gate.alone_at_once(next.print) {
                            return Step::Go(Pass { credential: self, issued: next, leave });
                        }
                    }
                }
            }
            let Some(current) = held.current.clone().filter(|issued| !issued.has_ended(now)) else {
                return match (&held.next, &held.outcome) {
                    (Some(next), _) => Step::Wait(Arc::clone(next)),
                    // The source has refused; asking again for each poll would only add load.
                    (None, Some(Err(failure))) if failure.is_a_no() && !held.may_renew(now) => {
                        Step::Rest(failure.error())
                    }
                    (None, _) => Step::Renew,
                };
            };
            match current.gate.standing(&current.print, now) {
                Standing::Good => {
                    if held.next.is_none() && held.may_renew(now) && current.is_to_be_renewed(now) {
                        return Step::RenewEarly(beside(&current));
                    }
                    Step::Go(beside(&current))
                }
                Standing::Resting { .. } if self.is_to_be_asked(held, now) => Step::Renew,
                Standing::Resting { until, refusal } => Step::Rest(Standing::resting(until, &refusal)),
                // Before a key is tried (again), the source may have a better one.
                Standing::Unproven if held.ask != Ask::No => Step::Ask,
                Standing::Unproven => Step::Wait(current),
            }
        })
    }

    /// Returns whether the source is asked while the account is paused: after the refusal, and from
    /// time to time if that costs nothing, because files may be rotated late.
    fn is_to_be_asked(&self, held: &Held, now: Moment) -> bool {
        let is_local = self.source.as_ref().is_some_and(|source| source.is_local());
        held.ask == Ask::Now || (is_local && held.may_renew(now))
    }

    /// Sends, and once more if the key is refused and the source has a better one by now. `send`
    /// must make a new request each time, and one that a refusal prevented from having any effect.
    pub(super) async fn sending<C, T, F, Fut>(&self, clock: &C, send: F) -> Result<T, CloudError>
    where
        C: Clock,
        F: Fn() -> Fut,
        Fut: Future<Output = Result<T, CloudError>>,
    {
        match send().await {
            Err(CloudError::Unauthorized(refusal)) => {
                if self.with(|held| held.ask == Ask::Now) && self.renew(clock).await.is_err() {
                    return Err(CloudError::Unauthorized(refusal));
                }
                let now = clock.now();
                let rests = self.with(|held| {
                    let current = held.current.as_ref();
                    current.is_none_or(|key| {
                        matches!(key.gate.standing(&key.print, now), Standing::Resting { .. })
                    })
                });
                if rests { Err(CloudError::Unauthorized(refusal)) } else { send().await }
            }
            sent => sent,
        }
    }

    /// Returns its state, for people.
    pub(super) fn in_words(&self, now: Moment) -> String {
        self.with(|held| {
            let Some(current) = &held.current else { return "no key yet".to_owned() };
            if current.has_ended(now) {
                return "its key has ended".to_owned();
            }
            let end = current
                .life
                .map_or_else(String::new, |life| format!("; its key expires at {}", utc(life.end.wall)));
            match current.gate.standing(&current.print, now) {
                Standing::Good => format!("good{end}"),
                Standing::Unproven => format!("not yet known to be accepted{end}"),
                Standing::Resting { until, .. } => format!("refused; paused until {}", utc(until.wall)),
            }
        })
    }

    /// Returns permission to send with a proven key, without any waiting.
    ///
    /// # Errors
    /// [`CloudError::CredentialUnproven`] or [`CloudError::CredentialResting`].
    pub(super) fn proven(&self, now: Moment) -> Result<Pass<'_>, CloudError> {
        self.with(|held| {
            let is_good = |next: &Arc<Issued>| matches!(next.gate.standing(&next.print, now), Standing::Good);
            if held.next.as_ref().is_some_and(is_good) {
                held.promote();
            }
            let current = held.current.clone().filter(|issued| !issued.has_ended(now));
            let issued = current.ok_or(CloudError::CredentialUnproven)?;
            match issued.gate.standing(&issued.print, now) {
                Standing::Good => {
                    let leave = issued.gate.beside(issued.print);
                    Ok(Pass { credential: self, issued, leave })
                }
                Standing::Resting { until, refusal } => Err(Standing::resting(until, &refusal)),
                Standing::Unproven => Err(CloudError::CredentialUnproven),
            }
        })
    }

    /// Renews, or waits for the renewal of another request: its result is for all that waited.
    async fn renew<C: Clock>(&self, clock: &C) -> Result<(), CloudError> {
        let before = self.with(|held| held.round);
        let _renewing = self.renewing.lock().await;
        let outcome = self.with(|held| held.outcome.clone().filter(|_| held.round != before));
        let outcome = match outcome {
            Some(outcome) => outcome,
            None => self.ask_source(clock).await,
        };
        outcome.map_err(|failure| failure.error())
    }

    /// Asks the source for a key. Only while `renewing` is held.
    async fn ask_source<C: Clock>(&self, clock: &C) -> Result<(), Failure> {
        let Some(source) = &self.source else {
            // A key that never ends has no better successor.
            self.with(|held| held.ask = Ask::No);
            return Ok(());
        };
        let fetched = source.fetch().await;
        let now = clock.now();
        let fetched = fetched.map(|Fresh { key, life }| self.issue(key, life)).and_then(|issued| {
            // Otherwise one that has ended would be requested again and again.
            if issued.has_ended(now) { Err(CloudError::SpentKey) } else { Ok(issued) }
        });
        let outcome = match fetched {
            Ok(issued) => {
                issued.gate.renewed(issued.print, now);
                self.with(|held| held.take(issued, now));
                Ok(())
            }
            Err(error) => {
                let pause = error.retry_after().unwrap_or_default().clamp(PAUSE, PAUSE * 20);
                self.with(|held| held.not_before = Some(now.after(pause)));
                Err(Failure(Arc::new(error)))
            }
        };
        self.with(|held| {
            held.round += 1;
            held.outcome = Some(outcome.clone());
        });
        outcome
    }

    /// Takes in a refused key: whether the source is asked for another one depends on what was
    /// known of it.
    fn refused(&self, issued: &Arc<Issued>, was_good: bool, until: Moment) {
        let Some(source) = &self.source else { return };
        self.with(|held| {
            if held.next.as_ref().is_some_and(|next| next.print == issued.print) {
                // The old one is still in use; the renewal has time.
                held.next = None;
                held.not_before = Some(until);
            } else if held.current.as_ref().is_some_and(|current| current.print == issued.print) {
                // A key that was just returned and never proven shows a fault of its source; but a
                // file costs nothing to read.
                held.ask = if was_good || source.is_local() { Ask::Now } else { Ask::AfterTheRest };
            }
        });
    }

    fn with<R>(&self, change: impl FnOnce(&mut Held) -> R) -> R {
        change(&mut self.held.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Held {
    fn is(&self, issued: &Arc<Issued>) -> bool {
        self.current.iter().chain(&self.next).any(|held| Arc::ptr_eq(held, issued))
    }

    fn may_renew(&self, now: Moment) -> bool {
        self.not_before.is_none_or(|then| then.mono <= now.mono)
    }

    fn promote(&mut self) {
        if let Some(next) = self.next.take() {
            self.retire(next);
        }
    }

    /// Replaces the current key by this one.
    fn retire(&mut self, successor: Arc<Issued>) {
        if let Some(before) = self.current.replace(successor) {
            if self.before.len() >= REMEMBERED {
                self.before.remove(0);
            }
            self.before.push(before);
        }
    }

    /// Takes the key of the source.
    fn take(&mut self, issued: Arc<Issued>, now: Moment) {
        self.ask = Ask::No;
        self.not_before = Some(now.after(PAUSE));
        let Some(current) = self.current.clone() else {
            self.current = Some(issued);
            return;
        };
        if current.print == issued.print {
            // The same one, perhaps with a longer validity.
            self.current = Some(issued);
            return;
        }
        let serves_on =
            !current.has_ended(now) && matches!(current.gate.standing(&current.print, now), Standing::Good);
        if serves_on {
            self.next = Some(issued);
        } else {
            self.next = None;
            self.retire(issued);
        }
    }
}

impl Pass<'_> {
    /// Returns the key to send with.
    pub(super) fn key(&self) -> &Key {
        &self.issued.key
    }

    /// Takes in the status of an answer: a refusal (401) begins a pause, any other answer of HTTP
    /// proves the key. An answer to a request from before the last pause or reload is ignored.
    pub(super) fn answered(self, now: Moment, refused: Option<&Refusal>) {
        let Self { credential, issued, leave } = self;
        if let Verdict::Refused { was_good, until } = leave.answered(now, refused) {
            credential.refused(&issued, was_good, until);
        }
    }
}

#[cfg(test)]
mod tests;
