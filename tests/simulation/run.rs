//! Plays one seed: drives the looks of one process after the other, as the watcher does, until nothing is left to
//! be done.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use rand::RngExt;
use rand::seq::IndexedRandom;
use tokio_util::sync::CancellationToken;
use upgrade_remediator::clock::Clock;
use upgrade_remediator::cloud::{AccessKey, Client, Credential, Options};
use upgrade_remediator::daemon::Ledgers;
use upgrade_remediator::journal::MemoryJournal;
use upgrade_remediator::look::{Looker, Parts};
use upgrade_remediator::model::cluster::{Cluster, ClusterList};
use upgrade_remediator::model::event::{Entry, Event};
use upgrade_remediator::model::id::{ClusterId, ProjectId, ProjectName};
use upgrade_remediator::model::ledger::Ledger;
use upgrade_remediator::model::moment::Moment;
use upgrade_remediator::model::project::{Breaker, Rules};
use upgrade_remediator::project::WatchedProject;
use upgrade_remediator::simulator::log::LogEntry;
use upgrade_remediator::simulator::scenario::{DEFAULT_ACCESS_KEY, DEFAULT_PROJECT_ID, DEFAULT_SECRET_KEY};
use upgrade_remediator::simulator::{Scenario, World};
use upgrade_remediator::watch::{Next, Project};

use crate::generate::{Plan, Planned};
use crate::judge;
use crate::stage::{Kept, Listener, Point, ProcessClock, Sent, Stage, StagedJournal, Wire};

const MINUTE: i64 = 60_000;
/// Rests after refusals may last for hours, and double.
const PATIENCE: i64 = 4 * 24 * 60 * MINUTE;
/// How long to go on once nothing is left to be done: nothing may be sent any more.
const QUIET: i64 = 30 * MINUTE;

type Watched = WatchedProject<Client<Wire, ProcessClock>, StagedJournal, ProcessClock, Listener>;

/// All that a run left behind.
pub(crate) struct Played {
    pub(crate) log: Vec<LogEntry>,
    pub(crate) entries: Vec<Entry>,
    pub(crate) kept: Vec<Kept>,
    pub(crate) sent: Vec<Sent>,
    pub(crate) told: Vec<String>,
    pub(crate) counts: BTreeMap<String, u64>,
    /// When each process began, and by which of the plan's policies.
    pub(crate) processes: Vec<(i64, usize)>,
    pub(crate) ledger: Ledger,
    /// What had not come to an end by then.
    pub(crate) unfinished: Vec<String>,
    /// When the wall clock jumped.
    jumps: Vec<i64>,
}

impl Played {
    /// Whether the wall clock did not jump in the last minutes.
    pub(crate) fn wall_steady(&self, at: i64) -> bool {
        !self.jumps.iter().any(|jump| (at - 2 * MINUTE..=at).contains(jump))
    }
}

/// What a task of the driver came back with.
enum Came {
    List(Option<ClusterList>),
    Looked(ClusterId, Next),
    Forgot(ClusterId, bool),
}

struct Running {
    future: Pin<Box<dyn Future<Output = Came>>>,
    woken: Arc<Flag>,
}

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

struct Seen {
    cluster: Cluster,
    listed: Moment,
    missed: u8,
    looking: bool,
}

/// One life of the daemon, with the watcher's rules for when to look.
struct Process {
    project: Arc<Watched>,
    clock: Arc<ProcessClock>,
    stopping: CancellationToken,
    clusters: BTreeMap<ClusterId, Seen>,
    /// What an earlier process knew and no list has shown yet.
    remembered: BTreeMap<ClusterId, (Cluster, u8)>,
    due: BTreeSet<(i64, ClusterId)>,
    next_discovery: i64,
    discovering: bool,
    discovered: bool,
    running: BTreeMap<u64, Running>,
    next_task: u64,
}

struct Player {
    plan: Plan,
    stage: Arc<Stage>,
    memory: MemoryJournal,
    planned: std::collections::VecDeque<(i64, Planned)>,
    processes: Vec<(i64, usize)>,
}

