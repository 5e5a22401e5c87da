//! When to look: discovery of clusters, and one queue of looks by the time at which they are due.
//!
//! It knows nothing of tasks: a look says when the next one is due. One look at a cluster at a time; a slow or
//! broken cluster delays no other. Late ticks are never made up for.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::model::cluster::{Cluster, ClusterList};
use crate::model::id::ClusterId;
use crate::model::moment::{Moment, Mono};
use crate::model::project::Poll;

pub mod queue;

use queue::Queue;

/// Looks are due this soon after a discovery was asked for, at the earliest.
const REDISCOVERY: Duration = Duration::from_secs(10);

/// What a look says to the watcher.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Next {
    /// When to look again.
    pub look: Duration,
    /// The list of clusters should be read soon.
    pub discovery: bool,
}

/// What the watcher drives: one project.
pub trait Project: Send + Sync + 'static {
    /// Lists the clusters. `None` where that failed (and was told).
    fn discover(&self) -> impl Future<Output = Option<ClusterList>> + Send;
    /// Looks at one cluster. `listed`: when a list last showed it.
    fn look(&self, cluster: &Cluster, listed: Option<Moment>) -> impl Future<Output = Next> + Send;
    /// Two complete lists did not show the cluster: whether that was taken note of.
    fn forget(&self, cluster: &Cluster) -> impl Future<Output = bool> + Send;
    /// The clusters with a story in the journal that has no end yet.
    fn remembered(&self) -> Vec<Cluster>;
    /// Clusters came or went.
    fn changed(&self, came: usize, went: &[ClusterId], watched: usize);
}

/// A cluster that is watched.
struct Watched {
    cluster: Arc<Cluster>,
    listed: Moment,
    /// Complete lists in a row that did not show it.
    missed: u8,
    looking: bool,
}

/// The watcher of one project.
pub struct Watcher<P, C> {
    project: Arc<P>,
    clock: Arc<C>,
    poll: Poll,
    /// Looks at once. Each has at most one request in flight.
    at_once: usize,
    clusters: BTreeMap<ClusterId, Watched>,
    /// Clusters that an earlier process knew and no list has shown yet, with the complete lists in a row that did
    /// not: what went while nobody watched must be let go too.
    remembered: BTreeMap<ClusterId, (Cluster, u8)>,
    queue: Queue,
    tasks: JoinSet<Done>,
    looks: usize,
    discovering: bool,
    next_discovery: Mono,
    /// Whether any list was read yet.
    discovered: bool,
}

/// What has ended.
enum Done {
    Look(ClusterId, Next),
    Discovery(Option<ClusterList>),
}

impl<P: Project, C: Clock> Watcher<P, C> {
    /// A watcher that has seen nothing yet.
    pub fn new(project: Arc<P>, clock: Arc<C>, poll: Poll, at_once: u32) -> Self {
        let next_discovery = clock.now().mono;
        let remembered = project.remembered().into_iter();
        let remembered = remembered.map(|cluster| (cluster.id.clone(), (cluster, 0))).collect();
        Self {
            project,
            clock,
            poll,
            at_once: usize::try_from(at_once).unwrap_or(usize::MAX).max(1),
            clusters: BTreeMap::new(),
            remembered,
            queue: Queue::default(),
            tasks: JoinSet::new(),
            looks: 0,
            discovering: false,
            next_discovery,
            discovered: false,
        }
    }

