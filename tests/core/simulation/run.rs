//! Plays one seed: one process after the other, each driven by the real scheduler, until nothing is left to be done.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::future::Future;
use std::path::Path;
use std::pin::pin;
use std::sync::{Arc, PoisonError, RwLock};

use jiff::SignedDuration;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use tokio::sync::Notify;
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;
use upgrade_remediator::clock::Clock;
use upgrade_remediator::cloud::Client;
use upgrade_remediator::daemon::ProjectStates;
use upgrade_remediator::journal::{Journal, MemoryJournal, SqliteJournal, SqliteOptions};
use upgrade_remediator::model::event::{Entry, Event};
use upgrade_remediator::model::hold::{Holds, NewHold, Scope};
use upgrade_remediator::model::id::{ClusterId, ProjectId, ProjectName};
use upgrade_remediator::model::names::Named;
use upgrade_remediator::model::project_state::ProjectState;
use upgrade_remediator::reconcile::Reconciler;
use upgrade_remediator::schedule::Scheduler;
use upgrade_remediator::simulator::log::LogEntry;
use upgrade_remediator::simulator::scenario::{ClusterWays, DEFAULT_PROJECT_ID, ExecuteTimesWay};
use upgrade_remediator::simulator::{Scenario, World};

use crate::clocks::VirtualClock;
use crate::reconciler::{options, reconciler};

use super::announced::{Announced, Announcing};
use super::generate::{Held, Plan, Planned};
use super::harness::{Disk, FaultyJournal, Harness, Kept, Point, Sent, Taken, Wire};
use super::judge;
use super::parked::wait;

const MINUTE: i64 = 60_000;
/// How long to go on once nothing is left to be done: nothing may be sent any more.
const QUIET: i64 = 20 * MINUTE;

pub(crate) type Watched = Reconciler<Client<Wire, VirtualClock>, VirtualClock>;

/// A hold that was placed and answered, by the true time and by how many entries the journal had then.
#[derive(Debug, Clone)]
pub(crate) struct Holding {
    pub(crate) held: Held,
    pub(crate) cluster: Option<String>,
    pub(crate) process: u32,
    pub(crate) placed: (i64, usize),
    pub(crate) ends: Option<i64>,
    /// When somebody began to release it.
    pub(crate) released: Option<(i64, usize)>,
}

/// From when on which of the plan's policies were in force: true time, entries of the journal, process, which.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Epoch {
    pub(crate) at: i64,
    pub(crate) entries: usize,
    pub(crate) process: u32,
    pub(crate) of: usize,
}

/// All that a run left behind.
pub(crate) struct Played {
    pub(crate) log: Vec<LogEntry>,
    pub(crate) entries: Vec<Entry>,
    pub(crate) kept: Vec<Kept>,
    pub(crate) sent: Vec<Sent>,
    pub(crate) told: Vec<String>,
    pub(crate) counts: BTreeMap<String, u64>,
    pub(crate) epochs: Vec<Epoch>,
    pub(crate) holdings: Vec<Holding>,
    /// Reloads, by the true time and the entries of the journal, at their beginning.
    pub(crate) reloads: Vec<(i64, usize)>,
    pub(crate) project_state: ProjectState,
    /// What was announced after each reconcile.
    pub(crate) announced: Vec<Announced>,
    /// What had not come to an end by then.
    pub(crate) unfinished: Vec<String>,
    /// When the wall clock jumped.
    pub(crate) jumps: Vec<i64>,
    /// The service's clock less the true time, in milliseconds.
    pub(crate) service_off: i64,
    /// Clusters by their names whose completedNodes cannot be read.
    pub(crate) unreadable: BTreeSet<String>,
    /// Clusters by their ids whose lists of tasks are short.
    pub(crate) short: BTreeSet<String>,
    /// Clusters and tasks that may be taken for gone, as answers left them out.
    pub(crate) left_out: BTreeSet<String>,
    /// Clusters by their names whose executeTimes grows by two.
    pub(crate) grows_by_two: BTreeSet<String>,
    /// Where answers showed tasks of other clusters: all answers that were taken.
    pub(crate) taken: Vec<Taken>,
}

