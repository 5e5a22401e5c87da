//! Results that nobody reads to their end, or that cannot be written.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::support::edited::{Edited, waiting};
use crate::support::{Bench, FAILED_ONCE, Process, RETRIES};

/// A command ends within this, once its reader is gone.
const SOON: Duration = Duration::from_secs(10);

/// Reads one line of what it prints, as `head -n 1` does, and goes.
fn read_one_line(mut command: Command) -> (String, Process) {
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::with_capacity(64, child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    (line, Process::of(child))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_has_seen_enough_ends_every_command_quietly() {
    // More than a pipe holds.
    let fleet = Edited::of(FAILED_ONCE).set("cluster.count", 150).text();
    let bench = Bench::new(&fleet, &waiting(RETRIES, "1h")).await;
    let mut daemon = bench.daemon();
    daemon.says("150 clusters watched").await;
    bench.looks_on(600).await;
    for arguments in [
        ["status"].as_slice(),
        &["status", "--json"],
        &["status", "--watch"],
        &["status", "--watch", "--json"],
        &["history"],
        &["history", "--json"],
        &["explain", "logs-100"],
        &["holds"],
        &["plan"],
        &["doctor"],
        &["completions", "bash"],
        &["man"],
    ] {
        let (line, mut process) = read_one_line(bench.command(arguments));
        assert!(!line.is_empty(), "{arguments:?}: {}", process.stderr());
        assert_eq!(process.ends_within(SOON).await.code(), Some(0), "{arguments:?}");
        let told = process.stderr();
        assert!(!told.contains("panicked") && !told.contains("error"), "{arguments:?}: {told}");
    }
    assert!(daemon.runs());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_result_that_cannot_be_written_is_a_failure_in_words() {
    let bench = Bench::new(FAILED_ONCE, RETRIES).await;
    let mut once = Process::start(bench.command(&["run", "--once"]));
    assert_eq!(once.code().await, Some(0));
    for arguments in [["history"].as_slice(), &["history", "--json"], &["plan"], &["status"], &["check"]] {
        let mut command = bench.command(arguments);
        let full = File::options().write(true).open("/dev/full").unwrap();
        let child = command.stdin(Stdio::null()).stdout(full).stderr(Stdio::piped()).spawn().unwrap();
        let mut process = Process::of(child);
        assert_eq!(process.code().await, Some(1), "{arguments:?}");
        let told = process.stderr();
        assert!(told.contains("error: No space left on device"), "{arguments:?}: {told}");
    }
}
