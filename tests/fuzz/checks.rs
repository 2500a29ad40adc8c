//! Invariants of the parsers, which hold for every input.
//!
//! The fuzz targets run these checks on generated inputs, the test `corpus` on the committed ones. They see only the
//! parsers' folder, as `crate::proto`.

#[path = "oracle.rs"]
mod oracle;

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::ops::Range;
use std::time::{Duration, UNIX_EPOCH};

use crate::proto::accept::{Coding, codings, media_weight};
use crate::proto::body::BodyDecoder;
use crate::proto::conditional::{Validators, Verdict, evaluate};
use crate::proto::date::HttpDate;
use crate::proto::etag::{Comparison, ETag, Fingerprint};
use crate::proto::forwarded;
use crate::proto::framing::{self, BodyLength, CONTENT_MAX};
use crate::proto::host;
use crate::proto::multipart::Multipart;
use crate::proto::proxy_protocol::{self, HEADER_MAX, Header, Source};
use crate::proto::range::{Selection, select};
use crate::proto::repr_digest;
use crate::proto::request::{FIELDS_MAX, HEAD_MAX, Head, HeadScanner, Version};
use crate::proto::target::{RelPath, Target};
use crate::proto::why::Why;
use oracle::{Content, Length, Read, RequestHead};

/// Heads: the end does not depend on the pieces, httparse reads the same, and a parsed head survives a round trip.
pub fn head(bytes: &[u8]) {
    // The server parses only complete heads, but no other input may panic.
    let _ = Head::parse(bytes);
    let whole = HeadScanner::default().resume(bytes).map_err(|reject| reject.why);
    assert_eq!(scan_bytewise(bytes), whole, "the result depends on the pieces");
    let parsed = match whole {
        Ok(Some(length)) => Some(Head::parse(&bytes[..length])),
        _ => None,
    };
    match (&whole, &parsed, oracle::read_head(bytes)) {
        (Ok(None), _, Read::Partial) | (Err(_), _, Read::Bad(_)) | (_, Some(Err(_)), Read::Bad(_)) => {}
        (Ok(Some(length)), Some(Ok(head)), Read::Head(expected)) => assert_same(head, *length, &expected),
        (_, _, other) => panic!("{whole:?}, {parsed:?}, and the oracle reads {other:?}"),
    }
    let (Ok(Some(length)), Some(Ok(head))) = (whole, parsed) else { return };
    assert!(length <= HEAD_MAX);
    assert!(!head.target.is_empty() && !head.target.iter().any(|byte| byte.is_ascii_control() || *byte == b' '));
    let fields: Vec<_> = head.fields.iter().collect();
    assert!(fields.len() <= FIELDS_MAX);
    for (name, value) in &fields {
        assert!(!name.is_empty() && name.iter().all(u8::is_ascii_graphic) && !name.contains(&b':'));
        assert!(!value.iter().any(|byte| byte.is_ascii_control() && *byte != b'\t'));
    }
    if head.version > Version::Http09 {
        let written = write(&head);
        let again = Head::parse(&written).expect("a parsed head survives a round trip");
        assert_eq!((again.method, again.target, again.version), (head.method, head.target, head.version));
        assert_eq!(again.fields.iter().collect::<Vec<_>>(), fields);
        assert_eq!(HeadScanner::default().resume(&written), Ok(Some(written.len())));
    }
    if let Ok(BodyLength::Exactly(length)) = framing::body_length(&head) {
        assert!(length <= CONTENT_MAX);
        assert!(length == 0 || head.fields.all("Content-Length").count() == 1);
    }
    let _ = host::check(&head);
}

/// Asserts that the server and the oracle agree on the head and its framing.
fn assert_same(head: &Head<'_>, length: usize, expected: &RequestHead<'_>) {
    let version = match head.version {
        Version::Http09 => 9,
        Version::Http10 => 10,
        Version::Http11 => 11,
    };
    assert_eq!((length, head.target, version), (expected.len, expected.target, expected.version));
    assert!(head.line.starts_with(&[expected.method, b" "].concat()));
    assert_eq!(head.fields.iter().collect::<Vec<_>>(), expected.fields);
    let body = match framing::body_length(head) {
        Ok(BodyLength::Exactly(length)) => Length::Exactly(length),
        Ok(BodyLength::Chunked) => Length::Chunked,
        Err(_) => Length::Refused,
    };
    assert_eq!(body, expected.length());
    assert_eq!(framing::expects_continue(head).ok(), expected.expects_continue());
    assert_eq!(framing::persistence(head).persists(), expected.persists());
}

