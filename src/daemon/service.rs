//! The running daemon: a scheduler for each project, reloads, and what people ask of it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLockReadGuard};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{Notify, mpsc};
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::build::{self, Builder, Connection};
use super::identity::Known;
use super::liveness::{Liveness, Round};
use super::view::View;
use super::{Broken, BuildFault, HttpClient, HttpProject, ProjectStates, changes, in_force};
use crate::clock::{Clock as _, SystemClock};
use crate::control::{Question, Reachable};
use crate::journal::{Journal, JournalError};
use crate::model::hold::Holds;
use crate::model::id::ProjectName;
use crate::model::moment::Moment;
use crate::model::project::Rules;
use crate::model::project_state::ProjectState;
use crate::model::text::chain;
use crate::schedule::Scheduler;
use crate::schedule::liveness::{self, LivenessProbe};
use crate::settings::{self, Environment, Loaded, Problem, Settings, Severity};
use crate::status::{InForce, Refused, summary};
use crate::supervisor::Supervisor;

mod reload;
mod seen;

/// How often a project that was removed is asked whether its last PUT is settled.
const LEAVING_CHECK: Duration = Duration::from_secs(5);
/// A sign of life is journaled so often.
const BETWEEN_MARKS: Duration = Duration::from_mins(1);
/// Reloads begin this far apart: signals that come faster are one. Each proves every credential anew.
const BETWEEN_RELOADS: Duration = Duration::from_secs(1);

/// A project under watch.
pub(super) struct Running {
    pub(super) project: Arc<HttpProject>,
    link: Connection,
    /// Cancelled once nothing more is to be read or sent, as for the end of the process.
    halt: CancellationToken,
    /// Cancelled once its scheduler is to end.
    stop: CancellationToken,
    /// Has its scheduler poll clusters with an unfinished task at once.
    pub(super) nudge: Arc<Notify>,
    /// Felt while its scheduler's loop turns.
    pub(super) liveness: LivenessProbe,
    /// It is gone from the settings: nothing is sent, and its scheduler ends once no attempt is open.
    pub(super) leaving: bool,
}

/// The running daemon.
pub struct Daemon {
    config: PathBuf,
    environment: Environment,
    pub(super) loaded: Loaded,
    pub(super) builder: Builder,
    pub(super) running: BTreeMap<ProjectName, Running>,
    /// Projects that are not watched any more, until that is taken note of.
    left: BTreeSet<ProjectName>,
    schedulers: JoinSet<(ProjectName, Result<(), JoinError>)>,
    /// What people ordered and is being carried out.
    pub(super) orders: JoinSet<()>,
    stopping: CancellationToken,
    pub(super) started: Timestamp,
    /// The settings in force, for people.
    pub(super) in_force: InForce,
    supervisor: Arc<Supervisor>,
    /// Whether commands can reach the daemon, where they are to.
    reachable: Option<Reachable>,
    /// The same daemon, for those who look from outside the loop.
    pub(super) view: Option<Arc<View>>,
}

/// What a reload has made ready. Making it ready may fail; taking it cannot.
struct Ready {
    loaded: Loaded,
    links: Vec<(settings::Project, Connection, Option<HttpClient>)>,
    states: BTreeMap<ProjectName, ProjectState>,
    credentials: super::credentials::Credentials,
    channels: super::channels::Channels,
}

