//! Few descriptors, and none left.

use std::fmt::Write as _;
use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use upgrade_remediator::model::event::Event;
use upgrade_remediator::simulator::log::PutKind;

use super::machine::{descriptors, processor_time};
use crate::support::edited::waiting;
use crate::support::{Bench, FAILED_ONCE, Process, RETRIES, alone, eventually, let_pass, within};

/// So many are few: the daemon itself needs about 20.
const FEW: usize = 64;
/// Connections that say nothing, to the page and to the control socket each.
const IDLE: usize = 60;
/// Those who say nothing are let go after ten seconds.
const PAGE_PATIENCE: Duration = Duration::from_secs(40);

/// The daemon with so many descriptors.
fn with_few(bench: &Bench) -> Process {
    let command = bench.command(&["run"]);
    let mut shell = alone("sh");
    shell.args(["-c", &format!("ulimit -n {FEW}; exec \"$0\" \"$@\"")]);
    shell.arg(command.get_program()).args(command.get_args());
    shell.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    Process::start(shell)
}

/// Connections that say nothing; one that was let go is begun anew.
struct Flood {
    stop: CancellationToken,
    all: TaskTracker,
}

impl Flood {
    fn begin(page: SocketAddr, socket: &Path) -> Self {
        let (stop, all) = (CancellationToken::new(), TaskTracker::new());
        for _ in 0..IDLE {
            let (socket, stop) = (socket.to_owned(), stop.clone());
            all.spawn(stop.clone().run_until_cancelled_owned(async move {
                loop {
                    if let Ok(mut stream) = tokio::net::TcpStream::connect(page).await {
                        let _ = stream.read_u8().await;
                    }
                    let_pass(Duration::from_millis(50)).await;
                }
            }));
            all.spawn(stop.run_until_cancelled_owned(async move {
                loop {
                    if let Ok(mut stream) = UnixStream::connect(&socket).await {
                        let _ = stream.read_u8().await;
                    }
                    let_pass(Duration::from_millis(50)).await;
                }
            }));
        }
        all.close();
        Self { stop, all }
    }

    async fn end(self) {
        self.stop.cancel();
        self.all.wait().await;
    }
}

/// The status page's address, as the log tells it.
async fn page_of(daemon: &Process) -> SocketAddr {
    eventually("the page's address", || {
        let log = daemon.stderr();
        log.split_once("the status page is at http://")?.1.split('/').next()?.parse().ok()
    })
    .await
}

