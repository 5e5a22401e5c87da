//! How long to wait before the next retry: the arithmetic of the `backoff` crate, and jitter of our
//! own.
//!
//! Only the arithmetic of the crate is used, not its clock, its retry loop or its random numbers.
//! Its jitter can neither be seeded nor capped, so its factor is 0 and our jitter is added here.

use std::time::{Duration, Instant};

use ::backoff::backoff::Backoff as _;
use ::backoff::exponential::ExponentialBackoff;

use crate::model::id::TaskId;
use crate::model::policy::Retry;

/// A clock that stands still: the elapsed time of the crate is never used.
struct Still(Instant);

impl ::backoff::Clock for Still {
    fn now(&self) -> Instant {
        self.0
    }
}

/// Identifies a wait: the jitter is derived from it, so that equal inputs give equal waits, also
/// after a restart.
#[derive(Debug, Clone, Copy)]
pub struct Draw<'a> {
    /// The journal's seed.
    pub seed: u64,
    /// The task.
    pub task: &'a TaskId,
    /// The number of its failure.
    pub failure: u32,
    /// What the wait is for; different waits of one failure get different jitter.
    pub salt: u32,
}

/// Returns the wait before the retry that follows `used` retries, without jitter, in whole
/// milliseconds.
pub fn interval(retry: &Retry, used: u32) -> Duration {
    #[expect(clippy::disallowed_methods, reason = "a fixed origin that nothing is measured from")]
    let origin = Instant::now();
    let mut calculator = ExponentialBackoff {
        current_interval: retry.initial_interval,
        initial_interval: retry.initial_interval,
        randomization_factor: 0.0,
        multiplier: retry.multiplier,
        max_interval: retry.max_interval,
        start_time: origin,
        max_elapsed_time: None,
        clock: Still(origin),
    };
    let mut wait = retry.initial_interval;
    // A constant interval needs no counting: the number of external retries has no bound.
    let steps = if retry.multiplier > 1.0 { used } else { 0 };
    for _ in 0..=steps {
        wait = calculator.next_backoff().unwrap_or(retry.max_interval);
        if wait >= retry.max_interval {
            break;
        }
    }
    // With factor 0 the crate may still add a nanosecond.
    Duration::from_millis(u64::try_from(wait.min(retry.max_interval).as_millis()).unwrap_or(u64::MAX))
}

/// Returns the wait before the retry that follows `used` retries: ± `randomization_factor` around
/// the interval, and only downwards where it would exceed `max_interval`.
pub fn wait(retry: &Retry, used: u32, draw: Draw<'_>) -> Duration {
    jittered(interval(retry, used), retry, draw)
}

/// Returns a jittered `initial_interval`: what a task waits after a block has ended.
pub fn first_wait(retry: &Retry, draw: Draw<'_>) -> Duration {
    jittered(interval(retry, 0), retry, draw)
}

fn jittered(interval: Duration, retry: &Retry, draw: Draw<'_>) -> Duration {
    if retry.randomization_factor <= 0.0 {
        return interval;
    }
    let mut state = draw.seed;
    for word in
        draw.task.as_str().bytes().map(u64::from).chain([u64::from(draw.failure), u64::from(draw.salt)])
    {
        state = mix(state ^ word);
    }
    interval.mul_f64((1.0 + retry.randomization_factor * chance(mix(state))).max(0.0)).min(retry.max_interval)
}

/// Returns a number from -1 to 1, by the upper half of the word.
fn chance(word: u64) -> f64 {
    let [a, b, c, d, ..] = word.to_be_bytes();
    f64::from(u32::from_be_bytes([a, b, c, d])) / f64::from(u32::MAX) * 2.0 - 1.0
}

