//! Request syntax: the request line, HTTP versions, line ends and fields.
//!
//! Methods, targets and the Host field have their own files.

use crate::support::{self, Folder, GET, Server, serve};

fn site() -> Folder {
    support::site().file("index.html", "the start\n")
}

/// Asserts that the bytes are refused with the status, and that the next request gets no response.
#[track_caller]
fn refused(server: &Server, bytes: &[u8], status: u16) {
    let mut client = server.connect();
    client.send([bytes, GET.as_bytes()].concat());
    client.response().status(status).has("Connection", "close");
    client.closed();
}

/// Asserts that the bytes get a 400, whatever its form, and that the next request gets no response.
#[track_caller]
fn bad_request(server: &Server, bytes: &[u8]) {
    let response = raw(server, bytes);
    assert!(response.contains("400 Bad Request"), "{}: {response}", bytes.escape_ascii());
    assert!(!response.contains("a page"), "{}: {response}", bytes.escape_ascii());
}

/// Sends the bytes and returns everything that the server sends before it closes.
#[track_caller]
fn raw(server: &Server, bytes: &[u8]) -> String {
    String::from_utf8_lossy(&server.connect().send(bytes).rest()).into_owned()
}

#[test]
fn get_returns_the_file() {
    let folder = site();
    let server = serve(&folder).start();
    let response = server.ask(GET);
    assert_eq!(response.status_line, "HTTP/1.1 200 OK", "{}", response.exchange);
    response.has("Content-Length", "7").body("a page\n");
}

#[test]
fn every_http_1_version_gets_a_1_1_response() {
    let folder = site();
    let server = serve(&folder).start();
    for version in ["1.0", "1.1", "1.2", "1.9"] {
        let response = server.ask(format!("GET /page.txt HTTP/{version}\r\nHost: localhost\r\n\r\n"));
        assert_eq!(response.status_line, "HTTP/1.1 200 OK", "{}", response.exchange);
        response.body("a page\n");
    }
}

#[test]
fn other_major_versions_are_not_supported() {
    let folder = site();
    let server = serve(&folder).start();
    for version in ["0.9", "0.0", "2.0", "2.1", "3.0", "9.9"] {
        refused(&server, format!("GET / HTTP/{version}\r\nHost: localhost\r\n\r\n").as_bytes(), 505);
    }
}

#[test]
fn malformed_version_is_refused() {
    let folder = site();
    let server = serve(&folder).start();
    for version in
        ["HTTP/", "HTTP/1", "HTTP/1.", "HTTP/.1", "HTTP/1.10", "HTTP/01.1", "HTTP/11", "HTTP/1,1", "HTTP/1.x"]
    {
        refused(&server, format!("GET / {version}\r\nHost: localhost\r\n\r\n").as_bytes(), 400);
    }
}

#[test]
fn protocol_name_must_be_in_capitals() {
    let folder = site();
    let server = serve(&folder).start();
    for version in ["http/1.1", "Http/1.1", "HTTp/1.0", "HTPP/1.1", "1.1", "ICY/1.1"] {
        bad_request(&server, format!("GET /page.txt {version}\r\nHost: localhost\r\n\r\n").as_bytes());
    }
}

#[test]
fn request_line_parts_are_one_space_apart() {
    let folder = site();
    let server = serve(&folder).start();
    let lines: [&[u8]; 11] = [
        b"GET  /page.txt HTTP/1.1",
        b"GET /page.txt  HTTP/1.1",
        b"GET\t/page.txt HTTP/1.1",
        b"GET /page.txt\tHTTP/1.1",
        b"GET\x0b/page.txt HTTP/1.1",
        b"GET /page.txt\x0cHTTP/1.1",
        b" GET /page.txt HTTP/1.1",
        b"GET /page.txt HTTP/1.1 ",
        b"GET /page.txt /x HTTP/1.1",
        b"GET HTTP/1.1",
        b"GET  HTTP/1.1",
    ];
    for line in lines {
        bad_request(&server, &[line, b"\r\nHost: localhost\r\n\r\n", GET.as_bytes()].concat());
    }
}

