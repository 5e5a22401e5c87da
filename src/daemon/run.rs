//! The running daemon: a scheduler for each project, reloads, and operators' commands.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLockReadGuard};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::build::Builder;
use super::liveness::{self, Liveness};
use super::running::Running;
use super::snapshot::{Snapshot, View};
use super::{Broken, BuildFault, HttpProject, ProjectStates, in_force};
use crate::clock::{Clock as _, SystemClock, still_waiting};
use crate::configuration::{Configuration, Environment, Loaded};
use crate::control::{Question, Reachable};
use crate::model::hold::Holds;
use crate::model::id::ProjectName;
use crate::model::moment::Moment;
use crate::model::project_state::ProjectState;
use crate::model::text::{chain, span};
use crate::schedule::Scheduler;
use crate::schedule::liveness::{LivenessProbe, channel};
use crate::status::metrics::Metrics;
use crate::status::{InForce, PolicyReport, summary};
use crate::supervisor::Supervisor;

mod reload;

/// How often a removed project is checked for requests of unknown outcome.
const LEAVING_CHECK: Duration = Duration::from_secs(5);
/// The interval at which a sign of life is journaled.
const BETWEEN_MARKS: Duration = Duration::from_mins(1);
/// The shortest time between two reloads: faster signals are one reload. Each reload proves every
/// credential again.
const BETWEEN_RELOADS: Duration = Duration::from_secs(1);

/// The running daemon.
pub struct Daemon {
    config: PathBuf,
    environment: Environment,
    loaded: Loaded,
    pub(super) builder: Builder,
    pub(super) running: BTreeMap<ProjectName, Running>,
    /// Projects that are no longer watched, until the loop has noticed.
    left: BTreeSet<ProjectName>,
    schedulers: JoinSet<(ProjectName, Result<(), JoinError>)>,
    /// Operators' commands that are being carried out.
    pub(super) orders: JoinSet<()>,
    stopping: CancellationToken,
    started: Timestamp,
    /// The configuration in force, for people.
    in_force: InForce,
    supervisor: Arc<Supervisor>,
    /// Whether commands can reach the daemon, if the configuration has a control socket.
    reachable: Option<Reachable>,
    /// The state, for readers outside the loop.
    shown: Option<watch::Sender<Snapshot>>,
}

impl Daemon {
    /// Builds every project of the configuration that was loaded from `config`. Connects to nothing.
    ///
    /// # Errors
    /// If a secret, a key, an endpoint or a CA cannot be used.
    pub fn build(
        config: PathBuf,
        loaded: Loaded,
        environment: Environment,
        (builder, mut states): (Builder, ProjectStates),
        begins: impl FnOnce(),
    ) -> Result<Self, BuildFault> {
        let stopping = builder.stopping.clone();
        let (running, schedulers) = (BTreeMap::new(), JoinSet::new());
        let now = builder.clock.now();
        let in_force = InForce {
            file: config.display().to_string(),
            since: now.wall,
            hash: loaded.hash(),
            warnings: Vec::new(),
            refused: None,
        };
        let mut daemon = Self {
            config,
            environment,
            loaded: loaded.clone(),
            builder,
            running,
            left: BTreeSet::new(),
            schedulers,
            orders: JoinSet::new(),
            stopping,
            started: now.wall,
            in_force,
            supervisor: Arc::default(),
            reachable: None,
            shown: None,
        };
        let none = BTreeSet::new();
        let mut ready = daemon.ready(loaded, &none, |_| Ok(ProjectState::default()))?;
        for (name, project_state) in &mut ready.states {
            *project_state = states.take(name, now);
        }
        begins();
        let identities = Arc::clone(&daemon.builder.identities);
        // No other part knows of it yet.
        if let Ok(mut known) = identities.known.try_lock() {
            daemon.begin(ready, &mut known);
        }
        Ok(daemon)
    }

    /// Returns the same, with messages to the service manager.
    #[must_use]
    pub fn supervised(self, supervisor: Arc<Supervisor>) -> Self {
        Self { supervisor, ..self }
    }

    /// Returns the same, with whether commands can reach it; `None`: the configuration has no
    /// control socket.
    #[must_use]
    pub fn reached(self, reachable: Option<Reachable>) -> Self {
        Self { reachable, ..self }
    }

