//! The way of one connection: read a head, answer it, log it, and again.
//!
//! [`Connection::exchange`] is the page to read first.

use std::io::{self, ErrorKind};
use std::mem;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use super::access_log::Record;
use super::close_reason::{CloseReason, Refused};
use super::conn_entry::Dismissal;
use super::connections::ConnHandle;
use super::desks::Desk;
use super::read_buffer::ReadBuffer;
use super::shutdown::ShutdownPhase;
use super::write::ReplyContext;
use super::{Server, trace};
use crate::net::Transport;
use crate::proto::content::Content;
use crate::proto::date::HttpDate;
use crate::proto::framing;
use crate::proto::request::{Head, Method};
use crate::proto::scan::{Scan, first_line};
use crate::proto::why::Why;
use crate::site::refusal::PageFormat;
use crate::site::{Request, Respond};

/// How long we go on reading after our last answer.
pub const LINGER: Duration = Duration::from_secs(3);

/// So many bytes leave at once, before the client has confirmed any (RFC 6928).
const FIRST_WINDOW: usize = 10 * 1460;

/// A client that begins another request within this time is quick. To be woken, at both ends, takes most of it.
const QUICK: Duration = Duration::from_micros(100);

/// For so long a thread stays awake for a client that is quick.
const AWAKE: Duration = Duration::from_micros(50);

/// One connection to a client.
pub struct Connection<'c> {
    transport: &'c mut dyn Transport,
    server: &'c Server,
    responder: &'c dyn Respond,
    conn: &'c ConnHandle,
    read_buffer: ReadBuffer,
    desk: Desk,
    /// Whether more has left already than is on its way at once.
    much_has_left: bool,
    /// Whether the client was [`QUICK`] the last time that it was waited for.
    is_quick: bool,
}

