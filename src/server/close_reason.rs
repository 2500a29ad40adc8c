//! Close reason: why a connection ends.

use std::fmt;
use std::io;

use super::conn_entry::Ended;
use crate::proto::framing::Persistence;
use crate::proto::why::{Reject, Why};

/// Why a connection ends.
#[derive(Debug)]
pub enum CloseReason {
    /// The client closed it between requests.
    ClientClosed,
    /// The response was the last one by the rules of its request (RFC 9112 §9.3).
    LastResponse(Persistence),
    /// The client waits for a 100 (Continue) that is not sent, so its content may follow or not (RFC 9110 §10.1.1).
    Expectation,
    /// The server shuts down.
    ShuttingDown,
    /// The bytes received are no request, or none that another can follow.
    Refused(Refused),
    /// No request arrived in time.
    IdleTimeout,
    /// The client read the response too slowly.
    SlowClient,
    /// The client hardly read the response while the connection table was full.
    Stalled,
    /// The file changed while it was sent, so the response was aborted.
    FileChanged,
    /// The connection made room for another one.
    Evicted,
    /// The file could not be read to its end.
    File(io::Error),
    /// The connection failed.
    Io(io::Error),
}

/// A rejected request.
#[derive(Debug)]
pub struct Refused {
    /// The rule that it breaks.
    pub why: Why,
    /// The part at fault.
    pub received: Vec<u8>,
    /// The request line, as far as there is one.
    pub line: Vec<u8>,
}

impl CloseReason {
    /// The label of the reason in metrics.
    pub fn label(&self) -> &'static str {
        match self {
            CloseReason::ClientClosed => "client_done",
            CloseReason::LastResponse(_) => "last_answer",
            CloseReason::Expectation => "expectation",
            CloseReason::ShuttingDown => "stopping",
            CloseReason::Refused(_) => "refused",
            CloseReason::IdleTimeout => "idle",
            CloseReason::SlowClient | CloseReason::Stalled => "slow_client",
            CloseReason::FileChanged => "file_changed",
            CloseReason::Evicted => "evicted",
            CloseReason::File(_) => "file",
            CloseReason::Io(_) => "io",
        }
    }

    /// Rejects what was received; `line` is its first line.
    pub fn refused(reject: Reject<'_>, line: &[u8]) -> CloseReason {
        CloseReason::Refused(Refused { why: reject.why, received: reject.received.to_vec(), line: line.to_vec() })
    }

    /// An error from reading a file.
    pub fn from_file(error: io::Error) -> CloseReason {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => CloseReason::FileChanged,
            _ => CloseReason::File(error),
        }
    }
}

impl From<io::Error> for CloseReason {
    /// An error from the transport.
    fn from(error: io::Error) -> CloseReason {
        match error.kind() {
            io::ErrorKind::TimedOut => CloseReason::SlowClient,
            // Only sending from a file that became shorter ends so.
            io::ErrorKind::UnexpectedEof => CloseReason::FileChanged,
            _ => CloseReason::Io(error),
        }
    }
}

impl From<Ended> for CloseReason {
    fn from(ended: Ended) -> CloseReason {
        match ended {
            Ended::Evicted => CloseReason::Evicted,
            Ended::IdleTimeout => CloseReason::IdleTimeout,
            Ended::Stalled => CloseReason::Stalled,
        }
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CloseReason::ClientClosed => f.write_str("the client closed the connection"),
            CloseReason::LastResponse(Persistence::ClosesOnRequest) => f.write_str("the client requested it"),
            CloseReason::LastResponse(Persistence::ClosesAfterConnect) => {
                f.write_str("bytes after a CONNECT are not for this server")
            }
            CloseReason::LastResponse(Persistence::ClosesToEnd) => {
                f.write_str("an HTTP/0.9 response ends with its connection")
            }
            CloseReason::LastResponse(_) => {
                f.write_str("HTTP/1.0 closes after a response, unless keep-alive is requested")
            }
            CloseReason::Expectation => f.write_str("the client waits to send content that is not read"),
            CloseReason::ShuttingDown => f.write_str("the server is shutting down"),
            CloseReason::Refused(refused) => write!(f, "refused: {}", refused.why.explanation().what),
            CloseReason::IdleTimeout => f.write_str("no request arrived in time"),
            CloseReason::SlowClient => f.write_str("the client reads the response too slowly"),
            CloseReason::Stalled => f.write_str("evicted: the connection table is full, and the client hardly reads"),
            CloseReason::FileChanged => f.write_str("the file changed while it was sent"),
            CloseReason::Evicted => {
                f.write_str("evicted: the connection table is full, and this one had waited longest")
            }
            CloseReason::File(error) => write!(f, "the file cannot be read: {error}"),
            CloseReason::Io(error) => write!(f, "the connection failed: {error}"),
        }
    }
}
