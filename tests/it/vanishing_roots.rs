//! A root that is removed, replaced or unmounted under a running server, and logs that cannot be written.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::net::sockopt::set_socket_recv_buffer_size;

use crate::faults::{Told, ask, telling};
use crate::support::{BINARY, Client, Folder, Process, binary, serve, until, without_settings};

const FAILED: &str = "The file system reported an error.";

/// A replacement of the root: its name, the function that makes it, and the error in the warning.
type Replacement = (&'static str, fn(&Path), &'static str);

#[test]
fn replaced_root_is_an_error_until_it_is_a_directory_again() {
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
        // A connection keeps the directory that it began in, even after a rename.
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
fn removed_root_has_no_files_for_old_connections() {
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
    // Cache entries of the first root are not served for the second one.
    ask(&mut server.connect(), "/d/b.txt").status(404);
    ask(&mut old, "/a.txt").status(404);
}

#[test]
fn new_connections_get_the_directory_that_replaced_root() {
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
    /// Mounts the file system, runs the line of shell, and starts the server.
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

    /// Runs a line of shell in the namespace; returns false if it fails.
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

/// More bytes than the buffers of a loopback connection hold.
const LARGE: usize = 32 << 20;

fn large() -> String {
    format!("head -c {LARGE} /dev/zero > \"$ROOT/large.bin\"")
}

#[test]
#[ignore = "needs unshare"]
fn new_connections_follow_unmount_and_remount_of_root() {
    let mut mounted = Mounted::start(&large());
    let addr = mounted.process.listening();
    let mut old = Client::connect(addr);
    ask(&mut old, "/a.txt").status(200).body("mounted\n");
    let mut reader = Client::connect(addr);
    set_socket_recv_buffer_size(reader.stream(), 65_536).expect("the option can be set");
    reader.send("GET /large.bin HTTP/1.1\r\nHost: localhost\r\n\r\n");
    reader.stream().peek(&mut [0]).expect("the response begins");

    assert!(mounted.run("umount --lazy \"$ROOT\""), "umount failed");
    let mut new = Client::connect(addr);
    ask(&mut new, "/only-below.txt").status(200).body("below");
    ask(&mut new, "/a.txt").status(200).body("below");
    ask(&mut new, "/large.bin").status(404);
    // A response in progress is completed, and a connection keeps the file system that it began in.
    assert_eq!(reader.response().status(200).body.len(), LARGE);
    ask(&mut old, "/only-below.txt").status(404);

    assert!(mounted.run(MOUNT), "mount failed");
    ask(&mut Client::connect(addr), "/a.txt").status(200).body("mounted\n");
    ask(&mut Client::connect(addr), "/only-below.txt").status(404);
    ask(&mut new, "/only-below.txt").status(200).body("below");
}

#[test]
#[ignore = "needs unshare"]
fn root_without_connections_can_be_unmounted() {
    let mut mounted = Mounted::start(&large());
    let addr = mounted.process.listening();
    let mut client = Client::connect(addr);
    ask(&mut client, "/a.txt").status(200);
    ask(&mut client, "/large.bin").status(200);
    assert!(!mounted.run("umount \"$ROOT\""), "the connection does not hold its root");
    drop(client);
    until("the closed connection releases its root", || mounted.run("umount \"$ROOT\""));
    ask(&mut Client::connect(addr), "/a.txt").status(200).body("below");
}

#[test]
#[ignore = "needs unshare"]
fn log_line_torn_by_a_full_disk_leaves_the_next_whole() {
    let mut mounted = Mounted::start("exec > \"$ROOT/log\"");
    let addr = mounted.process.listening();
    let path = format!("/proc/{}/root{}/log", mounted.process.pid(), mounted.folder.path().display());
    let log = || fs::read_to_string(&path).expect("the log is there");
    let mut client = Client::connect(addr);
    ask(&mut client, "/a.txt").status(200);
    until("the first line is written", || !log().is_empty());
    // The full disk still has the rest of one memory page; a line of odd length never ends at its end.
    let target = if log().len() % 2 == 0 { "/a.txt?" } else { "/a.txt" };
    assert!(!mounted.run("head -c 100000000 /dev/zero > \"$ROOT/fill\""), "the disk is not full");
    until("a line is torn", || {
        (0..100).for_each(|_| drop(ask(&mut Client::connect(addr), target).status(200)));
        !log().ends_with('\n')
    });
    assert!(mounted.run("rm \"$ROOT/fill\""), "the file cannot be removed");
    until("a later line is whole", || {
        ask(&mut Client::connect(addr), "/a.txt?last").status(200);
        log().lines().any(|line| line.starts_with("127.0.0.1 ") && line.contains("/a.txt?last"))
    });
    until("every line but one is complete", || {
        let log = log();
        let torn = log.lines().filter(|line| !line.ends_with(" HTTP/1.1\" 200 8")).count();
        torn == 1 && log.lines().all(|line| line.matches("127.0.0.1 ").count() == 1)
    });
}

#[test]
fn unwritable_logs_do_not_stop_the_server() {
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
