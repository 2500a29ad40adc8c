//! The connection limit: a full table evicts the connection that has waited longest.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use super::{LARGE, either, idle, large};
use crate::changing::Raise;
use crate::support::{Client, serve, site};

#[test]
fn full_table_evicts_longest_idle() {
    let folder = site();
    either(&folder, "--max-connections", "2", |server| {
        let mut first = idle(server);
        let mut second = idle(server);
        first.still_open();
        server.rests();
        let mut third = idle(server);
        second.closed();
        first.still_open();
        third.still_open();
    });
}

#[test]
fn unfinished_heads_are_evicted() {
    let folder = site();
    let server = serve(&folder).args(&["--max-connections", "4"]).start();
    let mut slow: Vec<Client> = (0..12).map(|_| server.connect()).collect();
    for client in &mut slow {
        client.send("GET /page.txt HTTP/1.1\r\nHost: local");
    }
    for _ in 0..8 {
        idle(&server);
    }
}

#[test]
fn stalled_response_is_evicted() {
    let folder = large();
    let server = serve(&folder).args(&["--max-connections", "4"]).start();
    let mut slow: Vec<Client> = (0..4).map(|_| server.connect()).collect();
    for client in &mut slow {
        client.send("GET /large.bin HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        client.stream().peek(&mut [0]).expect("the response begins");
    }
    idle(&server);
    let line = server.logged(|line| line.contains("large.bin"));
    let sent: usize = line.rsplit(' ').next().and_then(|bytes| bytes.parse().ok()).expect("the line ends in a number");
    assert!(sent < LARGE, "the log states how much of the response was sent: {line}");
    let received: Vec<usize> = slow.iter_mut().map(|client| client.rest().len()).collect();
    let broken_off = received.iter().filter(|bytes| **bytes < LARGE).count();
    assert_eq!(broken_off, 1, "one is evicted, the others get the whole file: {received:?}");
}

#[test]
fn unread_pipeline_is_evicted() {
    let folder = (0..1500).fold(site(), |folder, at| folder.file(&format!("many/{at}.txt"), ""));
    let server = serve(&folder).args(&["--list", "--max-connections", "2"]).start();
    let mut greedy: Vec<Client> = (0..2).map(|_| server.connect()).collect();
    for client in &mut greedy {
        client.send("HEAD /many/ HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(3000));
        client.stream().peek(&mut [0]).expect("the first responses come");
    }
    server.get("/page.txt").status(200).body("a page\n");
}

#[test]
fn active_connection_is_not_evicted() {
    let folder = large();
    let server = serve(&folder).args(&["--max-connections", "2"]).start();
    let mut busy = server.connect();
    busy.send("GET /large.bin HTTP/1.1\r\nHost: localhost\r\n\r\n");
    busy.stream().peek(&mut [0]).expect("the response begins");
    let mut waiting = idle(&server);
    let mut fresh = idle(&server);
    waiting.closed();
    fresh.still_open();
    let response = busy.response().status(200);
    assert_eq!(response.body.len(), LARGE, "{}", response.exchange);
    busy.still_open();
}

#[test]
fn table_with_room_evicts_none() {
    let folder = site();
    let server = serve(&folder).start();
    let mut clients: Vec<_> = (0..100).map(|_| server.connect()).collect();
    clients.iter_mut().for_each(|client| client.still_open());
    clients.iter_mut().for_each(|client| client.still_open());
}

/// A system call that sends to such a client blocks for minutes.
#[test]
fn slow_readers_are_evicted() {
    const CONNECTIONS: usize = 12;
    let folder = large().at_rest("large.bin");
    let server = serve(&folder).args(&["--max-connections", &CONNECTIONS.to_string()]).start();
    let connect = || {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket can be made");
        socket.set_recv_buffer_size(1024).expect("the option can be set");
        socket.set_tcp_mss(256).expect("the option can be set");
        socket.connect(&server.addr.into()).expect("the server accepts the connection");
        TcpStream::from(socket)
    };
    let mut clients: Vec<_> = (0..CONNECTIONS).map(|_| connect()).collect();
    for client in &mut clients {
        client.write_all(b"GET /large.bin HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("the request is sent");
        client.set_nonblocking(true).expect("the option can be set");
    }
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::SeqCst) {
                clients.iter_mut().for_each(|client| drop(client.read(&mut [0; 1024])));
                thread::sleep(Duration::from_millis(100));
            }
        });
        let _raise = Raise(&is_over);
        server.get("/page.txt").status(200);
    });
}
