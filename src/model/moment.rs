//! A point in time, by both clocks at once.
//!
//! Waits use the monotonic clock, so that a jump of the wall clock never makes anything early;
//! records use wall time. After a restart [`Moment::recall`] relates the two again.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// A point in time: `wall` for records, `mono` for waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// Wall-clock time (UTC).
    pub wall: Timestamp,
    /// Monotonic time.
    pub mono: Mono,
}

/// Milliseconds on the monotonic clock of this process, from an arbitrary origin. May be negative:
/// entries from before this process lie before its origin.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Mono(pub i64);

impl Mono {
    /// The time from `earlier` to this; zero where `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// This much later.
    #[must_use]
    pub fn after(self, wait: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(wait.as_millis()).unwrap_or(i64::MAX)))
    }
}

impl Moment {
    /// The moment that lies `wait` ahead, by both clocks.
    #[must_use]
    pub fn after(self, wait: Duration) -> Self {
        let wall = SignedDuration::try_from(wait).ok().and_then(|wait| self.wall.checked_add(wait).ok());
        Self { wall: wall.unwrap_or(Timestamp::MAX), mono: self.mono.after(wait) }
    }

    /// The moment that lies `wait` back, by both clocks.
    #[must_use]
    pub fn before(self, wait: Duration) -> Self {
        let wall = SignedDuration::try_from(wait).ok().and_then(|wait| self.wall.checked_sub(wait).ok());
        let millis = i64::try_from(wait.as_millis()).unwrap_or(0);
        Self { wall: wall.unwrap_or(self.wall), mono: Mono(self.mono.0.saturating_sub(millis)) }
    }

    /// Returns this moment by the wall clock as it is now: the clock may have been set since.
    pub fn wall_by(self, now: Self) -> Timestamp {
        if self.mono >= now.mono { now.after(self.since(now)).wall } else { now.before(now.since(self)).wall }
    }

    /// The time from `earlier` to this by the monotonic clock; zero where `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        self.mono.since(earlier.mono)
    }

    /// Returns the age of what was known at `earlier`: by the clock that says more, because the
    /// monotonic one stops while the machine is suspended.
    pub fn age(self, earlier: Self) -> Duration {
        let wall = self.wall.duration_since(earlier.wall).try_into().unwrap_or(Duration::ZERO);
        self.since(earlier).max(wall)
    }

    /// Returns the moment that a journaled wall time of an earlier process has in this one.
    ///
    /// A wall time in the future is taken as now: a clock that was set back can lengthen a wait by
    /// at most the whole of it.
    #[must_use]
    pub fn recall(self, wall: Timestamp) -> Self {
        let age = self.wall.duration_since(wall).max(SignedDuration::ZERO);
        let age = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
        Self { wall, mono: Mono(self.mono.0.saturating_sub(age)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Moment {
        Moment { wall: "2026-01-02T03:04:05Z".parse().unwrap(), mono: Mono(1_000) }
    }

    #[test]
    fn a_journaled_moment_keeps_its_age_over_a_restart() {
        let then = now().recall("2026-01-02T03:03:05Z".parse().unwrap());
        assert_eq!(now().since(then), Duration::from_mins(1));
    }

    #[test]
    fn a_journaled_moment_in_the_future_counts_as_now() {
        let then = now().recall("2026-01-02T09:00:00Z".parse().unwrap());
        assert_eq!(now().since(then), Duration::ZERO);
        assert_eq!(now().after(Duration::from_secs(5)).since(then), Duration::from_secs(5));
    }
}
