//! The two clocks of tests: one follows tokio's paused time, one stands still until a test moves it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;
use upgrade_remediator::clock::Clock;
use upgrade_remediator::model::moment::{Moment, Mono};

/// 2026-01-02T03:04:05Z
const BEGIN: Timestamp = Timestamp::constant(1_767_323_045, 0);

/// In whole milliseconds, which is what a [`Moment`] tells; no wait ends too early.
fn millis(wait: Duration) -> u64 {
    u64::try_from(wait.as_micros()).unwrap_or(u64::MAX).div_ceil(1_000)
}

fn shifted(wall: Timestamp, millis: i64) -> Timestamp {
    wall.saturating_add(SignedDuration::from_millis(millis)).unwrap_or(Timestamp::MAX)
}

/// Follows tokio's paused time: a wait ends at once when nothing else is left to do. Clones tell the same time.
#[derive(Debug, Clone)]
pub(crate) struct VirtualClock {
    started: Instant,
    begin: Timestamp,
    /// The wall clock less the true time, in milliseconds.
    off: Arc<AtomicI64>,
    /// When the monotonic clock showed 0.
    origin: i64,
}

impl VirtualClock {
    pub(crate) fn new() -> Self {
        Self::beginning(BEGIN)
    }

    /// One whose wall clock shows this now.
    #[expect(clippy::disallowed_methods, reason = "tokio's paused time is the virtual time")]
    pub(crate) fn beginning(begin: Timestamp) -> Self {
        Self { started: Instant::now(), begin, off: Arc::default(), origin: 0 }
    }

    /// The clocks of a process: the same wall clock, and a monotonic one that showed 0 at this time.
    pub(crate) fn of_process(&self, origin: i64) -> Self {
        Self { origin, ..self.clone() }
    }

    /// How much time has truly passed.
    pub(crate) fn passed(&self) -> Duration {
        self.started.elapsed()
    }

    /// The same, in milliseconds.
    pub(crate) fn millis(&self) -> i64 {
        i64::try_from(self.passed().as_millis()).unwrap_or(i64::MAX)
    }

    /// What a wall clock that is right shows when so many milliseconds have passed.
    pub(crate) fn wall(&self, passed: i64) -> Timestamp {
        shifted(self.begin, passed)
    }

    /// The wall clock less the true time, in milliseconds.
    pub(crate) fn off(&self) -> i64 {
        self.off.load(Ordering::SeqCst)
    }

    /// Sets the wall clock wrong by so many milliseconds.
    pub(crate) fn set_off(&self, millis: i64) {
        self.off.store(millis, Ordering::SeqCst);
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> Moment {
        let passed = self.millis();
        Moment { wall: self.wall(passed + self.off()), mono: Mono(passed - self.origin) }
    }

    async fn sleep(&self, wait: Duration) {
        tokio::time::sleep(Duration::from_millis(millis(wait))).await;
    }
}

/// Stands still until a test moves it. A wait moves it too, and is over at once. Clones tell the same time.
#[derive(Debug, Clone)]
pub(crate) struct ManualClock {
    begin: Timestamp,
    /// In milliseconds.
    passed: Arc<AtomicI64>,
    /// The wall clock less the true time, in milliseconds.
    off: Arc<AtomicI64>,
    /// Whether a wait ever ends.
    ends: bool,
}

impl ManualClock {
    pub(crate) fn new() -> Self {
        Self::beginning(BEGIN)
    }

    /// One whose wall clock shows this now.
    pub(crate) fn beginning(begin: Timestamp) -> Self {
        Self { begin, passed: Arc::default(), off: Arc::default(), ends: true }
    }

    /// The clock of another machine in the same time, whose wall clock is right, and where no wait ever ends.
    pub(crate) fn of_the_service(&self) -> Self {
        Self { off: Arc::default(), ends: false, ..self.clone() }
    }

    /// Lets time pass.
    pub(crate) fn pass(&self, wait: Duration) {
        let wait = i64::try_from(millis(wait)).unwrap_or(i64::MAX);
        let pass = |passed: i64| Some(passed.saturating_add(wait));
        let _ = self.passed.fetch_update(Ordering::SeqCst, Ordering::SeqCst, pass);
    }

    /// Since the beginning.
    pub(crate) fn passed(&self) -> Duration {
        Duration::from_millis(self.passed.load(Ordering::SeqCst).unsigned_abs())
    }

    /// Sets the wall clock forward or back; the monotonic one takes no notice.
    pub(crate) fn jump(&self, by: SignedDuration) {
        self.off.fetch_add(i64::try_from(by.as_millis()).unwrap_or(i64::MAX), Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Moment {
        let passed = self.passed.load(Ordering::SeqCst);
        Moment {
            wall: shifted(self.begin, passed.saturating_add(self.off.load(Ordering::SeqCst))),
            mono: Mono(passed),
        }
    }

    async fn sleep(&self, wait: Duration) {
        if !self.ends {
            std::future::pending::<()>().await;
        }
        self.pass(wait);
        tokio::task::yield_now().await;
    }
}
