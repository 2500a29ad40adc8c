//! A connection over plain TCP, blocking.
//!
//! Reading and sending call the kernel directly, past the C library's cancellation points.

use std::fs::File;
use std::io::{self, ErrorKind, IoSlice};
use std::net::{Shutdown, TcpStream};
use std::ops::Range;
use std::time::{Duration, Instant};

use rustix::fs::sendfile;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags, recv, send, sendmsg, sockopt};

use super::{Onlooker, Transport};

/// What the client has to take within each period of its pace.
const PACE_BYTES: u64 = 64 * 1024;

/// The most that one system call is asked to send of a file.
const SENDFILE_MAX: u64 = 256 * 1024;

/// How long a send waits for the client at most until it comes back, so that it is soon known who lags. A system call that
/// sends a file can wait so long once for each 64 KiB.
const LOOK: Duration = Duration::from_millis(250);

/// The steps in which read timeouts are set, so that nearly equal ones are equal.
const STEP: Duration = Duration::from_millis(100);

/// How much we go on reading after our last answer.
const LINGER_BYTES: usize = 64 * 1024 * 1024;

/// A TCP connection. Others may hold the stream too, to end it from outside.
pub struct Tcp<'s> {
    stream: &'s TcpStream,
    onlooker: &'s dyn Onlooker,
    /// What the socket's option is set to; zero is no limit.
    read_timeout: Duration,
    send_is_armed: bool,
    pace: Duration,
    /// Since when and how much the client has taken in this period, once it did not take everything at once.
    stalled: Option<(Instant, u64)>,
}

