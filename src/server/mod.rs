//! Ties the layers together: accepts connections, gives each a thread, and moves values between the layers on it.
//!
//! The way of one request is [`connection`]; how a connection gets its thread is [`handoff`]; which connections there
//! are, and how they are ended from outside, is [`seats`]. The layers below return causes; what is logged, is logged here
//! (and by the listener, which has nobody to return to).

pub mod access_log;
pub mod close;
pub mod connection;
pub mod desks;
pub mod handoff;
pub mod inbox;
pub mod lines;
pub mod seats;
pub mod send;
pub mod signals;
#[cfg(test)]
mod tests;
pub mod trace;
pub mod turned_away;
pub mod watch;

use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::net::Transport;
use crate::net::listener::{self, House, Listener};
use crate::net::scheduling::prefer_throughput;
use crate::net::tcp::Tcp;
use crate::proto::why::Why;
use crate::site::{self, Site};
use access_log::AccessLog;
use connection::Connection;
use desks::Desks;
use handoff::{Handoff, NoThread};
use lines::Lines;
use seats::{LOOK_AGAIN, NoSeat, Seat, Seats};
use turned_away::TurnedAway;

/// What the operator asked of the server, apart from the site.
#[derive(Debug)]
pub struct Options {
    /// How many connections there may be at once.
    pub max_connections: usize,
    /// How many of them may come from one address, if there is a limit.
    pub max_per_ip: Option<usize>,
    /// How long the phases of a connection may take.
    pub times: Times,
    /// How long answers in progress may take to end once the server is asked to stop.
    pub grace: Duration,
    /// Whether nothing is told when the server is ready but its addresses.
    pub is_quiet: bool,
}

/// How long the phases of a connection may take.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// From a request's first byte to the empty line behind its fields, and again for its content.
    pub header: Duration,
    /// From an answer to the next request.
    pub idle: Duration,
    /// For each 64 KiB that the client takes of an answer.
    pub write: Duration,
}

/// What all connections share.
#[derive(Debug)]
pub struct Server {
    /// What the operator asked for.
    pub options: Options,
    /// The site that is served.
    pub site: site::Options,
    /// What threads answer with.
    pub desks: Desks,
    /// The connections there are.
    pub seats: Arc<Seats>,
    /// The connections that were told that there is no room.
    pub turned_away: TurnedAway,
    /// Where requests are logged.
    pub access_log: AccessLog,
    /// Where diagnostics go.
    pub diagnostics: Lines,
}

/// How long connections that were ended by force may take to write their last line to the access log.
const LAST_LINES: Duration = Duration::from_secs(1);

/// Serves on these listeners until a signal says to stop, and returns when the last answer is sent or the grace is
/// over. What is noted here is said where it says that it is ready.
pub fn run(server: Server, listeners: Vec<Listener>, notes: &[String]) {
    let server = Arc::new(server);
    let listeners = Arc::new(listeners);
    let reception = Arc::new(Reception::new(&server));
    let stopped = signals::watch(Arc::clone(&reception), Arc::clone(&listeners));
    announce(&listeners, (!server.options.is_quiet).then_some(notes));
    let (asked, max) = (server.options.max_connections, server.seats.max());
    if max < asked {
        log::warn!(
            "{max} connections at once, not {asked}, because of this process's limits on descriptors and memory"
        );
    }
    if let Err(error) = watch::start(&server) {
        log::error!("connections may wait for ever, because no thread can be started: {error}");
    }
    prefer_throughput();
    let (first, others) = listeners.split_first().expect("there is an address to listen on");
    thread::scope(|scope| {
        for other in others {
            let thread = thread::Builder::new().name("accept".to_owned());
            if let Err(error) = thread.spawn_scoped(scope, || other.accept_all(&*reception)) {
                log::error!(
                    "connections to {} are not accepted, because no thread can be started: {error}",
                    other.addr
                );
            }
        }
        first.accept_all(&*reception);
    });
    let _ = stopped.recv();
    if !server.seats.wait_until_empty(server.seats.stopped_at() + server.options.grace) {
        log::warn!("{} connections did not end within the grace", server.seats.count());
        server.seats.end_all();
        server.seats.wait_until_empty(Instant::now() + LAST_LINES);
    }
    server.finish();
}

