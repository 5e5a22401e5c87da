//! One step: what a poll adds to the state, and what follows. Every decision about a poll is made
//! here.

use std::borrow::Cow;

use jiff::SignedDuration;

use super::{NewestTask, Preconditions, breaker, decide, govern, news, observe};
use crate::model::cluster::Cluster;
use crate::model::decision::Decision;
use crate::model::event::{Entry, Event, Subject};
use crate::model::hold::Holds;
use crate::model::id::{ClusterId, ProjectName, TaskId};
use crate::model::moment::Moment;
use crate::model::policy::{Policy, Terms};
use crate::model::project::{Breaker, Rules, is_clock_off};
use crate::model::project_state::ProjectState;
use crate::model::record::ClusterRecord;
use crate::model::task::{Reading, Task, TaskKind};

/// The number of an entry that is not in the journal yet.
pub(super) const NOT_JOURNALED: u64 = u64::MAX;

/// The input of a step, beside the project's state and the moment.
#[derive(Clone, Copy)]
pub struct StepInput<'a> {
    /// The project's name in the configuration.
    pub project: &'a ProjectName,
    /// The cluster that was polled.
    pub cluster: &'a Cluster,
    /// The poll of its lists of tasks.
    pub reading: &'a Reading,
    /// The configuration.
    pub rules: &'a Rules,
    /// The operators' holds.
    pub holds: &'a Holds,
    /// The journal's seed for jitter.
    pub seed: u64,
    /// Our clock minus that of the CSS API, by the latest answer.
    pub clock_offset: Option<SignedDuration>,
    /// When a list of clusters last showed the cluster; `None`: not since the start.
    pub listed: Option<Moment>,
    /// When this process last polled the cluster, if it did: changes since then were seen as they
    /// happened.
    pub polled: Option<Moment>,
}

/// The result of a step: what it adds to the journal, and its decision.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// The events to journal, in their order. All of them come from this one poll.
    pub events: Vec<(Subject, Event)>,
    /// What to do, and why, decided with the events folded in.
    pub decision: Decision,
}

impl Step {
    /// Whether the step opens or closes the circuit breaker. Of several steps at the same time only
    /// one may.
    pub fn turns_breaker(&self) -> bool {
        let mut events = self.events.iter().map(|(_, event)| event);
        events.any(|event| matches!(event, Event::BreakerOpened { .. } | Event::BreakerClosed { .. }))
    }
}

/// Works out one step. Pure: equal inputs give equal steps.
pub fn step(state: &ProjectState, input: StepInput<'_>, now: Moment) -> Step {
    let mut draft = observed(state, input, now);
    let decision = decide(&draft.state, input, now);
    if let Some((task, event)) = news(&decision, input.record(&draft.state)) {
        draft.note(input.subject(&task), event);
    }
    Step { events: draft.events, decision }
}

/// The state after the poll, as a step sees it: the input of the rules.
pub(super) fn after<'a>(state: &'a ProjectState, input: StepInput<'_>, now: Moment) -> Cow<'a, ProjectState> {
    observed(state, input, now).state
}

/// Returns these events, and whether the circuit breaker opens or closes with them.
pub fn with_breaker(
    state: &ProjectState,
    events: Vec<(Subject, Event)>,
    breaker: &Breaker,
    now: Moment,
) -> Vec<(Subject, Event)> {
    let mut draft = Draft { state: Cow::Borrowed(state), events: Vec::new(), at: now };
    let subject = events.first().map(|(subject, _)| subject.clone());
    for (subject, event) in events {
        draft.note(subject, event);
    }
    if let Some(Subject { project, cluster, .. }) = subject {
        draft.turn_breaker(&project, &cluster, breaker);
    }
    draft.events
}

