//! Threads for connections: one each, started when none is free, kept for the next connection when one ends.

use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// The stack of a connection's thread. The system gives it memory page by page as it is used.
const STACK: usize = 256 * 1024;

/// How long a thread waits for another connection before it ends.
const PATIENCE: Duration = Duration::from_secs(10);

/// Something to be done on a thread of its own.
pub type Job = Box<dyn FnOnce() + Send>;

/// Hands jobs to threads.
#[derive(Default)]
pub struct Handoff {
    state: Mutex<State>,
    given: Condvar,
}

#[derive(Default)]
struct State {
    waiting_jobs: VecDeque<Job>,
    threads: usize,
    free_threads: usize,
}

impl Handoff {
    /// Gives a job to a free thread, or to a new one. Where no thread can be started the error says why; the job then
    /// waits for the next thread that becomes free, or is dropped where there is none.
    pub fn give(self: &Arc<Self>, job: Job) -> io::Result<()> {
        let mut state = self.lock();
        state.waiting_jobs.push_back(job);
        if state.waiting_jobs.len() <= state.free_threads {
            self.given.notify_one();
            return Ok(());
        }
        let handoff = Arc::clone(self);
        let builder = thread::Builder::new().name("connection".to_owned()).stack_size(STACK);
        let started = builder.spawn(move || handoff.work());
        let dropped = match started {
            Ok(_) => {
                state.threads += 1;
                None
            }
            Err(_) if state.threads == 0 => state.waiting_jobs.pop_back(),
            Err(_) => None,
        };
        // What a job holds may want other locks when it goes.
        drop(state);
        drop(dropped);
        started.map(|_| ())
    }

    fn work(&self) {
        while let Some(job) = self.next_job() {
            // A fault in one connection must not take the thread from the next; what it shared is guarded by locks
            // that are left in order.
            if catch_unwind(AssertUnwindSafe(job)).is_err() {
                log::error!("a connection ended by a fault of the server, which is told above; please report it");
            }
        }
    }

    /// Waits for a job; none when the thread has waited in vain and is to end.
    fn next_job(&self) -> Option<Job> {
        let mut state = self.lock();
        if state.waiting_jobs.is_empty() {
            state.free_threads += 1;
            let waited = self.given.wait_timeout_while(state, PATIENCE, |state| state.waiting_jobs.is_empty());
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            state.free_threads -= 1;
        }
        let job = state.waiting_jobs.pop_front();
        if job.is_none() {
            state.threads -= 1;
        }
        job
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    #[test]
    fn a_thread_serves_one_job_after_another_even_after_a_panic() {
        let handoff = Arc::new(Handoff::default());
        let (ids, seen) = channel();
        for at in 0..5 {
            // The thread of the job before is free again once it waits with nothing to do.
            let is_free = |state: &State| state.free_threads == 1 && state.waiting_jobs.is_empty();
            while at > 0 && !is_free(&handoff.lock()) {
                thread::yield_now();
            }
            let ids = ids.clone();
            let job = Box::new(move || {
                ids.send(thread::current().id()).expect("the test waits");
                assert!(at != 2, "a fault on purpose");
            });
            handoff.give(job).expect("a thread can be started");
        }
        let ids: Vec<_> = seen.iter().take(5).collect();
        assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    }

    #[test]
    fn a_job_never_waits_while_others_block_the_threads() {
        let handoff = Arc::new(Handoff::default());
        let (go, gate) = channel::<()>();
        let (done, seen) = channel();
        let blocked = Box::new(move || gate.recv().unwrap_or_default());
        handoff.give(blocked).expect("a thread can be started");
        handoff.give(Box::new(move || done.send(()).expect("the test waits"))).expect("another thread");
        seen.recv().expect("the second job is done although the first is not");
        drop(go);
    }
}
