//! The only reader of the clocks and of the system's randomness. Everything that needs the time is handed a
//! [`Clock`] or a [`Moment`], so that tests run in virtual time.

use std::future::Future;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use rustix::time::{ClockId, clock_gettime};

use crate::model::moment::{Moment, Mono};

/// Tells the time and waits.
pub trait Clock: Send + Sync + 'static {
    /// The present moment by both clocks.
    fn now(&self) -> Moment;

    /// Waits for this long by the monotonic clock.
    fn sleep(&self, wait: Duration) -> impl Future<Output = ()> + Send;
}

/// The machine's clocks. The monotonic one goes on while the machine is suspended: what was due, or too late, by then is.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock {
    origin: Duration,
}

impl SystemClock {
    /// A clock whose monotonic time begins now.
    pub fn new() -> Self {
        Self { origin: since_boot() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this module is the one that reads the clock")]
    fn now(&self) -> Moment {
        let wall = Timestamp::try_from(SystemTime::now()).unwrap_or(Timestamp::UNIX_EPOCH);
        let elapsed = since_boot().saturating_sub(self.origin);
        Moment { wall, mono: Mono(i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX)) }
    }

    async fn sleep(&self, wait: Duration) {
        tokio::time::sleep(wait).await;
    }
}

/// How long the machine has been up, suspended or not.
#[expect(clippy::disallowed_methods, reason = "this module is the one that reads the clock")]
fn since_boot() -> Duration {
    Duration::try_from(clock_gettime(ClockId::Boottime)).unwrap_or_default()
}

/// Long waits are told of so often.
pub const TOLD_EVERY: Duration = Duration::from_secs(10);

/// Does the work, and calls `tell` every ten seconds with how long it has taken so far, while that returns `true`.
pub async fn still_waiting<T>(
    clock: &impl Clock,
    work: impl Future<Output = T>,
    tell: impl Fn(Duration) -> bool,
) -> T {
    let began = clock.now();
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            biased;
            done = &mut work => return done,
            () = clock.sleep(TOLD_EVERY) => if !tell(clock.now().since(began)) { break },
        }
    }
    work.await
}

/// A seed from the system's randomness: for jitter, which needs no secrecy.
#[expect(clippy::disallowed_methods, reason = "this module is the one that reads randomness")]
pub fn random_seed() -> u64 {
    rand::random()
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;
    use crate::clocks::VirtualClock;

    #[tokio::test(start_paused = true)]
    async fn a_long_wait_is_told_of_every_ten_seconds_while_that_is_wanted_and_a_short_one_not_at_all() {
        let clock = VirtualClock::new();
        let told = RefCell::new(Vec::new());
        let tell = |waited: Duration| {
            told.borrow_mut().push(waited.as_secs());
            told.borrow().len() < 3
        };
        assert_eq!(still_waiting(&clock, async { 7 }, tell).await, 7);
        still_waiting(&clock, clock.sleep(Duration::from_secs(9)), tell).await;
        assert_eq!(told.borrow().len(), 0);
        still_waiting(&clock, clock.sleep(Duration::from_secs(65)), tell).await;
        assert_eq!(*told.borrow(), [10, 20, 30]);
    }
}