/// Plays the plan to its end.
pub(crate) fn play(plan: &Plan) -> Played {
    let scenario = match Scenario::parse(&plan.scenario, "generated") {
        Ok(scenario) => scenario,
        Err(error) => panic!("{error}: {:?}\n{}", std::error::Error::source(&error), plan.scenario),
    };
    let begin = "2026-03-01T00:00:00Z".parse().unwrap();
    let stage = Stage::new(World::new(scenario, plan.seed, begin), plan.weather, plan.seed);
    let memory = MemoryJournal::new(plan.seed);
    let planned = plan.planned.iter().copied().collect();
    let mut player = Player { plan: plan.clone(), stage, memory, planned, processes: Vec::new() };
    let ledger = player.play();
    let unfinished = player.stage.inspect(|world| judge::unfinished(world, &ledger));
    let jumps = plan.planned.iter().filter(|(_, planned)| matches!(planned, Planned::Wall(_)));
    Played {
        jumps: jumps.map(|(at, _)| *at).collect(),
        unfinished,
        log: player.stage.inspect(|world| world.log().to_vec()),
        entries: player.memory.entries(),
        kept: player.stage.kept(),
        sent: player.stage.sent(),
        told: player.stage.told(),
        counts: player.stage.counts(),
        processes: player.processes,
        ledger,
    }
}

impl Player {
    fn play(&mut self) -> Ledger {
        let mut process = self.begin(0);
        let mut next_check = self.plan.calm;
        let mut quiet_since = None;
        loop {
            if self.run_until_idle(&mut process) {
                let point = self.stage.killed();
                self.stage.count(format!("killed: {point:?}"));
                process = self.restart(process);
                continue;
            }
            let now = self.stage.now();
            if process.start_what_is_due(&self.plan, now) {
                continue;
            }
            if now >= next_check {
                next_check = now + 2 * MINUTE;
                let ledger = process.project.looker().ledger();
                let open = self.stage.inspect(|world| judge::unfinished(world, &ledger));
                quiet_since = if open.is_empty() { quiet_since.or(Some(now)) } else { None };
                if quiet_since.is_some_and(|since| now - since >= QUIET) || now > self.plan.calm + PATIENCE {
                    self.stage.advance(now);
                    return ledger;
                }
            }
            let next = [
                self.stage.next_timer(),
                process.next_due(),
                self.planned.front().map(|(at, _)| *at),
                Some(next_check),
            ];
            let next = next.into_iter().flatten().min().unwrap_or(now).max(now);
            self.stage.advance(next);
            while let Some((_, planned)) = self.planned.pop_front_if(|(at, _)| *at <= next) {
                match planned {
                    Planned::Wall(off) => self.stage.set_wall(off),
                    Planned::JournalFull(full) => self.stage.set_full(full),
                    Planned::Kill => {
                        self.stage.count("killed: at any time");
                        process = self.restart(process);
                    }
                    Planned::Stop => {
                        self.stage.count("stopped in order");
                        self.stop(&mut process);
                        process = self.restart(process);
                    }
                }
            }
        }
    }

    /// Begins a process, by what the journal holds.
    fn begin(&mut self, epoch: usize) -> Process {
        let plan = &self.plan;
        let now = self.stage.now();
        let fate = self.stage.dice(|dice| {
            let dies = now < plan.calm && dice.random_bool(plan.weather.crash);
            let point = *Point::ALL.choose(dice).unwrap();
            let most = if point.is_of_a_put() { 3 } else { 40 };
            let left = dice.random_range(1..=most);
            dies.then_some((point, left))
        });
        self.stage.begin_process(fate);
        self.processes.push((now, epoch));
        let origin = self.stage.dice(|dice| dice.random_range(-1_000_000..=now));
        let clock = ProcessClock::new(&self.stage, origin);
        let name = ProjectName::new("prod").unwrap();
        let mut ledgers = Ledgers::default();
        for mut entry in self.memory.stored() {
            // What is on disk is JSON: it must mean the same.
            let text = serde_json::to_string(&entry.event).unwrap();
            entry.event = serde_json::from_str::<Event>(&text).unwrap();
            ledgers.fold(entry, clock.now());
        }
        let key = AccessKey::new(DEFAULT_ACCESS_KEY.into(), DEFAULT_SECRET_KEY.into(), None).unwrap();
        let seed = plan.seed.wrapping_add(self.processes.len() as u64);
        let options = Options {
            endpoint: "https://css.example.com".to_owned(),
            project: ProjectId::new(DEFAULT_PROJECT_ID).unwrap(),
            ca_pem: None,
            proxy: None,
            request_timeout: plan.poll.request_timeout,
            limits: plan.limits.clone(),
            credential: Credential::new(key, seed),
            seed,
        };
        let wire = Wire { stage: Arc::clone(&self.stage), request_timeout: plan.poll.request_timeout };
        let stopping = CancellationToken::new();
        let rules = Rules {
            policies: plan.policies(epoch),
            poll: plan.poll.clone(),
            limits: plan.limits.clone(),
            breaker: Breaker { failures: u32::MAX, ..Breaker::default() },
            retention: None,
        };
        let looker = Looker::new(Parts {
            project: name.clone(),
            css: Client::new(wire, options, Arc::clone(&clock)).unwrap(),
            journal: Arc::new(StagedJournal { stage: Arc::clone(&self.stage), memory: self.memory.clone() }),
            clock: Arc::clone(&clock),
            teller: Arc::new(Listener { stage: Arc::clone(&self.stage) }),
            rules,
            holds: Arc::default(),
            seed: self.memory.seed(),
            stopping: stopping.clone(),
            ledger: ledgers.take(&name, clock.now()),
        });
        let project = Arc::new(WatchedProject::new(looker));
        let remembered = project.remembered().into_iter();
        Process {
            remembered: remembered.map(|cluster| (cluster.id.clone(), (cluster, 0))).collect(),
            project,
            clock,
            stopping,
            clusters: BTreeMap::new(),
            due: BTreeSet::new(),
            next_discovery: now,
            discovering: false,
            discovered: false,
            running: BTreeMap::new(),
            next_task: 0,
        }
    }

