//! Single ranges, and If-Range (RFC 9110 §14 and §13.1.5).

use crate::support::{Folder, Server, serve};

const LETTERS: &str = "abcdefghijklmnopqrstuvwxyz";

fn site() -> (Folder, Server) {
    let folder = Folder::new().file("a.txt", LETTERS).file("empty.txt", "");
    let server = serve(&folder).start();
    (folder, server)
}

#[test]
fn single_range_returns_its_bytes() {
    let table = [
        ("bytes=0-0", "a", "0-0"),
        ("bytes=0-4", "abcde", "0-4"),
        ("bytes=7-9", "hij", "7-9"),
        ("bytes=25-25", "z", "25-25"),
        ("bytes=000-0004", "abcde", "0-4"),
        ("bytes=20-", "uvwxyz", "20-25"),
        ("bytes=25-", "z", "25-25"),
        ("bytes=0-", LETTERS, "0-25"),
        ("bytes=0-25", LETTERS, "0-25"),
        ("bytes=-1", "z", "25-25"),
        ("bytes=-5", "vwxyz", "21-25"),
        ("bytes=-26", LETTERS, "0-25"),
        ("BYTES=0-4", "abcde", "0-4"),
        ("Bytes=-1", "z", "25-25"),
        ("bytes=0-4,", "abcde", "0-4"),
        ("bytes=,,0-4", "abcde", "0-4"),
    ];
    let (_folder, server) = site();
    for (range, body, span) in table {
        let response = server.get_with("/a.txt", &format!("Range: {range}\r\n")).status(206).body(body);
        response.has("Content-Range", &format!("bytes {span}/26")).has("Content-Type", "text/plain; charset=utf-8");
    }
}

#[test]
fn range_past_the_end_is_clamped() {
    let table = [
        ("0-26", LETTERS, "0-25"),
        ("20-999", "uvwxyz", "20-25"),
        ("25-26", "z", "25-25"),
        ("-27", LETTERS, "0-25"),
        ("-999999999999", LETTERS, "0-25"),
        ("20-2147483648", "uvwxyz", "20-25"),
        ("20-4294967296", "uvwxyz", "20-25"),
        ("20-9223372036854775807", "uvwxyz", "20-25"),
        ("20-18446744073709551615", "uvwxyz", "20-25"),
        ("20-18446744073709551616", "uvwxyz", "20-25"),
        ("20-99999999999999999999999999999999999999999", "uvwxyz", "20-25"),
        ("-18446744073709551615", LETTERS, "0-25"),
        ("-18446744073709551616", LETTERS, "0-25"),
        ("-99999999999999999999999999999999999999999", LETTERS, "0-25"),
    ];
    let (_folder, server) = site();
    for (range, body, span) in table {
        let response = server.get_with("/a.txt", &format!("Range: bytes={range}\r\n")).status(206).body(body);
        response.has("Content-Range", &format!("bytes {span}/26"));
    }
}

#[test]
fn range_beyond_the_file_is_unsatisfiable() {
    let table = [
        "26-",
        "26-26",
        "26-30",
        "999-",
        "-0",
        "-000",
        "26-,30-40",
        "-0,99-",
        "9223372036854775807-",
        "18446744073709551615-",
        "18446744073709551616-",
        "18446744073709551614-18446744073709551615",
        "18446744073709551616-18446744073709551617",
        "99999999999999999999999999999999999999999-",
    ];
    let (_folder, server) = site();
    let mut client = server.connect();
    for range in table {
        client.send(format!("GET /a.txt HTTP/1.1\r\nHost: localhost\r\nRange: bytes={range}\r\n\r\n"));
        let response = client.response().status(416).has("Content-Range", "bytes */26").never_says(LETTERS);
        response.has("Cache-Control", "no-store").says("RFC 9110 §");
    }
    client.still_open();
}

