//! When to poll: discovery of clusters, and one queue of reconciles by the time at which they are
//! due.
//!
//! The scheduler knows nothing of tasks: a reconcile returns when the next one is due and in which
//! [`Lane`]. There is one reconcile of a cluster at a time; a slow or broken cluster delays no
//! other. Missed polls are not repeated (see `pacer`). If the request rate is not enough, idle
//! clusters are polled less often, which is a condition.
//!
//! Each project has a scheduler of its own, with limits of its own: no project affects another one.

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

/// The shortest time from the request of a discovery to the next reconcile.
const REDISCOVERY: Duration = Duration::from_secs(10);
/// Of this number of concurrent reconciles one is kept for more important clusters than idle ones:
/// a slow API must not fill all places with those.
const KEPT_PLACES: usize = 8;

/// What a reconcile is for. The first lanes begin first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lane {
    /// A request is to be confirmed, or is due.
    Urgent,
    /// A task runs, or failed and is handled by the daemon, or the list of clusters shows that
    /// something runs.
    Running,
    /// The cluster was not polled yet, or its entry in the list of clusters changed. Begins after a
    /// discovery that is due.
    Unread,
    /// Nothing runs.
    Idle,
}

impl Lane {
    /// All lanes in their order.
    pub const ALL: [Self; 4] = [Self::Urgent, Self::Running, Self::Unread, Self::Idle];
}

/// The result of a reconcile for the scheduler.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Next {
    /// When to poll again.
    pub after: Duration,
    /// The lane of the next poll.
    pub lane: Lane,
    /// The list of clusters should be read soon.
    pub discovery: bool,
}

/// The project that a scheduler drives.
pub trait Project: Send + Sync + 'static {
    /// Lists the clusters. Returns `None` if that failed (and was reported).
    fn discover(&self) -> impl Future<Output = Option<ClusterList>> + Send;
    /// Reconciles one cluster.
    fn reconcile(&self, cluster: &Cluster) -> impl Future<Output = Next> + Send;
    /// Takes in that two complete lists did not show the cluster. Returns whether that was
    /// recorded.
    fn forget(&self, cluster: &Cluster) -> impl Future<Output = bool> + Send;
    /// Returns the clusters with an unfinished task in the journal.
    fn remembered(&self) -> Vec<Cluster>;
    /// Takes in that clusters came or went.
    fn changed(&self, came: usize, went: &[ClusterId], watched: usize);
    /// Returns the configuration in force.
    fn rules(&self) -> Arc<Rules>;
    /// Returns how many requests may begin in a second now. `None`: there is no limit.
    fn requests_per_second(&self) -> Option<f64>;
    /// Takes in that idle clusters are polled less often than configured, or (`None`) often enough
    /// again.
    fn stretched(&self, stretch: Option<Stretch>);
}

/// The scheduler of one project.
pub struct Scheduler<P, C> {
    project: Arc<P>,
    clock: Arc<C>,
    /// The configuration. There are as many concurrent reconciles as requests in flight: each has
    /// at most one.
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
    /// Notified when clusters with an unfinished task are to be polled at once: after a reload, or
    /// at the end of a hold.
    nudge: Arc<Notify>,
}

/// The tasks that have ended.
enum Done {
    Reconcile(ClusterId, Next),
    Discovery(Option<ClusterList>),
}

impl<P: Project, C: Clock> Scheduler<P, C> {
    /// Makes a scheduler without any cluster.
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

    /// Polls clusters with an unfinished task at once whenever this is notified.
    #[must_use]
    pub fn nudged_by(self, nudge: Arc<Notify>) -> Self {
        Self { nudge, ..self }
    }

    /// Answers the probes of this responder.
    #[must_use]
    pub fn with_liveness(self, responder: LivenessResponder) -> Self {
        Self { liveness: Some(responder), ..self }
    }

    /// Watches until `stop`, then waits for the reconciles that have begun.
    ///
    /// # Errors
    /// If a reconcile panicked. The journal has what it was doing.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), JoinError> {
        let mut result = Ok(());
        self.push_spread(self.clock.now().mono, Lane::Running, &self.fleet.unlisted());
        while !stop.is_cancelled() && result.is_ok() {
            self.take_rules();
            let load = self.load();
            self.begin_what_is_due(&load, &stop);
            let wait = self.next_begin(&load).map(|due| due.since(self.clock.now().mono));
            tokio::select! {
                // In this order, so that equal inputs give equal runs. A nudge is rare, and delays
                // nothing.
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

    /// Reconciles every cluster once, and returns when the last reconcile has ended. Returns
    /// `false` if the clusters could not be listed.
    ///
    /// # Errors
    /// If a reconcile panicked.
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

    /// Takes the present rules. A shorter `idle_interval` shortens the waits that have begun.
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

    /// Waits for what has begun: a reconcile that sends a request runs to its end, whatever else
    /// failed.
    async fn finish(mut self, mut result: Result<(), JoinError>) -> Result<(), JoinError> {
        // The loop has ended, so it cannot be stuck.
        self.liveness = None;
        while let Some(done) = self.tasks.join_next().await {
            result = result.and(done.map(drop));
        }
        result
    }

    /// Returns the load and the limits; reports when idle clusters begin or cease to be polled less
    /// often.
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

    /// Returns when something is to be begun next. `None`: only when something that has begun ends.
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

    /// Lists the clusters beside the reconciles, so that a slow list delays none of them. It
    /// changes nothing, so a stop cancels it.
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

    /// Takes in a list.
    async fn discover(&mut self, list: Option<ClusterList>) {
        let now = self.clock.now();
        self.next_discovery = now.mono.after(self.rules.poll.discovery_interval);
        let Some(list) = list else {
            if !self.discovered {
                // No cluster is watched yet: do not wait for the whole interval.
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

    /// Spreads polls over `active_interval`, and over more if they would take too much of the rate.
    /// A poll that is due sooner, or in a more important lane, stays. Returns the time between two.
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

    /// Removes clusters that two consecutive complete lists did not show.
    async fn let_go(&mut self) -> Vec<ClusterId> {
        let missed = self.fleet.miss();
        if missed.first_time {
            // The second list comes soon, so that a gone cluster is not polled for long.
            self.next_discovery = self.next_discovery.min(self.clock.now().mono.after(REDISCOVERY));
        }
        let mut went = Vec::new();
        for cluster in missed.gone {
            // Each may take a time, and there may be thousands.
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

/// Answers liveness probes, if there is a responder. Never returns.
async fn answer_liveness(liveness: &mut Option<LivenessResponder>) {
    match liveness {
        Some(liveness) => liveness.answer().await,
        None => std::future::pending().await,
    }
}
