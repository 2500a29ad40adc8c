//! What the server answers for itself, to whoever looks after it: on an address of its own (`--admin`), so that nothing of
//! it is told to those who are served.

use super::Server;
use super::connections::ShutdownPhase;
use super::metrics;
use crate::proto::host;
use crate::proto::request::Method;
use crate::proto::status::Status;
use crate::proto::target::Target;
use crate::proto::why::{Reject, Why};
use crate::site::headers::Caching;
use crate::site::refusal::{PageFormat, Refusal};
use crate::site::response::{Body, Response};
use crate::site::{Request, Respond, SiteSession};

/// The methods that are served here (RFC 9110 §10.2.1).
const ALLOW: &str = "GET, HEAD";

const TEXT: &str = "text/plain; charset=utf-8";

/// Answers for the server itself.
pub struct Admin<'s> {
    /// The server.
    pub server: &'s Server,
    /// The site, for its way to explain refusals.
    pub site: &'s SiteSession<'s>,
}

impl Respond for Admin<'_> {
    fn respond(&self, request: &Request<'_>) -> Response {
        let form = PageFormat::preferred(&request.head.fields);
        self.plan(request).unwrap_or_else(|refusal| self.site.page(refusal, form))
    }

    fn refuse(&self, reject: Reject<'_>, form: PageFormat) -> Response {
        self.site.refuse(reject, form)
    }

    /// A balancer that asks each second would fill the log, and be most of what is counted.
    fn is_recorded(&self) -> bool {
        false
    }
}

impl Admin<'_> {
    fn plan(&self, request: &Request<'_>) -> Result<Response, Refusal> {
        let head = request.head;
        host::check(head)?;
        match head.method {
            Method::Get | Method::Head => {}
            Method::Unknown => return Err(Why::MethodUnknown.because(head.line).into()),
            Method::Options | Method::Connect | Method::Unserved => {
                let refusal = Refusal::from(Why::MethodNotAllowed.because(head.line));
                return Err(refusal.with("Allow", ALLOW.to_owned()));
            }
        }
        let target = Target::parse(head.target)?;
        match target.path.as_bytes() {
            b"health" if !target.ends_in_slash => Ok(self.health()),
            b"metrics" if !target.ends_in_slash => {
                self.metrics().ok_or_else(|| Why::NotFound.because(head.target).into())
            }
            _ => Err(Why::NotFound.because(head.target).into()),
        }
    }

    /// Whether a balancer should send requests here.
    fn health(&self) -> Response {
        let is_draining = self.server.connections.is_at(ShutdownPhase::Draining);
        let (status, text) =
            if is_draining { (Status::ServiceUnavailable, "draining\n") } else { (Status::Ok, "ok\n") };
        self.answer(status, TEXT, text.to_owned())
    }

    /// What has been counted.
    fn metrics(&self) -> Option<Response> {
        let text = self.server.metrics.as_ref()?.text(self.server).ok()?;
        Some(self.answer(Status::Ok, metrics::MEDIA_TYPE, text))
    }

    fn answer(&self, status: Status, media_type: &str, text: String) -> Response {
        let head = self.server.site.headers.cached_head(status, Caching::Never);
        Response::new(head.field("Content-Type", media_type), Body::Bytes(text.into_bytes()))
    }
}
