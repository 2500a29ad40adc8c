//! The decoder of a request's body, by Content-Length or chunked (RFC 9112 §6.3, §7.1), in bytes that arrive in pieces.
//!
//! No file takes any content, so the decoder only finds its end and drops it. The lines between chunks end in CR LF and
//! nothing else: nobody types them, and a bare line feed there has been used for request smuggling.

use super::framing::{BodyLength, CONTENT_MAX};
use super::request::field_line;
use super::syntax::{token_len, token_or_quoted, trim_ows_start};
use super::why::Why;

/// The longest line between chunks, with its extensions, and the longest trailer field, in bytes; one line is buffered.
const LINE_MAX: usize = 8 * 1024;

/// The most bytes of chunked framing (sizes, extensions, trailer fields), beyond [`FRAMING_PER_BYTE`].
const FRAMING_MAX: u64 = 65536;

/// The bytes of framing allowed for each byte of content, so that chunks of one byte are accepted.
const FRAMING_PER_BYTE: u64 = 8;

/// The decoding of one body, resumed as bytes arrive.
#[derive(Debug)]
pub struct BodyDecoder {
    state: State,
    /// The state after content.
    after_content: State,
    /// The line received so far, in the states of a line.
    line: Vec<u8>,
    /// The bytes of content in all chunks so far.
    content: u64,
    /// The bytes of framing so far.
    framing: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// In content, of the body or of a chunk, with this number of bytes left.
    Content(u64),
    /// In the line of a chunk's size.
    Size,
    /// In the line end after a chunk's data.
    DataEnd,
    /// In a line of the trailer section; an empty one is the last.
    Trailer,
    End,
}

impl BodyDecoder {
    /// Starts the decoding of a body of this length.
    pub fn new(length: BodyLength) -> BodyDecoder {
        let (state, after_content) = match length {
            BodyLength::Exactly(0) => (State::End, State::End),
            BodyLength::Exactly(length) => (State::Content(length), State::End),
            BodyLength::Chunked => (State::Size, State::DataEnd),
        };
        BodyDecoder { state, after_content, line: Vec::new(), content: 0, framing: 0 }
    }

    /// Consumes the next bytes and returns how many of them belong to the body: all, or fewer once it has ended.
    pub fn consume(&mut self, bytes: &[u8]) -> Result<usize, Why> {
        let mut used = 0;
        while used < bytes.len() && !self.is_done() {
            if let State::Content(left) = self.state {
                let skipped = left.min((bytes.len() - used) as u64);
                self.state = if skipped == left { self.after_content } else { State::Content(left - skipped) };
                used += skipped as usize;
            } else {
                self.push(bytes[used])?;
                used += 1;
            }
        }
        Ok(used)
    }

    /// Reports whether the body has ended.
    pub fn is_done(&self) -> bool {
        self.state == State::End
    }

    /// Appends a byte to the current line, which only CR LF ends.
    fn push(&mut self, byte: u8) -> Result<(), Why> {
        self.framing += 1;
        if self.framing > FRAMING_MAX + FRAMING_PER_BYTE * self.content || self.line.len() >= LINE_MAX {
            return Err(Why::ContentTooLarge);
        }
        match (self.line.last(), byte) {
            (Some(b'\r'), b'\n') => {
                self.line.pop();
                self.state = self.end_line()?;
                self.line.clear();
            }
            (Some(b'\r'), _) | (_, b'\n') => return Err(Why::ChunkSyntax),
            _ => self.line.push(byte),
        }
        Ok(())
    }

    /// Returns the state after the current line.
    fn end_line(&mut self) -> Result<State, Why> {
        match self.state {
            State::Size => match chunk_size(&self.line)? {
                0 => Ok(State::Trailer),
                size => {
                    self.content = self.content.saturating_add(size);
                    if self.content > CONTENT_MAX { Err(Why::ContentTooLarge) } else { Ok(State::Content(size)) }
                }
            },
            State::DataEnd if self.line.is_empty() => Ok(State::Size),
            State::Trailer if self.line.is_empty() => Ok(State::End),
            State::Trailer if field_line(&self.line, 0).is_ok() => Ok(State::Trailer),
            _ => Err(Why::ChunkSyntax),
        }
    }
}

/// Parses `chunk-size [ chunk-ext ]`; a size above `u64::MAX` is clamped to it, and extensions are ignored.
fn chunk_size(line: &[u8]) -> Result<u64, Why> {
    let (digits, mut rest) = line.split_at(line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count());
    while let Some(after) = skip_extension(rest) {
        rest = after;
    }
    match str::from_utf8(digits) {
        Ok(digits) if !digits.is_empty() && rest.is_empty() => Ok(u64::from_str_radix(digits, 16).unwrap_or(u64::MAX)),
        _ => Err(Why::ChunkSyntax),
    }
}

