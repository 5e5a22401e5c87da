//! The gate before an account: an access key, a token, a user who signs in. It belongs to the account and not to
//! whoever uses it, so that all projects, and all names in the settings, that lead to one account share it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::OwnedMutexGuard;

use super::key::Print;
use crate::clock::Clock;
use crate::cloud::error::{CloudError, Refusal};
use crate::model::moment::Moment;

/// The lock of a key lasts this long; the first rest is not shorter.
const FIRST_REST: Duration = Duration::from_mins(5);
/// Rests double up to this.
pub(super) const LONGEST_REST: Duration = Duration::from_hours(6);
/// Rests are spread upwards by up to this part of them.
const SPREAD: f64 = 0.2;
/// Of one account no more different keys are remembered as good.
const MAX_PROVEN: usize = 16;

/// All gates of a process, by account. A gate that nobody uses any more is forgotten.
#[derive(Debug, Clone, Default)]
pub struct Gates(Arc<Mutex<BTreeMap<Print, Weak<Gate>>>>);

impl Gates {
    /// The gate before this account.
    pub(in crate::cloud) fn before(&self, account: Print, seed: u64) -> Arc<Gate> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(gate) = all.get(&account).and_then(Weak::upgrade) {
            return gate;
        }
        all.retain(|_, gate| gate.strong_count() > 0);
        let gate = Arc::new(Gate::new(seed));
        all.insert(account, Arc::downgrade(&gate));
        gate
    }
}

/// The gate before one account.
#[derive(Debug)]
pub(in crate::cloud) struct Gate {
    state: Mutex<State>,
    /// Held by whoever goes out alone.
    alone: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Debug)]
struct State {
    /// The keys of the account that an answer has shown to be good since the start, the last rest or a reload.
    proven: BTreeSet<Print>,
    /// After a refusal.
    rest: Option<(Moment, Arc<Refusal>)>,
    /// Grows with every change for the worse: what was sent in an earlier era says nothing about this one.
    era: u64,
    /// Refusals without a proof between them.
    refusals: u32,
    random: StdRng,
}

/// How a key stands with its gate.
#[derive(Debug)]
pub(super) enum Standing {
    /// An answer has shown it to be good.
    Good,
    /// No answer has.
    Unproven,
    /// The account rests.
    Resting { until: Moment, refusal: Arc<Refusal> },
}

impl Standing {
    /// The error of whoever wanted to send.
    pub(super) fn resting(until: Moment, refusal: &Arc<Refusal>) -> CloudError {
        CloudError::CredentialResting { until, refusal: Arc::clone(refusal) }
    }
}

/// What an answer has said of a key.
#[derive(Debug)]
pub(super) enum Verdict {
    /// Nothing: it answers what was sent before the last rest or reload.
    Nothing,
    /// The key is good.
    Good,
    /// The key was refused, and its account rests. `was_good`: until then it was proven.
    Refused { was_good: bool, until: Moment },
}

/// Leave to send one request with a key. Its answer's status must be given back by [`answered`](Self::answered);
/// where there is none, dropping this lets the next one go.
#[derive(Debug)]
pub(in crate::cloud) struct Leave {
    gate: Arc<Gate>,
    print: Print,
    era: u64,
    _alone: Option<OwnedMutexGuard<()>>,
}

impl Gate {
    fn new(seed: u64) -> Self {
        let random = StdRng::seed_from_u64(seed);
        let state = State { proven: BTreeSet::new(), rest: None, era: 0, refusals: 0, random };
        Self { state: Mutex::new(state), alone: Arc::default() }
    }

    /// How this key stands. A rest that is over leaves it unproven.
    pub(super) fn standing(&self, print: &Print, now: Moment) -> Standing {
        self.with(|state| {
            match &state.rest {
                Some((until, refusal)) if now.mono < until.mono => {
                    return Standing::Resting { until: *until, refusal: Arc::clone(refusal) };
                }
                Some(_) => state.rest = None,
                None => {}
            }
            if state.proven.contains(print) { Standing::Good } else { Standing::Unproven }
        })
    }

