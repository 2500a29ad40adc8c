//! Changes of files between two system calls of one request, with strace.

use std::fs;

use crate::faults::{NOTHING, Told, ask, site, telling};
use crate::strace::Strace;
use crate::support::Folder;

/// A change while the server is stopped after a system call, and the expected response.
struct Change {
    /// Whether the cached version is out of date, so that the file is opened after the `stat`.
    is_stale: bool,
    after: &'static str,
    target: &'static str,
    change: fn(&Folder),
    status: u16,
    says: &'static str,
}

#[test]
#[ignore = "needs strace"]
fn change_between_system_calls_gives_either_state() {
    let row = |is_stale, after, target, change, status, says| Change { is_stale, after, target, change, status, says };
    let table = [
        // The cached version was current at the time of the `stat`.
        row(false, "newfstatat", "/a.txt", |folder| remove(folder, "a.txt"), 200, "hello"),
        row(true, "newfstatat", "/a.txt", |folder| remove(folder, "a.txt"), 404, NOTHING),
        row(true, "newfstatat", "/a.txt", |folder| folder.replace("a.txt", "newest"), 200, "newest"),
        row(true, "newfstatat", "/a.txt", become_directory, 301, "ends with a slash"),
        // Once the file is open, changes of its name do not matter.
        row(false, "openat2", "/b.txt", |folder| remove(folder, "b.txt"), 200, "other"),
        row(false, "openat2", "/b.txt", |folder| folder.replace("b.txt", "new"), 200, "other"),
        row(false, "openat2", "/b.txt", |folder| folder.write("b.txt", "cut"), 200, "cut"),
        row(false, "fstat", "/b.txt", |folder| folder.write("b.txt", "cut"), 200, "cut"),
        row(false, "fstat", "/b.txt", |folder| folder.write("b.txt", "longer than it was"), 200, "longer than it was"),
        row(false, "fstat", "/b.txt", |folder| folder.write("b.txt", ""), 200, ""),
        row(false, "pread64", "/b.txt", |folder| folder.write("b.txt", "cut"), 200, "cut"),
        row(false, "pread64", "/b.txt", |folder| folder.write("b.txt", "OTHER"), 200, "OTHER"),
        // The index is opened first, then the directory.
        row(false, "openat2", "/e/", |folder| fs::remove_dir(folder.at("e")).expect("it is empty"), 404, NOTHING),
        row(false, "openat", "/e/", |folder| fs::remove_dir(folder.at("e")).expect("it is empty"), 200, "Index of /e/"),
    ];
    for case in table {
        change_under_way(&case);
    }
}

fn remove(folder: &Folder, name: &str) {
    fs::remove_file(folder.at(name)).expect("the file can be removed");
}

fn become_directory(folder: &Folder) {
    remove(folder, "a.txt");
    fs::create_dir(folder.at("a.txt")).expect("the directory can be made");
}

#[track_caller]
fn change_under_way(case: &Change) {
    let folder = site().file("b.txt", "other").dir("e");
    let server = telling(&folder).arg("--list").start();
    server.get("/a.txt?warm").status(200).body("hello");
    if case.is_stale {
        folder.replace("a.txt", "newer");
    }
    let mut client = server.connect();
    // The root is open then, so that only the file needs system calls.
    ask(&mut client, "/i/").status(200).body("index");
    let mut strace = Strace::attach(&server, &[&format!("{}:signal=SIGSTOP:when=1", case.after)], "");
    client.send(format!("GET {} HTTP/1.1\r\nHost: localhost\r\n\r\n", case.target));
    strace.stopped();
    (case.change)(&folder);
    server.signal("CONT");
    let response = client.response();
    assert_eq!(response.status, case.status, "after {}\n{}", case.after, response.exchange);
    let is_exact = case.status == 200 && case.target.ends_with(".txt");
    if is_exact {
        response.body(case.says)
    } else {
        response.says(case.says)
    };
    strace.detach();
    ask(&mut client, "/i/").status(200).body("index");
    let told = Told::by(&server);
    assert_eq!(told.lines(case.target).len(), 1, "after {}", case.after);
    assert!(told.warnings.is_empty(), "after {}: {:?}", case.after, told.warnings);
}
