//! One line for each answer, on standard output.
//!
//! What comes from a client is escaped, so that no line can be forged and no terminal be told what to do.

use std::fmt::Write as _;
use std::io;
use std::time::{Instant, SystemTime};

use super::lines::Lines;
use super::seats::Seat;
use super::send::Sent;
use crate::json;
use crate::proto::date::{CommonLog, HttpDate, Rfc3339};
use crate::proto::request::Head;
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
    pub seat: &'r Seat,
    /// When the request had arrived, by the calendar.
    pub now: SystemTime,
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

/// The access log.
#[derive(Debug)]
pub struct AccessLog {
    output: Option<(Format, Lines)>,
}

impl AccessLog {
    /// Opens the log on standard output; without a format there is none.
    pub fn open(format: Option<Format>) -> io::Result<AccessLog> {
        let output = format.map(|format| Lines::to_stdout().map(|lines| (format, lines)));
        Ok(AccessLog { output: output.transpose()? })
    }

    /// Adds a line.
    pub fn write(&self, record: &Record<'_>) {
        if let Some((format, lines)) = &self.output {
            let line = match format {
                Format::Common => record.common(),
                Format::Combined => record.combined(),
                Format::Json => record.json(),
            };
            lines.add((line + "\n").as_bytes());
        }
    }

    /// Writes what waits, at the end of the program.
    pub fn finish(&self) {
        if let Some((_, lines)) = &self.output {
            lines.finish();
        }
    }
}

impl Record<'_> {
    fn common(&self) -> String {
        format!(
            "{} - - [{}] \"{}\" {} {}",
            self.seat.peer.ip(),
            CommonLog(HttpDate::clamped(self.now)),
            if self.line.is_empty() { b"-" } else { self.line }.escape_ascii(),
            self.response.head.status.code(),
            self.sent.bytes,
        )
    }

    fn combined(&self) -> String {
        let mut line = self.common();
        for name in ["Referer", "User-Agent"] {
            let value = self.field(name).unwrap_or(b"-").escape_ascii();
            write!(line, " \"{value}\"").expect("a String can always be written to");
        }
        line
    }

    fn json(&self) -> String {
        let text = |bytes: &[u8]| json::text(&String::from_utf8_lossy(bytes));
        let maybe = |bytes: Option<&[u8]>| bytes.map_or_else(json::null, text);
        let mut words = self.line.splitn(3, |&byte| byte == b' ').filter(|word| !word.is_empty());
        let members = [
            ("time", json::text(&Rfc3339(HttpDate::clamped(self.now)).to_string())),
            ("client", json::text(&self.seat.peer.ip().to_string())),
            ("method", maybe(words.next())),
            ("target", maybe(words.next())),
            ("version", maybe(words.next())),
            ("status", json::number(self.response.head.status.code().into())),
            ("bytes", json::number(self.sent.bytes)),
            ("duration_us", json::number(self.started.elapsed().as_micros() as u64)),
            ("referer", maybe(self.field("Referer"))),
            ("user_agent", maybe(self.field("User-Agent"))),
            ("reason", self.response.why.map_or_else(json::null, |why| json::text(why.explanation().what))),
            (
                "broken_off",
                self.sent.outcome.as_ref().err().map_or_else(json::null, |why| json::text(&why.to_string())),
            ),
        ];
        json::object(&members).to_string()
    }

    fn field(&self, name: &str) -> Option<&[u8]> {
        self.head?.fields.all(name).next()
    }
}
