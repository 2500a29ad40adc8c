//! Limits on the size of a request, early responses, and Expect.

use crate::connections::refused;
use crate::support::{serve, site};

const NEXT: &[u8] = b"GET /page.txt HTTP/1.1\r\nHost: localhost\r\n\r\n";
const GET: &[u8] = b"GET /page.txt HTTP/1.1\r\nHost: localhost\r\n";

/// More than any buffer on the way holds.
const MUCH: usize = 5 << 20;

#[test]
fn request_line_up_to_limit_is_accepted() {
    let folder = site();
    let server = serve(&folder).start();
    let mut client = server.connect();
    client.send(format!("GET /page.txt?{} HTTP/1.1\r\nHost: localhost\r\n\r\n", "x".repeat(8000)));
    client.response().status(200).body("a page\n");
    client.still_open();
}

#[test]
fn request_line_past_limit_gets_414() {
    let folder = site();
    let server = serve(&folder).start();
    for length in [8193, 9000, 20_000, 100_000] {
        let line = format!("GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n", "x".repeat(length));
        refused(&server, &[line.as_bytes(), NEXT].concat(), 414);
    }
}

#[test]
fn unfinished_request_line_past_limit_gets_414() {
    let folder = site();
    let server = serve(&folder).start();
    refused(&server, format!("GET /{}", "x".repeat(9000)).as_bytes(), 414);
    refused(&server, format!("GET /{}", "x".repeat(MUCH)).as_bytes(), 414);
}

#[test]
fn head_up_to_limit_is_accepted() {
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
fn head_past_limit_gets_431() {
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
fn unfinished_head_past_limit_gets_431() {
    let folder = site();
    let server = serve(&folder).start();
    refused(&server, &[GET, b"X: ", &[b'x'; 33_000]].concat(), 431);
    refused(&server, &[GET, b"X: ", "x".repeat(MUCH).as_bytes()].concat(), 431);
    refused(&server, &[GET, "X: y\r\n".repeat(MUCH / 6).as_bytes()].concat(), 431);
}

#[test]
fn hundred_and_first_field_gets_431() {
    let folder = site();
    let server = serve(&folder).start();
    let mut client = server.connect();
    client.send([GET, "X: y\r\n".repeat(99).as_bytes(), b"\r\n"].concat());
    client.response().status(200).body("a page\n");
    client.still_open();
    refused(&server, &[GET, "X: y\r\n".repeat(100).as_bytes(), b"\r\n", NEXT].concat(), 431);
}

#[test]
fn body_past_limit_gets_413() {
    let folder = site();
    let server = serve(&folder).start();
    for (length, sent) in [(1_048_577, 0), (1_048_577, 1_048_577), (MUCH, 0), (MUCH, 1000), (MUCH, MUCH)] {
        let head = format!("Content-Length: {length}\r\n\r\n");
        let body = vec![b'x'; sent];
        refused(&server, &[GET, head.as_bytes(), &body].concat(), 413);
    }
}

#[test]
fn chunked_body_past_limit_gets_413() {
    let folder = site();
    let server = serve(&folder).start();
    let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
    for body in [format!("100001\r\n{}", "x".repeat(1000)), chunk.repeat(17), chunk.repeat(80)] {
        refused(&server, &[GET, b"Transfer-Encoding: chunked\r\n\r\n", body.as_bytes()].concat(), 413);
    }
}

#[test]
fn chunk_framing_past_limit_is_refused() {
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
fn early_response_reaches_client_that_still_sends() {
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
fn expect_100_continue_gets_final_response_and_close() {
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
fn unread_body_is_not_parsed_as_request() {
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
fn unknown_expectation_gets_417() {
    let folder = site();
    let server = serve(&folder).start();
    for value in ["wonders", "200-ok", "100-continue, wonders", "wonders, 100-continue", "100", "100-continued"] {
        refused(&server, &[GET, format!("Expect: {value}\r\n\r\n").as_bytes(), NEXT].concat(), 417);
    }
}

#[test]
fn expectation_in_http_1_0_is_ignored() {
    let folder = site();
    let server = serve(&folder).start();
    let mut client = server.connect();
    client.send(
        "GET /page.txt HTTP/1.0\r\nConnection: keep-alive\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello",
    );
    client.response().status(200).has("Connection", "keep-alive").body("a page\n");
    client.still_open();
}
