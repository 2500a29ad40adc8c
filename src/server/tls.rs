//! TLS on a connection's own thread: the handshake before the first request, and what is answered over TLS alone.

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

/// What the doors over TLS share.
#[derive(Debug)]
pub struct TlsEndpoint {
    /// The keys.
    pub certificates: Certificates,
    /// For how many seconds browsers are to come by TLS alone, if they are told (RFC 6797).
    pub hsts_secs: Option<u64>,
    /// The port of these doors.
    pub port: u16,
}

impl TlsEndpoint {
    /// Uses the keys that are in the files now, if they can be used.
    pub fn reload(&self) {
        log_reload(self.certificates.reload(), &self.certificates);
    }

    /// Does so if the files have changed.
    pub fn reload_if_changed(&self) {
        if let Some(outcome) = self.certificates.reload_if_changed() {
            log_reload(outcome, &self.certificates);
        }
    }
}

fn log_reload(outcome: Result<(), LoadError>, certificates: &Certificates) {
    match outcome {
        Ok(()) => log::info!("the certificates were read again and are used for new connections"),
        Err(error) => return log::warn!("the old certificates stay in use: {error}"),
    }
    for invalid in certificates.invalid() {
        log::warn!("a certificate is of no use: {invalid}");
    }
}

/// What came of a connection's first bytes.
#[allow(clippy::large_enum_variant, reason = "there is one on each stack, for a moment")]
enum Handshaken<'s> {
    /// A client that speaks TLS.
    Tls(Tls<'s>, Handshake),
    /// One that does not, but may speak HTTP.
    Plain(Tcp<'s>),
    /// Nothing that can be talked to.
    Failed(CloseReason),
}

/// Serves one connection from its handshake to its end.
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
            log::debug!("#{} TLS handshake, {handshake:?}: {}", conn.id, transport.agreed());
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

/// Waits for the client to begin, and shakes hands. It has as long for that as for the head of a request, and makes room
/// in a full house as anyone who is waited for; the house wakes this thread then.
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
            log::debug!("#{} no TLS with {}: {close}", conn.id, conn.client);
            Handshaken::Failed(close)
        }
        None if error.kind() == ErrorKind::UnexpectedEof => {
            log::debug!("#{} no TLS with {}: the client ended the connection", conn.id, conn.client);
            Handshaken::Failed(CloseReason::ClientClosed)
        }
        None => {
            log::debug!("#{} no TLS with {}: {error}", conn.id, conn.client);
            // The client is to read the alert that says so.
            conn.set_state(ConnState::Lingering);
            if tcp.send_last(&[]).is_ok() {
                tcp.linger();
            }
            Handshaken::Failed(CloseReason::Io(error))
        }
    }
}

/// Answers as another does, and adds what only those may be told who came by TLS (RFC 6797 §7.2).
struct WithHsts<'r> {
    responder: &'r dyn Respond,
    hsts_secs: Option<u64>,
}

impl WithHsts<'_> {
    fn mark(&self, response: Response) -> Response {
        let value = self.hsts_secs.map(|secs| format!("max-age={secs}"));
        Response { head: response.head.maybe("Strict-Transport-Security", value), ..response }
    }
}

impl Respond for WithHsts<'_> {
    fn respond(&self, request: &Request<'_>) -> Response {
        self.mark(self.responder.respond(request))
    }

    fn refuse(&self, reject: Reject<'_>, form: PageFormat) -> Response {
        self.mark(self.responder.refuse(reject, form))
    }

    fn is_recorded(&self) -> bool {
        self.responder.is_recorded()
    }
}

/// Tells who came without TLS to come with it.
pub struct PlainHttpOnTlsPort<'s> {
    /// The site, for its way to explain refusals.
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
