//! The limit on open descriptors: a connection needs one, and another while it is sent a file that is not in memory.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Of so many connections, one at a time can be sure of a descriptor for a file. Most idle, and most files are in memory;
/// where more ask for others at once, some are asked to try again in a moment.
const CONNECTIONS_FOR_A_FILE: u64 = 4;

/// What the rest of the program needs: standard streams, listeners, the root, start-up.
const OTHERS: u64 = 24;

/// Raises this process's limit to the highest that it may set itself, and returns for how many connections that is
/// enough.
pub fn raise_limit() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let limit = if setrlimit(Resource::Nofile, raised).is_ok() { limit.maximum } else { limit.current };
    enough_for(limit.unwrap_or(u64::MAX))
}

fn enough_for(descriptors: u64) -> usize {
    let ours = descriptors.saturating_sub(OTHERS);
    let files = ours / (CONNECTIONS_FOR_A_FILE + 1);
    usize::try_from(ours - files).unwrap_or(usize::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fifth_of_the_descriptors_is_left_for_files() {
        assert_eq!(enough_for(20_024), 16_000);
        assert_eq!(enough_for(64), 32);
        assert_eq!(enough_for(5), 1);
        assert!(enough_for(u64::MAX) >= 16_000);
    }
}
