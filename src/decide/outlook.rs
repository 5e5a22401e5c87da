//! The outlook of a task, worked out by the function that decides: with the last poll of its
//! cluster, at the moments at which waits and blocks end, as long as nobody intervenes and the API
//! shows the same.

use std::borrow::Cow;

use super::step::{self, StepInput};
use super::{FailedTask, decide};
use crate::model::decision::{Action, Decision, Verdict};
use crate::model::event::Entry;
use crate::model::id::{ClusterId, TaskId};
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
        let may_be_ordered = matches!(known.phase(), Phase::Failed(_) | Phase::Escalated(_));
        let ordered = may_be_ordered.then(|| blocks(state, input, task, known, Action::Retry, now));
        return Outlook::without_request(known, &reason, &ordered.unwrap_or_default());
    }
    // The duration of the last poll does not predict that of the next ones.
    let reading = Reading { asked: input.reading.at, ..input.reading.clone() };
    let [next, not_before] = next(state, StepInput { reading: &reading, ..input }, now);
    let action = next.or(not_before).map_or(Action::Retry, |next| next.action);
    let blocks = blocks(state, input, task, known, action, now);
    Outlook { not_before, ..Outlook::new(Some(known), &reason, &blocks, next) }
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

/// Returns the request that is sent if nobody intervenes: with its time, or with its earliest one if
/// other tasks of the project may go first.
fn next(state: &ProjectState, input: StepInput<'_>, now: Moment) -> [Option<NextRequest>; 2] {
    let rivals = rivals(state, &input.cluster.id);
    let (mut state, mut at) = (state.clone(), now);
    for _ in 0..TURNS {
        let step = step::step(&state, input, at);
        if let Verdict::Act(order) = &step.decision.verdict {
            let next = Some(NextRequest { at: at.wall, action: order.action() });
            let is_first = !may_be_overtaken(&state, input, order.action(), rivals, at);
            return if is_first { [next, None] } else { [None, next] };
        }
        // One request of the project ends it, and which one is not known.
        let is_for_one =
            matches!(step.decision.reason, Reason::BreakerOpen { .. } | Reason::ProjectPaused { .. });
        if !may_lead_to_a_request(&step.decision) || (is_for_one && rivals > 0) {
            return [None, None];
        }
        let Some(until) = step.decision.reason.until() else { return [None, None] };
        for (subject, event) in step.events {
            state.apply(&Entry { number: step::NOT_JOURNALED, at, subject, event });
        }
        // A wait that is over by the wall clock alone ends at the next poll.
        let wait = until.duration_since(at.wall);
        let wait = std::time::Duration::try_from(wait).unwrap_or(step.decision.next_poll);
        at = at.after(wait.max(std::time::Duration::from_millis(1)));
    }
    [None, None]
}

/// On so many other clusters a failed task may wait for its request.
fn rivals(state: &ProjectState, cluster: &ClusterId) -> u32 {
    let waits = |task: &TaskRecord| match task.phase() {
        Phase::Failed(failure) => !failure.seen.too_old && !task.last_known().needs_attention(),
        _ => false,
    };
    let others = state.clusters.iter().filter(|(id, _)| *id != cluster);
    u32::try_from(others.filter(|(_, record)| record.tasks.values().any(waits)).count()).unwrap_or(u32::MAX)
}

/// Whether requests of so many others, if they are sent first, stop one that would be sent at this moment.
fn may_be_overtaken(
    state: &ProjectState,
    input: StepInput<'_>,
    action: Action,
    rivals: u32,
    at: Moment,
) -> bool {
    let limits = &input.rules.limits;
    let in_flight = state.others_in_flight(&input.cluster.id).saturating_add(rivals);
    let an_hour = state.puts_within_an_hour(at).saturating_add(rivals);
    let is_full = action == Action::Retry && in_flight >= limits.max_actions_in_flight;
    let is_for_one = state.breaker.open.is_some() || state.pause.is_some();
    rivals > 0 && (is_for_one || is_full || an_hour >= limits.max_actions_per_hour)
}