/// Targets: a target resolves to a path below the root, and that path survives a round trip.
pub fn target(bytes: &[u8]) {
    let Ok(target) = Target::parse(bytes) else { return };
    let path = target.path.as_bytes();
    assert!(path.is_empty() || RelPath::new(path).as_ref() == Some(&target.path), "{}", path.escape_ascii());
    assert!(!path.contains(&0));
    let written: String =
        path.iter().map(|byte| if *byte == b'/' { "/".into() } else { format!("%{byte:02X}") }).collect();
    let written = format!("/{written}");
    let again = Target::parse(written.as_bytes()).expect("a path is a target");
    assert_eq!(again.path, target.path);
}

/// Ranges: the selection covers the named bytes in spans that do not touch, and a multipart response has its stated
/// length. The first eight bytes are the representation's length.
pub fn range(bytes: &[u8]) {
    let Some((len, value)) = bytes.split_first_chunk::<8>() else { return };
    let len = u64::from_le_bytes(*len);
    let selection = select(value, len);
    if let Some(named) = named_bytes(value, len % 256) {
        match select(value, len % 256) {
            Selection::Spans(spans) => assert_eq!(spans.into_iter().flatten().collect::<BTreeSet<_>>(), named),
            Selection::Unsatisfiable => assert!(named.is_empty()),
            Selection::Whole => {}
        }
    }
    let Selection::Spans(spans) = selection else { return };
    assert!(!spans.is_empty() && spans.len() <= 16);
    let mut sorted = spans.clone();
    sorted.sort_by_key(|span| span.start);
    assert!(sorted.iter().all(|span| span.start < span.end && span.end <= len));
    assert!(sorted.windows(2).all(|pair| pair[0].end < pair[1].start), "{spans:?}");

    let multipart = Multipart::new(0, spans, len.min(u64::MAX / 2), "text/plain");
    let frame: usize = multipart.parts.iter().map(|(head, _)| head.len()).sum::<usize>() + multipart.end.len();
    let content: u64 = multipart.parts.iter().map(|(_, span)| span.end - span.start).sum();
    if let Some(total) = content.checked_add(frame as u64) {
        assert_eq!(multipart.len(), total);
    }
}

/// The byte positions that ranges name in a short representation; none if a range is not of the simplest form.
fn named_bytes(value: &[u8], len: u64) -> Option<BTreeSet<u64>> {
    let set = str::from_utf8(value).ok()?.strip_prefix("bytes=")?;
    let number = |text: &str| text.parse::<u32>().ok().filter(|_| !text.starts_with('+')).map(u64::from);
    let mut named = BTreeSet::new();
    for range in set.split(',') {
        let (first, last) = range.split_once('-')?;
        let is_named: Range<u64> = match (number(first), number(last)) {
            (Some(first), Some(last)) if first <= last => first..last + 1,
            (Some(first), None) if last.is_empty() => first..len,
            (None, Some(count)) if first.is_empty() => len.saturating_sub(count)..len,
            _ => return None,
        };
        named.extend((0..len).filter(|at| is_named.contains(at)));
    }
    Some(named)
}

/// Preconditions: only their own fields decide, whatever the case of the names, and alike for GET and HEAD.
pub fn conditional(bytes: &[u8]) {
    let modified = HttpDate::parse(b"Sun, 06 Nov 1994 08:49:37 GMT");
    let etag = Some(ETag { fingerprint: Fingerprint::Metadata([1; 6]), coding: None, is_weak: false });
    let current = Validators { etag, modified, modified_is_reliable: true, modified_is_strong: true };
    let verdict = |method: &str, fields: &[u8]| {
        let bytes = [method.as_bytes(), b" / HTTP/1.1\r\n", fields, b"\r\n\r\n"].concat();
        let head = Head::parse(&bytes).ok()?;
        let states = |name: &str| head.fields.all(name).next().is_some();
        let may_fail = states("If-Match") || states("If-Unmodified-Since");
        let may_match = states("If-None-Match") || states("If-Modified-Since");
        Some((evaluate(&head, &current), may_fail, may_match, states("If-Range")))
    };
    let Some((get, may_fail, may_match, has_if_range)) = verdict("GET", bytes) else { return };
    match get {
        Verdict::Failed => assert!(may_fail),
        Verdict::NotModified | Verdict::NotModifiedSince => assert!(may_match),
        Verdict::Proceed { honor_range } => assert!(honor_range || has_if_range),
    }
    let as_head = verdict("HEAD", bytes).expect("the same fields").0;
    match get {
        Verdict::Proceed { .. } => assert_eq!(as_head, Verdict::Proceed { honor_range: false }),
        other => assert_eq!(as_head, other),
    }
    let upper: Vec<u8> = bytes.split_inclusive(|byte| *byte == b'\n').flat_map(uppercase_name).collect();
    assert_eq!(verdict("GET", &upper).map(|(verdict, ..)| verdict), Some(get));
}

