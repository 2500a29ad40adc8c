//! Benchmark of the parsers: time for a head, a target, preconditions, ranges and a response head, and for the same heads
//! in httparse, the parser of hyper.
//!
//! `cargo bench --bench core`

#[allow(dead_code, unused_imports, reason = "only some of the parsers are measured, and none of their tests")]
#[path = "../../src/proto/mod.rs"]
mod proto;

use std::hint::black_box;
use std::time::{Duration, UNIX_EPOCH};

use divan::Bencher;
use proto::conditional::{Validators, evaluate};
use proto::date::HttpDate;
use proto::etag::{ETag, Fingerprint};
use proto::range::select;
use proto::request::{Head, HeadScanner};
use proto::response::{ResponseFields, ResponseHead};
use proto::status::Status;
use proto::target::Target;

/// The request of wrk and other simple clients.
const SHORT: &str = "GET /k1.html HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n\r\n";

/// The request of a browser that follows a link.
const BROWSER: &str = "GET /docs/guide/index.html?from=start HTTP/1.1\r\n\
    Host: www.example.com\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:153.0) Gecko/20100101 Firefox/153.0\r\n\
    Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\n\
    Accept-Language: en-US,en;q=0.5\r\n\
    Accept-Encoding: gzip, deflate, br, zstd\r\n\
    Referer: https://www.example.com/docs/\r\n\
    Connection: keep-alive\r\n\
    Upgrade-Insecure-Requests: 1\r\n\
    Sec-Fetch-Dest: document\r\n\
    Sec-Fetch-Mode: navigate\r\n\
    Sec-Fetch-Site: same-origin\r\n\
    Sec-Fetch-User: ?1\r\n\
    Priority: u=0, i\r\n\r\n";

const HEADS: [(&str, &str); 2] = [("short", SHORT), ("browser", BROWSER)];

fn main() {
    divan::Divan::default().sample_count(100).sample_size(1000).config_with_args().main();
}

fn head_bytes(name: &str) -> &'static [u8] {
    HEADS.iter().find(|(other, _)| *other == name).map(|(_, head)| head.as_bytes()).expect("a known head")
}

/// Scanning and parsing a head.
#[divan::bench(args = ["short", "browser"])]
fn head(bencher: Bencher<'_, '_>, name: &str) {
    let bytes = head_bytes(name);
    bencher.bench(|| {
        let bytes = black_box(bytes);
        let length = HeadScanner::default().resume(bytes).ok().flatten().expect("a whole head");
        Head::parse(&bytes[..length]).expect("a valid head").fields.single("Host").map(<[u8]>::len)
    });
}

/// The same with httparse.
#[divan::bench(args = ["short", "browser"])]
fn head_with_httparse(bencher: Bencher<'_, '_>, name: &str) {
    let bytes = head_bytes(name);
    bencher.bench(|| {
        let mut fields = [httparse::EMPTY_HEADER; proto::request::FIELDS_MAX];
        let mut request = httparse::Request::new(&mut fields);
        assert!(request.parse(black_box(bytes)).expect("a valid head").is_complete());
        request.headers.iter().find(|field| field.name.eq_ignore_ascii_case("Host")).map(|field| field.value.len())
    });
}

/// Parsing a target.
#[divan::bench(args = ["/k1.html", "/docs/guide/index.html?from=start", "/a/../b/./caf%C3%A9%20menu.txt"])]
fn target(bencher: Bencher<'_, '_>, raw: &str) {
    bencher.bench(|| Target::parse(black_box(raw.as_bytes())).expect("a valid target"));
}

const ETAG: ETag = ETag { fingerprint: Fingerprint::Content([0xa5; 32]), coding: None, is_weak: false };

/// Evaluating the preconditions of a request.
#[divan::bench(args = ["Accept: */*", "If-None-Match: \"a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5\"", "If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT"])]
fn conditional(bencher: Bencher<'_, '_>, field: &str) {
    let bytes = format!("GET / HTTP/1.1\r\nHost: a\r\n{field}\r\n\r\n");
    let head = Head::parse(bytes.as_bytes()).expect("a valid head");
    let current = Validators {
        etag: Some(ETAG),
        modified: HttpDate::new(UNIX_EPOCH + Duration::from_secs(784_111_777)),
        modified_is_reliable: true,
        modified_is_strong: true,
    };
    bencher.bench(|| evaluate(black_box(&head), &current));
}

/// Selecting ranges.
#[divan::bench(args = ["bytes=0-99", "bytes=0-99,200-299,-100"])]
fn range(bencher: Bencher<'_, '_>, value: &str) {
    bencher.bench(|| select(black_box(value.as_bytes()), 102_400));
}

/// Serializing a response head: from prewritten fields, and field by field.
#[divan::bench(args = [true, false])]
fn response(bencher: Bencher<'_, '_>, prewritten: bool) {
    let begin = || ResponseHead::new(Status::Ok).field("Server", "serve").field("X-Content-Type-Options", "nosniff");
    let fields = |head: ResponseHead| {
        head.field("Cache-Control", "no-cache")
            .field("Content-Type", "text/html; charset=utf-8")
            .field("ETag", ETAG)
            .field("Last-Modified", HttpDate::clamped(UNIX_EPOCH + Duration::from_secs(1_700_000_000)))
            .field("Accept-Ranges", "bytes")
    };
    let fields_once = ResponseFields::from(fields(begin()));
    let mut out = Vec::new();
    bencher.bench_local(|| {
        out.clear();
        let head = if prewritten { ResponseHead::with(Status::Ok, fields_once.clone()) } else { fields(begin()) };
        head.write_status_line(&mut out);
        head.write_fields(&mut out);
        out.len()
    });
}
