//! The optimised daemon is killed by SIGKILL at every step of the journal and of a PUT, each of them at every passage,
//! and started again. The simulated service's own log is the judge.
//!
//! The steps are the failure points of `src/failpoint.rs`. They are not in what is shipped: this test builds a
//! daemon with them, optimised like a release. Its dependencies are those that `cargo test` has compiled, so that this
//! takes little more than the daemon itself; `UPGRADE_REMEDIATOR_CRASH_POINTS=all` takes all of it from the release
//! profile, and kills at every passage where otherwise a later one of the same kind is left out.
//!
//! A first run of each story shows which points it passes and how often; then the story is run anew for each of these
//! passages, with a kill there. A point that no story reaches fails the test.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use upgrade_remediator::clock::{Clock as _, SystemClock};
use upgrade_remediator::journal::JournalReader;
use upgrade_remediator::model::event::Event;
use upgrade_remediator::model::hold::StoredHold;
use upgrade_remediator::simulator::log::PutKind;

#[expect(dead_code, reason = "other tests need more of it")]
mod support;

use support::edited::{Edited, waiting};
use support::proxy::{Proxy, Rule};
use support::{ABORTS, Bench, FAILED_ONCE, Process, RETRIES, alone, let_pass};

/// Daemons at a time. They wait most of the time.
const AT_A_TIME: usize = 24;
/// A story that is not over within this never will be.
const PATIENCE: Duration = Duration::from_mins(1);
/// How often a passage is tried that a story happened not to come to.
const TRIES: usize = 3;

/// Whether to build as a release does, and to leave no passage out.
static EVERYTHING: LazyLock<bool> =
    LazyLock::new(|| std::env::var("UPGRADE_REMEDIATOR_CRASH_POINTS").is_ok_and(|value| value == "all"));

/// The optimised daemon with its failure points.
static ARMED: LazyLock<PathBuf> = LazyLock::new(|| {
    let target = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().to_owned();
    let mut cargo = Command::new(env!("CARGO"));
    // What cargo told this test of its package would make build scripts run anew, here and at the next `cargo test`.
    for (name, _) in std::env::vars_os() {
        let told =
            ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_", "CARGO_PRIMARY_", "OUT_DIR"];
        if name.to_str().is_some_and(|name| told.iter().any(|begin| name.starts_with(begin))) {
            cargo.env_remove(name);
        }
    }
    let built = cargo
        .args(["build", "--locked", "--quiet", "--features", "failpoints"])
        .args(["--example", "with-failpoints", "--message-format", "json-render-diagnostics"])
        .args(if *EVERYTHING { ["--profile", "release"] } else { ["--profile", "test"] })
        .args(["--config", "profile.test.package.upgrade-remediator.opt-level = 3"])
        .arg("--manifest-path")
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))
        .arg("--target-dir")
        .arg(target)
        .output()
        .unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let lines = String::from_utf8(built.stdout).unwrap();
    let messages = lines.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let mut executables = messages.filter_map(|message| Some(message["executable"].as_str()?.to_owned()));
    PathBuf::from(executables.next().unwrap())
});

/// The names of all failure points, from their source.
fn points() -> BTreeSet<String> {
    let source = include_str!("../src/failpoint.rs");
    let lines = source.lines().map(str::trim).filter(|line| line.ends_with("\",") && line.contains(" = \""));
    let names = lines.map(|line| line.split('"').nth(1).unwrap().to_owned());
    names.collect()
}

/// What is told of a task, and how its story is driven.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Story {
    /// A failed task is retried and succeeds.
    Retry,
    /// A failed task is aborted.
    Abort,
    /// A task fails at each of three nodes; one retry each is all there is, given anew at each node.
    Progress,
    /// A failed task with a completed node is an operator's.
    Escalate,
    /// The cluster is held before its retry is due, and released later.
    Hold,
    /// A journal of the schema before is there.
    Older,
    /// Somebody is to be told, at a channel where nobody listens.
    Told,
}

