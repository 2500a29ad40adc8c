//! The framing of several ranges in one response: `multipart/byteranges` (RFC 9110 §14.6).

use std::fmt::Display;
use std::ops::Range;

/// The framing of the parts, without the bytes of the file.
#[derive(Debug)]
pub struct Multipart {
    /// For each part, the delimiter and header before it, and its span of the file.
    pub parts: Vec<(Vec<u8>, Range<u64>)>,
    /// The closing delimiter.
    pub end: Vec<u8>,
}

/// Returns the media type, with the boundary between the parts.
pub fn content_type(boundary: u64) -> String {
    format!("multipart/byteranges; boundary={boundary:016x}")
}

impl Multipart {
    /// Frames these spans of a file of `len` bytes.
    pub fn new(boundary: u64, spans: Vec<Range<u64>>, len: u64, media_type: impl Display) -> Multipart {
        let frame = |(at, span): (usize, Range<u64>)| {
            let line_end = if at == 0 { "" } else { "\r\n" };
            let content_range = content_range(&span, len);
            let head = format!(
                "{line_end}--{boundary:016x}\r\nContent-Type: {media_type}\r\nContent-Range: {content_range}\r\n\r\n"
            );
            (head.into_bytes(), span)
        };
        let parts = spans.into_iter().enumerate().map(frame).collect();
        Multipart { parts, end: format!("\r\n--{boundary:016x}--\r\n").into_bytes() }
    }

    /// Returns the length of the whole content in bytes.
    pub fn len(&self) -> u64 {
        let part = |(head, span): &(Vec<u8>, Range<u64>)| head.len() as u64 + (span.end - span.start);
        self.parts.iter().map(part).sum::<u64>() + self.end.len() as u64
    }
}

/// Returns the value of Content-Range for a span of a representation of `len` bytes (RFC 9110 §14.4).
pub fn content_range(span: &Range<u64>, len: u64) -> String {
    format!("bytes {}-{}/{len}", span.start, span.end - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn framing_matches_the_example_of_rfc_9110_14_6() {
        let multipart = Multipart::new(0xb, vec![500..1000, 7000..8000], 8000, "application/pdf");
        let heads: Vec<_> = multipart.parts.iter().map(|(head, _)| String::from_utf8_lossy(head)).collect();
        assert_eq!(
            heads,
            [
                "--000000000000000b\r\nContent-Type: application/pdf\r\nContent-Range: bytes 500-999/8000\r\n\r\n",
                "\r\n--000000000000000b\r\nContent-Type: application/pdf\r\nContent-Range: bytes 7000-7999/8000\r\n\r\n",
            ]
        );
        assert_eq!(multipart.end, b"\r\n--000000000000000b--\r\n");
        let heads_len: usize = heads.iter().map(|head| head.len()).sum();
        assert_eq!(multipart.len(), (heads_len + 1500 + multipart.end.len()) as u64);
    }
}
