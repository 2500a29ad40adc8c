//! Digests of files that are too large for memory: each is computed once, when it is first needed or by a thread that
//! nobody waits for, and counts while the file is what it was.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use rustix::process::setpriority_process;

use super::cache::Kept;
use super::file::{Meta, OpenFile};
use super::hash::Digest;

/// Larger files are not hashed. One of this size takes 6 ms, and 30 where the processor has no instructions for it.
const HASHED_MAX: u64 = 8 * 1024 * 1024;

/// A file of up to so many bytes is hashed at once, whoever asks: that takes 0.2 ms, and 0.8 without such instructions.
const AT_ONCE: u64 = 256 * 1024;

/// So many digests are kept, in 2 MiB.
const KEPT: usize = 16 * 1024;

/// So many files wait to be hashed, and each holds a descriptor. Those that come then are hashed another time.
const WAITING_MAX: usize = 8;

/// The stack of the thread that hashes.
const STACK: usize = 64 * 1024;

/// The priority of that thread, the least there is: answers come before it.
const LAST: i32 = 19;

/// How much an answer needs the digest of its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// It waits until the file is hashed.
    Waits,
    /// It goes without where hashing would hold it up.
    GoesWithout,
}

/// What is known of a file's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hashed {
    /// Its digest.
    As(Digest),
    /// Nothing yet.
    NotYet,
    /// Nothing, and nothing will be: it is too large.
    Never,
    /// Nothing that lasts: it does not stay what it is.
    Restless,
}

/// The digests that are known, and the files that wait to be hashed.
#[derive(Debug)]
pub struct Digests {
    known: Kept<Meta, Digest>,
    /// While there are any, a thread hashes the first of them.
    waiting: Mutex<VecDeque<Arc<OpenFile>>>,
}

impl Digests {
    /// Begins with none.
    pub fn new() -> Digests {
        Digests { known: Kept::new(KEPT), waiting: Mutex::default() }
    }

    /// Returns the digest of a file's content, which is what was read when the file system said of it what it says now.
    pub fn get(self: &Arc<Digests>, file: &OpenFile, need: Need) -> io::Result<Hashed> {
        if let Some(digest) = file.digest_in_memory() {
            return Ok(Hashed::As(digest));
        }
        let meta = file.meta();
        if !file.is_at_rest() {
            return Ok(Hashed::Restless);
        }
        if meta.len > HASHED_MAX {
            return Ok(Hashed::Never);
        }
        if need == Need::Waits || meta.len <= AT_ONCE {
            return self.get_now(file);
        }
        let known = self.known.get(&meta);
        if known.is_none() {
            self.hash_later(file);
        }
        Ok(known.map_or(Hashed::NotYet, Hashed::As))
    }

    /// Hashes a file unless its digest is known. Other answers that need the same one meanwhile wait for it.
    fn get_now(&self, file: &OpenFile) -> io::Result<Hashed> {
        let digest = self.known.get_or(&file.meta(), || file.hash())?;
        Ok(digest.map_or(Hashed::Restless, Hashed::As))
    }

    /// Has a file hashed by a thread that is there as long as there is something to hash. Where there is no descriptor for
    /// that, or no thread, there is no digest this time.
    fn hash_later(self: &Arc<Digests>, file: &OpenFile) {
        let mut waiting = self.waiting();
        if waiting.len() == WAITING_MAX || waiting.iter().any(|other| other.meta() == file.meta()) {
            return;
        }
        let Ok(file) = file.try_clone() else { return };
        waiting.push_back(Arc::new(file));
        if waiting.len() == 1 {
            let digests = Arc::clone(self);
            let builder = thread::Builder::new().name("digests".to_owned()).stack_size(STACK);
            if builder.spawn(move || digests.hash_waiting()).is_err() {
                waiting.clear();
            }
        }
    }

    /// Hashes what waits. Nobody is told if that fails: whoever needs the digest tries again, and is. Nobody waits for this
    /// thread either, because it comes last: an answer that needs the digest meanwhile hashes the file itself.
    fn hash_waiting(&self) {
        let _ = setpriority_process(None, LAST);
        let mut next = self.waiting().front().cloned();
        while let Some(file) = next {
            if self.known.get(&file.meta()).is_none()
                && let Ok(Some(digest)) = file.hash()
            {
                self.known.put(file.meta(), digest);
            }
            let mut waiting = self.waiting();
            waiting.pop_front();
            next = waiting.front().cloned();
        }
    }

    fn waiting(&self) -> MutexGuard<'_, VecDeque<Arc<OpenFile>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
