//! Content-derived entity tags and Repr-Digest (RFC 9530).

use std::fs;
use std::io::{Read, Write};
use std::process::{Command, Stdio};

use crate::strace::Strace;
use crate::support::{Folder, Process, Response, Server, serve, until};

/// Up to here a file is in memory.
const SMALL: usize = 64 * 1024;

/// Up to here it is hashed at once, whoever asks.
const AT_ONCE: usize = 256 * 1024;

/// Up to here it is hashed.
const HASHED_MAX: usize = 8 * 1024 * 1024;

const WANTED: &str = "Want-Repr-Digest: sha-256=1\r\n";

/// A condition that never holds anything back, and needs the tag.
const COMPARED: &str = "If-None-Match: \"other\"\r\n";

/// Bytes without much of a pattern.
fn content(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 31 + at / 251 * 17 + at / 65_521) as u8).collect()
}

fn tag(response: &Response) -> String {
    response.field("ETag").to_owned()
}

/// The value of Repr-Digest for this content, as openssl computes it.
fn digest_of(content: &[u8]) -> String {
    let pipe = "openssl dgst -sha256 -binary | openssl base64 -A";
    let mut shell = Command::new("sh");
    let mut shell = shell.args(["-c", pipe]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("sh runs");
    shell.stdin.take().expect("it is a pipe").write_all(content).expect("openssl reads");
    let mut base64 = String::new();
    shell.stdout.take().expect("it is a pipe").read_to_string(&mut base64).expect("openssl writes");
    assert!(shell.wait().expect("it ends").success() && base64.len() == 44, "no digest: {base64}");
    format!("sha-256=:{base64}:")
}

#[test]
fn the_same_bytes_have_the_same_tag_on_every_machine() {
    let lens = [0, 1024, SMALL, SMALL + 1, AT_ONCE, AT_ONCE + 1, HASHED_MAX, HASHED_MAX + 1];
    let machine = |secs| {
        let folder = Folder::new();
        for len in lens {
            let name = format!("{len}.bin");
            folder.write(&name, content(len));
            folder.set_modified_secs(&name, secs);
        }
        let server = serve(&folder).start();
        let tags = lens.map(|len| tag(&server.get_with(&format!("/{len}.bin"), COMPARED).status(200)));
        (folder, tags)
    };
    let ((_one, ones), (_other, others)) = (machine(1_000_000_000), machine(1_234_567_890));
    let [ones @ .., one_large] = &ones;
    let [others @ .., other_large] = &others;
    assert_eq!(ones, others);
    assert_ne!(one_large, other_large, "what is larger is told apart by its time");
    assert!(one_large.contains('-') && ones.iter().all(|tag| !tag.contains('-')), "no form can be taken for the other");
    let known = "\"e3b0c44298fc1c149afbf4c8996fb924\"";
    assert_eq!(ones[0], known, "the first half of the SHA-256 of nothing");
}

#[test]
fn one_changed_byte_gives_another_tag_even_if_the_time_is_put_back() {
    for len in [1024, SMALL + 1, AT_ONCE + 1, HASHED_MAX] {
        let folder = Folder::new().file("a.bin", content(len));
        folder.set_modified_secs("a.bin", 1_000_000_000);
        let server = serve(&folder).start();
        let before = tag(&server.get_with("/a.bin", COMPARED).status(200));
        let mut changed = content(len);
        changed[len / 2] ^= 1;
        folder.write("a.bin", &changed);
        folder.set_modified_secs("a.bin", 1_000_000_000);
        let response = server.get_with("/a.bin", &format!("If-None-Match: {before}\r\n")).status(200).body(&changed);
        assert_ne!(tag(&response), before, "{len} bytes");
        folder.write("a.bin", content(len));
        server.get_with("/a.bin", &format!("If-None-Match: {before}\r\n")).status(304).has("ETag", &before);
    }
}

#[test]
fn the_first_byte_of_a_cold_file_does_not_wait_for_its_tag() {
    for len in [AT_ONCE + 1, HASHED_MAX] {
        let folder = Folder::new().file("cold.bin", content(len)).file("warm.bin", content(AT_ONCE));
        let server = serve(&folder).start();
        assert!(!tag(&server.get("/warm.bin").status(200)).is_empty(), "this one takes no time");
        let cold = server.get("/cold.bin").status(200).lacks("ETag").body(content(len));
        let modified = cold.field("Last-Modified").to_owned();
        // Nobody asked for the tag, and it is there.
        until("it has a tag", || !server.get("/cold.bin").status(200).all("ETag").is_empty());
        let warm = server.get("/cold.bin").status(200).has("Last-Modified", &modified).body(content(len));
        let tag = tag(&warm);
        server.get_with("/cold.bin", "Range: bytes=5-9\r\n").status(206).has("ETag", &tag);
        server.head("/cold.bin").status(200).has("ETag", &tag);
    }
}

#[test]
fn a_part_of_a_cold_file_does_not_wait_either_and_a_304_without_a_tag_has_a_date() {
    let folder = Folder::new().file("part.bin", content(HASHED_MAX)).file("date.bin", content(HASHED_MAX));
    folder.set_modified_secs("date.bin", 1_000_000_000);
    let server = serve(&folder).start();
    let part = server.get_with("/part.bin", "Range: bytes=5-9\r\n").status(206).lacks("ETag");
    part.field("Last-Modified");
    let date = "Sun, 09 Sep 2001 01:46:40 GMT";
    let since = format!("If-Modified-Since: {date}\r\n");
    server.get_with("/date.bin", &since).status(304).lacks("ETag").has("Last-Modified", date);
    until("it has a tag", || !server.get_with("/date.bin", &since).status(304).all("ETag").is_empty());
    let warm = server.get_with("/date.bin", &since).status(304).lacks("Last-Modified");
    assert!(!tag(&warm).is_empty());
}

#[test]
fn whoever_compares_tags_or_wants_the_head_gets_the_tag_of_a_cold_file() {
    let bytes = content(HASHED_MAX);
    let known = {
        let folder = Folder::new().file("a.bin", &bytes);
        tag(&serve(&folder).start().head("/a.bin").status(200))
    };
    let range = "Range: bytes=0-1\r\n";
    for (fields, status) in [
        (format!("If-None-Match: {known}\r\n"), 304),
        (format!("If-None-Match: W/{known}\r\n"), 304),
        (COMPARED.to_owned(), 200),
        (format!("If-Match: {known}\r\n"), 200),
        ("If-Match: \"other\"\r\n".to_owned(), 412),
        (format!("If-Range: {known}\r\n{range}"), 206),
        (format!("If-Range: \"other\"\r\n{range}"), 200),
        (WANTED.to_owned(), 200),
        (format!("{WANTED}{range}"), 206),
    ] {
        let folder = Folder::new().file("a.bin", &bytes);
        let server = serve(&folder).start();
        let response = server.get_with("/a.bin", &fields).status(status);
        if status != 412 {
            assert_eq!(response.field("ETag"), known, "{fields}");
        }
    }
}

/// The digests are known ones: of nothing, and of "abc" (FIPS 180-4).
#[test]
fn a_digest_of_the_whole_representation_is_sent_to_who_wants_it() {
    let abc = "sha-256=:ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=:";
    let folder = Folder::new().file("abc.txt", "abc").file("empty.txt", "").file("404.html", "none");
    let server = serve(&folder).start();
    let get = |fields: &str| server.get_with("/abc.txt", fields);
    get(WANTED).status(200).has("Repr-Digest", abc);
    get("Want-Repr-Digest: sha-512=3, sha-256=10, unixsum=0\r\n").status(200).has("Repr-Digest", abc);
    get(&format!("{WANTED}Range: bytes=1-1\r\n")).status(206).body("b").has("Repr-Digest", abc);
    let parts = get(&format!("{WANTED}Range: bytes=0-0,2-2\r\n")).status(206).has("Repr-Digest", abc);
    assert!(parts.field("Content-Type").starts_with("multipart/byteranges"));
    let head = format!("HEAD /abc.txt HTTP/1.1\r\nHost: localhost\r\n{WANTED}\r\n");
    server.connect().send(head).response_to_head().status(200).has("Repr-Digest", abc);
    let of_nothing = "sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:";
    server.get_with("/empty.txt", WANTED).status(200).has("Repr-Digest", of_nothing);

    get("").status(200).lacks("Repr-Digest");
    let same = get(&format!("{WANTED}If-None-Match: *\r\n")).status(304).lacks("Repr-Digest");
    assert!(!tag(&same).is_empty());
    get(&format!("{WANTED}If-Match: \"x\"\r\n")).status(412).lacks("Repr-Digest");
    get(&format!("{WANTED}Range: bytes=9-\r\n")).status(416).lacks("Repr-Digest");
    server.get_with("/missing", WANTED).status(404).lacks("Repr-Digest");
    for unwanted in ["sha-256=0", "sha-512=10", "sha-256", "sha-256=11", "sha-256=1,", "SHA-256=1", "sha-256=1, !"] {
        get(&format!("Want-Repr-Digest: {unwanted}\r\n")).status(200).body("abc").lacks("Repr-Digest");
    }
}

#[test]
fn a_digest_that_nobody_wants_to_wait_for_has_no_place_above_8_mib() {
    let folder = Folder::new().file("large.bin", content(HASHED_MAX + 1));
    let server = serve(&folder).start();
    let response = server.get_with("/large.bin", WANTED).status(200).lacks("Repr-Digest");
    assert!(tag(&response).contains('-'));
}

#[test]
#[ignore = "needs openssl"]
fn the_digest_is_the_one_that_openssl_computes() {
    for len in [1, SMALL, SMALL + 1, AT_ONCE + 1, HASHED_MAX] {
        let bytes = content(len);
        let folder = Folder::new().file("a.bin", &bytes);
        let server = serve(&folder).start();
        let expected = digest_of(&bytes);
        server.get_with("/a.bin", &format!("{WANTED}Range: bytes=0-0\r\n")).status(206).has("Repr-Digest", &expected);
        server.get_with("/a.bin", WANTED).status(200).has("Repr-Digest", &expected);
    }
}

/// Answers without content, so that what is read beside the beginning is read to be hashed.
#[test]
#[ignore = "needs strace"]
fn a_file_is_hashed_once_for_all_that_want_it() {
    let folder = Folder::new().file("a.bin", content(HASHED_MAX));
    let server = serve(&folder).args(&["--log", "off"]).start();
    server.get("/a.bin").status(200);
    until("it has a tag", || !server.get("/a.bin").status(200).all("ETag").is_empty());
    server.rests();
    let mut strace = count_reads(&server);
    for _ in 0..5 {
        server.head("/a.bin").status(200).field("ETag");
        server.get_with("/a.bin", &format!("{WANTED}If-None-Match: *\r\n")).status(304);
    }
    strace.signal("TERM");
    let (_, lines) = strace.ended();
    let count = |call: &str| lines.iter().filter(|line| line.contains(call)).count();
    assert_eq!(count("pread64("), 0, "it is read again\n{}", lines.join("\n"));
    assert!(count("fstat(") >= 10, "it is looked at each time, to know it by\n{}", lines.join("\n"));
}

fn count_reads(server: &Server) -> Process {
    let mut command = Command::new("strace");
    command.args(["-f", "-p", &server.pid().to_string(), "--trace=pread64,fstat"]);
    let mut process = Process::start(&mut command, Stdio::null());
    while !process.next_line().contains(" attached") {}
    process
}

#[test]
#[ignore = "needs strace"]
fn a_file_that_cannot_be_read_has_no_tag_and_says_so() {
    let folder = Folder::new().file("a.bin", content(HASHED_MAX));
    let server = serve(&folder).start();
    // The first call reads the beginning, to know the file by; the third is in the middle of hashing.
    let strace = Strace::attach(&server, &["pread64:error=EIO:when=3"], "");
    let response = server.get_with("/a.bin", COMPARED);
    strace.detach();
    response.status(500).lacks("ETag");
    server.get_with("/a.bin", COMPARED).status(200).body(content(HASHED_MAX));
}

/// Of what is being changed while it is hashed nothing can be said: its length and time may be those of other content too.
#[test]
#[ignore = "needs strace"]
fn a_file_that_changes_while_it_is_hashed_has_neither_digest_nor_tag() {
    let folder = Folder::new().file("a.bin", content(HASHED_MAX));
    let server = serve(&folder).start();
    let mut strace = Strace::attach(&server, &["pread64:signal=SIGSTOP:when=50"], "");
    let mut client = server.connect();
    client.send(format!("HEAD /a.bin HTTP/1.1\r\nHost: localhost\r\n{WANTED}\r\n"));
    strace.stopped();
    let mut changed = content(HASHED_MAX);
    changed[0] ^= 1;
    fs::write(folder.at("a.bin"), &changed).expect("the file can be written");
    server.signal("CONT");
    let response = client.response_to_head().status(200).lacks("Repr-Digest").lacks("ETag");
    assert!(!response.field("Last-Modified").is_empty());
    strace.detach();
    let after = server.get_with("/a.bin", WANTED).status(200).body(&changed);
    assert!(!tag(&after).contains('-') && after.all("Repr-Digest").len() == 1);
}
