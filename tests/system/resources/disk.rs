//! The state directory on a file system of its own: full, read-only, failing under the daemon's hands.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use upgrade_remediator::model::event::Event;
use upgrade_remediator::simulator::log::PutKind;

use super::machine::{can_mount, skipped};
use crate::support::edited::{Edited, waiting};
use crate::support::{Bench, FAILED_ONCE, Process, RETRIES, eventually};

/// A mounted file system. It is unmounted when this is dropped.
struct Mounted(PathBuf);

impl Mounted {
    /// Mounts something in the folder of a bench, whose journal then lies there.
    fn for_the_journal_of(bench: &Bench, what: &[&str]) -> Self {
        let at = bench.folder.path().join("state");
        fs::create_dir_all(&at).unwrap();
        let mounted = Self(at);
        mounted.mount(what).unwrap();
        bench.edit(
            &format!("sqlite:{}", bench.journal().display()),
            &format!("sqlite:{}", mounted.0.join("journal.db").display()),
        );
        // Whoever reads the journal of the bench reads this one.
        std::os::unix::fs::symlink(mounted.0.join("journal.db"), bench.journal()).unwrap();
        mounted
    }

    fn mount(&self, what: &[&str]) -> Result<(), String> {
        let output = Command::new("mount").args(what).arg(&self.0).output().unwrap();
        if output.status.success() {
            Ok(())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    }

    fn unmount(&self) {
        assert!(Command::new("umount").arg(&self.0).status().unwrap().success());
    }

    /// Takes all the room there is.
    fn fill(&self) -> PathBuf {
        let path = self.0.join("filler");
        let mut file = File::create(&path).unwrap();
        for size in [1 << 16, 1 << 12, 1] {
            while file.write(&vec![b'x'; size]).is_ok() {}
        }
        path
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").args(["--lazy"]).arg(&self.0).status();
    }
}

/// How many intents the journal holds.
fn intents(bench: &Bench) -> usize {
    bench.events().iter().filter(|event| matches!(event, Event::Intent { .. })).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_space_nothing_is_sent_that_is_not_kept_and_it_goes_on_once_there_is_some() {
    if !can_mount() {
        return;
    }
    let fleet = Edited::of(FAILED_ONCE).set("cluster.count", 9).text();
    let bench = Bench::new(&fleet, &waiting(RETRIES, "2s")).await;
    let state = Mounted::for_the_journal_of(&bench, &["-t", "tmpfs", "-o", "size=8m", "tmpfs"]);
    let mut daemon = bench.daemon();
    let waits = || bench.events().iter().filter(|event| matches!(event, Event::Decided { .. })).count();
    eventually("all failures", || (waits() >= 9).then_some(())).await;
    let filler = state.fill();
    daemon.says("no request is sent while the journal cannot be written").await;
    daemon.says("no space is left for the journal").await;
    bench.looks_on(60).await;
    // What still had room in the log was kept, and only that was sent.
    assert!(bench.puts().len() <= intents(&bench) && intents(&bench) < 9, "{} intents", intents(&bench));
    let (code, out, told) = bench.runs(&["status"]).await;
    assert!(code == 0 && out.contains("journal cannot be written"), "{out}{told}");
    fs::remove_file(filler).unwrap();
    let names: Vec<String> = (1..=9).map(|n| format!("logs-{n}")).collect();
    let ends = bench.ended(&names.iter().map(String::as_str).collect::<Vec<_>>()).await;
    assert!(ends.values().all(|end| end == "resolved"), "{ends:?}");
    daemon.says("journal is written again").await;
    assert_eq!((intents(&bench), bench.puts().len()), (9, 9));
    assert!(daemon.runs(), "it was not started again");
    bench.judge();
    daemon.signal("TERM");
    assert_eq!(daemon.code().await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_without_space_is_refused_or_works_and_loses_nothing() {
    if !can_mount() {
        return;
    }
    let bench = Bench::new(FAILED_ONCE, RETRIES).await;
    let state = Mounted::for_the_journal_of(&bench, &["-t", "tmpfs", "-o", "size=1m", "tmpfs"]);
    // No journal yet, and no room for one.
    let filler = state.fill();
    let mut daemon = bench.daemon();
    assert_eq!(daemon.code().await, Some(1));
    let told = daemon.stderr();
    assert!(told.contains("space") && told.contains("journal.db"), "{told}");
    let left: Vec<_> = fs::read_dir(&state.0).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().starts_with("journal.db.new")), "{left:?}");
    assert_eq!(bench.puts(), []);
    fs::remove_file(&filler).unwrap();
    let daemon = bench.daemon();
    assert_eq!(bench.ended(&["logs"]).await["logs"], "resolved");
    let before = bench.entries();
    daemon.kill();
    // A journal that was left by a kill, and no room to put it in order.
    let filler = state.fill();
    let mut once = Process::start(bench.command(&["run", "--once"]));
    let code = once.code().await;
    assert!(code.is_some(), "{}", once.stderr());
    fs::remove_file(filler).unwrap();
    let mut once = Process::start(bench.command(&["run", "--once"]));
    assert_eq!(once.code().await, Some(0), "{}", once.stderr());
    assert_eq!(bench.entries()[..before.len()], before);
    bench.judge();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_only_state_is_a_clear_error_and_the_next_start_after_it_goes_on() {
    if !can_mount() {
        return;
    }
    let bench = Bench::new(FAILED_ONCE, &waiting(RETRIES, "2s")).await;
    let state = Mounted::for_the_journal_of(&bench, &["-t", "tmpfs", "-o", "size=8m", "tmpfs"]);
    let refused = async || {
        state.mount(&["-o", "remount,ro"]).unwrap();
        let mut daemon = bench.daemon();
        assert_eq!(daemon.code().await, Some(1));
        let told = daemon.stderr();
        assert!(told.contains("Read-only file system") && told.contains("journal.db"), "{told}");
        state.mount(&["-o", "remount,rw"]).unwrap();
    };
    refused().await;
    let daemon = bench.daemon();
    bench.journaled("the failure", |event| matches!(event, Event::Failed(_))).await;
    daemon.kill();
    refused().await;
    // What only reads works there all the same.
    state.mount(&["-o", "remount,ro"]).unwrap();
    let (code, out, told) = bench.runs(&["history"]).await;
    assert!(code == 0 && out.contains("failure 1"), "{out}{told}");
    state.mount(&["-o", "remount,rw"]).unwrap();
    assert_eq!(bench.puts(), []);
    let _daemon = bench.daemon();
    assert_eq!(bench.ended(&["logs"]).await["logs"], "resolved");
    assert_eq!(bench.puts(), [PutKind::Retry]);
    bench.judge();
}

/// A file system on a file, or `None` where the machine gives no loop device.
fn image(folder: &Path) -> Option<PathBuf> {
    let image = folder.join("image");
    File::create(&image).unwrap().set_len(8 << 20).unwrap();
    let made = Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&image).output();
    let there = made.is_ok_and(|made| made.status.success()) && Path::new("/dev/loop-control").exists();
    (there || skipped("there is no mkfs.ext4 or no loop device")).then_some(image)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_turns_read_only_under_it_is_told_and_nothing_is_sent_until_it_is_mended() {
    if !can_mount() {
        return;
    }
    let bench = Bench::new(FAILED_ONCE, &waiting(RETRIES, "2s")).await;
    let Some(image) = image(bench.folder.path()) else { return };
    let image = image.to_str().unwrap();
    let disk = ["-o", "loop", image];
    let state = Mounted::for_the_journal_of(&bench, &disk);
    let mut daemon = bench.daemon();
    bench.journaled("the failure", |event| matches!(event, Event::Decided { .. })).await;
    // What the kernel does at an error of the disk: every further write is refused, also to files that are open.
    state.mount(&["-o", "remount,abort"]).unwrap();
    daemon.says("no request is sent while the journal cannot be written").await;
    bench.looks_on(60).await;
    assert_eq!(bench.puts(), []);
    assert_eq!(daemon.stderr().matches("no request is sent while the journal").count(), 1, "it is told once");
    assert!(daemon.runs());
    daemon.signal("TERM");
    daemon.code().await;
    // Mended, as it must be before it can be written again.
    state.unmount();
    state.mount(&disk).unwrap();
    let mut daemon = bench.daemon();
    assert_eq!(bench.ended(&["logs"]).await["logs"], "resolved");
    assert_eq!(bench.puts(), [PutKind::Retry]);
    bench.judge();
    daemon.signal("TERM");
    assert_eq!(daemon.code().await, Some(0));
}
