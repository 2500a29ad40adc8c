//! Byte streams with limits of time. No HTTP here, and no log but for the listener's.

pub mod listener;
pub mod rlimits;
pub mod scheduling;
pub mod socket_activation;
pub mod tcp;
pub mod tls;
pub mod trusted_proxies;

use std::fs::File;
use std::io;
use std::ops::Range;
use std::time::{Duration, Instant};

/// Who is told how a client takes what it is sent, and knows how many others there are.
pub trait Onlooker: Sync {
    /// The client does not take everything at once; the time for its next 64 KiB begins now.
    fn client_lags(&self);

    /// The client has taken everything.
    fn client_caught_up(&self);

    /// Reports whether there are few connections, so that much may wait in the system for each.
    fn sees_few(&self) -> bool;
}

/// A connection to a client, as a stream of bytes in each direction.
///
/// Whoever else holds the connection can end its reading half; then reading finds the end of the stream. An error of kind
/// `TimedOut` says that the client was too slow.
pub trait Transport: Send {
    /// Sets how long the client may take for each 64 KiB that are sent, or for what is left when that is less.
    fn set_send_pace(&mut self, pace: Duration);

    /// Reads what has arrived, waiting for one byte at least, but not longer than until this moment where there is one;
    /// 0 at the end of the stream.
    fn read(&mut self, into: &mut [u8], until: Option<Instant>) -> io::Result<usize>;

    /// Reads what has arrived without waiting; none where nothing has, and 0 at the end of the stream.
    fn try_read(&mut self, into: &mut [u8]) -> io::Result<Option<usize>>;

    /// Sends all the bytes.
    fn send(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Sends all the bytes, holding back a last incomplete segment because more follows at once.
    fn send_more(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Sends a part of a file; the span shrinks by what is sent. `UnexpectedEof` says that the file is shorter now; whether
    /// most other errors are the file's or the connection's, only reading and sending tells.
    fn send_file(&mut self, file: &File, span: &mut Range<u64>) -> io::Result<()>;

    /// Sends all the bytes, none perhaps, and with the last of them that nothing more comes.
    fn send_last(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Reports whether a client that sends no more has words for that, which are still to come when all else has (RFC 8446
    /// §6.1).
    fn has_last_words(&self) -> bool;

    /// Reads on after [`Transport::send_last`], so that what the client still sends does not make the system throw away an
    /// answer that the client has not read yet (RFC 9112 §9.6).
    fn linger(&mut self);

    /// Ends the connection so that the client cannot take what it got for a whole answer.
    fn abort(&mut self);
}
