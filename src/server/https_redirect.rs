//! HTTPS redirect (`--https-redirect`): every plain HTTP request is redirected, except ACME challenges (RFC 8555 §8.3).

use crate::proto::host;
use crate::proto::target::Target;
use crate::proto::why::{Reject, Why};
use crate::site::refusal::{PageFormat, Refusal};
use crate::site::response::Response;
use crate::site::{Request, Respond, SiteSession, link};

/// The path of ACME challenges.
const CHALLENGES: &[u8] = b".well-known/acme-challenge/";

/// Redirects to the same target over TLS.
pub struct Redirect<'s> {
    /// The site.
    pub site: &'s SiteSession<'s>,
    /// The port of the site over TLS.
    pub port: u16,
}

impl Respond for Redirect<'_> {
    fn respond(&self, request: &Request<'_>) -> Response {
        let is_challenge = |target: Target<'_>| target.path.as_bytes().starts_with(CHALLENGES);
        if Target::parse(request.head.target).is_ok_and(is_challenge) {
            return self.site.respond(request);
        }
        let refusal = self.plan(request).unwrap_or_else(Refusal::from);
        self.site.page(refusal, PageFormat::preferred(&request.head.fields))
    }
}

impl Redirect<'_> {
    /// The response is the same for every method (RFC 9110 §15.4.9).
    fn plan<'r>(&self, request: &Request<'r>) -> Result<Refusal, Reject<'r>> {
        let head = request.head;
        host::check(head)?;
        let (_, local) = host::split_authority(head.target)?;
        let host = host::of(head).ok_or(Why::RedirectWithoutHost.because(head.target))?;
        Ok(Refusal::from(Why::RedirectToHttps.because(head.target))
            .with("Location", link::over_tls(host, self.port, local)))
    }
}
