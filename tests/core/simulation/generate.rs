//! What one seed plays: clusters and their tasks, what goes wrong, what people do, and by which policies the
//! daemon acts.

use std::fmt::Write as _;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use upgrade_remediator::model::policy::{Expect, Match, Mode, OnExhausted, Pattern, Policy, Retry, Terms};
use upgrade_remediator::model::project::{Breaker, Limits, Poll, Rules};
use upgrade_remediator::model::task::TaskKind;
use upgrade_remediator::model::window::{Span, Window};

use super::harness::Point;

const MINUTE: i64 = 60_000;

/// How bad the wire and the journal are. Chances for each request or record.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Weather {
    /// It is fair from then on.
    pub(crate) until: i64,
    pub(crate) no_connection: f64,
    /// A PUT arrives only after the process gave up waiting …
    pub(crate) late: f64,
    /// … at most so much after, in milliseconds.
    pub(crate) longest_late: i64,
    pub(crate) journal: f64,
    /// Readings may show again what was true up to so many milliseconds ago.
    pub(crate) replay: i64,
    /// Readings of a running task leave a completed node out.
    pub(crate) flap: f64,
    /// That an answer for a cluster's tasks begins to leave one of them out that it showed before …
    pub(crate) lack: f64,
    /// … for so many milliseconds: shorter than two polls are apart.
    pub(crate) lack_for: i64,
    /// That the list of clusters begins to leave one of them out, for minutes.
    pub(crate) unlist: f64,
    /// That an answer for a cluster's tasks begins to show one of another cluster too.
    pub(crate) stray: f64,
    /// That a process is killed somewhere.
    pub(crate) crash: f64,
}

/// What a hold is placed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Held {
    All,
    Project,
    OtherProject,
    /// By its number in the scenario.
    Cluster(i64),
}

/// What happens to the daemon.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Planned {
    /// The wall clock is off by so much from now on.
    Wall(i64),
    /// Killed.
    Kill,
    /// Stopped in order, and started again.
    Stop,
    JournalFull(bool),
    /// A hold is placed, with an end after so many milliseconds or without one.
    Hold(Held, Option<i64>),
    /// All holds of this scope are released.
    Release(Held),
    /// Nothing is held any more.
    ReleaseAll,
    /// The configuration is read again: these of the plan's policies, and perhaps another client.
    Reload {
        epoch: usize,
        client: bool,
    },
}

impl Planned {
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Wall(_) => "the wall clock jumps",
            Self::Kill => "killed",
            Self::Stop => "stopped in order",
            Self::JournalFull(true) => "the disk gets full",
            Self::JournalFull(false) => "the disk has room again",
            Self::Hold(..) => "a hold is placed",
            Self::Release(_) | Self::ReleaseAll => "a hold is released",
            Self::Reload { .. } => "reloaded",
        }
    }
}

/// A policy, with what it covers in plain words.
#[derive(Debug, Clone)]
pub(crate) struct PolicyPlan {
    pub(crate) cluster: Option<String>,
    pub(crate) kind: Option<TaskKind>,
    /// When its window is open, in minutes of each such span of a day (UTC): of how many, from, to.
    pub(crate) window: Option<(u16, u16, u16)>,
    pub(crate) terms: Terms,
}

/// Everything about one seed.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) scenario: String,
    /// The policies of the first process, and those that a later one may be started with.
    pub(crate) policies: [Vec<PolicyPlan>; 2],
    pub(crate) poll: Poll,
    pub(crate) limits: Limits,
    pub(crate) weather: Weather,
    pub(crate) planned: Vec<(i64, Planned)>,
    /// What happens at a step, passed for the so-many-th time.
    pub(crate) triggers: Vec<(Point, u32, Planned)>,
    pub(crate) breaker: Breaker,
    /// Nothing goes wrong at all but for restarts, so that it is known when each retry is due.
    pub(crate) plain: bool,
    /// Nothing goes wrong any more from then on.
    pub(crate) calm: i64,
    pub(crate) wall_jumps: bool,
    /// Readings of tasks show the state of so many milliseconds ago.
    pub(crate) stale: i64,
}

