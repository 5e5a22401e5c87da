//! Operators' orders for one cluster. Each is a task of its own, because it polls and may send a
//! PUT: nothing else waits for it, and a stop lets it end.

use tokio::sync::oneshot;
use tracing::{info, warn};

use super::reason;
use crate::control::{Answer, Order, Peer};
use crate::daemon::run::Daemon;
use crate::daemon::running::Running;
use crate::model::decision::{Action, ManualOrder};
use crate::model::id::ClusterId;
use crate::model::reason::Reason;
use crate::model::text::shown;
use crate::reconcile::{Done, ManualError};

/// An order.
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
    /// Carries out an order, and answers when it is done.
    pub(super) fn order(
        &mut self,
        ordering: Ordering,
        order: Order,
        peer: &Peer,
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
        let (Running { project, nudge, .. }, cluster, name) = found;
        let by_name = self.by_name(cluster.clone(), &name);
        self.orders.spawn(async move {
            let (word, by, cause) = (ordering.word(), ordered.by.clone(), ordered.why.clone());
            let shown_name = shown(&name, 80);
            info!(project = %project.project, %cluster, by, "{shown_name}: {by} orders {word}: {cause}");
            let done = match ordering {
                Ordering::Send(action) => project.act_manually(&cluster, action, &ordered).await,
                Ordering::Reset => project.reset_manually(&cluster, &ordered).await,
            };
            // The sent request is confirmed, or the reset task is decided about, without waiting
            // for its turn.
            nudge.notify_one();
            let said = match done {
                Ok(done) => as_answer(cluster, name, done),
                Err(error) => {
                    let why = if error.was_sent() {
                        format!("{shown_name}: {error}")
                    } else {
                        format!("{shown_name}: {word} was not done: {error}{}", way_out(&error, by_name))
                    };
                    warn!(project = %project.project, %cluster, by, "{why}");
                    Answer::Refused { why }
                }
            };
            // The client may be gone; the order was carried out.
            let _ = answer.send(said);
        });
    }
}

/// Returns what an operator can do about the reason that refused the order, if known.
fn way_out(error: &ManualError, by_name: impl Fn(&str) -> String) -> String {
    let ManualError::Refused(reason) = error else { return String::new() };
    match (reason, reason.ended_by(), reason.next_step()) {
        (Reason::OnHold { .. }, Some(command), _) => format!("; to release it: `{}`", by_name(&command)),
        // What else blocks has to be mended before it.
        (_, _, Some(step)) if reason.refuses_orders() => format!("; {step}"),
        _ => String::new(),
    }
}

fn as_answer(cluster: ClusterId, cluster_name: String, done: Done) -> Answer {
    let (task, words) = match done {
        Done::Accepted { task, answer } => {
            let words = format!("the CSS API accepted the request ({answer})");
            (task, words)
        }
        Done::Reset(task) => {
            let words =
                "the daemon handles the task again: no retry counts as used, and a new backoff begins";
            (task, words.to_owned())
        }
    };
    Answer::Done { cluster, cluster_name, task, words }
}