/// Chunked bodies: the end does not depend on the pieces, and the oracle finds the same. The first byte is the size of
/// the pieces.
pub fn chunked(bytes: &[u8]) {
    let Some((size, message)) = bytes.split_first() else { return };
    let whole = decode(message, message.len().max(1));
    assert_eq!(decode(message, usize::from(*size).max(1)), whole, "the pieces matter");
    match (&whole, oracle::read_chunked(message)) {
        (Ok(Some(end)), Content::Ends(other)) => assert_eq!(*end, other),
        (Ok(None), Content::Partial) | (Err(_), Content::Bad(_)) => {}
        // The oracle has no limit on the framing.
        (Err(Why::ContentTooLarge), _) if message.len() > usize::from(u16::MAX) => {}
        (_, other) => panic!("{whole:?}, and the oracle reads {other:?}"),
    }
    if let Ok(Some(end)) = whole {
        assert_eq!(decode(&message[..end], 1), Ok(Some(end)));
        assert_eq!(decode(&message[..end - 1], 1), Ok(None));
        assert!(message[..end].ends_with(b"\r\n\r\n"));
    }
}

/// Field values: Host, Accept, Accept-Encoding, dates, entity tags, Want-Repr-Digest, and the forwarding fields.
pub fn fields(bytes: &[u8]) {
    host_value(bytes);
    accept_value(bytes);
    accept_encoding_value(bytes);
    date_value(bytes);
    etag_value(bytes);
    x_forwarded_for_value(bytes);
    forwarded_value(bytes);
    want_repr_digest_value(bytes);
}

/// A host is equally valid in a Host field and in a URL, contains no URL delimiter, and every IP address is a host.
fn host_value(bytes: &[u8]) {
    let is_host = host::is_host_port(bytes);
    let separates = |byte: &u8| !byte.is_ascii_graphic() || b"/?#@\\<>\"^`{|}".contains(byte);
    assert!(!is_host || !bytes.iter().any(separates));
    assert_eq!(host::is_host_port(&bytes.to_ascii_uppercase()), is_host);
    if !bytes.iter().any(|byte| b"/?#".contains(byte)) {
        let url = [b"http://", bytes, b"/a"].concat();
        assert_eq!(Target::parse(&url).is_ok_and(|target| target.path.as_bytes() == b"a"), is_host);
    }
    let text = str::from_utf8(bytes).unwrap_or_default();
    let is_address = text.parse::<Ipv4Addr>().is_ok()
        || text.parse::<SocketAddrV6>().is_ok_and(|_| !text.contains('%'))
        || text
            .strip_prefix('[')
            .and_then(|text| text.strip_suffix(']'))
            .is_some_and(|text| text.parse::<std::net::Ipv6Addr>().is_ok());
    assert!(is_host || !is_address);
    if is_host && !bytes.contains(&b':') {
        assert!(host::is_host_port(&[bytes, b":80"].concat()) && !host::is_host_port(&[bytes, b":80a"].concat()));
    }
}

