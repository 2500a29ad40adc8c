//! Scripted client: the bytes that a client sends, and their arrival.
//!
//! The first byte of an input holds options; the rest is the client's bytes, with marks in it. A mark is a backtick
//! and an event:
//!
//! | mark | event |
//! |---|---|
//! | `` `. `` | the segment ends; the next read begins after it |
//! | `` `_ `` | the same, and the next bytes arrive only at a blocking read |
//! | `` `~ `` | silence for an hour |
//! | `` `! `` | the client resets the connection |
//! | `` `$ `` | the server begins to shut down |
//! | `` `^ `` | the connection is evicted |
//! | `` `<c `` | the client reads c² more bytes, then stalls |
//! | `` `>c `` | the client reads c² more bytes, then the connection breaks |
//! | `` `i `` `` `e `` `` `d `` | the next file cannot be sent by reference, has shrunk, or cannot be read |
//! | ` `` ` | a backtick |

use std::fs::File;
use std::io::{self, ErrorKind};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use super::fixture::TestServer;
use crate::net::Transport;
use crate::server::connections::ShutdownPhase;

/// The maximum number of bytes that a client reads.
const TAKES_MAX: usize = 1 << 20;

/// A parsed input.
#[derive(Debug, Default)]
pub struct Script {
    /// All bytes of the client.
    pub says: Vec<u8>,
    /// The events in order, each with the number of bytes before it.
    pub marks: Vec<(usize, Mark)>,
    /// Whether directories are listed.
    pub list: bool,
    /// Whether hidden names are served.
    pub hidden: bool,
    /// Whether the exchanges are logged at level trace.
    pub is_told: bool,
    /// Whether each byte arrives alone.
    pub is_bytewise: bool,
}

/// An event while the server reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    Piece,
    Late,
    Silence,
    Reset,
    Stop,
    Evict,
    Takes(usize, ErrorKind),
    Fault(ErrorKind),
}

impl Script {
    pub fn parse(bytes: &[u8]) -> Script {
        let Some((&options, mut rest)) = bytes.split_first() else { return Script::default() };
        let is = |bit: u8| options & bit != 0;
        let mut script =
            Script { list: is(1), hidden: is(2), is_told: is(8), is_bytewise: is(0x40), ..Script::default() };
        while let [byte, after @ ..] = rest {
            let (mark, after) = match rest {
                [b'`', b'.', after @ ..] => (Some(Mark::Piece), after),
                [b'`', b'_', after @ ..] => (Some(Mark::Late), after),
                [b'`', b'~', after @ ..] => (Some(Mark::Silence), after),
                [b'`', b'!', after @ ..] => (Some(Mark::Reset), after),
                [b'`', b'$', after @ ..] => (Some(Mark::Stop), after),
                [b'`', b'^', after @ ..] => (Some(Mark::Evict), after),
                [b'`', b'<', count, after @ ..] => (Some(takes(*count, ErrorKind::TimedOut)), after),
                [b'`', b'>', count, after @ ..] => (Some(takes(*count, ErrorKind::BrokenPipe)), after),
                [b'`', b'i', after @ ..] => (Some(Mark::Fault(ErrorKind::InvalidInput)), after),
                [b'`', b'e', after @ ..] => (Some(Mark::Fault(ErrorKind::UnexpectedEof)), after),
                [b'`', b'd', after @ ..] => (Some(Mark::Fault(ErrorKind::InvalidData)), after),
                [b'`', b'`', after @ ..] => {
                    script.says.push(b'`');
                    (None, after)
                }
                _ => {
                    script.says.push(*byte);
                    (None, after)
                }
            };
            script.marks.extend(mark.map(|mark| (script.says.len(), mark)));
            rest = after;
        }
        script
    }

    /// Reports whether the server begins to shut down.
    pub fn stops(&self) -> bool {
        self.marks.iter().any(|(_, mark)| *mark == Mark::Stop)
    }
}

fn takes(count: u8, kind: ErrorKind) -> Mark {
    Mark::Takes(usize::from(count).pow(2), kind)
}

/// The bytes that a client received, and the end of its connection.
#[derive(Debug, Default)]
pub struct Heard {
    pub bytes: Vec<u8>,
    /// Whether some bytes were not read or not sent.
    pub is_broken: bool,
    /// Whether the client reset the connection.
    pub is_reset: bool,
    pub end: End,
}

/// The server's way to close the connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum End {
    #[default]
    Open,
    Close,
    Linger,
    Abort,
}

/// The client's side of the connection.
pub struct Client<'s> {
    pub heard: Heard,
    script: &'s Script,
    served: &'s TestServer,
    /// Number of bytes that have arrived.
    at: usize,
    /// Number of marks that have taken effect.
    passed: usize,
    is_evicted: bool,
    is_stopping: bool,
    takes: (usize, ErrorKind),
    fault: Option<ErrorKind>,
    /// Whether sent bytes are held back until more are sent.
    is_held_back: bool,
}

/// The outcome of a read.
enum Found {
    Bytes,
    Nothing,
    End,
}

