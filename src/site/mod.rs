//! Responses: from a request value to a response value. Read [`SiteSession::plan`] first.
//!
//! Nothing is sent or logged here, and nothing can fail: an error is a response too. Files are opened only through
//! `files`. The files are listed from low to high: each imports only from those above it. `lookup` finds a file,
//! `content_coding` its variant, `represent` the validators, conditions and ranges; `refusal` and `page` explain errors.

pub mod compress;
pub mod link;
pub mod media_type;

pub mod headers;
pub mod response;

pub mod refusal;

pub mod lookup;
pub mod precompressed;

pub mod content_coding;

pub mod represent;

pub mod listing;

pub mod page;

use std::cell::{Cell, OnceCell};
use std::io;
use std::sync::Arc;
use std::time::SystemTime;

use crate::files::cache::Cache;
use crate::files::root::{Root, RootPath};
use crate::files::semaphore::Semaphore;
use crate::proto::host;
use crate::proto::request::{Head, Method};
use crate::proto::status::Status;
use crate::proto::target::{RelPath, Target};
use crate::proto::why::Why;
use content_coding::Compression;
use headers::DefaultHeaders;
use lookup::Found;
use precompressed::WarnOnce;
use refusal::{ALLOW, Refusal};
use response::{Body, Response};

/// The configuration and caches that all connections share.
#[derive(Debug)]
pub struct Site {
    /// The document root.
    pub root: RootPath,
    /// The names of index files; the first one found is sent.
    pub index: Vec<RelPath>,
    /// Whether directories without an index file are listed.
    pub list: bool,
    /// The listings that may be in memory at once: one of a large directory takes megabytes until its client has read it.
    pub listings: Semaphore,
    /// The page for missing files, if the root has it.
    pub not_found: RelPath,
    /// Whether names that begin with a dot are served.
    pub hidden: bool,
    /// The charset parameter of text types.
    pub charset: Option<String>,
    /// The file cache.
    pub files: Cache,
    /// The fields of every response.
    pub headers: DefaultHeaders,
    /// The warnings about precompressed files; none if these are not used.
    pub precompressed: Option<WarnOnce>,
    /// The settings of compression; none if it is off.
    pub compression: Option<Compression>,
}

/// A source of responses.
pub trait Respond {
    /// Responds to a request.
    fn respond(&self, request: &Request<'_>) -> Response;

    /// Reports whether responses are counted and written to the access log.
    fn is_recorded(&self) -> bool {
        true
    }
}

/// A request.
#[derive(Clone, Copy)]
pub struct Request<'r> {
    /// Its head.
    pub head: &'r Head<'r>,
    /// The time of its arrival.
    pub now: SystemTime,
}

/// The site as one connection sees it. The root is resolved once, so that a page and its resources come from one release
/// when a deploy changes the root's link.
pub struct SiteSession<'s> {
    root: OnceCell<Arc<Root>>,
    /// The error that kept an encoding from being selected for the present response, for the log alone.
    encoding_error: Cell<Option<io::Error>>,
    site: &'s Site,
}

impl Respond for SiteSession<'_> {
    fn respond(&self, request: &Request<'_>) -> Response {
        let mut response = self.plan(request).unwrap_or_else(|refusal| self.explain(request, refusal));
        response.cause = response.cause.or(self.encoding_error.take());
        response
    }
}

impl<'s> SiteSession<'s> {
    /// Makes the view of one connection.
    pub fn new(site: &'s Site) -> SiteSession<'s> {
        SiteSession { root: OnceCell::new(), encoding_error: Cell::new(None), site }
    }

    /// Returns the root as it was at the connection's first request. If opening it fails, the next request tries again.
    fn root(&self) -> Result<&Root, Refusal> {
        if let Some(root) = self.root.get() {
            return Ok(root);
        }
        let root = self.site.root.open().map_err(Refusal::from_root)?;
        Ok(self.root.get_or_init(|| root))
    }

    fn plan(&self, request: &Request<'_>) -> Result<Response, Refusal> {
        host::check(request.head)?;
        match request.head.method {
            Method::Get | Method::Head => {}
            Method::Options => return self.options(request.head),
            Method::Connect | Method::Unserved => return Err(Refusal::not_allowed(request.head)),
            Method::Unknown => return Err(Why::MethodUnknown.because(request.head.line).into()),
        }
        let target = Target::parse(request.head.target)?;
        match self.lookup(&target)? {
            Found::File(path, file) => self.represent(request, &path, self.choose(request, &path, file)),
            Found::Listing(dir) => self.list(request, &target, dir),
            Found::Redirect => Err(Refusal::redirect(&target)),
        }
    }

    /// Responds to OPTIONS (RFC 9110 §9.3.7), for the server or for a path, whether or not it leads to a file.
    fn options(&self, head: &Head<'_>) -> Result<Response, Refusal> {
        if head.target != b"*" {
            Target::parse(head.target)?;
        }
        let head = self.site.headers.head(Status::NoContent).field("Allow", ALLOW);
        Ok(Response::new(head, Body::Empty))
    }
}
