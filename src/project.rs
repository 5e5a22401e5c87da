//! One project as the watcher drives it: listing its clusters, looking at them, letting go of those that are gone.

use crate::clock::Clock;
use crate::cloud::Css;
use crate::journal::Journal;
use crate::look::Looker;
use crate::model::cluster::{Cluster, ClusterList};
use crate::model::id::ClusterId;
use crate::model::moment::Moment;
use crate::notify::Tell;
use crate::watch::{Next, Project};

/// Engines whose clusters have neither upgrade nor AZ-switchover tasks.
const WITHOUT_TASKS: [&str; 1] = ["logstash"];

/// A project under watch.
pub struct WatchedProject<S, J, C, T> {
    looker: Looker<S, J, C, T>,
}

impl<S: Css, J: Journal, C: Clock, T: Tell> WatchedProject<S, J, C, T> {
    /// Puts a project under watch.
    pub fn new(looker: Looker<S, J, C, T>) -> Self {
        Self { looker }
    }

    /// What looks at its clusters.
    pub fn looker(&self) -> &Looker<S, J, C, T> {
        &self.looker
    }
}

impl<S: Css, J: Journal, C: Clock, T: Tell> Project for WatchedProject<S, J, C, T> {
    async fn discover(&self) -> Option<ClusterList> {
        let mut list = self.looker.list().await?;
        let total = list.clusters.len();
        list.clusters.retain(|cluster| !WITHOUT_TASKS.contains(&cluster.engine.as_str()));
        // What is not watched is no shortfall of the list.
        let left_out = (total - list.clusters.len()) as u64;
        list.total_size = list.total_size.map(|size| size.saturating_sub(left_out));
        Some(list)
    }

    async fn look(&self, cluster: &Cluster, listed: Option<Moment>) -> Next {
        let report = self.looker.look(cluster, listed).await;
        Next { look: report.next_look, discovery: report.wants_discovery }
    }

    async fn forget(&self, cluster: &Cluster) -> bool {
        self.looker.forget(cluster).await
    }

    fn remembered(&self) -> Vec<Cluster> {
        self.looker.remembered()
    }

    fn changed(&self, came: usize, went: &[ClusterId], watched: usize) {
        self.looker.tell_clusters(came, went, watched);
    }
}