    /// Leave for a key that is proven, beside all others.
    pub(super) fn beside(self: &Arc<Self>, print: Print) -> Leave {
        Leave { gate: Arc::clone(self), print, era: self.with(|state| state.era), _alone: None }
    }

    /// Leave to go out alone, where nobody else is out alone at present.
    pub(super) fn alone_at_once(self: &Arc<Self>, print: Print) -> Option<Leave> {
        let alone = Arc::clone(&self.alone).try_lock_owned().ok()?;
        Some(Leave { _alone: Some(alone), ..self.beside(print) })
    }

    /// Waits until it is this one's turn to go out alone, and tells what has come of the key meanwhile.
    pub(super) async fn turn(self: &Arc<Self>) -> OwnedMutexGuard<()> {
        Arc::clone(&self.alone).lock_owned().await
    }

    /// Leave for whoever's turn it is.
    pub(super) fn alone(self: &Arc<Self>, print: Print, turn: OwnedMutexGuard<()>) -> Leave {
        Leave { _alone: Some(turn), ..self.beside(print) }
    }

    /// Waits until the key is proven, or until it is this one's turn to prove it.
    ///
    /// # Errors
    /// [`CloudError::CredentialResting`], at once or as soon as the one that is under way is refused.
    ///
    /// Cancel safety: nothing is lost but the turn.
    pub(in crate::cloud) async fn enter<C: Clock>(
        self: &Arc<Self>,
        print: Print,
        clock: &C,
    ) -> Result<Leave, CloudError> {
        match self.standing(&print, clock.now()) {
            Standing::Good => return Ok(self.beside(print)),
            Standing::Resting { until, refusal } => return Err(Standing::resting(until, &refusal)),
            Standing::Unproven => {}
        }
        let turn = self.turn().await;
        match self.standing(&print, clock.now()) {
            Standing::Good => Ok(self.beside(print)),
            Standing::Resting { until, refusal } => Err(Standing::resting(until, &refusal)),
            Standing::Unproven => Ok(self.alone(print, turn)),
        }
    }

    /// Ends a rest, and asks for a new proof of every key: for a reload.
    pub(in crate::cloud) fn wake(&self) {
        self.with(|state| {
            state.era += 1;
            state.rest = None;
            state.proven.clear();
        });
    }

    fn with<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Leave {
    /// Tells what the answer says of the key: a refusal (401) begins a rest, any other answer of HTTP proves the key.
    /// An answer to what was sent before the last rest or reload says nothing.
    pub(in crate::cloud) fn over(self, now: Moment, refused: Option<&Refusal>) {
        let _ = self.answered(now, refused);
    }

    /// The same, and gives what it said.
    pub(super) fn answered(self, now: Moment, refused: Option<&Refusal>) -> Verdict {
        self.gate.with(|state| {
            if state.era != self.era {
                return Verdict::Nothing;
            }
            let Some(refusal) = refused else {
                if state.proven.len() >= MAX_PROVEN {
                    state.proven.clear();
                }
                state.proven.insert(self.print);
                state.refusals = 0;
                return Verdict::Good;
            };
            state.era += 1;
            state.refusals = state.refusals.saturating_add(1);
            let doubled = FIRST_REST.saturating_mul(2_u32.saturating_pow(state.refusals - 1));
            let spread = state.random.random_range(1.0..=1.0 + SPREAD);
            let rest = doubled.min(LONGEST_REST).mul_f64(spread).min(LONGEST_REST);
            let until = now.after(rest);
            let was_good = state.proven.contains(&self.print);
            state.proven.clear();
            state.rest = Some((until, Arc::new(refusal.clone())));
            Verdict::Refused { was_good, until }
        })
    }
}
