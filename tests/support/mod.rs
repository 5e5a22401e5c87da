//! The real binary beside a simulated service, for tests that look at the daemon from outside: by what reached
//! the service, by what stands in the journal, by what was printed and by how the process ended.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::{Read, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::Connection;
use rusqlite::config::DbConfig;
use tempfile::TempDir;
use tokio::net::TcpListener;
use upgrade_remediator::clock::{Clock, SystemClock};
use upgrade_remediator::daemon::ProjectStates;
use upgrade_remediator::journal::JournalReader;
use upgrade_remediator::journal::reader::Query;
use upgrade_remediator::model::answer::Meaning;
use upgrade_remediator::model::decision::Action;
use upgrade_remediator::model::event::{Event, Outcome, StoredEntry};
use upgrade_remediator::model::id::ProjectName;
use upgrade_remediator::simulator::log::{Operation, PutKind, PutRecord, Record, RequestRecord};
use upgrade_remediator::simulator::scenario::{DEFAULT_ACCESS_KEY, DEFAULT_PROJECT_ID, DEFAULT_SECRET_KEY};
use upgrade_remediator::simulator::{Scenario, Simulator, World};

pub(crate) mod edited;
pub(crate) mod proxy;

/// What a test waits for comes within this, or never.
const PATIENCE: Duration = Duration::from_mins(1);
const PAUSE: Duration = Duration::from_millis(10);
/// Both logs tell milliseconds, rounded each in its own way.
const ROUNDING: jiff::SignedDuration = jiff::SignedDuration::from_millis(5);

/// One upgrade that failed a minute ago. Retried, it succeeds within a second.
pub(crate) const FAILED_ONCE: &str = r#"
node_time = "200ms"
[[cluster]]
name = "logs"
[[cluster.task]]
kind = "upgrade"
start = "-10m"
end = "-1m"
status = "FAILED"
"#;

/// Fails at its second node, always.
pub(crate) const HALF_DONE: &str = r#"
node_time = "200ms"
[[cluster]]
name = "logs"
[[cluster.task]]
kind = "upgrade"
fail = [{ node = 2, times = "always", step = 0 }]
"#;

/// Retries soon, three times.
pub(crate) const RETRIES: &str = r#"
[[policy]]
name = "test"
abort_grace = "300ms"
[policy.retry]
max_retries = 3
initial_interval = "300ms"
multiplier = 1.0
max_interval = "300ms"
randomization_factor = 0.0
"#;

/// Retries never, and aborts soon.
pub(crate) const ABORTS: &str = r#"
[[policy]]
name = "test"
abort_grace = "300ms"
[policy.retry]
max_retries = 0
"#;

/// Retries never, and calls an operator at once.
pub(crate) const CALLS_A_HUMAN: &str = r#"
[[policy]]
name = "test"
on_exhausted = "escalate"
[policy.retry]
max_retries = 0
"#;

/// Waits until there is something to see. Fails where that takes too long.
pub(crate) async fn eventually<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    within(PATIENCE, what, look).await
}

/// As [`eventually`], with a time limit of its own.
pub(crate) async fn within<T>(limit: Duration, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let clock = SystemClock::new();
    let began = clock.now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(clock.now().since(began) < limit, "waited {limit:?} in vain for {what}");
        clock.sleep(PAUSE).await;
    }
}

/// Lets time pass, for what must not happen meanwhile.
pub(crate) async fn let_pass(time: Duration) {
    SystemClock::new().sleep(time).await;
}

/// One request of HTTP as it stands: status, head and body of its answer.
pub(crate) fn exchange(address: SocketAddr, request: &str) -> (u16, String, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head.to_owned(), body.to_owned())
}

/// The answer to a GET.
pub(crate) fn get(address: SocketAddr, path: &str) -> (u16, String, String) {
    let port = address.port();
    exchange(address, &format!("GET {path} HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: close\r\n\r\n"))
}

/// A user as the system's database names it, or by the uid where there is none.
pub(crate) fn user(uid: u32) -> String {
    let found = alone("id").args(["-nu", &uid.to_string()]).output().unwrap();
    if !found.status.success() {
        return format!("uid {uid}");
    }
    String::from_utf8(found.stdout).unwrap().trim().to_owned()
}

/// A simulated service, and a directory with the configuration and the journal of a daemon that watches it.
pub(crate) struct Bench {
    pub(crate) folder: TempDir,
    pub(crate) simulator: Simulator,
}

