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

use super::conn_entry::{ConnEntry, Dismissal, For, NEVER, Waiting};
use super::shutdown::{Current, LATE_REQUEST_WINDOW, ShutdownPhase};
use super::turns::{Turn, Turns};
use crate::net::Onlooker;
use crate::net::trusted_proxies::TrustedProxies;
use crate::proto::forwarded;
use crate::proto::proxy_protocol::Source;
use crate::proto::request::Head;

/// How long a full house waits until it looks again for a connection that can make room.
pub const EVICTION_RETRY: Duration = Duration::from_millis(20);

static LAST_ID: AtomicU64 = AtomicU64::new(0);

/// All connections.
#[derive(Debug)]
pub struct Connections {
    max: usize,
    /// How many may come from one address, if there is a limit.
    max_per_ip: Option<usize>,
    /// The proxies, whose connections may be from anyone.
    trusted: TrustedProxies,
    table: Mutex<Table>,
    slot_freed: Condvar,
    /// Whether somebody waits for a seat, and nobody waits for a client and could make room.
    is_starved: AtomicBool,
    /// The number of connections, for those who need not know it exactly.
    count: AtomicUsize,
    phase: Current,
    epoch: Instant,
    turns: Arc<Turns>,
}

/// A connection's place among the others; dropping it gives the place up.
#[derive(Debug)]
pub struct ConnHandle {
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
    entry: Arc<ConnEntry>,
    connections: Arc<Connections>,
}

/// Why a connection gets no seat.
#[derive(Debug)]
pub enum RegisterError {
    /// The house is closing.
    ShuttingDown,
    /// There are as many connections from its address as there may be.
    PerIpLimit(TcpStream),
}

