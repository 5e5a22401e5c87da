//! The PUT that was journaled, and nothing else.
//!
//! It takes a [`Journaled`] intent, which only the journal can make, sends it once, and says what the answer
//! means ([`answers`]). It never decides, never repeats and never journals.

use crate::cloud::{Css, Permit, Reply};
use crate::journal::{Intent, Journaled};
use crate::model::answer::{Answer, Meaning};
use crate::model::decision::{Action, Order};
use crate::model::event::{Closing, Event};
use crate::model::id::AttemptId;
use crate::model::text::chain;
use crate::planted::{self, Fault};

pub mod answers;

/// What became of a PUT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It left, or may have left.
    Sent(Answer),
    /// It certainly never left.
    NotSent(String),
}

/// Sends the journaled PUT, once. The permit was taken before the intent was committed, so nothing waits here.
///
/// Cancel safety: none. Dropped half-way, the PUT may have been taken; its intent stays open in the journal and
/// is settled by reading.
pub async fn execute<S: Css>(css: &S, intent: &Journaled<Intent>, permit: Permit) -> Outcome {
    let cluster = &intent.value().subject.cluster;
    let reply = match &intent.value().order {
        Order::Retry(task) => css.retry(cluster, task, permit).await,
        Order::Abort(abortable) => css.abort(cluster, abortable, permit).await,
    };
    match reply {
        Reply::NotSent(error) => Outcome::NotSent(chain(&error)),
        Reply::Lost { detail } => Outcome::Sent(unknown(detail)),
        Reply::Answer { status, code, message, request_id, retry_after, body } => {
            let meaning = answers::meaning(status, code.as_deref(), body);
            Outcome::Sent(Answer { meaning, status: Some(status), code, message, request_id, retry_after })
        }
    }
}

/// What is journaled of a PUT's outcome. An accepted abort is also the end of the task's story.
pub fn what_came_back(attempt: AttemptId, action: Action, outcome: Outcome) -> Vec<Event> {
    match outcome {
        Outcome::NotSent(_) => vec![Event::NotSent { attempt }],
        Outcome::Sent(answer) => {
            let aborted = action == Action::Abort && answer.meaning == Meaning::Accepted;
            if planted::is(Fault::GatewayNotFoundCloses) && answer.meaning == Meaning::WrongAddress {
                return vec![Event::Answered { attempt, answer }, Event::Closed(Closing::Gone)];
            }
            let answered = Event::Answered { attempt, answer };
            if aborted { vec![answered, Event::Closed(Closing::Aborted)] } else { vec![answered] }
        }
    }
}

/// The outcome of a PUT that is not waited for any longer, as the daemon is stopping: it may have been taken.
pub fn left_behind() -> Outcome {
    Outcome::Sent(unknown("the daemon was stopped before there was one".to_owned()))
}

fn unknown(message: String) -> Answer {
    Answer {
        meaning: Meaning::Unknown,
        status: None,
        code: None,
        message,
        request_id: None,
        retry_after: None,
    }
}
