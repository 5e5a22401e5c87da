//! What stands above every policy: while any of it holds, nothing is sent.

use jiff::SignedDuration;

use crate::model::decision::Action;
use crate::model::id::ClusterId;
use crate::model::ledger::Ledger;
use crate::model::moment::Moment;
use crate::model::project::{Limits, MAX_CLOCK_OFFSET};
use crate::model::reason::Reason;

/// The state of a project that may hold a PUT back.
#[derive(Clone, Copy)]
pub struct Guards<'a> {
    /// What the journal knows of the project.
    pub ledger: &'a Ledger,
    /// How much at once.
    pub limits: &'a Limits,
    /// Our clock less the service's, by the latest answer.
    pub clock_offset: Option<SignedDuration>,
}

impl Guards<'_> {
    /// The first guard that holds this action back, if any.
    pub fn hold_back(&self, cluster: &ClusterId, action: Action, now: Moment) -> Option<Reason> {
        if let Some(offset) = self.clock_offset
            && offset.unsigned_abs() > MAX_CLOCK_OFFSET
        {
            return Some(Reason::ClockOff { seconds: offset.as_secs() });
        }
        if let Some(rest) = &self.ledger.rest
            && (now.mono < rest.until.mono || rest.probe.is_some())
        {
            return Some(Reason::ProjectResting { cause: rest.cause, until: rest.until.wall });
        }
        if let Some(rest) = self.ledger.resting.get(cluster)
            && now.mono < rest.until.mono
        {
            return Some(Reason::ClusterResting { until: rest.until.wall });
        }
        if self.ledger.puts_within_an_hour(now) >= self.limits.max_actions_per_hour {
            return Some(Reason::ActionsPerHour { limit: self.limits.max_actions_per_hour });
        }
        if action == Action::Retry
            && self.ledger.others_in_flight(cluster) >= self.limits.max_actions_in_flight
        {
            return Some(Reason::ActionsInFlight { limit: self.limits.max_actions_in_flight });
        }
        None
    }
}
