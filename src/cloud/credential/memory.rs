//! Pauses that outlive the process: six restarts within five minutes must not be six refused
//! signatures, which lock a key.
//!
//! Only hashes are kept, with a key that is different for each journal. Of a credential's key only
//! two bytes are kept: enough to see that it was changed, and too little to find it by trying,
//! however weak it is.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use super::LONGEST_PAUSE;
use super::key::Print;
use crate::cloud::error::Refusal;

/// An account that was refused, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// The account, as a keyed hash.
    #[serde(default)]
    account: String,
    /// Its keys that were refused, as short keyed hashes.
    keys: Vec<String>,
    /// When the last of them was.
    at: Timestamp,
    /// How long the account is paused from then on.
    rest_ms: u64,
    /// Refusals without a proof between them.
    pub(super) in_a_row: u32,
    /// The answer's HTTP status and its code.
    status: u16,
    code: Option<String>,
}

impl Refused {
    pub(super) fn new(
        refusal: &Refusal,
        keys: Vec<String>,
        in_a_row: u32,
        (at, rest): (Timestamp, Duration),
    ) -> Self {
        let rest_ms = u64::try_from(rest.as_millis()).unwrap_or(u64::MAX);
        let (status, code) = (refusal.status, refusal.code.clone());
        Self { account: String::new(), keys, at, rest_ms, in_a_row, status, code }
    }

    /// Returns how much of the pause is left. A clock that was set back makes it no longer than it
    /// was.
    pub(super) fn left(&self, now: Timestamp) -> Duration {
        let rest = Duration::from_millis(self.rest_ms).min(LONGEST_PAUSE);
        // Negative if the clock was set back: then all of it is left.
        let gone = Duration::try_from(now.duration_since(self.at)).unwrap_or_default();
        rest.saturating_sub(gone)
    }

    /// Returns whether this key was refused.
    pub(super) fn is_of(&self, memory: &Mine, print: &Print) -> bool {
        self.keys.contains(&memory.tag(print))
    }

    /// Returns the answer, as far as it was kept.
    pub(super) fn refusal(&self) -> Refusal {
        let message = "before this start".to_owned();
        Refusal { status: self.status, code: self.code.clone(), message, request_id: None, retry_after: None }
    }
}

/// All that is kept.
pub(super) struct Memory {
    salt: String,
    kept: Mutex<BTreeMap<String, Refused>>,
    keep: Box<dyn Fn(Vec<Refused>) + Send + Sync>,
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Memory")
    }
}

impl Memory {
    pub(super) fn new(
        salt: &str,
        before: Vec<Refused>,
        keep: impl Fn(Vec<Refused>) + Send + Sync + 'static,
    ) -> Arc<Self> {
        let kept = before.into_iter().map(|refused| (refused.account.clone(), refused)).collect();
        Arc::new(Self { salt: salt.to_owned(), kept: Mutex::new(kept), keep: Box::new(keep) })
    }

    /// Returns the part of one account.
    pub(super) fn of(self: &Arc<Self>, account: &Print) -> Mine {
        let account = self.hash(account, 8);
        Mine { memory: Arc::clone(self), account }
    }

    /// Returns the first bytes of a keyed hash, in hexadecimal digits.
    fn hash(&self, print: &Print, bytes: usize) -> String {
        // HMAC accepts a key of any length; without a hash nothing is remembered.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(self.salt.as_bytes()) else { return String::new() };
        mac.update(print.bytes());
        hex::encode(&mac.finalize().into_bytes()[..bytes])
    }
}

/// What is kept of one account.
#[derive(Debug)]
pub(super) struct Mine {
    memory: Arc<Memory>,
    account: String,
}

impl Mine {
    /// Returns what an earlier process has kept.
    pub(super) fn kept(&self) -> Option<Refused> {
        self.memory.kept.lock().unwrap_or_else(PoisonError::into_inner).get(&self.account).cloned()
    }

    /// Returns the hash that identifies a key.
    pub(super) fn tag(&self, print: &Print) -> String {
        self.memory.hash(print, 2)
    }

    /// Keeps this instead.
    pub(super) fn keep(&self, refused: Option<Refused>) {
        let mut kept = self.memory.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = match refused {
            Some(refused) => {
                let refused = Refused { account: self.account.clone(), ..refused };
                kept.insert(self.account.clone(), refused);
                true
            }
            None => kept.remove(&self.account).is_some(),
        };
        if changed {
            (self.memory.keep)(kept.values().cloned().collect());
        }
    }
}
