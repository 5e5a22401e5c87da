//! A proxy that all connections share: while its user and password are refused, no connection tries
//! them again, because repeated refusals lock an account.

use std::cmp::Ordering;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::transport::TransportError;
use crate::clock::Clock;
use crate::model::moment::Moment;
use crate::model::proxy::Proxy;
use crate::model::text::utc;

/// After the first refusal. Pauses double …
const FIRST_PAUSE: Duration = Duration::from_mins(5);
/// … up to this.
const LONGEST_PAUSE: Duration = Duration::from_hours(6);

/// A proxy, and whether it is paused.
pub struct ProxyCircuit {
    proxy: Proxy,
    now: Box<dyn Fn() -> Moment + Send + Sync>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    paused_until: Option<Moment>,
    /// Refusals in a row.
    refusals: u32,
}

impl ProxyCircuit {
    /// Takes a proxy.
    pub fn new(proxy: Proxy, clock: Arc<impl Clock>) -> Arc<Self> {
        Arc::new(Self { proxy, now: Box::new(move || clock.now()), state: Mutex::default() })
    }

    /// The proxy.
    pub fn proxy(&self) -> &Proxy {
        &self.proxy
    }

    /// Takes in a reload: an operator may have corrected the proxy.
    pub fn wake(&self) {
        self.with(|state| *state = State::default());
    }

    /// Returns whether a request may be sent.
    pub(super) fn enter(&self) -> Result<(), TransportError> {
        let now = (self.now)();
        match self.with(|state| state.paused_until).filter(|until| now.mono < until.mono) {
            Some(until) => {
                Err(self.error(&format!("; the daemon does not use it again before {}", utc(until.wall))))
            }
            None => Ok(()),
        }
    }

    /// Takes in that an answer came through.
    pub(super) fn passed(&self) {
        let now = (self.now)();
        self.with(|state| {
            if state.paused_until.is_none_or(|until| until.mono <= now.mono) {
                *state = State::default();
            }
        });
    }

    /// Takes in that it answered 407. Without a user and password there is no account that could be
    /// locked.
    pub(super) fn refused(&self) -> TransportError {
        let now = (self.now)();
        if self.proxy.login.is_some() {
            self.with(|state| {
                // Several requests at once count as one.
                if state.paused_until.is_none_or(|until| until.mono <= now.mono) {
                    let rest = FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(state.refusals));
                    state.paused_until = Some(now.after(rest.min(LONGEST_PAUSE)));
                    state.refusals = state.refusals.saturating_add(1);
                }
            });
        }
        self.error("")
    }

    fn error(&self, more: &str) -> TransportError {
        let refusal = format!("{}{more}", self.proxy.refusal());
        TransportError::Proxy { refusal, advice: self.proxy.advice() }
    }

    fn with<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl fmt::Debug for ProxyCircuit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProxyCircuit").field("proxy", &self.proxy).finish_non_exhaustive()
    }
}

impl PartialEq for ProxyCircuit {
    fn eq(&self, other: &Self) -> bool {
        self.proxy == other.proxy
    }
}

impl Eq for ProxyCircuit {}

impl PartialOrd for ProxyCircuit {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ProxyCircuit {
    fn cmp(&self, other: &Self) -> Ordering {
        self.proxy.cmp(&other.proxy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clocks::VirtualClock;
    use crate::model::proxy::Login;

    fn through(clock: &VirtualClock, password: Option<&str>) -> Arc<ProxyCircuit> {
        let login = password.map(|password| Login { user: "robot".to_owned(), password: password.into() });
        ProxyCircuit::new(
            Proxy { url: "http://proxy.example:3128".to_owned(), login },
            Arc::new(clock.clone()),
        )
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_password_rests_longer_each_time_and_until_a_reload() {
        let clock = VirtualClock::new();
        let through = through(&clock, Some("hunter2"));
        for minutes in [5, 10, 20, 40, 80, 160, 320, 360, 360] {
            assert!(through.enter().is_ok());
            for _ in 0..3 {
                assert!(!format!("{} {through:?}", through.refused()).contains("hunter2"));
            }
            clock.sleep(Duration::from_secs(minutes * 60 - 1)).await;
            let told = through.enter().unwrap_err();
            assert!(told.never_left() && told.to_string().contains("does not use it again before"), "{told}");
            // An answer over an earlier connection says nothing of the password.
            through.passed();
            assert!(through.enter().is_err());
            clock.sleep(Duration::from_secs(1)).await;
        }
        through.refused();
        through.wake();
        assert!(through.enter().is_ok());
        through.refused();
        clock.sleep(Duration::from_mins(5)).await;
        assert!(through.enter().is_ok(), "after a reload it begins anew");
        through.passed();
        through.refused();
        clock.sleep(Duration::from_mins(5)).await;
        assert!(through.enter().is_ok(), "and after an answer");
    }

    #[tokio::test(start_paused = true)]
    async fn where_nobody_signs_in_there_is_no_account_to_be_locked() {
        let through = through(&VirtualClock::new(), None);
        through.refused();
        assert!(through.enter().is_ok());
    }
}