    /// Drops a process wherever it is, and begins another one after a while.
    fn restart(&mut self, process: Process) -> Process {
        drop(process);
        let now = self.stage.now();
        let down = self.stage.dice(|dice| {
            let longest = if dice.random_bool(0.2) { 40 * MINUTE } else { 2 * MINUTE };
            dice.random_range(0..=longest)
        });
        self.stage.end_process();
        self.advance_while_down(now + down);
        let (_, epoch) = self.processes.last().copied().unwrap_or_default();
        let epoch = self.stage.dice(|dice| if dice.random_bool(0.5) { 1 } else { epoch });
        self.begin(epoch)
    }

    fn advance_while_down(&mut self, to: i64) {
        while let Some((at, planned)) = self.planned.pop_front_if(|(at, _)| *at <= to) {
            self.stage.advance(at);
            match planned {
                Planned::Wall(off) => self.stage.set_wall(off),
                Planned::JournalFull(full) => self.stage.set_full(full),
                Planned::Kill | Planned::Stop => {}
            }
        }
        self.stage.advance(to);
    }

    /// Stops in order: nothing is begun any more, and what is under way is waited for.
    fn stop(&mut self, process: &mut Process) {
        process.stopping.cancel();
        process.due.clear();
        while !self.run_until_idle(process) && !process.running.is_empty() {
            process.due.clear();
            let Some(next) = self.stage.next_timer() else { break };
            self.stage.advance(next);
        }
    }

    /// Lets everybody run who can. `true`: the process was killed.
    fn run_until_idle(&self, process: &mut Process) -> bool {
        loop {
            if self.stage.killed().is_some() {
                return true;
            }
            let woken = |running: &Running| running.woken.0.swap(false, Ordering::Relaxed);
            let Some(id) = process.running.iter().find(|(_, running)| woken(running)).map(|(id, _)| *id)
            else {
                return false;
            };
            let Some(running) = process.running.get_mut(&id) else { return false };
            let waker = Waker::from(Arc::clone(&running.woken));
            let polled = running.future.as_mut().poll(&mut Context::from_waker(&waker));
            if self.stage.killed().is_some() {
                return true;
            }
            if let Poll::Ready(came) = polled {
                process.running.remove(&id);
                process.take(came, &self.plan, self.stage.now());
            }
        }
    }
}

fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

impl Process {
    fn spawn(&mut self, future: impl Future<Output = Came> + 'static) {
        let woken = Arc::new(Flag(AtomicBool::new(true)));
        self.running.insert(self.next_task, Running { future: Box::pin(future), woken });
        self.next_task += 1;
    }

    fn next_due(&self) -> Option<i64> {
        if self.stopping.is_cancelled() || self.discovering {
            return None;
        }
        let look = self.due.first().map(|(at, _)| *at);
        // Who waits for a place is woken when a look ends.
        let look = look.filter(|_| self.has_place());
        look.into_iter().chain([self.next_discovery]).min()
    }

    fn has_place(&self) -> bool {
        let most = self.project.looker().rules().limits.max_requests_in_flight;
        self.running.len() < usize::try_from(most).unwrap_or(usize::MAX)
    }

