//! When to poll: discovery of clusters, and one queue of reconciles by the time at which they are due.
//!
//! It knows nothing of tasks: a reconcile says when the next one is due and in which [`Lane`]. One reconcile of a cluster at
//! a time; a slow or broken cluster delays no other. Late ticks are never made up for (`pacer` says how), and
//! where the rate of requests is not enough, idle clusters are read less often, which is told.
//!
//! Each project has a scheduler of its own, with limits of its own: whatever happens in one changes nothing for the
//! others.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::model::cluster::{Cluster, ClusterList};
use crate::model::id::ClusterId;
use crate::model::moment::Mono;
use crate::model::project::{Rules, Stretch};

mod fleet;
pub mod liveness;
mod pacer;
pub mod queue;

use fleet::Fleet;
use liveness::LivenessResponder;
use pacer::{LanePacer, Load};
use queue::Queue;

/// Reconciles are due this soon after a discovery was asked for, at the earliest.
const REDISCOVERY: Duration = Duration::from_secs(10);
/// Of the reconciles at once, one in so many is kept for what matters more than clusters where nothing runs: a service
/// that answers slowly must not fill all places with those.
const KEPT_PLACES: usize = 8;

/// What a reconcile is for. Lanes that stand first begin first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lane {
    /// An attempt is settled, or a PUT is due.
    Urgent,
    /// A task runs or failed and is ours to handle, or the list of clusters shows that something runs.
    Running,
    /// The cluster was not read yet, or its entry in the list of clusters changed. Begins after a discovery that is
    /// due.
    Unread,
    /// Nothing runs.
    Idle,
}

impl Lane {
    /// All, the first first.
    pub const ALL: [Self; 4] = [Self::Urgent, Self::Running, Self::Unread, Self::Idle];
}

/// What a reconcile says to the scheduler.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Next {
    /// When to poll again.
    pub after: Duration,
    /// What for.
    pub lane: Lane,
    /// The list of clusters should be read soon.
    pub discovery: bool,
}

/// What the scheduler drives: one project.
pub trait Project: Send + Sync + 'static {
    /// Lists the clusters. `None` where that failed (and was told).
    fn discover(&self) -> impl Future<Output = Option<ClusterList>> + Send;
    /// Reconciles one cluster.
    fn reconcile(&self, cluster: &Cluster) -> impl Future<Output = Next> + Send;
    /// Two complete lists did not show the cluster: whether that was taken note of.
    fn forget(&self, cluster: &Cluster) -> impl Future<Output = bool> + Send;
    /// The clusters with a lifecycle in the journal that has no end yet.
    fn remembered(&self) -> Vec<Cluster>;
    /// Clusters came or went.
    fn changed(&self, came: usize, went: &[ClusterId], watched: usize);
    /// What the configuration says now.
    fn rules(&self) -> Arc<Rules>;
    /// How many requests may begin in a second, as of now. `None`: any number.
    fn requests_per_second(&self) -> Option<f64>;
    /// Idle clusters are read less often than they should be, or (`None`) often enough again.
    fn stretched(&self, stretch: Option<Stretch>);
}

/// The scheduler of one project.
pub struct Scheduler<P, C> {
    project: Arc<P>,
    clock: Arc<C>,
    /// What the configuration says. Reconciles at once are as many as requests in flight: each has at most one.
    rules: Arc<Rules>,
    fleet: Fleet,
    queue: Queue,
    pacer: LanePacer,
    tasks: JoinSet<Done>,
    reconciling: usize,
    discovering: bool,
    next_discovery: Mono,
    /// Whether any list was read yet.
    discovered: bool,
    stretch: Option<Stretch>,
    /// Answers liveness probes from the loop.
    liveness: Option<LivenessResponder>,
    /// Felt when something changed for which clusters with an unfinished task are to be polled at once: another configuration, or
    /// the end of a hold.
    nudge: Arc<Notify>,
}

/// What has ended.
enum Done {
    Reconcile(ClusterId, Next),
    Discovery(Option<ClusterList>),
}

impl<P: Project, C: Clock> Scheduler<P, C> {
    /// A scheduler that has seen nothing yet.
    pub fn new(project: Arc<P>, clock: Arc<C>) -> Self {
        let rules = project.rules();
        let next_discovery = clock.now().mono;
        let fleet = Fleet::new(project.remembered());
        Self {
            project,
            clock,
            rules,
            fleet,
            queue: Queue::default(),
            pacer: LanePacer::default(),
            tasks: JoinSet::new(),
            reconciling: 0,
            discovering: false,
            next_discovery,
            discovered: false,
            stretch: None,
            liveness: None,
            nudge: Arc::default(),
        }
    }

    /// Has clusters with an unfinished task polled at once whenever this is notified.
    #[must_use]
    pub fn nudged_by(self, nudge: Arc<Notify>) -> Self {
        Self { nudge, ..self }
    }

