//! A site over TLS: the responses are the same as without it.

use std::fs;
use std::net::SocketAddr;

use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustls::HandshakeKind;

use crate::support::{Client, Folder, Server, Starter, Trust, Version, fingerprint, serve};

const VERSIONS: [Version; 2] = [Version::V12, Version::V13];

const GET: &str = "GET /a.txt HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// Begins a server over TLS on the folder, with the key in the other one.
pub fn serve_tls(folder: &Folder, keys: &Folder) -> Starter {
    serve(folder).arg("--tls-cert").arg(keys.at("a.pem")).arg("--tls-key").arg(keys.at("a.key"))
}

pub fn keys() -> Folder {
    Folder::new().pair("a", &["localhost"])
}

fn site() -> Folder {
    Folder::new().file("a.txt", "0123456789")
}

pub fn connect(server: &Server, version: Version) -> Client {
    Trust::of(version).connect(server.addr, "localhost")
}

/// No two parts of it are the same.
pub fn large(length: usize) -> Vec<u8> {
    (0..length as u32 / 4).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect()
}

/// Where the line that begins so says that the server listens too.
fn other_endpoint(server: &Server, beginning: &str) -> SocketAddr {
    let line = server.said(|line| line.starts_with(beginning));
    line[beginning.len()..].parse().unwrap_or_else(|_| panic!("no address: {line}"))
}

#[test]
fn both_versions_are_served() {
    let (folder, keys) = (site(), keys());
    let server = serve_tls(&folder, &keys).start();
    for version in VERSIONS {
        let mut client = connect(&server, version);
        client.send(GET).response().status(200).body("0123456789");
        client.send(format!("{GET}{GET}"));
        client.response().status(200).body("0123456789");
        client.response().status(200).body("0123456789");
        client.send("GET /a.txt HTTP/1.1\r\nHost: a\r\nRange: bytes=2-3\r\n\r\n").response().status(206).body("23");
        client.send("HEAD /a.txt HTTP/1.1\r\nHost: a\r\n\r\n").response_to_head().status(200);
        client.send("GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n").response().status(404);
        client.still_open();
    }
    server.logged(|line| line.contains("\"GET /a.txt HTTP/1.1\" 206 2"));
}

#[test]
fn banner_shows_https() {
    let (folder, keys) = (site(), keys());
    let server = serve_tls(&folder, &keys).start();
    let said = format!("listening on https://{}", server.addr);
    assert_eq!(server.diagnostics().first(), Some(&said));
    server.said(|line| line == format!("  https://{}/", server.addr));
}

#[test]
fn large_responses_arrive_whole() {
    let bytes = large(20 << 20);
    let (folder, keys) = (Folder::new().file("large.bin", &bytes).file("middle.bin", &bytes[..150_000]), keys());
    let server = serve_tls(&folder, &keys).start();
    for version in VERSIONS {
        let mut client = connect(&server, version);
        client.send("GET /large.bin HTTP/1.1\r\nHost: a\r\n\r\n").response().status(200).body(&bytes);
        client.send("GET /middle.bin HTTP/1.1\r\nHost: a\r\n\r\n").response().status(200).body(&bytes[..150_000]);
        let ranges = "GET /large.bin HTTP/1.1\r\nHost: a\r\nRange: bytes=5-9999999\r\n\r\n";
        client.send(ranges).response().status(206).body(&bytes[5..10_000_000]);
    }
}

#[test]
fn tls_body_is_read_and_response_sent() {
    let bytes = large(2 << 20);
    let (folder, keys) = (Folder::new(), keys());
    folder.write("young.bin", &bytes);
    let server = serve_tls(&folder, &keys).start();
    connect(&server, Version::V13).send("GET /young.bin HTTP/1.1\r\nHost: a\r\n\r\n").response().body(&bytes);
}

#[test]
fn alpn_selects_only_http_1_1() {
    let (folder, keys) = (site(), keys());
    let server = serve_tls(&folder, &keys).start();
    for version in VERSIONS {
        let mut client = Trust::of(version).offering(&["h2", "http/1.1"]).connect(server.addr, "localhost");
        client.send(GET).response().status(200);
        assert_eq!(client.session().alpn_protocol(), Some(&b"http/1.1"[..]));
        let mut client = Trust::of(version).offering(&["h2"]).connect(server.addr, "localhost");
        let error = client.send(GET).read(&mut [0; 10]).expect_err("there is nothing to agree upon");
        assert!(error.to_string().contains("NoApplicationProtocol"), "{error}");
    }
}

