//! Explains one cluster from a new poll, or from the known state if the poll fails. Journals and
//! sends nothing, and notifies nobody.

use super::{READ_LAST, Reconciler};
use crate::clock::Clock;
use crate::cloud::Css;
use crate::decide::{StepInput, explain, foresee, govern};
use crate::model::cluster::Cluster;
use crate::model::explanation::{AbortEffect, Explanation, Lifecycle};
use crate::model::id::ClusterId;
use crate::model::moment::Moment;
use crate::model::outlook::Block;
use crate::model::project_state::ProjectState;
use crate::model::reason::Reason;
use crate::model::text::chain;

impl<S: Css, C: Clock> Reconciler<S, C> {
    /// Explains the cluster.
    pub async fn explain(&self, cluster: &ClusterId) -> Explanation {
        let listed = self.state().listed.get(cluster).cloned();
        let mut limits = Vec::new();
        if listed.is_none() {
            limits.push("no list of clusters has shown the cluster since the daemon started".to_owned());
        }
        let cluster = match listed {
            Some((cluster, _)) => (*cluster).clone(),
            None => self.unlisted(cluster),
        };
        let read = self.read(&self.css(), &cluster.id, READ_LAST).await;
        let Ok(reading) = read.map_err(|error| limits.push(chain(&error))) else {
            let state = self.state();
            let record = state.project.cluster(&cluster.id);
            let now = self.clock.now().wall;
            return Explanation::by_journal(
                now,
                &self.project,
                &cluster,
                record,
                limits,
                Block::not_polled(),
            );
        };
        self.judge(&cluster, &reading, |state, input| by_reading(state, input, reading.at, limits))
    }

    /// Explains the cluster from the known state, without a poll: for pages, which are requested at
    /// any rate. Returns `None` if the cluster is not known.
    pub fn explain_without_reading(&self, id: &ClusterId) -> Option<Explanation> {
        if !self.knows(id) {
            return None;
        }
        let listed = self.state().listed.get(id).map(|(cluster, _)| (**cluster).clone());
        let cluster = listed.unwrap_or_else(|| self.unlisted(id));
        let now = self.clock.now().wall;
        let rules = self.rules();
        let (mut explanation, newest) = {
            let (holds, state) = self.known();
            let record = state.project.cluster(id);
            let mut limits = Vec::new();
            if !state.polled.contains_key(id) {
                limits.push("the daemon has not polled the cluster since it started".to_owned());
            }
            let newest = record.newest().map(|(_, task)| task.clone());
            let mut explanation =
                Explanation::by_journal(now, &self.project, &cluster, record, limits, Block::not_polled());
            if let Some((task, known)) = record.newest() {
                explanation.outlook = self.outlook(&state, (&rules, &holds), id, task, known);
            }
            (explanation, newest)
        };
        let Some(known) = newest else { return Some(explanation) };
        explanation.policies = explain::policies(self.policies_for(&cluster, known.kind));
        let policy = govern::governing(&rules.policies, &self.project, &cluster, known.kind);
        if let Some(policy) = policy {
            explanation.schedule =
                explain::schedule(&known, &policy.terms, &rules.poll, &explanation.outlook);
            explanation.window.clone_from(&policy.terms.window);
        }
        Some(explanation)
    }

    fn unlisted(&self, id: &ClusterId) -> Cluster {
        self.state().project.cluster(id).recall(id)
    }
}

/// Folded into a copy: a scheduled reconcile journals these events.
fn by_reading(state: &ProjectState, input: StepInput<'_>, now: Moment, limits: Vec<String>) -> Explanation {
    let (state, decision, outlook) = foresee(state, input, now);
    let task = input.newest(&state).task();
    let known = task.and_then(|task| Some((&task.id, input.record(&state).tasks.get(&task.id)?)));
    let terms = task.and_then(|task| input.terms(task));
    let schedule = match (terms, known) {
        (Some(terms), Some((_, known))) => explain::schedule(known, terms, &input.rules.poll, &outlook),
        _ => Vec::new(),
    };
    Explanation {
        task: task.map(explain::facts),
        abort: task
            .filter(|_| decision.reason.code() != Reason::AbortedByUs.code())
            .and_then(|task| AbortEffect::of(task, input.cluster)),
        lifecycle: known.map(|(id, known)| Lifecycle::new(id, known, terms)),
        policies: task.map(|task| explain::policies(input.policies(task.kind))).unwrap_or_default(),
        outlook,
        schedule,
        // No request is sent for a task that has ended.
        preconditions: if known.is_some_and(|(_, known)| known.is_ended()) {
            Vec::new()
        } else {
            explain::preconditions(&state, input, now)
        },
        next_poll_seconds: Some(decision.next_poll.as_secs_f64()),
        limits,
        ..Explanation::new(now.wall, input.project, input.cluster, &decision)
    }
}
