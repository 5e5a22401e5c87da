//! The invariants of `tests/core/simulation/judge.rs`, judged at every step by what truly happened.

use upgrade_remediator::model::decision::Action;
use upgrade_remediator::model::event::{Entry, Event, Outcome};
use upgrade_remediator::model::reason::Reason;

use super::daemon::{Configuration, ticks};
use super::world::{Status, Version, World, task_id};

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
    /// Reloads a configuration with another policy.
    Reload,
}

/// What truly happened, as far as the invariants ask for it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own, and none excludes another")]
pub(crate) struct Truth {
    /// A retry of ours was taken, and the task has not failed since.
    pub(crate) runs_by_us: bool,
    /// An abort left, and nothing said clearly that it was not taken.
    pub(crate) abort_out: bool,
    /// The task was handed to an operator.
    pub(crate) needs_operator: bool,
    /// Retries of ours that were taken since the last progress.
    taken: u8,
    /// Those of them that were answered so, and that in the journal. None once a node was completed: when the daemon learns
    /// of that decides what counts.
    known: u8,
    node_completed: bool,
    /// A reading showed a completed node.
    node_seen: bool,
    /// Answered with 200, and not taken.
    without_effect: u8,
    /// Of unknown outcome to the daemon, and not taken.
    never_taken: u8,
    /// A retry was not taken, and its answer says so: it is of unknown outcome if a kill cuts that off.
    unheard: bool,
    /// Since the present failure was first seen, in ticks; as far as it matters.
    failed: Option<u8>,
    /// Since its retries were told to be used up.
    pending: Option<u8>,
    /// Since the last PUT that may have been taken.
    put: Option<u8>,
    /// The terms under which the failure was first seen.
    failed_under: usize,
    /// The terms under which the last intent was committed.
    committed_under: usize,
    /// What a person did.
    act: Option<Act>,
    /// The execution that a person's retry began.
    by_hand: u8,
    /// The last reading before the last PUT did not show the person's retry yet, or the PUT was late and the retry came
    /// before it: what is shown of that retry cannot be told from an effect of ours ('What remains', docs/safety.md).
    hidden: bool,
    /// What the last reading showed; only where it is acted on.
    shown: Option<Version>,
    /// Nodes that the last reading before the last PUT showed as completed.
    shown_completed: u8,
}

impl Truth {
    pub(crate) fn tick(&mut self, configuration: &Configuration) {
        let waits = configuration.waits();
        let ages = [
            (&mut self.failed, waits.backoff),
            (&mut self.pending, waits.grace),
            (&mut self.put, waits.settle_timeout),
        ];
        for (age, alike) in ages {
            *age = age.map(|age| (age + 1).min(alike));
        }
    }

    /// A node is completed: the retries before it count no more.
    pub(crate) fn progress(&mut self) {
        self.taken = 0;
        self.known = 0;
        self.node_completed = true;
    }

    pub(crate) fn act(&mut self, act: Act, world: &World) {
        self.act = Some(act);
        if act == Act::Retry {
            self.by_hand = world.now.execution;
            self.hidden |= !world.late.is_empty();
        }
    }

    /// A reading was taken in, and is `acted_on` or not.
    pub(crate) fn read(&mut self, version: Version, acted_on: bool) {
        self.node_seen |= version.completed > 0;
        self.shown = acted_on.then_some(version);
    }

    /// An intent is committed: what comes after that stops the next one.
    pub(crate) fn committed(&mut self, terms: usize, held: bool) -> Result<(), String> {
        self.committed_under = terms;
        if held { Err("I3: an intent is committed under a hold".to_owned()) } else { Ok(()) }
    }

    /// Nothing is acted on any more.
    pub(crate) fn forget_reading(&mut self) {
        self.shown = None;
    }

    /// Whether so many retries of whomever were used up that the policy allows no more. A PUT of unknown outcome that
    /// never arrived counts where a person changed the failed task: that may be taken for its effect ('What remains').
    fn used_up(&self, world: &World, configuration: &Configuration, terms: usize) -> bool {
        let changed = matches!(self.act, Some(Act::Terminate { .. } | Act::CompleteNode));
        let unclear = if changed { self.never_taken } else { 0 };
        let used = u32::from(world.restarts) + u32::from(self.without_effect) + u32::from(unclear);
        used >= configuration.terms(terms).retry.max_retries
    }

