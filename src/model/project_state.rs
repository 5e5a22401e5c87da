//! What the journal knows of one project: the records of its clusters, and the input of the
//! preconditions above all policies.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::answer::Meaning;
use super::breaker::{Breaker, Shown};
use super::event::{Confirmation, Entry, Event};
use super::id::{AttemptId, ClusterId, TaskId};
use super::moment::Moment;
use super::project::{FIRST_PAUSE, LONGEST_PAUSE, PauseCause};
use super::record::{ClusterRecord, Phase, TaskRecord};
use super::task::Reading;

/// How long a backoff begins after a probe that showed nothing, if no policy says it.
const FIRST_WAIT: Duration = Duration::from_mins(2);
const HOUR: Duration = Duration::from_hours(1);

/// A pause after a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pause {
    /// Why.
    pub cause: PauseCause,
    /// How many refusals in a row.
    pub refusals: u32,
    /// Until when nothing is sent. Then one PUT is sent as a probe.
    pub until: Moment,
    /// The probe that was sent.
    pub probe: Option<AttemptId>,
    /// After a reload: the first due PUT is sent as the probe, without waiting again.
    pub probe_at_once: bool,
}

/// Everything the journal knows of one project. Changed by [`ProjectState::apply`]; what a restart
/// does not need, by [`ProjectState::remember`].
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ProjectState {
    /// Its clusters with a task that was ever seen running or failed. Shared with the copies that steps are worked out on.
    pub clusters: BTreeMap<ClusterId, Arc<ClusterRecord>>,
    /// The PUTs of the last hour.
    puts: VecDeque<Moment>,
    /// Clusters on which a retried task runs, or may run.
    in_flight: BTreeSet<ClusterId>,
    /// The project is paused.
    pub pause: Option<Pause>,
    /// Single clusters that are paused.
    pub paused: BTreeMap<ClusterId, Pause>,
    /// The breaker.
    pub breaker: Breaker,
}

impl ProjectState {
    /// Folds one entry in.
    pub fn apply(&mut self, entry: &Entry) {
        let cluster = &entry.subject.cluster;
        let record = self.cluster_mut(cluster);
        record.apply(entry);
        if record.is_in_flight() {
            self.in_flight.insert(cluster.clone());
        } else {
            self.in_flight.remove(cluster);
        }
        match &entry.event {
            Event::Intent { .. } => {
                self.puts.push_back(entry.at);
                while self.puts.front().is_some_and(|put| entry.at.since(*put) > HOUR) {
                    self.puts.pop_front();
                }
                if let Some(pause) = &mut self.pause {
                    pause.probe_at_once = false;
                    pause.probe = Some(AttemptId(entry.number));
                }
            }
            Event::Answered { attempt, answer } => self.answered(cluster, *attempt, answer.meaning, entry.at),
            Event::Confirmed { attempt, settlement: Confirmation::Accepted } => self.allow(cluster, *attempt),
            Event::StillThere { attempt } => self.forbid(cluster, *attempt, entry.at),
            _ => {}
        }
        self.let_go_of_probe();
        self.breaker.apply(entry);
        self.let_go_of_breaker_probe(entry.at);
    }

    /// Keeps what a poll shows and the journal does not record: that a task still runs, and which
    /// task is the newest.
    pub fn remember(&mut self, cluster: &ClusterId, reading: &Reading) {
        if let Some(record) = self.remembered(cluster, reading) {
            self.clusters.insert(cluster.clone(), Arc::new(record));
        }
    }

    /// Returns the cluster's record as [`ProjectState::remember`] changes it; `None` if it stays as
    /// it is.
    pub fn remembered(&self, cluster: &ClusterId, reading: &Reading) -> Option<ClusterRecord> {
        let before = self.cluster(cluster);
        let mut record = before.clone();
        let floor = record.newest_start.as_ref().map(|(start, _)| *start);
        // Kept for every cluster with a task: the daemon never acts on a task that began before.
        if let Some((start, id)) = reading.newest(floor, |task| self.shown_elsewhere(cluster, task).is_none())
        {
            record.raise_newest(start, id);
        }
        record.remember_tasks(reading);
        (record != *before).then_some(record)
    }

    fn answered(&mut self, cluster: &ClusterId, attempt: AttemptId, meaning: Meaning, at: Moment) {
        match meaning {
            Meaning::ForbiddenProject => self.refuse_project(PauseCause::Forbidden, Some(attempt), at),
            Meaning::WrongAddress => self.refuse_project(PauseCause::WrongAddress, Some(attempt), at),
            Meaning::ForbiddenCluster => self.forbid(cluster, attempt, at),
            // The API answered to the request itself, so the credential may send it.
            Meaning::Accepted | Meaning::Busy | Meaning::NotAcceptable => self.allow(cluster, attempt),
            Meaning::GoneOrForbidden | Meaning::Unauthorized | Meaning::Unknown => {}
        }
    }

