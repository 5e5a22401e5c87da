//! A Debian 12 that is really booted: `systemd-nspawn` with systemd as its first process, in a root made by debootstrap.
//! It has this machine's network, so that the simulator of a test is reached at its loopback address.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::support::{alone, eventually};
use crate::tools::{self, made_once, tell};

/// What is in the root beside the least. `man-db`, so that `systemd-analyze verify` finds the pages that a unit names.
const INCLUDE: &str = "systemd,systemd-sysv,dbus,ca-certificates,procps,man-db";
/// The tool that makes the package, and what of it: xz is called as a program, so no C library is compiled.
const CARGO_DEB: &str = "3.8.0";
/// Set where these tests must run (`.ci/run`): what elsewhere skips them fails them there.
const REQUIRED: &str = "UPGRADE_REMEDIATOR_SERVICE_TESTS";

/// Why these tests cannot run here. `None`: they can.
static MISSING: LazyLock<Option<String>> = LazyLock::new(|| missing().err());

/// Whether these tests run here. Where not, says why; in `.ci/run` that is a failure.
pub(crate) fn is_possible() -> bool {
    let Some(why) = &*MISSING else { return true };
    let required = std::env::var_os(REQUIRED).is_some_and(|required| required == "required");
    assert!(!required, "{why}");
    // Not by a macro: this is seen without --nocapture.
    let _ = writeln!(std::io::stderr(), "tests/system/service is skipped: {why}");
    false
}

fn missing() -> Result<(), String> {
    if fs::metadata("/proc/self").map_or(true, |process| process.uid() != 0) {
        return Err("a machine in a container can be booted by root only".to_owned());
    }
    tools::install(&[
        ("debootstrap", "debootstrap"),
        ("systemd-nspawn", "systemd-container"),
        ("systemd-analyze", "systemd"),
        ("nsenter", "util-linux"),
        ("xz", "xz-utils"),
        ("dpkg-shlibdeps", "dpkg-dev"),
        ("strip", "binutils"),
    ])?;
    // A container without the right to make containers.
    tell(Command::new("unshare").args(["--mount", "--pid", "--fork", "--cgroup", "true"]))
        .map_err(|told| format!("this machine may not make containers: {told}"))?;
    Ok(())
}

/// The root of a Debian 12, the least that boots.
static ROOT: LazyLock<PathBuf> = LazyLock::new(|| {
    made_once("bookworm", INCLUDE, |making| {
        let include = format!("--include={INCLUDE}");
        let mut command = Command::new("debootstrap");
        command.args(["--variant=minbase", &include, "bookworm"]).arg(making);
        tell(&mut command).unwrap();
    })
});

static TOOLS: LazyLock<PathBuf> = LazyLock::new(|| {
    made_once("cargo-deb", CARGO_DEB, |making| {
        let mut command = Command::new(env!("CARGO"));
        command.args(["install", "--quiet", "--locked", "--debug", "--no-default-features", "cargo-deb"]);
        command.args(["--version", CARGO_DEB, "--root"]).arg(making);
        // Its dependencies beside ours would be mistaken for ours by a later build.
        command.arg("--target-dir").arg(making.join("build"));
        tell(&mut command).unwrap();
        fs::remove_dir_all(making.join("build")).unwrap();
    })
});

/// The package of this binary, as the release script makes it, in its first and its second revision.
static PACKAGES: LazyLock<[PathBuf; 2]> = LazyLock::new(|| {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("packages");
    fs::create_dir_all(&folder).unwrap();
    ["1", "2"].map(|revision| {
        let package = folder.join(format!("upgrade-remediator_{revision}.deb"));
        let mut command = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/deb"));
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{}:{path}", TOOLS.join("bin").display()));
        command.arg(env!("CARGO_BIN_EXE_upgrade-remediator")).args(["--fast", "--output"]).arg(&package);
        command.args(["--deb-revision", revision]);
        tell(&mut command).unwrap();
        package
    })
});

/// A control group of its own for a machine, in every hierarchy that systemd keeps. In one that it shares with another
/// machine, systemd finds processes that it cannot see, and what it does to a service fails now and then.
struct Group(Vec<PathBuf>);

impl Group {
    fn new() -> Self {
        static MACHINES: AtomicU32 = AtomicU32::new(0);
        let name = format!("machine-{}-{}", std::process::id(), MACHINES.fetch_add(1, Ordering::Relaxed));
        let mut folders = Vec::new();
        for line in fs::read_to_string("/proc/self/cgroup").unwrap().lines() {
            let mut parts = line.splitn(3, ':');
            let (Some(_), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next()) else {
                continue;
            };
            let hierarchy = match controllers {
                "" if Path::new("/sys/fs/cgroup/cgroup.procs").exists() => "/sys/fs/cgroup",
                "" => "/sys/fs/cgroup/unified",
                "name=systemd" => "/sys/fs/cgroup/systemd",
                _ => continue,
            };
            let folder = Path::new(hierarchy).join(path.trim_start_matches('/')).join(&name);
            fs::create_dir(&folder).unwrap();
            folders.push(folder);
        }
        Self(folders)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // The files in it cannot be removed, and go with their folders.
        fn remove(folder: &Path) {
            let inside = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
            inside.filter(|entry| entry.path().is_dir()).for_each(|entry| remove(&entry.path()));
            let _ = fs::remove_dir(folder);
        }
        self.0.iter().for_each(|folder| remove(folder));
    }
}

/// A booted machine. It is gone, with everything in it, when this is dropped.
pub(crate) struct Machine {
    container: Child,
    leader: u32,
    /// Left last.
    _group: Group,
}

