//! Keys, and the gate before them. More than five refused signatures in a row lock an access key for five
//! minutes, for everybody who uses it. So a key that no answer has proven yet goes out alone, once, and everybody
//! else waits for that one answer; and after a refusal nothing is sent with it for a while.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::error::{CloudError, KeyError, Refusal};
use super::sign::Signable;
use crate::clock::Clock;
use crate::model::moment::Moment;
use crate::model::secret::{ExposeSecret, Secret};

/// The lock of a key lasts this long; the first rest is not shorter.
const FIRST_REST: Duration = Duration::from_mins(5);
/// Rests double up to this.
const LONGEST_REST: Duration = Duration::from_hours(6);
/// Rests are spread upwards by up to this part of them.
const SPREAD: f64 = 0.2;

/// An access key with its secret: a permanent one, or a temporary one with its security token.
#[derive(Clone)]
pub struct AccessKey {
    access: Secret,
    secret: Secret,
    security_token: Option<Secret>,
}

impl AccessKey {
    /// Takes a key.
    ///
    /// # Errors
    /// Where a part is empty or cannot stand in a header.
    pub fn new(
        access_key: Secret,
        secret_key: Secret,
        security_token: Option<Secret>,
    ) -> Result<Self, KeyError> {
        let parts = [("access key", Some(&access_key)), ("secret key", Some(&secret_key))];
        for (part, secret) in parts.into_iter().chain([("security token", security_token.as_ref())]) {
            let Some(secret) = secret.map(ExposeSecret::expose_secret) else { continue };
            if secret.is_empty() {
                return Err(KeyError::Empty { part });
            }
            if !secret.bytes().all(|byte| byte.is_ascii_graphic()) {
                return Err(KeyError::Character { part });
            }
        }
        Ok(Self { access: access_key, secret: secret_key, security_token })
    }

    pub(super) fn authorization(&self, request: &Signable<'_>) -> String {
        request.authorization(&self.access, &self.secret)
    }

    /// For the `X-Security-Token` header, which is signed as well.
    pub(super) fn security_token(&self) -> Option<&str> {
        self.security_token.as_ref().map(ExposeSecret::expose_secret)
    }

    fn is_the_same_as(&self, other: &Self) -> bool {
        fn parts(key: &AccessKey) -> [Option<&str>; 3] {
            [Some(&key.access), Some(&key.secret), key.security_token.as_ref()]
                .map(|secret| secret.map(ExposeSecret::expose_secret))
        }
        parts(self) == parts(other)
    }

    /// Takes out of a stranger's text what it may have repeated of the key.
    pub(super) fn scrub(&self, text: &str) -> String {
        [Some(&self.secret), self.security_token.as_ref(), Some(&self.access)]
            .into_iter()
            .flatten()
            .fold(text.to_owned(), |text, secret| text.replace(secret.expose_secret(), "(masked)"))
    }
}

impl fmt::Debug for AccessKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let temporary = self.security_token.is_some();
        f.debug_struct("AccessKey").field("temporary", &temporary).finish_non_exhaustive()
    }
}

/// A key with its gate. All clients that use the same key must share one of these.
#[derive(Debug)]
pub struct Credential {
    key: AccessKey,
    gate: Mutex<Gate>,
    /// Held by whoever goes out alone.
    alone: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct Gate {
    proof: Proof,
    /// Grows with every change for the worse: what was sent in an earlier era says nothing about this one.
    era: u64,
    /// Refusals without a proof between them.
    refusals: u32,
    random: StdRng,
}

#[derive(Debug)]
enum Proof {
    /// No answer has shown the key to be good since the start, the last rest or a reload.
    None,
    /// An answer has.
    Good,
    /// It was refused.
    Resting { until: Moment, refusal: Arc<Refusal> },
}

/// Leave to send one request with the credential. Its answer's status must be given back by
/// [`answered`](Self::answered); where there is none, dropping this lets the next one go.
#[derive(Debug)]
pub(super) struct Pass<'a> {
    credential: &'a Credential,
    era: u64,
    _alone: Option<tokio::sync::MutexGuard<'a, ()>>,
}

impl Credential {
    /// A credential that is not proven yet. The seed spreads its rests.
    pub fn new(key: AccessKey, seed: u64) -> Arc<Self> {
        let random = StdRng::seed_from_u64(seed);
        let gate = Gate { proof: Proof::None, era: 0, refusals: 0, random };
        Arc::new(Self { key, gate: Mutex::new(gate), alone: tokio::sync::Mutex::new(()) })
    }

