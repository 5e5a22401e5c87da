//! A journal in memory, for simulations, rehearsals and tests: no thread, no file, every future ready at once.
//!
//! It survives what its clones do not: a simulated crash drops everything but one clone, and goes on from
//! [`MemoryJournal::stored`].

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::{Timestamp, TimestampRound, Unit};

use super::{Journal, JournalError};
use crate::model::event::{Entry, Event, StoredEntry, Subject};
use crate::model::hold::{Identified, NewHold, Scope, StoredHold};
use crate::model::id::ProjectName;
use crate::model::moment::Moment;
use crate::model::names::{Named, Names};

mod outbox;

use outbox::OutboxInMemory;

/// How a record is to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// Nothing is kept, and a failure is reported.
    BeforeKeeping,
    /// The events are kept, and a failure is reported all the same.
    AfterKeeping,
}

/// A journal in memory. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct MemoryJournal {
    state: Arc<Mutex<State>>,
    seed: u64,
}

#[derive(Debug, Default)]
struct State {
    entries: Vec<Entry>,
    /// The last number that was given.
    last: u64,
    holds: Vec<StoredHold>,
    failures: VecDeque<Failure>,
    full: bool,
    outbox: OutboxInMemory,
    names: Names,
}

impl MemoryJournal {
    /// An empty journal.
    pub fn new(seed: u64) -> Self {
        Self { state: Arc::default(), seed }
    }

    /// A journal that holds these entries, as a process that starts at `now` understands them.
    pub fn holding(seed: u64, stored: Vec<StoredEntry>, now: Moment) -> Self {
        let journal = Self::new(seed);
        {
            let mut state = journal.state();
            state.entries = stored.into_iter().map(|entry| entry.recall(now)).collect();
            state.last = state.entries.last().map_or(0, |entry| entry.number);
        }
        journal
    }

    /// The seed of all jitter.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Makes the next record fail; asked several times, as many records fail, in this order.
    pub fn fail_next(&self, failure: Failure) {
        self.state().failures.push_back(failure);
    }

    /// While it is full, every record fails and nothing is kept.
    pub fn set_full(&self, full: bool) {
        self.state().full = full;
    }

    /// All entries, by the clocks of those who recorded them.
    pub fn entries(&self) -> Vec<Entry> {
        self.state().entries.clone()
    }

    /// All entries as a new process reads them: by wall time alone, to the millisecond.
    pub fn stored(&self) -> Vec<StoredEntry> {
        self.entries().into_iter().map(stored).collect()
    }

    /// The first of those that are wanted, as a new process reads them.
    pub(super) fn stored_where(&self, wanted: impl Fn(&Entry) -> bool, at_most: usize) -> Vec<StoredEntry> {
        let state = self.state();
        state.entries.iter().filter(|entry| wanted(entry)).take(at_most).cloned().map(stored).collect()
    }

    /// The last number that was given.
    pub(super) fn last(&self) -> u64 {
        self.state().last
    }

    /// Reads the outbox.
    pub(super) fn outbox<T>(&self, read: impl FnOnce(&OutboxInMemory) -> T) -> T {
        read(&self.state().outbox)
    }

    /// Changes the outbox, and fails where it is to.
    pub(super) fn write_outbox<T>(
        &self,
        work: impl FnOnce(&mut OutboxInMemory) -> T,
    ) -> Result<T, JournalError> {
        self.write(|state| work(&mut state.outbox))
    }

    /// All holds, oldest first.
    pub fn holds(&self) -> Vec<StoredHold> {
        self.state().holds.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, at: Moment, lines: Vec<(Subject, Event)>) -> Result<Vec<Entry>, JournalError> {
        if lines.is_empty() {
            return Ok(Vec::new());
        }
        self.write(|state| {
            let first = state.last + 1;
            let entry = |(number, (subject, event))| Entry { number, at, subject, event };
            let entries: Vec<_> = (first..).zip(lines).map(entry).collect();
            state.last += entries.len() as u64;
            state.entries.extend_from_slice(&entries);
            entries
        })
    }

