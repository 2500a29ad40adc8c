//! Thread pool: a thread for each connection, started where none is idle, and kept for a while for the next connection.

use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};

/// Stack of a connection's thread, in bytes. The kernel backs only what is used with memory.
const STACK_SIZE: usize = 256 * 1024;

/// Idle threads exit after this.
const THREAD_IDLE_TIMEOUT: Duration = Duration::from_secs(10);

/// Runs jobs of one kind on threads.
pub struct ThreadPool<J> {
    work: Box<dyn Fn(J) + Send + Sync>,
    state: Mutex<State<J>>,
}

/// No thread can be started.
#[derive(Debug)]
pub struct SpawnError<J> {
    /// Why.
    pub error: io::Error,
    /// The job that was not run.
    pub job: J,
    /// The number of threads, all of them busy.
    pub threads: usize,
}

struct State<J> {
    queue: VecDeque<J>,
    threads: usize,
    /// Parked threads. The last one to park is unparked first (LIFO): its caches are warm, and the others can exit.
    parked: Vec<Thread>,
    /// Threads that are about to look at the queue: started, unparked, or spinning.
    spinning: usize,
}

impl<J: Send + 'static> ThreadPool<J> {
    /// Creates a pool that does this work with each job.
    pub fn new(work: impl Fn(J) + Send + Sync + 'static) -> Arc<ThreadPool<J>> {
        let state = State { queue: VecDeque::new(), threads: 0, parked: Vec::new(), spinning: 0 };
        Arc::new(ThreadPool { work: Box::new(work), state: Mutex::new(state) })
    }

    /// Runs a job on an idle thread, or on a new one.
    pub fn execute(self: &Arc<Self>, job: J) -> Result<(), SpawnError<J>> {
        let mut state = self.state.lock();
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
        if let Err(error) = builder.spawn(move || pool.work()) {
            let job = state.queue.pop_back().expect("it was pushed above, and the lock is held since");
            return Err(SpawnError { error, job, threads: state.threads });
        }
        state.spinning += 1;
        state.threads += 1;
        Ok(())
    }

    fn work(&self) {
        while let Some(job) = self.next_job() {
            // A panic in one connection must not take the thread from the next; shared state is behind locks that are
            // released in a consistent state.
            if catch_unwind(AssertUnwindSafe(|| (self.work)(job))).is_err() {
                log::error!("a connection ended by a panic, which is printed above; please report it");
            }
            let mut state = self.state.lock();
            state.spinning += 1;
            if state.queue.is_empty() {
                drop(state);
                // Under load the next connection is often accepted meanwhile, and no wake-up is needed for it.
                thread::yield_now();
            }
        }
    }

    /// Takes a job, or parks until there is one; none after [`THREAD_IDLE_TIMEOUT`]. The caller is counted as spinning.
    fn next_job(&self) -> Option<J> {
        let mut state = self.state.lock();
        state.spinning -= 1;
        let deadline = Instant::now() + THREAD_IDLE_TIMEOUT;
        while state.queue.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                state.threads -= 1;
                return None;
            }
            let thread = thread::current();
            state.parked.push(thread.clone());
            MutexGuard::unlocked(&mut state, || thread::park_timeout(left));
            match state.parked.iter().rposition(|parked| parked.id() == thread.id()) {
                Some(at) => drop(state.parked.remove(at)),
                // The thread that unparked this one has counted it as spinning.
                None => state.spinning -= 1,
            }
        }
        state.queue.pop_front()
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
    fn thread_is_reused_even_after_a_panic() {
        let pool = pool();
        let (ids, seen) = channel();
        for at in 0..5 {
            // The thread of the previous job is idle once it is parked and the queue is empty.
            let is_free = |state: &State<Job>| state.parked.len() == 1 && state.queue.is_empty();
            while at > 0 && !is_free(&pool.state.lock()) {
                thread::yield_now();
            }
            let ids = ids.clone();
            let job = Box::new(move || {
                ids.send(thread::current().id()).expect("the test waits");
                assert!(at != 2, "a panic on purpose");
            });
            assert!(pool.execute(job).is_ok());
        }
        let ids: Vec<_> = seen.iter().take(5).collect();
        assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    }

    #[test]
    fn started_thread_that_does_not_run_yet_is_counted() {
        let pool = pool();
        for _ in 0..1000 {
            assert!(pool.execute(Box::new(|| ())).is_ok());
            let state = pool.state.lock();
            assert!(state.queue.len() <= state.spinning, "another thread would be started");
        }
    }

    #[test]
    fn last_thread_to_park_is_unparked_first() {
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
            while pool.state.lock().parked.len() <= at {
                thread::yield_now();
            }
        }
        let job = move || ids.send(thread::current().id()).expect("the test waits");
        assert!(pool.execute(Box::new(job)).is_ok());
        assert_eq!(seen.recv().ok(), last);
    }

    #[test]
    fn job_never_waits_for_blocked_threads() {
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
