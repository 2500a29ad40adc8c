//! Counting semaphore for costly work. It never blocks.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A number of permits.
#[derive(Debug)]
pub struct Semaphore {
    free: Arc<AtomicUsize>,
}

/// The right to do the work, or to hold its result; dropping it frees it.
#[derive(Debug)]
pub struct Permit {
    free: Arc<AtomicUsize>,
}

impl Semaphore {
    /// Makes this many permits.
    pub fn new(permits: usize) -> Semaphore {
        Semaphore { free: Arc::new(AtomicUsize::new(permits)) }
    }

    /// Takes a permit if one is free.
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
    fn dropped_permit_can_be_acquired_again() {
        let semaphore = Semaphore::new(2);
        let (first, second) = (semaphore.try_acquire(), semaphore.try_acquire());
        assert!(first.is_some() && second.is_some() && semaphore.try_acquire().is_none());
        drop(first);
        let third = semaphore.try_acquire();
        assert!(third.is_some() && semaphore.try_acquire().is_none());
    }
}