    /// Takes in that the API allows this request: if it was the probe, the project is paused no
    /// more.
    fn allow(&mut self, cluster: &ClusterId, attempt: AttemptId) {
        self.paused.remove(cluster);
        if self.pause.is_some_and(|pause| pause.probe == Some(attempt)) {
            self.pause = None;
            // Requests that waited beside the probe wait again from here.
            self.clusters.values_mut().for_each(|cluster| Arc::make_mut(cluster).hold_what_waits());
        }
    }

    fn forbid(&mut self, cluster: &ClusterId, attempt: AttemptId, at: Moment) {
        if self.pause.is_some() {
            self.refuse_project(PauseCause::Forbidden, Some(attempt), at);
        } else {
            self.refuse_cluster(cluster, at);
        }
    }

    /// A probe lasts until its outcome is known, so that there is never a second one beside it.
    fn let_go_of_probe(&mut self) {
        let Some(pause) = &mut self.pause else { return };
        if let Some(probe) = pause.probe
            && !self.clusters.values().any(|cluster| cluster.awaits(probe))
        {
            pause.probe = None;
        }
    }

    /// A PUT that the breaker allowed and that showed nothing (it was not accepted, or it was an
    /// abort) makes room for another one, a backoff interval later.
    fn let_go_of_breaker_probe(&mut self, now: Moment) {
        let Some(open) = &mut self.breaker.open else { return };
        // The next turn of the breaker uses what it has shown.
        let Some(probe) = open.probe.as_ref().filter(|probe| !probe.decides()) else { return };
        let task = self.clusters.get(&probe.cluster).and_then(|cluster| cluster.tasks.get(&probe.task));
        let may_show = task.is_some_and(|task| {
            let is_open = task.open.as_ref().is_some_and(|open| open.id == probe.attempt);
            task.is_pending() && (is_open || probe.shown == Shown::Accepted)
        });
        if !may_show {
            let failure = task.and_then(|task| task.failure.as_ref());
            let terms = failure.and_then(|failure| failure.seen.terms.as_ref());
            let interval = terms.map_or(FIRST_WAIT, |terms| terms.retry.initial_interval);
            let until = now.after(failure.map_or(interval, |failure| failure.wait_at_least.max(interval)));
            if open.until.mono < until.mono {
                open.until = until;
            }
            open.probe = None;
        }
    }

    /// Pauses the project, or pauses it for longer. Answers to PUTs that were sent before the pause
    /// change nothing.
    fn refuse_project(&mut self, cause: PauseCause, attempt: Option<AttemptId>, at: Moment) {
        let refusals = match &self.pause {
            None => 1,
            Some(pause) if pause.probe.is_some() && pause.probe == attempt => {
                pause.refusals.saturating_add(1)
            }
            Some(_) => return,
        };
        let until = at.after(rest_after(refusals));
        self.pause = Some(Pause { cause, refusals, until, probe: None, probe_at_once: false });
    }

    /// Pauses one cluster; with a second one refused the project is paused.
    fn refuse_cluster(&mut self, cluster: &ClusterId, at: Moment) {
        let refusals = self.paused.get(cluster).map_or(1, |pause| pause.refusals.saturating_add(1));
        let until = at.after(rest_after(refusals));
        let pause =
            Pause { cause: PauseCause::Forbidden, refusals, until, probe: None, probe_at_once: false };
        self.paused.insert(cluster.clone(), pause);
        if self.paused.len() > 1 {
            self.refuse_project(PauseCause::Forbidden, None, at);
        }
    }

    /// Ends the pauses of single clusters, and allows one PUT of a paused project at once: a reload
    /// may have removed the cause. Not journaled: after a restart the pause continues, which sends
    /// nothing.
    pub fn end_pauses(&mut self, now: Moment) {
        self.paused.clear();
        if let Some(pause) = &mut self.pause {
            pause.until = now;
            pause.probe_at_once = true;
        }
    }

    /// Forgets a task, as the journal did. That there was a newer one stays known as long as the
    /// process lives.
    pub fn forget(&mut self, cluster: &ClusterId, task: &TaskId) {
        if self.clusters.contains_key(cluster) {
            self.cluster_mut(cluster).tasks.remove(task);
        }
    }

