//! What a request may grow to and how long it may take, Expect, and early answers, which reach every client whole.

use std::io::ErrorKind;
use std::time::Duration;

use crate::support::{Client, Folder, Server, serve, site};

const NEXT: &[u8] = b"GET /page.txt HTTP/1.1\r\nHost: localhost\r\n\r\n";
const GET: &[u8] = b"GET /page.txt HTTP/1.1\r\nHost: localhost\r\n";

/// More than any buffer on the way holds.
const MUCH: usize = 5 << 20;

/// Asserts that the bytes get this answer, whole, and that nothing comes after it.
#[track_caller]
fn refused(server: &Server, bytes: &[u8], status: u16) {
    let mut client = server.connect();
    client.send(bytes);
    client.response().status(status).has("Connection", "close").says(&status.to_string());
    client.closed();
}

/// Sends a byte, waits for a tenth of a second for an answer, and so on until there is one.
#[track_caller]
fn dribble(client: &mut Client) {
    const PACE: Duration = Duration::from_millis(100);
    const MOST: usize = 200;
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
    assert!(answered, "no response to {MOST} bytes that came slowly");
}

#[test]
fn a_long_request_line_is_accepted_up_to_the_limit() {
    let folder = site();
    let server = serve(&folder).start();
    let mut client = server.connect();
    client.send(format!("GET /page.txt?{} HTTP/1.1\r\nHost: localhost\r\n\r\n", "x".repeat(8000)));
    client.response().status(200).body("a page\n");
    client.still_open();
}

#[test]
fn a_request_line_past_the_limit_is_too_long() {
    let folder = site();
    let server = serve(&folder).start();
    for length in [8193, 9000, 20_000, 100_000] {
        let line = format!("GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n", "x".repeat(length));
        refused(&server, &[line.as_bytes(), NEXT].concat(), 414);
    }
}

#[test]
fn a_request_line_without_end_is_too_long_before_it_ends() {
    let folder = site();
    let server = serve(&folder).start();
    refused(&server, format!("GET /{}", "x".repeat(9000)).as_bytes(), 414);
    refused(&server, format!("GET /{}", "x".repeat(MUCH)).as_bytes(), 414);
}

#[test]
fn a_large_head_is_accepted_up_to_the_limit() {
    let folder = site();
    let server = serve(&folder).start();
    for fields in [format!("X: {}\r\n", "x".repeat(31_000)), format!("X: {}\r\n", "x".repeat(330)).repeat(90)] {
        let mut client = server.connect();
        client.send([GET, fields.as_bytes(), b"\r\n"].concat());
        client.response().status(200).body("a page\n");
        client.still_open();
    }
}

#[test]
fn a_head_past_the_limit_is_too_large() {
    let folder = site();
    let server = serve(&folder).start();
    for fields in [
        format!("X: {}\r\n", "x".repeat(33_000)),
        format!("{}: x\r\n", "X".repeat(33_000)),
        format!("X: {}\r\n", "x".repeat(400)).repeat(90),
        format!("X:{}\r\n", " ".repeat(33_000)),
    ] {
        refused(&server, &[GET, fields.as_bytes(), b"\r\n", NEXT].concat(), 431);
    }
}

#[test]
fn a_head_without_end_is_too_large_before_it_ends() {
    let folder = site();
    let server = serve(&folder).start();
    refused(&server, &[GET, b"X: ", &[b'x'; 33_000]].concat(), 431);
    refused(&server, &[GET, b"X: ", "x".repeat(MUCH).as_bytes()].concat(), 431);
    refused(&server, &[GET, "X: y\r\n".repeat(MUCH / 6).as_bytes()].concat(), 431);
}

#[test]
fn a_hundred_fields_are_accepted_and_one_more_is_not() {
    let folder = site();
    let server = serve(&folder).start();
    let mut client = server.connect();
    client.send([GET, "X: y\r\n".repeat(99).as_bytes(), b"\r\n"].concat());
    client.response().status(200).body("a page\n");
    client.still_open();
    refused(&server, &[GET, "X: y\r\n".repeat(100).as_bytes(), b"\r\n", NEXT].concat(), 431);
}