    /// Returns the watched projects.
    pub fn projects(&self) -> Vec<Arc<HttpProject>> {
        self.running.values().map(|running| Arc::clone(&running.project)).collect()
    }

    /// Runs until the daemon is stopped, then waits for the reconciles that have begun.
    ///
    /// # Errors
    /// If a part of the daemon panicked or the journal's thread has ended: everything is stopped in
    /// order first.
    pub async fn run(
        mut self,
        reload: Arc<Notify>,
        mut questions: mpsc::Receiver<Question>,
    ) -> Result<(), Broken> {
        let mut result = Ok(());
        let (clock, outdated) = (Arc::clone(&self.builder.clock), Arc::clone(&self.builder.identities));
        let mut told_until = clock.now();
        let mut liveness = Liveness::new(self.supervisor.patience(), told_until.mono);
        let mut next_reload = told_until.mono;
        let mut marked = told_until;
        self.builder.journal().mark_alive(marked.wall);
        self.note_in_force().await;
        self.tell_status();
        self.supervisor.ready();
        while result.is_ok() {
            self.let_leave();
            self.forget_left().await;
            let now = clock.now();
            self.tell_ended_holds(told_until, now);
            self.journal_ends_of_holds().await;
            told_until = now;
            let next_end = self.holds().next_end(now).map(|end| end.since(now));
            let leaving = self.running.values().any(|running| running.leaving).then_some(LEAVING_CHECK);
            let wake = next_end.into_iter().chain(leaving).min();
            let reload = async {
                clock.sleep(next_reload.since(clock.now().mono)).await;
                reload.notified().await;
            };
            let (running, journal) = (&self.running, self.builder.share_journal());
            tokio::select! {
                () = self.stopping.cancelled() => break,
                Some(ended) = self.schedulers.join_next() => result = self.ended(ended).map_err(Broken::from),
                Some(carried_out) = self.orders.join_next() => result = carried_out.map_err(Broken::from),
                lives = liveness.round(&*clock, || liveness::answered(probes(running), journal)) => match lives {
                    Ok(()) => {
                        self.supervisor.alive();
                        if clock.now().since(marked) >= BETWEEN_MARKS {
                            marked = clock.now();
                            self.builder.journal().mark_alive(marked.wall);
                        }
                    }
                    Err(gone) => result = Err(gone.into()),
                },
                () = reload => {
                    next_reload = clock.now().mono.after(BETWEEN_RELOADS);
                    self.supervisor.reloading();
                    result = self.reload().await.map_err(Broken::from);
                    self.supervisor.ready();
                }
                () = outdated.outdated.notified() => {
                    result = self.build_anew().await.map_err(Broken::from);
                }
                Some(question) = questions.recv() => self.answer(question).await,
                () = clock.sleep(wake.unwrap_or_default()), if wake.is_some() => {}
            }
            self.tell_status();
            if let Some(shown) = &self.shown {
                shown.send_replace(self.snapshot());
            }
        }
        self.supervisor.stopping();
        // A client that still asks gets the answer that the daemon is stopping.
        drop(questions);
        self.stopping.cancel();
        while let Some(ended) = self.schedulers.join_next().await {
            result = result.and(ended.and_then(|(_, watched)| watched).map_err(Broken::from));
        }
        while let Some(carried_out) = self.orders.join_next().await {
            result = result.and(carried_out.map_err(Broken::from));
        }
        for running in self.running.values() {
            running.project.write_what_is_left().await;
        }
        result
    }

    /// Journals what is in force from now on, for reports.
    async fn note_in_force(&self) {
        let what = in_force::of(&self.loaded).to_string();
        if let Err(error) = self.builder.journal().note_in_force(self.clock().now().wall, what).await {
            let error = chain(&error);
            warn!(
                error,
                "the configuration in force could not be written to the journal, so the views of the journal do not show it: {error}"
            );
        }
    }

    /// Notifies the service manager of the daemon's state, if that has changed.
    fn tell_status(&self) {
        if !self.supervisor.listens() {
            return;
        }
        let now = self.clock().now();
        let projects: BTreeMap<_, _> =
            self.running.iter().map(|(name, running)| (name, running.project.summary())).collect();
        let holds = self.holds().in_force(now).count();
        let refused = self.in_force.refused.is_some();
        self.supervisor.status(&summary::line(
            self.configuration().mode,
            &projects,
            holds,
            refused,
            now.wall,
        ));
    }

