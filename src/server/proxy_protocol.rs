//! Connections through a proxy: the PROXY header that comes before everything else, from those who are trusted to send it.
//!
//! From all others a connection begins with a request, and if it begins with a PROXY header instead, that is refused
//! like anything else that is no request.

use super::Server;
use super::close_reason::CloseReason;
use super::conn_entry::ConnState;
use super::connection::Connection;
use super::connections::ConnHandle;
use super::connections::ShutdownPhase;
use super::endpoint::Service;
use super::trace;
use crate::net::Transport;
use crate::net::tcp::Tcp;
use crate::proto::proxy_protocol::{self, HEADER_MAX, Source};
use crate::proto::request::first_line;
use crate::proto::syntax::is_tchar;
use crate::proto::why::Why;
use crate::site::SiteSession;

/// Finds out who is at the far end of a connection, where that is said first. None where there is nothing to go on with;
/// then the connection has ended.
pub fn receive_header(server: &Server, mut conn: ConnHandle, service: Service) -> Option<ConnHandle> {
    if !server.options.proxy_protocol || !conn.is_proxy {
        return Some(conn);
    }
    match receive(&conn) {
        Ok(source) if conn.set_client(source) => return Some(conn),
        Ok(_) => {
            let client = conn.client;
            server.shed(conn.into_stream(), client, service, Why::PerIpLimit);
        }
        Err(close) => end(server, &conn, close),
    }
    None
}

/// Reads the header, and no byte behind it: what has arrived is looked at first and taken then. A header may come in
/// pieces, but as a whole it may take no longer than a request may.
///
/// Its room on the stack is for those alone who need it; so it is with TLS and compression, without which an idle connection
/// takes 14.7 KiB instead of 22.7.
#[inline(never)]
fn receive(conn: &ConnHandle) -> Result<Source, CloseReason> {
    let mut tcp = Tcp::new(conn.stream(), conn);
    let mut bytes = [0; HEADER_MAX];
    let mut taken = 0;
    conn.set_state(ConnState::New);
    loop {
        let seen = taken + tcp.peek(&mut bytes[taken..]).map_err(CloseReason::Io)?;
        if seen == taken {
            return Err(match conn.ended_by() {
                Some(close) => close,
                None if conn.is_at(ShutdownPhase::NotAccepting) => CloseReason::ShuttingDown,
                None => CloseReason::ClientClosed,
            });
        }
        let bytes_seen = &bytes[..seen];
        let line = first_line(bytes_seen);
        let header = proxy_protocol::parse(bytes_seen).map_err(|why| CloseReason::refused(why.because(line), line))?;
        let end = header.map_or(seen, |header| header.len);
        while taken < end {
            taken += tcp.read(&mut bytes[taken..end], None).map_err(CloseReason::Io)?;
        }
        if let Some(header) = header {
            return Ok(header.source);
        }
    }
}

/// Ends a connection that has not said who it is from. Who began with words is told in words; to any other proxy the end
/// itself says that something is wrong (§2.1 of its protocol).
fn end(server: &Server, conn: &ConnHandle, close: CloseReason) {
    match &close {
        CloseReason::Refused(refused) if refused.line.first().copied().is_some_and(is_tchar) => {
            let mut tcp = Tcp::new(conn.stream(), conn);
            tcp.set_send_pace(server.options.timeouts.write);
            let site = SiteSession::new(&server.site);
            Connection::new(&mut tcp, server, &site, conn).refuse(close);
        }
        _ => {
            trace::accepted(conn);
            trace::closed(conn, &close);
            if let Some(metrics) = &server.metrics {
                metrics.closed(&close);
            }
        }
    }
}
