//! What people order for one cluster, and what they ask of it. Each is a task of its own, as it reads the service and
//! may send a PUT: nothing else waits for it, and a stop lets it end.

use std::sync::Arc;

use tokio::sync::{Notify, oneshot};
use tracing::{info, warn};

use super::HttpProject;
use super::service::Daemon;
use crate::control::{Answer, Order, Peer};
use crate::descriptors;
use crate::journal::History;
use crate::journal::reader::Query;
use crate::model::decision::{Action, ManualOrder};
use crate::model::id::ClusterId;
use crate::model::text::{chain, shown};
use crate::reconcile::Done;

/// So many at once: people are few, and each may keep a place of the client. Where descriptors are few, fewer, so that half
/// of the places of the control socket are left to those who hold, whatever takes how long.
const AT_ONCE: usize = 8;

/// No reason is longer, in characters.
const MAX_REASON: usize = 500;

/// The reason for what is asked, where there is a usable one.
pub(super) fn reason(text: &str, of: &str) -> Result<String, String> {
    if text.trim().is_empty() {
        return Err(format!("{of} needs a reason, for those who find it later"));
    }
    if text.chars().count() > MAX_REASON {
        return Err(format!("the reason is longer than {MAX_REASON} characters"));
    }
    Ok(text.trim().to_owned())
}

/// What is ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ordering {
    Send(Action),
    Reset,
}

impl Ordering {
    fn word(self) -> &'static str {
        match self {
            Self::Send(Action::Retry) => "retry-now",
            Self::Send(Action::Abort) => "abort",
            Self::Reset => "reset",
        }
    }
}

impl Daemon {
    /// Has an order carried out, and answers once it is.
    pub(super) fn order(
        &mut self,
        ordering: Ordering,
        order: Order,
        peer: Peer,
        answer: oneshot::Sender<Answer>,
    ) {
        let prepared = self.find_project(&order.cluster).and_then(|found| {
            let why = reason(&order.reason, ordering.word())?;
            Ok((found, ManualOrder { task: order.task, command: order.command, by: peer.to_string(), why }))
        });
        let (found, ordered) = match prepared {
            Ok(prepared) => prepared,
            Err(why) => return drop(answer.send(Answer::Refused { why })),
        };
        let Found { project, nudge, cluster, name } = found;
        self.orders.spawn(async move {
            let (word, by, cause) = (ordering.word(), ordered.by.clone(), ordered.why.clone());
            let shown_name = shown(&name, 80);
            info!(project = %project.project, %cluster, by, "{shown_name}: {by} orders {word}: {cause}");
            let done = match ordering {
                Ordering::Send(action) => project.act_manually(&cluster, action, &ordered).await,
                Ordering::Reset => project.reset_manually(&cluster, &ordered).await,
            };
            // What was sent is settled, and what was given back is decided about, without waiting for its turn.
            nudge.notify_one();
            let said = match done {
                Ok(done) => as_answer(cluster, name, done),
                Err(error) => {
                    let why = if error.was_sent() {
                        format!("{shown_name}: {error}")
                    } else {
                        format!("{shown_name}: {word} was not done: {error}")
                    };
                    warn!(project = %project.project, %cluster, by, "{why}");
                    Answer::Refused { why }
                }
            };
            // Whoever asked may be gone; what was done is done.
            let _ = answer.send(said);
        });
    }

    /// Explains a cluster, by a reading of its own.
    pub(super) fn explain(&mut self, text: &str, answer: oneshot::Sender<Answer>) {
        let Found { project, cluster, .. } = match self.find_project(text) {
            Ok(found) => found,
            Err(why) => return drop(answer.send(Answer::Refused { why })),
        };
        self.orders.spawn(async move {
            let explanation = Box::new(project.explain(&cluster).await);
            let _ = answer.send(Answer::Explained { explanation });
        });
    }

    /// Reads the journal.
    pub(super) fn history(&mut self, query: Query, answer: oneshot::Sender<Answer>) {
        if let Err(why) = self.room() {
            return drop(answer.send(Answer::Refused { why }));
        }
        let journal = self.builder.share_journal();
        self.orders.spawn(async move {
            let said = match journal.history(&query).await {
                Ok(History { entries, scopes, names, more }) => {
                    Answer::History { entries, scopes, names, more }
                }
                Err(error) => Answer::Refused { why: chain(&error) },
            };
            let _ = answer.send(said);
        });
    }

    fn room(&self) -> Result<(), String> {
        let at_once = descriptors::connections(AT_ONCE, descriptors::limit());
        if self.orders.len() < at_once {
            return Ok(());
        }
        Err(format!("{at_once} commands are being carried out already; try again"))
    }

    fn find_project(&self, text: &str) -> Result<Found, String> {
        self.room()?;
        let (cluster, name, project) = self.find_cluster(text)?;
        let running = self.running.get(&project).filter(|running| !running.leaving);
        let running = running.ok_or("its project is gone from the settings, so nothing is done in it")?;
        let (project, nudge) = (Arc::clone(&running.project), Arc::clone(&running.nudge));
        Ok(Found { project, nudge, cluster, name })
    }
}

struct Found {
    project: Arc<HttpProject>,
    nudge: Arc<Notify>,
    cluster: ClusterId,
    name: String,
}

fn as_answer(cluster: ClusterId, cluster_name: String, done: Done) -> Answer {
    let (task, words) = match done {
        Done::Accepted { task, answer } => {
            let words = format!("the service accepted the PUT ({answer})");
            (task, words)
        }
        Done::Reset(task) => {
            let words = "it is the daemon's again: no retry counts as used, and a new backoff begins";
            (task, words.to_owned())
        }
    };
    Answer::Done { cluster, cluster_name, task, words }
}
