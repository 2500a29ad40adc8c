//! A server's life: signals, clients that vanish, threads, and outputs that nobody reads.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{OFlags, fcntl_setfl};
use rustix::process::{Pid, Resource, Rlimit, prlimit};

use crate::support::{Client, Folder, Process, Server, binary, free_port, serve};

/// More than the buffers of a connection on loopback take.
const LARGE: usize = 64 << 20;

const GET_LARGE: &str = "GET /large.bin HTTP/1.1\r\nHost: localhost\r\n\r\n";

#[test]
fn signal_closes_idle_connections_at_once() {
    for signal in ["TERM", "INT"] {
        let folder = Folder::new();
        let mut server = serve(&folder).args(&["--grace", "60", "-v"]).start();
        let (mut used, mut silent) = (server.connect(), server.connect());
        used.still_open();
        is_heard_of(&server, &silent);
        server.signal(signal);
        used.closed();
        silent.closed();
        assert_eq!(server.ended().code(), Some(0), "SIG{signal}");
    }
}

/// As long as it says nothing there is nothing to do; but a second later its time to ask begins.
#[test]
fn silent_client_is_accepted_after_a_second() {
    let folder = Folder::new().file("a.txt", "a");
    let server = serve(&folder).arg("-v").start();
    let since = Instant::now();
    let mut silent = server.connect();
    server.connect().still_open();
    is_heard_of(&server, &silent);
    let took = since.elapsed();
    assert!((Duration::from_millis(500)..Duration::from_secs(3)).contains(&took), "it had a thread after {took:?}");
    silent.send("GET /a.txt HTTP/1.1\r\nHost: localhost\r\n\r\n").response().status(200).body("a");
}

#[test]
fn shutdown_finishes_the_response_in_progress() {
    for signal in ["TERM", "INT"] {
        let folder = large();
        let mut server = serve(&folder).args(&["--grace", "25"]).start();
        let mut idle = server.connect();
        idle.still_open();
        let mut client = busy(&server);
        server.signal(signal);
        idle.closed();
        let response = client.response().status(200);
        assert_eq!(response.body.len(), LARGE, "SIG{signal}");
        assert!(response.body.iter().enumerate().all(|(at, byte)| *byte == pattern(at)), "other bytes came");
        client.closed();
        assert_eq!(server.ended().code(), Some(0), "SIG{signal}");
    }
}

