//! What the machine gives and measures: mounts, control groups, and what the kernel tells of a process.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use crate::support::{Process, alone};

/// Set where no test may be skipped (`.ci/run`).
const REQUIRED: &str = "UPGRADE_REMEDIATOR_SERVICE_TESTS";

/// Why nothing can be mounted here. `None`: it can.
static MOUNTS_MISSING: LazyLock<Option<String>> = LazyLock::new(|| {
    let mut command = Command::new("unshare");
    let tried = command.args(["--mount", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]).output();
    match tried {
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(error) => Some(format!("unshare: {error}")),
    }
});

/// Whether file systems can be mounted. Where not, says so; where no test may be skipped, that is a failure.
pub(crate) fn can_mount() -> bool {
    MOUNTS_MISSING.as_ref().is_none_or(|why| skipped(&format!("nothing can be mounted here: {why}")))
}

/// Says why a test is skipped. Always `false`.
pub(crate) fn skipped(why: &str) -> bool {
    let required = std::env::var_os(REQUIRED).is_some_and(|required| required == "required");
    assert!(!required, "{why}");
    // Not by a macro: this is seen without --nocapture.
    let _ = writeln!(std::io::stderr(), "a test of tests/system/resources is skipped: {why}");
    false
}

/// A line of `/proc/PID/status`, in KiB.
pub(crate) fn memory(process: &Process, line: &str) -> u64 {
    kibibytes(&fs::read_to_string(format!("/proc/{}/status", process.pid())).unwrap(), line)
}

fn kibibytes(status: &str, line: &str) -> u64 {
    let value = status.lines().find_map(|status| status.strip_prefix(line)?.strip_prefix(':')).unwrap();
    value.trim().trim_end_matches(" kB").parse().unwrap()
}

/// How much processor time it has used, in seconds.
pub(crate) fn processor_time(process: &Process) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{}/stat", process.pid())).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_ascii_whitespace().collect();
    let ticks = |field: usize| fields[field].parse::<f64>().unwrap();
    (ticks(11) + ticks(12)) / 100.0
}

/// How many descriptors it has open.
pub(crate) fn descriptors(process: &Process) -> usize {
    fs::read_dir(format!("/proc/{}/fd", process.pid())).unwrap().count()
}

/// The same of this process.
pub(crate) fn own_memory(line: &str) -> u64 {
    kibibytes(&fs::read_to_string("/proc/self/status").unwrap(), line)
}

/// How many descriptors this process has open.
pub(crate) fn own_descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

/// What limits the memory of a process.
pub(crate) enum Ceiling {
    /// A control group, by its directory: the second version, or the first.
    Group { directory: PathBuf, second: bool },
    /// The process's own data (`RLIMIT_DATA`), where no control group can be made.
    Data,
}

impl Ceiling {
    /// The best that the machine has.
    pub(crate) fn new(name: &str) -> Self {
        for (root, second) in [("/sys/fs/cgroup", true), ("/sys/fs/cgroup/memory", false)] {
            let directory = Path::new(root).join(format!("upgrade-remediator-{name}-{}", std::process::id()));
            let limit = directory.join(if second { "memory.max" } else { "memory.limit_in_bytes" });
            if fs::create_dir(&directory).is_ok() && limit.exists() {
                return Self::Group { directory, second };
            }
            let _ = fs::remove_dir(&directory);
        }
        Self::Data
    }

    /// Which of them it is, for people.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Group { second: true, .. } => "a control group (v2)",
            Self::Group { second: false, .. } => "a control group (v1)",
            Self::Data => "RLIMIT_DATA",
        }
    }

    /// The command, to be run under it, with a limit in bytes.
    pub(crate) fn over(&self, command: &Command, limit: Option<u64>) -> Command {
        let script = match self {
            Self::Group { directory, second } => {
                if let Some(limit) = limit {
                    let file = directory.join(if *second { "memory.max" } else { "memory.limit_in_bytes" });
                    fs::write(file, limit.to_string()).unwrap();
                }
                format!("echo $$ >{}/cgroup.procs; exec \"$0\" \"$@\"", directory.display())
            }
            Self::Data => {
                let limit = limit.map_or_else(String::new, |limit| format!("ulimit -d {}; ", limit / 1024));
                format!("{limit}exec \"$0\" \"$@\"")
            }
        };
        let mut shell = alone("sh");
        shell.args(["-c", &script]).arg(command.get_program()).args(command.get_args());
        shell.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        shell
    }

    /// What of a process is limited, as it normally is, in bytes: its peak of resident memory, or its data.
    pub(crate) fn normally(&self, process: &Process) -> u64 {
        let line = if matches!(self, Self::Data) { "VmData" } else { "VmHWM" };
        memory(process, line) * 1024
    }

    /// The most that the limit has counted, in bytes. Pages of the binary that were in memory before are not counted.
    pub(crate) fn counted(&self) -> Option<u64> {
        let Self::Group { directory, second } = self else { return None };
        let file = directory.join(if *second { "memory.peak" } else { "memory.max_usage_in_bytes" });
        fs::read_to_string(file).ok()?.trim().parse().ok()
    }
}

impl Drop for Ceiling {
    fn drop(&mut self) {
        if let Self::Group { directory, .. } = self {
            // It is busy until its last process is gone.
            for _ in 0..200 {
                if fs::remove_dir(&*directory).is_ok() {
                    break;
                }
                std::thread::yield_now();
            }
        }
    }
}
