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
use crate::site::errors::Form;
use crate::site::{self, Respond, Site};

/// How long a connection stays open behind its answer.
pub const MOMENT: Duration = Duration::from_secs(1);

/// The most connections that stay open behind their answer.
const MAX: usize = 16;

/// The connections that have been turned away and are still open, the oldest first.
#[derive(Debug, Default)]
pub struct TurnedAway {
    streams: Mutex<VecDeque<(Instant, TcpStream)>>,
}

impl TurnedAway {
    /// Answers that there is no room for this reason.
    pub fn answer(&self, stream: TcpStream, why: Why, site: &site::Options) {
        let _ = stream.set_nonblocking(true);
        let _ = (&stream).write(&answer(why, site));
        let _ = stream.shutdown(Shutdown::Write);
        let mut streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        streams.push_back((Instant::now(), stream));
        if streams.len() > MAX {
            streams.pop_front().into_iter().for_each(end);
        }
    }

    /// Ends those whose moment has passed at `now`.
    pub fn end(&self, now: Instant) {
        let mut streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        while streams.front().is_some_and(|(since, _)| now.saturating_duration_since(*since) >= MOMENT) {
            streams.pop_front().into_iter().for_each(end);
        }
    }
}

/// Ends a connection. One read takes any usual request; who sends more is not waited for.
fn end((_, mut stream): (Instant, TcpStream)) {
    let _ = stream.read(&mut [0; 16 * 1024]);
}

/// The whole answer. It needs no Date, being one of the 5xx (RFC 9110 §6.6.1).
pub fn answer(why: Why, site: &site::Options) -> Vec<u8> {
    let response = Site::new(site).refuse(why.because(b""), Form::Text);
    let mut bytes = Vec::new();
    let length = response.body.len();
    let head = response.head.field("Connection", "close").field("Content-Length", length);
    head.write_status_line(&mut bytes);
    head.write_fields(&mut bytes);
    bytes.extend_from_slice(b"\r\n");
    if let site::response::Body::Bytes(page) = &response.body {
        bytes.extend_from_slice(page);
    }
    bytes
}
