//! From an answer as a value to bytes on a connection.
//!
//! Nothing is decided here but how the bytes travel. An answer in memory waits in the outbox until the next request has
//! to be waited for, so that the answers to pipelined requests leave together. What comes from a file leaves at once,
//! and its last bytes only after a look at whether the file still is the one that was promised.

use std::io::{ErrorKind, Write};
use std::ops::Range;

use super::close_reason::CloseReason;
use super::connections::ConnHandle;
use super::trace;
use crate::files::file::OpenFile;
use crate::net::Transport;
use crate::proto::accept::Coding;
use crate::proto::date::Stamp;
use crate::proto::framing::Persistence;
use crate::proto::request::{Head, Version};
use crate::site::compress::{Effort, Encoder};
use crate::site::response::{Body, Response};

/// Up to so many bytes of answers wait to leave together.
const COALESCE_MAX: usize = 64 * 1024;

/// An outbox larger than this gives its memory back once it is empty.
pub const RETAINED_CAPACITY: usize = 8 * 1024;

/// How much of a file is held back until the file has been looked at again. It is copied: with 16 KiB an answer of 100 KiB
/// takes 1.2 µs of processor time more.
const HELD_BACK: u64 = 4 * 1024;

/// How much of a file is copied at once where it is not sent by reference.
const PIECE: u64 = 64 * 1024;

const IN_MEMORY: &str = "memory can always be written to";

/// To whom an answer goes, and how.
pub struct ReplyContext<'r> {
    /// The connection.
    pub conn: &'r ConnHandle,
    /// The head of the request, where there is one, and whether by its rules the connection goes on.
    pub head: Option<(&'r Head<'r>, Persistence)>,
    /// Whether the method is HEAD, whose answers have no content (RFC 9110 §9.3.2).
    pub is_to_head: bool,
    /// Whether the connection goes on.
    pub keep: bool,
    /// The time of the answer.
    pub stamp: &'r Stamp,
}

/// What became of an answer.
pub struct Sent {
    /// The bytes of content that were handed over.
    pub bytes: u64,
    /// The reason to end the connection, if sending gave one.
    pub outcome: Result<(), CloseReason>,
}

/// Bytes that have been said but not sent.
#[derive(Debug, Default)]
pub struct ResponseWriter {
    bytes: Vec<u8>,
}

impl ResponseWriter {
    /// Sends an answer, or keeps it for [`ResponseWriter::flush`].
    pub fn send(&mut self, transport: &mut dyn Transport, response: &Response, reply: &ReplyContext<'_>) -> Sent {
        let start = self.bytes.len();
        if reply.head.is_none_or(|(head, _)| head.version > Version::Http09) {
            self.encode_head(response, reply);
        }
        trace::answer(reply.conn, &self.bytes[start..]);
        if !reply.is_to_head && !response.body.is_in_memory() {
            reply.conn.turn.end();
        }
        let mut bytes = 0;
        let outcome = if reply.is_to_head { Ok(()) } else { self.send_body(transport, &response.body, &mut bytes) };
        Sent { bytes, outcome }
    }

    /// Sends what has been kept.
    pub fn flush(&mut self, transport: &mut dyn Transport) -> Result<(), CloseReason> {
        if !self.bytes.is_empty() {
            let sent = transport.send(&self.bytes);
            // What was sent in vain must not be sent again: some of it may have arrived.
            self.clear();
            sent?;
        }
        Ok(())
    }

    /// Sends what has been kept, and that nothing more comes.
    pub fn flush_last(&mut self, transport: &mut dyn Transport) -> Result<(), CloseReason> {
        let sent = transport.send_last(&self.bytes);
        self.clear();
        Ok(sent?)
    }

