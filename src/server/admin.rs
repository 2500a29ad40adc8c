//! Admin endpoint: /health and /metrics on an address of their own (`--admin`), so that clients of the site see neither.

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

/// The supported methods (RFC 9110 §10.2.1).
const ALLOW: &str = "GET, HEAD";

const TEXT: &str = "text/plain; charset=utf-8";

/// Responds about the server itself.
pub struct Admin<'s> {
    /// The server.
    pub server: &'s Server,
    /// The site, for its error pages.
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

    /// A load balancer's checks would fill the log and the metrics.
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

    /// 503 tells a load balancer to send no more requests.
    fn health(&self) -> Response {
        let is_draining = self.server.connections.is_at(ShutdownPhase::Draining);
        let (status, text) =
            if is_draining { (Status::ServiceUnavailable, "draining\n") } else { (Status::Ok, "ok\n") };
        self.response(status, TEXT, text.to_owned())
    }

    /// The metrics, if they are counted.
    fn metrics(&self) -> Option<Response> {
        let text = self.server.metrics.as_ref()?.text(self.server).ok()?;
        Some(self.response(Status::Ok, metrics::MEDIA_TYPE, text))
    }

    fn response(&self, status: Status, media_type: &str, text: String) -> Response {
        let head = self.server.site.headers.cached_head(status, Caching::Never);
        Response::new(head.field("Content-Type", media_type), Body::Bytes(text.into_bytes()))
    }
}
