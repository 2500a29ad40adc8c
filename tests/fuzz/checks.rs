//! What must hold for every input of a parser, whatever the bytes are.
//!
//! The fuzz targets run these on made-up inputs, the test `corpus` on the committed ones. They see the parsers' folder
//! alone, as `crate::proto`.

use crate::proto::chunked::Decoder;
use crate::proto::conditional::{Validators, Verdict, evaluate};
use crate::proto::date::HttpDate;
use crate::proto::etag::ETag;
use crate::proto::framing::{self, BodyLength, CONTENT_MAX};
use crate::proto::host;
use crate::proto::multipart::Multipart;
use crate::proto::range::{Selection, select};
use crate::proto::request::{FIELDS_MAX, Head, Version};
use crate::proto::scan::{HEAD_MAX, Scan};
use crate::proto::target::{RelPath, Target};
use crate::proto::why::Why;

/// A head ends at the same byte in whatever pieces it comes, and what is read from it can be written and read again.
pub fn head(bytes: &[u8]) {
    // Nobody parses what was not found to be a head, but if somebody did, it would be no disaster.
    let _ = Head::parse(bytes);
    let whole = Scan::default().resume(bytes).map_err(|reject| reject.why);
    assert_eq!(scan_bytewise(bytes), whole, "the pieces matter");
    let Ok(Some(length)) = whole else { return };
    assert!(length <= HEAD_MAX);

    let Ok(head) = Head::parse(&bytes[..length]) else { return };
    assert!(!head.target.is_empty() && !head.target.iter().any(|byte| byte.is_ascii_control() || *byte == b' '));
    let fields: Vec<_> = head.fields.iter().collect();
    assert!(fields.len() <= FIELDS_MAX);
    for (name, value) in &fields {
        assert!(!name.is_empty() && name.iter().all(u8::is_ascii_graphic) && !name.contains(&b':'));
        assert!(!value.iter().any(|byte| byte.is_ascii_control() && *byte != b'\t'));
    }
    if head.version > Version::Http09 {
        let written = write(&head);
        let again = Head::parse(&written).expect("what was read can be written and read again");
        assert_eq!((again.method, again.target, again.version), (head.method, head.target, head.version));
        assert_eq!(again.fields.iter().collect::<Vec<_>>(), fields);
        assert_eq!(Scan::default().resume(&written), Ok(Some(written.len())));
    }
    if let Ok(BodyLength::Exactly(length)) = framing::body_length(&head) {
        assert!(length <= CONTENT_MAX);
        assert!(length == 0 || head.fields.all("Content-Length").count() == 1);
    }
    let _ = (framing::persistence(&head), framing::expects_continue(&head), host::check(&head));
}

/// A target leads to a path below the root, and the path written as a target leads to itself.
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

/// What is selected lies in the representation, in pieces that do not touch, and an answer of several parts is as long
/// as it says. The first eight bytes are the representation's length.
pub fn range(bytes: &[u8]) {
    let Some((len, value)) = bytes.split_first_chunk::<8>() else { return };
    let len = u64::from_le_bytes(*len);
    let Selection::Spans(spans) = select(value, len) else { return };
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

/// Conditions are decided by the fields that state them, however their names are written, and alike for GET and HEAD.
pub fn conditional(bytes: &[u8]) {
    let modified = HttpDate::parse(b"Sun, 06 Nov 1994 08:49:37 GMT");
    let current = Validators { etag: ETag::new(1, 1, 1), modified, modified_is_strong: true };
    let verdict = |method: &str, fields: &[u8]| {
        let bytes = [method.as_bytes(), b" / HTTP/1.1\r\n", fields, b"\r\n\r\n"].concat();
        let head = Head::parse(&bytes).ok()?;
        let states = |name: &str| head.fields.all(name).next().is_some();
        let may_fail = states("If-Match") || states("If-Unmodified-Since");
        let may_be_known = states("If-None-Match") || states("If-Modified-Since");
        Some((evaluate(&head, &current), may_fail, may_be_known, states("If-Range")))
    };
    let Some((get, may_fail, may_be_known, has_if_range)) = verdict("GET", bytes) else { return };
    match get {
        Verdict::Failed => assert!(may_fail),
        Verdict::NotModified => assert!(may_be_known),
        Verdict::Proceed { honor_range } => assert!(honor_range || has_if_range),
    }
    let as_head = verdict("HEAD", bytes).expect("the same fields").0;
    match get {
        Verdict::Proceed { .. } => assert_eq!(as_head, Verdict::Proceed { honor_range: false }),
        other => assert_eq!(as_head, other),
    }
    let shouted: Vec<u8> = bytes.split_inclusive(|byte| *byte == b'\n').flat_map(shout_name).collect();
    assert_eq!(verdict("GET", &shouted).map(|(verdict, ..)| verdict), Some(get));
}

/// A chunked message ends at the same byte in whatever pieces it comes. The first byte is the size of the pieces.
pub fn chunked(bytes: &[u8]) {
    let Some((size, message)) = bytes.split_first() else { return };
    let whole = decode(message, message.len().max(1));
    assert_eq!(decode(message, usize::from(*size).max(1)), whole, "the pieces matter");
    if let Ok(Some(end)) = whole {
        assert_eq!(decode(&message[..end], 1), Ok(Some(end)));
        assert_eq!(decode(&message[..end - 1], 1), Ok(None));
        assert!(message[..end].ends_with(b"\r\n\r\n"));
    }
}

fn scan_bytewise(bytes: &[u8]) -> Result<Option<usize>, Why> {
    let mut scan = Scan::default();
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

fn shout_name(line: &[u8]) -> Vec<u8> {
    let colon = line.iter().position(|byte| *byte == b':').unwrap_or(0);
    [line[..colon].to_ascii_uppercase(), line[colon..].to_vec()].concat()
}

fn decode(bytes: &[u8], piece: usize) -> Result<Option<usize>, Why> {
    let mut decoder = Decoder::default();
    let mut used = 0;
    for piece in bytes.chunks(piece) {
        used += decoder.consume(piece)?;
        if decoder.is_done() {
            return Ok(Some(used));
        }
    }
    Ok(None)
}