    /// What was journaled: is it true?
    pub(crate) fn journaled(
        &mut self,
        entry: &Entry,
        world: &World,
        configuration: &Configuration,
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
                if self.runs_by_us && !self.hidden {
                    return Err("I2: a failure is seen anew, and our retry still runs".to_owned());
                }
            }
            Event::Decided { reason: Reason::AbortPending { .. }, .. } => {
                self.pending.get_or_insert(0);
                if !self.used_up(world, configuration, terms) {
                    return Err("I4: an abort is told, and retries are left".to_owned());
                }
            }
            Event::Escalated { reason } => {
                if self.needs_operator {
                    return Err("it is handed to an operator twice".to_owned());
                }
                self.needs_operator = true;
                let given_up = matches!(
                    reason,
                    Reason::RetriesExhausted { .. }
                        | Reason::NodeCompleted { .. }
                        | Reason::PartialFailed { .. }
                );
                if given_up && self.runs_by_us && !self.hidden {
                    return Err("I3: it is given up, and our retry still runs".to_owned());
                }
                if given_up && !self.used_up(world, configuration, terms) {
                    return Err("I3: it is given up, and retries are left".to_owned());
                }
            }
            Event::Ended(Outcome::Gone | Outcome::Superseded { .. }) => {
                return Err("it is closed as gone, and is there".to_owned());
            }
            Event::Ended(Outcome::ResolvedByRetry | Outcome::ResolvedExternally) if !world.succeeded => {
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
        configuration: &Configuration,
    ) -> Result<(), String> {
        let terms = self.committed_under;
        if !world.late.is_empty() {
            return Err("I2: an earlier PUT is still on its way".to_owned());
        }
        // The service refuses a retry of a task that runs. Whether it refuses an abort nobody knows.
        if self.runs_by_us && !(self.hidden && action == Action::Retry) {
            return Err("I2: an earlier retry was taken, and the task has not failed since".to_owned());
        }
        if self.abort_out {
            return Err("I2: an abort may have been taken before".to_owned());
        }
        if self.needs_operator {
            return Err("I2: an operator has it".to_owned());
        }
        let Some(shown) = self.shown else { return Err("nothing was read before".to_owned()) };
        let Some(failed) = self.failed else { return Err("no failure was seen before".to_owned()) };
        if !shown.is_failed() {
            return Err("I4: what was read is not failed".to_owned());
        }
        // As long as what is shown lags behind, the end of one execution is taken for that of the next one.
        let lags = self.hidden && shown.execution < world.now.execution;
        self.hidden = lags || (self.act == Some(Act::Retry) && shown.execution < self.by_hand);
        self.shown_completed = shown.completed;
        let terms_now = configuration.terms(terms);
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
                if self.node_seen {
                    return Err("I4: a completed node was read before".to_owned());
                }
                if !world.shown().any(|version| safe(&version)) {
                    return Err("I4: it must not be aborted, and any reading would have shown it".to_owned());
                }
                if !self.used_up(world, configuration, terms) {
                    return Err("I4: an abort, and retries are left".to_owned());
                }
                let grace = ticks(terms_now.abort_grace);
                if self.pending.is_none_or(|pending| pending < grace) {
                    return Err(format!("I4: {:?} ticks of a grace of {grace}", self.pending));
                }
                if self.put.is_some_and(|put| put < ticks(configuration.poll().settle_timeout)) {
                    return Err("I4: an abort within settle_timeout of our last PUT".to_owned());
                }
                if self.failed_under != terms {
                    return Err("I4: the failure was first seen under another policy".to_owned());
                }
            }
        }
        Ok(())
    }

    /// A retry of ours arrived, and was taken.
    pub(crate) fn retry_taken(
        &mut self,
        world: &World,
        configuration: &Configuration,
        terms: usize,
    ) -> Result<(), String> {
        self.runs_by_us = true;
        // Where a person completed a node that the last reading did not show, nobody can tell that from one that the retry
        // completed: the retry counts as one before it.
        if world.now.completed <= self.shown_completed {
            self.taken += 1;
        }
        let allowed = configuration.terms(terms).retry.max_retries;
        if u32::from(self.taken) > allowed {
            return Err(format!("I3: {} retries were taken since the last progress", self.taken));
        }
        Ok(())
    }

    /// The answer says that the retry was taken, and it was.
    pub(crate) fn retry_known(&mut self) {
        self.known += u8::from(!self.node_completed);
    }

    /// A PUT left. Whether it may have been taken, as far as its answer tells.
    pub(crate) fn left(&mut self, action: Action, unclear: bool, without_effect: bool, taken: bool) {
        let retry = action == Action::Retry;
        if unclear || taken || without_effect {
            self.put = Some(0);
            self.abort_out |= !retry;
        }
        self.without_effect += u8::from(retry && without_effect);
        self.unheard = retry && !unclear && !taken;
        self.never_taken += u8::from(retry && unclear && !taken);
    }

    /// Its answer is in the journal.
    pub(crate) fn heard(&mut self) {
        self.unheard = false;
    }

    /// The process was killed; `intended`: with the intent of a retry in the journal that has not left.
    pub(crate) fn killed(&mut self, intended: bool) {
        self.shown = None;
        self.never_taken += u8::from(intended || self.unheard);
        self.unheard = false;
    }

    /// A PUT arrived late, and was taken after all.
    pub(crate) fn came_late(&mut self) {
        self.never_taken = self.never_taken.saturating_sub(1);
    }
}