    /// Begins the discovery and the looks that are due.
    fn start_what_is_due(&mut self, _plan: &Plan, now: i64) -> bool {
        if self.stopping.is_cancelled() || self.discovering {
            return false;
        }
        if now >= self.next_discovery {
            self.discovering = true;
            let project = Arc::clone(&self.project);
            self.spawn(async move { Came::List(project.discover().await) });
            return true;
        }
        let mut begun = false;
        while self.has_place()
            && let Some((_, id)) = self.due.pop_first_if_due(now)
        {
            let Some(seen) = self.clusters.get_mut(&id).filter(|seen| !seen.looking) else { continue };
            seen.looking = true;
            let (project, cluster, listed) = (Arc::clone(&self.project), seen.cluster.clone(), seen.listed);
            self.spawn(async move {
                let next = project.look(&cluster, Some(listed)).await;
                Came::Looked(cluster.id, next)
            });
            begun = true;
        }
        begun
    }

    fn push(&mut self, at: i64, id: ClusterId) {
        self.due.retain(|(_, known)| *known != id);
        self.due.insert((at, id));
    }

    fn take(&mut self, came: Came, plan: &Plan, now: i64) {
        match came {
            Came::Looked(id, next) => {
                if next.discovery {
                    self.next_discovery = self.next_discovery.min(now + 10_000);
                }
                if let Some(seen) = self.clusters.get_mut(&id) {
                    seen.looking = false;
                    self.push(now + millis(next.look), id);
                }
            }
            Came::Forgot(id, done) => {
                if done {
                    self.clusters.remove(&id);
                    self.remembered.remove(&id);
                    self.due.retain(|(_, known)| *known != id);
                }
            }
            Came::List(list) => {
                self.discovering = false;
                self.next_discovery = now + millis(plan.poll.discovery_interval);
                match list {
                    Some(list) => self.take_list(list, plan, now),
                    None if !self.discovered => {
                        self.next_discovery = now + millis(plan.poll.active_interval);
                    }
                    None => {}
                }
            }
        }
    }

    fn take_list(&mut self, list: ClusterList, plan: &Plan, now: i64) {
        self.discovered = true;
        let (complete, listed) = (list.is_complete(), self.clock.now());
        let shown: BTreeSet<_> = list.clusters.iter().map(|cluster| cluster.id.clone()).collect();
        let mut came = Vec::new();
        for cluster in list.clusters.into_iter().map(Arc::unwrap_or_clone) {
            let id = cluster.id.clone();
            self.remembered.remove(&id);
            let looking = self.clusters.get(&id).map(|seen| seen.looking);
            let seen = Seen { cluster, listed, missed: 0, looking: looking.unwrap_or(false) };
            self.clusters.insert(id.clone(), seen);
            if looking.is_none() {
                came.push(id);
            }
        }
        let step = millis(plan.poll.active_interval) / i64::try_from(came.len()).unwrap_or(1).max(1);
        for (at, id) in (0..).map(|n| now + n * step).zip(came) {
            self.push(at, id);
        }
        if !complete {
            return;
        }
        let mut gone = Vec::new();
        let seen = self.clusters.iter_mut();
        let seen = seen.map(|(id, seen)| (id, &seen.cluster, &mut seen.missed, seen.looking));
        let remembered =
            self.remembered.iter_mut().map(|(id, (cluster, missed))| (id, &*cluster, missed, false));
        for (id, cluster, missed, looking) in seen.chain(remembered).filter(|(id, ..)| !shown.contains(*id)) {
            *missed = missed.saturating_add(1);
            if *missed == 1 {
                self.next_discovery = self.next_discovery.min(now + 10_000);
            } else if !looking {
                gone.push((id.clone(), cluster.clone()));
            }
        }
        for (id, cluster) in gone {
            let project = Arc::clone(&self.project);
            self.spawn(async move { Came::Forgot(id, project.forget(&cluster).await) });
        }
    }
}

/// Takes the first one that is due out of the queue.
trait PopDue {
    fn pop_first_if_due(&mut self, now: i64) -> Option<(i64, ClusterId)>;
}

impl PopDue for BTreeSet<(i64, ClusterId)> {
    fn pop_first_if_due(&mut self, now: i64) -> Option<(i64, ClusterId)> {
        if self.first().is_some_and(|(at, _)| *at <= now) { self.pop_first() } else { None }
    }
}