impl<'c> Connection<'c> {
    /// Takes over a connection that has not said anything yet.
    pub fn new(
        transport: &'c mut dyn Transport,
        server: &'c Server,
        responder: &'c dyn Respond,
        conn: &'c ConnHandle,
    ) -> Connection<'c> {
        Connection {
            transport,
            server,
            responder,
            conn,
            read_buffer: ReadBuffer::default(),
            desk: server.desks.lend(),
            much_has_left: false,
            is_quick: false,
        }
    }

    /// Answers one request after another until there is a reason to end.
    pub fn run(mut self) {
        trace::accepted(self.conn);
        let mut patience = self.server.options.times.header;
        let close = loop {
            if let Err(close) = self.serve(patience) {
                break close;
            }
            patience = self.server.options.times.idle;
        };
        self.conn.turn.end();
        let close = self.reason(close);
        self.end(&close);
        self.server.desks.take_back(&mut self.desk);
    }

    /// Tells the client why nothing else that it says is read, and ends the connection.
    pub fn refuse(mut self, close: CloseReason) {
        trace::accepted(self.conn);
        self.end(&close);
        self.server.desks.take_back(&mut self.desk);
    }

    /// Why the connection ends: it did not break by itself where the house cut it off.
    fn reason(&self, close: CloseReason) -> CloseReason {
        match close {
            CloseReason::Io(_) if self.conn.dismissal() == Some(Dismissal::CutOff) => CloseReason::SlowClient,
            close => close,
        }
    }

    /// Receives a request and answers it. The head stays on the desk.
    fn serve(&mut self, patience: Duration) -> Result<(), CloseReason> {
        self.receive_head(patience)?;
        let head = mem::take(&mut self.desk.head);
        let served = self.exchange(&head);
        self.desk.head = head;
        served
    }

    /// Answers the request whose head these bytes are, and says why the connection ends, if it does.
    fn exchange(&mut self, bytes: &[u8]) -> Result<(), CloseReason> {
        let head = Head::parse(bytes).map_err(|reject| CloseReason::refused(reject, first_line(bytes)))?;
        let refused = |reject| CloseReason::refused(reject, head.line);
        trace::request(self.conn, &head);
        let body = framing::body_length(&head).map_err(refused)?;
        let expects_continue = framing::expects_continue(&head).map_err(refused)?;
        if !expects_continue {
            self.skip_content(Content::new(body), &head)?;
        }
        self.conn.answer();
        let (now, started) = (SystemTime::now(), Instant::now());
        self.desk.stamp.set(HttpDate::clamped(now));
        let response = self.responder.respond(&Request { head: &head, now });
        let persistence = framing::persistence(&head);
        let keep = match persistence {
            // The content that is still owed comes before any promise to send no more.
            _ if expects_continue => Err(CloseReason::Expectation),
            _ if !persistence.persists() => Err(CloseReason::LastResponse(persistence)),
            _ if self.server.connections.is_at(ShutdownPhase::ClosingKeepAlive) => Err(CloseReason::ShuttingDown),
            _ if self.server.connections.is_starved() && !self.read_buffer.pending().is_empty() => {
                Err(CloseReason::Evicted)
            }
            _ => self.conn.dismissal().map_or(Ok(()), |dismissal| Err(dismissal.into())),
        };
        let is_to_head = head.method == Method::Head;
        let reply = ReplyContext {
            conn: self.conn,
            head: Some((&head, persistence)),
            is_to_head,
            keep: keep.is_ok(),
            stamp: &self.desk.stamp,
        };
        let before = self.desk.writer.len();
        let mut sent = self.desk.writer.send(self.transport, &response, &reply);
        self.much_has_left |= (self.desk.writer.len() as u64) < before as u64 + sent.bytes;
        sent.outcome = sent.outcome.map_err(|close| self.reason(close));
        let (conn, stamp, line) = (self.conn, &self.desk.stamp, head.line);
        let answer = Record { conn, stamp, started, line, head: Some(&head), response: &response, sent: &sent };
        record((self.server, self.responder), &answer, &mut self.desk.log_line);
        sent.outcome?;
        keep.inspect(|()| trace::kept(self.conn, persistence))
    }

    /// Reads until a whole head has arrived and moves it to the desk. What has been answered is sent before any waiting.
    fn receive_head(&mut self, patience: Duration) -> Result<(), CloseReason> {
        self.desk.head.clear();
        let mut scan = Scan::default();
        let mut is_waiting = false;
        let mut until = None;
        loop {
            let pending = self.read_buffer.pending();
            let found = scan.resume(pending).map_err(|reject| CloseReason::refused(reject, first_line(pending)))?;
            if let Some(length) = found {
                self.spend_turn()?;
                self.desk.head.extend_from_slice(&self.read_buffer.pending()[..length]);
                self.read_buffer.consume(length);
                return Ok(());
            }
            // A client that takes its answers slowly is not waiting for us to read.
            self.flush()?;
            if !is_waiting {
                is_waiting = true;
                self.conn.wait(patience);
            }
            if scan.has_begun() && until.is_none() {
                self.conn.wait_for_rest();
                until = Some(Instant::now() + self.server.options.times.header);
            }
            match self.fill(until)? {
                Filled::Bytes => {}
                Filled::End if self.server.connections.is_stopping() => return Err(CloseReason::ShuttingDown),
                silence if until.is_some() => {
                    let why = if silence == Filled::End { Why::HeadIncomplete } else { Why::HeadTimeout };
                    let line = first_line(self.read_buffer.pending());
                    return Err(CloseReason::refused(why.because(line), line));
                }
                Filled::End | Filled::Silence => return Err(CloseReason::ClientDone),
            }
        }
    }

    /// Reads the request's content and throws it away, so that the next request is read at the right byte.
    fn skip_content(&mut self, mut content: Content, head: &Head<'_>) -> Result<(), CloseReason> {
        let refuse = |why: Why| CloseReason::refused(why.because(head.line), head.line);
        let mut until = None;
        loop {
            let used = content.consume(self.read_buffer.pending()).map_err(refuse)?;
            self.read_buffer.consume(used);
            if content.is_done() {
                return Ok(());
            }
            if until.is_none() {
                // A client that takes its answers slowly is not waiting for us to read.
                self.flush()?;
                self.conn.wait_for_rest();
                until = Some(Instant::now() + self.server.options.times.header);
            }
            match self.fill(until)? {
                Filled::Bytes => {}
                Filled::End => return Err(refuse(Why::ContentIncomplete)),
                Filled::Silence => return Err(refuse(Why::ContentTimeout)),
            }
        }
    }

    /// Waits for bytes, until this moment where there is one; otherwise until the house ends the waiting. What has been
    /// answered is sent before, and the desk is for others meanwhile.
    fn fill(&mut self, until: Option<Instant>) -> Result<Filled, CloseReason> {
        self.flush()?;
        self.server.desks.take_back(&mut self.desk);
        let read = self.read(until);
        self.desk = self.server.desks.lend();
        match read {
            Ok(1..) => Ok(Filled::Bytes),
            Ok(0) => self.conn.dismissal().map_or(Ok(Filled::End), |dismissal| Err(dismissal.into())),
            Err(error) if error.kind() == ErrorKind::TimedOut => Ok(Filled::Silence),
            Err(error) => Err(CloseReason::Io(error)),
        }
    }

    /// Sends what has been answered.
    fn flush(&mut self) -> Result<(), CloseReason> {
        self.much_has_left |= self.desk.writer.len() > FIRST_WINDOW;
        self.desk.writer.flush(self.transport)
    }

    /// Reads more bytes, waiting for one at least.
    ///
    /// Where it is not crowded, the other threads are first let run that can, and then what has arrived is read without
    /// waiting. Mostly the next request is there by then, and neither has this thread to be put to sleep nor has its
    /// client to wake it: 6.0 µs of processor time a request instead of 7.0 with 64 kept connections.
    ///
    /// Between requests, a client that was quick the last time is then waited for awake, because to fall asleep and to be
    /// woken would take most of the time. A single client on the same machine that asks again at once gets 41,300 answers
    /// a second instead of 16,900, for as much processor time each; one that asks after 25 µs gets 18,300 instead of 9,700,
    /// for 49 µs instead of 33; after 40 µs or more there is no difference (1 KiB, medians of 4 rounds).
    fn read(&mut self, until: Option<Instant>) -> io::Result<usize> {
        if self.server.connections.is_crowded() {
            return self.read_in_turn(until);
        }
        self.conn.turn.end();
        // Who has just connected has mostly said already what is wanted: 25 µs of processor time a connection instead of 30.
        if self.read_buffer.is_new() {
            return self.read_buffer.fill(self.transport, until);
        }
        thread::yield_now();
        if let Some(count) = self.read_buffer.try_fill(self.transport)? {
            return Ok(count);
        }
        let (since, is_between) = (Instant::now(), until.is_none());
        while self.is_quick && is_between && since.elapsed() < AWAKE {
            thread::yield_now();
            if let Some(count) = self.read_buffer.try_fill(self.transport)? {
                return Ok(count);
            }
        }
        let count = self.read_buffer.fill(self.transport, until);
        // Who was waited for awake in vain is not the next time.
        self.is_quick = !self.is_quick && is_between && since.elapsed() < QUICK;
        count
    }

    /// Reads more bytes in a crowd, where a thread needs a [turn](super::turns) to answer. While it has one, the other threads
    /// are first let run, and mostly the next request is there then.
    fn read_in_turn(&mut self, until: Option<Instant>) -> io::Result<usize> {
        if self.conn.turn.is_taken() {
            thread::yield_now();
            if let Some(count) = self.read_buffer.try_fill(self.transport)? {
                return Ok(count);
            }
        }
        self.conn.turn.end();
        let count = self.read_buffer.fill(self.transport, until)?;
        if count > 0 {
            self.conn.turn.begin();
        }
        Ok(count)
    }

    /// Uses the turn for a request that has arrived. Where it is used up, others come first, and the desk is for them.
    fn spend_turn(&mut self) -> Result<(), CloseReason> {
        if !self.conn.turn.spend() {
            self.flush()?;
            self.server.desks.take_back(&mut self.desk);
            self.conn.turn.go_on();
            self.desk = self.server.desks.lend();
            self.conn.turn.spend();
        }
        Ok(())
    }

    /// Ends the connection in the way that its reason asks for.
    #[cold]
    fn end(&mut self, close: &CloseReason) {
        if let Some(metrics) = self.server.metrics.as_ref().filter(|_| self.responder.is_recorded()) {
            metrics.closed(close, self.conn.dismissal());
        }
        match close {
            CloseReason::Refused(refused) => self.explain(refused),
            CloseReason::LastResponse(persistence) if persistence.is_promised_last() => self.leave(),
            CloseReason::LastResponse(_)
            | CloseReason::Expectation
            | CloseReason::ShuttingDown
            | CloseReason::Evicted
            | CloseReason::IdleTimeout => {
                self.say_goodbye();
            }
            CloseReason::ClientDone => {
                let _ = self.transport.send_last(&[]);
            }
            CloseReason::SlowClient | CloseReason::FileChanged | CloseReason::File(_) | CloseReason::Io(_) => {
                self.transport.abort()
            }
        }
        if let CloseReason::File(error) = close {
            log::warn!("a file could not be sent to its end: {error}");
        }
        trace::closed(self.conn, close);
    }

    /// Sends what has been answered to a client that has promised to send no more. Where all of it is on its way at once, and
    /// nothing more has come, there is nothing to wait for (RFC 9112 §9.6).
    ///
    /// With a connection for each request that is 3 µs of processor time less.
    fn leave(&mut self) {
        let is_little = !self.much_has_left && self.desk.writer.len() <= FIRST_WINDOW;
        let may_leave = is_little && self.read_buffer.pending().is_empty();
        if self.send_last() && !(may_leave && self.is_over()) {
            self.linger();
        }
    }

    /// Reports whether nothing has come from a client that has promised to send no more, and nothing is to come.
    fn is_over(&mut self) -> bool {
        match self.read_buffer.try_fill(self.transport) {
            Ok(None) => !self.transport.has_last_words(),
            came => matches!(came, Ok(Some(0))),
        }
    }

    /// Sends what has been answered and lets the client read it in peace.
    fn say_goodbye(&mut self) {
        if self.send_last() {
            self.linger();
        }
    }

    /// Sends what has been answered, and that nothing more comes; false where the client does not take it.
    fn send_last(&mut self) -> bool {
        let is_taken = self.desk.writer.flush_last(self.transport).is_ok();
        if !is_taken {
            self.transport.abort();
        }
        is_taken
    }

    fn linger(&mut self) {
        self.conn.linger(LINGER);
        self.transport.linger();
    }

    /// Tells the client what is wrong with what it sent.
    fn explain(&mut self, refused: &Refused) {
        self.conn.answer();
        let head = mem::take(&mut self.desk.head);
        let head = Head::parse(&head).ok();
        let form = head.as_ref().map_or(PageFormat::Text, |head| PageFormat::preferred(&head.fields));
        if head.is_none() {
            trace::refused(self.conn, refused);
        }
        let (now, started) = (SystemTime::now(), Instant::now());
        self.desk.stamp.set(HttpDate::clamped(now));
        let response = self.responder.refuse(refused.why.because(&refused.received), form);
        let line = &refused.line;
        let reply = ReplyContext {
            conn: self.conn,
            head: None,
            is_to_head: line.starts_with(b"HEAD "),
            keep: false,
            stamp: &self.desk.stamp,
        };
        let sent = self.desk.writer.send(self.transport, &response, &reply);
        let head = head.as_ref();
        let (conn, stamp) = (self.conn, &self.desk.stamp);
        let answer = Record { conn, stamp, started, line, head, response: &response, sent: &sent };
        record((self.server, self.responder), &answer, &mut self.desk.log_line);
        match sent.outcome {
            Ok(()) => self.say_goodbye(),
            Err(_) => self.transport.abort(),
        }
    }
}

/// Says in the logs what was answered and counts it, if that is wanted; `line` is room for that.
fn record((server, responder): (&Server, &dyn Respond), record: &Record<'_>, line: &mut Vec<u8>) {
    if !responder.is_recorded() {
        let status = record.response.head.status.code();
        return log::debug!("#{} asked the server itself: {} {status}", record.conn.id, record.line.escape_ascii());
    }
    if let Some(cause) = &record.response.cause {
        log_cause(cause, record);
    }
    trace::body(record.conn, record.sent.bytes);
    if let Some(metrics) = &server.metrics {
        metrics.response_sent(record);
    }
    server.access_log.write(record, line);
}

/// Says what the file system said. A fault of ours is worth an operator's attention, though the status may be another
/// one, as where the site's own page for what is not there cannot be read. But anyone can ask for a file that may not be
/// read, as often as they like.
fn log_cause(cause: &io::Error, record: &Record<'_>) {
    let status = record.response.head.status.code();
    let is_ours = status >= 500 || cause.kind() != ErrorKind::PermissionDenied;
    let level = if is_ours { log::Level::Warn } else { log::Level::Debug };
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
