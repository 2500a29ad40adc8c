//! Where the server listens, and what it says about it once it is ready.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::process::{Command, Stdio};

use crate::support::{Client, Folder, Process, binary, free_port};

#[test]
fn the_first_line_says_where_it_listens_and_it_does() {
    let folder = page();
    let mut server = started(server(&folder).args(["--bind", "127.0.0.1"]));
    let line = server.next_line();
    let address = line.strip_prefix("listening on http://").unwrap_or_else(|| panic!("not ready: {line}"));
    responses(address.parse().unwrap_or_else(|_| panic!("no address: {line}")));
}

#[test]
fn a_url_to_click_follows_and_answers() {
    let folder = page();
    let mut server = started(server(&folder).args(["--bind", "127.0.0.1"]));
    let addr = server.listening();
    let line = server.next_line();
    assert!(line.starts_with("  http://"), "{line}");
    assert!(line.ends_with(&format!(":{}/", addr.port())), "{line}");
}

#[test]
fn the_urls_to_click_include_localhost() {
    let folder = page();
    let mut server = started(&mut server(&folder));
    let port = server.listening().port();
    let wanted = format!("  http://localhost:{port}/");
    while server.next_line() != wanted {}
}

#[test]
fn port_0_picks_a_free_port() {
    let folder = page();
    let (mut one, mut two) = (started(&mut server(&folder)), started(&mut server(&folder)));
    let (one, two) = (one.listening(), two.listening());
    assert!(one.port() != 0 && two.port() != 0 && one.port() != two.port(), "{one} {two}");
}

#[test]
fn a_port_can_be_listened_on_again_as_soon_as_the_server_has_ended() {
    let folder = page();
    let port = free_port().to_string();
    for _ in 0..3 {
        let mut server = started(binary().args(["--bind", "127.0.0.1", "--port", &port, "--root"]).arg(folder.path()));
        // The server closes first, so the system remembers this connection for a minute.
        responses(server.listening());
        server.signal("TERM");
        server.ended();
    }
}

#[test]
fn all_addresses_are_reached_unless_told_otherwise() {
    let folder = page();
    let mut server = started(&mut server(&folder));
    let first = server.listening();
    assert_eq!(first.ip(), IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    responses((Ipv4Addr::LOCALHOST, first.port()).into());
    if TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_err() {
        eprintln!("this machine has no IPv6");
        return;
    }
    let second = server.listening();
    assert_eq!(second, (Ipv6Addr::UNSPECIFIED, first.port()).into());
    responses((Ipv6Addr::LOCALHOST, first.port()).into());
}

#[test]
fn bind_limits_the_server_to_that_address() {
    let folder = page();
    let mut server = started(server(&folder).args(["--bind", "127.0.0.1"]));
    let port = server.listening().port();
    responses((Ipv4Addr::LOCALHOST, port).into());
    std::net::TcpStream::connect(("127.0.0.2", port)).expect_err("nothing listens on the other address");
}

#[test]
fn bind_can_be_repeated() {
    let folder = page();
    let mut server = started(server(&folder).args(["-b", "127.0.0.2", "--bind", "127.0.0.3"]));
    both_answer(&mut server);
}

#[test]
fn several_addresses_can_come_from_the_environment() {
    let folder = page();
    let mut server = started(server(&folder).env("SERVE_BIND", "127.0.0.2,127.0.0.3"));
    both_answer(&mut server);
}

#[test]
fn a_bind_flag_beats_its_variable() {
    let folder = page();
    let mut server = started(server(&folder).args(["--bind", "127.0.0.2"]).env("SERVE_BIND", "127.0.0.3"));
    let addr = server.listening();
    assert_eq!(addr.ip().to_string(), "127.0.0.2");
    responses(addr);
}

#[test]
fn an_ipv6_address_is_bound_and_shown_in_brackets() {
    if TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_err() {
        eprintln!("this machine has no IPv6");
        return;
    }
    let folder = page();
    let mut server = started(server(&folder).args(["--bind", "::1"]));
    let line = server.next_line();
    assert!(line.starts_with("listening on http://[::1]:"), "{line}");
    responses(line["listening on http://".len()..].parse().expect("the line ends in an address"));
}

#[test]
fn quiet_says_only_where_it_listens() {
    let folder = page();
    for (args, variable) in [(vec!["-q"], None), (vec!["--quiet"], None), (Vec::new(), Some("true"))] {
        let mut command = server(&folder);
        command.args(["--bind", "127.0.0.1"]).args(&args);
        if let Some(value) = variable {
            command.env("SERVE_QUIET", value);
        }
        let mut server = Process::start(&mut command, Stdio::piped());
        responses(server.listening());
        server.signal("TERM");
        let (_, lines) = server.ended();
        assert_eq!(lines.len(), 1, "{args:?} {variable:?}:\n{}", lines.join("\n"));
        let log = std::io::read_to_string(server.stdout()).expect("the output is text");
        assert!(log.is_empty(), "{args:?} {variable:?}: there is an access log:\n{log}");
    }
}

fn page() -> Folder {
    Folder::new().file("a.txt", "the root")
}

fn server(folder: &Folder) -> Command {
    let mut command = binary();
    command.args(["--port", "0", "--root"]).arg(folder.path());
    command
}

fn started(command: &mut Command) -> Process {
    Process::start(command, Stdio::null())
}

#[track_caller]
fn responses(addr: SocketAddr) {
    let request = "GET /a.txt HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    Client::connect(addr).send(request).response().status(200).body("the root");
}

#[track_caller]
fn both_answer(server: &mut Process) {
    let (one, two) = (server.listening(), server.listening());
    assert_eq!([one.ip().to_string(), two.ip().to_string()], ["127.0.0.2", "127.0.0.3"]);
    responses(one);
    responses(two);
}
