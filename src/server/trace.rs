//! Trace in the seven steps of HTTP: `serve -vv`, or `RUST_LOG=serve=trace`. Connections (1 and 7) need only `-v`.
//!
//! Bytes from a client are escaped, so that no control byte reaches the terminal.

use super::close_reason::{CloseReason, Refused};
use super::connections::ConnHandle;
use crate::proto::framing::Persistence;
use crate::proto::request::{Head, Version};

/// Step 1: a connection.
pub fn accepted(conn: &ConnHandle) {
    let &ConnHandle { id, peer, client, .. } = conn;
    let proxied = if client == peer { String::new() } else { format!(", a proxy for {client}") };
    log::debug!("#{id} [1] connection accepted from {peer}{proxied}");
}

/// Steps 2 and 3: the request line, the header fields, the empty line.
pub fn request(conn: &ConnHandle, head: &Head<'_>) {
    if !log::log_enabled!(log::Level::Trace) {
        return;
    }
    log::trace!("#{} [2] request line: {}", conn.id, head.line.escape_ascii());
    for (name, value) in head.fields.iter() {
        log::trace!("#{} [3] header field: {}: {}", conn.id, name.escape_ascii(), value.escape_ascii());
    }
    if head.version > Version::Http09 {
        log::trace!("#{} [3] the empty line that ends the header fields", conn.id);
    }
    let client_ip = conn.client_ip(Some(head));
    if client_ip != conn.client.ip() {
        log::trace!("#{} [3] client address from the proxy: {client_ip}", conn.id);
    }
}

/// Steps 2 and 3 of a malformed request.
pub fn refused(conn: &ConnHandle, refused: &Refused) {
    log::trace!("#{} [2] malformed request: {}", conn.id, refused.line.escape_ascii());
    log::trace!("#{} [3] refused for: {}", conn.id, refused.received.escape_ascii());
}

/// Steps 4 and 5: the status line and the fields as sent. An HTTP/0.9 response has neither.
pub fn response(conn: &ConnHandle, head: &[u8]) {
    if !log::log_enabled!(log::Level::Trace) {
        return;
    }
    for (at, line) in String::from_utf8_lossy(head).lines().enumerate() {
        match at {
            0 => log::trace!("#{} [4] status line: {line}", conn.id),
            _ if line.is_empty() => log::trace!("#{} [5] the empty line that ends the response fields", conn.id),
            _ => log::trace!("#{} [5] response field: {line}", conn.id),
        }
    }
}

/// Step 6: the content.
pub fn body(conn: &ConnHandle, bytes: u64) {
    log::trace!("#{} [6] body: {bytes} bytes", conn.id);
}

/// Step 7: the connection is kept alive.
pub fn kept(conn: &ConnHandle, persistence: Persistence) {
    let is_requested = persistence == Persistence::PersistsOnRequest;
    let why = if is_requested { "the client requested it" } else { "HTTP/1.1 persists until one side sends close" };
    log::trace!("#{} [7] kept alive: {why}", conn.id);
}

/// Step 7: the connection closes.
pub fn closed(conn: &ConnHandle, close: &CloseReason) {
    log::debug!("#{} [7] closed: {close}", conn.id);
}
