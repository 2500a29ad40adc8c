//! Repr-Digest (RFC 9530), and failures while a file is hashed.

use std::fs;
use std::io::{Read, Write};
use std::process::{Command, Stdio};

use crate::strace::Strace;
use crate::support::{Folder, Process, Response, Server, serve};
use crate::validators::content;

/// Files up to this length are in memory.
const SMALL: usize = 64 * 1024;

/// Files up to this length are hashed.
const HASHED_MAX: usize = 8 << 20;

const WANTED: &str = "Want-Repr-Digest: sha-256=1\r\n";

fn tag(response: &Response) -> String {
    response.field("ETag").to_owned()
}

/// The value of Repr-Digest for this content, as openssl computes it.
fn digest_of(content: &[u8]) -> String {
    let pipe = "openssl dgst -sha256 -binary | openssl base64 -A";
    let mut shell = Command::new("sh");
    let mut shell = shell.args(["-c", pipe]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("sh runs");
    shell.stdin.take().expect("a pipe").write_all(content).expect("openssl reads");
    let mut base64 = String::new();
    shell.stdout.take().expect("a pipe").read_to_string(&mut base64).expect("openssl writes");
    assert!(shell.wait().expect("the shell ends").success() && base64.len() == 44, "no digest: {base64}");
    format!("sha-256=:{base64}:")
}

/// The digests are published ones: of nothing, and of "abc" (FIPS 180-4).
#[test]
fn requested_digest_is_that_of_whole_representation() {
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
fn file_above_8_mib_has_no_digest() {
    let folder = Folder::new().file("large.bin", content(HASHED_MAX + 1));
    let server = serve(&folder).start();
    let response = server.get_with("/large.bin", WANTED).status(200).lacks("Repr-Digest");
    assert!(tag(&response).contains('-'));
}

#[test]
#[ignore = "needs openssl"]
fn digest_is_the_one_openssl_computes() {
    for len in [1, SMALL, SMALL + 1, HASHED_MAX] {
        let bytes = content(len);
        let folder = Folder::new().file("a.bin", &bytes);
        let server = serve(&folder).start();
        let expected = digest_of(&bytes);
        server.get_with("/a.bin", &format!("{WANTED}Range: bytes=0-0\r\n")).status(206).has("Repr-Digest", &expected);
        server.get_with("/a.bin", WANTED).status(200).has("Repr-Digest", &expected);
    }
}

/// Responses without content, so that every read is one for hashing.
#[test]
#[ignore = "needs strace"]
fn file_is_hashed_once_for_all_requests() {
    let folder = Folder::new().file("a.bin", content(HASHED_MAX));
    let server = serve(&folder).args(&["--log", "off"]).start();
    server.head("/a.bin").status(200).field("ETag");
    server.rests();
    let mut strace = count_reads(&server);
    for _ in 0..5 {
        server.head("/a.bin").status(200).field("ETag");
        server.get_with("/a.bin", &format!("{WANTED}If-None-Match: *\r\n")).status(304);
    }
    strace.signal("TERM");
    let (_, lines) = strace.ended();
    let count = |call: &str| lines.iter().filter(|line| line.contains(call)).count();
    assert_eq!(count("pread64("), 0, "the file is read again\n{}", lines.join("\n"));
    assert!(count("fstat(") >= 10, "each request checks the metadata\n{}", lines.join("\n"));
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
fn read_error_while_hashing_is_500_without_tag() {
    let folder = Folder::new().file("a.bin", content(HASHED_MAX));
    let server = serve(&folder).start();
    // The first call reads the beginning; the third is in the middle of hashing.
    let strace = Strace::attach(&server, &["pread64:error=EIO:when=3"], "");
    let response = server.get("/a.bin");
    strace.detach();
    response.status(500).lacks("ETag");
    server.get("/a.bin").status(200).body(content(HASHED_MAX));
}

/// Length and times may be those of other content too.
#[test]
#[ignore = "needs strace"]
fn file_changing_while_hashed_has_no_validator() {
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
    client.response_to_head().status(200).lacks("Repr-Digest").lacks("ETag").lacks("Last-Modified");
    strace.detach();
    let after = server.get_with("/a.bin", WANTED).status(200).body(&changed);
    assert!(!tag(&after).contains('-') && after.all("Repr-Digest").len() == 1);
}
