//! The project as a whole, beside its clusters: what is known of it, and what may be exchanged
//! while it is watched.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError};

use super::{Reconciler, State};
use crate::clock::Clock;
use crate::cloud::Css;
use crate::decide::{self, govern};
use crate::journal::JournalError;
use crate::model::cluster::{Cluster, ClusterList};
use crate::model::condition::Standing;
use crate::model::event::{Event, Outcome, Subject};
use crate::model::hold::Holds;
use crate::model::id::{ClusterId, TaskId};
use crate::model::moment::Moment;
use crate::model::outlook::{Block, Outlook};
use crate::model::project::Rules;
use crate::model::project_state::ProjectState;
use crate::model::record::TaskRecord;
use crate::model::task::TaskKind;
use crate::notify::Notification;
use crate::status::summary::Summary;
use crate::status::{Live, Pace, ProjectReport, ReportInput};

/// A cluster that was not polled for this number of idle intervals is overdue.
const POLLS_MISSED: u32 = 3;

impl<S: Css, C: Clock> Reconciler<S, C> {
    /// Lists the clusters of the project.
    pub async fn list(&self) -> Option<ClusterList> {
        match self.css().clusters().await {
            Ok(list) => {
                let without_action = {
                    let mut state = self.state();
                    state.faults.listed(&list);
                    state.faults.without_action()
                };
                for (code, more) in without_action {
                    self.observer.tell(&Notification::LeftAlone { project: &self.project, code, more });
                }
                self.remember_clusters(&list);
                if let Err(error) = self.forget_clusters_beside(&list).await {
                    self.state().faults.journal(Some(&error));
                }
                self.update_conditions(None);
                self.end_conditions_beside(&list);
                Some(list)
            }
            Err(error) => {
                self.state().faults.cannot_list(&error);
                self.update_conditions(None);
                None
            }
        }
    }

    /// Ends the conditions of clusters that are gone.
    fn end_conditions_beside(&self, list: &ClusterList) {
        if !list.is_complete() {
            return;
        }
        let shown: BTreeSet<&ClusterId> = list.clusters.iter().map(|cluster| &cluster.id).collect();
        let gone: Vec<ClusterId> = {
            let conditions = self.conditions.lock().unwrap_or_else(PoisonError::into_inner);
            let clusters = conditions.of(&self.project).filter_map(|standing| standing.condition.cluster());
            clusters.map(|(cluster, _)| cluster).filter(|id| !shown.contains(id)).cloned().collect()
        };
        self.let_go_of_conditions(&gone);
    }

    /// Ends the conditions of these clusters, which are gone.
    pub(super) fn let_go_of_conditions(&self, gone: &[ClusterId]) {
        self.state().faults.gone(gone);
        for cluster in gone {
            self.update_conditions(Some(cluster));
        }
    }

    fn remember_clusters(&self, list: &ClusterList) {
        let now = self.clock.now();
        let mut state = self.state();
        if list.is_complete() {
            state.last_list = Some(now);
        }
        for cluster in &list.clusters {
            if cluster.may_have_tasks() && !state.polled.contains_key(&cluster.id) {
                state.unread.entry(cluster.id.clone()).or_insert(now);
            }
            match state.listed.get_mut(&cluster.id) {
                // An unchanged cluster keeps its value, as in the scheduler: both share the memory.
                Some((known, at)) => {
                    *at = now;
                    if known != cluster {
                        *known = Arc::clone(cluster);
                    }
                }
                None => {
                    state.listed.insert(cluster.id.clone(), (Arc::clone(cluster), now));
                }
            }
        }
    }

    /// Returns how many of the watched clusters this process has polled, and how many are watched.
    pub fn polled(&self) -> (usize, usize) {
        let state = self.state();
        let watched = state.watched();
        (watched.saturating_sub(state.unread.len()), watched)
    }

    /// Returns whether the first list of clusters is still to come, and no fault says why.
    pub fn awaits_its_first_list(&self) -> bool {
        let is_listed = {
            let state = self.state();
            state.last_list.is_some() || !state.listed.is_empty()
        };
        !is_listed && self.conditions().is_empty()
    }

    /// Returns whether the cluster belongs to this project, as far as is known.
    pub fn knows(&self, cluster: &ClusterId) -> bool {
        let state = self.state();
        state.listed.contains_key(cluster) || state.project.clusters.contains_key(cluster)
    }

    /// Returns the clusters with this id or this name, from a list, or from the journal.
    pub fn find(&self, text: &str) -> Vec<(ClusterId, String)> {
        let is_it = |(id, name): &(ClusterId, String)| id.as_str() == text || name == text;
        self.clusters().into_iter().filter(is_it).collect()
    }

    /// Returns all clusters with their names, from a list, or from the journal.
    pub fn clusters(&self) -> Vec<(ClusterId, String)> {
        let state = self.state();
        let listed = state.listed.iter().map(|(id, (cluster, _))| (id, cluster.name.as_str()));
        let unlisted = state.project.clusters.iter().filter(|(id, _)| !state.listed.contains_key(*id));
        let unlisted = unlisted
            .filter_map(|(id, cluster)| Some((id, cluster.tasks.values().next()?.cluster_name.as_str())));
        listed.chain(unlisted).map(|(id, name)| (id.clone(), name.to_owned())).collect()
    }

