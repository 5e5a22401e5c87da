//! How many requests are in flight at once, and how many begin in a second. A PUT goes before a
//! read; among equals, first come, first served.
//!
//! After a 429 a server gets half of the rate, and a little more again with every second without
//! another 429.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::clock::Clock;
use crate::model::moment::Mono;
use crate::model::project::Limits;

/// The number of requests that may begin at once after a pause: those of a twentieth of a second.
/// Gateways allow little more.
const BURSTS_PER_SECOND: f64 = 20.0;
/// The time from rate zero to the rate at which the 429 came.
const RECOVERY: Duration = Duration::from_mins(10);
/// The rate is never halved below this, in a second.
const LOWEST: f64 = 0.25;
/// Below this rate a 429 says nothing about our rate: other clients use the same quota.
const TELLING: f64 = 20.0;
/// The rate of begun requests is measured over this time, and over at least a quarter of it.
const WINDOW: Duration = Duration::from_secs(1);
/// A `Retry-After` holds all requests for no longer than this; the rate is halved as well.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Hands out places for requests.
#[derive(Debug)]
pub(super) struct RateLimiter {
    places: PrioritySemaphore,
    /// The one request that waits for the rate: so a process that was stopped for a time finds one
    /// request due, and not all that wait.
    turns: PrioritySemaphore,
    rate: Mutex<Rate>,
}

/// A place among the requests in flight, free again when this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    _place: Turn,
}

/// The order of requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rank {
    /// A PUT that is due.
    Acting,
    /// A read.
    Reading,
}

impl RateLimiter {
    /// A limit of zero counts as one: otherwise nothing would ever be sent.
    pub(super) fn new(limits: &Limits) -> Self {
        let places = usize::try_from(limits.max_requests_in_flight.max(1)).unwrap_or(usize::MAX);
        Self {
            places: PrioritySemaphore::new(places),
            turns: PrioritySemaphore::new(1),
            rate: Mutex::new(Rate::new(limits.requests_per_second)),
        }
    }

    /// Waits for a place, then for the rate.
    ///
    /// Cancel safety: only the turn is lost.
    pub(super) async fn place<C: Clock>(&self, clock: &C, rank: Rank) -> Place {
        let place = Place { _place: self.places.enter(rank).await };
        let turn = self.turns.enter(rank).await;
        loop {
            let wait = self.rate().take(clock.now().mono);
            if wait.is_zero() {
                break;
            }
            clock.sleep(wait).await;
        }
        drop(turn);
        place
    }

    /// Takes in that the API asked to slow down, in an answer to a request that was sent at `sent`.
    pub(super) fn throttled(&self, sent: Mono, now: Mono, wish: Option<Duration>) {
        self.rate().throttled(sent, now, wish.unwrap_or_default().min(LONGEST_PAUSE));
    }

    /// Returns how many requests may begin in a second now.
    pub(super) fn per_second(&self, now: Mono) -> f64 {
        self.rate().at(now)
    }

    fn rate(&self) -> MutexGuard<'_, Rate> {
        self.rate.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Admits a number of holders at once; the others wait in two queues.
#[derive(Debug, Clone)]
struct PrioritySemaphore(Arc<Mutex<Rows>>);

#[derive(Debug)]
struct Rows {
    free: usize,
    acting: VecDeque<oneshot::Sender<Turn>>,
    reading: VecDeque<oneshot::Sender<Turn>>,
}

/// One of the holders. Dropping it admits the next one.
#[derive(Debug)]
struct Turn {
    /// `None` in one that was handed on.
    of: Option<PrioritySemaphore>,
}

impl PrioritySemaphore {
    fn new(free: usize) -> Self {
        let rows = Rows { free, acting: VecDeque::new(), reading: VecDeque::new() };
        Self(Arc::new(Mutex::new(rows)))
    }

    /// Cancel safety: only the turn is lost. A turn for a request that was cancelled goes to the
    /// next one.
    async fn enter(&self, rank: Rank) -> Turn {
        let given = {
            let mut rows = self.rows();
            if rows.free > 0 {
                rows.free -= 1;
                return Turn { of: Some(self.clone()) };
            }
            let (turn, given) = oneshot::channel();
            match rank {
                Rank::Acting => rows.acting.push_back(turn),
                Rank::Reading => rows.reading.push_back(turn),
            }
            given
        };
        // A sender stays in its queue until it sends, so there always is a turn in the end.
        given.await.unwrap_or(Turn { of: None })
    }

    fn leave(self) {
        loop {
            let next = {
                let mut rows = self.rows();
                let next = rows.acting.pop_front();
                let Some(next) = next.or_else(|| rows.reading.pop_front()) else {
                    rows.free += 1;
                    return;
                };
                next
            };
            match next.send(Turn { of: Some(self.clone()) }) {
                Ok(()) => return,
                // The request was cancelled: this turn does not count.
                Err(mut refused) => refused.of = None,
            }
        }
    }

    fn rows(&self) -> MutexGuard<'_, Rows> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(turnstile) = self.of.take() {
            turnstile.leave();
        }
    }
}

