//! Response writer: from a response value to bytes on a connection.
//!
//! Responses in memory are buffered until the next request has to be waited for, so that pipelined responses leave together.
//! Content of a file leaves at once, except for its last bytes: they are sent only if the file has not changed.

use std::io::{self, ErrorKind, Write};
use std::ops::Range;

use super::close_reason::{CloseReason, Outcome};
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
    /// The request line, as far as it was received.
    pub line: &'r [u8],
    /// The request's head, if it is valid.
    pub head: Option<&'r Head<'r>>,
    /// The rule by which the connection persists, if it does.
    pub kept: Option<Persistence>,
}

/// Outcome of sending a response.
pub struct Sent {
    /// Bytes of content that were sent or buffered.
    pub bytes: u64,
    /// Why the connection has to end, if sending failed.
    pub outcome: Outcome,
}

/// Writes responses and buffers them.
#[derive(Debug, Default)]
pub struct ResponseWriter {
    /// The time of the next response.
    pub stamp: Stamp,
    /// The max-age of Strict-Transport-Security, which is sent over TLS only (RFC 6797 §7.2).
    pub hsts_secs: Option<u64>,
    buffer: Vec<u8>,
    /// Bytes of the present response's content that are sent or buffered.
    content: u64,
    exceeded_initial_window: bool,
}

impl ResponseWriter {
    /// Sends a response, or buffers it for [`ResponseWriter::flush`].
    pub fn write(&mut self, transport: &mut dyn Transport, response: &Response, reply: &ReplyContext<'_>) -> Sent {
        let start = self.buffer.len();
        if reply.head.is_none_or(|head| head.version > Version::Http09) {
            self.encode_head(response, reply.kept);
        }
        trace::response(reply.conn, &self.buffer[start..]);
        self.content = 0;
        // Responses to HEAD have no content (RFC 9110 §9.3.2).
        let is_head = reply.line.starts_with(b"HEAD ");
        let outcome = if is_head { Ok(()) } else { self.write_body(transport, &response.body) };
        self.exceeded_initial_window |= (self.buffer.len() as u64) < start as u64 + self.content;
        Sent { bytes: self.content, outcome }
    }

    /// Sends the buffered bytes.
    pub fn flush(&mut self, transport: &mut dyn Transport) -> Outcome {
        self.exceeded_initial_window |= self.buffer.len() > INITIAL_WINDOW;
        self.empty(|bytes| if bytes.is_empty() { Ok(()) } else { transport.send(bytes) })
    }

    /// Sends the buffered bytes and the end of the stream.
    pub fn flush_last(&mut self, transport: &mut dyn Transport) -> Outcome {
        self.empty(|bytes| transport.send_last(bytes))
    }

