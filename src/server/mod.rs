//! Ties the layers together: accepts connections, gives each a thread, and moves values between the layers on it.
//!
//! The way of one request is [`connection`]; how a connection gets there is [`reception`] and [`handoff`], and before the
//! first request [`proxied`] and [`secure`]; which connections there are, and how they are ended from outside, is [`seats`];
//! how the server ends is [`closing`]. The layers below return causes; what is logged, is logged here (and by the listener,
//! which has nobody to return to).

pub mod accept;
pub mod access_log;
pub mod admin;
pub mod close_reason;
pub mod conn_entry;
pub mod connection;
pub mod connections;
pub mod desks;
pub mod https_redirect;
pub mod log_writer;
pub mod metrics;
pub mod overload;
pub mod proxy_protocol;
pub mod read_buffer;
pub mod reaper;
pub mod sd_notify;
pub mod shutdown;
pub mod signals;
#[cfg(test)]
mod tests;
pub mod thread_pool;
pub mod tls;
pub mod trace;
pub mod turns;
pub mod write;

use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use crate::net::scheduling::prefer_throughput;
use crate::net::tls::INTERNAL_ERROR_ALERT;
use crate::net::trusted_proxies::TrustedProxies;
use crate::proto::why::Why;
use crate::site;
use accept::{Acceptor, Endpoint, Service};
use access_log::AccessLog;
use connections::Connections;
use desks::Desks;
use log_writer::LogWriter;
use metrics::Metrics;
use overload::ShedConnections;
use sd_notify::SdNotify;
use tls::TlsEndpoint;

/// What the operator asked of the server, apart from the site.
#[derive(Debug)]
pub struct Options {
    /// How many connections there may be at once.
    pub max_connections: usize,
    /// How many of them may come from one address, if there is a limit.
    pub max_per_ip: Option<usize>,
    /// Whether connections from proxies that are trusted begin with a PROXY header.
    pub proxy_protocol: bool,
    /// How long the phases of a connection may take.
    pub times: Times,
    /// How long balancers are told that the server will stop before it does.
    pub drain_delay: Duration,
    /// How long answers in progress may take to end once the server stops.
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
    pub site: site::Site,
    /// What the site's doors share, where it is served over TLS.
    pub tls: Option<TlsEndpoint>,
    /// What threads answer with.
    pub desks: Desks,
    /// The connections there are.
    pub connections: Arc<Connections>,
    /// The connections of those who look after the server, who come in however full the house is.
    pub admin_connections: Arc<Connections>,
    /// The connections that were told that there is no room.
    pub shed_connections: ShedConnections,
    /// Where requests are logged.
    pub access_log: AccessLog,
    /// Where diagnostics go.
    pub diagnostics: LogWriter,
    /// What is counted, where somebody can ask for it.
    pub metrics: Option<Metrics>,
    /// Who manages the process.
    pub sd_notify: SdNotify,
}

/// How many connections those have who look after the server: some balancers and what collects the metrics.
const ADMIN_CONNECTIONS_MAX: usize = 8;

/// Serves behind these doors until a signal says to stop, and returns when the last answer is sent or the grace is
/// over. The banner is printed before it accepts.
pub fn run(server: Server, endpoints: Vec<Endpoint>, banner: &str) {
    let server = Arc::new(server);
    let endpoints = Arc::new(endpoints);
    let acceptor = Arc::new(Acceptor::new(&server));
    let stop = signals::watch(&server);
    // A closed standard error is no failure.
    let _ = io::stderr().write_all(banner.as_bytes());
    let (asked, max) = (server.options.max_connections, server.connections.max());
    if max < asked {
        log::warn!(
            "{max} connections at once, not {asked}, because of this process's limits on descriptors and memory"
        );
    }
    if let Err(error) = reaper::start(&server) {
        log::error!("connections may wait for ever, because no thread can be started: {error}");
    }
    prefer_throughput();
    let accepting = shutdown::open(&acceptor, &endpoints);
    server.sd_notify.ready();
    stop.wait();
    server.sd_notify.stopping(server.options.drain_delay + server.options.grace);
    shutdown::close(&acceptor, &endpoints, accepting);
    server.finish();
}

impl Server {
    /// Puts together what all connections share: plain, uncounted, and managed by nobody.
    pub fn new(
        options: Options,
        site: site::Site,
        connections: Arc<Connections>,
        access_log: AccessLog,
        diagnostics: LogWriter,
    ) -> Server {
        let (desks, shed_connections) = (Desks::default(), ShedConnections::default());
        let admin_connections = Connections::new(ADMIN_CONNECTIONS_MAX, None, TrustedProxies::default());
        Server {
            options,
            site,
            tls: None,
            desks,
            connections,
            admin_connections,
            shed_connections,
            access_log,
            diagnostics,
            metrics: None,
            sd_notify: SdNotify::default(),
        }
    }

    /// The connections to a service.
    pub fn connections_for(&self, service: Service) -> &Arc<Connections> {
        match service {
            Service::SiteSession | Service::Redirect => &self.connections,
            Service::Admin => &self.admin_connections,
        }
    }

    /// How connections to a service begin, where that is by TLS.
    pub fn tls_for(&self, service: Service) -> Option<&TlsEndpoint> {
        self.tls.as_ref().filter(|_| service == Service::SiteSession)
    }

    /// Answers a connection that there is no room for it.
    pub fn shed(&self, stream: TcpStream, client: SocketAddr, service: Service, why: Why) {
        log::debug!("connection from {client} turned away: {}", why.explanation().what);
        if let Some(metrics) = &self.metrics {
            metrics.shed_connections(why);
        }
        match self.tls_for(service) {
            Some(_) => self.shed_connections.say(stream, &INTERNAL_ERROR_ALERT),
            None => self.shed_connections.answer(stream, why, &self.site),
        }
    }

    /// Lets the last lines of both logs be written.
    pub fn finish(&self) {
        self.access_log.finish();
        self.diagnostics.finish();
    }
}
