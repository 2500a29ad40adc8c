//! Multipart range responses (RFC 9110 §14.6), and the limits against range abuse.

use crate::support::{Folder, Response, Server, serve};

/// One part of a multipart/byteranges response.
#[derive(Debug, PartialEq)]
struct Part {
    first: usize,
    last: usize,
    total: usize,
    media_type: String,
    bytes: Vec<u8>,
}

/// Parses a multipart/byteranges response strictly; panics with the exchange on any deviation.
#[track_caller]
fn parts(response: &Response) -> (String, Vec<Part>) {
    let media_type = response.field("Content-Type");
    let boundary = media_type.strip_prefix("multipart/byteranges; boundary=");
    let boundary = boundary.unwrap_or_else(|| panic!("not multipart: {media_type}\n{}", response.exchange));
    let boundary = boundary.trim_matches('"').to_owned();
    assert!((1..=70).contains(&boundary.len()), "a bad boundary\n{}", response.exchange);
    assert_eq!(response.field("Content-Length"), response.body.len().to_string());
    assert!(response.all("Content-Range").is_empty(), "Content-Range in the response head\n{}", response.exchange);
    let mut rest = response.body.strip_prefix(b"\r\n").unwrap_or(&response.body);
    let mut found = Vec::new();
    let mut delimiter = format!("--{boundary}");
    loop {
        rest = rest.strip_prefix(delimiter.as_bytes()).unwrap_or_else(|| panic!("no delimiter\n{}", response.exchange));
        if let Some(end) = rest.strip_prefix(b"--") {
            assert!(end.is_empty() || end == b"\r\n", "bytes after the last delimiter\n{}", response.exchange);
            return (boundary, found);
        }
        let (part, after) = one_part(rest).unwrap_or_else(|| panic!("no part\n{}", response.exchange));
        found.push(part);
        rest = after;
        delimiter = format!("\r\n--{boundary}");
    }
}

/// Reads one part: its fields, then the number of bytes in its Content-Range.
fn one_part(bytes: &[u8]) -> Option<(Part, &[u8])> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&bytes[..end]).ok()?;
    let field = |name: &str| {
        let mut lines = head.split("\r\n").filter_map(|line| line.split_once(": "));
        lines.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned())
    };
    let range = field("content-range")?;
    let (span, total) = range.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = span.split_once('-')?;
    let (first, last, total) = (first.parse().ok()?, last.parse::<usize>().ok()?, total.parse().ok()?);
    let length = (last + 1).checked_sub(first)?;
    let content = bytes.get(end + 4..end + 4 + length)?.to_vec();
    let part = Part { first, last, total, media_type: field("content-type")?, bytes: content };
    Some((part, &bytes[end + 4 + length..]))
}

#[track_caller]
fn ask(server: &Server, target: &str, ranges: &str) -> Response {
    server.get_with(target, &format!("Range: bytes={ranges}\r\n"))
}

/// Returns content in which every eight bytes hold their own number.
fn content(length: usize) -> Vec<u8> {
    let cells: String = (0..=length / 8).map(|cell| format!("{cell:07}\n")).collect();
    cells.as_bytes()[..length].to_vec()
}

fn site(length: usize) -> (Folder, Server, Vec<u8>) {
    let content = content(length);
    let folder = Folder::new().file("a.txt", &content);
    let server = serve(&folder).start();
    (folder, server, content)
}

#[test]
fn parts_come_in_the_order_of_the_ranges() {
    let table: &[(&str, &[(usize, usize)])] = &[
        ("0-1,5-6", &[(0, 1), (5, 6)]),
        ("0-0, 2-2 ,\t4-4", &[(0, 0), (2, 2), (4, 4)]),
        ("0-0,,2-2,", &[(0, 0), (2, 2)]),
        ("100-110,0-1", &[(100, 110), (0, 1)]),
        ("0-1,990-", &[(0, 1), (990, 999)]),
        ("0-1,-5", &[(0, 1), (995, 999)]),
        ("-1,0-0", &[(999, 999), (0, 0)]),
        ("0-1,990-5000", &[(0, 1), (990, 999)]),
        ("0-1,5000-,5-6", &[(0, 1), (5, 6)]),
        ("5-6,-0,0-1,1000-2000", &[(5, 6), (0, 1)]),
        ("0-1,990-99999999999999999999999999", &[(0, 1), (990, 999)]),
    ];
    let (_folder, server, content) = site(1000);
    for (ranges, spans) in table {
        let response = ask(&server, "/a.txt", ranges).status(206);
        let (_, found) = parts(&response);
        let expected = spans.iter().map(|(first, last)| Part {
            first: *first,
            last: *last,
            total: 1000,
            media_type: "text/plain; charset=utf-8".to_owned(),
            bytes: content[*first..=*last].to_vec(),
        });
        assert_eq!(found, expected.collect::<Vec<_>>(), "{ranges}\n{}", response.exchange);
    }
}

