//! The kernel's values of this process, for the metrics. Unreadable ones are left out.

use std::fs;

use crate::descriptors;
use crate::status::metrics::Process;

/// The kernel's clock ticks in a second: 100 on every architecture on which Linux has users.
const TICKS_PER_SECOND: f64 = 100.0;

/// Reads the present values.
pub fn read() -> Process {
    let stat = fs::read_to_string("/proc/self/stat").ok();
    let kernel = fs::read_to_string("/proc/stat").ok();
    let status = fs::read_to_string("/proc/self/status").ok();
    let stat = stat.as_deref();
    Process {
        started: stat.zip(kernel.as_deref()).and_then(|(stat, kernel)| started(stat, kernel)),
        cpu_seconds: stat.and_then(cpu_seconds),
        resident_bytes: status.as_deref().and_then(resident_bytes),
        // One of them is that of this read itself.
        open_fds: fs::read_dir("/proc/self/fd").ok().map(|all| (all.count() as u64).saturating_sub(1)),
        max_fds: descriptors::limit(),
    }
}

/// Returns a field of `/proc/self/stat` by its number in proc(5). The second one is the program's
/// name, which may contain anything.
fn field(stat: &str, number: usize) -> Option<f64> {
    let (_, after_the_name) = stat.rsplit_once(')')?;
    after_the_name.split_ascii_whitespace().nth(number.checked_sub(3)?)?.parse().ok()
}

/// Seconds since 1970.
fn started(stat: &str, kernel: &str) -> Option<f64> {
    let boot: f64 = kernel.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    Some(boot + field(stat, 22)? / TICKS_PER_SECOND)
}

/// In user mode and in the kernel.
fn cpu_seconds(stat: &str) -> Option<f64> {
    Some((field(stat, 14)? + field(stat, 15)?) / TICKS_PER_SECOND)
}

fn resident_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str = "4711 (a (b) c) S 1 4711 4711 0 -1 4194560 1 2 3 4 150 50 7 8 20 0 9 0 12345 1000 200";

    #[test]
    fn the_program_s_name_may_hold_anything() {
        assert_eq!(cpu_seconds(STAT), Some(2.0));
        assert_eq!(started(STAT, "cpu 1 2\nbtime 1700000000\n"), Some(1_700_000_123.45));
    }

    #[test]
    fn units_and_what_is_missing() {
        assert_eq!(resident_bytes("Name:\tx\nVmRSS:\t    2048 kB\n"), Some(2_097_152));
        assert_eq!((cpu_seconds(""), resident_bytes("")), (None, None));
    }

    #[test]
    fn this_process_has_memory_files_and_a_start() {
        let Process { started, cpu_seconds, resident_bytes, open_fds, max_fds } = read();
        assert!(started.unwrap() > 1e9 && cpu_seconds.unwrap() >= 0.0);
        assert!(resident_bytes.unwrap() > 100_000);
        assert!(open_fds.unwrap() >= 3 && max_fds.is_some_and(|max| max > open_fds.unwrap()));
    }
}
