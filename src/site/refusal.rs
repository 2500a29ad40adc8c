//! Refusals and redirects: answers that explain themselves.
//!
//! The client is told what was received, which rule it broke and what to send instead. What the file system said goes
//! to the log alone.

use std::io;

use super::headers::Caching;
use super::response::{Body, Response};
use super::{Request, SiteSession, link, media_type, page};
use crate::files::OpenError;
use crate::files::root::Node;
use crate::proto::accept::media_weight;
use crate::proto::request::{Fields, Head};
use crate::proto::status::Status;
use crate::proto::target::Target;
use crate::proto::why::{Reject, Why};

/// The methods that are served (RFC 9110 §10.2.1).
pub const ALLOW: &str = "GET, HEAD, OPTIONS";

/// How soon a client may ask again where a file or the server is busy (RFC 9110 §10.2.3).
const RETRY_AFTER_SECS: u64 = 1;

/// The most bytes of a request that are quoted in an explanation.
const QUOTED_MAX: usize = 200;

/// A request that gets something else than what it asked for.
#[derive(Debug)]
pub struct Refusal {
    /// The reason.
    pub why: Why,
    /// The part of the request that is at fault, readable and not long; empty for the target.
    pub received: String,
    /// A field that belongs to the status, such as Allow.
    pub field: Option<(&'static str, String)>,
    /// What the file system said.
    cause: Option<io::Error>,
}

/// The form of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageFormat {
    /// For a terminal.
    Text,
    /// For a browser.
    Html,
}

impl PageFormat {
    /// The form that the client would rather have; text where both are the same to it (RFC 9110 §12.5.1).
    pub fn preferred(fields: &Fields<'_>) -> PageFormat {
        let weight = |media_type| media_weight(fields, media_type);
        if weight("text/html") > weight("text/plain") { PageFormat::Html } else { PageFormat::Text }
    }
}

impl Refusal {
    /// Adds the field that belongs to the status.
    pub fn with(mut self, name: &'static str, value: String) -> Refusal {
        self.field = Some((name, value));
        self
    }

    /// Adds what has to be said in the log, where there is something.
    pub fn caused_by(self, cause: Option<io::Error>) -> Refusal {
        Refusal { cause, ..self }
    }

    /// The root itself cannot be opened. Whatever the reason is, it is not the client's.
    pub fn from_root(error: io::Error) -> Refusal {
        let said = format!("the root cannot be opened: {error}");
        let why = match OpenError::from(error) {
            OpenError::OutOfResources(_) => Why::OutOfResources,
            _ => Why::FileSystem,
        };
        Refusal { cause: Some(io::Error::other(said)), ..Refusal::from(why) }
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
            OpenError::Restless => return Why::KeepsChanging.into(),
            OpenError::Unreadable(cause) => (Why::Unreadable, cause),
            OpenError::OutOfResources(cause) => (Why::OutOfResources, cause),
            OpenError::Failed(cause) => (Why::FileSystem, cause),
        };
        Refusal { cause: Some(cause), ..Refusal::from(why) }
    }
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Refusal {
        Refusal::from(OpenError::from(error))
    }
}

impl SiteSession<'_> {
    /// Refuses a method that is known but not served (RFC 9110 §15.5.6).
    pub fn not_allowed(&self, head: &Head<'_>) -> Refusal {
        Refusal::from(Why::MethodNotAllowed.because(head.line)).with("Allow", ALLOW.to_owned())
    }

    /// Sends the client to the address with the slash, by a path that keeps the query.
    pub fn redirect(&self, target: &Target<'_>) -> Refusal {
        Refusal::from(Why::DirectoryWithoutSlash).with("Location", link::to_directory(target))
    }

    /// Answers with the page for a refusal, in the form that the client would rather have.
    #[cold]
    pub fn explain(&self, request: &Request<'_>, mut refusal: Refusal) -> Response {
        // That listings are off is for whoever set the site up, so the site's own page does not hide it.
        if refusal.why.status() == Status::NotFound && refusal.why != Why::ListingOff {
            match self.own_not_found(request, refusal.why) {
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

    /// Answers with the page for a refusal in this form.
    pub fn page(&self, refusal: Refusal, form: PageFormat) -> Response {
        let (media_type, page) = match form {
            PageFormat::Text => ("text/plain; charset=utf-8", page::explanation_text(&refusal)),
            PageFormat::Html => ("text/html; charset=utf-8", page::explanation_html(&refusal)),
        };
        let status = refusal.why.status();
        let is_redirect = matches!(status, Status::MovedPermanently | Status::PermanentRedirect);
        let caching = if is_redirect { Caching::Revalidate } else { Caching::Never };
        let head = self.site.headers.cached_head(status, caching).field("Content-Type", media_type);
        let head = head.field("Vary", "Accept");
        let head = head.maybe("Retry-After", (status == Status::ServiceUnavailable).then_some(RETRY_AFTER_SECS));
        let head = match refusal.field {
            Some((name, value)) => head.field(name, value),
            None => head,
        };
        let body = Body::Bytes(page.into_bytes());
        Response { why: Some(refusal.why), cause: refusal.cause, ..Response::new(head, body) }
    }

    /// The operator's own page for what is not there, if there is one, for a client that takes HTML.
    fn own_not_found(&self, request: &Request<'_>, why: Why) -> Result<Option<Response>, Refusal> {
        let path = &self.site.not_found;
        if media_weight(&request.head.fields, "text/html") == 0 {
            return Ok(None);
        }
        let file = match self.site.files.open(self.root()?, path) {
            Ok(Node::File(file)) => file,
            Ok(Node::Dir(_)) | Err(OpenError::NotFound) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let whole = 0..file.meta().len;
        let head = self.site.headers.cached_head(Status::NotFound, Caching::Never);
        let head = head.field("Content-Type", media_type::of(path, self.site.charset.as_deref()));
        let head = head.field("Vary", "Accept");
        Ok(Some(Response { why: Some(why), ..Response::new(head, Body::Span(file, whole)) }))
    }
}

/// Makes bytes of a request readable: control bytes and what is not ASCII are escaped, and what is long is cut.
fn quote(bytes: &[u8]) -> String {
    let cut = &bytes[..bytes.len().min(QUOTED_MAX)];
    let dots = if cut.len() < bytes.len() { " …" } else { "" };
    format!("{}{dots}", cut.escape_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_quoted_is_readable_and_not_long() {
        assert_eq!(quote(b"GET /\x1b[2J\n\xff"), r"GET /\x1b[2J\n\xff");
        assert_eq!(quote(&[b'a'; QUOTED_MAX]), "a".repeat(QUOTED_MAX));
        assert_eq!(quote(&[b'a'; QUOTED_MAX + 1]), format!("{} …", "a".repeat(QUOTED_MAX)));
    }
}