impl Played {
    /// Whether the wall clock did not jump in the last minutes.
    pub(crate) fn wall_steady(&self, at: i64) -> bool {
        !self.jumps.iter().any(|jump| (at - 2 * MINUTE..=at).contains(jump))
    }
}

/// One life of the daemon.
struct Process {
    number: u32,
    project: Arc<Watched>,
    nudge: Arc<Notify>,
    clock: Arc<VirtualClock>,
    journal: Journal,
    holds: Arc<RwLock<Holds>>,
    stopping: CancellationToken,
    /// What people do meanwhile; dies with it.
    people: JoinSet<()>,
}

/// What the driver and people write down.
#[derive(Default)]
struct Notes {
    epochs: Vec<Epoch>,
    holdings: Vec<Holding>,
    reloads: Vec<(i64, usize)>,
    jumps: Vec<i64>,
}

struct Player {
    plan: Arc<Plan>,
    harness: Arc<Harness>,
    disk: Option<Disk>,
    /// Where the journal's file is; `None`: in memory.
    file: Option<std::path::PathBuf>,
    planned: VecDeque<(i64, Planned)>,
    notes: Arc<std::sync::Mutex<Notes>>,
    announced: Arc<std::sync::Mutex<Vec<Announced>>>,
    processes: u32,
    /// The project's name in the configuration, and the dice for another one.
    name: ProjectName,
    names: StdRng,
}

/// How a process ended.
enum End {
    Killed,
    Stopped,
    /// Nothing is left to be done.
    Over(Box<ProjectState>),
}

/// Plays the plan to its end, on a journal in memory or in a file.
pub(crate) fn play(plan: &Plan, file: Option<&Path>) -> Played {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let scenario = match Scenario::parse(&plan.scenario, "generated") {
            Ok(scenario) => scenario,
            Err(error) => panic!("{error}: {:?}\n{}", std::error::Error::source(&error), plan.scenario),
        };
        let begin = "2026-03-01T00:00:00Z".parse().unwrap();
        let harness = Harness::new(World::new(scenario, plan.seed, begin), plan);
        let memory = MemoryJournal::new(plan.seed);
        let mut player = Player {
            plan: Arc::new(plan.clone()),
            harness,
            disk: file.is_none().then(|| Disk::Memory(memory.clone())),
            file: file.map(Path::to_owned),
            planned: plan.planned.iter().copied().collect(),
            notes: Arc::default(),
            announced: Arc::default(),
            processes: 0,
            name: ProjectName::new("prod").unwrap(),
            names: StdRng::seed_from_u64(plan.seed ^ 0x4e41_4d45),
        };
        let project_state = player.play(&memory).await;
        let unfinished = player.harness.inspect(|world| judge::unfinished(plan, world, &project_state));
        let ways = player.harness.inspect(Ways::of);
        let notes = std::mem::take(&mut *player.notes.lock().unwrap_or_else(PoisonError::into_inner));
        Played {
            unfinished,
            log: player.harness.inspect(|world| world.log().to_vec()),
            entries: memory.entries(),
            kept: player.harness.kept(),
            sent: player.harness.sent(),
            told: player.harness.recorder.all(),
            counts: player.harness.counts(),
            epochs: notes.epochs,
            holdings: notes.holdings,
            reloads: notes.reloads,
            jumps: notes.jumps,
            service_off: ways.service_off,
            unreadable: ways.unreadable,
            short: ways.short,
            left_out: player.harness.left_out(),
            grows_by_two: ways.grows_by_two,
            taken: player.harness.taken(),
            announced: std::mem::take(&mut *player.announced.lock().unwrap_or_else(PoisonError::into_inner)),
            project_state,
        }
    })
}

/// How the world shows things, as far as the judge must know.
struct Ways {
    service_off: i64,
    unreadable: BTreeSet<String>,
    short: BTreeSet<String>,
    grows_by_two: BTreeSet<String>,
}

