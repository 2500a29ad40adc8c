//! Faults while a large file is sent: the response is whole or visibly truncated.
//!
//! strace injects the errors, as in `faults`. The server reads a large file's beginning (`pread64`), sends the middle by
//! `sendfile`, and reads the end, which it holds back until another `fstat` shows no change.

use std::io::{self, ErrorKind};

use serde_json::Value;

use crate::changing::Raw;
use crate::faults::{Told, ask, telling};
use crate::strace::Strace;
use crate::support::{Folder, Server, serve};

/// A length that takes several calls of `sendfile`, and is too long to be hashed before.
const LARGE: u32 = 9 << 20;

/// Content without repetition.
fn content() -> Vec<u8> {
    (0..LARGE / 4).flat_map(u32::to_le_bytes).collect()
}

/// A site whose large file is stable, so that sendfile sends it.
fn site() -> Folder {
    Folder::new().file("large.bin", content()).file("a.txt", "hello").at_rest("large.bin")
}

/// Sends a request on a connection of its own during these faults; returns the bytes of its response.
#[track_caller]
fn under(server: &Server, faults: &[&str], request: &str) -> Vec<u8> {
    let mut client = server.connect();
    client.still_open();
    let strace = Strace::attach(server, faults, "");
    let bytes = client.send(request).rest();
    strace.detach();
    ask(&mut server.connect(), "/a.txt").status(200).body("hello");
    bytes
}

fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
}

#[test]
#[ignore = "needs strace"]
fn failed_sendfile_falls_back_to_copying() {
    let folder = site();
    let server = telling(&folder).start();
    let table = [
        // Some file systems and sandboxes lack it.
        "sendfile:error=EINVAL",
        "sendfile:error=EINVAL:when=2",
        "sendfile:error=ENOSYS",
        "sendfile:error=EOPNOTSUPP",
        "sendfile:error=EOVERFLOW:when=2",
        "sendfile:error=EIO:when=1",
        "sendfile:error=EIO:when=2",
        "sendfile:error=ENOMEM:when=2",
        // A signal, or a slow client.
        "sendfile:error=EINTR:when=1..3",
        "sendfile:error=EAGAIN:when=1..3",
        "sendto:error=EINTR:when=1..3",
        "sendto:error=EAGAIN:when=1..3",
    ];
    for (number, fault) in table.iter().enumerate() {
        let bytes = under(&server, &[fault], &get(&format!("/large.bin?{number}")));
        let response = Raw::parse(&bytes).unwrap_or_else(|| panic!("{fault}: no head arrived"));
        assert!(response.status == 200 && response.body == content(), "{fault}: other bytes arrived");
    }
    let told = Told::by(&server);
    for (number, fault) in table.iter().enumerate() {
        let lines = told.lines(&format!("/large.bin?{number}"));
        assert_eq!(lines.len(), 1, "{fault}: {lines:?}");
        assert_eq!((&lines[0]["bytes"], &lines[0]["broken_off"]), (&LARGE.into(), &Value::Null), "{fault}");
    }
    assert!(told.warnings.is_empty(), "{:#?}", told.warnings);
}

#[test]
#[ignore = "needs strace"]
fn sendfile_without_memory_is_not_retried_at_once() {
    let folder = site();
    let server = serve(&folder).args(&["--write-timeout", "1"]).start();
    let mut client = server.connect();
    client.still_open();
    let strace = Strace::attach(&server, &["sendfile:error=EAGAIN"], "");
    cut(&client.send(get("/large.bin")).rest(), "nothing was sent");
    let calls = strace.detach();
    assert!(calls < 200, "{calls} calls in a second");
}

/// Returns the content of a truncated response. Bytes in the send buffer are lost, which can be all of them.
#[track_caller]
fn cut(bytes: &[u8], what: &str) -> Vec<u8> {
    let Some(response) = Raw::parse(bytes) else { return Vec::new() };
    assert!(response.status < 300 && !response.is_complete(), "{what}: a whole response");
    response.body
}

/// The faults, the reason in the access log, and the error in the warning.
type Break = (&'static [&'static str], &'static str, &'static str);

const UNREADABLE: &str = "the file cannot be read: ";
const CHANGED: &str = "the file changed while it was sent";
const BROKEN: &str = "the connection failed: ";

const BREAKS: [Break; 15] = [
    (&["sendfile:error=EIO", "pread64:error=EIO:when=2+"], UNREADABLE, "Input/output error"),
    (&["sendfile:error=EIO:when=2", "pread64:error=EIO:when=2+"], UNREADABLE, "Input/output error"),
    (&["sendfile:error=ESTALE:when=2", "pread64:error=ESTALE:when=2+"], UNREADABLE, "Stale file handle"),
    (&["sendfile:error=EUCLEAN:when=2", "pread64:error=EUCLEAN:when=2+"], UNREADABLE, "Structure needs cleaning"),
    (&["sendfile:error=ETIMEDOUT:when=2", "pread64:error=ETIMEDOUT:when=2+"], UNREADABLE, "Connection timed out"),
    // In the middle, and at the end.
    (&["sendfile:error=EINVAL", "pread64:error=EIO:when=3"], UNREADABLE, "Input/output error"),
    (&["pread64:error=EIO:when=2"], UNREADABLE, "Input/output error"),
    (&["fstat:error=EIO:when=3"], UNREADABLE, "Input/output error"),
    // The file is shorter now.
    (&["sendfile:retval=0:when=1"], CHANGED, ""),
    (&["sendfile:retval=0:when=2"], CHANGED, ""),
    (&["sendfile:error=EINVAL", "pread64:retval=0:when=3"], CHANGED, ""),
    (&["pread64:retval=0:when=2"], CHANGED, ""),
    // The client has closed.
    (&["sendfile:error=EPIPE:when=2"], BROKEN, ""),
    (&["sendfile:error=ECONNRESET:when=2"], BROKEN, ""),
    (&["sendfile:error=EHOSTUNREACH:when=2", "sendto:error=EPIPE:when=2+"], BROKEN, ""),
];