    /// Has the scheduler answer the probes of this responder.
    #[must_use]
    pub fn with_liveness(self, responder: LivenessResponder) -> Self {
        Self { liveness: Some(responder), ..self }
    }

    /// Watches until `stop`, then waits for the reconciles that are under way.
    ///
    /// # Errors
    /// Where a reconcile panicked. What it was doing is in the journal.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), JoinError> {
        let mut result = Ok(());
        self.push_spread(self.clock.now().mono, Lane::Running, &self.fleet.unlisted());
        while !stop.is_cancelled() && result.is_ok() {
            self.take_rules();
            let load = self.load();
            self.begin_what_is_due(&load, &stop);
            let wait = self.next_begin(&load).map(|due| due.since(self.clock.now().mono));
            tokio::select! {
                // In this order, so that equal inputs give equal runs. A nudge is rare, and keeps nothing waiting.
                biased;
                () = stop.cancelled() => break,
                () = self.nudge.notified() => self.bring_forward(),
                Some(done) = self.tasks.join_next() => match done {
                    Ok(done) => self.take(done).await,
                    Err(panic) => result = Err(panic),
                },
                () = answer_liveness(&mut self.liveness) => {}
                () = self.clock.sleep(wait.unwrap_or_default()), if wait.is_some() => {}
            }
        }
        self.finish(result).await
    }

    /// Reconciles every cluster once, and returns when the last reconcile has ended. `false` where the clusters could
    /// not be listed.
    ///
    /// # Errors
    /// Where a reconcile panicked.
    pub async fn run_once(mut self, stop: CancellationToken) -> Result<bool, JoinError> {
        self.start_discovery(&stop);
        let mut result = Ok(());
        while !stop.is_cancelled() && result.is_ok() {
            while self.reconciling < self.at_once()
                && let Some(cluster) = Lane::ALL.into_iter().find_map(|lane| self.queue.pop(lane))
            {
                self.start_reconcile(&cluster);
            }
            match self.tasks.join_next().await {
                Some(Ok(Done::Reconcile(..))) => self.reconciling -= 1,
                Some(Ok(discovery)) => self.take(discovery).await,
                Some(Err(panic)) => result = Err(panic),
                None => break,
            }
        }
        let discovered = self.discovered;
        self.finish(result).await?;
        Ok(discovered)
    }

    /// Takes the rules as they are by now. A shorter `idle_interval` shortens the waits that have begun.
    fn take_rules(&mut self) {
        let before = self.rules.poll.idle_interval;
        self.rules = self.project.rules();
        let idle = self.rules.poll.idle_interval;
        if idle < before {
            self.queue.shorten(Lane::Idle, self.clock.now().mono, idle.div_duration_f64(before));
        }
    }

    /// Lists the clusters, and polls those with an unfinished lifecycle, as soon as the rate allows.
    fn bring_forward(&mut self) {
        let now = self.clock.now().mono;
        self.next_discovery = now;
        for cluster in self.project.remembered() {
            if self.queue.place(&cluster.id).is_some() {
                self.fleet.set_lane(&cluster.id, Lane::Running);
                self.queue.push(Lane::Running, now, cluster.id);
            }
        }
    }

    /// Waits for what is under way: a reconcile that has begun to act is left to end, whatever else went wrong.
    async fn finish(mut self, mut result: Result<(), JoinError>) -> Result<(), JoinError> {
        // There is no loop any more that could be stuck.
        self.liveness = None;
        while let Some(done) = self.tasks.join_next().await {
            result = result.and(done.map(drop));
        }
        result
    }

    /// What there is to do and how much of it may be done; tells when idle clusters begin or cease to be read less
    /// often for it.
    fn load(&mut self) -> Load {
        let load = Load { lanes: self.fleet.in_lanes(), rate: self.project.requests_per_second() };
        let stretch = load.stretch(&self.rules.poll);
        let differs = match (&self.stretch, &stretch) {
            (None, None) => false,
            (Some(before), Some(now)) => !(0.9..1.1).contains(&now.actual.div_duration_f64(before.actual)),
            _ => true,
        };
        if differs {
            self.stretch = stretch;
            self.project.stretched(stretch);
        }
        load
    }

    fn begin_what_is_due(&mut self, load: &Load, stop: &CancellationToken) {
        let now = self.clock.now().mono;
        for lane in Lane::ALL {
            if lane == Lane::Unread && now >= self.next_discovery {
                self.start_discovery(stop);
            }
            while self.has_place(lane)
                && self.queue.next_due(lane).is_some_and(|due| due <= now)
                && self.pacer.open(lane, load, &self.rules.poll) <= now
                && let Some(cluster) = self.queue.pop(lane)
            {
                self.pacer.begun(lane, now, load, &self.rules.poll);
                self.start_reconcile(&cluster);
            }
        }
    }

    fn at_once(&self) -> usize {
        usize::try_from(self.rules.limits.max_requests_in_flight).unwrap_or(usize::MAX).max(1)
    }

    fn has_place(&self, lane: Lane) -> bool {
        let kept = if lane < Lane::Unread { 0 } else { self.at_once() / KEPT_PLACES };
        self.reconciling < self.at_once() - kept
    }

    /// When something is to be begun next. `None`: only when something that is under way has ended.
    fn next_begin(&self, load: &Load) -> Option<Mono> {
        let lanes = Lane::ALL.into_iter().filter(|lane| self.has_place(*lane));
        let polls = lanes.filter_map(|lane| {
            Some(self.queue.next_due(lane)?.max(self.pacer.open(lane, load, &self.rules.poll)))
        });
        let discovery = if self.discovering { None } else { Some(self.next_discovery) };
        polls.chain(discovery).min()
    }

    fn start_reconcile(&mut self, id: &ClusterId) {
        let Some(cluster) = self.fleet.start_reconcile(id) else { return };
        self.reconciling += 1;
        let project = Arc::clone(&self.project);
        self.tasks.spawn(async move {
            let next = project.reconcile(&cluster).await;
            Done::Reconcile(cluster.id.clone(), next)
        });
    }

    /// Lists the clusters beside the reconciles, so that a slow list delays none of them. It changes nothing, so a stop
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
            Done::Reconcile(id, next) => self.polled(id, next),
            Done::Discovery(list) => {
                self.discovering = false;
                self.discover(list).await;
            }
        }
    }

    fn polled(&mut self, id: ClusterId, next: Next) {
        self.reconciling -= 1;
        let now = self.clock.now().mono;
        if next.discovery {
            self.next_discovery = self.next_discovery.min(now.after(REDISCOVERY));
        }
        if let Some((lane, wait)) = self.fleet.polled(&id, next, &self.rules.poll) {
            self.queue.push(lane, now.after(wait), id);
        }
    }

    /// Takes a list in.
    async fn discover(&mut self, list: Option<ClusterList>) {
        let now = self.clock.now();
        self.next_discovery = now.mono.after(self.rules.poll.discovery_interval);
        let Some(list) = list else {
            if !self.discovered {
                // Nothing is watched yet: do not wait for the whole interval.
                self.next_discovery =
                    now.mono.after(self.rules.poll.active_interval.min(self.rules.poll.discovery_interval));
            }
            return;
        };
        self.discovered = true;
        let complete = list.is_complete();
        let news = self.fleet.take_in(list);
        let came = news.active.len() + news.came.len();
        self.push_spread(now.mono, Lane::Running, &news.active);
        let step = self.push_spread(now.mono, Lane::Unread, &news.came);
        self.fleet.spread_second(&news.came, step, self.rules.poll.idle_interval);
        self.push_spread(now.mono, Lane::Unread, &news.changed);
        let went = if complete { self.let_go().await } else { Vec::new() };
        if came > 0 || !went.is_empty() {
            self.project.changed(came, &went, self.fleet.listed());
        }
    }

    /// Spreads polls over `active_interval`, and over more where they would take too much of the rate. One that is
    /// due sooner, or in a lane that matters more, stays. Returns the time between two.
    fn push_spread(&mut self, now: Mono, lane: Lane, clusters: &[ClusterId]) -> Duration {
        let load = Load { lanes: self.fleet.in_lanes(), rate: self.project.requests_per_second() };
        let step = load.first_step(clusters.len(), &self.rules.poll);
        for (n, id) in (0..).zip(clusters) {
            let due = now.after(step.saturating_mul(n));
            if self.queue.place(id).is_none_or(|(before, at)| lane <= before && due < at) {
                self.fleet.set_lane(id, lane);
                self.queue.push(lane, due, id.clone());
            }
        }
        step
    }

    /// Lets go of clusters that two complete lists in a row did not show.
    async fn let_go(&mut self) -> Vec<ClusterId> {
        let missed = self.fleet.miss();
        if missed.first_time {
            // The second list comes soon, so that a gone cluster is not polled for long.
            self.next_discovery = self.next_discovery.min(self.clock.now().mono.after(REDISCOVERY));
        }
        let mut went = Vec::new();
        for cluster in missed.gone {
            // Each may take a while, and there may be thousands.
            self.liveness.as_mut().map(LivenessResponder::answer_now);
            if self.project.forget(&cluster).await {
                self.fleet.remove(&cluster.id);
                self.queue.remove(&cluster.id);
                went.push(cluster.id.clone());
            }
        }
        went
    }
}

/// Answers liveness probes where there is a responder. Never returns.
async fn answer_liveness(liveness: &mut Option<LivenessResponder>) {
    match liveness {
        Some(liveness) => liveness.answer().await,
        None => std::future::pending().await,
    }
}
