//! How many descriptors (files, sockets) this process may have open, and who may take how many of them. Where they are few,
//! everybody has less, so that what matters never finds none: the journal, and the connection of a PUT.

use std::fs;

/// Below this, those who connect to the daemon have fewer places.
const PLENTY: u64 = 256;
/// Always left to those who connect.
const LEAST: usize = 2;
/// A request may have two connections: one that was left open by a reading, and that of a PUT. One in so many
/// descriptors, over all projects, leaves half of them to everything else.
const FOR_EACH_REQUEST: u64 = 4;

/// How many may be open. `None` where there is no limit, or it cannot be read.
pub fn limit() -> Option<u64> {
    parse(&fs::read_to_string("/proc/self/limits").ok()?)
}

/// The same, of what the kernel tells.
fn parse(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

/// How many connections are taken at once where usually so many are.
pub fn connections(usual: usize, limit: Option<u64>) -> usize {
    let Some(limit) = limit.filter(|limit| *limit < PLENTY) else { return usual };
    let share = (usual as u64).saturating_mul(limit) / PLENTY;
    usize::try_from(share).unwrap_or(usual).max(LEAST)
}

/// How many requests of each project may be in flight where the configuration wants so many.
pub fn requests(wanted: u32, projects: usize, limit: Option<u64>) -> u32 {
    let Some(limit) = limit else { return wanted };
    let share = limit / FOR_EACH_REQUEST / (projects as u64).max(1);
    wanted.min(u32::try_from(share).unwrap_or(u32::MAX).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_the_soft_one() {
        assert_eq!(parse("Limit Soft Hard\nMax open files            1024     4096    files\n"), Some(1024));
        assert_eq!(parse("Max open files            unlimited     unlimited    files\n"), None);
        assert_eq!(parse(""), None);
        assert!(limit().is_none_or(|limit| limit > 3));
    }

    #[test]
    fn where_there_are_many_nobody_has_less_and_where_there_are_few_everybody() {
        for limit in [None, Some(PLENTY), Some(1_000_000)] {
            assert_eq!(connections(24, limit), 24);
        }
        assert_eq!(
            [connections(24, Some(64)), connections(16, Some(64)), connections(16, Some(1))],
            [6, 4, 2]
        );
        assert_eq!(
            [requests(16, 1, None), requests(16, 16, Some(1024)), requests(64, 1, Some(1024))],
            [16, 16, 64]
        );
        assert_eq!(
            [requests(16, 3, Some(64)), requests(16, 1_000, Some(1024)), requests(1, 0, Some(0))],
            [5, 1, 1]
        );
    }
}