#[test]
fn bare_cr_in_the_request_line_is_refused() {
    let folder = site();
    let server = serve(&folder).start();
    let lines: [&[u8]; 4] = [
        b"GET /page.txt HTTP/1.1\rHost: localhost\r\n\r\n",
        b"GET /page.txt\r HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /page.txt HTTP/1.1\r\r\nHost: localhost\r\n\r\n",
        b"GET\r/page.txt HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ];
    for line in lines {
        bad_request(&server, &[line, GET.as_bytes()].concat());
    }
}

#[test]
fn invalid_first_bytes_are_refused_before_the_line_ends() {
    let folder = site();
    let server = serve(&folder).start();
    let starts: [&[u8]; 7] = [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\x80\x2e",
        b"\x00",
        b":",
        b"{\"a\":1}",
        b"\xef\xbb\xbf",
        b"/",
    ];
    for start in starts {
        bad_request(&server, start);
    }
}

#[test]
fn bare_lf_ends_a_line_of_the_head() {
    let folder = site();
    let server = serve(&folder).start();
    for head in [
        "GET /page.txt HTTP/1.1\nHost: localhost\n\n",
        "GET /page.txt HTTP/1.1\r\nHost: localhost\n\n",
        "GET /page.txt HTTP/1.1\nHost: localhost\r\n\r\n",
        "GET /page.txt HTTP/1.1\nHost: localhost\n\r\n",
        "GET /page.txt HTTP/1.1\r\nHost: localhost\r\n\n",
        "GET /page.txt HTTP/1.1\nHost: localhost\nX: y\r\nZ: \n\n",
    ] {
        let mut client = server.connect();
        client.send(head);
        client.response().status(200).body("a page\n");
        client.still_open();
    }
}

#[test]
fn empty_lines_before_a_request_line_are_skipped() {
    let folder = site();
    let server = serve(&folder).start();
    for lines in ["\r\n", "\n", "\r\n\r\n\r\n", "\n\n", "\r\n\n\r\n"] {
        let mut client = server.connect();
        client.send(lines).send(GET);
        client.response().status(200).body("a page\n");
        client.send(lines).send(GET);
        client.response().status(200).body("a page\n");
        client.send(format!("{lines}GET /page.txt\r\n"));
        assert_eq!(client.rest(), b"a page\n", "{lines:?}");
    }
}

#[test]
fn http_0_9_request_gets_the_bare_content_and_a_close() {
    let folder = site();
    let server = serve(&folder).start();
    for line in ["GET /page.txt\r\n", "GET /page.txt\n"] {
        assert_eq!(raw(&server, line.as_bytes()), "a page\n", "{line:?}");
    }
    assert_eq!(raw(&server, b"GET /\r\n"), "the start\n");
}

#[test]
fn http_0_9_request_is_the_last_of_its_connection() {
    let folder = site();
    let server = serve(&folder).start();
    for after in ["GET /\r\n", "\r\n", "Host: localhost\r\n\r\n", "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"] {
        assert_eq!(raw(&server, format!("GET /page.txt\r\n{after}").as_bytes()), "a page\n", "{after:?}");
    }
}

#[test]
fn http_0_9_error_is_the_bare_text() {
    let folder = site();
    let server = serve(&folder).start();
    for (line, first) in [("GET /missing\r\n", "404 Not Found"), ("GET /../x\r\n", "400 Bad Request")] {
        let response = raw(&server, line.as_bytes());
        assert_eq!(response.lines().next(), Some(first), "{line:?}: {response}");
        assert!(!response.contains("Content-Length"), "{line:?}: {response}");
    }
}

#[test]
fn line_without_a_version_is_refused_at_once() {
    let folder = site();
    let server = serve(&folder).start();
    for line in [
        "hello",
        "GET",
        "GET ",
        "get /page.txt",
        "HEAD /page.txt",
        "POST /page.txt",
        "OPTIONS *",
        "/page.txt",
        "GET /page.txt ",
        "GET  /page.txt",
        "GET /page.txt x",
        "GET page.txt",
        "HELO example.org",
        "QUIT",
        "a: b",
    ] {
        bad_request(&server, format!("{line}\r\n").as_bytes());
    }
}

#[test]
fn method_that_is_no_token_is_refused() {
    let folder = site();
    let server = serve(&folder).start();
    let methods: [&[u8]; 7] = [b"G(T", b"GET,", b"G\x00T", b"G\xc3\x89T", b"GET:", b"G\"T", b"G@T"];
    for method in methods {
        refused(&server, &[method, b" /page.txt HTTP/1.1\r\nHost: localhost\r\n\r\n"].concat(), 400);
    }
}

#[test]
fn malformed_field_is_refused_and_closes_the_connection() {
    let folder = site();
    let server = serve(&folder).start();
    let fields: [&[u8]; 31] = [
        b"no colon",
        b"nocolon",
        b": no name",
        b" : blank name",
        b"Name : space before the colon",
        b"Name\t: tab before the colon",
        b"Two words: in a name",
        b"Na(me: parenthesis",
        b"Na\"me: quote",
        b"Na/me: slash",
        b"Na@me: at",
        b"Na[me]: brackets",
        b"Na{me: brace",
        b"Na\\me: backslash",
        b"Na,me: comma",
        b"N\xc3\xa4me: not ASCII",
        b"Na\x00me: NUL in a name",
        b"Na\x7fme: DEL in a name",
        b"Na\rme: CR in a name",
        b"X: NUL \x00 in a value",
        b"X: bare CR \r in a value",
        b"X: CR at the end\r",
        b"X: \x01",
        b"X: \x08",
        b"X: \x0b",
        b"X: \x0c",
        b"X: \x1b[31m",
        b"X: \x7f",
        b"X: folded\r\n into two lines",
        b"X: folded\r\n\tby a tab",
        b"X: folded\r\n ",
    ];
    for field in fields {
        refused(&server, &[b"GET / HTTP/1.1\r\nHost: localhost\r\n", field, b"\r\n\r\n"].concat(), 400);
    }
}

#[test]
fn whitespace_before_the_first_field_is_refused() {
    let folder = site();
    let server = serve(&folder).start();
    for blank in [" ", "\t", " \r\n"] {
        refused(&server, format!("GET / HTTP/1.1\r\n{blank}Host: localhost\r\n\r\n").as_bytes(), 400);
    }
}

#[test]
fn malformed_field_is_refused_in_http_1_0() {
    let folder = site();
    let server = serve(&folder).start();
    for field in ["Name : x", "no colon", "X: a\r\n b", "X: a\rb", "X: \0"] {
        let head = format!("GET / HTTP/1.0\r\nConnection: keep-alive\r\n{field}\r\n\r\n");
        refused(&server, head.as_bytes(), 400);
    }
}

#[test]
fn well_formed_fields_are_accepted() {
    let folder = site();
    let server = serve(&folder).start();
    let fields: [&[u8]; 9] = [
        b"X:",
        b"X: ",
        b"X:no space",
        b"X: \t blanks around \t ",
        b"X: a\tb",
        b"X: caf\xe9 \xff",
        b"X: :colons: (and \"all\" the <rest>) \\ {}[]@,;=?/",
        b"!#$%&'*+-.^_`|~09aZ: a name of every sort of byte",
        b"X: one\r\nX: two\r\nx: three",
    ];
    for field in fields {
        let mut client = server.connect();
        client.send([b"GET /page.txt HTTP/1.1\r\nHost: localhost\r\n", field, b"\r\n\r\n"].concat());
        client.response().status(200).body("a page\n");
        client.still_open();
    }
}

#[test]
fn every_response_has_date_server_and_nosniff() {
    let folder = site().dir("dir");
    let server = serve(&folder).start();
    for (request, status) in [
        ("GET /page.txt HTTP/1.1\r\nHost: localhost\r\n\r\n", 200),
        ("GET /page.txt HTTP/1.1\r\nHost: localhost\r\nIf-None-Match: *\r\n\r\n", 304),
        ("GET /page.txt HTTP/1.1\r\nHost: localhost\r\nIf-Match: \"no\"\r\n\r\n", 412),
        ("GET /page.txt HTTP/1.1\r\nHost: localhost\r\nRange: bytes=0-0\r\n\r\n", 206),
        ("GET /page.txt HTTP/1.1\r\nHost: localhost\r\nRange: bytes=9-\r\n\r\n", 416),
        ("GET /page.txt HTTP/1.1\r\n\r\n", 400),
        ("GET /dir HTTP/1.1\r\nHost: localhost\r\n\r\n", 301),
        ("GET /missing HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
        ("OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n", 204),
        ("PUT / HTTP/1.1\r\nHost: localhost\r\n\r\n", 405),
        ("BREW / HTTP/1.1\r\nHost: localhost\r\n\r\n", 501),
        ("GET / HTTP/2.0\r\nHost: localhost\r\n\r\n", 505),
        ("GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9999999\r\n\r\n", 413),
        ("GET / HTTP/1.1\r\nHost: localhost\r\nExpect: wonders\r\n\r\n", 417),
        ("hello HTTP/\r\n\r\n", 400),
    ] {
        let response =
            server.ask(request).status(status).has("Server", "serve").has("X-Content-Type-Options", "nosniff");
        let date = response.field("Date");
        assert!(date.len() == 29 && date.ends_with(" GMT"), "{date}\n{}", response.exchange);
        assert_eq!(response.all("Content-Length").is_empty(), matches!(status, 204 | 304), "{}", response.exchange);
    }
}
