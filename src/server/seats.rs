//! The connections there are: how many there may be, which one makes room, how long each may wait for its client, and
//! how they are ended from outside.
//!
//! A thread that waits in a read cannot be told anything; but ending the reading half of its socket wakes it, and what
//! has arrived before is still read. So whoever is being answered is answered whole, but for a client in a full house
//! that hardly takes its answer: its connection is ended in both directions.
//!
//! How long a connection may idle is kept here too, and not by its socket: that takes a system call to set, and a timer
//! for each read. With a connection for each request it was 42 µs of processor time instead of 34.

use std::collections::HashMap;
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use super::chair::{Chair, Dismissal, For, NEVER, Waiting};
use super::closing::{Current, MOMENT, Phase};
use super::turns::{Turn, Turns};
use crate::net::Onlooker;
use crate::net::trusted::Trusted;
use crate::proto::forwarded;
use crate::proto::proxy::Source;
use crate::proto::request::Head;

/// How long a full house waits until it looks again for a connection that can make room.
pub const LOOK_AGAIN: Duration = Duration::from_millis(20);

static LAST_ID: AtomicU64 = AtomicU64::new(0);

/// All connections.
#[derive(Debug)]
pub struct Seats {
    max: usize,
    /// How many may come from one address, if there is a limit.
    max_per_ip: Option<usize>,
    /// The proxies, whose connections may be from anyone.
    trusted: Trusted,
    taken: Mutex<Taken>,
    left: Condvar,
    /// Whether somebody waits for a seat, and nobody waits for a client and could make room.
    is_sought: AtomicBool,
    /// The number of connections, for those who need not know it exactly.
    count: AtomicUsize,
    phase: Current,
    epoch: Instant,
    turns: Arc<Turns>,
}

/// A connection's place among the others; dropping it gives the place up.
#[derive(Debug)]
pub struct Seat {
    /// The number of the connection, counted from 1 for all houses of the process.
    pub id: u64,
    /// Who is at the other end.
    pub peer: SocketAddr,
    /// From whom the connection is: a proxy at the other end may have said from whom.
    pub client: SocketAddr,
    /// Whether the client is a proxy that is trusted, so that each request may be from somebody else.
    is_proxy: bool,
    /// Its turn to be answered, in a crowd.
    pub turn: Turn,
    chair: Arc<Chair>,
    seats: Arc<Seats>,
}

/// Why a connection gets no seat.
#[derive(Debug)]
pub enum NoSeat {
    /// The house is closing.
    Closing,
    /// There are as many connections from its address as there may be.
    TooManyFromAddress(TcpStream),
}

#[derive(Debug, Default)]
struct Taken {
    by_id: HashMap<u64, Arc<Chair>>,
    /// Who was told last to make room, and when.
    leaving: Option<(u64, Instant)>,
}

/// With more connections than these there is a crowd, whose threads stand in each other's way unless they take
/// [turns](super::turns). With 512 of them, turns give a twelfth more answers, but the slowest of a hundred comes after 41 ms
/// and not 7.
pub const CROWD: usize = 512;

/// With at most so many connections, much may wait in the system for each. They count that were allowed to have it before, so
/// it is never more than these that have it.
const FEW: usize = 8;

/// The share of a house that makes room at once where one newcomer follows another. With one at a time, a burst of 3000
/// newcomers to a full house of 1024 kept the next one out for more than a second; so it is a tenth of that.
const TOGETHER: usize = 64;

/// How long one that was told to make room may take until another is told too.
const LEAVING: Duration = Duration::from_secs(1);

impl Seats {
    /// Makes room for so many connections, and from one address for so many, if there is a limit. Those of proxies that
    /// are trusted count only once it is known for whom they speak.
    pub fn new(max: usize, max_per_ip: Option<usize>, trusted: Trusted) -> Arc<Seats> {
        let taken = Mutex::new(Taken::default());
        Arc::new(Seats {
            max,
            max_per_ip,
            trusted,
            taken,
            left: Condvar::new(),
            is_sought: AtomicBool::new(false),
            count: AtomicUsize::new(0),
            phase: Current::open(),
            epoch: Instant::now(),
            turns: Turns::new(),
        })
    }

