//! Signals: SIGHUP reloads; a first SIGTERM or SIGINT stops in order, a second one cuts.

use std::io;
use std::sync::Arc;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// The signals that the daemon hears. Built before anything else begins, so that none is missed.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
    reload: Arc<Notify>,
}

impl Signals {
    /// Begins to listen.
    ///
    /// # Errors
    /// Where the system refuses.
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
            reload: Arc::default(),
        })
    }

    /// Notified at each SIGHUP. Many that come together are one.
    pub fn reload(&self) -> Arc<Notify> {
        Arc::clone(&self.reload)
    }

    /// Cancels `stopping` at the first signal to stop, and returns at the second: what is left is then to be cut.
    pub async fn run(mut self, stopping: CancellationToken) {
        self.stop().await;
        info!(
            "stopping: no further request is sent; a request in flight is completed and written to the journal"
        );
        stopping.cancel();
        self.stop().await;
        warn!(
            "stopping at once: a request in flight stays open in the journal, and the next start confirms its outcome"
        );
    }

    async fn stop(&mut self) {
        loop {
            tokio::select! {
                Some(()) = self.terminate.recv() => return,
                Some(()) = self.interrupt.recv() => return,
                Some(()) = self.hang_up.recv() => self.reload.notify_one(),
                else => return std::future::pending().await,
            }
        }
    }
}
