//! Handover with --reuse-port: a new server listens beside the old one and serves every connection after the old one ends.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use parking_lot::Mutex;

use super::LARGE;
use crate::support::{Client, Folder, LIMIT, Process, binary, full_or_twentieth, serve, until};

pub const GET: &str = "GET /a.txt HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

/// The full number of times that a server is replaced.
pub const ROUNDS: usize = 100;

/// Clients at the same time, each with a new connection for each request.
const CLIENTS: usize = 4;

/// The failures that a handover permits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Permits {
    Nothing,
    /// A connection may be reset or refused before any byte of its response, as --reuse-port documents.
    Resets,
}

/// Clients that send requests all the time.
pub struct Load {
    addr: SocketAddr,
    permits: Permits,
    served: AtomicUsize,
    failed: Mutex<Vec<String>>,
    is_over: AtomicBool,
}

impl Load {
    /// Sends requests until the load is over, or one fails.
    fn run(&self) {
        while !self.is_over.load(Ordering::Relaxed) {
            match exchange(self.addr) {
                Ok(()) => drop(self.served.fetch_add(1, Ordering::Relaxed)),
                Err(error) if self.permits == Permits::Resets && is_reset(&error) => {}
                Err(error) => {
                    let failure = format!("after {} responses: {error}", self.served.load(Ordering::Relaxed));
                    return self.failed.lock().push(failure);
                }
            }
        }
    }

    /// Waits for `more` responses. No request may have failed.
    #[track_caller]
    pub fn goes_on(&self, more: usize) {
        let expected = self.served.load(Ordering::Relaxed) + more;
        until("the clients get responses", || {
            self.none_failed();
            self.served.load(Ordering::Relaxed) >= expected
        });
    }

    #[track_caller]
    fn none_failed(&self) {
        let failed = self.failed.lock();
        assert!(failed.is_empty(), "{failed:?}");
    }
}

fn is_reset(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::ConnectionRefused | ErrorKind::BrokenPipe)
}

/// Requests the file on a new connection. A reset within the response is no `ConnectionReset`.
fn exchange(addr: SocketAddr) -> std::io::Result<()> {
    let mut stream = TcpStream::connect_timeout(&addr, LIMIT)?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.write_all(GET.as_bytes())?;
    let mut response = Vec::new();
    let end = stream.read_to_end(&mut response);
    let is_whole = response.starts_with(b"HTTP/1.1 200 ") && response.ends_with(b"\r\n\r\na");
    match end {
        Ok(_) if is_whole => Ok(()),
        Err(error) if response.is_empty() => Err(error),
        end => Err(std::io::Error::other(format!("{end:?} after {:?}", String::from_utf8_lossy(&response)))),
    }
}

/// Ends the load when dropped.
struct Over<'l>(&'l AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Starts a server that shares its address with others.
fn reusing(folder: &Folder, port: u16, args: &[&str]) -> Process {
    let mut command = binary();
    command.args(["--reuse-port", "--bind", "127.0.0.1", "--port", &port.to_string(), "--root"]).arg(folder.path());
    Process::start(command.args(args), Stdio::null())
}

/// Runs `replace` while clients send requests.
pub fn under_load(addr: SocketAddr, permits: Permits, replace: impl FnOnce(&Load)) {
    let (served, failed, is_over) = (AtomicUsize::new(0), Mutex::default(), AtomicBool::new(false));
    let load = Load { addr, permits, served, failed, is_over };
    thread::scope(|scope| {
        // A failed assertion ends the clients too.
        let _over = Over(&load.is_over);
        (0..CLIENTS).for_each(|_| drop(scope.spawn(|| load.run())));
        load.goes_on(100);
        replace(&load);
        load.goes_on(100);
    });
    load.none_failed();
    eprintln!("{} requests were served", load.served.into_inner());
}

#[test]
fn reuse_port_server_takes_over_from_old_one() {
    let folder = Folder::new().file("a.txt", "a").file("large.bin", vec![b'x'; LARGE]);
    let mut old = reusing(&folder, 0, &["--grace", "600"]);
    let addr = old.listening();
    under_load(addr, Permits::Resets, |load| {
        for _ in 0..full_or_twentieth(ROUNDS) {
            // No other server listens yet, so the old one accepts it.
            let mut accepted = Client::connect(addr);
            accepted.send("GET /large.bin HTTP/1.1\r\nHost: localhost\r\n\r\n");
            accepted.stream().peek(&mut [0]).expect("the response begins");
            let mut new = reusing(&folder, addr.port(), &["--grace", "600"]);
            assert_eq!(new.listening(), addr);
            old.signal("TERM");
            assert_eq!(accepted.response().status(200).body.len(), LARGE);
            drop(accepted);
            let (status, said) = old.ended();
            assert_eq!(status.code(), Some(0), "{said:?}");
            old = new;
            (0..100).for_each(|_| exchange(addr).expect("the new server serves every connection"));
            load.goes_on(100);
        }
    });
}

/// TCP_DEFER_ACCEPT withholds such a connection from the old server until its first byte, or for a second. When the socket is
/// closed the kernel drops it, and resets it at its first byte.
#[test]
fn silent_connection_is_reset_after_takeover() {
    let folder = Folder::new().file("a.txt", "a");
    let mut old = reusing(&folder, 0, &["-v"]);
    let addr = old.listening();
    let mut silent: Vec<_> = (0..10).map(|_| Client::connect(addr)).collect();
    old.signal("TERM");
    let (status, said) = old.ended();
    assert_eq!(status.code(), Some(0), "{said:?}");
    silent.iter_mut().for_each(|client| client.send(GET).closed());
}

#[test]
fn address_is_in_use_without_reuse_port() {
    let folder = Folder::new();
    let first = serve(&folder).start();
    let (status, said) = reusing(&folder, first.addr.port(), &[]).ended();
    assert_eq!(status.code(), Some(1), "{said:?}");
    assert!(said[0].contains("is in use"), "{said:?}");
    let second = serve(&folder).env("SERVE_REUSE_PORT", "1").start();
    assert_eq!(reusing(&folder, second.addr.port(), &[]).listening(), second.addr);
}

#[test]
fn new_server_serves_health_after_takeover() {
    let folder = Folder::new().file("large.bin", vec![b'x'; 64 << 20]);
    let mut old = reusing(&folder, 0, &["--admin", "127.0.0.1:0", "--grace", "600"]);
    let (addr, admin) = (old.listening(), admin_of(&mut old));
    let mut busy = Client::connect(addr);
    busy.send("GET /large.bin HTTP/1.1\r\nHost: localhost\r\n\r\n");
    busy.stream().peek(&mut [0]).expect("the response begins");
    let mut new = reusing(&folder, addr.port(), &["--admin", &admin.to_string()]);
    assert_eq!((new.listening(), admin_of(&mut new)), (addr, admin));
    old.signal("TERM");
    until("the old server listens no more", || !old.proc().listens());
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
