//! When the breaker of a project opens, and when it closes again.

use std::time::Duration;

use crate::decide::CONFIRMATION_PATIENCE;
use crate::model::breaker::{Healing, Opening, Probe, Shown};
use crate::model::event::Event;
use crate::model::id::{ClusterId, TaskId};
use crate::model::moment::Moment;
use crate::model::project::Breaker;
use crate::model::project_state::ProjectState;
use crate::model::reason::Reason;
use crate::model::record::TaskRecord;

/// Returns how the breaker changes now, if it does: an event to be journaled, with its task if that
/// is not the one that was just polled.
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

/// Returns whether the breaker blocks a PUT now.
pub fn hold_back(project_state: &ProjectState, breaker: &Breaker, now: Moment) -> Option<Reason> {
    let Some(open) = &project_state.breaker.open else {
        // The breaker opens with its next turn; until then no request may be sent.
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

/// Returns why a closed breaker opens, if enough tasks were seen to fail.
fn many_failed(project_state: &ProjectState, breaker: &Breaker, now: Moment) -> Option<Opening> {
    let failures = project_state.breaker.failures(breaker.within, now);
    (failures >= breaker.failures).then_some(Opening::ManyFailed { failures, within: breaker.within })
}

/// Returns whether the probe's task was polled as RUNNING so long after the PUT that the probe has
/// succeeded.
fn still_runs(project_state: &ProjectState, probe: &Probe, breaker: &Breaker) -> bool {
    // A restart counts a running task as polled at its start, although this process has not polled
    // it yet.
    let running = probed(project_state, probe).and_then(|task| task.running.and(task.running_read));
    running.is_some_and(|read| read.mono >= probe.sent.after(breaker.probe).mono)
}

/// Returns whether the probe's task was not polled as RUNNING for so long that its outcome counts
/// as unknown: its cluster may be unreachable, or its status unknown. The project must not wait for
/// it without end.
fn shows_nothing(project_state: &ProjectState, probe: &Probe, breaker: &Breaker, now: Moment) -> bool {
    let running = probed(project_state, probe).and_then(|task| task.running);
    let quiet = running.map_or(Duration::MAX, |read| now.since(read));
    let patience = breaker.probe.saturating_add(CONFIRMATION_PATIENCE);
    quiet.min(now.since(probe.sent)) >= patience
}

fn probed<'a>(project_state: &'a ProjectState, probe: &Probe) -> Option<&'a TaskRecord> {
    project_state.cluster(&probe.cluster).tasks.get(&probe.task)
}

#[cfg(test)]
mod tests;
