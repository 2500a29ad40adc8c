//! How long a connection lives: keep-alive, pipelines, idle and half-closed clients, vanishing ones, and a full house.

use std::time::{Duration, Instant};

use rustix::net::sockopt::set_socket_linger;

use super::strace::Strace;
use crate::support::{Client, Folder, GET, Response, Server, serve, site};

/// More than the buffers between a server and a client that does not read can hold.
const LARGE: usize = 48 << 20;

/// A client that has had an answer and is idle now.
#[track_caller]
fn idle(server: &Server) -> Client {
    let mut client = server.connect();
    client.send(GET);
    client.response().status(200).body("a page\n");
    server.rests();
    client
}

/// Ends the connection by a reset.
pub fn vanish(client: Client) {
    set_socket_linger(client.stream(), Some(Duration::ZERO)).expect("the option can be set");
}

#[test]
fn http_1_1_goes_on_until_close_is_said() {
    let folder = site();
    let server = serve(&folder).start();
    for fields in [
        "",
        "Connection: keep-alive\r\n",
        "Connection:\r\n",
        "Connection: closed\r\n",
        "Connection: not-close\r\n",
        "Connection: \"close\"\r\n",
        "Connection: te, upgrade\r\n",
        "X-Connection: close\r\n",
        "Proxy-Connection: close\r\n",
        "Keep-Alive: timeout=0\r\n",
    ] {
        let mut client = server.connect();
        client.send(format!("GET /page.txt HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n"));
        let response = client.response().status(200).body("a page\n");
        assert!(!response.all("Connection").contains(&"close"), "{}", response.exchange);
        client.still_open();
    }
}

#[test]
fn close_is_found_in_a_connection_list_of_any_form() {
    let folder = site();
    let server = serve(&folder).start();
    for fields in [
        "Connection: close\r\n",
        "connection:close\r\n",
        "Connection: Close\r\n",
        "CONNECTION: CLOSE\r\n",
        "Connection: \tclose \t\r\n",
        "Connection: keep-alive, close\r\n",
        "Connection: close, keep-alive\r\n",
        "Connection: te,close\r\n",
        "Connection: te \t,\t close\r\n",
        "Connection: ,,close,\r\n",
        "Connection: te\r\nX: y\r\nConnection: close\r\n",
        "Connection: close\r\nConnection: keep-alive\r\n",
    ] {
        for version in ["1.0", "1.1"] {
            let mut client = server.connect();
            client.send(format!("GET /page.txt HTTP/{version}\r\nHost: localhost\r\n{fields}\r\n{GET}"));
            client.response().status(200).has("Connection", "close").body("a page\n");
            client.closed();
        }
    }
}

#[test]
fn http_1_0_ends_after_one_answer() {
    let folder = site();
    let server = serve(&folder).start();
    for fields in
        ["", "Host: localhost\r\n", "Connection: te\r\n", "Connection: keep-alives\r\n", "Keep-Alive: 300\r\n"]
    {
        let mut client = server.connect();
        client.send(format!("GET /page.txt HTTP/1.0\r\n{fields}\r\n{GET}"));
        client.response().status(200).has("Connection", "close").body("a page\n");
        client.closed();
    }
}

#[test]
fn http_1_0_goes_on_when_keep_alive_is_asked_for_and_says_so() {
    let folder = site();
    let server = serve(&folder).start();
    for fields in [
        "Connection: keep-alive\r\n",
        "Connection: Keep-Alive\r\n",
        "connection:KEEP-ALIVE\r\n",
        "Connection: te, keep-alive\r\n",
        "Connection: te\r\nConnection: keep-alive\r\n",
    ] {
        let mut client = server.connect();
        for (target, status) in [("/page.txt", 200), ("/missing", 404), ("/page.txt", 200)] {
            client.send(format!("GET {target} HTTP/1.0\r\n{fields}\r\n"));
            client.response().status(status).has("Connection", "keep-alive");
        }
        client.send("GET /page.txt HTTP/1.0\r\n\r\n");
        client.response().status(200).has("Connection", "close");
        client.closed();
    }
}

