//! The head of an answer, and how it is written (RFC 9112 §4, RFC 9110 §5.5).

use std::fmt::{self, Display, Write};

use super::status::Status;
use super::syntax::is_field_byte;

/// The fields of an answer with a file fit in.
const ROOM: usize = 512;

/// A status and header fields, without those that belong to the sending: Date, Connection and Content-Length.
#[derive(Debug)]
pub struct ResponseHead {
    /// The status.
    pub status: Status,
    lines: String,
}

impl ResponseHead {
    /// Begins the head of an answer.
    pub fn new(status: Status) -> ResponseHead {
        ResponseHead { status, lines: String::with_capacity(ROOM) }
    }

    /// Adds a field. One whose value holds a control byte is left out: it would end the line, and what follows would
    /// be read as a field of ours (RFC 9110 §5.5).
    pub fn field(mut self, name: &str, value: impl Display) -> ResponseHead {
        let before = self.lines.len();
        write!(self.lines, "{name}: {value}").expect("a String can always be written to");
        if self.lines.as_bytes()[before..].iter().copied().all(is_field_byte) {
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

    /// Adds fields that were written before, each ended by CR LF.
    pub fn written(mut self, fields: &ResponseFields) -> ResponseHead {
        self.lines.push_str(&fields.0.lines);
        self
    }

    /// The fields as they are sent, each ended by CR LF.
    pub fn lines(&self) -> &str {
        &self.lines
    }

    /// The status line (RFC 9112 §4). The version is always 1.1, the highest that is spoken here, whatever the client
    /// speaks (RFC 9110 §2.5, §6.2).
    pub fn status_line(&self) -> impl Display {
        fmt::from_fn(|f| write!(f, "HTTP/1.1 {} {}\r\n", self.status.code(), self.status.reason()))
    }
}

/// Fields that every answer carries, written once.
#[derive(Debug)]
pub struct ResponseFields(ResponseHead);

impl ResponseFields {
    /// Writes these names and values.
    pub fn new<'a>(fields: impl IntoIterator<Item = (&'a str, &'a str)>) -> ResponseFields {
        let head = ResponseHead::new(Status::Ok);
        ResponseFields(fields.into_iter().fold(head, |head, (name, value)| head.field(name, value)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_would_end_its_line_is_left_out() {
        let head = ResponseHead::new(Status::NotFound)
            .field("A", "b\tb")
            .field("Evil", "x\r\nSet-Cookie: y")
            .field("Zero", "\0")
            .maybe("C", Some(5))
            .maybe("D", None::<u64>);
        assert_eq!(head.lines(), "A: b\tb\r\nC: 5\r\n");
        assert_eq!(head.status_line().to_string(), "HTTP/1.1 404 Not Found\r\n");
    }
}