    /// The number of bytes that have been kept.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Forgets what has been kept.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(RETAINED_CAPACITY);
    }

    /// Writes the status line, the fields, and the empty line (RFC 9112 §2.1).
    fn encode_head(&mut self, response: &Response, reply: &ReplyContext<'_>) {
        let connection = match reply.head {
            _ if !reply.keep => "Connection: close\r\n",
            Some((_, Persistence::PersistsOnRequest)) => "Connection: keep-alive\r\n",
            _ => "",
        };
        let head = &response.head;
        head.write_status_line(&mut self.bytes);
        self.bytes.extend_from_slice(b"Date: ");
        self.bytes.extend_from_slice(reply.stamp.http.as_bytes());
        self.bytes.extend_from_slice(b"\r\n");
        head.write_fields(&mut self.bytes);
        self.bytes.extend_from_slice(connection.as_bytes());
        if !head.status.is_bodiless() {
            match response.body.len() {
                Some(len) => write!(self.bytes, "Content-Length: {len}\r\n").expect(IN_MEMORY),
                // Only who speaks HTTP/1.1 is sent such an answer.
                None => self.bytes.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
            }
        }
        self.bytes.extend_from_slice(b"\r\n");
    }

    /// Sends the content and counts its bytes.
    fn send_body(&mut self, transport: &mut dyn Transport, body: &Body, sent: &mut u64) -> Result<(), CloseReason> {
        match body {
            Body::Empty => {}
            Body::Bytes(bytes) if bytes.len() > COALESCE_MAX => {
                transport.send_more(&self.bytes)?;
                self.bytes.clear();
                transport.send(bytes)?;
                *sent += bytes.len() as u64;
            }
            Body::Bytes(bytes) => self.add(bytes, sent),
            Body::Span(file, span) => match file.content() {
                Some(content) => self.add(&content[span.start as usize..span.end as usize], sent),
                None => self.send_span(transport, file, span.clone(), sent)?,
            },
            Body::Parts(file, multipart) => {
                for (head, span) in &multipart.parts {
                    self.add(head, sent);
                    self.send_span(transport, file, span.clone(), sent)?;
                }
                self.add(&multipart.end, sent);
            }
            Body::Coded(file, coding) => self.send_coded(transport, file, *coding, sent)?,
        }
        if self.bytes.len() > COALESCE_MAX { self.flush(transport) } else { Ok(()) }
    }

    /// Sends some bytes of a file, the last of them only if the file still is what it was.
    ///
    /// Most bytes are handed over by reference: if the file is rewritten in place within the moment until they leave
    /// the machine, they leave rewritten. So a file that is being worked on is copied.
    fn send_span(
        &mut self,
        transport: &mut dyn Transport,
        file: &OpenFile,
        mut span: Range<u64>,
        sent: &mut u64,
    ) -> Result<(), CloseReason> {
        let last = span.start.max(span.end.saturating_sub(HELD_BACK))..span.end;
        transport.send_more(&self.bytes)?;
        self.bytes.clear();

        span.end = last.start;
        let start = span.start;
        let handed_over = match file.as_file() {
            Some(file_at_rest) if !file.recently_changed() => transport.send_file(file_at_rest, &mut span),
            _ => Ok(()),
        };
        let outcome = match handed_over {
            Err(error) if is_final(&error) => Err(error.into()),
            // Not every file system can hand over its bytes by reference. And where it can, one call deals with the file
            // and with the client: only to read and then to send tells which of them an error is of.
            _ => copy(transport, file, &mut span),
        };
        *sent += span.start - start;
        outcome?;

        let tail = file.read(last.clone()).map_err(file_error)?;
        if !file.still_holds(last.start, &tail).map_err(file_error)? {
            return Err(CloseReason::FileChanged);
        }
        self.add(&tail, sent);
        Ok(())
    }

    /// Sends a file in a coding, in chunks (RFC 9112 §7.1), the last of them only if the file still is what it was.
    #[inline(never)]
    fn send_coded(
        &mut self,
        transport: &mut dyn Transport,
        file: &OpenFile,
        coding: Coding,
        sent: &mut u64,
    ) -> Result<(), CloseReason> {
        let len = file.meta().len;
        let mut encoder = Encoder::new(coding, Effort::Once, len).map_err(CloseReason::File)?;
        let mut start = 0;
        loop {
            let end = len.min(start + PIECE);
            let piece = file.read(start..end).map_err(file_error)?;
            encoder.add(&piece).map_err(CloseReason::File)?;
            if end == len && !file.still_holds(start, &piece).map_err(file_error)? {
                return Err(CloseReason::FileChanged);
            }
            if end == len {
                break;
            }
            self.add_chunk(&encoder.take(), sent);
            transport.send_more(&self.bytes)?;
            self.bytes.clear();
            start = end;
        }
        self.add_chunk(&encoder.finish().map_err(CloseReason::File)?, sent);
        self.bytes.extend_from_slice(b"0\r\n\r\n");
        Ok(())
    }

    /// Adds a chunk; one without bytes would be the last.
    fn add_chunk(&mut self, bytes: &[u8], sent: &mut u64) {
        if !bytes.is_empty() {
            write!(self.bytes, "{:x}\r\n", bytes.len()).expect(IN_MEMORY);
            self.add(bytes, sent);
            self.bytes.extend_from_slice(b"\r\n");
        }
    }

    fn add(&mut self, bytes: &[u8], sent: &mut u64) {
        self.bytes.extend_from_slice(bytes);
        *sent += bytes.len() as u64;
    }
}

/// Sends what is left of the span by reading it; the span shrinks by what is sent.
fn copy(transport: &mut dyn Transport, file: &OpenFile, span: &mut Range<u64>) -> Result<(), CloseReason> {
    while span.start < span.end {
        let end = span.end.min(span.start + PIECE);
        transport.send_more(&file.read(span.start..end).map_err(file_error)?)?;
        span.start = end;
    }
    Ok(())
}

/// Reports whether it is known why no more of a file can be handed over: it is shorter now, or the client is too slow or
/// gone. A client's slowness is found by us; a `TimedOut` of the system can be a file system's.
fn is_final(error: &std::io::Error) -> bool {
    match error.kind() {
        ErrorKind::UnexpectedEof | ErrorKind::BrokenPipe | ErrorKind::ConnectionReset => true,
        ErrorKind::TimedOut => error.raw_os_error().is_none(),
        _ => false,
    }
}

fn file_error(error: std::io::Error) -> CloseReason {
    if error.kind() == ErrorKind::UnexpectedEof { CloseReason::FileChanged } else { CloseReason::File(error) }
}

#[cfg(test)]
impl ResponseWriter {
    /// An outbox in which this waits to be sent.
    pub fn holding(bytes: &[u8]) -> ResponseWriter {
        ResponseWriter { bytes: bytes.to_vec() }
    }
}
