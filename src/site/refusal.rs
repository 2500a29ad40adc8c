//! Refusals and redirects: responses without the requested content.
//!
//! The page states what was received, the rule that applies, and what to send instead. Errors of the file system go to the
//! log alone.

use std::io;

use super::headers::Caching;
use super::response::{Body, Response};
use super::{Request, SiteSession, link, media_type};
use crate::files::OpenError;
use crate::proto::accept::media_weight;
use crate::proto::request::{Fields, Head};
use crate::proto::status::Status;
use crate::proto::target::Target;
use crate::proto::why::{Reject, Why};

/// The methods supported (RFC 9110 §10.2.1).
pub const ALLOW: &str = "GET, HEAD, OPTIONS";

/// Bytes of a request quoted on a page.
const QUOTED_MAX: usize = 200;

/// A response without the requested content, before it is rendered.
#[derive(Debug)]
pub struct Refusal {
    /// The reason.
    pub why: Why,
    /// The faulty part of the request, escaped and cut; empty for the target.
    pub received: String,
    /// A field of the status, such as Allow.
    pub field: Option<(&'static str, String)>,
    /// The error of the file system.
    pub cause: Option<io::Error>,
}

/// The format of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageFormat {
    /// Plain text, for a terminal.
    Text,
    /// HTML, for a browser.
    Html,
}

impl PageFormat {
    /// Returns the format that the client prefers, or text (RFC 9110 §12.5.1).
    pub fn preferred(fields: &Fields<'_>) -> PageFormat {
        let weight = |media_type| media_weight(fields, media_type);
        if weight("text/html") > weight("text/plain") { PageFormat::Html } else { PageFormat::Text }
    }
}

impl Refusal {
    /// Adds a field of the status.
    pub fn with(self, name: &'static str, value: String) -> Refusal {
        Refusal { field: Some((name, value)), ..self }
    }

    /// Refuses a method that is known but not served (RFC 9110 §15.5.6).
    pub fn not_allowed(head: &Head<'_>) -> Refusal {
        Refusal::from(Why::MethodNotAllowed.because(head.line)).with("Allow", ALLOW.to_owned())
    }

    /// Redirects to the address with the slash, which keeps the query.
    pub fn redirect(target: &Target<'_>) -> Refusal {
        Refusal::from(Why::DirectoryWithoutSlash).with("Location", link::to_directory(target))
    }

    /// Makes the refusal for a root that cannot be opened: never the client's fault.
    pub fn from_root(error: io::Error) -> Refusal {
        let cause = io::Error::other(format!("the root cannot be opened: {error}"));
        let is_out_of_resources = matches!(OpenError::from(error), OpenError::OutOfResources(_));
        let why = if is_out_of_resources { Why::OutOfResources } else { Why::FileSystem };
        Refusal { cause: Some(cause), ..Refusal::from(why) }
    }
}

impl From<Why> for Refusal {
    fn from(why: Why) -> Refusal {
        Refusal { why, received: String::new(), field: None, cause: None }
    }
}

impl From<Reject<'_>> for Refusal {
    fn from(reject: Reject<'_>) -> Refusal {
        Refusal { received: quote(reject.received), ..Refusal::from(reject.why) }
    }
}

impl From<OpenError> for Refusal {
    fn from(error: OpenError) -> Refusal {
        let (why, cause) = match error {
            OpenError::NotFound => return Why::NotFound.into(),
            OpenError::KeepsChanging => return Why::KeepsChanging.into(),
            OpenError::Unreadable(cause) => (Why::Unreadable, cause),
            OpenError::OutOfResources(cause) => (Why::OutOfResources, cause),
            OpenError::Failed(cause) => (Why::FileSystem, cause),
        };
        Refusal { cause: Some(cause), ..Refusal::from(why) }
    }
}

impl SiteSession<'_> {
    /// Responds with the page for a refusal in the client's preferred format, or with the operator's page.
    #[cold]
    pub fn explain(&self, request: &Request<'_>, mut refusal: Refusal) -> Response {
        // The operator's page does not hide that listings are off: the operator has to read that.
        if refusal.why.status() == Status::NotFound && refusal.why != Why::ListingOff {
            match self.custom_not_found(request, refusal.why) {
                Ok(Some(response)) => return response,
                Ok(None) => {}
                Err(fault) => refusal.cause = fault.cause,
            }
        }
        if refusal.received.is_empty() {
            refusal.received = quote(request.head.target);
        }
        self.page(refusal, PageFormat::preferred(&request.head.fields))
    }

    /// Returns the operator's page for missing files, if the root has one and the client accepts HTML.
    fn custom_not_found(&self, request: &Request<'_>, why: Why) -> Result<Option<Response>, Refusal> {
        let path = &self.site.not_found;
        if media_weight(&request.head.fields, "text/html") == 0 {
            return Ok(None);
        }
        let Some(file) = self.site.files.open_file(self.root()?, path)? else { return Ok(None) };
        let whole = 0..file.meta.len;
        let media_type = media_type::of(path, self.site.charset.as_deref());
        let head = self.site.headers.cached_head(Status::NotFound, Caching::Never);
        let head = head.field("Content-Type", media_type).field("Vary", "Accept");
        Ok(Some(Response { why: Some(why), ..Response::new(head, Body::Span(file, whole)) }))
    }
}

/// Quotes bytes of a request: all but printable ASCII is escaped, and long values are cut.
fn quote(bytes: &[u8]) -> String {
    let cut = &bytes[..bytes.len().min(QUOTED_MAX)];
    let dots = if cut.len() < bytes.len() { " …" } else { "" };
    format!("{}{dots}", cut.escape_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_bytes_are_escaped_and_cut() {
        assert_eq!(quote(b"GET /\x1b[2J\n\xff"), r"GET /\x1b[2J\n\xff");
        assert_eq!(quote(&[b'a'; QUOTED_MAX]), "a".repeat(QUOTED_MAX));
        assert_eq!(quote(&[b'a'; QUOTED_MAX + 1]), format!("{} …", "a".repeat(QUOTED_MAX)));
    }
}
