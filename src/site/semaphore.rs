//! Counting semaphore for costly work. It never blocks.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A number of permits.
#[derive(Debug)]
pub struct Semaphore(Arc<AtomicUsize>);

/// The right to do the work, or to hold its result; dropping it frees it.
#[derive(Debug)]
pub struct Permit(Arc<AtomicUsize>);

impl Semaphore {
    /// Makes this many permits.
    pub fn new(permits: usize) -> Semaphore {
        Semaphore(Arc::new(AtomicUsize::new(permits)))
    }

    /// Takes a permit if one is free.
    pub fn try_acquire(&self) -> Option<Permit> {
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |free| free.checked_sub(1)).ok()?;
        Some(Permit(Arc::clone(&self.0)))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
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