    /// Returns the name of a cluster from the journal.
    pub(super) fn name_of(&self, cluster: &ClusterId) -> String {
        self.state().project.cluster(cluster).recall(cluster).name
    }

    /// Ends the tasks of a cluster that complete lists do not show any more. Returns `false` if
    /// that could not be journaled; the caller must then try again.
    pub async fn forget(&self, cluster: &Cluster) -> bool {
        let gone: Vec<(Subject, Event)> = {
            let state = self.state();
            let tasks = state.project.cluster(&cluster.id).tasks.iter();
            let open = tasks.filter(|(_, task)| !task.is_ended());
            open.map(|(id, _)| (self.subject(cluster, id), Event::Ended(Outcome::Gone))).collect()
        };
        match self.record(&self.commit_lock.read().await, cluster, self.now(), gone).await {
            Ok(()) => {
                let mut state = self.state();
                state.listed.remove(&cluster.id);
                state.unread.remove(&cluster.id);
                state.polled.remove(&cluster.id);
                state.unfinished.remove(&cluster.id);
                state.project.let_go(&cluster.id);
                true
            }
            Err(error) => {
                self.state().faults.journal(Some(&error));
                self.update_conditions(None);
                false
            }
        }
    }

    /// Forgets tasks that ended long ago on clusters that a complete list does not show.
    async fn forget_clusters_beside(&self, list: &ClusterList) -> Result<(), JournalError> {
        if !list.is_complete() {
            return Ok(());
        }
        let shown: BTreeSet<&ClusterId> = list.clusters.iter().map(|cluster| &cluster.id).collect();
        let beside: Vec<ClusterId> = {
            let state = self.state();
            let known = state.project.clusters.iter().filter(|(_, record)| !record.tasks.is_empty());
            known.map(|(id, _)| id).filter(|id| !shown.contains(id)).cloned().collect()
        };
        for cluster in beside {
            self.forget_overdue(&cluster, &BTreeSet::new(), self.clock.now()).await?;
        }
        Ok(())
    }

    /// Forgets tasks that ended long ago and that the CSS API does not list any more. A listed task
    /// keeps its outcome: without it the daemon would act on an aborted task again.
    pub(super) async fn forget_overdue(
        &self,
        cluster: &ClusterId,
        listed: &BTreeSet<&TaskId>,
        now: Moment,
    ) -> Result<(), JournalError> {
        let Some(retention) = self.rules().retention else { return Ok(()) };
        let overdue = self.state().project.overdue(cluster, listed, retention, now);
        if overdue.is_empty() {
            return Ok(());
        }
        let subject = |task: &TaskId| Subject {
            project: self.project.clone(),
            cluster: cluster.clone(),
            task: task.clone(),
        };
        self.journal.forget(overdue.iter().map(subject).collect()).await?;
        let mut state = self.state();
        for task in &overdue {
            state.project.forget(cluster, task);
        }
        Ok(())
    }

    /// Returns the configuration in force.
    pub fn rules(&self) -> Arc<Rules> {
        Arc::clone(&self.in_force.read().unwrap_or_else(PoisonError::into_inner).rules)
    }

    /// Returns the client in use.
    pub fn css(&self) -> Arc<S> {
        Arc::clone(&self.in_force.read().unwrap_or_else(PoisonError::into_inner).css)
    }

    /// Takes another configuration, and another client if there is one. No intent is committed
    /// meanwhile, and every later one is checked with these.
    pub async fn reload(&self, rules: Rules, css: Option<S>) {
        let _commit_lock = self.pause().await;
        {
            let mut in_force = self.in_force.write().unwrap_or_else(PoisonError::into_inner);
            in_force.rules = Arc::new(rules);
            if let Some(css) = css {
                in_force.css = Arc::new(css);
            }
        }
        self.state().project.end_pauses(self.clock.now());
    }

