//! What the system lets this process have: descriptors and memory, and for how many connections that is enough.
//!
//! Only limits of the process are looked at (setrlimit(2)). A control group's are not: what lies beyond those ends the
//! process whatever it does, so whoever sets one counts with the README's figures.

use std::fs;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Of so many connections, one at a time can be sure of a descriptor for a file. Most idle, and most files are in memory;
/// where more ask for others at once, some are asked to try again in a moment.
const CONNECTIONS_FOR_A_FILE: u64 = 4;

/// What the rest of the program needs: standard streams, listeners, the root, start-up, connections that are turned away.
const OTHERS: u64 = 40;

/// The address space that a connection takes: its thread's stack, which is mostly not backed by memory, and the largest
/// head that may come.
const CONNECTION_SPACE: u64 = 320 * 1024;

/// Raises this process's limit on descriptors to the highest that it may set itself, and returns for how many connections
/// that is enough: each needs one, and another while it is sent a file that is not in memory.
///
/// Half of `memory`, where there is a limit on it, has to be enough for them too: who cannot get memory cannot go on.
pub fn connections(memory: Option<u64>) -> usize {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let limit = if setrlimit(Resource::Nofile, raised).is_ok() { limit.maximum } else { limit.current };
    let fit = memory.map_or(u64::MAX, |memory| memory / 2 / CONNECTION_SPACE);
    usize::try_from(enough_for(limit.unwrap_or(u64::MAX)).min(fit)).unwrap_or(usize::MAX).max(1)
}

/// The address space in bytes that is left to this process, if there is a limit on it.
pub fn memory() -> Option<u64> {
    let limit = getrlimit(Resource::As).current?;
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kib =
        status.lines().find_map(|line| line.strip_prefix("VmSize:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    Some(limit.saturating_sub(kib.unwrap_or(0) * 1024))
}

fn enough_for(descriptors: u64) -> u64 {
    let ours = descriptors.saturating_sub(OTHERS);
    ours - ours / (CONNECTIONS_FOR_A_FILE + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fifth_of_the_descriptors_is_left_for_files() {
        assert_eq!(enough_for(20_040), 16_000);
        assert_eq!(enough_for(64), 20);
        assert_eq!(enough_for(5), 0);
        assert!(enough_for(u64::MAX) >= 16_000);
    }
}