impl Server {
    /// Puts together what all connections share.
    pub fn new(
        options: Options,
        site: site::Options,
        seats: Arc<Seats>,
        access_log: AccessLog,
        diagnostics: Lines,
    ) -> Server {
        let (desks, turned_away) = (Desks::default(), TurnedAway::default());
        Server { options, site, desks, seats, turned_away, access_log, diagnostics }
    }

    /// Lets the last lines of both logs be written.
    pub fn finish(&self) {
        self.access_log.finish();
        self.diagnostics.finish();
    }
}

/// Says on standard error where the server listens. Programs read the first line, so nothing may come before it.
fn announce(listeners: &[Listener], notes: Option<&[String]>) {
    let addrs: Vec<SocketAddr> = listeners.iter().map(|listener| listener.addr).collect();
    let urls = if notes.is_some() { listener::urls(&addrs) } else { Vec::new() };
    let addrs = addrs.iter().map(|addr| format!("listening on http://{addr}\n"));
    let urls = urls.iter().map(|url| format!("  {url}\n"));
    let notes = notes.unwrap_or_default().iter().map(|note| format!("{note}\n"));
    // Whoever closed standard error does not want to know.
    let _ = io::stderr().write_all(addrs.chain(urls).chain(notes).collect::<String>().as_bytes());
}

/// Receives connections: finds each a seat, then a thread.
struct Reception {
    server: Arc<Server>,
    handoff: Arc<Handoff<Seat>>,
    /// When a warning was given last that there are no threads.
    warned: Mutex<Option<Instant>>,
}

/// How long a thread may take to be free again until another connection has to make room.
const FREE_AGAIN: Duration = Duration::from_millis(250);

/// The least time between two warnings of the same kind.
const WARNING_PAUSE: Duration = Duration::from_secs(10);

impl Reception {
    fn new(server: &Arc<Server>) -> Reception {
        let theirs = Arc::clone(server);
        let handoff = Handoff::new(move |seat| talk(&theirs, &seat));
        Reception { server: Arc::clone(server), handoff, warned: Mutex::default() }
    }

    /// Finds a thread for a connection. Where none can be started, another connection makes room; where there is none, this
    /// one is turned away.
    fn give_thread(&self, mut seat: Seat) {
        let (mut is_told, mut asked) = (false, None::<Instant>);
        while let Err(NoThread { error, job, threads }) = self.handoff.give(seat) {
            seat = job;
            if !is_told {
                is_told = true;
                self.warn_of_threads(&error);
            }
            if threads == 0 || self.is_stopping() {
                let peer = seat.peer;
                return self.turn_away(seat.leave(), peer, Why::NoThread);
            }
            // The thread of one that makes room is free a moment after its seat.
            if asked.is_none_or(|asked| asked.elapsed() >= FREE_AGAIN) {
                self.make_room();
                asked = Some(Instant::now());
            }
            thread::sleep(LOOK_AGAIN);
        }
    }

    /// Warns, but not again within a moment: who wants to fill the log only has to connect.
    fn warn_of_threads(&self, error: &io::Error) {
        let mut last = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_none_or(|last| last.elapsed() >= WARNING_PAUSE) {
            *last = Some(Instant::now());
            log::warn!("cannot start a thread for a connection: {error}");
        }
    }

    fn turn_away(&self, stream: TcpStream, peer: SocketAddr, why: Why) {
        log::debug!("connection from {peer} turned away: {}", why.explanation().what);
        self.server.turned_away.answer(stream, why, &self.server.site);
    }
}

impl House for Reception {
    fn admit(&self, stream: TcpStream, peer: SocketAddr) {
        let seat = match self.server.seats.take(stream, peer) {
            Ok(seat) => seat,
            Err(NoSeat::Closing) => return,
            Err(NoSeat::TooManyFromAddress(stream)) => return self.turn_away(stream, peer, Why::TooManyFromAddress),
        };
        self.give_thread(seat);
    }

    fn make_room(&self) {
        self.server.seats.evict();
    }

    fn is_stopping(&self) -> bool {
        self.server.seats.is_stopping()
    }
}

/// Serves one connection from its first byte to its end.
fn talk(server: &Server, seat: &Seat) {
    let mut tcp = Tcp::new(seat.stream(), seat);
    tcp.set_send_pace(server.options.times.write);
    let site = Site::new(&server.site);
    Connection::new(&mut tcp, server, &site, seat).run();
}