    /// Gives a connection a seat. In a full house the connection that has waited longest for its client makes room: idle,
    /// in an unfinished request, or lagging behind its answer. While there is none, this waits.
    ///
    /// At the limit per address nobody waits; the one from there that has waited longest for a request makes room for who
    /// comes next. Were it for this one, and had it sent a request already, which then is answered, there would be more than
    /// the limit.
    pub fn take(self: &Arc<Seats>, stream: TcpStream, peer: SocketAddr) -> Result<Seat, NoSeat> {
        let is_proxy = self.trusted.contains(peer.ip());
        let network = network(peer.ip());
        let mut taken = self.lock();
        loop {
            self.is_sought.store(false, Ordering::Relaxed);
            let now = self.micros(Instant::now());
            if !is_proxy && self.max_per_ip.is_some_and(|max| taken.is_full_from(network, max, now)) {
                return Err(NoSeat::TooManyFromAddress(stream));
            }
            if taken.by_id.len() < self.max {
                break;
            }
            if self.is_stopping() {
                return Err(NoSeat::Closing);
            }
            let is_made = taken.evict(now);
            self.is_sought.store(!is_made, Ordering::Relaxed);
            taken = self.left.wait_timeout(taken, LOOK_AGAIN).unwrap_or_else(PoisonError::into_inner).0;
        }
        let network = if is_proxy { OnceLock::new() } else { network.into() };
        // Nobody waits for its client until it has a thread.
        let chair = Arc::new(Chair::new(stream, network));
        let id = LAST_ID.fetch_add(1, Ordering::Relaxed) + 1;
        taken.by_id.insert(id, Arc::clone(&chair));
        self.count.store(taken.by_id.len(), Ordering::Relaxed);
        drop(taken);
        let turn = Turn::new(&self.turns);
        Ok(Seat { id, peer, client: peer, is_proxy, turn, chair, seats: Arc::clone(self) })
    }

    /// Ends the connection that has waited longest for its client, if there is one.
    pub fn evict(&self) {
        self.lock().evict(self.micros(Instant::now()));
    }

    /// Ends each connection that at `now` has waited for its client as long as it may, and returns how long it is until
    /// another one of them will have.
    pub fn dismiss_overdue(&self, now: Instant) -> Option<Duration> {
        let now = self.micros(now);
        let mut next = None;
        for (chair, until) in self.lock().by_id.values().filter_map(|chair| Some((chair, chair.until()?))) {
            if until <= now {
                chair.dismiss(Dismissal::Overdue);
            } else {
                next = Some(next.unwrap_or(until).min(until));
            }
        }
        next.map(|next| Duration::from_micros(next - now))
    }

    /// Goes on to this phase of closing.
    pub fn advance(&self, to: Phase) {
        self.phase.advance(to);
    }

    /// Lets nobody in from now on, and lets nobody wait for a request who has done so for a moment.
    pub fn stop(&self) {
        self.advance(Phase::Closing);
        self.end_waiting(Instant::now().checked_sub(MOMENT));
    }

    /// Lets no connection wait for a further request from now on.
    pub fn close(&self) {
        self.advance(Phase::Closed);
        self.end_waiting(Some(Instant::now()));
    }

    /// Wakes those that have waited for a request since this moment at least.
    fn end_waiting(&self, since: Option<Instant>) {
        let since = since.map_or(0, |since| self.micros(since));
        fence(Ordering::SeqCst);
        for chair in self.lock().by_id.values() {
            if chair.waiting().is_some_and(|waiting| waiting.what == For::Request && waiting.since <= since) {
                let _ = chair.stream.shutdown(Shutdown::Read);
            }
        }
    }

    /// Reports whether this phase of closing has come.
    pub fn is_at(&self, phase: Phase) -> bool {
        self.phase.is_at(phase)
    }

