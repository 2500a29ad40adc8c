//! Finds where a request's head ends in bytes that arrive in pieces (RFC 9112 §2.1, §2.2).
//!
//! The end is found first and the head is parsed after, once: no byte is looked at twice, however slowly a head
//! arrives. Nothing is judged here but the limits, because past them nothing more is read.

use super::proxy_protocol;
use super::syntax::{find, find_all, is_tchar};
use super::why::{Reject, Why};

/// The longest request line that is read, in bytes, without its line end (RFC 9112 §3 asks for 8000 at least).
pub const REQUEST_LINE_MAX: usize = 8192;

/// The largest head that is read, in bytes, with the empty lines around it.
pub const HEAD_MAX: usize = 32768;

/// How far the search for the end of a head has come.
#[derive(Debug, Default)]
pub struct Scan {
    /// The first byte that has not been looked at.
    at: usize,
    /// Where the current line begins.
    line: usize,
    /// Whether something of the request line, not only of empty lines, has been seen.
    has_begun: bool,
    /// Whether the request line is over.
    in_fields: bool,
}

impl Scan {
    /// Goes on in `bytes`, which begin with those of the calls before, and returns the length of the head once its
    /// end is there.
    ///
    /// The head ends with an empty line. It ends with its first line where that does not end in a version: then it is
    /// an HTTP/0.9 request, or none at all, and nobody who typed it should have to wait.
    pub fn resume<'b>(&mut self, bytes: &'b [u8]) -> Result<Option<usize>, Reject<'b>> {
        self.look(bytes).map_err(|reject| match reject.why {
            Why::NotHttp if proxy_protocol::begins(bytes) => Why::ProxyHeaderUnwanted.because(reject.received),
            _ => reject,
        })
    }

    fn look<'b>(&mut self, bytes: &'b [u8]) -> Result<Option<usize>, Reject<'b>> {
        let seen = &bytes[..bytes.len().min(HEAD_MAX)];
        let begin = self.at;
        for end in find_all(b'\n', &seen[begin..]).map(|at| begin + at) {
            let line = without_cr(&seen[self.line..end]);
            self.line = end + 1;
            if self.ends_head(line)? {
                return Ok(Some(self.line));
            }
        }
        self.at = seen.len();
        self.check_unfinished(seen)
    }

    /// Reports whether some of a request, more than empty lines, has been seen.
    pub fn has_begun(&self) -> bool {
        self.has_begun
    }

    fn ends_head<'b>(&mut self, line: &'b [u8]) -> Result<bool, Reject<'b>> {
        match (line.is_empty(), self.in_fields) {
            (true, in_fields) => Ok(in_fields),
            (false, true) => Ok(false),
            (false, false) if !is_tchar(line[0]) => Err(Why::NotHttp.because(line)),
            (false, false) if line.len() > REQUEST_LINE_MAX => Err(Why::RequestLineTooLong.because(line)),
            (false, false) => {
                self.has_begun = true;
                self.in_fields = true;
                Ok(!ends_in_version(line))
            }
        }
    }

    fn check_unfinished<'b>(&mut self, seen: &'b [u8]) -> Result<Option<usize>, Reject<'b>> {
        let line = &seen[self.line..];
        if !self.in_fields && !matches!(line, [] | [b'\r']) {
            self.has_begun = true;
            if !is_tchar(line[0]) {
                return Err(Why::NotHttp.because(line));
            }
            if line.len() > REQUEST_LINE_MAX + 1 {
                return Err(Why::RequestLineTooLong.because(line));
            }
        }
        if seen.len() == HEAD_MAX {
            return Err(Why::HeadTooLarge.because(first_line(seen)));
        }
        Ok(None)
    }
}

