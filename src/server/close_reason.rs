//! Why a connection ends.

use std::fmt;
use std::io;

use super::conn_entry::Dismissal;
use crate::proto::framing::Persistence;
use crate::proto::why::{Reject, Why};

/// Why a connection ends.
#[derive(Debug)]
pub enum CloseReason {
    /// The client ended it, between requests.
    ClientDone,
    /// The answer that was sent was the last one, by the client's wish or by its version's rule.
    LastResponse(Persistence),
    /// The client waits for a go-ahead that nobody needs (RFC 9110 §10.1.1); the answer that was sent is the final one.
    Expectation,
    /// The server is being stopped.
    ShuttingDown,
    /// What came is no request, or none that can be followed by another.
    Refused(Refused),
    /// No request came in time.
    IdleTimeout,
    /// The client took the answer too slowly.
    SlowClient,
    /// The file changed while it was sent, so the answer was broken off.
    FileChanged,
    /// The connection made room for another.
    Evicted,
    /// The file could not be read to its end.
    File(io::Error),
    /// The connection broke.
    Io(io::Error),
}

/// What came instead of a request.
#[derive(Debug)]
pub struct Refused {
    /// What is wrong with it.
    pub why: Why,
    /// The part that is at fault.
    pub received: Vec<u8>,
    /// The request line, as far as there is one.
    pub line: Vec<u8>,
}

impl CloseReason {
    /// The reason in a word, for whoever counts.
    pub fn label(&self) -> &'static str {
        match self {
            CloseReason::ClientDone => "client_done",
            CloseReason::LastResponse(_) => "last_answer",
            CloseReason::Expectation => "expectation",
            CloseReason::ShuttingDown => "stopping",
            CloseReason::Refused(_) => "refused",
            CloseReason::IdleTimeout => "idle",
            CloseReason::SlowClient => "slow_client",
            CloseReason::FileChanged => "file_changed",
            CloseReason::Evicted => "evicted",
            CloseReason::File(_) => "file",
            CloseReason::Io(_) => "io",
        }
    }

    /// Refuses what came; `line` is its first line.
    pub fn refused(reject: Reject<'_>, line: &[u8]) -> CloseReason {
        CloseReason::Refused(Refused { why: reject.why, received: reject.received.to_vec(), line: line.to_vec() })
    }
}

impl From<io::Error> for CloseReason {
    fn from(error: io::Error) -> CloseReason {
        match error.kind() {
            io::ErrorKind::TimedOut => CloseReason::SlowClient,
            // This comes only of sending from a file.
            io::ErrorKind::UnexpectedEof => CloseReason::FileChanged,
            _ => CloseReason::Io(error),
        }
    }
}

impl From<Dismissal> for CloseReason {
    fn from(dismissal: Dismissal) -> CloseReason {
        match dismissal {
            Dismissal::Evicted => CloseReason::Evicted,
            Dismissal::Overdue => CloseReason::IdleTimeout,
            Dismissal::CutOff => CloseReason::SlowClient,
        }
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CloseReason::ClientDone => f.write_str("the client ended the connection"),
            CloseReason::LastResponse(Persistence::ClosesOnRequest) => f.write_str("the client asked for it"),
            CloseReason::LastResponse(Persistence::ClosesAfterConnect) => {
                f.write_str("what follows a CONNECT is not for this server")
            }
            CloseReason::LastResponse(Persistence::ClosesToEnd) => {
                f.write_str("in HTTP/0.9 the end is how an answer ends")
            }
            CloseReason::LastResponse(_) => f.write_str("HTTP/1.0 closes after an answer, unless asked to keep alive"),
            CloseReason::Expectation => f.write_str("the client expects a go-ahead for content that is not wanted"),
            CloseReason::ShuttingDown => f.write_str("the server is stopping"),
            CloseReason::Refused(refused) => write!(f, "refused: {}", refused.why.explanation().what),
            CloseReason::IdleTimeout => f.write_str("no request came in time"),
            CloseReason::SlowClient => f.write_str("the client takes the answer too slowly"),
            CloseReason::FileChanged => f.write_str("the file changed while it was sent"),
            CloseReason::Evicted => f.write_str("all connections are taken, and this one had waited longest"),
            CloseReason::File(error) => write!(f, "the file cannot be read: {error}"),
            CloseReason::Io(error) => write!(f, "the connection broke: {error}"),
        }
    }
}