    /// Sends the buffered bytes in this way. After a failure they must not be sent again: some may have arrived.
    fn empty(&mut self, send: impl FnOnce(&[u8]) -> io::Result<()>) -> Outcome {
        let sent = send(&self.buffer);
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
    fn encode_head(&mut self, response: &Response, kept: Option<Persistence>) {
        let head = &response.head;
        head.write_status_line(&mut self.buffer);
        for part in ["Date: ", &self.stamp.http, "\r\n"] {
            self.buffer.extend_from_slice(part.as_bytes());
        }
        head.write_fields(&mut self.buffer);
        if let Some(secs) = self.hsts_secs {
            write!(self.buffer, "Strict-Transport-Security: max-age={secs}\r\n").expect(IN_MEMORY);
        }
        self.buffer.extend_from_slice(match kept {
            Some(Persistence::PersistsOnRequest) => b"Connection: keep-alive\r\n",
            Some(_) => b"",
            None => b"Connection: close\r\n",
        });
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
    fn write_body(&mut self, transport: &mut dyn Transport, body: &Body) -> Outcome {
        match body {
            Body::Empty => {}
            Body::Bytes(bytes) if bytes.len() > COALESCE_MAX => {
                self.empty(|bytes| transport.send_more(bytes))?;
                transport.send(bytes)?;
                self.content += bytes.len() as u64;
            }
            Body::Bytes(bytes) => self.buffer_content(bytes),
            Body::Span(file, span) => match file.content() {
                Some(content) => self.buffer_content(&content[span.start as usize..span.end as usize]),
                None => self.send_span(transport, file, span.clone())?,
            },
            Body::Parts(file, multipart) => {
                for (head, span) in &multipart.parts {
                    self.buffer_content(head);
                    self.send_span(transport, file, span.clone())?;
                }
                self.buffer_content(&multipart.end);
            }
            Body::Coded(file, coding) => self.send_coded(transport, file, *coding)?,
        }
        if self.buffer.len() > COALESCE_MAX { self.flush(transport) } else { Ok(()) }
    }

    /// Sends a part of a file, the last bytes only if the file has not changed.
    ///
    /// sendfile passes pages by reference: bytes that are rewritten in place before they leave the machine leave rewritten. So
    /// a file that changed recently is copied.
    fn send_span(&mut self, transport: &mut dyn Transport, file: &OpenFile, mut span: Range<u64>) -> Outcome {
        let last = span.start.max(span.end.saturating_sub(HELD_BACK))..span.end;
        self.empty(|bytes| transport.send_more(bytes))?;
        span.end = last.start;
        let start = span.start;
        let by_reference = match &file.file {
            Some(stable) if !file.recently_changed() => transport.send_file(stable, &mut span),
            _ => Ok(()),
        };
        let outcome = match by_reference {
            Err(error) if is_final(&error) => Err(error.into()),
            // Not every file system supports sendfile. Where it does, one call reads and sends: doing both apart tells whose
            // error it was.
            _ => copy(transport, file, &mut span),
        };
        self.content += span.start - start;
        outcome?;

        let tail = file.read(last.clone()).map_err(CloseReason::from_file)?;
        check_unchanged(file, last.start, &tail)?;
        self.buffer_content(&tail);
        Ok(())
    }

    /// Compresses a file while sending it in chunks (RFC 9112 §7.1), the last chunk only if the file has not changed.
    #[inline(never)]
    fn send_coded(&mut self, transport: &mut dyn Transport, file: &OpenFile, coding: Coding) -> Outcome {
        let len = file.meta.len;
        let mut encoder = Encoder::new(coding, Effort::Once, len).map_err(CloseReason::File)?;
        let mut start = 0;
        loop {
            let end = len.min(start + PIECE);
            let piece = file.read(start..end).map_err(CloseReason::from_file)?;
            encoder.add(&piece).map_err(CloseReason::File)?;
            if end == len {
                check_unchanged(file, start, &piece)?;
                break;
            }
            self.buffer_chunk(&encoder.take());
            self.empty(|bytes| transport.send_more(bytes))?;
            start = end;
        }
        self.buffer_chunk(&encoder.finish().map_err(CloseReason::File)?);
        self.buffer.extend_from_slice(b"0\r\n\r\n");
        Ok(())
    }

    /// Buffers a chunk; an empty one would be the last.
    fn buffer_chunk(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            write!(self.buffer, "{:x}\r\n", bytes.len()).expect(IN_MEMORY);
            self.buffer_content(bytes);
            self.buffer.extend_from_slice(b"\r\n");
        }
    }

    fn buffer_content(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
        self.content += bytes.len() as u64;
    }
}

/// Fails if the file has changed since these bytes were read at `start`.
fn check_unchanged(file: &OpenFile, start: u64, bytes: &[u8]) -> Outcome {
    let is_same = file.still_holds(start, bytes).map_err(CloseReason::from_file)?;
    is_same.then_some(()).ok_or(CloseReason::FileChanged)
}

/// Sends the rest of the span by reading it; the span shrinks by what is sent.
fn copy(transport: &mut dyn Transport, file: &OpenFile, span: &mut Range<u64>) -> Outcome {
    while span.start < span.end {
        let end = span.end.min(span.start + PIECE);
        transport.send_more(&file.read(span.start..end).map_err(CloseReason::from_file)?)?;
        span.start = end;
    }
    Ok(())
}

/// Reports whether it is certain that no more of a file can be sent: it is shorter now, or the client is too slow or gone. A
/// `TimedOut` with an OS error can be the file system's; the transport makes its own without one.
fn is_final(error: &io::Error) -> bool {
    match error.kind() {
        ErrorKind::UnexpectedEof | ErrorKind::BrokenPipe | ErrorKind::ConnectionReset => true,
        ErrorKind::TimedOut => error.raw_os_error().is_none(),
        _ => false,
    }
}
