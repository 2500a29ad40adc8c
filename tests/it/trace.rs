//! What `-vv` tells about an exchange: the seven steps of HTTP in their order, with reasons, and nothing that a client
//! could use to write on the terminal.

use std::process::Stdio;

use crate::support::{Client, Folder, Process, Server, binary, serve};

#[test]
fn exchange_is_traced_in_seven_ordered_steps() {
    let folder = Folder::new().file("a.txt", "twelve bytes");
    let server = serve(&folder).arg("-vv").start();
    server.get("/a.txt").status(200);
    in_order(&told(&server, 1));
}

#[test]
fn steps_show_received_and_sent_bytes() {
    let folder = Folder::new().file("a.txt", "twelve bytes");
    let server = serve(&folder).arg("-vv").start();
    server.get_with("/a.txt?q=1", "X-Asked: yes\r\n").status(200);
    let lines = told(&server, 1);
    for (step, part) in [
        (1, "127.0.0.1"),
        (2, "GET /a.txt?q=1 HTTP/1.1"),
        (3, "Host: localhost"),
        (3, "X-Asked: yes"),
        (4, "HTTP/1.1 200 OK"),
        (5, "Content-Length: 12"),
        (5, "Content-Type: text/plain; charset=utf-8"),
        (6, "12"),
    ] {
        let found = lines.iter().any(|line| step_of(line) == Some(step) && line.contains(part));
        assert!(found, "step {step} does not tell {part:?}\n{}", lines.join("\n"));
    }
}

#[test]
fn rust_log_enables_the_trace() {
    let folder = Folder::new().file("a.txt", "twelve bytes");
    let server = serve(&folder).env("RUST_LOG", "serve=trace").start();
    server.get("/a.txt").status(200);
    in_order(&told(&server, 1));
}

#[test]
fn default_level_traces_nothing() {
    let folder = Folder::new().file("a.txt", "a");
    let mut command = binary();
    command.args(["--port", "0", "--bind", "127.0.0.1", "--root"]).arg(folder.path());
    let mut server = Process::start(&mut command, Stdio::null());
    let addr = server.listening();
    Client::connect(addr).send("GET /a.txt HTTP/1.0\r\n\r\n").response().status(200);
    server.signal("TERM");
    let (_, lines) = server.ended();
    assert!(lines.iter().all(|line| step_of(line).is_none()), "{}", lines.join("\n"));
}

#[test]
fn kept_connection_is_traced_with_its_reason() {
    let folder = Folder::new().file("a.txt", "a");
    let server = serve(&folder).arg("-vv").start();
    for (request, reason) in [
        ("GET /a.txt HTTP/1.1\r\nHost: localhost\r\n\r\n", "HTTP/1.1"),
        ("GET /a.txt HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", "the client requested"),
    ] {
        let before = ends(&server).len();
        let mut client = server.connect();
        client.send(request).response().status(200);
        told(&server, before + 1);
        let line = ends(&server)[before].clone();
        assert!(line.contains("kept") && line.contains(reason), "{reason} is not the reason: {line}");
        client.finish().closed();
        told(&server, before + 2);
    }
}

#[test]
fn closed_connection_is_traced_with_its_reason() {
    let folder = Folder::new().file("a.txt", "a");
    let server = serve(&folder).arg("-vv").start();
    for (request, reason) in [
        ("GET /a.txt HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", "the client requested it"),
        ("GET /a.txt HTTP/1.0\r\n\r\n", "HTTP/1.0"),
        ("GET / HTTP/2.0\r\n\r\n", "refused"),
    ] {
        let before = ends(&server).len();
        server.connect().send(request).response();
        told(&server, before + 1);
        let line = ends(&server)[before].clone();
        assert!(line.contains("closed") && line.contains(reason), "{reason} is not the reason: {line}");
    }
}

#[test]
fn http_09_request_is_traced_to_its_end() {
    let folder = Folder::new().file("a.txt", "a");
    let server = serve(&folder).arg("-vv").start();
    assert_eq!(server.connect().send("GET /a.txt\r\n").rest(), b"a");
    let lines = told(&server, 1);
    assert!(lines.iter().any(|line| step_of(line) == Some(2) && line.contains("GET /a.txt")), "{}", lines.join("\n"));
    let end = ends(&server)[0].clone();
    assert!(end.contains("closed") && end.contains("0.9"), "{end}");
}

