//! The limit on open descriptors: a connection needs one, another for the root, and one for the file it is sent.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What a connection needs at most.
const EACH: u64 = 3;

/// What the rest of the program needs: standard streams, listeners, start-up.
const OTHERS: u64 = 24;

/// Raises this process's limit to the highest that it may set itself, and returns for how many connections that is
/// enough.
pub fn raise_limit() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let limit = if setrlimit(Resource::Nofile, raised).is_ok() { limit.maximum } else { limit.current };
    let enough = limit.map_or(u64::MAX, |limit| limit.saturating_sub(OTHERS) / EACH);
    usize::try_from(enough).unwrap_or(usize::MAX).max(1)
}
