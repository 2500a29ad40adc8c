//! The connections there are: how many there may be, which one makes room, how long each may wait for its client, and
//! how they are ended from outside.
//!
//! A thread that waits in a read cannot be told anything; but ending the reading half of its socket wakes it, and what
//! has arrived before is still read. That is the only means used here, so whoever is being answered is answered whole.
//!
//! How long a connection may idle is kept here too, and not by its socket: that takes a system call to set, and a timer
//! for each read. With a connection for each request it was 42 µs of processor time instead of 34.

use std::collections::HashMap;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering, fence};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// How long a full house waits until it looks again for a connection that can make room.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// All connections.
#[derive(Debug)]
pub struct Seats {
    max: usize,
    taken: Mutex<Taken>,
    left: Condvar,
    /// The number of connections, for those who need not know it exactly.
    count: AtomicUsize,
    stopped_at: OnceLock<Instant>,
    epoch: Instant,
}

/// A connection's place among the others; dropping it gives the place up.
#[derive(Debug)]
pub struct Seat {
    /// The number of the connection, counted from 1.
    pub id: u64,
    /// Who is at the other end.
    pub peer: SocketAddr,
    chair: Arc<Chair>,
    seats: Arc<Seats>,
}

#[derive(Debug, Default)]
struct Taken {
    last_id: u64,
    by_id: HashMap<u64, Arc<Chair>>,
    /// Who was told last to make room, and when.
    leaving: Option<(u64, Instant)>,
}

/// What can be seen and done from outside of one connection.
#[derive(Debug)]
struct Chair {
    stream: TcpStream,
    /// 0 while a request is being answered. Otherwise the connection waits for its client, and this is twice the
    /// microseconds from the epoch to when that began, plus 1 in the middle of an exchange.
    waiting: AtomicU64,
    /// Until when the house lets it wait, in microseconds from the epoch.
    until: AtomicU64,
    /// Why it was told to end: a [`Dismissal`], or 0.
    dismissal: AtomicU8,
}

/// Why a connection that waits for its client was told to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Dismissal {
    /// To make room for another.
    Evicted = 1,
    /// Because its time is up.
    Overdue = 2,
}

const IN_EXCHANGE: u64 = 1;

/// A time that does not come.
const NEVER: u64 = u64::MAX;

/// From so many connections on, their threads stand in each other's way.
const CROWD: usize = 256;

/// How long one that was told to make room may take until another is told too.
const LEAVING: Duration = Duration::from_secs(1);

impl Seats {
    /// Makes room for so many connections.
    pub fn new(max: usize) -> Arc<Seats> {
        let taken = Mutex::new(Taken::default());
        Arc::new(Seats {
            max,
            taken,
            left: Condvar::new(),
            count: AtomicUsize::new(0),
            stopped_at: OnceLock::new(),
            epoch: Instant::now(),
        })
    }

    /// Gives a connection a seat. In a full house the connection that has waited longest for its client, idle or in an
    /// unfinished head, makes room; while all are being answered, this waits. None once the house is closing.
    pub fn take(self: &Arc<Seats>, stream: TcpStream, peer: SocketAddr) -> Option<Seat> {
        let mut taken = self.lock();
        while taken.by_id.len() >= self.max {
            if self.is_stopping() {
                return None;
            }
            taken.evict();
            taken = self.left.wait_timeout(taken, LOOK_AGAIN).unwrap_or_else(PoisonError::into_inner).0;
        }
        let chair = Arc::new(Chair {
            stream,
            waiting: AtomicU64::new(waiting_since(self.micros(Instant::now()))),
            until: AtomicU64::new(NEVER),
            dismissal: AtomicU8::new(0),
        });
        taken.last_id += 1;
        let id = taken.last_id;
        taken.by_id.insert(id, Arc::clone(&chair));
        self.count.store(taken.by_id.len(), Ordering::Relaxed);
        drop(taken);
        Some(Seat { id, peer, chair, seats: Arc::clone(self) })
    }

    /// Ends the connection that has waited longest for its client, if there is one.
    pub fn evict(&self) {
        self.lock().evict();
    }

    /// Ends each connection that at `now` has waited for its client as long as it may, and returns how long it is until
    /// another one of them will have.
    pub fn dismiss_overdue(&self, now: Instant) -> Option<Duration> {
        let now = self.micros(now);
        let mut next = None;
        for chair in self.lock().by_id.values().filter(|chair| chair.waiting.load(Ordering::Acquire) != 0) {
            match chair.until.load(Ordering::Relaxed) {
                NEVER => {}
                until if until <= now => chair.dismiss(Dismissal::Overdue),
                until => next = Some(next.unwrap_or(NEVER).min(until)),
            }
        }
        next.map(|next| Duration::from_micros(next - now))
    }

