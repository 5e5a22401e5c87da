//! A name server that never answers. The C library waits for it in a thread that nobody can stop: 40 seconds with two
//! servers and a search list.

use std::fs;
use std::net::UdpSocket;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use tempfile::TempDir;
use upgrade_remediator::model::event::Event;

use super::machine::{can_mount, skipped};
use crate::support::edited;
use crate::support::{Bench, FAILED_ONCE, Process, RETRIES, alone, eventually};

/// What the contract says of a stop, and what a command may take for what is no wait for a name.
const SOON: Duration = Duration::from_secs(5);
/// How long a command that sends messages waits for a channel.
const TELLING: Duration = Duration::from_secs(20);
/// How long `doctor` waits for a name by itself.
const PATIENCE_OF_DOCTOR: Duration = Duration::from_secs(10);

/// Two name servers that take every question and answer none, and the file that names them.
struct Silence {
    folder: TempDir,
    _servers: [UdpSocket; 2],
}

/// The second number of the next name server's address.
static NEXT: AtomicU8 = AtomicU8::new(100);

impl Silence {
    /// `None`: only root can do this, which was told.
    fn new() -> Option<Self> {
        if !can_mount() {
            return None;
        }
        // Addresses that no other test takes: the port of a name server cannot be chosen.
        let [.., high, low] = std::process::id().to_be_bytes();
        let bound = [(); 2].map(|()| {
            let own = NEXT.fetch_add(1, Ordering::Relaxed);
            UdpSocket::bind((format!("127.{own}.{high}.{low}"), 53))
        });
        let servers = match bound {
            [Ok(one), Ok(other)] => [one, other],
            [Err(error), _] | [_, Err(error)] => {
                skipped(&format!("no socket can be a name server here: {error}"));
                return None;
            }
        };
        let folder = TempDir::new().unwrap();
        let named =
            servers.each_ref().map(|server| format!("nameserver {}\n", server.local_addr().unwrap().ip()));
        fs::write(folder.path().join("resolv.conf"), format!("search a.test b.test\n{}", named.concat()))
            .unwrap();
        Some(Self { folder, _servers: servers })
    }

    /// The command, in a world where nobody else is asked for names.
    fn around(&self, command: &Command) -> Command {
        let file: PathBuf = self.folder.path().join("resolv.conf");
        let mut around = alone("unshare");
        around.args(["--mount", "sh", "-c", "mount --bind \"$0\" /etc/resolv.conf && exec \"$@\""]).arg(file);
        around.arg(command.get_program()).args(command.get_args());
        around.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        around
    }
}

/// A failed task in a project that answers, a second project and a channel by names that nobody resolves.
async fn bench() -> Bench {
    let more = format!(
        r#"{policy}
[notify]
default = ["ops"]
[[channel]]
name = "ops"
type = "webhook"
url = {{ env = "TEST_ACCESS_URL" }}
[[project]]
name = "nowhere"
region = "eu-west-102"
project_id = "00000000000000000000000000000002"
endpoint = "https://css.nowhere.example"
credentials = "test"
"#,
        policy = edited::waiting(RETRIES, "1h"),
    );
    let bench = Bench::new(FAILED_ONCE, "").await;
    bench.configure(&bench.simulator.url(), &more);
    bench
}

fn start(silence: &Silence, bench: &Bench, arguments: &[&str]) -> Process {
    let mut command = silence.around(&bench.command(arguments));
    command.env("TEST_ACCESS_URL", "https://hooks.nowhere.example/secret");
    Process::start(command)
}

/// How many messages wait in the journal to be sent.
fn waiting(bench: &Bench) -> i64 {
    let Ok(journal) = rusqlite::Connection::open(bench.journal()) else { return 0 };
    journal.query_row("SELECT count(*) FROM outbox", [], |row| row.get(0)).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_server_that_never_answers_keeps_no_daemon_from_ending_and_nothing_is_lost() {
    let Some(silence) = Silence::new() else { return };
    let bench = bench().await;
    let mut daemon = start(&silence, &bench, &["run"]);
    bench.journaled("the wait", |event| matches!(event, Event::Decided { .. })).await;
    // The channel and the other project are looking names up by then.
    eventually("a message that waits", || (waiting(&bench) > 0).then_some(())).await;
    daemon.says("nowhere").await;
    daemon.signal("TERM");
    assert_eq!(daemon.ends_within(SOON).await.code(), Some(0), "{}", daemon.stderr());
    daemon.says(" stopped").await;
    assert!(!bench.journal().with_extension("db-wal").exists(), "the journal was not closed");
    assert!(waiting(&bench) > 0, "what was to be told is lost");
    assert!(bench.events().iter().any(|event| matches!(event, Event::Decided { .. })));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_command_ends_when_its_work_is_done_whatever_a_name_server_does() {
    let Some(silence) = Silence::new() else { return };
    let bench = bench().await;
    let commands = [
        (["plan"].as_slice(), SOON, 1, "1 clusters polled"),
        (&["notify-test", "ops"], SOON + TELLING, 1, ""),
        (&["run", "--once"], SOON + TELLING, 1, ""),
        // For the project's name, and for the channel's.
        (&["doctor"], SOON + 2 * PATIENCE_OF_DOCTOR, 3, "does not resolve within 10s"),
    ];
    let running: Vec<Process> =
        commands.iter().map(|(arguments, ..)| start(&silence, &bench, arguments)).collect();
    for ((arguments, limit, code, says), mut process) in commands.into_iter().zip(running) {
        process.ends_within(limit).await;
        assert_eq!(process.code().await, Some(code), "{arguments:?}: {}", process.stderr());
        assert!(process.stdout().contains(says), "{arguments:?}: {}", process.stdout());
    }
}
