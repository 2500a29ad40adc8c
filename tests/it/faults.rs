//! Errors of the file system before a response: each gives a definite status and one line of the access log, and the
//! server continues. `faults_sending` has later errors.
//!
//! strace injects the errors into the real server's system calls.

use serde_json::Value;

use crate::strace::Strace;
use crate::support::{Client, Folder, Response, Server, Starter, serve};

/// One request while a system call fails, and the expected outcome.
struct Case {
    target: &'static str,
    /// The injection of strace, limited to calls with this path unless it is empty.
    fault: &'static str,
    path: &'static str,
    status: u16,
    /// A part of the content.
    says: &'static str,
    /// The error in the warning; empty if there is none.
    warned: &'static str,
}

type Row = (&'static str, u16, &'static str, &'static str);

/// Makes the cases of one target and path from rows of fault, status, content and warning.
fn cases(target: &'static str, path: &'static str, rows: &[Row]) -> Vec<Case> {
    let case = |&(fault, status, says, warned): &Row| Case { target, fault, path, status, says, warned };
    rows.iter().map(case).collect()
}

const FAILED: &str = "The file system reported an error.";
pub const NOTHING: &str = "There is nothing here.";
const UNREADABLE: &str = "The server is not allowed to read this file.";
const EXHAUSTED: &str = "The server has run out of descriptors or memory.";
const CHANGING: &str = "The file is being rewritten at this moment.";
const NO_LISTING: &str = "This directory has no index file, and directories are not listed.";

pub fn site() -> Folder {
    let folder = Folder::new().file("a.txt", "hello").file("large.bin", vec![b'x'; 1 << 20]);
    let folder = folder.file("d/one.txt", "one").file("d/two.txt", "two").link("d/link.txt", "one.txt");
    folder.file("i/index.html", "index")
}

/// Starts a server that caches no file, so that every request opens one.
fn start(folder: &Folder, args: &[&str]) -> Server {
    telling(folder).args(&["--cache-memory", "0"]).args(args).start()
}

/// Begins a server with the logs that [`Told`] reads.
pub fn telling(folder: &Folder) -> Starter {
    serve(folder).args(&["--log", "json", "-vv"])
}

/// Runs the cases, each on a connection of its own, and checks the response and the logs.
#[track_caller]
fn check(folder: &Folder, server: &Server, cases: &[Case]) {
    for (number, case) in cases.iter().enumerate() {
        let mut client = server.connect();
        client.still_open();
        let strace = Strace::attach(server, &[case.fault], case.path);
        let response = ask(&mut client, &format!("{}?{number}.", case.target));
        assert_eq!(response.status, case.status, "{} on {:?}\n{}", case.fault, case.path, response.exchange);
        let retry_after: &[&str] = if case.status == 503 { &["1"] } else { &[] };
        assert_eq!(response.all("Retry-After"), retry_after, "{}", case.fault);
        let root = folder.path().to_str().expect("the path is text");
        response.says(case.says).never_says(root).never_says("os error");
        strace.detach();
        ask(&mut client, "/a.txt").status(200).body("hello");
        server.get("/a.txt").status(200).body("hello");
    }
    let told = Told::by(server);
    for (number, case) in cases.iter().enumerate() {
        let lines = told.lines(&format!("{}?{number}.", case.target));
        assert_eq!(lines.len(), 1, "{} on {:?}: {lines:?}", case.fault, case.path);
        assert_eq!(lines[0]["status"], case.status, "{}", case.fault);
        assert_eq!(lines[0]["broken_off"], Value::Null, "{}", case.fault);
    }
    let expected: Vec<_> = cases.iter().filter(|case| !case.warned.is_empty()).collect();
    assert_eq!(told.warnings.len(), expected.len(), "{:#?}", told.warnings);
    for (case, warning) in expected.iter().zip(&told.warnings) {
        assert!(warning.contains(case.warned) && warning.contains(case.target), "{}: {warning}", case.fault);
    }
}

/// Requests a target on a kept connection.
#[track_caller]
pub fn ask(client: &mut Client, target: &str) -> Response {
    client.send(format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n")).response()
}

/// The logs of a server so far.
pub struct Told {
    lines: Vec<Value>,
    /// The warnings and errors, in their order.
    pub warnings: Vec<String>,
}

impl Told {
    /// Sends another request: once it is in both logs, earlier ones are too.
    #[track_caller]
    pub fn by(server: &Server) -> Told {
        server.ask("OPTIONS /last HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").status(204);
        server.logged(|line| line.contains("/last"));
        server.said(|line| line.contains("/last"));
        let is_warning = |line: &String| ["WARN", "ERROR", "panicked"].iter().any(|word| line.contains(word));
        let lines = server.log().iter().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect();
        Told { lines, warnings: server.diagnostics().into_iter().filter(is_warning).collect() }
    }

    /// The lines of the access log for this target.
    pub fn lines(&self, target: &str) -> Vec<&Value> {
        self.lines.iter().filter(|line| line["target"] == target).collect()
    }
}

#[test]
#[ignore = "needs strace"]
fn open_error_of_file_decides_status() {
    let folder = site();
    let server = start(&folder, &[]);
    let rows = [
        ("openat2:error=ENOENT", 404, NOTHING, ""),
        ("openat2:error=ENOTDIR", 404, NOTHING, ""),
        ("openat2:error=ELOOP", 404, NOTHING, ""),
        ("openat2:error=EXDEV", 404, NOTHING, ""),
        ("openat2:error=ENXIO", 404, NOTHING, ""),
        ("openat2:error=ENODEV", 404, NOTHING, ""),
        // Names that some file systems cannot hold: too long, with forbidden characters, not UTF-8.
        ("openat2:error=ENAMETOOLONG", 404, NOTHING, ""),
        ("openat2:error=EINVAL", 404, NOTHING, ""),
        ("openat2:error=EILSEQ", 404, NOTHING, ""),
        ("openat2:error=EACCES", 403, UNREADABLE, ""),
        ("openat2:error=EPERM", 403, UNREADABLE, ""),
        ("openat2:error=EMFILE", 503, EXHAUSTED, "Too many open files"),
        ("openat2:error=ENFILE", 503, EXHAUSTED, "Too many open files in system"),
        ("openat2:error=ENOMEM", 503, EXHAUSTED, "Cannot allocate memory"),
        ("openat2:error=EIO", 500, FAILED, "Input/output error"),
        ("openat2:error=ESTALE", 500, FAILED, "Stale file handle"),
        ("openat2:error=EUCLEAN", 500, FAILED, "Structure needs cleaning"),
        ("openat2:error=ETIMEDOUT", 500, FAILED, "Connection timed out"),
        ("openat2:error=ENOTCONN", 500, FAILED, "endpoint is not connected"),
        // A lookup disturbed by renames or signals is repeated, a limited number of times.
        ("openat2:error=EAGAIN:when=1..3", 200, "hello", ""),
        ("openat2:error=EINTR:when=1..3", 200, "hello", ""),
        ("openat2:error=EAGAIN", 503, EXHAUSTED, "Resource temporarily unavailable"),
        ("openat2:error=EINTR", 500, FAILED, "Interrupted system call"),
    ];
    check(&folder, &server, &cases("/a.txt", "a.txt", &rows));
}

#[test]
#[ignore = "needs strace"]
fn open_error_of_index_is_not_hidden_by_listing() {
    let folder = site();
    for (args, without_index, says) in [(&["--list"][..], 200, "<table"), (&[], 404, NO_LISTING)] {
        let server = start(&folder, args);
        let rows = [
            ("openat2:error=ENOENT", without_index, says, ""),
            ("openat2:error=ELOOP", without_index, says, ""),
            ("openat2:error=ENAMETOOLONG", without_index, says, ""),
            ("openat2:error=EACCES", 403, UNREADABLE, ""),
            ("openat2:error=EMFILE", 503, EXHAUSTED, "Too many open files"),
            ("openat2:error=EIO", 500, FAILED, "Input/output error"),
            ("openat2:error=EAGAIN:when=1..3", 200, "index", ""),
        ];
        check(&folder, &server, &cases("/i/", "i/index.html", &rows));
    }
}

#[test]
#[ignore = "needs strace"]
fn open_error_of_directory_decides_status() {
    let folder = site();
    let server = start(&folder, &["--list"]);
    let rows = [
        ("openat2:error=ENOENT", 404, NOTHING, ""),
        ("openat2:error=ENOTDIR", 404, NOTHING, ""),
        ("openat2:error=EACCES", 403, UNREADABLE, ""),
        ("openat2:error=EMFILE", 503, EXHAUSTED, "Too many open files"),
        ("openat2:error=EIO", 500, FAILED, "Input/output error"),
    ];
    for target in ["/d/", "/d"] {
        let server = start(&folder, &["--list"]);
        check(&folder, &server, &cases(target, "d", &rows));
    }
    // Only a listing reads the entries.
    let rows = [
        ("openat:error=ENOENT", 404, NOTHING, ""),
        ("openat:error=EACCES", 403, UNREADABLE, ""),
        ("openat:error=EMFILE", 503, EXHAUSTED, "Too many open files"),
        ("openat:error=EIO", 500, FAILED, "Input/output error"),
    ];
    check(&folder, &server, &cases("/d/", ".", &rows));
}

#[test]
#[ignore = "needs strace"]
fn open_error_of_custom_404_page_changes_no_status() {
    let folder = site().file("404.html", "the site's own");
    let server = start(&folder, &[]);
    let rows = [
        ("openat2:error=ENOENT", 404, NOTHING, ""),
        ("openat2:error=ELOOP", 404, NOTHING, ""),
        ("openat2:error=EACCES", 404, NOTHING, ""),
        ("openat2:error=EMFILE", 404, NOTHING, "Too many open files"),
        ("openat2:error=EIO", 404, NOTHING, "Input/output error"),
        ("openat2:error=EAGAIN:when=1..3", 404, "the site's own", ""),
    ];
    check(&folder, &server, &cases("/nothing", "404.html", &rows));
}

#[test]
#[ignore = "needs strace"]
fn fstat_error_is_a_server_error() {
    let folder = site();
    let server = start(&folder, &["--list"]);
    let rows = [
        ("fstat:error=EIO", 500, FAILED, "Input/output error"),
        ("fstat:error=ESTALE", 500, FAILED, "Stale file handle"),
        ("fstat:error=ENOMEM", 503, EXHAUSTED, "Cannot allocate memory"),
    ];
    let mut table = cases("/a.txt", "", &rows);
    table.extend(cases("/d/", "", &rows));
    // After the file has been read.
    table.extend(cases("/a.txt", "", &[("fstat:error=EIO:when=2", 500, FAILED, "Input/output error")]));
    table.extend(cases("/large.bin", "", &[("fstat:error=EIO:when=2", 500, FAILED, "Input/output error")]));
    check(&folder, &server, &table);
}

#[test]
#[ignore = "needs strace"]
fn read_error_is_reported_before_first_byte() {
    let folder = site();
    let server = start(&folder, &[]);
    let rows = [
        ("pread64:error=EIO", 500, FAILED, "Input/output error"),
        ("pread64:error=EIO:when=1", 500, FAILED, "Input/output error"),
        ("pread64:error=ESTALE", 500, FAILED, "Stale file handle"),
        ("pread64:error=ETIMEDOUT", 500, FAILED, "Connection timed out"),
        ("pread64:error=ENOMEM", 503, EXHAUSTED, "Cannot allocate memory"),
    ];
    let mut table = cases("/a.txt", "", &rows);
    table.extend(cases("/large.bin", "", &rows));
    check(&folder, &server, &table);
}

#[test]
#[ignore = "needs strace"]
fn short_read_is_continued() {
    let folder = site();
    let server = start(&folder, &[]);
    let rows = [
        ("pread64:error=EINTR:when=1..5", 200, "hello", ""),
        // "he" and "hel", and the rest with the next read.
        ("pread64:retval=2:poke_exit=@arg2=6865:when=1", 200, "hello", ""),
        ("pread64:retval=3:poke_exit=@arg2=68656c:when=1", 200, "hello", ""),
        // The file is shorter once, or remains so.
        ("pread64:retval=0:when=1", 200, "hello", ""),
        ("pread64:retval=0", 503, CHANGING, ""),
    ];
    check(&folder, &server, &cases("/a.txt", "", &rows));
}

#[test]
#[ignore = "needs strace"]
fn read_error_of_directory_gets_no_partial_listing() {
    let folder = site();
    let server = start(&folder, &["--list"]);
    let rows = [
        ("getdents64:error=EIO", 500, FAILED, "Input/output error"),
        ("getdents64:error=EIO:when=2", 500, FAILED, "Input/output error"),
        ("getdents64:error=ESTALE", 500, FAILED, "Stale file handle"),
        ("getdents64:error=ENOMEM:when=2", 503, EXHAUSTED, "Cannot allocate memory"),
        ("getdents64:error=EINTR:when=1", 200, "two.txt", ""),
    ];
    check(&folder, &server, &cases("/d/", "", &rows));
    // A link is opened to find its target.
    let rows = [
        ("openat2:error=EMFILE", 503, EXHAUSTED, "Too many open files"),
        ("openat2:error=ENOMEM", 503, EXHAUSTED, "Cannot allocate memory"),
        ("openat2:error=ENOENT", 200, "two.txt", ""),
        ("openat2:error=EIO", 200, "two.txt", ""),
    ];
    let server = start(&folder, &["--list"]);
    check(&folder, &server, &cases("/d/", "d/link.txt", &rows));
}

#[test]
#[ignore = "needs strace"]
fn stat_error_of_entry_does_not_hide_others() {
    let folder = site();
    let server = start(&folder, &["--list"]);
    let rows = [
        ("newfstatat:error=ENOENT", 200, "two.txt", ""),
        ("newfstatat:error=EACCES", 200, "two.txt", ""),
        ("newfstatat:error=EIO", 200, "two.txt", ""),
    ];
    check(&folder, &server, &cases("/d/", "one.txt", &rows));
}

#[test]
#[ignore = "needs strace"]
fn open_error_of_root_is_a_server_error() {
    let folder = site();
    let rows = [
        ("?open,openat:error=ENOENT", 500, FAILED, "the root cannot be opened: No such file"),
        ("?open,openat:error=ENOTDIR", 500, FAILED, "the root cannot be opened: Not a directory"),
        ("?open,openat:error=ELOOP", 500, FAILED, "the root cannot be opened: Too many levels"),
        ("?open,openat:error=EACCES", 500, FAILED, "the root cannot be opened: Permission denied"),
        ("?open,openat:error=EIO", 500, FAILED, "the root cannot be opened: Input/output error"),
        ("?open,openat:error=EMFILE", 503, EXHAUSTED, "the root cannot be opened: Too many open files"),
        ("statx:error=EIO", 500, FAILED, "the root cannot be opened: Input/output error"),
        ("statx:error=ESTALE", 500, FAILED, "the root cannot be opened: Stale file handle"),
        ("statx:error=ENOMEM", 503, EXHAUSTED, "the root cannot be opened: Cannot allocate memory"),
    ];
    for row in rows {
        // A connection that just ended may still share its root.
        let server = start(&folder, &[]);
        check(&folder, &server, &cases("/a.txt", "", &[row]));
    }
}

#[test]
#[ignore = "needs strace"]
fn stat_error_of_cached_file_opens_it_again() {
    let folder = site();
    for fault in [
        "newfstatat:error=EIO",
        "newfstatat:error=ENOENT",
        "newfstatat:error=EACCES",
        "newfstatat:error=ESTALE",
        "newfstatat:error=EINTR",
    ] {
        folder.replace("b.txt", "older");
        let server = telling(&folder).start();
        server.get("/b.txt").status(200).body("older");
        folder.replace("b.txt", "newer");
        check(&folder, &server, &cases("/b.txt", "", &[(fault, 200, "newer", "")]));
    }
}
