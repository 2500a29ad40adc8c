//! Validators and the five preconditions, in the order of RFC 9110 §13.2.2.

use std::fs::File;
use std::time::{Duration, UNIX_EPOCH};

use crate::support::{Folder, Response, Server, serve};

/// The example date of RFC 9110 §5.6.7, which every file here bears.
const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
const DATE_SECS: i64 = 784_111_777;
const OLDER: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
const NEWER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";

/// A folder with `/a.txt`, a server on it, and the file's tag.
fn site() -> (Folder, Server, String) {
    let folder = Folder::new().file("a.txt", "hello").file("dir/index.html", "index");
    folder.set_modified_secs("a.txt", DATE_SECS);
    let server = serve(&folder).start();
    let tag = server.get("/a.txt").status(200).has("Last-Modified", DATE).field("ETag").to_owned();
    (folder, server, tag)
}

/// Asks with each line's fields, in which `TAG` and the dates' names stand for themselves, with GET and HEAD.
#[track_caller]
fn check(table: &[(u16, &[&str])]) {
    let (_folder, server, tag) = site();
    for (status, lines) in table {
        let fields: String = lines.iter().map(|line| format!("{}\r\n", fill(line, &tag))).collect();
        let response = server.get_with("/a.txt", &fields).status(*status);
        if *status == 200 {
            response.body("hello");
        }
        let head = format!("HEAD /a.txt HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n");
        server.connect().send(head).response_to_head().status(*status);
    }
}

fn fill(line: &str, tag: &str) -> String {
    let dates = line.replace("OLDER", OLDER).replace("NEWER", NEWER).replace("DATE", DATE);
    dates.replace("TAG", tag).replace("OPAQUE", tag.trim_matches('"'))
}

#[test]
fn if_match_compares_strongly() {
    check(&[
        (200, &["If-Match: TAG"]),
        (200, &["if-match: TAG"]),
        (200, &["If-Match: *"]),
        (200, &["If-Match: \"x\", TAG"]),
        (200, &["If-Match: TAG,\"x\""]),
        (200, &["If-Match: \"x\"  ,\t TAG ,, \"y\""]),
        (200, &["If-Match: \"x\"", "If-Match: TAG"]),
        (200, &["If-Match: W/\"x\", TAG"]),
        (200, &["If-Match: \"a,b\", TAG"]),
        (412, &["If-Match: \"x\""]),
        (412, &["If-Match: \"\""]),
        (412, &["If-Match: W/TAG"]),
        (412, &["If-Match: \"x\", W/TAG, \"y\""]),
        (412, &["If-Match: \"OPAQUEx\""]),
        (412, &["If-Match: \"xOPAQUE\""]),
        (412, &["If-Match: \"*\""]),
    ]);
}

#[test]
fn if_unmodified_since_fails_when_the_file_is_newer() {
    check(&[
        (200, &["If-Unmodified-Since: DATE"]),
        (200, &["If-Unmodified-Since: NEWER"]),
        (200, &["If-Unmodified-Since: Sunday, 06-Nov-94 08:49:37 GMT"]),
        (200, &["If-Unmodified-Since: Sun Nov  6 08:49:37 1994"]),
        (412, &["If-Unmodified-Since: OLDER"]),
        (412, &["If-Unmodified-Since: Sunday, 06-Nov-94 08:49:36 GMT"]),
        (412, &["If-Unmodified-Since: Sun Nov  6 08:49:36 1994"]),
        (200, &["If-Unmodified-Since: yesterday"]),
        (200, &["If-Unmodified-Since: 0"]),
        (200, &["If-Unmodified-Since: Sun, 06 Nov 1994 08:49:36"]),
        (200, &["If-Unmodified-Since: TAG"]),
    ]);
}

