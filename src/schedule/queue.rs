//! The queue of reconciles: which cluster is due next, in lanes by what the reconcile is for. It
//! has each cluster at most once.

use std::collections::{BTreeMap, BTreeSet};

use super::Lane;
use crate::model::id::ClusterId;
use crate::model::moment::Mono;

/// Clusters by the time at which they are due, lane by lane.
#[derive(Debug, Default)]
pub struct Queue {
    lanes: [BTreeSet<(Mono, ClusterId)>; Lane::ALL.len()],
    of: BTreeMap<ClusterId, (Lane, Mono)>,
}

impl Queue {
    /// Adds a cluster, or moves it to another lane and time.
    pub fn push(&mut self, lane: Lane, due: Mono, cluster: ClusterId) {
        self.remove(&cluster);
        self.lane(lane).insert((due, cluster.clone()));
        self.of.insert(cluster, (lane, due));
    }

    /// Removes a cluster, whenever it is due.
    pub fn remove(&mut self, cluster: &ClusterId) {
        if let Some((id, (lane, due))) = self.of.remove_entry(cluster) {
            self.lane(lane).remove(&(due, id));
        }
    }

    /// Shortens every wait of a lane to this part of it: evenly spread waits stay so.
    pub fn shorten(&mut self, lane: Lane, now: Mono, part: f64) {
        for (due, id) in std::mem::take(self.lane(lane)) {
            let due = if due <= now { due } else { now.after(due.since(now).mul_f64(part.clamp(0.0, 1.0))) };
            self.push(lane, due, id);
        }
    }

    /// Returns in which lane a cluster waits, and when it is due.
    pub fn place(&self, cluster: &ClusterId) -> Option<(Lane, Mono)> {
        self.of.get(cluster).copied()
    }

    /// Returns when the first one of a lane is due.
    pub fn next_due(&self, lane: Lane) -> Option<Mono> {
        self.lanes.get(lane as usize)?.first().map(|(due, _)| *due)
    }

    /// Returns how many wait in a lane.
    pub fn waiting(&self, lane: Lane) -> usize {
        self.lanes.get(lane as usize).map_or(0, BTreeSet::len)
    }

    /// Removes the first one of a lane, and returns it.
    pub fn pop(&mut self, lane: Lane) -> Option<ClusterId> {
        let (_, cluster) = self.lane(lane).pop_first()?;
        self.of.remove(&cluster);
        Some(cluster)
    }

    #[expect(clippy::indexing_slicing, reason = "there is one set for each lane")]
    fn lane(&mut self, lane: Lane) -> &mut BTreeSet<(Mono, ClusterId)> {
        &mut self.lanes[lane as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str) -> ClusterId {
        ClusterId::new(name).unwrap()
    }

    #[test]
    fn clusters_of_a_lane_come_out_in_the_order_in_which_they_are_due() {
        let mut queue = Queue::default();
        queue.push(Lane::Idle, Mono(30), id("c"));
        queue.push(Lane::Idle, Mono(10), id("a"));
        queue.push(Lane::Running, Mono(20), id("b"));
        assert_eq!(queue.next_due(Lane::Idle), Some(Mono(10)));
        assert_eq!(queue.pop(Lane::Idle), Some(id("a")));
        assert_eq!(queue.pop(Lane::Idle), Some(id("c")));
        assert_eq!(queue.pop(Lane::Idle), None);
        assert_eq!(queue.next_due(Lane::Running), Some(Mono(20)));
    }

    #[test]
    fn waits_of_a_lane_are_shortened_evenly_and_what_is_due_stays_due() {
        let mut queue = Queue::default();
        for (due, name) in [(50, "due"), (200, "soon"), (1_100, "late")] {
            queue.push(Lane::Idle, Mono(due), id(name));
        }
        queue.push(Lane::Running, Mono(1_100), id("runs"));
        queue.shorten(Lane::Idle, Mono(100), 0.1);
        for (due, name) in [(50, "due"), (110, "soon"), (200, "late")] {
            assert_eq!(queue.place(&id(name)), Some((Lane::Idle, Mono(due))));
        }
        assert_eq!(queue.place(&id("runs")), Some((Lane::Running, Mono(1_100))));
        assert_eq!(queue.waiting(Lane::Idle), 3);
    }

    #[test]
    fn a_cluster_stands_in_it_once() {
        let mut queue = Queue::default();
        queue.push(Lane::Idle, Mono(30), id("a"));
        queue.push(Lane::Urgent, Mono(10), id("a"));
        assert_eq!(queue.place(&id("a")), Some((Lane::Urgent, Mono(10))));
        assert_eq!((queue.waiting(Lane::Idle), queue.waiting(Lane::Urgent)), (0, 1));
        assert_eq!(queue.pop(Lane::Urgent), Some(id("a")));
        assert_eq!(queue.pop(Lane::Urgent), None);
        queue.push(Lane::Idle, Mono(1), id("a"));
        queue.remove(&id("a"));
        assert_eq!(queue.next_due(Lane::Idle), None);
    }
}
