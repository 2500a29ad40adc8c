//! Trace of a connection's exchanges in the seven steps of HTTP: `serve -vv`, or `RUST_LOG=serve=trace`. Steps 1 and 7
//! of a connection are logged with `-v` already.
//!
//! Bytes from a client are escaped, so that no control byte reaches the terminal.

use super::close_reason::{CloseReason, Refused};
use super::connections::ConnHandle;
use crate::proto::framing::Persistence;
use crate::proto::request::{Head, Version};

macro_rules! step {
    ($conn:expr, $step:literal, $($what:tt)*) => {
        log::trace!("#{} [{}] {}", $conn.id, $step, format_args!($($what)*))
    };
}

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
    step!(conn, 2, "request line: {}", head.line.escape_ascii());
    for (name, value) in head.fields.iter() {
        step!(conn, 3, "header field: {}: {}", name.escape_ascii(), value.escape_ascii());
    }
    if head.version > Version::Http09 {
        step!(conn, 3, "the empty line that ends the header fields");
    }
    let client_ip = conn.client_ip(Some(head));
    if client_ip != conn.client.ip() {
        step!(conn, 3, "client address from the proxy: {client_ip}");
    }
}

/// Steps 2 and 3 of a malformed request.
pub fn refused(conn: &ConnHandle, refused: &Refused) {
    step!(conn, 2, "malformed request: {}", refused.line.escape_ascii());
    step!(conn, 3, "refused for: {}", refused.received.escape_ascii());
}

/// Steps 4 and 5: the status line and the fields as sent. An HTTP/0.9 response has neither.
pub fn response(conn: &ConnHandle, head: &[u8]) {
    if !log::log_enabled!(log::Level::Trace) {
        return;
    }
    for (at, line) in String::from_utf8_lossy(head).lines().enumerate() {
        match at {
            0 => step!(conn, 4, "status line: {line}"),
            _ if line.is_empty() => step!(conn, 5, "the empty line that ends the response fields"),
            _ => step!(conn, 5, "response field: {line}"),
        }
    }
}

/// Step 6: the content.
pub fn body(conn: &ConnHandle, bytes: u64) {
    step!(conn, 6, "body: {bytes} bytes");
}

/// Step 7: the connection is kept alive.
pub fn kept(conn: &ConnHandle, persistence: Persistence) {
    let is_requested = persistence == Persistence::PersistsOnRequest;
    let why = if is_requested { "the client requested it" } else { "HTTP/1.1 persists until one side sends close" };
    step!(conn, 7, "kept alive: {why}");
}

/// Step 7: the connection closes.
pub fn closed(conn: &ConnHandle, close: &CloseReason) {
    log::debug!("#{} [7] closed: {close}", conn.id);
}
