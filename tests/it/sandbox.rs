//! What the process gives up once it listens, seen from outside. What it can still do is tried from inside, in
//! `src/sandbox.rs`.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;

use crate::support::{Folder, Proc, Server, field, run, serve};

/// Debian has this user everywhere; its only group is nogroup.
const NOBODY: u32 = 65534;

/// What it says where it is confined.
const CONFINED: &str = "confined to reading ";

/// What it says where the kernel cannot.
const CANNOT: &str = "not confined by Landlock, which this kernel lacks";

#[test]
fn it_says_at_the_start_how_far_it_is_confined() {
    let folder = Folder::new();
    let server = serve(&folder).start();
    let said = server.said(|line| line.contains("confined"));
    assert!(said.starts_with(CONFINED) || said.starts_with(CANNOT), "{said}");
    for open in [serve(&folder).arg("--no-sandbox"), serve(&folder).env("SERVE_NO_SANDBOX", "1")] {
        open.start().said(|line| line.starts_with("not confined by Landlock"));
    }
    let server = serve(&folder).args(&["--quiet"]).start();
    server.get("/").status(404);
    assert_eq!(server.diagnostics().len(), 1, "{:?}", server.diagnostics());
}

#[test]
fn every_thread_has_lost_the_way_to_more_rights() {
    let folder = Folder::new().file("a.txt", "a");
    let Some(server) = confined(serve(&folder).start()) else { return };
    let mut client = server.connect();
    client.still_open();
    let statuses = server.proc().of_threads("status");
    assert!(statuses.len() >= 5, "there are only {} threads", statuses.len());
    for status in statuses {
        assert_eq!(field(&status, "NoNewPrivs:"), "1", "{status}");
    }
}

#[test]
fn a_root_that_is_a_link_can_lead_to_another_release_but_not_out_of_their_directory() {
    let folder =
        Folder::new().file("releases/1/a.txt", "one").file("releases/2/a.txt", "two").file("secret/a.txt", "s");
    let root = Folder::new();
    let _ = fs::remove_dir(root.path());
    let point_to = |target: &str| {
        let new = folder.at("new");
        std::os::unix::fs::symlink(folder.at(target), &new).expect("the link can be made");
        fs::rename(new, root.path()).expect("the link can be replaced");
    };
    point_to("releases/1");
    let Some(server) = confined(serve(&root).start()) else { return };
    server.get("/a.txt").status(200).body("one");
    point_to("releases/2");
    server.get("/a.txt").status(200).body("two");
    point_to("secret");
    server.get("/a.txt").status(500);
    server.said(|line| line.contains("the sandbox does not let be read; start serve again"));
    serve(&root).arg("--no-sandbox").start().get("/a.txt").status(200).body("s");
    point_to("releases/1");
    server.get("/a.txt").status(200).body("one");
}

#[test]
fn another_directory_in_the_place_of_the_root_is_refused_and_the_log_says_what_to_do() {
    let (folder, other) = (Folder::new().file("a.txt", "hello"), Folder::new().file("a.txt", "HELLO"));
    let Some(server) = confined(serve(&folder).start()) else { return };
    server.get("/a.txt").status(200).body("hello");
    let aside = folder.path().with_extension("aside");
    fs::rename(folder.path(), &aside).expect("the root can be moved");
    fs::rename(other.path(), folder.path()).expect("the other can be moved");
    let response = server.get("/a.txt").status(500);
    assert!(!response.text().contains("sandbox"), "{}", response.exchange);
    server.said(|line| line.contains("WARN") && line.contains("start serve again"));
    fs::rename(folder.path(), other.path()).expect("the other can be moved back");
    fs::rename(&aside, folder.path()).expect("the root can be moved back");
    server.get("/a.txt").status(200).body("hello");
}

#[test]
#[ignore = "needs root"]
fn a_user_is_become_for_good_and_has_its_own_groups_alone() {
    let folder = Folder::new().file("a.txt", "a").file("private.txt", "p");
    let mode = |mode| std::os::unix::fs::PermissionsExt::from_mode(mode);
    fs::set_permissions(folder.at("private.txt"), mode(0o600)).expect("the file is ours");
    for start in [serve(&folder).args(&["--user", "nobody"]), serve(&folder).env("SERVE_USER", "nobody")] {
        let server = start.start();
        let status = server.proc().read("status");
        let nobody = [NOBODY; 4].map(|id| id.to_string()).join("\t");
        assert_eq!((field(&status, "Uid:"), field(&status, "Gid:")), (nobody.as_str(), nobody.as_str()), "{status}");
        assert_eq!(field(&status, "Groups:"), NOBODY.to_string(), "{status}");
        assert_eq!(field(&status, "CapEff:"), "0000000000000000", "{status}");
        server.get("/a.txt").status(200).body("a");
        server.get("/private.txt").status(403);
        assert!(!server.diagnostics().iter().any(|line| line.contains("runs as root")));
    }
    let server = serve(&folder).start();
    server.said(|line| line.starts_with("warning: it runs as root; --user NAME"));
    server.get("/private.txt").status(200).body("p");
}