    /// Returns the tasks that ended longer than `retention` ago, and that are not among those
    /// `listed`.
    pub fn overdue(
        &self,
        cluster: &ClusterId,
        listed: &BTreeSet<&TaskId>,
        retention: Duration,
        now: Moment,
    ) -> Vec<TaskId> {
        let tasks = self.cluster(cluster).tasks.iter();
        let over = |at: Moment| now.since(at) > retention;
        let overdue = tasks.filter(|(id, task)| {
            !listed.contains(id) && matches!(task.phase(), Phase::Ended(_, at) if over(at))
        });
        overdue.map(|(id, _)| id.clone()).collect()
    }

    /// Keeps which tasks an answer about a cluster shows, also if nothing can be journaled.
    pub fn remember_shown(&mut self, cluster: &ClusterId, reading: &Reading) {
        if !reading.tasks.is_empty() || self.clusters.contains_key(cluster) {
            self.cluster_mut(cluster).remember_shown(reading);
        }
    }

    /// Returns another cluster whose last answer showed this task too: then it is unknown to which
    /// one it belongs.
    pub fn shown_elsewhere(&self, cluster: &ClusterId, task: &TaskId) -> Option<&ClusterId> {
        let fingerprint = task.fingerprint();
        let shows = |record: &ClusterRecord| {
            // The journal knows what was shown to the process before.
            record.shown.contains(&fingerprint) || record.tasks.get(task).is_some_and(TaskRecord::is_shown)
        };
        let mut others = self.clusters.iter().filter(|(id, _)| *id != cluster);
        others.find(|(_, record)| shows(record)).map(|(id, _)| id)
    }

    /// The cluster is gone, and shows nothing any more.
    pub fn let_go(&mut self, cluster: &ClusterId) {
        if self.clusters.contains_key(cluster) {
            self.cluster_mut(cluster).shown = Vec::new();
        }
    }

    /// Returns the record of a cluster.
    pub fn cluster(&self, cluster: &ClusterId) -> &ClusterRecord {
        static NOTHING: ClusterRecord = ClusterRecord::EMPTY;
        self.clusters.get(cluster).map_or(&NOTHING, |record| record)
    }

    fn cluster_mut(&mut self, cluster: &ClusterId) -> &mut ClusterRecord {
        Arc::make_mut(self.clusters.entry(cluster.clone()).or_default())
    }

    /// PUTs sent within the last hour.
    pub fn puts_within_an_hour(&self, now: Moment) -> u32 {
        let puts = self.puts.iter().filter(|put| now.since(**put) < HOUR).count();
        u32::try_from(puts).unwrap_or(u32::MAX)
    }

    /// Clusters other than this one on which a retried task runs, or may run.
    pub fn others_in_flight(&self, cluster: &ClusterId) -> u32 {
        let others = self.in_flight.len() - usize::from(self.in_flight.contains(cluster));
        u32::try_from(others).unwrap_or(u32::MAX)
    }

    /// Keeps what polls showed and the journal does not record, from the state of the project that
    /// this one replaces.
    pub fn take_shown(&mut self, before: &Self) {
        for (id, record) in &before.clusters {
            let now = self.cluster_mut(id);
            now.shown.clone_from(&record.shown);
            if let Some((start, task)) = &record.newest_start {
                now.raise_newest(*start, task);
            }
        }
    }

    /// See [`ClusterRecord::take_over`].
    pub fn take_over(&mut self, now: Moment) {
        self.clusters.values_mut().for_each(|cluster| Arc::make_mut(cluster).take_over(now));
    }

    /// See [`ClusterRecord::wake`].
    pub fn wake(&mut self, now: Moment) {
        self.clusters.values_mut().for_each(|cluster| Arc::make_mut(cluster).wake(now));
        // Without an answer in the journal the outcome of the probe is unknown.
        if let Some(probe) = self.breaker.open.as_mut().and_then(|open| open.probe.as_mut()) {
            let task = self.clusters.get(&probe.cluster).and_then(|cluster| cluster.tasks.get(&probe.task));
            let open = task.and_then(|task| task.open.as_ref()).filter(|open| open.id == probe.attempt);
            if open.is_some_and(|open| open.answer.is_none()) {
                probe.shown = Shown::Unknown;
            }
        }
    }
}

/// The pause after so many refusals in a row: 30 minutes, doubling up to 6 hours.
fn rest_after(refusals: u32) -> Duration {
    let doublings = refusals.saturating_sub(1).min(16);
    (FIRST_PAUSE * 2_u32.saturating_pow(doublings)).min(LONGEST_PAUSE)
}
