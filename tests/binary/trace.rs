//! What the kernel saw: the intent is on disk before the first byte of its PUT leaves, and before it even connects.
//!
//! The real binary runs under strace, and the order of its system calls is the judge. strace serialises what all
//! threads do, so a call whose end stands before the beginning of another one had returned by then.
//!
//! Where strace is missing it is installed by `apt-get`, which only root can do. A machine that forbids tracing fails
//! this test; there is nothing else that could show it.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::support::{self, ABORTS, Bench, FAILED_ONCE, Process, RETRIES, alone};
use crate::tools;

/// Everything that opens, writes, flushes, renames or connects, whatever the C library makes of it.
const CALLS: &str = "openat,rename,renameat,renameat2,fsync,fdatasync,write,writev,pwrite64,pwritev,pwritev2,sendto,sendmsg,\
                     sendmmsg,connect";
/// How an intent looks in a page of the journal, as strace shows it.
const INTENT: &str = r#"\"event\":\"intent\""#;
/// How the first bytes of a PUT look.
const PUT: &str = r#""PUT /"#;

/// One call, from the line where it was entered to the line where it had returned.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Call {
    name: String,
    entered: usize,
    returned: usize,
    /// Its arguments and its result.
    text: String,
}

impl Call {
    /// Reads what strace wrote with `-f`, calls that were interrupted by those of other threads included.
    fn all(trace: &str) -> Vec<Self> {
        let mut calls = Vec::new();
        // The calls that have not returned yet, by their threads.
        let mut open = BTreeMap::new();
        for (at, line) in trace.lines().enumerate() {
            let mut parts = line.split_ascii_whitespace();
            let (Some(thread), Some(time)) = (parts.next(), parts.next()) else { continue };
            let text = line[line.find(time).unwrap() + time.len()..].trim_start();
            if let Some(rest) = text.strip_prefix("<... ") {
                let Some((_, end)) = rest.split_once(" resumed>") else { continue };
                let Some(mut call) = open.remove(thread) else { continue };
                Self::push(&mut call, at, end);
                calls.push(call);
            } else if let Some((name, _)) = text.split_once('(').filter(|(name, _)| is_name(name)) {
                let mut call = Self { name: name.to_owned(), entered: at, returned: at, text: String::new() };
                if let Some(begin) = text.strip_suffix("<unfinished ...>") {
                    call.text.push_str(begin);
                    open.insert(thread, call);
                } else {
                    Self::push(&mut call, at, text);
                    calls.push(call);
                }
            }
        }
        calls.sort_by_key(|call| call.entered);
        calls
    }

    fn push(call: &mut Self, at: usize, end: &str) {
        call.returned = at;
        call.text.push_str(end);
    }

    /// What stands behind its last `=`.
    fn result(&self) -> &str {
        self.text.rsplit_once(") = ").map_or("", |(_, result)| result.trim())
    }

    fn is_flush(&self) -> bool {
        matches!(self.name.as_str(), "fsync" | "fdatasync") && self.result() == "0"
    }

    fn is_of(&self, path: &Path) -> bool {
        self.text.contains(&format!("<{}>", path.display()))
    }