#[derive(Debug, Default)]
struct Table {
    by_id: HashMap<u64, Arc<ConnEntry>>,
    /// Who was told last to make room, and when.
    evicting: Option<(u64, Instant)>,
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
const EVICTION_BATCH_DIVISOR: usize = 64;

/// How long one that was told to make room may take until another is told too.
const EVICTION_TIMEOUT: Duration = Duration::from_secs(1);

impl Connections {
    /// Makes room for so many connections, and from one address for so many, if there is a limit. Those of proxies that
    /// are trusted count only once it is known for whom they speak.
    pub fn new(max: usize, max_per_ip: Option<usize>, trusted: TrustedProxies) -> Arc<Connections> {
        let table = Mutex::new(Table::default());
        Arc::new(Connections {
            max,
            max_per_ip,
            trusted,
            table,
            slot_freed: Condvar::new(),
            is_starved: AtomicBool::new(false),
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
    pub fn register(self: &Arc<Connections>, stream: TcpStream, peer: SocketAddr) -> Result<ConnHandle, RegisterError> {
        let is_proxy = self.trusted.contains(peer.ip());
        let network = network(peer.ip());
        let mut table = self.lock();
        loop {
            self.is_starved.store(false, Ordering::Relaxed);
            let now = self.micros(Instant::now());
            if !is_proxy && self.max_per_ip.is_some_and(|max| table.is_full_from(network, max, now)) {
                return Err(RegisterError::PerIpLimit(stream));
            }
            if table.by_id.len() < self.max {
                break;
            }
            if self.is_stopping() {
                return Err(RegisterError::ShuttingDown);
            }
            let is_made = table.evict(now);
            self.is_starved.store(!is_made, Ordering::Relaxed);
            table = self.slot_freed.wait_timeout(table, EVICTION_RETRY).unwrap_or_else(PoisonError::into_inner).0;
        }
        let network = if is_proxy { OnceLock::new() } else { network.into() };
        // Nobody waits for its client until it has a thread.
        let entry = Arc::new(ConnEntry::new(stream, network));
        let id = LAST_ID.fetch_add(1, Ordering::Relaxed) + 1;
        table.by_id.insert(id, Arc::clone(&entry));
        self.count.store(table.by_id.len(), Ordering::Relaxed);
        drop(table);
        let turn = Turn::new(&self.turns);
        Ok(ConnHandle { id, peer, client: peer, is_proxy, turn, entry, connections: Arc::clone(self) })
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
        for (entry, until) in self.lock().by_id.values().filter_map(|entry| Some((entry, entry.until()?))) {
            if until <= now {
                entry.dismiss(Dismissal::Overdue);
            } else {
                next = Some(next.unwrap_or(until).min(until));
            }
        }
        next.map(|next| Duration::from_micros(next - now))
    }

    /// Goes on to this phase of closing.
    pub fn advance(&self, to: ShutdownPhase) {
        self.phase.advance(to);
    }

    /// Lets nobody in from now on, and lets nobody wait for a request who has done so for a moment.
    pub fn stop(&self) {
        self.advance(ShutdownPhase::NotAccepting);
        self.end_waiting(Instant::now().checked_sub(LATE_REQUEST_WINDOW));
    }

    /// Lets no connection wait for a further request from now on.
    pub fn close(&self) {
        self.advance(ShutdownPhase::IdleClosed);
        self.end_waiting(Some(Instant::now()));
    }

    /// Wakes those that have waited for a request since this moment at least.
    fn end_waiting(&self, since: Option<Instant>) {
        let since = since.map_or(0, |since| self.micros(since));
        fence(Ordering::SeqCst);
        for entry in self.lock().by_id.values() {
            if entry.waiting().is_some_and(|waiting| waiting.what == For::Request && waiting.since <= since) {
                let _ = entry.stream.shutdown(Shutdown::Read);
            }
        }
    }

    /// Reports whether this phase of closing has come.
    pub fn is_at(&self, phase: ShutdownPhase) -> bool {
        self.phase.is_at(phase)
    }

    /// Reports whether the house is closing.
    pub fn is_stopping(&self) -> bool {
        self.is_at(ShutdownPhase::NotAccepting)
    }

    /// Waits until every connection has ended, but not longer than until `end`; reports whether they have.
    pub fn wait_until_empty(&self, end: Instant) -> bool {
        let time = end.saturating_duration_since(Instant::now());
        let waited = self.slot_freed.wait_timeout_while(self.lock(), time, |table| !table.by_id.is_empty());
        waited.unwrap_or_else(PoisonError::into_inner).0.by_id.is_empty()
    }

    /// Ends every connection, whatever it is doing.
    pub fn end_all(&self) {
        for entry in self.lock().by_id.values() {
            let _ = entry.stream.shutdown(Shutdown::Both);
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
    pub fn is_starved(&self) -> bool {
        self.is_starved.load(Ordering::Relaxed)
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

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    /// Ends the connection that has waited longest, unless another is about to leave; where newcomers follow each other,
    /// some of those that have waited longest. False where nobody can leave.
    fn evict(&mut self, now: u64) -> bool {
        if let Some((id, since)) = self.evicting
            && self.by_id.get(&id).is_some_and(|entry| entry.is_closing())
            && since.elapsed() < EVICTION_TIMEOUT
        {
            return true;
        }
        let evictable_since =
            self.by_id.iter().filter_map(|(id, entry)| Some((entry.evictable_since(now)?, id, entry)));
        let mut evictable_since: Vec<_> = evictable_since.collect();
        let is_pressed = self.evicting.is_some_and(|(_, since)| since.elapsed() < EVICTION_RETRY);
        let wanted = if is_pressed { (self.by_id.len() / EVICTION_BATCH_DIVISOR).max(1) } else { 1 };
        let Some(last) = wanted.min(evictable_since.len()).checked_sub(1) else { return false };
        evictable_since.select_nth_unstable_by_key(last, |(waiting, ..)| waiting.since);
        for (waiting, id, entry) in &evictable_since[..=last] {
            self.evicting = Some((**id, Instant::now()));
            entry.evict(waiting.what);
        }
        true
    }

    /// Reports whether there are `max` connections from there. Then the one that has waited longest for a request makes
    /// room for who comes next; what is being answered goes on, as there is room for others.
    fn is_full_from(&self, network: IpAddr, max: usize, now: u64) -> bool {
        let from_there = self.by_id.values().filter(|entry| entry.network.get() == Some(&network));
        let is_full = from_there.clone().count() >= max;
        if is_full {
            let is_closing = |entry: &&Arc<ConnEntry>| entry.dismissal().is_some() && entry.is_closing();
            if from_there.clone().find(is_closing).is_none() {
                let waiting =
                    from_there.filter(|entry| entry.waiting().is_some_and(|waiting| waiting.what != For::Taking));
                let evictable_since = waiting.filter_map(|entry| Some((entry.evictable_since(now)?, entry)));
                evictable_since
                    .min_by_key(|(waiting, _)| waiting.since)
                    .inspect(|(_, entry)| entry.dismiss(Dismissal::Evicted));
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

impl ConnHandle {
    /// Gives the place up and returns the connection.
    pub fn into_stream(self) -> TcpStream {
        let entry = Arc::clone(&self.entry);
        drop(self);
        Arc::into_inner(entry).expect("others hold it only while they hold the lock").stream
    }

    /// The connection itself.
    pub fn stream(&self) -> &TcpStream {
        &self.entry.stream
    }

    /// Reports whether each request may be from somebody else than the client, which is a proxy that is trusted.
    pub fn is_proxy(&self) -> bool {
        self.is_proxy
    }

    /// Takes it from the proxy at the other end from whom the connection is. False where there are as many from there as
    /// there may be: then this one has to leave.
    pub fn set_client(&mut self, source: Source) -> bool {
        match source {
            Source::Proxy => {}
            // What somebody says of whom nothing is known is not believed.
            Source::Unnamed => self.is_proxy = false,
            Source::Client(client) => {
                self.client = client;
                self.is_proxy = self.connections.trusted.contains(client.ip());
            }
        }
        if self.is_proxy || source == Source::Unnamed {
            return true;
        }
        let network = network(self.client.ip());
        let table = self.connections.lock();
        let now = self.connections.micros(Instant::now());
        if self.connections.max_per_ip.is_some_and(|max| table.is_full_from(network, max, now)) {
            return false;
        }
        self.entry.network.set(network).is_ok()
    }

    /// From whom a request is: its client's address, or what a proxy says of it that is trusted.
    pub fn client_ip(&self, head: Option<&Head<'_>>) -> IpAddr {
        let said = head.filter(|_| self.is_proxy);
        let client = said.and_then(|head| forwarded::client(&head.fields, |ip| self.connections.trusted.contains(ip)));
        client.unwrap_or(self.client.ip())
    }

    /// Says that the connection waits for a request from now on, and for how long at most.
    pub fn wait(&self, patience: Duration) {
        self.begin(patience, For::Request);
        // Either this is seen by whoever closes the house, or that is seen here.
        fence(Ordering::SeqCst);
        if self.connections.is_at(ShutdownPhase::IdleClosed) {
            let _ = self.entry.stream.shutdown(Shutdown::Read);
        }
    }

    /// Says that the connection waits for its client to end it, and for how long at most. A stop lets it go on: to end the
    /// reading now would make the system throw away an answer that the client has not read yet.
    pub fn linger(&self, patience: Duration) {
        self.begin(patience, For::Rest);
    }

    fn begin(&self, patience: Duration, what: For) {
        let now = Instant::now();
        self.wait_since(self.connections.micros(now), self.connections.micros(now + patience), what);
    }

    fn wait_since(&self, since: u64, until: u64, what: For) {
        self.entry.wait(Waiting { since, what }, until);
    }

    /// Says that some of a request has arrived and the rest is waited for, for a time that is not the house's business:
    /// to end the reading would leave no way to read on after the client has been told. Whoever waited before has waited
    /// since then, so that a client cannot keep a seat by a byte now and then.
    pub fn wait_for_rest(&self) {
        let since =
            self.entry.waiting().map_or_else(|| self.connections.micros(Instant::now()), |waiting| waiting.since);
        self.wait_since(since, NEVER, For::Rest);
    }

    /// Says that a request is being answered.
    pub fn answer(&self) {
        self.entry.answer();
    }

    /// Why the connection was told to end, if it was.
    pub fn dismissal(&self) -> Option<Dismissal> {
        self.entry.dismissal()
    }
}

impl Onlooker for ConnHandle {
    fn client_lags(&self) {
        self.turn.end();
        self.wait_since(self.connections.micros(Instant::now()), NEVER, For::Taking);
    }

    fn client_caught_up(&self) {
        self.answer();
    }

    fn sees_few(&self) -> bool {
        self.connections.count() <= FEW
    }
}

impl Drop for ConnHandle {
    fn drop(&mut self) {
        let mut table = self.connections.lock();
        let was_full = table.by_id.len() >= self.connections.max;
        table.by_id.remove(&self.id);
        self.connections.count.store(table.by_id.len(), Ordering::Relaxed);
        // Nobody waits for a seat otherwise, and to wake nobody is a system call too.
        if was_full || self.connections.is_stopping() {
            self.connections.slot_freed.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::conn_entry::STALL_TIMEOUT;
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

    fn take(connections: &Arc<Connections>) -> (TcpStream, ConnHandle) {
        let (client, server, peer) = pair();
        (client, connections.register(server, peer).expect("the house is open"))
    }

    /// Times are told apart by whole microseconds.
    fn let_a_microsecond_pass(connections: &Connections) {
        let since = connections.micros(Instant::now());
        while connections.micros(Instant::now()) == since {}
    }

    fn read_ended(conn: &ConnHandle) -> bool {
        conn.stream().set_nonblocking(true).expect("the option can be set");
        matches!(conn.stream().read(&mut [0]), Ok(0))
    }

    #[test]
    fn a_client_that_lags_has_no_turn() {
        let connections = Connections::new(1, None, TrustedProxies::default());
        let (_client, conn) = take(&connections);
        conn.turn.begin();
        assert_eq!(connections.turns_taken(), 1);
        conn.client_lags();
        assert_eq!(connections.turns_taken(), 0);
        conn.client_caught_up();
        assert!(!conn.turn.is_taken());
    }

    #[test]
    fn in_a_full_house_the_one_that_has_waited_longest_makes_room() {
        let connections = Connections::new(3, None, TrustedProxies::default());
        let (_a, busy) = take(&connections);
        let (_b, old) = take(&connections);
        let (_c, young) = take(&connections);
        busy.answer();
        old.wait(LONG);
        let_a_microsecond_pass(&connections);
        young.wait(LONG);
        old.wait_for_rest();
        thread::scope(|scope| {
            let newcomer = scope.spawn(|| take(&connections));
            // Whoever is told is ended under the same lock.
            let is_told = || connections.lock().by_id[&old.id].dismissal() == Some(Dismissal::Evicted);
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
        let connections = Connections::new(1, Some(1), TrustedProxies::default());
        let (_a, busy) = take(&connections);
        busy.answer();
        let elsewhere = SocketAddr::from(([10, 0, 0, 3], 1));
        let come = || connections.register(pair().1, elsewhere);
        thread::scope(|scope| {
            let (one, other) = (scope.spawn(come), scope.spawn(come));
            while !connections.is_starved() {
                thread::yield_now();
            }
            drop(busy);
            let [one, other] = [one, other].map(|waiting| waiting.join().expect("no panic"));
            let is_refused = |got: &Result<_, RegisterError>| matches!(got, Err(RegisterError::PerIpLimit(_)));
            assert!(is_refused(&one) != is_refused(&other), "{one:?} {other:?}");
        });
    }

    #[test]
    fn who_was_told_to_make_room_and_answers_instead_is_not_waited_for() {
        let connections = Connections::new(2, None, TrustedProxies::default());
        let (_a, old) = take(&connections);
        let (_b, young) = take(&connections);
        old.wait(LONG);
        let_a_microsecond_pass(&connections);
        young.wait(LONG);
        connections.evict();
        connections.evict();
        assert!(old.dismissal() == Some(Dismissal::Evicted) && young.dismissal().is_none(), "one goes at a time");
        old.answer();
        connections.evict();
        assert!(young.dismissal() == Some(Dismissal::Evicted));
    }

    #[test]
    fn some_make_room_together_where_newcomers_follow_each_other() {
        let connections = Connections::new(128, None, TrustedProxies::default());
        let all: Vec<_> = (0..128).map(|_| take(&connections)).collect();
        all.iter().for_each(|(_, conn)| conn.wait(LONG));
        let told = || all.iter().filter(|(_, conn)| conn.dismissal().is_some()).count();
        connections.evict();
        assert_eq!(told(), 1);
        // It answers a request that had arrived, so somebody else has to go, and at once.
        all.iter().filter(|(_, conn)| conn.dismissal().is_some()).for_each(|(_, conn)| conn.answer());
        connections.evict();
        assert_eq!(told(), 3);
    }

    #[test]
    fn who_idles_too_long_is_ended_and_nobody_else() {
        let connections = Connections::new(4, None, TrustedProxies::default());
        let (_a, idle) = take(&connections);
        let (_b, in_request) = take(&connections);
        let (_c, busy) = take(&connections);
        let (_d, lingering) = take(&connections);
        idle.wait(LONG);
        in_request.wait(LONG);
        in_request.wait_for_rest();
        busy.wait(LONG);
        busy.answer();
        lingering.linger(2 * LONG);
        let began = Instant::now();
        let next = connections.dismiss_overdue(began).expect("two wait");
        assert!(next <= LONG && !read_ended(&idle), "{next:?}");
        let next = connections.dismiss_overdue(began + LONG).expect("one waits");
        assert!(read_ended(&idle) && idle.dismissal() == Some(Dismissal::Overdue));
        assert!(!read_ended(&lingering) && next <= LONG, "{next:?}");
        assert!(connections.dismiss_overdue(began + 2 * LONG).is_none());
        assert!(read_ended(&lingering) && !read_ended(&in_request) && !read_ended(&busy));
    }

    #[test]
    fn who_sends_content_behind_an_answered_request_has_not_waited_since_the_beginning() {
        let connections = Connections::new(2, None, TrustedProxies::default());
        let (_a, idle) = take(&connections);
        idle.wait(LONG);
        let (_b, busy) = take(&connections);
        busy.answer();
        let_a_microsecond_pass(&connections);
        busy.wait_for_rest();
        connections.evict();
        assert!(idle.dismissal() == Some(Dismissal::Evicted) && busy.dismissal().is_none());
    }

    #[test]
    fn who_hardly_takes_an_answer_makes_room_where_nobody_else_can() {
        let connections = Connections::new(3, None, TrustedProxies::default());
        let (_a, lagging) = take(&connections);
        let (_b, busy) = take(&connections);
        let (_c, idle) = take(&connections);
        let now = || connections.micros(Instant::now());
        let micros = |time: Duration| time.as_micros() as u64;
        lagging.answer();
        busy.answer();
        idle.wait(LONG);
        let_a_microsecond_pass(&connections);
        lagging.client_lags();
        let order =
            |at: u64| [&lagging, &busy, &idle].map(|conn| conn.entry.evictable_since(at).map(|waiting| waiting.since));
        let [lag, none, wait] = order(now() + micros(STALL_TIMEOUT));
        assert!(none.is_none() && wait < lag, "who idles since before goes first: {lag:?} {wait:?}");
        let_a_microsecond_pass(&connections);
        idle.wait(LONG);
        let [lag, _, wait] = order(now() + micros(STALL_TIMEOUT));
        assert!(lag < wait, "who has just begun to idle goes last: {lag:?} {wait:?}");
        idle.answer();
        assert_eq!(order(now()), [None; 3], "who lags for a moment does not go");
        lagging.client_caught_up();
        assert_eq!(order(now() + micros(LONG)), [None; 3]);
    }

    #[test]
    fn a_house_with_one_more_has_many() {
        let connections = Connections::new(2 * FEW, None, TrustedProxies::default());
        let mut few: Vec<_> = (0..FEW).map(|_| take(&connections)).collect();
        let last = few.pop().expect("some");
        assert!(last.1.sees_few());
        let other = take(&connections);
        assert!(!last.1.sees_few(), "those that hold much already count too");
        drop(other);
        assert!(last.1.sees_few());
    }

    #[test]
    fn at_the_limit_of_an_address_nobody_is_let_in_and_the_longest_waiting_makes_room() {
        let connections = Connections::new(10, Some(2), TrustedProxies::default());
        let (_a, busy) = take(&connections);
        let (_b, idle) = take(&connections);
        // Its client has lagged since the epoch, but there is room in the house.
        busy.wait_since(0, NEVER, For::Taking);
        idle.wait(LONG);
        connections.is_starved.store(true, Ordering::Relaxed);
        for _ in 0..2 {
            let (_client, server, peer) = pair();
            assert!(matches!(connections.register(server, peer), Err(RegisterError::PerIpLimit(_))));
        }
        assert!(idle.dismissal() == Some(Dismissal::Evicted) && busy.dismissal().is_none());
        assert!(!connections.is_starved(), "who was turned away does not seek a conn any more");
        let (_client, server, peer) = pair();
        let elsewhere = SocketAddr::new([192, 0, 2, 1].into(), peer.port());
        let other = connections.register(server, elsewhere).expect("from elsewhere there are none");
        drop(idle);
        take(&connections);
        drop(other);
    }

    #[test]
    fn a_proxy_counts_for_nobody_until_it_says_for_whom_it_speaks() {
        let trusted = TrustedProxies::new(vec!["2001:db8::1".parse().expect("an address")]);
        let connections = Connections::new(20, Some(1), trusted);
        let take = |ip: &str| {
            let (_client, server, _) = pair();
            connections.register(server, SocketAddr::new(ip.parse().expect("an address"), 1))
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
            assert_eq!(proxy.set_client(source), has_room, "{source:?}");
        }
        assert!(matches!(take("192.0.2.1"), Err(RegisterError::PerIpLimit(_))));
        assert!(matches!(take("::ffff:192.0.2.1"), Err(RegisterError::PerIpLimit(_))));
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
        let connections = Connections::new(5, None, TrustedProxies::default());
        let (_a, idle) = take(&connections);
        let (_b, in_head) = take(&connections);
        let (_c, busy) = take(&connections);
        let (_d, lingering) = take(&connections);
        [&idle, &in_head, &busy].into_iter().for_each(|conn| conn.wait(LONG));
        in_head.wait_for_rest();
        busy.answer();
        lingering.linger(LONG);
        connections.stop();
        connections.close();
        assert!(read_ended(&idle) && !read_ended(&in_head) && !read_ended(&busy) && !read_ended(&lingering));
        lingering.linger(LONG);
        assert!(!read_ended(&lingering));
        busy.wait(LONG);
        assert!(read_ended(&busy));
        assert!(!connections.wait_until_empty(Instant::now()));
        drop((idle, in_head, busy, lingering));
        assert!(connections.wait_until_empty(Instant::now()));
    }

    #[test]
    fn who_has_come_or_was_answered_a_moment_ago_may_still_ask_when_the_house_closes() {
        let connections = Connections::new(5, None, TrustedProxies::default());
        let (_a, old) = take(&connections);
        let (_b, young) = take(&connections);
        let (_c, fresh) = take(&connections);
        old.wait(LONG);
        thread::sleep(LATE_REQUEST_WINDOW);
        young.wait(LONG);
        connections.stop();
        assert!(read_ended(&old) && !read_ended(&young));
        fresh.wait(LONG);
        assert!(!read_ended(&fresh), "it was let in before");
        connections.close();
        assert!(read_ended(&young) && read_ended(&fresh));
    }
}
