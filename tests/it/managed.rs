//! What whoever manages the process is told, as by systemd's protocol.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::{Duration, Instant};

use crate::support::{Folder, Server, serve, until};

/// A manager that listens.
struct Manager {
    socket: UnixDatagram,
    name: String,
}

impl Manager {
    fn at(name: String) -> Manager {
        let addr = match name.strip_prefix('@') {
            Some(name) => SocketAddr::from_abstract_name(name),
            None => SocketAddr::from_pathname(&name),
        };
        let socket = UnixDatagram::bind_addr(&addr.expect("a name")).expect("it can be bound");
        socket.set_read_timeout(Some(Duration::from_secs(30))).expect("the option can be set");
        Manager { socket, name }
    }

    /// What it is told next.
    fn hears(&self) -> String {
        let mut message = [0; 1000];
        let length = self.socket.recv(&mut message).expect("something is told");
        String::from_utf8_lossy(&message[..length]).into_owned()
    }

    fn starts(&self, folder: &Folder, env: &[(&str, &str)]) -> Server {
        let starter = serve(folder).args(&["--drain-delay", "1", "--grace", "7"]).env("NOTIFY_SOCKET", &self.name);
        env.iter().fold(starter, |starter, (name, value)| starter.env(name, value)).start()
    }
}

#[test]
fn a_manager_is_told_when_it_is_ready_and_when_it_stops_although_it_is_confined_then() {
    let (folder, place) = (Folder::new().file("a.txt", "a"), Folder::new());
    let path = place.at("notify").display().to_string();
    for name in [path, format!("@serve-test-{}", std::process::id())] {
        let manager = Manager::at(name);
        let mut server = manager.starts(&folder, &[]);
        assert_eq!(manager.hears(), "READY=1\nSTATUS=serving");
        server.get("/a.txt").status(200);
        server.signal("TERM");
        assert_eq!(manager.hears(), "STOPPING=1\nSTATUS=draining\nEXTEND_TIMEOUT_USEC=13000000");
        assert_eq!(server.ended().code(), Some(0));
    }
}

#[test]
fn a_manager_that_wants_to_know_is_told_that_the_server_is_alive_and_only_then() {
    let folder = Folder::new();
    let manager = Manager::at(format!("@serve-test-watchdog-{}", std::process::id()));
    let server = manager.starts(&folder, &[("WATCHDOG_USEC", "200000")]);
    // It may be alive before it is ready, and on a slow machine long before.
    let (since, mut readies, mut beats) = (Instant::now(), 0, 0);
    while readies == 0 || beats < 5 {
        assert!(since.elapsed() < Duration::from_secs(30), "{readies} times it was ready, {beats} times alive");
        match manager.hears().as_str() {
            "READY=1\nSTATUS=serving" => readies += 1,
            "WATCHDOG=1" => beats += 1,
            other => panic!("what is {other:?}?"),
        }
    }
    server.signal("STOP");
    until("every thread is stopped", || server.proc().is_all('T'));
    manager.socket.set_nonblocking(true).expect("the option can be set");
    while manager.socket.recv(&mut [0; 100]).is_ok() {}
    manager.socket.set_nonblocking(false).expect("the option can be set");
    manager.socket.set_read_timeout(Some(Duration::from_secs(1))).expect("the option can be set");
    manager.socket.recv(&mut [0; 100]).expect_err("who stands still does not say that it is alive");
}

#[test]
fn a_watchdog_of_another_process_is_not_told_anything() {
    let folder = Folder::new();
    let manager = Manager::at(format!("@serve-test-other-{}", std::process::id()));
    let _server = manager.starts(&folder, &[("WATCHDOG_USEC", "200000"), ("WATCHDOG_PID", "1")]);
    assert_eq!(manager.hears(), "READY=1\nSTATUS=serving");
    manager.socket.set_read_timeout(Some(Duration::from_secs(1))).expect("the option can be set");
    manager.socket.recv(&mut [0; 100]).expect_err("nothing more is due");
}

#[test]
fn a_manager_that_is_not_there_is_named() {
    let output = crate::support::run(&["--port", "0"], &[("NOTIFY_SOCKET", "/nowhere/notify")]);
    assert_eq!(output.status.code(), Some(1));
    let wanted = "serve: NOTIFY_SOCKET: nobody listens at /nowhere/notify: No such file or directory (os error 2)\n";
    assert_eq!(output.stderr, wanted);
}
