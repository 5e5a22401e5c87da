//! One reconcile of a cluster at a time.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::model::id::ClusterId;

/// The clusters that are polled now.
#[derive(Debug, Default)]
pub(super) struct KeyedLock {
    now: Mutex<BTreeSet<ClusterId>>,
    left: Notify,
}

/// Proof that no other task polls the cluster.
#[derive(Debug)]
pub(super) struct Place<'a> {
    of: &'a KeyedLock,
    cluster: ClusterId,
}

impl KeyedLock {
    /// Waits until no other task polls the cluster.
    pub(super) async fn lock(&self, cluster: &ClusterId) -> Place<'_> {
        loop {
            // Registered before the check, so that a release in between is not missed.
            let left = self.left.notified();
            if self.now().insert(cluster.clone()) {
                return Place { of: self, cluster: cluster.clone() };
            }
            left.await;
        }
    }

    fn now(&self) -> MutexGuard<'_, BTreeSet<ClusterId>> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.of.now().remove(&self.cluster);
        self.of.left.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> ClusterId {
        ClusterId::new(text).unwrap()
    }

    #[tokio::test]
    async fn a_second_look_at_a_cluster_waits_for_the_first_and_others_do_not() {
        let alone = KeyedLock::default();
        let (a, b) = (id("a"), id("b"));
        let (first, other) = (alone.lock(&a).await, alone.lock(&b).await);
        let mut second = std::pin::pin!(alone.lock(&a));
        assert!(polled(second.as_mut()).is_none());
        drop(other);
        assert!(polled(second.as_mut()).is_none());
        drop(first);
        assert!(polled(second.as_mut()).is_some());
    }

    fn polled<T>(future: std::pin::Pin<&mut impl Future<Output = T>>) -> Option<T> {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        match future.poll(&mut context) {
            std::task::Poll::Ready(done) => Some(done),
            std::task::Poll::Pending => None,
        }
    }
}
