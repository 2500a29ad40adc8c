//! PROXY headers and forwarded fields: the client's address in the logs and in the per-IP limit.

use std::io::ErrorKind;
use std::time::Duration;

use super::support::{Client, Folder, Server, Starter, serve};

const GET: &str = "GET /page.txt HTTP/1.1\r\nHost: localhost\r\n\r\n";

const V1: &[u8] = b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 80\r\n";

/// The beginning of a header of version 2.
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// A header of version 2 that names 192.0.2.7.
const V2_TCP4: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x07\xc6\x33\x64\x01\xdc\x04\0\x50";

/// A header of version 2 in which the proxy speaks for itself.
const V2_LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

fn site() -> Folder {
    Folder::new().file("page.txt", "a page\n")
}

/// Trusts 127.0.0.1, and the addresses of two more proxies.
fn believing(folder: &Folder) -> Starter {
    serve(folder).args(&["--trusted-proxy", "127.0.0.1,10.0.0.0/8", "--trusted-proxy", "2001:db8:ffff::/48"])
}

fn behind_proxy(folder: &Folder) -> Starter {
    believing(folder).arg("--proxy-protocol")
}

/// A client whose connection begins with these bytes and a request, and got the page.
#[track_caller]
fn served(server: &Server, header: &[u8]) -> Client {
    let mut client = server.connect();
    client.send([header, GET.as_bytes()].concat()).response().status(200).body("a page\n");
    client
}

/// Asserts that the only line of the log begins with this address.
#[track_caller]
fn logged_from(server: &Server, ip: &str) {
    let line = server.logged(|_| true);
    assert!(line.starts_with(&format!("{ip} - - [")), "not from {ip}: {line}");
}

/// Asserts that the connection closes without a response.
#[track_caller]
fn ended_in_silence(server: &Server, bytes: &[u8]) {
    server.connect().send(bytes).closed();
    served(server, V1);
}

#[test]
fn client_of_a_proxy_header_is_logged() {
    let folder = site();
    let longer: Vec<u8> =
        [V2, b"\x21\x11\0\x14\xc0\0\x02\x07\xc6\x33\x64\x01\xdc\x04\0\x50\x03\0\x04abcd\x04"].concat();
    let v6: Vec<u8> = [V2, b"\x21\x21\0\x24\x20\x01\x0d\xb8", &[0; 11], b"\x07", &[0; 20]].concat();
    let mapped: Vec<u8> = [V2, b"\x21\x21\0\x24", &[0; 10], b"\xff\xff\xc0\0\x02\x07", &[0; 20]].concat();
    for (header, ip) in [
        (V1, "192.0.2.7"),
        (V2_TCP4, "192.0.2.7"),
        (&longer, "192.0.2.7"),
        (b"PROXY TCP6 2001:db8::7 2001:db8::1 1 2\r\n", "2001:db8::7"),
        (&v6, "2001:db8::7"),
        (&mapped, "192.0.2.7"),
        (V2_LOCAL, "127.0.0.1"),
        (b"PROXY UNKNOWN\r\n", "127.0.0.1"),
        (b"PROXY UNKNOWN 192.0.2.7 198.51.100.1 1 2\r\n", "127.0.0.1"),
    ] {
        let server = behind_proxy(&folder).start();
        served(&server, header).still_open();
        logged_from(&server, ip);
    }
}

#[test]
fn every_log_format_names_the_client() {
    let folder = site();
    for (format, expected) in [("combined", "192.0.2.7 - - ["), ("json", "\"client\":\"192.0.2.7\"")] {
        let server = behind_proxy(&folder).args(&["--log", format]).start();
        served(&server, V2_TCP4);
        server.logged(|line| line.contains(expected));
    }
    let server = believing(&folder).args(&["--log", "json"]).start();
    server.get_with("/page.txt", "X-Forwarded-For: 192.0.2.7\r\n").status(200);
    server.logged(|line| line.contains("\"client\":\"192.0.2.7\""));
}

#[test]
fn proxy_flags_have_variables() {
    let folder = site();
    let server = serve(&folder)
        .env("SERVE_TRUSTED_PROXY", "192.0.2.0/24, 127.0.0.1")
        .env("SERVE_PROXY_PROTOCOL", "true")
        .start();
    served(&server, V1);
    logged_from(&server, "192.0.2.7");
}

