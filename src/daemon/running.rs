//! One project that the daemon watches, with the handles of its scheduler.

use std::sync::Arc;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::HttpProject;
use super::build::Connection;
use crate::schedule::liveness::LivenessProbe;

/// A project under watch.
#[derive(Clone)]
pub(super) struct Running {
    pub(super) project: Arc<HttpProject>,
    pub(super) link: Arc<Connection>,
    /// Cancelled once nothing more is to be read or sent, as for the end of the process.
    pub(super) halt: CancellationToken,
    /// Cancelled once its scheduler is to end.
    pub(super) stop: CancellationToken,
    /// Has its scheduler poll clusters with an unfinished task at once.
    pub(super) nudge: Arc<Notify>,
    /// Answered while its scheduler's loop turns.
    pub(super) liveness: LivenessProbe,
    /// It is gone from the configuration: nothing is sent, and its scheduler ends once no attempt is open.
    pub(super) leaving: bool,
}
