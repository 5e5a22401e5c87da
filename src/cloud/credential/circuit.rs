//! The circuit before an account: an access key, a token, a user who signs in. It belongs to the
//! account and not to its users, so that all projects, and all names in the configuration, that
//! lead to one account share it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::OwnedMutexGuard;

use super::LONGEST_PAUSE;
use super::key::Print;
use super::memory::{Memory, Mine, Refused};
use crate::clock::Clock;
use crate::cloud::error::{CloudError, Refusal};
use crate::model::moment::Moment;

/// The lock of a key lasts this long; the first pause is not shorter.
const FIRST_PAUSE: Duration = Duration::from_mins(5);
/// Pauses are spread upwards by up to this part of them.
const SPREAD: f64 = 0.2;
/// The number of different keys of one account that are remembered as valid.
const MAX_PROVEN: usize = 16;
/// The number of keys from a source that may be sent within [`FIRST_PAUSE`] although their account
/// is paused: with the one that was refused they are fewer than lock it.
const MAX_EXEMPT: usize = 3;

/// All circuits of a process, by account. An unused circuit is forgotten.
#[derive(Debug, Clone, Default)]
pub struct AccountCircuits {
    all: Arc<Mutex<BTreeMap<Print, Weak<AccountCircuit>>>>,
    memory: Option<Arc<Memory>>,
}

impl AccountCircuits {
    /// Makes circuits that continue the pauses of an earlier process, and whose pauses a later one
    /// can continue. `salt`: the key of the hashes. `keep` is called with all that is to be kept,
    /// whenever it changes; it must not block.
    pub fn remembering(
        salt: &str,
        before: Vec<Refused>,
        keep: impl Fn(Vec<Refused>) + Send + Sync + 'static,
    ) -> Self {
        Self { memory: Some(Memory::new(salt, before, keep)), ..Self::default() }
    }

    /// Returns the circuit before this account.
    pub(in crate::cloud) fn before(&self, account: Print, seed: u64) -> Arc<AccountCircuit> {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(gate) = all.get(&account).and_then(Weak::upgrade) {
            return gate;
        }
        all.retain(|_, gate| gate.strong_count() > 0);
        let gate =
            Arc::new(AccountCircuit::new(seed, self.memory.as_ref().map(|memory| memory.of(&account))));
        all.insert(account, Arc::downgrade(&gate));
        gate
    }
}

/// The circuit before one account.
#[derive(Debug)]
pub(in crate::cloud) struct AccountCircuit {
    state: Mutex<State>,
    /// Held by the request that is sent alone.
    alone: Arc<tokio::sync::Mutex<()>>,
    /// Keeps its pauses beyond the process.
    memory: Option<Mine>,
}

#[derive(Debug)]
struct State {
    /// The keys of the account that an answer has proven since the start, the last pause or a
    /// reload.
    proven: BTreeSet<Print>,
    /// After a refusal.
    rest: Option<Rest>,
    /// The pause of an earlier process, until a key is first checked.
    earlier: Option<Refused>,
    /// The keys that were refused since the last proof or reload.
    refused: BTreeSet<Print>,
    /// Keys that may be sent alone although the account is paused.
    exempt: BTreeSet<Print>,
    /// When the latest of them were allowed.
    exempted: VecDeque<Moment>,
    /// Grows with every change for the worse: an answer to a request of an earlier era says nothing
    /// about this one.
    era: u64,
    /// Consecutive refusals without a proof between them.
    refusals: u32,
    random: StdRng,
}

/// After a refusal.
#[derive(Debug)]
struct Rest {
    until: Moment,
    refusal: Arc<Refusal>,
    /// It was begun by an earlier process, and blocks only the keys that were refused then: a key
    /// that was changed before the start is tried at once.
    earlier: Option<Refused>,
}

/// The state of a key in its circuit.
#[derive(Debug)]
pub(super) enum Standing {
    /// An answer has proven it.
    Good,
    /// No answer has proven it.
    Unproven,
    /// The account is paused.
    Resting { until: Moment, refusal: Arc<Refusal> },
}

impl Standing {
    /// Returns the error of a request that it blocks.
    pub(super) fn resting(until: Moment, refusal: &Arc<Refusal>) -> CloudError {
        CloudError::CredentialResting { until, refusal: Arc::clone(refusal) }
    }
}

/// What an answer has shown of a key.
#[derive(Debug)]
pub(super) enum Verdict {
    /// Nothing: it answers a request from before the last pause or reload.
    Nothing,
    /// The key is valid.
    Good,
    /// The key was refused, and its account is paused. `was_good`: until then it was proven.
    Refused { was_good: bool, until: Moment },
}

/// Permission to send one request with a key. The status of its answer must be passed to
/// [`answered`](Self::answered); without one, dropping this allows the next request.
#[derive(Debug)]
pub(in crate::cloud) struct Leave {
    gate: Arc<AccountCircuit>,
    print: Print,
    era: u64,
    _alone: Option<OwnedMutexGuard<()>>,
}

impl AccountCircuit {
    fn new(seed: u64, memory: Option<Mine>) -> Self {
        let state = State {
            proven: BTreeSet::new(),
            rest: None,
            earlier: memory.as_ref().and_then(Mine::kept),
            refused: BTreeSet::new(),
            exempt: BTreeSet::new(),
            exempted: VecDeque::new(),
            era: 0,
            refusals: 0,
            random: StdRng::seed_from_u64(seed),
        };
        Self { state: Mutex::new(state), alone: Arc::default(), memory }
    }

