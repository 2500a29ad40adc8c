//! The connections there are: how many there may be, which one makes room, and how they are ended from outside.
//!
//! A thread that waits in a read cannot be told anything; but ending the reading half of its socket wakes it, and what
//! has arrived before is still read. That is the only means used here, so whoever is being answered is answered whole.

use std::collections::HashMap;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence};
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
    stream: Arc<TcpStream>,
    /// 0 while a request is being answered. Otherwise the connection waits for its client, and this is twice the
    /// microseconds from the epoch to when that began, plus 1 once some of a request has arrived.
    waiting: AtomicU64,
    is_evicted: AtomicBool,
}

const HEAD_BEGUN: u64 = 1;

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
        let chair = Chair { stream: Arc::new(stream), waiting: AtomicU64::new(0), is_evicted: AtomicBool::new(false) };
        let chair = Arc::new(chair);
        let mut taken = self.lock();
        while taken.by_id.len() >= self.max {
            if self.is_stopping() {
                return None;
            }
            taken.evict();
            taken = self.left.wait_timeout(taken, LOOK_AGAIN).unwrap_or_else(PoisonError::into_inner).0;
        }
        taken.last_id += 1;
        let id = taken.last_id;
        taken.by_id.insert(id, Arc::clone(&chair));
        self.count.store(taken.by_id.len(), Ordering::Relaxed);
        drop(taken);
        let seat = Seat { id, peer, chair, seats: Arc::clone(self) };
        seat.wait_from(Instant::now());
        Some(seat)
    }

    /// Ends the connection that has waited longest for its client, if there is one.
    pub fn evict(&self) {
        self.lock().evict();
    }

    /// Lets no connection wait for a further request from now on.
    pub fn stop(&self) {
        self.stopped_at.get_or_init(Instant::now);
        fence(Ordering::SeqCst);
        for chair in self.lock().by_id.values() {
            let waiting = chair.waiting.load(Ordering::SeqCst);
            if waiting != 0 && waiting & HEAD_BEGUN == 0 {
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
        let can_go = |chair: &Chair| since(chair) != 0 && !chair.is_evicted.load(Ordering::SeqCst);
        let longest = self.by_id.iter().filter(|(_, chair)| can_go(chair)).min_by_key(|(_, chair)| since(chair));
        if let Some((id, chair)) = longest {
            self.leaving = Some((*id, Instant::now()));
            chair.is_evicted.store(true, Ordering::SeqCst);
            let _ = chair.stream.shutdown(Shutdown::Read);
        }
    }
}

impl Seat {
    /// The connection itself.
    pub fn stream(&self) -> Arc<TcpStream> {
        Arc::clone(&self.chair.stream)
    }

    /// Says that the connection waits for a request from now on.
    pub fn wait_from(&self, now: Instant) {
        let micros = now.saturating_duration_since(self.seats.epoch).as_micros() as u64;
        self.chair.waiting.store((micros + 1) << 1, Ordering::SeqCst);
        // Either this store is seen by whoever stops the house, or that is seen here.
        fence(Ordering::SeqCst);
        if self.seats.is_stopping() {
            let _ = self.chair.stream.shutdown(Shutdown::Read);
        }
    }

    /// Says that some of a request has arrived. The waiting goes on and is counted from where it began, so that a
    /// client cannot keep a seat by a byte now and then.
    pub fn head_begins(&self) {
        self.chair.waiting.fetch_or(HEAD_BEGUN, Ordering::SeqCst);
    }

    /// Says that a request is being answered.
    pub fn answer(&self) {
        self.chair.waiting.store(0, Ordering::SeqCst);
    }

    /// Reports whether the connection was told to make room.
    pub fn is_evicted(&self) -> bool {
        self.chair.is_evicted.load(Ordering::SeqCst)
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

    fn read_ended(seat: &Seat) -> bool {
        seat.stream().set_nonblocking(true).expect("the option can be set");
        matches!((&*seat.stream()).read(&mut [0]), Ok(0))
    }

    #[test]
    fn in_a_full_house_the_one_that_has_waited_longest_makes_room() {
        let seats = Seats::new(3);
        let now = Instant::now();
        let (_a, busy) = take(&seats);
        let (_b, young) = take(&seats);
        let (_c, old) = take(&seats);
        busy.answer();
        young.wait_from(now + Duration::from_secs(2));
        old.wait_from(now + Duration::from_secs(1));
        old.head_begins();
        thread::scope(|scope| {
            let newcomer = scope.spawn(|| take(&seats));
            while !old.is_evicted() {
                thread::yield_now();
            }
            assert!(read_ended(&old) && !read_ended(&busy) && !young.is_evicted());
            drop(old);
            newcomer.join().expect("no panic");
        });
    }

    #[test]
    fn a_closing_house_wakes_who_waits_and_leaves_who_is_being_answered() {
        let seats = Seats::new(3);
        let (_a, idle) = take(&seats);
        let (_b, in_head) = take(&seats);
        let (_c, busy) = take(&seats);
        in_head.head_begins();
        busy.answer();
        seats.stop();
        assert!(read_ended(&idle) && !read_ended(&in_head) && !read_ended(&busy));
        busy.wait_from(Instant::now());
        assert!(read_ended(&busy));
        assert!(!seats.wait_until_empty(Instant::now()));
        drop((idle, in_head, busy));
        assert!(seats.wait_until_empty(Instant::now()));
    }
}
