//! Sockets: listeners, and TCP and TLS streams with timeouts; limits and scheduling of the process. No HTTP here, and no log
//! except the listener's. The files are listed from low to high: each imports only from those above it.

pub mod scheduling;
pub mod rlimits;
pub mod trusted_proxies;
pub mod tcp;
pub mod tls;
pub mod listener;
pub mod socket_activation;

use std::fs::File;
use std::io;
use std::ops::Range;
use std::time::Instant;

/// Observer of how a client reads what is sent to it.
pub trait SendObserver: Sync {
    /// The client does not read everything at once; its timeout for the next 64 KiB begins anew.
    fn stalled(&self);

    /// The client has read everything.
    fn resumed(&self);
}

/// A connection to a client: a stream of bytes in each direction.
///
/// Another thread can shut down its reading half; reading then finds the end of the stream. An error of kind `TimedOut` means
/// that the client was too slow.
pub trait Transport: Send {
    /// Reads bytes, waiting for one at least, until the deadline if there is one; 0 at the end of the stream.
    fn read(&mut self, into: &mut [u8], deadline: Option<Instant>) -> io::Result<usize>;

    /// Reads bytes without waiting; `None` where none have arrived, 0 at the end of the stream.
    fn try_read(&mut self, into: &mut [u8]) -> io::Result<Option<usize>>;

    /// Sends all the bytes.
    fn send(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Sends all the bytes; more follows at once, so a last incomplete segment is held back (MSG_MORE).
    fn send_more(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Sends a part of a file; `span` shrinks by what is sent. `UnexpectedEof` means that the file is shorter now. Most other
    /// errors can be the file's or the connection's; reading and then sending tells which.
    fn send_file(&mut self, file: &File, span: &mut Range<u64>) -> io::Result<()>;

    /// Sends all the bytes, if any, and the end of the stream with the last of them.
    fn send_last(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Reports whether a client that sends no more requests may still send its close_notify (RFC 8446 §6.1).
    fn may_send_close_notify(&self) -> bool {
        false
    }

    /// Reads and discards after [`Transport::send_last`], because unread input makes the kernel discard a response that the
    /// client has not read yet (RFC 9112 §9.6).
    fn linger(&mut self);

    /// Closes the connection such that the client cannot take what it got for a complete response.
    fn abort(&mut self);
}
