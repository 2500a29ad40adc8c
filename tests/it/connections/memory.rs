//! Memory of connections and of the file cache.

use std::fs;

use crate::support::{Folder, serve};

#[test]
fn pipelined_responses_take_little_memory() {
    let folder = Folder::new().file("a", vec![b'x'; 60_000]);
    let server = serve(&folder).start();
    let mut client = server.connect();
    let mut ask = |count: usize| {
        client.send("GET /a HTTP/1.1\r\nHost:\r\n\r\n".repeat(count));
        (0..count).for_each(|_| drop(client.response().status(200)));
    };
    ask(1);
    let before = server.proc().number("VmHWM:");
    ask(300);
    let grown = server.proc().number("VmHWM:") - before;
    assert!(grown < 3000, "{grown} KiB more for responses of 60 KB each");
}

#[test]
fn idle_connection_keeps_no_response_memory() {
    let folder = Folder::new().file("a", vec![b'x'; 60_000]).file("b", "b");
    let server = serve(&folder).start();
    let grown_by = |name: &str| {
        let before = server.proc().number("VmHWM:");
        let mut clients: Vec<_> = (0..250).map(|_| server.connect()).collect();
        for client in &mut clients {
            client.send(format!("GET /{name} HTTP/1.1\r\nHost:\r\n\r\n")).response().status(200);
        }
        server.proc().number("VmHWM:") - before
    };
    // The first round allocates the threads and everything else that a connection needs.
    grown_by("b");
    let grown = grown_by("a");
    assert!(grown < 10_000, "{grown} KiB more for 250 connections after responses of 60 KB each");
}

#[test]
fn any_cache_size_serves_newest_content() {
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
fn cache_memory_has_its_limit() {
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
    // All files together have some thirty thousand.
    assert!(grown < 10_000, "{grown} KiB more, though 1 MiB is allowed");
}