#[test]
fn multipart_content_matches_its_content_length() {
    let (_folder, server, _) = site(1000);
    let mut client = server.connect();
    for ranges in ["0-1,5-6", "10-300,400-700", "0-0,2-2,4-4,6-6,8-8"] {
        client.send(format!("GET /a.txt HTTP/1.1\r\nHost: localhost\r\nRange: bytes={ranges}\r\n\r\n"));
        parts(&client.response().status(206));
        client.still_open();
    }
}

#[test]
fn large_parts_have_the_right_bytes() {
    let (_folder, server, content) = site(3_000_000);
    let response = ask(&server, "/a.txt", "2000000-2900000,1-1,5-1000000,2950000-").status(206);
    let (_, found) = parts(&response);
    let spans: Vec<_> = found.iter().map(|part| (part.first, part.last)).collect();
    assert_eq!(spans, [(2_000_000, 2_900_000), (1, 1), (5, 1_000_000), (2_950_000, 2_999_999)]);
    for part in found {
        assert!(part.bytes == content[part.first..=part.last], "wrong bytes for {}-{}", part.first, part.last);
    }
}

#[test]
fn overlapping_or_adjacent_ranges_coalesce_into_one() {
    let table = [
        ("0-5,3-8", 0, 8),
        ("3-8,0-5", 0, 8),
        ("0-4,5-9", 0, 9),
        ("5-9,0-4", 0, 9),
        ("0-0,0-0", 0, 0),
        ("0-9,2-3", 0, 9),
        ("2-3,0-9", 0, 9),
        ("0-1,2-3,4-5,6-7", 0, 7),
        ("0-1,4-5,1-4", 0, 5),
        ("990-,-5", 990, 999),
        ("-5,-10", 990, 999),
        ("995-,990-994", 990, 999),
    ];
    let (_folder, server, content) = site(1000);
    for (ranges, first, last) in table {
        let response = ask(&server, "/a.txt", ranges).status(206).body(&content[first..=last]);
        response.has("Content-Range", &format!("bytes {first}-{last}/1000"));
    }
}

#[test]
fn ranges_coalesce_and_leave_the_others_apart() {
    let (_folder, server, _) = site(1000);
    let table: &[(&str, &[(usize, usize)])] = &[
        ("0-5,100-105,3-8", &[(0, 8), (100, 105)]),
        ("100-105,0-5,106-110", &[(0, 5), (100, 110)]),
        ("0-1,990-,-20", &[(0, 1), (980, 999)]),
    ];
    for (ranges, expected) in table {
        let response = ask(&server, "/a.txt", ranges).status(206);
        let mut spans: Vec<_> = parts(&response).1.iter().map(|part| (part.first, part.last)).collect();
        spans.sort_unstable();
        assert_eq!(spans, *expected, "{ranges}\n{}", response.exchange);
    }
}

#[test]
fn single_satisfiable_range_is_not_multipart() {
    let (_folder, server, content) = site(1000);
    for ranges in ["5-9,1000-", "2000-3000,5-9", "-0,5-9,99999999999999999999-"] {
        let response = ask(&server, "/a.txt", ranges).status(206).body(&content[5..=9]);
        response.has("Content-Range", "bytes 5-9/1000").has("Content-Type", "text/plain; charset=utf-8");
    }
}

#[test]
fn sixteen_ranges_are_served_and_seventeen_are_not() {
    let (_folder, server, content) = site(1000);
    let ranges = |count: usize| (0..count).map(|n| format!("{0}-{0}", n * 10)).collect::<Vec<_>>().join(",");
    let response = ask(&server, "/a.txt", &ranges(16)).status(206);
    assert_eq!(parts(&response).1.len(), 16, "{}", response.exchange);
    ask(&server, "/a.txt", &ranges(17)).status(200).body(&content).lacks("Content-Range");
    ask(&server, "/a.txt", &ranges(90)).status(200).body(&content).lacks("Content-Range");
}

