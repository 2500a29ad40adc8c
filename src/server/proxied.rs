//! Connections through a proxy: the PROXY header that comes before everything else, from those who are trusted to send it.
//!
//! From all others a connection begins with a request, and if it begins with a PROXY header instead, that is refused
//! like anything else that is no request.

use super::Server;
use super::close::Close;
use super::connection::Connection;
use super::reception::Service;
use super::seats::Seat;
use super::trace;
use crate::net::Transport;
use crate::net::tcp::Tcp;
use crate::proto::proxy::{self, HEADER_MAX, Source};
use crate::proto::scan::first_line;
use crate::proto::syntax::is_tchar;
use crate::proto::why::Why;
use crate::site::Site;

/// Finds out who is at the far end of a connection, where that is said first. None where there is nothing to go on with;
/// then the connection has ended.
pub fn introduce(server: &Server, mut seat: Seat, service: Service) -> Option<Seat> {
    if !server.options.proxy_protocol || !seat.is_proxy() {
        return Some(seat);
    }
    match receive(server, &seat) {
        Ok(source) if seat.introduce(source) => return Some(seat),
        Ok(_) => {
            let client = seat.client;
            server.turn_away(seat.leave(), client, service, Why::TooManyFromAddress);
        }
        Err(close) => end(server, &seat, close),
    }
    None
}

/// Reads the header, and no byte behind it: what has arrived is looked at first and taken then. A header may come in
/// pieces, but as a whole it may take no longer than a request may.
///
/// Its room on the stack is for those alone who need it; so it is with TLS and compression, without which an idle connection
/// takes 14.7 KiB instead of 22.7.
#[inline(never)]
fn receive(server: &Server, seat: &Seat) -> Result<Source, Close> {
    let mut tcp = Tcp::new(seat.stream(), seat);
    let mut bytes = [0; HEADER_MAX];
    let mut taken = 0;
    seat.wait(server.options.times.header);
    loop {
        let seen = taken + tcp.peek(&mut bytes[taken..]).map_err(Close::Io)?;
        if seen == taken {
            return Err(match seat.dismissal() {
                Some(dismissal) => dismissal.into(),
                None if server.seats.is_stopping() => Close::Stopping,
                None => Close::ClientDone,
            });
        }
        let bytes_seen = &bytes[..seen];
        let line = first_line(bytes_seen);
        let header = proxy::parse(bytes_seen).map_err(|why| Close::refused(why.because(line), line))?;
        let end = header.map_or(seen, |header| header.len);
        while taken < end {
            taken += tcp.read(&mut bytes[taken..end], None).map_err(Close::Io)?;
        }
        if let Some(header) = header {
            return Ok(header.source);
        }
    }
}

/// Ends a connection that has not said who it is from. Who began with words is told in words; to any other proxy the end
/// itself says that something is wrong (§2.1 of its protocol).
fn end(server: &Server, seat: &Seat, close: Close) {
    match &close {
        Close::Refused(refused) if refused.line.first().copied().is_some_and(is_tchar) => {
            let mut tcp = Tcp::new(seat.stream(), seat);
            tcp.set_send_pace(server.options.times.write);
            let site = Site::new(&server.site);
            Connection::new(&mut tcp, server, &site, seat).refuse(close);
        }
        _ => {
            trace::accepted(seat);
            trace::closed(seat, &close);
            if let Some(metrics) = &server.metrics {
                metrics.closed(&close, seat.dismissal());
            }
        }
    }
}