#[test]
fn header_in_pieces_is_read_up_to_its_end() {
    let folder = site();
    let server = behind_proxy(&folder).start();
    let largest: Vec<u8> = [V2, b"\x21\x11\x0f\xf0", &V2_TCP4[16..], &[7; 4080 - 12]].concat();
    for header in [V1, V2_TCP4, V2_LOCAL, b"PROXY UNKNOWN\r\n"] {
        let mut client = server.connect();
        client.send_slowly(header).send_slowly(GET).response().status(200);
        client.still_open();
        let mut client = server.connect();
        client.send_slowly(&header[..header.len() - 1]).send([&header[header.len() - 1..], GET.as_bytes()].concat());
        client.response().status(200);
    }
    for header in [V1, V2_TCP4, &largest] {
        let mut client = server.connect();
        client.send([header, GET.repeat(3).as_bytes()].concat());
        for _ in 0..3 {
            client.response().status(200).body("a page\n");
        }
        client.still_open();
    }
}

#[test]
fn slow_header_times_out() {
    const PACE: Duration = Duration::from_millis(100);
    let folder = site();
    let server = behind_proxy(&folder).args(&["--header-timeout", "1", "-v"]).start();
    for begun in [&b""[..], b"P", b"PROXY TCP4 192.0.2.7", &V2_TCP4[..20]] {
        server.connect().send(begun).closed();
        server.said(|line| line.contains("no request arrived in time"));
    }
    let mut client = server.connect();
    client.send("PROXY UNKNOWN ");
    client.stream().set_read_timeout(Some(PACE)).expect("the option can be set");
    let is_ended = (0..80).any(|_| match client.stream().peek(&mut [0]) {
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
            client.send("x");
            false
        }
        _ => true,
    });
    assert!(is_ended, "a byte now and then keeps the connection");
    served(&server, V1);
}