impl Machine {
    /// Boots one.
    pub(crate) async fn boot() -> Self {
        let group = Group::new();
        let mut command = Command::new("sh");
        let enter = "for folder in $GROUP; do echo $$ >\"$folder/cgroup.procs\" || exit; done; exec systemd-nspawn \"$@\"";
        let folders: Vec<_> = group.0.iter().map(|folder| folder.display().to_string()).collect();
        command.env("GROUP", folders.join(" ")).args(["-c", enter, "sh"]);
        command.args([
            "--quiet",
            "--register=no",
            "--keep-unit",
            "--boot",
            "--console=pipe",
            "--link-journal=no",
        ]);
        // What is written goes to memory, and the root stays as it is.
        command.args(["--volatile=overlay", "--machine=upgrade-remediator-test", "--directory"]).arg(&*ROOT);
        // Many may use it at the same time.
        command.env("SYSTEMD_NSPAWN_LOCK", "0");
        let container =
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut machine = Self { container, leader: 0, _group: group };
        machine.leader = eventually("the first process of the machine", || machine.find_leader()).await;
        let booted = || {
            let state = machine.output(&["systemctl", "is-system-running"]);
            matches!(state.stdout.as_slice(), b"running\n" | b"degraded\n").then_some(())
        };
        eventually("the machine to have booted", booted).await;
        machine
    }

    /// Boots one and installs the package, as an operator does.
    pub(crate) async fn with_the_package() -> Self {
        let machine = Self::boot().await;
        machine.install(1);
        machine
    }

    /// Installs a revision of the package.
    pub(crate) fn install(&self, revision: usize) {
        let package = fs::read(&PACKAGES[revision - 1]).unwrap();
        self.write("/root/upgrade-remediator.deb", package);
        // Nothing is asked of any other machine: what it depends on is there.
        let output = self.runs(&["apt-get", "install", "--yes", "/root/upgrade-remediator.deb"]);
        assert!(output.contains("Setting up upgrade-remediator"), "{output}");
    }

    fn find_leader(&self) -> Option<u32> {
        let parent = format!("PPid:\t{}\n", self.container.id());
        let processes = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
        let mut ids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        ids.find(|id| {
            let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
            status.contains(&parent) && status.starts_with("Name:\tsystemd\n")
        })
    }

    fn enter(&self, command: &[&str]) -> Command {
        let mut enter = alone("nsenter");
        enter.arg(format!("--target={}", self.leader));
        enter.args(["--mount", "--uts", "--ipc", "--pid", "--cgroup", "--root", "--wd"]);
        enter.args(["env", "-i", "LC_ALL=C.UTF-8", "DEBIAN_FRONTEND=noninteractive", "SYSTEMD_PAGER="]);
        enter.args(["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]);
        enter.args(command);
        enter
    }

    /// Runs a command in the machine to its end.
    pub(crate) fn output(&self, command: &[&str]) -> std::process::Output {
        self.enter(command).stdin(Stdio::null()).output().unwrap()
    }

    /// Whether it succeeds, and everything that it prints.
    pub(crate) fn tries(&self, command: &[&str]) -> (bool, String) {
        let output = self.output(command);
        let told =
            [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
        (output.status.success(), told)
    }

    /// Runs a command that must succeed, and gives everything that it prints.
    pub(crate) fn runs(&self, command: &[&str]) -> String {
        let (succeeded, told) = self.tries(command);
        assert!(succeeded, "{command:?}: {told}");
        told
    }

    /// Writes a file in the machine, and the folders that lead there.
    pub(crate) fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        let mut writing = self.enter(&["sh", "-c", "mkdir -p \"${1%/*}\" && cat > \"$1\"", "sh", path]);
        let mut child = writing.stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(content.as_ref()).unwrap();
        assert!(child.wait().unwrap().success(), "{path} cannot be written");
    }

    /// A property of a unit.
    pub(crate) fn shows(&self, unit: &str, property: &str) -> String {
        self.runs(&["systemctl", "show", "--value", "--property", property, unit]).trim_end().to_owned()
    }

    /// The lines of the journal of the system that this selects, as JSON.
    pub(crate) fn logged(&self, selection: &[&str]) -> Vec<serde_json::Value> {
        let mut command = vec!["journalctl", "--output=json", "--no-pager", "--quiet"];
        command.extend(selection);
        let output = self.output(&command);
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Waits until such a message stands in the log of the unit.
    pub(crate) async fn says(&self, unit: &str, text: &str) {
        let said = || {
            let lines = self.logged(&["--unit", unit]);
            lines
                .iter()
                .any(|line| line["MESSAGE"].as_str().is_some_and(|told| told.contains(text)))
                .then_some(())
        };
        eventually(&format!("{text:?} in the log of {unit}"), said).await;
    }
}

impl Drop for Machine {
    #[expect(clippy::print_stderr, reason = "what the daemon said explains why a test failed")]
    fn drop(&mut self) {
        if std::thread::panicking() && self.leader != 0 {
            let (_, log) = self.tries(&[
                "journalctl",
                "--no-pager",
                "--quiet",
                "--lines=60",
                "--unit=upgrade-remediator*",
            ]);
            eprintln!("--- the journal of the machine\n{log}---");
        }
        if self.leader != 0 {
            // Its first process takes everything in it along, and the container's keeper ends and puts in order.
            let _ = Command::new("sh").args(["-c", &format!("kill -KILL {}", self.leader)]).status();
        } else {
            let _ = self.container.kill();
        }
        let _ = self.container.wait();
    }
}
