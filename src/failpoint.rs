//! Steps at which a test kills the process, to see that a restart is no special case.
//!
//! Without the feature `failpoints` there is nothing here: [`pass`] and [`pass_of`] are empty, the names are not
//! compiled, and no variable of the environment is read. What is shipped is built without it.
//!
//! With it, `UPGRADE_REMEDIATOR_FAILPOINT="write.begun intent 1"` kills the process by SIGKILL when it passes that
//! point with that subject for the first time (`-` where a point has no subject); with
//! `UPGRADE_REMEDIATOR_FAILPOINT_STOPS` set, the process is stopped there by SIGSTOP, and goes on after SIGCONT.
//! `UPGRADE_REMEDIATOR_FAILPOINTS_PASSED` names a file to which every passage is appended as a line.
//! `tests/crash_points.rs` reads the names below and fails where one of them is never reached.

macro_rules! points {
    ($($(#[$doc:meta])* $point:ident = $name:literal,)*) => {
        /// A step at which the process can be killed.
        #[derive(Clone, Copy)]
        pub(crate) enum Point {
            $($(#[$doc])* $point,)*
        }

        #[cfg(feature = "failpoints")]
        impl Point {
            fn name(self) -> &'static str {
                match self {
                    $(Self::$point => $name,)*
                }
            }
        }
    };
}

points! {
    // A journal is opened, and made where there is none.
    /// The lock beside the journal is taken; nothing of the journal was touched.
    Locked = "journal.locked",
    /// The file of a new journal is there, empty, under its other name.
    FileMade = "journal.file-made",
    /// The tables are made or changed, and not committed.
    Migrating = "journal.migrating",
    /// The tables of a new journal are committed; its id and seed are not there yet.
    SchemaMade = "journal.schema-made",
    /// A new journal is whole, under its other name.
    Filled = "journal.filled",
    /// It has its name, which may not be on disk yet.
    Renamed = "journal.renamed",
    /// Its name is on disk.
    Created = "journal.created",
    /// An older journal has the newest schema.
    Migrated = "journal.migrated",
    // One transaction. The subject says what is written: the events' words, `hold` or `release`.
    /// Before it begins.
    WriteAsked = "write.asked",
    /// It has begun.
    WriteBegun = "write.begun",
    /// The rows are inserted, and not committed.
    WriteInserted = "write.inserted",
    /// It is committed; whoever asked does not know yet.
    WriteCommitted = "write.committed",
    // One PUT.
    /// The intent is committed, and the reconcile knows it.
    PutIntended = "put.intended",
    /// Before its connection.
    PutLeaving = "put.leaving",
    /// Its connection stands; no byte was sent.
    PutConnected = "put.connected",
    /// The head of the answer is there.
    PutAnswered = "put.answered",
    /// The whole answer is there, or will never be.
    PutRead = "put.read",
    /// What came back is known to the reconcile, and nothing of it is journaled.
    PutOver = "put.over",
    // The end.
    /// The journal is about to be closed.
    Outcome = "journal.closing",
    /// It is closed; its lock is still held.
    Closed = "journal.closed",
}

/// The process is at this step.
pub(crate) fn pass(point: Point) {
    pass_of(point, String::new);
}

/// The process is at this step of this.
#[cfg(not(feature = "failpoints"))]
#[inline]
pub(crate) fn pass_of(_: Point, _: impl FnOnce() -> String) {}

/// The process is at this step of this.
#[cfg(feature = "failpoints")]
pub(crate) fn pass_of(point: Point, subject: impl FnOnce() -> String) {
    armed::pass(point.name(), subject);
}

#[cfg(feature = "failpoints")]
mod armed {
    use std::fs::File;
    use std::io::Write as _;
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    use rustix::process::{Signal, getpid, kill_process};

    static ARMED: LazyLock<Armed> = LazyLock::new(Armed::by_environment);

    struct Armed {
        /// The point with its subject, and at which passage.
        at: Option<(String, u64)>,
        /// Whether the process is stopped there, and not killed.
        stops: bool,
        passages: AtomicU64,
        passed: Option<File>,
    }

    impl Armed {
        /// A variable that cannot be understood arms nothing; the test then misses its kill.
        fn by_environment() -> Self {
            let at = std::env::var("UPGRADE_REMEDIATOR_FAILPOINT").ok();
            let at = at.and_then(|at| {
                let (passage, nth) = at.rsplit_once(' ')?;
                Some((passage.to_owned(), nth.parse().ok()?))
            });
            let stops = std::env::var_os("UPGRADE_REMEDIATOR_FAILPOINT_STOPS").is_some();
            let passed = std::env::var_os("UPGRADE_REMEDIATOR_FAILPOINTS_PASSED");
            let passed = passed.and_then(|path| File::options().append(true).create(true).open(path).ok());
            Self { at, stops, passages: AtomicU64::new(0), passed }
        }
    }

    /// Notes the passage, and ends or stops the process where it is the one.
    #[expect(clippy::disallowed_methods, reason = "whatever else the process does stands still too")]
    pub(super) fn pass(point: &str, subject: impl FnOnce() -> String) {
        let armed = &*ARMED;
        if armed.at.is_none() && armed.passed.is_none() {
            return;
        }
        let subject = subject();
        let passage = format!("{point} {}", if subject.is_empty() { "-" } else { &subject });
        if let Some(mut passed) = armed.passed.as_ref() {
            let _ = passed.write_all(format!("{passage}\n").as_bytes());
        }
        let Some((at, nth)) = &armed.at else { return };
        if *at == passage && armed.passages.fetch_add(1, Ordering::SeqCst) + 1 == *nth {
            let (signal, long) = if armed.stops {
                (Signal::STOP, Duration::from_millis(100))
            } else {
                (Signal::KILL, Duration::MAX)
            };
            let _ = kill_process(getpid(), signal);
            // Nothing of this thread goes on while the signal is on its way.
            std::thread::sleep(long);
        }
    }
}
