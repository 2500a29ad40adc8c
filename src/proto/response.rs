//! The head of an answer, and how it is written (RFC 9112 §4, RFC 9110 §5.5).

use std::fmt::{Display, Write};
use std::sync::Arc;

use super::status::Status;
use super::syntax::is_field_value;

/// The fields of an answer with a file fit in.
const ROOM: usize = 512;

/// A status and header fields, without those that belong to the sending: Date, Connection and Content-Length.
#[derive(Debug)]
pub struct ResponseHead {
    /// The status.
    pub status: Status,
    /// The fields that were written before.
    first: Option<ResponseFields>,
    lines: String,
}

/// Fields that many answers carry, written once. Clones are the same.
#[derive(Clone, Debug)]
pub struct ResponseFields(Arc<str>);

impl ResponseHead {
    /// Begins the head of an answer.
    pub fn new(status: Status) -> ResponseHead {
        ResponseHead { status, first: None, lines: String::new() }
    }

    /// Begins the head of an answer with fields that were written before.
    pub fn with(status: Status, first: ResponseFields) -> ResponseHead {
        ResponseHead { status, first: Some(first), lines: String::new() }
    }

    /// Adds a field. One whose value holds a control byte is left out: it would end the line, and what follows would
    /// be read as a field of ours (RFC 9110 §5.5).
    pub fn field(mut self, name: &str, value: impl Display) -> ResponseHead {
        if self.lines.is_empty() {
            self.lines.reserve(ROOM);
        }
        let before = self.lines.len();
        write!(self.lines, "{name}: {value}").expect("a String can always be written to");
        if is_field_value(&self.lines.as_bytes()[before..]) {
            self.lines.push_str("\r\n");
        } else {
            self.lines.truncate(before);
        }
        self
    }

    /// Adds a field where there is a value.
    pub fn maybe(self, name: &str, value: Option<impl Display>) -> ResponseHead {
        match value {
            Some(value) => self.field(name, value),
            None => self,
        }
    }

    /// Writes the status line (RFC 9112 §4). The version is always 1.1, the highest that is spoken here, whatever the
    /// client speaks (RFC 9110 §2.5, §6.2).
    pub fn write_status_line(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"HTTP/1.1 ");
        out.extend_from_slice(self.status.line().as_bytes());
        out.extend_from_slice(b"\r\n");
    }

    /// Writes the fields, each ended by CR LF.
    pub fn write_fields(&self, out: &mut Vec<u8>) {
        if let Some(first) = &self.first {
            out.extend_from_slice(first.0.as_bytes());
        }
        out.extend_from_slice(self.lines.as_bytes());
    }
}

impl From<ResponseHead> for ResponseFields {
    /// Keeps the fields of a head for others.
    fn from(head: ResponseHead) -> ResponseFields {
        let first = head.first.as_ref().map_or("", |first| &first.0);
        ResponseFields([first, &head.lines].concat().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(head: &ResponseHead) -> String {
        let mut out = Vec::new();
        head.write_status_line(&mut out);
        head.write_fields(&mut out);
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn a_value_that_would_end_its_line_is_left_out() {
        let head = ResponseHead::new(Status::NotFound)
            .field("A", "b\tb")
            .field("Evil", "x\r\nSet-Cookie: y")
            .field("Zero", "\0")
            .maybe("C", Some(5))
            .maybe("D", None::<u64>);
        assert_eq!(written(&head), "HTTP/1.1 404 Not Found\r\nA: b\tb\r\nC: 5\r\n");
    }

    #[test]
    fn fields_that_were_written_before_come_first() {
        let before = ResponseFields::from(ResponseHead::new(Status::Ok).field("A", 1).field("B", 2));
        let head = ResponseHead::with(Status::NotModified, before).field("C", 3);
        let head = ResponseHead::with(Status::NotModified, head.into());
        assert_eq!(written(&head), "HTTP/1.1 304 Not Modified\r\nA: 1\r\nB: 2\r\nC: 3\r\n");
    }
}