impl Plan {
    /// What the policies say of a task, in the words of the plan.
    pub(crate) fn policy(&self, epoch: usize, cluster: &str, kind: TaskKind) -> Option<&PolicyPlan> {
        let covers = |policy: &&PolicyPlan| {
            policy.cluster.as_ref().is_none_or(|name| name == cluster)
                && policy.kind.is_none_or(|of| of == kind)
        };
        self.policies.get(epoch)?.iter().find(covers)
    }

    /// Whether some hold may never be released.
    pub(crate) fn holds_to_the_end(&self) -> bool {
        !self.planned.iter().any(|(_, planned)| *planned == Planned::ReleaseAll)
    }

    /// Whether some policy never sends anything and has a window.
    pub(crate) fn runs_dry_in_a_window(&self) -> bool {
        let policies = self.policies.iter().flatten();
        policies.into_iter().any(|policy| policy.window.is_some() && policy.terms.mode == Mode::DryRun)
    }

    /// Whether some window is over before the wait that follows its opening: then nothing is ever sent in it.
    pub(crate) fn has_too_short_a_window(&self) -> bool {
        self.policies.iter().flatten().any(|policy| {
            let Some((_, from, to)) = policy.window else { return false };
            let retry = &policy.terms.retry;
            let wait = retry.initial_interval.mul_f64(1.0 + retry.randomization_factor);
            let looks = 3 * millis(self.poll.active_interval);
            i64::from(to - from) * MINUTE <= millis(wait) + looks
        })
    }

    /// What the configuration says.
    pub(crate) fn rules(&self, epoch: usize) -> Rules {
        Rules {
            policies: self.policies(epoch),
            poll: self.poll.clone(),
            limits: self.limits.clone(),
            breaker: self.breaker.clone(),
            retention: None,
            mode: Mode::Enforce,
        }
    }

    /// How long the story of a task may go on once nothing goes wrong any more, at the very most: all its waits,
    /// one after the other.
    pub(crate) fn patience(&self) -> i64 {
        let terms = || self.policies.iter().flatten().map(|policy| &policy.terms);
        let retries = i64::from(terms().map(|terms| terms.retry.max_retries).max().unwrap_or(0)) + 4;
        let wait = terms().map(|terms| millis(terms.retry.max_interval)).max().unwrap_or(0);
        let grace = terms().map(|terms| millis(terms.abort_grace)).max().unwrap_or(0);
        // Progress gives the retries back: once for each node, of at most four, on at most two tasks.
        let retries = retries * 5 * 2;
        let windows = self.policies.iter().flatten().any(|policy| policy.window.is_some());
        let window = if windows { 60 * MINUTE } else { 0 };
        let held = self.limits.max_actions_per_hour < 10 || self.breaker.failures < 100;
        let each = if held { 60 * MINUTE + millis(self.breaker.cooldown) } else { 0 };
        // A rest after a refusal, the longest; a settling that comes to nothing.
        let once = 2 * 360 * MINUTE + 120 * MINUTE + grace;
        once + retries * (wait + 25 * MINUTE + millis(self.poll.settle_timeout) * 2 + window + each)
    }

    /// The policies as the daemon takes them.
    fn policies(&self, epoch: usize) -> Vec<Policy> {
        let policy = |plan: &PolicyPlan| Policy {
            matches: Match {
                cluster: plan.cluster.as_ref().map(|name| vec![Pattern::new(name).unwrap()]),
                task: plan.kind.map(|kind| vec![kind]),
                ..Match::default()
            },
            terms: plan.terms.clone(),
            expect: Expect::default(),
        };
        self.policies.get(epoch).into_iter().flatten().map(policy).collect()
    }
}

/// Every kind of fault that the simulator offers.
pub(crate) const FAULTS: [&str; 14] = [
    "202-CSS.0011",
    "status",
    "bad-request",
    "forbidden",
    "gateway-not-found",
    "throttled",
    "server-error",
    "cut",
    "delay",
    "nonsense",
    "truncated",
    "html",
    "200-errCode",
    "empty",
];

