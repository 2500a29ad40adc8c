//! Shutdown: drain, grace, and connections that are open when it begins.

use std::net::{SocketAddr, TcpStream};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::{idle, large};
use crate::support::{Client, Folder, GET, Process, binary, serve, site, until};

/// Six seconds are more than the default.
#[test]
fn grace_bounds_response_in_progress() {
    let folder = large();
    let flag = serve(&folder).args(&["--grace", "6"]);
    let variable = serve(&folder).env("SERVE_GRACE", "6");
    let both = serve(&folder).args(&["--grace", "6"]).env("SERVE_GRACE", "1");
    thread::scope(|scope| {
        for start in [flag, variable, both] {
            scope.spawn(|| {
                let mut server = start.start();
                let mut idle = idle(&server);
                let mut client = server.connect();
                client.send("GET /large.bin HTTP/1.1\r\nHost: localhost\r\n\r\n");
                client.stream().peek(&mut [0]).expect("the response begins");
                let since = Instant::now();
                server.signal("TERM");
                idle.closed();
                server.ended();
                assert!(since.elapsed() >= Duration::from_secs(6), "the grace was {:?}", since.elapsed());
                client.expect_broken_off();
            });
        }
    });
}

/// Requests that were sent before the signal, on new and on kept connections.
#[test]
fn request_sent_before_shutdown_is_served() {
    let folder = site();
    for _ in 0..2 {
        let mut server = serve(&folder).start();
        let mut clients: Vec<_> = (0..10).map(|_| server.connect()).collect();
        clients.iter_mut().for_each(Client::still_open);
        clients.extend((0..10).map(|_| server.connect()));
        for client in &mut clients {
            client.send(GET);
        }
        server.signal("TERM");
        for client in &mut clients {
            client.response().status(200).body("a page\n");
        }
        clients.iter_mut().for_each(Client::closed);
        drop(clients);
        assert_eq!(server.ended().code(), Some(0));
    }
}

/// A request that arrives during the shutdown gets a whole response, the last one, or none at all.
#[test]
fn late_request_gets_last_response_or_close() {
    let folder = site();
    let mut server = serve(&folder).start();
    let mut clients: Vec<_> = (0..10).map(|_| idle(&server)).collect();
    server.signal("TERM");
    until("the server listens no more", || !server.proc().listens());
    for client in &mut clients {
        let response = String::from_utf8_lossy(&client.send(GET).rest()).into_owned();
        let is_last = response.starts_with("HTTP/1.1 200 ") && response.contains("\r\nConnection: close\r\n");
        assert!(response.is_empty() || is_last && response.ends_with("\r\n\r\na page\n"), "{response}");
    }
    assert_eq!(server.ended().code(), Some(0));
}

#[test]
fn stopping_redirect_listener_serves_last_request() {
    let folder = Folder::new();
    let mut command = binary();
    command.args(["--bind", "127.0.0.1", "--port", "0", "--tls-self-signed", "--https-redirect", "0"]);
    command.args(["--grace", "600"]);
    let mut server = Process::start(command.arg("--root").arg(folder.path()), Stdio::null());
    server.next_line();
    let line = server.next_line();
    let addr: SocketAddr =
        line["redirecting on http://".len()..].parse().unwrap_or_else(|_| panic!("no address: {line}"));
    let mut client = Client::connect(addr);
    client.send("GET /a.txt HTTP/1.1\r\nHost: localhost\r\n\r\nGET /a.txt HTTP/1.1\r\n").response().status(308);
    server.signal("TERM");
    until("the server listens no more", || !server.proc().listens());
    client.send("Host: localhost\r\n\r\n").response().status(308).has("Connection", "close");
    drop(client);
    assert_eq!(server.ended().0.code(), Some(0));
}

#[test]
fn shutdown_ends_while_clients_keep_connecting() {
    let folder = site();
    let mut server = serve(&folder).args(&["--grace", "2", "-q"]).start();
    let addr = server.addr;
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    let _ = TcpStream::connect(addr);
                }
            });
        }
        Client::connect(addr).send(GET).response().status(200);
        server.signal("TERM");
        let status = server.ended();
        is_over.store(true, Ordering::Relaxed);
        assert_eq!(status.code(), Some(0));
    });
}

#[test]
fn lingering_client_does_not_delay_shutdown() {
    let folder = site();
    // Longer than this test waits for the end.
    let mut server = serve(&folder).args(&["--grace", "600"]).start();
    let mut client = server.connect();
    client.send("OPTIONS * HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").response().status(204);
    client.closed();
    server.signal("TERM");
    server.ended();
}
