//! The invariants of `tests/simulation/judge.rs`, judged at every step by what truly happened.

use upgrade_remediator::model::decision::Action;
use upgrade_remediator::model::event::{Closing, Entry, Event};
use upgrade_remediator::model::reason::Reason;

use crate::daemon::{Settings, ticks};
use crate::world::{Status, Version, World, task_id};

/// Ages from here on are alike.
const OLD: u8 = 12;

/// What a person did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Act {
    /// Retries the task in the console.
    Retry,
    /// Terminates it there. `mark`: that leaves something to be seen.
    Terminate { mark: bool },
    /// Brings a node of the failed task to its end.
    CompleteNode,
    /// Holds everything, for a while.
    Hold,
    /// Reloads settings with another policy.
    Reload,
}

/// What truly happened, as far as the invariants ask for it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(crate) struct Truth {
    /// A retry of ours was taken, and the task has not failed since.
    pub(crate) runs_by_us: bool,
    /// An abort left, and nothing said clearly that it was not taken.
    pub(crate) abort_out: bool,
    /// The task was handed to a human.
    with_human: bool,
    /// Retries of ours that were taken since the last progress.
    taken: u8,
    /// Those of them that were answered so, and that in the journal.
    known: u8,
    /// Answered with 200, and not taken.
    pub(crate) without_effect: u8,
    /// Since the present failure was first seen.
    failed: Option<u8>,
    /// Since its retries were told to be used up.
    pending: Option<u8>,
    /// Since the last PUT that may have been taken.
    put: Option<u8>,
    /// The terms under which the failure was first seen.
    failed_under: usize,
    /// What a person did, and how long ago.
    pub(crate) act: Option<(Act, u8)>,
    /// What the last reading showed; only where it is acted on.
    pub(crate) shown: Option<Version>,
}

impl Truth {
    pub(crate) fn tick(&mut self) {
        let ages = [&mut self.failed, &mut self.pending, &mut self.put];
        for age in ages.into_iter().flatten().chain(self.act.as_mut().map(|(_, age)| age)) {
            *age = (*age + 1).min(OLD);
        }
    }

    /// A node is completed: the retries before it count no more.
    pub(crate) fn progress(&mut self) {
        self.taken = 0;
        self.known = 0;
    }

    fn terminated_by_hand(&self) -> bool {
        matches!(self.act, Some((Act::Terminate { .. }, _)))
    }

    /// Whether so many retries of whomever were used up that the policy allows no more.
    fn used_up(&self, world: &World, settings: &Settings, terms: usize) -> bool {
        let used = u32::from(world.restarts) + u32::from(self.without_effect);
        used >= settings.terms[terms].retry.max_retries
    }

    /// What was journaled: is it true?
    pub(crate) fn journaled(
        &mut self,
        entry: &Entry,
        world: &World,
        settings: &Settings,
        terms: usize,
    ) -> Result<(), String> {
        if entry.subject.task != task_id() {
            return Ok(());
        }
        match &entry.event {
            Event::Failed(seen) => {
                self.failed = Some(ticks(seen.seen_before));
                self.pending = None;
                self.failed_under = terms;
                if self.runs_by_us {
                    return Err("I2: a failure is seen anew, and our retry still runs".to_owned());
                }
            }
            Event::Decided { reason: Reason::AbortPending { .. }, .. } => {
                self.pending.get_or_insert(0);
                if !self.used_up(world, settings, terms) && !self.terminated_by_hand() {
                    return Err("I4: an abort is told, and retries are left".to_owned());
                }
            }
            Event::Escalated { reason } => {
                if self.with_human {
                    return Err("it is handed to a human twice".to_owned());
                }
                self.with_human = true;
                let given_up = matches!(
                    reason,
                    Reason::RetriesUsedUp { .. } | Reason::NodeCompleted { .. } | Reason::PartialFailed { .. }
                );
                if given_up && self.runs_by_us {
                    return Err("I3: it is given up, and our retry still runs".to_owned());
                }
                if given_up && !self.used_up(world, settings, terms) && !self.terminated_by_hand() {
                    return Err("I3: it is given up, and retries are left".to_owned());
                }
            }
            Event::Closed(Closing::Gone | Closing::Superseded { .. }) => {
                return Err("it is closed as gone, and is there".to_owned());
            }
            Event::Closed(Closing::Remedied | Closing::SolvedByOthers) if !world.succeeded => {
                return Err("it is closed as solved, and has not succeeded".to_owned());
            }
            _ => {}
        }
        Ok(())
    }

    /// A PUT leaves.
    pub(crate) fn put(
        &mut self,
        action: Action,
        world: &World,
        settings: &Settings,
        terms: usize,
    ) -> Result<(), String> {
        if !world.late.is_empty() {
            return Err("I2: an earlier PUT is still on its way".to_owned());
        }
        if self.runs_by_us {
            return Err("I2: an earlier retry was taken, and the task has not failed since".to_owned());
        }
        if self.abort_out {
            return Err("I2: an abort may have been taken before".to_owned());
        }
        if self.with_human {
            return Err("I2: a human has it".to_owned());
        }
        let Some(shown) = self.shown else { return Err("nothing was read before".to_owned()) };
        let Some(failed) = self.failed else { return Err("no failure was seen before".to_owned()) };
        if !shown.is_failed() {
            return Err("I4: what was read is not failed".to_owned());
        }
        let terms_now = &settings.terms[terms];
        match action {
            Action::Retry => {
                let mut interval = terms_now.retry.initial_interval;
                for _ in 0..self.known {
                    interval = interval.mul_f64(terms_now.retry.multiplier).min(terms_now.retry.max_interval);
                }
                if failed < ticks(interval) {
                    return Err(format!("I3: {failed} ticks of a backoff of {}", ticks(interval)));
                }
            }
            Action::Abort => {
                let safe = |version: &Version| version.status == Status::Failed && version.completed == 0;
                if !safe(&shown) {
                    return Err("I4: the last reading shows that it must not be aborted".to_owned());
                }
                if !world.shown().any(|version| safe(&version)) {
                    return Err("I4: it must not be aborted, and any reading would have shown it".to_owned());
                }
                if !self.used_up(world, settings, terms) && !self.terminated_by_hand() {
                    return Err("I4: an abort, and retries are left".to_owned());
                }
                let grace = ticks(terms_now.abort_grace);
                if self.pending.is_none_or(|pending| pending < grace) {
                    return Err(format!("I4: {:?} ticks of a grace of {grace}", self.pending));
                }
                if self.put.is_some_and(|put| put < ticks(settings.poll.settle_timeout)) {
                    return Err("I4: an abort within settle_timeout of our last PUT".to_owned());
                }
                if self.failed_under != terms {
                    return Err("I4: the failure was first seen under another policy".to_owned());
                }
            }
        }
        Ok(())
    }

    /// A PUT arrived, and a retry was taken.
    pub(crate) fn retry_taken(&mut self, settings: &Settings, terms: usize) -> Result<(), String> {
        self.runs_by_us = true;
        self.taken += 1;
        let allowed = settings.terms[terms].retry.max_retries;
        if u32::from(self.taken) > allowed {
            return Err(format!("I3: {} retries were taken since the last progress", self.taken));
        }
        Ok(())
    }

    /// The answer says that the retry was taken, and it was.
    pub(crate) fn retry_known(&mut self) {
        self.known += 1;
    }

    /// The PUT that left may have been taken by now.
    pub(crate) fn may_be_taken(&mut self) {
        self.put = Some(0);
    }
}