/// Whether the page says that the daemon lives.
async fn lives(page: SocketAddr) -> bool {
    let asked = async {
        let mut stream = tokio::net::TcpStream::connect(page).await?;
        stream.write_all(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        std::io::Result::Ok(answer.starts_with("HTTP/1.1 200"))
    };
    matches!(tokio::time::timeout(PAGE_PATIENCE, asked).await, Ok(Ok(true)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_64_of_them_and_a_flood_of_idle_connections_every_failed_task_gets_its_retry() {
    let fleet = format!("{FAILED_ONCE}\n[[cluster]]\nname = \"fleet\"\ncount = 40\n");
    let benches = [
        Bench::new(&fleet, RETRIES).await,
        Bench::new(&format!("project_id = \"test-1\"\n{fleet}"), RETRIES).await,
        Bench::new(&format!("project_id = \"test-2\"\n{fleet}"), RETRIES).await,
    ];
    let bench = &benches[0];
    // Failed tasks are found once the flood is there.
    bench.edit("initial_interval = \"300ms\"", "initial_interval = \"3s\"");
    bench.edit("max_interval = \"300ms\"", "max_interval = \"3s\"");
    bench.edit("listen = \"\"", "listen = \"127.0.0.1:0\"");
    bench.edit("request_timeout = \"800ms\"", "request_timeout = \"5s\"");
    bench.edit("settle_timeout = \"2s\"", "settle_timeout = \"6s\"");
    let mut configuration = fs::read_to_string(bench.config()).unwrap();
    for (n, other) in benches.iter().enumerate().skip(1) {
        let endpoint = other.simulator.url();
        write!(
            configuration,
            "\n[[project]]\nname = \"test-{n}\"\nregion = \"eu-west-101\"\nproject_id = \"test-{n}\"\n\
             endpoint = \"{endpoint}\"\ncredentials = \"test\"\n"
        )
        .unwrap();
    }
    fs::write(bench.config(), configuration).unwrap();
    let mut daemon = with_few(bench);
    let page = page_of(&daemon).await;
    daemon.says("each project sends at most 5 requests at once instead of 16").await;
    let flood = Flood::begin(page, &bench.socket());
    for bench in &benches {
        eventually("its retry", || (!bench.puts().is_empty()).then_some(())).await;
    }
    let at_most = descriptors(&daemon);
    assert!(at_most <= FEW, "{at_most}");
    bench.looks_on(200).await;
    for bench in &benches {
        let state = || {
            bench.simulator.inspect(|world| world.state()["clusters"][0]["tasks"][0]["status"].clone())
                == "SUCCESS"
        };
        eventually("its end", || state().then_some(())).await;
        assert_eq!(bench.puts(), [PutKind::Retry]);
    }
    assert!(!daemon.stderr().contains("Too many open files"), "they were shared out");
    flood.end().await;
    assert!(lives(page).await, "the page is there again");
    let (code, out, _) = bench.runs(&["status"]).await;
    assert!(code == 0 && out.contains("test-2"), "{out}");
    assert!(daemon.runs());
}

/// How many descriptors a process may have from now on; those that it has stay.
fn allow(daemon: &Process, limit: usize) {
    let (pid, nofile) = (daemon.pid().to_string(), format!("--nofile={limit}:1024"));
    assert!(Command::new("prlimit").args(["--pid", &pid, &nofile]).status().unwrap().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_any_left_it_says_so_sends_nothing_rests_and_goes_on_by_itself() {
    let bench = Bench::new(FAILED_ONCE, &waiting(RETRIES, "1500ms")).await;
    bench.edit("listen = \"\"", "listen = \"127.0.0.1:0\"");
    let command = bench.command(&["run"]);
    let mut limited = alone("prlimit");
    limited.arg("--nofile=1024:1024").arg(command.get_program()).args(command.get_args());
    limited.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let manager = bench.folder.path().join("notify");
    limited.env("NOTIFY_SOCKET", &manager).env("WATCHDOG_USEC", "400000");
    let manager = UnixDatagram::bind(manager).unwrap();
    manager.set_nonblocking(true).unwrap();
    let mut daemon = Process::start(limited);
    let page = page_of(&daemon).await;
    bench.journaled("the failure", |event| matches!(event, Event::Failed(_))).await;
    allow(&daemon, 5);
    let idle = TcpStream::connect(page).unwrap();
    daemon.says("no connection to the status page can be accepted: Too many open files").await;
    daemon.says("a request is due and is not sent, because no connection can be opened: ").await;
    // What is due would have been sent three times by now, and the reconciles go on by the connection that there is.
    let before = processor_time(&daemon);
    let_pass(Duration::from_secs(3)).await;
    let used = processor_time(&daemon) - before;
    assert!(used < 1.0, "{used} s of processor time in three seconds");
    bench.looks_on(4).await;
    // The service manager still hears that it lives.
    while manager.recv(&mut [0; 4096]).is_ok() {}
    let mut told = [0; 4096];
    eventually("a sign of life", || {
        let length = manager.recv(&mut told).ok()?;
        told[..length].starts_with(b"WATCHDOG=1").then_some(())
    })
    .await;
    let intents = bench.events().iter().filter(|event| matches!(event, Event::Intent { .. })).count();
    assert_eq!((intents, bench.puts()), (0, vec![]));
    let log = daemon.stderr();
    for told in ["no connection to the status page", "a request is due and is not sent"] {
        assert_eq!(log.matches(told).count(), 1, "told once: {log}");
    }
    allow(&daemon, 1024);
    assert_eq!(bench.ended(&["logs"]).await["logs"], "resolved");
    assert_eq!(bench.puts(), [PutKind::Retry]);
    daemon.says("connections to the status page are accepted again").await;
    daemon.says("connections can be opened again").await;
    drop(idle);
    assert!(lives(page).await);
    bench.judge();
    within(Duration::from_secs(20), "few descriptors", || (descriptors(&daemon) < 40).then_some(())).await;
    assert!(daemon.runs());
}
