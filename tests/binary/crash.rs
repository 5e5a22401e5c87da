//! The daemon is killed at every step of a PUT, and by chance, and started again: no PUT without an intent, no
//! second one while the first may have been accepted, and every story still reaches its end.
//!
//! Nothing in the program knows of these tests. The steps are held from outside: the PUT and its answer in a
//! relay, the commit of the outcome by a lock on the journal.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use upgrade_remediator::clock::{Clock as _, SystemClock};
use upgrade_remediator::model::event::Event;
use upgrade_remediator::simulator::log::PutKind;

use crate::support::edited::waiting;
use crate::support::proxy::{Proxy, Rule};
use crate::support::{ABORTS, Bench, FAILED_ONCE, Process, RETRIES, WriteLock, eventually, let_pass};

/// When the daemon is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// The intent is committed; the PUT is lost on its way.
    BeforeThePutArrives,
    /// The intent is committed; the PUT arrives after the daemon is started again.
    BeforeTheLatePutArrives,
    /// The PUT was taken, its answer is on the way.
    BeforeTheAnswer,
    /// The answer was delivered, its commit waits.
    BeforeTheOutcome,
    /// The outcome is committed.
    AfterTheOutcome,
}

fn intents(bench: &Bench) -> usize {
    bench.events().iter().filter(|event| matches!(event, Event::Intent { .. })).count()
}

fn answers(bench: &Bench) -> usize {
    bench.events().iter().filter(|event| matches!(event, Event::Answered { .. })).count()
}