fn observed<'a>(state: &'a ProjectState, input: StepInput<'_>, now: Moment) -> Draft<'a> {
    let mut draft = Draft { state: Cow::Borrowed(state), events: Vec::new(), at: now };
    for (subject, event) in observe::observe(state, input) {
        draft.note(subject, event);
    }
    if let Some(record) = draft.state.remembered(&input.cluster.id, input.reading) {
        draft.state.to_mut().clusters.insert(input.cluster.id.clone(), record.into());
    }
    draft.turn_breaker(input.project, &input.cluster.id, &input.rules.breaker);
    draft
}

/// Returns the state with the events so far folded in, so that each rule sees what the rules before
/// it found.
struct Draft<'a> {
    state: Cow<'a, ProjectState>,
    events: Vec<(Subject, Event)>,
    at: Moment,
}

impl Draft<'_> {
    fn note(&mut self, subject: Subject, event: Event) {
        let entry = Entry { number: NOT_JOURNALED, at: self.at, subject, event };
        self.state.to_mut().apply(&entry);
        self.events.push((entry.subject, entry.event));
    }

    /// Opens or closes the circuit breaker if the state requires it.
    fn turn_breaker(&mut self, project: &ProjectName, polled: &ClusterId, breaker: &Breaker) {
        let Some((event, of)) = breaker::turn(&self.state, breaker, self.at) else { return };
        let newest = || Some((polled.clone(), self.state.cluster(polled).newest_start.clone()?.1));
        if let Some((cluster, task)) = of.or_else(newest) {
            self.note(Subject { project: project.clone(), cluster, task }, event);
        }
    }
}

impl<'a> StepInput<'a> {
    /// Returns the record of the cluster.
    pub fn record<'s>(&self, state: &'s ProjectState) -> &'s ClusterRecord {
        state.cluster(&self.cluster.id)
    }

    /// Returns the newest task of the cluster.
    pub fn newest(&self, state: &ProjectState) -> NewestTask<'a> {
        NewestTask::of(self.reading, self.record(state), self.rules.poll.settle_interval)
    }

    /// Returns the policy that governs a task of this kind.
    pub fn policy(&self, kind: TaskKind) -> Option<&'a Policy> {
        govern::governing(&self.rules.policies, self.project, self.cluster, kind)
    }

    /// Returns every policy in its order, with the first line of it that does not match a task of
    /// this kind, in words.
    pub fn policies(&self, kind: TaskKind) -> Vec<(String, Option<String>)> {
        govern::in_words(&self.rules.policies, self.project, self.cluster, kind)
    }

    /// Returns the terms of a task. A task in both lists may be of either kind: a policy governs it
    /// only if it governs both kinds.
    pub fn terms(&self, task: &Task) -> Option<&'a Terms> {
        let terms = |kind| self.policy(kind).map(|policy| &policy.terms);
        let governing = terms(task.kind);
        let both = !self.reading.in_both.contains(&task.id) || governing == terms(task.kind.other());
        governing.filter(|_| both)
    }

    /// Returns the preconditions above every policy.
    pub fn preconditions(&self, state: &'a ProjectState) -> Preconditions<'a> {
        Preconditions {
            project: self.project,
            project_state: state,
            holds: self.holds,
            limits: &self.rules.limits,
            breaker: &self.rules.breaker,
            clock_offset: self.clock_offset,
        }
    }

    /// Returns whether our clock differs from the API's: then no age is derived from it.
    pub fn is_clock_off(&self) -> bool {
        is_clock_off(self.clock_offset)
    }

    /// Returns another cluster whose last answer shows this task too, so that it may not belong to
    /// this one.
    pub fn shown_elsewhere<'s>(&self, state: &'s ProjectState, task: &TaskId) -> Option<&'s ClusterId> {
        state.shown_elsewhere(&self.cluster.id, task)
    }

    /// A task of the cluster.
    pub fn subject(&self, task: &TaskId) -> Subject {
        Subject { project: self.project.clone(), cluster: self.cluster.id.clone(), task: task.clone() }
    }
}