    /// Reports whether the house is closing.
    pub fn is_stopping(&self) -> bool {
        self.is_at(Phase::Closing)
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

    /// Reports whether somebody waits for a seat in vain: then a connection whose next request has come already, and which
    /// so never waits for its client, should end after this one.
    pub fn is_sought(&self) -> bool {
        self.is_sought.load(Ordering::Relaxed)
    }

    /// How many connections have a turn.
    #[cfg(test)]
    pub fn turns_taken(&self) -> usize {
        self.turns.taken()
    }

    /// Reports whether there are so many connections that they take turns.
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
    /// Ends the connection that has waited longest, unless another is about to leave; where newcomers follow each other,
    /// some of those that have waited longest. False where nobody can leave.
    fn evict(&mut self, now: u64) -> bool {
        if let Some((id, since)) = self.leaving
            && self.by_id.get(&id).is_some_and(|chair| chair.is_leaving())
            && since.elapsed() < LEAVING
        {
            return true;
        }
        let could_leave = self.by_id.iter().filter_map(|(id, chair)| Some((chair.could_leave(now)?, id, chair)));
        let mut could_leave: Vec<_> = could_leave.collect();
        let is_pressed = self.leaving.is_some_and(|(_, since)| since.elapsed() < LOOK_AGAIN);
        let wanted = if is_pressed { (self.by_id.len() / TOGETHER).max(1) } else { 1 };
        let Some(last) = wanted.min(could_leave.len()).checked_sub(1) else { return false };
        could_leave.select_nth_unstable_by_key(last, |(waiting, ..)| waiting.since);
        for (waiting, id, chair) in &could_leave[..=last] {
            self.leaving = Some((**id, Instant::now()));
            chair.evict(waiting.what);
        }
        true
    }

    /// Reports whether there are `max` connections from there. Then the one that has waited longest for a request makes
    /// room for who comes next; what is being answered goes on, as there is room for others.
    fn is_full_from(&self, network: IpAddr, max: usize, now: u64) -> bool {
        let from_there = self.by_id.values().filter(|chair| chair.network.get() == Some(&network));
        let is_full = from_there.clone().count() >= max;
        if is_full {
            let is_leaving = |chair: &&Arc<Chair>| chair.dismissal().is_some() && chair.is_leaving();
            if from_there.clone().find(is_leaving).is_none() {
                let waiting =
                    from_there.filter(|chair| chair.waiting().is_some_and(|waiting| waiting.what != For::Taking));
                let could_leave = waiting.filter_map(|chair| Some((chair.could_leave(now)?, chair)));
                could_leave
                    .min_by_key(|(waiting, _)| waiting.since)
                    .inspect(|(_, chair)| chair.dismiss(Dismissal::Evicted));
            }
        }
        is_full
    }
}

/// What counts as one address: of IPv6 the network, because whoever has one address there has the others too
/// (RFC 4291 §2.5.4).
fn network(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        ip @ IpAddr::V4(_) => ip,
        IpAddr::V6(ip) => IpAddr::V6((u128::from(ip) & !u128::from(u64::MAX)).into()),
    }
}

impl Seat {
    /// Gives the place up and returns the connection.
    pub fn leave(self) -> TcpStream {
        let chair = Arc::clone(&self.chair);
        drop(self);
        Arc::into_inner(chair).expect("others hold it only while they hold the lock").stream
    }

    /// The connection itself.
    pub fn stream(&self) -> &TcpStream {
        &self.chair.stream
    }

    /// Reports whether each request may be from somebody else than the client, which is a proxy that is trusted.
    pub fn is_proxy(&self) -> bool {
        self.is_proxy
    }

    /// Takes it from the proxy at the other end from whom the connection is. False where there are as many from there as
    /// there may be: then this one has to leave.
    pub fn introduce(&mut self, source: Source) -> bool {
        match source {
            Source::Proxy => {}
            // What somebody says of whom nothing is known is not believed.
            Source::Unnamed => self.is_proxy = false,
            Source::Client(client) => {
                self.client = client;
                self.is_proxy = self.seats.trusted.contains(client.ip());
            }
        }
        if self.is_proxy || source == Source::Unnamed {
            return true;
        }
        let network = network(self.client.ip());
        let taken = self.seats.lock();
        let now = self.seats.micros(Instant::now());
        if self.seats.max_per_ip.is_some_and(|max| taken.is_full_from(network, max, now)) {
            return false;
        }
        self.chair.network.set(network).is_ok()
    }

