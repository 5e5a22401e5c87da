//! Which decisions are journaled, and so notified of.

use crate::model::decision::{Decision, Verdict};
use crate::model::event::Event;
use crate::model::id::TaskId;
use crate::model::reason::Reason;
use crate::model::record::ClusterRecord;

/// Returns the decision as an event of its task, if it differs from the one before.
pub(super) fn news(decision: &Decision, record: &ClusterRecord) -> Option<(TaskId, Event)> {
    let task = decision.task.as_ref()?;
    let known = record.tasks.get(task).filter(|known| !known.is_ended())?;
    let reason = decision.reason.clone();
    let event = match decision.verdict.passive() {
        None if decision.verdict == Verdict::Escalate => Event::Escalated { reason },
        None => return None,
        Some(verdict) => {
            let before = known.decided.as_ref();
            let same = before.is_some_and(|it| it.verdict == verdict && it.reason.tells_the_same_as(&reason));
            // The escalation has announced this task. A wait for a list ends with the list.
            if same || matches!(reason, Reason::NeedsOperator { .. } | Reason::NotListed) {
                return None;
            }
            Event::Decided { verdict, reason }
        }
    };
    Some((task.clone(), event))
}
