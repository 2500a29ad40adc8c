//! The way of a connection from its door to a thread: it gets a seat, or another makes room, or it is turned away.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::Server;
use super::admin::Admin;
use super::connection::Connection;
use super::connections::{ConnHandle, Connections, EVICTION_RETRY, RegisterError};
use super::https_redirect::Redirect;
use super::metrics::Metrics;
use super::proxy_protocol;
use super::thread_pool::{SpawnError, ThreadPool};
use super::tls;
use crate::net::Transport;
use crate::net::listener::{House, Listener};
use crate::net::tcp::Tcp;
use crate::proto::why::Why;
use crate::site::{Respond, SiteSession};

/// A listening socket, and what is behind it.
#[derive(Debug)]
pub struct Endpoint {
    /// The socket.
    pub listener: Listener,
    /// Who answers there.
    pub service: Service,
}

/// Who answers a connection's requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// The site.
    SiteSession,
    /// The site's address over TLS: [`Redirect`].
    Redirect,
    /// The server itself, for whoever looks after it: [`Admin`].
    Admin,
}

/// A connection on its way to a thread.
struct Accepted {
    conn: ConnHandle,
    service: Service,
}

/// Receives connections: finds each a seat, then a thread.
pub struct Acceptor {
    /// What all connections share.
    pub server: Arc<Server>,
    pool: Arc<ThreadPool<Accepted>>,
    /// When a warning was given last that there are no threads.
    warned: Mutex<Option<Instant>>,
}

/// How long a thread may take to be free again until another connection has to make room.
const FREE_AGAIN: Duration = Duration::from_millis(250);

/// The least time between two warnings of the same kind.
const WARNING_PAUSE: Duration = Duration::from_secs(10);

/// The reception as one door sees it.
struct Entrance<'r> {
    acceptor: &'r Acceptor,
    endpoint: &'r Endpoint,
}

impl Acceptor {
    /// Opens the reception.
    pub fn new(server: &Arc<Server>) -> Acceptor {
        let theirs = Arc::clone(server);
        let pool = ThreadPool::new(move |accepted| serve_connection(&theirs, accepted));
        Acceptor { server: Arc::clone(server), pool, warned: Mutex::default() }
    }

    /// Takes over who comes through this door, until the house is stopping.
    pub fn accept_all(&self, endpoint: &Endpoint) {
        endpoint.listener.accept_all(&Entrance { acceptor: self, endpoint });
    }

    /// Lets nobody come through this door any more, but for who waits already.
    pub fn close(&self, endpoint: &Endpoint) {
        endpoint.listener.end(&Entrance { acceptor: self, endpoint });
    }

    /// Finds a thread for a connection. Where none can be started, another connection makes room; where there is none, this
    /// one is turned away.
    fn spawn_on_pool(&self, mut accepted: Accepted) {
        let (mut is_told, mut asked) = (false, None::<Instant>);
        while let Err(SpawnError { error, job, threads }) = self.pool.execute(accepted) {
            accepted = job;
            if !is_told {
                is_told = true;
                self.warn_of_threads(&error);
            }
            if threads == 0 || self.is_stopping() {
                let peer = accepted.conn.peer;
                return self.server.shed(accepted.conn.into_stream(), peer, accepted.service, Why::NoThread);
            }
            // The thread of one that makes room is free a moment after its seat.
            if asked.is_none_or(|asked| asked.elapsed() >= FREE_AGAIN) {
                self.make_room();
                asked = Some(Instant::now());
            }
            thread::sleep(EVICTION_RETRY);
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

    fn is_stopping(&self) -> bool {
        self.server.connections.is_stopping()
    }

    fn make_room(&self) {
        self.server.connections.evict();
    }
}

impl House for Entrance<'_> {
    fn admit(&self, stream: TcpStream, peer: SocketAddr) {
        let Entrance { acceptor, endpoint: &Endpoint { service, .. } } = *self;
        match self.connections().register(stream, peer) {
            Ok(conn) => acceptor.spawn_on_pool(Accepted { conn, service }),
            Err(RegisterError::ShuttingDown) => {}
            Err(RegisterError::PerIpLimit(stream)) => {
                acceptor.server.shed(stream, peer, service, Why::PerIpLimit);
            }
        }
    }

    fn make_room(&self) {
        self.acceptor.make_room();
    }

    fn is_stopping(&self) -> bool {
        self.connections().is_stopping()
    }
}

impl Entrance<'_> {
    fn connections(&self) -> &Arc<Connections> {
        self.acceptor.server.connections_for(self.endpoint.service)
    }
}

/// Serves one connection from its first byte to its end.
fn serve_connection(server: &Server, Accepted { conn, service }: Accepted) {
    let metrics = server.metrics.as_ref().filter(|_| service != Service::Admin);
    let _guard = metrics.map(Metrics::connection_started);
    // Who looks after the server does not come through a proxy.
    let conn =
        if service == Service::Admin { Some(conn) } else { proxy_protocol::receive_header(server, conn, service) };
    let Some(conn) = conn else { return };
    let mut tcp = Tcp::new(conn.stream(), &conn);
    tcp.set_send_pace(server.options.times.write);
    let site = SiteSession::new(&server.site);
    let admin = Admin { server, site: &site };
    let redirect = Redirect { site: &site, port: server.tls.as_ref().map_or(443, |tls| tls.port) };
    let responder: &dyn Respond = match service {
        Service::SiteSession => &site,
        Service::Redirect => &redirect,
        Service::Admin => &admin,
    };
    match server.tls_for(service) {
        Some(tls) => tls::serve(server, tls, tcp, responder, &conn),
        None => Connection::new(&mut tcp, server, responder, &conn).run(),
    }
}
