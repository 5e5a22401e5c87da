//! The real look against the simulated cloud, in virtual time, by many seeds.
//!
//! Each seed draws clusters, policies, faults, people and crashes; the world's own log is then judged against the
//! journal. What is real: the looks with all they decide, the client with its requests, signatures, wire forms,
//! repetitions and its gate before the credential. What is played: the service, the clocks, the journal's disk.
//!
//! `SIMULATION_SEED=123 cargo test --test simulation -- --nocapture` plays one seed and tells everything;
//! `SIMULATION_SEEDS=100000 cargo test --test simulation` plays more of them.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]
#![expect(clippy::print_stderr, reason = "what was reached, and what failed")]

mod generate;
mod judge;
mod run;
mod stage;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use upgrade_remediator::model::decision::Action;
use upgrade_remediator::simulator::log;

use generate::{Plan, plan};
use run::{Played, play};

const SEEDS: u64 = 200;

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
        stage::request_of(&line.record)
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
    for (at, epoch) in &played.processes {
        lines.push((*at, format!("process  begins, policies {epoch}")));
    }
    for (at, planned) in &plan.planned {
        lines.push((*at, format!("planned  {planned:?}")));
    }
    lines.sort_by_key(|(at, _)| *at);
    let mut text = format!("{}\n{:#?}\n", plan.scenario, plan);
    for (at, line) in lines {
        let _ = writeln!(text, "{at:>10} {line}");
    }
    for (id, task) in played.ledger.clusters.values().flat_map(|cluster| &cluster.tasks) {
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
    let played = play(&plan);
    if loud {
        eprintln!("{}", story(&plan, &played));
    }
    let mut wrong = judge::judge(&plan, &played);
    wrong.extend(played.unfinished.iter().map(|open| format!("it never came to an end: {open}")));
    if (loud || seed.is_multiple_of(10)) && whole(&played) != whole(&play(&plan)) {
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
    add(judge::by_hand(played));
    let mut one = |key: String| add([(key, 1)].into());
    for sent in &played.sent {
        one(format!("sent: {}", sent.action));
    }
    for task in played.ledger.clusters.values().flat_map(|cluster| cluster.tasks.values()) {
        let end = judge::end_of(task)
            .or_else(|| task.closed.as_ref().map(|(closing, _)| closing.word().to_owned()));
        one(format!("end: {}", end.unwrap_or_else(|| "none".to_owned())));
    }
    one("seeds".to_owned());
    counts
}

/// What 200 seeds must reach, so that a generator that went silent fails.
fn must_be_reached() -> Vec<String> {
    let mut keys = Vec::new();
    for what in generate::FAULTS {
        keys.push(format!("{what} on a reading"));
        keys.push(format!("{what} on a PUT"));
    }
    for point in stage::Point::ALL {
        keys.push(format!("killed: Some({point:?})"));
    }
    for action in [Action::Retry, Action::Abort] {
        keys.push(format!("sent: {action}"));
    }
    let others = [
        "killed: at any time",
        "stopped in order",
        "wire: no connection, PUT",
        "wire: no connection, reading",
        "wire: the PUT arrives when nobody waits for it any more",
        "journal: fails before keeping",
        "journal: fails after keeping",
        "journal: is full",
        "by hand: retry",
        "by hand: abort",
        "a cluster is deleted",
        "end: remedied",
        "end: solved-by-others",
        "end: aborted",
        "end: superseded",
        "end: gone",
        "end: dry-run",
        "end: no-policy",
        "end: too-old",
        "end: escalated: retries-used-up",
        "end: escalated: node-completed",
        "end: escalated: partial-failed",
        "end: escalated: policy-changed",
        "end: escalated: max-elapsed-time",
        "end: escalated: touched-by-others",
        "end: escalated: not-acceptable",
        "end: escalated: without-effect",
        "end: escalated: not-accepted",
        "end: escalated: cannot-settle",
        "end: escalated: abort-unknown",
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
    let (next, counts, wrong) = (AtomicU64::new(0), Mutex::new(Counts::new()), Mutex::new(BTreeMap::new()));
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds {
                break;
            }
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
    let mut table = String::new();
    for (key, number) in &counts {
        let _ = writeln!(table, "{number:>8}  {key}");
    }
    eprintln!("{table}");
    let wrong = wrong.into_inner().unwrap_or_else(PoisonError::into_inner);
    let mut told = String::new();
    for (seed, found) in &wrong {
        let _ = writeln!(
            told,
            "seed {seed}, replay with SIMULATION_SEED={seed} cargo test --test simulation -- --nocapture\n  {}",
            found.join("\n  ")
        );
    }
    assert!(wrong.is_empty(), "{} of {seeds} seeds went wrong:\n{told}", wrong.len());
    if seeds >= SEEDS {
        let missing: Vec<_> = must_be_reached().into_iter().filter(|key| !counts.contains_key(key)).collect();
        assert!(missing.is_empty(), "never reached: {missing:#?}");
    }
}
