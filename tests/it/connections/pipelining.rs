//! Pipelined and split requests.

use crate::support::{Client, Folder, GET, Response, serve, site};

/// A site, and a hundred requests of several kinds; the last one closes the connection.
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

/// A response without its date.
#[derive(Debug, PartialEq)]
struct Dateless {
    status: u16,
    fields: Vec<(String, String)>,
    body: String,
}

/// Reads the responses to the hundred requests.
#[track_caller]
fn hundred_responses(client: &mut Client) -> Vec<Dateless> {
    let dateless = |mut response: Response| {
        response.fields.retain(|(name, _)| name != "Date");
        Dateless { body: response.text(), status: response.status, fields: response.fields }
    };
    let responses = (0..100).map(|_| dateless(client.response())).collect();
    client.closed();
    responses
}

#[test]
fn pipelined_requests_get_responses_in_order() {
    let (folder, bytes) = hundred();
    let server = serve(&folder).start();
    let responses = hundred_responses(server.connect().send(bytes));
    for (n, dateless) in (1..).zip(&responses) {
        let (status, content) = match n % 10 {
            3 => (404, None),
            5 => (200, Some(String::new())),
            7 => (405, None),
            _ => (200, Some(format!("file {n}\n").repeat(n))),
        };
        assert_eq!(dateless.status, status, "response {n}: {dateless:?}");
        assert!(content.is_none_or(|content| content == dateless.body), "response {n}: {dateless:?}");
    }
}

#[test]
fn byte_by_byte_requests_get_same_responses() {
    let (folder, bytes) = hundred();
    let server = serve(&folder).start();
    let at_once = hundred_responses(server.connect().send(&bytes));
    let slowly = hundred_responses(server.connect().send_slowly(&bytes));
    assert_eq!(at_once, slowly);
}

#[test]
fn request_split_at_any_byte_gets_same_response() {
    let folder = site();
    let server = serve(&folder).start();
    let mut client = server.connect();
    for at in 1..GET.len() {
        client.send(&GET[..at]).send(&GET[at..]);
        client.response().status(200).body("a page\n");
    }
}

#[test]
fn requests_after_close_are_ignored() {
    let folder = site();
    let server = serve(&folder).start();
    let mut client = server.connect();
    client.send(format!("{GET}GET /page.txt HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n{GET}{GET}"));
    client.response().status(200);
    client.response().status(200).has("Connection", "close").body("a page\n");
    client.closed();
}
