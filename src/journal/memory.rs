//! A journal in memory, for simulations, rehearsals and tests: no thread, no file, every future ready at once.
//!
//! It survives what its clones do not: a simulated crash drops everything but one clone, and goes on from
//! [`MemoryJournal::stored`].

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::future::ready;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::{Timestamp, TimestampRound, Unit};

use super::JournalError;
use super::query::{KnownCluster, Part, Query};
use super::schema::Meta;
use super::store::{Answer, Fence, Store};
use crate::model::event::{Entry, Event, StoredEntry, Subject};
use crate::model::hold::{Identified, NewHold, Scope, StoredHold};
use crate::model::id::{ClusterId, ProjectName, TaskId};
use crate::model::moment::Moment;
use crate::model::names::{Named, Names};
use crate::model::outbox::{Kept, Note, OutboxWrite};
use crate::model::scope_entry::{Position, ScopeEntry, ScopeEvent, fold};

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
#[derive(Debug, Clone)]
pub struct MemoryJournal {
    state: Arc<Mutex<State>>,
    meta: Meta,
}

#[derive(Debug, Default)]
struct State {
    entries: Vec<Entry>,
    /// The last number that was given.
    last: u64,
    /// What was said of scopes, in the order of the numbers.
    scopes: Vec<ScopeEntry>,
    failures: VecDeque<Failure>,
    full: bool,
    outbox: OutboxInMemory,
    names: Names,
    in_force: Vec<(Timestamp, String)>,
    alive: Option<Timestamp>,
}

impl Default for MemoryJournal {
    fn default() -> Self {
        Self::new(0)
    }
}

impl MemoryJournal {
    /// An empty journal.
    pub fn new(seed: u64) -> Self {
        let meta = Meta { id: format!("{seed:032x}"), seed, created_at: Timestamp::UNIX_EPOCH };
        Self { state: Arc::default(), meta }
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
        self.meta.seed
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

    /// All holds, oldest first.
    pub fn holds(&self) -> Vec<StoredHold> {
        self.state().holds()
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

impl Store for MemoryJournal {
    fn meta(&self) -> &Meta {
        &self.meta
    }

    fn lease(&self, _: &ProjectName) -> Answer<'_, Fence> {
        at_once(Ok(Fence::ALONE))
    }

    fn append(&self, fence: Fence, at: Moment, lines: Vec<(Subject, Event)>) -> Answer<'_, Vec<Entry>> {
        at_once(fence.check(Fence::ALONE).and_then(|()| self.keep(at, lines)))
    }

    fn forget(&self, tasks: Vec<Subject>) -> Answer<'_, ()> {
        let stays = |entry: &Entry| entry.event.is_of_project() || !tasks.contains(&entry.subject);
        at_once(self.write(|state| state.entries.retain(stays)))
    }