#[test]
fn shutdown_accepts_no_new_connection() {
    let folder = large();
    let server = serve(&folder).args(&["--grace", "60"]).start();
    let mut idle = server.connect();
    idle.still_open();
    let _busy = busy(&server);
    server.signal("TERM");
    idle.closed();
    // One that comes in the same moment as the signal may still be answered; soon there is nobody to answer.
    let since = Instant::now();
    let connect = || TcpStream::connect_timeout(&server.addr, Duration::from_secs(1)).map_err(|e| e.kind());
    while !matches!(connect(), Err(io::ErrorKind::ConnectionRefused)) {
        assert!(since.elapsed() < Duration::from_secs(10), "connections are still taken, though nobody will response");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn shutdown_serves_the_accept_queue() {
    let folder = Folder::new().file("a.txt", "a");
    let mut server = serve(&folder).args(&["--grace", "60"]).start();
    server.signal("STOP");
    let mut clients: Vec<_> = (0..100).map(|_| server.connect()).collect();
    for client in &mut clients {
        client.send("GET /a.txt HTTP/1.1\r\nHost: localhost\r\n\r\n");
    }
    server.signal("TERM");
    server.signal("CONT");
    for client in &mut clients {
        client.response().status(200).body("a");
    }
    assert_eq!(server.ended().code(), Some(0));
}

#[test]
fn waiting_connection_does_not_delay_shutdown() {
    let folder = large();
    let mut server = serve(&folder).args(&["--max-connections", "1", "--write-timeout", "600", "--grace", "1"]).start();
    let _busy = busy(&server);
    let mut waiting = server.connect();
    waiting.send(GET_LARGE);
    server.signal("TERM");
    server.ended();
}

#[test]
fn begun_request_is_served_with_close_at_shutdown() {
    let folder = Folder::new().file("a.txt", "a");
    let mut server = serve(&folder).args(&["--grace", "60"]).start();
    let (mut typing, mut idle) = (server.connect(), server.connect());
    typing.still_open();
    typing.send("GET /a.txt HTTP/1.1\r\nHost: ");
    // So many exchanges leave the other connection's thread the time to see that a request has begun.
    (0..50).for_each(|_| idle.still_open());
    server.signal("TERM");
    idle.closed();
    typing.send("localhost\r\n\r\n").response().status(200).body("a").has("Connection", "close");
    typing.closed();
    assert_eq!(server.ended().code(), Some(0));
}

#[test]
fn grace_ends_although_a_client_still_reads() {
    let folder = Folder::new().file("large.bin", "");
    let file = File::options().write(true).open(folder.at("large.bin")).expect("the file can be opened");
    file.set_len(8 << 30).expect("the file can be made long");
    let mut server = serve(&folder).args(&["--grace", "1"]).start();
    let mut stream = TcpStream::connect(server.addr).expect("the server accepts the connection");
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("the option can be set");
    stream.write_all(GET_LARGE.as_bytes()).expect("the request is taken");
    stream.peek(&mut [0]).expect("the response begins");
    // The client takes at most some ten megabytes a second, so the file would last for many minutes.
    let reader = thread::spawn(move || {
        let mut piece = [0; 16 << 10];
        while matches!(stream.read(&mut piece), Ok(1..)) {
            thread::sleep(Duration::from_millis(1));
        }
    });
    server.signal("TERM");
    assert!(server.ended().code().is_some(), "it was killed");
    reader.join().expect("the reader sees the end");
}

#[test]
fn response_cut_by_grace_is_logged() {
    let folder = large();
    let mut server = serve(&folder).args(&["--grace", "1", "--log", "json"]).start();
    let _busy = busy(&server);
    server.signal("TERM");
    server.ended();
    let line = server.logged(|line| line.contains("/large.bin"));
    assert!(!line.contains("\"broken_off\":null"), "{line}");
}

#[test]
fn second_signal_ends_the_server_at_once() {
    for (first, second) in [("TERM", "TERM"), ("INT", "INT"), ("INT", "TERM")] {
        let folder = large();
        let mut server = serve(&folder).args(&["--grace", "60"]).start();
        let mut idle = server.connect();
        idle.still_open();
        let _busy = busy(&server);
        server.signal(first);
        idle.closed();
        server.signal(second);
        server.ended();
    }
}

#[test]
fn second_signal_loses_no_log_line() {
    let folder = large();
    let mut server = serve(&folder).args(&["--grace", "60"]).start();
    let _busy = busy(&server);
    let mut idle = server.connect();
    idle.send("GET /missing HTTP/1.1\r\nHost: localhost\r\n\r\n").response().status(404);
    server.signal("TERM");
    idle.closed();
    server.signal("TERM");
    server.ended();
    server.logged(|line| line.contains("/missing"));
}

#[test]
fn vanished_client_ends_only_its_connection() {
    let folder = large().file("a.txt", "a");
    let server = serve(&folder).start();
    let mut other = server.connect();
    other.still_open();
    for _ in 0..20 {
        // Unread bytes make the kernel answer with a reset when this is dropped.
        drop(busy(&server));
    }
    other.still_open();
    server.get("/a.txt").status(200).body("a");
}

#[test]
fn vanished_client_is_logged_with_sent_bytes() {
    let folder = large();
    let server = serve(&folder).start();
    drop(busy(&server));
    let line = server.logged(|line| line.contains("/large.bin"));
    let bytes: usize = line.rsplit(' ').next().and_then(|b| b.parse().ok()).unwrap_or_else(|| panic!("{line}"));
    assert!(bytes < LARGE, "{line}");
}

#[test]
fn idle_thread_serves_the_next_connection() {
    let folder = Folder::new().file("a.txt", "a");
    let server = serve(&folder).start();
    let mut seen = HashSet::new();
    for _ in 0..200 {
        let mut client = server.connect();
        client.still_open();
        seen.extend(server.proc().thread_ids());
    }
    assert!(seen.len() < 40, "200 connections, one after another, met {} threads", seen.len());
}

#[test]
fn descriptor_shortage_evicts_an_idle_connection() {
    let folder = Folder::new().file("a.txt", "a");
    let server = serve(&folder).start();
    let mut first = server.connect();
    first.still_open();
    limit_descriptors(&server, next_descriptor(&server));
    let mut last = server.connect();
    last.send("OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n").response().status(204);
    first.closed();
}

#[test]
fn descriptor_shortage_refuses_file_keeps_connection() {
    let folder = Folder::new().file("a.txt", "a");
    let server = serve(&folder).start();
    let mut client = server.connect();
    client.still_open();
    let mut ask = || client.send("GET /a.txt HTTP/1.1\r\nHost: localhost\r\n\r\n").response();
    limit_descriptors(&server, 0);
    ask().status(503).has("Retry-After", "1").says("The server has run out of descriptors or memory.");
    limit_descriptors(&server, 1000);
    ask().status(200).body("a");
    server.said(|line| line.contains("WARN") && line.contains("os error 24"));
}

#[test]
fn descriptor_shortage_does_not_spin_and_recovers() {
    let folder = Folder::new().file("a.txt", "a");
    let server = serve(&folder).start();
    limit_descriptors(&server, 0);
    // A blocking accept has reserved its descriptor already, so the first connection may still be accepted.
    let mut first = server.connect();
    first.send("GET");
    let mut client = server.connect();
    client.send("GET /a.txt HTTP/1.1\r\nHost: localhost\r\n\r\n");
    server.said(|line| line.contains("WARN") && line.contains("next try in 320ms"));
    let before = server.proc().ticks();
    thread::sleep(Duration::from_secs(1));
    let used = server.proc().ticks() - before;
    // A hundred ticks are a second of one processor.
    assert!(used < 50, "{used} ticks in a second in which there was nothing to do");
    limit_descriptors(&server, 1000);
    client.response().status(200).body("a");
}

#[test]
fn unread_output_stalls_no_response() {
    let folder = Folder::new().file("a.txt", "a");
    let mut server = Process::start(&mut on(&folder), Stdio::piped());
    let _unread = server.stdout();
    fill(&mut server);
}

#[test]
fn unread_output_does_not_delay_shutdown() {
    let folder = Folder::new().file("a.txt", "a");
    let mut server = Process::start(&mut on(&folder), Stdio::piped());
    let _unread = server.stdout();
    fill(&mut server);
    server.signal("TERM");
    server.ended();
}

#[test]
fn dropped_log_lines_are_counted() {
    let folder = Folder::new().file("a.txt", "a");
    let mut server = Process::start(&mut on(&folder), Stdio::piped());
    let unread = server.stdout();
    fill(&mut server);
    drop(unread);
    while !server.next_line().contains(" log lines dropped") {}
}

#[test]
fn non_blocking_output_loses_no_line() {
    let folder = Folder::new().file("a.txt", "a");
    let (mut reader, writer) = io::pipe().expect("a pipe can be made");
    fcntl_setfl(&writer, OFlags::NONBLOCK).expect("the option can be set");
    let mut server = Process::start(&mut on(&folder), writer);
    let mut client = Client::connect(server.listening());
    // Their lines are several times what the pipe takes.
    for _ in 0..20 {
        client.send("GET /a.txt HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(200));
        (0..200).for_each(|_| drop(client.response().status(200)));
    }
    let lines = thread::spawn(move || {
        let mut log = String::new();
        reader.read_to_string(&mut log).expect("the log is text");
        log.lines().filter(|line| line.ends_with("\"GET /a.txt HTTP/1.1\" 200 1")).count()
    });
    server.signal("TERM");
    server.ended();
    assert_eq!(lines.join().expect("no panic"), 4000);
}

#[test]
fn closed_standard_output_ends_nothing() {
    let folder = Folder::new().file("a.txt", "a");
    let mut server = Process::start(&mut on(&folder), Stdio::piped());
    drop(server.stdout());
    fill(&mut server);
    server.signal("TERM");
    let (status, lines) = server.ended();
    assert_eq!(status.code(), Some(0), "{}", lines.join("\n"));
}

#[test]
fn closed_standard_error_ends_nothing() {
    let folder = Folder::new().file("a.txt", "a");
    let port = free_port();
    let mut command = binary();
    command.args(["-vv", "--bind", "127.0.0.1", "--port", &port.to_string(), "--root"]).arg(folder.path());
    let (reader, writer) = io::pipe().expect("a pipe can be made");
    drop(reader);
    let mut server = command.stdout(Stdio::null()).stderr(writer).spawn().expect("the binary starts");
    let addr = SocketAddr::from(([127, 0, 0, 1], port));
    let mut is_running = || server.try_wait().expect("the process is ours").is_none();
    while TcpStream::connect(addr).is_err() {
        assert!(is_running(), "it ended before it listened");
        thread::sleep(Duration::from_millis(2));
    }
    let asked = thread::spawn(move || {
        for _ in 0..3 {
            Client::connect(addr).send("GET /a.txt HTTP/1.1\r\nHost: localhost\r\n\r\n").response().status(200);
        }
    });
    let (asked, is_running) = (asked.join(), is_running());
    let _ = server.kill();
    server.wait().expect("the process is ours");
    asked.expect("every request is answered");
    assert!(is_running, "it ended by itself");
}

/// Waits until a server that tells who comes has said so of this client.
fn is_heard_of(server: &Server, client: &Client) {
    let addr = client.stream().local_addr().expect("it is connected");
    let line = format!("connection accepted from {addr}");
    server.said(|said| said.ends_with(&line));
}

/// The content of the large file.
fn pattern(at: usize) -> u8 {
    (at % 251) as u8
}

fn large() -> Folder {
    Folder::new().file("large.bin", (0..LARGE).map(pattern).collect::<Vec<_>>())
}

/// Requests the large file and reads nothing, so that the response stays in progress.
fn busy(server: &Server) -> Client {
    let mut client = server.connect();
    client.send(GET_LARGE);
    client.stream().peek(&mut [0]).expect("the response begins");
    client
}

fn on(folder: &Folder) -> Command {
    let mut command = binary();
    command.args(["--port", "0", "--bind", "127.0.0.1", "--root"]).arg(folder.path());
    command
}

/// The number that the server's next descriptor will have: the lowest that is free.
fn next_descriptor(server: &Server) -> u64 {
    (0..).find(|number| !server.proc().has_descriptor(*number)).expect("there are more numbers than descriptors")
}

/// Lets the running server open no descriptors but those below this number; those that it has, it keeps.
fn limit_descriptors(server: &Server, most: u64) {
    let pid = Pid::from_raw(server.pid() as i32);
    let limit = Rlimit { current: Some(most), maximum: Some(1000) };
    prlimit(pid, Resource::Nofile, limit).expect("the limit can be set");
}

/// Makes some five megabytes of access log: no pipe takes that much unread.
#[track_caller]
fn fill(server: &mut Process) {
    let addr = server.listening();
    let long = "x".repeat(200);
    let batch = format!("GET /a.txt?{long} HTTP/1.1\r\nHost: localhost\r\n\r\n").repeat(100);
    for _ in 0..20 {
        let mut client = Client::connect(addr);
        for _ in 0..10 {
            client.send(&batch);
            for _ in 0..100 {
                client.response().status(200).body("a");
            }
        }
    }
}