#[test]
fn close_notify_is_sent_unless_truncated() {
    let bytes = large(30 << 20);
    let (folder, keys) = (site().file("large.bin", &bytes), keys());
    let server = serve_tls(&folder, &keys).start();
    let mut piece = [0; 65536];
    for version in VERSIONS {
        for last in ["GET /a.txt HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "GET /a.txt\r\n", "BAD\r\n\r\n"] {
            let mut client = connect(&server, version);
            client.send(last);
            while client.read(&mut piece).unwrap_or_else(|error| panic!("{last:?}: {error}")) > 0 {}
        }
        let mut client = connect(&server, version);
        client.send("GET /large.bin HTTP/1.1\r\nHost: a\r\n\r\n");
        assert!(client.read(&mut piece).expect("it begins") > 0);
        folder.write("large.bin", &bytes[..1 << 20]);
        client.expect_broken_off();
        folder.write("large.bin", &bytes);
        folder.touch("large.bin", 3600);
    }
}

#[test]
fn request_before_close_notify_is_served() {
    let (folder, keys) = (site(), keys());
    let server = serve_tls(&folder, &keys).start();
    let mut politely = connect(&server, Version::V13);
    politely.send(GET);
    politely.session().send_close_notify();
    politely.send("").response().status(200).body("0123456789");
    let mut client = connect(&server, Version::V13);
    client
        .send("GET /a.txt HTTP/1.1\r\nHo")
        .finish()
        .response()
        .status(400)
        .says("ended before the request was complete");
}

#[test]
fn returning_client_resumes() {
    let (folder, keys) = (site(), keys());
    let server = serve_tls(&folder, &keys).start();
    for trust in [Trust::of(Version::V12), Trust::of(Version::V12).without_tickets(), Trust::of(Version::V13)] {
        let kinds: Vec<_> = (0..4)
            .map(|_| {
                let mut client = trust.connect(server.addr, "localhost");
                client.send(GET).response().status(200);
                client.session().handshake_kind()
            })
            .collect();
        assert_eq!(kinds[0], Some(HandshakeKind::Full));
        assert!(kinds[1..].iter().all(|kind| *kind == Some(HandshakeKind::Resumed)), "{kinds:?}");
    }
}

#[test]
fn plain_http_on_tls_port_is_refused_with_advice() {
    let (folder, keys) = (site(), keys());
    let server = serve_tls(&folder, &keys).args(&["--hsts", "60"]).start();
    server.get("/a.txt").status(400).says("This port is for https").says("https://").lacks("Strict-Transport-Security");
    let bare = server.connect().send("GET /a.txt\r\n").rest();
    assert!(String::from_utf8_lossy(&bare).contains("This port is for https"));
    server.ask("\x01\x02\r\n\r\n").status(400);
    server.logged(|line| line.contains("\"GET /a.txt HTTP/1.1\" 400 "));
}

#[test]
fn hsts_is_sent_over_tls_only() {
    let (folder, keys) = (site(), keys());
    let name = "Strict-Transport-Security";
    for start in
        [serve_tls(&folder, &keys).args(&["--hsts", "3600"]), serve_tls(&folder, &keys).env("SERVE_HSTS", "3600")]
    {
        let server = start.args(&["--https-redirect", "0"]).start();
        let mut client = connect(&server, Version::V13);
        client.send(GET).response().status(200).has(name, "max-age=3600");
        client.send("GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n").response().status(404).has(name, "max-age=3600");
        client.send("GET / HTTP/9.9\r\nHost: a\r\n\r\n").response().status(505).has(name, "max-age=3600");
        let plain = Client::connect(other_endpoint(&server, "redirecting on http://")).send(GET).response();
        plain.status(308).lacks(name);
    }
    let server = serve_tls(&folder, &keys).start();
    connect(&server, Version::V13).send(GET).response().lacks(name);
}

