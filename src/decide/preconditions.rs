//! The preconditions above every policy: while one of them blocks, nothing is sent.

use jiff::SignedDuration;

use super::breaker;
use crate::model::decision::Action;
use crate::model::hold::Holds;
use crate::model::id::{ClusterId, ProjectName};
use crate::model::moment::Moment;
use crate::model::project::{Breaker, Limits, is_clock_off};
use crate::model::project_state::ProjectState;
use crate::model::reason::Reason;

/// The state of a project that may block a PUT.
#[derive(Clone, Copy)]
pub struct Preconditions<'a> {
    /// The project's name in the configuration.
    pub project: &'a ProjectName,
    /// What the journal knows of the project.
    pub project_state: &'a ProjectState,
    /// The operators' holds.
    pub holds: &'a Holds,
    /// The limits of requests.
    pub limits: &'a Limits,
    /// The configuration of the circuit breaker.
    pub breaker: &'a Breaker,
    /// Our clock minus that of the CSS API, by the latest answer.
    pub clock_offset: Option<SignedDuration>,
}

impl Preconditions<'_> {
    /// Returns the hold that covers the cluster, if there is one.
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

    /// Returns when a hold on the cluster last ended, if that was after `since`.
    pub fn hold_ended(&self, cluster: &ClusterId, since: Moment, now: Moment) -> Option<Moment> {
        self.holds.ended_since(since, self.project, cluster, now)
    }

    /// Returns whether a reload ended the project's pause, and its probe is not sent yet.
    pub fn probes_at_once(&self) -> bool {
        self.project_state.pause.is_some_and(|pause| pause.probe_at_once)
    }

    /// Returns everything in the project that blocks this action for the cluster now, in the order
    /// of its announcement.
    pub fn blocks(&self, cluster: &ClusterId, action: Action, now: Moment) -> Vec<Reason> {
        let limit = self.limits.max_actions_in_flight;
        let is_full = action == Action::Retry && self.project_state.others_in_flight(cluster) >= limit;
        let in_flight = is_full.then_some(Reason::ActionsInFlight { limit });
        self.of_project(now).into_iter().flatten().chain(self.paused(cluster, now)).chain(in_flight).collect()
    }

    /// Returns the pause of this cluster, if it is paused.
    pub fn paused(&self, cluster: &ClusterId, now: Moment) -> Option<Reason> {
        let pause = self.project_state.paused.get(cluster)?;
        (now.mono < pause.until.mono).then_some(Reason::ClusterPaused { until: pause.until.wall_by(now) })
    }

    /// Returns what blocks in the project even an operator's order: a wrong clock, and a pause.
    pub fn forbids(&self, now: Moment) -> Option<Reason> {
        let forbids =
            |reason: &Reason| matches!(reason, Reason::ClockOff { .. } | Reason::ProjectPaused { .. });
        self.of_project(now).into_iter().flatten().find(forbids)
    }

    /// Returns what blocks every action in the project: clock, pause, breaker, requests within an
    /// hour.
    fn of_project(&self, now: Moment) -> [Option<Reason>; 4] {
        let off = self.clock_offset.filter(|_| is_clock_off(self.clock_offset));
        let pause = self.project_state.pause.as_ref();
        let pause = pause.filter(|pause| now.mono < pause.until.mono || pause.probe.is_some());
        let limit = self.limits.max_actions_per_hour;
        let is_used = self.project_state.puts_within_an_hour(now) >= limit;
        [
            off.map(|offset| Reason::ClockOff { seconds: offset.as_secs() }),
            pause.map(|pause| Reason::ProjectPaused { cause: pause.cause, until: pause.until.wall_by(now) }),
            breaker::hold_back(self.project_state, self.breaker, now),
            is_used.then_some(Reason::ActionsPerHour { limit }),
        ]
    }
}
