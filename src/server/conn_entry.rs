//! The record of a connection that other threads see: its state, since when, and why it was ended from outside.

use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use crate::net::tcp::STALL_CHECK_INTERVAL;

/// Time that the client gets to read the last response and to close, once nothing more is sent.
pub const LINGER: Duration = Duration::from_secs(3);

/// A client that has not read 64 KiB of its response within this time can be evicted. The kernel takes responses in pieces of
/// nearly that, so it is more than two checks: a client that reads 256 KiB a second is never stalled.
pub const STALL_TIMEOUT: Duration = Duration::from_millis(STALL_CHECK_INTERVAL.as_millis() as u64 * 5 / 2);

/// State of a connection; the comment names the next event. The deadline follows from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum ConnState {
    /// The server produces a response.
    Active = 0,
    /// The client sends its first byte.
    New = 1,
    /// The client sends another request.
    Idle = 2,
    /// The client sends the rest of a request.
    Receiving = 3,
    /// The client reads more of the response.
    Stalled = 4,
    /// The client closes after the last response.
    Lingering = 5,
}

impl ConnState {
    const ALL: [ConnState; 6] = {
        use ConnState::{Active, Idle, Lingering, New, Receiving, Stalled};
        [Active, New, Idle, Receiving, Stalled, Lingering]
    };
}

/// Why another thread ended a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It made room for another one.
    Evicted,
    /// It was past its deadline.
    IdleTimeout,
    /// It made room for another one, in the middle of a response that its client hardly read.
    Stalled,
}

/// A connection as other threads see it.
#[derive(Debug)]
pub struct ConnEntry {
    /// The connection.
    pub stream: TcpStream,
    /// `since << 3 | state`, with the microsecond at which the state began; 0 for every active connection.
    word: AtomicU64,
    /// Why another thread ended the connection, if one did.
    ended_by: Mutex<Option<Ended>>,
}

impl ConnEntry {
    /// Creates the record of an active connection.
    pub fn new(stream: TcpStream) -> ConnEntry {
        ConnEntry { stream, word: AtomicU64::new(0), ended_by: Mutex::default() }
    }

    /// Enters a state at this microsecond.
    pub fn set_state(&self, state: ConnState, since: u64) {
        self.word.store(since << 3 | state as u64, Ordering::SeqCst);
    }

    /// The state, and the microsecond at which it began.
    pub fn state(&self) -> (ConnState, u64) {
        let word = self.word.load(Ordering::SeqCst);
        (ConnState::ALL[(word & 7) as usize], word >> 3)
    }

    /// Since when the connection has waited for its client, if it can be evicted.
    pub fn evictable_since(&self, now: u64) -> Option<u64> {
        let (state, since) = self.state();
        match (state, self.ended_by()) {
            (ConnState::Active, _) | (ConnState::Stalled, Some(Ended::Stalled)) => None,
            (ConnState::Stalled, _) => (now.saturating_sub(since) >= STALL_TIMEOUT.as_micros() as u64).then_some(since),
            (_, ended_by) => ended_by.is_none().then_some(since),
        }
    }

    /// Ends a connection that was chosen for having waited since this time: in both directions if it still stalls.
    pub fn evict(&self, since: u64) {
        if self.state() == (ConnState::Stalled, since) {
            *self.ended_by.lock() = Some(Ended::Stalled);
            let _ = self.stream.shutdown(Shutdown::Both);
        } else {
            self.end(Ended::Evicted);
        }
    }

    /// Wakes the connection's thread, which finds the end of the stream.
    pub fn end(&self, ended: Ended) {
        let mut ended_by = self.ended_by.lock();
        if ended_by.is_none() {
            *ended_by = Some(ended);
            let _ = self.stream.shutdown(Shutdown::Read);
        }
    }

    /// Why another thread ended the connection, if one did.
    pub fn ended_by(&self) -> Option<Ended> {
        *self.ended_by.lock()
    }

    /// Reports whether the connection was ended from outside and is about to close: no request had arrived before.
    pub fn is_closing(&self) -> bool {
        match (self.ended_by(), self.state().0) {
            (None, _) => false,
            (Some(Ended::Stalled), _) => true,
            (Some(_), state) => !matches!(state, ConnState::Active | ConnState::Stalled),
        }
    }
}
