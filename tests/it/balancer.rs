//! Three servers behind HAProxy: each is replaced, one is killed, and no client notices.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::{Client, Folder, Process, binary, free_port};

/// No test waits longer than this for an event.
const LIMIT: Duration = Duration::from_secs(60);

/// How many requests are to be answered at least, while servers are replaced.
const REQUESTS: usize = 5_000;

/// The clients: every other one keeps its connection. None has the address of HAProxy, which is 127.0.0.1.
const CLIENTS: [&str; 6] = ["127.0.1.1", "127.0.1.2", "127.0.1.3", "127.0.1.4", "127.0.1.5", "127.0.1.6"];

/// What is served: name and length. An answer of up to the second leaves the server as a whole or not at all.
const PAGES: [Page; 3] = [("small.txt", 10), ("page.html", 3_000), ("large.css", 100_000)];

type Page = (&'static str, usize);

/// One server, at addresses that stay its own, with a copy of the site.
struct Member {
    port: u16,
    admin: u16,
    folder: Folder,
    log: PathBuf,
    process: Process,
}

impl Member {
    fn start(logs: &Folder, name: &str, modified: i64) -> Member {
        let (port, admin, log) = (free_port(), free_port(), logs.at(name));
        // As after a deploy to three machines, one after the other.
        let folder = PAGES.iter().fold(Folder::new(), |folder, (name, length)| folder.file(name, "x".repeat(*length)));
        PAGES.iter().for_each(|(name, _)| folder.set_modified_secs(name, modified));
        let process = Member::process(port, admin, &folder, &log);
        Member { port, admin, folder, log, process }
    }

    fn process(port: u16, admin: u16, folder: &Folder, log: &PathBuf) -> Process {
        let mut command = binary();
        let admin = format!("127.0.0.1:{admin}");
        command.args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--admin", &admin, "--drain-delay", "4"]);
        command.args(["--proxy-protocol", "--trusted-proxy", "127.0.0.1", "--root"]).arg(folder.path());
        let log = File::options().create(true).append(true).open(log).expect("the log can be written");
        let mut process = Process::start(&mut command, log);
        process.listening();
        process
    }

    /// Waits until it is asked for something again.
    fn is_back(&self) {
        let (since, length) = (Instant::now(), self.logged().len());
        while self.logged().len() == length {
            assert!(since.elapsed() < LIMIT, "HAProxy does not send anybody there");
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn restart(&mut self) {
        self.process = Member::process(self.port, self.admin, &self.folder, &self.log);
        self.is_back();
    }

    fn logged(&self) -> Vec<String> {
        fs::read_to_string(&self.log).expect("there is a log").lines().map(str::to_owned).collect()
    }
}

/// HAProxy asks another server where one does not answer.
const RETRIES: &str = "retries 3\n option redispatch 1\n retry-on conn-failure empty-response response-timeout";

/// It does not, so that whatever a server does comes to its client.
const NO_RETRIES: &str = "retries 0";

/// HAProxy in front of these.
fn front(folder: &Folder, members: &[Member], retries: &str) -> (SocketAddr, Process) {
    let addr = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let servers: String = (members.iter().enumerate())
        .map(|(at, Member { port, admin, .. })| {
            format!(" server s{at} 127.0.0.1:{port} send-proxy-v2 check port {admin} inter 100ms fall 2 rise 1\n")
        })
        .collect();
    let config = format!(
        "defaults\n mode http\n timeout connect 5s\n timeout check 5s\n timeout client 60s\n timeout server 60s\n {retries}\n\
         listen front\n bind {addr}\n balance roundrobin\n option httpchk GET /health\n{servers}"
    );
    let folder = folder.at("haproxy.cfg");
    fs::write(&folder, config).expect("it can be written");
    let process = Process::start(Command::new("haproxy").args(["-db", "-f"]).arg(folder), Stdio::null());
    let since = Instant::now();
    while TcpStream::connect(addr).is_err() {
        assert!(since.elapsed() < LIMIT, "HAProxy does not listen");
        thread::sleep(Duration::from_millis(10));
    }
    (addr, process)
}

/// What all clients have seen.
#[derive(Default)]
struct Seen {
    answered: AtomicUsize,
    is_over: AtomicBool,
}

/// Asks until it is over; every answer has to be whole, and the tags those of the first. A failed request is a panic.
fn ask(client: usize, addr: SocketAddr, pages: &[(Page, String)], seen: &Seen) {
    let keeps = client.is_multiple_of(2);
    let mut connection = None;
    for ((name, length), tag) in pages.iter().cycle() {
        if seen.is_over.load(Ordering::Relaxed) {
            return;
        }
        let mut asked = connection.take().unwrap_or_else(|| Client::connect_from(CLIENTS[client], addr));
        let close = if keeps { "" } else { "Connection: close\r\n" };
        let response = asked.send(format!("GET /{name} HTTP/1.1\r\nHost: a\r\n{close}\r\n")).response().status(200);
        assert!(
            response.body.len() == *length && response.body.iter().all(|byte| *byte == b'x'),
            "{}",
            response.exchange
        );
        assert_eq!(response.field("ETag"), tag, "{}", response.exchange);
        seen.answered.fetch_add(1, Ordering::Relaxed);
        // HAProxy may end a client's connection too, and says so.
        connection = (keeps && response.all("Connection") != ["close"]).then_some(asked);
    }
}

/// Ends the asking, however this ends.
struct Over<'s>(&'s Seen);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.is_over.store(true, Ordering::Relaxed);
    }
}

