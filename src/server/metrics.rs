//! What is counted of the server's work, for whoever collects it from `/metrics`. The only user of prometheus_client.
//!
//! What others know anyway, such as how many connections there are, is asked of them when it is collected. What is
//! counted here is counted once a request, where the access log has its line, and only with `--admin`: then a request
//! costs 6.1 µs of processor time instead of 5.85 (1 KiB, 64 kept connections, medians of 5 paired rounds).
//!
//! Labels have few values, all of them chosen here: none is what a client sent.

use std::fmt;
use std::thread;

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use super::Server;
use super::access_log::Record;
use super::close_reason::CloseReason;
use crate::net::tls::Handshake;
use crate::proto::why::Why;

/// The media type of [`Metrics::text`].
pub const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The methods that are told apart; any other counts as [`OTHER`].
const METHODS: [&str; 9] = ["GET", "HEAD", "OPTIONS", "CONNECT", "POST", "PUT", "DELETE", "TRACE", "PATCH"];
const OTHER: &str = "other";

/// The bounds of the durations in seconds: from memory to a slow download.
const SECONDS: [f64; 18] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

const EVICTED_WAITING: &str = "waiting";
const EVICTED_LAGGING: &str = "lagging";
const NO_THREAD: &str = "no_thread";
const TOO_MANY: &str = "too_many_from_address";

/// What is counted.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: Family<Answered, Counter>,
    sent: Counter,
    durations: Histogram,
    connections: Counter,
    closed: Family<For, Counter>,
    evicted: Family<For, Counter>,
    shed_connections: Family<For, Counter>,
    handshakes: Family<HandshakeLabels, Counter>,
    panics: Counter,
}