#[test]
fn an_answer_that_is_not_good_news_keeps_the_connection() {
    let folder = site().dir("dir");
    let server = serve(&folder).start();
    let mut client = server.connect();
    for (target, fields, status) in [
        ("/missing", "", 404),
        ("/dir", "", 301),
        ("/dir/", "", 404),
        ("/page.txt", "If-None-Match: *\r\n", 304),
        ("/page.txt", "If-Match: \"other\"\r\n", 412),
        ("/page.txt", "Range: bytes=100-\r\n", 416),
        ("/%00", "", 400),
        ("/page.txt", "", 200),
    ] {
        client.send(format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n"));
        client.response().status(status);
    }
    client.still_open();
}

/// A hundred requests of several sorts, the last of which ends the connection.
fn hundred() -> (Folder, Vec<u8>) {
    let mut folder = Folder::new().file("empty.txt", "");
    let mut bytes = Vec::new();
    for n in 1..=100 {
        folder = folder.file(&format!("{n}.txt"), format!("file {n}\n").repeat(n));
        let (method, target) = match n % 10 {
            3 => ("GET", format!("/missing-{n}")),
            5 => ("GET", "/empty.txt".to_owned()),
            7 => ("POST", format!("/{n}.txt")),
            _ => ("GET", format!("/{n}.txt")),
        };
        let end = if n == 100 { "Connection: close\r\n" } else { "" };
        bytes.extend(format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\n{end}\r\n").bytes());
    }
    (folder, bytes)
}

/// What is in an answer apart from the clock.
#[derive(Debug, PartialEq)]
struct Told {
    status: u16,
    fields: Vec<(String, String)>,
    body: String,
}

/// Reads the answers to the hundred.
#[track_caller]
fn hundred_answers(client: &mut Client) -> Vec<Told> {
    let told = |mut response: Response| {
        response.fields.retain(|(name, _)| name != "Date");
        Told { body: response.text(), status: response.status, fields: response.fields }
    };
    let responses = (0..100).map(|_| told(client.response())).collect();
    client.closed();
    responses
}

#[test]
fn a_hundred_requests_in_one_segment_are_answered_in_order() {
    let (folder, bytes) = hundred();
    let server = serve(&folder).start();
    let responses = hundred_answers(server.connect().send(bytes));
    for (n, told) in (1..).zip(&responses) {
        let (status, content) = match n % 10 {
            3 => (404, None),
            5 => (200, Some(String::new())),
            7 => (405, None),
            _ => (200, Some(format!("file {n}\n").repeat(n))),
        };
        assert_eq!(told.status, status, "response {n}: {told:?}");
        assert!(content.is_none_or(|content| content == told.body), "response {n}: {told:?}");
    }
}

#[test]
fn a_hundred_requests_a_byte_per_segment_get_the_same_answers() {
    let (folder, bytes) = hundred();
    let server = serve(&folder).start();
    let at_once = hundred_answers(server.connect().send(&bytes));
    let slowly = hundred_answers(server.connect().send_slowly(&bytes));
    assert_eq!(at_once, slowly);
}

#[test]
fn a_request_split_at_any_byte_is_the_same_request() {
    let folder = site();
    let server = serve(&folder).start();
    let mut client = server.connect();
    for at in 1..GET.len() {
        client.send(&GET[..at]).send(&GET[at..]);
        client.response().status(200).body("a page\n");
    }
}

#[test]
fn nothing_after_close_is_answered() {
    let folder = site();
    let server = serve(&folder).start();
    let mut client = server.connect();
    client.send(format!("{GET}GET /page.txt HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n{GET}{GET}"));
    client.response().status(200);
    client.response().status(200).has("Connection", "close").body("a page\n");
    client.closed();
}

#[test]
fn an_idle_connection_is_closed_without_a_word() {
    let folder = site();
    let server = serve(&folder).args(&["--idle-timeout", "1"]).start();
    let mut client = idle(&server);
    client.closed();
}

#[test]
fn a_connection_that_never_says_a_word_is_closed_without_one() {
    let folder = site();
    let server = serve(&folder).args(&["--idle-timeout", "1", "--header-timeout", "1"]).start();
    server.connect().closed();
}

#[test]
fn a_person_who_has_begun_to_type_is_not_idle() {
    let folder = site();
    let server = serve(&folder).args(&["--idle-timeout", "1"]).start();
    let mut typing = idle(&server);
    typing.send("GET /page.txt HTTP/1.1\r\n");
    idle(&server).closed();
    typing.send("Host: localhost\r\n\r\n");
    typing.response().status(200).body("a page\n");
}

#[test]
fn a_half_closed_client_gets_its_answers() {
    let folder = site();
    let server = serve(&folder).start();
    for count in [1, 3, 50] {
        let mut client = server.connect();
        client.send(GET.repeat(count)).finish();
        for _ in 0..count {
            client.response().status(200).body("a page\n");
        }
        client.closed();
    }
}

#[test]
fn a_half_closed_client_gets_all_of_a_large_file() {
    let folder = Folder::new().file("large.bin", vec![b'y'; LARGE]);
    let server = serve(&folder).start();
    let mut client = server.connect();
    client.send("GET /large.bin HTTP/1.1\r\nHost: localhost\r\n\r\n").finish();
    let response = client.response().status(200);
    assert_eq!(response.body.len(), LARGE, "{}", response.exchange);
    client.closed();
}

#[test]
fn a_simple_request_of_a_half_closed_client_is_answered() {
    let folder = site();
    let server = serve(&folder).start();
    assert_eq!(server.connect().send("GET /page.txt\r\n").finish().rest(), b"a page\n");
}

#[test]
fn a_request_that_was_cut_off_is_not_carried_out() {
    let folder = site();
    let server = serve(&folder).start();
    for part in [
        "G",
        "GET /page.txt",
        "GET /page.txt HTTP/1.1\r\nHost: localhost",
        "GET /page.txt HTTP/1.1\r\nHost: localhost\r\n",
        "GET /page.txt HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nhello",
        "GET /page.txt HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
    ] {
        let rest = server.connect().send(part).finish().rest();
        let back = String::from_utf8_lossy(&rest);
        assert!(!back.contains("a page"), "{part:?}: {back}");
    }
}

#[test]
fn who_promised_to_send_no_more_and_does_still_gets_the_whole_answer() {
    let folder = site().file("large.bin", vec![b'y'; LARGE]);
    let server = serve(&folder).start();
    let mut client = server.connect();
    client.send("GET /large.bin HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    client.stream().peek(&mut [0]).expect("the response begins");
    client.send("more, although the last request said that there would be no more\r\n".repeat(100));
    client.response().status(200).body(vec![b'y'; LARGE]);
    client.closed();
}

#[test]
fn who_is_told_to_be_too_slow_and_goes_on_gets_all_that_was_answered() {
    // The system takes all of it from the server, but not all of it reaches a client that does not read.
    let content = vec![b'y'; 200 << 10];
    let folder = site().file("file.bin", content.clone());
    let server = serve(&folder).args(&["--header-timeout", "1"]).start();
    let mut client = server.connect();
    client.send("GET /file.bin HTTP/1.1\r\nHost: localhost\r\n\r\nPOST / HTTP/1.1\r\nHost: localhost\r\n");
    client.send("Content-Length: 10\r\n\r\nhello");
    server.logged(|line| line.contains(" 408 "));
    client.send("w");
    client.response().status(200).body(content);
    client.response().status(408);
    client.closed();
}

#[test]
fn clients_that_vanish_harm_nobody() {
    let folder = site().file("large.bin", vec![b'y'; LARGE]);
    let server = serve(&folder).start();
    let mut patient = idle(&server);
    for part in [
        "G",
        "GET /page.txt HTTP/1.1\r\nHost: local",
        GET,
        "GET /page.txt\r\n",
        "GET /page.txt HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nhello",
        "GET /large.bin HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "GET /page.txt HTTP/2.0\r\n\r\n",
    ] {
        for _ in 0..20 {
            let mut client = server.connect();
            client.send(part);
            vanish(client);
        }
        idle(&server);
    }
    patient.still_open();
}

#[test]
fn a_client_that_vanishes_in_the_middle_of_an_answer_harms_nobody() {
    let folder = site().file("large.bin", vec![b'y'; LARGE]);
    let server = serve(&folder).start();
    let mut patient = idle(&server);
    for _ in 0..20 {
        let mut client = server.connect();
        client.send("GET /large.bin HTTP/1.1\r\nHost: localhost\r\n\r\n");
        client.stream().peek(&mut [0]).expect("the response begins");
        vanish(client);
    }
    patient.still_open();
    idle(&server);
}

#[test]
fn a_full_house_admits_a_newcomer_in_the_place_of_the_longest_idle() {
    let folder = site();
    let server = serve(&folder).args(&["--max-connections", "2"]).start();
    let mut first = idle(&server);
    let mut second = idle(&server);
    first.still_open();
    let mut third = idle(&server);
    second.closed();
    first.still_open();
    third.still_open();
}

#[test]
fn heads_that_never_end_keep_nobody_out() {
    let folder = site();
    let server = serve(&folder).args(&["--max-connections", "4"]).start();
    let mut slow: Vec<Client> = (0..12).map(|_| server.connect()).collect();
    for client in &mut slow {
        client.send("GET /page.txt HTTP/1.1\r\nHost: local");
    }
    for _ in 0..8 {
        idle(&server);
    }
}

#[test]
fn answers_that_are_hardly_taken_keep_nobody_out() {
    let folder = site().file("large.bin", vec![b'y'; LARGE]);
    let server = serve(&folder).args(&["--max-connections", "4"]).start();
    let mut slow: Vec<Client> = (0..4).map(|_| server.connect()).collect();
    for client in &mut slow {
        client.send("GET /large.bin HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        client.stream().peek(&mut [0]).expect("the response begins");
    }
    idle(&server);
    let line = server.logged(|line| line.contains("large.bin"));
    let sent: usize = line.rsplit(' ').next().and_then(|bytes| bytes.parse().ok()).expect("the line ends in a number");
    assert!(sent < LARGE, "the response was broken off, and the log says where: {line}");
    let received: Vec<usize> = slow.iter_mut().map(|client| client.rest().len()).collect();
    let broken_off = received.iter().filter(|bytes| **bytes < LARGE).count();
    assert_eq!(broken_off, 1, "one makes room, the others get all they asked for: {received:?}");
}

#[test]
fn who_asks_for_more_than_can_be_answered_keeps_nobody_out() {
    let folder = (0..1500).fold(site(), |folder, at| folder.file(&format!("many/{at}.txt"), ""));
    let server = serve(&folder).args(&["--list", "--max-connections", "2"]).start();
    let mut greedy: Vec<Client> = (0..2).map(|_| server.connect()).collect();
    for client in &mut greedy {
        client.send("HEAD /many/ HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(3000));
        client.stream().peek(&mut [0]).expect("the first responses come");
    }
    server.get("/page.txt").status(200).body("a page\n");
}

#[test]
fn a_busy_connection_is_not_the_one_that_goes() {
    let folder = site().file("large.bin", vec![b'y'; LARGE]);
    let server = serve(&folder).args(&["--max-connections", "2"]).start();
    let mut busy = server.connect();
    busy.send("GET /large.bin HTTP/1.1\r\nHost: localhost\r\n\r\n");
    busy.stream().peek(&mut [0]).expect("the response begins");
    let mut waiting = idle(&server);
    let mut newcomer = idle(&server);
    waiting.closed();
    newcomer.still_open();
    let response = busy.response().status(200);
    assert_eq!(response.body.len(), LARGE, "{}", response.exchange);
    busy.still_open();
}

/// So the client is woken once, and a packet less is sent.
#[test]
#[ignore = "needs strace"]
fn a_last_answer_and_the_end_of_the_connection_leave_together() {
    let folder = site();
    let server = serve(&folder).start();
    let strace = Strace::attach(&server, &["shutdown:delay_enter=100ms"], "");
    let mut client = server.connect();
    let since = Instant::now();
    client.send("GET /page.txt HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    client.response().status(200).body("a page\n");
    assert!(since.elapsed() >= Duration::from_millis(100), "the response left before the end");
    client.closed();
    strace.detach();
}