impl Ways {
    fn of(world: &World) -> Self {
        let scenario = world.scenario();
        let names = |is_it: &dyn Fn(&ClusterWays) -> bool| -> BTreeSet<String> {
            let clusters = scenario.cluster.iter().filter(|cluster| is_it(&cluster.ways));
            clusters.map(|cluster| cluster.name.clone()).collect()
        };
        let state = world.state();
        let clusters = || state["clusters"].as_array().into_iter().flatten();
        let short = names(&|ways| ways.tasks.is_some());
        let is_in = |of: &BTreeSet<String>, cluster: &serde_json::Value| {
            cluster["name"].as_str().is_some_and(|name| of.contains(name))
        };
        let text = |value: &serde_json::Value| value["id"].as_str().unwrap_or_default().to_owned();
        Self {
            service_off: scenario.ways.clock_offset.0.0,
            unreadable: names(&|ways| ways.completed_nodes.is_some()),
            short: clusters().filter(|cluster| is_in(&short, cluster)).map(text).collect(),
            grows_by_two: names(&|ways| ways.execute_times == Some(ExecuteTimesWay::GrowsByTwo)),
        }
    }
}

impl Player {
    async fn play(&mut self, memory: &MemoryJournal) -> ProjectState {
        let mut epoch = 0;
        loop {
            let mut process = self.begin(epoch, memory);
            let end = self.live(&mut process).await;
            drop(process);
            match end {
                End::Over(project_state) => return *project_state,
                End::Killed | End::Stopped => {}
            }
            // What was dropped is gone before anything else happens.
            self.harness.sleep_millis(1).await;
            self.stay_down().await;
            let last =
                self.notes.lock().unwrap_or_else(PoisonError::into_inner).epochs.last().map(|it| it.of);
            epoch = self.harness.dice(|dice| if dice.random_bool(0.5) { 1 } else { last.unwrap_or(0) });
        }
    }

    /// One process from its beginning to its end.
    async fn live(&mut self, process: &mut Process) -> End {
        let harness = Arc::clone(&self.harness);
        let announcing = Announcing {
            project: Arc::clone(&process.project),
            harness: Arc::clone(&self.harness),
            process: process.number,
            announced: Arc::clone(&self.announced),
        };
        let scheduler = Scheduler::new(Arc::new(announcing), Arc::clone(&process.clock))
            .nudged_by(Arc::clone(&process.nudge));
        let mut watched = pin!(scheduler.run(process.stopping.clone()));
        let mut next_check = self.plan.calm.max(harness.now());
        let mut quiet_since = None;
        let mut ended_holds = process.clock.now();
        loop {
            while let Some((point, planned)) = harness.next_fired() {
                harness.count(format!("table|{}|{point:?}", planned.word()));
                if self.happen(process, planned) {
                    harness.kill(point);
                }
            }
            if harness.killed().is_some() {
                return End::Killed;
            }
            let now = harness.now();
            while let Some((_, planned)) = self.planned.pop_front_if(|(at, _)| *at <= now) {
                harness.count(format!("at any time: {}", planned.word()));
                if self.happen(process, planned) {
                    harness.kill(Point::BeforeReading);
                    return End::Killed;
                }
            }
            if process.stopping.is_cancelled() {
                return self.stop(process, watched).await;
            }
            let clock_now = process.clock.now();
            if read(&process.holds).ended_by_themselves(ended_holds, clock_now).count() > 0 {
                process.nudge.notify_one();
            }
            ended_holds = clock_now;
            if now >= next_check {
                next_check = now + 2 * MINUTE;
                let project_state = process.project.project_state();
                let plan = &self.plan;
                let open = harness.inspect(|world| judge::unfinished(plan, world, &project_state));
                quiet_since = if open.is_empty() { quiet_since.or(Some(now)) } else { None };
                let quiet = quiet_since.is_some_and(|since| now - since >= QUIET);
                if quiet || now > self.plan.calm + self.plan.patience() {
                    return End::Over(Box::new(project_state));
                }
            }
            let hold_ends = read(&process.holds).next_end(clock_now).map(|end| end.since(clock_now));
            let next = self.planned.front().map(|(at, _)| *at).into_iter().chain([next_check]).min();
            let wait = next.unwrap_or(now).saturating_sub(now).max(1);
            let wait = std::time::Duration::from_millis(wait.unsigned_abs());
            tokio::select! {
                biased;
                () = harness.alarm() => {}
                ended = &mut watched => {
                    ended.unwrap();
                    return End::Stopped;
                }
                () = harness.sleep(hold_ends.map_or(wait, |end| end.min(wait))) => {}
            }
        }
    }

