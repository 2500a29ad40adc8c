//! Response writer: from a response value to bytes on a connection.
//!
//! Responses in memory are buffered until the next request has to be waited for, so that pipelined responses leave together.
//! Content of a file leaves at once, except for its last bytes: they are sent only if the file has not changed.

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

/// The most bytes of responses that are buffered to leave together.
const COALESCE_MAX: usize = 64 * 1024;

/// Bytes at the end of a file that are sent after a last look at the file. // measured: 16 KiB cost 1.2 µs more per 100 KiB
const HELD_BACK: u64 = 4 * 1024;

/// Bytes of a file that are copied at once where it cannot be sent by sendfile.
const PIECE: u64 = 64 * 1024;

/// Bytes that leave before the client has acknowledged any (RFC 6928).
const INITIAL_WINDOW: usize = 10 * 1460;

const IN_MEMORY: &str = "memory can always be written to";

/// The connection's half of a response head.
pub struct ReplyContext<'r> {
    /// The connection.
    pub conn: &'r ConnHandle,
    /// The head of the request, if there is one, and its rule for the connection.
    pub head: Option<(&'r Head<'r>, Persistence)>,
    /// Whether the method is HEAD, whose responses have no content (RFC 9110 §9.3.2).
    pub is_head: bool,
    /// Whether the connection persists.
    pub persists: bool,
    /// The time of the response.
    pub stamp: &'r Stamp,
}

/// What was sent of a response.
pub struct Sent {
    /// Bytes of content that were sent or buffered.
    pub bytes: u64,
    /// Why the connection has to end, if sending failed.
    pub outcome: Result<(), CloseReason>,
}

/// Writes responses and buffers them.
#[derive(Debug, Default)]
pub struct ResponseWriter {
    buffer: Vec<u8>,
    exceeded_initial_window: bool,
}

impl ResponseWriter {
    /// Sends a response, or buffers it for [`ResponseWriter::flush`].
    pub fn write(&mut self, transport: &mut dyn Transport, response: &Response, reply: &ReplyContext<'_>) -> Sent {
        let start = self.buffer.len();
        if reply.head.is_none_or(|(head, _)| head.version > Version::Http09) {
            self.encode_head(response, reply);
        }
        trace::response(reply.conn, &self.buffer[start..]);
        let mut bytes = 0;
        let outcome = if reply.is_head { Ok(()) } else { self.write_body(transport, &response.body, &mut bytes) };
        self.exceeded_initial_window |= (self.buffer.len() as u64) < start as u64 + bytes;
        Sent { bytes, outcome }
    }

    /// Sends the buffered bytes.
    pub fn flush(&mut self, transport: &mut dyn Transport) -> Result<(), CloseReason> {
        if !self.buffer.is_empty() {
            self.exceeded_initial_window |= self.buffer.len() > INITIAL_WINDOW;
            let sent = transport.send(&self.buffer);
            // Bytes of a failed send must not be sent again: some may have arrived.
            self.buffer.clear();
            sent?;
        }
        Ok(())
    }

    /// Sends the buffered bytes and the end of the stream.
    pub fn flush_last(&mut self, transport: &mut dyn Transport) -> Result<(), CloseReason> {
        let sent = transport.send_last(&self.buffer);
        self.buffer.clear();
        Ok(sent?)
    }

    /// Reports whether everything that was sent, and what is buffered, fits into the initial congestion window.
    pub fn fits_initial_window(&self) -> bool {
        !self.exceeded_initial_window && self.buffer.len() <= INITIAL_WINDOW
    }

    /// Gives the memory of an empty buffer back.
    pub fn shrink(&mut self) {
        self.buffer = Vec::new();
    }

    /// Encodes the status line, the fields, and the empty line (RFC 9112 §2.1).
    fn encode_head(&mut self, response: &Response, reply: &ReplyContext<'_>) {
        let connection = match reply.head {
            _ if !reply.persists => "Connection: close\r\n",
            Some((_, Persistence::PersistsOnRequest)) => "Connection: keep-alive\r\n",
            _ => "",
        };
        let head = &response.head;
        head.write_status_line(&mut self.buffer);
        self.buffer.extend_from_slice(b"Date: ");
        self.buffer.extend_from_slice(reply.stamp.http.as_bytes());
        self.buffer.extend_from_slice(b"\r\n");
        head.write_fields(&mut self.buffer);
        self.buffer.extend_from_slice(connection.as_bytes());
        if !head.status.is_bodiless() {
            match response.body.len() {
                Some(len) => write!(self.buffer, "Content-Length: {len}\r\n").expect(IN_MEMORY),
                // The site chooses such a body for HTTP/1.1 alone.
                None => self.buffer.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
            }
        }
        self.buffer.extend_from_slice(b"\r\n");
    }

