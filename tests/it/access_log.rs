//! The access log: its forms, what it says about whom, that nothing in it can be forged, and that it is complete.

use std::fs::{self, File};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use serde_json::Value;

use crate::support::{Client, Folder, Process, Server, binary, serve};
use crate::terminal::Terminal;

#[test]
fn a_common_line_has_the_client_the_request_the_status_and_the_bytes() {
    let folder = Folder::new().file("a.txt", "twelve bytes");
    let server = serve(&folder).args(&["--log", "common"]).start();
    server.get("/a.txt?q=1");
    let line = server.logged(|_| true);
    assert_eq!(parts(&line), ("127.0.0.1", "GET /a.txt?q=1 HTTP/1.1", "200 12"), "{line}");
}

#[test]
fn a_line_has_the_time_of_its_request() {
    let folder = Folder::new().file("a.txt", "a");
    let server = serve(&folder).start();
    let before = httpdate::fmt_http_date(SystemTime::now());
    server.get("/a.txt");
    let line = server.logged(|_| true);
    let after = httpdate::fmt_http_date(SystemTime::now());
    // From `Sat, 21 Nov 2026 03:50:04 GMT` to the form of the log.
    let form = |date: &str| {
        let words: Vec<_> = date.split(' ').collect();
        format!("[{}/{}/{}:{} +0000]", words[1], words[2], words[3], words[4])
    };
    let same = line.contains(&form(&before)) || line.contains(&form(&after));
    assert!(same, "{line}\nis neither of {} nor of {}", form(&before), form(&after));
}

#[test]
fn a_combined_line_adds_where_the_client_came_from_and_its_name() {
    let folder = Folder::new().file("a.txt", "a");
    let server = serve(&folder).args(&["--log", "combined"]).start();
    server.get_with("/a.txt", "Referer: http://localhost/from\r\nUser-Agent: test/1.0 (x)\r\n");
    let line = server.logged(|_| true);
    assert!(line.ends_with(" 200 1 \"http://localhost/from\" \"test/1.0 (x)\""), "{line}");
}

#[test]
fn a_combined_line_has_a_dash_for_what_was_not_said() {
    let folder = Folder::new().file("a.txt", "a");
    let server = serve(&folder).args(&["--log", "combined"]).start();
    server.get("/a.txt");
    let line = server.logged(|_| true);
    assert!(line.ends_with(" 200 1 \"-\" \"-\""), "{line}");
}

#[test]
fn a_json_line_has_every_part_under_its_name() {
    let folder = Folder::new().file("a.txt", "twelve bytes");
    let server = serve(&folder).args(&["--log", "json"]).start();
    server.get_with("/a.txt?q=1", "Referer: http://localhost/from\r\nUser-Agent: test/1.0\r\n");
    let entry = json(&server.logged(|_| true));
    assert!(entry["time"].is_string() || entry["time"].is_number(), "{entry}");
    assert!(entry["client"].as_str().is_some_and(|client| client.starts_with("127.0.0.1")), "{entry}");
    assert_eq!(entry["method"], "GET", "{entry}");
    assert_eq!(entry["target"], "/a.txt?q=1", "{entry}");
    assert_eq!(entry["version"], "HTTP/1.1", "{entry}");
    assert_eq!(entry["status"], 200, "{entry}");
    assert_eq!(entry["bytes"], 12, "{entry}");
    assert!(entry["duration_us"].is_u64(), "{entry}");
    assert_eq!(entry["referer"], "http://localhost/from", "{entry}");
    assert_eq!(entry["user_agent"], "test/1.0", "{entry}");
}

#[test]
fn off_writes_no_line() {
    let folder = Folder::new().file("a.txt", "a");
    let out = folder.at("out");
    let file = File::create(&out).expect("the file can be made");
    let mut command = binary();
    command.args(["--port", "0", "--bind", "127.0.0.1", "--log", "off", "--root"]).arg(folder.path());
    let mut server = Process::start(&mut command, file);
    Client::connect(server.listening()).send("GET /a.txt HTTP/1.0\r\n\r\n").response().status(200);
    server.signal("TERM");
    server.ended();
    assert_eq!(fs::read_to_string(out).expect("the file can be read"), "");
}

