//! A crowd: so many connections that they take turns to be answered.

use std::thread;
use std::time::{Duration, Instant};

use crate::strace::Strace;
use crate::support::{Client, Folder, Server, serve};

/// More than the connections from which on there is a crowd.
const CROWD: usize = 560;

fn crowd(server: &Server) -> Vec<Client> {
    let mut clients: Vec<_> = (0..CROWD).map(|_| server.connect()).collect();
    // Who waited for a request before there was a crowd does not need a turn for that one.
    clients.iter_mut().for_each(Client::still_open);
    clients
}

fn ask(clients: &mut [Client], name: &str) {
    let request = format!("GET /{name} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    for client in clients {
        client.send(&request);
    }
}

#[test]
fn in_a_crowd_everybody_gets_every_answer() {
    let files = [("small.txt", "small\n".to_owned()), ("long.txt", "long\n".repeat(20_000))];
    let folder = files.iter().fold(Folder::new(), |folder, (name, content)| folder.file(name, content));
    let server = serve(&folder).args(&["--log", "off"]).start();
    let mut clients = crowd(&server);
    thread::scope(|scope| {
        for some in clients.chunks_mut(CROWD / 4) {
            scope.spawn(|| {
                for round in 0..20 {
                    // Mostly the small one, so that turns are used up.
                    let (name, content) = &files[usize::from(round % 5 == 4)];
                    ask(some, name);
                    for client in some.iter_mut() {
                        client.response().status(200).body(content);
                    }
                }
            });
        }
    });
}

/// Each turn takes half a second here. If all waited for the turns of others, it would be 18 s with two processors.
#[test]
#[ignore = "needs strace"]
fn in_a_crowd_nobody_waits_for_those_who_wait_for_a_disk() {
    let folder = Folder::new().file("page.txt", "a page\n");
    let server = serve(&folder).args(&["--log", "off", "--cache-memory", "0"]).start();
    let mut clients = crowd(&server);
    let strace = Strace::attach(&server, &["openat2:delay_enter=500000"], "");
    let since = Instant::now();
    ask(&mut clients, "page.txt");
    for client in &mut clients {
        client.response().status(200).body("a page\n");
    }
    let took = since.elapsed();
    drop(clients);
    assert!(strace.detach() >= CROWD);
    assert!(took < Duration::from_secs(6), "it took {took:?}");
}
