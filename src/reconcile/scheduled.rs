//! The project as the scheduler drives it.

use std::sync::Arc;

use super::Reconciler;
use crate::clock::Clock;
use crate::cloud::Css;
use crate::model::cluster::{Cluster, ClusterList};
use crate::model::id::ClusterId;
use crate::model::project::{Rules, Stretch};
use crate::notify::Notification;
use crate::schedule::{Next, Project};

impl<S: Css, C: Clock> Project for Reconciler<S, C> {
    async fn discover(&self) -> Option<ClusterList> {
        let mut list = self.list().await?;
        let total = list.clusters.len();
        list.clusters.retain(|cluster| cluster.may_have_tasks());
        // A cluster that is not watched does not make the list incomplete.
        let left_out = (total - list.clusters.len()) as u64;
        list.total_size = list.total_size.map(|size| size.saturating_sub(left_out));
        Some(list)
    }

    async fn reconcile(&self, cluster: &Cluster) -> Next {
        let report = Self::reconcile(self, cluster).await;
        let lane = report.lane(&self.rules().poll);
        Next { after: report.next_poll, lane, discovery: report.wants_discovery }
    }

    async fn forget(&self, cluster: &Cluster) -> bool {
        Self::forget(self, cluster).await
    }

    fn remembered(&self) -> Vec<Cluster> {
        let state = self.state();
        let open = state.project.clusters.iter().filter_map(|(id, record)| {
            let is_open = record.tasks.values().any(|task| !task.is_ended());
            is_open.then(|| record.recall(id))
        });
        open.collect()
    }

    fn changed(&self, came: usize, went: &[ClusterId], watched: usize) {
        self.observer.tell(&Notification::Clusters { project: &self.project, came, went, watched });
        self.let_go_of_conditions(went);
    }

    fn rules(&self) -> Arc<Rules> {
        Self::rules(self)
    }

    fn requests_per_second(&self) -> Option<f64> {
        self.css().requests_per_second()
    }

    fn stretched(&self, stretch: Option<Stretch>) {
        self.state().faults.stretch = stretch;
        self.update_conditions(None);
    }
}