#[test]
fn redirect_keeps_the_target() {
    let (folder, keys) = (site(), keys());
    let server = serve_tls(&folder, &keys).args(&["--https-redirect", "0"]).start();
    let plain = other_endpoint(&server, "redirecting on http://");
    let port = server.addr.port();
    for (line, host, location) in [
        ("GET /a.txt?b=c HTTP/1.1", "localhost:80", format!("https://localhost:{port}/a.txt?b=c")),
        ("POST / HTTP/1.1", "a.example", format!("https://a.example:{port}/")),
        ("BREW //b.example/%2e%2e/ HTTP/1.1", "[::1]:8080", format!("https://[::1]:{port}//b.example/%2e%2e/")),
        ("GET http://b.example:99?q HTTP/1.1", "a.example", format!("https://b.example:{port}/?q")),
        ("GET /\\b\"<> HTTP/1.1", "a", format!("https://a:{port}/%5Cb%22%3C%3E")),
        ("GET /.well-known/acme-challenge/../../a.txt HTTP/1.1", "a", {
            format!("https://a:{port}/.well-known/acme-challenge/../../a.txt")
        }),
    ] {
        let response = Client::connect(plain).send(format!("{line}\r\nHost: {host}\r\n\r\n")).response();
        response.status(308).has("Location", &location);
    }
    let response = |request: &str| Client::connect(plain).send(request).response();
    response("GET / HTTP/1.1\r\nHost:\r\n\r\n").status(400).says("does not name a host");
    response("GET / HTTP/1.0\r\n\r\n").status(400).says("does not name a host");
    response("GET / HTTP/1.0\r\nHost: a\r\n\r\n").status(308);
    response("GET / HTTP/1.1\r\nHost: a b\r\n\r\n").status(400).lacks("Location");
    response("CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n").status(400).lacks("Location");
}

#[test]
fn acme_challenge_stays_plain() {
    let folder = site().file(".well-known/acme-challenge/token", "proof").file(".well-known/other", "other");
    let keys = keys();
    let server = serve_tls(&folder, &keys).args(&["--https-redirect", "0"]).start();
    let plain = other_endpoint(&server, "redirecting on http://");
    let response =
        |target: &str| Client::connect(plain).send(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n")).response();
    response("/.well-known/acme-challenge/token").status(200).body("proof");
    response("/.well-known/acme-challenge/other").status(404);
    response("/.well-known/other").status(308);
}

#[test]
fn proxy_header_comes_before_the_handshake() {
    let (folder, keys) = (site(), keys());
    let server = serve_tls(&folder, &keys).args(&["--proxy-protocol", "--trusted-proxy", "127.0.0.1"]).start();
    let mut client = server.connect();
    client.send("PROXY TCP4 192.0.2.7 192.0.2.1 1000 443\r\n");
    let mut client = client.over_tls(Trust::of(Version::V13).session("localhost"));
    client.send(GET).response().status(200).body("0123456789");
    server.logged(|line| line.starts_with("192.0.2.7 - - ") && line.contains("\"GET /a.txt HTTP/1.1\" 200 10"));
}

#[test]
fn self_signed_certificate_is_made_on_request() {
    let folder = site();
    for start in [serve(&folder).arg("--tls-self-signed"), serve(&folder).env("SERVE_TLS_SELF_SIGNED", "1")] {
        let server = start.start();
        let line = server.said(|line| line.contains("fingerprint"));
        let mut client = Trust::of(Version::V13).connect(server.addr, "127.0.0.1");
        client.send(GET).response().status(200).body("0123456789");
        let cert = client.session().peer_certificates().expect("there is one")[0].clone();
        assert!(line.ends_with(&fingerprint(&cert)), "{line}");
        for name in ["localhost", "127.0.0.1", "::1"] {
            let name = rustls::pki_types::ServerName::try_from(name).expect("it is a name");
            let parsed = rustls::server::ParsedCertificate::try_from(&cert).expect("a certificate");
            rustls::client::verify_server_name(&parsed, &name).unwrap_or_else(|error| panic!("{name:?}: {error}"));
        }
    }
}

#[test]
fn fifo_as_key_blocks_nothing() {
    let (folder, keys) = (site(), keys());
    let mut server = serve_tls(&folder, &keys).start();
    fs::remove_file(keys.at("a.key")).expect("the key is there");
    mknodat(CWD, keys.at("a.key"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("a FIFO can be made");
    server.signal("HUP");
    server.said(|line| line.contains("the old certificates stay in use") && line.contains("not a regular file"));
    connect(&server, Version::V13).send(GET).response().status(200);
    server.signal("TERM");
    assert_eq!(server.ended().code(), Some(0));
}