#[test]
fn request_without_header_is_refused() {
    let folder = site();
    let server = behind_proxy(&folder).start();
    for request in [GET, "POST / HTTP/1.1\r\n", "GET /\r\n", "\r\nGET / HTTP/1.1\r\n", "PUT", "proxy tcp4"] {
        let mut client = server.connect();
        client.send(request);
        client
            .response()
            .status(400)
            .has("Connection", "close")
            .says("There is no PROXY header")
            .says("--proxy-protocol");
        client.finish().closed();
    }
    server.logged(|line| line.starts_with("127.0.0.1 - - [") && line.contains("\"GET /page.txt HTTP/1.1\" 400 "));
    ended_in_silence(&server, b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03");
}

#[test]
fn malformed_header_is_refused_in_its_own_form() {
    let folder = site();
    let server = behind_proxy(&folder).start();
    for line in [
        "PROXY TCP4 192.0.2.7 198.51.100.1 56324 80\n",
        "PROXY TCP4 192.0.2.07 198.51.100.1 56324 80\r\n",
        "PROXY TCP4 192.0.2.7 198.51.100.1 056324 80\r\n",
        "PROXY TCP6 192.0.2.7 198.51.100.1 56324 80\r\n",
        "PROXY  TCP4 192.0.2.7 198.51.100.1 56324 80\r\n",
        &format!("PROXY UNKNOWN {}", "x".repeat(100)),
    ] {
        let mut client = server.connect();
        client.send(line).response().status(400).has("Connection", "close").says("The PROXY header is malformed.");
        client.finish().closed();
    }
    for block in [
        &[V2, b"\x11\x11\0\x0c", &V2_TCP4[16..]].concat()[..],
        &[V2, b"\x22\x11\0\x0c", &V2_TCP4[16..]].concat(),
        &[V2, b"\x21\x41\0\x0c", &V2_TCP4[16..]].concat(),
        &[V2, b"\x21\x11\0\x0b", &V2_TCP4[16..27]].concat(),
        &[V2, b"\x21\x11\xff\xff"].concat(),
    ] {
        ended_in_silence(&server, block);
        ended_in_silence(&server, &[block, GET.as_bytes()].concat());
    }
}

#[test]
fn header_from_an_untrusted_peer_is_refused() {
    let folder = site();
    let server = behind_proxy(&folder).start();
    for header in [V1, V2_TCP4, V2_LOCAL, b"PROXY UNKNOWN\r\n"] {
        let mut client = Client::connect_from("127.0.0.2", server.addr);
        client.send([header, GET.as_bytes()].concat());
        client.response().status(400).has("Connection", "close").says("A PROXY header is not accepted here.");
        client.finish().closed();
    }
    let mut client = Client::connect_from("127.0.0.2", server.addr);
    client.send(GET).response().status(200);
    client.still_open();
    server.logged(|line| line.starts_with("127.0.0.2 - - [") && line.contains("\" 200 "));
    assert!(!server.log().iter().any(|line| line.contains("192.0.2.7 - -")), "{:?}", server.log());

    // A second one is from the client, whom nobody asked.
    let mut client = server.connect();
    client.send([V1, V1, GET.as_bytes()].concat()).response().status(400).says("A PROXY header is not accepted here.");

    let server = believing(&folder).start();
    for header in [V1, V2_TCP4] {
        server.ask([header, GET.as_bytes()].concat()).status(400).says("A PROXY header is not accepted here.");
    }
}

#[test]
fn proxy_clients_count_for_the_per_ip_limit() {
    let folder = site();
    let server = behind_proxy(&folder).args(&["--max-per-ip", "2"]).start();
    let mut idle: Vec<Client> = Vec::new();
    for _ in 0..2 {
        idle.push(served(&server, V1));
        server.rests();
    }
    let mut one_more = server.connect();
    one_more.send([V2_TCP4, GET.as_bytes()].concat());
    one_more.response().status(503).has("Retry-After", "1").says("from this address");
    idle[0].closed();
    idle[1].still_open();
    server.rests();
    served(&server, V1);
    // Other clients, and the proxy itself, are somebody else.
    let mut others: Vec<_> = (0..4).map(|_| served(&server, V2_LOCAL)).collect();
    others.extend((0..4).map(|_| served(&server, b"PROXY UNKNOWN\r\n")));
    others.extend((0..4).map(|_| served(&server, b"PROXY TCP4 10.0.0.9 198.51.100.1 1 2\r\n")));
    for _ in 0..2 {
        others.push(served(&server, b"PROXY TCP6 2001:db8:1:2::1 ::1 1 2\r\n"));
    }
    let mut same_network = server.connect();
    same_network.send("PROXY TCP6 2001:db8:1:2:ffff::1 ::1 1 2\r\n").send(GET).response().status(503);
    served(&server, b"PROXY TCP6 2001:db8:1:3::1 ::1 1 2\r\n");
    others.iter_mut().take(12).for_each(Client::still_open);
}

#[test]
fn direct_and_proxied_connections_count_together() {
    let folder = site();
    let server = behind_proxy(&folder).args(&["--max-per-ip", "1"]).start();
    let mut direct = Client::connect_from("127.0.0.2", server.addr);
    direct.send(GET).response().status(200);
    server.rests();
    let mut proxied = server.connect();
    proxied.send("PROXY TCP4 127.0.0.2 127.0.0.1 1 2\r\n").send(GET).response().status(503);
    direct.closed();
}

#[test]
fn forwarding_proxies_are_exempt_from_the_per_ip_limit() {
    let folder = site();
    let server = believing(&folder).args(&["--max-per-ip", "1"]).start();
    let mut clients: Vec<_> = (0..5).map(|_| server.connect()).collect();
    clients.iter_mut().for_each(Client::still_open);
    let mut other = Client::connect_from("127.0.0.2", server.addr);
    other.still_open();
    server.rests();
    Client::connect_from("127.0.0.2", server.addr).send(GET).response().status(503);
}

#[test]
fn forwarded_fields_name_the_client_of_each_request() {
    let folder = site();
    let server = believing(&folder).start();
    let mut client = server.connect();
    for (at, (fields, ip)) in [
        ("", "127.0.0.1"),
        ("X-Forwarded-For: 192.0.2.7\r\n", "192.0.2.7"),
        ("X-Forwarded-For: 192.0.2.9, 192.0.2.7\r\n", "192.0.2.7"),
        ("X-Forwarded-For: 192.0.2.9, 192.0.2.7, 10.1.2.3\r\n", "192.0.2.7"),
        ("X-Forwarded-For: 192.0.2.7\r\nx-forwarded-for: 10.1.2.3, 2001:db8:ffff::1\r\n", "192.0.2.7"),
        ("X-Forwarded-For: 2001:db8::7, 127.0.0.1\r\n", "2001:db8::7"),
        ("X-Forwarded-For: 192.0.2.7, unknown\r\n", "127.0.0.1"),
        ("X-Forwarded-For: 192.0.2.7, garbage, 10.1.2.3\r\n", "10.1.2.3"),
        ("X-Forwarded-For: 192.0.2.7\" 200 9 \"\r\n", "127.0.0.1"),
        ("Forwarded: for=192.0.2.7;proto=https\r\n", "192.0.2.7"),
        ("Forwarded: for=192.0.2.9, for=\"[2001:db8::7]:5\", for=10.1.2.3;by=_x\r\n", "2001:db8::7"),
        ("Forwarded: for=192.0.2.7, for=_hidden\r\n", "127.0.0.1"),
        ("Forwarded: for=192.0.2.7\r\nX-Forwarded-For: 192.0.2.9, 192.0.2.7\r\n", "192.0.2.7"),
        ("Forwarded: for=192.0.2.9\r\nX-Forwarded-For: 192.0.2.7\r\n", "127.0.0.1"),
        ("X-Real-IP: 192.0.2.9\r\nTrue-Client-IP: 192.0.2.9\r\n", "127.0.0.1"),
    ]
    .into_iter()
    .enumerate()
    {
        client.send(format!("GET /page.txt?{at} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n")).response().status(200);
        let line = server.logged(|line| line.contains(&format!("?{at} ")));
        assert!(line.starts_with(&format!("{ip} - - [")), "not from {ip}: {line}\n{fields}");
    }
}

#[test]
fn forwarded_fields_count_from_trusted_proxies_only() {
    const FIELDS: &str = "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 192.0.2.9\r\nForwarded: for=192.0.2.9\r\n\r\n";
    let folder = site();
    let direct = |server: &Server| Client::connect_from("127.0.0.2", server.addr);
    for (start, ip) in [(serve(&folder), "127.0.0.2"), (believing(&folder), "127.0.0.2")] {
        let server = start.start();
        direct(&server).send(FIELDS).response();
        logged_from(&server, ip);
    }
    for (header, ip) in [
        (V1, "192.0.2.7"),
        (b"PROXY TCP4 10.0.0.9 198.51.100.1 1 2\r\n", "192.0.2.9"),
        (b"PROXY UNKNOWN\r\n", "127.0.0.1"),
    ] {
        let server = behind_proxy(&folder).start();
        server.ask([header, FIELDS.as_bytes()].concat());
        logged_from(&server, ip);
    }
    let server = behind_proxy(&folder).start();
    direct(&server).send(FIELDS).response();
    logged_from(&server, "127.0.0.2");
}

#[test]
fn ipv6_proxy_is_trusted_too() {
    let folder = site();
    let server = serve(&folder).args(&["--bind", "::1", "--trusted-proxy", "::1", "--proxy-protocol"]).start();
    let addr = std::net::SocketAddr::new("::1".parse().expect("an address"), server.addr.port());
    Client::connect(addr).send([V1, GET.as_bytes()].concat()).response().status(200);
    logged_from(&server, "192.0.2.7");
    server.get("/page.txt").status(200);
}

#[test]
fn proxied_exchange_is_traced_with_both_ends() {
    let folder = site();
    let server = behind_proxy(&folder).arg("-vv").start();
    served(&server, b"PROXY TCP4 10.0.0.9 198.51.100.1 56324 80\r\n");
    server.said(|line| line.contains("from 127.0.0.1:") && line.ends_with(", a proxy for 10.0.0.9:56324"));
    let server = believing(&folder).arg("-vv").start();
    server.get_with("/page.txt", "X-Forwarded-For: 192.0.2.7\r\n").status(200);
    server.said(|line| line.ends_with("client address from the proxy: 192.0.2.7"));
}

#[test]
fn connection_awaiting_its_header_can_be_evicted() {
    let folder = site();
    let mut server = behind_proxy(&folder).args(&["--max-connections", "1"]).start();
    let mut silent = server.connect();
    silent.send("PROXY TC");
    server.rests();
    served(&server, V1);
    silent.closed();
    let mut silent = server.connect();
    silent.send(&V2_TCP4[..20]);
    server.rests();
    server.signal("TERM");
    silent.closed();
    assert!(server.ended().success());
}

#[test]
fn proxy_probe_without_header_disturbs_nothing() {
    let folder = site();
    let server = behind_proxy(&folder).start();
    for begun in [&b""[..], b"PROXY", &V2_TCP4[..20], V1, V2_LOCAL] {
        server.connect().send(begun).finish().closed();
        let mut client = server.connect();
        client.send(begun);
    }
    served(&server, V1);
    server.logged(|line| line.starts_with("192.0.2.7 - - ["));
    assert_eq!(server.log().len(), 1, "{:?}", server.log());
}
