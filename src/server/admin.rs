//! Admin endpoint: /health and /metrics on an address of their own (`--admin`), so that clients of the site see neither.

use super::Server;
use super::connections::ShutdownPhase;
use super::metrics;
use crate::proto::host;
use crate::proto::request::Method;
use crate::proto::status::Status;
use crate::proto::target::Target;
use crate::proto::why::Why;
use crate::site::headers::Caching;
use crate::site::refusal::{PageFormat, Refusal};
use crate::site::response::{Body, Response};
use crate::site::{Request, Respond, SiteSession};

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
                return Err(refusal.with("Allow", "GET, HEAD".to_owned()));
            }
        }
        let page = self.page(&Target::parse(head.target)?);
        page.ok_or_else(|| Why::NotFound.because(head.target).into())
    }

    /// The response, if there is a page and the metrics are counted. 503 tells a load balancer to send no more requests.
    fn page(&self, target: &Target<'_>) -> Option<Response> {
        let is_draining = self.server.connections.is_at(ShutdownPhase::Draining);
        let (status, media_type, text) = match target.path.as_bytes() {
            _ if target.ends_in_slash => return None,
            b"health" if is_draining => (Status::ServiceUnavailable, TEXT, "draining\n".to_owned()),
            b"health" => (Status::Ok, TEXT, "ok\n".to_owned()),
            b"metrics" => (Status::Ok, metrics::MEDIA_TYPE, self.server.metrics.as_ref()?.text(self.server).ok()?),
            _ => return None,
        };
        let head = self.server.site.headers.cached_head(status, Caching::Never);
        Some(Response::new(head.field("Content-Type", media_type), Body::Bytes(text.into_bytes())))
    }
}