    /// From whom a request is: its client's address, or what a proxy says of it that is trusted.
    pub fn asker(&self, head: Option<&Head<'_>>) -> IpAddr {
        let said = head.filter(|_| self.is_proxy);
        let client = said.and_then(|head| forwarded::client(&head.fields, |ip| self.seats.trusted.contains(ip)));
        client.unwrap_or(self.client.ip())
    }

    /// Says that the connection waits for a request from now on, and for how long at most.
    pub fn wait(&self, patience: Duration) {
        self.begin(patience, For::Request);
        // Either this is seen by whoever closes the house, or that is seen here.
        fence(Ordering::SeqCst);
        if self.seats.is_at(Phase::Closed) {
            let _ = self.chair.stream.shutdown(Shutdown::Read);
        }
    }

    /// Says that the connection waits for its client to end it, and for how long at most. A stop lets it go on: to end the
    /// reading now would make the system throw away an answer that the client has not read yet.
    pub fn linger(&self, patience: Duration) {
        self.begin(patience, For::Rest);
    }

    fn begin(&self, patience: Duration, what: For) {
        let now = Instant::now();
        self.wait_since(self.seats.micros(now), self.seats.micros(now + patience), what);
    }

    fn wait_since(&self, since: u64, until: u64, what: For) {
        self.chair.wait(Waiting { since, what }, until);
    }

    /// Says that some of a request has arrived and the rest is waited for, for a time that is not the house's business:
    /// to end the reading would leave no way to read on after the client has been told. Whoever waited before has waited
    /// since then, so that a client cannot keep a seat by a byte now and then.
    pub fn wait_for_rest(&self) {
        let since = self.chair.waiting().map_or_else(|| self.seats.micros(Instant::now()), |waiting| waiting.since);
        self.wait_since(since, NEVER, For::Rest);
    }

    /// Says that a request is being answered.
    pub fn answer(&self) {
        self.chair.answer();
    }

    /// Why the connection was told to end, if it was.
    pub fn dismissal(&self) -> Option<Dismissal> {
        self.chair.dismissal()
    }
}

impl Onlooker for Seat {
    fn client_lags(&self) {
        self.turn.end();
        self.wait_since(self.seats.micros(Instant::now()), NEVER, For::Taking);
    }

    fn client_caught_up(&self) {
        self.answer();
    }

