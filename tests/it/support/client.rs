//! A raw TCP client: sends exactly the bytes it is given and takes answers apart by the letter of RFC 9112 §6.3.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Instant;

use rustls::{ClientConnection, StreamOwned};
use socket2::{Domain, Socket, Type};

use super::LIMIT;
use super::response::{Response, show};

/// A request for the file of [`super::site`].
pub const GET: &str = "GET /page.txt HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// A stream of bytes to the server and back.
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
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("there are descriptors");
        let here = SocketAddr::new(ip.parse().expect("an address"), 0);
        socket.bind(&here.into()).expect("the whole of 127.0.0.0/8 is this machine");
        socket.connect(&addr.into()).expect("the server accepts the connection");
        Client::new(socket.into())
    }

    /// Takes over a connection.
    pub fn new(stream: TcpStream) -> Client {
        stream.set_nodelay(true).expect("the option can be set");
        stream.set_read_timeout(Some(LIMIT)).expect("the option can be set");
        stream.set_write_timeout(Some(LIMIT)).expect("the option can be set");
        Client { wire: Wire::Plain(stream), sent: Vec::new(), received: Vec::new(), taken: 0 }
    }

    /// Goes on over TLS.
    pub fn over_tls(self, session: ClientConnection) -> Client {
        let Wire::Plain(stream) = self.wire else { panic!("it is over TLS already") };
        Client { wire: Wire::Tls(Box::new(StreamOwned::new(session, stream))), ..self }
    }

    /// Sends bytes as they are. A connection that the server has ended already is no failure here.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Client {
        self.sent.extend_from_slice(bytes.as_ref());
        let _ = match &mut self.wire {
            Wire::Plain(stream) => stream.write_all(bytes.as_ref()),
            Wire::Tls(stream) => stream.write_all(bytes.as_ref()),
        };
        self
    }

    /// Sends bytes one at a time, each in a segment of its own as far as TCP_NODELAY makes it so.
    pub fn send_slowly(&mut self, bytes: impl AsRef<[u8]>) -> &mut Client {
        for byte in bytes.as_ref() {
            self.send([*byte]);
        }
        self
    }

    /// Says that nothing more will be sent (a half-closed connection).
    pub fn finish(&mut self) -> &mut Client {
        let _ = self.stream().shutdown(Shutdown::Write);
        self
    }

    /// Reads the next answer to a GET.
    #[track_caller]
    pub fn response(&mut self) -> Response {
        self.next_response(true)
    }

    /// Reads the next answer to a HEAD, which has no content.
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
        assert!(rest.is_empty(), "more than was expected: {}\n{}", show(&rest), self.exchange());
    }

    /// Asserts that the connection is still good by a whole exchange on it.
    #[track_caller]
    pub fn still_open(&mut self) {
        self.send("OPTIONS * HTTP/1.1\r\nHost: still-open\r\n\r\n");
        self.response().status(204);
    }

    /// The socket itself, for what this language has no word for.
    pub fn stream(&self) -> &TcpStream {
        match &self.wire {
            Wire::Plain(stream) => stream,
            Wire::Tls(stream) => &stream.sock,
        }
    }

    /// The TLS session.
    pub fn session(&mut self) -> &mut ClientConnection {
        match &mut self.wire {
            Wire::Plain(_) => panic!("it is not over TLS"),
            Wire::Tls(stream) => &mut stream.conn,
        }
    }

    /// Reads from the connection as it is.
    pub fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        match &mut self.wire {
            Wire::Plain(stream) => stream.read(into),
            Wire::Tls(stream) => stream.read(into),
        }
    }

    /// Reads on to where the answer was broken off, and makes sure that it does not look like a whole one.
    #[track_caller]
    pub fn expect_broken_off(&mut self) {
        let mut piece = vec![0; 1 << 20];
        let error = loop {
            match self.read(&mut piece) {
                Ok(0) => panic!("an response that was broken off looks like a whole one"),
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
            assert!(self.more(), "the server closed before a whole head came\n{}", self.exchange());
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

    /// Reads once; false at the end of the stream, however it came.
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
            // A read with a limit of time ends so when the process was stopped and goes on.
            Err(e) if e.kind() == ErrorKind::Interrupted => true,
            Err(e) => panic!("no response after {:?}: {e}\n{}", since.elapsed(), self.exchange()),
        }
    }

    fn exchange(&self) -> String {
        format!("--- sent\n{}\n--- received\n{}", show(&self.sent), show(&self.received))
    }
}