/// A token bucket, kept as the time at which it will be full again.
#[derive(Debug)]
struct Rate {
    /// Requests in a second that the configuration allows.
    limit: f64,
    reduced: Option<Reduced>,
    /// Nothing begins before this: the API asked to wait.
    paused_until: Option<Mono>,
    /// When the last admitted request would have begun at an even pace, and one interval more: in
    /// microseconds.
    next: i64,
    begun: Begun,
}

/// A rate that a 429 has reduced.
#[derive(Debug, Clone, Copy)]
struct Reduced {
    /// To so many requests in a second.
    to: f64,
    at: Mono,
    /// The increase of the rate in each second.
    gain: f64,
}

/// How many requests were begun lately.
#[derive(Debug)]
struct Begun {
    since: Mono,
    count: u32,
    /// Per second, in the window before.
    before: f64,
}

impl Begun {
    fn one_more(&mut self, now: Mono) {
        let window = now.since(self.since);
        if window >= WINDOW {
            self.before = f64::from(self.count) / window.as_secs_f64();
            (self.since, self.count) = (now, 0);
        }
        self.count += 1;
    }

    /// Returns the rate per second now.
    fn per_second(&self, now: Mono) -> f64 {
        let window = now.since(self.since);
        let now = f64::from(self.count) / window.max(WINDOW / 4).as_secs_f64();
        if window < WINDOW / 2 { now.max(self.before) } else { now }
    }
}

impl Rate {
    fn new(per_second: u32) -> Self {
        let begun = Begun { since: Mono(i64::MIN), count: 0, before: 0.0 };
        Self { limit: f64::from(per_second.max(1)), reduced: None, paused_until: None, next: i64::MIN, begun }
    }

    /// Returns the allowed requests per second now.
    fn at(&mut self, now: Mono) -> f64 {
        let Some(reduced) = self.reduced else { return self.limit };
        let recovered = reduced.to + reduced.gain * now.since(reduced.at).as_secs_f64();
        if recovered >= self.limit {
            self.reduced = None;
            return self.limit;
        }
        recovered
    }

    /// Halves the rate, from the real rate: a configured limit may be far above what the API
    /// accepts. A 429 for a request from before the last halving is ignored.
    fn throttled(&mut self, sent: Mono, now: Mono, pause: Duration) {
        self.paused_until = self.paused_until.max(Some(now.after(pause)));
        if self.reduced.is_some_and(|reduced| sent <= reduced.at) {
            return;
        }
        let asked = self.begun.per_second(now).max(TELLING).min(self.at(now));
        let gain = asked / RECOVERY.as_secs_f64();
        let gain = self.reduced.map_or(gain, |reduced| reduced.gain.max(gain));
        self.reduced = Some(Reduced { to: (asked / 2.0).max(LOWEST), at: now, gain });
    }

    /// Takes a token, or returns how long to wait before the next try.
    fn take(&mut self, now: Mono) -> Duration {
        if let Some(until) = self.paused_until {
            if now < until {
                return until.since(now);
            }
            self.paused_until = None;
        }
        let per_second = self.at(now);
        let interval = interval(per_second);
        // How far ahead of an even pace requests may be.
        let burst = interval.saturating_mul(whole(per_second / BURSTS_PER_SECOND).max(1) - 1);
        let even = self.next.max(micros(now));
        let wait = even.saturating_sub(burst).saturating_sub(micros(now));
        if wait > 0 {
            // In whole milliseconds, like the clock: a shorter wait might never end.
            return Duration::from_millis(u64::try_from(wait).unwrap_or(0).div_ceil(1_000));
        }
        self.next = even.saturating_add(interval);
        self.begun.one_more(now);
        Duration::ZERO
    }
}

fn micros(at: Mono) -> i64 {
    at.0.saturating_mul(1_000)
}

/// Microseconds for one request.
fn interval(per_second: f64) -> i64 {
    whole(1_000_000.0 / per_second).max(1)
}