    /// Sends or buffers the content and counts its bytes.
    fn write_body(&mut self, transport: &mut dyn Transport, body: &Body, sent: &mut u64) -> Result<(), CloseReason> {
        match body {
            Body::Empty => {}
            Body::Bytes(bytes) if bytes.len() > COALESCE_MAX => {
                self.send_buffered(transport)?;
                transport.send(bytes)?;
                *sent += bytes.len() as u64;
            }
            Body::Bytes(bytes) => self.buffer_content(bytes, sent),
            Body::Span(file, span) => match file.content() {
                Some(content) => self.buffer_content(&content[span.start as usize..span.end as usize], sent),
                None => self.send_span(transport, file, span.clone(), sent)?,
            },
            Body::Parts(file, multipart) => {
                for (head, span) in &multipart.parts {
                    self.buffer_content(head, sent);
                    self.send_span(transport, file, span.clone(), sent)?;
                }
                self.buffer_content(&multipart.end, sent);
            }
            Body::Coded(file, coding) => self.send_coded(transport, file, *coding, sent)?,
        }
        if self.buffer.len() > COALESCE_MAX { self.flush(transport) } else { Ok(()) }
    }

    /// Sends the buffered bytes; content follows at once.
    fn send_buffered(&mut self, transport: &mut dyn Transport) -> Result<(), CloseReason> {
        let sent = transport.send_more(&self.buffer);
        self.buffer.clear();
        Ok(sent?)
    }

    /// Sends a part of a file, the last bytes only if the file has not changed.
    ///
    /// sendfile passes pages by reference: bytes that are rewritten in place before they leave the machine leave rewritten. So
    /// a file that changed recently is copied.
    fn send_span(
        &mut self,
        transport: &mut dyn Transport,
        file: &OpenFile,
        mut span: Range<u64>,
        sent: &mut u64,
    ) -> Result<(), CloseReason> {
        let last = span.start.max(span.end.saturating_sub(HELD_BACK))..span.end;
        self.send_buffered(transport)?;
        span.end = last.start;
        let start = span.start;
        let by_reference = match file.as_file() {
            Some(stable) if !file.recently_changed() => transport.send_file(stable, &mut span),
            _ => Ok(()),
        };
        let outcome = match by_reference {
            Err(error) if is_final(&error) => Err(error.into()),
            // Not every file system supports sendfile. Where it does, one call reads and sends: doing both apart tells whose
            // error it was.
            _ => copy(transport, file, &mut span),
        };
        *sent += span.start - start;
        outcome?;

        let tail = file.read(last.clone()).map_err(CloseReason::from_file)?;
        if !file.still_holds(last.start, &tail).map_err(CloseReason::from_file)? {
            return Err(CloseReason::FileChanged);
        }
        self.buffer_content(&tail, sent);
        Ok(())
    }

    /// Compresses a file while sending it in chunks (RFC 9112 §7.1), the last chunk only if the file has not changed.
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
            let piece = file.read(start..end).map_err(CloseReason::from_file)?;
            encoder.add(&piece).map_err(CloseReason::File)?;
            if end == len && !file.still_holds(start, &piece).map_err(CloseReason::from_file)? {
                return Err(CloseReason::FileChanged);
            }
            if end == len {
                break;
            }
            self.buffer_chunk(&encoder.take(), sent);
            self.send_buffered(transport)?;
            start = end;
        }
        self.buffer_chunk(&encoder.finish().map_err(CloseReason::File)?, sent);
        self.buffer.extend_from_slice(b"0\r\n\r\n");
        Ok(())
    }

    /// Buffers a chunk; an empty one would be the last.
    fn buffer_chunk(&mut self, bytes: &[u8], sent: &mut u64) {
        if !bytes.is_empty() {
            write!(self.buffer, "{:x}\r\n", bytes.len()).expect(IN_MEMORY);
            self.buffer_content(bytes, sent);
            self.buffer.extend_from_slice(b"\r\n");
        }
    }

    fn buffer_content(&mut self, bytes: &[u8], sent: &mut u64) {
        self.buffer.extend_from_slice(bytes);
        *sent += bytes.len() as u64;
    }
}

/// Sends the rest of the span by reading it; the span shrinks by what is sent.
fn copy(transport: &mut dyn Transport, file: &OpenFile, span: &mut Range<u64>) -> Result<(), CloseReason> {
    while span.start < span.end {
        let end = span.end.min(span.start + PIECE);
        transport.send_more(&file.read(span.start..end).map_err(CloseReason::from_file)?)?;
        span.start = end;
    }
    Ok(())
}

/// Reports whether it is certain that no more of a file can be sent: it is shorter now, or the client is too slow or gone. A
/// `TimedOut` with an OS error can be the file system's; the transport makes its own without one.
fn is_final(error: &std::io::Error) -> bool {
    match error.kind() {
        ErrorKind::UnexpectedEof | ErrorKind::BrokenPipe | ErrorKind::ConnectionReset => true,
        ErrorKind::TimedOut => error.raw_os_error().is_none(),
        _ => false,
    }
}
