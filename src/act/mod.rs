//! The PUT that was journaled, and nothing else.
//!
//! It takes a [`Journaled`] intent, which only the journal can make, sends it once, and says what the answer
//! means ([`answers`]). It never decides, never repeats and never journals.

use crate::cloud::{Css, Permit, Reply};
use crate::journal::{Intent, Journaled};
use crate::model::answer::{Answer, Meaning};
use crate::model::decision::{Action, Order};
use crate::model::event::{Event, Outcome};
use crate::model::id::AttemptId;
use crate::model::text::chain;

pub mod answers;

/// What became of a PUT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivery {
    /// It left, or may have left.
    Sent(Answer),
    /// It certainly never left.
    NotSent(String),
}

/// Sends the journaled PUT, once. The permit was taken before the intent was committed, so nothing waits here.
///
/// Cancel safety: none. Dropped half-way, the PUT may have been taken; its intent stays open in the journal and
/// is settled by reading.
pub async fn execute<S: Css>(css: &S, intent: &Journaled<Intent>, permit: Permit) -> Delivery {
    let cluster = &intent.value().subject.cluster;
    let reply = match &intent.value().order {
        Order::Retry(task) => css.retry(cluster, task, permit).await,
        Order::Abort(abortable) => css.abort(cluster, abortable, permit).await,
    };
    match reply {
        Reply::NotSent(error) => Delivery::NotSent(chain(&error)),
        Reply::Lost { detail } => Delivery::Sent(unknown(detail)),
        Reply::Answer { status, code, message, request_id, retry_after, body } => {
            let meaning = answers::meaning(status, code.as_deref(), body);
            Delivery::Sent(Answer { meaning, status: Some(status), code, message, request_id, retry_after })
        }
    }
}

/// What is journaled of a PUT's outcome. An accepted abort is also the end of the task's story.
pub fn what_came_back(attempt: AttemptId, action: Action, outcome: Delivery) -> Vec<Event> {
    match outcome {
        Delivery::NotSent(_) => vec![Event::NotSent { attempt }],
        Delivery::Sent(answer) => {
            let aborted = action == Action::Abort && answer.meaning == Meaning::Accepted;
            let answered = Event::Answered { attempt, answer };
            if aborted { vec![answered, Event::Ended(Outcome::Aborted)] } else { vec![answered] }
        }
    }
}

/// The outcome of a PUT that is not waited for any longer, as the daemon is stopping: it may have been taken.
pub fn left_behind() -> Delivery {
    Delivery::Sent(unknown("the daemon was stopped before there was one".to_owned()))
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

#[cfg(test)]
mod tests {
    use super::*;

    const ATTEMPT: AttemptId = AttemptId(7);

    fn answered(meaning: Meaning) -> Delivery {
        Delivery::Sent(Answer { meaning, ..unknown(String::new()) })
    }

    /// The words of what is journaled.
    fn journaled(action: Action, outcome: Delivery) -> Vec<&'static str> {
        what_came_back(ATTEMPT, action, outcome).iter().map(Event::word).collect()
    }

    #[test]
    fn only_an_accepted_abort_ends_the_story_of_its_task() {
        for meaning in [
            Meaning::Accepted,
            Meaning::Unknown,
            Meaning::Busy,
            Meaning::GoneOrForbidden,
            Meaning::WrongAddress,
            Meaning::NotAcceptable,
            Meaning::Unauthorized,
            Meaning::ForbiddenCluster,
            Meaning::ForbiddenProject,
        ] {
            assert_eq!(journaled(Action::Retry, answered(meaning)), ["answered"], "{meaning:?}");
            let of_an_abort = journaled(Action::Abort, answered(meaning));
            if meaning == Meaning::Accepted {
                assert_eq!(of_an_abort, ["answered", "ended"]);
            } else {
                assert_eq!(of_an_abort, ["answered"], "{meaning:?}");
            }
        }
        let closed = what_came_back(ATTEMPT, Action::Abort, answered(Meaning::Accepted)).pop();
        assert_eq!(closed, Some(Event::Ended(Outcome::Aborted)));
    }

    #[test]
    fn what_certainly_never_left_is_journaled_as_not_sent() {
        for action in [Action::Retry, Action::Abort] {
            let lines = what_came_back(ATTEMPT, action, Delivery::NotSent("no connection".to_owned()));
            assert_eq!(lines, [Event::NotSent { attempt: ATTEMPT }]);
        }
    }

    #[test]
    fn what_is_not_waited_for_any_longer_may_have_been_taken() {
        let Delivery::Sent(answer) = left_behind() else { panic!("it left, or may have left") };
        assert_eq!((answer.meaning, answer.status), (Meaning::Unknown, None));
        assert!(!answer.message.is_empty());
    }
}
