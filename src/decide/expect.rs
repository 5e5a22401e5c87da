//! Whether a running task takes longer than its policy expects. The daemon only notifies of it; no
//! decision depends on it.

use crate::model::event::{Event, TooLong};
use crate::model::moment::Moment;
use crate::model::policy::Policy;
use crate::model::record::Run;
use crate::model::task::Task;

/// Returns the event that reports it, once for each stretch of RUNNING. The whole time is checked
/// first. If the task names no nodes, its expected time is unknown, and only the time without a
/// completed node is checked.
pub(super) fn overdue(policy: &Policy, task: &Task, run: Run, now: Moment) -> Option<Event> {
    let expect = &policy.expect;
    if run.too_long.is_some() {
        return None;
    }
    let nodes = u32::try_from(task.total_nodes.len()).unwrap_or(u32::MAX);
    let (ran, without) = (now.since(run.since), now.since(run.progress));
    let whole = expect.whole(nodes);
    let too_long = if nodes > 0 && ran > whole {
        TooLong::Whole { ran, expected: whole }
    } else if without > expect.no_progress {
        TooLong::NoProgress { without, expected: expect.no_progress }
    } else {
        return None;
    };
    Some(Event::RunningTooLong {
        too_long,
        policy: policy.name().to_owned(),
        nodes,
        completed: task.completed.count(),
    })
}
