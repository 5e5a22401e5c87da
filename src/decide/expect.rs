//! Whether a task that runs takes longer than its policy expects. Told, and nothing more: no decision polls it.

use crate::model::event::{Event, TooLong};
use crate::model::moment::Moment;
use crate::model::policy::Policy;
use crate::model::record::Run;
use crate::model::task::Task;

/// The event that tells of it, once for each stretch of RUNNING. The time as a whole comes first. Where the task names no
/// nodes, how long it may take as a whole is not known, and only the time without a completed node is judged.
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
