//! A log that nobody reads. Whoever logs never waits: what does not fit is lost, counted and told.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use upgrade_remediator::simulator::log::PutKind;

use super::machine::can_mount;
use crate::support::{Bench, FAILED_ONCE, Process, RETRIES, alone, eventually};

/// A stop takes no longer where no PUT is under way: a second of it for the last lines.
const STOP: Duration = Duration::from_secs(5);
/// Readings after which more was logged than a pipe and the queue of the log hold, at `trace`.
const READINGS: usize = 2_500;

/// A fleet beside the failed task, so that much is logged.
fn talkative() -> String {
    format!("{FAILED_ONCE}\n[[cluster]]\nname = \"fleet\"\ncount = 60\n")
}

/// The daemon logs everything.
fn logging_all(mut command: Command) -> Command {
    command.env("UPGRADE_REMEDIATOR__LOG__FILTER", "trace");
    command
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stderr_that_nobody_reads_holds_nothing_back_and_what_was_lost_is_told() {
    let bench = Bench::new(&talkative(), RETRIES).await;
    let (mut daemon, stderr) = Process::unread(logging_all(bench.command(&["run"])));
    assert_eq!(bench.ended(&["logs"]).await["logs"], "resolved");
    assert_eq!(bench.puts(), [PutKind::Retry]);
    bench.looks_on(READINGS).await;
    // It is read again.
    daemon.reads(stderr);
    daemon.says("lines of the log were lost").await;
    daemon.signal("TERM");
    assert_eq!(daemon.code().await, Some(0));
    let log = daemon.stderr();
    assert!(log.starts_with("20") && log.ends_with("stopped\n"), "the first line and the last one are there");
    let lost = log.lines().find(|line| line.contains("lines of the log were lost")).unwrap();
    let number: u64 = lost.split("lost=").nth(1).unwrap().trim().parse().unwrap();
    assert!(number > 0 && lost.contains("WARN"), "{lost}");
    bench.judge();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_whose_stderr_nobody_reads_stops_in_time_whatever_it_has_to_say() {
    let bench = Bench::new(&talkative(), RETRIES).await;
    let (mut daemon, _stderr) = Process::unread(logging_all(bench.command(&["run"])));
    assert_eq!(bench.ended(&["logs"]).await["logs"], "resolved");
    bench.looks_on(READINGS).await;
    daemon.signal("TERM");
    assert_eq!(daemon.ends_within(STOP).await.code(), Some(0));
    // Nor does a last word keep one that cannot begin.
    let full = "head -c 1000000 /dev/zero >&2 & until [ \"$(cat /proc/$!/wchan)\" != 0 ] && sleep 0.3; do :; done; exec \"$0\" \"$@\"";
    bench.edit("mode = \"enforce\"", "mode = \"enforced\"");
    let command = bench.command(&["run"]);
    let mut shell = alone("sh");
    shell.arg("-c").arg(full).arg(command.get_program()).args(command.get_args());
    let (mut refused, _stderr) = Process::unread(shell);
    assert_eq!(refused.ends_within(STOP).await.code(), Some(78));
}

/// The journal of a system, which reads when the test does.
struct SystemJournal {
    socket: UnixDatagram,
}

impl SystemJournal {
    fn at(folder: &Path) -> Self {
        fs::create_dir(folder).unwrap();
        let socket = UnixDatagram::bind(folder.join("socket")).unwrap();
        socket.set_nonblocking(true).unwrap();
        Self { socket }
    }

    /// The daemon, for which this is the journal of the system.
    fn of(bench: &Bench, folder: &Path) -> Command {
        let script = "mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/journal && \
                      mount --bind \"$FOLDER\" /run/systemd/journal && exec \"$0\" \"$@\"";
        let command = bench.command(&["run"]);
        let mut unshared = alone("unshare");
        unshared.args(["--mount", "sh", "-c", script]).arg(command.get_program()).args(command.get_args());
        unshared.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        unshared.env("FOLDER", folder).env("UPGRADE_REMEDIATOR__LOG__FORMAT", "journald");
        unshared
    }

    /// What has come since.
    fn read(&self) -> String {
        let mut buffer = vec![0; 1 << 20];
        let mut read = String::new();
        while let Ok(length) = self.socket.recv(&mut buffer) {
            read.push_str(&String::from_utf8_lossy(&buffer[..length]));
        }
        read
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_journal_of_the_system_that_reads_nothing_holds_nothing_back_either() {
    if !can_mount() {
        return;
    }
    let bench = Bench::new(&talkative(), RETRIES).await;
    let folder = bench.folder.path().join("systems");
    let journal = SystemJournal::at(&folder);
    let mut daemon = Process::start(logging_all(SystemJournal::of(&bench, &folder)));
    assert_eq!(bench.ended(&["logs"]).await["logs"], "resolved");
    bench.looks_on(READINGS).await;
    let mut read = String::new();
    eventually("what was lost", || {
        read += &journal.read();
        read.contains("lines of the log were lost").then_some(())
    })
    .await;
    assert!(read.contains("started in mode enforce"), "the first lines are there");
    daemon.signal("TERM");
    eventually("the last line", || {
        read += &journal.read();
        read.contains("stopped\n").then_some(())
    })
    .await;
    assert_eq!(daemon.code().await, Some(0));
    assert_eq!((bench.puts(), daemon.stderr()), (vec![PutKind::Retry], String::new()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_manager_that_reads_nothing_holds_nothing_back() {
    let bench = Bench::new(FAILED_ONCE, RETRIES).await;
    let path = bench.folder.path().join("notify");
    let _manager = UnixDatagram::bind(&path).unwrap();
    let full = UnixDatagram::unbound().unwrap();
    full.set_nonblocking(true).unwrap();
    while full.send_to(b"STATUS=full", &path).is_ok() {}
    let mut command = bench.command(&["run"]);
    command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "400000");
    let mut daemon = Process::start(command);
    assert_eq!(bench.ended(&["logs"]).await["logs"], "resolved");
    daemon.signal("TERM");
    assert_eq!(daemon.ends_within(STOP).await.code(), Some(0));
    assert_eq!(bench.puts(), [PutKind::Retry]);
}
