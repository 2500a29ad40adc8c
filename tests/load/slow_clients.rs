//! Slow clients without another program: each says or takes a little now and then, and none comes again.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

/// The time from one client to the next: a hundred come in a second.
const PACE: Duration = Duration::from_millis(10);

/// How long they go on after the last one has come.
const LAST: Duration = Duration::from_secs(1);

/// How often each says or takes a little.
const TURN: Duration = Duration::from_millis(200);

/// What a client is slow at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Sending a head.
    Head,
    /// Sending content.
    Content,
    /// Taking an answer.
    Response,
}

/// Clients that come one after another and stay.
pub struct SlowClients {
    thread: JoinHandle<()>,
}

impl SlowClients {
    /// Lets so many come.
    pub fn start(addr: SocketAddr, kind: Kind, count: usize) -> SlowClients {
        SlowClients { thread: thread::spawn(move || run(addr, kind, count)) }
    }

    /// Reports whether the last one is gone.
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
            clients.push((come(addr, kind), now + TURN));
        } else if now >= began + PACE * count as u32 + LAST {
            return;
        }
        for (stream, next) in clients.iter_mut().filter(|(_, next)| *next <= now) {
            *next = now + TURN;
            // Whoever had to make room finds the connection ended, and that is all there is to do.
            let _ = take_turn(stream, kind);
        }
        thread::sleep((began + PACE * (at + 1)).saturating_duration_since(Instant::now()));
    }
}

fn come(addr: SocketAddr, kind: Kind) -> TcpStream {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, None).expect("a socket can be made");
    if kind == Kind::Response {
        socket.set_recv_buffer_size(1024).expect("the option can be set");
    }
    socket.connect(&addr.into()).expect("the system takes the connection");
    socket.set_nonblocking(true).expect("the option can be set");
    let mut stream = TcpStream::from(socket);
    let begin: &[u8] = match kind {
        Kind::Head => b"GET /small.txt HTTP/1.1\r\nHost: localhost\r\n",
        Kind::Content => b"POST /small.txt HTTP/1.1\r\nHost: localhost\r\nContent-Length: 8192\r\n\r\n",
        Kind::Response => b"GET /large.bin HTTP/1.1\r\nHost: localhost\r\n\r\n",
    };
    stream.write_all(begin).expect("a new connection takes a few bytes");
    stream
}

fn take_turn(stream: &mut TcpStream, kind: Kind) -> std::io::Result<usize> {
    match kind {
        Kind::Head => stream.write(b"X: y\r\n"),
        Kind::Content => stream.write(b"&x=y"),
        Kind::Response => match stream.read(&mut [0; 32]) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
            read => read,
        },
    }
}
