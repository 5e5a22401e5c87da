//! How close together polls may begin: missed polls are not repeated at once, the important lanes
//! share the request rate, and the least important one stretches if the rate is not enough.
//!
//! ```text
//!   urgent    begins when it is due
//!   running   at most 1/0.95 of what its interval asks for, and at most 0.8 of the rate
//!   unread    at most half of the rate
//!   idle      at most 1/0.95 of what its interval asks for, and at most what the others leave of 0.9 of the rate
//! ```

use std::time::Duration;

use super::Lane;
use crate::model::moment::Mono;
use crate::model::project::{Poll, Stretch};

/// A reconcile reads two lists.
const REQUESTS_PER_LOOK: f64 = 2.0;
/// The largest number of clusters on one page of their list.
const CLUSTERS_PER_PAGE: f64 = 1000.0;
/// The shortest distance of reconciles, as a part of the even one: late reconciles catch up slowly.
const CLOSEST: f64 = 0.95;
/// Parts of the rate.
const FOR_ALL: f64 = 0.9;
const FOR_RUNNING: f64 = 0.8;
const FOR_UNREAD: f64 = 0.5;
const FOR_IDLE_AT_LEAST: f64 = 0.1;
/// Clusters that became active together may stay together: the API upgrades at most 20 at once.
const TOGETHER: i64 = 32;
/// Timers are no finer than this, in microseconds, and a lane must not lose by it.
const GRAIN: i64 = 20_000;
/// A smaller stretch is ignored.
const NOTABLE: f64 = 1.05;

/// The load and the limits.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Load {
    /// Clusters in each lane, those being polled included.
    pub(super) lanes: [usize; Lane::ALL.len()],
    /// Requests in a second; `None` without a limit.
    pub(super) rate: Option<f64>,
}

impl Load {
    fn of(&self, lane: Lane) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "no project has 2^52 clusters")]
        let count = self.lanes.get(lane as usize).copied().unwrap_or_default() as f64;
        count
    }

    fn all(&self) -> f64 {
        Lane::ALL.into_iter().map(|lane| self.of(lane)).sum()
    }

    /// Returns the shortest time between two polls of a lane, in seconds.
    fn distance(&self, lane: Lane, poll: &Poll) -> f64 {
        let even = |interval: Duration, clusters: f64| CLOSEST * interval.as_secs_f64() / clusters.max(1.0);
        let for_rate = |part: f64| self.rate.map_or(0.0, |rate| REQUESTS_PER_LOOK / (part * rate));
        match lane {
            Lane::Urgent => 0.0,
            Lane::Running => even(poll.active_interval, self.of(lane)).max(for_rate(FOR_RUNNING)),
            Lane::Unread => for_rate(FOR_UNREAD),
            Lane::Idle => {
                let unread = if self.of(Lane::Unread) > 0.0 { FOR_UNREAD } else { 0.0 };
                even(poll.idle_interval, self.all()).max(self.idle_distance(poll, unread))
            }
        }
    }

    /// Returns the seconds between two idle polls that the rate allows. `unread`: the part of the
    /// rate that others take for a time.
    fn idle_distance(&self, poll: &Poll, unread: f64) -> f64 {
        let Some(rate) = self.rate else { return 0.0 };
        let per_second = |interval: Duration, requests: f64| requests / interval.as_secs_f64().max(0.001);
        let busy = per_second(poll.active_interval, REQUESTS_PER_LOOK * self.of(Lane::Running))
            + per_second(poll.settle_interval, REQUESTS_PER_LOOK * self.of(Lane::Urgent))
            + per_second(poll.discovery_interval, (self.all() / CLUSTERS_PER_PAGE).ceil().max(1.0));
        let room = (FOR_ALL - unread) * rate - busy;
        REQUESTS_PER_LOOK / room.max(FOR_IDLE_AT_LEAST * rate)
    }

    /// Returns the distance at which this number of clusters is polled that should be polled soon.
    pub(super) fn first_step(&self, clusters: usize, poll: &Poll) -> Duration {
        let clusters = u32::try_from(clusters).unwrap_or(u32::MAX).max(1);
        let for_rate = Duration::try_from_secs_f64(self.distance(Lane::Unread, poll)).unwrap_or_default();
        (poll.active_interval / clusters).max(for_rate)
    }

    /// Returns whether idle clusters are polled less often than configured, because the request
    /// rate does not allow more.
    pub(super) fn stretch(&self, poll: &Poll) -> Option<Stretch> {
        let idle = self.of(Lane::Idle) + self.of(Lane::Unread);
        let actual = idle * self.idle_distance(poll, 0.0);
        if actual <= NOTABLE * poll.idle_interval.as_secs_f64() {
            return None;
        }
        let actual = Duration::try_from_secs_f64(actual).unwrap_or(Duration::MAX);
        Some(Stretch { wanted: poll.idle_interval, actual, per_second: self.rate.unwrap_or_default() })
    }
}