#[test]
fn range_of_an_empty_file_is_unsatisfiable() {
    let (_folder, server) = site();
    for range in ["0-", "0-0", "0-99", "1-", "-0"] {
        let response = server.get_with("/empty.txt", &format!("Range: bytes={range}\r\n"));
        response.status(416).has("Content-Range", "bytes */0");
    }
    let response = server.get_with("/empty.txt", "Range: bytes=-1\r\n");
    assert!(matches!(response.status, 200 | 416), "a part must have bytes\n{}", response.exchange);
}

#[test]
fn malformed_range_or_unknown_unit_is_ignored() {
    let table = [
        "bytes",
        "bytes=",
        "bytes=,",
        "bytes=-",
        "bytes=--5",
        "bytes=5",
        "bytes=a-b",
        "bytes=5-1",
        "bytes=0-5-9",
        "bytes=0-5;q=1",
        "bytes=0x0-5",
        "bytes=+0-5",
        "bytes=0-+5",
        "bytes=-+5",
        "bytes=0.0-5",
        "bytes=0 -5",
        "bytes=0- 5",
        "bytes=0 5",
        "bytes:0-5",
        "bytes 0-5",
        "bytes 0-5/26",
        "bytes=0-5/26",
        "=0-5",
        "0-5",
        "bytes=0-5,x",
        "bytes=0-5,5-1",
        "bytes=0-5,-",
        "bytes=5-1,99-",
        "items=0-5",
        "octets=0-5",
        "seconds=0-5",
        "none",
        "byte=0-5",
        "bytess=0-5",
        "lines=0-5, bytes=0-5",
    ];
    let (_folder, server) = site();
    for range in table {
        let response = server.get_with("/a.txt", &format!("Range: {range}\r\n")).status(200).body(LETTERS);
        response.lacks("Content-Range").has("Accept-Ranges", "bytes");
    }
}

#[test]
fn range_in_a_head_is_ignored() {
    let (_folder, server) = site();
    for range in ["0-4", "-1", "99-", "0-1,5-6"] {
        let request = format!("HEAD /a.txt HTTP/1.1\r\nHost: localhost\r\nRange: bytes={range}\r\n\r\n");
        let response = server.connect().send(request).response_to_head().status(200);
        response.has("Content-Length", "26").lacks("Content-Range").has("Accept-Ranges", "bytes");
    }
}

#[test]
fn range_is_ignored_in_errors_and_redirects() {
    let folder = Folder::new().file("404.html", LETTERS).file("dir/index.html", LETTERS);
    let server = serve(&folder).start();
    for range in ["0-4", "99-", "-0", "0-1,5-6"] {
        let fields = format!("Range: bytes={range}\r\n");
        server.get_with("/missing", &fields).status(404).body(LETTERS).lacks("Content-Range");
        server.get_with("/dir", &fields).status(301).lacks("Content-Range");
        server.get_with("/%zz", &fields).status(400).lacks("Content-Range");
    }
}

#[test]
fn partial_response_has_the_fields_of_the_file() {
    let (_folder, server) = site();
    let whole = server.get("/a.txt").status(200);
    let part = server.get_with("/a.txt", "Range: bytes=1-3\r\n").status(206).body("bcd").has("Content-Length", "3");
    for name in ["ETag", "Last-Modified", "Cache-Control", "Content-Type", "Server", "X-Content-Type-Options"] {
        assert_eq!(part.field(name), whole.field(name), "{name}");
    }
}

#[test]
fn ranges_of_any_size_start_at_the_right_offset() {
    let content: Vec<u8> = (0..500_000_u32).flat_map(u32::to_be_bytes).collect();
    let folder = Folder::new().file("large.bin", &content);
    let server = serve(&folder).start();
    let mut client = server.connect();
    let spans = [(0, 0), (1, 4096), (65_535, 65_536), (4095, 70_000), (1_000_000, 1_999_999), (1, 1_999_998)];
    for (first, last) in spans {
        client.send(format!("GET /large.bin HTTP/1.1\r\nHost: localhost\r\nRange: bytes={first}-{last}\r\n\r\n"));
        let response = client.response().status(206).has("Content-Range", &format!("bytes {first}-{last}/2000000"));
        assert!(response.body == content[first..=last], "wrong bytes for {first}-{last}");
    }
}

