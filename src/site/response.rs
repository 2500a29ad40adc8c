//! Response value: a head and a body, complete before the first byte is sent.

use std::io;
use std::ops::Range;

use crate::files::file::OpenFile;
use crate::files::semaphore::Permit;
use crate::proto::accept::Coding;
use crate::proto::multipart::Multipart;
use crate::proto::response::ResponseHead;
use crate::proto::why::Why;

/// A response. It borrows nothing from the request.
#[derive(Debug)]
pub struct Response {
    /// Status and fields, without those that depend on the connection.
    pub head: ResponseHead,
    /// The content.
    pub body: Body,
    /// The reason for a response without the requested content.
    pub why: Option<Why>,
    /// The error of the file system, for the log alone.
    pub cause: Option<io::Error>,
    /// The permit for the memory of a listing, or for compressing while sending.
    #[allow(dead_code, reason = "dropping the response frees it")]
    pub permit: Option<Permit>,
}

/// The content of a response.
#[derive(Debug)]
pub enum Body {
    /// No bytes.
    Empty,
    /// Bytes in memory.
    Bytes(Vec<u8>),
    /// A span of a file.
    Span(OpenFile, Range<u64>),
    /// Several spans of a file, as a multipart body.
    Parts(OpenFile, Box<Multipart>),
    /// A whole file, compressed while it is sent.
    Coded(OpenFile, Coding),
}

impl Response {
    /// Makes a response.
    pub fn new(head: ResponseHead, body: Body) -> Response {
        Response { head, body, why: None, cause: None, permit: None }
    }
}

impl Body {
    /// The number of bytes, if it is known before they are sent. Content-Length is written from this alone.
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