/// A weight is at most 1000, two lines are one list, and the last of two equal ranges counts.
fn accept_value(bytes: &[u8]) {
    let weight = |lines: &[u8]| {
        let bytes = [b"GET / HTTP/1.1\r\n", lines, b"\r\n\r\n"].concat();
        Some(media_weight(&Head::parse(&bytes).ok()?.fields, "text/html"))
    };
    let Some(alone) = weight(&[b"Accept: ", bytes].concat()).filter(|_| !bytes.contains(&b'\n')) else { return };
    assert!(alone <= 1000);
    let appended = [b"Accept: ", bytes, b", TEXT/html ; q=0.123"].concat();
    assert_eq!(weight(&appended), Some(123));
    let before = [b"Accept: ", bytes, b", */*;q=0.5"].concat();
    assert!(weight(&before) == Some(alone) || weight(&before) == Some(500));
    let lines: Vec<_> = bytes.split(|byte| *byte == b',').map(|part| [b"Accept: ", part].concat()).collect();
    if lines.len() <= FIELDS_MAX {
        assert_eq!(weight(&lines.join(&b"\r\n"[..])), Some(alone));
    }
}

/// Each coding is listed once, the last element counts, and the identity alone yields no coding.
fn accept_encoding_value(bytes: &[u8]) {
    let accepted = |suffix: &str| {
        let bytes = [b"GET / HTTP/1.1\r\nAccept-Encoding: ", bytes, suffix.as_bytes(), b"\r\n\r\n"].concat();
        Some(codings(&Head::parse(&bytes).ok()?.fields).collect::<Vec<_>>())
    };
    let Some(alone) = accepted("").filter(|_| !bytes.contains(&b'\n')) else { return };
    assert!(Coding::ALL.iter().all(|coding| alone.iter().filter(|other| *other == coding).count() <= 1));
    let rest: Vec<_> = alone.iter().copied().filter(|coding| *coding != Coding::Gzip).collect();
    assert_eq!(accepted(", x-gzip;q=0"), Some(rest));
    assert_eq!(accepted(", GZIP, br;q=0.998, zstd;q=0.999, identity;q=0.5").map(|all| all.len()), Some(3));
    assert_eq!(accepted(", identity, *;q=0.9, gzip;q=0, br;q=0, zstd;q=0.999"), Some(Vec::new()));
}

/// A date is formatted as the calendar has it and survives a round trip. The bytes are the text of a date; the first eight
/// are also the seconds of one.
fn date_value(bytes: &[u8]) {
    let counted = bytes.first_chunk().map(|secs| u64::from_le_bytes(*secs) % (1 << 38));
    let counted = counted.and_then(|secs| Some((secs, HttpDate::new(UNIX_EPOCH + Duration::from_secs(secs))?)));
    if let Some((secs, date)) = counted {
        let (year, month, day) = civil(secs / 86400);
        let (hour, minute, second) = (secs / 3600 % 24, secs / 60 % 60, secs % 60);
        let expected = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z");
        assert_eq!(date.rfc3339(), expected);
        let weekday = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"][(secs / 86400 % 7) as usize];
        assert!(date.to_string().starts_with(weekday));
    }
    for date in [HttpDate::parse(bytes), counted.map(|(_, date)| date)].into_iter().flatten() {
        let written = date.to_string();
        assert_eq!((written.len(), HttpDate::parse(written.as_bytes())), (29, Some(date)), "{written}");
        assert_eq!((date.rfc3339().len(), date.common_log().len()), (20, 26), "{written}");
    }
}

/// A later member or a malformed one revokes Want-Repr-Digest; two lines are one list.
fn want_repr_digest_value(bytes: &[u8]) {
    let is_wanted = |values: &[&[u8]]| {
        let lines: Vec<u8> =
            values.iter().flat_map(|value| [b"Want-Repr-Digest: ", *value, b"\r\n"].concat()).collect();
        Some(repr_digest::is_requested(
            &Head::parse(&[b"GET / HTTP/1.1\r\n", &lines[..], b"\r\n"].concat()).ok()?.fields,
        ))
    };
    let Some(alone) = is_wanted(&[bytes]).filter(|_| !bytes.contains(&b'\n')) else { return };
    assert!(!alone || bytes.windows(8).any(|window| window == b"sha-256="));
    for (more, expected) in [("sha-512=3", alone), ("sha-256=0", false), ("sha-256=11", false), ("", false)] {
        assert_eq!(is_wanted(&[bytes, more.as_bytes()]), Some(expected));
        assert_eq!(is_wanted(&[&[bytes, b",", more.as_bytes()].concat()]), Some(expected));
    }
    let before = is_wanted(&[b"sha-256=1", bytes]);
    assert!(!alone || before == Some(true));
}

