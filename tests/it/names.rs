//! Names of files: any bytes a file system allows can be asked for, and nothing else is found by them.

use std::os::unix::net::UnixListener;

use rustix::fs::{CWD, FileType, Mode, mknodat};

use crate::support::{Folder, Response, Server, serve};

/// Names that trouble servers. Each file holds its own name, so that an answer tells which file it came from.
pub const ODD: &[&[u8]] = &[
    b"plain.txt",
    b"a b.txt",
    b" lead and trail ",
    "zażółć gęślą.txt".as_bytes(),
    "日本語.txt".as_bytes(),
    "e\u{301}.txt".as_bytes(),
    "\u{202e}txt.exe".as_bytes(),
    b"\xff\xfe.bin",
    b"half \xc3.txt",
    b"100%.txt",
    b"%41.txt",
    b"%2e%2e",
    b"%00",
    b"what?.txt",
    b"a#b.txt",
    b"\"quoted\".txt",
    b"it's.txt",
    b"<script>alert(1).txt",
    b"&lt;b&gt;.txt",
    b"a&amp;b.txt",
    b"line\nbreak.txt",
    b"tab\tand\rreturn",
    b"escape\x1b[31m",
    b"delete\x7f",
    b"back\\slash.txt",
    b"a+b=c&d;e,f.txt",
    b"javascript:alert(1)",
    b"c:drive.txt",
    b"~home",
    b"*",
    b"-r",
    b"http:",
    b"{a}|[b]^`c`.txt",
];

/// Fills a directory (its name with a slash, or nothing for the root) with the odd names.
pub fn odd_files(mut folder: Folder, dir: &str) -> Folder {
    for name in ODD {
        folder = folder.file_bytes(&[dir.as_bytes(), name].concat(), name);
    }
    folder
}

