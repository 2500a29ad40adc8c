//! Threads for connections: one each, started when none is free, kept for the next connection when one ends.

use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

/// The stack of a connection's thread. The system gives it memory page by page as it is used.
const STACK_SIZE: usize = 256 * 1024;

/// How long a thread waits for another connection before it ends.
const THREAD_IDLE_TIMEOUT: Duration = Duration::from_secs(10);

/// Hands jobs to threads.
pub struct ThreadPool<J> {
    /// What is done with a job, on its thread.
    work: Box<dyn Fn(J) + Send + Sync>,
    state: Mutex<State<J>>,
}

/// No thread could be started.
#[derive(Debug)]
pub struct SpawnError<J> {
    /// Why.
    pub error: io::Error,
    /// What should have been done.
    pub job: J,
    /// How many threads there are, none of which is free.
    pub threads: usize,
}

struct State<J> {
    queue: VecDeque<J>,
    threads: usize,
    /// The threads that sleep until they are woken. The last to fall asleep is woken first: what it used is still in the
    /// processor's cache, and those that are never woken end.
    parked: Vec<Thread>,
    /// The threads that will look for a job in a moment, by themselves or because they were woken or started.
    spinning: usize,
}

impl<J: Send + 'static> ThreadPool<J> {
    /// Prepares to do this with each job.
    pub fn new(work: impl Fn(J) + Send + Sync + 'static) -> Arc<ThreadPool<J>> {
        let state = State { queue: VecDeque::new(), threads: 0, parked: Vec::new(), spinning: 0 };
        Arc::new(ThreadPool { work: Box::new(work), state: Mutex::new(state) })
    }

    /// Gives a job to a free thread, or to a new one.
    pub fn execute(self: &Arc<Self>, job: J) -> Result<(), SpawnError<J>> {
        let mut state = self.lock();
        state.queue.push_back(job);
        if state.queue.len() <= state.spinning {
            return Ok(());
        }
        if let Some(thread) = state.parked.pop() {
            state.spinning += 1;
            drop(state);
            thread.unpark();
            return Ok(());
        }
        let pool = Arc::clone(self);
        let builder = thread::Builder::new().name("connection".to_owned()).stack_size(STACK_SIZE);
        match builder.spawn(move || pool.work()) {
            Ok(_) => {
                state.threads += 1;
                state.spinning += 1;
                Ok(())
            }
            Err(error) => {
                let job = state.queue.pop_back().expect("it was pushed above, and the lock is held since");
                Err(SpawnError { error, job, threads: state.threads })
            }
        }
    }

    fn work(&self) {
        // Whoever started this thread has counted it among those that look.
        let mut state = self.lock();
        state.spinning -= 1;
        let mut first = state.queue.pop_front();
        drop(state);
        while let Some(job) = first.take().or_else(|| self.next_job()) {
            // A fault in one connection must not take the thread from the next; what it shared is guarded by locks
            // that are left in order.
            if catch_unwind(AssertUnwindSafe(|| (self.work)(job))).is_err() {
                log::error!("a connection ended by a fault of the server, which is told above; please report it");
            }
        }
    }

    /// Waits for a job; none when the thread has waited in vain and is to end.
    ///
    /// Before it sleeps, the other threads are let run that can: while connections come all the time, the next one is
    /// often accepted by then, and this thread need not be woken for it.
    fn next_job(&self) -> Option<J> {
        let mut state = self.lock();
        if state.queue.is_empty() {
            state.spinning += 1;
            drop(state);
            thread::yield_now();
            state = self.lock();
            state.spinning -= 1;
        }
        let until = Instant::now() + THREAD_IDLE_TIMEOUT;
        while state.queue.is_empty() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                state.threads -= 1;
                return None;
            }
            state = self.park(state, left);
        }
        state.queue.pop_front()
    }

    /// Sleeps for so long, or until it is woken.
    fn park<'s>(&'s self, mut state: MutexGuard<'s, State<J>>, time: Duration) -> MutexGuard<'s, State<J>> {
        let thread = thread::current();
        let id = thread.id();
        state.parked.push(thread);
        drop(state);
        thread::park_timeout(time);
        let mut state = self.lock();
        match state.parked.iter().rposition(|thread| thread.id() == id) {
            Some(at) => drop(state.parked.remove(at)),
            // Whoever woke this thread has counted it among those that look.
            None => state.spinning -= 1,
        }
        state
    }

    fn lock(&self) -> MutexGuard<'_, State<J>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    type Job = Box<dyn FnOnce() + Send>;

    fn pool() -> Arc<ThreadPool<Job>> {
        ThreadPool::new(|job: Job| job())
    }

    #[test]
    fn a_thread_serves_one_job_after_another_even_after_a_panic() {
        let pool = pool();
        let (ids, seen) = channel();
        for at in 0..5 {
            // The thread of the job before is free again once it waits with nothing to do.
            let is_free = |state: &State<Job>| state.parked.len() == 1 && state.queue.is_empty();
            while at > 0 && !is_free(&pool.lock()) {
                thread::yield_now();
            }
            let ids = ids.clone();
            let job = Box::new(move || {
                ids.send(thread::current().id()).expect("the test waits");
                assert!(at != 2, "a fault on purpose");
            });
            assert!(pool.execute(job).is_ok());
        }
        let ids: Vec<_> = seen.iter().take(5).collect();
        assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    }

    #[test]
    fn a_thread_that_was_started_and_does_not_run_yet_is_not_started_again() {
        let pool = pool();
        for _ in 0..1000 {
            assert!(pool.execute(Box::new(|| ())).is_ok());
            let state = pool.lock();
            assert!(state.queue.len() <= state.spinning, "somebody else would be started");
        }
    }

    #[test]
    fn the_last_to_fall_asleep_is_woken_first() {
        let pool = pool();
        let (ids, seen) = channel();
        let mut gates = Vec::new();
        for _ in 0..3 {
            let (ids, (go, gate)) = (ids.clone(), channel::<()>());
            gates.push(go);
            let job = move || {
                let _ = gate.recv();
                ids.send(thread::current().id()).expect("the test waits");
            };
            assert!(pool.execute(Box::new(job)).is_ok());
        }
        let mut last = None;
        for (at, go) in gates.into_iter().enumerate() {
            drop(go);
            last = seen.recv().ok();
            while pool.lock().parked.len() <= at {
                thread::yield_now();
            }
        }
        let job = move || ids.send(thread::current().id()).expect("the test waits");
        assert!(pool.execute(Box::new(job)).is_ok());
        assert_eq!(seen.recv().ok(), last);
    }

    #[test]
    fn a_job_never_waits_while_others_block_the_threads() {
        let pool = pool();
        let (go, gate) = channel::<()>();
        let (done, seen) = channel();
        let blocked = Box::new(move || gate.recv().unwrap_or_default());
        assert!(pool.execute(blocked).is_ok());
        assert!(pool.execute(Box::new(move || done.send(()).expect("the test waits"))).is_ok());
        seen.recv().expect("the second job is done although the first is not");
        drop(go);
    }
}
