//! The queue of looks: which cluster is due next. A cluster stands in it at most once.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::id::ClusterId;
use crate::model::moment::Mono;

/// Clusters by the time at which they are due.
#[derive(Debug, Default)]
pub struct Queue {
    due: BTreeSet<(Mono, ClusterId)>,
    of: BTreeMap<ClusterId, Mono>,
}

impl Queue {
    /// Puts a cluster in, or moves it to another time.
    pub fn push(&mut self, due: Mono, cluster: ClusterId) {
        self.remove(&cluster);
        self.due.insert((due, cluster.clone()));
        self.of.insert(cluster, due);
    }

    /// Takes a cluster out, whenever it is due.
    pub fn remove(&mut self, cluster: &ClusterId) {
        if let Some(due) = self.of.remove(cluster) {
            self.due.remove(&(due, cluster.clone()));
        }
    }

    /// When the first one is due.
    pub fn next_due(&self) -> Option<Mono> {
        self.due.first().map(|(due, _)| *due)
    }

    /// Takes the first one out.
    pub fn pop(&mut self) -> Option<ClusterId> {
        let (_, cluster) = self.due.pop_first()?;
        self.of.remove(&cluster);
        Some(cluster)
    }

    /// Takes the first one out, if it is due.
    pub fn pop_due(&mut self, now: Mono) -> Option<ClusterId> {
        if self.next_due()? > now { None } else { self.pop() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str) -> ClusterId {
        ClusterId::new(name).unwrap()
    }

    #[test]
    fn clusters_come_out_in_the_order_in_which_they_are_due() {
        let mut queue = Queue::default();
        queue.push(Mono(30), id("c"));
        queue.push(Mono(10), id("a"));
        queue.push(Mono(20), id("b"));
        assert_eq!(queue.pop_due(Mono(9)), None);
        assert_eq!(queue.pop_due(Mono(25)), Some(id("a")));
        assert_eq!(queue.pop_due(Mono(25)), Some(id("b")));
        assert_eq!(queue.pop_due(Mono(25)), None);
        assert_eq!(queue.next_due(), Some(Mono(30)));
    }

    #[test]
    fn a_cluster_stands_in_it_once() {
        let mut queue = Queue::default();
        queue.push(Mono(30), id("a"));
        queue.push(Mono(10), id("a"));
        assert_eq!(queue.pop(), Some(id("a")));
        assert_eq!(queue.pop(), None);
        queue.push(Mono(1), id("a"));
        queue.remove(&id("a"));
        assert_eq!(queue.next_due(), None);
    }
}
