//! Behind a real proxy: HAProxy, in front of the real binary.

use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::{Client, Folder, GET, Process, Server, Starter, free_port, serve, site};

/// The client's address. HAProxy's own is 127.0.0.1.
const CLIENT: &str = "127.0.0.3";

/// A HAProxy in front of a server.
struct Front {
    addr: SocketAddr,
    _process: Process,
    _folder: Folder,
}

impl Front {
    /// Starts it in this mode, with these options behind the server's address.
    fn start(server: &Server, mode: &str, options: &str) -> Front {
        let addr = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let config = format!(
            "defaults\n mode {mode}\n timeout connect 30s\n timeout client 30s\n timeout server 30s\n\
             listen front\n bind {addr}\n server back {} {options}\n",
            server.addr
        );
        let folder = Folder::new().file("haproxy.cfg", config);
        let process =
            Process::start(Command::new("haproxy").arg("-db").arg("-f").arg(folder.at("haproxy.cfg")), Stdio::null());
        let since = Instant::now();
        while TcpStream::connect(addr).is_err() {
            assert!(since.elapsed() < Duration::from_secs(30), "HAProxy does not listen");
            thread::sleep(Duration::from_millis(10));
        }
        Front { addr, _process: process, _folder: folder }
    }

    fn connect(&self) -> Client {
        Client::connect_from(CLIENT, self.addr)
    }
}

fn believing(folder: &Folder) -> Starter {
    serve(folder).args(&["--trusted-proxy", "127.0.0.1"])
}

#[test]
#[ignore = "needs haproxy"]
fn haproxy_names_the_client_in_proxy_headers() {
    let folder = site();
    for options in ["send-proxy", "send-proxy-v2", "send-proxy-v2 proxy-v2-options crc32c,unique-id,authority"] {
        for mode in ["tcp", "http"] {
            let server = believing(&folder).arg("--proxy-protocol").start();
            let front = Front::start(&server, mode, options);
            let mut client = front.connect();
            client.send(GET).response().status(200).body("a page\n");
            client.send(GET).response().status(200).body("a page\n");
            server.logged(|line| line.starts_with("127.0.0.3 - - [") && line.contains(" 200 7"));
        }
    }
}

#[test]
#[ignore = "needs haproxy"]
fn haproxy_sees_with_a_header_whether_the_server_is_well() {
    let folder = site();
    for options in ["send-proxy", "send-proxy-v2"] {
        let server = believing(&folder).arg("--proxy-protocol").start();
        let options = format!("{options} check inter 50ms\n option httpchk GET /page.txt?well");
        let front = Front::start(&server, "http", &options);
        server.logged(|line| line.starts_with("127.0.0.1 - - [") && line.contains("?well ") && line.contains(" 200 7"));
        front.connect().send(GET).response().status(200);
        server.logged(|line| line.starts_with("127.0.0.3 - - ["));
    }
}

#[test]
#[ignore = "needs haproxy"]
fn clients_of_haproxy_count_for_the_limit_per_address() {
    let folder = site();
    let server = believing(&folder).args(&["--proxy-protocol", "--max-per-ip", "1"]).start();
    let front = Front::start(&server, "tcp", "send-proxy-v2");
    let mut first = front.connect();
    first.send(GET).response().status(200);
    server.rests();
    front.connect().send(GET).response().status(503).says("from this address");
    Client::connect_from("127.0.0.4", front.addr).send(GET).response().status(200);
    first.closed();
}

#[test]
#[ignore = "needs haproxy"]
fn haproxy_names_the_client_in_a_field_and_who_forges_one_is_not_believed() {
    let folder = site();
    let server = believing(&folder).start();
    let front = Front::start(&server, "http", "\n option forwardfor");
    for fields in ["", "X-Forwarded-For: 192.0.2.9\r\n", "X-Forwarded-For: 192.0.2.9, garbage\r\n"] {
        let target = format!("/page.txt?{}", fields.len());
        front.connect().send(format!("GET {target} HTTP/1.1\r\nHost: a\r\n{fields}\r\n")).response().status(200);
        let line = server.logged(|line| line.contains(&target));
        assert!(line.starts_with("127.0.0.3 - - ["), "{line}");
    }
    front.connect().send("GET /page.txt?both HTTP/1.1\r\nHost: a\r\nForwarded: for=192.0.2.9\r\n\r\n").response();
    let line = server.logged(|line| line.contains("?both "));
    assert!(line.starts_with("127.0.0.1 - - ["), "{line}");
}

#[test]
#[ignore = "needs haproxy"]
fn haproxy_that_sends_no_header_is_told_so() {
    let folder = site();
    let server = believing(&folder).arg("--proxy-protocol").start();
    let front = Front::start(&server, "tcp", "");
    front.connect().send(GET).response().status(400).says("There is no PROXY header");
}
