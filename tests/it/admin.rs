//! What the server answers for itself, on an address of its own.

use std::net::SocketAddr;

use crate::support::{Client, Folder, Server, run, serve};

/// Where this server answers for itself.
fn admin_of(server: &Server) -> SocketAddr {
    let line = server.said(|line| line.starts_with("admin on http://"));
    line["admin on http://".len()..].parse().unwrap_or_else(|_| panic!("no address: {line}"))
}

#[test]
fn health_is_told_on_an_address_of_its_own() {
    let folder = Folder::new();
    let server = serve(&folder).args(&["--admin", "127.0.0.1:0"]).start();
    let mut client = Client::connect(admin_of(&server));
    for method in ["GET", "HEAD"] {
        client.send(format!("{method} /health?from=balancer HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        let answer = if method == "GET" { client.answer().body("ok\n") } else { client.answer_to_head() };
        answer.status(200).has("Cache-Control", "no-store").has("Content-Type", "text/plain; charset=utf-8");
    }
    // Nothing of it is told to those who are served, and nothing of the site to who asks there.
    server.get("/health").status(404);
    client.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").answer().status(404);
}

#[test]
fn what_is_no_question_to_the_server_itself_is_refused_there_as_on_the_site() {
    let folder = Folder::new();
    let server = serve(&folder).args(&["--admin", "[::1]:0"]).start();
    let ask = |head: &str| Client::connect(admin_of(&server)).send(format!("{head}\r\n\r\n")).answer();
    ask("POST /health HTTP/1.1\r\nHost: localhost").status(405).has("Allow", "GET, HEAD");
    ask("BREW /health HTTP/1.1\r\nHost: localhost").status(501);
    ask("GET /health HTTP/1.1").status(400).says("Host");
    ask("GET /health/ HTTP/1.1\r\nHost: localhost").status(404);
    ask("GET /../health HTTP/1.1\r\nHost: localhost").status(400);
    ask("no request").status(400);
}

#[test]
fn an_address_that_cannot_be_used_is_refused_with_what_to_type() {
    for bad in ["9100", "localhost:9100", "127.0.0.1", "::1:x", ""] {
        let output = run(&["--port", "0", "--admin", bad], &[]);
        assert_eq!(output.status.code(), Some(2), "{bad:?}");
        assert!(output.stderr.starts_with("serve: --admin: an IP address and a port, such as"), "{}", output.stderr);
    }
    let folder = Folder::new();
    let server = serve(&folder).start();
    let output = run(&["--port", "0", "--admin", &server.addr.to_string()], &[]);
    assert_eq!(output.status.code(), Some(1));
    let (addr, next) = (server.addr, server.addr.port().wrapping_add(1).max(1));
    assert!(output.stderr.starts_with(&format!("serve: --admin: {addr} is in use; ")), "{}", output.stderr);
    assert!(output.stderr.contains(&format!("try --admin 127.0.0.1:{next}, or --admin 127.0.0.1:0 ")) || next == 1);
}

#[test]
fn no_proxy_header_is_asked_for_there() {
    let folder = Folder::new();
    let args = ["--trusted-proxy", "127.0.0.1", "--proxy-protocol", "--admin", "127.0.0.1:0"];
    let server = serve(&folder).args(&args).start();
    let health = "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n";
    Client::connect(admin_of(&server)).send(health).answer().status(200).body("ok\n");
    let header = "PROXY TCP4 192.0.2.7 192.0.2.8 1 2\r\n";
    let mut client = Client::connect(admin_of(&server));
    client.send([header, health].concat()).answer().status(400).says("A PROXY header is not taken here.");
    server.ask(health).status(400).says("There is no PROXY header");
}
