//! Socket activation (LISTEN_FDS): inherited sockets, and their handover from one server to the next.

use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::process::{Command, Stdio};

use super::handover::{GET, Permits, ROUNDS, under_load};
use crate::support::{BINARY, Client, Folder, Process, full_or_twentieth, serve, without_settings};

/// Returns a command for a server that inherits one or two sockets with these names, as from systemd.
///
/// The shell has the process id that the server will have. The sockets are its standard streams, because any other
/// descriptor would be inherited by the servers of other tests too.
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
fn inherited_socket_handover_loses_no_request() {
    let folder = Folder::new().file("a.txt", "a");
    let socket = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let addr = socket.local_addr().expect("bound");
    let start = || {
        let mut server = Process::start_on(&mut activated(&folder, &[&socket], "http", &[]));
        assert_eq!(server.listening(), addr);
        server
    };
    let mut server = start();
    under_load(addr, Permits::Nothing, |load| {
        for at in 0..full_or_twentieth(ROUNDS) {
            // The socket keeps connections while no server runs; two servers share them.
            let early = (at % 2 == 1).then(start);
            server.signal("TERM");
            let (status, said) = server.ended();
            assert_eq!(status.code(), Some(0), "{said:?}");
            server = early.unwrap_or_else(start);
            load.goes_on(100);
        }
    });
}

#[test]
fn inherited_sockets_are_assigned_by_name() {
    let folder = Folder::new().file("a.txt", "a");
    let (site, admin) = (TcpListener::bind("127.0.0.1:0").expect("free"), TcpListener::bind("[::1]:0").expect("free"));
    let [site_addr, admin_addr] = [&site, &admin].map(|socket| socket.local_addr().expect("bound"));
    let health = "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let mut server = Process::start_on(&mut activated(&folder, &[&admin, &site], "admin:http", &[]));
    assert_eq!(server.listening(), site_addr);
    assert_eq!(server.next_line(), format!("admin on http://{admin_addr}"));
    while server.next_line() != "its sockets are inherited (LISTEN_FDS); --bind and --port are ignored" {}
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
fn inherited_redirect_socket_redirects_to_https() {
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
fn inherited_descriptor_must_be_tcp_listener() {
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
            "LISTEN_FDS: descriptor 4 is no listening TCP socket: ",
        );
    }
    refuses(activated(&folder, &[&tcp], "a:b", &[]), "LISTEN_FDNAMES: expected 1 names, got 2");
    for bad in ["many", "65", "-1", "18446744073709551615"] {
        let mut command = activated(&folder, &[&tcp], "a", &[]);
        command.env("LISTEN_FDS", bad);
        refuses(command, &format!("LISTEN_FDS: expected a number from 0 to 64, got {bad:?}"));
    }
}

#[track_caller]
fn refuses(mut command: Command, line: &str) {
    let (status, said) = Process::start_on(&mut command).ended();
    assert_eq!(status.code(), Some(1), "{said:?}");
    assert!(said.len() == 1 && said[0].starts_with(&format!("serve: {line}")), "{said:?}");
}

#[test]
fn sockets_of_another_process_are_ignored() {
    let folder = Folder::new().file("a.txt", "a");
    let server = serve(&folder).env("LISTEN_PID", "1").env("LISTEN_FDS", "1").start();
    server.get("/a.txt").status(200);
}