impl<'s> Client<'s> {
    pub fn new(script: &'s Script, served: &'s TestServer) -> Client<'s> {
        Client {
            heard: Heard::default(),
            script,
            served,
            at: 0,
            passed: 0,
            is_evicted: false,
            is_stopping: false,
            takes: (TAKES_MAX, ErrorKind::BrokenPipe),
            fault: None,
            is_held_back: false,
        }
    }

    /// Applies the marks at this point. `until` is none for a non-blocking read.
    fn pass(&mut self, until: Option<Option<Instant>>) -> io::Result<Found> {
        while let Some((_, mark)) = self.script.marks.get(self.passed).filter(|(at, _)| *at == self.at) {
            let is_ended = self.is_evicted || (self.is_stopping && until == Some(None));
            match (mark, until) {
                (Mark::Late | Mark::Silence, None) => return Ok(Found::Nothing),
                (Mark::Late | Mark::Silence, Some(_)) if is_ended => return Ok(Found::End),
                (Mark::Silence, Some(Some(_))) => return Err(ErrorKind::TimedOut.into()),
                (Mark::Silence, Some(None)) => {
                    self.served.expire();
                    self.is_evicted = true;
                    return Ok(Found::End);
                }
                (Mark::Reset, _) => {
                    self.heard.is_reset = true;
                    return Err(ErrorKind::ConnectionReset.into());
                }
                (Mark::Stop, _) => {
                    self.served.server.connections.end_idle(ShutdownPhase::NotAccepting, Duration::from_millis(500));
                    self.is_stopping = true;
                }
                (Mark::Evict, _) => {
                    self.served.server.connections.evict_one();
                    self.is_evicted = true;
                }
                (Mark::Takes(count, kind), _) => self.takes = (*count, *kind),
                (Mark::Fault(kind), _) => self.fault = Some(*kind),
                (Mark::Late, Some(_)) | (Mark::Piece, _) => {}
            }
            self.passed += 1;
        }
        Ok(if self.at < self.script.says.len() { Found::Bytes } else { Found::End })
    }

    fn take_bytes(&mut self, into: &mut [u8]) -> usize {
        assert!(!into.is_empty(), "a read with an empty buffer");
        let end = self.script.marks.get(self.passed).map_or(self.script.says.len(), |(at, _)| *at);
        let most = if self.script.is_bytewise { 1 } else { into.len() };
        let count = most.min(end - self.at);
        into[..count].copy_from_slice(&self.script.says[self.at..self.at + count]);
        self.at += count;
        count
    }

    /// Reads the sent bytes, up to the maximum.
    fn hear(&mut self, bytes: &[u8]) -> io::Result<()> {
        assert_eq!(self.heard.end, End::Open, "bytes are sent after the close");
        assert!(!self.heard.is_broken, "bytes are sent on a broken connection");
        let count = if self.heard.is_reset { 0 } else { bytes.len().min(self.takes.0) };
        self.takes.0 -= count;
        self.heard.bytes.extend_from_slice(&bytes[..count]);
        self.heard.is_broken = count < bytes.len();
        if self.heard.is_broken { Err(self.takes.1.into()) } else { Ok(()) }
    }
}

impl Transport for Client<'_> {
    fn read(&mut self, into: &mut [u8], until: Option<Instant>) -> io::Result<usize> {
        assert!(!self.is_held_back, "bytes are held back during a blocking read");
        assert!(!self.heard.is_broken && self.heard.end == End::Open, "a blocking read after the end");
        match self.pass(Some(until))? {
            Found::Bytes => Ok(self.take_bytes(into)),
            Found::Nothing | Found::End => Ok(0),
        }
    }

    fn try_read(&mut self, into: &mut [u8]) -> io::Result<Option<usize>> {
        match self.pass(None)? {
            Found::Bytes => Ok(Some(self.take_bytes(into))),
            Found::Nothing => Ok(None),
            Found::End => Ok(Some(0)),
        }
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.is_held_back = false;
        self.hear(bytes)
    }

    fn send_more(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.is_held_back |= !bytes.is_empty();
        self.hear(bytes)
    }

    fn send_file(&mut self, file: &File, span: &mut Range<u64>) -> io::Result<()> {
        self.is_held_back = false;
        let fault = self.fault.take();
        let whole = (span.end - span.start) as usize;
        let mut bytes = vec![0; if fault.is_some() { whole / 2 } else { whole }];
        file.read_exact_at(&mut bytes, span.start)?;
        self.hear(&bytes)?;
        span.start += bytes.len() as u64;
        match fault {
            Some(kind) => {
                self.heard.is_broken = kind == ErrorKind::UnexpectedEof;
                Err(kind.into())
            }
            None => Ok(()),
        }
    }

    fn send_last(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.send(bytes)?;
        self.heard.end = End::Close;
        Ok(())
    }

    fn linger(&mut self) {
        assert!(!self.heard.is_broken, "a lingering close after an incomplete response");
        assert_eq!(self.heard.end, End::Close, "the connection is closed twice");
        self.heard.end = End::Linger;
    }

    fn abort(&mut self) {
        assert_eq!(self.heard.end, End::Open, "the connection is closed twice");
        self.heard.end = End::Abort;
    }
}