#[test]
fn no_range_set_returns_more_than_the_file() {
    let (_folder, server, content) = site(1000);
    let sets = [
        "0-,".repeat(1000),
        "0-,0-".to_owned(),
        "0-,1-,2-,3-,4-".to_owned(),
        "0-999,0-999".to_owned(),
        "-1000,-1000,-1000".to_owned(),
        "0-600,500-999".to_owned(),
        "0-499,500-999,250-750".to_owned(),
        (1..500).map(|n| format!("-{n}")).collect::<Vec<_>>().join(","),
        (0..1000).map(|n| format!("{n}-{n}")).collect::<Vec<_>>().join(","),
        (0..500).map(|n| format!("{0}-{0}", n * 2)).collect::<Vec<_>>().join(","),
        (0..16).map(|n| format!("{}-{}", n * 60, n * 60 + 58)).collect::<Vec<_>>().join(","),
        // Sums that overflowed in nginx (CVE-2017-7529), and similar ones.
        "-17208,-9223372036854758792".to_owned(),
        "0-1,-9223372036854775808,-9223372036854775807".to_owned(),
        "1-18446744073709551615,2-18446744073709551615".to_owned(),
        "0-18446744073709551615,0-0".to_owned(),
    ];
    for ranges in sets {
        let response = ask(&server, "/a.txt", &ranges);
        match (response.status, response.all("Content-Range").first()) {
            (200, None) => assert!(response.body == content, "wrong content\n{}", response.exchange),
            (206, Some(range)) => {
                let span = range.strip_prefix("bytes ").and_then(|range| range.strip_suffix("/1000"));
                let (first, last) = span.and_then(|span| span.split_once('-')).expect("a range of this file");
                let first: usize = first.parse().expect("a number");
                let last: usize = last.parse().expect("a number");
                assert!(response.body == content[first..=last], "wrong content\n{}", response.exchange);
            }
            (206, None) => bounded(&response, &content),
            _ => panic!("unexpected status\n{}", response.exchange),
        }
    }
}

/// Asserts that the parts together are no longer than the file, and that their heads are short.
#[track_caller]
fn bounded(response: &Response, content: &[u8]) {
    let (_, found) = parts(response);
    let sum: usize = found.iter().map(|part| part.bytes.len()).sum();
    assert!(sum <= content.len(), "more than the file: {sum}\n{}", response.exchange);
    let heads = response.body.len() - sum;
    assert!(
        found.len() <= 16 && heads <= (found.len() + 1) * 256,
        "part heads of {heads} bytes\n{}",
        response.exchange
    );
    for part in found {
        assert!(part.bytes == content[part.first..=part.last], "wrong content\n{}", response.exchange);
    }
}

#[test]
fn boundary_never_occurs_in_the_content() {
    let (folder, server, _) = site(1000);
    for _ in 0..3 {
        let (boundary, _) = parts(&ask(&server, "/a.txt", "0-1,5-6").status(206));
        let trap = format!("\r\n--{boundary}\r\n\r\n--{boundary}--\r\n");
        folder.write("a.txt", trap.repeat(1000 / trap.len() + 1));
        folder.touch("a.txt", 3600);
        let response = ask(&server, "/a.txt", &format!("0-{},300-500", trap.len())).status(206);
        let (boundary, found) = parts(&response);
        assert_eq!(found.len(), 2, "{}", response.exchange);
        let text = response.text();
        assert_eq!(text.matches(&format!("--{boundary}")).count(), 3, "the boundary occurs in the content\n{text}");
    }
}

#[test]
fn multipart_response_has_the_validators_of_the_file() {
    let (_folder, server, _) = site(1000);
    let whole = server.get("/a.txt").status(200);
    let response = ask(&server, "/a.txt", "0-1,5-6").status(206);
    for name in ["ETag", "Last-Modified", "Cache-Control"] {
        assert_eq!(response.field(name), whole.field(name), "{name}");
    }
    let fields = "Range: bytes=0-1,5-6\r\nIf-Range: \"another version\"\r\n";
    server.get_with("/a.txt", fields).status(200).body(&whole.body);
}
