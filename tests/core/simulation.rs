//! The real reconciler against the simulated cloud, in virtual time, by many seeds.
//!
//! Each seed draws clusters, policies, faults, people and crashes; the world's own log is then judged against the
//! journal. What is real: the scheduler, the reconciles with all they decide, the client with its requests, signatures, wire
//! forms, repetitions and its gate before the credential. What is played: the service, the clocks, the journal's disk,
//! and people: holds and reloads take the same gate as the daemon's own (`run.rs`).
//!
//! `SIMULATION_SEED=123 cargo test --test core simulation -- --nocapture` plays one seed and tells everything;
//! `SIMULATION_SEEDS=100000 cargo test --test core simulation` plays more of them, from `SIMULATION_FIRST` on.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]
#![expect(clippy::print_stderr, reason = "what was reached, and what failed")]

mod announced;
mod generate;
mod harness;
mod judge;
#[path = "../support/leaks.rs"]
mod leaks;
#[path = "../support/parked.rs"]
mod parked;
mod run;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use upgrade_remediator::model::decision::Action;
use upgrade_remediator::simulator::{log, scenario};

use generate::{Plan, plan};
use run::{Played, play};

/// Unless `SIMULATION_SEEDS` says otherwise.
const SEEDS: u64 = 10_000;
/// From so many on, every cell of the table must have been reached.
const SEEDS_FOR_THE_TABLE: u64 = 10_000;
/// Of them, so many on a journal in a file.
const SEEDS_ON_DISK: u64 = 40;

type Counts = BTreeMap<String, u64>;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// Everything of a run that must be the same at the next one.
fn whole(played: &Played) -> String {
    let mut text = log::lines(&played.log);
    for (entry, kept) in played.entries.iter().zip(&played.kept) {
        let _ = writeln!(text, "{entry:?} {kept:?}");
    }
    for sent in &played.sent {
        let _ = writeln!(text, "{sent:?}");
    }
    text + &played.told.join("\n")
}

/// The run as a story: what people need to understand a failure.
fn story(plan: &Plan, played: &Played) -> String {
    let mut lines = Vec::new();
    for line in played.log.iter().filter(|line| {
        harness::request_of(&line.record)
            .is_none_or(|request| request.method != "GET" || request.fault.is_some())
    }) {
        lines.push((line.at.0, format!("world    {}", serde_json::to_string(&line.record).unwrap())));
    }
    for (entry, kept) in played.entries.iter().zip(&played.kept) {
        let doubt = if kept.in_doubt { " (in doubt)" } else { "" };
        let task = &entry.subject.task;
        let event = serde_json::to_string(&entry.event).unwrap();
        lines.push((kept.at, format!("journal  #{}{doubt} {task} {event}", entry.number)));
    }
    for sent in &played.sent {
        lines.push((sent.at, format!("put      {sent:?}")));
    }
    for epoch in &played.epochs {
        lines.push((epoch.at, format!("process  {epoch:?}")));
    }
    for holding in &played.holdings {
        lines.push((holding.placed.0, format!("held     {holding:?}")));
    }
    for (at, planned) in &plan.planned {
        lines.push((*at, format!("planned  {planned:?}")));
    }
    lines.sort_by_key(|(at, _)| *at);
    let mut text = format!("{}\n{:#?}\n", plan.scenario, plan);
    for (at, line) in lines {
        let _ = writeln!(text, "{at:>10} {line}");
    }
    for (id, task) in played.project_state.clusters.values().flat_map(|cluster| &cluster.tasks) {
        if task.is_in_flight() {
            let _ = writeln!(text, "still in flight: {id} {:?} {:?}", task.open, task.running);
        }
    }
    for told in &played.told {
        let _ = writeln!(text, "told {told}");
    }
    text
}

/// Plays a seed and judges it; what is wrong, and what was reached.
fn try_seed(seed: u64, loud: bool) -> (Vec<String>, Counts) {
    let plan = plan(seed);
    let played = play(&plan, None);
    if loud {
        eprintln!("{}", story(&plan, &played));
    }
    let mut wrong = judge::judge(&plan, &played);
    wrong.extend(announced::judge(&played).0);
    wrong.extend(played.unfinished.iter().map(|open| format!("it never came to an end: {open}")));
    if (loud || seed.is_multiple_of(50)) && whole(&played) != whole(&play(&plan, None)) {
        wrong.push("a second run of the same seed is another one".to_owned());
    }
    (wrong, reached(&plan, &played))
}