    /// Does this to the state, and fails where it is to.
    fn write<T>(&self, work: impl FnOnce(&mut State) -> T) -> Result<T, JournalError> {
        let mut state = self.state();
        if state.full {
            return Err(JournalError::Simulated);
        }
        let failure = state.failures.pop_front();
        if failure == Some(Failure::BeforeKeeping) {
            return Err(JournalError::Simulated);
        }
        let done = work(&mut state);
        if failure == Some(Failure::AfterKeeping) { Err(JournalError::Simulated) } else { Ok(done) }
    }
}

impl Journal for MemoryJournal {
    fn record(
        &self,
        at: Moment,
        lines: Vec<(Subject, Event)>,
    ) -> impl Future<Output = Result<Vec<Entry>, JournalError>> + Send {
        std::future::ready(self.keep(at, lines))
    }

    fn forget(&self, tasks: Vec<Subject>) -> impl Future<Output = Result<(), JournalError>> + Send {
        let stays = |entry: &Entry| entry.event.is_of_project() || !tasks.contains(&entry.subject);
        std::future::ready(self.write(|state| state.entries.retain(stays)))
    }

    fn read_project(
        &self,
        project: &ProjectName,
    ) -> impl Future<Output = Result<Vec<StoredEntry>, JournalError>> + Send {
        std::future::ready(Ok(self.stored_where(|entry| entry.subject.project == *project, usize::MAX)))
    }

    fn place_hold(&self, hold: NewHold) -> impl Future<Output = Result<StoredHold, JournalError>> + Send {
        std::future::ready(self.write(|state| {
            let hold = StoredHold::new(state.holds.len() as u64 + 1, hold);
            state.holds.push(hold.clone());
            hold
        }))
    }

    fn release_holds(
        &self,
        at: Timestamp,
        numbers: Vec<u64>,
        by: String,
    ) -> impl Future<Output = Result<(), JournalError>> + Send {
        std::future::ready(self.write(|state| {
            let open = state.holds.iter_mut().filter(|hold| hold.released.is_none());
            for hold in open.filter(|hold| numbers.contains(&hold.number)) {
                hold.released = Some((at, by.clone()));
            }
        }))
    }

    fn identify(
        &self,
        projects: Vec<Named>,
    ) -> impl Future<Output = Result<Identified, JournalError>> + Send {
        std::future::ready(self.write(|state| {
            let taken = |name: &_| state.entries.iter().any(|entry| entry.subject.project == *name);
            let naming = state.names.naming(&projects, taken);
            for entry in &mut state.entries {
                entry.subject.project = naming.renamed(&entry.subject.project).clone();
            }
            let first = state.holds.len();
            for rename in naming.renames.iter().filter(|rename| rename.aside) {
                let of_it = |hold: &&StoredHold| {
                    hold.released.is_none() && hold.scope == Scope::Project(rename.from.clone())
                };
                let copies: Vec<_> = state.holds.iter().take(first).filter(of_it).cloned().collect();
                for copy in copies {
                    let number = state.holds.len() as u64 + 1;
                    state.holds.push(StoredHold { number, ..copy });
                }
            }
            for hold in state.holds.iter_mut().take(first) {
                hold.scope = hold.scope.renamed(&naming);
            }
            state.names = naming.names.clone();
            Identified { holds: state.holds.iter().skip(first).cloned().collect(), naming }
        }))
    }
}

fn stored(entry: Entry) -> StoredEntry {
    StoredEntry {
        number: entry.number,
        at: to_the_millisecond(entry.at.wall),
        subject: entry.subject,
        event: entry.event,
    }
}

fn to_the_millisecond(time: Timestamp) -> Timestamp {
    let round = TimestampRound::new().smallest(Unit::Millisecond).mode(jiff::RoundMode::Floor);
    time.round(round).unwrap_or(time)
}