#[test]
fn the_bytes_are_those_of_the_content_that_was_sent() {
    let folder = Folder::new().file("a.txt", "twelve bytes");
    let server = serve(&folder).start();
    server.get_with("/a.txt?range", "Range: bytes=2-5\r\n").status(206);
    assert_eq!(outcome(&server, "?range"), "206 4");
    let missing = server.get("/missing").status(404);
    assert_eq!(outcome(&server, "/missing"), format!("404 {}", missing.body.len()));
    let etag = server.get("/a.txt").field("ETag").to_owned();
    server.get_with("/a.txt?same", &format!("If-None-Match: {etag}\r\n")).status(304);
    assert!(["304 0", "304 -"].contains(&&*outcome(&server, "?same")), "{}", outcome(&server, "?same"));
    server.head("/a.txt?head").status(200);
    assert!(["200 0", "200 -"].contains(&&*outcome(&server, "?head")), "{}", outcome(&server, "?head"));
}

#[test]
fn the_bytes_of_a_large_file_are_right() {
    let folder = Folder::new().file("large.bin", vec![7; 3 << 20]);
    let server = serve(&folder).start();
    server.get("/large.bin").status(200);
    assert_eq!(outcome(&server, "/large.bin"), format!("200 {}", 3 << 20));
}

#[test]
fn a_simple_request_is_logged_as_it_was_typed() {
    let folder = Folder::new().file("a.txt", "a");
    let server = serve(&folder).start();
    assert_eq!(server.connect().send("GET /a.txt\r\n").rest(), b"a");
    let line = server.logged(|_| true);
    assert_eq!(parts(&line), ("127.0.0.1", "GET /a.txt", "200 1"), "{line}");
}