/// The year, month and day of a number of days since 1970-01-01, counted year by year and month by month.
fn civil(mut days: u64) -> (u64, u64, u64) {
    let is_leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let mut year = 1970 + days / 146_097 * 400;
    days %= 146_097;
    while days >= 365 + u64::from(is_leap(year)) {
        days -= 365 + u64::from(is_leap(year));
        year += 1;
    }
    let lengths = [31, 28 + u64::from(is_leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 0;
    while days >= lengths[month] {
        days -= lengths[month];
        month += 1;
    }
    (year, month as u64 + 1, days + 1)
}

/// A list contains a tag only as a whole, and a strong match is also a weak one. The first bytes make a tag of each form,
/// the others are a list.
fn etag_value(bytes: &[u8]) {
    let Some((numbers, list)) = bytes.split_first_chunk::<12>() else { return };
    let number = |at: usize| u64::from(numbers[2 * at]) << 56 | u64::from(numbers[2 * at + 1]);
    let digest = std::array::from_fn(|at| numbers[at % 12]);
    let strong = |fingerprint| ETag { fingerprint, coding: None, is_weak: false };
    let content = strong(Fingerprint::Content(digest));
    let metadata = strong(Fingerprint::Metadata(std::array::from_fn(number)));
    assert!(!content.is_exactly(metadata.to_string().as_bytes()));
    [content, metadata].into_iter().for_each(|etag| tag_in_list(etag, list));
}

fn tag_in_list(etag: ETag, list: &[u8]) {
    let written = etag.to_string();
    let is_in = |value: &[u8], comparison| etag.is_in([value].into_iter(), comparison);
    let both = |value: &[u8]| (is_in(value, Comparison::Strong), is_in(value, Comparison::Weak));
    assert_eq!((both(written.as_bytes()), etag.is_exactly(written.as_bytes())), ((true, true), true));
    assert_eq!(both(format!("W/{written}").as_bytes()), (false, true));
    assert!(!etag.is_exactly(list) || list == written.as_bytes());

    let (strong, weak) = both(list);
    assert!(weak || !strong);
    let contains = |tag: &[u8]| list.windows(tag.len()).any(|window| window == tag);
    assert!(!weak || list == b"*" || contains(written.as_bytes()), "the list does not contain the tag");
    assert_eq!(both(&[written.as_bytes(), b", ", list].concat()), (true, true));
    if list != b"*" {
        assert_eq!(both(&[b"W/\"x,\" ,\"\xff\",", list].concat()), (strong, weak));
    }
}

/// The client in these header lines, with 10.0.0.0/8 as proxies; none if the lines are malformed.
fn client_ip(lines: &[u8]) -> Option<Option<IpAddr>> {
    let bytes = [b"GET / HTTP/1.1\r\n", lines, b"\r\n\r\n"].concat();
    Some(forwarded::client(&Head::parse(&bytes).ok()?.fields, is_proxy))
}

fn is_proxy(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V4(ip) if ip.octets()[0] == 10)
}

/// Walks back from the end to the first address that is no proxy's, or to the last before an element without address.
fn walk_back(addresses: &[Option<IpAddr>]) -> Option<IpAddr> {
    let known = addresses.iter().rev().map_while(|address| address.map(|ip| ip.to_canonical()));
    let known: Vec<_> = known.collect();
    known.iter().copied().find(|ip| !is_proxy(*ip)).or(known.last().copied())
}

/// The end of a list decides, whatever its beginning.
fn x_forwarded_for_value(bytes: &[u8]) {
    let line = [b"X-Forwarded-For: ", bytes].concat();
    let Some(found) = client_ip(&line).filter(|_| !bytes.contains(&b'\n')) else { return };
    let elements = bytes.split(|byte| *byte == b',').map(|element| element.trim_ascii());
    let elements = elements.filter(|element| !element.is_empty());
    let addresses: Vec<_> = elements.map(|element| address_and_port(str::from_utf8(element).ok()?)).collect();
    assert_eq!(found, walk_back(&addresses));
    let appended = [&line[..], b", 192.0.2.1,10.0.0.1"].concat();
    assert_eq!(client_ip(&appended), Some(Some([192, 0, 2, 1].into())));
}

/// Parses an address with an optional port, from the end.
fn address_and_port(text: &str) -> Option<IpAddr> {
    let plain = |text: &str| match text.strip_prefix('[') {
        Some(inner) => inner.strip_suffix(']')?.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        None => text.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
    };
    let is_name = |name: &str| {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
    };
    let is_port = |port: &str| match port.strip_prefix('_') {
        Some(name) => is_name(name),
        None => (1..=5).contains(&port.len()) && port.bytes().all(|byte| byte.is_ascii_digit()),
    };
    let with_port = || text.rsplit_once(':').filter(|(_, port)| is_port(port)).and_then(|(name, _)| plain(name));
    text.parse::<Ipv6Addr>().ok().map(IpAddr::V6).or_else(|| plain(text)).or_else(with_port)
}

/// No prefix, even a quoted one, changes the address that a proxy appends. A value without quotes is read as by a second
/// parser.
fn forwarded_value(bytes: &[u8]) {
    let line = [b"Forwarded: ", bytes].concat();
    let Some(found) = client_ip(&line).filter(|_| !bytes.contains(&b'\n')) else { return };
    let [v4, v6] = ["192.0.2.1", "2001:db8::1"].map(|ip| Some(ip.parse::<IpAddr>().expect("an address")));
    for (added, ip) in [("for=192.0.2.1", v4), ("for=\"[2001:db8::1]:80\";by=_x", v6), ("host=\",\";for=192.0.2.1", v4)]
    {
        let in_line = client_ip(&[&line[..], b", ", added.as_bytes()].concat()).expect("fields");
        assert!(in_line.is_none() || in_line == ip, "{in_line:?}");
        assert_eq!(client_ip(&[&line[..], b"\r\nForwarded: ", added.as_bytes()].concat()), Some(ip));
    }
    let both = client_ip(&[&line[..], b"\r\nX-Forwarded-For: 192.0.2.1"].concat()).expect("fields");
    assert!(both.is_none() || both == v4);
    assert_eq!(both.is_some(), found == v4);
    if !bytes.contains(&b'"') {
        let elements = bytes.split(|byte| *byte == b',').map(|element| element.trim_ascii());
        let elements = elements.filter(|element| !element.is_empty());
        let addresses: Option<Vec<_>> = elements.map(plain_element).collect();
        assert_eq!(found, addresses.and_then(|addresses| walk_back(&addresses)));
    }
}

/// Parses an element without quotes, none if it is malformed; returns its address, if any.
fn plain_element(element: &[u8]) -> Option<Option<IpAddr>> {
    let is_token = |text: &str| {
        let is_sign = |byte: u8| b"!#$%&'*+-.^_`|~".contains(&byte);
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || is_sign(byte))
    };
    let mut nodes = Vec::new();
    for pair in str::from_utf8(element).ok()?.split(';').map(|pair| pair.trim_matches([' ', '\t'])) {
        if !pair.is_empty() {
            let (name, value) = pair.split_once('=').filter(|(name, value)| is_token(name) && is_token(value))?;
            nodes.extend(name.eq_ignore_ascii_case("for").then_some(value));
        }
    }
    (nodes.len() < 2).then(|| nodes.first().and_then(|node| node.parse::<Ipv4Addr>().ok()).map(IpAddr::V4))
}

