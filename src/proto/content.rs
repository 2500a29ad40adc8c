//! Finds the end of a request's content, of whatever framing, in bytes that arrive in pieces (RFC 9112 §6.3).

use super::chunked::Decoder;
use super::framing::BodyLength;
use super::why::Why;

/// Content that is being received and thrown away.
#[derive(Debug)]
pub enum Content {
    /// So many bytes are to come.
    Exactly(u64),
    /// Chunks are to come.
    Chunked(Decoder),
}

impl Content {
    /// Begins with content of this length.
    pub fn new(length: BodyLength) -> Content {
        match length {
            BodyLength::Exactly(length) => Content::Exactly(length),
            BodyLength::Chunked => Content::Chunked(Decoder::default()),
        }
    }

    /// Goes on with the next bytes and returns how many of them belong to the content.
    pub fn consume(&mut self, bytes: &[u8]) -> Result<usize, Why> {
        match self {
            Content::Exactly(left) => {
                let used = bytes.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= used as u64;
                Ok(used)
            }
            Content::Chunked(decoder) => decoder.consume(bytes),
        }
    }

    /// Reports whether the content is over.
    pub fn is_done(&self) -> bool {
        match self {
            Content::Exactly(left) => *left == 0,
            Content::Chunked(decoder) => decoder.is_done(),
        }
    }
}