#[test]
fn a_refused_request_is_logged_with_its_line() {
    let folder = Folder::new();
    let server = serve(&folder).start();
    for (request, line, status) in [
        ("GET / HTTP/1.1\r\n\r\n", "GET / HTTP/1.1", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n", "GET / HTTP/1.1", 400),
        ("GET /?a HTTP/1.1\r\nHost : a\r\n\r\n", "GET /?a HTTP/1.1", 400),
        ("GET /?2 HTTP/2.0\r\n\r\n", "GET /?2 HTTP/2.0", 505),
        ("BREW / HTTP/1.1\r\nHost: a\r\n\r\n", "BREW / HTTP/1.1", 501),
        ("POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", "POST /p HTTP/1.1", 405),
        ("GET /big HTTP/1.1\r\nHost: a\r\nContent-Length: 9999999\r\n\r\n", "GET /big HTTP/1.1", 413),
        ("GET /t HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", "GET /t HTTP/1.1", 501),
        ("GET /e HTTP/1.1\r\nHost: a\r\nExpect: tea\r\n\r\n", "GET /e HTTP/1.1", 417),
        ("nonsense\r\n", "nonsense", 400),
    ] {
        let before = server.log().len();
        let response = server.connect().send(request).finish().response().status(status);
        let logged = nth(&server, before);
        let outcome = format!("{status} {}", response.body.len());
        assert_eq!(parts(&logged), ("127.0.0.1", line, outcome.as_str()), "{logged}\n{}", response.exchange);
    }
}

#[test]
fn a_request_of_which_nothing_is_known_is_logged_with_a_dash_or_its_bytes() {
    let folder = Folder::new();
    let server = serve(&folder).start();
    server.ask(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03").status(400);
    let line = nth(&server, 0);
    let (_, request, outcome) = parts(&line);
    assert!(request == "-" || request.starts_with("\\x16\\x03"), "{line}");
    assert!(outcome.starts_with("400 "), "{line}");
}

#[test]
fn a_request_that_came_too_slowly_is_logged() {
    let folder = Folder::new();
    let server = serve(&folder).args(&["--header-timeout", "1"]).start();
    server.ask("GET /slow HTTP/1.1\r\nHost: loc").status(408);
    let line = nth(&server, 0);
    let (_, request, outcome) = parts(&line);
    assert!(request == "-" || request == "GET /slow HTTP/1.1", "{line}");
    assert!(outcome.starts_with("408 "), "{line}");
}

#[test]
fn a_request_line_that_is_too_long_is_logged() {
    let folder = Folder::new();
    let server = serve(&folder).start();
    server.ask(format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(20_000))).status(414);
    let line = nth(&server, 0);
    assert!(parts(&line).2.starts_with("414 "), "{line}");
}

#[test]
fn a_connection_that_asks_nothing_is_not_logged() {
    let folder = Folder::new().file("a.txt", "a");
    let server = serve(&folder).start();
    server.connect().finish().closed();
    server.get("/a.txt");
    assert!(nth(&server, 0).contains("GET /a.txt"), "{:?}", server.log());
}

#[test]
fn a_quote_in_a_request_line_is_escaped() {
    let folder = Folder::new();
    let server = serve(&folder).start();
    server.get("/a\"b\\c");
    assert!(nth(&server, 0).contains(r#" "GET /a\"b\\c HTTP/1.1" "#), "{:?}", server.log());
}

#[test]
fn a_control_byte_in_a_request_line_is_escaped() {
    let folder = Folder::new();
    let server = serve(&folder).start();
    server.ask(b"GET /\x1b[2J\x07\x7f\t\xe9 HTTP/1.1\r\nHost: a\r\n\r\n").status(400);
    let line = nth(&server, 0);
    assert!(line.contains(r#""GET /\x1b[2J\x07\x7f\t\xe9 HTTP/1.1""#), "{line}");
}

#[test]
fn a_byte_beyond_ascii_in_a_target_is_escaped() {
    let folder = Folder::new();
    let server = serve(&folder).start();
    server.ask(b"GET /\xff\xc3\xa9 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").status(404);
    assert!(nth(&server, 0).contains(r#""GET /\xff\xc3\xa9 HTTP/1.1""#), "{:?}", server.log());
}

#[test]
fn what_a_client_says_of_itself_is_escaped() {
    let folder = Folder::new().file("a.txt", "a");
    let server = serve(&folder).args(&["--log", "combined"]).start();
    let request = b"GET /a.txt HTTP/1.1\r\nHost: a\r\nReferer: \"r\\\r\nUser-Agent: \"x\" 200 1 \xc2\x9b2J\t\r\n\r\n";
    server.ask(request).status(200);
    let line = nth(&server, 0);
    assert!(line.ends_with(r#" 200 1 "\"r\\" "\"x\" 200 1 \xc2\x9b2J""#), "{line}");
}

#[test]
fn no_control_byte_of_a_refused_field_reaches_the_log() {
    let folder = Folder::new();
    for form in ["common", "combined", "json"] {
        let server = serve(&folder).args(&["--log", form]).start();
        server.ask(b"GET /a HTTP/1.1\r\nHost: a\r\nUser-Agent: \x1b]0;title\x07\r\nReferer: \x08\r\n\r\n").status(400);
        let line = nth(&server, 0);
        assert!(!line.chars().any(|c| c.is_control() || c == '\u{fffd}'), "{form}: {line:?}");
    }
}

#[test]
fn every_json_line_can_be_parsed() {
    let folder = Folder::new();
    let server = serve(&folder).args(&["--log", "json"]).start();
    let requests: [(&[u8], u16); 6] = [
        (b"GET /\"\\ HTTP/1.1\r\nHost: a\r\nUser-Agent: \"\\\xff\xfe\r\nReferer: {\"a\":1}\r\n\r\n", 404),
        (b"GET /\x00\x1b\x7f HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET /\xff\xc3\xa9\xed\xa0\x80 HTTP/1.1\r\nHost: a\r\n\r\n", 404),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        (b"}\"\r\n", 400),
        (b"A\"B /x HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ];
    for (at, (request, status)) in requests.iter().enumerate() {
        server.ask(request).status(*status);
        let entry = json(&nth(&server, at));
        assert_eq!(entry["status"], *status, "{entry}");
    }
}

#[test]
fn every_request_is_in_the_log_when_the_server_has_ended() {
    let folder = Folder::new().file("a.txt", "a");
    let out = folder.at("out");
    let file = File::create(&out).expect("the file can be made");
    let mut command = binary();
    command.args(["--port", "0", "--bind", "127.0.0.1", "--root"]).arg(folder.path());
    let mut server = Process::start(&mut command, file);
    let mut client = Client::connect(server.listening());
    for n in 0..1000 {
        client.send(format!("GET /a.txt?n={n} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
    }
    for _ in 0..1000 {
        client.response().status(200);
    }
    server.signal("TERM");
    let (status, _) = server.ended();
    assert_eq!(status.code(), Some(0));
    let log = fs::read_to_string(out).expect("the file can be read");
    assert_eq!(log.lines().count(), 1000, "the log ends with {:?}", log.lines().last());
    for (n, line) in log.lines().enumerate() {
        assert_eq!(parts(line), ("127.0.0.1", &*format!("GET /a.txt?n={n} HTTP/1.1"), "200 1"), "line {n}: {line}");
    }
}

#[test]
fn the_log_of_a_piped_server_comes_while_it_runs() {
    let folder = Folder::new().file("a.txt", "a");
    let server = serve(&folder).start();
    let mut client = server.connect();
    client.send("GET /a.txt?piped HTTP/1.1\r\nHost: localhost\r\n\r\n").response().status(200);
    server.logged(|line| line.contains("?piped"));
}

#[test]
fn a_line_is_on_a_terminal_at_once() {
    let folder = Folder::new().file("a.txt", "a");
    let mut command = binary();
    command.args(["--port", "0", "--bind", "127.0.0.1", "--root"]).arg(folder.path());
    let mut terminal = Terminal::start(command);
    terminal.shows("listening on http://");
    let address = terminal.shows("\n");
    let addr = address.trim().parse().unwrap_or_else(|_| panic!("no address: {address}"));
    let mut client = Client::connect(addr);
    client.send("GET /a.txt HTTP/1.1\r\nHost: localhost\r\n\r\n").response().status(200);
    terminal.shows("\"GET /a.txt HTTP/1.1\" 200 1");
}

/// The client, the request line, and what comes after it, of a line in the common form.
#[track_caller]
fn parts(line: &str) -> (&str, &str, &str) {
    let parts = || {
        let (client, rest) = line.split_once(" - - [")?;
        let (_time, rest) = rest.split_once("] \"")?;
        let (request, outcome) = rest.rsplit_once("\" ")?;
        Some((client, request, outcome))
    };
    parts().unwrap_or_else(|| panic!("not in the common form: {line}"))
}

/// Waits for the line about a request; returns its status and bytes.
#[track_caller]
fn outcome(server: &Server, target: &str) -> String {
    let line = server.logged(|line| line.contains(target));
    parts(&line).2.to_owned()
}

/// Waits for the line after the first `n`.
#[track_caller]
fn nth(server: &Server, n: usize) -> String {
    let since = Instant::now();
    loop {
        if let Some(line) = server.log().get(n) {
            return line.clone();
        }
        assert!(since.elapsed() < Duration::from_secs(30), "line {n} did not come; there is:\n{:?}", server.log());
        thread::sleep(Duration::from_millis(2));
    }
}

#[track_caller]
fn json(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|e| panic!("no JSON ({e}): {line}"))
}
