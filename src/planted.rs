//! Faults that tests plant in the product, to see that they are found.
//!
//! They exist only where debug assertions are on, so in no release build: there `is` is `false` when the code is
//! compiled, nothing can be planted, and nothing of it is left. A feature would need every test built a second time
//! to be asked for from the plain `cargo test`; this asks a thread's own switch. Nothing but a call of `plant` in
//! the same thread sets it: no argument, no variable of the environment, no file.

/// A fault that can be planted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// What is acted on is the reading that said that something is due.
    SkipTheReread,
    /// The proof that an intent is committed is handed out before it is.
    PutBeforeTheCommit,
    /// A failed task is acted on though a newer one is there.
    NoNewestTaskRule,
    /// A PUT of unknown outcome counts as never sent.
    UnknownCountsAsNone,
    /// A retry of unknown outcome uses two up.
    UnknownCountsAsTwo,
    /// `retry_mode` is no query parameter.
    RetryModeInTheBody,
    /// A reading that shows an earlier failure counts as a new one.
    StaleFailedIsNew,
    /// Where `max_elapsed_time` is over, the task is aborted.
    AbortByElapsedTime,
    /// An answer of the gateway that it knows no such API closes the task.
    GatewayNotFoundCloses,
    /// A restart begins the backoff anew.
    BackoffRestarts,
    /// A hold does not hold aborts back.
    HoldIgnoredForAborts,
    /// Completed nodes that come and go are progress each time.
    FlappingIsProgress,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::SkipTheReread,
        Self::PutBeforeTheCommit,
        Self::NoNewestTaskRule,
        Self::UnknownCountsAsNone,
        Self::UnknownCountsAsTwo,
        Self::RetryModeInTheBody,
        Self::StaleFailedIsNew,
        Self::AbortByElapsedTime,
        Self::GatewayNotFoundCloses,
        Self::BackoffRestarts,
        Self::HoldIgnoredForAborts,
        Self::FlappingIsProgress,
    ];
}

/// Whether this fault is planted.
#[cfg(not(debug_assertions))]
pub(crate) const fn is(_: Fault) -> bool {
    false
}

#[cfg(debug_assertions)]
thread_local! {
    static PLANTED: std::cell::Cell<Option<Fault>> = const { std::cell::Cell::new(None) };
}

/// Plants a fault in this thread, or none.
#[cfg(debug_assertions)]
pub fn plant(fault: Option<Fault>) {
    PLANTED.set(fault);
}

/// Whether this fault is planted.
#[cfg(debug_assertions)]
pub(crate) fn is(fault: Fault) -> bool {
    PLANTED.get() == Some(fault)
}