/// Fails at each of three nodes, once.
const THREE_NODES: &str = r#"
node_time = "200ms"
[[cluster]]
name = "logs"
[[cluster.task]]
kind = "upgrade"
fail = [{ node = 1, step = 6 }, { node = 2, execution = 2, step = 6 }, { node = 3, execution = 3, step = 6 }]
"#;

impl Story {
    const ALL: [Self; 7] =
        [Self::Retry, Self::Abort, Self::Progress, Self::Escalate, Self::Hold, Self::Older, Self::Told];

    async fn bench(self) -> Bench {
        // It is all there at the first poll, so that the entries are the same commits in every run.
        let half_done = format!("{FAILED_ONCE}completed = 1\n");
        let (scenario, policy) = match self {
            Self::Retry | Self::Older => (FAILED_ONCE, RETRIES.to_owned()),
            // Until its first message has failed.
            Self::Told => (FAILED_ONCE, waiting(RETRIES, "3s")),
            Self::Abort => (FAILED_ONCE, ABORTS.to_owned()),
            Self::Progress => (THREE_NODES, Edited::of(RETRIES).set("policy.retry.max_retries", 1).text()),
            Self::Escalate => (half_done.as_str(), ABORTS.to_owned()),
            // Long enough for a hold to come first, also where the machine is busy.
            Self::Hold => (FAILED_ONCE, waiting(RETRIES, "2s")),
        };
        let bench = Bench::new(scenario, &policy).await;
        if self == Self::Older {
            let waits = waiting(RETRIES, "30s");
            bench.configure(&bench.simulator.url(), &waits);
            assert_eq!(bench.runs(&["run", "--once"]).await.0, 0);
            let before = "DROP VIEW holds; DROP VIEW breaker; DROP INDEX entry_by_time; DROP TABLE in_force; DROP VIEW outbox; DROP TABLE note; \
                          DROP TABLE channel; DROP TABLE delivery; DROP TABLE condition; DROP TABLE reading; \
                          DROP TABLE project; PRAGMA user_version = 1";
            Connection::open(bench.journal()).unwrap().execute_batch(before).unwrap();
            bench.configure(&bench.simulator.url(), &policy);
        }
        if self == Self::Told {
            let url = bench.folder.path().join("url");
            fs::write(&url, "http://127.0.0.1:9/").unwrap();
            fs::set_permissions(&url, fs::Permissions::from_mode(0o600)).unwrap();
            let channel = format!(
                "{policy}\n[notify]\ndefault = [\"ops\"]\n[[channel]]\nname = \"ops\"\ntype = \"webhook\"\nurl = {{ file = \"{}\" }}",
                url.display()
            );
            bench.configure(&bench.simulator.url(), &channel);
        }
        bench
    }

    /// Whether this story is the one to be killed at this passage.
    fn is_about(self, passage: &str, nth: usize) -> bool {
        let of_the_journal = passage.starts_with("journal.");
        match self {
            Self::Retry | Self::Abort => true,
            Self::Progress if *EVERYTHING => !of_the_journal,
            // In the midst of it: one node is done, and more are to come.
            Self::Progress => !of_the_journal && !passage.ends_with(" decided") && nth == 2,
            Self::Escalate => passage.ends_with("escalated"),
            Self::Hold => passage.ends_with(" hold") || passage.ends_with(" release"),
            Self::Older => of_the_journal,
            Self::Told => passage.ends_with(" outbox"),
        }
    }

    /// Goes on with the story until it is over and the daemon has stopped in order, or is gone before that.
    async fn drive(self, bench: &Bench, daemon: &mut Process) -> ExitStatus {
        if self == Self::Hold {
            let failed = || bench.events().iter().any(|event| matches!(event, Event::Failed { .. }));
            if let Some(status) = until(bench, daemon, || bench.socket().exists() && failed()).await {
                return status;
            }
            // Where the daemon is killed meanwhile, these fail; the judgement asks the journal what is in force.
            if bench.runs(&["hold", "cluster:logs", "--reason", "test"]).await.0 == 0 {
                held_is_left_alone(bench).await;
                let _ = bench.runs(&["release", "cluster:logs"]).await;
            }
        }
        if let Some(status) = until(bench, daemon, || bench.ends().contains_key("logs")).await {
            return status;
        }
        daemon.signal("TERM");
        daemon.ends_within(PATIENCE).await
    }

