//! The real daemon on a machine whose wall clock is wrong and is set right while it runs. A library that is loaded before
//! the system's (`LD_PRELOAD`) adds to `CLOCK_REALTIME` what a file says, for the daemon alone.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rusqlite::Connection;
use serde_json::Value;
use upgrade_remediator::clock::{Clock as _, SystemClock};
use upgrade_remediator::model::event::Event;
use upgrade_remediator::model::reason::Reason;

use crate::support::{Bench, FAILED_ONCE, Process, RETRIES};

const LIBRARY: &str = r#"
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec *now) {
    int failed = syscall(SYS_clock_gettime, clock, now);
    if (failed || clock != CLOCK_REALTIME) return failed;
    char seconds[32] = {0};
    int file = open(getenv("TEST_CLOCK_OFF"), O_RDONLY | O_CLOEXEC);
    if (file >= 0) {
        if (read(file, seconds, sizeof seconds - 1) > 0) now->tv_sec += atol(seconds);
        close(file);
    }
    return 0;
}
"#;

const TWO_HOURS: SignedDuration = SignedDuration::from_hours(2);

/// A bench, with a machine whose wall clock can be set.
struct Machine {
    bench: Bench,
}

impl Machine {
    /// With a failed task whose retry is due at once.
    async fn new() -> Self {
        let machine = Self { bench: Bench::new(FAILED_ONCE, RETRIES).await };
        let mut cc = Command::new("cc");
        cc.args(["-shared", "-fPIC", "-x", "c", "-", "-o"]).arg(machine.library()).stdin(Stdio::piped());
        let mut cc = cc.spawn().unwrap();
        cc.stdin.take().unwrap().write_all(LIBRARY.as_bytes()).unwrap();
        assert!(cc.wait().unwrap().success());
        machine
    }

    fn library(&self) -> PathBuf {
        self.bench.folder.path().join("clock.so")
    }

    fn offset(&self) -> PathBuf {
        self.bench.folder.path().join("clock-off")
    }

    /// The wall clock differs from the true time by so many seconds from now on.
    fn is_off_by(&self, seconds: i64) {
        let next = self.offset().with_extension("next");
        fs::write(&next, seconds.to_string()).unwrap();
        fs::rename(next, self.offset()).unwrap();
    }

    fn daemon(&self) -> Process {
        let mut command = self.bench.command(&["run"]);
        command.env("LD_PRELOAD", self.library()).env("TEST_CLOCK_OFF", self.offset());
        Process::start(command)
    }

    /// A daemon whose clock is twelve minutes behind, at which somebody placed a hold of two hours.
    async fn held_while_behind(&self) -> Process {
        self.is_off_by(-12 * 60);
        let daemon = self.daemon();
        self.bench
            .journaled("that the clock is off", |event| {
                matches!(event, Event::Decided { reason: Reason::ClockOff { .. }, .. })
            })
            .await;
        let (code, out, err) = self.bench.runs(&["hold", "all", "--for", "2h", "--reason", "x"]).await;
        assert_eq!((code, err.as_str()), (0, ""), "{out}");
        assert_eq!(self.journaled_ends(), [None], "by a clock that is wrong no end is journaled");
        daemon
    }

    /// The ends of the holds that nobody has released, as the journal has them.
    fn journaled_ends(&self) -> Vec<Option<String>> {
        let journal = Connection::open(self.bench.journal()).unwrap();
        let sql = "SELECT json_extract(h.data, '$.until') FROM entry h WHERE h.event = 'held' AND NOT EXISTS \
                   (SELECT 1 FROM entry r WHERE r.event = 'released' \
                    AND json_extract(r.data, '$.hold') = json_extract(h.data, '$.hold'))";
        let mut holds = journal.prepare(sql).unwrap();
        holds.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    }

    /// The ends of the holds in force, as the daemon tells them.
    async fn ends(&self) -> Vec<Option<Timestamp>> {
        let (_, out, _) = self.bench.runs(&["holds", "--json"]).await;
        let holds: Vec<Value> = serde_json::from_str(&out).unwrap();
        holds.iter().map(|hold| hold["until"].as_str().map(|until| until.parse().unwrap())).collect()
    }

    async fn sends_once_released(&self) {
        self.bench.looks_on(20).await;
        assert!(self.bench.puts().is_empty());
        let (code, out, err) = self.bench.runs(&["release", "all"]).await;
        assert_eq!(code, 0, "{out}{err}");
        assert_eq!(self.bench.ended(&["logs"]).await["logs"], "resolved");
        self.bench.judge();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hold_placed_by_a_clock_that_is_behind_lasts_as_long_as_was_said_also_over_a_restart() {
    let machine = Machine::new().await;
    let placed = SystemClock::new().now().wall;
    let daemon = machine.held_while_behind().await;
    machine.is_off_by(0);
    daemon.says("the clock is correct again: hold #1 is now hold #2").await;
    daemon.kill();
    let _again = machine.daemon();
    machine.bench.looks_on(4).await;
    let now = SystemClock::new().now().wall;
    let [Some(end)] = machine.ends().await[..] else { panic!("{:?}", machine.ends().await) };
    let second = Duration::from_secs(1);
    assert!((placed + TWO_HOURS - second..=now + TWO_HOURS + second).contains(&end), "{placed} {end} {now}");
    machine.sends_once_released().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hold_placed_by_a_clock_that_is_behind_has_no_end_after_a_restart_before_it_was_right() {
    let machine = Machine::new().await;
    let daemon = machine.held_while_behind().await;
    daemon.kill();
    machine.is_off_by(0);
    let _again = machine.daemon();
    machine.bench.looks_on(4).await;
    assert_eq!(machine.ends().await, [None], "nobody knows when it would end");
    machine.sends_once_released().await;
}
