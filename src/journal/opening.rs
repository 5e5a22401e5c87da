//! What opening a journal needs.

use std::sync::Arc;

use super::database_clock::DatabaseClock;
use crate::model::moment::Moment;

/// What a process that opens a journal brings.
#[derive(Clone)]
pub struct Opening {
    /// Its clocks.
    pub now: Arc<dyn Fn() -> Moment + Send + Sync>,
    /// From which a new journal makes its id and the seed of its jitter.
    pub seed: u64,
    /// What the clock of a database is taken to show; `None`: what it shows.
    pub clock: Option<DatabaseClock>,
}