    /// Lets no connection wait for a further request from now on.
    pub fn stop(&self) {
        self.stopped_at.get_or_init(Instant::now);
        fence(Ordering::SeqCst);
        for chair in self.lock().by_id.values() {
            let waiting = chair.waiting.load(Ordering::SeqCst);
            if waiting != 0 && waiting & IN_EXCHANGE == 0 {
                let _ = chair.stream.shutdown(Shutdown::Read);
            }
        }
    }

    /// Reports whether the house is closing.
    pub fn is_stopping(&self) -> bool {
        self.stopped_at.get().is_some()
    }

    /// When the house began to close; now, where it has not.
    pub fn stopped_at(&self) -> Instant {
        self.stopped_at.get().copied().unwrap_or_else(Instant::now)
    }

    /// Waits until every connection has ended, but not longer than until `end`; reports whether they have.
    pub fn wait_until_empty(&self, end: Instant) -> bool {
        let time = end.saturating_duration_since(Instant::now());
        let waited = self.left.wait_timeout_while(self.lock(), time, |taken| !taken.by_id.is_empty());
        waited.unwrap_or_else(PoisonError::into_inner).0.by_id.is_empty()
    }

    /// Ends every connection, whatever it is doing.
    pub fn end_all(&self) {
        for chair in self.lock().by_id.values() {
            let _ = chair.stream.shutdown(Shutdown::Both);
        }
    }

    /// How many connections there may be.
    pub fn max(&self) -> usize {
        self.max
    }

    /// The number of connections.
    pub fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Reports whether there are so many connections that their threads stand in each other's way.
    pub fn is_crowded(&self) -> bool {
        self.count() > CROWD
    }