    /// Ends a rest, and asks for a new proof: for a reload. One request then goes out alone.
    pub fn wake(&self) {
        self.with(|gate| {
            gate.era += 1;
            gate.proof = Proof::None;
        });
    }

    /// Whether this is the credential of that key.
    pub fn is_of(&self, key: &AccessKey) -> bool {
        self.key.is_the_same_as(key)
    }

    pub(super) fn key(&self) -> &AccessKey {
        &self.key
    }

    /// Waits until the credential is proven, or until it is this one's turn to prove it.
    ///
    /// # Errors
    /// [`CloudError::CredentialResting`], at once or as soon as the one that is under way is refused.
    ///
    /// Cancel safety: nothing is lost but the turn.
    pub(super) async fn enter<C: Clock>(&self, clock: &C) -> Result<Pass<'_>, CloudError> {
        match self.proven(clock.now()) {
            Err(CloudError::CredentialUnproven) => {}
            pass_or_rest => return pass_or_rest,
        }
        let alone = self.alone.lock().await;
        match self.proven(clock.now()) {
            Err(CloudError::CredentialUnproven) => {
                let era = self.with(|gate| gate.era);
                Ok(Pass { credential: self, era, _alone: Some(alone) })
            }
            pass_or_rest => pass_or_rest,
        }
    }

    /// Leave to send with a proven credential, without any waiting.
    ///
    /// # Errors
    /// [`CloudError::CredentialUnproven`] or [`CloudError::CredentialResting`].
    pub(super) fn proven(&self, now: Moment) -> Result<Pass<'_>, CloudError> {
        self.with(|gate| {
            match &gate.proof {
                Proof::Good => return Ok(Pass { credential: self, era: gate.era, _alone: None }),
                Proof::Resting { until, refusal } if now.mono < until.mono => {
                    return Err(CloudError::CredentialResting {
                        until: *until,
                        refusal: Arc::clone(refusal),
                    });
                }
                Proof::Resting { .. } | Proof::None => gate.proof = Proof::None,
            }
            Err(CloudError::CredentialUnproven)
        })
    }

    fn with<R>(&self, change: impl FnOnce(&mut Gate) -> R) -> R {
        change(&mut self.gate.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Pass<'_> {
    /// Tells what the answer says of the credential: a refusal (401) begins a rest, any other answer of HTTP proves
    /// the key. An answer to what was sent before the last rest or reload says nothing.
    pub(super) fn answered(self, now: Moment, refused: Option<&Refusal>) {
        self.credential.with(|gate| {
            if gate.era != self.era {
                return;
            }
            let Some(refusal) = refused else {
                gate.proof = Proof::Good;
                gate.refusals = 0;
                return;
            };
            gate.era += 1;
            gate.refusals = gate.refusals.saturating_add(1);
            let doubled = FIRST_REST.saturating_mul(2_u32.saturating_pow(gate.refusals - 1));
            let spread = gate.random.random_range(1.0..=1.0 + SPREAD);
            let rest = doubled.min(LONGEST_REST).mul_f64(spread).min(LONGEST_REST);
            gate.proof = Proof::Resting { until: now.after(rest), refusal: Arc::new(refusal.clone()) };
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cloud::testing::{VirtualClock, credential};

    fn refusal() -> Refusal {
        Refusal { status: 401, code: None, message: String::new(), request_id: None, retry_after: None }
    }

    async fn refuse(credential: &Credential, clock: &VirtualClock) {
        credential.enter(clock).await.unwrap().answered(clock.now(), Some(&refusal()));
    }

    /// How long it still rests; nothing where it does not.
    fn rest(credential: &Credential, clock: &VirtualClock) -> Option<Duration> {
        match credential.proven(clock.now()) {
            Err(CloudError::CredentialResting { until, .. }) => Some(until.since(clock.now())),
            _ => None,
        }
    }

    #[test]
    fn a_key_that_cannot_stand_in_a_header_is_refused_without_showing_it() {
        for (access, secret, token) in [
            ("", "s", None),
            ("a", "", None),
            ("hunter2\n", "s", None),
            ("a", "s s", None),
            ("a", "s", Some("é")),
        ] {
            let error = AccessKey::new(access.into(), secret.into(), token.map(Secret::from)).unwrap_err();
            assert!(!error.to_string().contains("hunter2"));
        }
    }

    #[test]
    fn the_key_is_masked_in_debug_output_and_scrubbed_from_strangers_texts() {
        let key = AccessKey::new("AKhunter1".into(), "SKhunter2".into(), Some("TKhunter3".into())).unwrap();
        let shown = format!("{:?}", Credential::new(key.clone(), 1));
        assert!(!shown.contains("hunter"), "{shown}");
        let scrubbed = key.scrub("ak AKhunter1, sk SKhunter2, token TKhunter3");
        assert_eq!(scrubbed, "ak (masked), sk (masked), token (masked)");
    }

    #[tokio::test(start_paused = true)]
    async fn an_unproven_credential_goes_out_alone_and_the_others_wait_for_its_answer() {
        let (clock, credential) = (VirtualClock::new(), credential());
        let first = credential.enter(&clock).await.unwrap();
        let second = tokio::time::timeout(Duration::from_mins(1), credential.enter(&clock)).await;
        assert!(second.is_err(), "it went out beside the first");
        assert!(matches!(credential.proven(clock.now()), Err(CloudError::CredentialUnproven)));
        first.answered(clock.now(), None);
        let _one = credential.enter(&clock).await.unwrap();
        let _other = credential.enter(&clock).await.unwrap();
        assert!(credential.proven(clock.now()).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn no_answer_proves_nothing_and_the_next_one_goes_alone() {
        let (clock, credential) = (VirtualClock::new(), credential());
        drop(credential.enter(&clock).await.unwrap());
        let _second = credential.enter(&clock).await.unwrap();
        assert!(tokio::time::timeout(Duration::from_mins(1), credential.enter(&clock)).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn those_who_waited_for_a_refused_one_fail_without_being_sent() {
        let (clock, credential) = (VirtualClock::new(), credential());
        let first = credential.enter(&clock).await.unwrap();
        let waiting: Vec<_> = (0..20)
            .map(|_| {
                let (credential, clock) = (Arc::clone(&credential), clock);
                tokio::spawn(async move { credential.enter(&clock).await.is_ok() })
            })
            .collect();
        tokio::task::yield_now().await;
        first.answered(clock.now(), Some(&refusal()));
        for waiting in waiting {
            assert!(!waiting.await.unwrap());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn rests_begin_at_five_minutes_double_and_end_at_six_hours() {
        let (clock, credential) = (VirtualClock::new(), credential());
        for minutes in [5, 10, 20, 40, 80, 160, 320, 360, 360] {
            refuse(&credential, &clock).await;
            let rest = rest(&credential, &clock).unwrap();
            let least = Duration::from_mins(minutes);
            assert!(rest >= least && rest <= LONGEST_REST.min(least.mul_f64(1.2)), "{minutes}: {rest:?}");
            clock.sleep(rest.saturating_sub(Duration::from_millis(1))).await;
            assert!(matches!(credential.enter(&clock).await, Err(CloudError::CredentialResting { .. })));
            clock.sleep(Duration::from_millis(1)).await;
        }
        credential.enter(&clock).await.unwrap().answered(clock.now(), None);
        refuse(&credential, &clock).await;
        assert!(rest(&credential, &clock).unwrap() <= Duration::from_mins(6), "a proof ends the row");
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_rest_it_is_unproven_again() {
        let (clock, credential) = (VirtualClock::new(), credential());
        refuse(&credential, &clock).await;
        clock.sleep(rest(&credential, &clock).unwrap()).await;
        assert!(matches!(credential.proven(clock.now()), Err(CloudError::CredentialUnproven)));
        let _alone = credential.enter(&clock).await.unwrap();
        assert!(tokio::time::timeout(Duration::from_mins(1), credential.enter(&clock)).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn waking_lets_one_request_out() {
        let (clock, credential) = (VirtualClock::new(), credential());
        refuse(&credential, &clock).await;
        credential.wake();
        let _alone = credential.enter(&clock).await.unwrap();
        assert!(tokio::time::timeout(Duration::from_mins(1), credential.enter(&clock)).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn answers_to_what_was_sent_before_a_rest_change_nothing() {
        let (clock, credential) = (VirtualClock::new(), credential());
        credential.enter(&clock).await.unwrap().answered(clock.now(), None);
        let mut sent = Vec::new();
        for _ in 0..4 {
            sent.push(credential.enter(&clock).await.unwrap());
        }
        refuse(&credential, &clock).await;
        let rest_before = rest(&credential, &clock);
        for (n, pass) in sent.into_iter().enumerate() {
            pass.answered(clock.now(), (n % 2 == 0).then(refusal).as_ref());
        }
        assert_eq!(rest(&credential, &clock), rest_before, "neither longer nor over");
    }
}