    /// Takes in that a scheduler has ended: because its project is gone from the configuration, or
    /// because something panicked. Then all are stopped, so that no part continues without the
    /// others.
    fn ended(
        &mut self,
        ended: Result<(ProjectName, Result<(), JoinError>), JoinError>,
    ) -> Result<(), JoinError> {
        let (name, watched) = ended?;
        watched?;
        let Some(running) = self.running.get_mut(&name) else { return Ok(()) };
        // All are stopping: the loop still has to write what is left.
        if running.leaving {
            self.running.remove(&name);
            self.left.insert(name.clone());
            self.builder.let_go(&name);
            info!(project = %name, "project {name} is not watched any more");
        } else if !self.stopping.is_cancelled() {
            // The project came back into the configuration before its last reconcile had ended.
            running.stop = running.halt.child_token();
            let (project, nudge) = (Arc::clone(&running.project), Arc::clone(&running.nudge));
            let stop = running.stop.clone();
            let liveness = self.watch(name.clone(), project, nudge, stop);
            if let Some(running) = self.running.get_mut(&name) {
                running.liveness = liveness;
            }
        }
        Ok(())
    }

    /// Begins to watch a project. Returns the liveness probe of its scheduler's loop.
    fn watch(
        &mut self,
        name: ProjectName,
        project: Arc<HttpProject>,
        nudge: Arc<Notify>,
        stop: CancellationToken,
    ) -> LivenessProbe {
        let (liveness, responder) = channel();
        let clock = Arc::clone(&self.builder.clock);
        let scheduler = Scheduler::new(Arc::clone(&project), Arc::clone(&clock));
        let watched = scheduler.nudged_by(nudge).with_liveness(responder).run(stop);
        self.schedulers.spawn(async move {
            let told = |waited| {
                let waits = project.awaits_its_first_list();
                if waits {
                    let waited = span(waited);
                    info!(project = %name, "project {name}: waiting for the first list of its clusters, for {waited} so far");
                }
                waits
            };
            let watched = still_waiting(&*clock, watched, told).await;
            (name, watched)
        });
        liveness
    }

    /// Ends the schedulers of removed projects without an open request.
    fn let_leave(&mut self) {
        for running in self.running.values() {
            if running.leaving && !running.project.has_open_attempts() {
                running.stop.cancel();
            }
        }
    }

    /// Returns the present state of the daemon, for commands and for readers outside.
    pub(super) fn snapshot(&self) -> Snapshot {
        Snapshot {
            clock: Arc::clone(&self.builder.clock),
            holds: Arc::clone(&self.builder.holds),
            journal: self.builder.share_journal(),
            post: self.builder.post.clone(),
            started: self.started,
            mode: self.configuration().mode,
            in_force: self.in_force.clone(),
            policies: self.configuration().policies.iter().map(PolicyReport::new).collect(),
            projects: self.running.values().cloned().collect(),
        }
    }

    /// Returns the daemon as readers outside see it, kept up to date from now on.
    /// `changes` changes with every notification.
    pub fn view(&mut self, metrics: Arc<Metrics>, changes: watch::Receiver<u64>) -> Arc<View> {
        let (shown, snapshot) = watch::channel(self.snapshot());
        self.shown = Some(shown);
        Arc::new(View { snapshot, metrics, changes })
    }

    fn tell_ended_holds(&self, since: Moment, now: Moment) {
        for hold in self.holds().ended_by_themselves(since, now) {
            info!(hold = hold.number, "a hold ended: {hold}");
            self.nudge_all();
        }
    }

    /// Wakes the schedulers: a block may have ended.
    pub(super) fn nudge_all(&self) {
        self.running.values().for_each(|running| running.nudge.notify_one());
    }

    pub(super) fn holds(&self) -> RwLockReadGuard<'_, Holds> {
        self.builder.holds.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn configuration(&self) -> &Configuration {
        &self.loaded.configuration
    }

    pub(super) fn clock(&self) -> &SystemClock {
        &self.builder.clock
    }
}

fn probes(running: &BTreeMap<ProjectName, Running>) -> Vec<LivenessProbe> {
    running.values().map(|running| running.liveness.clone()).collect()
}