/// Statuses with their codes, for the kind `status`.
const STATUSES: [(u16, &str); 20] = [
    (500, ""),
    (502, "APIGW.0201"),
    (503, "CSS.0005"),
    (504, "APIGW.0201"),
    (504, ""),
    (409, "CSS.0029"),
    (400, "CSS.0001"),
    (400, "CSS.0047"),
    (400, "CSS.0078"),
    (400, "CSS.0082"),
    (401, "APIGW.0301"),
    (403, "APIGW.0302"),
    (403, "CSS.0010"),
    (403, "CSS.0051"),
    (404, "CSS.0007"),
    (405, ""),
    (302, ""),
    (413, "CSS.0030"),
    (422, "CSS.0040"),
    (429, "APIGW.0308"),
];

struct Dice(StdRng);

impl Dice {
    fn chance(&mut self, chance: f64) -> bool {
        self.0.random_bool(chance)
    }
    fn range(&mut self, from: i64, to: i64) -> i64 {
        self.0.random_range(from..=to)
    }
    fn millis(&mut self, from: i64, to: i64) -> Duration {
        Duration::from_millis(u64::try_from(self.range(from, to)).unwrap_or(0))
    }
    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        *of.choose(&mut self.0).unwrap()
    }
}

/// Draws the plan of a seed.
pub(crate) fn plan(seed: u64) -> Plan {
    let mut dice = Dice(StdRng::seed_from_u64(seed));
    match seed % 20 {
        19 => return plain(&mut dice, seed),
        9 => return flapping(&mut dice, seed),
        _ => {}
    }
    let calm = dice.range(30, 100) * MINUTE;
    let bad = dice.chance(0.6);
    let lag = if dice.chance(0.2) { dice.range(1, 60) * 1_000 } else { 0 };
    let replay = if dice.chance(0.15) && lag == 0 { dice.range(5, 60) * 1_000 } else { 0 };
    let stale = lag + replay;
    let poll = poll(&mut dice, stale);
    let settle = millis(poll.settle_timeout);
    let clusters = usize::try_from(dice.range(1, 4)).unwrap();
    let dry_run = dice.chance(0.06);
    let first = policies(&mut dice, clusters, dry_run);
    let dry_run = if dice.chance(0.8) { dry_run } else { !dry_run };
    let second = if dice.chance(0.5) { policies(&mut dice, clusters, dry_run) } else { first.clone() };
    let chance = |dice: &mut Dice, of: f64, most: f64| {
        let most = if dice.chance(of) && bad { most } else { 0.0 };
        dice.0.random_range(0.0..=most)
    };
    let weather = Weather {
        until: calm,
        no_connection: chance(&mut dice, 0.3, 0.1),
        late: chance(&mut dice, 0.3, 0.5),
        // What arrives later than settle_timeout, less the staleness, cannot be told by any reading.
        longest_late: (settle - stale - 30_000).max(0),
        journal: chance(&mut dice, 0.3, 0.15),
        replay,
        flap: chance(&mut dice, 0.15, 0.5),
        lack: 0.0,
        lack_for: 0,
        unlist: 0.0,
        stray: 0.0,
        crash: if bad && dice.chance(0.6) { 0.8 } else { 0.0 },
    };
    let service_off = if dice.chance(0.2) { dice.range(-180, 180) * 1_000 } else { 0 };
    let (planned, triggers, wall_jumps) = happenings(&mut dice, clusters, calm, service_off);
    let limits = Limits {
        max_requests_in_flight: u32::try_from(dice.range(1, 8)).unwrap(),
        requests_per_second: dice.pick(&[2, 5, 20]),
        max_actions_in_flight: dice.pick(&[1, 2, 20]),
        max_actions_per_hour: dice.pick(&[2, 5, 120, 120, 120]),
    };
    let breaker = if dice.chance(0.25) {
        Breaker {
            failures: u32::try_from(dice.range(1, 3)).unwrap(),
            within: dice.millis(MINUTE, 30 * MINUTE),
            cooldown: dice.millis(MINUTE, 20 * MINUTE),
            probe: dice.millis(MINUTE, 15 * MINUTE),
        }
    } else {
        Breaker { failures: u32::MAX, ..Breaker::default() }
    };
    let scenario = scenario(&mut dice, seed, clusters, calm, lag, service_off);
    let weather = leaves_out(weather, seed, stale, &poll);
    let weather = mixes_up(weather, seed, stale);
    Plan {
        seed,
        scenario,
        policies: [first, second],
        poll,
        limits,
        weather,
        planned,
        triggers,
        breaker,
        plain: false,
        calm,
        wall_jumps,
        stale,
    }
}

