//! Regressions: clients and environments that once stopped the server or misled its operator.

use std::io::{self, BufRead, BufReader};
use std::process::{Command, Stdio};

use crate::support::{BINARY, Client, GET, Process, binary, serve, site, without_settings};

#[test]
fn unread_diagnostics_block_neither_response_nor_exit() {
    let folder = site();
    let mut command = binary();
    command.args(["-vv", "--log", "off", "--port", "0", "--bind", "127.0.0.1", "--root"]).arg(folder.path());
    let (reader, writer) = io::pipe().expect("a pipe can be made");
    let mut server = Process::start_unread(&mut command, writer);
    // One byte of buffer: the test reads the first line, and nothing after it.
    let mut reader = BufReader::with_capacity(1, reader);
    let mut line = String::new();
    reader.read_line(&mut line).expect("the first line is written");
    let addr = line.trim_end().strip_prefix("listening on http://").expect("it listens").parse().expect("an address");
    let mut client = Client::connect(addr);
    for _ in 0..20 {
        client.send(GET.repeat(100));
        (0..100).for_each(|_| drop(client.response().status(200)));
    }
    server.signal("TERM");
    client.closed();
    server.exit_status();
}

#[test]
fn target_is_escaped_in_warning() {
    let folder = site();
    let server = serve(&folder).start();
    std::fs::remove_dir_all(folder.path()).expect("the folder can be removed");
    // U+009B begins a control sequence, as ESC [ does, and its UTF-8 bytes may appear in a target.
    server.get("/\u{9b}31m").status(500);
    let line = server.said(|line| line.contains("31m"));
    assert!(line.is_ascii() && line.contains("WARN"), "{line}");
}

#[test]
#[ignore = "needs prlimit"]
fn start_without_threads_is_refused() {
    let mut command = without_settings(Command::new("setpriv"));
    command.args(["--reuid", "65533", "--clear-groups", "prlimit", "--nproc=1", BINARY, "--port", "0", "--root", "/"]);
    let (status, lines) = Process::start(&mut command, Stdio::null()).ended();
    assert_eq!((status.code(), lines.len()), (Some(1), 1), "{lines:?}");
    assert!(lines[0].starts_with("serve: cannot start a thread"), "{lines:?}");
}
