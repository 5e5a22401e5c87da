//! The only reader of the clocks and of the system's randomness. Everything that needs the time is handed a
//! [`Clock`] or a [`Moment`], so that tests run in virtual time.

use std::future::Future;
use std::time::{Duration, Instant, SystemTime};

use jiff::Timestamp;

use crate::model::moment::{Moment, Mono};

/// Tells the time and waits.
pub trait Clock: Send + Sync + 'static {
    /// The present moment by both clocks.
    fn now(&self) -> Moment;

    /// Waits for this long by the monotonic clock.
    fn sleep(&self, wait: Duration) -> impl Future<Output = ()> + Send;
}

/// The machine's clocks.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock {
    origin: Instant,
}

impl SystemClock {
    /// A clock whose monotonic time begins now.
    #[expect(clippy::disallowed_methods, reason = "this module is the one that reads the clock")]
    pub fn new() -> Self {
        Self { origin: Instant::now() }
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
        Moment { wall, mono: Mono(i64::try_from(self.origin.elapsed().as_millis()).unwrap_or(i64::MAX)) }
    }

    async fn sleep(&self, wait: Duration) {
        tokio::time::sleep(wait).await;
    }
}

/// A seed from the system's randomness: for jitter, which needs no secrecy.
#[expect(clippy::disallowed_methods, reason = "this module is the one that reads randomness")]
pub fn random_seed() -> u64 {
    rand::random()
}
