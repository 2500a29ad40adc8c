//! A raw TCP client: sends exact bytes and parses responses by RFC 9112 §6.3.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Instant;

use rustls::{ClientConnection, StreamOwned};
use socket2::{Domain, Socket, Type};

use super::LIMIT;
use super::response::{Response, show};

/// A request for the file of [`super::site`].
pub const GET: &str = "GET /page.txt HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// The byte stream, plain or over TLS.
enum Wire {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

/// One connection to the server.
pub struct Client {
    wire: Wire,
    sent: Vec<u8>,
    received: Vec<u8>,
    taken: usize,
}

impl Client {
    /// Connects.
    pub fn connect(addr: SocketAddr) -> Client {
        Client::new(TcpStream::connect(addr).expect("the server accepts the connection"))
    }

    /// Connects from this address of the loopback interface.
    pub fn connect_from(ip: &str, addr: SocketAddr) -> Client {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket can be made");
        let here = SocketAddr::new(ip.parse().expect("an address"), 0);
        socket.bind(&here.into()).expect("all of 127.0.0.0/8 is local");
        socket.connect(&addr.into()).expect("the server accepts the connection");
        Client::new(socket.into())
    }

    /// Uses a connected stream.
    pub fn new(stream: TcpStream) -> Client {
        stream.set_nodelay(true).expect("the option can be set");
        stream.set_read_timeout(Some(LIMIT)).expect("the option can be set");
        stream.set_write_timeout(Some(LIMIT)).expect("the option can be set");
        Client { wire: Wire::Plain(stream), sent: Vec::new(), received: Vec::new(), taken: 0 }
    }

    /// Continues over TLS.
    pub fn over_tls(self, session: ClientConnection) -> Client {
        let Wire::Plain(stream) = self.wire else { panic!("the connection is over TLS already") };
        Client { wire: Wire::Tls(Box::new(StreamOwned::new(session, stream))), ..self }
    }

    /// Sends bytes unchanged. A connection that the server has closed already is no failure here.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Client {
        self.sent.extend_from_slice(bytes.as_ref());
        let _ = match &mut self.wire {
            Wire::Plain(stream) => stream.write_all(bytes.as_ref()),
            Wire::Tls(stream) => stream.write_all(bytes.as_ref()),
        };
        self
    }

    /// Sends bytes one at a time, with TCP_NODELAY mostly in a segment each.
    pub fn send_slowly(&mut self, bytes: impl AsRef<[u8]>) -> &mut Client {
        for byte in bytes.as_ref() {
            self.send([*byte]);
        }
        self
    }

    /// Half-closes the connection: no more bytes will be sent.
    pub fn finish(&mut self) -> &mut Client {
        let _ = self.stream().shutdown(Shutdown::Write);
        self
    }

    /// Reads the next response to a GET.
    #[track_caller]
    pub fn response(&mut self) -> Response {
        self.next_response(true)
    }

    /// Reads the next response to a HEAD, which has no content.
    #[track_caller]
    pub fn response_to_head(&mut self) -> Response {
        self.next_response(false)
    }

    /// Reads everything until the server closes.
    #[track_caller]
    pub fn rest(&mut self) -> Vec<u8> {
        while self.more() {}
        let rest = self.received[self.taken..].to_vec();
        self.taken = self.received.len();
        rest
    }

    /// Asserts that the server closes now and sends nothing more.
    #[track_caller]
    pub fn closed(&mut self) {
        let rest = self.rest();
        assert!(rest.is_empty(), "unexpected bytes: {}\n{}", show(&rest), self.exchange());
    }

    /// Asserts by an exchange that the connection is open.
    #[track_caller]
    pub fn still_open(&mut self) {
        self.send("OPTIONS * HTTP/1.1\r\nHost: still-open\r\n\r\n");
        self.response().status(204);
    }

    /// The socket.
    pub fn stream(&self) -> &TcpStream {
        match &self.wire {
            Wire::Plain(stream) => stream,
            Wire::Tls(stream) => &stream.sock,
        }
    }

    /// The TLS session.
    pub fn session(&mut self) -> &mut ClientConnection {
        match &mut self.wire {
            Wire::Plain(_) => panic!("the connection is not over TLS"),
            Wire::Tls(stream) => &mut stream.conn,
        }
    }

