//! The five preconditions, in the order of RFC 9110 §13.2.2.

use crate::support::{Folder, Server, serve};

/// The example date of RFC 9110 §5.6.7, of every file here.
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

/// Sends each line's fields with GET and HEAD; `TAG` and the dates' names are replaced by their values.
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
fn if_modified_since_holds_back_unmodified_file() {
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
fn preconditions_are_evaluated_in_order() {
    check(&[
        // 1 and 2: If-Match takes precedence over the date.
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
        // 3 and 4: If-None-Match takes precedence over the date.
        (200, &["If-None-Match: \"x\"", "If-Modified-Since: DATE"]),
        (200, &["If-Modified-Since: NEWER", "If-None-Match: \"x\""]),
        (304, &["If-None-Match: TAG", "If-Modified-Since: OLDER"]),
        (304, &["If-Modified-Since: nonsense", "If-None-Match: TAG"]),
        // All that hold.
        (200, &["If-Match: TAG", "If-Unmodified-Since: DATE", "If-None-Match: \"x\"", "If-Modified-Since: OLDER"]),
    ]);
}

#[test]
fn preconditions_are_evaluated_before_range() {
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
fn preconditions_are_ignored_without_success() {
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
fn not_modified_has_fields_for_caches_alone() {
    let (_folder, server, tag) = site();
    let mut client = server.connect();
    for (fields, validator, value, other) in [
        ("If-None-Match: TAG", "ETag", tag.as_str(), "Last-Modified"),
        ("If-Modified-Since: DATE", "Last-Modified", DATE, "ETag"),
    ] {
        let request = format!("GET /a.txt HTTP/1.1\r\nHost: localhost\r\n{}\r\n\r\n", fill(fields, &tag));
        let response = client.send(request).response().status(304).has("Cache-Control", "no-cache");
        let response = response.has(validator, value).has("Vary", "Accept-Encoding").lacks(other);
        assert_eq!(response.all("Date").len(), 1, "{}", response.exchange);
        let unwanted = ["Content-Length", "Content-Type", "Content-Range", "Transfer-Encoding"];
        unwanted.iter().fold(response, |response, name| response.lacks(name));
    }
    client.send("GET /a.txt HTTP/1.1\r\nHost: localhost\r\n\r\n").response().status(200).body("hello");
}

#[test]
fn failed_precondition_is_explained_on_kept_connection() {
    let (_folder, server, _) = site();
    let mut client = server.connect();
    client.send("GET /a.txt HTTP/1.1\r\nHost: localhost\r\nIf-Match: \"mine\"\r\n\r\n");
    let response = client.response().status(412).says("412 Precondition Failed").says("If-Match").says("RFC 9110 §13");
    assert!(response.never_says("hello").field("Content-Type").starts_with("text/plain"));
    client.still_open();
}
