//! Accept loop: a thread per listener accepts connections, registers them, and passes each to a thread of the pool.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::admin::Admin;
use super::connection::Connection;
use super::connections::{ConnHandle, EVICTION_RETRY, RegisterError, ShutdownPhase};
use super::endpoint::{Endpoint, Service};
use super::https_redirect::Redirect;
use super::metrics::Metrics;
use super::thread_pool::{SpawnError, ThreadPool};
use super::{Server, critical_thread, overload, proxy_protocol, tls};
use crate::net::listener::Stop;
use crate::net::tcp::Tcp;
use crate::net::tls::INTERNAL_ERROR_ALERT;
use crate::proto::why::Why;
use crate::site::{Respond, SiteSession};

/// Time that an evicted connection's thread gets to become idle before another connection is evicted.
const THREAD_RETRY: Duration = Duration::from_millis(250);

/// The shortest time between two warnings of the same kind.
const WARNING_INTERVAL: Duration = Duration::from_secs(10);

/// A registered connection on its way to a thread, and the service that it reached.
type Accepted = (ConnHandle, Service);

/// Accepts connections for one server.
pub struct Acceptor {
    /// The server.
    pub server: Arc<Server>,
    pool: Arc<ThreadPool<Accepted>>,
    warned_of_threads: Mutex<Option<Instant>>,
}

impl Acceptor {
    /// Creates an acceptor, and the thread pool of its connections.
    pub fn new(server: &Arc<Server>) -> Arc<Acceptor> {
        let shared = Arc::clone(server);
        let pool = ThreadPool::new(move |accepted| serve_connection(&shared, accepted));
        Arc::new(Acceptor { server: Arc::clone(server), pool, warned_of_threads: Mutex::default() })
    }

    /// Starts the accept loop of an endpoint, which ends when `stop` is set.
    pub fn start(self: &Arc<Self>, endpoint: &Arc<Endpoint>, stop: &Arc<Stop>) -> io::Result<JoinHandle<()>> {
        let (acceptor, endpoint, stop) = (Arc::clone(self), Arc::clone(endpoint), Arc::clone(stop));
        critical_thread::spawn("accept", move || acceptor.accept_all(&endpoint, &stop))
    }

    /// Accepts connections of an endpoint until `stop` is set.
    pub fn accept_all(&self, endpoint: &Endpoint, stop: &Stop) {
        for accepted in endpoint.listener.incoming(stop) {
            match accepted {
                Ok((stream, peer)) => self.register(stream, peer, endpoint.service),
                Err(_) => self.server.connections.evict_one(),
            }
        }
    }

    fn register(&self, stream: TcpStream, peer: SocketAddr, service: Service) {
        let is_admin = service == Service::Admin;
        let connections = if is_admin { &self.server.admin_connections } else { &self.server.connections };
        match connections.register(stream, peer) {
            Ok(conn) => self.spawn_on_pool((conn, service)),
            Err(RegisterError::ShuttingDown) => {}
            Err(RegisterError::PerIpLimit(stream)) => self.server.shed(stream, peer, service, Why::PerIpLimit),
        }
    }

    /// Passes a connection to a thread. Where none can be started, another connection is evicted, or this one is shed.
    fn spawn_on_pool(&self, mut accepted: Accepted) {
        let mut evicted_at = None::<Instant>;
        while let Err(SpawnError { error, job, threads }) = self.pool.execute(accepted) {
            self.warn_of_threads(&error);
            if threads == 0 || self.server.connections.is_at(ShutdownPhase::NotAccepting) {
                let (conn, service) = job;
                let peer = conn.peer;
                return self.server.shed(conn.into_stream(), peer, service, Why::NoThread);
            }
            accepted = job;
            if evicted_at.is_none_or(|at| at.elapsed() >= THREAD_RETRY) {
                self.server.connections.evict_one();
                evicted_at = Some(Instant::now());
            }
            thread::sleep(EVICTION_RETRY);
        }
    }

    /// Warns, but seldom: a client can fill the log otherwise.
    fn warn_of_threads(&self, error: &io::Error) {
        let mut warned = self.warned_of_threads.lock();
        if warned.is_none_or(|at| at.elapsed() >= WARNING_INTERVAL) {
            *warned = Some(Instant::now());
            log::warn!("cannot start a thread for a connection: {error}");
        }
    }
}

impl Server {
    /// Responds with 503 to a connection that is not served.
    pub fn shed(&self, stream: TcpStream, client: SocketAddr, service: Service, why: Why) {
        log::debug!("connection from {client} refused: {}", why.explanation().what);
        if let Some(metrics) = &self.metrics {
            metrics.shed(why);
        }
        let page = || overload::response(why, &self.site);
        let bytes = self.tls_for(service).map_or_else(page, |_| INTERNAL_ERROR_ALERT.to_vec());
        self.shed_connections.send_and_close(stream, &bytes);
    }
}

/// Serves one connection from its first byte to its end.
fn serve_connection(server: &Server, (conn, service): Accepted) {
    let metrics = server.metrics.as_ref().filter(|_| service != Service::Admin);
    let _guard = metrics.map(Metrics::connection_started);
    let Some(conn) = proxy_protocol::receive_header(server, conn, service) else { return };
    let mut tcp = Tcp::new(conn.stream(), &conn, server.options.limits.write_timeout);
    let site = SiteSession::new(&server.site);
    let admin = Admin { server, site: &site };
    let redirect = Redirect { site: &site, port: server.tls.as_ref().map_or(443, |tls| tls.port) };
    let responder: &dyn Respond = match service {
        Service::Site => &site,
        Service::Redirect => &redirect,
        Service::Admin => &admin,
    };
    match server.tls_for(service) {
        Some(endpoint) => tls::serve(server, endpoint, tcp, responder, &conn),
        None => Connection::new(&mut tcp, server, responder, &conn).run(),
    }
}
