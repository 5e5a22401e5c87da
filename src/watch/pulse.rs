//! Signs of life of a watcher: whoever asks is answered by its loop, when that comes round, and by nothing else.

use tokio::sync::{mpsc, oneshot};

/// Asks a watcher.
#[derive(Debug, Clone)]
pub struct Pulse(mpsc::Sender<oneshot::Sender<()>>);

/// What a watcher answers from.
#[derive(Debug)]
pub struct Heart(mpsc::Receiver<oneshot::Sender<()>>);

/// A pulse, and the heart that it is felt of.
pub fn pulse() -> (Pulse, Heart) {
    let (ask, asked) = mpsc::channel(1);
    (Pulse(ask), Heart(asked))
}

impl Pulse {
    /// Returns once the loop of the watcher has come round. At once where the watcher has ended, which whoever runs
    /// it knows otherwise.
    pub async fn felt(self) {
        let (answer, answered) = oneshot::channel();
        if self.0.send(answer).await.is_ok() {
            let _ = answered.await;
        }
    }
}

impl Heart {
    /// Answers when asked, each time. Never returns. Cancel safe.
    pub(super) async fn beat(&mut self) {
        while let Some(answer) = self.0.recv().await {
            // Who asked may have gone.
            let _ = answer.send(());
        }
        std::future::pending::<()>().await;
    }

    /// Answers who has asked by now.
    pub(super) fn beat_once(&mut self) {
        while let Ok(answer) = self.0.try_recv() {
            let _ = answer.send(());
        }
    }
}
