//! The only loop that repeats a request, and only a read: a GET changes nothing, so repeating it is
//! safe. There are two limits: for one read, and for all of them together, so that a failing API
//! does not get three times the load.

use std::future::Future;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::error::CloudError;
use crate::clock::Clock;

/// Two more tries after the first.
const MAX_RETRIES: u32 = 2;
const FIRST_WAIT: Duration = Duration::from_millis(250);
/// If an API asks to wait longer than this, the loop ends: the error has the wait for the caller.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(30);
/// One retry for this number of reads, on average.
const READINGS_PER_RETRY: u32 = 10;
/// This many retries are in reserve.
const RESERVE: u32 = 10;

/// The loop, and its allowance of retries.
#[derive(Debug)]
pub(super) struct Retries {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// In reads: each adds one, a retry takes [`READINGS_PER_RETRY`].
    budget: u32,
    random: StdRng,
}

impl Retries {
    pub(super) fn new(seed: u64) -> Self {
        let state = State { budget: RESERVE * READINGS_PER_RETRY, random: StdRng::seed_from_u64(seed) };
        Self { state: Mutex::new(state) }
    }

    /// Reads, and reads again after a temporary error while the allowance lasts. `read` must make a
    /// new request each time: a signature is valid for one moment.
    pub(super) async fn run<C, T, F, Fut>(&self, clock: &C, mut read: F) -> Result<T, CloudError>
    where
        C: Clock,
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<T, CloudError>>,
    {
        self.with(|state| state.budget = (state.budget + 1).min(RESERVE * READINGS_PER_RETRY));
        let mut retries = 0;
        loop {
            let error = match read().await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            if retries == MAX_RETRIES || !error.is_passing() {
                return Err(error);
            }
            let asked = error.retry_after().unwrap_or_default();
            if asked > LONGEST_RETRY_AFTER {
                return Err(error);
            }
            // After a 429 all requests become fewer, this one included: the retry adds no load, and
            // takes no allowance.
            let is_free = matches!(error, CloudError::Throttled(_));
            if !is_free && !self.with(State::pay) {
                return Err(error);
            }
            let wait = self.with(|state| state.wait(retries));
            tracing::debug!(error = error.code(), retry = retries + 1, "repeating the read request");
            clock.sleep(wait.max(asked)).await;
            retries += 1;
        }
    }

    fn with<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl State {
    /// Takes the allowance of a retry, if there is enough.
    fn pay(&mut self) -> bool {
        let left = self.budget.checked_sub(READINGS_PER_RETRY);
        self.budget = left.unwrap_or(self.budget);
        left.is_some()
    }

    /// Returns the wait before a retry: doubling, and spread over half of it.
    fn wait(&mut self, retries_before: u32) -> Duration {
        let longest = FIRST_WAIT * 2_u32.pow(retries_before);
        longest.mul_f64(self.random.random_range(0.5..=1.0))
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::clocks::VirtualClock;
    use crate::cloud::error::Refusal;
    use crate::cloud::transport::TransportError;
    use crate::model::moment::Moment;

    fn server_error(status: u16, retry_after: Option<u64>) -> CloudError {
        let retry_after = retry_after.map(Duration::from_secs);
        let refusal = Refusal { status, code: None, message: String::new(), request_id: None, retry_after };
        if status == 429 { CloudError::Throttled(refusal) } else { CloudError::Server(refusal) }
    }

    /// Reads with these errors one after the other, then success; returns whether that was reached,
    /// how often it read, and how long it took.
    async fn run(retries: &Retries, errors: Vec<CloudError>) -> (bool, usize, Duration) {
        let clock = VirtualClock::new();
        let start: Moment = clock.now();
        let (errors, reads) = (std::cell::RefCell::new(errors.into_iter()), Cell::new(0));
        let result = retries
            .run(&clock, || {
                reads.set(reads.get() + 1);
                let error = errors.borrow_mut().next();
                async move { error.map_or(Ok(()), Err) }
            })
            .await;
        (result.is_ok(), reads.get(), clock.now().since(start))
    }

    #[tokio::test(start_paused = true)]
    async fn passing_errors_are_read_over_twice_and_quickly() {
        let (done, reads, took) = run(
            &Retries::new(1),
            vec![CloudError::Transport(TransportError::Broken("reset".into())), server_error(503, None)],
        )
        .await;
        assert!(done);
        assert_eq!(reads, 3);
        assert!(took >= Duration::from_millis(375) && took <= Duration::from_millis(750), "{took:?}");
        let errors = (0..5).map(|_| server_error(500, None)).collect();
        assert_eq!(run(&Retries::new(1), errors).await.1, 3);
    }

    #[tokio::test(start_paused = true)]
    async fn what_does_not_pass_is_not_read_again() {
        for error in [
            CloudError::CredentialUnproven,
            CloudError::Unreadable { detail: String::new(), request_id: None },
            CloudError::Transport(TransportError::Broken("x".into())),
        ] {
            let expected = if error.is_passing() { 2 } else { 1 };
            assert_eq!(run(&Retries::new(1), vec![error]).await.1, expected);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_wish_to_wait_is_kept_and_a_long_one_is_the_callers() {
        let (done, _, took) = run(&Retries::new(1), vec![server_error(429, Some(7))]).await;
        assert!(done && took >= Duration::from_secs(7) && took < Duration::from_secs(8), "{took:?}");
        let (done, reads, took) = run(&Retries::new(1), vec![server_error(429, Some(31))]).await;
        assert!(!done && reads == 1 && took.is_zero());
    }

    #[tokio::test(start_paused = true)]
    async fn a_service_in_trouble_gets_a_tenth_more_and_not_thrice_as_much() {
        let retries = Retries::new(1);
        let mut reads = 0;
        for _ in 0..1_000 {
            reads += run(&retries, (0..3).map(|_| server_error(503, None)).collect()).await.1;
        }
        assert!((1_100..=1_120).contains(&reads), "{reads}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_reading_that_was_asked_to_slow_down_is_always_read_again_as_all_are_slower_by_then() {
        let retries = Retries::new(1);
        for _ in 0..200 {
            let (done, reads, _) = run(&retries, vec![server_error(429, None)]).await;
            assert!(done && reads == 2);
        }
        assert_eq!(
            run(&retries, (0..3).map(|_| server_error(429, None)).collect()).await.1,
            3,
            "but not for ever"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn equal_seeds_wait_equally() {
        let mut took = Vec::new();
        for seed in [7, 7, 8] {
            took.push(run(&Retries::new(seed), vec![server_error(500, None)]).await.2);
        }
        assert_eq!(took[0], took[1]);
        assert_ne!(took[0], took[2]);
    }
}
