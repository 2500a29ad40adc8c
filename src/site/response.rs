//! An answer as a value: complete before its first byte is sent.

use std::io;
use std::ops::Range;

use super::listing::Pass;
use crate::files::file::OpenFile;
use crate::proto::multipart::Multipart;
use crate::proto::response::ResponseHead;
use crate::proto::why::Why;

/// An answer to a request. It borrows nothing from the request.
#[derive(Debug)]
pub struct Response {
    /// Status and fields, but for those that belong to the sending.
    pub head: ResponseHead,
    /// The content.
    pub body: Body,
    /// Why this is not the file that was asked for, where it is not.
    pub why: Option<Why>,
    /// What the file system said, for the log alone.
    pub cause: Option<io::Error>,
    /// The right to hold a listing in memory, where it is one.
    #[allow(dead_code, reason = "it is given back when the answer is dropped, and nobody has to look at it")]
    pub pass: Option<Pass>,
}

/// The content of an answer.
#[derive(Debug)]
pub enum Body {
    /// No bytes.
    Empty,
    /// Bytes in memory.
    Bytes(Vec<u8>),
    /// Some bytes of a file.
    Span(OpenFile, Range<u64>),
    /// Several spans of a file, in a frame.
    Parts(OpenFile, Box<Multipart>),
}

impl Response {
    /// Puts an answer together.
    pub fn new(head: ResponseHead, body: Body) -> Response {
        Response { head, body, why: None, cause: None, pass: None }
    }
}

impl Body {
    /// The number of bytes that will be sent; Content-Length is written from this alone.
    pub fn len(&self) -> u64 {
        match self {
            Body::Empty => 0,
            Body::Bytes(bytes) => bytes.len() as u64,
            Body::Span(_, span) => span.end - span.start,
            Body::Parts(_, multipart) => multipart.len(),
        }
    }
}