/// Answers that leave something out. Drawn by dice of their own: every other draw of a seed stays as it was.
fn leaves_out(weather: Weather, seed: u64, stale: i64, poll: &Poll) -> Weather {
    let mut dice = Dice(StdRng::seed_from_u64(seed ^ 0x4c41_434b));
    // What an older answer shows again, and what the journal could not keep, would be a newer task that nobody knows of.
    let lack = if stale == 0 && weather.journal == 0.0 && dice.chance(0.3) { 0.1 } else { 0.0 };
    let lack_for = millis(poll.settle_interval) - 1_000;
    let unlist = if dice.chance(0.15) { 0.2 } else { 0.0 };
    Weather { lack, lack_for, unlist, ..weather }
}

/// Answers that show what belongs to another cluster: one in a while, or for long. By dice of their own, too.
fn mixes_up(weather: Weather, seed: u64, stale: i64) -> Weather {
    let mut dice = Dice(StdRng::seed_from_u64(seed ^ 0x5354_5241));
    // As above: what the journal could not keep of the one cluster would be a task of the other alone. So would what an
    // answer about the one leaves out while one about the other shows it.
    let clear = stale == 0 && weather.journal == 0.0 && weather.lack == 0.0;
    let stray = clear && dice.chance(0.2);
    Weather { stray: if stray { dice.pick(&[0.03, 0.1]) } else { 0.0 }, ..weather }
}

/// What happens to the daemon at a time, and at a step.
type Happenings = (Vec<(i64, Planned)>, Vec<(Point, u32, Planned)>, bool);

fn happenings(dice: &mut Dice, clusters: usize, calm: i64, service_off: i64) -> Happenings {
    let (mut planned, mut triggers) = (Vec::new(), Vec::new());
    let wall_jumps = dice.chance(0.2);
    for _ in 0..dice.pick(&[0, 0, 1, 2, 3, 4]) {
        let what = happening(dice, clusters, wall_jumps);
        if let Planned::Hold(held, None) = what {
            // Most of those without an end are released some time.
            if dice.chance(0.7) {
                planned.push((dice.range(0, calm - 1), Planned::Release(held)));
            }
        }
        if dice.chance(0.5) {
            planned.push((dice.range(0, calm - 1), what));
        } else {
            let point = dice.pick(&Point::ALL);
            let time = dice.range(1, i64::from(point.usual()));
            triggers.push((point, u32::try_from(time).unwrap(), what));
        }
    }
    planned.sort_by_key(|(at, _)| *at);
    planned.push((calm, Planned::Wall(service_off)));
    planned.push((calm, Planned::JournalFull(false)));
    if dice.chance(0.9) {
        planned.push((calm, Planned::ReleaseAll));
    }
    (planned, triggers, wall_jumps)
}

fn happening(dice: &mut Dice, clusters: usize, wall_jumps: bool) -> Planned {
    let held = |dice: &mut Dice| match dice.range(0, 5) {
        0 => Held::All,
        1 => Held::Project,
        2 => Held::OtherProject,
        _ => Held::Cluster(dice.range(1, i64::try_from(clusters).unwrap())),
    };
    match dice.range(0, 11) {
        0..=3 => {
            let lasts = dice.chance(0.5).then(|| dice.range(1_000, 40 * MINUTE));
            Planned::Hold(held(dice), lasts)
        }
        4 => Planned::Release(held(dice)),
        5 | 6 => Planned::Reload { epoch: usize::from(dice.chance(0.6)), client: dice.chance(0.4) },
        7 => Planned::Kill,
        8 => Planned::Stop,
        9 => Planned::JournalFull(dice.chance(0.7)),
        _ if wall_jumps => {
            let far = if dice.chance(0.3) { 120 * MINUTE } else { 5 * MINUTE };
            Planned::Wall(dice.range(-far, far))
        }
        _ => Planned::Kill,
    }
}

