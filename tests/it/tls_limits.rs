//! Clients that speak TLS badly, slowly or without end.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use crate::support::{Client, Folder, Trust, Version};
use crate::tls::{connect, keys, large, serve_tls};

const GET: &str = "GET /a.txt HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// No test waits longer than this for an event.
const LIMIT: Duration = Duration::from_secs(30);

fn site() -> Folder {
    Folder::new().file("a.txt", "0123456789")
}

fn raw(addr: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(addr).expect("the server listens");
    stream.set_read_timeout(Some(LIMIT)).expect("the option can be set");
    stream
}

/// The first bytes of a client.
fn hello() -> Vec<u8> {
    let mut bytes = Vec::new();
    Trust::of(Version::V13).session("localhost").write_tls(&mut bytes).expect("memory can be written to");
    bytes
}

/// What comes until the end, however that comes.
#[track_caller]
fn rest(mut stream: &TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    let mut piece = [0; 4096];
    loop {
        match stream.read(&mut piece) {
            Ok(0) => return all,
            Ok(count) => all.extend_from_slice(&piece[..count]),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return all,
            Err(error) => panic!("the connection does not end: {error}"),
        }
    }
}

#[test]
fn handshake_has_the_header_timeout() {
    let (folder, keys) = (site(), keys());
    let server = serve_tls(&folder, &keys).args(&["--header-timeout", "2", "-v"]).start();
    let hello = hello();
    for begins in [&[][..], &hello[..1], &hello[..50]] {
        let mut stream = raw(server.addr);
        stream.write_all(begins).expect("it is open");
        assert!(rest(&stream).is_empty(), "nothing has been agreed upon");
    }
    // A byte now and then resets nothing.
    let since = Instant::now();
    let mut stream = raw(server.addr);
    for byte in hello.chunks(1) {
        if stream.write_all(byte).is_err() || since.elapsed() > LIMIT {
            break;
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    let took = since.elapsed();
    assert!(took < Duration::from_secs(15), "a slow handshake held its connection for {took:?}");
    server.said(|line| line.contains("TLS handshake with") && line.contains("no request arrived in time"));
    assert!(server.log().is_empty(), "{:?}", server.log());
}

#[test]
fn invalid_handshake_gets_an_alert_only() {
    let (folder, keys) = (site(), keys());
    let server = serve_tls(&folder, &keys).arg("-v").start();
    let hello = hello();
    let mut random = 1u64;
    for at in 0..200usize {
        let mut bytes = hello.clone();
        for _ in 0..=at % 4 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let place = 1 + (random >> 33) as usize % (bytes.len() - 1);
            bytes[place] ^= (random >> 24) as u8 | 1;
        }
        bytes.truncate(if at % 3 == 0 { bytes.len() } else { 1 + (random >> 40) as usize % bytes.len() });
        let mut stream = raw(server.addr);
        let _ = stream.write_all(&bytes);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let said = rest(&stream);
        assert!(said.is_empty() || [21, 22].contains(&said[0]), "no record: {said:?}");
    }
    server.said(|line| line.contains("TLS handshake with"));
    assert!(!server.diagnostics().iter().any(|line| line.contains("panicked")), "{:?}", server.diagnostics());
    connect(&server, Version::V13).send(GET).response().status(200);
}

#[test]
fn endless_handshakes_do_not_block_others() {
    let (folder, keys) = (site(), keys());
    let server = serve_tls(&folder, &keys).args(&["--max-connections", "8"]).start();
    let hello = hello();
    let _pending: Vec<_> = (0..24)
        .map(|at| {
            let mut stream = raw(server.addr);
            let _ = stream.write_all(&hello[..1 + at % 3 * 20]);
            stream
        })
        .collect();
    for version in [Version::V12, Version::V13] {
        connect(&server, version).send(GET).response().status(200).body("0123456789");
    }
}

#[test]
fn per_ip_limit_sends_an_alert() {
    let (folder, keys) = (site(), keys());
    let server = serve_tls(&folder, &keys).args(&["--max-per-ip", "1"]).start();
    let mut first = connect(&server, Version::V13);
    first.send(GET).response().status(200);
    let mut second = raw(server.addr);
    let _ = second.write_all(&hello());
    assert_eq!(rest(&second), [21, 3, 3, 0, 2, 2, 80]);
}

#[test]
fn unread_response_times_out() {
    let bytes = large(64 << 20);
    let (folder, keys) = (site().file("large.bin", bytes), keys());
    let server = serve_tls(&folder, &keys).args(&["--write-timeout", "1", "-v"]).start();
    let mut client = connect(&server, Version::V13);
    client.send("GET /large.bin HTTP/1.1\r\nHost: a\r\n\r\n");
    server.said(|line| line.contains("too slowly"));
    client.expect_broken_off();
}

/// A client may send close_notify early (RFC 8446 §6.1); bytes it sends later make the kernel discard nothing.
#[test]
fn early_close_notify_gets_the_whole_response() {
    let page = vec![b'x'; 8192];
    let (folder, keys) = (site().file("page.txt", &page), keys());
    let server = serve_tls(&folder, &keys).start();
    for _ in 0..10 {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("there are descriptors");
        socket.set_recv_buffer_size(2304).expect("the option can be set");
        socket.connect(&server.addr.into()).expect("the server accepts the connection");
        let mut client = Client::new(socket.into()).over_tls(Trust::of(Version::V13).session("localhost"));
        client.send("GET /page.txt HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        client.stream().peek(&mut [0]).expect("the response begins");
        let mut record = Vec::new();
        client.session().send_close_notify();
        client.session().write_tls(&mut record).expect("there is memory");
        client.stream().write_all(&record).expect("it is open");
        client.response().status(200).body(&page);
        client.closed();
    }
}

#[test]
fn stalled_responses_are_evicted() {
    let bytes = large(64 << 20);
    let (folder, keys) = (site().file("large.bin", bytes), keys());
    let server = serve_tls(&folder, &keys).args(&["--max-connections", "4"]).start();
    let mut slow: Vec<_> = (0..4).map(|_| connect(&server, Version::V13)).collect();
    for client in &mut slow {
        client.send("GET /large.bin HTTP/1.1\r\nHost: a\r\n\r\n");
        assert!(client.read(&mut [0; 100]).expect("it begins") > 0);
    }
    connect(&server, Version::V13).send(GET).response().status(200);
}

#[test]
fn endless_key_updates_end_the_connection() {
    let (folder, keys) = (site(), keys());
    let server = serve_tls(&folder, &keys).args(&["--idle-timeout", "3600"]).start();
    let mut client = connect(&server, Version::V13);
    client.send(GET).response().status(200);
    for _ in 0..10 {
        client.session().refresh_traffic_keys().expect("it is of TLS 1.3");
        client.send("");
    }
    client.send(GET).response().status(200);
    for _ in 0..2000 {
        client.session().refresh_traffic_keys().expect("it is of TLS 1.3");
        client.send("");
    }
    // Reading sends them first. What comes may be an alert; then the connection has to end.
    let mut piece = [0; 100];
    while client.read(&mut piece).is_ok_and(|count| count > 0) {}
    rest(client.stream());
    connect(&server, Version::V13).send(GET).response().status(200);
}

#[test]
fn endless_empty_records_end_the_connection() {
    use rustls::crypto::cipher::{OutboundChunks, OutboundPlainMessage};
    use rustls::{ConnectionTrafficSecrets, ContentType, ProtocolVersion};

    let (folder, keys) = (site(), keys());
    let server = serve_tls(&folder, &keys).arg("-v").start();
    let trust = Trust::of(Version::V13);
    let mut session = trust.session("localhost");
    let mut stream = raw(server.addr);
    while session.is_handshaking() {
        session.complete_io(&mut stream).expect("the handshake succeeds");
    }
    let suite = session.negotiated_cipher_suite().and_then(|suite| suite.tls13()).expect("it is of TLS 1.3");
    let (mut number, secrets) = session.dangerous_extract_secrets().expect("it is allowed to").tx;
    let (key, iv) = match secrets {
        ConnectionTrafficSecrets::Aes128Gcm { key, iv }
        | ConnectionTrafficSecrets::Aes256Gcm { key, iv }
        | ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => (key, iv),
        _ => panic!("another suite"),
    };
    let mut encrypter = suite.aead_alg.encrypter(key, iv);
    let since = Instant::now();
    loop {
        let empty = OutboundPlainMessage {
            typ: ContentType::ApplicationData,
            version: ProtocolVersion::TLSv1_2,
            payload: OutboundChunks::Single(&[]),
        };
        let record = encrypter.encrypt(empty, number).expect("it can be encrypted").encode();
        number += 1;
        if stream.write_all(&record).is_err() {
            break;
        }
        assert!(since.elapsed() < LIMIT, "records without content hold a thread");
    }
    server.said(|line| line.contains("TooManyEmptyFragments"));
}