#[test]
fn if_none_match_compares_weakly() {
    check(&[
        (304, &["If-None-Match: TAG"]),
        (304, &["IF-NONE-MATCH: TAG"]),
        (304, &["If-None-Match: W/TAG"]),
        (304, &["If-None-Match: *"]),
        (304, &["If-None-Match: \"x\", TAG"]),
        (304, &["If-None-Match: \"x\",W/TAG,\"y\""]),
        (304, &["If-None-Match: , ,\"x\" ,\tTAG, "]),
        (304, &["If-None-Match: \"x\"", "If-None-Match: TAG"]),
        (304, &["If-None-Match: TAG", "If-None-Match: \"x\""]),
        (304, &["If-None-Match: \"a,b\", TAG"]),
        (304, &["If-None-Match: \"W/\", TAG"]),
        (200, &["If-None-Match: \"x\""]),
        (200, &["If-None-Match: W/\"x\", \"y\""]),
        (200, &["If-None-Match: \"\""]),
        (200, &["If-None-Match: \"*\""]),
        (200, &["If-None-Match: \"OPAQUEx\""]),
        (200, &["If-None-Match: \"xOPAQUE\""]),
        (200, &["If-None-Match: \"a,OPAQUE\""]),
    ]);
}

#[test]
fn if_modified_since_holds_back_what_the_client_has() {
    check(&[
        (304, &["If-Modified-Since: DATE"]),
        (304, &["If-Modified-Since: NEWER"]),
        (304, &["If-Modified-Since: Sunday, 06-Nov-94 08:49:37 GMT"]),
        (304, &["If-Modified-Since: Sun Nov  6 08:49:37 1994"]),
        (304, &["If-Modified-Since: Sat, 01 Jan 2000 00:00:00 GMT"]),
        (200, &["If-Modified-Since: OLDER"]),
        (200, &["If-Modified-Since: Sunday, 06-Nov-94 08:49:36 GMT"]),
        (200, &["If-Modified-Since: Sun Nov  6 08:49:36 1994"]),
        (200, &["If-Modified-Since: Thu, 01 Jan 1970 00:00:00 GMT"]),
        (200, &["If-Modified-Since: tomorrow"]),
        (200, &["If-Modified-Since: 99999999999999999999"]),
        (200, &["If-Modified-Since: Sun, 32 Nov 1994 08:49:37 GMT"]),
        (200, &["If-Modified-Since: Sun, 06 Nov 1994 25:49:37 GMT"]),
        (200, &["If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT+1"]),
        (200, &["If-Modified-Since: NEWER, NEWER"]),
        (200, &["If-Modified-Since: NEWER", "If-Modified-Since: NEWER"]),
    ]);
}

#[test]
fn the_preconditions_have_their_order() {
    check(&[
        // 1 and 2: If-Match decides alone, whatever the date says.
        (200, &["If-Match: TAG", "If-Unmodified-Since: OLDER"]),
        (200, &["If-Unmodified-Since: OLDER", "If-Match: *"]),
        (412, &["If-Match: \"x\"", "If-Unmodified-Since: NEWER"]),
        // 1 and 2 come before 3 and 4.
        (412, &["If-None-Match: TAG", "If-Match: \"x\""]),
        (412, &["If-Modified-Since: NEWER", "If-Match: \"x\""]),
        (412, &["If-None-Match: TAG", "If-Unmodified-Since: OLDER"]),
        (412, &["If-Modified-Since: DATE", "If-Unmodified-Since: OLDER"]),
        (304, &["If-None-Match: TAG", "If-Match: TAG"]),
        (304, &["If-None-Match: *", "If-Unmodified-Since: DATE"]),
        (304, &["If-Modified-Since: DATE", "If-Match: TAG"]),
        // 3 and 4: If-None-Match decides alone, whatever the date says.
        (200, &["If-None-Match: \"x\"", "If-Modified-Since: DATE"]),
        (200, &["If-Modified-Since: NEWER", "If-None-Match: \"x\""]),
        (304, &["If-None-Match: TAG", "If-Modified-Since: OLDER"]),
        (304, &["If-Modified-Since: nonsense", "If-None-Match: TAG"]),
        // All that hold.
        (200, &["If-Match: TAG", "If-Unmodified-Since: DATE", "If-None-Match: \"x\"", "If-Modified-Since: OLDER"]),
    ]);
}