impl<'s> Tcp<'s> {
    /// Takes a connection over.
    pub fn new(stream: &'s TcpStream, onlooker: &'s dyn Onlooker) -> Tcp<'s> {
        let [read_timeout, pace] = [Duration::ZERO; 2];
        Tcp { stream, onlooker, read_timeout, send_is_armed: false, pace, stalled: None }
    }

    /// Makes the next read end at this moment. Between requests there is none, and nothing has to be set.
    fn arm_read(&mut self, until: Option<Instant>) -> io::Result<()> {
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        if left.is_some_and(|left| left.is_zero()) {
            return Err(ErrorKind::TimedOut.into());
        }
        let steps = left.map_or(0, |left| left.as_nanos().div_ceil(STEP.as_nanos()));
        let timeout = STEP * u32::try_from(steps).unwrap_or(u32::MAX);
        if timeout != self.read_timeout {
            self.stream.set_read_timeout(left.map(|_| timeout))?;
            self.read_timeout = timeout;
        }
        Ok(())
    }

    /// Makes a send that waits for the client come back in time.
    fn arm_send(&mut self) -> io::Result<()> {
        if !self.send_is_armed {
            self.stream.set_write_timeout(Some(LOOK))?;
            self.send_is_armed = true;
        }
        Ok(())
    }

    fn send_flagged(&mut self, mut bytes: &[u8], flags: SendFlags) -> io::Result<()> {
        while !bytes.is_empty() {
            let flags = flags | self.waits()?;
            let sent = send(self.stream, bytes, flags);
            let sent = self.progress(sent, bytes.len())?;
            bytes = &bytes[sent..];
        }
        self.all_is_sent();
        Ok(())
    }

    /// How a send is to wait. Most answers fit into the socket's buffer; only one that does not needs a time limit.
    fn waits(&mut self) -> io::Result<SendFlags> {
        if self.stalled.is_none() {
            return Ok(SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
        }
        self.arm_send()?;
        Ok(SendFlags::NOSIGNAL)
    }

    /// Sends some of these bytes, and says how many; where more follows at once, a last incomplete segment is held back.
    /// When it was the last, it is to be told by [`Tcp::all_is_sent`].
    pub fn send_some(&mut self, slices: &[IoSlice<'_>], more_follows: bool) -> io::Result<usize> {
        let more = if more_follows { SendFlags::MORE } else { SendFlags::empty() };
        let flags = more | self.waits()?;
        let sent = match slices {
            [bytes] => send(self.stream, bytes, flags),
            _ => sendmsg(self.stream, slices, &mut SendAncillaryBuffer::default(), flags),
        };
        self.progress(sent, slices.iter().map(|bytes| bytes.len()).sum())
    }

    /// Judges a call that sent something: the error, or the number of bytes where the client is fast enough.
    fn progress(&mut self, sent: Result<usize, Errno>, wanted: usize) -> io::Result<usize> {
        let sent = match sent {
            Ok(sent) => sent,
            // The socket's own timeout has passed without any progress; or a signal came.
            Err(Errno::AGAIN | Errno::INTR) => 0,
            Err(error) => return Err(error.into()),
        };
        if sent < wanted || self.stalled.is_some() {
            self.check_pace(sent as u64)?;
        }
        Ok(sent)
    }

    /// Counts what the client takes in a period that begins when it first does not take everything at once.
    fn check_pace(&mut self, sent: u64) -> io::Result<()> {
        let now = Instant::now();
        let (since, taken) = self.stalled.unwrap_or((now, 0));
        let taken = taken + sent;
        if taken < PACE_BYTES && now - since >= self.pace {
            return Err(ErrorKind::TimedOut.into());
        }
        if taken >= PACE_BYTES || self.stalled.is_none() {
            self.onlooker.client_lags();
        }
        self.stalled = Some(if taken >= PACE_BYTES { (now, 0) } else { (since, taken) });
        Ok(())
    }

    /// Takes note that the client has taken everything.
    pub fn all_is_sent(&mut self) {
        if self.stalled.take().is_some() {
            self.onlooker.client_caught_up();
        }
    }
}

impl Tcp<'_> {
    /// Looks at what has arrived and leaves it to be read, waiting for one byte at least; 0 at the end of the stream.
    pub fn peek(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.receive(into, None, RecvFlags::PEEK)
    }

    fn receive(&mut self, into: &mut [u8], until: Option<Instant>, flags: RecvFlags) -> io::Result<usize> {
        loop {
            self.arm_read(until)?;
            // To read from a descriptor of any kind costs a little more: 19.3 µs of processor time a request with 1000
            // connections instead of 17.8.
            match recv(self.stream, &mut *into, flags) {
                Ok((count, _)) => return Ok(count),
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl Transport for Tcp<'_> {
    fn set_send_pace(&mut self, pace: Duration) {
        self.pace = pace;
    }

    fn read(&mut self, into: &mut [u8], until: Option<Instant>) -> io::Result<usize> {
        self.receive(into, until, RecvFlags::empty())
    }

    fn try_read(&mut self, into: &mut [u8]) -> io::Result<Option<usize>> {
        match recv(self.stream, into, RecvFlags::DONTWAIT) {
            Ok((count, _)) => Ok(Some(count)),
            Err(Errno::AGAIN | Errno::INTR) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.send_flagged(bytes, SendFlags::empty())
    }

    fn send_more(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.send_flagged(bytes, SendFlags::MORE)
    }

    fn send_file(&mut self, file: &File, span: &mut Range<u64>) -> io::Result<()> {
        self.arm_send()?;
        while span.start < span.end {
            // Of a client that lags it has to be known when it has taken as much as it must.
            let most = if self.stalled.is_some() { PACE_BYTES } else { SENDFILE_MAX };
            let wanted = (span.end - span.start).min(most) as usize;
            let sent = sendfile(self.stream, file, Some(&mut span.start), wanted);
            if sent == Ok(0) {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            self.progress(sent, wanted)?;
        }
        self.all_is_sent();
        Ok(())
    }

    fn finish(&mut self) {}

    fn linger(&mut self) {
        if self.stream.shutdown(Shutdown::Write).is_err() {
            return;
        }
        let mut unwanted = [0; 4096];
        let mut total = 0;
        while let Ok(count @ 1..) = self.read(&mut unwanted, None) {
            total += count;
            if total > LINGER_BYTES {
                break;
            }
        }
    }

    fn abort(&mut self) {
        // Closing then sends a reset, not an orderly end, which to HTTP/0.9 would mean that the answer is whole.
        let _ = sockopt::set_socket_linger(self.stream, Some(Duration::ZERO));
        let _ = self.stream.shutdown(Shutdown::Read);
    }
}
