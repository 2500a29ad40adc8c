//! TLS accept on the connection's thread: the handshake before the first request, and Strict-Transport-Security.

use std::io::{self, ErrorKind};

use super::Server;
use super::close_reason::CloseReason;
use super::conn_entry::ConnState;
use super::connection::Connection;
use super::connections::ConnHandle;
use crate::net::Transport;
use crate::net::tcp::Tcp;
use crate::net::tls::certificates::Certificates;
use crate::net::tls::{HANDSHAKE_RECORD, Tls};
use crate::proto::why::Why;
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
        match self.certificates.reload() {
            Err(error) => log::warn!("the old certificates stay in use: {error}"),
            Ok(invalid) => {
                log::info!("certificates reloaded for new connections");
                invalid.iter().for_each(|what| log::warn!("invalid certificate: {what}"));
            }
        }
    }

    /// Reloads the certificates if their files have changed.
    pub fn reload_if_changed(&self) {
        if self.certificates.have_changed() {
            self.reload();
        }
    }
}

/// Serves one connection from its handshake on, which has the header timeout. Until it ends, the connection can be evicted
/// like an idle one.
#[inline(never)]
pub fn serve(server: &Server, tls: &TlsEndpoint, mut tcp: Tcp<'_>, responder: &dyn Respond, conn: &ConnHandle) {
    conn.set_state(ConnState::New);
    let mut first = [0];
    let accepted = tcp.peek(&mut first).and_then(|count| match count {
        1.. if first != [HANDSHAKE_RECORD] => Ok(None),
        _ => Tls::accept(&mut tcp, &tls.certificates).map(Some),
    });
    if let Some(metrics) = &server.metrics {
        let succeeded = accepted.as_ref().ok().and_then(Option::as_ref);
        metrics.handshake_done(succeeded.map(|(_, handshake)| *handshake));
    }
    match accepted {
        Ok(Some((mut transport, handshake))) => {
            log::debug!("#{} TLS handshake, {handshake:?}: {}", conn.id, transport.negotiated());
            let mut connection = Connection::new(&mut transport, server, responder, conn);
            connection.writer.hsts_secs = tls.hsts_secs;
            connection.run();
        }
        Ok(None) => {
            let site = SiteSession::new(&server.site);
            Connection::new(&mut tcp, server, &PlainHttpOnTlsPort(&site), conn).run();
        }
        Err(error) => fail(&mut tcp, server, conn, error),
    }
}

/// Closes a connection after a failed handshake.
fn fail(tcp: &mut Tcp<'_>, server: &Server, conn: &ConnHandle, error: io::Error) {
    let close = match conn.ended_by() {
        Some(close) => close,
        None if error.kind() == ErrorKind::UnexpectedEof => CloseReason::ClientClosed,
        None => CloseReason::Io(error),
    };
    log::debug!("#{} TLS handshake with {} ended: {close}", conn.id, conn.client);
    if let CloseReason::Io(_) = close {
        // A reset would destroy the alert before the client reads it.
        conn.set_state(ConnState::Lingering);
        if tcp.send_last(&[]).is_ok() {
            tcp.linger();
        }
    }
    if let Some(metrics) = &server.metrics {
        metrics.closed(&close);
    }
}

/// Refuses plain HTTP on a TLS port, with the site's error pages.
pub struct PlainHttpOnTlsPort<'s>(pub &'s SiteSession<'s>);

impl Respond for PlainHttpOnTlsPort<'_> {
    fn respond(&self, request: &Request<'_>) -> Response {
        let refusal = Refusal::from(Why::PlainHttpOnTlsPort.because(request.head.line));
        self.0.page(refusal, PageFormat::preferred(&request.head.fields))
    }
}