#[test]
#[ignore = "needs strace"]
fn unreadable_rest_truncates_response_and_is_logged() {
    let folder = site();
    // Without a cache each response makes the same calls.
    let server = telling(&folder).args(&["--cache-memory", "0"]).start();
    let mut came = Vec::new();
    for (number, (faults, ..)) in BREAKS.iter().enumerate() {
        let bytes = under(&server, faults, &get(&format!("/large.bin?{number}")));
        let response = cut(&bytes, &format!("{faults:?}"));
        assert!(content().starts_with(&response), "{faults:?}: other bytes arrived");
        came.push(response.len() as u64);
    }
    let told = Told::by(&server);
    for (number, ((faults, reason, error), came)) in BREAKS.iter().zip(came).enumerate() {
        let lines = told.lines(&format!("/large.bin?{number}"));
        assert_eq!(lines.len(), 1, "{faults:?}: {lines:?}");
        let broken_off = lines[0]["broken_off"].as_str().unwrap_or_else(|| panic!("{faults:?}: {lines:?}"));
        assert!(broken_off.starts_with(reason) && broken_off.contains(error), "{faults:?}: {broken_off}");
        let bytes = lines[0]["bytes"].as_u64().expect("a number of bytes");
        assert!(lines[0]["status"] == 200 && bytes >= came && bytes < LARGE.into(), "{faults:?}: {lines:?}");
    }
    let errors: Vec<_> = BREAKS.iter().map(|(.., error)| error).filter(|error| !error.is_empty()).collect();
    assert_eq!(told.warnings.len(), errors.len(), "{:#?}", told.warnings);
    for (error, warning) in errors.iter().zip(&told.warnings) {
        assert!(warning.contains("could not be sent to its end") && warning.contains(*error), "{warning}");
    }
}

/// Faults that make a file unreadable after 64 KiB were copied.
const UNREADABLE_LATER: &[&str] = &["sendfile:error=EIO", "pread64:error=EIO:when=3+"];

#[test]
#[ignore = "needs strace"]
fn nothing_follows_truncated_response() {
    let folder = site();
    let server = telling(&folder).start();
    let next = "GET /a.txt HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let one = "GET /large.bin HTTP/1.1\r\nHost: localhost\r\n";
    for request in [
        format!("{one}\r\n{next}"),
        format!("{one}Range: bytes=1000-\r\n\r\n{next}"),
        format!("{one}Range: bytes=0-99,1000-900000\r\n\r\n{next}"),
        "GET /large.bin HTTP/1.0\r\n\r\n".to_owned(),
        format!("GET /large.bin HTTP/1.0\r\nConnection: keep-alive\r\n\r\n{next}"),
    ] {
        let bytes = under(&server, UNREADABLE_LATER, &request);
        let response = cut(&bytes, &request);
        assert!(!response.windows(8).any(|window| window == b"HTTP/1.1"), "the client would read this as content");
    }
}

#[test]
#[ignore = "needs strace"]
fn truncated_response_without_length_ends_in_reset() {
    let folder = site();
    let server = telling(&folder).start();
    let mut client = server.connect();
    let strace = Strace::attach(&server, UNREADABLE_LATER, "");
    client.send("GET /large.bin\r\n");
    // An orderly end would mark the response as whole.
    let end = io::copy(&mut client.stream(), &mut io::sink()).map_err(|error| error.kind());
    assert_eq!(end, Err(ErrorKind::ConnectionReset));
    strace.detach();
}

#[test]
#[ignore = "needs strace"]
fn failed_send_to_client_is_no_warning() {
    let folder = site();
    let server = telling(&folder).start();
    let table = [
        ("/a.txt", "sendto:error=EPIPE"),
        ("/a.txt", "sendto:error=ECONNRESET"),
        ("/a.txt", "sendto:error=ETIMEDOUT"),
        ("/a.txt", "sendto:error=EHOSTUNREACH"),
        ("/a.txt", "sendto:error=ENOBUFS"),
        ("/a.txt", "sendto:error=ENOMEM"),
        ("/large.bin", "sendto:error=EPIPE"),
        ("/large.bin", "sendto:error=ENOBUFS"),
    ];
    for (number, (target, fault)) in table.iter().enumerate() {
        let bytes = under(&server, &[fault], &get(&format!("{target}?{number}")));
        assert!(bytes.is_empty(), "{fault}: {} bytes arrived", bytes.len());
    }
    let told = Told::by(&server);
    for (number, (target, fault)) in table.iter().enumerate() {
        let lines = told.lines(&format!("{target}?{number}"));
        assert_eq!(lines.len(), 1, "{fault}: {lines:?}");
    }
    assert!(told.warnings.is_empty(), "{:#?}", told.warnings);
}
