//! The head of a request: method, target, version and fields (RFC 9112 §2–5).
//!
//! Strict where two readings of the same bytes would be an attack. What is parsed borrows from the bytes; nothing is
//! copied. What the fields mean is the business of the modules named after them.

use super::scan::{skip_empty_lines, split_line, without_cr};
use super::syntax::{is_field_byte, is_tchar, is_token, trim_ows};
use super::why::{Reject, Why};

/// The most fields that a head may have.
pub const FIELDS_MAX: usize = 100;

/// The fields of a browser's request fit in.
const FIELDS_USUAL: usize = 16;

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
    lines: Vec<(&'b [u8], &'b [u8])>,
}

impl<'b> Head<'b> {
    /// Parses a whole head, as long as [`Scan`](super::scan::Scan) found it. After a refusal the bytes that follow
    /// cannot be trusted to be another request.
    pub fn parse(bytes: &'b [u8]) -> Result<Head<'b>, Reject<'b>> {
        let (line, rest) = split_line(skip_empty_lines(bytes));
        let (method, target, version) = request_line(line)?;
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
        let same = self.lines.iter().filter(|(other, _)| other.eq_ignore_ascii_case(name.as_bytes()));
        same.map(|&(_, value)| value)
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
        self.lines.iter().copied()
    }

    /// Parses what follows the request line, up to the empty line.
    fn parse(bytes: &'b [u8]) -> Result<Fields<'b>, Reject<'b>> {
        let mut lines = Vec::with_capacity(FIELDS_USUAL);
        for line in bytes.split(|&byte| byte == b'\n').map(without_cr).take_while(|line| !line.is_empty()) {
            if lines.len() == FIELDS_MAX {
                return Err(Why::TooManyFields.because(line));
            }
            lines.push(parse_field(line)?);
        }
        Ok(Fields { lines })
    }
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

/// Parses `field-name ":" OWS field-value OWS` (RFC 9112 §5), a line that is not empty.
pub fn parse_field(line: &[u8]) -> Result<(&[u8], &[u8]), Reject<'_>> {
    let refuse = |why: Why| Err(why.because(line));
    if line.contains(&b'\r') {
        return refuse(Why::BareCr);
    }
    if matches!(line[0], b' ' | b'\t') {
        return refuse(Why::LineFolding);
    }
    let Some(colon) = line.iter().position(|&byte| byte == b':') else {
        return refuse(Why::MissingColon);
    };
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    if matches!(name.last(), Some(b' ' | b'\t')) {
        return refuse(Why::SpaceBeforeColon);
    }
    if !is_token(name) {
        return refuse(Why::FieldName);
    }
    if !value.iter().copied().all(is_field_byte) {
        return refuse(Why::FieldValue);
    }
    Ok((name, trim_ows(value)))
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