/// Skips one of `*( BWS ";" BWS chunk-ext-name [ BWS "=" BWS chunk-ext-val ] )` (RFC 9112 §7.1.1).
fn skip_extension(bytes: &[u8]) -> Option<&[u8]> {
    let name = trim_ows_start(trim_ows_start(bytes).strip_prefix(b";")?);
    let after_name = Some(&name[token_len(name)..]).filter(|after| after.len() < name.len())?;
    match trim_ows_start(after_name).strip_prefix(b"=") {
        Some(value) => token_or_quoted(trim_ows_start(value)).map(|(_, rest)| rest),
        None => Some(after_name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_between_chunks_has_a_limit() {
        let content = [b"100000\r\n".as_slice(), &[b'x'; 1 << 20], b"\r\n0\r\nX: "].concat();
        let mut decoder = BodyDecoder::new(BodyLength::Chunked);
        assert_eq!(decoder.consume(&content), Ok(content.len()));
        assert_eq!(decoder.consume(&[b'a'; LINE_MAX]), Err(Why::ContentTooLarge));
    }

    /// Decodes in pieces of one size; returns the length of the body, none if it is unfinished.
    fn decode(bytes: &[u8], piece: usize) -> Result<Option<usize>, Why> {
        let mut decoder = BodyDecoder::new(BodyLength::Chunked);
        let mut used = 0;
        for piece in bytes.chunks(piece) {
            used += decoder.consume(piece)?;
        }
        Ok(decoder.is_done().then_some(used))
    }

    #[test]
    fn chunked_body_ends_where_its_framing_says() {
        for (bytes, expected) in [
            (&b"0\r\n\r\nGET /"[..], Ok(Some(5))),
            (b"5\r\nhello\r\n0\r\n\r\nx", Ok(Some(15))),
            (b"00A\r\n0123456789\r\n000\r\n\r\n", Ok(Some(24))),
            (b"1;a=b;c=\"d\"\r\nx\r\n0 ;e\r\n\r\n", Ok(Some(24))),
            (b"1 ; a = b\t;\tc = \"\\\";\"\r\nx\r\n0\r\n\r\n", Ok(Some(31))),
            (b"0\r\nA: b\r\nC: d\r\n\r\n", Ok(Some(17))),
            (b"5\r\nhello\r\n0\r\n", Ok(None)),
            (b"", Ok(None)),
            (b"100000\r\n", Ok(None)),
            (b"100001\r\n", Err(Why::ContentTooLarge)),
            (b"ffffffffffffffff\r\n", Err(Why::ContentTooLarge)),
            (b"\r\n", Err(Why::ChunkSyntax)),
            (b"0\n\n", Err(Why::ChunkSyntax)),
            (b"0\r\n\n", Err(Why::ChunkSyntax)),
            (b"1\r\nx\n0\r\n\r\n", Err(Why::ChunkSyntax)),
            (b"1\r\nxx\r\n0\r\n\r\n", Err(Why::ChunkSyntax)),
            (b"1;a\nb\r\nx\r\n", Err(Why::ChunkSyntax)),
            (b"0x1\r\n", Err(Why::ChunkSyntax)),
            (b"1;\r\n", Err(Why::ChunkSyntax)),
            (b"1;;a\r\n", Err(Why::ChunkSyntax)),
            (b"1;=b\r\n", Err(Why::ChunkSyntax)),
            (b"1;a=\r\n", Err(Why::ChunkSyntax)),
            (b"1;a=\"b\r\n", Err(Why::ChunkSyntax)),
            (b"1;a b\r\n", Err(Why::ChunkSyntax)),
            (b"1;(a)\r\n", Err(Why::ChunkSyntax)),
            (b"0\r\nno colon\r\n\r\n", Err(Why::ChunkSyntax)),
            (b"0\r\nX : y\r\n\r\n", Err(Why::ChunkSyntax)),
            (b"0\r\nX: y\r\n z\r\n\r\n", Err(Why::ChunkSyntax)),
            (b"-1\r\n", Err(Why::ChunkSyntax)),
            (b" 1\r\n", Err(Why::ChunkSyntax)),
            (b"g\r\n", Err(Why::ChunkSyntax)),
            (b"1 \r\nx\r\n", Err(Why::ChunkSyntax)),
            (b"1 a\r\nx\r\n", Err(Why::ChunkSyntax)),
            (b"1\r\r\nx\r\n", Err(Why::ChunkSyntax)),
            (b"0\r\nA: \0\r\n\r\n", Err(Why::ChunkSyntax)),
        ] {
            for piece in [1, 2, 3, 7, 1000] {
                assert_eq!(decode(bytes, piece), expected, "{} by {piece}", bytes.escape_ascii());
            }
        }
    }

    #[test]
    fn content_and_framing_have_limits() {
        let chunk = [b"8000\r\n", "x".repeat(0x8000).as_bytes(), b"\r\n"].concat();
        assert_eq!(decode(&[&chunk.repeat(32)[..], b"0\r\n\r\n"].concat(), 4096).map(|end| end.is_some()), Ok(true));
        assert_eq!(decode(&[&chunk.repeat(32)[..], b"1\r\n"].concat(), 4096), Err(Why::ContentTooLarge));
        assert_eq!(decode(&[b"0\r\n", "A: b\r\n".repeat(9_000).as_bytes()].concat(), 4096), Ok(None));
        assert_eq!(decode(&[b"0\r\n", "A: b\r\n".repeat(12_000).as_bytes()].concat(), 4096), Err(Why::ContentTooLarge));
        assert_eq!(decode(&[&b"1\r\nx\r\n".repeat(60_000)[..], b"0\r\n\r\n"].concat(), 4096), Ok(Some(360_005)));
        assert_eq!(decode(&[b"0;", "x".repeat(70_000).as_bytes()].concat(), 4096), Err(Why::ContentTooLarge));
    }

    #[test]
    fn counted_body_ends_after_its_length() {
        for (length, pieces) in [(0, vec![(&b"GET"[..], 0)]), (5, vec![(b"abc", 3), (b"", 0), (b"deGET", 2)])] {
            let mut decoder = BodyDecoder::new(BodyLength::Exactly(length));
            for (piece, used) in pieces {
                assert_eq!(decoder.consume(piece), Ok(used));
            }
            assert!(decoder.is_done());
        }
    }
}
