//! File names: every byte string that a file system allows finds exactly its own file.

use std::os::unix::net::UnixListener;

use rustix::fs::{CWD, FileType, Mode, mknodat};

use crate::support::{Folder, Response, Server, serve};

/// Names that trouble servers. Each file contains its own name, so a response shows which file it came from.
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

/// Fills a directory with files of the odd names; `dir` ends with a slash, or is empty for the root.
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
fn percent_encoding_finds_every_name() {
    let folder = odd_files(Folder::new(), "");
    let server = serve(&folder).start();
    for name in ODD {
        server.get(&format!("/{}", encode(name))).status(200).body(name);
        server.get(&format!("/{}?query=/../x", encode(name))).status(200).body(name);
    }
}

#[test]
fn raw_bytes_above_ascii_find_their_file() {
    let folder = odd_files(Folder::new(), "");
    let server = serve(&folder).start();
    let raw = ODD.iter().filter(|name| name.iter().all(|b| *b > b' ' && !b"%?#\\\x7f\"<>".contains(b)));
    let mut count = 0;
    for name in raw.filter(|name| !name.is_ascii()) {
        ask_raw(&server, &[b"/", *name].concat()).status(200).body(name);
        count += 1;
    }
    assert!(count >= 4, "the table has too few names above ASCII");
}

#[test]
fn names_are_bytes_never_folded_or_repaired() {
    let folder = Folder::new()
        .file_bytes(b"\xff", "one invalid byte")
        .file_bytes("\u{fffd}.txt".as_bytes(), "the replacement character")
        .file("a b", "a space")
        .file("lower.txt", "lower case")
        .file("\u{e9}", "composed");
    let server = serve(&folder).start();
    server.get("/%FF").status(200).body("one invalid byte");
    for target in ["/%C3%A9", "/%c3%a9"] {
        server.get(target).status(200).body("composed");
    }
    let others = ["/%FE", "/%EF%BF%BD", "/%FF.txt", "/a+b", "/e%CC%81", "/%E9", "/lower", "/lower.tx"];
    for target in others.into_iter().chain(["/LOWER.txt", "/lower.txt%20", "/lower.txt."]) {
        server.get(target).status(404);
    }
}

#[test]
fn overlong_names_and_paths_are_not_found() {
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
fn special_files_are_not_found_without_blocking() {
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
fn links_to_devices_are_not_found_under_any_policy() {
    let folder = Folder::new().link("zero", "/dev/zero").link("null", "/dev/null").link("tty", "/dev/tty");
    mknodat(CWD, folder.at("fifo"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("the FIFO can be made");
    let folder = folder.link("to-fifo", "fifo");
    let server = serve(&folder).args(&["--symlinks", "all"]).start();
    for name in ["zero", "null", "tty", "to-fifo"] {
        server.get(&format!("/{name}")).status(404);
    }
}

#[test]
fn requests_for_a_fifo_leak_no_descriptor() {
    let folder = Folder::new();
    mknodat(CWD, folder.at("fifo"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("the FIFO can be made");
    let server = serve(&folder).start();
    let mut client = server.connect();
    client.send("GET /fifo HTTP/1.1\r\nHost: localhost\r\n\r\n").response().status(404);
    let before = server.proc().descriptors();
    for _ in 0..200 {
        client.send("GET /fifo HTTP/1.1\r\nHost: localhost\r\n\r\n").response().status(404);
    }
    assert_eq!(server.proc().descriptors(), before, "descriptors leaked");
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
fn hidden_flag_serves_dotfiles() {
    let folder = hidden_files();
    let server = serve(&folder).arg("--hidden").start();
    let targets =
        ["/.env", "/.git/config", "/sub/.hidden", "/sub/.well-known/x", "/.well-known/.secret", "/..twodots", "/..."];
    for target in targets {
        server.get(target).status(200).body("x");
    }
    server.get("/.git").status(301).has("Location", "/.git/");
}

/// A folder with dotfiles in the usual places.
fn hidden_files() -> Folder {
    let names = [".env", ".git/config", "sub/.hidden", "sub/.well-known/x", ".well-known/.secret", ".well-knownx/y"];
    let more = ["..twodots", "...", ".well-known/acme-challenge/token", "sub/not.hidden."];
    names.iter().chain(&more).fold(Folder::new(), |folder, name| folder.file(name, "x"))
}

#[track_caller]
fn ask_raw(server: &Server, target: &[u8]) -> Response {
    server.ask([b"GET ", target, b" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"].concat())
}
