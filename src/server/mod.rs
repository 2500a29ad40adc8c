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
pub mod watch;

use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crate::net::Transport;
use crate::net::listener::{self, House, Listener};
use crate::net::scheduling::prefer_throughput;
use crate::net::tcp::Tcp;
use crate::site::{self, Site};
use access_log::AccessLog;
use connection::Connection;
use desks::Desks;
use handoff::Handoff;
use lines::Lines;
use seats::{Seat, Seats};

/// What the operator asked of the server, apart from the site.
#[derive(Debug)]
pub struct Options {
    /// How many connections there may be at once.
    pub max_connections: usize,
    /// How long the phases of a connection may take.
    pub times: Times,
    /// How long answers in progress may take to end once the server is asked to stop.
    pub grace: Duration,
    /// Whether the addresses are told as URLs when the server is ready.
    pub show_urls: bool,
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
    /// Where requests are logged.
    pub access_log: AccessLog,
    /// Where diagnostics go.
    pub diagnostics: Lines,
}

/// How long connections that were ended by force may take to write their last line to the access log.
const LAST_LINES: Duration = Duration::from_secs(1);

/// Serves on these listeners until a signal says to stop, and returns when the last answer is sent or the grace is
/// over.
pub fn run(server: Server, listeners: Vec<Listener>) {
    let server = Arc::new(server);
    let listeners = Arc::new(listeners);
    signals::watch(Arc::clone(&server), Arc::clone(&listeners));
    announce(&listeners, server.options.show_urls);
    let (asked, max) = (server.options.max_connections, server.seats.max());
    if max < asked {
        log::warn!("{max} connections at once, not {asked}, because of this process's limit on descriptors");
    }
    if let Err(error) = watch::start(&server) {
        log::error!("connections may wait for ever, because no thread can be started: {error}");
    }
    prefer_throughput();
    let reception = Reception { server: Arc::clone(&server), handoff: Arc::default() };
    let (first, others) = listeners.split_first().expect("there is an address to listen on");
    thread::scope(|scope| {
        for other in others {
            let thread = thread::Builder::new().name("accept".to_owned());
            if let Err(error) = thread.spawn_scoped(scope, || other.accept_all(&reception)) {
                log::error!(
                    "connections to {} are not accepted, because no thread can be started: {error}",
                    other.addr
                );
            }
        }
        first.accept_all(&reception);
    });
    if !server.seats.wait_until_empty(server.seats.stopped_at() + server.options.grace) {
        log::warn!("{} connections did not end within the grace", server.seats.count());
        server.seats.end_all();
        server.seats.wait_until_empty(Instant::now() + LAST_LINES);
    }
    server.finish();
}

impl Server {
    /// Lets the last lines of both logs be written.
    pub fn finish(&self) {
        self.access_log.finish();
        self.diagnostics.finish();
    }
}

/// Says on standard error where the server listens. Programs read the first line, so nothing may come before it.
fn announce(listeners: &[Listener], show_urls: bool) {
    let addrs: Vec<SocketAddr> = listeners.iter().map(|listener| listener.addr).collect();
    let urls = if show_urls { listener::urls(&addrs) } else { Vec::new() };
    let addrs = addrs.iter().map(|addr| format!("listening on http://{addr}\n"));
    let urls = urls.iter().map(|url| format!("  {url}\n"));
    // Whoever closed standard error does not want to know.
    let _ = io::stderr().write_all(addrs.chain(urls).collect::<String>().as_bytes());
}

/// Receives connections: finds each a seat, then a thread.
struct Reception {
    server: Arc<Server>,
    handoff: Arc<Handoff>,
}

impl House for Reception {
    fn admit(&self, stream: TcpStream, peer: SocketAddr) {
        let Some(seat) = self.server.seats.take(stream, peer) else { return };
        let server = Arc::clone(&self.server);
        if let Err(error) = self.handoff.give(Box::new(move || talk(&server, &seat))) {
            log::warn!("cannot start a thread for a connection: {error}");
            self.make_room();
        }
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
    let mut tcp = Tcp::new(seat.stream());
    tcp.set_send_pace(server.options.times.write);
    let site = Site::new(&server.site);
    Connection::new(&mut tcp, server, &site, seat).run();
}