#[test]
fn the_preconditions_come_before_the_range() {
    let (_folder, server, tag) = site();
    let table = [
        (304, "If-None-Match: TAG\r\nRange: bytes=0-1\r\n"),
        (304, "Range: bytes=0-1\r\nIf-Modified-Since: DATE\r\n"),
        (304, "If-None-Match: TAG\r\nRange: bytes=9-\r\n"),
        (304, "If-None-Match: TAG\r\nRange: bytes=0-1\r\nIf-Range: TAG\r\n"),
        (412, "If-Match: \"x\"\r\nRange: bytes=0-1\r\n"),
        (412, "If-Match: \"x\"\r\nRange: bytes=9-\r\n"),
        (412, "If-Unmodified-Since: OLDER\r\nRange: bytes=0-1\r\nIf-Range: TAG\r\n"),
        (206, "If-Match: TAG\r\nRange: bytes=0-1\r\n"),
        (206, "If-None-Match: \"x\"\r\nIf-Range: TAG\r\nRange: bytes=0-1\r\n"),
        (200, "If-None-Match: \"x\"\r\nIf-Range: \"x\"\r\nRange: bytes=0-1\r\n"),
        (416, "If-None-Match: \"x\"\r\nRange: bytes=9-\r\n"),
    ];
    for (status, fields) in table {
        server.get_with("/a.txt", &fill(fields, &tag)).status(status);
    }
}

#[test]
fn preconditions_are_ignored_where_the_answer_would_be_no_success() {
    let (_folder, server, _) = site();
    for fields in ["If-None-Match: *\r\n", "If-Match: \"x\"\r\n", "If-Match: *\r\n", "If-Unmodified-Since: OLDER\r\n"] {
        let fields = fill(fields, "");
        server.get_with("/missing", &fields).status(404);
        server.get_with("/dir", &fields).status(301);
        server.get_with("/%zz", &fields).status(400);
        server.ask(format!("POST /a.txt HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n")).status(405);
        server.ask(format!("OPTIONS /a.txt HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n")).status(204);
    }
}

#[test]
fn not_modified_has_the_fields_a_cache_needs_and_no_others() {
    let (_folder, server, tag) = site();
    let mut client = server.connect();
    for fields in ["If-None-Match: TAG", "If-Modified-Since: DATE"] {
        let request = format!("GET /a.txt HTTP/1.1\r\nHost: localhost\r\n{}\r\n\r\n", fill(fields, &tag));
        let response = client.send(request).response().status(304).has("ETag", &tag).has("Cache-Control", "no-cache");
        assert_eq!(response.all("Date").len(), 1, "{}", response.exchange);
        let unwanted = ["Content-Length", "Content-Type", "Content-Range", "Last-Modified", "Transfer-Encoding"];
        unwanted.iter().fold(response, |response, name| response.lacks(name));
    }
    client.send("GET /a.txt HTTP/1.1\r\nHost: localhost\r\n\r\n").response().status(200).body("hello");
}

#[test]
fn a_failed_precondition_explains_itself_and_keeps_the_connection() {
    let (_folder, server, _) = site();
    let mut client = server.connect();
    client.send("GET /a.txt HTTP/1.1\r\nHost: localhost\r\nIf-Match: \"mine\"\r\n\r\n");
    let response = client.response().status(412).says("412 Precondition Failed").says("If-Match").says("RFC 9110 §13");
    assert!(response.never_says("hello").field("Content-Type").starts_with("text/plain"));
    client.still_open();
}

#[test]
fn a_tag_is_strong_and_quoted() {
    let folder = Folder::new().file("a", "x").file("empty", "").file("large", vec![b'x'; 2_000_000]);
    folder.set_modified_secs("empty", -5);
    let server = serve(&folder).start();
    for target in ["/a", "/empty", "/large"] {
        let response = server.head(target).status(200);
        let tag = response.field("ETag");
        let opaque = tag.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
        let opaque = opaque.unwrap_or_else(|| panic!("no strong tag: {tag}\n{}", response.exchange));
        assert!(opaque.bytes().all(|b| b.is_ascii_graphic() && b != b'"'), "no tag: {tag}");
        assert!(!opaque.is_empty(), "an empty tag says nothing");
    }
}

