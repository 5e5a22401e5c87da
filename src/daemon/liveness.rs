//! Checks that everything works: the loop of every scheduler, and the thread of the journal. All
//! are asked again and again; when all have answered, that is a sign of life of the daemon.
//!
//! There is no task or timer of its own that could continue while the work does not: the daemon's
//! own loop asks and receives the answers, so a sign of life also shows that this loop runs.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use crate::clock::Clock;
use crate::journal::{Journal, JournalError};
use crate::model::moment::Mono;
use crate::schedule::liveness::LivenessProbe;

/// All are asked at this interval, or more often if the service manager expects it.
const USUAL: Duration = Duration::from_secs(5);
/// The number of signs of life within the watchdog time of the service manager.
const SIGNS: u32 = 4;

/// Ends when every scheduler and the journal have answered.
///
/// # Errors
/// If nothing can be journaled any more.
pub(super) async fn answered(schedulers: Vec<LivenessProbe>, journal: Journal) -> Result<(), JournalError> {
    for scheduler in schedulers {
        scheduler.answered().await;
    }
    journal.check_alive().await
}

/// Asks, round after round. A round ends when all have answered.
pub(super) struct Liveness<R> {
    every: Duration,
    next: Mono,
    under_way: Option<Pin<Box<R>>>,
}

impl<R: Future<Output = Result<(), JournalError>>> Liveness<R> {
    /// Starts now. `patience`: the watchdog time of the service manager.
    pub(super) fn new(patience: Option<Duration>, now: Mono) -> Self {
        let every = patience.map_or(USUAL, |patience| USUAL.min(patience / SIGNS));
        Self { every, next: now, under_way: None }
    }

    /// Asks when the next round is due, and ends when all have answered. Cancel safe: a begun round
    /// continues at the next call.
    ///
    /// # Errors
    /// If nothing can be journaled any more.
    pub(super) async fn round<C: Clock>(
        &mut self,
        clock: &C,
        ask: impl FnOnce() -> R,
    ) -> Result<(), JournalError> {
        if self.under_way.is_none() {
            clock.sleep(self.next.since(clock.now().mono)).await;
            self.next = clock.now().mono.after(self.every);
            self.under_way = Some(Box::pin(ask()));
        }
        let answered = match &mut self.under_way {
            Some(round) => round.await,
            None => Ok(()),
        };
        self.under_way = None;
        answered
    }
}

#[cfg(test)]
mod tests;
