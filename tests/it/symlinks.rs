//! Symbolic links: the three policies of `--symlinks`, and a root link that a deploy swaps.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::support::{Client, Folder, GET, Server, serve};

#[test]
fn inside_policy_follows_only_links_below_the_root() {
    let (folder, _outside) = linked();
    check(&serve(&folder).start(), |stays, _| stays);
    check(&serve(&folder).args(&["--symlinks", "inside"]).start(), |stays, _| stays);
}

#[test]
fn none_policy_follows_no_link() {
    let (folder, _outside) = linked();
    check(&serve(&folder).args(&["--symlinks", "none"]).start(), |_, _| false);
}

#[test]
fn all_policy_follows_every_link_to_a_file() {
    let (folder, _outside) = linked();
    check(&serve(&folder).args(&["--symlinks", "all"]).start(), |_, leads| leads);
}

#[test]
fn changed_link_is_checked_again() {
    let (folder, outside) = linked();
    let server = serve(&folder).start();
    let mut client = server.connect();
    let ask = "GET /in HTTP/1.1\r\nHost: localhost\r\n\r\n";
    for _ in 0..3 {
        point(&folder, "in", Path::new("sub/target.txt"));
        client.send(ask).response().status(200).body("inside");
        point(&folder, "in", &outside.at("secret.txt"));
        client.send(ask).response().status(404).never_says("secret");
    }
}

#[test]
fn proc_magic_link_is_followed_by_no_policy() {
    // A magic link bypasses path resolution, so even the policy that follows every link refuses it.
    let folder = Folder::new().file("a.txt", "a").link("magic", "/proc/self/root").link("plain", "/");
    let below = |link: &str| format!("/{link}{}", folder.at("a.txt").display());
    for (policy, plain) in [("inside", 404), ("none", 404), ("all", 200)] {
        let server = serve(&folder).args(&["--symlinks", policy]).start();
        server.get(&below("magic")).status(404);
        server.get(&below("plain")).status(plain);
    }
}

#[test]
fn changed_link_to_a_file_of_equal_stat_is_followed() {
    let folder = Folder::new();
    let times = |name: &str| {
        folder.write(name, name);
        let meta = fs::metadata(folder.at(name)).expect("the file is there");
        (meta.mtime_nsec(), meta.ctime_nsec(), meta.ctime())
    };
    // Where the file system's clock is too fine for equal times, the two files differ in their times.
    let _ = (0..1000).find(|_| times("one") == times("two"));
    let folder = folder.link("page.txt", "one");
    let server = serve(&folder).start();
    let mut client = server.connect();
    for _ in 0..3 {
        expect(&mut client, "one");
        point(&folder, "page.txt", Path::new("two"));
        expect(&mut client, "two");
        point(&folder, "page.txt", Path::new("one"));
    }
}

#[test]
fn link_with_dot_dot_is_followed_during_renames() {
    // openat2 fails a lookup with `..` with EAGAIN during any rename; the server has to retry.
    let folder = Folder::new().file("page/in.txt", "inside").link("page.txt", "page/../page/../page/in.txt").dir("a");
    let server = serve(&folder).args(&["--cache-memory", "0"]).start();
    let mut client = server.connect();
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                fs::rename(folder.at("a"), folder.at("b")).expect("the folder can be renamed");
                fs::rename(folder.at("b"), folder.at("a")).expect("the folder can be renamed back");
            }
        });
        let statuses: Vec<_> = (0..3000).map(|_| client.send(GET).response().status).collect();
        is_over.store(true, Ordering::Relaxed);
        assert!(statuses.iter().all(|status| *status == 200), "{statuses:?}");
    });
}

#[test]
fn link_to_a_directory_redirects_only_if_followed() {
    let folder = Folder::new().file("real/index.html", "index").link("link", "real");
    serve(&folder).start().get("/link").status(301).has("Location", "/link/");
    serve(&folder).args(&["--symlinks", "none"]).start().get("/link").status(404).lacks("Location");
}

#[test]
fn file_moved_out_is_not_served_from_cache_via_a_link() {
    for policy in ["inside", "none"] {
        let outside = Folder::new();
        let folder =
            Folder::new().file("dir/page.txt", "a page").file("sub/page.txt", "a page").link("link", "sub/page.txt");
        let server = serve(&folder).args(&["--symlinks", policy]).start();
        let linked = if policy == "inside" { 200 } else { 404 };
        for _ in 0..2 {
            server.get("/dir/page.txt").status(200);
            server.get("/link").status(linked);
        }
        fs::rename(folder.at("dir"), outside.at("dir")).expect("the directory can be moved");
        symlink(outside.at("dir"), folder.at("dir")).expect("the link can be made");
        server.get("/dir/page.txt").status(404);
        fs::rename(folder.at("sub"), outside.at("sub")).expect("the directory can be moved");
        fs::remove_file(folder.at("link")).expect("the link is there");
        symlink(outside.at("sub/page.txt"), folder.at("link")).expect("the link can be made");
        server.get("/link").status(404);
        fs::remove_file(folder.at("dir")).expect("the link is there");
        fs::rename(outside.at("dir"), folder.at("inner")).expect("the directory can be moved back");
        symlink("inner", folder.at("dir")).expect("the link can be made");
        server.get("/dir/page.txt").status(linked);
    }
}

