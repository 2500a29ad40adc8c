//! Load shedding: 503 responses to connections that get no thread.
//!
//! No request is read, so the response is the same whatever the request is, and the access log has no line. The connection
//! stays open for a moment, because closing it while the request arrives makes the kernel discard the response (RFC 9112 §9.6).

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::proto::why::Why;
use crate::site::refusal::PageFormat;
use crate::site::response::Body;
use crate::site::{Site, SiteSession};

/// How long a connection stays open after its response.
pub const SHED_LINGER: Duration = Duration::from_secs(1);

/// The most connections that stay open after their response.
const SHED_MAX: usize = 16;

/// Shed connections that are still open, the oldest first.
#[derive(Debug, Default)]
pub struct ShedConnections {
    streams: Mutex<VecDeque<(Instant, TcpStream)>>,
}

impl ShedConnections {
    /// Sends these bytes, as far as the socket buffer takes them, and closes the connection a moment later.
    pub fn send_and_close(&self, stream: TcpStream, bytes: &[u8]) {
        let _ = stream.set_nonblocking(true);
        let _ = (&stream).write(bytes);
        let _ = stream.shutdown(Shutdown::Write);
        let mut streams = self.streams.lock();
        streams.push_back((Instant::now(), stream));
        if streams.len() > SHED_MAX {
            streams.pop_front().into_iter().for_each(close);
        }
    }

    /// Closes the connections whose time is over at `now`.
    pub fn expire(&self, now: Instant) {
        let mut streams = self.streams.lock();
        while streams.front().is_some_and(|(since, _)| now.saturating_duration_since(*since) >= SHED_LINGER) {
            streams.pop_front().into_iter().for_each(close);
        }
    }
}

/// Closes a connection. One read discards any usual request, so that the close sends no RST.
fn close((_, mut stream): (Instant, TcpStream)) {
    let _ = stream.read(&mut [0; 16 * 1024]);
}

/// The whole response. A 5xx needs no Date (RFC 9110 §6.6.1).
pub fn response(why: Why, site: &Site) -> Vec<u8> {
    let response = SiteSession::new(site).page(why.into(), PageFormat::Text);
    let mut bytes = Vec::new();
    let head = response.head.field("Connection", "close").maybe("Content-Length", response.body.len());
    head.write_status_line(&mut bytes);
    head.write_fields(&mut bytes);
    bytes.extend_from_slice(b"\r\n");
    if let Body::Bytes(page) = &response.body {
        bytes.extend_from_slice(page);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn shed_connections_close_after_a_moment_or_past_the_limit() {
        let shed = ShedConnections::default();
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let mut clients = Vec::new();
        let count = || shed.streams.lock().len();
        for expected in (1..=SHED_MAX).chain([SHED_MAX, SHED_MAX]) {
            clients.push(TcpStream::connect(listener.local_addr().expect("bound")).expect("listening"));
            shed.send_and_close(listener.accept().expect("connected").0, b"503");
            assert_eq!(count(), expected);
        }
        let now = Instant::now();
        shed.expire(now);
        assert_eq!(count(), SHED_MAX);
        shed.expire(now + SHED_LINGER);
        assert_eq!(count(), 0);
    }
}
