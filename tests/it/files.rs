//! Regular files: sizes, modification times, media types, and the fields that flags add.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::time::Duration;

use crate::support::{Folder, serve};

#[test]
fn file_response_has_the_descriptive_fields() {
    let folder = Folder::new().file("a.txt", "hello");
    let response = serve(&folder).start().get("/a.txt").status(200).body("hello");
    let response = response.has("Content-Length", "5").has("Content-Type", "text/plain; charset=utf-8");
    let response = response.has("Accept-Ranges", "bytes").has("X-Content-Type-Options", "nosniff");
    let response = response.has("Cache-Control", "no-cache").has("Server", "serve").lacks("Content-Range");
    for name in ["Date", "ETag", "Last-Modified"] {
        assert!(!response.field(name).is_empty(), "{name} is empty\n{}", response.exchange);
    }
}

#[test]
fn empty_file_is_a_complete_response() {
    let folder = Folder::new().file("empty.txt", "");
    let server = serve(&folder).start();
    let mut client = server.connect();
    for _ in 0..2 {
        let response = client.send("GET /empty.txt HTTP/1.1\r\nHost: localhost\r\n\r\n").response();
        let response = response.status(200).body("").has("Content-Length", "0");
        assert!(!response.field("ETag").is_empty());
    }
}

#[test]
fn five_gigabyte_file_is_served_to_its_end() {
    const SIZE: u64 = 5 << 30;
    let folder = Folder::new();
    let file = File::create(folder.at("big.bin")).expect("the file can be made");
    file.set_len(SIZE).expect("the file can be sparse");
    file.write_all_at(b"end", SIZE - 3).expect("the file can be written");
    let server = serve(&folder).start();
    server.head("/big.bin").status(200).has("Content-Length", "5368709120");
    let tail = "bytes 5368709117-5368709119/5368709120";
    for range in ["5368709117-", "-3", "5368709117-5368709119", "5368709117-99999999999"] {
        let response = server.get_with("/big.bin", &format!("Range: bytes={range}\r\n"));
        response.status(206).body("end").has("Content-Range", tail);
    }
    let response = server.get_with("/big.bin", "Range: bytes=4294967295-4294967297\r\n");
    response.status(206).body([0; 3]).has("Content-Range", "bytes 4294967295-4294967297/5368709120");
    let response = server.get_with("/big.bin", "Range: bytes=5368709120-\r\n");
    response.status(416).has("Content-Range", "bytes */5368709120");
}

#[test]
fn large_file_arrives_byte_for_byte() {
    let content: Vec<u8> = (0..3_000_000_u32).flat_map(u32::to_le_bytes).collect();
    let folder = Folder::new().file("large.bin", &content);
    let server = serve(&folder).start();
    let mut client = server.connect();
    for _ in 0..2 {
        let response = client.send("GET /large.bin HTTP/1.1\r\nHost: localhost\r\n\r\n").response().status(200);
        assert_eq!(response.field("Content-Length"), content.len().to_string());
        assert!(response.body == content, "the content differs");
    }
}

#[test]
fn files_of_boundary_sizes_arrive_complete() {
    let sizes = [1, 1023, 1024, 4095, 4096, 4097, 8192, 16384, 32768, 65535, 65536, 65537, 131_072, 262_144, 1_048_577];
    let content: Vec<u8> = (0..1_048_577_u32).map(|at| (at * 31 / 7) as u8).collect();
    let folder = sizes.iter().fold(Folder::new(), |folder, size| folder.file(&size.to_string(), &content[..*size]));
    let server = serve(&folder).start();
    let mut client = server.connect();
    for size in sizes {
        let response = client.send(format!("GET /{size} HTTP/1.1\r\nHost: localhost\r\n\r\n")).response().status(200);
        assert!(response.body == content[..size], "the content of {size} bytes differs");
    }
}