#[test]
fn a_body_past_the_limit_is_too_large() {
    let folder = site();
    let server = serve(&folder).start();
    for (length, sent) in [(1_048_577, 0), (1_048_577, 1_048_577), (MUCH, 0), (MUCH, 1000), (MUCH, MUCH)] {
        let head = format!("Content-Length: {length}\r\n\r\n");
        let body = vec![b'x'; sent];
        refused(&server, &[GET, head.as_bytes(), &body].concat(), 413);
    }
}

#[test]
fn a_chunked_body_past_the_limit_is_too_large() {
    let folder = site();
    let server = serve(&folder).start();
    let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
    for body in [format!("100001\r\n{}", "x".repeat(1000)), chunk.repeat(17), chunk.repeat(80)] {
        refused(&server, &[GET, b"Transfer-Encoding: chunked\r\n\r\n", body.as_bytes()].concat(), 413);
    }
}

#[test]
fn chunks_that_are_all_overhead_are_limited_too() {
    let folder = site();
    let server = serve(&folder).start();
    for piece in [
        "1;a=b\r\nx\r\n".repeat(MUCH / 10),
        format!("1;{}", "a".repeat(MUCH)),
        format!("0\r\n{}", "X: y\r\n".repeat(MUCH / 6)),
    ] {
        let mut client = server.connect();
        client.send([GET, b"Transfer-Encoding: chunked\r\n\r\n", piece.as_bytes()].concat());
        let response = client.response().has("Connection", "close");
        assert!(matches!(response.status, 400 | 413 | 431), "{}", response.exchange);
        client.closed();
    }
}

