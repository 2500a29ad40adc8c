//! Connections that get no thread: they are told so, and then ended.
//!
//! No request is read, so whatever was asked, the answer is the same, and neither log has a line for it but the
//! diagnostics. The connection ends a moment later, because to close it while the request arrives would make the system
//! throw the answer away (RFC 9112 §9.6).

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::proto::why::Why;
use crate::site::refusal::PageFormat;
use crate::site::{self, Respond, SiteSession};

/// How long a connection stays open behind its answer.
pub const SHED_LINGER: Duration = Duration::from_secs(1);

/// The most connections that stay open behind their answer.
const SHED_MAX: usize = 16;

/// The connections that have been turned away and are still open, the oldest first.
#[derive(Debug, Default)]
pub struct ShedConnections {
    streams: Mutex<VecDeque<(Instant, TcpStream)>>,
}

impl ShedConnections {
    /// Answers that there is no room for this reason.
    pub fn answer(&self, stream: TcpStream, why: Why, site: &site::Site) {
        self.say(stream, &answer(why, site));
    }

    /// Says these bytes as the first and last.
    pub fn say(&self, stream: TcpStream, bytes: &[u8]) {
        let _ = stream.set_nonblocking(true);
        let _ = (&stream).write(bytes);
        let _ = stream.shutdown(Shutdown::Write);
        self.keep(stream);
    }

    /// Keeps a connection open for a moment; the oldest is ended where there are too many.
    fn keep(&self, stream: TcpStream) {
        let mut streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        streams.push_back((Instant::now(), stream));
        if streams.len() > SHED_MAX {
            streams.pop_front().into_iter().for_each(end);
        }
    }

    /// Ends those whose moment has passed at `now`.
    pub fn end(&self, now: Instant) {
        let mut streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        while streams.front().is_some_and(|(since, _)| now.saturating_duration_since(*since) >= SHED_LINGER) {
            streams.pop_front().into_iter().for_each(end);
        }
    }
}

/// Ends a connection. One read takes any usual request; who sends more is not waited for.
fn end((_, mut stream): (Instant, TcpStream)) {
    let _ = stream.read(&mut [0; 16 * 1024]);
}

/// The whole answer. It needs no Date, being one of the 5xx (RFC 9110 §6.6.1).
pub fn answer(why: Why, site: &site::Site) -> Vec<u8> {
    let response = SiteSession::new(site).refuse(why.because(b""), PageFormat::Text);
    let mut bytes = Vec::new();
    let length = response.body.len();
    let head = response.head.field("Connection", "close").maybe("Content-Length", length);
    head.write_status_line(&mut bytes);
    head.write_fields(&mut bytes);
    bytes.extend_from_slice(b"\r\n");
    if let site::response::Body::Bytes(page) = &response.body {
        bytes.extend_from_slice(page);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn who_is_turned_away_is_left_after_a_moment_or_when_many_others_follow() {
        let shed_connections = ShedConnections::default();
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let mut clients = Vec::new();
        let count = || shed_connections.streams.lock().expect("nobody panics").len();
        for expected in (1..=SHED_MAX).chain([SHED_MAX, SHED_MAX]) {
            clients.push(TcpStream::connect(listener.local_addr().expect("bound")).expect("listening"));
            let stream = listener.accept().expect("connected").0;
            stream.set_nonblocking(true).expect("the option can be set");
            shed_connections.keep(stream);
            assert_eq!(count(), expected);
        }
        let now = Instant::now();
        shed_connections.end(now);
        assert_eq!(count(), SHED_MAX);
        shed_connections.end(now + SHED_LINGER);
        assert_eq!(count(), 0);
    }
}
