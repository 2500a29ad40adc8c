//! HeaderPolicy: what is answered to a request. The page to read first is [`SiteSession::plan`].
//!
//! The answer is a value: nothing is sent here, nothing is logged, and nothing can fail, because an error is an answer
//! too. Files are opened only through the `files` layer.

pub mod compress;
pub mod content_coding;
pub mod headers;
pub mod link;
pub mod listing;
pub mod lookup;
pub mod media_type;
pub mod page;
pub mod refusal;
pub mod represent;
pub mod response;
pub mod semaphore;

use std::cell::OnceCell;
use std::sync::Arc;
use std::time::SystemTime;

use crate::files::cache::Cache;
use crate::files::root::{Root, RootPath};
use crate::proto::host;
use crate::proto::request::{Head, Method};
use crate::proto::status::Status;
use crate::proto::target::{RelPath, Target};
use crate::proto::why::{Reject, Why};
use content_coding::{Compression, WarnOnce};
use headers::HeaderPolicy;
use lookup::Found;
use refusal::{PageFormat, Refusal};
use response::{Body, Response};
use semaphore::Semaphore;

/// What the operator asked for.
#[derive(Debug)]
pub struct Site {
    /// The document root.
    pub root: RootPath,
    /// The names of index files, the first one found is sent.
    pub index: Vec<RelPath>,
    /// Whether directories without an index file are listed.
    pub list: bool,
    /// How many of these listings there may be in memory at once: a large one takes some megabytes until its client has taken
    /// it.
    pub listings: Semaphore,
    /// The page that is sent where there is nothing, if the root has it.
    pub not_found: RelPath,
    /// Whether names that begin with a dot are served.
    pub hidden: bool,
    /// The charset parameter of text types, if any.
    pub charset: Option<String>,
    /// The files that are kept in memory.
    pub files: Cache,
    /// The fields that answers carry by policy.
    pub headers: HeaderPolicy,
    /// Whether neighbours of files are sent in their place, and of which a warning was given.
    pub precompressed: Option<WarnOnce>,
    /// What is compressed here, if anything.
    pub compression: Option<Compression>,
}

/// Whoever answers requests.
pub trait Respond {
    /// Answers a request.
    fn respond(&self, request: &Request<'_>) -> Response;

    /// Answers what is no request, or none whose end can be found.
    fn refuse(&self, reject: Reject<'_>, form: PageFormat) -> Response;

    /// Reports whether what is answered is to be counted, and written to the access log.
    fn is_recorded(&self) -> bool {
        true
    }
}

/// A request to be answered.
#[derive(Clone, Copy)]
pub struct Request<'r> {
    /// Its head.
    pub head: &'r Head<'r>,
    /// When it arrived.
    pub now: SystemTime,
}

/// The site as one connection sees it: the root is resolved once, so that a page and what belongs to it come from one
/// release where a deploy swaps the root's link.
pub struct SiteSession<'s> {
    root: OnceCell<Arc<Root>>,
    site: &'s Site,
}

impl Respond for SiteSession<'_> {
    fn respond(&self, request: &Request<'_>) -> Response {
        self.plan(request).unwrap_or_else(|refusal| self.explain(request, refusal))
    }

    fn refuse(&self, reject: Reject<'_>, form: PageFormat) -> Response {
        self.page(Refusal::from(reject), form)
    }
}

impl<'s> SiteSession<'s> {
    /// Begins a connection's view.
    pub fn new(site: &'s Site) -> SiteSession<'s> {
        SiteSession { root: OnceCell::new(), site }
    }

    /// The root as it was at the connection's first request. Where it could not be opened, the next request tries
    /// again.
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
            Method::Connect | Method::Unserved => return Err(self.not_allowed(request.head)),
            Method::Unknown => return Err(Why::MethodUnknown.because(request.head.line).into()),
        }
        let target = Target::parse(request.head.target)?;
        match self.lookup(&target)? {
            Found::File(path, file) => self.represent(request, &path, self.choose(request, &path, file)),
            Found::Listing(dir) => self.list(request, &target, dir),
            Found::Redirect => Err(self.redirect(&target)),
        }
    }

    /// Answers OPTIONS (RFC 9110 §9.3.7), for the server as a whole or for a path, whether or not a file is there.
    fn options(&self, head: &Head<'_>) -> Result<Response, Refusal> {
        if head.target != b"*" {
            Target::parse(head.target)?;
        }
        let head = self.site.headers.head(Status::NoContent).field("Allow", refusal::ALLOW);
        Ok(Response::new(head, Body::Empty))
    }
}
