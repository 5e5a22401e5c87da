//! Whether everything that works still does: the loop of every scheduler, and whoever keeps the journal. All are asked,
//! again and again; only when all have answered has the daemon shown a sign of life.
//!
//! There is no task and no timer of its own that could go on while the work does not: the daemon's own loop asks and
//! hears the answers, so a sign of life also shows that that one turns.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use crate::clock::Clock;
use crate::journal::{Journal, JournalError};
use crate::model::moment::Mono;
use crate::schedule::liveness::LivenessProbe;

/// All are asked this often. More often where the service manager wants to hear of it sooner.
const USUAL: Duration = Duration::from_secs(5);
/// So many signs of life within the time after which the service manager loses patience.
const SIGNS: u32 = 4;

/// Ends once every scheduler and the journal have answered.
///
/// # Errors
/// Where nothing will ever be journaled again.
pub(super) async fn answered(schedulers: Vec<LivenessProbe>, journal: Journal) -> Result<(), JournalError> {
    for scheduler in schedulers {
        scheduler.answered().await;
    }
    journal.check_alive().await
}

/// Asks, round after round. A round ends once all have answered.
pub(super) struct Liveness<R> {
    every: Duration,
    next: Mono,
    under_way: Option<Pin<Box<R>>>,
}

impl<R: Future<Output = Result<(), JournalError>>> Liveness<R> {
    /// From now on. `patience`: how long the service manager waits for a sign.
    pub(super) fn new(patience: Option<Duration>, now: Mono) -> Self {
        let every = patience.map_or(USUAL, |patience| USUAL.min(patience / SIGNS));
        Self { every, next: now, under_way: None }
    }

    /// Asks once the next round is due, and ends when all have answered. Cancel safe: what is under way goes on at the
    /// next call.
    ///
    /// # Errors
    /// Where nothing will ever be journaled again.
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