/// Kills the daemon at this step of its first PUT, starts it again, and tells what reached the service and how
/// the story ended.
async fn kill_at(step: Step, policy: &str) -> (Vec<PutKind>, String) {
    // Readings lag behind, so that a running task does not save a daemon that has forgotten its PUT.
    let lag = if step == Step::BeforeTheLatePutArrives { "0s" } else { "400ms" };
    let bench = Bench::new(&format!("{FAILED_ONCE}\n[ways]\nstale_for = \"{lag}\"\n"), policy).await;
    let proxy = Proxy::start(bench.simulator.address(), Rule::HoldPut).await;
    bench.configure(&proxy.url(), policy);

    let daemon = bench.daemon();
    proxy.has_a_put().await;
    assert_eq!(
        (intents(&bench), bench.puts().len()),
        (1, 0),
        "the intent is committed before the PUT arrives"
    );
    match step {
        Step::BeforeThePutArrives => {
            daemon.kill();
            proxy.cut().await;
            proxy.rule(Rule::Pass);
        }
        Step::BeforeTheLatePutArrives => daemon.kill(),
        Step::BeforeTheAnswer => {
            proxy.rule(Rule::HoldAnswer);
            proxy.has_an_answer().await;
            daemon.kill();
            proxy.cut().await;
            proxy.rule(Rule::Pass);
        }
        Step::BeforeTheOutcome => {
            let lock = WriteLock::take(&bench);
            proxy.rule(Rule::Pass);
            proxy.has_delivered().await;
            daemon.kill();
            lock.release();
        }
        Step::AfterTheOutcome => {
            proxy.rule(Rule::Pass);
            bench.journaled("the answer", |event| matches!(event, Event::Answered { .. })).await;
            daemon.kill();
        }
    }
    assert_eq!(intents(&bench), 1);
    assert_eq!(answers(&bench), usize::from(step == Step::AfterTheOutcome), "what was committed at the kill");
    assert_eq!(
        bench.puts().len(),
        usize::from(!matches!(step, Step::BeforeThePutArrives | Step::BeforeTheLatePutArrives)),
        "what had arrived at the kill"
    );

    let again = bench.daemon();
    if step == Step::BeforeTheLatePutArrives {
        bench.looks_on(2).await;
        proxy.rule(Rule::Pass);
    }
    let end = bench.ended(&["logs"]).await.remove("logs").unwrap();
    // A PUT too many would come now.
    bench.looks_on(10).await;
    bench.judge();
    drop(again);
    (bench.puts(), end)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_that_was_lost_on_its_way_is_sent_again_once_that_is_certain() {
    let (puts, end) = kill_at(Step::BeforeThePutArrives, RETRIES).await;
    assert_eq!((puts.as_slice(), end.as_str()), ([PutKind::Retry].as_slice(), "resolved"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_that_arrives_after_the_restart_is_seen_to_be_accepted() {
    let (puts, end) = kill_at(Step::BeforeTheLatePutArrives, RETRIES).await;
    assert_eq!((puts.as_slice(), end.as_str()), ([PutKind::Retry].as_slice(), "resolved"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_whose_answer_was_under_way_is_not_sent_again() {
    let (puts, end) = kill_at(Step::BeforeTheAnswer, RETRIES).await;
    assert_eq!((puts.as_slice(), end.as_str()), ([PutKind::Retry].as_slice(), "resolved"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_whose_outcome_was_not_committed_is_not_sent_again() {
    let (puts, end) = kill_at(Step::BeforeTheOutcome, RETRIES).await;
    assert_eq!((puts.as_slice(), end.as_str()), ([PutKind::Retry].as_slice(), "resolved"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_whose_outcome_was_committed_is_not_sent_again() {
    let (puts, end) = kill_at(Step::AfterTheOutcome, RETRIES).await;
    assert_eq!((puts.as_slice(), end.as_str()), ([PutKind::Retry].as_slice(), "resolved"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_abort_that_was_lost_on_its_way_is_a_humans() {
    let (puts, end) = kill_at(Step::BeforeThePutArrives, ABORTS).await;
    assert_eq!((puts.as_slice(), end.as_str()), ([].as_slice(), "abort-unknown"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_abort_that_arrives_after_the_restart_is_a_humans() {
    let (puts, end) = kill_at(Step::BeforeTheLatePutArrives, ABORTS).await;
    assert_eq!((puts.as_slice(), end.as_str()), ([PutKind::Abort].as_slice(), "abort-unknown"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_abort_whose_answer_was_under_way_is_a_humans() {
    let (puts, end) = kill_at(Step::BeforeTheAnswer, ABORTS).await;
    assert_eq!((puts.as_slice(), end.as_str()), ([PutKind::Abort].as_slice(), "abort-unknown"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_abort_whose_outcome_was_not_committed_is_a_humans() {
    let (puts, end) = kill_at(Step::BeforeTheOutcome, ABORTS).await;
    assert_eq!((puts.as_slice(), end.as_str()), ([PutKind::Abort].as_slice(), "abort-unknown"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_abort_whose_outcome_was_committed_is_over() {
    let (puts, end) = kill_at(Step::AfterTheOutcome, ABORTS).await;
    assert_eq!((puts.as_slice(), end.as_str()), ([PutKind::Abort].as_slice(), "aborted"));
}

/// Five clusters whose retries end in five ways, on a service that is slow to answer and loses some answers.
const STORIES: &str = r#"
node_time = "300ms"
[ways]
stale_for = "200ms"
[[cluster]]
name = "cured"
[[cluster.task]]
kind = "upgrade"
fail = [{ node = 1, times = 2, step = 3 }]
[[cluster]]
name = "hopeless"
[[cluster.task]]
kind = "upgrade"
fail = [{ node = 1, times = "always", step = 0 }]
[[cluster]]
name = "half-done"
[[cluster.task]]
kind = "az-switchover"
fail = [{ node = 2, times = "always", step = 0 }]
[[cluster]]
name = "step-by-step"
[[cluster.task]]
kind = "upgrade"
fail = [{ node = 1, step = 6 }, { node = 2, execution = 2, step = 6 }, { node = 3, execution = 3, step = 6 }]
[[cluster]]
name = "lossy"
[[cluster.task]]
kind = "upgrade"
fail = [{ node = 1, times = 2, step = 6 }]
[[fault]]
on = "retry"
cluster = "lossy"
nth = 1
times = 2
what = "cut"
taken = true
delay = "100ms"
[[fault]]
on = "put"
times = "always"
what = "delay"
delay = "150ms"
"#;

/// Kills a daemon again and again, as a seed says, for as long as `UPGRADE_REMEDIATOR_CRASH_SECONDS` says, with
/// the seed of `UPGRADE_REMEDIATOR_CRASH_SEED`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::print_stderr, reason = "the seed is needed to run it again")]
async fn a_daemon_that_is_killed_by_chance_ends_every_story_well() {
    let given = |name: &str| std::env::var(name).ok().map(|value| value.parse::<u64>().unwrap());
    let long = Duration::from_secs(given("UPGRADE_REMEDIATOR_CRASH_SECONDS").unwrap_or(30));
    let seed = given("UPGRADE_REMEDIATOR_CRASH_SEED").unwrap_or_else(upgrade_remediator::clock::random_seed);
    eprintln!("UPGRADE_REMEDIATOR_CRASH_SEED={seed}");
    let mut random = SmallRng::seed_from_u64(seed);
    let clock = SystemClock::new();
    let began = clock.now();
    let (mut worlds, mut kills) = (0, 0);
    while clock.now().since(began) < long {
        let bench = Bench::new(STORIES, RETRIES).await;
        worlds += 1;
        let names = ["cured", "hopeless", "half-done", "step-by-step", "lossy"];
        let all_ended = || bench.ends().len() == names.len();
        while clock.now().since(began) < long && !all_ended() {
            let daemon = bench.daemon();
            let_pass(Duration::from_millis(random.random_range(50..500))).await;
            daemon.kill();
            kills += 1;
        }
        let _daemon = bench.daemon();
        let ends = bench.ended(&names).await;
        bench.looks_on(20).await;
        bench.judge();
        let human = ["not-accepted", "abort-unknown"];
        let is = |name: &str, good: &[&str]| {
            let end = ends[name].as_str();
            assert!(good.contains(&end) || human.contains(&end), "{name} ended as {end}; seed {seed}");
        };
        is("cured", &["resolved"]);
        is("hopeless", &["aborted"]);
        is("half-done", &["node-completed"]);
        is("step-by-step", &["resolved"]);
        is("lossy", &["resolved"]);
    }
    eprintln!("{kills} kills in {worlds} worlds");
}

/// Killed at once, at some instant of the start, and as soon as there is a journal: on a machine of any speed that
/// is before there is one, and right after its file was made.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::print_stderr, reason = "the seed is needed to run it again")]
async fn a_daemon_that_is_killed_while_it_starts_leaves_a_journal_that_can_be_used() {
    let seed = upgrade_remediator::clock::random_seed();
    eprintln!("seed {seed}");
    let mut random = SmallRng::seed_from_u64(seed);
    let mut without = 0;
    for _ in 0..20 {
        let bench = Bench::new(FAILED_ONCE, &waiting(RETRIES, "30s")).await;
        bench.daemon().kill();
        without += usize::from(!bench.journal().exists());
        let daemon = bench.daemon();
        let_pass(Duration::from_micros(random.random_range(0..30_000))).await;
        daemon.kill();
        let daemon = bench.daemon();
        eventually("the journal's file", || bench.journal().exists().then_some(())).await;
        let_pass(Duration::from_micros(random.random_range(0..5_000))).await;
        daemon.kill();
        let mut once = Process::start(bench.command(&["run", "--once"]));
        assert_eq!(once.code().await, Some(0), "{}", once.stderr());
        assert_eq!(bench.entries().len(), 3, "first seen, failed, waits");
    }
    assert!(without > 0, "killed at once, and never before there was a journal");
}