/// A seed on which it is known when each retry is due: one task that fails and fails, and restarts.
fn plain(dice: &mut Dice, seed: u64) -> Plan {
    let calm = dice.range(60, 120) * MINUTE;
    let poll = poll(dice, 0);
    let initial_interval = dice.millis(4 * MINUTE, 10 * MINUTE);
    let terms = Terms {
        policy: "plain".to_owned(),
        mode: Mode::Enforce,
        on_exhausted: OnExhausted::Abort,
        abort_grace: dice.millis(MINUTE, 15 * MINUTE),
        retry: Retry {
            max_retries: u32::try_from(dice.range(1, 4)).unwrap(),
            initial_interval,
            multiplier: dice.pick(&[1.0, 1.5, 2.0]),
            max_interval: initial_interval * 3,
            randomization_factor: dice.pick(&[0.0, 0.2, 0.5]),
            max_elapsed_time: None,
            reset_on_progress: true,
            retry_partial_failed: true,
            count_external: true,
        },
        window: None,
    };
    let policy = PolicyPlan { cluster: None, kind: None, window: None, terms };
    let mut planned: Vec<_> =
        (0..dice.range(1, 6)).map(|_| (dice.range(0, calm - 1), Planned::Kill)).collect();
    planned.sort_by_key(|(at, _)| *at);
    let node_time = dice.range(20, 120);
    let scenario = format!(
        "node_time = \"{node_time}s\"\n[[cluster]]\nname = \"c1\"\nnodes = 2\n[[cluster.task]]\n\
         kind = \"upgrade\"\nstart = \"10s\"\nfail = [{{ node = 1, times = \"always\", step = 3 }}]\n"
    );
    Plan {
        seed,
        scenario,
        policies: [vec![policy.clone()], vec![policy]],
        poll,
        limits: Limits::default(),
        weather: Weather {
            until: 0,
            no_connection: 0.0,
            late: 0.0,
            longest_late: 0,
            journal: 0.0,
            replay: 0,
            flap: 0.0,
            lack: 0.0,
            lack_for: 0,
            unlist: 0.0,
            stray: 0.0,
            crash: 0.0,
        },
        planned,
        triggers: Vec::new(),
        breaker: Breaker { failures: u32::MAX, ..Breaker::default() },
        plain: true,
        calm,
        wall_jumps: false,
        stale: 0,
    }
}

/// One task that fails and fails after its first node, of which readings know half of the time only.
fn flapping(dice: &mut Dice, seed: u64) -> Plan {
    let mut plan = plain(dice, seed);
    for policy in plan.policies.iter_mut().flatten() {
        policy.terms.retry.initial_interval = dice.millis(10_000, 60_000);
        policy.terms.retry.max_interval = Duration::from_mins(2);
    }
    let scenario = "node_time = \"60s\"\n[[cluster]]\nname = \"c1\"\nnodes = 3\n[[cluster.task]]\n\
                     kind = \"upgrade\"\nstart = \"10s\"\nfail = [{ node = 2, times = \"always\", step = 12 }]\n";
    scenario.clone_into(&mut plan.scenario);
    plan.weather.until = plan.calm;
    plan.weather.flap = 0.5;
    plan.plain = false;
    plan
}

pub(crate) fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

fn poll(dice: &mut Dice, stale: i64) -> Poll {
    Poll {
        discovery_interval: dice.millis(2 * MINUTE, 10 * MINUTE),
        idle_interval: dice.millis(2 * MINUTE, 15 * MINUTE),
        active_interval: dice.millis(20_000, 90_000),
        settle_interval: dice.millis(5_000, 20_000),
        settle_timeout: dice.millis(stale + MINUTE, stale + 5 * MINUTE),
        max_failure_age: Duration::from_hours(72),
        request_timeout: dice.millis(5_000, 30_000),
    }
}

