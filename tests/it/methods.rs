//! Request methods: GET, HEAD and OPTIONS, and the refusal of all others.

use crate::support::{self, Folder, GET, Response, Server, serve};

const ALLOW: &str = "GET, HEAD, OPTIONS";

fn site() -> Folder {
    support::site().file("empty.txt", "").file("dir/index.html", "a directory\n")
}

/// Returns the status line and every field but Date, sorted by name.
fn head_of(response: &Response) -> (String, Vec<(String, String)>) {
    let mut fields: Vec<_> = response.fields.iter().filter(|(name, _)| name != "Date").cloned().collect();
    fields.sort();
    (response.status_line.clone(), fields)
}

/// Asserts that a HEAD gets the head of the response to a GET, and no content.
#[track_caller]
fn same_head(server: &Server, target: &str, fields: &str, get: &Response) {
    let mut client = server.connect();
    client.send(format!("HEAD {target} HTTP/1.1\r\nHost: localhost\r\n{fields}Connection: close\r\n\r\n"));
    let head = client.response_to_head();
    client.closed();
    assert_eq!(head_of(&head), head_of(get), "{}\n{}", get.exchange, head.exchange);
}

#[test]
fn head_has_the_fields_of_get_and_no_content() {
    let folder = site();
    let server = serve(&folder).start();
    for target in
        ["/page.txt", "/empty.txt", "/dir", "/dir/", "/missing", "/", "/%00", "/a%zz", "/../x", "*", "page.txt"]
    {
        let get = server.get(target);
        same_head(&server, target, "", &get);
    }
}

#[test]
fn conditional_head_has_the_fields_of_conditional_get() {
    let folder = site();
    let server = serve(&folder).start();
    for fields in
        ["If-None-Match: *\r\n", "If-Match: \"other\"\r\n", "If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT\r\n"]
    {
        let get = server.get_with("/page.txt", fields);
        same_head(&server, "/page.txt", fields, &get);
    }
}

#[test]
fn request_after_a_head_is_served() {
    let folder = site();
    let server = serve(&folder).start();
    let mut client = server.connect();
    for target in ["/page.txt", "/missing", "/dir"] {
        client.send(format!("HEAD {target} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
    }
    client.send(GET);
    client.response_to_head().status(200).has("Content-Length", "7");
    client.response_to_head().status(404);
    client.response_to_head().status(301);
    client.response().status(200).body("a page\n");
}

#[test]
fn head_without_host_gets_no_content() {
    let folder = site();
    let server = serve(&folder).start();
    let mut client = server.connect();
    client.send("HEAD / HTTP/1.1\r\n\r\n");
    client.response_to_head().status(400);
    client.still_open();
}

#[test]
fn refused_head_gets_no_content() {
    let folder = site();
    let server = serve(&folder).start();
    for fields in ["no colon", "Content-Length: five", "Transfer-Encoding: gzip", "Expect: a-miracle"] {
        let mut client = server.connect();
        client.send(format!("HEAD /page.txt HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n\r\n"));
        let response = client.response_to_head().has("Connection", "close");
        assert!(response.status >= 400 && response.field("Content-Length") != "0", "{}", response.exchange);
        client.closed();
    }
}

#[test]
fn options_lists_the_allowed_methods() {
    let folder = site();
    let server = serve(&folder).start();
    for target in ["*", "/", "/page.txt", "/missing", "/dir", "http://localhost", "http://localhost/page.txt"] {
        let mut client = server.connect();
        client.send(format!("OPTIONS {target} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        client.response().status(204).has("Allow", ALLOW).lacks("Content-Length").lacks("Transfer-Encoding");
        client.still_open();
    }
}

#[test]
fn known_unsupported_method_is_not_allowed() {
    let folder = site();
    let server = serve(&folder).start();
    for method in ["POST", "PUT", "DELETE", "PATCH", "TRACE"] {
        for target in ["/page.txt", "/missing", "*", "page.txt"] {
            let mut client = server.connect();
            client.send(format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
            client.response().status(405).has("Allow", ALLOW).says(method);
            client.still_open();
        }
    }
}

#[test]
fn body_of_an_unsupported_method_is_discarded() {
    let folder = site();
    let server = serve(&folder).start();
    for (method, body) in [
        ("POST", "Content-Length: 11\r\n\r\nname=value\n"),
        ("PUT", "Content-Length: 0\r\n\r\n"),
        ("PATCH", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"),
        ("DELETE", "Content-Length: 27\r\n\r\nGET /missing HTTP/1.1\r\n\r\n\r\n"),
    ] {
        let mut client = server.connect();
        client.send(format!("{method} / HTTP/1.1\r\nHost: localhost\r\n{body}"));
        client.send(GET);
        client.response().status(405).has("Allow", ALLOW);
        client.response().status(200).body("a page\n");
    }
}

#[test]
fn connect_is_not_allowed_and_closes_the_connection() {
    let folder = site();
    let server = serve(&folder).start();
    for target in ["localhost:80", "example.org:443", "/page.txt", "*"] {
        let mut client = server.connect();
        client.send(format!("CONNECT {target} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        client.send(GET);
        client.response().status(405).has("Allow", ALLOW).has("Connection", "close");
        client.closed();
    }
}

#[test]
fn unknown_method_is_not_implemented() {
    let folder = site();
    let server = serve(&folder).start();
    for method in ["BREW", "GETT", "GE", "G", "HEADER", "PROPFIND", "M-SEARCH", "!#$%&'*+-.^_`|~09", "PRI"] {
        server.ask(format!("{method} /page.txt HTTP/1.1\r\nHost: localhost\r\n\r\n")).status(501).never_says("a page");
    }
}

#[test]
fn lower_case_method_gets_a_hint_about_capitals() {
    let folder = site();
    let server = serve(&folder).start();
    for method in ["get", "Get", "head", "options", "post"] {
        server.ask(format!("{method} /page.txt HTTP/1.1\r\nHost: localhost\r\n\r\n")).status(501).says("capitals");
    }
}

#[test]
fn method_is_checked_after_host_and_before_target() {
    let folder = site();
    let server = serve(&folder).start();
    for (request, status) in [
        ("BREW /%00 HTTP/1.1\r\nHost: localhost\r\n\r\n", 501),
        ("POST /../x HTTP/1.1\r\nHost: localhost\r\n\r\n", 405),
        ("BREW / HTTP/1.1\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
    ] {
        server.ask(request).status(status);
    }
}

#[test]
fn trace_never_reflects_request_fields() {
    let folder = site();
    let server = serve(&folder).start();
    server.ask("TRACE / HTTP/1.1\r\nHost: localhost\r\nCookie: a-secret\r\n\r\n").status(405).never_says("a-secret");
}