    /// Stops in order: nothing is begun any more, and what is under way is waited for.
    async fn stop(
        &mut self,
        process: &mut Process,
        watched: impl Future<Output = Result<(), JoinError>>,
    ) -> End {
        let harness = Arc::clone(&self.harness);
        let project = Arc::clone(&process.project);
        let mut ended = pin!(async move {
            watched.await.unwrap();
            project.write_what_is_left().await;
        });
        loop {
            tokio::select! {
                biased;
                () = harness.alarm() => {
                    while let Some((point, planned)) = harness.next_fired() {
                        harness.count(format!("table|{}|{point:?}", planned.word()));
                        if self.happen(process, planned) {
                            harness.kill(point);
                        }
                    }
                    if harness.killed().is_some() {
                        return End::Killed;
                    }
                }
                () = &mut ended => return End::Stopped,
            }
        }
    }

    /// Begins a process, by what the journal holds.
    fn begin(&mut self, epoch: usize, memory: &MemoryJournal) -> Process {
        let plan = Arc::clone(&self.plan);
        let now = self.harness.now();
        let fate = self.harness.dice(|dice| {
            let dies = now < plan.calm && dice.random_bool(plan.weather.crash);
            let point = *Point::ALL.choose(dice).unwrap();
            let left = dice.random_range(1..=point.usual());
            dies.then_some((point, left))
        });
        self.harness.begin_process(fate);
        self.processes += 1;
        let entries = self.harness.entries();
        let of = Epoch { at: now, entries, process: self.processes, of: epoch };
        self.notes.lock().unwrap_or_else(PoisonError::into_inner).epochs.push(of);
        let origin = self.harness.dice(|dice| dice.random_range(-1_000_000..=now));
        let clock = Arc::new(self.harness.clock.of_process(origin));
        self.rename(memory);
        let name = self.name.clone();
        let (stored, holds, seed) = self.open(&clock, memory);
        let mut states = ProjectStates::with_holds(Holds::recall(holds, clock.now()));
        for entry in stored {
            states.fold(entry, clock.now());
        }
        let wire_seed = plan.seed.wrapping_add(u64::from(self.processes));
        let stopping = CancellationToken::new();
        let holds = states.share_holds();
        let disk = self.disk.clone().unwrap();
        let journal = Journal::from(FaultyJournal { harness: Arc::clone(&self.harness), disk });
        let css = client(&self.harness, &plan, &clock, wire_seed);
        let reconciler = reconciler(css, &journal, &clock, plan.rules(epoch), |parts| {
            parts.project = name.clone();
            parts.observer = self.harness.recorder.clone();
            parts.holds = Arc::clone(&holds);
            parts.seed = seed;
            parts.stopping = stopping.clone();
            parts.project_state = states.take(&name, clock.now());
        });
        Process {
            number: self.processes,
            project: Arc::new(reconciler),
            nudge: Arc::default(),
            clock,
            journal,
            holds,
            stopping,
            people: JoinSet::new(),
        }
    }

    /// The file names the project otherwise at some starts. What is known of it follows its id.
    fn rename(&mut self, memory: &MemoryJournal) {
        let id = Some(ProjectId::new(DEFAULT_PROJECT_ID).unwrap());
        if self.file.is_some() {
            return;
        }
        let name = match self.names.random_range(0..9) {
            number @ 0..3 => ["prod", "prod-eu", "other-name"][number],
            _ => self.name.as_str(),
        };
        let name = ProjectName::new(name).unwrap();
        // With a full disk it does not start, and is started with the name that it had.
        if wait(Journal::from(memory.clone()).identify(vec![Named { name: name.clone(), id }])).is_ok() {
            if name != self.name {
                self.harness.count("at a start: the project has another name");
            }
            self.name = name;
        }
    }

    /// What is on disk, as a new process reads it.
    fn open(
        &mut self,
        clock: &VirtualClock,
        memory: &MemoryJournal,
    ) -> (
        Vec<upgrade_remediator::model::event::StoredEntry>,
        Vec<upgrade_remediator::model::hold::StoredHold>,
        u64,
    ) {
        if let Some(file) = &self.file {
            // The journal of the process before is closed once its last clone is dropped.
            self.disk = None;
            let options = SqliteOptions::new(clock.now().wall, self.plan.seed);
            let (journal, stored) = SqliteJournal::open(file, &options).unwrap();
            let (holds, seed) = (journal.holds().to_vec(), journal.seed());
            self.disk = Some(Disk::Sqlite { journal, mirror: memory.clone() });
            return (stored, holds, seed);
        }
        let mut stored = memory.stored();
        for entry in &mut stored {
            // What is on disk is JSON: it must mean the same.
            let text = serde_json::to_string(&entry.event).unwrap();
            entry.event = serde_json::from_str::<Event>(&text).unwrap();
        }
        (stored, memory.holds(), memory.seed())
    }

