//! Bytes that have arrived and have not been used yet.

use crate::net::Transport;
use std::io;
use std::time::Instant;

/// The room for the first read. Most heads fit in; a connection keeps the room that its largest head took.
const ROOM: usize = 1024;

/// Bytes from a client, in order. It holds no more than twice a head.
#[derive(Debug, Default)]
pub struct ReadBuffer {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

impl ReadBuffer {
    /// The bytes that have not been used.
    pub fn pending(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// Reads more bytes, waiting for one at least, but not longer than until this moment where there is one; 0 when the
    /// client sends no more.
    pub fn fill(&mut self, transport: &mut dyn Transport, until: Option<Instant>) -> io::Result<usize> {
        let count = transport.read(self.room(), until)?;
        self.end += count;
        Ok(count)
    }

    /// Reads what has arrived; none where nothing has, and 0 when the client sends no more.
    pub fn try_fill(&mut self, transport: &mut dyn Transport) -> io::Result<Option<usize>> {
        let count = transport.try_read(self.room())?;
        self.end += count.unwrap_or(0);
        Ok(count)
    }

    /// Makes room for more bytes behind those that are pending.
    fn room(&mut self) -> &mut [u8] {
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        if self.buffer.len() == self.end {
            self.buffer.resize((self.end * 2).max(ROOM), 0);
        }
        &mut self.buffer[self.end..]
    }

    /// Reports whether nobody has tried to read yet.
    pub fn is_new(&self) -> bool {
        self.buffer.is_empty()
    }

    /// Uses up so many bytes.
    pub fn consume(&mut self, count: usize) {
        self.start += count;
        debug_assert!(self.start <= self.end, "only what is pending can be used");
    }
}
