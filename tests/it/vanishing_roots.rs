//! A root that is taken away, replaced or unmounted under a running server, and logs that cannot be written.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::net::sockopt::set_socket_recv_buffer_size;

use crate::faults::{Told, ask, telling};
use crate::support::{BINARY, Client, Folder, Process, binary, serve, without_settings};

const FAILED: &str = "The file system reported an error.";

/// What is put in the place of the root, and the error that the operator is warned of; empty where it is a root too.
type Replacement = (&'static str, fn(&Path), &'static str);

#[test]
fn a_root_that_is_replaced_is_an_error_until_there_is_a_directory_again() {
    let table: [Replacement; 5] = [
        ("nothing", |_| {}, "No such file or directory"),
        ("a file", |path| fs::write(path, "no directory").expect("the file can be written"), "Not a directory"),
        (
            "a dangling link",
            |path| symlink("nowhere", path).expect("the link can be made"),
            "No such file or directory",
        ),
        ("a link to itself", |path| symlink(path, path).expect("the link can be made"), "Too many levels"),
        ("a link to a file", |path| symlink("/dev/null", path).expect("the link can be made"), "Not a directory"),
    ];
    for (what, replace, error) in table {
        let folder = Folder::new().file("a.txt", "hello").file("b.txt", "other");
        let server = telling(&folder).start();
        let mut old = server.connect();
        ask(&mut old, "/a.txt").status(200).body("hello");
        let aside = folder.path().with_extension("aside");
        fs::rename(folder.path(), &aside).expect("the root can be moved");
        replace(folder.path());
        let mut new = server.connect();
        for target in ["/a.txt?1", "/", "/nothing"] {
            let response = ask(&mut new, target).status(500).says(FAILED);
            response.never_says(folder.path().to_str().expect("the path is text")).never_says("os error");
        }
        // A connection stays in the directory that it began in, wherever that is now.
        ask(&mut old, "/b.txt").status(200).body("other");
        let _ = fs::remove_file(folder.path());
        fs::rename(&aside, folder.path()).expect("the root can be moved back");
        ask(&mut new, "/a.txt").status(200).body("hello");
        let told = Told::by(&server);
        assert_eq!(told.lines("/a.txt?1").len(), 1, "{what}");
        assert_eq!(told.warnings.len(), 3, "{what}: {:#?}", told.warnings);
        for warning in told.warnings {
            assert!(warning.contains("the root cannot be opened") && warning.contains(error), "{what}: {warning}");
        }
    }
}

#[test]
fn a_root_that_is_removed_for_good_has_nothing_for_those_who_began_in_it() {
    let folder = Folder::new().file("a.txt", "hello").file("d/b.txt", "other");
    let server = telling(&folder).args(&["--list", "--no-sandbox"]).start();
    let mut old = server.connect();
    ask(&mut old, "/a.txt").status(200).body("hello");
    fs::remove_dir_all(folder.path()).expect("the root can be removed");
    for target in ["/a.txt", "/d/", "/d/b.txt"] {
        ask(&mut old, target).status(404);
    }
    ask(&mut server.connect(), "/a.txt").status(500).says(FAILED);
    folder.write("a.txt", "hello again");
    ask(&mut server.connect(), "/a.txt").status(200).body("hello again");
    // What the memory holds of the first root is not taken for what the second one has.
    ask(&mut server.connect(), "/d/b.txt").status(404);
    ask(&mut old, "/a.txt").status(404);
}

#[test]
fn another_directory_in_the_place_of_the_root_is_served_to_those_who_come() {
    let (folder, other) = (Folder::new().file("a.txt", "hello"), Folder::new().file("a.txt", "HELLO"));
    let server = serve(&folder).arg("--no-sandbox").start();
    let mut old = server.connect();
    ask(&mut old, "/a.txt").status(200).body("hello");
    let aside = folder.path().with_extension("aside");
    fs::rename(folder.path(), &aside).expect("the root can be moved");
    fs::rename(other.path(), folder.path()).expect("the other can be moved");
    ask(&mut server.connect(), "/a.txt").status(200).body("HELLO");
    ask(&mut old, "/a.txt").status(200).body("hello");
    fs::rename(folder.path(), other.path()).expect("the other can be moved back");
    fs::rename(&aside, folder.path()).expect("the root can be moved back");
    ask(&mut server.connect(), "/a.txt").status(200).body("hello");
}

/// A server whose root is a file system of its own, in a mount namespace of its own.
struct Mounted {
    folder: Folder,
    process: Process,
}

const MOUNT: &str = "mount -t tmpfs -o size=64m none \"$ROOT\" && echo mounted > \"$ROOT/a.txt\"";

impl Mounted {
    /// Mounts it and starts the server, with what this line of shell does in between.
    fn start(script: &str) -> Mounted {
        let folder = Folder::new().file("a.txt", "below").file("only-below.txt", "below");
        let mut command = without_settings(Command::new("unshare"));
        command.arg("--mount");
        if !rustix::process::geteuid().is_root() {
            command.arg("--map-root-user");
        }
        let script = format!("{MOUNT} && {script} && exec \"$@\"");
        command.env("ROOT", folder.path()).args(["sh", "-c", &script, "sh", BINARY, "--port", "0", "--bind"]);
        command.args(["127.0.0.1", "--no-sandbox", "--root"]).arg(folder.path());
        let process = Process::start(&mut command, Stdio::null());
        Mounted { folder, process }
    }

