//! Files that the server may not read, with a real lack of rights.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use crate::support::{BINARY, Client, Folder, Process, without_settings};

/// Starts the server on the folder without root's right to read everything.
fn serve_without_rights(folder: &Folder) -> Process {
    let mut command = without_settings(Command::new("setpriv"));
    if rustix::process::geteuid().is_root() {
        let rights = "-dac_override,-dac_read_search";
        command.args([format!("--bounding-set={rights}"), format!("--inh-caps={rights}")]);
    }
    command.args([BINARY, "--list", "--port", "0", "--bind", "127.0.0.1", "--root"]).arg(folder.path());
    Process::start(&mut command, Stdio::null())
}

fn set_mode(folder: &Folder, name: &str, mode: u32) {
    fs::set_permissions(folder.at(name), Permissions::from_mode(mode)).expect("the mode can be set");
}

#[test]
#[ignore = "needs setpriv"]
fn a_file_that_may_not_be_read_is_forbidden_without_a_reason_of_the_system() {
    let folder = Folder::new().file("a.txt", "secret").file("b.txt", "open");
    set_mode(&folder, "a.txt", 0);
    let mut process = serve_without_rights(&folder);
    let mut client = Client::connect(process.listening());
    client.send("GET /a.txt HTTP/1.1\r\nHost: localhost\r\n\r\n");
    client.response().status(403).says("This file may not be read by the server.").never_says("denied");
    client.send("GET /b.txt HTTP/1.1\r\nHost: localhost\r\n\r\n").response().status(200).body("open");
}

#[test]
#[ignore = "needs setpriv"]
fn a_directory_that_may_only_be_entered_has_its_index_and_no_listing() {
    let folder = Folder::new().file("a/index.html", "index").file("b/c.txt", "c");
    set_mode(&folder, "a", 0o111);
    set_mode(&folder, "b", 0o111);
    let mut process = serve_without_rights(&folder);
    let mut client = Client::connect(process.listening());
    client.send("GET /a/ HTTP/1.1\r\nHost: localhost\r\n\r\n").response().status(200).body("index");
    client.send("GET /a HTTP/1.1\r\nHost: localhost\r\n\r\n").response().status(301).has("Location", "/a/");
    client.send("GET /b/ HTTP/1.1\r\nHost: localhost\r\n\r\n").response().status(403);
    client.send("GET /b/c.txt HTTP/1.1\r\nHost: localhost\r\n\r\n").response().status(200).body("c");
    set_mode(&folder, "a", 0o755);
    set_mode(&folder, "b", 0o755);
}

#[test]
#[ignore = "needs setpriv"]
fn who_asks_for_a_file_that_may_not_be_read_writes_no_warning() {
    let folder = Folder::new().file("a.txt", "secret");
    set_mode(&folder, "a.txt", 0);
    let mut process = serve_without_rights(&folder);
    let mut client = Client::connect(process.listening());
    client.send("GET /a.txt HTTP/1.1\r\nHost: localhost\r\n\r\n").response().status(403);
    process.signal("TERM");
    let (_, lines) = process.ended();
    assert!(!lines.iter().any(|line| line.contains("WARN")), "{lines:?}");
}
