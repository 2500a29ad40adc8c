//! TLS accept on the connection's thread: the handshake before the first request, and Strict-Transport-Security.

use std::io::ErrorKind;

use super::Server;
use super::close_reason::CloseReason;
use super::conn_entry::ConnState;
use super::connection::Connection;
use super::connections::ConnHandle;
use crate::net::Transport;
use crate::net::tcp::Tcp;
use crate::net::tls::certificates::{Certificates, LoadError};
use crate::net::tls::{Handshake, Tls, is_handshake};
use crate::proto::why::{Reject, Why};
use crate::site::refusal::{PageFormat, Refusal};
use crate::site::response::Response;
use crate::site::{Request, Respond, SiteSession};

/// The state of all TLS endpoints.
#[derive(Debug)]
pub struct TlsEndpoint {
    /// The certificates.
    pub certificates: Certificates,
    /// The max-age of Strict-Transport-Security, if it is sent (RFC 6797).
    pub hsts_secs: Option<u64>,
    /// The port of these endpoints.
    pub port: u16,
}

impl TlsEndpoint {
    /// Reloads the certificates.
    pub fn reload(&self) {
        log_reload(self.certificates.reload(), &self.certificates);
    }

    /// Reloads the certificates if their files have changed.
    pub fn reload_if_changed(&self) {
        if let Some(outcome) = self.certificates.reload_if_changed() {
            log_reload(outcome, &self.certificates);
        }
    }
}

fn log_reload(outcome: Result<(), LoadError>, certificates: &Certificates) {
    match outcome {
        Ok(()) => log::info!("certificates reloaded for new connections"),
        Err(error) => return log::warn!("the old certificates stay in use: {error}"),
    }
    for invalid in certificates.invalid() {
        log::warn!("invalid certificate: {invalid}");
    }
}

/// The result of a handshake.
#[allow(clippy::large_enum_variant, reason = "it lives on the stack for a moment")]
enum Handshaken<'s> {
    /// A TLS connection.
    Tls(Tls<'s>, Handshake),
    /// A client that sent something else first, perhaps plain HTTP.
    Plain(Tcp<'s>),
    /// A failed handshake.
    Failed(CloseReason),
}

/// Serves one connection from its handshake on.
#[inline(never)]
pub fn serve(server: &Server, tls: &TlsEndpoint, tcp: Tcp<'_>, responder: &dyn Respond, conn: &ConnHandle) {
    let handshaken = accept_tls(tls, tcp, conn);
    if let Some(metrics) = &server.metrics {
        metrics.handshake_done(match &handshaken {
            Handshaken::Tls(_, handshake) => Some(*handshake),
            Handshaken::Plain(_) | Handshaken::Failed(_) => None,
        });
    }
    match handshaken {
        Handshaken::Tls(mut transport, handshake) => {
            log::debug!("#{} TLS handshake, {handshake:?}: {}", conn.id, transport.negotiated());
            let responder = WithHsts { responder, hsts_secs: tls.hsts_secs };
            Connection::new(&mut transport, server, &responder, conn).run();
        }
        Handshaken::Plain(mut tcp) => {
            let site = SiteSession::new(&server.site);
            Connection::new(&mut tcp, server, &PlainHttpOnTlsPort { site: &site }, conn).run();
        }
        Handshaken::Failed(close) => {
            if let Some(metrics) = &server.metrics {
                metrics.closed(&close);
            }
        }
    }
}

/// Performs the handshake, within the header timeout. Until then the connection can be evicted like an idle one.
fn accept_tls<'s>(tls: &TlsEndpoint, mut tcp: Tcp<'s>, conn: &ConnHandle) -> Handshaken<'s> {
    conn.set_state(ConnState::New);
    let mut first = [0];
    let (mut tcp, error) = match tcp.peek(&mut first) {
        Ok(1..) if is_handshake(first[0]) => match Tls::accept(tcp, &tls.certificates) {
            Ok((tls, handshake)) => return Handshaken::Tls(tls, handshake),
            Err(failed) => failed,
        },
        Ok(1..) => return Handshaken::Plain(tcp),
        Ok(0) => (tcp, ErrorKind::UnexpectedEof.into()),
        Err(error) => (tcp, error),
    };
    match conn.ended_by() {
        Some(close) => {
            log::debug!("#{} TLS handshake with {} ended: {close}", conn.id, conn.client);
            Handshaken::Failed(close)
        }
        None if error.kind() == ErrorKind::UnexpectedEof => {
            log::debug!("#{} TLS handshake with {}: the client closed the connection", conn.id, conn.client);
            Handshaken::Failed(CloseReason::ClientClosed)
        }
        None => {
            log::debug!("#{} TLS handshake with {} failed: {error}", conn.id, conn.client);
            // A reset would destroy the alert before the client reads it.
            conn.set_state(ConnState::Lingering);
            if tcp.send_last(&[]).is_ok() {
                tcp.linger();
            }
            Handshaken::Failed(CloseReason::Io(error))
        }
    }
}

/// Adds Strict-Transport-Security, which is sent over TLS only (RFC 6797 §7.2).
struct WithHsts<'r> {
    responder: &'r dyn Respond,
    hsts_secs: Option<u64>,
}

impl WithHsts<'_> {
    fn with_hsts(&self, response: Response) -> Response {
        let value = self.hsts_secs.map(|secs| format!("max-age={secs}"));
        Response { head: response.head.maybe("Strict-Transport-Security", value), ..response }
    }
}

impl Respond for WithHsts<'_> {
    fn respond(&self, request: &Request<'_>) -> Response {
        self.with_hsts(self.responder.respond(request))
    }

    fn refuse(&self, reject: Reject<'_>, form: PageFormat) -> Response {
        self.with_hsts(self.responder.refuse(reject, form))
    }

    fn is_recorded(&self) -> bool {
        self.responder.is_recorded()
    }
}

/// Refuses plain HTTP on a TLS port.
pub struct PlainHttpOnTlsPort<'s> {
    /// The site, for its error pages.
    pub site: &'s SiteSession<'s>,
}

impl Respond for PlainHttpOnTlsPort<'_> {
    fn respond(&self, request: &Request<'_>) -> Response {
        let refusal = Refusal::from(Why::PlainHttpOnTlsPort.because(request.head.line));
        self.site.page(refusal, PageFormat::preferred(&request.head.fields))
    }

    fn refuse(&self, reject: Reject<'_>, form: PageFormat) -> Response {
        self.site.refuse(reject, form)
    }
}