fn reached(plan: &Plan, played: &Played) -> Counts {
    let mut counts = played.counts.clone();
    let whats: Vec<String> = plan
        .scenario
        .lines()
        .filter_map(|line| line.strip_prefix("what = "))
        .map(|word| word.trim_matches('"').to_owned())
        .collect();
    let mut add = |more: Counts| {
        for (key, number) in more {
            *counts.entry(key).or_default() += number;
        }
    };
    add(judge::faults_hit(played, &whats));
    add(judge::by_others(played));
    add([("task failures".to_owned(), judge::failures(played))].into());
    let [sent, kept] = announced::judge(played).1;
    add([("announced: a request was sent as announced".to_owned(), sent)].into());
    add([("announced: a time passed as announced".to_owned(), kept)].into());
    let mut one = |key: String| add([(key, 1)].into());
    for sent in &played.sent {
        one(format!("sent: {}", sent.action));
    }
    for task in played.project_state.clusters.values().flat_map(|cluster| cluster.tasks.values()) {
        let end = judge::end_of(task).or_else(|| task.outcome().map(|outcome| outcome.word().to_owned()));
        one(format!("end: {}", end.unwrap_or_else(|| "none".to_owned())));
    }
    one("seeds".to_owned());
    counts
}

/// Rows and columns of the table of what happened where. Each cell of a block must have been reached.
fn blocks() -> Vec<(Vec<String>, Vec<String>)> {
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let steps = harness::Point::ALL.iter().map(|point| format!("{point:?}")).collect();
    let wire = words(&["list", "reading", "retry", "abort"]);
    let mut faults = words(&generate::FAULTS);
    faults.push("no connection".to_owned());
    let happenings = [
        "killed",
        "stopped in order",
        "the wall clock jumps",
        "the disk gets full",
        "the disk has room again",
        "a hold is placed",
        "a hold is released",
        "reloaded",
    ];
    let stands =
        ["not known yet", "it runs", "it waits", "a PUT is under way", "a PUT is settled", "it has its end"];
    vec![
        (faults, wire),
        (words(&["arrives when nobody waits any more"]), words(&["retry", "abort"])),
        (
            words(&[
                "an older answer again",
                "a completed node is missing",
                "a task is missing",
                "another cluster's task is shown",
            ]),
            words(&["reading"]),
        ),
        (words(&["a cluster is missing"]), words(&["list"])),
        (
            words(&["disk full", "write fails", "fsync fails, kept"]),
            words(&["what was seen", "the intent", "the answer", "a hold", "a release"]),
        ),
        (words(&happenings), steps),
        // A person has nothing to retry where the daemon knows of no task, and acts on one task.
        (
            words(&["retried by hand", "terminated by hand", "a new task", "a cluster is deleted"]),
            words(&stands),
        ),
    ]
}

/// The table, and the cells that are empty.
fn table(counts: &Counts) -> (String, Vec<String>) {
    let (mut text, mut empty) = (String::new(), Vec::new());
    for (rows, columns) in blocks() {
        let _ = write!(text, "\n{:36}", "");
        for column in &columns {
            let _ = write!(text, " {column:>18}");
        }
        for row in &rows {
            let _ = write!(text, "\n{row:36}");
            for column in &columns {
                let cell = format!("table|{row}|{column}");
                let number = counts.get(&cell).copied().unwrap_or(0);
                let _ = write!(text, " {number:>18}");
                if number == 0 {
                    empty.push(format!("{row} × {column}"));
                }
            }
        }
        text.push('\n');
    }
    (text, empty)
}

/// What all seeds together must reach beside the table, so that a generator that went silent fails.
fn must_be_reached() -> Vec<String> {
    let mut keys = Vec::new();
    for action in [Action::Retry, Action::Abort] {
        keys.push(format!("sent: {action}"));
    }
    let others = [
        "at a start: the project has another name",
        "end: resolved",
        "end: resolved-externally",
        "end: aborted",
        "end: superseded",
        "end: gone",
        "end: dry-run",
        "end: no-policy",
        "end: too-old",
        "end: escalated: retries-exhausted",
        "end: escalated: node-completed",
        "end: escalated: partial-failed",
        "end: escalated: policy-changed",
        "end: escalated: max-elapsed-time",
        "end: escalated: changed-externally",
        "end: escalated: not-acceptable",
        "end: escalated: without-effect",
        "end: escalated: not-accepted",
        "end: escalated: cannot-confirm",
        "end: escalated: abort-unknown",
        "end: escalated: shared-task",
    ];
    keys.extend(others.map(str::to_owned));
    keys
}