fn policies(dice: &mut Dice, clusters: usize, dry_run: bool) -> Vec<PolicyPlan> {
    let mut policies = Vec::new();
    let policy = |dice: &mut Dice, name: &str, cluster: Option<String>, kind: Option<TaskKind>| {
        let window = dice.chance(0.1).then(|| {
            let of = dice.pick(&[20_u16, 40, 60]);
            let from = dice.range(0, i64::from(of) - 10);
            let to = dice.range(from + 5, i64::from(of));
            (of, u16::try_from(from).unwrap(), u16::try_from(to).unwrap())
        });
        let mut terms = terms(dice, name, dry_run);
        terms.window = window.map(|(of, from, to)| {
            let starts = (0..24 * 60 / of).map(|n| n * of);
            let spans: Vec<_> =
                starts.map(|start| Span { days: [true; 7], from: start + from, to: start + to }).collect();
            Window::new("UTC", Some(&spans), &[]).unwrap()
        });
        PolicyPlan { cluster, kind, window, terms }
    };
    if dice.chance(0.2) {
        let cluster = Some(format!("c{}", dice.range(1, i64::try_from(clusters).unwrap())));
        policies.push(policy(dice, "one-cluster", cluster, None));
    }
    if dice.chance(0.2) {
        let kind = Some(dice.pick(&TaskKind::ALL));
        policies.push(policy(dice, "one-kind", None, kind));
    }
    if policies.is_empty() || dice.chance(0.8) {
        policies.push(policy(dice, "all", None, None));
    }
    policies
}

fn terms(dice: &mut Dice, name: &str, dry_run: bool) -> Terms {
    let initial_interval = dice.millis(5_000, 5 * MINUTE);
    let mode = if dry_run || dice.chance(0.03) { Mode::DryRun } else { Mode::Enforce };
    Terms {
        policy: name.to_owned(),
        mode,
        on_exhausted: if dice.chance(0.75) { OnExhausted::Abort } else { OnExhausted::Escalate },
        abort_grace: if dice.chance(0.3) { Duration::ZERO } else { dice.millis(MINUTE, 15 * MINUTE) },
        retry: Retry {
            max_retries: u32::try_from(dice.range(0, 4)).unwrap(),
            initial_interval,
            multiplier: dice.pick(&[1.0, 1.5, 2.0, 3.0]),
            max_interval: initial_interval.saturating_add(dice.millis(0, 20 * MINUTE)),
            randomization_factor: dice.pick(&[0.0, 0.2, 0.5]),
            max_elapsed_time: dice.chance(0.2).then(|| dice.millis(10_000, 15 * MINUTE)),
            reset_on_progress: dice.chance(0.7),
            retry_partial_failed: dice.chance(0.7),
            count_external: dice.chance(0.7),
        },
        window: None,
    }
}

fn seconds(millis: i64) -> String {
    format!("\"{}s\"", millis / 1_000)
}

fn scenario(dice: &mut Dice, seed: u64, clusters: usize, calm: i64, stale: i64, service_off: i64) -> String {
    let mut text = String::new();
    let node_time = dice.range(20, 300) * 1_000;
    let _ = writeln!(text, "node_time = {}\n[ways]", seconds(node_time));
    let _ = writeln!(text, "stale_for = {}\nclock_offset = {}", seconds(stale), seconds(service_off));
    let _ = writeln!(text, "order = {:?}", dice.pick(&["newest-first", "oldest-first", "shuffled"]));
    // Where the list never is complete, no cluster is ever known to be gone, and keeps its place.
    let honest = !dice.chance(0.1);
    if !honest {
        let _ = writeln!(text, "list = {{ total_size = {:?} }}", dice.pick(&["one-more", "absent"]));
    }
    for number in 1..=clusters {
        cluster(dice, &mut text, number, calm, node_time, honest);
    }
    if dice.chance(0.04) {
        // The key is refused for a while.
        let from = dice.range(0, calm - 2_000);
        let until = dice.range(from, calm).min(from + 20 * MINUTE);
        let _ = writeln!(
            text,
            "[[fault]]\non = \"any\"\nwhat = \"status\"\nstatus = 401\ncode = \"APIGW.0301\"\n\
             message = \"refused\"\ntimes = \"always\"\nfrom = {}\nuntil = {}",
            seconds(from),
            seconds(until)
        );
    }
    for number in 0..dice.range(0, 5) {
        // The first fault of each seed goes through all kinds and operations in turn.
        let turn = usize::try_from(seed).unwrap_or(0);
        let (what, on) = if number == 0 {
            let on = ["retry", "tasks", "put", "list", "retry", "abort"];
            (FAULTS[turn % FAULTS.len()], on[turn / FAULTS.len() % on.len()])
        } else {
            (dice.pick(&FAULTS), dice.pick(&["retry", "retry", "tasks", "put", "list", "abort", "any"]))
        };
        match (number, what, on) {
            // Retries that are answered alike for long have ends of their own.
            (0, "empty", "retry") => lasting_fault(&mut text, "what = \"empty\"", calm),
            (0, "status", "retry") => {
                lasting_fault(&mut text, "what = \"status\"\nstatus = 422\ncode = \"CSS.0040\"", calm);
            }
            _ => fault(dice, &mut text, what, on, clusters, calm),
        }
    }
    text
}

