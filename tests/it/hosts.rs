//! Host field: its syntax, requests that require it, and the explanation that a telnet user gets without it.

use crate::support::{GET, Server, serve, site};

/// Asserts that the response to a GET with these fields explains Host, and that the next request is served.
#[track_caller]
fn explained(server: &Server, fields: &[u8]) {
    let mut client = server.connect();
    client.send([b"GET /page.txt HTTP/1.1\r\n", fields, b"\r\n", GET.as_bytes()].concat());
    client.response().status(400).says("Host: localhost").never_says("a page");
    client.response().status(200).body("a page\n");
}

#[test]
fn request_without_host_gets_the_missing_line() {
    let folder = site();
    let server = serve(&folder).start();
    for fields in ["", "Accept: */*\r\n", "X-Host: localhost\r\n", "Hosts: localhost\r\n"] {
        explained(&server, fields.as_bytes());
    }
}

#[test]
fn connection_stays_open_after_a_missing_host() {
    let folder = site();
    let server = serve(&folder).start();
    let mut client = server.connect();
    for _ in 0..3 {
        client.send("GET /page.txt HTTP/1.1\r\n\r\n");
        client.response().status(400).says("Host: localhost");
    }
    client.send(GET);
    client.response().status(200).body("a page\n");
}

#[test]
fn repeated_host_is_refused_even_when_equal() {
    let folder = site();
    let server = serve(&folder).start();
    for fields in [
        "Host: localhost\r\nHost: localhost\r\n",
        "Host: localhost\r\nhost: example.org\r\n",
        "Host:\r\nHost:\r\n",
        "Host: localhost\r\nX: y\r\nHOST: localhost\r\n",
        "Host: a\r\nHost: b\r\nHost: c\r\n",
    ] {
        explained(&server, fields.as_bytes());
    }
}

#[test]
fn invalid_host_is_refused() {
    let folder = site();
    let server = serve(&folder).start();
    let hosts: [&[u8]; 29] = [
        b"a b",
        b"a\tb",
        b"a/b",
        b"/",
        b"http://localhost",
        b"user@localhost",
        b"user:password@localhost",
        b"a?b",
        b"a#b",
        b"a\\b",
        b"<script>",
        b"\"localhost\"",
        b"{a}",
        b"a|b",
        b"a^b",
        b"a`b",
        b"a%",
        b"a%4",
        b"a%zz",
        b"a:b",
        b"a:80x",
        b"a:-1",
        b"a:+80",
        b"a:80:80",
        b"::1",
        b"[::1",
        b"[::1]80",
        b"[zz]",
        b"caf\xc3\xa9",
    ];
    for host in hosts {
        explained(&server, &[b"Host: ", host, b"\r\n"].concat());
    }
}

#[test]
fn valid_host_of_any_form_is_accepted() {
    let folder = site();
    let server = serve(&folder).start();
    for host in [
        "",
        "localhost",
        "LOCALHOST",
        "localhost:8080",
        "localhost:",
        "127.0.0.1",
        "127.0.0.1:80",
        "[::1]",
        "[::1]:80",
        "[2001:db8::7]",
        "example.org.",
        "a_b.example",
        "xn--caf-dma.example",
        "a%20b",
        "a-._~!$&'()*+,;=b",
    ] {
        for line in [format!("Host: {host}"), format!("host:{host}"), format!("HOST: \t{host} \t")] {
            let mut client = server.connect();
            client.send(format!("GET /page.txt HTTP/1.1\r\n{line}\r\n\r\n"));
            client.response().status(200).body("a page\n");
        }
    }
}

#[test]
fn http_1_0_needs_no_host() {
    let folder = site();
    let server = serve(&folder).start();
    for fields in ["", "Host: localhost\r\n", "Host:\r\n"] {
        server.ask(format!("GET /page.txt HTTP/1.0\r\n{fields}\r\n")).status(200).body("a page\n");
    }
}

#[test]
fn http_1_0_with_repeated_or_invalid_host_is_refused() {
    let folder = site();
    let server = serve(&folder).start();
    for fields in ["Host: a\r\nHost: a\r\n", "Host: a b\r\n", "Host: user@a\r\n"] {
        let mut client = server.connect();
        client.send(format!("GET /page.txt HTTP/1.0\r\n{fields}\r\n"));
        client.response().status(400).has("Connection", "close").says("Host: localhost");
        client.closed();
    }
}

#[test]
fn connection_close_applies_after_a_missing_host() {
    let folder = site();
    let server = serve(&folder).start();
    let mut client = server.connect();
    client.send(format!("GET /page.txt HTTP/1.1\r\nConnection: close\r\n\r\n{GET}"));
    client.response().status(400).has("Connection", "close").says("Host: localhost");
    client.closed();
}

#[test]
fn body_of_a_request_without_host_is_discarded() {
    let folder = site();
    let server = serve(&folder).start();
    for body in ["Content-Length: 5\r\n\r\nhello", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"] {
        let mut client = server.connect();
        client.send(format!("GET /page.txt HTTP/1.1\r\n{body}{GET}"));
        client.response().status(400).says("Host: localhost");
        client.response().status(200).body("a page\n");
    }
}

#[test]
fn absolute_form_does_not_replace_host() {
    let folder = site();
    let server = serve(&folder).start();
    let mut client = server.connect();
    client.send("GET http://localhost/page.txt HTTP/1.1\r\n\r\n");
    client.response().status(400).says("Host: localhost");
    client.still_open();
}
