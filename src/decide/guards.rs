//! What stands above every policy: while any of it holds, nothing is sent.

use jiff::SignedDuration;

use super::breaker;
use crate::model::decision::Action;
use crate::model::hold::Holds;
use crate::model::id::{ClusterId, ProjectName};
use crate::model::moment::Moment;
use crate::model::project::{Breaker, Limits, is_clock_off};
use crate::model::project_state::ProjectState;
use crate::model::reason::Reason;

/// The state of a project that may hold a PUT back.
#[derive(Clone, Copy)]
pub struct Guards<'a> {
    /// The project's name in the settings.
    pub project: &'a ProjectName,
    /// What the journal knows of the project.
    pub project_state: &'a ProjectState,
    /// What people said is to be left alone.
    pub holds: &'a Holds,
    /// How much at once.
    pub limits: &'a Limits,
    /// When many failures at once stop the acting.
    pub breaker: &'a Breaker,
    /// Our clock less the service's, by the latest answer.
    pub clock_offset: Option<SignedDuration>,
}

impl Guards<'_> {
    /// The hold that covers the cluster, if one does.
    pub fn on_hold(&self, cluster: &ClusterId, now: Moment) -> Option<Reason> {
        let hold = self.holds.covering(self.project, cluster, now)?;
        Some(Reason::OnHold {
            hold: hold.number,
            scope: hold.scope.clone(),
            by: hold.by.clone(),
            why: hold.reason.clone(),
            until: hold.until,
        })
    }

    /// When a hold on the cluster last ended, where that was after `since`.
    pub fn hold_ended(&self, cluster: &ClusterId, since: Moment, now: Moment) -> Option<Moment> {
        self.holds.ended_since(since, self.project, cluster, now)
    }

    /// Whether the project's pause was ended by a reload, and its probe is still to go out.
    pub fn probes_at_once(&self) -> bool {
        self.project_state.pause.is_some_and(|pause| pause.probe_at_once)
    }

    /// The first guard that holds this action back, if any.
    pub fn hold_back(&self, cluster: &ClusterId, action: Action, now: Moment) -> Option<Reason> {
        if let Some(reason) = self.hold_everything_back(now).or_else(|| self.paused(cluster, now)) {
            return Some(reason);
        }
        if action == Action::Retry
            && self.project_state.others_in_flight(cluster) >= self.limits.max_actions_in_flight
        {
            return Some(Reason::ActionsInFlight { limit: self.limits.max_actions_in_flight });
        }
        None
    }

    /// The pause of this cluster, if it rests.
    pub fn paused(&self, cluster: &ClusterId, now: Moment) -> Option<Reason> {
        let pause = self.project_state.paused.get(cluster)?;
        (now.mono < pause.until.mono).then_some(Reason::ClusterPaused { until: pause.until.wall })
    }

    /// The first guard that holds every action in the project back, if any.
    pub fn hold_everything_back(&self, now: Moment) -> Option<Reason> {
        if let Some(reason) = self.forbids(now) {
            return Some(reason);
        }
        if let Some(reason) = breaker::hold_back(self.project_state, self.breaker, now) {
            return Some(reason);
        }
        if self.project_state.puts_within_an_hour(now) >= self.limits.max_actions_per_hour {
            return Some(Reason::ActionsPerHour { limit: self.limits.max_actions_per_hour });
        }
        None
    }

    /// What holds back in the project even what an operator orders: a clock that is off, and a pause.
    pub fn forbids(&self, now: Moment) -> Option<Reason> {
        if let Some(offset) = self.clock_offset
            && is_clock_off(self.clock_offset)
        {
            return Some(Reason::ClockOff { seconds: offset.as_secs() });
        }
        if let Some(pause) = &self.project_state.pause
            && (now.mono < pause.until.mono || pause.probe.is_some())
        {
            return Some(Reason::ProjectPaused { cause: pause.cause, until: pause.until.wall });
        }
        None
    }
}
