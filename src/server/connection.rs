//! The way of one connection: read a head, answer it, log it, and again.
//!
//! [`Connection::exchange`] is the page to read first.

use std::io::{self, ErrorKind};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use super::access_log::Record;
use super::close::{Close, Refused};
use super::inbox::Inbox;
use super::seats::Seat;
use super::send::{Outbox, Reply};
use super::{Server, trace};
use crate::net::Transport;
use crate::proto::content::Content;
use crate::proto::framing;
use crate::proto::request::{Head, Method};
use crate::proto::scan::{Scan, first_line};
use crate::proto::why::Why;
use crate::site::errors::Form;
use crate::site::{Request, Site};

/// One connection to a client.
pub struct Connection<'c> {
    transport: &'c mut dyn Transport,
    server: &'c Server,
    site: &'c Site<'c>,
    seat: &'c Seat,
    inbox: Inbox,
    outbox: Outbox,
}

impl<'c> Connection<'c> {
    /// Takes over a connection that has not said anything yet.
    pub fn new(
        transport: &'c mut dyn Transport,
        server: &'c Server,
        site: &'c Site<'c>,
        seat: &'c Seat,
    ) -> Connection<'c> {
        Connection { transport, server, site, seat, inbox: Inbox::default(), outbox: Outbox::default() }
    }

    /// Answers one request after another until there is a reason to end.
    pub fn run(mut self) {
        trace::accepted(self.seat);
        let mut head = Vec::new();
        let mut patience = self.server.options.times.header;
        let close = loop {
            if let Err(close) = self.receive_head(&mut head, patience).and_then(|()| self.exchange(&head)) {
                break close;
            }
            patience = self.server.options.times.idle;
        };
        self.end(&close, &head);
    }

    /// Answers the request whose head these bytes are, and says why the connection ends, if it does.
    fn exchange(&mut self, bytes: &[u8]) -> Result<(), Close> {
        let head = Head::parse(bytes).map_err(|reject| Close::refused(reject, first_line(bytes)))?;
        let refused = |reject| Close::refused(reject, head.line);
        trace::request(self.seat, &head);
        let body = framing::body_length(&head).map_err(refused)?;
        let expects_continue = framing::expects_continue(&head).map_err(refused)?;
        if !expects_continue {
            self.skip_content(Content::new(body), &head)?;
        }
        self.seat.answer();
        let (now, started) = (SystemTime::now(), Instant::now());
        let response = self.site.respond(&Request { head: &head, now });
        let persistence = framing::persistence(&head);
        let keep = match persistence {
            _ if !persistence.persists() => Err(Close::LastAnswer(persistence)),
            _ if expects_continue => Err(Close::Expectation),
            _ if self.server.seats.is_stopping() => Err(Close::Stopping),
            _ if self.seat.is_evicted() => Err(Close::Evicted),
            _ => Ok(()),
        };
        let is_to_head = head.method == Method::Head;
        let reply = Reply { seat: self.seat, head: Some((&head, persistence)), is_to_head, keep: keep.is_ok(), now };
        let sent = self.outbox.send(self.transport, &response, &reply);
        self.record(&Record {
            seat: self.seat,
            now,
            started,
            line: head.line,
            head: Some(&head),
            response: &response,
            sent: &sent,
        });
        sent.outcome?;
        keep.inspect(|()| trace::kept(self.seat, persistence))
    }

    /// Reads until a whole head has arrived and moves it to `head`. What has been answered is sent before any waiting.
    fn receive_head(&mut self, head: &mut Vec<u8>, patience: Duration) -> Result<(), Close> {
        head.clear();
        let mut scan = Scan::default();
        let (mut is_waiting, mut has_begun) = (false, false);
        loop {
            let pending = self.inbox.pending();
            let found = scan.resume(pending).map_err(|reject| Close::refused(reject, first_line(pending)))?;
            if let Some(length) = found {
                head.extend_from_slice(&pending[..length]);
                self.inbox.consume(length);
                return Ok(());
            }
            // A client that takes its answers slowly is not waiting for us to read.
            self.outbox.flush(self.transport)?;
            if !is_waiting {
                is_waiting = true;
                let now = Instant::now();
                self.seat.wait_from(now);
                self.transport.set_read_deadline(now + patience);
            }
            if scan.has_begun() && !has_begun {
                has_begun = true;
                self.seat.head_begins();
                self.transport.set_read_deadline(Instant::now() + self.server.options.times.header);
            }
            match self.fill()? {
                Filled::Bytes => {}
                Filled::End if self.server.seats.is_stopping() => return Err(Close::Stopping),
                silence if has_begun => {
                    let why = if silence == Filled::End { Why::HeadIncomplete } else { Why::HeadTimeout };
                    let line = first_line(self.inbox.pending());
                    return Err(Close::refused(why.because(line), line));
                }
                Filled::End => return Err(Close::ClientDone),
                Filled::Silence => return Err(Close::Idle),
            }
        }
    }

    /// Reads the request's content and throws it away, so that the next request is read at the right byte.
    fn skip_content(&mut self, mut content: Content, head: &Head<'_>) -> Result<(), Close> {
        let refuse = |why: Why| Close::refused(why.because(head.line), head.line);
        self.transport.set_read_deadline(Instant::now() + self.server.options.times.header);
        loop {
            let used = content.consume(self.inbox.pending()).map_err(refuse)?;
            self.inbox.consume(used);
            if content.is_done() {
                return Ok(());
            }
            match self.fill()? {
                Filled::Bytes => {}
                Filled::End => return Err(refuse(Why::ContentIncomplete)),
                Filled::Silence => return Err(refuse(Why::ContentTimeout)),
            }
        }
    }

    fn fill(&mut self) -> Result<Filled, Close> {
        self.outbox.flush(self.transport)?;
        match self.read() {
            Ok(0) if self.seat.is_evicted() => Err(Close::Evicted),
            Ok(0) => Ok(Filled::End),
            Ok(_) => Ok(Filled::Bytes),
            Err(error) if error.kind() == ErrorKind::TimedOut => Ok(Filled::Silence),
            Err(error) => Err(Close::Io(error)),
        }
    }

    /// Reads more bytes, waiting for one at least.
    ///
    /// With few connections the other threads are first let run that can, and then what has arrived is read without
    /// waiting. Mostly the next request is there by then, and neither has this thread to be put to sleep nor has its
    /// client to wake it: 6.0 µs of processor time a request instead of 7.0 with 64 kept connections. With 1000 it was
    /// 18.6 instead of 15.7, so it is not done then (1 KiB, medians of 5 rounds each).
    fn read(&mut self) -> io::Result<usize> {
        if !self.server.seats.is_crowded() {
            thread::yield_now();
            if let Some(count) = self.inbox.try_fill(self.transport)? {
                return Ok(count);
            }
        }
        self.inbox.fill(self.transport)
    }

    /// Ends the connection in the way that its reason asks for. `head` is the last head that was received whole.
    fn end(&mut self, close: &Close, head: &[u8]) {
        match close {
            Close::Refused(refused) => self.explain(refused, head),
            Close::LastAnswer(_) | Close::Expectation | Close::Stopping | Close::Evicted => self.say_goodbye(),
            Close::ClientDone | Close::Idle => {}
            Close::SlowClient | Close::FileChanged | Close::File(_) | Close::Io(_) => self.transport.abort(),
        }
        if let Close::File(error) = close {
            log::warn!("a file could not be sent to its end: {error}");
        }
        trace::closed(self.seat, close);
    }

    /// Sends what has been answered and lets the client read it in peace.
    fn say_goodbye(&mut self) {
        // A client that is gone already has no use for it.
        if self.outbox.flush(self.transport).is_ok() {
            self.seat.wait_from(Instant::now());
            self.transport.linger();
        }
    }

    /// Tells the client what is wrong with what it sent.
    fn explain(&mut self, refused: &Refused, head: &[u8]) {
        let head = Head::parse(head).ok();
        let form = head.as_ref().map_or(Form::Text, |head| Form::preferred(&head.fields));
        if head.is_none() {
            trace::refused(self.seat, refused);
        }
        let (now, started) = (SystemTime::now(), Instant::now());
        let response = self.site.refuse(refused.why.because(&refused.received), form);
        let line = &refused.line;
        let reply = Reply { seat: self.seat, head: None, is_to_head: line.starts_with(b"HEAD "), keep: false, now };
        let sent = self.outbox.send(self.transport, &response, &reply);
        let head = head.as_ref();
        self.record(&Record { seat: self.seat, now, started, line, head, response: &response, sent: &sent });
        self.say_goodbye();
    }

    fn record(&self, record: &Record<'_>) {
        if let Some(cause) = &record.response.cause {
            log_cause(cause, record);
        }
        trace::body(self.seat, record.sent.bytes);
        self.server.access_log.write(record);
    }
}

/// Says what the file system said. Only a fault of ours is worth an operator's attention; anyone can ask for a file
/// that may not be read, as often as they like.
fn log_cause(cause: &io::Error, record: &Record<'_>) {
    let status = record.response.head.status.code();
    let level = if status >= 500 { log::Level::Warn } else { log::Level::Debug };
    log::log!(level, "{status} for {}: {cause}", record.line.escape_ascii());
}

/// What came of waiting for bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Filled {
    /// Bytes.
    Bytes,
    /// The client sends no more.
    End,
    /// Nothing, and the time is up.
    Silence,
}