#[test]
#[ignore = "needs root"]
fn a_user_that_cannot_serve_the_root_is_refused_at_the_start() {
    let folder = Folder::new().file("a.txt", "a");
    let path = folder.path().to_str().expect("text").to_owned();
    let start = |user: &str| run(&["--port", "0", "--root", &path, "--user", user], &[]);
    let unknown = start("nobody-by-that-name");
    assert_eq!(unknown.status.code(), Some(1));
    assert_eq!(unknown.stderr, "serve: --user: nobody-by-that-name: no such user\n");
    let mode = |mode| std::os::unix::fs::PermissionsExt::from_mode(mode);
    fs::set_permissions(folder.path(), mode(0o700)).expect("the folder is ours");
    let locked_out = start("nobody");
    assert_eq!(locked_out.status.code(), Some(1));
    assert!(locked_out.stderr.contains("nobody may not enter the root"), "{}", locked_out.stderr);
}

#[test]
#[ignore = "needs setpriv"]
fn only_root_can_become_another_user() {
    let folder = Folder::new();
    let mut command = Command::new("setpriv");
    command.args(["--reuid", &NOBODY.to_string(), "--clear-groups", env!("CARGO_BIN_EXE_serve"), "--port", "0"]);
    let output = command.arg("--root").arg(folder.path()).args(["--user", "daemon"]).output().expect("setpriv runs");
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.starts_with("serve: --user: daemon: only root can become another user"), "{said}");
}

#[test]
#[ignore = "needs prlimit and setpriv"]
fn a_crash_leaves_no_core_file() {
    let folder = Folder::new().file("a.txt", "a");
    let nobody = NOBODY.to_string();
    let limited = ["--reuid", &nobody, "--clear-groups", "prlimit", "--core=unlimited"];
    let mut server = serve(&folder).under("setpriv", &limited).start();
    server.get("/a.txt").status(200).body("a");
    // What belongs to the user where a process may be dumped belongs to root where it may not.
    let owner = fs::metadata(server.proc().at("io")).expect("the process is there").uid();
    assert_eq!(owner, 0, "a handler of core files would be given its memory");
    server.signal("ABRT");
    let status = server.ended();
    assert_eq!((status.signal(), status.core_dumped()), (Some(6), false));
}

#[test]
fn no_descriptor_would_be_inherited_by_a_program() {
    let folder = Folder::new().file("large.bin", vec![b'y'; 48 << 20]);
    let server = serve(&folder).start();
    let mut client = server.connect();
    client.send("GET /large.bin HTTP/1.1\r\nHost: localhost\r\n\r\n");
    client.stream().peek(&mut [0]).expect("the response begins");
    let theirs = inheritable(server.pid());
    // Standard streams, and what whoever runs the tests left open.
    let ours = inheritable(std::process::id());
    assert!(theirs.iter().all(|number| *number <= 2 || ours.contains(number)), "{theirs:?}, of which ours {ours:?}");
    let open = server.proc().descriptors();
    assert!(open >= theirs.len() + 4, "a listener, a connection, a root and a file at least");
}

/// The descriptors of a process that a program that it starts would have too.
fn inheritable(pid: u32) -> Vec<u32> {
    let infos = fs::read_dir(Proc(pid).at("fdinfo")).expect("the process is there").flatten();
    let open = infos.filter_map(|info| Some((fs::read_to_string(info.path()).ok()?, info.file_name())));
    let is_inherited = |info: &str| {
        let flags = u32::from_str_radix(field(info, "flags:"), 8).expect("the flags are octal");
        flags & 0o2_000_000 == 0
    };
    let inherited = open.filter(|(info, _)| is_inherited(info));
    inherited.map(|(_, name)| name.to_string_lossy().parse().expect("a number")).collect()
}

/// The server itself, unless this kernel has no Landlock: then there is nothing to show.
fn confined(server: Server) -> Option<Server> {
    let said = server.said(|line| line.contains("confined"));
    let is_shown = !said.starts_with(CANNOT);
    assert!(!is_shown || said.starts_with(CONFINED), "{said}");
    is_shown.then_some(server)
}
