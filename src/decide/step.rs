//! One step: what a poll adds to what is known, and what follows from that. The one way from a poll to a decision.

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

/// What a step is worked out from, beside the project's state and the moment.
#[derive(Clone, Copy)]
pub struct StepInput<'a> {
    /// The project's name in the configuration.
    pub project: &'a ProjectName,
    /// The cluster that was polled.
    pub cluster: &'a Cluster,
    /// What its lists of tasks showed.
    pub reading: &'a Reading,
    /// What the configuration says.
    pub rules: &'a Rules,
    /// What operators said is to be left alone.
    pub holds: &'a Holds,
    /// The journal's seed for jitter.
    pub seed: u64,
    /// Our clock less the service's, by the latest answer.
    pub clock_offset: Option<SignedDuration>,
    /// When a list of clusters last showed the cluster; `None`: not since the start.
    pub listed: Option<Moment>,
    /// When this process last polled the cluster, where it did: what is new now was seen to happen.
    pub polled: Option<Moment>,
}

/// What a step adds to the journal, and what it decides.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// The events to journal, in their order. All of them are of this one poll.
    pub events: Vec<(Subject, Event)>,
    /// What to do, and why. Judged with the events folded in.
    pub decision: Decision,
}

impl Step {
    /// Whether the circuit breaker opens or closes with it. Of steps that are worked out at the same time one alone may.
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

/// What is known once the poll is taken in, as a step sees it: the state to judge by.
pub(super) fn after<'a>(state: &'a ProjectState, input: StepInput<'_>, now: Moment) -> Cow<'a, ProjectState> {
    observed(state, input, now).state
}

/// These events, and whether the circuit breaker opens or closes with them.
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

/// The state with the events so far folded in, so that each rule sees what the rules before it found.
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

    /// Opens or closes the circuit breaker, where what is known now says so.
    fn turn_breaker(&mut self, project: &ProjectName, polled: &ClusterId, breaker: &Breaker) {
        let Some((event, of)) = breaker::turn(&self.state, breaker, self.at) else { return };
        let newest = || Some((polled.clone(), self.state.cluster(polled).newest_start.clone()?.1));
        if let Some((cluster, task)) = of.or_else(newest) {
            self.note(Subject { project: project.clone(), cluster, task }, event);
        }
    }
}

impl<'a> StepInput<'a> {
    /// What is known of the cluster.
    pub fn record<'s>(&self, state: &'s ProjectState) -> &'s ClusterRecord {
        state.cluster(&self.cluster.id)
    }

    /// Which task of the cluster is the newest.
    pub fn newest(&self, state: &ProjectState) -> NewestTask<'a> {
        NewestTask::of(self.reading, self.record(state), self.rules.poll.settle_interval)
    }

    /// The policy that governs a task of this kind.
    pub fn policy(&self, kind: TaskKind) -> Option<&'a Policy> {
        govern::governing(&self.rules.policies, self.project, self.cluster, kind)
    }

    /// Every policy in its order, and in words the first line of it that does not cover a task of this kind.
    pub fn policies(&self, kind: TaskKind) -> Vec<(String, Option<String>)> {
        govern::in_words(&self.rules.policies, self.project, self.cluster, kind)
    }

    /// The terms of a task. One that stands in both lists may be of either kind: only what governs both governs it.
    pub fn terms(&self, task: &Task) -> Option<&'a Terms> {
        let terms = |kind| self.policy(kind).map(|policy| &policy.terms);
        let governing = terms(task.kind);
        let both = !self.reading.in_both.contains(&task.id) || governing == terms(task.kind.other());
        governing.filter(|_| both)
    }

    /// What stands above every policy.
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

    /// Whether our clock is off by the service's: nothing is told old or new by it.
    pub fn is_clock_off(&self) -> bool {
        is_clock_off(self.clock_offset)
    }

    /// Another cluster whose last answer shows this task too, so that it may be no task of this one.
    pub fn shown_elsewhere<'s>(&self, state: &'s ProjectState, task: &TaskId) -> Option<&'s ClusterId> {
        state.shown_elsewhere(&self.cluster.id, task)
    }

    /// A task of the cluster.
    pub fn subject(&self, task: &TaskId) -> Subject {
        Subject { project: self.project.clone(), cluster: self.cluster.id.clone(), task: task.clone() }
    }
}