/// The finalizer of `SplitMix64`: spreads every bit of the input over the output. It is implemented
/// here because the waits that follow from a journal's seed must not change with a release of a
/// library.
fn mix(word: u64) -> u64 {
    let word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn retry(initial: u64, multiplier: f64, max: u64, jitter: f64) -> Retry {
        Retry {
            initial_interval: Duration::from_millis(initial),
            multiplier,
            max_interval: Duration::from_millis(max.max(initial)),
            randomization_factor: jitter,
            ..Retry::default()
        }
    }

    fn draw(task: &TaskId, seed: u64, salt: u32) -> Draw<'_> {
        Draw { seed, task, failure: 1, salt }
    }

    /// The definition of the waits in a few lines: it can replace the crate.
    fn reference(retry: &Retry, used: u32) -> f64 {
        let initial = retry.initial_interval.as_secs_f64() * 1_000.0;
        let max = retry.max_interval.as_secs_f64() * 1_000.0;
        (initial * retry.multiplier.powi(i32::try_from(used).unwrap())).min(max)
    }

    proptest! {
        #[test]
        fn waits_equal_the_reference(
            initial in 1_u64..10_000_000,
            multiplier in 1.0_f64..10.0,
            max in 1_u64..100_000_000,
            used in 0_u32..40,
        ) {
            let retry = retry(initial, multiplier, max, 0.0);
            let ours = interval(&retry, used).as_secs_f64() * 1_000.0;
            let theirs = reference(&retry, used);
            // The crate rounds at every step, so allow it a millisecond for each and a millionth.
            prop_assert!((ours - theirs).abs() <= 1.0 + theirs * 1e-6, "{ours} against {theirs}");
        }

        #[test]
        fn jitter_stays_within_its_factor_and_below_the_maximum(
            initial in 1_u64..10_000_000,
            used in 0_u32..10,
            factor in 0.0_f64..=1.0,
            seed: u64,
            salt: u32,
        ) {
            let retry = retry(initial, 2.0, 60_000_000, factor);
            let task = TaskId::new("t").unwrap();
            let plain = interval(&retry, used);
            let wait = wait(&retry, used, draw(&task, seed, salt));
            prop_assert!(wait <= retry.max_interval);
            prop_assert!(wait.as_secs_f64() >= plain.as_secs_f64() * (1.0 - factor) - 1e-6);
            prop_assert!(wait.as_secs_f64() <= plain.as_secs_f64() * (1.0 + factor) + 1e-6);
        }
    }

    #[test]
    fn equal_draws_give_equal_waits_and_different_tasks_spread() {
        let retry = retry(60_000, 2.0, 3_600_000, 0.2);
        let waits: std::collections::BTreeSet<_> = (0..100)
            .map(|n| {
                let task = TaskId::new(&format!("task-{n}")).unwrap();
                let first = wait(&retry, 0, draw(&task, 7, 0));
                assert_eq!(first, wait(&retry, 0, draw(&task, 7, 0)));
                first
            })
            .collect();
        assert!(waits.len() > 95, "only {} different waits", waits.len());
    }

    /// Later versions derive the same jitter: a wait that was announced does not change with an
    /// upgrade.
    #[test]
    fn draws_stay_as_they_are() {
        let retry = retry(60_000, 2.0, 3_600_000, 0.2);
        let waits = |task: &str, seed, failure, salt| {
            let task = TaskId::new(task).unwrap();
            wait(&retry, 0, Draw { seed, task: &task, failure, salt }).as_nanos()
        };
        let drawn = [
            waits("task", 7, 1, 0),
            waits("task", 8, 1, 0),
            waits("tasks", 7, 1, 0),
            waits("task", 7, 2, 0),
            waits("task", 7, 1, 1),
        ];
        assert_eq!(drawn, [66_210_534_810, 48_933_544_642, 57_199_140_594, 51_365_167_246, 66_352_145_717]);
    }

    /// The first numbers of `SplitMix64`, as its authors publish them for these seeds.
    #[test]
    fn words_are_mixed_as_splitmix64_does() {
        assert_eq!(mix(0), 0xe220_a839_7b1d_cdaf);
        assert_eq!(mix(0x9e37_79b9_7f4a_7c15), 0x6e78_9e6a_a1b9_65f4);
        assert_eq!(mix(1_234_567), 6_457_827_717_110_365_317);
    }

    #[test]
    fn a_multiplier_of_one_keeps_the_interval() {
        assert_eq!(interval(&retry(2_000, 1.0, 60_000, 0.0), 30), Duration::from_secs(2));
    }
}
