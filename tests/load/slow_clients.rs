//! Slow clients without a foreign program: each sends or reads a few bytes now and then, and none reconnects.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

/// The time from one client to the next: a hundred connect in a second.
const PACE: Duration = Duration::from_millis(10);

/// The time after the last one has connected.
const HOLD: Duration = Duration::from_secs(1);

/// The time between the few bytes of one client.
const INTERVAL: Duration = Duration::from_millis(200);

/// The kinds of slow clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Sending a head.
    Head,
    /// Sending content.
    Content,
    /// Reading a response.
    Response,
}

/// Clients that connect one after another and stay.
pub struct SlowClients {
    thread: JoinHandle<()>,
}

impl SlowClients {
    /// Starts this number of clients.
    pub fn start(addr: SocketAddr, kind: Kind, count: usize) -> SlowClients {
        SlowClients { thread: thread::spawn(move || run(addr, kind, count)) }
    }

    /// Reports whether all clients have ended.
    pub fn are_done(&mut self) -> bool {
        self.thread.is_finished()
    }
}

fn run(addr: SocketAddr, kind: Kind, count: usize) {
    let began = Instant::now();
    let mut clients: Vec<(TcpStream, Instant)> = Vec::new();
    for at in 0u32.. {
        let now = Instant::now();
        if clients.len() < count {
            clients.push((connect(addr, kind), now + INTERVAL));
        } else if now >= began + PACE * count as u32 + HOLD {
            return;
        }
        for (stream, next) in clients.iter_mut().filter(|(_, next)| *next <= now) {
            *next = now + INTERVAL;
            // An evicted client gets an error here.
            let _ = send_or_read(stream, kind);
        }
        thread::sleep((began + PACE * (at + 1)).saturating_duration_since(Instant::now()));
    }
}

fn connect(addr: SocketAddr, kind: Kind) -> TcpStream {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, None).expect("a socket can be made");
    if kind == Kind::Response {
        socket.set_recv_buffer_size(1024).expect("the option can be set");
    }
    socket.connect(&addr.into()).expect("the kernel accepts the connection");
    socket.set_nonblocking(true).expect("the option can be set");
    let mut stream = TcpStream::from(socket);
    let begin: &[u8] = match kind {
        Kind::Head => b"GET /small.txt HTTP/1.1\r\nHost: localhost\r\n",
        Kind::Content => b"POST /small.txt HTTP/1.1\r\nHost: localhost\r\nContent-Length: 8192\r\n\r\n",
        Kind::Response => b"GET /large.bin HTTP/1.1\r\nHost: localhost\r\n\r\n",
    };
    stream.write_all(begin).expect("the send buffer of a new connection has room");
    stream
}

fn send_or_read(stream: &mut TcpStream, kind: Kind) -> std::io::Result<usize> {
    match kind {
        Kind::Head => stream.write(b"X: y\r\n"),
        Kind::Content => stream.write(b"&x=y"),
        Kind::Response => match stream.read(&mut [0; 32]) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
            read => read,
        },
    }
}
