//! Why a connection ends.

use std::fmt;
use std::io;

use super::conn_entry::Dismissal;
use crate::proto::framing::Persistence;
use crate::proto::why::{Reject, Why};

/// Why a connection ends.
#[derive(Debug)]
pub enum Close {
    /// The client ended it, between requests.
    ClientDone,
    /// The answer that was sent was the last one, by the client's wish or by its version's rule.
    LastAnswer(Persistence),
    /// The client waits for a go-ahead that nobody needs (RFC 9110 §10.1.1); the answer that was sent is the final one.
    Expectation,
    /// The server is being stopped.
    Stopping,
    /// What came is no request, or none that can be followed by another.
    Refused(Refused),
    /// No request came in time.
    Idle,
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

impl Close {
    /// The reason in a word, for whoever counts.
    pub fn word(&self) -> &'static str {
        match self {
            Close::ClientDone => "client_done",
            Close::LastAnswer(_) => "last_answer",
            Close::Expectation => "expectation",
            Close::Stopping => "stopping",
            Close::Refused(_) => "refused",
            Close::Idle => "idle",
            Close::SlowClient => "slow_client",
            Close::FileChanged => "file_changed",
            Close::Evicted => "evicted",
            Close::File(_) => "file",
            Close::Io(_) => "io",
        }
    }

    /// Refuses what came; `line` is its first line.
    pub fn refused(reject: Reject<'_>, line: &[u8]) -> Close {
        Close::Refused(Refused { why: reject.why, received: reject.received.to_vec(), line: line.to_vec() })
    }
}

impl From<io::Error> for Close {
    fn from(error: io::Error) -> Close {
        match error.kind() {
            io::ErrorKind::TimedOut => Close::SlowClient,
            // This comes only of sending from a file.
            io::ErrorKind::UnexpectedEof => Close::FileChanged,
            _ => Close::Io(error),
        }
    }
}

impl From<Dismissal> for Close {
    fn from(dismissal: Dismissal) -> Close {
        match dismissal {
            Dismissal::Evicted => Close::Evicted,
            Dismissal::Overdue => Close::Idle,
            Dismissal::CutOff => Close::SlowClient,
        }
    }
}

impl fmt::Display for Close {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Close::ClientDone => f.write_str("the client ended the connection"),
            Close::LastAnswer(Persistence::ClosesOnRequest) => f.write_str("the client asked for it"),
            Close::LastAnswer(Persistence::ClosesAfterConnect) => {
                f.write_str("what follows a CONNECT is not for this server")
            }
            Close::LastAnswer(Persistence::ClosesToEnd) => f.write_str("in HTTP/0.9 the end is how an answer ends"),
            Close::LastAnswer(_) => f.write_str("HTTP/1.0 closes after an answer, unless asked to keep alive"),
            Close::Expectation => f.write_str("the client expects a go-ahead for content that is not wanted"),
            Close::Stopping => f.write_str("the server is stopping"),
            Close::Refused(refused) => write!(f, "refused: {}", refused.why.explanation().what),
            Close::Idle => f.write_str("no request came in time"),
            Close::SlowClient => f.write_str("the client takes the answer too slowly"),
            Close::FileChanged => f.write_str("the file changed while it was sent"),
            Close::Evicted => f.write_str("all connections are taken, and this one had waited longest"),
            Close::File(error) => write!(f, "the file cannot be read: {error}"),
            Close::Io(error) => write!(f, "the connection broke: {error}"),
        }
    }
}