/// A connection that has been counted; dropped by a fault of the server, that is counted too.
pub struct PanicGuard<'m>(&'m Metrics);

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    method: &'static str,
    status: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct For {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct HandshakeLabels {
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Log {
    log: &'static str,
}

impl Metrics {
    /// Begins to count.
    pub fn new() -> Metrics {
        let mut metrics = Metrics {
            registry: Registry::with_prefix("serve"),
            requests: Family::default(),
            sent: Counter::default(),
            durations: Histogram::new(SECONDS),
            connections: Counter::default(),
            closed: Family::default(),
            evicted: Family::default(),
            shed_connections: Family::default(),
            handshakes: Family::default(),
            panics: Counter::default(),
        };
        let registry = &mut metrics.registry;
        registry.register("requests", "Answers, as many as the access log has lines", metrics.requests.clone());
        let help = "Content of answers that was handed to the system";
        registry.register_with_unit("response_body", help, Unit::Bytes, metrics.sent.clone());
        let help = "Time from a request's arrival until its answer was handed to the system";
        registry.register_with_unit("request_duration", help, Unit::Seconds, metrics.durations.clone());
        registry.register("connections", "Connections that got a thread", metrics.connections.clone());
        registry.register("connections_closed", "Connections that ended, by reason", metrics.closed.clone());
        let help = "Connections that made room for others";
        registry.register("connections_evicted", help, metrics.evicted.clone());
        let help = "Connections that were told to come again";
        registry.register("connections_turned_away", help, metrics.shed_connections.clone());
        let help = "Connections to a port of TLS, by what came of their first bytes";
        registry.register("tls_handshakes", help, metrics.handshakes.clone());
        registry.register("panics", "Connections that ended by a fault of the server", metrics.panics.clone());
        registry.register("build", "What runs here", Info::new([("version", env!("CARGO_PKG_VERSION"))]));
        // What has not happened yet is shown as 0, so that the first time shows as a rise.
        for reason in [EVICTED_WAITING, EVICTED_LAGGING] {
            drop(metrics.evicted.get_or_create(&For { reason }));
        }
        for reason in [NO_THREAD, TOO_MANY] {
            drop(metrics.shed_connections.get_or_create(&For { reason }));
        }
        metrics
    }

    /// Counts a connection that has got a thread.
    pub fn connection_started(&self) -> PanicGuard<'_> {
        self.connections.inc();
        PanicGuard(self)
    }

    /// Counts an answer.
    pub fn response(&self, record: &Record<'_>) {
        let status = record.response.head.status.code().into();
        self.requests.get_or_create(&Answered { method: method(record.line), status }).inc();
        self.sent.inc_by(record.sent.bytes);
        self.durations.observe(record.started.elapsed().as_secs_f64());
    }

    /// Counts a closed connection, and whether it was evicted.
    pub fn closed(&self, close: &CloseReason) {
        self.closed.get_or_create(&For { reason: close.label() }).inc();
        let reason = match close {
            CloseReason::Stalled => EVICTED_LAGGING,
            CloseReason::Evicted => EVICTED_WAITING,
            _ => return,
        };
        self.evicted.get_or_create(&For { reason }).inc();
    }

    /// Counts a connection to a port of TLS; none where it did not come to the first request.
    pub fn handshake_done(&self, handshake: Option<Handshake>) {
        let result = match handshake {
            Some(Handshake::Full) => "full",
            Some(Handshake::Resumed) => "resumed",
            None => "failed",
        };
        self.handshakes.get_or_create(&HandshakeLabels { result }).inc();
    }

    /// Counts a connection that there is no room for.
    pub fn shed(&self, why: Why) {
        let reason = if why == Why::NoThread { NO_THREAD } else { TOO_MANY };
        self.shed_connections.get_or_create(&For { reason }).inc();
    }

    /// All of it, in the text form of OpenMetrics, which Prometheus reads.
    pub fn text(&self, server: &Server) -> Result<String, fmt::Error> {
        let mut text = String::new();
        text::encode_registry(&mut text, &self.registry)?;
        text::encode_registry(&mut text, &known(server))?;
        text::encode_eof(&mut text)?;
        Ok(text)
    }
}

/// What others know.
fn known(server: &Server) -> Registry {
    let mut registry = Registry::with_prefix("serve");
    let (open, max) = (server.connections.count() as u64, server.connections.max() as u64);
    registry.register("connections_open", "Connections there are", ConstGauge::new(open));
    registry.register("connections_max", "Connections there may be", ConstGauge::new(max));
    let files = &server.site.files;
    registry.register("cache_hits", "Files that were sent from memory", ConstCounter::new(files.hits()));
    registry.register("cache_misses", "Files that were opened to be sent", ConstCounter::new(files.misses()));
    let dropped = Family::<Log, Counter>::default();
    let logs = [("access", server.access_log.dropped()), ("diagnostics", server.diagnostics.dropped())];
    for (log, lost) in logs {
        dropped.get_or_create(&Log { log }).inc_by(lost);
    }
    registry.register("log_lines_dropped", "LogWriter that an output took too slowly", dropped);
    registry
}

/// The method in a request line, as far as it is told apart.
fn method(line: &[u8]) -> &'static str {
    let word = line.split(|&byte| byte == b' ').next().unwrap_or_default();
    METHODS.into_iter().find(|method| method.as_bytes() == word).unwrap_or(OTHER)
}

impl Drop for PanicGuard<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.panics.inc();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    #[test]
    fn a_method_that_nobody_knows_is_no_label() {
        for (line, label) in [
            ("GET / HTTP/1.1", "GET"),
            ("GET /", "GET"),
            ("PATCH / HTTP/1.1", "PATCH"),
            ("get / HTTP/1.1", "other"),
            ("GETS / HTTP/1.1", "other"),
            ("\"} 1\n / HTTP/1.1", "other"),
            ("GET\t/", "other"),
            ("", "other"),
        ] {
            assert_eq!(method(line.as_bytes()), label, "{line:?}");
        }
    }

    #[test]
    fn a_connection_that_ends_by_a_fault_is_counted_as_one() {
        let metrics = Metrics::new();
        drop(metrics.connection_started());
        let fault = || {
            let _guard = metrics.connection_started();
            panic!("a fault on purpose");
        };
        assert!(catch_unwind(AssertUnwindSafe(fault)).is_err());
        assert_eq!((metrics.connections.get(), metrics.panics.get()), (2, 1));
    }
}
