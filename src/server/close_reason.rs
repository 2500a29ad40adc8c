//! Close reason: why a connection ends.

use std::fmt;
use std::io;

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

/// Success, or the reason to close.
pub type Outcome = Result<(), CloseReason>;

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
            // Sent from a file that is shorter now.
            io::ErrorKind::UnexpectedEof => CloseReason::FileChanged,
            _ => CloseReason::Io(error),
        }
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::ClientClosed => "the client closed the connection",
            Self::LastResponse(Persistence::ClosesOnRequest) => "the client requested it",
            Self::LastResponse(Persistence::ClosesAfterConnect) => "bytes after a CONNECT are not for this server",
            Self::LastResponse(Persistence::ClosesToEnd) => "an HTTP/0.9 response ends with its connection",
            Self::LastResponse(_) => "HTTP/1.0 closes after a response, unless keep-alive is requested",
            Self::Expectation => "the client waits to send content that is not read",
            Self::ShuttingDown => "the server is shutting down",
            Self::IdleTimeout => "no request arrived in time",
            Self::SlowClient => "the client reads the response too slowly",
            Self::Stalled => "evicted: the connection table is full, and the client hardly reads",
            Self::FileChanged => "the file changed while it was sent",
            Self::Evicted => "evicted: the connection table is full, and this one had waited longest",
            Self::Refused(refused) => return write!(f, "refused: {}", refused.why.explanation().what),
            Self::File(error) => return write!(f, "the file cannot be read: {error}"),
            Self::Io(error) => return write!(f, "the connection failed: {error}"),
        };
        f.write_str(text)
    }
}