#[test]
fn an_early_answer_reaches_a_client_that_has_sent_much_more() {
    let folder = site();
    let server = serve(&folder).start();
    let much = vec![b'x'; MUCH];
    let heads: [(&[u8], u16); 7] = [
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5242880\r\n\r\n", 413),
        (b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5242880\r\n\r\n", 413),
        (b"POST / HTTP/1.1\r\nHost: localhost\r\nExpect: wonders\r\n\r\n", 417),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501),
        (b"GET / HTTP/2.0\r\nHost: localhost\r\n\r\n", 505),
        (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", 400),
    ];
    for (head, status) in heads {
        refused(&server, &[head, &much].concat(), status);
    }
}

#[test]
fn what_follows_the_last_request_does_not_destroy_its_answer() {
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
fn an_expectation_to_continue_gets_the_final_answer_and_a_close() {
    let folder = site();
    let server = serve(&folder).start();
    for (request, status) in [
        ("GET /page.txt HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n", 200),
        ("GET /page.txt HTTP/1.1\r\nHost: localhost\r\nExpect: 100-Continue\r\nContent-Length: 5\r\n\r\n", 200),
        (
            "GET /page.txt HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n",
            200,
        ),
        ("POST / HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n", 405),
        ("POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n", 400),
    ] {
        let mut client = server.connect();
        client.send(request);
        client.response().status(status).has("Connection", "close");
        client.closed();
    }
}

#[test]
fn a_body_that_was_not_waited_for_is_not_read_as_a_request() {
    let folder = site();
    let server = serve(&folder).start();
    let mut client = server.connect();
    let length = NEXT.len();
    client.send(
        [GET, format!("Expect: 100-continue\r\nContent-Length: {length}\r\n\r\n").as_bytes(), NEXT, NEXT].concat(),
    );
    client.response().status(200).has("Connection", "close").body("a page\n");
    client.closed();
}

#[test]
fn another_expectation_fails() {
    let folder = site();
    let server = serve(&folder).start();
    for value in ["wonders", "200-ok", "100-continue, wonders", "wonders, 100-continue", "100", "100-continued"] {
        refused(&server, &[GET, format!("Expect: {value}\r\n\r\n").as_bytes(), NEXT].concat(), 417);
    }
}

#[test]
fn an_expectation_in_http_1_0_is_ignored() {
    let folder = site();
    let server = serve(&folder).start();
    let mut client = server.connect();
    client.send(
        "GET /page.txt HTTP/1.0\r\nConnection: keep-alive\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello",
    );
    client.response().status(200).has("Connection", "keep-alive").body("a page\n");
    client.still_open();
}

#[test]
fn a_head_that_does_not_come_is_told_so() {
    let folder = site();
    let server = serve(&folder).args(&["--header-timeout", "1"]).start();
    for start in ["G", "GET /page.txt", "GET /page.txt HTTP/1.1\r\n", "GET /page.txt HTTP/1.1\r\nHost: localhost\r\n"] {
        refused(&server, start.as_bytes(), 408);
    }
}

#[test]
fn a_head_that_comes_a_byte_at_a_time_runs_out_of_time_too() {
    let folder = site();
    let server = serve(&folder).args(&["--header-timeout", "1"]).start();
    let mut client = server.connect();
    client.send(GET).send("X: ");
    dribble(&mut client);
    client.response().status(408).has("Connection", "close");
    client.closed();
}

#[test]
fn a_body_that_does_not_come_is_told_so() {
    let folder = site();
    let server = serve(&folder).args(&["--header-timeout", "1"]).start();
    for body in [
        "Content-Length: 10\r\n\r\n",
        "Content-Length: 10\r\n\r\nhello",
        "Transfer-Encoding: chunked\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n5\r\nhe",
        "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
    ] {
        refused(&server, &[GET, body.as_bytes()].concat(), 408);
    }
}

#[test]
fn a_body_that_comes_a_byte_at_a_time_runs_out_of_time_too() {
    let folder = site();
    let server = serve(&folder).args(&["--header-timeout", "1"]).start();
    let mut client = server.connect();
    client.send(GET).send("Content-Length: 1000\r\n\r\n");
    dribble(&mut client);
    client.response().status(408).has("Connection", "close");
    client.closed();
}

#[test]
fn a_body_of_a_second_request_that_does_not_come_is_told_so() {
    let folder = site();
    let server = serve(&folder).args(&["--header-timeout", "1", "--idle-timeout", "600"]).start();
    let mut client = server.connect();
    client.send(NEXT).response().status(200).body("a page\n");
    client.send([GET, b"Content-Length: 10\r\n\r\n"].concat());
    client.response().status(408).has("Connection", "close");
    client.closed();
}

#[test]
fn a_second_head_that_does_not_come_is_told_so() {
    let folder = site();
    let server = serve(&folder).args(&["--header-timeout", "1"]).start();
    let mut client = server.connect();
    client.send(NEXT);
    client.response().status(200).body("a page\n");
    client.send("GET /page.txt HTTP/1.1\r\nHost:");
    client.response().status(408).has("Connection", "close");
    client.closed();
}

#[test]
fn answers_that_leave_together_take_little_memory() {
    let folder = Folder::new().file("a", vec![b'x'; 60_000]);
    let server = serve(&folder).start();
    let mut client = server.connect();
    let mut ask = |count: usize| {
        client.send("GET /a HTTP/1.1\r\nHost:\r\n\r\n".repeat(count));
        (0..count).for_each(|_| drop(client.response().status(200)));
    };
    ask(1);
    let before = server.proc().number("VmHWM:");
    ask(300);
    let grown = server.proc().number("VmHWM:") - before;
    assert!(grown < 3000, "{grown} KiB more for responses of 60 KB each");
}

#[test]
fn an_idle_connection_keeps_no_memory_of_its_last_answer() {
    let folder = Folder::new().file("a", vec![b'x'; 60_000]).file("b", "b");
    let server = serve(&folder).start();
    let grown_by = |name: &str| {
        let before = server.proc().number("VmHWM:");
        let mut clients: Vec<_> = (0..250).map(|_| server.connect()).collect();
        for client in &mut clients {
            client.send(format!("GET /{name} HTTP/1.1\r\nHost:\r\n\r\n")).response().status(200);
        }
        server.proc().number("VmHWM:") - before
    };
    // The threads and all else that a connection takes are there already when the large answers come.
    grown_by("b");
    let grown = grown_by("a");
    assert!(grown < 10_000, "{grown} KiB more for 250 connections that were answered with 60 KB each");
}