    /// Runs a line of shell in the namespace; false where it fails.
    fn run(&self, script: &str) -> bool {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.process.pid().to_string(), "--mount"]);
        if !rustix::process::geteuid().is_root() {
            command.args(["--user", "--preserve-credentials"]);
        }
        command.env("ROOT", self.folder.path()).args(["sh", "-c", script]);
        command.stderr(Stdio::null()).status().expect("nsenter runs").success()
    }
}

/// More than the buffers of a connection on loopback take.
const LARGE: usize = 32 << 20;

fn large() -> String {
    format!("head -c {LARGE} /dev/zero > \"$ROOT/large.bin\"")
}

#[test]
#[ignore = "needs unshare"]
fn a_root_that_is_unmounted_and_mounted_again_is_served_as_it_is() {
    let mut mounted = Mounted::start(&large());
    let addr = mounted.process.listening();
    let mut old = Client::connect(addr);
    ask(&mut old, "/a.txt").status(200).body("mounted\n");
    let mut reader = Client::connect(addr);
    set_socket_recv_buffer_size(reader.stream(), 65_536).expect("the option can be set");
    reader.send("GET /large.bin HTTP/1.1\r\nHost: localhost\r\n\r\n");
    reader.stream().peek(&mut [0]).expect("the response begins");

    assert!(mounted.run("umount --lazy \"$ROOT\""), "it cannot be unmounted");
    let mut new = Client::connect(addr);
    ask(&mut new, "/only-below.txt").status(200).body("below");
    ask(&mut new, "/a.txt").status(200).body("below");
    ask(&mut new, "/large.bin").status(404);
    // An answer that has begun is finished, and a connection stays in the file system it began in.
    assert_eq!(reader.response().status(200).body.len(), LARGE);
    ask(&mut old, "/only-below.txt").status(404);

    assert!(mounted.run(MOUNT), "it cannot be mounted again");
    ask(&mut Client::connect(addr), "/a.txt").status(200).body("mounted\n");
    ask(&mut Client::connect(addr), "/only-below.txt").status(404);
    ask(&mut new, "/only-below.txt").status(200).body("below");
}

#[test]
#[ignore = "needs unshare"]
fn a_file_system_that_nobody_is_connected_to_can_be_unmounted() {
    let mut mounted = Mounted::start(&large());
    let addr = mounted.process.listening();
    let mut client = Client::connect(addr);
    ask(&mut client, "/a.txt").status(200);
    ask(&mut client, "/large.bin").status(200);
    assert!(!mounted.run("umount \"$ROOT\""), "the connection does not hold its root");
    drop(client);
    // The server's thread has to see that the client is gone.
    until("the root is let go of", || mounted.run("umount \"$ROOT\""));
    ask(&mut Client::connect(addr), "/a.txt").status(200).body("below");
}

/// Waits for what happens by itself.
#[track_caller]
fn until(what: &str, happens: impl Fn() -> bool) {
    let since = Instant::now();
    while !happens() {
        assert!(since.elapsed() < Duration::from_secs(30), "this does not happen: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
#[ignore = "needs unshare"]
fn a_line_of_the_log_that_a_full_disk_has_torn_does_not_spoil_the_next() {
    let mut mounted = Mounted::start("exec > \"$ROOT/log\"");
    let addr = mounted.process.listening();
    let path = format!("/proc/{}/root{}/log", mounted.process.pid(), mounted.folder.path().display());
    let log = || fs::read_to_string(&path).expect("the log is there");
    let mut client = Client::connect(addr);
    ask(&mut client, "/a.txt").status(200);
    until("there is a first line", || !log().is_empty());
    // A line of odd length never ends where a page of memory does, and the disk is full for all but this page.
    let target = if log().len() % 2 == 0 { "/a.txt?" } else { "/a.txt" };
    assert!(!mounted.run("head -c 100000000 /dev/zero > \"$ROOT/fill\""), "the disk is not full");
    until("a line is torn", || {
        (0..100).for_each(|_| drop(ask(&mut Client::connect(addr), target).status(200)));
        !log().ends_with('\n')
    });
    assert!(mounted.run("rm \"$ROOT/fill\""), "the disk stays full");
    until("a later line is whole", || {
        ask(&mut Client::connect(addr), "/a.txt?last").status(200);
        log().lines().any(|line| line.starts_with("127.0.0.1 ") && line.contains("/a.txt?last"))
    });
    until("every line but one is that of one exchange", || {
        let log = log();
        let torn = log.lines().filter(|line| !line.ends_with(" HTTP/1.1\" 200 8")).count();
        torn == 1 && log.lines().all(|line| line.matches("127.0.0.1 ").count() == 1)
    });
}

#[test]
fn logs_that_cannot_be_written_end_nothing() {
    let folder = Folder::new().file("a.txt", "hello");
    let full = || File::options().write(true).open("/dev/full").expect("the device is there");
    let mut command = binary();
    command.args(["-vv", "--port", "0", "--bind", "127.0.0.1", "--root"]).arg(folder.path());
    let mut process = Process::start(&mut command, full());
    let addr = process.listening();
    for _ in 0..3 {
        let mut client = Client::connect(addr);
        for _ in 0..100 {
            ask(&mut client, "/a.txt").status(200).body("hello");
        }
    }
    process.signal("TERM");
    let (status, lines) = process.ended();
    assert_eq!(status.code(), Some(0), "{}", lines.join("\n"));
    assert!(!lines.iter().any(|line| line.contains("panicked")), "{}", lines.join("\n"));
}