    /// Watches until `stop`, then waits for the looks that are under way.
    ///
    /// # Errors
    /// Where a look panicked. What it was doing is in the journal.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), JoinError> {
        let mut result = Ok(());
        while !stop.is_cancelled() && result.is_ok() {
            let now = self.clock.now().mono;
            if now >= self.next_discovery {
                self.start_discovery(&stop);
            }
            while self.looks < self.at_once
                && let Some(cluster) = self.queue.pop_due(now)
            {
                self.start_look(&cluster);
            }
            let wait = self.next_due().map(|due| due.since(self.clock.now().mono));
            tokio::select! {
                () = stop.cancelled() => break,
                Some(done) = self.tasks.join_next() => match done {
                    Ok(done) => self.take(done).await,
                    Err(panic) => result = Err(panic),
                },
                () = self.clock.sleep(wait.unwrap_or_default()), if wait.is_some() => {}
            }
        }
        self.finish(result).await
    }

    /// Looks at every cluster once, and returns when the last look has ended. `false` where the clusters could
    /// not be listed.
    ///
    /// # Errors
    /// Where a look panicked.
    pub async fn run_once(mut self, stop: CancellationToken) -> Result<bool, JoinError> {
        self.start_discovery(&stop);
        let mut result = Ok(());
        while !stop.is_cancelled() && result.is_ok() {
            while self.looks < self.at_once
                && let Some(cluster) = self.queue.pop()
            {
                self.start_look(&cluster);
            }
            match self.tasks.join_next().await {
                Some(Ok(Done::Look(..))) => self.looks -= 1,
                Some(Ok(discovery)) => self.take(discovery).await,
                Some(Err(panic)) => result = Err(panic),
                None => break,
            }
        }
        let discovered = self.discovered;
        self.finish(result).await?;
        Ok(discovered)
    }

    /// Waits for what is under way: a look that has begun to act is left to end, whatever else went wrong.
    async fn finish(mut self, mut result: Result<(), JoinError>) -> Result<(), JoinError> {
        while let Some(done) = self.tasks.join_next().await {
            result = result.and(done.map(drop));
        }
        result
    }

    /// When something is to be begun next. `None`: only when something that is under way has ended.
    fn next_due(&self) -> Option<Mono> {
        let look = if self.looks < self.at_once { self.queue.next_due() } else { None };
        let discovery = if self.discovering { None } else { Some(self.next_discovery) };
        look.into_iter().chain(discovery).min()
    }

    fn start_look(&mut self, id: &ClusterId) {
        let Some(watched) = self.clusters.get_mut(id).filter(|watched| !watched.looking) else { return };
        watched.looking = true;
        self.looks += 1;
        let (project, cluster, listed) =
            (Arc::clone(&self.project), Arc::clone(&watched.cluster), watched.listed);
        self.tasks.spawn(async move {
            let next = project.look(&cluster, Some(listed)).await;
            Done::Look(cluster.id.clone(), next)
        });
    }

    /// Lists the clusters beside the looks, so that a slow list delays none of them. It changes nothing, so a stop
    /// cuts it short.
    fn start_discovery(&mut self, stop: &CancellationToken) {
        if self.discovering {
            return;
        }
        self.discovering = true;
        let (project, stop) = (Arc::clone(&self.project), stop.clone());
        self.tasks.spawn(async move {
            Done::Discovery(stop.run_until_cancelled(project.discover()).await.flatten())
        });
    }

    async fn take(&mut self, done: Done) {
        match done {
            Done::Look(id, next) => self.looked(id, next),
            Done::Discovery(list) => {
                self.discovering = false;
                self.discover(list).await;
            }
        }
    }

    fn looked(&mut self, id: ClusterId, next: Next) {
        self.looks -= 1;
        let now = self.clock.now().mono;
        if next.discovery {
            self.next_discovery = self.next_discovery.min(now.after(REDISCOVERY));
        }
        if let Some(watched) = self.clusters.get_mut(&id) {
            watched.looking = false;
            self.queue.push(now.after(next.look), id);
        }
    }

    /// Takes a list in.
    async fn discover(&mut self, list: Option<ClusterList>) {
        let now = self.clock.now();
        self.next_discovery = now.mono.after(self.poll.discovery_interval);
        let Some(list) = list else {
            if !self.discovered {
                // Nothing is watched yet: do not wait for the whole interval.
                self.next_discovery =
                    now.mono.after(self.poll.active_interval.min(self.poll.discovery_interval));
            }
            return;
        };
        self.discovered = true;
        let complete = list.is_complete();
        let shown: BTreeSet<ClusterId> = list.clusters.iter().map(|cluster| cluster.id.clone()).collect();
        let came = self.take_in(list, now);
        let went = if complete { self.let_go(&shown).await } else { Vec::new() };
        if came > 0 || !went.is_empty() {
            self.project.changed(came, &went, self.clusters.len());
        }
    }

    /// Takes the clusters of a list in. First looks are spread over `active_interval`.
    fn take_in(&mut self, list: ClusterList, now: Moment) -> usize {
        let mut came = Vec::new();
        for cluster in list.clusters {
            let id = cluster.id.clone();
            self.remembered.remove(&id);
            let cluster = Arc::new(cluster);
            if let Some(watched) = self.clusters.get_mut(&id) {
                watched.cluster = cluster;
                watched.listed = now;
                watched.missed = 0;
            } else {
                let watched = Watched { cluster, listed: now, missed: 0, looking: false };
                self.clusters.insert(id.clone(), watched);
                came.push(id);
            }
        }
        let count = came.len();
        let step = self.poll.active_interval / u32::try_from(count).unwrap_or(u32::MAX).max(1);
        for (n, id) in came.into_iter().enumerate() {
            let spread = step.saturating_mul(u32::try_from(n).unwrap_or(u32::MAX));
            self.queue.push(now.mono.after(spread), id);
        }
        count
    }

    /// Lets go of clusters that two complete lists in a row did not show.
    async fn let_go(&mut self, shown: &BTreeSet<ClusterId>) -> Vec<ClusterId> {
        let watched = self.clusters.iter_mut();
        let watched = watched.map(|(id, it)| (id, &*it.cluster, &mut it.missed, it.looking));
        let remembered =
            self.remembered.iter_mut().map(|(id, (cluster, missed))| (id, &*cluster, missed, false));
        let mut gone = Vec::new();
        for (id, cluster, missed, looking) in
            watched.chain(remembered).filter(|(id, ..)| !shown.contains(*id))
        {
            *missed = missed.saturating_add(1);
            if *missed == 1 {
                // The second list comes soon, so that a gone cluster is not looked at for long.
                self.next_discovery = self.next_discovery.min(self.clock.now().mono.after(REDISCOVERY));
            } else if !looking {
                gone.push((id.clone(), cluster.clone()));
            }
        }
        let mut went = Vec::new();
        for (id, cluster) in gone {
            if self.project.forget(&cluster).await {
                self.clusters.remove(&id);
                self.remembered.remove(&id);
                self.queue.remove(&id);
                went.push(id);
            }
        }
        went
    }
}
