//! Explains one cluster: by a reading of its own, or by what is known where it cannot be read. Journals, tells and sends
//! nothing.

use std::sync::PoisonError;

use super::Looker;
use crate::clock::Clock;
use crate::cloud::Css;
use crate::decide::{Facts, Standing, explain};
use crate::journal::Journal;
use crate::model::cluster::Cluster;
use crate::model::event::Entry;
use crate::model::explanation::{Explanation, Story};
use crate::model::history::ClusterHistory;
use crate::model::id::ClusterId;
use crate::model::task::Reading;
use crate::model::text::chain;
use crate::notify::Tell;

impl<S: Css, J: Journal, C: Clock, T: Tell> Looker<S, J, C, T> {
    /// Explains the cluster.
    pub async fn explain(&self, cluster: &ClusterId) -> Explanation {
        let listed = self.state().listed.get(cluster).cloned();
        let mut limits = Vec::new();
        if listed.is_none() {
            limits.push("no list of clusters has shown it since the daemon started".to_owned());
        }
        let (cluster, listed) = match listed {
            Some((cluster, at)) => ((*cluster).clone(), Some(at)),
            None => (self.unlisted(cluster), None),
        };
        let read = self.read(&self.css(), &cluster.id).await;
        let Ok((reading, _)) = read.map_err(|error| limits.push(chain(&error))) else {
            let state = self.state();
            let history = state.ledger.history(&cluster.id);
            let now = self.clock.now().wall;
            return Explanation::by_journal(now, &self.project, &cluster, history, limits);
        };
        // What the reading adds is folded in here alone: a look of the watcher journals it.
        let seen = self.observe(&cluster, &reading, listed);
        let history = {
            let mut history = self.state().ledger.history(&cluster.id).clone();
            for (subject, event) in seen {
                history.apply(&Entry { number: u64::MAX, at: reading.at, subject, event });
            }
            history
        };
        self.by_reading(&cluster, &reading, &history, limits)
    }

    fn by_reading(
        &self,
        cluster: &Cluster,
        reading: &Reading,
        history: &ClusterHistory,
        limits: Vec<String>,
    ) -> Explanation {
        let (now, rules) = (reading.at, self.rules());
        let state = self.state();
        let decision = self.decide_by(&state.ledger, history, cluster, reading, now);
        let task = Standing::of(reading, history).task();
        let terms = task.and_then(|task| self.terms(&rules, cluster, task.kind));
        let known = task.and_then(|task| Some((&task.id, history.tasks.get(&task.id)?)));
        let holds = self.holds.read().unwrap_or_else(PoisonError::into_inner);
        let guards = self.guards(&state.ledger, &holds, &rules);
        let facts = Facts { cluster: &cluster.id, reading, guards, poll: &rules.poll, seed: self.seed };
        let all = explain::guards(terms.as_ref(), rules.mode, facts, known.map(|(_, known)| known), now);
        let schedule = match (&terms, known) {
            (Some(terms), Some((_, known))) => explain::schedule(known, terms, &decision),
            _ => Vec::new(),
        };
        let policies = task.map(|task| self.policies_for(cluster, task.kind)).unwrap_or_default();
        Explanation {
            task: task.map(explain::facts),
            story: known.map(|(id, known)| Story::new(id, known, terms.as_ref())),
            policies: explain::policies(policies),
            schedule,
            guards: all,
            next_look_seconds: Some(decision.next_look.as_secs_f64()),
            limits,
            ..Explanation::new(now.wall, &self.project, cluster, &decision)
        }
    }

    fn unlisted(&self, id: &ClusterId) -> Cluster {
        Cluster::known_by(id.clone(), self.name_of(id))
    }
}
