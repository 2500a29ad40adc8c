//! The limits that are flags: how many connections, and how long each phase of one may take.
//!
//! Every default is longer than a test waits, or is told apart by what the limit does, so a flag without effect fails.

use std::fs::{self, File};
use std::time::{Duration, Instant};

use crate::support::{Folder, Server, serve};

/// More than the buffers of a connection on loopback take.
const LARGE: u64 = 256 << 20;

#[test]
fn at_the_limit_of_connections_the_longest_idle_one_makes_room() {
    let folder = Folder::new().file("a.txt", "a");
    either(&folder, "--max-connections", "2", |server| {
        let (mut first, mut second) = (server.connect(), server.connect());
        first.still_open();
        // So many exchanges leave the first one's thread the time to see that it is idle.
        (0..50).for_each(|_| second.still_open());
        server.get("/a.txt").status(200).body("a");
        first.closed();
        second.still_open();
    });
}

#[test]
fn below_the_limit_of_connections_none_is_closed() {
    let folder = Folder::new().file("a.txt", "a");
    let server = serve(&folder).start();
    let mut clients: Vec<_> = (0..100).map(|_| server.connect()).collect();
    clients.iter_mut().for_each(|client| client.still_open());
    clients.iter_mut().for_each(|client| client.still_open());
}

#[test]
fn a_head_that_does_not_come_in_time_is_told_so() {
    let folder = Folder::new().file("a.txt", "a");
    either(&folder, "--header-timeout", "1", |server| {
        let mut client = server.connect();
        client.send("GET /a.txt HTTP/1.1\r\nHost: loc");
        client.response().status(408).has("Connection", "close");
        client.closed();
    });
}

#[test]
fn a_connection_that_never_says_a_word_has_the_time_of_a_head_and_not_of_an_idle_one() {
    let folder = Folder::new();
    let server = serve(&folder).args(&["--header-timeout", "1", "--idle-timeout", "600"]).start();
    server.connect().closed();
}

#[test]
fn a_byte_now_and_then_does_not_lengthen_the_time_for_a_head() {
    let folder = Folder::new().file("a.txt", "a");
    let server = serve(&folder).args(&["--header-timeout", "1"]).start();
    let mut client = server.connect();
    client.send("GET /a.txt HTTP/1.1\r\nX-Drip: ");
    let since = Instant::now();
    let stream = client.stream().try_clone().expect("a descriptor can be copied");
    let drip = std::thread::spawn(move || {
        // Ends when the server has closed, at the latest long after the server should have.
        while since.elapsed() < Duration::from_secs(25) && std::io::Write::write_all(&mut &stream, b"x").is_ok() {
            std::thread::sleep(Duration::from_millis(100));
        }
    });
    client.response().status(408);
    assert!(since.elapsed() < Duration::from_secs(20), "each byte began the time anew");
    let _ = client.stream().shutdown(std::net::Shutdown::Both);
    drip.join().expect("the writer ends");
}

#[test]
fn an_idle_connection_is_closed_without_a_word() {
    let folder = Folder::new().file("a.txt", "a");
    either(&folder, "--idle-timeout", "1", |server| {
        let mut client = server.connect();
        client.still_open();
        client.closed();
    });
}

#[test]
fn a_client_that_stops_reading_is_given_up() {
    let folder = large();
    either(&folder, "--write-timeout", "1", |server| {
        let mut client = server.connect();
        client.send("GET /large.bin HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let line = server.logged(|line| line.contains("/large.bin"));
        let bytes = line.rsplit(' ').next().and_then(|bytes| bytes.parse::<u64>().ok());
        assert!(bytes.is_some_and(|bytes| bytes < LARGE), "a part was sent, and the log says which: {line}");
        let received = client.rest().len() as u64;
        assert!(received < LARGE, "all {received} bytes came");
    });
}

#[test]
fn after_the_grace_an_answer_in_progress_is_given_up() {
    let folder = large();
    let started = |flag: &[&str], variable: &str| {
        let server = serve(&folder).args(flag);
        if variable.is_empty() { server.start() } else { server.env("SERVE_GRACE", variable).start() }
    };
    for mut server in [started(&["--grace", "1"], ""), started(&[], "1"), started(&["--grace", "1"], "60")] {
        let mut idle = server.connect();
        idle.still_open();
        let mut client = server.connect();
        client.send("GET /large.bin HTTP/1.1\r\nHost: localhost\r\n\r\n");
        client.stream().peek(&mut [0]).expect("the response begins");
        let since = Instant::now();
        server.signal("TERM");
        idle.closed();
        server.ended();
        let elapsed = since.elapsed();
        // The default is five seconds.
        assert!(elapsed < Duration::from_millis(4500), "it took {elapsed:?}");
        assert!(elapsed > Duration::from_millis(900), "there was no grace: it took {elapsed:?}");
    }
}

fn large() -> Folder {
    let folder = Folder::new().file("large.bin", "");
    let file = File::options().write(true).open(folder.at("large.bin")).expect("the file can be opened");
    file.set_len(LARGE).expect("the file can be made long");
    folder
}

/// Starts the server with the flag, then with its variable alone, and lets `check` look at each.
fn either(folder: &Folder, flag: &str, value: &str, check: impl Fn(&Server)) {
    let variable = format!("SERVE_{}", flag.trim_start_matches('-').to_uppercase().replace('-', "_"));
    eprintln!("--- with {flag} {value}");
    check(&serve(folder).args(&[flag, value]).start());
    eprintln!("--- with {variable}={value}");
    check(&serve(folder).env(&variable, value).start());
}

#[test]
fn with_memory_for_files_or_without_the_newest_content_is_sent() {
    for mebibytes in ["0", "1", "64"] {
        let folder = Folder::new().file("a.txt", "old");
        let server = serve(&folder).args(&["--cache-memory", mebibytes]).start();
        let before = server.get("/a.txt").status(200).body("old");
        server.get("/a.txt").status(200).body("old").has("ETag", before.field("ETag"));
        folder.replace("a.txt", "new");
        let after = server.get("/a.txt").status(200).body("new");
        assert_ne!(after.field("ETag"), before.field("ETag"));
        fs::remove_file(folder.at("a.txt")).expect("the file can be removed");
        server.get("/a.txt").status(404);
    }
}

#[test]
fn the_memory_for_files_has_its_limit() {
    let folder = (0..500).fold(Folder::new(), |folder, at| folder.file(&format!("{at}.bin"), vec![b'x'; 60_000]));
    let server = serve(&folder).args(&["--cache-memory", "1"]).start();
    let mut client = server.connect();
    let resident = || server.proc().number("VmRSS:");
    let mut ask = |at: usize| {
        let request = format!("GET /{at}.bin HTTP/1.1\r\nHost: localhost\r\n\r\n");
        client.send(request).response().status(200);
    };
    (0..10).for_each(&mut ask);
    let before = resident();
    (10..500).for_each(&mut ask);
    let grown = resident().saturating_sub(before);
    // All of them together are some thirty thousand.
    assert!(grown < 10_000, "{grown} KiB more, though 1 MiB is allowed");
}
