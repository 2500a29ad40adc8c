//! What has brought this server down or astray once, and does not any more.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::net::sockopt::set_socket_recv_buffer_size;
use socket2::{Domain, Socket, Type};

use crate::changing::Raise;
use crate::support::{BINARY, Client, Folder, Process, binary, serve, without_settings};

/// More than the buffers of a connection on loopback take.
const LARGE: usize = 32 << 20;

#[test]
fn diagnostics_that_nobody_reads_stall_no_answer_and_no_end() {
    let folder = Folder::new().file("a.txt", "a");
    let mut command = binary();
    command.args(["-vv", "--log", "off", "--port", "0", "--bind", "127.0.0.1", "--root"]).arg(folder.path());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the binary starts");
    // The first line is read byte by byte, and nothing after it.
    let mut stderr = child.stderr.take().expect("the output is a pipe");
    let mut line = Vec::new();
    while line.last() != Some(&b'\n') {
        let mut byte = [0];
        stderr.read_exact(&mut byte).expect("there is a first line");
        line.extend(byte);
    }
    let line = String::from_utf8(line).expect("text");
    let addr = line.trim_end().strip_prefix("listening on http://").expect("it listens").parse().expect("an address");
    let mut client = Client::connect(addr);
    let batch = "GET /a.txt HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(100);
    for _ in 0..20 {
        client.send(&batch);
        (0..100).for_each(|_| drop(client.response().status(200)));
    }
    let status = Command::new("kill").args(["-s", "TERM", &child.id().to_string()]).status().expect("kill runs");
    assert!(status.success());
    client.closed();
    let since = Instant::now();
    while child.try_wait().expect("the process is ours").is_none() {
        if since.elapsed() > Duration::from_secs(20) {
            child.kill().expect("the process is ours");
            panic!("the server does not end");
        }
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_client_that_takes_nothing_is_dropped_when_its_time_is_up() {
    let folder = Folder::new().file("large.bin", vec![b'x'; LARGE]);
    folder.touch("large.bin", 3600);
    let server = serve(&folder).args(&["--write-timeout", "1", "--log", "json"]).start();
    let mut client = server.connect();
    client.send("GET /large.bin HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let since = Instant::now();
    let line = server.logged(|line| line.contains("large.bin"));
    let took = since.elapsed();
    assert!(took >= Duration::from_secs(1) && took < Duration::from_secs(4), "it took {took:?}");
    assert!(line.contains("too slowly"), "{line}");
    assert!(!line.contains("\"bytes\":0,"), "what was sent counts: {line}");
}

/// Much of its answer waits in the system, which says that there is room only when a large part of that has left.
#[test]
fn a_client_that_keeps_its_pace_gets_all_of_a_long_answer() {
    let folder = Folder::new().file("large.bin", vec![b'x'; LARGE]).at_rest("large.bin");
    let server = serve(&folder).args(&["--write-timeout", "2"]).start();
    let mut stream = TcpStream::connect(server.addr).expect("the server accepts the connection");
    set_socket_recv_buffer_size(&stream, 64 * 1024).expect("the option can be set");
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("the option can be set");
    stream.write_all(b"GET /large.bin HTTP/1.0\r\n\r\n").expect("the request is taken");
    let mut piece = vec![0; 64 * 1024];
    for _ in 0..24 {
        stream.read_exact(&mut piece).expect("it goes on");
        thread::sleep(Duration::from_millis(125));
    }
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).expect("it goes on to its end");
    assert!(24 * piece.len() + rest.len() > LARGE, "only {} more bytes came", rest.len());
}

/// A system call that waits for such a client comes back after minutes. There are more of them than those of whose answers
/// much may wait in the system, because there it comes back in time.
#[test]
fn clients_that_always_take_a_little_make_room_in_a_full_house() {
    const SEATS: usize = 12;
    let folder = Folder::new().file("large.bin", vec![b'x'; LARGE]).file("a.txt", "a").at_rest("large.bin");
    let server = serve(&folder).args(&["--max-connections", &SEATS.to_string()]).start();
    let little = || {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("there are descriptors");
        socket.set_recv_buffer_size(1024).expect("the option can be set");
        socket.set_tcp_mss(256).expect("the option can be set");
        socket.connect(&server.addr.into()).expect("the server accepts the connection");
        TcpStream::from(socket)
    };
    let mut clients: Vec<_> = (0..SEATS).map(|_| little()).collect();
    for client in &mut clients {
        client.write_all(b"GET /large.bin HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("the request is taken");
        client.set_nonblocking(true).expect("the option can be set");
    }
    let is_over = AtomicBool::new(false);
    let since = Instant::now();
    thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::SeqCst) {
                clients.iter_mut().for_each(|client| drop(client.read(&mut [0; 1024])));
                thread::sleep(Duration::from_millis(100));
            }
        });
        let _raise = Raise(&is_over);
        server.get("/a.txt").status(200);
    });
    assert!(since.elapsed() < Duration::from_secs(4), "it took {:?}", since.elapsed());
}

