//! One server takes the place of another, and no client notices: each on a socket of its own at the same address, or one
//! after the other on a socket that outlives them.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::{BINARY, Client, Folder, Process, binary, full_or_twentieth, serve, until, without_settings};

const GET: &str = "GET /a.txt HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

/// No client waits longer than this.
const LIMIT: Duration = Duration::from_secs(30);

/// How long who was just answered may still ask.
const MOMENT: Duration = Duration::from_millis(500);

/// How long who has just come, and said nothing yet, may still ask where nobody else listens.
const PARTING: Duration = Duration::from_millis(200);

/// How many clients ask at the same time, each on a new connection for each request.
const CLIENTS: usize = 4;

/// Clients that ask all the time.
struct Load {
    addr: SocketAddr,
    answered: AtomicUsize,
    failed: Mutex<Vec<String>>,
    is_over: AtomicBool,
}

impl Load {
    /// Asks until it is over, or a request fails.
    fn ask(&self) {
        while !self.is_over.load(Ordering::Relaxed) {
            if let Err(error) = exchange(self.addr) {
                let failure = format!("after {} responses: {error}", self.answered.load(Ordering::Relaxed));
                return self.failed.lock().expect("nobody panics").push(failure);
            }
            self.answered.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits until so many more requests are answered. None may have failed.
    #[track_caller]
    fn goes_on(&self, more: usize) {
        let wanted = self.answered.load(Ordering::Relaxed) + more;
        until("the clients are answered", || {
            self.none_failed();
            self.answered.load(Ordering::Relaxed) >= wanted
        });
    }

    #[track_caller]
    fn none_failed(&self) {
        let failed = self.failed.lock().expect("nobody panics").clone();
        assert!(failed.is_empty(), "{failed:?}");
    }
}

fn exchange(addr: SocketAddr) -> std::io::Result<()> {
    let mut stream = TcpStream::connect_timeout(&addr, LIMIT)?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.write_all(GET.as_bytes())?;
    let mut response = Vec::new();
    stream.read_to_end(&mut response)?;
    if is_whole(&response) {
        Ok(())
    } else {
        Err(std::io::Error::other(String::from_utf8_lossy(&response).into_owned()))
    }
}

/// Reports whether this is all of an answer with the file.
fn is_whole(response: &[u8]) -> bool {
    response.starts_with(b"HTTP/1.1 200 ") && response.ends_with(b"\r\n\r\na")
}

/// Ends the load.
struct Over<'l>(&'l AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A server that lets others listen where it does.
fn reusing(folder: &Folder, port: u16, args: &[&str]) -> Process {
    let mut command = binary();
    command.args(["--reuse-port", "--bind", "127.0.0.1", "--port", &port.to_string(), "--root"]).arg(folder.path());
    Process::start(command.args(args), Stdio::null())
}

/// Does this while clients ask; none of them may fail. Returns how many requests were answered.
fn under_load(addr: SocketAddr, replace: impl FnOnce(&Load)) -> usize {
    let (answered, failed, is_over) = (AtomicUsize::new(0), Mutex::default(), AtomicBool::new(false));
    let load = Load { addr, answered, failed, is_over };
    thread::scope(|scope| {
        // They end too where the rest fails.
        let _over = Over(&load.is_over);
        (0..CLIENTS).for_each(|_| drop(scope.spawn(|| load.ask())));
        load.goes_on(100);
        replace(&load);
        load.goes_on(100);
    });
    load.none_failed();
    load.answered.into_inner()
}

/// The full number of times that a server is replaced.
const ROUNDS: usize = 100;

#[test]
fn with_reuse_port_a_new_server_takes_over_before_the_old_one_ends_and_nobody_fails() {
    let folder = Folder::new().file("a.txt", "a");
    let mut old = reusing(&folder, 0, &[]);
    let addr = old.listening();
    let answered = under_load(addr, |load| {
        for _ in 0..full_or_twentieth(ROUNDS) {
            let mut new = reusing(&folder, addr.port(), &[]);
            assert_eq!(new.listening(), addr);
            old.signal("TERM");
            let (status, said) = old.ended();
            assert_eq!(status.code(), Some(0), "{said:?}");
            old = new;
            load.goes_on(100);
        }
    });
    eprintln!("{answered} requests were answered");
}

/// Who has just come, or was just answered, has a moment, which on a machine that does much else may be over before it asks.
/// So it is a failure if who asks in time is not answered, and where somebody asks later it is tried again.
#[test]
fn who_has_connected_just_before_a_server_stops_is_answered() {
    let folder = Folder::new().file("a.txt", "a");
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(60) {
        let mut server = serve(&folder).arg("-v").start();
        let pid = Pid::from_raw(server.pid().cast_signed()).expect("it has one");
        let since = Instant::now();
        let (mut silent, mut kept) = (server.connect(), server.connect());
        kept.still_open();
        kill_process(pid, Signal::TERM).expect("it runs");
        server.said(|line| line.contains("accepted at once"));
        let Ok(late) = TcpStream::connect(server.addr) else { continue };
        let mut late = Client::new(late);
        silent.send(GET);
        let is_early = since.elapsed() < PARTING;
        until("it listens no more", || !server.proc().listens());
        kept.send(GET);
        late.send(GET);
        let is_soon = since.elapsed() < MOMENT;
        let in_time = [(silent, is_early), (kept, is_soon), (late, is_early && is_soon)];
        if in_time.map(|(client, in_time)| is_answered(client, in_time)) == [true; 3] {
            assert_eq!(server.ended().code(), Some(0));
            return;
        }
    }
    panic!("never were all answered, though perhaps this machine is too slow to tell");
}

/// Reports whether a client is answered, and for the last time; who has asked in time has to be.
fn is_answered(mut client: Client, in_time: bool) -> bool {
    let response = client.rest();
    let (is_whole, text) = (is_whole(&response), String::from_utf8_lossy(&response));
    assert!(is_whole || !in_time, "it asked in time and was told {text:?}");
    assert!(!is_whole || text.contains("\r\nConnection: close\r\n"), "{text}");
    is_whole
}

/// The old server knows nothing of them until they ask, or for a second.
#[test]
fn with_reuse_port_who_has_connected_and_says_nothing_is_not_forgotten() {
    let folder = Folder::new().file("a.txt", "a");
    let mut old = reusing(&folder, 0, &["-v"]);
    let addr = old.listening();
    let mut silent: Vec<_> = (0..10).map(|_| Client::connect(addr)).collect();
    old.signal("TERM");
    silent.iter_mut().for_each(Client::closed);
    let (status, said) = old.ended();
    assert_eq!(status.code(), Some(0), "{said:?}");
}

#[test]
fn without_reuse_port_nobody_else_may_listen_at_the_address() {
    let folder = Folder::new();
    let first = serve(&folder).start();
    let (status, said) = reusing(&folder, first.addr.port(), &[]).ended();
    assert_eq!(status.code(), Some(1), "{said:?}");
    assert!(said[0].contains("is in use"), "{said:?}");
    let second = serve(&folder).env("SERVE_REUSE_PORT", "1").start();
    assert_eq!(reusing(&folder, second.addr.port(), &[]).listening(), second.addr);
}

#[test]
fn with_reuse_port_health_is_told_by_who_takes_over() {
    let folder = Folder::new().file("large.bin", vec![b'x'; 64 << 20]);
    let mut old = reusing(&folder, 0, &["--admin", "127.0.0.1:0", "--grace", "600"]);
    let (addr, admin) = (old.listening(), admin_of(&mut old));
    let mut busy = Client::connect(addr);
    busy.send("GET /large.bin HTTP/1.1\r\nHost: localhost\r\n\r\n");
    busy.stream().peek(&mut [0]).expect("the response begins");
    let mut new = reusing(&folder, addr.port(), &["--admin", &admin.to_string()]);
    assert_eq!((new.listening(), admin_of(&mut new)), (addr, admin));
    old.signal("TERM");
    until("the old one listens no more", || !old.proc().listens());
    for _ in 0..20 {
        let health = "GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        Client::connect(admin).send(health).response().status(200);
    }
    busy.response().status(200);
}

fn admin_of(server: &mut Process) -> SocketAddr {
    let line = server.next_line();
    line["admin on http://".len()..].parse().unwrap_or_else(|_| panic!("no address: {line}"))
}

/// A server that is given one or two sockets with these names, as by systemd, and these arguments.
///
/// The shell knows the number of the process that it becomes. The sockets come to it as its standard streams, because any
/// other descriptor would come to the servers of other tests too.
fn activated(folder: &Folder, sockets: &[&dyn AsFd], names: &str, args: &[&str]) -> Command {
    let copy = |at: usize| sockets.get(at).map(|socket| socket.as_fd().try_clone_to_owned().expect("a descriptor"));
    let to_stdio = |copy: Option<OwnedFd>| copy.map_or_else(Stdio::null, Stdio::from);
    let second = if sockets.len() > 1 { "4<&1" } else { "" };
    let script = format!("exec 3<&0 {second} </dev/null >/dev/null; LISTEN_PID=$$ exec \"$0\" \"$@\"");
    let mut command = without_settings(Command::new("sh"));
    command.args(["-c", &script, BINARY, "--root"]).arg(folder.path()).args(args);
    command.env("LISTEN_FDS", sockets.len().to_string()).env("LISTEN_FDNAMES", names);
    command.stdin(to_stdio(copy(0))).stdout(to_stdio(copy(1)));
    command
}

#[test]
fn on_a_socket_that_was_passed_one_server_follows_another_and_nobody_fails() {
    let folder = Folder::new().file("a.txt", "a");
    let socket = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let addr = socket.local_addr().expect("bound");
    let start = || {
        let mut server = Process::start_on(&mut activated(&folder, &[&socket], "http", &[]));
        assert_eq!(server.listening(), addr);
        server
    };
    let mut server = start();
    let answered = under_load(addr, |load| {
        for at in 0..full_or_twentieth(ROUNDS) {
            // Who connects while there is no server waits for the next one; and two at a time take turns.
            let early = (at % 2 == 1).then(start);
            server.signal("TERM");
            let (status, said) = server.ended();
            assert_eq!(status.code(), Some(0), "{said:?}");
            server = early.unwrap_or_else(start);
            load.goes_on(100);
        }
    });
    eprintln!("{answered} requests were answered");
}

#[test]
fn sockets_that_were_passed_are_taken_by_their_names_and_the_rest_is_bound() {
    let folder = Folder::new().file("a.txt", "a");
    let (site, admin) = (TcpListener::bind("127.0.0.1:0").expect("free"), TcpListener::bind("[::1]:0").expect("free"));
    let [site_addr, admin_addr] = [&site, &admin].map(|socket| socket.local_addr().expect("bound"));
    let health = "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let mut server = Process::start_on(&mut activated(&folder, &[&admin, &site], "admin:http", &[]));
    assert_eq!(server.listening(), site_addr);
    assert_eq!(server.next_line(), format!("admin on http://{admin_addr}"));
    while server.next_line() != "these sockets were passed to it (LISTEN_FDS); --bind and --port are not used" {}
    Client::connect(site_addr).send(GET).response().status(200);
    Client::connect(admin_addr).send(health).response().status(200);
    drop(server);
    let args = ["--bind", "127.0.0.1", "--port", "0"];
    let mut server = Process::start_on(&mut activated(&folder, &[&admin], "admin", &args));
    let bound = server.listening();
    assert_ne!(bound, site_addr);
    Client::connect(bound).send(GET).response().status(200);
    Client::connect(admin_addr).send(health).response().status(200);
}

#[test]
fn with_tls_a_socket_that_is_named_so_redirects() {
    let folder = Folder::new();
    let (site, plain) =
        (TcpListener::bind("127.0.0.1:0").expect("free"), TcpListener::bind("127.0.0.1:0").expect("free"));
    let [site_addr, plain_addr] = [&site, &plain].map(|socket| socket.local_addr().expect("bound"));
    let mut command = activated(&folder, &[&plain, &site], "redirect:https", &["--tls-self-signed"]);
    let mut server = Process::start_on(&mut command);
    assert_eq!(server.next_line(), format!("listening on https://{site_addr}"));
    assert_eq!(server.next_line(), format!("redirecting on http://{plain_addr}"));
    let target = format!("https://localhost:{}/a.txt", site_addr.port());
    Client::connect(plain_addr).send(GET).response().status(308).has("Location", &target);
}

#[test]
fn a_stopping_server_redirects_nobody_who_comes() {
    let folder = Folder::new();
    let mut command = binary();
    command.args([
        "--bind",
        "127.0.0.1",
        "--port",
        "0",
        "--tls-self-signed",
        "--https-redirect",
        "0",
        "--grace",
        "600",
    ]);
    let mut server = Process::start(command.arg("--root").arg(folder.path()), Stdio::null());
    server.next_line();
    let line = server.next_line();
    let addr: SocketAddr =
        line["redirecting on http://".len()..].parse().unwrap_or_else(|_| panic!("no address: {line}"));
    let mut typing = Client::connect(addr);
    typing.send("GET /a.txt HTTP/1.1\r\nHost: localhost\r\n\r\nGET /a.txt HTTP/1.1\r\n").response().status(308);
    server.signal("TERM");
    until("it listens no more", || !server.proc().listens());
    typing.send("Host: localhost\r\n\r\n").response().status(308).has("Connection", "close");
    drop(typing);
    assert_eq!(server.ended().0.code(), Some(0));
}

#[test]
fn what_was_passed_and_is_no_listening_tcp_socket_is_refused_with_what_to_do() {
    let folder = Folder::new();
    let tcp = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let client = TcpStream::connect(tcp.local_addr().expect("bound")).expect("it listens");
    let unix = UnixListener::bind(folder.at("socket")).expect("it can be bound");
    let udp = std::net::UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let file = std::fs::File::open(folder.path()).expect("it is there");
    let refused: [&dyn AsFd; 4] = [&client, &unix, &udp, &file];
    for socket in refused {
        refuses(
            activated(&folder, &[&tcp, socket], "a:b", &[]),
            "LISTEN_FDS: descriptor 4 is no TCP socket that listens: ",
        );
    }
    refuses(activated(&folder, &[&tcp], "a:b", &[]), "LISTEN_FDNAMES: 1 sockets were passed, with 2 names");
    for bad in ["many", "65", "-1", "18446744073709551615"] {
        let mut command = activated(&folder, &[&tcp], "a", &[]);
        command.env("LISTEN_FDS", bad);
        refuses(command, &format!("LISTEN_FDS: sockets are a number from 0 to 64, not {bad:?}"));
    }
}

#[track_caller]
fn refuses(mut command: Command, line: &str) {
    let (status, said) = Process::start_on(&mut command).ended();
    assert_eq!(status.code(), Some(1), "{said:?}");
    assert!(said.len() == 1 && said[0].starts_with(&format!("serve: {line}")), "{said:?}");
}

#[test]
fn sockets_that_were_passed_to_another_process_are_left_alone() {
    let folder = Folder::new().file("a.txt", "a");
    let server = serve(&folder).env("LISTEN_PID", "1").env("LISTEN_FDS", "1").start();
    server.get("/a.txt").status(200);
}