/// When the next reconcile of each lane may begin.
#[derive(Debug, Default)]
pub(super) struct LanePacer {
    /// By lane, in microseconds: when the last reconcile would have begun at an even pace, and one distance more.
    next: [i64; Lane::ALL.len()],
}

impl LanePacer {
    /// Returns from when on a reconcile of this lane may begin.
    pub(super) fn open(&self, lane: Lane, load: &Load, poll: &Poll) -> Mono {
        let distance = micros(load.distance(lane, poll));
        let together = if lane == Lane::Running { distance.saturating_mul(TOGETHER - 1) } else { 0 };
        let next = self.next.get(lane as usize).copied().unwrap_or_default();
        // Rounded up: it may not begin before that millisecond.
        Mono(next.saturating_sub(together.max(GRAIN)).saturating_add(999).div_euclid(1_000))
    }

    /// Takes in that one has begun.
    pub(super) fn begun(&mut self, lane: Lane, now: Mono, load: &Load, poll: &Poll) {
        let distance = micros(load.distance(lane, poll));
        if let Some(next) = self.next.get_mut(lane as usize) {
            *next = (*next).max(now.0.saturating_mul(1_000)).saturating_add(distance);
        }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "a cast saturates, and no interval is as long as that")]
fn micros(seconds: f64) -> i64 {
    (seconds * 1_000_000.0) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(lanes: [usize; 4], rate: f64) -> Load {
        Load { lanes, rate: Some(rate) }
    }

    #[test]
    fn idle_clusters_stretch_when_the_rate_is_not_enough_and_only_then() {
        let poll = Poll::default();
        // 1,000 clusters at 10 minutes are 3.3 requests a second.
        assert_eq!(load([0, 0, 0, 1_000], 20.0).stretch(&poll), None);
        let stretch = load([0, 0, 0, 10_000], 20.0).stretch(&poll).unwrap();
        // 20,000 requests at nine tenths of 20/s, less the pages of the list.
        assert!((1_111..1_120).contains(&stretch.actual.as_secs()), "{stretch:?}");
        assert_eq!(stretch.wanted, poll.idle_interval);
        let busy = load([0, 230, 0, 1_000], 20.0).stretch(&poll).unwrap();
        assert!((740..770).contains(&busy.actual.as_secs()), "230 running ones take 15.3 of 18/s: {busy:?}");
        assert_eq!(Load { lanes: [0, 0, 0, 1_000_000], rate: None }.stretch(&poll), None);
    }

    #[test]
    fn idle_clusters_keep_a_part_of_the_rate_whatever_runs() {
        let poll = Poll::default();
        let stretch = load([0, 10_000, 0, 1_000], 20.0).stretch(&poll).unwrap();
        assert_eq!(stretch.actual.as_secs(), 1_000, "2,000 requests at a tenth of 20/s");
    }

    #[test]
    fn looks_of_a_lane_keep_their_distance_and_a_pause_is_not_made_up_for() {
        let poll = Poll::default();
        let load = Load { lanes: [0, 0, 0, 600], rate: None };
        let mut spread = LanePacer::default();
        let mut begun = Vec::new();
        for ms in 0..10_000 {
            // The process is stopped for some seconds.
            if (3_000..7_000).contains(&ms) {
                continue;
            }
            if spread.open(Lane::Idle, &load, &poll) <= Mono(ms) {
                spread.begun(Lane::Idle, Mono(ms), &load, &poll);
                begun.push(ms);
            }
        }
        assert_eq!(begun, [0, 930, 1_880, 2_830, 7_000, 7_930, 8_880, 9_830]);
        assert_eq!(spread.open(Lane::Urgent, &load, &poll), Mono(-20));
    }
}