#[test]
fn a_client_that_says_more_after_its_last_request_still_reads_the_whole_answer() {
    let folder = Folder::new().file("large.bin", vec![b'x'; LARGE]);
    let server = serve(&folder).start();
    for request in
        ["GET /large.bin HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", "GET /large.bin HTTP/1.0\r\n\r\n"]
    {
        let mut stream = TcpStream::connect(server.addr).expect("the server accepts the connection");
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("the option can be set");
        stream.write_all(request.as_bytes()).expect("the request is taken");
        let mut total = 0;
        let mut piece = vec![0; 1 << 16];
        loop {
            let count = stream.read(&mut piece).expect("the connection is not reset");
            if count == 0 {
                break;
            }
            total += count;
            let _ = stream.write_all(b"\r\n");
        }
        assert!(total > LARGE, "only {total} bytes came");
    }
}

#[test]
fn a_server_that_is_told_to_stop_ends_although_clients_keep_coming() {
    let folder = Folder::new().file("a.txt", "a");
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
        Client::connect(addr).send("GET /a.txt HTTP/1.1\r\nHost: localhost\r\n\r\n").response().status(200);
        server.signal("TERM");
        let status = server.ended();
        is_over.store(true, Ordering::Relaxed);
        assert_eq!(status.code(), Some(0));
    });
}

#[test]
fn a_client_that_never_closes_after_its_last_answer_does_not_keep_the_server_from_ending() {
    let folder = Folder::new();
    let mut server = serve(&folder).args(&["--grace", "60"]).start();
    let mut client = server.connect();
    client.send("OPTIONS * HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").response().status(204);
    client.closed();
    let since = Instant::now();
    server.signal("TERM");
    server.ended();
    assert!(since.elapsed() < Duration::from_secs(4), "it took {:?}", since.elapsed());
}

#[test]
fn a_client_that_goes_on_sending_after_its_last_answer_is_left_in_the_end() {
    let folder = Folder::new();
    let server = serve(&folder).start();
    // Little in a long time, and much in a short time.
    for (piece, pause, most) in [(1, Duration::from_millis(100), 200), (1 << 20, Duration::ZERO, 256)] {
        let mut client = server.connect();
        client.send("OPTIONS * HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").response().status(204);
        let piece = vec![b'x'; piece];
        let taken = (0..most).take_while(|_| {
            thread::sleep(pause);
            client.stream().write_all(&piece).is_ok()
        });
        assert!(taken.count() < most, "{most} times {} bytes were taken", piece.len());
    }
}

#[test]
fn what_a_client_asked_for_is_escaped_in_a_warning() {
    let folder = Folder::new();
    let server = serve(&folder).start();
    std::fs::remove_dir(folder.path()).expect("the folder is empty");
    // U+009B begins a command to a terminal, as ESC [ does; it is no control byte that a target may not have.
    server.get("/\u{9b}31m").status(500);
    let line = server.said(|line| line.contains("31m"));
    assert!(line.is_ascii() && line.contains("WARN"), "{line}");
}

#[test]
#[ignore = "needs prlimit"]
fn a_server_that_may_start_no_thread_says_so_and_ends() {
    let mut command = without_settings(Command::new("setpriv"));
    command.args(["--reuid", "65533", "--clear-groups", "prlimit", "--nproc=1", BINARY, "--port", "0", "--root", "/"]);
    let (status, lines) = Process::start(&mut command, Stdio::null()).ended();
    assert_eq!((status.code(), lines.len()), (Some(1), 1), "{lines:?}");
    assert!(lines[0].starts_with("serve: no thread can be started"), "{lines:?}");
}