/// PROXY headers: only the header's own bytes count, a part of one is incomplete, and generated headers are parsed. The
/// first bytes also serve as the addresses and ports of a generated header.
pub fn proxy(bytes: &[u8]) {
    let parsed = proxy_protocol::parse(bytes);
    match parsed {
        Ok(Some(header)) => whole_header(bytes, header),
        Ok(None) => {
            assert!(bytes.len() < HEADER_MAX);
            if let Some(&[high, low]) =
                bytes.get(14..16).and_then(|length| length.first_chunk()).filter(|_| bytes[0] == b'\r')
            {
                let whole = 16 + usize::from(high) * 256 + usize::from(low);
                let filled = [bytes, &vec![0; whole - bytes.len()]].concat();
                assert!(matches!(proxy_protocol::parse(&filled), Ok(Some(Header { len, .. })) if len == whole));
            }
        }
        Err(why) => {
            assert_eq!(proxy_protocol::parse(&[bytes, b"\r\n"].concat()), Err(why), "more bytes do not make it valid")
        }
    }
    if let Some((ends, rest)) = bytes.split_first_chunk::<36>() {
        generated_header(ends, rest);
    }
}

fn whole_header(bytes: &[u8], header: Header) {
    let (own, _) = bytes.split_at(header.len);
    assert!(header.len <= HEADER_MAX && proxy_protocol::begins(own));
    assert_eq!(proxy_protocol::parse(own), Ok(Some(header)));
    assert_eq!(proxy_protocol::parse(&[own, b"\r\nPROXY"].concat()), Ok(Some(header)));
    for end in 0..own.len() {
        assert_eq!(proxy_protocol::parse(&own[..end]), Ok(None), "{end}");
    }
    let Source::Client(client) = header.source else { return };
    assert_eq!(client.ip(), client.ip().to_canonical());
    if let Some(line) = own.strip_prefix(b"PROXY ") {
        let line = str::from_utf8(line).expect("an address is text").strip_suffix("\r\n").expect("a line");
        let words: Vec<_> = line.split_ascii_whitespace().collect();
        let [_, source, destination, port, other] = words[..] else { panic!("{line:?}") };
        assert!(source.parse::<IpAddr>().expect("an address").to_canonical() == client.ip());
        assert!(destination.parse::<IpAddr>().is_ok() && words.join(" ") == line);
        let is_plain = |port: &str| port.parse::<u16>().expect("a port").to_string() == port;
        assert!(is_plain(port) && is_plain(other) && port == client.port().to_string());
    }
}

