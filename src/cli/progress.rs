//! The progress of long work, on a terminal's stderr: the done part, the rate and the time left.
//! Nothing if stderr is no terminal, or with `--json`.

use std::io::IsTerminal as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::telemetry;

/// The interval of drawing.
const EVERY: Duration = Duration::from_millis(200);
/// A terminal that does not accept output must not delay the end of a command.
const PATIENCE: Duration = Duration::from_secs(1);

const UNKNOWN: &str = "{spinner} {msg}: {pos} ({elapsed})";
/// Before this time the rate is unknown.
const BEGUN: &str = "{spinner} {msg}: {pos} of {len} ({elapsed})";
const KNOWN: &str = "{spinner} {msg}: {pos} of {len} ({per_sec}, {eta} left)";

/// The progress of the work. Clones count the same work.
#[derive(Debug, Clone, Default)]
pub(super) struct Work(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    done: AtomicU64,
    all: AtomicU64,
}

impl Work {
    /// Adds to the total.
    pub(super) fn more(&self, count: usize) {
        self.0.all.fetch_add(count as u64, Ordering::Relaxed);
    }

    /// Adds to the done part.
    pub(super) fn did(&self, count: usize) {
        self.0.done.fetch_add(count as u64, Ordering::Relaxed);
    }

    /// Returns the done part and the total; `None` while the total is unknown.
    fn so_far(&self) -> (u64, Option<u64>) {
        let all = self.0.all.load(Ordering::Relaxed);
        (self.0.done.load(Ordering::Relaxed), (all > 0).then_some(all))
    }
}

/// Shows the progress of some work, until this is dropped. The work itself never waits for the
/// terminal: it counts, and a thread draws.
#[derive(Debug)]
pub(super) struct Progress {
    stop: Option<mpsc::Sender<()>>,
    stopped: mpsc::Receiver<()>,
}

impl Progress {
    /// Begins to show the work.
    pub(super) fn show(of: &'static str, work: Work, json: bool) -> Self {
        Self::sampled(of, json, move || work.so_far())
    }

    /// Begins to show the result of `so_far`: the done part and the total.
    pub(super) fn sampled(
        of: &'static str,
        json: bool,
        so_far: impl Fn() -> (u64, Option<u64>) + Send + 'static,
    ) -> Self {
        let (stop, stops) = mpsc::channel();
        let (tell, stopped) = mpsc::channel();
        if !json && std::io::stderr().is_terminal() {
            let draw = move || {
                let bar = telemetry::bars().add(ProgressBar::no_length().with_message(of));
                while stops.recv_timeout(EVERY) == Err(RecvTimeoutError::Timeout) {
                    let (done, all) = so_far();
                    let form = match (done, all) {
                        (_, None) => UNKNOWN,
                        (0, Some(_)) => BEGUN,
                        _ => KNOWN,
                    };
                    bar.set_style(
                        ProgressStyle::with_template(form).unwrap_or_else(|_| ProgressStyle::default_bar()),
                    );
                    if let Some(all) = all {
                        bar.set_length(all);
                    }
                    bar.set_position(done);
                    bar.tick();
                }
                bar.finish_and_clear();
                let _ = tell.send(());
            };
            // Without a thread there is no progress to see, and the work is done all the same.
            let _ = std::thread::Builder::new().name("progress".to_owned()).spawn(draw);
        }
        Self { stop: Some(stop), stopped }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        drop(self.stop.take());
        // Ends at once if nothing was shown.
        let _ = self.stopped.recv_timeout(PATIENCE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_of_an_unknown_number_until_one_is_known() {
        let work = Work::default();
        assert_eq!(work.so_far(), (0, None));
        work.more(500);
        work.clone().did(1);
        assert_eq!(work.so_far(), (1, Some(500)));
    }

    #[test]
    fn the_forms_are_ones_that_the_library_understands() {
        for form in [UNKNOWN, BEGUN, KNOWN] {
            assert!(ProgressStyle::with_template(form).is_ok(), "{form}");
        }
    }
}