#[test]
fn one_version_has_one_tag_in_every_answer() {
    let (folder, server, tag) = site();
    let responses: [Response; 5] = [
        server.get("/a.txt").status(200),
        server.head("/a.txt").status(200),
        server.get_with("/a.txt", "Range: bytes=1-2\r\n").status(206),
        server.get_with("/a.txt", "If-None-Match: *\r\n").status(304),
        serve(&folder).start().get("/a.txt").status(200),
    ];
    for response in responses {
        response.has("ETag", &tag);
    }
}

#[test]
fn every_new_version_has_a_new_tag() {
    let folder = Folder::new().file("a.txt", "hello");
    let server = serve(&folder).start();
    let mut tags = Vec::new();
    for content in ["hello", "hellp", "hello, world", ""] {
        folder.write("a.txt", content);
        folder.set_modified_secs("a.txt", DATE_SECS);
        tags.push(server.get("/a.txt").status(200).body(content).field("ETag").to_owned());
        folder.set_modified_secs("a.txt", DATE_SECS + 1);
        server.get("/a.txt").status(200).has("ETag", tags.last().expect("one was noted"));
    }
    tags.sort();
    tags.dedup();
    assert_eq!(tags.len(), 4);
}

#[test]
fn every_size_and_time_of_a_large_file_has_a_tag_of_its_own() {
    const LARGE: usize = (8 << 20) + 1;
    let folder = Folder::new().file("a.txt", vec![b'x'; LARGE]);
    let server = serve(&folder).start();
    let mut client = server.connect();
    let mut tags = Vec::new();
    let mut ask = |what: &str| {
        let response = client.send("HEAD /a.txt HTTP/1.1\r\nHost: localhost\r\n\r\n").response_to_head().status(200);
        let tag = response.field("ETag").to_owned();
        assert!(!tags.contains(&tag), "{what} does not change the tag\n{}", response.exchange);
        tags.push(tag);
    };
    ask("nothing");
    folder.set_modified_secs("a.txt", DATE_SECS);
    ask("another second");
    for nanos in [1, 2, 1000] {
        let at = UNIX_EPOCH + Duration::from_secs(DATE_SECS.unsigned_abs()) + Duration::from_nanos(nanos);
        File::open(folder.at("a.txt")).and_then(|file| file.set_modified(at)).expect("the time can be set");
        ask("another nanosecond");
    }
    folder.write("a.txt", vec![b'x'; LARGE + 1]);
    folder.set_modified_secs("a.txt", DATE_SECS);
    ask("another size");
    folder.set_modified_secs("a.txt", -DATE_SECS);
    ask("a time before 1970");
}

#[test]
fn replicas_give_the_same_tag() {
    let tags = [(); 2].map(|()| {
        let (_folder, _server, tag) = site();
        tag
    });
    assert_eq!(tags[0], tags[1]);
}

#[test]
fn a_client_that_revalidates_sees_each_change_once() {
    let folder = Folder::new().file("a.txt", "version 0");
    let server = serve(&folder).start();
    let mut client = server.connect();
    let mut tag = "\"none\"".to_owned();
    for version in 0..20 {
        folder.replace("a.txt", format!("version {version}"));
        folder.set_modified_secs("a.txt", DATE_SECS + version);
        let mut ask = |tag: &str| {
            client.send(format!("GET /a.txt HTTP/1.1\r\nHost: localhost\r\nIf-None-Match: {tag}\r\n\r\n")).response()
        };
        tag = ask(&tag).status(200).body(format!("version {version}")).field("ETag").to_owned();
        ask(&tag).status(304).has("ETag", &tag);
    }
}
