//! Takes the chunked transfer coding apart, to find where content ends (RFC 9112 §7.1).
//!
//! The content itself is not wanted by any file, so it is counted and dropped. LogWriter end in CR LF and nothing else:
//! this is framing, which nobody types, and a bare line feed here has been used to smuggle requests.

use super::framing::CONTENT_MAX;
use super::request::field_line;
use super::syntax::{is_field_byte, is_tchar, trim_ows_start};
use super::why::Why;

/// The longest line between chunks, with its extensions, and the longest field behind them. It is kept until it ends.
const LINE_MAX: usize = 8 * 1024;

/// The most bytes of framing in one chunked message, sizes, extensions and trailer fields, beyond eight for each byte
/// of content, so that chunks of one byte are no offence.
const FRAMING_MAX: u64 = 65536;

/// How far the decoding of one chunked message has come.
#[derive(Debug, Default)]
pub struct Decoder {
    state: State,
    /// The line that is being received, where the state is one of a line.
    line: Vec<u8>,
    content: u64,
    framing: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// In the line of a chunk's size.
    #[default]
    Size,
    /// In a chunk's data, with so many bytes to come.
    Data(u64),
    /// In the line end behind a chunk's data.
    DataEnd,
    /// In a line of the trailer section; an empty one is the last.
    Trailer,
    End,
}

impl Decoder {
    /// Goes on with the next bytes and returns how many of them belong to this message: all, or less once it has
    /// ended. The error says what is wrong with the framing or that a limit is passed.
    pub fn consume(&mut self, bytes: &[u8]) -> Result<usize, Why> {
        let mut used = 0;
        while used < bytes.len() && self.state != State::End {
            if let State::Data(left) = self.state {
                let taken = left.min((bytes.len() - used) as u64);
                used += taken as usize;
                self.state = if taken == left { State::DataEnd } else { State::Data(left - taken) };
            } else {
                self.take(bytes[used])?;
                used += 1;
            }
        }
        Ok(used)
    }

    /// Reports whether the message has ended.
    pub fn is_done(&self) -> bool {
        self.state == State::End
    }

    /// Adds a byte to the current line, which CR LF ends and neither of them alone.
    fn take(&mut self, byte: u8) -> Result<(), Why> {
        self.framing += 1;
        if self.framing > FRAMING_MAX + 8 * self.content || self.line.len() >= LINE_MAX {
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

    fn end_line(&mut self) -> Result<State, Why> {
        match self.state {
            State::Size => match size(&self.line)? {
                0 => Ok(State::Trailer),
                size => {
                    self.content = self.content.saturating_add(size);
                    if self.content > CONTENT_MAX { Err(Why::ContentTooLarge) } else { Ok(State::Data(size)) }
                }
            },
            State::DataEnd if self.line.is_empty() => Ok(State::Size),
            State::Trailer if self.line.is_empty() => Ok(State::End),
            State::Trailer if field_line(&self.line).is_ok() => Ok(State::Trailer),
            _ => Err(Why::ChunkSyntax),
        }
    }
}

/// Reads `chunk-size [ chunk-ext ]`; a size past `u64` is the largest `u64`.
fn size(line: &[u8]) -> Result<u64, Why> {
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    if digits == 0 || !is_extensions(&line[digits..]) {
        return Err(Why::ChunkSyntax);
    }
    let add = |size: u64, digit: &u8| size.checked_mul(16)?.checked_add(char::from(*digit).to_digit(16)?.into());
    Ok(line[..digits].iter().try_fold(0, add).unwrap_or(u64::MAX))
}

/// `*( BWS ";" BWS chunk-ext-name [ BWS "=" BWS chunk-ext-val ] )` (RFC 9112 §7.1.1); none of them means anything here.
fn is_extensions(mut rest: &[u8]) -> bool {
    while !rest.is_empty() {
        let Some(name) = trim_ows_start(rest).strip_prefix(b";") else { return false };
        let Some(after_name) = skip_token(trim_ows_start(name)) else { return false };
        rest = match trim_ows_start(after_name).strip_prefix(b"=") {
            None => after_name,
            Some(value) => match skip_value(trim_ows_start(value)) {
                Some(after_value) => after_value,
                None => return false,
            },
        };
    }
    true
}

fn skip_token(bytes: &[u8]) -> Option<&[u8]> {
    let length = bytes.iter().take_while(|byte| is_tchar(**byte)).count();
    if length == 0 { None } else { Some(&bytes[length..]) }
}

/// `token / quoted-string` (RFC 9110 §5.6.4).
fn skip_value(bytes: &[u8]) -> Option<&[u8]> {
    let Some(mut quoted) = bytes.strip_prefix(b"\"") else {
        return skip_token(bytes);
    };
    loop {
        quoted = match quoted {
            [b'"', rest @ ..] => return Some(rest),
            [b'\\', byte, rest @ ..] | [byte, rest @ ..] if is_field_byte(*byte) => rest,
            _ => return None,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_between_chunks_is_kept_only_so_long() {
        let content = [b"100000\r\n".as_slice(), &[b'x'; 1 << 20], b"\r\n0\r\nX: "].concat();
        let mut decoder = Decoder::default();
        assert_eq!(decoder.consume(&content), Ok(content.len()));
        assert_eq!(decoder.consume(&[b'a'; LINE_MAX]), Err(Why::ContentTooLarge));
    }

    /// Decodes in pieces of one size; the bytes used once the message ended, none where it did not.
    fn decode(bytes: &[u8], piece: usize) -> Result<Option<usize>, Why> {
        let mut decoder = Decoder::default();
        let mut used = 0;
        for piece in bytes.chunks(piece) {
            used += decoder.consume(piece)?;
        }
        Ok(decoder.is_done().then_some(used))
    }

    #[test]
    fn a_message_ends_where_its_framing_says_in_pieces_of_any_size() {
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
    fn neither_content_nor_framing_is_without_bound() {
        let chunk = [b"8000\r\n", "x".repeat(0x8000).as_bytes(), b"\r\n"].concat();
        assert_eq!(decode(&[&chunk.repeat(32)[..], b"0\r\n\r\n"].concat(), 4096).map(|end| end.is_some()), Ok(true));
        assert_eq!(decode(&[&chunk.repeat(32)[..], b"1\r\n"].concat(), 4096), Err(Why::ContentTooLarge));
        assert_eq!(decode(&[b"0\r\n", "A: b\r\n".repeat(9_000).as_bytes()].concat(), 4096), Ok(None));
        assert_eq!(decode(&[b"0\r\n", "A: b\r\n".repeat(12_000).as_bytes()].concat(), 4096), Err(Why::ContentTooLarge));
        assert_eq!(decode(&[&b"1\r\nx\r\n".repeat(60_000)[..], b"0\r\n\r\n"].concat(), 4096), Ok(Some(360_005)));
        assert_eq!(decode(&[b"0;", "x".repeat(70_000).as_bytes()].concat(), 4096), Err(Why::ContentTooLarge));
    }
}