fn cluster(dice: &mut Dice, text: &mut String, number: usize, calm: i64, node_time: i64, mortal: bool) {
    let nodes = dice.range(1, 4);
    let engine = if dice.chance(0.03) { "logstash" } else { "elasticsearch" };
    let _ = writeln!(text, "[[cluster]]\nname = \"c{number}\"\nnodes = {nodes}\nengine = \"{engine}\"");
    if dice.chance(0.06) && mortal {
        let _ = writeln!(text, "deleted_at = {}", seconds(dice.range(MINUTE, calm)));
    }
    let _ = writeln!(text, "[cluster.ways]");
    // Without both of them an unknown outcome cannot be settled.
    let mute = dice.chance(0.1);
    if mute || dice.chance(0.4) {
        let way = dice.pick(&["constant", "grows-by-2", "absent"]);
        let _ = writeln!(text, "execute_times = {:?}", if mute { "absent" } else { way });
    }
    if mute || dice.chance(0.3) {
        let _ = writeln!(text, "end_time = {:?}", dice.pick(&["absent", "blank"]));
    }
    if dice.chance(0.2) {
        let _ = writeln!(text, "completed_nodes = {:?}", dice.pick(&["absent", "null", "blank"]));
    }
    if dice.chance(0.04) {
        let lie = dice.pick(&["total_size = \"one-more\"", "left_out = 1"]);
        let _ = writeln!(text, "tasks = {{ {lie} }}");
    }
    if dice.chance(0.4) {
        let left = dice.pick(&["nothing", "field", "vanishes", "TERMINATED"]);
        let _ = writeln!(text, "after_abort = {left:?}");
    }
    let past = dice.range(0, 2);
    for _ in 0..past {
        past_task(dice, text);
    }
    let tasks = dice.pick(&[0, 1, 1, 1, 1, 1, 2, 2]);
    for task in 0..tasks {
        let _ = writeln!(text, "[[cluster.task]]\nkind = {:?}", dice.pick(&["upgrade", "az-switchover"]));
        if task > 0 && dice.chance(0.5) {
            let _ = writeln!(text, "after_reads = {}", dice.range(2, 60));
        } else {
            let latest = if task == 0 { 5 * MINUTE } else { calm };
            let _ = writeln!(text, "start = {}", seconds(dice.range(0, latest)));
        }
        if dice.chance(0.05) {
            let _ = writeln!(text, "execute_times = {}", dice.range(2, 4));
        }
        if dice.chance(0.05) {
            let _ = writeln!(text, "batch_size = {nodes}");
        }
        let mut fails = Vec::new();
        for _ in 0..dice.pick(&[0, 1, 1, 1, 2, 2]) {
            let times =
                if dice.chance(0.35) { "\"always\"".to_owned() } else { dice.range(1, 6).to_string() };
            let status = if dice.chance(0.12) { "PARTIAL_FAILED" } else { "FAILED" };
            let node = if dice.chance(0.6) { 1 } else { dice.range(1, nodes) };
            let (execution, step) = (dice.pick(&[1, 1, 1, 2]), dice.pick(&[0, 3, 6, 9, 12]));
            fails.push(format!(
                "{{ node = {node}, execution = {execution}, times = {times}, status = \"{status}\", step = {step} }}"
            ));
        }
        let _ = writeln!(text, "fail = [{}]", fails.join(", "));
    }
    if dice.chance(0.3) {
        for _ in 0..dice.range(1, 3) {
            let _ = writeln!(text, "[[cluster.by_hand]]\ndo = {:?}", dice.pick(&["retry", "retry", "abort"]));
            if dice.chance(0.5) {
                let _ = writeln!(text, "after_reads = {}", dice.range(2, 80));
            } else {
                let _ = writeln!(text, "at = {}", seconds(dice.range(node_time / 2, calm)));
            }
            if dice.chance(0.5) {
                let left = dice.pick(&["nothing", "field", "vanishes", "TERMINATED"]);
                let _ = writeln!(text, "leaves = {left:?}");
            }
            // Else the newest.
            let all = past + tasks;
            if all > 1 && dice.chance(0.4) {
                let _ = writeln!(text, "task = {}", dice.range(1, all));
            }
        }
    }
}

