//! Change of a large file while a slow client reads it: the response is cut off, or wholly of one version.

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::time::UNIX_EPOCH;

use rustix::net::sockopt::set_socket_recv_buffer_size;

use super::{CELL, Raw, overwrite, version, version_of};
use crate::support::{Client, Folder, serve};

/// More cells than socket buffers hold: the server is still sending when the file changes.
const CELLS: usize = 4_000_000;

/// Reads version 1 slowly while the file is changed.
fn slow(request: &str, change: impl FnOnce(&Folder)) -> Raw {
    let folder = Folder::new().file("file.txt", version(1, CELLS)).file("small.txt", "small");
    let server = serve(&folder).start();
    let mut client = server.connect();
    set_socket_recv_buffer_size(client.stream(), 65_536).expect("the option can be set");
    client.send(request);
    let mut bytes = beginning(&client);
    change(&folder);
    bytes.extend(client.rest());
    server.get("/small.txt").status(200).body("small");
    Raw::parse(&bytes).expect("the head came before the change")
}

const GET: &str = "GET /file.txt HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

/// Reads the head and a little of the content.
fn beginning(client: &Client) -> Vec<u8> {
    let mut bytes = vec![0; 2000];
    let mut stream = client.stream();
    stream.read_exact(&mut bytes).expect("the response begins");
    bytes
}

/// Asserts that the response is cut off.
#[track_caller]
fn cut(response: &Raw) {
    assert!(!response.is_complete(), "a complete response of {} bytes from a file that was changed", response.length);
}

#[test]
fn replaced_file_is_sent_to_its_end() {
    let response = slow(GET, |folder| folder.replace("file.txt", version(2, CELLS)));
    assert!(response.is_complete(), "a rename harms no response: {} of {}", response.body.len(), response.length);
    assert_eq!(version_of(&response.body), Some(1));
}

#[test]
fn removed_file_is_sent_to_its_end() {
    let response = slow(GET, |folder| fs::remove_file(folder.at("file.txt")).expect("the file can be removed"));
    assert!(response.is_complete(), "a removal harms no response: {} of {}", response.body.len(), response.length);
    assert_eq!(version_of(&response.body), Some(1));
}

#[test]
fn appended_file_is_sent_at_announced_length() {
    let response = slow(GET, |folder| {
        let file = File::options().append(true).open(folder.at("file.txt"));
        file.and_then(|mut file| file.write_all(&version(2, 1000))).expect("the file can be written");
    });
    assert!(response.is_complete(), "an append harms no response: {} of {}", response.body.len(), response.length);
    assert_eq!(response.length, CELLS * CELL);
    assert_eq!(version_of(&response.body), Some(1));
}

#[test]
fn truncated_file_is_cut_off_and_never_padded() {
    let full = (CELLS * CELL) as u64;
    for length in [0, 1, full / 2, full - 1] {
        let response = slow(GET, |folder| resize(folder, &[length]));
        cut(&response);
        assert_eq!(version_of(&response.body[..response.body.len() / CELL * CELL]), Some(1), "cut to {length}");
    }
}

#[test]
fn file_truncated_and_extended_is_cut_off() {
    let full = (CELLS * CELL) as u64;
    cut(&slow(GET, |folder| resize(folder, &[0, full])));
    cut(&slow(GET, |folder| resize(folder, &[full / 2, full])));
}

#[test]
fn file_rewritten_in_place_is_cut_off() {
    cut(&slow(GET, |folder| overwrite(folder, &version(2, CELLS), 65_536)));
    cut(&slow(GET, |folder| folder.write("file.txt", version(2, CELLS))));
}

#[test]
fn file_rewritten_with_old_mtime_is_cut_off() {
    let response = slow(GET, |folder| {
        let old = fs::metadata(folder.at("file.txt")).and_then(|data| data.modified()).unwrap_or(UNIX_EPOCH);
        overwrite(folder, &version(2, CELLS), 65_536);
        let file = File::open(folder.at("file.txt"));
        file.and_then(|file| file.set_modified(old)).expect("the time can be set");
    });
    cut(&response);
}

#[test]
fn file_rewritten_longer_is_not_taken_for_an_append() {
    for rewrite in [
        |folder: &Folder| overwrite(folder, &version(2, CELLS + 1000), 65_536),
        |folder: &Folder| {
            folder.write("file.txt", version(2, CELLS + 1000));
        },
    ] {
        let response = slow(GET, rewrite);
        if response.is_complete() {
            assert_eq!(version_of(&response.body), Some(1));
        }
    }
}

#[test]
fn parts_of_rewritten_file_are_cut_off() {
    let last = CELLS * CELL - 1;
    for ranges in [format!("0-{last}"), "9-".to_owned(), format!("-{last}"), "0-8,90-".to_owned()] {
        let request = GET.replace("\r\n\r\n", &format!("\r\nRange: bytes={ranges}\r\n\r\n"));
        let response = slow(&request, |folder| overwrite(folder, &version(2, CELLS), 65_536));
        assert_eq!(response.status, 206, "{ranges}");
        cut(&response);
    }
}

#[test]
fn cut_response_is_never_followed_by_another() {
    let pipelined =
        "GET /file.txt HTTP/1.1\r\nHost: localhost\r\n\r\nGET /small.txt HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let response = slow(pipelined, |folder| resize(folder, &[1000]));
    cut(&response);
    assert!(!response.body.windows(8).any(|window| window == b"HTTP/1.1"), "the client would take this for content");
}

#[test]
fn http_1_0_response_is_cut_off_too() {
    cut(&slow("GET /file.txt HTTP/1.0\r\n\r\n", |folder| resize(folder, &[1000])));
}

#[test]
fn response_without_length_is_cut_off_by_reset() {
    let folder = Folder::new().file("file.txt", version(1, CELLS));
    let server = serve(&folder).start();
    let mut client = server.connect();
    set_socket_recv_buffer_size(client.stream(), 65_536).expect("the option can be set");
    client.send("GET /file.txt\r\n");
    beginning(&client);
    resize(&folder, &[1000]);
    // An orderly close would mean a complete response.
    let end = std::io::copy(&mut client.stream(), &mut std::io::sink()).map_err(|error| error.kind());
    assert_eq!(end, Err(ErrorKind::ConnectionReset));
}

/// Sets the file's length to each of these values.
fn resize(folder: &Folder, lengths: &[u64]) {
    let file = File::options().write(true).open(folder.at("file.txt")).expect("the file can be opened");
    for length in lengths {
        file.set_len(*length).expect("the length can be set");
    }
}