/// Returns the line without the carriage return that may stand before its line feed (RFC 9112 §2.2).
pub fn without_cr(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// Returns the bytes behind any empty lines, which may stand before a request (RFC 9112 §2.2).
pub fn skip_empty_lines(mut bytes: &[u8]) -> &[u8] {
    while let [b'\n', rest @ ..] | [b'\r', b'\n', rest @ ..] = bytes {
        bytes = rest;
    }
    bytes
}

/// Returns the first line that is not empty, as far as it has arrived.
pub fn first_line(bytes: &[u8]) -> &[u8] {
    split_line(skip_empty_lines(bytes)).0
}

/// Splits off the first line, without its line end, as far as it has arrived.
pub fn split_line(bytes: &[u8]) -> (&[u8], &[u8]) {
    let end = find(b'\n', bytes).unwrap_or(bytes.len());
    (without_cr(&bytes[..end]), bytes.get(end + 1..).unwrap_or_default())
}

/// Reports whether the last word of the line is meant to be a version.
pub fn ends_in_version(line: &[u8]) -> bool {
    let space = line.iter().rposition(|&byte| byte == b' ');
    let last = space.and_then(|space| line.get(space + 1..space + 6));
    last.is_some_and(|start| start.eq_ignore_ascii_case(b"HTTP/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn length(bytes: &[u8]) -> Option<usize> {
        Scan::default().resume(bytes).expect("within the limits")
    }

    #[test]
    fn a_head_ends_with_its_empty_line() {
        for (bytes, expected) in [
            (&b"GET / HTTP/1.1\r\n\r\nmore"[..], Some(18)),
            (b"GET / HTTP/1.1\n\nmore", Some(16)),
            (b"\r\n\n\r\nGET / HTTP/1.1\r\na: b\r\n\r\n", Some(29)),
            (b"GET / HTTP/1.1\r\na: b\n\r\n", Some(23)),
            (b"GET / HTTP/1.1\r\na: b\r\n", None),
            (b"GET / HTTP/1.1\r\n\r", None),
            (b"\r\n\r\n", None),
            (b"", None),
        ] {
            assert_eq!(length(bytes), expected, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn a_first_line_without_a_version_is_the_whole_head() {
        for (bytes, expected) in [
            (&b"GET /\r\nmore"[..], Some(7)),
            (b"\nGET /\n", Some(7)),
            (b"hello\n", Some(6)),
            (b"HTTP/1.1\n", Some(9)),
            (b"GET /HTTP/1.1\n", Some(14)),
            (b"GET / http/1.1\n", None),
            (b"GET / HTTP/\n", None),
        ] {
            assert_eq!(length(bytes), expected, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn the_pieces_do_not_matter() {
        let bytes = b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\nGET";
        let mut scan = Scan::default();
        let found = (0..=bytes.len()).find_map(|end| scan.resume(&bytes[..end]).expect("within the limits"));
        assert_eq!(found, Some(29));
        assert_eq!(length(bytes), found);
    }

    #[test]
    fn past_a_limit_nothing_more_is_read() {
        let line = [b"GET /", "a".repeat(REQUEST_LINE_MAX - 14).as_bytes(), b" HTTP/1.1"].concat();
        assert_eq!(line.len(), REQUEST_LINE_MAX);
        let why = |bytes: &[u8]| Scan::default().resume(bytes).expect_err("past the limit").why;
        assert_eq!(length(&[&line[..], b"\r\n\r\n"].concat()), Some(line.len() + 4));
        assert_eq!(why(&[b"G", &line[..], b"\r\n\r\n"].concat()), Why::RequestLineTooLong);
        assert_eq!(why(&[b"GG", &line[..]].concat()), Why::RequestLineTooLong);

        let start = b"GET / HTTP/1.1\r\na: ";
        let full = |size: usize| [start, "b".repeat(size - start.len() - 4).as_bytes(), b"\r\n\r\n"].concat();
        assert_eq!(length(&full(HEAD_MAX)), Some(HEAD_MAX));
        assert_eq!(why(&full(HEAD_MAX + 1)), Why::HeadTooLarge);
    }

    #[test]
    fn what_cannot_be_a_request_is_refused_at_its_first_byte() {
        for bytes in [&b"\x16\x03\x01"[..], b" GET /", b"\r\n\0", b"\rGET", b"\x16 HTTP/1.1\r\n"] {
            let refused = Scan::default().resume(bytes).expect_err("no request");
            assert_eq!(refused.why, Why::NotHttp, "{}", bytes.escape_ascii());
        }
        let refused = Scan::default().resume(b"\r\n\r\n\0\r\nQUIT\n\x21\x11").expect_err("no request");
        assert_eq!(refused.why, Why::ProxyHeaderUnwanted);
    }
}
