//! Counting semaphore for costly work.

use std::sync::Arc;

use parking_lot::{Condvar, Mutex};

/// A number of permits.
#[derive(Debug)]
pub struct Semaphore(Arc<Permits>);

/// The right to do the work, or to hold its result; dropping it frees it.
#[derive(Debug)]
pub struct Permit(Arc<Permits>);

#[derive(Debug)]
struct Permits {
    free: Mutex<usize>,
    freed: Condvar,
}

impl Semaphore {
    /// Makes this many permits.
    pub fn new(permits: usize) -> Semaphore {
        Semaphore(Arc::new(Permits { free: Mutex::new(permits), freed: Condvar::new() }))
    }

    /// Takes a permit if one is free.
    pub fn try_acquire(&self) -> Option<Permit> {
        let mut free = self.0.free.lock();
        *free = free.checked_sub(1)?;
        Some(Permit(Arc::clone(&self.0)))
    }

    /// Waits for a free permit.
    pub fn acquire(&self) -> Permit {
        let mut free = self.0.free.lock();
        self.0.freed.wait_while(&mut free, |free| *free == 0);
        *free -= 1;
        Permit(Arc::clone(&self.0))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        *self.0.free.lock() += 1;
        self.0.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    #[test]
    fn dropped_permit_can_be_acquired_again() {
        let semaphore = Semaphore::new(2);
        let (first, second) = (semaphore.try_acquire(), semaphore.try_acquire());
        assert!(first.is_some() && second.is_some() && semaphore.try_acquire().is_none());
        drop(first);
        let third = semaphore.try_acquire();
        assert!(third.is_some() && semaphore.try_acquire().is_none());
    }

    #[test]
    fn permits_limit_threads_at_once() {
        let (semaphore, now) = (Semaphore::new(2), AtomicUsize::new(0));
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..100 {
                        let _permit = semaphore.acquire();
                        assert!(now.fetch_add(1, Ordering::SeqCst) < 2, "more threads than permits");
                        thread::yield_now();
                        now.fetch_sub(1, Ordering::SeqCst);
                    }
                });
            }
        });
        assert_eq!(*semaphore.0.free.lock(), 2, "every permit is returned");
    }
}