/// Why a reload changed nothing.
#[derive(Debug, thiserror::Error)]
enum ReloadFault {
    #[error(transparent)]
    Build(#[from] BuildFault),
    #[error("the journal cannot be read for a project that is new")]
    Journal(#[from] JournalError),
}

impl Daemon {
    /// Builds every project of the settings that were loaded from `config`. Connects to nothing.
    ///
    /// # Errors
    /// Where a secret, a key, an endpoint or a CA cannot be used.
    pub fn build(
        config: PathBuf,
        loaded: Loaded,
        environment: Environment,
        builder: Builder,
        mut states: ProjectStates,
    ) -> Result<Self, BuildFault> {
        let stopping = builder.stopping.clone();
        let (running, schedulers) = (BTreeMap::new(), JoinSet::new());
        let now = builder.clock.now();
        let in_force = InForce {
            file: config.display().to_string(),
            since: now.wall,
            hash: loaded.hash(),
            refused: None,
        };
        let mut service = Self {
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
            view: None,
        };
        let none = BTreeSet::new();
        let mut ready =
            service.ready(loaded, &none, |_| Ok(ProjectState::default())).map_err(|fault| match fault {
                ReloadFault::Build(fault) => fault,
                ReloadFault::Journal(error) => BuildFault::Journal(error),
            })?;
        for (name, project_state) in &mut ready.states {
            *project_state = states.take(name, now);
        }
        let identities = Arc::clone(&service.builder.identities);
        // Nobody else knows of it yet.
        if let Ok(mut known) = identities.known.try_lock() {
            service.begin(ready, &mut known);
        }
        Ok(service)
    }

    /// The same, told of to whoever supervises the process.
    #[must_use]
    pub fn supervised(self, supervisor: Arc<Supervisor>) -> Self {
        Self { supervisor, ..self }
    }

    /// The same, with whether commands can reach it; `None`: the settings want none to.
    #[must_use]
    pub fn reached(self, reachable: Option<Reachable>) -> Self {
        Self { reachable, ..self }
    }

    /// The projects under watch.
    pub fn projects(&self) -> Vec<Arc<HttpProject>> {
        self.running.values().map(|running| Arc::clone(&running.project)).collect()
    }

    /// Runs until the daemon is stopping, then waits for the reconciles that are under way.
    ///
    /// # Errors
    /// Where a part of the daemon panicked or the journal's keeper is gone: everything is stopped in order first.
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
                lives = liveness.round(&*clock, || ask_for_life(running, journal)) => match lives {
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
            self.show();
        }
        self.supervisor.stopping();
        // Who still asks is told that the daemon is stopping.
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

    /// Keeps what is in force from now on, for reports.
    async fn note_in_force(&self) {
        let what = in_force::of(&self.loaded).to_string();
        if let Err(error) = self.builder.journal().note_in_force(self.clock().now().wall, what).await {
            let error = chain(&error);
            warn!(
                error,
                "what is in force from now on could not be journaled, and reports will not tell: {error}"
            );
        }
    }

    /// Tells the service manager how the daemon stands, where that has changed.
    fn tell_status(&self) {
        if !self.supervisor.listens() {
            return;
        }
        let now = self.clock().now();
        let projects: BTreeMap<_, _> =
            self.running.iter().map(|(name, running)| (name, running.project.summary())).collect();
        let holds = self.holds().in_force(now).count();
        let refused = self.in_force.refused.is_some();
        self.supervisor.status(&summary::line(self.settings().mode, &projects, holds, refused, now.wall));
    }

    /// A scheduler has ended: because its project is gone from the settings, or because something panicked. Then all
    /// are stopped, so that nothing is left half-alive.
    fn ended(
        &mut self,
        ended: Result<(ProjectName, Result<(), JoinError>), JoinError>,
    ) -> Result<(), JoinError> {
        let (name, watched) = ended?;
        watched?;
        let Some(running) = self.running.get_mut(&name) else { return Ok(()) };
        // Where all are stopping, it is still to write what is left.
        if running.leaving {
            self.running.remove(&name);
            self.left.insert(name.clone());
            info!(project = %name, "project {name} is not watched any more");
        } else if !self.stopping.is_cancelled() {
            // It came back into the settings before its last reconcile had ended.
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

    /// Begins to watch a project. What is returned is felt while its scheduler's loop turns.
    fn watch(
        &mut self,
        name: ProjectName,
        project: Arc<HttpProject>,
        nudge: Arc<Notify>,
        stop: CancellationToken,
    ) -> LivenessProbe {
        let (liveness, responder) = liveness::channel();
        let scheduler = Scheduler::new(project, Arc::clone(&self.builder.clock));
        let watched = scheduler.nudged_by(nudge).with_liveness(responder).run(stop);
        self.schedulers.spawn(async move { (name, watched.await) });
        liveness
    }

    /// One line for the fact, and one for each problem of the settings.
    fn tell_why_not(&mut self, why: String, found: &[Problem]) {
        let at = self.builder.clock.now().wall;
        let config = self.config.display();
        error!(%config, "the settings were not reloaded and nothing changed: {why}");
        let line = |problem: &Problem| format!("{}: {}", problem.severity.word(), problem.in_one_line());
        let mut problems: Vec<String> = found.iter().map(line).collect();
        for problem in found {
            match problem.severity {
                Severity::Error => error!(%config, "{}", problem.in_one_line()),
                Severity::Warning => warn!(%config, "{}", problem.in_one_line()),
            }
        }
        if problems.is_empty() {
            problems.push(why);
        }
        self.in_force.refused = Some(Refused { at, problems });
    }

    /// Makes everything ready that these settings need and that may fail.
    fn ready(
        &self,
        loaded: Loaded,
        moved: &BTreeSet<ProjectName>,
        project_state: impl Fn(&ProjectName) -> Result<ProjectState, JournalError>,
    ) -> Result<Ready, ReloadFault> {
        let settings = &loaded.settings;
        let credentials = self.builder.credentials(settings)?;
        let channels = self.builder.channels(settings, &credentials)?;
        let (mut links, mut states) = (Vec::new(), BTreeMap::new());
        for project in &settings.projects {
            let Some(link) = Builder::link(settings, project, &credentials)? else { continue };
            let before = self.running.get(&project.name).filter(|_| !moved.contains(&project.name));
            let same = before.is_some_and(|running| running.link == link);
            let client = if same { None } else { Some(self.builder.client(project, &link)?) };
            if before.is_none() {
                states.insert(project.name.clone(), project_state(&project.name)?);
            }
            links.push((project.clone(), link, client));
        }
        Ok(Ready { loaded, links, states, credentials, channels })
    }

    /// Takes new settings: no timer, no attempt and, where nothing of it changed, no connection is lost.
    async fn take(&mut self, ready: Ready, known: &mut Known) {
        let lines = changes::changes(&self.loaded, &ready.loaded);
        for warning in &ready.loaded.warnings {
            warn!("{}", warning.in_one_line());
        }
        let rules = build::rules(&ready.loaded.settings);
        let mut clients: BTreeMap<ProjectName, Option<HttpClient>> = BTreeMap::new();
        let mut ready = ready;
        for (project, link, client) in &mut ready.links {
            if let Some(running) = self.running.get_mut(&project.name) {
                known.watch(&project.name, link.project());
                running.link = link.clone();
                running.leaving = false;
                clients.insert(project.name.clone(), client.take());
            }
        }
        for (name, running) in &mut self.running {
            let reconciler = &running.project;
            if let Some(client) = clients.remove(name) {
                reconciler.reload(rules.clone(), client).await;
                running.nudge.notify_one();
            } else {
                // Its plans go with it: without a policy nothing is sent. What is open is still settled.
                let rules = Rules { policies: Vec::new(), ..(*reconciler.rules()).clone() };
                reconciler.reload(rules, None).await;
                running.leaving = true;
            }
        }
        let came = ready.states.len();
        // Before anybody uses them: what is woken is asked for anew.
        ready.credentials.wake();
        self.begin(ready, known);
        self.note_in_force().await;
        info!(changes = lines.len(), projects = self.running.len(), came, "the settings were reloaded");
        for line in lines {
            info!("changed: {line}");
        }
    }

    /// Takes the settings and credentials, and begins to watch the projects that are new.
    fn begin(&mut self, ready: Ready, known: &mut Known) {
        let Ready { loaded, links, mut states, credentials, channels, .. } = ready;
        build::tell_of_limits(&loaded.settings);
        self.builder.take_credentials(credentials);
        self.builder.take_channels(channels, &loaded.settings);
        for (project, link, client) in links {
            let (Some(project_state), Some(client)) = (states.remove(&project.name), client) else {
                continue;
            };
            self.put_under_watch(&loaded.settings, &project, link, client, project_state, known);
        }
        self.in_force.hash = loaded.hash();
        self.loaded = loaded;
        self.in_force.since = self.builder.clock.now().wall;
        self.in_force.refused = None;
    }

    fn put_under_watch(
        &mut self,
        settings: &Settings,
        project: &settings::Project,
        link: Connection,
        client: HttpClient,
        project_state: ProjectState,
        known: &mut Known,
    ) {
        let name = project.name.clone();
        known.watch(&name, link.project());
        let halt = self.stopping.child_token();
        let project = self.builder.project(settings, project, client, project_state, halt.clone());
        let stop = halt.child_token();
        let nudge = Arc::default();
        let liveness = self.watch(name.clone(), Arc::clone(&project), Arc::clone(&nudge), stop.clone());
        self.running.insert(name, Running { project, link, halt, stop, nudge, liveness, leaving: false });
    }

    /// Ends the schedulers of removed projects that have nothing open any more.
    fn let_leave(&mut self) {
        for running in self.running.values() {
            if running.leaving && !running.project.has_open_attempts() {
                running.stop.cancel();
            }
        }
    }

    fn tell_ended_holds(&self, since: Moment, now: Moment) {
        for hold in self.holds().ended_by_themselves(since, now) {
            info!(hold = hold.number, "the hold has ended: {hold}");
            self.nudge_all();
        }
    }

    /// Something may be due now that was held back.
    pub(super) fn nudge_all(&self) {
        self.running.values().for_each(|running| running.nudge.notify_one());
    }

    pub(super) fn holds(&self) -> RwLockReadGuard<'_, Holds> {
        self.builder.holds.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn settings(&self) -> &Settings {
        &self.loaded.settings
    }

    pub(super) fn clock(&self) -> &SystemClock {
        &self.builder.clock
    }
}

/// Asks every scheduler and the journal for a sign of life.
fn ask_for_life(running: &BTreeMap<ProjectName, Running>, journal: Journal) -> Round {
    let probes: Vec<LivenessProbe> = running.values().map(|running| running.liveness.clone()).collect();
    Box::pin(async move {
        for liveness in probes {
            liveness.answered().await;
        }
        journal.check_alive().await
    })
}
