//! When the breaker of a project opens, and when it closes again.

use std::time::Duration;

use crate::decide::SETTLING_PATIENCE;
use crate::model::breaker::{Healing, Opening, Probe, Shown};
use crate::model::event::Event;
use crate::model::id::{ClusterId, TaskId};
use crate::model::moment::Moment;
use crate::model::project::Breaker;
use crate::model::project_state::ProjectState;
use crate::model::reason::Reason;
use crate::model::record::TaskRecord;

/// What becomes of the breaker now, if it changes: an event to be journaled, and of which task where it is not the
/// one that was just polled.
pub fn turn(
    project_state: &ProjectState,
    breaker: &Breaker,
    now: Moment,
) -> Option<(Event, Option<(ClusterId, TaskId)>)> {
    let opened = |opening| Event::BreakerOpened { opening, cooldown: breaker.cooldown };
    let Some(open) = &project_state.breaker.open else {
        return many_failed(project_state, breaker, now).map(|opening| (opened(opening), None));
    };
    let probe = open.probe.as_ref()?;
    let attempt = probe.attempt;
    let event = match probe.shown {
        Shown::Good(because) => Event::BreakerClosed { attempt, because },
        Shown::Failed => opened(Opening::ProbeFailed { attempt }),
        Shown::Unknown => opened(Opening::ProbeUnknown { attempt }),
        Shown::Nothing | Shown::Accepted if still_runs(project_state, probe, breaker) => {
            Event::BreakerClosed { attempt, because: Healing::StillRuns }
        }
        Shown::Nothing | Shown::Accepted if shows_nothing(project_state, probe, breaker, now) => {
            opened(Opening::ProbeUnknown { attempt })
        }
        Shown::Nothing | Shown::Accepted => return None,
    };
    Some((event, Some((probe.cluster.clone(), probe.task.clone()))))
}

/// Whether the breaker holds a PUT back now.
pub fn hold_back(project_state: &ProjectState, breaker: &Breaker, now: Moment) -> Option<Reason> {
    let Some(open) = &project_state.breaker.open else {
        // It opens with the next turn; nothing slips out before that.
        let until = now.after(breaker.cooldown).wall;
        return many_failed(project_state, breaker, now)
            .map(|opening| Reason::BreakerOpen { opening, until });
    };
    if now.mono < open.until.mono {
        return Some(Reason::BreakerOpen { opening: open.opening.clone(), until: open.until.wall_by(now) });
    }
    let probe = open.probe.as_ref()?;
    Some(Reason::BreakerProbing { attempt: probe.attempt, cluster: probe.cluster.clone() })
}

/// Why a closed breaker opens, where so many tasks were seen to fail that it does.
fn many_failed(project_state: &ProjectState, breaker: &Breaker, now: Moment) -> Option<Opening> {
    let failures = project_state.breaker.failures(breaker.within, now);
    (failures >= breaker.failures).then_some(Opening::ManyFailed { failures, within: breaker.within })
}

/// Whether the probe's task was read RUNNING so long after the PUT that it counts as healed.
fn still_runs(project_state: &ProjectState, probe: &Probe, breaker: &Breaker) -> bool {
    // A restart takes what ran as read RUNNING at its start, and has read nothing yet.
    let running = probed(project_state, probe).and_then(|task| task.running.and(task.running_read));
    running.is_some_and(|read| read.mono >= probe.sent.after(breaker.probe).mono)
}

/// Whether the probe's task was not read RUNNING for so long that what became of it counts as unknown: its cluster
/// may not be readable any more, or its status a word that nobody knows. The project must not wait for it for ever.
fn shows_nothing(project_state: &ProjectState, probe: &Probe, breaker: &Breaker, now: Moment) -> bool {
    let running = probed(project_state, probe).and_then(|task| task.running);
    let quiet = running.map_or(Duration::MAX, |read| now.since(read));
    let patience = breaker.probe.saturating_add(SETTLING_PATIENCE);
    quiet.min(now.since(probe.sent)) >= patience
}

fn probed<'a>(project_state: &'a ProjectState, probe: &Probe) -> Option<&'a TaskRecord> {
    project_state.cluster(&probe.cluster).tasks.get(&probe.task)
}

#[cfg(test)]
mod tests;
