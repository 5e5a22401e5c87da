//! What one seed plays: clusters and their tasks, what goes wrong, what people do, and by which policies the
//! daemon acts.

use std::fmt::Write as _;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use upgrade_remediator::model::policy::{Match, Mode, OnExhausted, Pattern, Policy, Retry, Terms};
use upgrade_remediator::model::project::{Limits, Poll};
use upgrade_remediator::model::task::TaskKind;

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
    /// That a process is killed somewhere.
    pub(crate) crash: f64,
}

/// What happens to the daemon at a time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Planned {
    /// The wall clock is off by so much from now on.
    Wall(i64),
    /// Killed.
    Kill,
    /// Stopped in order, and started again.
    Stop,
    JournalFull(bool),
}

/// A policy, with what it covers in plain words.
#[derive(Debug, Clone)]
pub(crate) struct PolicyPlan {
    pub(crate) cluster: Option<String>,
    pub(crate) kind: Option<TaskKind>,
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
    /// Nothing goes wrong any more from then on.
    pub(crate) calm: i64,
    pub(crate) wall_jumps: bool,
    /// Readings of tasks show the state of so many milliseconds ago.
    pub(crate) stale: i64,
}

impl Plan {
    /// What the policies say of a task, in the words of the plan.
    pub(crate) fn terms(&self, epoch: usize, cluster: &str, kind: TaskKind) -> Option<&Terms> {
        let covers = |policy: &&PolicyPlan| {
            policy.cluster.as_ref().is_none_or(|name| name == cluster)
                && policy.kind.is_none_or(|of| of == kind)
        };
        self.policies.get(epoch)?.iter().find(covers).map(|policy| &policy.terms)
    }

    /// The policies as the daemon takes them.
    pub(crate) fn policies(&self, epoch: usize) -> Vec<Policy> {
        let policy = |plan: &PolicyPlan| Policy {
            matches: Match {
                cluster: plan.cluster.as_ref().map(|name| vec![Pattern::new(name).unwrap()]),
                task: plan.kind.map(|kind| vec![kind]),
                ..Match::default()
            },
            terms: plan.terms.clone(),
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
    let calm = dice.range(30, 100) * MINUTE;
    let stale = if dice.chance(0.3) { dice.range(1, 60) * 1_000 } else { 0 };
    let poll = poll(&mut dice, stale);
    let settle = i64::try_from(poll.settle_timeout.as_millis()).unwrap();
    let clusters = usize::try_from(dice.range(1, 5)).unwrap();
    let dry_run = dice.chance(0.06);
    let first = policies(&mut dice, clusters, dry_run);
    let second = if dice.chance(0.3) { policies(&mut dice, clusters, dry_run) } else { first.clone() };
    let bad = dice.chance(0.6);
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
        crash: if bad && dice.chance(0.7) { 0.8 } else { 0.0 },
    };
    let service_off = if dice.chance(0.2) { dice.range(-180, 180) * 1_000 } else { 0 };
    let mut planned = Vec::new();
    let wall_jumps = dice.chance(0.25);
    if wall_jumps {
        for _ in 0..dice.range(1, 3) {
            let far = if dice.chance(0.3) { 120 * MINUTE } else { 5 * MINUTE };
            planned.push((dice.range(0, calm - 1), Planned::Wall(dice.range(-far, far))));
        }
    }
    if dice.chance(0.2) {
        for _ in 0..dice.range(1, 2) {
            planned.push((dice.range(0, calm - 1), Planned::Stop));
        }
    }
    if dice.chance(0.2) {
        planned.push((dice.range(0, calm - 1), Planned::Kill));
    }
    if dice.chance(0.12) {
        let from = dice.range(0, calm - 1);
        planned.push((from, Planned::JournalFull(true)));
        planned.push((dice.range(from, calm), Planned::JournalFull(false)));
    }
    planned.sort_by_key(|(at, _)| *at);
    planned.push((calm, Planned::Wall(service_off)));
    planned.push((calm, Planned::JournalFull(false)));

    let limits = Limits {
        max_requests_in_flight: u32::try_from(dice.range(1, 8)).unwrap(),
        requests_per_second: dice.pick(&[2, 5, 20]),
        max_actions_in_flight: dice.pick(&[1, 2, 20]),
        max_actions_per_hour: dice.pick(&[2, 5, 120, 120, 120]),
    };
    let scenario = scenario(&mut dice, seed, clusters, calm, stale, service_off);
    Plan {
        seed,
        scenario,
        policies: [first, second],
        poll,
        limits,
        weather,
        planned,
        calm,
        wall_jumps,
        stale,
    }
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
    if dice.chance(0.2) {
        let cluster = Some(format!("c{}", dice.range(1, i64::try_from(clusters).unwrap())));
        policies.push(PolicyPlan { cluster, kind: None, terms: terms(dice, "one-cluster", dry_run) });
    }
    if dice.chance(0.2) {
        let kind = Some(dice.pick(&TaskKind::ALL));
        policies.push(PolicyPlan { cluster: None, kind, terms: terms(dice, "one-kind", dry_run) });
    }
    if policies.is_empty() || dice.chance(0.8) {
        policies.push(PolicyPlan { cluster: None, kind: None, terms: terms(dice, "all", dry_run) });
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