    /// Reads raw bytes.
    pub fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        match &mut self.wire {
            Wire::Plain(stream) => stream.read(into),
            Wire::Tls(stream) => stream.read(into),
        }
    }

    /// Reads to the end of a truncated response, which has to be visible as such.
    #[track_caller]
    pub fn expect_broken_off(&mut self) {
        let mut piece = vec![0; 1 << 20];
        let error = loop {
            match self.read(&mut piece) {
                Ok(0) => panic!("a truncated response looks like a whole one"),
                Ok(_) => {}
                Err(error) => break error,
            }
        };
        assert!(matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset), "{error}");
    }

    #[track_caller]
    fn next_response(&mut self, with_content: bool) -> Response {
        let end = loop {
            let bytes = &self.received[self.taken..];
            if let Some(at) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
                break at + 4;
            }
            assert!(self.more(), "the server closed before the end of a head\n{}", self.exchange());
        };
        let head = String::from_utf8_lossy(&self.received[self.taken..self.taken + end]).into_owned();
        self.taken += end;
        let (status_line, fields) = self.parse(&head);
        let status = status_line[9..12].parse().unwrap_or_else(|_| panic!("no status\n{}", self.exchange()));
        let length = self.content_length(&fields);
        let body = match (status, length) {
            _ if !with_content => Vec::new(),
            (204 | 304, _) => Vec::new(),
            (_, Some(length)) => self.take(length),
            _ if fields.iter().any(|(n, v)| n.eq_ignore_ascii_case("transfer-encoding") && v == "chunked") => {
                assert!(length.is_none(), "a length and chunks\n{}", self.exchange());
                self.chunks()
            }
            (_, None) => self.rest(),
        };
        Response { status, status_line, fields, body, exchange: self.exchange() }
    }

    #[track_caller]
    fn parse(&self, head: &str) -> (String, Vec<(String, String)>) {
        let mut lines = head.trim_end_matches("\r\n").split("\r\n");
        let status_line = lines.next().unwrap_or_default().to_owned();
        assert!(status_line.starts_with("HTTP/1.1 "), "no status line\n{}", self.exchange());
        let field = |line: &str| {
            let (name, value) =
                line.split_once(": ").unwrap_or_else(|| panic!("no field: {line:?}\n{}", self.exchange()));
            (name.to_owned(), value.to_owned())
        };
        (status_line, lines.map(field).collect())
    }

    #[track_caller]
    fn content_length(&self, fields: &[(String, String)]) -> Option<usize> {
        let lengths: Vec<_> = fields.iter().filter(|(n, _)| n.eq_ignore_ascii_case("content-length")).collect();
        assert!(lengths.len() < 2, "two lengths\n{}", self.exchange());
        lengths.first().map(|(_, v)| v.parse().unwrap_or_else(|_| panic!("no length: {v}\n{}", self.exchange())))
    }

    #[track_caller]
    fn take(&mut self, length: usize) -> Vec<u8> {
        while self.received.len() - self.taken < length {
            assert!(self.more(), "the server closed in the middle of the content\n{}", self.exchange());
        }
        let body = self.received[self.taken..self.taken + length].to_vec();
        self.taken += length;
        body
    }

    /// Reads chunks to the last one, without extensions and without trailers (RFC 9112 §7.1).
    #[track_caller]
    fn chunks(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        loop {
            let line = loop {
                let bytes = &self.received[self.taken..];
                if let Some(at) = bytes.windows(2).position(|window| window == b"\r\n") {
                    break String::from_utf8_lossy(&self.take(at + 2)).into_owned();
                }
                assert!(self.more(), "the server closed before the last chunk\n{}", self.exchange());
            };
            let length = usize::from_str_radix(line.trim_end(), 16).unwrap_or_else(|_| panic!("no length: {line:?}"));
            body.extend(self.take(length));
            assert_eq!(self.take(2), b"\r\n", "no end of a chunk\n{}", self.exchange());
            if length == 0 {
                return body;
            }
        }
    }

    /// Reads once; false at the end of the stream, orderly or by a reset.
    #[track_caller]
    fn more(&mut self) -> bool {
        let mut piece = [0; 65536];
        let since = Instant::now();
        match self.read(&mut piece) {
            Ok(0) => false,
            Ok(n) => {
                self.received.extend_from_slice(&piece[..n]);
                true
            }
            Err(e) if e.kind() == ErrorKind::ConnectionReset => false,
            // A stopped and continued process interrupts a read with a timeout.
            Err(e) if e.kind() == ErrorKind::Interrupted => true,
            Err(e) => panic!("no response after {:?}: {e}\n{}", since.elapsed(), self.exchange()),
        }
    }

    fn exchange(&self) -> String {
        format!("--- sent\n{}\n--- received\n{}", show(&self.sent), show(&self.received))
    }
}