/// Percent-encodes every byte that is not unreserved (RFC 3986 §2.3).
pub fn encode(name: &[u8]) -> String {
    let one = |byte: &u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(*byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    name.iter().map(one).collect()
}

/// Undoes percent-encoding.
pub fn decode(text: &str) -> Vec<u8> {
    let mut pieces = text.split('%');
    let mut bytes = pieces.next().unwrap_or_default().as_bytes().to_vec();
    for piece in pieces {
        let code = piece.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(code.unwrap_or_else(|| panic!("a bad percent-encoding in {text:?}")));
        bytes.extend_from_slice(&piece.as_bytes()[2..]);
    }
    bytes
}

#[test]
fn every_name_is_found_by_its_percent_encoding() {
    let folder = odd_files(Folder::new(), "");
    let server = serve(&folder).start();
    for name in ODD {
        server.get(&format!("/{}", encode(name))).status(200).body(name);
        server.get(&format!("/{}?query=/../x", encode(name))).status(200).body(name);
    }
}

#[test]
fn a_name_is_found_with_every_byte_encoded_and_in_either_case() {
    let folder = Folder::new().file("J-j.txt", "found");
    let server = serve(&folder).start();
    for target in ["/J-j.txt", "/%4A%2D%6A%2E%74%78%74", "/%4a%2d%6a%2e%74%78%74", "/%4a-%6A.txt"] {
        server.get(target).status(200).body("found");
    }
}

#[test]
fn bytes_above_ascii_may_come_raw() {
    let folder = odd_files(Folder::new(), "");
    let server = serve(&folder).start();
    let raw = ODD.iter().filter(|name| name.iter().all(|b| *b > b' ' && !b"%?#\\\x7f\"<>".contains(b)));
    let mut asked = 0;
    for name in raw.filter(|name| !name.is_ascii()) {
        ask_raw(&server, &[b"/", *name].concat()).status(200).body(name);
        asked += 1;
    }
    assert!(asked >= 4, "the table has lost its names above ASCII");
}

#[test]
fn percent_decoding_happens_once() {
    let folder = Folder::new().file("%41.txt", "percent").file("A.txt", "letter").file("%2541.txt", "twice");
    let server = serve(&folder).start();
    server.get("/%41.txt").status(200).body("letter");
    server.get("/%2541.txt").status(200).body("percent");
    server.get("/%252541.txt").status(200).body("twice");
}

#[test]
fn names_are_bytes_and_are_never_folded_or_repaired() {
    let folder = Folder::new()
        .file_bytes(b"\xff", "one invalid byte")
        .file_bytes("\u{fffd}.txt".as_bytes(), "the replacement character")
        .file("a b", "a space")
        .file("lower", "lower case")
        .file("\u{e9}", "composed");
    let server = serve(&folder).start();
    server.get("/%FF").status(200).body("one invalid byte");
    for target in ["/%FE", "/%EF%BF%BD", "/%FF.txt", "/a+b", "/LOWER", "/lower%20", "/lower.", "/e%CC%81", "/low%00er"]
    {
        let response = server.get(target);
        assert!(matches!(response.status, 400 | 404), "{target} is another name\n{}", response.exchange);
    }
}

#[test]
fn an_encoded_slash_never_separates_names() {
    let folder = Folder::new().file("a/b.txt", "inside a directory");
    let server = serve(&folder).start();
    for target in ["/a%2Fb.txt", "/a%2fb.txt", "/%2Fa/b.txt", "/a/%2Fb.txt", "/a%2F/b.txt", "/a%252Fb.txt"] {
        server.get(target).status(404);
    }
}

#[test]
fn a_backslash_is_an_ordinary_byte_of_a_name() {
    let folder = Folder::new().file("a/b.txt", "behind a slash").file("c\\d.txt", "with a backslash");
    let server = serve(&folder).start();
    server.get("/c%5Cd.txt").status(200).body("with a backslash");
    server.get("/c\\d.txt").status(200).body("with a backslash");
    for target in ["/a%5Cb.txt", "/a\\b.txt", "/a\\..\\c%5Cd.txt", "/c/d.txt"] {
        server.get(target).status(404);
    }
}

#[test]
fn empty_and_dot_segments_are_resolved_before_the_file_system() {
    let folder = Folder::new().file("a/b.txt", "found").file("top.txt", "top");
    let server = serve(&folder).start();
    for target in
        ["//a///b.txt", "/./a/./b.txt", "/a/../a/b.txt", "/nowhere/../a/b.txt", "/a/%2e/b.txt", "/a/x/%2E./b.txt"]
    {
        server.get(target).status(200).body("found");
    }
    server.get("/a/../top.txt").status(200).body("top");
    server.get("/top.txt/../a/b.txt").status(200).body("found");
}

#[test]
fn nothing_above_the_root_is_reached() {
    let outside = Folder::new().file("secret.txt", "a secret");
    let folder = Folder::new().file("a/b.txt", "inside");
    let server = serve(&folder).start();
    let secret = outside.at("secret.txt");
    let absolute = secret.to_str().expect("the test's directory is text");
    let sibling = outside.path().file_name().and_then(|name| name.to_str()).expect("the test's directory is text");
    let above = [
        format!("/../{sibling}/secret.txt"),
        format!("/a/../../{sibling}/secret.txt"),
        format!("/%2e%2e/{sibling}/secret.txt"),
        format!("/.%2E/{sibling}/secret.txt"),
        format!("//../{sibling}/secret.txt"),
        format!("/a/b/%2e%2e/../../../{sibling}/secret.txt"),
        "/..".to_owned(),
        "/a/../..".to_owned(),
    ];
    for target in &above {
        server.get(target).status(400).never_says("a secret");
    }
    let odd = [
        format!("/..%2F{sibling}/secret.txt"),
        format!("/..%5C{sibling}%5Csecret.txt"),
        format!("/..\\{sibling}\\secret.txt"),
        format!("/%c0%ae%c0%ae/{sibling}/secret.txt"),
        format!("/%c0%ae%c0%ae%c0%af{sibling}%c0%afsecret.txt"),
        format!("/%252e%252e/{sibling}/secret.txt"),
        format!("/{absolute}"),
        format!("/%2F{absolute}"),
        format!("/a/{absolute}"),
    ];
    for target in &odd {
        server.get(target).status(404).never_says("a secret");
    }
}

#[test]
fn names_and_paths_that_are_too_long_are_not_found_at_once() {
    let folder = Folder::new().file("a.txt", "a");
    let server = serve(&folder).start();
    let mut client = server.connect();
    let long = ["n".repeat(255), "n".repeat(256), "n".repeat(7000), "d/".repeat(3000) + "f", "%6e".repeat(2000)];
    for name in long {
        client.send(format!("GET /{name} HTTP/1.1\r\nHost: localhost\r\n\r\n")).response().status(404);
    }
    client.send("GET /a.txt HTTP/1.1\r\nHost: localhost\r\n\r\n").response().status(200).body("a");
}

#[test]
fn a_file_has_nothing_below_it() {
    let folder = Folder::new().file("file.txt", "content");
    let server = serve(&folder).start();
    for target in
        ["/file.txt/", "/file.txt//", "/file.txt/index.html", "/file.txt/.", "/missing", "/missing/", "/missing/x"]
    {
        server.get(target).status(404);
    }
}

#[test]
fn what_is_no_file_is_not_found_and_hangs_nothing() {
    let folder = Folder::new().file("a.txt", "a").link("loop", "loop").link("tick", "tock").link("tock", "tick");
    mknodat(CWD, folder.at("fifo"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("the FIFO can be made");
    let _listener = UnixListener::bind(folder.at("socket")).expect("the socket can be made");
    let server = serve(&folder).start();
    let mut client = server.connect();
    for name in ["fifo", "socket", "loop", "tick", "fifo/", "loop/x", "socket/x"] {
        client.send(format!("GET /{name} HTTP/1.1\r\nHost: localhost\r\n\r\n")).response().status(404);
        client.send(format!("HEAD /{name} HTTP/1.1\r\nHost: localhost\r\n\r\n")).response_to_head().status(404);
    }
    client.send("GET /a.txt HTTP/1.1\r\nHost: localhost\r\n\r\n").response().status(200).body("a");
}

#[test]
fn devices_are_not_found_even_where_links_are_followed_anywhere() {
    let folder = Folder::new().link("zero", "/dev/zero").link("null", "/dev/null").link("tty", "/dev/tty");
    mknodat(CWD, folder.at("fifo"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("the FIFO can be made");
    let folder = folder.link("to-fifo", "fifo");
    let server = serve(&folder).args(&["--symlinks", "all"]).start();
    for name in ["zero", "null", "tty", "to-fifo"] {
        server.get(&format!("/{name}")).status(404);
    }
}

#[test]
fn many_requests_for_a_fifo_leave_nothing_behind() {
    let folder = Folder::new();
    mknodat(CWD, folder.at("fifo"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("the FIFO can be made");
    let server = serve(&folder).start();
    let mut client = server.connect();
    client.send("GET /fifo HTTP/1.1\r\nHost: localhost\r\n\r\n").response().status(404);
    let before = server.proc().descriptors();
    for _ in 0..200 {
        client.send("GET /fifo HTTP/1.1\r\nHost: localhost\r\n\r\n").response().status(404);
    }
    assert_eq!(server.proc().descriptors(), before, "descriptors leak");
}

#[test]
fn dotfiles_are_not_found_except_well_known() {
    let table = [
        ("/.env", 404),
        ("/%2eenv", 404),
        ("/.git/config", 404),
        ("/.git", 404),
        ("/.git/", 404),
        ("/sub/.hidden", 404),
        ("/sub/.well-known/x", 404),
        ("/.well-known/.secret", 404),
        ("/.well-knownx/y", 404),
        ("/..twodots", 404),
        ("/...", 404),
        ("/.well-known/acme-challenge/token", 200),
        ("/%2ewell-known/acme-challenge/token", 200),
        ("/sub/not.hidden.", 200),
    ];
    let folder = hidden_files();
    let server = serve(&folder).start();
    for (target, status) in table {
        server.get(target).status(status);
    }
}

#[test]
fn dotfiles_are_served_when_asked_for() {
    let folder = hidden_files();
    let server = serve(&folder).arg("--hidden").start();
    let targets =
        ["/.env", "/.git/config", "/sub/.hidden", "/sub/.well-known/x", "/.well-known/.secret", "/..twodots", "/..."];
    for target in targets {
        server.get(target).status(200).body("x");
    }
    server.get("/.git").status(301).has("Location", "/.git/");
}

/// A folder with dotfiles where people have them.
fn hidden_files() -> Folder {
    let names = [".env", ".git/config", "sub/.hidden", "sub/.well-known/x", ".well-known/.secret", ".well-knownx/y"];
    let more = ["..twodots", "...", ".well-known/acme-challenge/token", "sub/not.hidden."];
    names.iter().chain(&more).fold(Folder::new(), |folder, name| folder.file(name, "x"))
}

#[track_caller]
fn ask_raw(server: &Server, target: &[u8]) -> Response {
    server.ask([b"GET ", target, b" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"].concat())
}
