//! The watched clusters of one project, as the lists of clusters showed them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::{Lane, Next};
use crate::model::cluster::{Cluster, ClusterList};
use crate::model::id::ClusterId;
use crate::model::project::Poll;

/// A watched cluster.
struct Watched {
    cluster: Arc<Cluster>,
    /// Whether a list has shown it. Otherwise only the journal knows it.
    listed: bool,
    /// The number of the latest list that showed it.
    list: u32,
    /// The number of consecutive complete lists that did not show it.
    missed: u8,
    lane: Lane,
    reconciling: bool,
    /// Its entry changed while it was polled.
    changed: bool,
    /// How long after its first poll an idle cluster is polled for the second time.
    second: Option<Duration>,
}

/// All of them.
#[derive(Default)]
pub(super) struct Fleet {
    clusters: BTreeMap<ClusterId, Watched>,
    lists: u32,
    lanes: [usize; Lane::ALL.len()],
}

/// What a list changed.
#[derive(Default)]
pub(super) struct Discovered {
    /// Clusters that were not watched, and on which something runs or is unfinished.
    pub(super) active: Vec<ClusterId>,
    /// Others that were not watched.
    pub(super) came: Vec<ClusterId>,
    /// Clusters whose entry changed, and that are not being polled.
    pub(super) changed: Vec<ClusterId>,
}

/// What a complete list did not show.
pub(super) struct Missed {
    /// It was the first such list for some cluster.
    pub(super) first_time: bool,
    /// Clusters that two consecutive complete lists did not show.
    pub(super) gone: Vec<Arc<Cluster>>,
}

impl Fleet {
    /// Makes a fleet of those that an earlier process knew.
    pub(super) fn new(remembered: Vec<Cluster>) -> Self {
        let mut fleet = Self::default();
        for cluster in remembered {
            fleet.watch(Arc::new(cluster), false, Lane::Running);
        }
        fleet
    }

    fn watch(&mut self, cluster: Arc<Cluster>, listed: bool, lane: Lane) {
        let (id, list) = (cluster.id.clone(), self.lists);
        let (missed, reconciling, changed, second) = (0, false, false, None);
        let new = Watched { cluster, listed, list, missed, lane, reconciling, changed, second };
        shift(&mut self.lanes, None, Some(lane));
        self.clusters.insert(id, new);
    }

    /// Returns how many a list has shown.
    pub(super) fn listed(&self) -> usize {
        self.clusters.values().filter(|watched| watched.listed).count()
    }

    /// Returns those that no list has shown yet.
    pub(super) fn unlisted(&self) -> Vec<ClusterId> {
        let unlisted = self.clusters.iter().filter(|(_, watched)| !watched.listed);
        unlisted.map(|(id, _)| id.clone()).collect()
    }

    /// Returns the number in each lane.
    pub(super) fn in_lanes(&self) -> [usize; Lane::ALL.len()] {
        self.lanes
    }

    pub(super) fn set_lane(&mut self, id: &ClusterId, lane: Lane) {
        if let Some(watched) = self.clusters.get_mut(id) {
            shift(&mut self.lanes, Some(watched.lane), Some(lane));
            watched.lane = lane;
        }
    }

    /// Sets when these clusters, whose first polls are `step` apart, are polled for the second time
    /// if they are idle: after all the first polls, spread over the whole interval, and none later
    /// than `idle_interval` after its first.
    pub(super) fn spread_second(&mut self, clusters: &[ClusterId], step: Duration, idle_interval: Duration) {
        let count = u32::try_from(clusters.len()).unwrap_or(u32::MAX).max(1);
        let all_first = step.saturating_mul(count).min(idle_interval);
        for (n, id) in (1..).zip(clusters) {
            if let Some(watched) = self.clusters.get_mut(id) {
                let part = f64::from(n) / f64::from(count);
                watched.second = Some(all_first.mul_f64(1.0 - part) + idle_interval.mul_f64(part));
            }
        }
    }

    /// Begins a reconcile, and returns its cluster. `None` if the cluster is being polled already.
    pub(super) fn start_reconcile(&mut self, id: &ClusterId) -> Option<Arc<Cluster>> {
        let watched = self.clusters.get_mut(id).filter(|watched| !watched.reconciling)?;
        watched.reconciling = true;
        Some(Arc::clone(&watched.cluster))
    }

    /// Takes in the end of a reconcile: in which lane and after which wait the next one is due.
    /// Returns `None` if the cluster is no longer watched.
    pub(super) fn polled(&mut self, id: &ClusterId, next: Next, poll: &Poll) -> Option<(Lane, Duration)> {
        let watched = self.clusters.get_mut(id)?;
        watched.reconciling = false;
        let (mut lane, mut wait) = (next.lane, next.after);
        if lane == Lane::Idle {
            wait = watched.second.take().unwrap_or(wait).min(wait);
            if !watched.cluster.actions.is_empty() {
                (lane, wait) = (Lane::Running, wait.min(poll.active_interval));
            }
        }
        if std::mem::take(&mut watched.changed) && lane == Lane::Idle {
            (lane, wait) = (Lane::Unread, Duration::ZERO);
        }
        self.set_lane(id, lane);
        Some((lane, wait))
    }

    /// Takes the clusters of a list in.
    pub(super) fn take_in(&mut self, list: ClusterList) -> Discovered {
        self.lists = self.lists.wrapping_add(1);
        let mut news = Discovered::default();
        for cluster in list.clusters {
            if let Some(watched) = self.clusters.get_mut(&cluster.id) {
                (watched.list, watched.missed) = (self.lists, 0);
                if !std::mem::replace(&mut watched.listed, true) {
                    watched.changed = watched.reconciling;
                    news.active.push(cluster.id.clone());
                    watched.cluster = cluster;
                    continue;
                }
                // The client returns the same value as long as the API returns the same page.
                if Arc::ptr_eq(&watched.cluster, &cluster) {
                    continue;
                }
                let same = watched.cluster == cluster;
                watched.cluster = cluster;
                if same {
                    continue;
                }
                watched.changed = watched.reconciling;
                if !watched.reconciling {
                    news.changed.push(watched.cluster.id.clone());
                }
            } else {
                let id = cluster.id.clone();
                let active = !cluster.actions.is_empty();
                self.watch(cluster, true, if active { Lane::Running } else { Lane::Unread });
                if active { news.active.push(id) } else { news.came.push(id) }
            }
        }
        news
    }

    /// Takes in that the last list was complete, and returns what it did not show.
    pub(super) fn miss(&mut self) -> Missed {
        let mut missed = Missed { first_time: false, gone: Vec::new() };
        for watched in self.clusters.values_mut().filter(|watched| watched.list != self.lists) {
            watched.missed = watched.missed.saturating_add(1);
            if watched.missed == 1 {
                missed.first_time = true;
            } else if !watched.reconciling {
                missed.gone.push(Arc::clone(&watched.cluster));
            }
        }
        missed
    }

    pub(super) fn remove(&mut self, id: &ClusterId) {
        if let Some(watched) = self.clusters.remove(id) {
            shift(&mut self.lanes, Some(watched.lane), None);
        }
    }
}

/// Moves one cluster from a lane to another.
fn shift(lanes: &mut [usize], from: Option<Lane>, to: Option<Lane>) {
    if let Some(count) = from.and_then(|lane| lanes.get_mut(lane as usize)) {
        *count = count.saturating_sub(1);
    }
    if let Some(count) = to.and_then(|lane| lanes.get_mut(lane as usize)) {
        *count += 1;
    }
}
