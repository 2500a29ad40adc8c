//! The end of a connection: half-closed, reset and chatty clients.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use super::{LARGE, idle, large, reset};
use crate::strace::Strace;
use crate::support::{GET, LIMIT, serve, site};

#[test]
fn half_closed_client_gets_all_responses() {
    let folder = site();
    let server = serve(&folder).start();
    for count in [1, 3, 50] {
        let mut client = server.connect();
        client.send(GET.repeat(count)).finish();
        for _ in 0..count {
            client.response().status(200).body("a page\n");
        }
        client.closed();
    }
}

#[test]
fn half_closed_client_gets_whole_large_file() {
    let folder = large();
    let server = serve(&folder).start();
    let mut client = server.connect();
    client.send("GET /large.bin HTTP/1.1\r\nHost: localhost\r\n\r\n").finish();
    let response = client.response().status(200);
    assert_eq!(response.body.len(), LARGE, "{}", response.exchange);
    client.closed();
}

#[test]
fn half_closed_client_gets_simple_response() {
    let folder = site();
    let server = serve(&folder).start();
    assert_eq!(server.connect().send("GET /page.txt\r\n").finish().rest(), b"a page\n");
}

#[test]
fn truncated_request_is_not_served() {
    let folder = site();
    let server = serve(&folder).start();
    for part in [
        "G",
        "GET /page.txt",
        "GET /page.txt HTTP/1.1\r\nHost: localhost",
        "GET /page.txt HTTP/1.1\r\nHost: localhost\r\n",
        "GET /page.txt HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nhello",
        "GET /page.txt HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
    ] {
        let rest = server.connect().send(part).finish().rest();
        let back = String::from_utf8_lossy(&rest);
        assert!(!back.contains("a page"), "{part:?}: {back}");
    }
}

#[test]
fn reset_at_any_stage_harms_no_other_client() {
    let folder = large();
    let server = serve(&folder).start();
    let mut other = idle(&server);
    for part in [
        "G",
        "GET /page.txt HTTP/1.1\r\nHost: local",
        GET,
        "GET /page.txt\r\n",
        "GET /page.txt HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nhello",
        "GET /large.bin HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "GET /page.txt HTTP/2.0\r\n\r\n",
    ] {
        for _ in 0..20 {
            let mut client = server.connect();
            client.send(part);
            reset(client);
        }
        idle(&server);
    }
    other.still_open();
}

#[test]
fn reset_within_response_harms_no_other_client() {
    let folder = large();
    let server = serve(&folder).start();
    let mut other = idle(&server);
    for _ in 0..20 {
        let mut client = server.connect();
        client.send("GET /large.bin HTTP/1.1\r\nHost: localhost\r\n\r\n");
        client.stream().peek(&mut [0]).expect("the response begins");
        reset(client);
    }
    other.still_open();
    idle(&server);
}

/// One packet wakes the client once.
#[test]
#[ignore = "needs strace"]
fn last_response_and_fin_leave_together() {
    let folder = site();
    let server = serve(&folder).start();
    let strace = Strace::attach(&server, &["shutdown:delay_enter=100ms"], "");
    let mut client = server.connect();
    let since = Instant::now();
    client.send("GET /page.txt HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    client.response().status(200).body("a page\n");
    assert!(since.elapsed() >= Duration::from_millis(100), "the response left before the FIN");
    client.closed();
    strace.detach();
}

#[test]
fn bytes_after_last_request_leave_response_whole() {
    let folder = site().file("large.bin", vec![b'y'; 1 << 20]);
    let server = serve(&folder).start();
    let head = b"GET /large.bin HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let mut client = server.connect();
    client.send([head.as_slice(), &vec![b'x'; 100_000]].concat());
    let response = client.response().status(200);
    assert_eq!(response.body.len(), 1 << 20, "{}", response.exchange);
    client.closed();
}

#[test]
fn bytes_during_last_response_leave_it_whole() {
    let folder = large();
    let server = serve(&folder).start();
    for request in
        ["GET /large.bin HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", "GET /large.bin HTTP/1.0\r\n\r\n"]
    {
        let mut stream = TcpStream::connect(server.addr).expect("the server accepts the connection");
        stream.set_read_timeout(Some(LIMIT)).expect("the option can be set");
        stream.write_all(request.as_bytes()).expect("the request is sent");
        let mut total = 0;
        let mut piece = vec![0; 1 << 16];
        loop {
            let count = stream.read(&mut piece).expect("the connection is not reset");
            if count == 0 {
                break;
            }
            total += count;
            let _ = stream.write_all(b"\r\n");
        }
        assert!(total > LARGE, "only {total} bytes came");
    }
}

#[test]
fn endless_sender_is_dropped_after_close() {
    let folder = site();
    let server = serve(&folder).start();
    // A few bytes for a long time, and many in a short time.
    for (piece, pause, most) in [(1, Duration::from_millis(100), 200), (1 << 20, Duration::ZERO, 256)] {
        let mut client = server.connect();
        client.send("OPTIONS * HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").response().status(204);
        let piece = vec![b'x'; piece];
        let accepted = (0..most).take_while(|_| {
            thread::sleep(pause);
            client.stream().write_all(&piece).is_ok()
        });
        assert!(accepted.count() < most, "{most} times {} bytes were accepted", piece.len());
    }
}
