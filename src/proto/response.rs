//! The head of a response and its serialization (RFC 9112 §4, RFC 9110 §5.5).

use std::fmt::{Display, Write};
use std::sync::Arc;

use super::status::Status;
use super::syntax::is_field_value;

/// The initial capacity of the fields, in bytes: enough for the response with a file.
const FIELDS_CAPACITY: usize = 512;

/// A status and header fields, except those the writer adds: Date, Connection and Content-Length.
#[derive(Debug)]
pub struct ResponseHead {
    /// The status.
    pub status: Status,
    /// Prewritten fields, sent first.
    prewritten: ResponseFields,
    lines: String,
}

/// Serialized fields that many responses share; clones share the memory.
#[derive(Clone, Debug, Default)]
pub struct ResponseFields(Arc<str>);

impl ResponseHead {
    /// Starts a response head.
    pub fn new(status: Status) -> ResponseHead {
        ResponseHead::with(status, ResponseFields::default())
    }

    /// Starts a response head with prewritten fields.
    pub fn with(status: Status, prewritten: ResponseFields) -> ResponseHead {
        ResponseHead { status, prewritten, lines: String::new() }
    }

    /// Adds a field, unless its value contains a control byte: a line end there would inject a field (RFC 9110 §5.5).
    pub fn field(mut self, name: &str, value: impl Display) -> ResponseHead {
        if self.lines.is_empty() {
            self.lines.reserve(FIELDS_CAPACITY);
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

    /// Adds a field if it has a value.
    pub fn maybe(self, name: &str, value: Option<impl Display>) -> ResponseHead {
        match value {
            Some(value) => self.field(name, value),
            None => self,
        }
    }

    /// Writes the status line (RFC 9112 §4), always with 1.1, the highest version supported (RFC 9110 §2.5, §6.2).
    pub fn write_status_line(&self, out: &mut Vec<u8>) {
        for part in ["HTTP/1.1 ", self.status.line(), "\r\n"] {
            out.extend_from_slice(part.as_bytes());
        }
    }

    /// Writes the fields, each ended by CR LF.
    pub fn write_fields(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.prewritten.0.as_bytes());
        out.extend_from_slice(self.lines.as_bytes());
    }
}

impl From<ResponseHead> for ResponseFields {
    /// Serializes the fields of a head for reuse.
    fn from(head: ResponseHead) -> ResponseFields {
        ResponseFields([&head.prewritten.0, &head.lines[..]].concat().into())
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
    fn field_with_control_byte_is_left_out() {
        let head = ResponseHead::new(Status::NotFound)
            .field("A", "b\tb")
            .field("Evil", "x\r\nSet-Cookie: y")
            .field("Zero", "\0")
            .maybe("C", Some(5))
            .maybe("D", None::<u64>);
        assert_eq!(written(&head), "HTTP/1.1 404 Not Found\r\nA: b\tb\r\nC: 5\r\n");
    }

    #[test]
    fn prewritten_fields_come_first() {
        let before = ResponseFields::from(ResponseHead::new(Status::Ok).field("A", 1).field("B", 2));
        let head = ResponseHead::with(Status::NotModified, before).field("C", 3);
        let head = ResponseHead::with(Status::NotModified, head.into());
        assert_eq!(written(&head), "HTTP/1.1 304 Not Modified\r\nA: 1\r\nB: 2\r\nC: 3\r\n");
    }
}
