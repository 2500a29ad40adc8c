//! Timeouts of an idle connection, a head, a body, and a response that the client does not read.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use rustix::net::sockopt::set_socket_recv_buffer_size;

use super::{LARGE, either, idle, large};
use crate::support::{Client, GET, LIMIT, Server, serve, site};

/// A head without its last line.
const HEAD: &[u8] = b"GET /page.txt HTTP/1.1\r\nHost: localhost\r\n";

#[test]
fn unfinished_head_outlasts_idle_timeout() {
    let folder = site();
    let server = serve(&folder).args(&["--idle-timeout", "1"]).start();
    let mut client = idle(&server);
    client.send("GET /page.txt HTTP/1.1\r\n");
    idle(&server).closed();
    client.send("Host: localhost\r\n\r\n");
    client.response().status(200).body("a page\n");
}

#[test]
fn bytes_after_408_leave_responses_whole() {
    // The kernel takes all of it from the server, but not all of it reaches a client that does not read.
    let content = vec![b'y'; 200 << 10];
    let folder = site().file("file.bin", content.clone());
    let server = serve(&folder).args(&["--header-timeout", "1"]).start();
    let mut client = server.connect();
    client.send("GET /file.bin HTTP/1.1\r\nHost: localhost\r\n\r\nPOST / HTTP/1.1\r\nHost: localhost\r\n");
    client.send("Content-Length: 10\r\n\r\nhello");
    server.logged(|line| line.contains(" 408 "));
    client.send("w");
    client.response().status(200).body(content);
    client.response().status(408);
    client.closed();
}

/// Sends a byte every tenth of a second until a response begins.
#[track_caller]
fn dribble(client: &mut Client) {
    const PACE: Duration = Duration::from_millis(100);
    const MOST: usize = 600;
    let limit = client.stream().read_timeout().expect("the option can be read");
    client.stream().set_read_timeout(Some(PACE)).expect("the option can be set");
    let answered = (0..MOST).any(|_| match client.stream().peek(&mut [0]) {
        Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
            client.send("x");
            false
        }
        _ => true,
    });
    client.stream().set_read_timeout(limit).expect("the option can be set");
    assert!(answered, "no response to {MOST} single bytes");
}

/// Sends the beginnings of requests, each on a connection of its own; every one gets a 408 and a close.
#[track_caller]
fn all_get_408(server: &Server, beginnings: &[&[u8]]) {
    let mut clients: Vec<_> = beginnings.iter().map(|_| server.connect()).collect();
    for (client, bytes) in clients.iter_mut().zip(beginnings) {
        client.send(bytes);
    }
    for client in &mut clients {
        client.response().status(408).has("Connection", "close").says("408");
        client.closed();
    }
}

#[test]
fn unfinished_head_gets_408() {
    let folder = site();
    either(&folder, "--header-timeout", "1", |server| {
        let starts =
            ["G", "GET /page.txt", "GET /page.txt HTTP/1.1\r\n", "GET /page.txt HTTP/1.1\r\nHost: localhost\r\n"];
        all_get_408(server, &starts.map(str::as_bytes));
    });
}

#[test]
fn dribbled_head_gets_408() {
    let folder = site();
    let server = serve(&folder).args(&["--header-timeout", "1"]).start();
    let mut client = server.connect();
    client.send(HEAD).send("X: ");
    dribble(&mut client);
    client.response().status(408).has("Connection", "close");
    client.closed();
}

#[test]
fn unfinished_body_gets_408() {
    let folder = site();
    let server = serve(&folder).args(&["--header-timeout", "1"]).start();
    let bodies = [
        "Content-Length: 10\r\n\r\n",
        "Content-Length: 10\r\n\r\nhello",
        "Transfer-Encoding: chunked\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n5\r\nhe",
        "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
    ];
    let requests = bodies.map(|body| [HEAD, body.as_bytes()].concat());
    all_get_408(&server, &requests.each_ref().map(Vec::as_slice));
}

#[test]
fn dribbled_body_gets_408() {
    let folder = site();
    let server = serve(&folder).args(&["--header-timeout", "1"]).start();
    let mut client = server.connect();
    client.send(HEAD).send("Content-Length: 1000\r\n\r\n");
    dribble(&mut client);
    client.response().status(408).has("Connection", "close");
    client.closed();
}

#[test]
fn unfinished_body_of_second_request_gets_408() {
    let folder = site();
    let server = serve(&folder).args(&["--header-timeout", "1", "--idle-timeout", "600"]).start();
    let mut client = server.connect();
    client.send(GET).response().status(200).body("a page\n");
    client.send([HEAD, b"Content-Length: 10\r\n\r\n"].concat());
    client.response().status(408).has("Connection", "close");
    client.closed();
}

#[test]
fn unfinished_second_head_gets_408() {
    let folder = site();
    let server = serve(&folder).args(&["--header-timeout", "1"]).start();
    let mut client = server.connect();
    client.send(GET);
    client.response().status(200).body("a page\n");
    client.send("GET /page.txt HTTP/1.1\r\nHost:");
    client.response().status(408).has("Connection", "close");
    client.closed();
}

#[test]
fn silent_new_connection_gets_header_timeout() {
    let folder = site();
    let server = serve(&folder).args(&["--header-timeout", "1", "--idle-timeout", "600"]).start();
    server.connect().closed();
}

#[test]
fn idle_timeout_closes_silently() {
    let folder = site();
    either(&folder, "--idle-timeout", "1", |server| {
        let mut client = server.connect();
        client.still_open();
        client.closed();
    });
}

#[test]
fn write_timeout_closes_stalled_client() {
    let folder = large();
    either(&folder, "--write-timeout", "1", |server| {
        let mut client = server.connect();
        client.send("GET /large.bin HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let line = server.logged(|line| line.contains("/large.bin"));
        let bytes = line.rsplit(' ').next().and_then(|bytes| bytes.parse::<usize>().ok());
        assert!(bytes.is_some_and(|bytes| bytes > 0 && bytes < LARGE), "the log states the part that was sent: {line}");
        let received = client.rest().len();
        assert!(received < LARGE, "all {received} bytes came");
    });
    let server = serve(&folder).args(&["--write-timeout", "1", "--log", "json"]).start();
    let mut client = server.connect();
    client.send("GET /large.bin HTTP/1.1\r\nHost: localhost\r\n\r\n");
    server.logged(|line| line.contains("/large.bin") && line.contains("too slowly"));
}

/// The kernel reports room for more only after a large part of its send buffer has left.
#[test]
fn steady_slow_reader_gets_whole_response() {
    let folder = large().at_rest("large.bin");
    let server = serve(&folder).args(&["--write-timeout", "2"]).start();
    let mut stream = TcpStream::connect(server.addr).expect("the server accepts the connection");
    set_socket_recv_buffer_size(&stream, 64 * 1024).expect("the option can be set");
    stream.set_read_timeout(Some(LIMIT)).expect("the option can be set");
    stream.write_all(b"GET /large.bin HTTP/1.0\r\n\r\n").expect("the request is taken");
    let mut piece = vec![0; 64 * 1024];
    for _ in 0..24 {
        stream.read_exact(&mut piece).expect("the response goes on");
        thread::sleep(Duration::from_millis(125));
    }
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).expect("the response ends");
    assert!(24 * piece.len() + rest.len() > LARGE, "only {} more bytes came", rest.len());
}