#[test]
fn if_range_with_current_validator_returns_the_part() {
    let folder = Folder::new().file("a.txt", LETTERS);
    folder.touch("a.txt", 1000);
    // Without other representations of the file, its date is a strong validator too.
    let server = serve(&folder).args(&["--no-precompressed", "--compress", "off"]).start();
    let whole = server.get("/a.txt").status(200);
    for validator in [whole.field("ETag"), whole.field("Last-Modified")] {
        let fields = format!("If-Range: {validator}\r\nRange: bytes=1-3\r\n");
        server.get_with("/a.txt", &fields).status(206).body("bcd").has("Content-Range", "bytes 1-3/26");
        let fields = format!("Range: bytes=1-3,7-\r\nif-range: {validator}\r\n");
        assert_eq!(server.get_with("/a.txt", &fields).status(206).all("Content-Range").len(), 0);
        let fields = format!("If-Range: {validator}\r\nRange: bytes=26-\r\n");
        server.get_with("/a.txt", &fields).status(416).has("Content-Range", "bytes */26");
        server.get_with("/a.txt", &format!("If-Range: {validator}\r\n")).status(200).body(LETTERS);
    }
}

#[test]
fn if_range_with_other_validator_returns_the_file() {
    let (folder, server) = site();
    folder.set_modified_secs("a.txt", 784_111_777);
    let tag = server.get("/a.txt").status(200).field("ETag").to_owned();
    let validators = [
        "\"x\"".to_owned(),
        "\"\"".to_owned(),
        "*".to_owned(),
        format!("W/{tag}"),
        format!("\"x\", {tag}"),
        format!("{tag}, \"x\""),
        tag.trim_matches('"').to_owned(),
        "Sun, 06 Nov 1994 08:49:36 GMT".to_owned(),
        "Sun, 06 Nov 1994 08:49:38 GMT".to_owned(),
        "Fri, 31 Dec 9999 23:59:59 GMT".to_owned(),
        "Sun, 06 Nov 1994 08:49:37".to_owned(),
        "yesterday".to_owned(),
    ];
    for validator in validators {
        for range in ["1-3", "26-", "0-1,5-6"] {
            let fields = format!("If-Range: {validator}\r\nRange: bytes={range}\r\n");
            server.get_with("/a.txt", &fields).status(200).body(LETTERS).lacks("Content-Range");
        }
    }
}

#[test]
fn if_range_with_a_recent_date_returns_the_file() {
    let (folder, server) = site();
    let tomorrow = std::time::SystemTime::now() + std::time::Duration::from_secs(86_400);
    let file = std::fs::File::open(folder.at("a.txt")).expect("the file can be opened");
    file.set_modified(tomorrow).expect("the time can be set");
    let date = server.get("/a.txt").status(200).field("Date").to_owned();
    let fields = format!("If-Range: {date}\r\nRange: bytes=1-3\r\n");
    server.get_with("/a.txt", &fields).status(200).lacks("Last-Modified").body(LETTERS);
}

#[test]
fn resumed_download_never_mixes_two_versions() {
    let (folder, server) = site();
    let first = server.get_with("/a.txt", "Range: bytes=0-9\r\n").status(206).body("abcdefghij");
    let resume = format!("If-Range: {}\r\nRange: bytes=10-\r\n", first.field("ETag"));
    server.get_with("/a.txt", &resume).status(206).body(&LETTERS[10..]);
    folder.replace("a.txt", LETTERS.to_uppercase());
    server.get_with("/a.txt", &resume).status(200).body(LETTERS.to_uppercase());
}
