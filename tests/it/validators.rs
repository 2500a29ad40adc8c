//! Validators: entity tags, dates, and the representations that they select.

use std::fs::{self, File};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::support::{Folder, Response, Server, serve, until};

/// Files up to this length are in memory.
const SMALL: usize = 64 * 1024;

/// The tag of a file up to this length is made of its content.
const HASHED_MAX: usize = 8 << 20;

/// A date of an old file.
const DATE_SECS: i64 = 784_111_777;
const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

/// Half of the SHA-256 of nothing.
const TAG_OF_NOTHING: &str = "\"e3b0c44298fc1c149afbf4c8996fb924\"";

/// Bytes without an obvious pattern.
pub fn content(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 31 + at / 251 * 17 + at / 65_521) as u8).collect()
}

fn tag(response: &Response) -> String {
    response.field("ETag").to_owned()
}

/// A text file of compressible content, an old one.
fn text_site() -> (Folder, String) {
    let text: String = (0..4000).map(|line| format!("line {line} of the text\n")).collect();
    let folder = Folder::new().file("a.txt", &text);
    folder.set_modified_secs("a.txt", DATE_SECS);
    (folder, text)
}

/// The whole in a coding, however long another thread compresses.
fn coded(server: &Server, target: &str, coding: &str) -> Response {
    let mut response = None;
    until("the response is compressed", || {
        let coded = server.get_with(target, &format!("Accept-Encoding: {coding}\r\n")).status(200);
        response = Some(coded).filter(|coded| coded.all("Content-Encoding") == [coding]);
        response.is_some()
    });
    response.expect("the last response is compressed")
}

#[test]
fn every_200_and_206_has_etag_from_first_response_on() {
    for len in [0, 1024, SMALL, SMALL + 1, 256 * 1024 + 1, HASHED_MAX, HASHED_MAX + 1] {
        let folder = Folder::new().file("a.bin", content(len));
        let first = |fields: &str| serve(&folder).start().get_with("/a.bin", fields);
        let whole = tag(&first("").status(200).body(content(len)));
        if len > 0 {
            first("Range: bytes=0-1\r\n").status(206).has("ETag", &whole);
            first("Range: bytes=0-0,5-6\r\n").status(206).has("ETag", &whole);
            first(&format!("If-Range: {whole}\r\nRange: bytes=0-1\r\n")).status(206);
        }
        first(&format!("If-None-Match: {whole}\r\n")).status(304).has("ETag", &whole);
        first(&format!("If-Match: {whole}\r\n")).status(200).has("ETag", &whole);
        serve(&folder).start().head("/a.bin").status(200).has("ETag", &whole);
    }
    let (folder, _) = text_site();
    for args in [&[][..], &["--cache-memory", "0"]] {
        let server = serve(&folder).args(args).start();
        assert!(!tag(&coded(&server, "/a.txt", "gzip")).is_empty(), "compressed for the cache, or while sent");
    }
}

#[test]
fn etag_is_same_until_file_changes() {
    for len in [1024, SMALL + 1, HASHED_MAX + 1] {
        let folder = Folder::new().file("a.bin", content(len));
        let server = serve(&folder).start();
        let before = tag(&server.get("/a.bin").status(200));
        let restarted = serve(&folder).start();
        for server in [&server, &server, &restarted] {
            server.get("/a.bin").status(200).has("ETag", &before);
            server.get_with("/a.bin", "Range: bytes=1-2\r\n").status(206).has("ETag", &before);
            server.get_with("/a.bin", "If-None-Match: *\r\n").status(304).has("ETag", &before);
        }
        let modified = fs::metadata(folder.at("a.bin")).and_then(|meta| meta.modified()).expect("the file exists");
        let mut changed = content(len);
        changed[len / 2] ^= 1;
        folder.write("a.bin", &changed);
        // The old time is put back.
        File::open(folder.at("a.bin")).and_then(|file| file.set_modified(modified)).expect("the time can be set");
        let response = server.get_with("/a.bin", &format!("If-None-Match: {before}\r\n")).status(200).body(&changed);
        assert_ne!(tag(&response), before, "{len} bytes");
    }
}