    /// Returns a lock: no intent is committed while it is held.
    pub async fn pause(&self) -> tokio::sync::RwLockWriteGuard<'_, ()> {
        self.commit_lock.write().await
    }

    /// Returns whether the outcome of a PUT is unknown.
    pub fn has_open_attempts(&self) -> bool {
        let state = self.state();
        let mut tasks = state.project.clusters.values().flat_map(|cluster| cluster.tasks.values());
        !state.unwritten.is_empty() || tasks.any(|task| task.open.is_some() && task.escalated.is_none())
    }

    /// Tries once more, at the end of the process, to journal answers that could not be journaled
    /// when they came. Polls after the next start confirm the others.
    pub async fn write_what_is_left(&self) {
        if let Err(error) = self.write_what_is_unwritten(&self.commit_lock.write().await).await {
            self.state().faults.journal(Some(&error));
            self.update_conditions(None);
        }
    }

    /// Returns the state of the project, for people. `leaving`: the project is gone from the
    /// configuration.
    pub fn report(&self, leaving: bool) -> ProjectReport {
        let (now, rules) = (self.clock.now(), self.rules());
        let (holds, state) = self.known();
        let around = ReportInput {
            name: &self.project,
            clusters: state.listed.len(),
            leaving,
            max_actions_per_hour: rules.limits.max_actions_per_hour,
            live: Some(self.live(&state, &rules)),
        };
        let outlook =
            |cluster: &_, task: &_, known: &_| self.outlook(&state, (&rules, &holds), cluster, task, known);
        ProjectReport::new(&around, &state.project, outlook, now)
    }

    /// Returns what is known of the project, and how recent that is.
    fn live(&self, state: &State, rules: &Rules) -> Live {
        let watched = state.listed.iter().filter(|(_, (cluster, _))| cluster.may_have_tasks());
        let watched: Vec<&ClusterId> = watched.map(|(id, _)| id).collect();
        let oldest = |at: &BTreeMap<ClusterId, Moment>| {
            let moments = watched.iter().filter_map(|id| at.get(*id));
            moments.min_by_key(|at| at.mono).map(|at| at.wall)
        };
        let css = self.css();
        let idle_interval = state.faults.stretch.map_or(rules.poll.idle_interval, |stretch| stretch.actual);
        let too_old = idle_interval.saturating_mul(POLLS_MISSED).saturating_add(rules.poll.request_timeout);
        Live {
            last_list: state.last_list.map(|at| at.wall),
            oldest_poll: oldest(&state.polled),
            never_read: watched.iter().filter(|id| !state.polled.contains_key(**id)).count(),
            never_read_since: oldest(&state.unread),
            watched: watched.len(),
            poll_age_limit_seconds: too_old.as_secs_f64(),
            unreachable: state.faults.unreachable_clusters(),
            credential: css.credential(),
            clock_offset_seconds: css.clock_offset().map(|offset| offset.as_secs()),
            limits: Pace {
                requests_in_flight: rules.limits.max_requests_in_flight,
                requests_per_second: rules.limits.requests_per_second,
                requests_per_second_now: css.requests_per_second(),
                actions_in_flight: rules.limits.max_actions_in_flight,
            },
        }
    }

    /// Returns the conditions in force.
    pub fn conditions(&self) -> Vec<Standing> {
        let conditions = self.conditions.lock().unwrap_or_else(PoisonError::into_inner);
        conditions.of(&self.project).cloned().collect()
    }

    /// Returns the state of the project, for one line.
    pub fn summary(&self) -> Summary {
        let rules = self.rules();
        let (holds, state) = self.known();
        let conditions = self.conditions().into_iter().map(|standing| standing.condition.code()).collect();
        let outlook =
            |cluster: &_, task: &_, known: &_| self.outlook(&state, (&rules, &holds), cluster, task, known);
        Summary::new(state.listed.len(), &state.project, outlook, conditions)
    }

    /// Returns the outlook of each unfinished task of the cluster.
    pub fn outlooks(&self, cluster: &ClusterId) -> Vec<(TaskId, Outlook)> {
        let rules = self.rules();
        let (holds, state) = self.known();
        let tasks = state.project.cluster(cluster).tasks.iter().filter(|(_, known)| !known.is_ended());
        let outlook = |(task, known): (&TaskId, &TaskRecord)| {
            (task.clone(), self.outlook(&state, (&rules, &holds), cluster, task, known))
        };
        tasks.map(outlook).collect()
    }

    /// Returns the outlook of a known task, by the last poll of its cluster.
    pub(super) fn outlook(
        &self,
        state: &State,
        (rules, holds): (&Rules, &Holds),
        cluster: &ClusterId,
        task: &TaskId,
        known: &TaskRecord,
    ) -> Outlook {
        let Some(reading) = state.unfinished.get(cluster) else {
            return Outlook::by_journal(known, Block::not_polled());
        };
        let listed = state.listed.get(cluster).map(|(cluster, _)| Arc::clone(cluster));
        let described = listed.unwrap_or_else(|| Arc::new(state.project.cluster(cluster).recall(cluster)));
        let input = self.input(state, rules, holds, &described, reading);
        let outlook = decide::outlook(&state.project, input, (task, known), self.now());
        let outlook = match state.faults.block(cluster) {
            Some(block) => outlook.while_blocked(block),
            None => outlook,
        };
        let needs_attention =
            outlook.needs_attention || (outlook.is_failed() && state.faults.is_unclear_for_long(cluster));
        Outlook { needs_attention, ..outlook }
    }

    /// Returns every policy in its order, with the first line of it that does not match a task of
    /// this kind, in words. The first policy without such a line governs.
    pub fn policies_for(&self, cluster: &Cluster, kind: TaskKind) -> Vec<(String, Option<String>)> {
        govern::in_words(&self.rules().policies, &self.project, cluster, kind)
    }

    /// Returns the journal's state of the project, for status and tests.
    pub fn project_state(&self) -> ProjectState {
        self.state().project.clone()
    }
}
