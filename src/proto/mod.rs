//! HTTP as values: bytes in, checked values out, and back.
//!
//! Nothing here reads a socket, a clock, a file or the environment, and nothing logs. That is what lets every parser be
//! tested by tables and fuzzed alone: the fuzz crate includes this folder by path, so an import of another layer does
//! not compile there.
//!
//! The RFCs' own words name the values: 9110 is the semantics of HTTP, 9112 its form on the wire in version 1.1, 3986
//! the syntax of targets.

pub mod accept;
pub mod chunked;
pub mod conditional;
pub mod content;
pub mod date;
pub mod etag;
pub mod forwarded;
pub mod framing;
pub mod host;
pub mod multipart;
pub mod proxy_protocol;
pub mod range;
pub mod repr_digest;
pub mod request;
pub mod response;
pub mod scan;
pub mod status;
pub mod syntax;
pub mod target;
pub mod why;