    /// How the story must have ended, and what must have reached the service, by what was in the journal at the kill.
    fn judge(self, at_the_kill: &[Event], end: &str, puts: &[PutKind]) {
        let count = |is_it: fn(&Event) -> bool| at_the_kill.iter().filter(|event| is_it(event)).count();
        let open = count(|event| matches!(event, Event::Intent { .. }))
            > count(|event| matches!(event, Event::Answered { .. } | Event::NotSent { .. }));
        match self {
            Self::Retry | Self::Hold | Self::Older | Self::Told => {
                assert_eq!((end, puts), ("resolved", [PutKind::Retry].as_slice()));
            }
            Self::Progress => assert_eq!((end, puts), ("resolved", [PutKind::Retry; 3].as_slice())),
            Self::Escalate => assert_eq!((end, puts), ("node-completed", [].as_slice())),
            // Nothing shows what became of it, so it is an operator's and never sent again.
            Self::Abort if open => assert!(
                end == "abort-unknown" && matches!(puts, [] | [PutKind::Abort]),
                "{end} after {puts:?}"
            ),
            Self::Abort => assert_eq!((end, puts), ("aborted", [PutKind::Abort].as_slice())),
        }
    }

    /// Starts the daemon again after its kill, and judges how the story goes on and ends.
    async fn goes_on(self, bench: &Bench) {
        let at_the_kill = bench.events();
        let held = in_force(bench);
        let mut daemon = Process::start(bench.with_configuration(alone(&*ARMED), &["run"]));
        if held.is_some() {
            held_is_left_alone(bench).await;
            assert_eq!(in_force(bench), held);
            let (code, _, stderr) = bench.runs(&["release", "cluster:logs"]).await;
            assert_eq!(code, 0, "{stderr}");
        }
        let gone = until(bench, &mut daemon, || bench.ends().contains_key("logs")).await;
        assert_eq!(gone, None, "the daemon ended by itself");
        // A PUT too many would come now.
        bench.looks_on(10).await;
        bench.judge();
        self.judge(&at_the_kill, &bench.ends()["logs"], &bench.puts());
        daemon.signal("TERM");
        assert_eq!(daemon.ends_within(PATIENCE).await.code(), Some(0));
    }
}

/// Waits until it is so. Where the daemon ends before that: how.
async fn until(bench: &Bench, daemon: &mut Process, is_so: impl Fn() -> bool) -> Option<ExitStatus> {
    let clock = SystemClock::new();
    let began = clock.now();
    while !is_so() {
        let ended = daemon.ended();
        if ended.is_some() {
            return ended;
        }
        assert!(clock.now().since(began) < PATIENCE, "waited in vain: {:#?}", bench.events());
        let_pass(Duration::from_millis(100)).await;
    }
    None
}

/// The hold that is in force, by the journal.
fn in_force(bench: &Bench) -> Option<StoredHold> {
    if !bench.journal().exists() {
        return None;
    }
    let holds = JournalReader::open(&bench.journal()).unwrap().holds().unwrap();
    holds.into_iter().find(|hold| hold.released.is_none())
}

/// Nothing is sent for longer than the retry would have waited.
async fn held_is_left_alone(bench: &Bench) {
    let intents = || bench.events().iter().filter(|event| matches!(event, Event::Intent { .. })).count();
    let before = intents();
    let_pass(Duration::from_millis(2500)).await;
    assert_eq!(intents(), before, "an intent under a hold");
}

