//! Server: accepts connections, gives each a thread, and moves values between the layers.
//!
//! Glossary:
//! - *connection table*: all connections, their limits (total, per address) and timeouts ([`connections`], [`conn_entry`])
//! - *evict*: close a connection to make room for another; *shed*: respond 503 to one that gets no room ([`overload`])
//! - *close reason*: why a connection ended ([`close_reason`])
//! - *state*: what a connection waits for, its client's first byte or its own response ([`conn_entry::ConnState`])
//! - *reaper*: the thread that closes idle and lingering connections after their timeout ([`reaper`])
//! - *accept loop*: a thread per listener ([`accept`]); *thread pool*: a thread per connection ([`thread_pool`])
//! - *request loop*: read head, respond, write, log, repeat ([`connection`]); *responder*: handler ([`crate::site::Respond`])
//! - *drain*: serve on while load balancers notice the stop; *grace*: time for responses in progress ([`shutdown`])
//! - *linger*: read and discard after the last response, so that the client can read it
//! - *critical thread*: one whose panic ends the process ([`critical_thread`])
//!
//! The files, from the lowest to the highest; each imports only from those above it.

pub mod critical_thread;
pub mod sd_notify;
pub mod log_writer;
pub mod endpoint;
pub mod conn_entry;
pub mod close_reason;
pub mod connections;
pub mod read_buffer;
pub mod trace;
pub mod write;
pub mod access_log;
pub mod metrics;
pub mod connection;
pub mod overload;
pub mod thread_pool;
pub mod https_redirect;
pub mod admin;
pub mod tls;
pub mod proxy_protocol;
pub mod accept;
pub mod reaper;
pub mod shutdown;
#[cfg(test)]
mod tests;

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use crate::net::listener::Stop;
use crate::net::scheduling::prefer_throughput;
use crate::net::trusted_proxies::TrustedProxies;
use crate::site::Site;
use accept::Acceptor;
use access_log::AccessLog;
use connections::{Connections, Limits, monotonic};
use endpoint::{Endpoint, Service};
use log_writer::LogWriter;
use metrics::Metrics;
use overload::ShedConnections;
use sd_notify::SdNotify;
use tls::TlsEndpoint;

/// The operator's options, apart from the site's.
#[derive(Debug)]
pub struct Options {
    /// Limits of the connection table.
    pub limits: Limits,
    /// Whether connections from trusted proxies begin with a PROXY header.
    pub proxy_protocol: bool,
    /// How long `/health` is 503 before the server stops accepting.
    pub drain_delay: Duration,
    /// How long responses in progress may take after that.
    pub grace: Duration,
}

/// What all connections share.
pub struct Server {
    /// The operator's options.
    pub options: Options,
    /// The site.
    pub site: Site,
    /// What TLS connections to the site share, where it is served over TLS.
    pub tls: Option<TlsEndpoint>,
    /// The connection table.
    pub connections: Arc<Connections>,
    /// The connection table of the admin endpoint, which the site's connections cannot fill.
    pub admin_connections: Arc<Connections>,
    /// Connections that were refused with 503 and are still open.
    pub shed_connections: ShedConnections,
    /// The access log, if there is one.
    pub access_log: Option<AccessLog>,
    /// The writer of diagnostics.
    pub diagnostics: LogWriter,
    /// Metrics, where there is an admin endpoint.
    pub metrics: Option<Metrics>,
    /// The service manager.
    pub sd_notify: SdNotify,
}

/// Connections to the admin endpoint: some balancers and a collector of metrics.
const ADMIN_CONNECTIONS_MAX: usize = 8;

/// Serves at these endpoints until a signal stops the server, and returns when the last response is sent or the grace is over.
/// The banner is printed once all threads run. An error is a thread that cannot be started.
pub fn run(server: Server, endpoints: Vec<Endpoint>, banner: &str) -> io::Result<()> {
    let server = Arc::new(server);
    let endpoints: Vec<_> = endpoints.into_iter().map(Arc::new).collect();
    let stopped = shutdown::handle_signals(&server)?;
    let shared = Arc::clone(&server);
    critical_thread::spawn("reaper", move || reaper::reap(&shared))?;
    prefer_throughput();
    let acceptor = Acceptor::new(&server);
    let (stop, never) = (Arc::new(Stop::new()?), Arc::new(Stop::new()?));
    let mut accept_threads = Vec::new();
    for endpoint in &endpoints {
        let stops = !endpoint.outlives_shutdown();
        let thread = acceptor.start(endpoint, if stops { &stop } else { &never })?;
        // Another process can make the accept of a shared socket block, so its thread is not waited for.
        accept_threads.extend((stops && !endpoint.listener.is_inherited()).then_some(thread));
    }
    // A closed standard error is no failure.
    let _ = io::stderr().write_all(banner.as_bytes());
    server.diagnostics.start()?;
    server.sd_notify.ready();
    // The channel is closed, never used.
    let _ = stopped.recv();
    server.sd_notify.stopping(server.options.drain_delay + server.options.grace);
    shutdown::shut_down(&acceptor, &endpoints, &stop, accept_threads);
    server.finish_logs();
    Ok(())
}

impl Server {
    /// Puts together what all connections share: without TLS, an access log, metrics and a service manager.
    pub fn new(options: Options, site: Site, trusted_proxies: TrustedProxies, diagnostics: LogWriter) -> Server {
        let limits = options.limits;
        let admin_limits = Limits { connections: ADMIN_CONNECTIONS_MAX, per_ip: None, ..limits };
        Server {
            options,
            site,
            tls: None,
            connections: Connections::new(limits, trusted_proxies, monotonic()),
            admin_connections: Connections::new(admin_limits, TrustedProxies::default(), monotonic()),
            shed_connections: ShedConnections::default(),
            access_log: None,
            diagnostics,
            metrics: None,
            sd_notify: SdNotify::default(),
        }
    }

    /// What connections to a service begin with, if that is a TLS handshake.
    pub fn tls_for(&self, service: Service) -> Option<&TlsEndpoint> {
        self.tls.as_ref().filter(|_| service == Service::Site)
    }

    /// Writes the last lines of both logs.
    pub fn finish_logs(&self) {
        if let Some(log) = &self.access_log {
            log.lines.finish();
        }
        self.diagnostics.finish();
    }
}
