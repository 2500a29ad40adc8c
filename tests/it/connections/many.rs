//! Many connections at once, far more than processors.

use std::io::ErrorKind;
use std::thread;

use crate::strace::Strace;
use crate::support::{Client, Folder, Server, serve};

const CONNECTIONS: usize = 560;

/// Opens many connections; each has had a response.
fn connections(server: &Server) -> Vec<Client> {
    let mut clients: Vec<_> = (0..CONNECTIONS).map(|_| server.connect()).collect();
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
fn many_connections_get_every_response() {
    let files = [("small.txt", "small\n".to_owned()), ("long.txt", "long\n".repeat(20_000))];
    let folder = files.iter().fold(Folder::new(), |folder, (name, content)| folder.file(name, content));
    let server = serve(&folder).args(&["--log", "off"]).start();
    let mut clients = connections(&server);
    thread::scope(|scope| {
        for some in clients.chunks_mut(CONNECTIONS / 4) {
            scope.spawn(|| {
                for round in 0..20 {
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

/// A hundred connections wait for a slow disk, and the others get their responses first.
#[test]
#[ignore = "needs strace"]
fn slow_disk_does_not_delay_other_connections() {
    const SLOW: usize = 100;
    let folder = Folder::new().file("slow.txt", "slow\n").file("page.txt", "a page\n");
    let server = serve(&folder).args(&["--log", "off", "--cache-memory", "0"]).start();
    let mut clients = connections(&server);
    let strace = Strace::attach(&server, &["openat2:delay_enter=20000000"], "slow.txt");
    let (slow, fast) = clients.split_at_mut(SLOW);
    ask(slow, "slow.txt");
    ask(fast, "page.txt");
    for client in fast {
        client.response().status(200).body("a page\n");
    }
    for client in slow.iter() {
        client.stream().set_nonblocking(true).expect("the option can be set");
        let early = client.stream().peek(&mut [0]).expect_err("the disk was not slow");
        assert_eq!(early.kind(), ErrorKind::WouldBlock);
        client.stream().set_nonblocking(false).expect("the option can be set");
    }
    for client in slow {
        client.response().status(200).body("slow\n");
    }
    drop(clients);
    assert_eq!(strace.detach(), SLOW);
}