#[test]
fn refused_request_is_traced_to_its_end() {
    let folder = Folder::new();
    let server = serve(&folder).arg("-vv").start();
    server.ask("GET / HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n").status(400);
    let lines = told(&server, 1);
    let status = lines.iter().any(|line| step_of(line) == Some(4) && line.contains("HTTP/1.1 400 Bad Request"));
    assert!(status, "{}", lines.join("\n"));
}

#[test]
fn next_exchange_begins_at_the_request_line() {
    let folder = Folder::new().file("a.txt", "a");
    let server = serve(&folder).arg("-vv").start();
    let mut client = server.connect();
    client.send("GET /a.txt?first HTTP/1.1\r\nHost: localhost\r\n\r\n").response().status(200);
    client.send("GET /a.txt?second HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").response().status(200);
    let lines = told(&server, 2);
    let steps: Vec<_> = lines.iter().filter_map(|line| step_of(line)).collect();
    assert_eq!(steps.iter().filter(|step| **step == 1).count(), 1, "{}", lines.join("\n"));
    let first_end = steps.iter().position(|step| *step == 7).expect("the first exchange has an end");
    assert_eq!(steps[first_end + 1], 2, "{}", lines.join("\n"));
}

#[test]
fn control_bytes_do_not_reach_the_terminal() {
    let folder = Folder::new().file("a.txt", "a");
    for setting in ["-v", "-vv"] {
        let server = serve(&folder).arg(setting).start();
        let requests: [&[u8]; 7] = [
            b"GET /\x1b[2J\x07\x9b HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET /\xc2\x9b2J HTTP/1.1\r\nHost: a\r\n\r\n",
            b"G\x1b[2JT / HTTP/1.1\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: \x1b]0;title\x07\r\n\r\n",
            b"GET / HTTP/1.1\r\nX\x1b[2J: a\r\nHost: a\r\n\r\n",
            b"GET /a.txt HTTP/1.1\r\nHost: a\r\nUser-Agent: \x9b2J\xff\r\n\r\n",
            b"GET /a.txt HTTP/1.1\r\nHost: a\rb\r\n\r\n",
        ];
        for request in requests {
            server.connect().send(request).finish().response();
        }
        server.get("/a.txt?the-last");
        server.logged(|line| line.contains("?the-last"));
        if setting == "-vv" {
            told(&server, requests.len() + 1);
        }
        for line in server.diagnostics() {
            assert!(!line.chars().any(|c| c.is_control() || c == '\u{fffd}'), "{setting}: {line:?}");
        }
    }
}

/// Waits until this number of exchanges is traced to its end, and returns all diagnostics.
#[track_caller]
fn told(server: &Server, exchanges: usize) -> Vec<String> {
    let since = std::time::Instant::now();
    while ends(server).len() < exchanges {
        let lines = server.diagnostics().join("\n");
        assert!(since.elapsed().as_secs() < 30, "{exchanges} exchanges are not told to their end\n{lines}");
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    server.diagnostics()
}

/// The lines about a last step so far.
fn ends(server: &Server) -> Vec<String> {
    server.diagnostics().into_iter().filter(|line| step_of(line) == Some(7)).collect()
}

/// Which of the seven steps a line tells.
fn step_of(line: &str) -> Option<u8> {
    (1..=7).find(|step| line.contains(&format!("[{step}]")))
}

/// Asserts that the lines of one exchange tell every step, none before an earlier one.
#[track_caller]
fn in_order(lines: &[String]) {
    let steps: Vec<_> = lines.iter().filter_map(|line| step_of(line)).collect();
    let shown = lines.join("\n");
    assert!(steps.is_sorted(), "the steps are told in the order {steps:?}\n{shown}");
    assert!((1..=7).all(|step| steps.contains(&step)), "only the steps {steps:?} are told\n{shown}");
}