impl Bench {
    /// A service by this scenario, and a configuration that enforces this policy.
    pub(crate) async fn new(scenario: &str, policy: &str) -> Self {
        let clock = Arc::new(SystemClock::new());
        let scenario = Scenario::parse(scenario, "test").unwrap();
        let world = World::new(scenario, 1, clock.now().wall);
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let simulator = Simulator::start(listener, world, clock).unwrap();
        let bench = Self { folder: TempDir::new().unwrap(), simulator };
        bench.configure(&bench.simulator.url(), policy);
        bench
    }

    /// Writes the configuration anew.
    pub(crate) fn configure(&self, endpoint: &str, policy: &str) {
        let configuration = format!(
            r#"
mode = "enforce"
[journal]
url = "sqlite:{journal}"
[poll]
discovery_interval = "1s"
idle_interval = "200ms"
active_interval = "100ms"
settle_interval = "100ms"
settle_timeout = "2s"
request_timeout = "800ms"
[limits]
requests_per_second = 500
[http]
listen = ""
[control]
socket = "{socket}"
[[project]]
name = "test"
region = "eu-west-101"
project_id = "{DEFAULT_PROJECT_ID}"
endpoint = "{endpoint}"
credentials = "test"
[credentials.test]
type = "ak-sk"
access_key = {{ env = "TEST_ACCESS_KEY" }}
secret_key = {{ env = "TEST_SECRET_KEY" }}
{policy}"#,
            journal = self.journal().display(),
            socket = self.socket().display(),
        );
        fs::write(self.config(), configuration).unwrap();
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.folder.path().join("config.toml")
    }

    /// The user who runs the tests.
    pub(crate) fn uid(&self) -> u32 {
        std::os::unix::fs::MetadataExt::uid(&fs::metadata(self.config()).unwrap())
    }

    pub(crate) fn journal(&self) -> PathBuf {
        self.folder.path().join("journal.db")
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join("control.sock")
    }

    /// Replaces something in the configuration.
    pub(crate) fn edit(&self, before: &str, after: &str) {
        let configuration = fs::read_to_string(self.config()).unwrap();
        assert!(configuration.contains(before), "{before:?} is not in the configuration");
        fs::write(self.config(), configuration.replace(before, after)).unwrap();
    }

    /// Runs a command to its end: its exit code, and what it printed.
    pub(crate) async fn runs(&self, arguments: &[&str]) -> (i32, String, String) {
        let mut process = Process::start(self.command(arguments));
        let code = process.code().await.unwrap();
        (code, process.stdout(), process.stderr())
    }

    /// Runs a command on a terminal where this is typed: its exit code, and what stands there then.
    pub(crate) async fn on_a_terminal(&self, arguments: &[&str], typed: &str) -> (i32, String) {
        let plain = self.command(arguments);
        let words = std::iter::once(plain.get_program()).chain(plain.get_args());
        let words: Vec<String> = words.map(|word| format!("'{}'", word.to_str().unwrap())).collect();
        let mut command = alone("script");
        command.args(["-qec", &words.join(" "), "/dev/null"]).env("TERM", "xterm");
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        command.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(typed.as_bytes()).unwrap();
        let ended = tokio::task::spawn_blocking(move || child.wait_with_output()).await.unwrap().unwrap();
        (ended.status.code().unwrap(), String::from_utf8_lossy(&ended.stdout).into_owned())
    }

