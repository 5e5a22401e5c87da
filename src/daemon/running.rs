//! One project that the daemon watches, with the handles of its scheduler.

use std::sync::Arc;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::HttpProject;
use super::build::Connection;
use crate::schedule::liveness::LivenessProbe;

/// A watched project.
#[derive(Clone)]
pub(super) struct Running {
    pub(super) project: Arc<HttpProject>,
    pub(super) link: Arc<Connection>,
    /// Cancelled when nothing more is to be polled or sent, as at the end of the process.
    pub(super) halt: CancellationToken,
    /// Cancelled when its scheduler is to end.
    pub(super) stop: CancellationToken,
    /// Makes its scheduler poll clusters with an unfinished task at once.
    pub(super) nudge: Arc<Notify>,
    /// Answered while its scheduler's loop runs.
    pub(super) liveness: LivenessProbe,
    /// The project is gone from the configuration: nothing is sent, and its scheduler ends when no
    /// request is open.
    pub(super) leaving: bool,
}
