//! SHA-256 of content, and a limit on how many threads compute it at once. The only user of sha2.

use std::thread;

use parking_lot::{Condvar, Mutex};
use sha2::{Digest as _, Sha256};

/// The SHA-256 of some content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digest([u8; 32]);

/// The threads that may hash at once: one per processor.
#[derive(Debug)]
pub struct HashPermits {
    free: Mutex<usize>,
    freed: Condvar,
}

/// The right to hash, until dropped.
#[derive(Debug)]
pub struct HashPermit<'p>(&'p HashPermits);

impl Digest {
    /// Hashes content in memory.
    pub fn of(content: &[u8]) -> Digest {
        Digest(Sha256::digest(content).into())
    }

    /// Returns its bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl<P: AsRef<[u8]>> FromIterator<P> for Digest {
    fn from_iter<I: IntoIterator<Item = P>>(pieces: I) -> Digest {
        let hasher = pieces.into_iter().fold(Sha256::new(), |hasher, piece| hasher.chain_update(piece));
        Digest(hasher.finalize().into())
    }
}

impl HashPermits {
    /// Makes a permit for each processor.
    pub fn per_processor() -> HashPermits {
        HashPermits::new(thread::available_parallelism().map_or(1, Into::into))
    }

    fn new(count: usize) -> HashPermits {
        HashPermits { free: Mutex::new(count), freed: Condvar::new() }
    }

    /// Waits for a free permit.
    pub fn acquire(&self) -> HashPermit<'_> {
        let mut free = self.free.lock();
        self.freed.wait_while(&mut free, |free| *free == 0);
        *free -= 1;
        HashPermit(self)
    }
}

impl Drop for HashPermit<'_> {
    fn drop(&mut self) {
        *self.0.free.lock() += 1;
        self.0.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// The example of FIPS 180-4 for "abc".
    #[test]
    fn digest_is_sha_256_however_content_is_split() {
        let hex: String = Digest::of(b"abc").as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(Digest::from_iter(["a", "", "bc"]), Digest::of(b"abc"));
    }

    #[test]
    fn hash_permits_limit_threads_at_once() {
        let (permits, now) = (HashPermits::new(2), AtomicUsize::new(0));
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..100 {
                        let _permit = permits.acquire();
                        assert!(now.fetch_add(1, Ordering::SeqCst) < 2, "more threads than permits");
                        thread::yield_now();
                        now.fetch_sub(1, Ordering::SeqCst);
                    }
                });
            }
        });
        assert_eq!(*permits.free.lock(), 2, "every permit is returned");
    }
}