    /// The binary with these arguments and this configuration, in an environment of its own.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        self.with_configuration(program(), arguments)
    }

    /// The same of another binary, or by way of another program.
    pub(crate) fn with_configuration(&self, mut command: Command, arguments: &[&str]) -> Command {
        command.args(arguments).arg("--config").arg(self.config());
        command.env("TEST_ACCESS_KEY", DEFAULT_ACCESS_KEY).env("TEST_SECRET_KEY", DEFAULT_SECRET_KEY);
        command
    }

    /// Starts the daemon.
    pub(crate) fn daemon(&self) -> Process {
        Process::start(self.command(&["run"]))
    }

    /// Starts the daemon with its page, and gives the page's address.
    pub(crate) async fn daemon_with_page(&self) -> (Process, SocketAddr) {
        self.edit("listen = \"\"", "listen = \"127.0.0.1:0\"");
        let daemon = self.daemon();
        let address = daemon.page().await;
        (daemon, address)
    }

    /// What stands in the journal; nothing where there is none yet.
    pub(crate) fn entries(&self) -> Vec<StoredEntry> {
        if !self.journal().exists() {
            return Vec::new();
        }
        JournalReader::open(&self.journal()).unwrap().entries(&Query::default()).unwrap()
    }

    /// The events of the journal.
    pub(crate) fn events(&self) -> Vec<Event> {
        self.entries().into_iter().map(|entry| entry.event).collect()
    }

    /// Waits until such an event stands in the journal.
    pub(crate) async fn journaled(&self, what: &str, is_it: impl Fn(&Event) -> bool) {
        eventually(what, || self.events().iter().any(&is_it).then_some(())).await;
    }

    /// What reached the service.
    pub(crate) fn requests(&self) -> Vec<RequestRecord> {
        let log = self.simulator.log().into_iter();
        log.filter_map(|entry| match entry.record {
            Record::Request(request) => Some(*request),
            _ => None,
        })
        .collect()
    }

    /// The PUTs that reached a task, with the time of each.
    fn puts_in_time(&self) -> Vec<(jiff::Timestamp, PutRecord)> {
        let log = self.simulator.log().into_iter();
        log.filter_map(|entry| match entry.record {
            Record::Request(request) => Some((entry.wall, request.put?)),
            _ => None,
        })
        .collect()
    }

    /// What the PUTs that reached a task asked for, in their order.
    pub(crate) fn puts(&self) -> Vec<PutKind> {
        self.puts_in_time().into_iter().map(|(_, put)| put.kind).collect()
    }

    /// How often tasks were read.
    pub(crate) fn readings(&self) -> usize {
        self.requests().iter().filter(|request| request.operation == Operation::Tasks).count()
    }

    /// Waits for so many further readings of tasks.
    pub(crate) async fn looks_on(&self, readings: usize) {
        let before = self.readings();
        eventually("further readings", || (self.readings() >= before + readings).then_some(())).await;
    }

    /// How the stories of the tasks ended, by the clusters' names; the reason's code where an operator was called.
    pub(crate) fn ends(&self) -> BTreeMap<String, String> {
        let now = SystemClock::new().now();
        let mut states = ProjectStates::default();
        self.entries().into_iter().for_each(|entry| states.fold(entry, now));
        let project_state = states.take(&ProjectName::new("test").unwrap(), now);
        let tasks = project_state.clusters.values().flat_map(|history| history.tasks.values());
        let ends = tasks.filter_map(|task| {
            let closed = task.outcome().map(Outcome::word);
            let end = closed.or_else(|| Some(task.escalated.as_ref()?.reason.code()))?;
            Some((task.cluster_name.clone(), end.to_owned()))
        });
        ends.collect()
    }

    /// Waits until the story of every one of these clusters has ended, and tells how.
    pub(crate) async fn ended(&self, clusters: &[&str]) -> BTreeMap<String, String> {
        let all = |ends: &BTreeMap<String, String>| clusters.iter().all(|name| ends.contains_key(*name));
        eventually("the end of every story", || Some(self.ends()).filter(all)).await
    }

    /// Holds what reached the service against what stands in the journal: no PUT without its intent, none that
    /// could do harm or came to a task that was not failed, and no intent while an earlier attempt was open.
    pub(crate) fn judge(&self) {
        let entries = self.entries();
        let mut nth = BTreeMap::new();
        for (at, put) in self.puts_in_time() {
            assert!(put.hazards.is_empty() && !put.is_unsafe, "a PUT that must not have been sent: {put:?}");
            let nth: &mut usize = nth.entry((put.task.clone(), put.kind == PutKind::Abort)).or_default();
            *nth += 1;
            let kind = if put.kind == PutKind::Abort { Action::Abort } else { Action::Retry };
            let intents = entries.iter().filter(|entry| {
                matches!(entry.event, Event::Intent { action, .. } if action == kind)
                    && entry.subject.task.as_str() == put.task
                    && entry.at <= at + ROUNDING
            });
            assert!(intents.count() >= *nth, "a PUT without an intent before it: {put:?}");
        }
        let mut open = BTreeMap::new();
        for StoredEntry { number, subject, event, .. } in &entries {
            match event {
                Event::Intent { action, .. } => {
                    let earlier = open.insert(subject.task.clone(), (*number, *action));
                    assert_eq!(earlier, None, "intent {number} was committed while this was open");
                }
                Event::Answered { answer, .. } => match answer.meaning {
                    Meaning::Unknown => {}
                    // An accepted retry is settled by reading; an accepted abort closes the task.
                    Meaning::Accepted if matches!(open.get(&subject.task), Some((_, Action::Retry))) => {}
                    _ => drop(open.remove(&subject.task)),
                },
                Event::NotSent { .. } | Event::Confirmed { .. } => drop(open.remove(&subject.task)),
                _ => {}
            }
        }
    }
}

