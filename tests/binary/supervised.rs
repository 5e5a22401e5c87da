//! The daemon under a service manager: what that one is told, and when; how a stop, a storm of reloads and a crash loop
//! end. `tests/system/service` shows the same under a real one.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;
use std::future::ready;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use upgrade_remediator::clock::{Clock as _, SystemClock};
use upgrade_remediator::configuration::{self, Environment, FileText};
use upgrade_remediator::daemon::{Broken, Builder, Daemon, ProjectStates};
use upgrade_remediator::journal::{Answer, Fence, JournalError, Layer, MemoryJournal, Store};
use upgrade_remediator::model::answer::Meaning;
use upgrade_remediator::model::event::{Entry, Event, Subject};
use upgrade_remediator::model::moment::Moment;
use upgrade_remediator::model::reason::Reason;
use upgrade_remediator::notify::log::LogObserver;
use upgrade_remediator::simulator::log::{Operation, PutKind};
use upgrade_remediator::simulator::scenario::{DEFAULT_ACCESS_KEY, DEFAULT_PROJECT_ID, DEFAULT_SECRET_KEY};

use crate::support::edited::waiting;
use crate::support::{Bench, FAILED_ONCE, Process, RETRIES, eventually};

/// The end of the socket where the service manager listens.
struct Manager {
    socket: UnixDatagram,
    path: PathBuf,
    heard: Vec<String>,
}

impl Manager {
    fn new(folder: &Path) -> Self {
        let path = folder.join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_nonblocking(true).unwrap();
        Self { socket, path, heard: Vec::new() }
    }

    /// A daemon that is told to speak to it, and that it has this much patience.
    fn daemon(&self, bench: &Bench, patience: Duration) -> Process {
        let mut command = bench.command(&["run"]);
        command.env("NOTIFY_SOCKET", &self.path);
        command.env("WATCHDOG_USEC", patience.as_micros().to_string());
        Process::start(command)
    }

    /// Everything heard so far.
    fn heard(&mut self) -> &[String] {
        let mut buffer = [0; 4096];
        while let Ok(length) = self.socket.recv(&mut buffer) {
            self.heard.push(String::from_utf8_lossy(&buffer[..length]).trim_end().to_owned());
        }
        &self.heard
    }

    fn count(&mut self, what: &str) -> usize {
        self.heard().iter().filter(|message| message.starts_with(what)).count()
    }

    async fn hears(&mut self, what: &str) {
        eventually(what, || self.heard().iter().any(|message| message.starts_with(what)).then_some(())).await;
    }

