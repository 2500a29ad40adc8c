//! Resource limits of the process (getrlimit(2)): descriptors, address space, and the connections that fit into them.
//!
//! A control group's limits are not read: beyond those the kernel kills the process, so the operator plans for them.

use std::fs;
use std::num::NonZero;
use std::thread::available_parallelism;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Connections per descriptor kept free for a file. Most connections idle, and most files are cached.
const CONNECTIONS_FOR_A_FILE: u64 = 4;

/// Descriptors for everything else: standard streams, listeners, the root, shed connections.
const OTHERS: u64 = 40;

/// Address space of a connection, in bytes: its thread's stack and the largest request head.
const CONNECTION_SPACE: u64 = 320 * 1024;

/// Address space that glibc reserves for each malloc arena, in bytes.
const ARENA_SPACE: u64 = 64 << 20;

/// The most arenas that glibc makes for each processor.
const ARENAS_PER_CPU: u64 = 8;

/// Raises the descriptor limit to its maximum, and returns the number of connections that fit: each takes a descriptor,
/// and some take another for a file. They may take half of `memory`, because a failed allocation aborts.
pub fn connections(memory: Option<u64>) -> usize {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let is_raised = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).is_ok();
    let descriptors = if is_raised { maximum } else { current };
    let fit = memory.map_or(u64::MAX, |memory| memory / 2 / CONNECTION_SPACE);
    usize::try_from(enough_for(descriptors.unwrap_or(u64::MAX)).min(fit)).unwrap_or(usize::MAX).max(1)
}

/// The address space left to this process beside malloc's arenas, in bytes, if it is limited.
pub fn memory() -> Option<u64> {
    let limit = getrlimit(Resource::As).current?;
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let size = |line: &str| line.strip_prefix("VmSize:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok();
    let used = status.lines().find_map(size).unwrap_or(0) * 1024;
    let cpus = available_parallelism().map_or(1, NonZero::get) as u64;
    Some(beside_arenas(limit.saturating_sub(used), cpus))
}

/// At least an eighth: arenas stop growing where the next one does not fit.
fn beside_arenas(left: u64, cpus: u64) -> u64 {
    let arenas = (left / ARENA_SPACE).min(cpus * ARENAS_PER_CPU);
    (left - arenas * ARENA_SPACE).max(left / 8)
}

fn enough_for(descriptors: u64) -> u64 {
    let ours = descriptors.saturating_sub(OTHERS);
    ours - ours / (CONNECTIONS_FOR_A_FILE + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fifth_of_the_descriptors_stays_free_for_files() {
        assert_eq!(enough_for(20_040), 16_000);
        assert_eq!(enough_for(64), 20);
        assert_eq!(enough_for(5), 0);
        assert!(enough_for(u64::MAX) >= 16_000);
    }

    #[test]
    fn arenas_count_against_the_address_space() {
        assert_eq!(beside_arenas(16 << 20, 2), 16 << 20);
        assert_eq!(beside_arenas(360 << 20, 2), 45 << 20);
        assert_eq!(beside_arenas(2 << 30, 2), 1 << 30);
    }
}