/// Generates headers of both versions.
fn generated_header(ends: &[u8; 36], rest: &[u8]) {
    let [from, to] = [0, 16].map(|at| <[u8; 16]>::try_from(&ends[at..at + 16]).expect("16 bytes"));
    let [port, other] = [32, 34].map(|at| u16::from_be_bytes([ends[at], ends[at + 1]]));
    let [from4, to4] = [&from, &to].map(|ip| Ipv4Addr::new(ip[0], ip[1], ip[2], ip[3]));
    let [from6, to6] = [from, to].map(Ipv6Addr::from);
    let ports = &ends[32..];
    let block = |kind: u8, addresses: &[u8]| {
        let more = rest.len().min(200);
        let length = u16::try_from(addresses.len() + 4 + more).expect("it is short").to_be_bytes();
        [b"\r\n\r\n\0\r\nQUIT\n\x21", &[kind][..], &length, addresses, ports, &rest[..more]].concat()
    };
    let v4 = SocketAddr::new(from4.into(), port);
    let v6 = SocketAddr::new(IpAddr::from(from6).to_canonical(), port);
    for (header, client) in [
        (format!("PROXY TCP4 {from4} {to4} {port} {other}\r\n").into_bytes(), v4),
        (format!("PROXY TCP6 {from6} {to6} {port} {other}\r\n").into_bytes(), v6),
        (block(0x11, &[from4.octets(), to4.octets()].concat()), v4),
        (block(0x21, &[from, to].concat()), v6),
    ] {
        let expected = Header { len: header.len(), source: Source::Client(client) };
        assert_eq!(proxy_protocol::parse(&[&header[..], rest].concat()), Ok(Some(expected)));
    }
}

fn scan_bytewise(bytes: &[u8]) -> Result<Option<usize>, Why> {
    let mut scan = HeadScanner::default();
    for end in 1..=bytes.len() {
        match scan.resume(&bytes[..end]) {
            Ok(None) => {}
            found => return found.map_err(|reject| reject.why),
        }
    }
    Ok(None)
}

fn write(head: &Head<'_>) -> Vec<u8> {
    let mut written = [head.line, b"\r\n"].concat();
    for (name, value) in head.fields.iter() {
        written.extend([name, b": ", value, b"\r\n"].concat());
    }
    written.extend(b"\r\n");
    written
}

fn uppercase_name(line: &[u8]) -> Vec<u8> {
    let colon = line.iter().position(|byte| *byte == b':').unwrap_or(0);
    [line[..colon].to_ascii_uppercase(), line[colon..].to_vec()].concat()
}

fn decode(bytes: &[u8], piece: usize) -> Result<Option<usize>, Why> {
    let mut decoder = BodyDecoder::new(BodyLength::Chunked);
    let mut used = 0;
    for piece in bytes.chunks(piece) {
        used += decoder.consume(piece)?;
        if decoder.is_done() {
            return Ok(Some(used));
        }
    }
    Ok(None)
}
