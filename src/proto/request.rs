//! The head of a request: method, target, version and fields (RFC 9112 §2–5).
//!
//! Strict where two readings of the same bytes would be an attack. What is parsed borrows from the bytes; nothing is
//! copied. What the fields mean is the business of the modules named after them.

use std::ops::Range;

use super::proxy_protocol;
use super::scan::{HEAD_MAX, ends_in_version, first_line, skip_empty_lines, split_line};
use super::syntax::{Few, field_value_len, is_tchar, is_token, token_len, trim_ows, trim_ows_start};
use super::why::{Reject, Why};

/// The most fields that a head may have.
pub const FIELDS_MAX: usize = 100;

/// The head of a request, its grammar checked.
#[derive(Debug)]
pub struct Head<'b> {
    /// The request line as it came, without its line end.
    pub line: &'b [u8],
    /// The method.
    pub method: Method,
    /// The request-target, not empty, without spaces and control bytes; otherwise as it came.
    pub target: &'b [u8],
    /// The version that the client speaks.
    pub version: Version,
    /// The header fields.
    pub fields: Fields<'b>,
}

/// A method (RFC 9110 §9), as far as this server tells them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Wants the representation.
    Get,
    /// Wants what GET would get, without the content.
    Head,
    /// Wants to know what is possible.
    Options,
    /// Wants a tunnel, which is not served.
    Connect,
    /// POST, PUT, DELETE, TRACE or PATCH (RFC 5789): known and not served.
    Unserved,
    /// A method that is not known here.
    Unknown,
}

/// A version of HTTP that is spoken here; later ones are greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// The simple request of a method and a target alone; its answer is the content and nothing else.
    Http09,
    /// HTTP/1.0.
    Http10,
    /// HTTP/1.1, and any later 1.x (RFC 9110 §2.5).
    Http11,
}

/// The header fields of one head, in the order they came.
#[derive(Debug, Default)]
pub struct Fields<'b> {
    bytes: &'b [u8],
    /// Where in the bytes the fields are. Those of a browser's request need no other place in memory.
    places: Few<Place, 16>,
    /// Which [marks](mark) the names have.
    marks: u64,
}

/// Where a field's name and value begin and end.
#[derive(Clone, Copy, Debug)]
struct Place {
    name: [u16; 2],
    value: [u16; 2],
}

const _: () = assert!(HEAD_MAX <= u16::MAX as usize, "every place in a head has to fit");

impl<'b> Head<'b> {
    /// Parses a whole head, as long as [`Scan`](super::scan::Scan) found it. After a refusal the bytes that follow
    /// cannot be trusted to be another request.
    pub fn parse(bytes: &'b [u8]) -> Result<Head<'b>, Reject<'b>> {
        if bytes.len() > HEAD_MAX {
            return Err(Why::HeadTooLarge.because(first_line(bytes)));
        }
        let (line, rest) = split_line(skip_empty_lines(bytes));
        let unwanted =
            |reject| if proxy_protocol::begins(line) { Why::ProxyHeaderUnwanted.because(line) } else { reject };
        let (method, target, version) = request_line(line).map_err(unwanted)?;
        let fields = if version == Version::Http09 { Fields::default() } else { Fields::parse(rest)? };
        Ok(Head { line, method, target, version, fields })
    }
}

impl Method {
    /// Reads a method; their names are case-sensitive (RFC 9110 §9.1).
    fn parse(token: &[u8]) -> Method {
        match token {
            b"GET" => Method::Get,
            b"HEAD" => Method::Head,
            b"OPTIONS" => Method::Options,
            b"CONNECT" => Method::Connect,
            b"POST" | b"PUT" | b"DELETE" | b"TRACE" | b"PATCH" => Method::Unserved,
            _ => Method::Unknown,
        }
    }
}

impl<'b> Fields<'b> {
    /// Returns every value of the field, in order. Names are compared without regard to case.
    pub fn all<'n>(&'n self, name: &'n str) -> impl Iterator<Item = &'b [u8]> + 'n {
        let places = if self.marks & mark(name.as_bytes()) == 0 { &[] } else { &self.places[..] };
        let same = places.iter().filter(|place| self.at(place.name).eq_ignore_ascii_case(name.as_bytes()));
        same.map(|place| self.at(place.value))
    }

    /// Returns the value of a field that may stand only once; none where it is repeated, since no reading of that is
    /// right (RFC 9110 §5.3).
    pub fn single(&self, name: &str) -> Option<&'b [u8]> {
        let mut values = self.all(name);
        let value = values.next();
        if values.next().is_some() { None } else { value }
    }

    /// Returns every name and value, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&'b [u8], &'b [u8])> {
        self.places.iter().map(|place| (self.at(place.name), self.at(place.value)))
    }

    fn at(&self, [start, end]: [u16; 2]) -> &'b [u8] {
        &self.bytes[start.into()..end.into()]
    }

    /// Parses what follows the request line, up to the empty line.
    fn parse(bytes: &'b [u8]) -> Result<Fields<'b>, Reject<'b>> {
        let mut fields = Fields { bytes, ..Fields::default() };
        let mut rest = bytes;
        while !matches!(rest, [] | [b'\n', ..] | [b'\r', b'\n', ..]) {
            if fields.places.len() == FIELDS_MAX {
                return Err(Why::TooManyFields.because(split_line(rest).0));
            }
            let start = bytes.len() - rest.len();
            let line = field_line(rest)?;
            let place = |part: &Range<usize>| [part.start, part.end].map(|at| (start + at) as u16);
            fields.places.push(Place { name: place(&line.name), value: place(&line.value) });
            fields.marks |= mark(&rest[line.name]);
            rest = &rest[line.len..];
        }
        Ok(fields)
    }
}