#[test]
fn etag_up_to_8_mib_is_made_of_content_alone() {
    let lens = [0, 1024, SMALL, SMALL + 1, HASHED_MAX];
    let machine = |secs| {
        let folder = Folder::new();
        for len in lens {
            let name = format!("{len}.bin");
            folder.write(&name, content(len));
            folder.set_modified_secs(&name, secs);
        }
        let server = serve(&folder).start();
        lens.map(|len| tag(&server.get(&format!("/{len}.bin")).status(200)))
    };
    let (ones, others) = (machine(1_000_000_000), machine(1_234_567_890));
    assert_eq!(ones, others);
    assert_eq!(ones[0], TAG_OF_NOTHING);
    assert!(ones.iter().all(|tag| tag.len() == 34 && !tag.contains('-')), "{ones:?}");
}

#[test]
fn etag_above_8_mib_is_made_of_metadata() {
    let folder = Folder::new().file("a.bin", content(HASHED_MAX + 1));
    let server = serve(&folder).start();
    let mut tags = Vec::new();
    let mut check = |change: &str| {
        let response = server.head("/a.bin").status(200);
        let tag = response.field("ETag").to_owned();
        assert!(tag.starts_with('"') && tag.matches('-').count() == 5, "no strong tag of six numbers: {tag}");
        assert!(!tags.contains(&tag), "{change} does not change the tag\n{}", response.exchange);
        tags.push(tag);
    };
    let set_modified = |at: SystemTime| {
        File::open(folder.at("a.bin")).and_then(|file| file.set_modified(at)).expect("the time can be set");
    };
    check("nothing");
    folder.set_modified_secs("a.bin", DATE_SECS);
    check("another second");
    for nanos in [1, 2] {
        set_modified(UNIX_EPOCH + Duration::from_secs(DATE_SECS.unsigned_abs()) + Duration::from_nanos(nanos));
        check("another nanosecond");
    }
    folder.write("a.bin", content(HASHED_MAX + 2));
    folder.set_modified_secs("a.bin", DATE_SECS);
    check("another length");
    // The same length and mtime.
    folder.set_modified_secs("a.bin", DATE_SECS);
    check("another ctime");
    folder.replace("a.bin", content(HASHED_MAX + 2));
    folder.set_modified_secs("a.bin", DATE_SECS);
    check("another inode");
    folder.set_modified_secs("a.bin", -DATE_SECS);
    check("a time before 1970");
}

#[test]
fn etag_of_encoding_ends_in_name_of_coding() {
    let (folder, _) = text_site();
    for (args, is_weak) in [(&[][..], false), (&["--cache-memory", "0"], true)] {
        let server = serve(&folder).args(args).start();
        let mut tags = vec![tag(&server.get("/a.txt").status(200))];
        for coding in ["br", "zstd", "gzip"] {
            let tag = tag(&coded(&server, "/a.txt", coding));
            assert!(tag.ends_with(&format!("-{coding}\"")) && tag.starts_with("W/") == is_weak, "{tag}");
            assert!(!tags.contains(&tag), "{tag} is the tag of another representation");
            tags.push(tag);
        }
    }
}

#[test]
fn revalidation_sees_each_change_once() {
    let folder = Folder::new().file("a.txt", "version 0");
    let server = serve(&folder).start();
    let mut client = server.connect();
    let mut tag = "\"none\"".to_owned();
    for version in 0..20 {
        folder.replace("a.txt", format!("version {version}"));
        folder.set_modified_secs("a.txt", DATE_SECS + version);
        let mut get = |tag: &str| {
            client.send(format!("GET /a.txt HTTP/1.1\r\nHost: localhost\r\nIf-None-Match: {tag}\r\n\r\n")).response()
        };
        tag = get(&tag).status(200).body(format!("version {version}")).field("ETag").to_owned();
        get(&tag).status(304).has("ETag", &tag);
    }
}