/// A task that had ended before the daemon came.
fn past_task(dice: &mut Dice, text: &mut String) {
    let status = dice.pick(&["SUCCESS", "FAILED", "FAILED", "PARTIAL_FAILED"]);
    let start = dice.pick(&[-40 * 24 * 60, -4 * 24 * 60, -600, -90]) - dice.range(0, 9);
    let end = start + dice.range(1, 50);
    let _ = writeln!(
        text,
        "[[cluster.task]]\nkind = {:?}\nstatus = \"{status}\"\nstart = \"{start}m\"\nend = \"{end}m\"\n\
         fail = [{{ node = 1, times = {}, step = 0 }}]",
        dice.pick(&["upgrade", "az-switchover"]),
        dice.range(1, 4),
    );
}

/// Every retry while the weather is bad.
fn lasting_fault(text: &mut String, what: &str, calm: i64) {
    let _ =
        writeln!(text, "[[fault]]\non = \"retry\"\nuntil = {}\ntimes = \"always\"\n{what}", seconds(calm));
}

fn fault(dice: &mut Dice, text: &mut String, what: &str, on: &str, clusters: usize, calm: i64) {
    let _ = writeln!(text, "[[fault]]\non = \"{on}\"\nwhat = \"{what}\"");
    let until = if dice.chance(0.5) { calm } else { dice.range(MINUTE, calm) };
    let _ = writeln!(text, "until = {}", seconds(until));
    if on != "list" && dice.chance(0.4) {
        let _ = writeln!(text, "cluster = \"c{}\"", dice.range(1, i64::try_from(clusters).unwrap()));
    }
    let rare = matches!(on, "retry" | "put" | "abort");
    if dice.chance(0.5) {
        let _ = writeln!(text, "nth = {}", dice.range(1, if rare { 2 } else { 30 }));
    }
    if dice.chance(0.15) && rare {
        // Every PUT, for as long as the weather is bad.
        let _ = writeln!(text, "times = \"always\"");
    } else if dice.chance(0.3) {
        let probability = if rare { dice.0.random_range(0.2..1.0) } else { dice.0.random_range(0.02..0.3) };
        let _ = writeln!(text, "times = \"always\"\nprobability = {probability:.3}");
    } else {
        let _ = writeln!(text, "times = {}", dice.range(1, if rare { 4 } else { 8 }));
    }
    let mut ambiguous =
        matches!(what, "server-error" | "cut" | "nonsense" | "html" | "200-errCode" | "empty");
    if what == "status" {
        let (status, code) = dice.pick(&STATUSES);
        let _ = writeln!(text, "status = {status}");
        if !code.is_empty() {
            let _ = writeln!(text, "code = \"{code}\"\nmessage = \"as it was asked to\"");
        }
        ambiguous = status >= 500;
    }
    let answers = matches!(what, "status" | "202-CSS.0011" | "throttled" | "server-error" | "bad-request");
    if answers && dice.chance(0.3) {
        let _ = writeln!(text, "retry_after = {}", seconds(dice.range(1_000, 5 * MINUTE)));
    }
    // Whatever says clearly that it was not accepted tells the truth: nothing could be built on a lie.
    if ambiguous && dice.chance(0.5) {
        let _ = writeln!(text, "taken = true");
    }
    if what == "delay" || dice.chance(0.1) {
        let _ = writeln!(text, "delay = {}", seconds(dice.range(1_000, 45_000)));
    }
}