#[test]
fn no_seed_makes_the_daemon_do_harm_or_leave_a_task_alone() {
    if let Some(seed) = number("SIMULATION_SEED") {
        let (wrong, _) = try_seed(seed, true);
        assert!(wrong.is_empty(), "seed {seed}:\n{}", wrong.join("\n"));
        return;
    }
    let seeds = number("SIMULATION_SEEDS").unwrap_or(SEEDS);
    let first = number("SIMULATION_FIRST").unwrap_or(0);
    let (next, counts, wrong) = (AtomicU64::new(0), Mutex::new(Counts::new()), Mutex::new(BTreeMap::new()));
    let work = || {
        loop {
            let nth = next.fetch_add(1, Ordering::Relaxed);
            if nth >= seeds {
                break;
            }
            let seed = first + nth;
            let tried = std::panic::catch_unwind(|| try_seed(seed, false));
            let (found, reached) = tried.unwrap_or_else(|_| (vec!["it panicked".to_owned()], Counts::new()));
            if !found.is_empty() {
                eprintln!("seed {seed}: {}", found.join("\n  "));
            }
            let mut counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
            for (key, number) in reached {
                *counts.entry(key).or_default() += number;
            }
            if !found.is_empty() {
                wrong.lock().unwrap_or_else(PoisonError::into_inner).insert(seed, found);
            }
        }
    };
    let workers = std::thread::available_parallelism().map_or(1, std::num::NonZero::get).min(4);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(work);
        }
    });
    let counts = counts.into_inner().unwrap_or_else(PoisonError::into_inner);
    let mut list = String::new();
    for (key, number) in counts.iter().filter(|(key, _)| !key.starts_with("table|")) {
        let _ = writeln!(list, "{number:>8}  {key}");
    }
    let (cells, empty) = table(&counts);
    eprintln!("{list}{cells}");
    let wrong = wrong.into_inner().unwrap_or_else(PoisonError::into_inner);
    let mut told = String::new();
    for (seed, found) in &wrong {
        let _ = writeln!(
            told,
            "seed {seed}, replay with SIMULATION_SEED={seed} cargo test --test core simulation -- --nocapture\n  {}",
            found.join("\n  ")
        );
    }
    assert!(wrong.is_empty(), "{} of {seeds} seeds went wrong:\n{told}", wrong.len());
    if seeds >= SEEDS {
        let missing: Vec<_> = must_be_reached().into_iter().filter(|key| !counts.contains_key(key)).collect();
        assert!(missing.is_empty(), "never reached: {missing:#?}");
    }
    if seeds >= SEEDS_FOR_THE_TABLE {
        assert!(empty.is_empty(), "empty cells: {empty:#?}");
    }
}

/// The same seeds, fewer, on a journal in a file.
#[test]
fn on_a_journal_in_a_file_equal_seeds_do_no_harm_either() {
    let directory = tempfile::tempdir().unwrap();
    for seed in 0..SEEDS_ON_DISK {
        let plan = plan(seed);
        let played = play(&plan, Some(&directory.path().join(format!("{seed}.db"))));
        let mut wrong = judge::judge(&plan, &played);
        wrong.extend(played.unfinished.iter().map(|open| format!("it never came to an end: {open}")));
        assert!(wrong.is_empty(), "seed {seed} on disk: {}", wrong.join("\n"));
    }
}

/// Collects what is logged.
#[derive(Clone, Default)]
struct Logged(std::sync::Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Logged {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// What is logged at trace level while this runs.
fn logged(what: impl FnOnce()) -> Vec<u8> {
    let logged = Logged::default();
    let writer = logged.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    tracing::subscriber::with_default(subscriber, what);
    std::mem::take(&mut *logged.0.lock().unwrap_or_else(PoisonError::into_inner))
}

/// The key is in every request; a day of all the ways of the world brings it into no line of the log.
#[test]
fn a_day_at_trace_level_logs_no_secret() {
    const DAY: i64 = 24 * 60 * 60 * 1_000;
    let secrets = [scenario::DEFAULT_ACCESS_KEY, scenario::DEFAULT_SECRET_KEY];
    for secret in secrets {
        let planted = logged(|| tracing::trace!(key = ?[secret], "a leak"));
        assert!(!leaks::found(&planted, &secrets).is_empty(), "what is logged is searched");
    }
    let (mut passed, mut lines, mut seed) = (0, 0, 0);
    while passed < DAY {
        let text = logged(|| {
            let played = play(&plan(seed), None);
            passed += played.log.last().map_or(0, |line| line.at.0);
        });
        lines += String::from_utf8(text.clone()).unwrap().lines().count();
        let found = leaks::found(&text, &secrets);
        assert!(found.is_empty(), "seed {seed}: {found:?}");
        seed += 1;
    }
    assert!(lines > 1_000, "{lines} lines in {seed} seeds say little");
    eprintln!("{lines} lines in {seed} seeds");
}