#[test]
fn date_decides_only_for_clients_without_tag() {
    let folder = Folder::new().file("a.txt", "hello");
    folder.set_modified_secs("a.txt", DATE_SECS);
    let server = serve(&folder).start();
    let since = format!("If-Modified-Since: {DATE}\r\n");
    server.get_with("/a.txt", &since).status(304);
    server.get_with("/a.txt", &format!("{since}If-None-Match: \"other\"\r\n")).status(200).body("hello");
}

#[test]
fn not_modified_by_date_carries_no_etag() {
    for len in [5, SMALL + 1, HASHED_MAX + 1] {
        let folder = Folder::new().file("a.bin", content(len));
        folder.set_modified_secs("a.bin", DATE_SECS);
        let server = serve(&folder).start();
        for _ in 0..2 {
            let response = server.get_with("/a.bin", &format!("If-Modified-Since: {DATE}\r\n")).status(304);
            response.lacks("ETag").has("Last-Modified", DATE);
        }
    }
}

#[test]
fn dates_of_reproducible_builds_are_no_validators() {
    let folder = Folder::new().file("a.txt", "hello");
    let server = serve(&folder).start();
    let range = "Range: bytes=0-1\r\n";
    for (secs, date) in [
        (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
        (1, "Thu, 01 Jan 1970 00:00:01 GMT"),
        (86_399, "Thu, 01 Jan 1970 23:59:59 GMT"),
        (315_532_800, "Tue, 01 Jan 1980 00:00:00 GMT"),
        (315_619_199, "Tue, 01 Jan 1980 23:59:59 GMT"),
    ] {
        folder.set_modified_secs("a.txt", secs);
        for _ in 0..2 {
            let tag = tag(&server.get("/a.txt").status(200).lacks("Last-Modified"));
            server.get_with("/a.txt", &format!("If-Modified-Since: {date}\r\n")).status(200).body("hello");
            server.get_with("/a.txt", &format!("If-Modified-Since: {DATE}\r\n")).status(200).body("hello");
            server.get_with("/a.txt", &format!("{range}If-Range: {date}\r\n")).status(200).body("hello");
            server.get_with("/a.txt", &format!("If-None-Match: {tag}\r\n")).status(304).lacks("Last-Modified");
        }
    }
    for (secs, date) in [
        (86_400, "Fri, 02 Jan 1970 00:00:00 GMT"),
        (315_532_799, "Mon, 31 Dec 1979 23:59:59 GMT"),
        (315_619_200, "Wed, 02 Jan 1980 00:00:00 GMT"),
    ] {
        folder.set_modified_secs("a.txt", secs);
        server.get("/a.txt").status(200).has("Last-Modified", date);
        server.get_with("/a.txt", &format!("If-Modified-Since: {date}\r\n")).status(304).has("Last-Modified", date);
    }
}

#[test]
fn young_date_is_no_validator() {
    let folder = Folder::new().file("a.txt", "hello");
    let server = serve(&folder).start();
    let modified = SystemTime::now() + Duration::from_secs(3);
    let secs = modified.duration_since(UNIX_EPOCH).expect("a time after 1970").as_secs().cast_signed();
    folder.set_modified_secs("a.txt", secs);
    let response = server.get("/a.txt").status(200);
    if SystemTime::now() < modified {
        response.lacks("Last-Modified");
    }
    let later = "If-Modified-Since: Fri, 31 Dec 9999 23:59:59 GMT\r\n";
    let response = server.get_with("/a.txt", later);
    if SystemTime::now() < modified {
        response.status(200).lacks("Last-Modified").body("hello");
    }
    until("the date is old enough", || !server.get("/a.txt").status(200).all("Last-Modified").is_empty());
    server.get_with("/a.txt", later).status(304);
}

#[test]
fn range_gets_identity_whatever_client_accepts() {
    let (folder, text) = text_site();
    let server = serve(&folder).start();
    let whole = tag(&server.get("/a.txt").status(200));
    for fields in ["", "Accept-Encoding: br, gzip\r\n", "Accept-Encoding: identity;q=0, *\r\n"] {
        let part = server.get_with("/a.txt", &format!("{fields}Range: bytes=5-9\r\n")).status(206);
        part.lacks("Content-Encoding").has("ETag", &whole).has("Vary", "Accept-Encoding").body(&text[5..10]);
        let none = format!("{fields}Range: bytes={}-\r\n", text.len());
        server.get_with("/a.txt", &none).status(416).has("Content-Range", &format!("bytes */{}", text.len()));
    }
}

#[test]
fn earlier_requests_change_no_range() {
    let (folder, text) = text_site();
    let fields = "Accept-Encoding: gzip\r\nRange: bytes=100-199\r\n";
    let server = serve(&folder).start();
    let check = || {
        let part = server.get_with("/a.txt", fields).status(206).lacks("Content-Encoding").body(&text[100..200]);
        tag(&part.has("Content-Range", &format!("bytes 100-199/{}", text.len())))
    };
    let before = check();
    let encoded = coded(&server, "/a.txt", "gzip");
    assert_eq!(check(), before);
    let fields = format!("{fields}If-Range: {}\r\n", encoded.field("ETag"));
    // The first request of another server.
    for server in [&server, &serve(&folder).start()] {
        let part = server.get_with("/a.txt", &fields).status(206).has("Content-Encoding", "gzip");
        part.body(&encoded.body[100..200]);
    }
}

#[test]
fn if_range_with_tag_of_encoding_gets_its_part() {
    let (folder, text) = text_site();
    let server = serve(&folder).start();
    let plain = tag(&server.get("/a.txt").status(200));
    for coding in ["br", "zstd", "gzip"] {
        let encoded = coded(&server, "/a.txt", coding);
        let get = |accepted: &str, validator: &str| {
            let fields = format!("Accept-Encoding: {accepted}\r\nRange: bytes=2-5\r\nIf-Range: {validator}\r\n");
            server.get_with("/a.txt", &fields)
        };
        let own = encoded.field("ETag");
        let part = get("br, zstd, gzip", own).status(206).has("Content-Encoding", coding).has("ETag", own);
        part.body(&encoded.body[2..6]);
        // A client that does not accept the coding, a weak tag, and tags of other content.
        for (accepted, validator) in [
            ("identity", own.to_owned()),
            (coding, format!("W/{own}")),
            (coding, format!("\"0-{coding}\"")),
            (coding, format!("{own}, {own}")),
            (coding, format!("{}-{coding}\"", TAG_OF_NOTHING.trim_end_matches('"'))),
        ] {
            let whole = get(accepted, &validator).status(200).lacks("Content-Encoding").has("ETag", &plain);
            whole.body(&text);
        }
        get(coding, &plain).status(206).lacks("Content-Encoding").has("ETag", &plain).body(&text[2..6]);
    }
}

#[test]
fn date_in_if_range_counts_if_client_selects_identity() {
    let (folder, text) = text_site();
    let folder = folder.file("a.png", &text);
    folder.set_modified_secs("a.png", DATE_SECS);
    let server = serve(&folder).start();
    let get = |target: &str, fields: &str| {
        server.get_with(target, &format!("{fields}Range: bytes=5-9\r\nIf-Range: {DATE}\r\n"))
    };
    for fields in ["", "Accept-Encoding: identity\r\n", "Accept-Encoding: gzip;q=0, deflate\r\n"] {
        get("/a.txt", fields).status(206).body(&text[5..10]);
    }
    // Its part may be one of the encoding, which has the same date.
    get("/a.txt", "Accept-Encoding: gzip\r\n").status(200).lacks("Content-Encoding").body(&text);
    get("/a.png", "Accept-Encoding: gzip\r\n").status(206).body(&text[5..10]);
}
