//! An answer as a value: complete before its first byte is sent.

use std::io;
use std::ops::Range;

use super::semaphore::Permit;
use crate::files::file::OpenFile;
use crate::proto::accept::Coding;
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
    /// The right to what it costs: to hold a listing in memory, or to compress a file while it is sent.
    #[allow(dead_code, reason = "it is given back when the answer is dropped, and nobody has to look at it")]
    pub pass: Option<Permit>,
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
    /// A whole file, which is put into this coding while it is sent.
    Coded(OpenFile, Coding),
}

impl Response {
    /// Puts an answer together.
    pub fn new(head: ResponseHead, body: Body) -> Response {
        Response { head, body, why: None, cause: None, pass: None }
    }
}

impl Body {
    /// The number of bytes that will be sent, where that is known before; Content-Length is written from this alone.
    pub fn len(&self) -> Option<u64> {
        match self {
            Body::Empty => Some(0),
            Body::Bytes(bytes) => Some(bytes.len() as u64),
            Body::Span(_, span) => Some(span.end - span.start),
            Body::Parts(_, multipart) => Some(multipart.len()),
            Body::Coded(..) => None,
        }
    }
}
