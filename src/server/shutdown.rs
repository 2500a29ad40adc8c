//! Graceful shutdown: the signals that begin it, and its phases (`ShutdownPhase`).

use std::io;
use std::process;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::accept::Acceptor;
use super::connections::ShutdownPhase;
use super::endpoint::{Endpoint, Service};
use super::{Server, critical_thread};
use crate::net::listener::Stop;

/// Time for a client just accepted, or just responded to, to send a request: it cannot see that the server stops.
const LATE_REQUEST_WINDOW: Duration = Duration::from_millis(500);

/// Time for aborted connections to write their last line to the access log.
const LOG_DRAIN_TIMEOUT: Duration = Duration::from_secs(1);

/// Handles signals: the first stop closes the returned channel, a second ends the process. SIGHUP reloads certificates.
pub fn handle_signals(server: &Arc<Server>) -> io::Result<Receiver<()>> {
    let (sender, stopped) = channel();
    let (mut sender, server) = (Some(sender), Arc::clone(server));
    let reloads = server.tls.as_ref().is_some_and(|tls| !tls.certificates.pairs.is_empty());
    let mut signals = Signals::new([SIGTERM, SIGINT].into_iter().chain(reloads.then_some(SIGHUP)))?;
    critical_thread::spawn("signals", move || {
        for signal in signals.forever() {
            if let (SIGHUP, Some(tls)) = (signal, &server.tls) {
                tls.reload();
            } else if sender.take().is_none() {
                server.finish_logs();
                process::exit(128 + signal);
            }
        }
    })?;
    Ok(stopped)
}

/// Shuts down: returns when the last response is sent, or when the grace is over.
///
/// During the first half of the drain delay load balancers notice; during the second half kept connections are closed with
/// their responses, so that hardly any is left whose next request could meet the end.
pub fn shut_down(acceptor: &Acceptor, endpoints: &[Arc<Endpoint>], stop: &Stop, accept_threads: Vec<JoinHandle<()>>) {
    let server = &acceptor.server;
    let (connections, delay) = (&server.connections, server.options.drain_delay);
    let when = if delay.is_zero() { String::new() } else { format!(" in {delay:?}; /health is 503 meanwhile") };
    log::info!("shutting down{when}; a second signal ends the process at once");
    connections.advance(ShutdownPhase::Draining);
    thread::sleep(delay / 2);
    connections.advance(ShutdownPhase::ClosingKeepAlive);
    thread::sleep(delay - delay / 2);

    let stopped = Instant::now();
    let closing = || endpoints.iter().filter(|endpoint| !endpoint.outlives_shutdown());
    connections.end_idle(ShutdownPhase::NotAccepting, LATE_REQUEST_WINDOW);
    if closing().any(|endpoint| endpoint.service == Service::Admin) {
        server.admin_connections.end_idle(ShutdownPhase::NotAccepting, LATE_REQUEST_WINDOW);
    }
    stop.set();
    for endpoint in closing() {
        acceptor.accept_all(endpoint, stop);
        endpoint.listener.close();
    }
    for thread in accept_threads {
        let _ = thread.join();
    }
    connections.wait_until_empty(LATE_REQUEST_WINDOW.saturating_sub(stopped.elapsed()));
    connections.end_idle(ShutdownPhase::IdleClosed, Duration::ZERO);
    if !connections.wait_until_empty(server.options.grace.saturating_sub(stopped.elapsed())) {
        log::warn!("{} connections were aborted after the grace period", connections.count());
        connections.abort_all();
        connections.wait_until_empty(LOG_DRAIN_TIMEOUT);
    }
}