    /// No process runs for a while.
    async fn stay_down(&mut self) {
        let now = self.harness.now();
        let longest = if self.plan.plain { 2 } else { 40 };
        let down = self.harness.dice(|dice| {
            let longest = if dice.random_bool(0.2) { longest * MINUTE } else { 2 * MINUTE };
            dice.random_range(0..=longest)
        });
        let up = now + down;
        while let Some((at, planned)) = self.planned.pop_front_if(|(at, _)| *at <= up) {
            self.harness.sleep_millis(at - self.harness.now()).await;
            match planned {
                Planned::Wall(off) => self.jump(off),
                Planned::JournalFull(full) => self.harness.set_full(full),
                // Nobody is there to be asked; what is to be done in the end is done by the next process.
                Planned::ReleaseAll => self.planned.push_back((up, Planned::ReleaseAll)),
                _ => {}
            }
            if self.planned.front().is_some_and(|(at, what)| *at == up && *what == Planned::ReleaseAll) {
                break;
            }
        }
        self.harness.sleep_millis(up - self.harness.now()).await;
    }

    fn jump(&self, off: i64) {
        self.harness.set_wall(off);
        let now = self.harness.now();
        self.notes.lock().unwrap_or_else(PoisonError::into_inner).jumps.push(now);
    }

    /// Lets it happen. `true`: the process is killed by it.
    fn happen(&mut self, process: &mut Process, planned: Planned) -> bool {
        match planned {
            Planned::Kill => return true,
            Planned::Stop => process.stopping.cancel(),
            Planned::Wall(off) => self.jump(off),
            Planned::JournalFull(full) => self.harness.set_full(full),
            Planned::Hold(held, lasts) => {
                let placing = place(process, &self.harness, &self.notes, held, lasts);
                process.people.spawn(placing);
            }
            Planned::Release(held) => {
                process.people.spawn(release(process, &self.harness, &self.notes, Some(held)));
            }
            Planned::ReleaseAll => {
                process.people.spawn(release(process, &self.harness, &self.notes, None));
            }
            Planned::Reload { epoch, client: anew } => {
                let seed = self.plan.seed.wrapping_add(1_000 + self.harness.entries() as u64);
                let css = anew.then(|| client(&self.harness, &self.plan, &process.clock, seed));
                let (rules, project) = (self.plan.rules(epoch), Arc::clone(&process.project));
                let nudge = Arc::clone(&process.nudge);
                let (harness, notes, number) =
                    (Arc::clone(&self.harness), Arc::clone(&self.notes), process.number);
                let begun = (harness.now(), harness.entries());
                self.notes.lock().unwrap_or_else(PoisonError::into_inner).reloads.push(begun);
                process.people.spawn(async move {
                    project.reload(rules, css).await;
                    let (at, entries) = (harness.now(), harness.entries());
                    let now = Epoch { at, entries, process: number, of: epoch };
                    notes.lock().unwrap_or_else(PoisonError::into_inner).epochs.push(now);
                    nudge.notify_one();
                });
            }
        }
        false
    }
}

fn read(holds: &RwLock<Holds>) -> std::sync::RwLockReadGuard<'_, Holds> {
    holds.read().unwrap_or_else(PoisonError::into_inner)
}

fn client(
    harness: &Arc<Harness>,
    plan: &Plan,
    clock: &Arc<VirtualClock>,
    seed: u64,
) -> Client<Wire, VirtualClock> {
    let options = options("https://css.example.com", &plan.rules(0), seed);
    let wire = Wire { harness: Arc::clone(harness), request_timeout: plan.poll.request_timeout };
    Client::new(wire, options, Arc::clone(clock)).unwrap()
}