/// The passages of a story that nobody disturbs, each as often as it comes.
async fn passages(story: Story) -> Vec<String> {
    let bench = story.bench().await;
    let passed = bench.folder.path().join("passed");
    let mut command = bench.with_configuration(alone(&*ARMED), &["run"]);
    command.env("UPGRADE_REMEDIATOR_FAILPOINTS_PASSED", &passed);
    let status = story.drive(&bench, &mut Process::start(command)).await;
    assert_eq!(status.code(), Some(0), "{story:?}");
    bench.judge();
    story.judge(&[], &bench.ends()["logs"], &bench.puts());
    fs::read_to_string(passed).unwrap().lines().map(str::to_owned).collect()
}

/// Kills the daemon there, and judges. `false`: the story did not come there this time.
async fn killed_at(story: Story, passage: &str, nth: usize) -> bool {
    let bench = story.bench().await;
    let mut command = bench.with_configuration(alone(&*ARMED), &["run"]);
    command.env("UPGRADE_REMEDIATOR_FAILPOINT", format!("{passage} {nth}"));
    let status = story.drive(&bench, &mut Process::start(command)).await;
    if status.signal() != Some(9) {
        assert_eq!(status.code(), Some(0));
        return false;
    }
    story.goes_on(&bench).await;
    true
}

/// Tells where the daemon was killed when the judgement fails.
struct Told<'a>(Story, &'a str, usize);

impl Drop for Told<'_> {
    #[expect(clippy::print_stderr, reason = "a failure without its place is of no use")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("killed at {:?}, passage {} of story {:?}", self.1, self.2, self.0);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[expect(clippy::print_stderr, reason = "the table shows what was reached")]
async fn whatever_the_step_of_its_kill_the_daemon_ends_every_story_well() {
    let mut first = JoinSet::new();
    for story in Story::ALL {
        first.spawn(async move { (story, passages(story).await) });
    }
    let places = Arc::new(Semaphore::new(AT_A_TIME));
    let mut runs = JoinSet::new();
    for (story, passages) in first.join_all().await {
        let mut times: BTreeMap<String, usize> = BTreeMap::new();
        for passage in passages {
            let nth = times.entry(passage.clone()).or_default();
            *nth += 1;
            let (nth, places) = (*nth, Arc::clone(&places));
            if !story.is_about(&passage, nth) {
                continue;
            }
            runs.spawn(async move {
                let _place = places.acquire().await;
                let told = Told(story, &passage, nth);
                let mut reached = false;
                for _ in 0..TRIES {
                    reached = reached || killed_at(story, &passage, nth).await;
                }
                // A later passage may have been one that a slow moment brought.
                assert!(reached || nth > 1, "never came there");
                drop(told);
                (story, passage, reached)
            });
        }
    }
    let mut table: BTreeMap<(String, Story), (usize, usize)> = BTreeMap::new();
    for (story, passage, reached) in runs.join_all().await {
        let (kills, missed) = table.entry((passage, story)).or_default();
        *kills += usize::from(reached);
        *missed += usize::from(!reached);
    }
    for ((passage, story), (kills, missed)) in &table {
        eprintln!("{kills:3} kills, {missed} missed: {passage} ({story:?})");
    }
    eprintln!("{} kills", table.values().map(|(kills, _)| kills).sum::<usize>());
    let of = |passage: &String| passage.split(' ').next().unwrap().to_owned();
    let reached: BTreeSet<String> =
        table.iter().filter(|(_, (kills, _))| *kills > 0).map(|((p, _), _)| of(p)).collect();
    assert_eq!(reached, points(), "every failure point has a story that comes to it");
    for word in ["intent", "answered", "confirmed", "ended", "escalated", "hold", "release"] {
        for point in ["asked", "begun", "inserted", "committed"] {
            let passed = |passage: &str| {
                let (name, of) = passage.split_once(' ').unwrap();
                name == format!("write.{point}") && of.split('+').any(|event| event == word)
            };
            assert!(
                table.keys().any(|(passage, _)| passed(passage)),
                "write.{point} of {word} was not reached"
            );
        }
    }
}

