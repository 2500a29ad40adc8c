//! HTTP as values: bytes in, checked values out, and back.
//!
//! Nothing here reads a socket, a clock, a file or the environment, and nothing logs, so tables and fuzz targets test each
//! parser alone. The fuzz crate includes this folder by path: an import of another layer does not compile there.
//!
//! Names are the RFCs' words: 9110 defines the semantics of HTTP, 9112 the wire format of version 1.1, 3986 URIs. The
//! files are listed from low to high: each imports only from those above it.

pub mod status;
pub mod syntax;
pub mod why;

pub mod date;
pub mod etag;
pub mod proxy_protocol;
pub mod request;

pub mod framing;
pub mod host;
pub mod target;

pub mod accept;
pub mod body;
pub mod conditional;
pub mod forwarded;
pub mod multipart;
pub mod range;
pub mod repr_digest;
pub mod response;