    /// The file or socket of its first argument, as strace names it: `socket:[4711]`.
    fn first(&self) -> &str {
        let argument = self.text.split_once('(').map_or("", |(_, arguments)| arguments);
        let argument = argument.split([',', ')']).next().unwrap_or_default();
        argument.split_once('<').map_or("", |(_, name)| name.trim_end_matches('>'))
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

/// Runs the daemon under strace until its story has ended so, and gives its calls.
async fn traced(policy: &str, end: &str) -> (Bench, Vec<Call>) {
    tools::need("strace", "strace");
    let bench = Bench::new(FAILED_ONCE, policy).await;
    let trace = bench.folder.path().join("trace");
    let mut strace = alone("strace");
    strace.args(["-f", "--seccomp-bpf", "-y", "-tt", "-s", "8192", "-e", "signal=none", "-e"]);
    strace.arg(format!("trace={CALLS}")).arg("-o").arg(&trace);
    strace.arg(env!("CARGO_BIN_EXE_upgrade-remediator"));
    let mut strace = Process::start(bench.with_configuration(strace, &["run"]));
    let mut ended = None;
    while ended.is_none() && bench.ends().get("logs").is_none_or(|found| found != end) {
        support::let_pass(Duration::from_millis(50)).await;
        ended = strace.ended();
    }
    assert_eq!(ended, None, "strace cannot trace here (is ptrace forbidden?): {}", strace.stderr());
    // The lock beside the journal tells the daemon's pid; strace ends with it.
    let pid = fs::read_to_string(bench.folder.path().join("journal.db.lock")).unwrap();
    assert!(Command::new("sh").arg("-c").arg(format!("kill {pid}")).status().unwrap().success());
    assert_eq!(strace.code().await, Some(0), "{}", strace.stderr());
    let calls = Call::all(&fs::read_to_string(&trace).unwrap());
    (bench, calls)
}

/// The one PUT of this story left after its intent was flushed.
async fn the_intent_is_flushed_before_the_put(policy: &str, end: &str) {
    let (bench, calls) = traced(policy, end).await;
    assert_eq!(bench.puts().len(), 1);
    let directory = fs::canonicalize(bench.folder.path()).unwrap();
    let log = directory.join("journal.db-wal");

    let written = calls.iter().find(|call| call.is_of(&log) && call.text.contains(INTENT)).unwrap();
    let flushed = calls
        .iter()
        .find(|call| call.is_flush() && call.is_of(&log) && call.entered > written.returned)
        .unwrap();
    let puts: Vec<&Call> = calls.iter().filter(|call| call.text.contains(PUT)).collect();
    assert_eq!(puts.len(), 1, "{puts:?}");
    let put = puts[0];
    assert!(flushed.returned < put.entered, "{flushed:?} had not returned before {put:?}");

    // Nothing of it can have left earlier: even its connection is younger than the flush.
    let socket = put.first();
    assert!(socket.starts_with("socket:["), "{put:?}");
    let connected = calls.iter().find(|call| call.name == "connect" && call.first() == socket).unwrap();
    assert!(flushed.returned < connected.entered, "{flushed:?} had not returned before {connected:?}");
    assert!(connected.entered < put.entered);

    // And the names of both files are on disk too: a flushed log without a name would be lost with the machine.
    let directory_flushed = |after: usize| {
        let of_it = |call: &&Call| call.is_flush() && call.is_of(&directory) && call.entered > after;
        calls.iter().find(of_it).unwrap()
    };
    let renamed = calls.iter().find(|call| call.name.starts_with("rename") && call.result() == "0").unwrap();
    let made = calls.iter().find(|call| call.name == "openat" && call.is_of(&log)).unwrap();
    for named in [renamed, made] {
        let flushed = directory_flushed(named.returned);
        assert!(flushed.returned < connected.entered, "{named:?} is not on disk before the PUT");
    }
    let new = directory.join("journal.db.new");
    let whole = calls.iter().rev().find(|call| call.is_of(&new) && call.is_flush()).unwrap();
    let last = calls.iter().rev().find(|call| call.name == "pwrite64" && call.is_of(&new)).unwrap();
    assert!(
        last.returned < whole.entered && whole.returned < renamed.entered,
        "{last:?}, {whole:?}, {renamed:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_intent_of_a_retry_is_flushed_before_the_first_byte_of_its_put() {
    the_intent_is_flushed_before_the_put(RETRIES, "resolved").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_intent_of_an_abort_is_flushed_before_the_first_byte_of_its_put() {
    the_intent_is_flushed_before_the_put(ABORTS, "aborted").await;
}

#[test]
fn a_call_that_others_interrupt_ends_where_it_is_resumed() {
    let calls = Call::all(
        "7 10:00:00.000001 fsync(12</a b/journal.db-wal> <unfinished ...>\n\
         8 10:00:00.000002 write(15<socket:[4711]>, \"PUT /x\"..., 6) = 6\n\
         7 10:00:00.000003 <... fsync resumed>) = 0\n\
         7 10:00:00.000004 --- SIGTERM {si_signo=SIGTERM} ---\n\
         8 10:00:00.000005 fdatasync(12</a b/journal.db-wal>) = -1 EIO (Input/output error)\n\
         8 10:00:00.000006 connect(16<socket:[4712]> <unfinished ...>\n\
         7 10:00:00.000007 +++ exited with 0 +++\n",
    );
    let [flush, put, failed] = calls.as_slice() else { panic!("{calls:?}") };
    assert_eq!((flush.entered, flush.returned), (0, 2));
    assert!(flush.is_flush() && flush.is_of(Path::new("/a b/journal.db-wal")));
    assert_eq!((put.entered, put.returned, put.first()), (1, 1, "socket:[4711]"));
    assert!(flush.returned > put.entered, "this PUT would have been too early");
    assert!(!failed.is_flush(), "a flush that failed is none");
}