    fn place_hold(&self, hold: NewHold) -> Answer<'_, StoredHold> {
        at_once(self.write(|state| state.hold(hold)))
    }

    fn release_holds(&self, at: Timestamp, numbers: Vec<u64>, by: String) -> Answer<'_, ()> {
        at_once(self.write(|state| {
            let open = state.holds().into_iter().filter(|hold| hold.released.is_none());
            for StoredHold { number, scope, .. } in open.filter(|hold| numbers.contains(&hold.number)) {
                state.last += 1;
                let event = ScopeEvent::Released { hold: number, by: by.clone() };
                state.scopes.push(ScopeEntry { number: state.last, at, scope, event });
            }
        }))
    }

    fn identify(&self, projects: Vec<Named>) -> Answer<'_, Identified> {
        at_once(self.write(|state| {
            let taken = |name: &_| state.entries.iter().any(|entry| entry.subject.project == *name);
            let naming = state.names.naming(&projects, taken);
            for entry in &mut state.entries {
                entry.subject.project = naming.renamed(&entry.subject.project).clone();
            }
            for entry in &mut state.scopes {
                entry.scope = entry.scope.renamed(&naming);
            }
            state.outbox.rename(&naming);
            let mut holds = Vec::new();
            for rename in naming.renames.iter().filter(|rename| rename.aside) {
                let of_it = |hold: &StoredHold| {
                    hold.released.is_none() && hold.scope == Scope::Project(rename.to.clone())
                };
                for hold in state.holds().into_iter().filter(of_it) {
                    let StoredHold { at, cluster_name, until, reason, by, .. } = hold;
                    let scope = Scope::Project(rename.from.clone());
                    holds.push(state.hold(NewHold { at, scope, cluster_name, until, reason, by }));
                }
            }
            state.names = naming.names.clone();
            Identified { naming, holds }
        }))
    }

    fn read(&self, query: Query) -> Answer<'_, Vec<StoredEntry>> {
        let state = self.state();
        let of_cluster = query.cluster.as_ref().map(|text| state.clusters_called(text));
        let wanted = |entry: &StoredEntry| {
            let Subject { project, cluster, task } = &entry.subject;
            let of_task = |(of, id): &(ClusterId, TaskId)| of == cluster && id == task;
            of_cluster.as_ref().is_none_or(|of| of.contains(&(project, cluster)))
                && query.project.as_ref().is_none_or(|of| of == project)
                && query.task.as_ref().is_none_or(of_task)
                && query.since.is_none_or(|since| entry.at >= to_the_millisecond(since))
                && match &query.part {
                    Part::Numbered { after, through } => entry.number > *after && entry.number <= *through,
                    Part::History(past) => past.as_ref().is_none_or(|past| Position::from(entry) > *past),
                }
        };
        let at_most = query.at_most.map_or(usize::MAX, |at_most| at_most.try_into().unwrap_or(usize::MAX));
        let all = state.entries.iter().cloned().map(stored);
        let mut found: Vec<StoredEntry> = all.filter(wanted).collect();
        if matches!(query.part, Part::History(_)) {
            found.sort_by_cached_key(|entry| Position::from(entry));
        }
        found.truncate(at_most);
        at_once(Ok(found))
    }

    fn read_scopes(&self) -> Answer<'_, Vec<ScopeEntry>> {
        at_once(Ok(self.state().scopes.clone()))
    }

    fn clusters(&self) -> Answer<'_, Vec<KnownCluster>> {
        let names = self.state().names_of_clusters();
        let known = |((project, id), name)| KnownCluster { project, id, name };
        at_once(Ok(names.into_iter().map(known).collect()))
    }

    fn cluster_names(
        &self,
        clusters: BTreeSet<(ProjectName, ClusterId)>,
    ) -> Answer<'_, BTreeMap<ClusterId, String>> {
        let names = self.state().names_of_clusters().into_iter();
        at_once(Ok(names
            .filter(|(key, _)| clusters.contains(key))
            .map(|((_, id), name)| (id, name))
            .collect()))
    }

    fn outbox(&self) -> Answer<'_, Kept> {
        at_once(Ok(self.state().outbox.kept()))
    }

    fn write_outbox(&self, writes: Vec<OutboxWrite>) -> Answer<'_, Vec<Note>> {
        at_once(self.write(|state| writes.into_iter().filter_map(|write| state.outbox.one(write)).collect()))
    }

    fn note_in_force(&self, at: Timestamp, what: String) -> Answer<'_, ()> {
        at_once(self.write(|state| {
            if state.in_force.last().is_none_or(|(_, before)| *before != what) {
                state.in_force.push((to_the_millisecond(at), what));
            }
        }))
    }

    fn in_force(&self) -> Answer<'_, Vec<(Timestamp, String)>> {
        at_once(Ok(self.state().in_force.clone()))
    }

    fn mark_alive(&self, at: Timestamp) {
        self.state().alive = Some(to_the_millisecond(at));
    }

    fn last_alive(&self) -> Answer<'_, Option<Timestamp>> {
        at_once(Ok(self.state().alive))
    }

    fn keep_refusals(&self, _: String) {}

    fn check_alive(&self) -> Answer<'_, ()> {
        at_once(Ok(()))
    }

    fn size(&self) -> Option<u64> {
        None
    }

    fn close(&self) -> Answer<'_, ()> {
        at_once(Ok(()))
    }
}

impl State {
    fn holds(&self) -> Vec<StoredHold> {
        fold(self.scopes.iter().cloned())
    }

    fn hold(&mut self, new: NewHold) -> StoredHold {
        let number = self.holds().last().map_or(0, |hold| hold.number) + 1;
        self.last += 1;
        self.scopes.push(ScopeEntry::held(self.last, number, new.clone()));
        StoredHold::new(number, new)
    }

    /// The clusters with the names under which a task of them was last seen for the first time.
    fn names_of_clusters(&self) -> BTreeMap<(ProjectName, ClusterId), String> {
        let named = self.entries.iter().filter_map(|entry| match &entry.event {
            Event::FirstSeen { cluster_name, .. } => {
                let Subject { project, cluster, .. } = entry.subject.clone();
                Some(((project, cluster), cluster_name.clone()))
            }
            _ => None,
        });
        named.collect()
    }

    /// Those with this id, or with this name when a task of theirs was first seen.
    fn clusters_called(&self, text: &str) -> BTreeSet<(&ProjectName, &ClusterId)> {
        let called = self.entries.iter().filter(|entry| {
            let named = matches!(&entry.event, Event::FirstSeen { cluster_name, .. } if cluster_name == text);
            named || entry.subject.cluster.as_str() == text
        });
        called.map(|entry| (&entry.subject.project, &entry.subject.cluster)).collect()
    }
}

fn at_once<'a, T: Send + 'a>(result: Result<T, JournalError>) -> Answer<'a, T> {
    Box::pin(ready(result))
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
