//! What the server answers for itself, on an address of its own.

use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::{Client, Folder, Server, run, serve, until};

const HEALTH: &str = "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// More than the buffers of a connection on loopback take.
const LARGE: usize = 64 << 20;

/// Waits until the server says of itself that it drains.
#[track_caller]
fn until_draining(admin: SocketAddr) {
    until("health says that it drains", || Client::connect(admin).send(HEALTH).response().status != 200);
}

/// Where this server answers for itself.
pub fn admin_of(server: &Server) -> SocketAddr {
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
        let response = if method == "GET" { client.response().body("ok\n") } else { client.response_to_head() };
        response.status(200).has("Cache-Control", "no-store").has("Content-Type", "text/plain; charset=utf-8");
    }
    // Nothing of it is told to those who are served, and nothing of the site to who asks there.
    server.get("/health").status(404);
    client.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").response().status(404);
}

#[test]
fn what_is_no_question_to_the_server_itself_is_refused_there_as_on_the_site() {
    let folder = Folder::new();
    let server = serve(&folder).args(&["--admin", "[::1]:0"]).start();
    let ask = |head: &str| Client::connect(admin_of(&server)).send(format!("{head}\r\n\r\n")).response();
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
    Client::connect(admin_of(&server)).send(health).response().status(200).body("ok\n");
    let header = "PROXY TCP4 192.0.2.7 192.0.2.8 1 2\r\n";
    let mut client = Client::connect(admin_of(&server));
    client.send([header, health].concat()).response().status(400).says("A PROXY header is not taken here.");
    server.ask(health).status(400).says("There is no PROXY header");
}

#[test]
fn while_it_drains_health_says_so_and_everybody_is_served() {
    let folder = Folder::new().file("a.txt", "a");
    let delay = Duration::from_secs(16);
    let seconds = delay.as_secs().to_string();
    let mut server = serve(&folder).args(&["--admin", "127.0.0.1:0", "--drain-delay", &seconds]).start();
    let (admin, get) = (admin_of(&server), "GET /a.txt HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let mut kept = server.connect();
    kept.send(get).response().status(200);
    let told = Instant::now();
    server.signal("TERM");
    until_draining(admin);
    Client::connect(admin).send(HEALTH).response().status(503).body("draining\n").has("Cache-Control", "no-store");
    // At first nobody is sent away, so that balancers can notice; then everybody is, with an answer.
    let response = kept.send(get).response().status(200).body("a");
    assert!(response.all("Connection").is_empty() || told.elapsed() >= delay / 2, "{}", response.exchange);
    until("who is answered is sent away", || {
        thread::sleep(Duration::from_millis(50));
        kept.send(get).response().status(200).body("a").all("Connection") == ["close"]
    });
    assert!(told.elapsed() >= delay / 2, "it sent somebody away after {:?} already", told.elapsed());
    kept.closed();
    server.get("/a.txt").status(200).body("a");
    // What follows is known from the manager's tests.
    server.signal("TERM");
    assert_eq!(server.ended().code(), Some(128 + 15));
}

#[test]
fn health_is_told_until_the_end_while_an_answer_is_finished() {
    let folder = Folder::new().file("large.bin", vec![b'x'; LARGE]);
    let mut server = serve(&folder).args(&["--admin", "127.0.0.1:0", "--grace", "25"]).start();
    let (admin, mut busy) = (admin_of(&server), server.connect());
    busy.send("GET /large.bin HTTP/1.1\r\nHost: localhost\r\n\r\n");
    busy.stream().peek(&mut [0]).expect("the response begins");
    server.signal("TERM");
    until("nobody is let in", || TcpStream::connect(server.addr).is_err());
    for _ in 0..3 {
        Client::connect(admin).send(HEALTH).response().status(503).body("draining\n");
    }
    assert_eq!(busy.response().status(200).body.len(), LARGE);
    assert_eq!(server.ended().code(), Some(0));
}

#[test]
fn a_second_signal_ends_the_draining_at_once() {
    let folder = Folder::new();
    let mut server = serve(&folder).args(&["--admin", "127.0.0.1:0", "--drain-delay", "3600"]).start();
    server.signal("TERM");
    until_draining(admin_of(&server));
    server.signal("TERM");
    assert_eq!(server.ended().code(), Some(128 + 15));
}

#[test]
fn health_is_told_however_full_the_house_is_and_however_few_may_come_from_an_address() {
    let folder = Folder::new().file("large.bin", vec![b'x'; LARGE]);
    let args = ["--admin", "127.0.0.1:0", "--max-connections", "2", "--max-per-ip", "2", "--write-timeout", "600"];
    let server = serve(&folder).args(&args).start();
    let mut busy: Vec<_> = (0..2).map(|_| server.connect()).collect();
    for client in &mut busy {
        client.send("GET /large.bin HTTP/1.1\r\nHost: localhost\r\n\r\n");
        client.stream().peek(&mut [0]).expect("the response begins");
    }
    // More than there is room for at once, each of whom idles afterwards.
    let mut checks: Vec<Client> = Vec::new();
    for _ in 0..40 {
        let mut check = Client::connect(admin_of(&server));
        check.send(HEALTH).response().status(200);
        checks.push(check);
    }
    for client in &mut busy {
        assert_eq!(client.response().status(200).body.len(), LARGE, "nobody makes room for those checks");
    }
}

#[test]
fn a_drain_delay_that_is_no_time_is_refused() {
    for bad in ["-1", "1.5", "soon", "86401"] {
        let output = run(&["--port", "0", "--drain-delay", bad], &[]);
        assert_eq!(output.status.code(), Some(2), "{bad:?}");
        let wanted = format!("serve: --drain-delay: seconds are a number from 0 to 86400, not {bad:?}\n");
        assert_eq!(output.stderr, wanted);
    }
    assert_eq!(run(&["--port", "0"], &[("SERVE_DRAIN_DELAY", "x")]).status.code(), Some(2));
}
