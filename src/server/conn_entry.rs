//! What can be seen and done of a connection from outside its thread: since when it waits for its client and for what,
//! and how it is ended. Who is ended, and when, is the business of [`super::seats`].
//!
//! Times are microseconds from the epoch of all seats.

use std::net::{IpAddr, Shutdown, TcpStream};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use crate::net::tcp::LOOK;

/// A time that does not come.
pub const NEVER: u64 = u64::MAX;

/// A client that has not taken the next 64 KiB of its answer for so long lags far enough to make room where nobody else
/// can. The system takes answers in pieces of nearly that, so it is more than two looks: whoever takes 256 KiB a second does
/// not lag, though it may be seen only in every second look.
pub const STALL_TIMEOUT: Duration = Duration::from_millis(LOOK.as_millis() as u64 * 5 / 2);

/// One connection, as others see it.
#[derive(Debug)]
pub struct ConnEntry {
    /// The connection.
    pub stream: TcpStream,
    /// Where its client is, as far as it counts for the limit per address; of a proxy's connection that is not known yet,
    /// or never. It is set and asked under the lock.
    pub network: OnceLock<IpAddr>,
    /// 0 while a request is being answered. Otherwise the connection waits for its client, and this is since when and
    /// for what: a [`Waiting`].
    waiting: AtomicU64,
    /// Until when the house lets it wait.
    until: AtomicU64,
    /// Why it was told to end: a [`Dismissal`], or 0.
    dismissal: AtomicU8,
}

/// Why a connection was told to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Dismissal {
    /// To make room for another.
    Evicted = 1,
    /// Because its time is up.
    Overdue = 2,
    /// To make room for another, in the middle of an answer that was hardly taken.
    CutOff = 3,
}

/// What a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum For {
    /// A request.
    Request = 0,
    /// The rest of one, or the client's end.
    Rest = 1,
    /// The client to take more of an answer.
    Taking = 2,
}

/// Since when a connection waits for its client, and for what.
#[derive(Clone, Copy, Debug)]
pub struct Waiting {
    /// Since when.
    pub since: u64,
    /// For what.
    pub what: For,
}

impl Waiting {
    fn stored(self) -> u64 {
        (self.since + 1) << 2 | self.what as u64
    }

    fn read(stored: u64) -> Option<Waiting> {
        let what = [For::Request, For::Rest, For::Taking].into_iter().find(|what| *what as u64 == stored & 3)?;
        Some(Waiting { since: (stored >> 2).checked_sub(1)?, what })
    }
}

impl ConnEntry {
    /// A connection that does not wait for its client.
    pub fn new(stream: TcpStream, network: OnceLock<IpAddr>) -> ConnEntry {
        let (waiting, until) = (AtomicU64::new(0), AtomicU64::new(NEVER));
        ConnEntry { stream, network, waiting, until, dismissal: AtomicU8::new(0) }
    }

    /// Says since when it waits and for what, and until when the house lets it.
    pub fn wait(&self, waiting: Waiting, until: u64) {
        self.until.store(until, Ordering::Relaxed);
        self.waiting.store(waiting.stored(), Ordering::Release);
    }

    /// Says that it does not wait any more.
    pub fn answer(&self) {
        self.waiting.store(0, Ordering::Relaxed);
    }

    /// Since when it waits for its client, and for what, if it does.
    pub fn waiting(&self) -> Option<Waiting> {
        Waiting::read(self.waiting.load(Ordering::SeqCst))
    }

    /// Until when the house lets it wait, if it waits and that is the house's business.
    pub fn until(&self) -> Option<u64> {
        let is_waiting = self.waiting.load(Ordering::Acquire) != 0;
        is_waiting.then(|| self.until.load(Ordering::Relaxed)).filter(|until| *until != NEVER)
    }

    /// Since when it has waited, and for what: the connection that has waited longest makes room. None where it does not.
    pub fn evictable_since(&self, now: u64) -> Option<Waiting> {
        let waiting = self.waiting()?;
        match (waiting.what, self.dismissal()) {
            (For::Request | For::Rest, None) => Some(waiting),
            (For::Request | For::Rest, Some(_)) | (For::Taking, Some(Dismissal::CutOff)) => None,
            (For::Taking, _) if now.saturating_sub(waiting.since) < STALL_TIMEOUT.as_micros() as u64 => None,
            (For::Taking, _) => Some(waiting),
        }
    }

    /// Ends the connection that was chosen because it waited for this, whatever it waits for by now.
    pub fn evict(&self, what: For) {
        if what == For::Taking {
            self.dismissal.store(Dismissal::CutOff as u8, Ordering::SeqCst);
            let _ = self.stream.shutdown(Shutdown::Both);
        } else {
            self.dismiss(Dismissal::Evicted);
        }
    }

    /// Makes the connection's thread wake up and find that there is nothing more to read.
    pub fn dismiss(&self, why: Dismissal) {
        if self.dismissal.compare_exchange(0, why as u8, Ordering::SeqCst, Ordering::SeqCst).is_ok() {
            let _ = self.stream.shutdown(Shutdown::Read);
        }
    }

    /// Why it was told to end, if it was.
    pub fn dismissal(&self) -> Option<Dismissal> {
        let said = self.dismissal.load(Ordering::SeqCst);
        [Dismissal::Evicted, Dismissal::Overdue, Dismissal::CutOff].into_iter().find(|why| *why as u8 == said)
    }

    /// Reports whether this one, which was told to make room, is about to. It is not where a request had arrived before.
    pub fn is_closing(&self) -> bool {
        match self.waiting().map(|waiting| waiting.what) {
            Some(For::Request | For::Rest) => true,
            Some(For::Taking) | None => self.dismissal() == Some(Dismissal::CutOff),
        }
    }
}