#[test]
fn mtime_since_1970_is_sent_as_last_modified() {
    let table = [
        (86_400, "Fri, 02 Jan 1970 00:00:00 GMT"),
        (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
        (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
    ];
    let folder = Folder::new().file("a.txt", "a");
    let server = serve(&folder).start();
    for (secs, date) in table {
        folder.set_modified_secs("a.txt", secs);
        server.get("/a.txt").status(200).body("a").has("Last-Modified", date);
    }
}

#[test]
fn mtime_before_1970_gives_an_etag_and_no_date() {
    let folder = Folder::new().file("a.txt", "a");
    let server = serve(&folder).start();
    for secs in [-1, -86_400, -2_000_000_000] {
        folder.set_modified_secs("a.txt", secs);
        let response = server.get("/a.txt").status(200).body("a").lacks("Last-Modified");
        server.get_with("/a.txt", &format!("If-None-Match: {}\r\n", response.field("ETag"))).status(304);
        server.get_with("/a.txt", "If-Modified-Since: Thu, 01 Jan 1970 00:00:00 GMT\r\n").status(200).body("a");
    }
}

#[test]
fn mtime_in_the_future_gives_an_etag_and_no_date() {
    let folder = Folder::new().file("a.txt", "a");
    let server = serve(&folder).start();
    for secs in [4_102_444_800, 9_000_000_000] {
        folder.set_modified_secs("a.txt", secs);
        let response = server.get("/a.txt").status(200).body("a").lacks("Last-Modified");
        server.get_with("/a.txt", &format!("If-None-Match: {}\r\n", response.field("ETag"))).status(304);
    }
}

#[test]
fn mtime_after_the_year_9999_gives_an_etag_and_no_date() {
    let far = FarFile::new(253_402_300_800);
    let folder = Folder::new().link("far.txt", &far.0);
    let server = serve(&folder).args(&["--symlinks", "all"]).start();
    let response = server.get("/far.txt").status(200).body("far").lacks("Last-Modified");
    server.get_with("/far.txt", &format!("If-None-Match: {}\r\n", response.field("ETag"))).status(304);
}

/// A file on tmpfs, which stores times after 9999; those of ext4 end in 2446.
struct FarFile(PathBuf);

impl FarFile {
    fn new(secs: u64) -> FarFile {
        let memory = PathBuf::from("/dev/shm");
        let place = if memory.is_dir() { memory } else { std::env::temp_dir() };
        let path = place.join(format!("serve-test-far-{}", std::process::id()));
        fs::write(&path, "far").expect("the file can be written");
        let at = std::time::UNIX_EPOCH + Duration::from_secs(secs);
        File::open(&path).and_then(|file| file.set_modified(at)).expect("the time can be set");
        FarFile(path)
    }
}

impl Drop for FarFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[test]
fn file_extension_decides_the_media_type() {
    let table = [
        ("a.html", "text/html; charset=utf-8"),
        ("a.htm", "text/html; charset=utf-8"),
        ("A.HTML", "text/html; charset=utf-8"),
        ("a.css", "text/css; charset=utf-8"),
        ("a.js", "text/javascript; charset=utf-8"),
        ("a.mjs", "text/javascript; charset=utf-8"),
        ("a.json", "application/json; charset=utf-8"),
        ("a.svg", "image/svg+xml; charset=utf-8"),
        ("a.xml", "text/xml; charset=utf-8"),
        ("a.txt", "text/plain; charset=utf-8"),
        ("a.md", "text/markdown; charset=utf-8"),
        ("a.csv", "text/csv; charset=utf-8"),
        ("a.min.js", "text/javascript; charset=utf-8"),
        ("a.png", "image/png"),
        ("a.jpg", "image/jpeg"),
        ("a.gif", "image/gif"),
        ("a.webp", "image/webp"),
        ("a.ico", "image/x-icon"),
        ("a.woff2", "font/woff2"),
        ("a.wasm", "application/wasm"),
        ("a.pdf", "application/pdf"),
        ("a.mp4", "video/mp4"),
        ("a.zip", "application/zip"),
        ("a.tar.gz", "application/gzip"),
        ("a.no-such-type", "application/octet-stream"),
        ("README", "application/octet-stream"),
        ("a.", "application/octet-stream"),
        ("html", "application/octet-stream"),
        ("a.html.unknown-ending", "application/octet-stream"),
    ];
    let folder = table.iter().fold(Folder::new(), |folder, (name, _)| folder.file(name, "<html>"));
    let server = serve(&folder).start();
    for (name, media_type) in table {
        let response = server.get(&format!("/{name}")).status(200);
        response.has("Content-Type", media_type).has("X-Content-Type-Options", "nosniff");
    }
}

#[test]
fn charset_flag_sets_the_charset_of_text() {
    let folder = Folder::new().file("a.html", "a").file("a.svg", "a").file("a.png", "a");
    let table = [
        ("off", "text/html", "image/svg+xml"),
        ("iso-8859-2", "text/html; charset=iso-8859-2", "image/svg+xml; charset=iso-8859-2"),
    ];
    for (charset, html, svg) in table {
        let server = serve(&folder).args(&["--charset", charset]).start();
        server.get("/a.html").has("Content-Type", html);
        server.get("/a.svg").has("Content-Type", svg);
        server.get("/a.png").has("Content-Type", "image/png");
    }
}

/// Requests for every kind of response that a static server has, with the `Cache-Control` of each.
const KINDS: &[(u16, &str, &str, &str)] = &[
    (200, "/a.txt", "", "FILE"),
    (200, "/dir/", "", "FILE"),
    (206, "/a.txt", "Range: bytes=0-1\r\n", "FILE"),
    (304, "/a.txt", "If-None-Match: *\r\n", "FILE"),
    (301, "/dir", "", "no-cache"),
    (400, "/%zz", "", "no-store"),
    (404, "/missing", "", "no-store"),
    (404, "/missing.js", "", "no-store"),
    (412, "/a.txt", "If-Match: \"x\"\r\n", "no-store"),
    (416, "/a.txt", "Range: bytes=9-\r\n", "no-store"),
    (417, "/a.txt", "Expect: a miracle\r\n", "no-store"),
];

fn kinds() -> Folder {
    Folder::new().file("a.txt", "hello").file("dir/index.html", "index")
}

#[test]
fn cache_flag_applies_to_content_alone() {
    let folder = kinds();
    for (args, cache) in [(&[][..], "no-cache"), (&["--cache", "0"], "no-cache"), (&["--cache", "60"], "max-age=60")] {
        let server = serve(&folder).args(args).start();
        for (status, target, fields, expected) in KINDS {
            let expected = if *expected == "FILE" { cache } else { expected };
            server.get_with(target, fields).status(*status).has("Cache-Control", expected);
        }
    }
}

#[test]
fn header_flag_adds_fields_to_every_response() {
    let folder = kinds();
    let server = serve(&folder).args(&["--header", "X-One: 1", "--header", "x-two: a: b, \"c\""]).start();
    for (status, target, fields, _) in KINDS {
        server.get_with(target, fields).status(*status).has("X-One", "1").has("X-Two", "a: b, \"c\"");
    }
    server.ask("OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n").status(204).has("X-One", "1");
    server.ask("BREW / HTTP/1.1\r\nHost: localhost\r\n\r\n").status(501).has("X-One", "1");
    server.ask("GET / HTTP/1.1\r\nbroken\r\n\r\n").status(400).has("X-One", "1");
}

#[test]
fn header_flag_replaces_cache_control_and_server() {
    let folder = kinds();
    let args = ["--header", "cache-control: public, max-age=5", "--header", "Server: mine", "--cache", "60"];
    let server = serve(&folder).args(&args).start();
    for (status, target, fields, _) in KINDS {
        let response = server.get_with(target, fields).status(*status).has("Server", "mine");
        // An error is never cached, whatever applies to files.
        response.has("Cache-Control", if *status < 400 { "public, max-age=5" } else { "no-store" });
    }
}