/// Keeps everybody else from writing the journal.
pub(crate) struct WriteLock(Connection);

impl WriteLock {
    pub(crate) fn take(bench: &Bench) -> Self {
        let connection = Connection::open(bench.journal()).unwrap();
        // What a killed daemon leaves must not be put in order by this connection.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).unwrap();
        connection.execute_batch("BEGIN IMMEDIATE").unwrap();
        Self(connection)
    }

    pub(crate) fn release(self) {
        self.0.execute_batch("ROLLBACK").unwrap();
    }
}

/// The binary, alone.
pub(crate) fn program() -> Command {
    alone(env!("CARGO_BIN_EXE_upgrade-remediator"))
}

/// A program with nothing of this process's environment but where programs and temporary files are.
pub(crate) fn alone(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.env_clear();
    for name in ["PATH", "TMPDIR"] {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    command
}

/// What a process prints, as it prints it.
#[derive(Clone, Default)]
struct Printed(Arc<Mutex<Vec<u8>>>);

impl Printed {
    fn collect(from: Option<impl Read + Send + 'static>) -> Self {
        let printed = Self::default();
        if let Some(mut from) = from {
            let into = printed.clone();
            std::thread::spawn(move || {
                let mut buffer = [0; 8192];
                while let Ok(length @ 1..) = from.read(&mut buffer) {
                    into.0.lock().unwrap().extend_from_slice(&buffer[..length]);
                }
            });
        }
        printed
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }
}

/// A running process. It is killed when this is dropped.
pub(crate) struct Process {
    child: Child,
    stdout: Printed,
    stderr: Printed,
}

impl Process {
    /// Starts it, and collects what it prints.
    pub(crate) fn start(mut command: Command) -> Self {
        let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self::of(command.spawn().unwrap())
    }

    /// Takes one that was started; what it prints is collected where it is piped to here.
    pub(crate) fn of(mut child: Child) -> Self {
        let (stdout, stderr) = (Printed::collect(child.stdout.take()), Printed::collect(child.stderr.take()));
        Self { child, stdout, stderr }
    }

    /// Starts it, with a standard error that nobody reads until [`Self::reads`].
    pub(crate) fn unread(mut command: Command) -> (Self, ChildStderr) {
        let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stderr = child.stderr.take().unwrap();
        (Self::of(child), stderr)
    }

    /// Begins to collect what it has written and writes to its standard error.
    pub(crate) fn reads(&mut self, stderr: ChildStderr) {
        self.stderr = Printed::collect(Some(stderr));
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has written to its standard error so far.
    pub(crate) fn stderr(&self) -> String {
        self.stderr.text()
    }

    /// What it has written to its standard output so far.
    pub(crate) fn stdout(&self) -> String {
        self.stdout.text()
    }

    /// Waits until it has written this to its standard error.
    pub(crate) async fn says(&self, text: &str) {
        eventually(&format!("{text:?} in the log"), || self.stderr().contains(text).then_some(())).await;
    }

    /// The address of its page, once it has told it.
    pub(crate) async fn page(&self) -> SocketAddr {
        let told = || {
            let log = self.stderr();
            let (_, rest) = log.split_once("the status page is at http://")?;
            rest.split('/').next()?.parse().ok()
        };
        eventually("the page's address", told).await
    }

    /// Sends it a signal by its name.
    pub(crate) fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.pid());
        assert!(Command::new("sh").arg("-c").arg(kill).status().unwrap().success());
    }

    /// Kills it, with no time to put anything in order.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// How it ended, where it has.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Whether it still runs.
    pub(crate) fn runs(&mut self) -> bool {
        self.ended().is_none()
    }

    /// Waits for its end, for so long.
    pub(crate) async fn ends_within(&mut self, limit: Duration) -> ExitStatus {
        within(limit, "the end of the process", || self.child.try_wait().unwrap()).await
    }

    /// Waits for its end, and gives its exit code.
    pub(crate) async fn code(&mut self) -> Option<i32> {
        let code = self.ends_within(PATIENCE).await.code();
        // The threads that collect what it printed end soon after it.
        eventually("the end of the output", || {
            let held = Arc::strong_count(&self.stdout.0) + Arc::strong_count(&self.stderr.0);
            (held == 2).then_some(())
        })
        .await;
        code
    }
}

impl Drop for Process {
    #[expect(clippy::print_stderr, reason = "what the daemon said explains why a test failed")]
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- stdout of the process\n{}--- stderr\n{}---", self.stdout(), self.stderr());
        }
    }
}