/// Does this to three servers behind HAProxy while all clients ask; none of them may see a failure.
fn while_clients_ask(pages: &[Page], retries: &str, act: impl FnOnce(&mut [Member])) {
    let logs = Folder::new();
    let deployed = [("one", 1_700_000_000), ("two", 1_700_000_060), ("three", 1_700_000_120)];
    let mut members = deployed.map(|(name, modified)| Member::start(&logs, name, modified));
    let (addr, _haproxy) = front(&logs, &members, retries);
    let with_tag = |page: &Page| {
        let name = page.0;
        let request = format!("GET /{name} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        let response = Client::connect_from(CLIENTS[0], addr).send(request).response().status(200);
        (*page, response.field("ETag").to_owned())
    };
    let pages: Vec<_> = pages.iter().map(with_tag).collect();
    let seen = Seen::default();
    thread::scope(|scope| {
        let _over = Over(&seen);
        let clients: Vec<_> = (0..CLIENTS.len())
            .map(|client| {
                let (pages, seen) = (&pages, &seen);
                scope.spawn(move || ask(client, addr, pages, seen))
            })
            .collect();
        members.iter().for_each(Member::is_back);
        act(&mut members);
        let since = Instant::now();
        while seen.answered.load(Ordering::Relaxed) < REQUESTS {
            assert!(since.elapsed() < LIMIT, "the clients have stopped asking");
            thread::sleep(Duration::from_millis(10));
        }
        drop(_over);
        let failed: Vec<_> = clients.into_iter().filter_map(|client| client.join().err()).collect();
        assert!(failed.is_empty(), "{} of {} clients met a failure, told above", failed.len(), CLIENTS.len());
    });
    eprintln!("{} requests were answered", seen.answered.load(Ordering::Relaxed));
    for member in &members {
        for line in member.logged() {
            assert!(CLIENTS.iter().any(|client| line.starts_with(&format!("{client} - - ["))), "whose is that? {line}");
        }
    }
}

#[test]
#[ignore = "needs haproxy"]
fn servers_are_replaced_one_after_the_other_and_no_request_fails() {
    while_clients_ask(&PAGES, NO_RETRIES, |members| {
        for member in members {
            member.process.signal("TERM");
            let (status, said) = member.process.ended();
            assert_eq!(status.code(), Some(0), "{said:?}");
            member.restart();
        }
    });
}

#[test]
#[ignore = "needs haproxy"]
fn a_server_is_killed_and_the_balancer_makes_up_for_it() {
    // Nobody can make up for an answer that has begun.
    while_clients_ask(&PAGES[..2], RETRIES, |members| {
        for member in members {
            member.process.signal("KILL");
            member.process.ended();
            member.restart();
        }
    });
}