    fn sees_few(&self) -> bool {
        self.seats.count() <= FEW
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
    use super::super::chair::LAG;
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
    fn a_client_that_lags_has_no_turn() {
        let seats = Seats::new(1, None, Trusted::default());
        let (_client, seat) = take(&seats);
        seat.turn.begin();
        assert_eq!(seats.turns_taken(), 1);
        seat.client_lags();
        assert_eq!(seats.turns_taken(), 0);
        seat.client_caught_up();
        assert!(!seat.turn.is_taken());
    }

    #[test]
    fn in_a_full_house_the_one_that_has_waited_longest_makes_room() {
        let seats = Seats::new(3, None, Trusted::default());
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
            // Whoever is told is ended under the same lock.
            let is_told = || seats.lock().by_id[&old.id].dismissal() == Some(Dismissal::Evicted);
            while !is_told() {
                thread::yield_now();
            }
            assert!(read_ended(&old) && !read_ended(&busy) && young.dismissal().is_none());
            drop(old);
            newcomer.join().expect("no panic");
        });
    }

    #[test]
    fn of_two_who_wait_for_room_only_as_many_get_it_as_may_come_from_their_address() {
        let seats = Seats::new(1, Some(1), Trusted::default());
        let (_a, busy) = take(&seats);
        busy.answer();
        let elsewhere = SocketAddr::from(([10, 0, 0, 3], 1));
        let come = || seats.take(pair().1, elsewhere);
        thread::scope(|scope| {
            let (one, other) = (scope.spawn(come), scope.spawn(come));
            while !seats.is_sought() {
                thread::yield_now();
            }
            drop(busy);
            let [one, other] = [one, other].map(|waiting| waiting.join().expect("no panic"));
            let is_refused = |got: &Result<_, NoSeat>| matches!(got, Err(NoSeat::TooManyFromAddress(_)));
            assert!(is_refused(&one) != is_refused(&other), "{one:?} {other:?}");
        });
    }

    #[test]
    fn who_was_told_to_make_room_and_answers_instead_is_not_waited_for() {
        let seats = Seats::new(2, None, Trusted::default());
        let (_a, old) = take(&seats);
        let (_b, young) = take(&seats);
        old.wait(LONG);
        let_a_microsecond_pass(&seats);
        young.wait(LONG);
        seats.evict();
        seats.evict();
        assert!(old.dismissal() == Some(Dismissal::Evicted) && young.dismissal().is_none(), "one goes at a time");
        old.answer();
        seats.evict();
        assert!(young.dismissal() == Some(Dismissal::Evicted));
    }

    #[test]
    fn some_make_room_together_where_newcomers_follow_each_other() {
        let seats = Seats::new(128, None, Trusted::default());
        let all: Vec<_> = (0..128).map(|_| take(&seats)).collect();
        all.iter().for_each(|(_, seat)| seat.wait(LONG));
        let told = || all.iter().filter(|(_, seat)| seat.dismissal().is_some()).count();
        seats.evict();
        assert_eq!(told(), 1);
        // It answers a request that had arrived, so somebody else has to go, and at once.
        all.iter().filter(|(_, seat)| seat.dismissal().is_some()).for_each(|(_, seat)| seat.answer());
        seats.evict();
        assert_eq!(told(), 3);
    }

    #[test]
    fn who_idles_too_long_is_ended_and_nobody_else() {
        let seats = Seats::new(4, None, Trusted::default());
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
        let seats = Seats::new(2, None, Trusted::default());
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
    fn who_hardly_takes_an_answer_makes_room_where_nobody_else_can() {
        let seats = Seats::new(3, None, Trusted::default());
        let (_a, lagging) = take(&seats);
        let (_b, busy) = take(&seats);
        let (_c, idle) = take(&seats);
        let now = || seats.micros(Instant::now());
        let micros = |time: Duration| time.as_micros() as u64;
        lagging.answer();
        busy.answer();
        idle.wait(LONG);
        let_a_microsecond_pass(&seats);
        lagging.client_lags();
        let order =
            |at: u64| [&lagging, &busy, &idle].map(|seat| seat.chair.could_leave(at).map(|waiting| waiting.since));
        let [lag, none, wait] = order(now() + micros(LAG));
        assert!(none.is_none() && wait < lag, "who idles since before goes first: {lag:?} {wait:?}");
        let_a_microsecond_pass(&seats);
        idle.wait(LONG);
        let [lag, _, wait] = order(now() + micros(LAG));
        assert!(lag < wait, "who has just begun to idle goes last: {lag:?} {wait:?}");
        idle.answer();
        assert_eq!(order(now()), [None; 3], "who lags for a moment does not go");
        lagging.client_caught_up();
        assert_eq!(order(now() + micros(LONG)), [None; 3]);
    }

    #[test]
    fn a_house_with_one_more_has_many() {
        let seats = Seats::new(2 * FEW, None, Trusted::default());
        let mut few: Vec<_> = (0..FEW).map(|_| take(&seats)).collect();
        let last = few.pop().expect("some");
        assert!(last.1.sees_few());
        let other = take(&seats);
        assert!(!last.1.sees_few(), "those that hold much already count too");
        drop(other);
        assert!(last.1.sees_few());
    }

    #[test]
    fn at_the_limit_of_an_address_nobody_is_let_in_and_the_longest_waiting_makes_room() {
        let seats = Seats::new(10, Some(2), Trusted::default());
        let (_a, busy) = take(&seats);
        let (_b, idle) = take(&seats);
        // Its client has lagged since the epoch, but there is room in the house.
        busy.wait_since(0, NEVER, For::Taking);
        idle.wait(LONG);
        seats.is_sought.store(true, Ordering::Relaxed);
        for _ in 0..2 {
            let (_client, server, peer) = pair();
            assert!(matches!(seats.take(server, peer), Err(NoSeat::TooManyFromAddress(_))));
        }
        assert!(idle.dismissal() == Some(Dismissal::Evicted) && busy.dismissal().is_none());
        assert!(!seats.is_sought(), "who was turned away does not seek a seat any more");
        let (_client, server, peer) = pair();
        let elsewhere = SocketAddr::new([192, 0, 2, 1].into(), peer.port());
        let other = seats.take(server, elsewhere).expect("from elsewhere there are none");
        drop(idle);
        take(&seats);
        drop(other);
    }

    #[test]
    fn a_proxy_counts_for_nobody_until_it_says_for_whom_it_speaks() {
        let trusted = Trusted::parse(&["2001:db8::1".to_owned()]).expect("an address");
        let seats = Seats::new(20, Some(1), trusted);
        let take = |ip: &str| {
            let (_client, server, _) = pair();
            seats.take(server, SocketAddr::new(ip.parse().expect("an address"), 1))
        };
        let client = |ip: &str| Source::Client(SocketAddr::new(ip.parse().expect("an address"), 1));
        // It is in a network of which the others are not trusted.
        let _neighbour = take("2001:db8::2").expect("the first from there");
        let mut proxies: Vec<_> = (0..6).map(|_| take("2001:db8::1").expect("it is exempt")).collect();
        for (proxy, (source, has_room)) in proxies.iter_mut().zip([
            (client("192.0.2.1"), true),
            (client("192.0.2.1"), false),
            (client("2001:db8::3"), false),
            (client("2001:db8::1"), true),
            (Source::Proxy, true),
            (Source::Unnamed, true),
        ]) {
            assert_eq!(proxy.introduce(source), has_room, "{source:?}");
        }
        assert!(matches!(take("192.0.2.1"), Err(NoSeat::TooManyFromAddress(_))));
        assert!(matches!(take("::ffff:192.0.2.1"), Err(NoSeat::TooManyFromAddress(_))));
        drop(proxies);
        take("192.0.2.1").expect("who leaves is not counted any more");
    }

    #[test]
    fn of_ipv6_a_network_counts_as_one_address() {
        let network = |text: &str| network(text.parse().expect("an address"));
        assert_eq!(network("2001:db8:1:2:3:4:5:6"), network("2001:db8:1:2::1"));
        assert_ne!(network("2001:db8:1:2::1"), network("2001:db8:1:3::1"));
        assert_ne!(network("192.0.2.1"), network("192.0.2.2"));
    }

    #[test]
    fn a_closing_house_wakes_who_waits_and_leaves_who_is_being_answered() {
        let seats = Seats::new(5, None, Trusted::default());
        let (_a, idle) = take(&seats);
        let (_b, in_head) = take(&seats);
        let (_c, busy) = take(&seats);
        let (_d, lingering) = take(&seats);
        [&idle, &in_head, &busy].into_iter().for_each(|seat| seat.wait(LONG));
        in_head.wait_for_rest();
        busy.answer();
        lingering.linger(LONG);
        seats.stop();
        seats.close();
        assert!(read_ended(&idle) && !read_ended(&in_head) && !read_ended(&busy) && !read_ended(&lingering));
        lingering.linger(LONG);
        assert!(!read_ended(&lingering));
        busy.wait(LONG);
        assert!(read_ended(&busy));
        assert!(!seats.wait_until_empty(Instant::now()));
        drop((idle, in_head, busy, lingering));
        assert!(seats.wait_until_empty(Instant::now()));
    }

    #[test]
    fn who_has_come_or_was_answered_a_moment_ago_may_still_ask_when_the_house_closes() {
        let seats = Seats::new(5, None, Trusted::default());
        let (_a, old) = take(&seats);
        let (_b, young) = take(&seats);
        let (_c, fresh) = take(&seats);
        old.wait(LONG);
        thread::sleep(MOMENT);
        young.wait(LONG);
        seats.stop();
        assert!(read_ended(&old) && !read_ended(&young));
        fresh.wait(LONG);
        assert!(!read_ended(&fresh), "it was let in before");
        seats.close();
        assert!(read_ended(&young) && read_ended(&fresh));
    }
}
