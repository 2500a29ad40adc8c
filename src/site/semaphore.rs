//! How many of a costly thing there may be at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The passes that are left.
#[derive(Debug)]
pub struct Semaphore {
    free: Arc<AtomicUsize>,
}

/// The right to do the thing, or to hold what came of it; dropping it gives it back.
#[derive(Debug)]
pub struct Permit {
    free: Arc<AtomicUsize>,
}

impl Semaphore {
    /// Lets there be so many.
    pub fn new(most: usize) -> Semaphore {
        Semaphore { free: Arc::new(AtomicUsize::new(most)) }
    }

    /// Takes a pass, if one is left.
    pub fn try_acquire(&self) -> Option<Permit> {
        let less = |free: usize| free.checked_sub(1);
        self.free.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).ok()?;
        Some(Permit { free: Arc::clone(&self.free) })
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.free.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_enter_at_once_than_there_are_passes() {
        let passes = Semaphore::new(2);
        let (first, second) = (passes.try_acquire(), passes.try_acquire());
        assert!(first.is_some() && second.is_some() && passes.try_acquire().is_none());
        drop(first);
        let third = passes.try_acquire();
        assert!(third.is_some() && passes.try_acquire().is_none());
    }
}