    fn micros(&self, time: Instant) -> u64 {
        u64::try_from(time.saturating_duration_since(self.epoch).as_micros()).unwrap_or(u64::MAX)
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken {
    /// Ends the reading of the connection that has waited longest, unless another is about to leave.
    fn evict(&mut self) {
        if let Some((id, since)) = self.leaving
            && self.by_id.contains_key(&id)
            && since.elapsed() < LEAVING
        {
            return;
        }
        let since = |chair: &Chair| chair.waiting.load(Ordering::SeqCst);
        let can_go = |chair: &Chair| since(chair) != 0 && chair.dismissal.load(Ordering::SeqCst) == 0;
        let longest = self.by_id.iter().filter(|(_, chair)| can_go(chair)).min_by_key(|(_, chair)| since(chair));
        if let Some((id, chair)) = longest {
            self.leaving = Some((*id, Instant::now()));
            chair.dismiss(Dismissal::Evicted);
        }
    }
}

impl Chair {
    /// Makes the connection's thread wake up and find that there is nothing more to read.
    fn dismiss(&self, why: Dismissal) {
        if self.dismissal.compare_exchange(0, why as u8, Ordering::SeqCst, Ordering::SeqCst).is_ok() {
            let _ = self.stream.shutdown(Shutdown::Read);
        }
    }
}

/// What is stored of a connection that waits from this microsecond on.
fn waiting_since(micros: u64) -> u64 {
    (micros + 1) << 1
}

impl Seat {
    /// The connection itself.
    pub fn stream(&self) -> &TcpStream {
        &self.chair.stream
    }

    /// Says that the connection waits for a request from now on, and for how long at most.
    pub fn wait(&self, patience: Duration) {
        self.begin(patience, 0);
        // Either this is seen by whoever stops the house, or that is seen here.
        fence(Ordering::SeqCst);
        if self.seats.is_stopping() {
            let _ = self.chair.stream.shutdown(Shutdown::Read);
        }
    }

    /// Says that the connection waits for its client to end it, and for how long at most. A stop lets it go on: to end the
    /// reading now would make the system throw away an answer that the client has not read yet.
    pub fn linger(&self, patience: Duration) {
        self.begin(patience, IN_EXCHANGE);
    }

    fn begin(&self, patience: Duration, kind: u64) {
        let now = Instant::now();
        self.chair.until.store(self.seats.micros(now + patience), Ordering::Relaxed);
        self.chair.waiting.store(waiting_since(self.seats.micros(now)) | kind, Ordering::Release);
    }

    /// Says that some of a request has arrived and the rest is waited for, for a time that is not the house's business:
    /// to end the reading would leave no way to read on after the client has been told. Whoever waited before has waited
    /// since then, so that a client cannot keep a seat by a byte now and then.
    pub fn wait_for_rest(&self) {
        let since = match self.chair.waiting.load(Ordering::Relaxed) {
            0 => waiting_since(self.seats.micros(Instant::now())),
            since => since,
        };
        self.chair.until.store(NEVER, Ordering::Relaxed);
        self.chair.waiting.store(since | IN_EXCHANGE, Ordering::Release);
    }

    /// Says that a request is being answered.
    pub fn answer(&self) {
        self.chair.waiting.store(0, Ordering::Relaxed);
    }

    /// Why the connection was told to end, if it was.
    pub fn dismissal(&self) -> Option<Dismissal> {
        let said = self.chair.dismissal.load(Ordering::SeqCst);
        [Dismissal::Evicted, Dismissal::Overdue].into_iter().find(|why| *why as u8 == said)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.seats.lock();
        let was_full = taken.by_id.len() >= self.seats.max;
        taken.by_id.remove(&self.id);
        self.seats.count.store(taken.by_id.len(), Ordering::Relaxed);
        // Nobody waits for a seat otherwise, and to wake nobody is a system call too.
        if was_full || self.seats.is_stopping() {
            self.seats.left.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::net::TcpListener;
    use std::thread;

    const LONG: Duration = Duration::from_secs(60);

    /// Two ends of a connection over the loopback interface.
    fn pair() -> (TcpStream, TcpStream, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let client = TcpStream::connect(listener.local_addr().expect("bound")).expect("listening");
        let (server, peer) = listener.accept().expect("connected");
        (client, server, peer)
    }

    fn take(seats: &Arc<Seats>) -> (TcpStream, Seat) {
        let (client, server, peer) = pair();
        (client, seats.take(server, peer).expect("the house is open"))
    }

    /// Times are told apart by whole microseconds.
    fn let_a_microsecond_pass(seats: &Seats) {
        let since = seats.micros(Instant::now());
        while seats.micros(Instant::now()) == since {}
    }

    fn read_ended(seat: &Seat) -> bool {
        seat.stream().set_nonblocking(true).expect("the option can be set");
        matches!(seat.stream().read(&mut [0]), Ok(0))
    }

    #[test]
    fn in_a_full_house_the_one_that_has_waited_longest_makes_room() {
        let seats = Seats::new(3);
        let (_a, busy) = take(&seats);
        let (_b, old) = take(&seats);
        let (_c, young) = take(&seats);
        busy.answer();
        old.wait(LONG);
        let_a_microsecond_pass(&seats);
        young.wait(LONG);
        old.wait_for_rest();
        thread::scope(|scope| {
            let newcomer = scope.spawn(|| take(&seats));
            while old.dismissal() != Some(Dismissal::Evicted) {
                thread::yield_now();
            }
            assert!(read_ended(&old) && !read_ended(&busy) && young.dismissal().is_none());
            drop(old);
            newcomer.join().expect("no panic");
        });
    }

    #[test]
    fn who_idles_too_long_is_ended_and_nobody_else() {
        let seats = Seats::new(4);
        let (_a, idle) = take(&seats);
        let (_b, in_request) = take(&seats);
        let (_c, busy) = take(&seats);
        let (_d, lingering) = take(&seats);
        idle.wait(LONG);
        in_request.wait(LONG);
        in_request.wait_for_rest();
        busy.wait(LONG);
        busy.answer();
        lingering.linger(2 * LONG);
        let began = Instant::now();
        let next = seats.dismiss_overdue(began).expect("two wait");
        assert!(next <= LONG && !read_ended(&idle), "{next:?}");
        let next = seats.dismiss_overdue(began + LONG).expect("one waits");
        assert!(read_ended(&idle) && idle.dismissal() == Some(Dismissal::Overdue));
        assert!(!read_ended(&lingering) && next <= LONG, "{next:?}");
        assert!(seats.dismiss_overdue(began + 2 * LONG).is_none());
        assert!(read_ended(&lingering) && !read_ended(&in_request) && !read_ended(&busy));
    }

    #[test]
    fn who_sends_content_behind_an_answered_request_has_not_waited_since_the_beginning() {
        let seats = Seats::new(2);
        let (_a, idle) = take(&seats);
        idle.wait(LONG);
        let (_b, busy) = take(&seats);
        busy.answer();
        let_a_microsecond_pass(&seats);
        busy.wait_for_rest();
        seats.evict();
        assert!(idle.dismissal() == Some(Dismissal::Evicted) && busy.dismissal().is_none());
    }

    #[test]
    fn a_closing_house_wakes_who_waits_and_leaves_who_is_being_answered() {
        let seats = Seats::new(5);
        let (_a, idle) = take(&seats);
        let (_b, in_head) = take(&seats);
        let (_c, busy) = take(&seats);
        let (_d, lingering) = take(&seats);
        in_head.wait_for_rest();
        busy.answer();
        lingering.linger(LONG);
        seats.stop();
        assert!(read_ended(&idle) && !read_ended(&in_head) && !read_ended(&busy) && !read_ended(&lingering));
        lingering.linger(LONG);
        assert!(!read_ended(&lingering));
        busy.wait(LONG);
        assert!(read_ended(&busy));
        assert!(!seats.wait_until_empty(Instant::now()));
        drop((idle, in_head, busy, lingering));
        assert!(seats.wait_until_empty(Instant::now()));
    }
}
