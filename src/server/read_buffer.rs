//! Read buffer: bytes that have arrived and are not consumed yet.

use std::io;
use std::time::Instant;

use crate::net::Transport;

/// Size of the buffer at the first read; most heads fit in.
const INITIAL_SIZE: usize = 1024;

/// Bytes from a client, in order; at most twice the largest head.
#[derive(Debug, Default)]
pub struct ReadBuffer {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

impl ReadBuffer {
    /// The bytes that are not consumed.
    pub fn pending(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// Reads more bytes, waiting for one at least, until the deadline if there is one; 0 at the end of the stream.
    pub fn fill(&mut self, transport: &mut dyn Transport, deadline: Option<Instant>) -> io::Result<usize> {
        let count = transport.read(self.free(), deadline)?;
        self.end += count;
        Ok(count)
    }

    /// Reads more bytes without waiting; `None` where none have arrived, 0 at the end of the stream.
    pub fn try_fill(&mut self, transport: &mut dyn Transport) -> io::Result<Option<usize>> {
        let count = transport.try_read(self.free())?;
        self.end += count.unwrap_or(0);
        Ok(count)
    }

    /// The free space behind the pending bytes; it grows where there is none.
    fn free(&mut self) -> &mut [u8] {
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        if self.buffer.len() == self.end {
            self.buffer.resize((self.end * 2).max(INITIAL_SIZE), 0);
        }
        &mut self.buffer[self.end..]
    }

    /// Reports whether no read has been tried.
    pub fn is_new(&self) -> bool {
        self.buffer.is_empty()
    }

    /// Consumes this many pending bytes.
    pub fn consume(&mut self, count: usize) {
        self.start += count;
        debug_assert!(self.start <= self.end, "only pending bytes can be consumed");
    }
}
