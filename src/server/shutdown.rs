//! How the server closes: step by step, so that whoever can still be served is, here or by somebody else.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::accept::{Acceptor, Endpoint, Service};

/// How far a house is on its way to close.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum ShutdownPhase {
    /// It is open.
    Running,
    /// Balancers are told to send nobody any more; whoever comes is served as before.
    Draining,
    /// The same, and each answer is the last one of its connection.
    ClosingKeepAlive,
    /// Nobody is let in any more. Who has come a moment ago, or was answered then, may still ask.
    NotAccepting,
    /// Nobody is waited for any more; what is being answered goes on.
    IdleClosed,
}

/// The phase in which a house is.
#[derive(Debug)]
pub struct Current(AtomicU8);

/// How long somebody may have waited to ask, and is still given the rest of it when the house closes: a client that has
/// just connected, or has just got an answer, and cannot know that it should not ask here.
pub const LATE_REQUEST_WINDOW: Duration = Duration::from_millis(500);

/// How long connections that were ended by force may take to write their last line to the access log.
const LOG_DRAIN_TIMEOUT: Duration = Duration::from_secs(1);

impl Current {
    /// A house that is open.
    pub fn open() -> Current {
        Current(AtomicU8::new(ShutdownPhase::Running as u8))
    }

    /// Goes on to this phase.
    pub fn advance(&self, to: ShutdownPhase) {
        self.0.store(to as u8, Ordering::SeqCst);
    }

    /// Reports whether this phase has come.
    pub fn is_at(&self, phase: ShutdownPhase) -> bool {
        self.0.load(Ordering::Acquire) >= phase as u8
    }
}

/// Closes the house, and returns when the last answer is sent or the grace is over. These threads let people in.
///
/// Balancers get the first half of the delay to notice; in the second half clients that keep their connections are sent
/// away with their answers, so that hardly any is left whose next request could meet the end. Last are heard those who have
/// connected and said nothing yet, as long as their door lets them.
pub fn close(acceptor: &Acceptor, endpoints: &[Endpoint], accepting: Vec<JoinHandle<()>>) {
    let server = &acceptor.server;
    let (connections, delay) = (&server.connections, server.options.drain_delay);
    let when = if delay.is_zero() { String::new() } else { format!(" in {delay:?}, which /health says meanwhile") };
    log::info!("stopping{when}; a second signal stops at once");
    connections.advance(ShutdownPhase::Draining);
    // Where another process may answer for itself now, this one does not any more.
    let ends_now = |endpoint: &&Endpoint| endpoint.service != Service::Admin || endpoint.listener.is_shared();
    let ending: Vec<&Endpoint> = endpoints.iter().filter(ends_now).collect();
    let until = ending.iter().map(|endpoint| endpoint.listener.accept_silent()).max();
    let all_are_known = Instant::now() + until.unwrap_or_default();
    log::debug!("who connects and says nothing is accepted at once from now on");
    thread::sleep(delay / 2);
    connections.advance(ShutdownPhase::ClosingKeepAlive);
    thread::sleep(delay - delay / 2);
    thread::sleep(all_are_known.saturating_duration_since(Instant::now()));
    let last = ending.iter().map(|endpoint| endpoint.listener.leave_to_others()).max();
    thread::sleep(last.unwrap_or_default());

    let stopped = Instant::now();
    connections.stop();
    if ending.iter().any(|endpoint| endpoint.service == Service::Admin) {
        server.admin_connections.stop();
    }
    ending.into_iter().for_each(|endpoint| acceptor.close(endpoint));
    for thread in accepting {
        let _ = thread.join();
    }
    connections.wait_until_empty(stopped + LATE_REQUEST_WINDOW);
    connections.close();
    if !connections.wait_until_empty(stopped + server.options.grace) {
        log::warn!("{} connections did not end within the grace", connections.count());
        connections.end_all();
        connections.wait_until_empty(Instant::now() + LOG_DRAIN_TIMEOUT);
    }
}

/// Starts a thread for each door that lets people in, and returns those that end when the site is closed.
pub fn open(acceptor: &Arc<Acceptor>, endpoints: &Arc<Vec<Endpoint>>) -> Vec<JoinHandle<()>> {
    let mut accepting = Vec::new();
    for (at, endpoint) in endpoints.iter().enumerate() {
        let (acceptor, endpoints) = (Arc::clone(acceptor), Arc::clone(endpoints));
        let accept = move || acceptor.accept_all(&endpoints[at]);
        match thread::Builder::new().name("accept".to_owned()).spawn(accept) {
            Ok(thread) if endpoint.service != Service::Admin => accepting.push(thread),
            Ok(_) => {}
            Err(error) => log::error!(
                "connections to {} are not accepted, because no thread can be started: {error}",
                endpoint.listener.addr
            ),
        }
    }
    accepting
}