    /// Where this was first heard.
    fn place(&mut self, what: &str) -> usize {
        self.heard().iter().position(|message| message.starts_with(what)).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_ready_without_the_cloud_and_shows_that_it_lives_until_it_stops() {
    let bench = Bench::new(FAILED_ONCE, RETRIES).await;
    // Nobody listens there.
    bench.configure("http://127.0.0.1:1", RETRIES);
    let mut manager = Manager::new(bench.folder.path());
    let mut daemon = manager.daemon(&bench, Duration::from_millis(400));
    manager.hears("READY=1").await;
    assert!(bench.journal().exists());
    manager.hears("STATUS=0 clusters, 0 running, test cannot be polled, breaker closed").await;
    eventually("signs of life", || (manager.count("WATCHDOG=1") >= 5).then_some(())).await;
    daemon.signal("TERM");
    assert_eq!(daemon.code().await, Some(0));
    assert_eq!(manager.count("READY=1"), 1);
    let stopping = manager.place("STOPPING=1");
    assert!(manager.place("STATUS=") < manager.place("READY=1") && manager.place("READY=1") < stopping);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_status_line_tells_what_waits_and_what_came_of_it() {
    let bench = Bench::new(FAILED_ONCE, &waiting(RETRIES, "2s")).await;
    let mut manager = Manager::new(bench.folder.path());
    let _daemon = manager.daemon(&bench, Duration::from_millis(400));
    manager.hears("STATUS=1 cluster, 0 running, next retry ").await;
    assert_eq!(bench.ended(&["logs"]).await["logs"], "resolved");
    eventually("the line at the end", || {
        let line = manager.heard().iter().rev().find(|message| message.starts_with("STATUS="))?;
        (line == "STATUS=1 cluster, 0 running, breaker closed").then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_is_told_with_its_time_and_ends_with_ready_whether_taken_or_refused() {
    let bench = Bench::new(FAILED_ONCE, &waiting(RETRIES, "1h")).await;
    let mut manager = Manager::new(bench.folder.path());
    let daemon = manager.daemon(&bench, Duration::from_mins(1));
    manager.hears("READY=1").await;
    for (n, (before, after)) in
        [("max_retries = 3", "max_retries = 2"), ("max_retries = 2", "max_retrys = 2")]
            .into_iter()
            .enumerate()
    {
        bench.edit(before, after);
        daemon.signal("HUP");
        eventually("ready again", || (manager.count("READY=1") == n + 2).then_some(())).await;
    }
    let reloads: Vec<&String> =
        manager.heard().iter().filter(|message| message.starts_with("RELOADING=1")).collect();
    assert_eq!(reloads.len(), 2);
    for reload in reloads {
        let time = reload.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap();
        assert!(time.parse::<u64>().unwrap() > 0);
    }
    manager.hears("STATUS=1 cluster, 0 running, next retry").await;
    let refused = "the last reload was refused";
    eventually("the refusal", || manager.heard().iter().any(|told| told.ends_with(refused)).then_some(()))
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signals_that_come_in_a_storm_are_a_few_reloads() {
    let bench = Bench::new(FAILED_ONCE, &waiting(RETRIES, "1h")).await;
    let mut manager = Manager::new(bench.folder.path());
    let daemon = manager.daemon(&bench, Duration::from_mins(1));
    manager.hears("READY=1").await;
    let clock = SystemClock::new();
    let began = clock.now();
    bench.edit("max_retries = 3", "max_retries = 2");
    for _ in 0..100 {
        daemon.signal("HUP");
    }
    daemon.says("changed: policy.test.retry.max_retries: 3 → 2").await;
    // What came while a reload was under way is one more, and not lost.
    bench.edit("max_retries = 2", "max_retries = 1");
    daemon.signal("HUP");
    daemon.says("changed: policy.test.retry.max_retries: 2 → 1").await;
    let storm = clock.now().since(began).as_secs();
    let reloads = manager.count("RELOADING=1");
    assert!(reloads >= 2 && reloads as u64 <= storm + 2, "{reloads} reloads in {storm} s");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_waits_ten_seconds_at_most_and_what_is_not_answered_by_then_is_journaled_as_unknown() {
    let slow = format!("{FAILED_ONCE}\n[[fault]]\non = \"retry\"\nwhat = \"delay\"\ndelay = \"40s\"\n");
    let bench = Bench::new(&slow, RETRIES).await;
    let mut command = bench.command(&["run"]);
    command.env("UPGRADE_REMEDIATOR__POLL__REQUEST_TIMEOUT", "50s");
    command.env("UPGRADE_REMEDIATOR__POLL__SETTLE_TIMEOUT", "60s");
    let mut daemon = Process::start(command);
    let came = || bench.requests().iter().any(|request| request.operation == Operation::Retry).then_some(());
    eventually("the PUT", came).await;
    daemon.signal("TERM");
    assert_eq!(daemon.ends_within(Duration::from_secs(10)).await.code(), Some(0));
    let answer = bench.events().into_iter().find_map(|event| match event {
        Event::Answered { answer, .. } => Some(answer),
        _ => None,
    });
    let answer = answer.unwrap();
    assert_eq!((answer.meaning, answer.status), (Meaning::Unknown, None));
    assert!(answer.message.contains("stopped"), "{answer}");

    let _again = bench.daemon();
    assert_eq!(bench.ended(&["logs"]).await["logs"], "resolved");
    assert_eq!(bench.puts(), [PutKind::Retry]);
    bench.judge();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_loop_sends_nothing_earlier_than_the_journal_says() {
    let bench = Bench::new(FAILED_ONCE, &waiting(RETRIES, "4s")).await;
    let mut daemon = bench.daemon();
    bench.journaled("the wait", |event| matches!(event, Event::Decided { .. })).await;
    let until = |event| match event {
        Event::Decided { reason: Reason::Backoff { until, .. }, .. } => Some(until),
        _ => None,
    };
    let due = bench.events().into_iter().find_map(until).unwrap();
    for _ in 0..8 {
        daemon.kill();
        daemon = bench.daemon();
        bench.looks_on(1).await;
    }
    assert_eq!(bench.ended(&["logs"]).await["logs"], "resolved");
    let intents: Vec<_> = bench
        .entries()
        .into_iter()
        .filter(|entry| matches!(entry.event, Event::Intent { .. }))
        .map(|entry| entry.at)
        .collect();
    assert_eq!(intents.len(), 1);
    assert!(intents[0] >= due, "sent at {}, due at {due}", intents[0]);
    let waits = bench
        .events()
        .iter()
        .filter(|event| matches!(event, Event::Decided { reason: Reason::Backoff { .. }, .. }))
        .count();
    assert_eq!(waits, 1, "no restart began the wait anew");
    bench.judge();
}

/// What is wrong with a journal.
#[derive(PartialEq)]
enum Wrong {
    /// Its keeper is gone.
    Gone,
    /// Whoever records something panics.
    Panics,
}

/// A journal with which something is wrong.
struct Ill(MemoryJournal, Wrong);

impl Layer for Ill {
    fn beneath(&self) -> &dyn Store {
        &self.0
    }

    fn append(&self, fence: Fence, at: Moment, lines: Vec<(Subject, Event)>) -> Answer<'_, Vec<Entry>> {
        assert!(self.1 != Wrong::Panics, "as the test asks");
        self.0.append(fence, at, lines)
    }

    fn check_alive(&self) -> Answer<'_, ()> {
        match self.1 {
            Wrong::Gone => Box::pin(ready(Err(JournalError::Closed { path: "journal.db".into() }))),
            Wrong::Panics => self.0.check_alive(),
        }
    }
}

/// How a daemon in this process ends by itself, with such a journal and two projects.
async fn ends(wrong: Wrong) -> Broken {
    let bench = Bench::new(FAILED_ONCE, RETRIES).await;
    let environment =
        Environment::new([("TEST_ACCESS_KEY", DEFAULT_ACCESS_KEY), ("TEST_SECRET_KEY", DEFAULT_SECRET_KEY)]);
    let text = fs::read_to_string(bench.config()).unwrap();
    let (before, project) = text.split_once("[[project]]").unwrap();
    let (project, after) = project.split_once("[credentials.test]").unwrap();
    // Nobody listens at its endpoint: it is always about to try again.
    let other = project
        .replace(&bench.simulator.url(), "http://127.0.0.1:1")
        .replace("\"test\"\nregion", "\"other\"\nregion")
        .replace(DEFAULT_PROJECT_ID, "other");
    let text = format!("{before}[[project]]{project}[[project]]{other}[credentials.test]{after}");
    let main = FileText { file: bench.config(), text };
    let loaded = configuration::load_texts(&main, &[], &environment).unwrap();
    assert_eq!(loaded.configuration.projects.len(), 2);
    let mut states = ProjectStates::default();
    let stopping = CancellationToken::new();
    let parts = (Ill(MemoryJournal::default(), wrong).into(), &mut states);
    let clock = Arc::new(SystemClock::new());
    let builder = Builder::new(&environment, parts, &clock, &Arc::new(LogObserver), &stopping);
    let service = Daemon::build(bench.config(), loaded, environment, (builder, states), || {}).unwrap();
    let (_ask, questions) = tokio::sync::mpsc::channel(1);
    let ended = tokio::time::timeout(Duration::from_secs(20), service.run(Arc::default(), questions)).await;
    assert!(stopping.is_cancelled());
    ended.unwrap().unwrap_err()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_whose_journal_nobody_keeps_any_more_ends() {
    let broken = ends(Wrong::Gone).await;
    assert!(matches!(broken, Broken::Journal(_)), "{broken:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_in_one_look_ends_the_whole_daemon_and_not_a_half_of_it() {
    let broken = ends(Wrong::Panics).await;
    assert!(matches!(&broken, Broken::Panicked(error) if error.is_panic()), "{broken:?}");
}
