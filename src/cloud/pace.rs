//! How many requests are under way at once, and how many begin in a second. First come, first served.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::clock::Clock;
use crate::model::moment::Mono;
use crate::model::project::Limits;

/// A quarter of a second's requests may begin at once after a pause.
const BURSTS_PER_SECOND: u32 = 4;

/// Hands out places for requests.
#[derive(Debug)]
pub(super) struct Pace {
    places: Arc<Semaphore>,
    rate: Mutex<Rate>,
}

/// A place among the requests under way, free again once this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    _place: Option<OwnedSemaphorePermit>,
}

impl Pace {
    /// Of the limits, a zero counts as one: nothing would ever be sent.
    pub(super) fn new(limits: &Limits) -> Self {
        let places = usize::try_from(limits.max_requests_in_flight.max(1)).unwrap_or(usize::MAX);
        Self {
            places: Arc::new(Semaphore::new(places.min(Semaphore::MAX_PERMITS))),
            rate: Mutex::new(Rate::new(limits.requests_per_second)),
        }
    }

    /// Waits for a place, then for the rate.
    ///
    /// Cancel safety: nothing is lost but the turn.
    pub(super) async fn place<C: Clock>(&self, clock: &C) -> Place {
        // The semaphore is never closed, so there always is a permit.
        let place = Place { _place: Arc::clone(&self.places).acquire_owned().await.ok() };
        let wait = self.rate.lock().unwrap_or_else(PoisonError::into_inner).take(clock.now().mono);
        if !wait.is_zero() {
            clock.sleep(wait).await;
        }
        place
    }
}

/// A token bucket, kept as the time at which it will be full again.
#[derive(Debug)]
struct Rate {
    /// Microseconds for one request.
    interval: i64,
    /// How far ahead of an even pace requests may run, in microseconds.
    slack: i64,
    /// When the last request that was let through would have begun at an even pace, and one interval more.
    next: i64,
}

impl Rate {
    fn new(per_second: u32) -> Self {
        let per_second = per_second.max(1);
        let interval = (1_000_000 / i64::from(per_second)).max(1);
        let burst = i64::from((per_second / BURSTS_PER_SECOND).max(1));
        Self { interval, slack: (burst - 1) * interval, next: i64::MIN }
    }

    /// Takes a token and tells how long to wait before using it. Those who come later wait longer.
    fn take(&mut self, now: Mono) -> Duration {
        let now = now.0.saturating_mul(1_000);
        let even = self.next.max(now);
        self.next = even.saturating_add(self.interval);
        let wait = even.saturating_sub(self.slack).saturating_sub(now);
        Duration::from_micros(u64::try_from(wait).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cloud::testing::VirtualClock;

    fn limits(in_flight: u32, per_second: u32) -> Limits {
        Limits { max_requests_in_flight: in_flight, requests_per_second: per_second, ..Limits::default() }
    }

    #[test]
    fn a_small_burst_is_let_through_and_then_the_pace_is_even() {
        let mut rate = Rate::new(20);
        let waits: Vec<u128> = (0..8).map(|_| rate.take(Mono(1_000)).as_millis()).collect();
        assert_eq!(waits, [0, 0, 0, 0, 0, 50, 100, 150]);
        assert_eq!(rate.take(Mono(60_000)), Duration::ZERO, "a pause fills the bucket");
        let waits: Vec<u128> = (0..5).map(|_| rate.take(Mono(60_000)).as_millis()).collect();
        assert_eq!(waits, [0, 0, 0, 0, 50], "and never fuller than full");
    }

    #[test]
    fn slow_and_fast_rates_keep_their_count() {
        let mut slow = Rate::new(1);
        assert_eq!([slow.take(Mono(0)), slow.take(Mono(0))], [Duration::ZERO, Duration::from_secs(1)]);
        let mut fast = Rate::new(5_000);
        let last = (0..10_000).map(|_| fast.take(Mono(0))).last().unwrap();
        assert_eq!(last, Duration::from_millis(1_750));
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_than_the_limit_are_under_way() {
        let clock = VirtualClock::new();
        let pace = Pace::new(&limits(2, 1_000));
        let (first, _second) = (pace.place(&clock).await, pace.place(&clock).await);
        let third = tokio::time::timeout(Duration::from_mins(1), pace.place(&clock)).await;
        assert!(third.is_err());
        drop(first);
        assert!(tokio::time::timeout(Duration::from_mins(1), pace.place(&clock)).await.is_ok());
    }
}