#[test]
fn connection_keeps_its_release_after_a_root_swap() {
    let releases = releases();
    let root = linked_root(&releases, "one");
    let server = serve(&root).start();
    let mut old = server.connect();
    expect(&mut old, "release one");
    swap(&root, &releases, "two");
    expect(&mut server.connect(), "release two");
    expect(&mut old, "release one");
    old.send("GET /asset.txt HTTP/1.1\r\nHost: localhost\r\n\r\n").response().status(200).body("asset one");
}

#[test]
fn next_connection_sees_every_root_swap() {
    let releases = releases();
    let root = linked_root(&releases, "one");
    let server = serve(&root).start();
    for round in 0..50 {
        let release = if round % 2 == 0 { "two" } else { "one" };
        swap(&root, &releases, release);
        let mut client = server.connect();
        expect(&mut client, &format!("release {release}"));
        client.send("GET /asset.txt HTTP/1.1\r\nHost: localhost\r\n\r\n").response().body(format!("asset {release}"));
    }
}

#[test]
fn restored_root_is_served_again() {
    let releases = releases();
    let root = linked_root(&releases, "one");
    let server = serve(&root).start();
    expect(&mut server.connect(), "release one");
    fs::remove_file(root.path()).expect("the link can be removed");
    let response = server.connect().send(GET).response();
    assert!(matches!(response.status, 404 | 500 | 503), "the root is missing\n{}", response.exchange);
    symlink(releases.at("two"), root.path()).expect("the link can be made");
    expect(&mut server.connect(), "release two");
}

/// A root with links of every kind, and a folder outside of it.
fn linked() -> (Folder, Folder) {
    let outside = Folder::new().file("secret.txt", "a secret").file("dir/secret.txt", "a secret");
    let folder = Folder::new().file("sub/target.txt", "inside").file("sub/deep/x.txt", "deep");
    let sibling = Path::new("..").join(outside.path().file_name().expect("the folder has a name"));
    let absolute = folder.at("sub/target.txt");
    let folder = folder
        .link("in", "sub/target.txt")
        .link("dir-in", "sub")
        .link("sub/up", "../sub/target.txt")
        .link("chain", "in")
        .link("self", ".")
        .link("absolute", absolute)
        .link("out", outside.at("secret.txt"))
        .link("out-relative", sibling.join("secret.txt"))
        .link("dir-out", outside.at("dir"))
        .link("dir-out-relative", sibling.join("dir"))
        .link("sub/out", Path::new("..").join(&sibling).join("secret.txt"))
        .link("chain-out", "out")
        .link("magic", "/proc/self/cwd")
        .link("dangling", "nowhere")
        .link("loop", "loop");
    (folder, outside)
}

/// Requests every link; `follows` decides from (stays inside, leads to a file) whether the link is served.
#[track_caller]
fn check(server: &Server, follows: impl Fn(bool, bool) -> bool) {
    let table = [
        ("/in", true, true),
        ("/dir-in/target.txt", true, true),
        ("/dir-in/deep/x.txt", true, true),
        ("/sub/up", true, true),
        ("/chain", true, true),
        ("/self/sub/target.txt", true, true),
        ("/self/self/in", true, true),
        ("/absolute", false, true),
        ("/out", false, true),
        ("/out-relative", false, true),
        ("/dir-out/secret.txt", false, true),
        ("/dir-out-relative/secret.txt", false, true),
        ("/sub/out", false, true),
        ("/chain-out", false, true),
        ("/magic/nowhere", false, false),
        ("/dangling", false, false),
        ("/loop", false, false),
        ("/loop/x", false, false),
    ];
    server.get("/sub/target.txt").status(200).body("inside");
    for (target, stays, leads) in table {
        if follows(stays, leads) {
            server.get(target).status(200);
        } else {
            server.get(target).status(404).never_says("a secret");
        }
    }
}

fn releases() -> Folder {
    ["one", "two"].iter().fold(Folder::new(), |folder, name| {
        let folder = folder.file(&format!("{name}/page.txt"), format!("release {name}"));
        folder.file(&format!("{name}/asset.txt"), format!("asset {name}"))
    })
}

/// A folder that is itself a link to one of the releases.
fn linked_root(releases: &Folder, name: &str) -> Folder {
    let root = Folder::new();
    fs::remove_dir(root.path()).expect("the new folder is empty");
    symlink(releases.at(name), root.path()).expect("the link can be made");
    root
}

/// Points the root to another release as a deploy does: by a new link, renamed over the old one.
fn swap(root: &Folder, releases: &Folder, name: &str) {
    let fresh = root.path().with_extension("new");
    symlink(releases.at(name), &fresh).expect("the link can be made");
    fs::rename(fresh, root.path()).expect("the link can be renamed");
}

/// Replaces a link in the folder by one to another target.
fn point(folder: &Folder, name: &str, target: &Path) {
    fs::remove_file(folder.at(name)).expect("the link can be removed");
    symlink(target, folder.at(name)).expect("the link can be made");
}

#[track_caller]
fn expect(client: &mut Client, body: &str) {
    client.send(GET).response().status(200).body(body);
}