/// The id of a cluster of the scenario.
fn cluster_id(harness: &Harness, number: i64) -> Option<String> {
    let state = harness.inspect(World::state);
    let name = format!("c{number}");
    let clusters = state["clusters"].as_array()?;
    let cluster = clusters.iter().find(|cluster| cluster["name"] == name.as_str())?;
    cluster["id"].as_str().map(str::to_owned)
}

/// As the daemon places a hold: behind the gate, in force when it is durable.
fn place(
    process: &Process,
    harness: &Arc<Harness>,
    notes: &Arc<std::sync::Mutex<Notes>>,
    held: Held,
    lasts: Option<i64>,
) -> impl Future<Output = ()> + Send + 'static {
    let (project, clock, journal) =
        (Arc::clone(&process.project), Arc::clone(&process.clock), process.journal.clone());
    let (holds, harness, notes) = (Arc::clone(&process.holds), Arc::clone(harness), Arc::clone(notes));
    let number = process.number;
    async move {
        let cluster = if let Held::Cluster(number) = held { cluster_id(&harness, number) } else { None };
        let scope = match held {
            Held::All => Scope::All,
            Held::Project => Scope::Project(project.project.clone()),
            Held::OtherProject => Scope::Project(ProjectName::new("other").unwrap()),
            Held::Cluster(_) => match &cluster {
                Some(id) => Scope::Cluster(ClusterId::new(id).unwrap()),
                None => return,
            },
        };
        let now = clock.now();
        let asked = harness.now();
        let until = lasts.map(|lasts| now.wall.saturating_add(SignedDuration::from_millis(lasts)).unwrap());
        let by = "uid 0".to_owned();
        let new =
            NewHold { at: now.wall, scope, cluster_name: None, until, reason: "by plan".to_owned(), by };
        let gate = project.pause().await;
        let Ok(hold) = journal.place_hold(new).await else { return };
        holds.write().unwrap_or_else(PoisonError::into_inner).place(hold, now);
        drop(gate);
        let placed = (harness.now(), harness.entries());
        let ends = lasts.map(|lasts| asked + lasts);
        let holding = Holding { held, cluster, process: number, placed, ends, released: None };
        notes.lock().unwrap_or_else(PoisonError::into_inner).holdings.push(holding);
    }
}

/// As the daemon releases holds: all of exactly this scope, or all there are.
fn release(
    process: &Process,
    harness: &Arc<Harness>,
    notes: &Arc<std::sync::Mutex<Notes>>,
    held: Option<Held>,
) -> impl Future<Output = ()> + Send + 'static {
    let (project, nudge) = (Arc::clone(&process.project), Arc::clone(&process.nudge));
    let (clock, journal) = (Arc::clone(&process.clock), process.journal.clone());
    let (holds, harness, notes) = (Arc::clone(&process.holds), Arc::clone(harness), Arc::clone(notes));
    async move {
        let cluster =
            if let Some(Held::Cluster(number)) = held { cluster_id(&harness, number) } else { None };
        let is_it = |scope: &Scope| match (held, scope) {
            (None, _) | (Some(Held::All), Scope::All) => true,
            (Some(Held::Project), Scope::Project(name)) => *name == project.project,
            (Some(Held::OtherProject), Scope::Project(name)) => name.as_str() == "other",
            (Some(Held::Cluster(_)), Scope::Cluster(id)) => Some(id.as_str()) == cluster.as_deref(),
            _ => false,
        };
        let now = clock.now();
        let numbers: Vec<u64> =
            read(&holds).in_force(now).filter(|hold| is_it(&hold.scope)).map(|hold| hold.number).collect();
        let begun = (harness.now(), harness.entries());
        {
            // Whatever comes of it: from here on the hold may be at its end.
            let mut notes = notes.lock().unwrap_or_else(PoisonError::into_inner);
            let open = notes.holdings.iter_mut().filter(|holding| holding.released.is_none());
            for holding in open.filter(|holding| held.is_none_or(|held| held == holding.held)) {
                holding.released = Some(begun);
            }
        }
        if journal.release_holds(now.wall, numbers.clone(), "uid 0".to_owned()).await.is_ok() {
            holds.write().unwrap_or_else(PoisonError::into_inner).release(&numbers, now, "uid 0");
            nudge.notify_one();
        }
    }
}
