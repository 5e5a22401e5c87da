//! The outlook of a task, worked out by the function that decides: with the last poll of its
//! cluster, at the moments at which waits and blocks end, as long as nobody intervenes and the API
//! shows the same.

use std::borrow::Cow;

use super::step::{self, StepInput};
use super::{FailedTask, decide};
use crate::model::decision::{Action, Decision, Verdict};
use crate::model::event::Entry;
use crate::model::id::TaskId;
use crate::model::moment::Moment;
use crate::model::outlook::{NextRequest, Outlook};
use crate::model::project_state::ProjectState;
use crate::model::reason::{Class, Reason};
use crate::model::record::{Phase, TaskRecord};
use crate::model::task::Reading;

/// The number of consecutive waits and blocks that are followed.
const TURNS: u32 = 32;

/// Returns what a poll would lead to, without keeping it: the state with the poll folded in, the
/// decision, and the outlook of the newest task.
pub fn foresee<'a>(
    state: &'a ProjectState,
    input: StepInput<'_>,
    now: Moment,
) -> (Cow<'a, ProjectState>, Decision, Outlook) {
    let state = step::after(state, input, now);
    let decision = decide(&state, input, now);
    let task = decision.task.as_ref();
    let known = task.and_then(|task| Some((task, input.record(&state).tasks.get(task)?)));
    let outlook = match known {
        Some(known) => outlook(&state, input, known, now),
        None => Outlook::new(None, &decision.reason, &[], None),
    };
    (state, decision, outlook)
}

/// Returns the outlook of a known task. The input's poll is the last one of its cluster.
pub fn outlook(
    state: &ProjectState,
    input: StepInput<'_>,
    (task, known): (&TaskId, &TaskRecord),
    now: Moment,
) -> Outlook {
    let decision = decide(state, input, now);
    let is_its_own = decision.task.as_ref().is_none_or(|decided| decided == task);
    let reason = match known.phase() {
        Phase::Ended(..) | Phase::Escalated(_) => known.last_known(),
        Phase::OutcomeUnknown(open) if !is_its_own => {
            Reason::OutcomeUnknown { attempt: open.id, action: open.action, answered: open.is_answered() }
        }
        Phase::Running if !is_its_own => Reason::Running {
            done: known.most_completed,
            total: input
                .reading
                .task(task)
                .map_or(0, |task| u32::try_from(task.total_nodes.len()).unwrap_or(u32::MAX)),
            execution: known.highest_execute_times,
        },
        Phase::Running | Phase::Failed(_) | Phase::OutcomeUnknown(_) => decision.reason.clone(),
    };
    let acts = decision.task.as_ref() == Some(task) && matches!(known.phase(), Phase::Failed(_));
    if !acts || !may_lead_to_a_request(&decision) {
        return Outlook::new(Some(known), &reason, &[], None);
    }
    // The duration of the last poll does not predict that of the next ones.
    let reading = Reading { asked: input.reading.at, ..input.reading.clone() };
    let next = next(state, StepInput { reading: &reading, ..input }, now);
    let action = next.map_or(Action::Retry, |next| next.action);
    Outlook::new(Some(known), &reason, &blocks(state, input, task, known, action, now), next)
}

/// Returns whether the decision leads to a request by time alone, or would without its blocks.
fn may_lead_to_a_request(decision: &Decision) -> bool {
    match decision.reason.class() {
        Class::Due | Class::Blocked => decision.verdict != Verdict::Escalate,
        Class::Waiting => decision.reason.until().is_some(),
        Class::NothingToDo | Class::NeedsOperator | Class::Refused => false,
    }
}

fn blocks(
    state: &ProjectState,
    input: StepInput<'_>,
    id: &TaskId,
    known: &TaskRecord,
    action: Action,
    now: Moment,
) -> Vec<Reason> {
    let Some(task) = input.reading.task(id) else { return Vec::new() };
    let case = FailedTask { state, input, task, known, now };
    let unlisted = input.listed.is_none().then_some(Reason::NotListed);
    let reasons = match input.terms(task) {
        Some(terms) => case.blocks(terms, action),
        None => vec![Reason::NoPolicy],
    };
    unlisted.into_iter().chain(reasons).collect()
}

/// Returns the request that is sent if nobody intervenes.
fn next(state: &ProjectState, input: StepInput<'_>, now: Moment) -> Option<NextRequest> {
    let (mut state, mut at) = (state.clone(), now);
    for _ in 0..TURNS {
        let step = step::step(&state, input, at);
        if let Verdict::Act(order) = &step.decision.verdict {
            return Some(NextRequest { at: at.wall, action: order.action() });
        }
        if !may_lead_to_a_request(&step.decision) {
            return None;
        }
        let wait = step.decision.reason.until()?.duration_since(at.wall);
        for (subject, event) in step.events {
            state.apply(&Entry { number: step::NOT_JOURNALED, at, subject, event });
        }
        // A wait that is over by the wall clock alone ends at the next poll.
        let wait = std::time::Duration::try_from(wait).unwrap_or(step.decision.next_poll);
        at = at.after(wait.max(std::time::Duration::from_millis(1)));
    }
    None
}
