//! What the machine gives and measures: mounts, control groups, and what the kernel tells of a process.

use std::fs;
use std::io::Write as _;
use std::process::Command;
use std::sync::LazyLock;

use crate::support::Process;

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
    let _ = writeln!(std::io::stderr(), "a test of tests/resources is skipped: {why}");
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