/// One of 64 marks that a name has by its length and first letter. Most of the fields that are asked for are not there,
/// and then no name has to be looked at.
fn mark(name: &[u8]) -> u64 {
    let first = name.first().map_or(0, u8::to_ascii_lowercase);
    1 << ((name.len() ^ usize::from(first)) % 64)
}

/// Parses `method SP request-target SP HTTP-version` (RFC 9112 §3), or `GET SP request-target` of HTTP/0.9.
fn request_line(line: &[u8]) -> Result<(Method, &[u8], Version), Reject<'_>> {
    if line.contains(&b'\r') {
        return Err(Why::BareCr.because(line));
    }
    if !line.first().copied().is_some_and(is_tchar) {
        return Err(Why::NotHttp.because(line));
    }
    let mut words = line.split(|&byte| byte == b' ');
    let words = [words.next(), words.next(), words.next(), words.next()];
    let (method, target, version) = match words {
        // Where the target is forgotten, and not the version, the client does not expect an answer without a head.
        [Some(_), Some(_), None, None] if ends_in_version(line) => return Err(Why::RequestLine.because(line)),
        [Some(method), Some(target), None, None] if method == b"GET" => (method, target, Version::Http09),
        [Some(method), Some(target), Some(word), None] => (method, target, version(word)?),
        _ => return Err(Why::RequestLine.because(line)),
    };
    if target.is_empty() || !is_token(method) {
        return Err(Why::RequestLine.because(line));
    }
    if target.iter().any(u8::is_ascii_control) {
        return Err(Why::TargetByte.because(line));
    }
    Ok((Method::parse(method), target, version))
}

/// Parses `HTTP/` DIGIT `.` DIGIT (RFC 9112 §2.3).
fn version(word: &[u8]) -> Result<Version, Reject<'_>> {
    match word {
        b"HTTP/1.0" => Ok(Version::Http10),
        [b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'1'..=b'9'] => Ok(Version::Http11),
        [b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9'] => Err(Why::VersionNotSupported.because(word)),
        _ => Err(Why::VersionSyntax.because(word)),
    }
}

/// A field line taken apart.
pub struct FieldLine {
    name: Range<usize>,
    /// Without the optional whitespace around it.
    value: Range<usize>,
    /// With the line end.
    len: usize,
}

/// Takes the first line apart, which is not empty: `field-name ":" OWS field-value OWS` (RFC 9112 §5).
pub fn field_line(bytes: &[u8]) -> Result<FieldLine, Reject<'_>> {
    let name = 0..token_len(bytes);
    let start = name.end + 1;
    if !name.is_empty() && bytes.get(name.end) == Some(&b':') {
        let end = start + field_value_len(&bytes[start..]);
        let start = end - trim_ows_start(&bytes[start..end]).len();
        let value = start..start + trim_ows(&bytes[start..end]).len();
        match &bytes[end..] {
            [] => return Ok(FieldLine { name, value, len: end }),
            [b'\n', ..] => return Ok(FieldLine { name, value, len: end + 1 }),
            [b'\r', b'\n', ..] => return Ok(FieldLine { name, value, len: end + 2 }),
            _ => {}
        }
    }
    let line = split_line(bytes).0;
    Err(fault(line).because(line))
}

