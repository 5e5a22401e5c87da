//! Liveness of a scheduler: a probe is answered by the scheduler's own loop, and by nothing else.

use tokio::sync::{mpsc, oneshot};

/// Asks a scheduler for a sign of life.
#[derive(Debug, Clone)]
pub struct LivenessProbe(mpsc::Sender<oneshot::Sender<()>>);

/// The scheduler's end of its probes.
#[derive(Debug)]
pub struct LivenessResponder(mpsc::Receiver<oneshot::Sender<()>>);

/// Returns a probe and the responder that answers it.
pub fn channel() -> (LivenessProbe, LivenessResponder) {
    let (ask, asked) = mpsc::channel(1);
    (LivenessProbe(ask), LivenessResponder(asked))
}

impl LivenessProbe {
    /// Returns when the scheduler's loop has answered. Returns at once if the scheduler has ended:
    /// its task reports that to its owner.
    pub async fn answered(self) {
        let (answer, answered) = oneshot::channel();
        if self.0.send(answer).await.is_ok() {
            let _ = answered.await;
        }
    }
}

impl LivenessResponder {
    /// Answers each probe as it comes. Never returns. Cancel safe.
    pub(super) async fn answer(&mut self) {
        while let Some(answer) = self.0.recv().await {
            // The prober may have ended.
            let _ = answer.send(());
        }
        std::future::pending::<()>().await;
    }

    /// Answers the probes that have arrived by now.
    pub(super) fn answer_now(&mut self) {
        while let Ok(answer) = self.0.try_recv() {
            let _ = answer.send(());
        }
    }
}
