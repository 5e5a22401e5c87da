//! Connecting again and again, with a backoff.

use std::future::Future;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::error::{Kind, PostgresError};
use crate::clock::Clock;

/// The first wait and the longest one while no primary is there.
const AWAY: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(2));
/// The same while the server refuses: it may lock out who tries too often.
const REFUSED: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(10));

/// Connects by `connect` until that succeeds. After each failure `goes_on` is asked, with the wait that would follow, and
/// waits double. Each is shortened by up to a half, by the seed, so that many instances do not come at once.
///
/// # Errors
/// The last failure, where `goes_on` said no.
pub async fn until_connected<T, F>(
    clock: &impl Clock,
    seed: u64,
    mut connect: impl FnMut() -> F,
    mut goes_on: impl FnMut(&PostgresError, Duration) -> bool,
) -> Result<T, PostgresError>
where
    F: Future<Output = Result<T, PostgresError>>,
{
    let mut random = StdRng::seed_from_u64(seed);
    let mut failures = 0;
    loop {
        let error = match connect().await {
            Ok(connected) => return Ok(connected),
            Err(error) => error,
        };
        let (first, longest) = if error.kind() == Kind::Refused { REFUSED } else { AWAY };
        let wait = first.saturating_mul(2_u32.saturating_pow(failures)).min(longest);
        let wait = wait.mul_f64(random.random_range(0.5..=1.0));
        if !goes_on(&error, wait) {
            return Err(error);
        }
        clock.sleep(wait).await;
        failures += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clocks::VirtualClock;

    /// The waits, in milliseconds, of so many failures of this kind and a success after them.
    async fn waits(kind: Kind, seed: u64, failures: usize) -> Vec<u128> {
        let clock = VirtualClock::new();
        let (mut left, mut waits) = (failures, Vec::new());
        let connect = || {
            let fails = left > 0;
            left = left.saturating_sub(1);
            async move { if fails { Err(PostgresError::new(kind, "no")) } else { Ok(7) } }
        };
        let connected = until_connected(&clock, seed, connect, |_, wait| {
            waits.push(wait.as_millis());
            true
        });
        assert_eq!(connected.await.unwrap(), 7);
        let passed = clock.passed().as_millis();
        let (all, most) = (waits.iter().sum::<u128>(), 2 * waits.len() as u128);
        assert!((all..=all + most).contains(&passed), "it waits as long as it says: {passed}, {waits:?}");
        waits
    }

    #[tokio::test(start_paused = true)]
    async fn waits_double_to_two_seconds_and_to_ten_while_the_server_refuses() {
        for (kind, steps) in [
            (Kind::Unreachable, [200, 400, 800, 1_600, 2_000, 2_000]),
            (Kind::ReadOnly, [200, 400, 800, 1_600, 2_000, 2_000]),
            (Kind::Refused, [1_000, 2_000, 4_000, 8_000, 10_000, 10_000]),
        ] {
            for seed in 0..50 {
                for (wait, step) in waits(kind, seed, 6).await.into_iter().zip(steps) {
                    assert!((step / 2..=step).contains(&wait), "{kind:?}, {seed}: {wait} of {step}");
                }
            }
        }
        let (one, other) = (waits(Kind::Unreachable, 1, 6).await, waits(Kind::Unreachable, 2, 6).await);
        assert_ne!(one, other, "two instances do not wait alike");
    }

    #[tokio::test(start_paused = true)]
    async fn it_ends_where_it_is_told_to_and_long_outages_do_no_harm() {
        let clock = VirtualClock::new();
        let refused = || async { Err::<(), _>(PostgresError::new(Kind::Refused, "no")) };
        let mut asked = 0;
        let ended = until_connected(&clock, 1, refused, |_, _| {
            asked += 1;
            asked < 3
        });
        assert_eq!(ended.await.unwrap_err().kind(), Kind::Refused);
        assert_eq!(asked, 3);
        assert_eq!(waits(Kind::Unreachable, 1, 2_000).await.len(), 2_000);
    }
}