/// Returns what is wrong with a field line that is not valid.
fn fault(line: &[u8]) -> Why {
    match line.iter().position(|&byte| byte == b':').map(|colon| &line[..colon]) {
        _ if line.contains(&b'\r') => Why::BareCr,
        _ if matches!(line, [b' ' | b'\t', ..]) => Why::LineFolding,
        None => Why::MissingColon,
        Some([.., b' ' | b'\t']) => Why::SpaceBeforeColon,
        Some(name) if !is_token(name) => Why::FieldName,
        Some(_) => Why::FieldValue,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn why(bytes: &[u8]) -> Option<Why> {
        Head::parse(bytes).err().map(|reject| reject.why)
    }

    #[test]
    fn a_head_is_parsed_into_its_parts() {
        // The example of RFC 9112 §2.1, with a bare line feed and a value without a space.
        let bytes =
            b"\r\nGET /hello.txt HTTP/1.1\r\nUser-Agent: curl/7.64.1\nHost:www.example.com\r\nAccept: \t a, b \r\n\r\n";
        let head = Head::parse(bytes).expect("valid");
        assert_eq!((head.method, head.target, head.version), (Method::Get, &b"/hello.txt"[..], Version::Http11));
        let fields: Vec<_> = head.fields.iter().collect();
        let expected: [(&[u8], &[u8]); 3] =
            [(b"User-Agent", b"curl/7.64.1"), (b"Host", b"www.example.com"), (b"Accept", b"a, b")];
        assert_eq!(fields, expected);
        assert_eq!(head.fields.single("hOST"), Some(&b"www.example.com"[..]));
    }

    #[test]
    fn a_field_that_is_repeated_is_no_single_field() {
        let head = Head::parse(b"GET / HTTP/1.1\r\na: 1\r\nA: 2\r\n\r\n").expect("valid");
        assert_eq!(head.fields.single("a"), None);
        assert_eq!(head.fields.all("a").collect::<Vec<_>>(), [b"1", b"2"]);
    }

    #[test]
    fn the_request_line_has_three_parts_with_one_space_between() {
        for (line, expected) in [
            ("GET / HTTP/1.1", None),
            ("GET / HTTP/1.0", None),
            ("GET / HTTP/1.7", None),
            ("GET /", None),
            ("GET  / HTTP/1.1", Some(Why::RequestLine)),
            ("GET /  HTTP/1.1", Some(Why::RequestLine)),
            ("GET / HTTP/1.1 ", Some(Why::RequestLine)),
            ("GET /a b HTTP/1.1", Some(Why::RequestLine)),
            ("GET", Some(Why::RequestLine)),
            ("GET ", Some(Why::RequestLine)),
            ("GET  HTTP/1.1", Some(Why::RequestLine)),
            ("GET HTTP/1.1", Some(Why::RequestLine)),
            ("GET http/1.1", Some(Why::RequestLine)),
            ("POST /", Some(Why::RequestLine)),
            ("G(T / HTTP/1.1", Some(Why::RequestLine)),
            (" GET / HTTP/1.1", Some(Why::NotHttp)),
            ("GET\t/\tHTTP/1.1", Some(Why::RequestLine)),
            ("G\x7f", Some(Why::RequestLine)),
            ("GET /\t HTTP/1.1", Some(Why::TargetByte)),
            ("GET /\0 HTTP/1.1", Some(Why::TargetByte)),
            ("GET /\rx HTTP/1.1", Some(Why::BareCr)),
            ("GET / http/1.1", Some(Why::VersionSyntax)),
            ("GET / HTTP/1.10", Some(Why::VersionSyntax)),
            ("GET / HTTP/11", Some(Why::VersionSyntax)),
            ("GET / HTTP/1.x", Some(Why::VersionSyntax)),
            ("GET / HTTP/2.0", Some(Why::VersionNotSupported)),
            ("GET / HTTP/0.9", Some(Why::VersionNotSupported)),
            ("PROXY TCP4 192.0.2.1 192.0.2.2 1 2", Some(Why::ProxyHeaderUnwanted)),
            ("PROXY UNKNOWN", Some(Why::ProxyHeaderUnwanted)),
            ("PROXY UNKNOWN x", Some(Why::ProxyHeaderUnwanted)),
            ("PROXY / HTTP/1.1", None),
        ] {
            assert_eq!(why(format!("{line}\r\n\r\n").as_bytes()), expected, "{line:?}");
        }
    }

    #[test]
    fn a_field_that_can_be_read_in_two_ways_is_refused() {
        for (line, expected) in [
            ("a: b", None),
            ("a:", None),
            ("a: \u{e9}\t\"x\"", None),
            (": b", Some(Why::FieldName)),
            ("a b: c", Some(Why::FieldName)),
            ("a\u{e9}: c", Some(Why::FieldName)),
            ("a\0: c", Some(Why::FieldName)),
            ("a : b", Some(Why::SpaceBeforeColon)),
            ("a\t: b", Some(Why::SpaceBeforeColon)),
            (" a: b", Some(Why::LineFolding)),
            ("\ta: b", Some(Why::LineFolding)),
            ("ab", Some(Why::MissingColon)),
            ("a: b\rc", Some(Why::BareCr)),
            ("a: b\r", Some(Why::BareCr)),
            ("a: b\0c", Some(Why::FieldValue)),
            ("a: b\x0bc", Some(Why::FieldValue)),
            ("a: b\x7fc", Some(Why::FieldValue)),
        ] {
            assert_eq!(why(format!("GET / HTTP/1.1\r\n{line}\r\n\r\n").as_bytes()), expected, "{line:?}");
        }
    }

    #[test]
    fn the_number_of_fields_is_bounded() {
        let head = |count: usize| format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(count));
        assert_eq!(why(head(FIELDS_MAX).as_bytes()), None);
        assert_eq!(why(head(FIELDS_MAX + 1).as_bytes()), Some(Why::TooManyFields));
    }
}
