//! The circuit breaker of a project: many tasks that fail within a short time show a fault of the
//! cloud.
//!
//! The state is the fold of the journal. `decide::breaker` decides when it opens or closes, and
//! that is journaled like everything else, so a restart changes nothing.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use super::answer::Meaning;
use super::event::{Confirmation, Entry, Event, Outcome};
use super::id::{AttemptId, ClusterId, TaskId};
use super::moment::Moment;
pub use super::turn::{Healing, Opening};

/// The one PUT that a half-open breaker allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// The PUT.
    pub attempt: AttemptId,
    /// Its cluster.
    pub cluster: ClusterId,
    /// Its task.
    pub task: TaskId,
    /// When its intent was committed.
    pub sent: Moment,
    /// What its task has shown so far.
    pub shown: Shown,
}

/// What a probe's task has shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    /// Nothing yet.
    Nothing,
    /// The PUT was accepted, which proves little.
    Accepted,
    /// The task completed a node since, or succeeded.
    Good(Healing),
    /// The task failed again since, or showed no effect.
    Failed,
    /// The outcome is unknown: by the answer, or because the process ended before there was one.
    Unknown,
}

/// An open breaker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Open {
    /// Why it opened.
    pub opening: Opening,
    /// Until when nothing is sent. Then one PUT is allowed.
    pub until: Moment,
    /// That PUT, until its effect is known.
    pub probe: Option<Probe>,
}

/// The state of the breaker.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Breaker {
    /// Failures that were seen to happen since it last closed, oldest first.
    seen: VecDeque<(Moment, ClusterId, TaskId)>,
    /// It is open (or half-open, once its time is over).
    pub open: Option<Open>,
}

impl Breaker {
    /// Folds one entry in.
    pub(super) fn apply(&mut self, entry: &Entry) {
        let (cluster, task) = (&entry.subject.cluster, &entry.subject.task);
        match &entry.event {
            Event::Failed(seen) if seen.seen_to_happen && !seen.too_old => {
                self.seen.push_back((entry.at, cluster.clone(), task.clone()));
            }
            Event::BreakerOpened { opening, cooldown } => {
                self.open =
                    Some(Open { opening: opening.clone(), until: entry.at.after(*cooldown), probe: None });
            }
            Event::BreakerClosed { .. } => *self = Self::default(),
            _ => {}
        }
        let Some(open) = &mut self.open else { return };
        if let Event::Intent { .. } = entry.event {
            open.probe.get_or_insert_with(|| Probe {
                attempt: AttemptId(entry.number),
                cluster: cluster.clone(),
                task: task.clone(),
                sent: entry.at,
                shown: Shown::Nothing,
            });
        } else if let Some(probe) =
            open.probe.as_mut().filter(|it| it.cluster == *cluster && it.task == *task)
        {
            probe.learn(&entry.event);
        }
    }

    /// Returns the different tasks that were seen to fail within this time before `now`.
    pub fn failures(&self, within: Duration, now: Moment) -> u32 {
        let recent = self.seen.iter().rev().take_while(|(at, ..)| now.since(*at) <= within);
        let tasks: BTreeSet<(&ClusterId, &TaskId)> =
            recent.map(|(_, cluster, task)| (cluster, task)).collect();
        u32::try_from(tasks.len()).unwrap_or(u32::MAX)
    }

    /// Forgets failures that no longer count, so that the list does not grow.
    pub fn forget(&mut self, within: Duration, now: Moment) {
        while self.seen.front().is_some_and(|(at, ..)| now.since(*at) > within) {
            self.seen.pop_front();
        }
    }
}

impl Probe {
    /// Returns whether what the task showed opens or closes the breaker. The first such result
    /// counts.
    pub(super) fn decides(&self) -> bool {
        !matches!(self.shown, Shown::Nothing | Shown::Accepted)
    }

    fn learn(&mut self, event: &Event) {
        let shown = match event {
            Event::Progress { .. } => Shown::Good(Healing::CompletedNode),
            Event::Ended(Outcome::ResolvedByRetry | Outcome::ResolvedExternally) => {
                Shown::Good(Healing::Succeeded)
            }
            Event::Failed(_) => Shown::Failed,
            Event::Confirmed { attempt, settlement } if *attempt == self.attempt => match settlement {
                Confirmation::Accepted => Shown::Accepted,
                Confirmation::WithoutEffect => Shown::Failed,
                Confirmation::NotAccepted => return,
            },
            Event::Answered { attempt, answer }
                if *attempt == self.attempt && answer.meaning == Meaning::Unknown =>
            {
                Shown::Unknown
            }
            _ => return,
        };
        if !self.decides() {
            self.shown = shown;
        }
    }
}