#[expect(clippy::cast_possible_truncation, reason = "bounded by the limits, and a cast saturates")]
fn whole(number: f64) -> i64 {
    number as i64
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use super::*;
    use crate::clocks::VirtualClock;

    fn limits(in_flight: u32, per_second: u32) -> Limits {
        Limits { max_requests_in_flight: in_flight, requests_per_second: per_second, ..Limits::default() }
    }

    /// When so many requests begin, one after the other as soon as they may.
    fn begins(rate: &mut Rate, from: i64, count: usize) -> Vec<i64> {
        let mut now = Mono(from);
        let mut begins = Vec::new();
        while begins.len() < count {
            match rate.take(now) {
                Duration::ZERO => begins.push(now.0 - from),
                wait => now = now.after(wait),
            }
        }
        begins
    }

    #[test]
    fn a_small_burst_is_let_through_and_then_the_pace_is_even() {
        let mut rate = Rate::new(100);
        assert_eq!(begins(&mut rate, 1_000, 8), [0, 0, 0, 0, 0, 10, 20, 30]);
        assert_eq!(begins(&mut rate, 60_000, 6), [0, 0, 0, 0, 0, 10], "a pause fills the bucket, not more");
        assert_eq!(begins(&mut Rate::new(20), 0, 3), [0, 50, 100]);
    }

    #[test]
    fn slow_and_fast_rates_keep_their_count() {
        assert_eq!(begins(&mut Rate::new(1), 0, 3), [0, 1_000, 2_000]);
        let last = begins(&mut Rate::new(5_000), 0, 10_000).last().copied();
        assert!((1_940..=1_960).contains(&last.unwrap()), "{last:?}");
    }

    fn near(rate: &mut Rate, at: i64, expected: f64) {
        let is = rate.at(Mono(at));
        assert!((is - expected).abs() < 0.01 * expected, "{is} at {at}, not {expected}");
    }

    #[test]
    fn a_429_halves_the_rate_once_for_all_that_was_under_way_and_it_recovers_slowly() {
        let mut rate = Rate::new(20);
        rate.throttled(Mono(0), Mono(100), Duration::ZERO);
        rate.throttled(Mono(50), Mono(120), Duration::ZERO);
        near(&mut rate, 100, 10.0);
        rate.throttled(Mono(150), Mono(200), Duration::ZERO);
        near(&mut rate, 200, 5.0);
        near(&mut rate, 200 + 60_000, 7.0);
        near(&mut rate, 200 + 450_000, 20.0);
        for n in 0..50 {
            rate.throttled(Mono(1_000_000 + n), Mono(1_000_000 + n), Duration::ZERO);
        }
        near(&mut rate, 1_000_050, LOWEST);
    }

    #[test]
    fn what_is_halved_is_what_was_asked_for_and_not_a_limit_far_above_it() {
        let mut rate = Rate::new(1_000_000);
        // 300 a second for two seconds.
        for ms in 0..2_000 {
            if ms % 10 < 3 {
                assert!(rate.take(Mono(ms)).is_zero());
            }
        }
        rate.throttled(Mono(1_990), Mono(2_000), Duration::ZERO);
        near(&mut rate, 2_000, 150.0);
        near(&mut rate, 2_000 + 60_000, 180.0);
        let mut quiet = Rate::new(100);
        assert!(quiet.take(Mono(0)).is_zero());
        quiet.throttled(Mono(0), Mono(500), Duration::ZERO);
        near(&mut quiet, 500, 10.0);
    }

    #[test]
    fn a_wish_to_wait_holds_everything_back() {
        let mut rate = Rate::new(100);
        rate.throttled(Mono(0), Mono(0), Duration::from_secs(3));
        assert_eq!(begins(&mut rate, 0, 2), [3_000, 3_100]);
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_than_the_limit_are_under_way() {
        let clock = VirtualClock::new();
        let pace = RateLimiter::new(&limits(2, 1_000));
        let read = || pace.place(&clock, Rank::Reading);
        let (first, _second) = (read().await, read().await);
        assert!(tokio::time::timeout(Duration::from_mins(1), read()).await.is_err());
        drop(first);
        assert!(tokio::time::timeout(Duration::from_mins(1), read()).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn who_acts_goes_before_all_who_wait_to_read_and_who_left_takes_no_place() {
        let clock = VirtualClock::new();
        let pace = RateLimiter::new(&limits(1, 1_000));
        let held = pace.place(&clock, Rank::Reading).await;
        let mut left = Box::pin(pace.place(&clock, Rank::Reading));
        let mut read = pin!(pace.place(&clock, Rank::Reading));
        let mut act = pin!(pace.place(&clock, Rank::Acting));
        let at_once = Duration::from_millis(5);
        assert!(tokio::time::timeout(at_once, &mut left).await.is_err());
        assert!(tokio::time::timeout(at_once, &mut read).await.is_err());
        assert!(tokio::time::timeout(at_once, &mut act).await.is_err());
        drop(left);
        drop(held);
        assert!(tokio::time::timeout(at_once, &mut read).await.is_err(), "the place is for who acts");
        let acting = tokio::time::timeout(at_once, act).await.unwrap();
        drop(acting);
        assert!(tokio::time::timeout(at_once, read).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_process_that_stood_still_makes_nothing_up() {
        let clock = VirtualClock::new();
        let pace = Arc::new(RateLimiter::new(&limits(64, 10)));
        let mut waiting = tokio::task::JoinSet::new();
        for _ in 0..20 {
            let (pace, clock) = (Arc::clone(&pace), clock.clone());
            waiting.spawn(async move {
                drop(pace.place(&clock, Rank::Reading).await);
                clock.now()
            });
        }
        clock.sleep(Duration::from_millis(1)).await;
        // A minute passes without a request.
        tokio::time::advance(Duration::from_mins(1)).await;
        let stood_still = clock.now();
        let begins = waiting.join_all().await;
        let soon = begins.iter().filter(|at| at.since(stood_still) < Duration::from_millis(500)).count();
        assert!(soon <= 6, "{soon} of 20 within half a second, at 10/s");
    }
}
