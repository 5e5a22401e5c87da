//! The progress of reading the journal at a start, for the log: a large one takes minutes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

/// Logs the progress, from a thread of its own, until this is dropped.
pub(super) struct Reading {
    entries: Arc<AtomicU64>,
    _stop: mpsc::Sender<()>,
}

impl Reading {
    /// Calls `tell` at this interval, with the number of entries and the time so far.
    pub(super) fn begin(every: Duration, tell: impl Fn(u64, Duration) + Send + 'static) -> Self {
        let entries = Arc::new(AtomicU64::new(0));
        let (stop, stops) = mpsc::channel::<()>();
        let read = Arc::clone(&entries);
        let telling = move || {
            let mut waited = Duration::ZERO;
            while stops.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
                waited = waited.saturating_add(every);
                tell(read.load(Ordering::Relaxed), waited);
            }
        };
        // Without a thread there is no progress in the log, and the journal is read all the same.
        let _ = std::thread::Builder::new().name("reading".to_owned()).spawn(telling);
        Self { entries, _stop: stop }
    }

    /// Counts one more entry.
    pub(super) fn read_one(&self) {
        self.entries.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_many_entries_were_read_is_told_again_and_again_until_all_are() {
        let (tell, told) = mpsc::channel();
        let every = Duration::from_millis(1);
        let reading = Reading::begin(every, move |entries, waited| {
            let _ = tell.send((entries, waited));
        });
        reading.read_one();
        let mut seen = told.iter().skip_while(|(entries, _)| *entries == 0);
        let (entries, first) = seen.next().unwrap();
        assert_eq!(entries, 1);
        assert_eq!(seen.next(), Some((1, first + every)));
        drop(reading);
        assert!(told.iter().count() < 1_000, "it ends");
    }
}