    /// Returns the state of this key. The end of a pause leaves it unproven.
    pub(super) fn standing(&self, print: &Print, now: Moment) -> Standing {
        self.with(|state| {
            if let Some(earlier) = state.earlier.take() {
                state.refusals = earlier.in_a_row;
                let (until, refusal) = (now.after(earlier.left(now.wall)), Arc::new(earlier.refusal()));
                state.rest = Some(Rest { until, refusal, earlier: Some(earlier) });
            }
            // Proven although the account is paused: a key that was exempt.
            if state.proven.contains(print) {
                return Standing::Good;
            }
            match &state.rest {
                Some(rest @ Rest { until, refusal, .. }) if now.mono < until.mono => {
                    let changed = rest.earlier.is_some() && !self.was_refused_earlier(rest, print);
                    if changed || state.exempt.contains(print) {
                        return Standing::Unproven;
                    }
                    return Standing::Resting { until: *until, refusal: Arc::clone(refusal) };
                }
                Some(_) => state.rest = None,
                None => {}
            }
            Standing::Unproven
        })
    }

    /// Takes in that a source has returned this key since the account was refused. Another key may
    /// be sent alone at once, but no more of them than an account accepts.
    pub(in crate::cloud) fn renewed(&self, print: Print, now: Moment) {
        self.with(|state| {
            let Some(rest) = &state.rest else { return };
            let was_refused = state.refused.contains(&print) || self.was_refused_earlier(rest, &print);
            if was_refused || state.exempt.contains(&print) {
                return;
            }
            while state.exempted.front().is_some_and(|then| now.since(*then) >= FIRST_PAUSE) {
                state.exempted.pop_front();
            }
            if state.exempted.len() < MAX_EXEMPT {
                state.exempted.push_back(now);
                state.exempt.insert(print);
            }
        });
    }

    /// Returns whether the process that began this pause was refused with this key.
    fn was_refused_earlier(&self, rest: &Rest, print: &Print) -> bool {
        let both = rest.earlier.as_ref().zip(self.memory.as_ref());
        both.is_some_and(|(earlier, memory)| earlier.is_of(memory, print))
    }

    /// Returns permission for a proven key, together with all others.
    pub(super) fn beside(self: &Arc<Self>, print: Print) -> Leave {
        Leave { gate: Arc::clone(self), print, era: self.with(|state| state.era), _alone: None }
    }

    /// Returns permission to be sent alone, if no other request is.
    pub(super) fn alone_at_once(self: &Arc<Self>, print: Print) -> Option<Leave> {
        let alone = Arc::clone(&self.alone).try_lock_owned().ok()?;
        Some(Leave { _alone: Some(alone), ..self.beside(print) })
    }

    /// Waits for the turn to be sent alone, and returns the state of the key after it.
    pub(super) async fn turn(self: &Arc<Self>) -> OwnedMutexGuard<()> {
        Arc::clone(&self.alone).lock_owned().await
    }

    /// Returns permission for the request whose turn it is.
    pub(super) fn alone(self: &Arc<Self>, print: Print, turn: OwnedMutexGuard<()>) -> Leave {
        Leave { _alone: Some(turn), ..self.beside(print) }
    }

    /// Waits until the key is proven, or until it is this request's turn to prove it.
    ///
    /// # Errors
    /// [`CloudError::CredentialResting`], at once or as soon as the request before is refused.
    ///
    /// Cancel safety: only the turn is lost.
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

    /// Ends a pause, and requires a new proof of every key: for a reload.
    pub(in crate::cloud) fn wake(&self) {
        self.with(|state| {
            state.era += 1;
            state.rest = None;
            state.earlier = None;
            state.refused.clear();
            state.proven.clear();
        });
    }

    /// Keeps a pause, or that there is none, beyond the process.
    fn remember(&self, rest: Option<(&State, &Refusal, Duration, Moment)>) {
        let Some(memory) = &self.memory else { return };
        memory.keep(rest.map(|(state, refusal, rest, now)| {
            let keys = state.refused.iter().map(|print| memory.tag(print)).collect();
            Refused::new(refusal, keys, state.refusals, (now.wall, rest))
        }));
    }

    fn with<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Leave {
    /// Takes in the status of an answer: a refusal (401) begins a pause, any other answer of HTTP
    /// proves the key. An answer to a request from before the last pause or reload is ignored.
    pub(in crate::cloud) fn over(self, now: Moment, refused: Option<&Refusal>) {
        let _ = self.answered(now, refused);
    }

    /// Takes in the status, and returns what it has shown.
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
                state.exempt.remove(&self.print);
                state.refused.clear();
                state.refusals = 0;
                self.gate.remember(None);
                return Verdict::Good;
            };
            state.era += 1;
            state.refusals = state.refusals.saturating_add(1);
            let doubled = FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(state.refusals - 1));
            let spread = state.random.random_range(1.0..=1.0 + SPREAD);
            let rest = doubled.min(LONGEST_PAUSE).mul_f64(spread).min(LONGEST_PAUSE);
            let until = now.after(rest);
            let was_good = state.proven.contains(&self.print);
            state.proven.clear();
            state.exempt.clear();
            if state.refused.len() >= MAX_PROVEN {
                state.refused.clear();
            }
            state.refused.insert(self.print);
            self.gate.remember(Some((&*state, refusal, rest, now)));
            state.rest = Some(Rest { until, refusal: Arc::new(refusal.clone()), earlier: None });
            Verdict::Refused { was_good, until }
        })
    }
}