/// Killed when the last byte has left, which is seen from outside: a relay has all of it, and hands it on later.
async fn killed_with_all_sent(story: Story) {
    let (scenario, policy) = (FAILED_ONCE, if story == Story::Abort { ABORTS } else { RETRIES });
    let bench = Bench::new(scenario, policy).await;
    let proxy = Proxy::start(bench.simulator.address(), Rule::HoldPut).await;
    bench.configure(&proxy.url(), policy);
    let daemon = Process::start(bench.with_configuration(alone(&*ARMED), &["run"]));
    proxy.has_a_put().await;
    daemon.kill();
    assert_eq!(bench.puts().len(), 0);
    proxy.rule(Rule::Pass);
    story.goes_on(&bench).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_of_which_the_last_byte_has_left_is_not_sent_again() {
    killed_with_all_sent(Story::Retry).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_abort_of_which_the_last_byte_has_left_is_a_humans() {
    killed_with_all_sent(Story::Abort).await;
}

/// Whether a signal keeps the process from going on.
fn is_stopped(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).unwrap().contains(") T ")
}

/// A process that is paused after its intent is durable, for longer than the intent may wait, sends nothing for it. The
/// failure is handled again by a later intent.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_put_that_was_paused_for_too_long_is_journaled_as_not_sent() {
    // After a request that was not sent, an abort waits once more for the first wait of a retry.
    let aborts = Edited::of(ABORTS).set("policy.retry.initial_interval", "300ms").text();
    for (policy, kind) in [(RETRIES, PutKind::Retry), (aborts.as_str(), PutKind::Abort)] {
        for point in ["put.intended", "put.leaving", "put.connected"] {
            let bench = Bench::new(FAILED_ONCE, policy).await;
            let mut command = bench.with_configuration(alone(&*ARMED), &["run"]);
            command.env("UPGRADE_REMEDIATOR_FAILPOINT", format!("{point} - 1"));
            command.env("UPGRADE_REMEDIATOR_FAILPOINT_STOPS", "1");
            let mut daemon = Process::start(command);
            let pid = daemon.pid();
            assert_eq!(until(&bench, &mut daemon, || is_stopped(pid)).await, None);
            let intents =
                || bench.events().iter().filter(|event| matches!(event, Event::Intent { .. })).count();
            assert_eq!((intents(), bench.puts().len()), (1, 0), "{point}");
            // Longer than a quarter of settle_timeout.
            let_pass(Duration::from_millis(700)).await;
            daemon.signal("CONT");
            assert_eq!(until(&bench, &mut daemon, || bench.ends().contains_key("logs")).await, None);
            let not_sent =
                bench.events().iter().filter(|event| matches!(event, Event::NotSent { .. })).count();
            assert_eq!((not_sent, bench.puts()), (1, vec![kind]), "{point}: {:#?}", bench.events());
            daemon.signal("TERM");
            assert_eq!(daemon.ends_within(PATIENCE).await.code(), Some(0));
        }
    }
}

#[test]
fn what_is_shipped_has_no_failpoint() {
    let variables = ["UPGRADE_REMEDIATOR_FAILPOINT", "UPGRADE_REMEDIATOR_FAILPOINT_STOPS"];
    let text = |path: &Path| String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned();
    let (shipped, armed) = (text(env!("CARGO_BIN_EXE_upgrade-remediator").as_ref()), text(&ARMED));
    let points = points();
    assert!(points.len() >= 20, "{points:?}");
    for name in points.iter().map(String::as_str).chain(variables) {
        assert!(!shipped.contains(name), "{name} stands in the binary");
        assert!(armed.contains(name), "{name} does not stand in the binary with failure points");
    }
    let manifest: toml::Table = include_str!("../Cargo.toml").parse().unwrap();
    assert!(!manifest["features"].as_table().unwrap().contains_key("default"), "no feature is on by itself");
}
