//! Tells one connection's exchanges as they happen, in the seven steps of an HTTP exchange, for people who want to see
//! how it works: `serve -vv`, or `RUST_LOG=serve=trace`. That a connection begins or ends is told with `-v` already.
//!
//! What a client sent is escaped, so that it cannot reach the terminal as control bytes.

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
    let (peer, client) = (conn.peer, conn.client);
    if client == peer {
        log::debug!("#{} [1] connection accepted from {peer}", conn.id);
    } else {
        log::debug!("#{} [1] connection accepted from {peer}, which speaks for {client}", conn.id);
    }
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
        step!(conn, 3, "the client, as the proxy says: {client_ip}");
    }
}

/// Steps 2 and 3 of what is no request.
pub fn refused(conn: &ConnHandle, refused: &Refused) {
    step!(conn, 2, "no request that can be answered: {}", refused.line.escape_ascii());
    step!(conn, 3, "because of: {}", refused.received.escape_ascii());
}

/// Steps 4 and 5: the status line, the fields, as they are sent. An answer of HTTP/0.9 has neither.
pub fn response(conn: &ConnHandle, head: &[u8]) {
    if !log::log_enabled!(log::Level::Trace) || head.is_empty() {
        return;
    }
    let text = String::from_utf8_lossy(head);
    let mut lines = text.lines();
    step!(conn, 4, "status line: {}", lines.next().unwrap_or_default());
    for field in lines.filter(|line| !line.is_empty()) {
        step!(conn, 5, "response field: {field}");
    }
    step!(conn, 5, "the empty line that ends the response fields");
}

/// Step 6: the content.
pub fn body(conn: &ConnHandle, bytes: u64) {
    step!(conn, 6, "body: {bytes} bytes");
}

/// Step 7, where the connection goes on.
pub fn kept(conn: &ConnHandle, persistence: Persistence) {
    let why = match persistence {
        Persistence::PersistsOnRequest => "the client asked for it",
        _ => "HTTP/1.1 goes on until one side says close",
    };
    step!(conn, 7, "kept alive: {why}");
}

/// Step 7, where it ends.
pub fn closed(conn: &ConnHandle, close: &CloseReason) {
    log::debug!("#{} [7] closed: {close}", conn.id);
}
