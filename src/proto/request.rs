//! The head of a request: its end in bytes that arrive in pieces, then its request line and fields (RFC 9112 §2–5).
//!
//! The scanner finds the end first and the head is parsed once, so no byte is read twice however slowly a head arrives.
//! Heads with two possible readings are refused, because request smuggling needs them. Parsed values borrow from the
//! bytes; the modules named after the fields interpret them.

use super::proxy_protocol;
use super::syntax::{SmallVec, TCHAR, field_value_len, find, find_all, is_token, token_len, trim_ows, trim_ows_start};
use super::why::{Reject, Why};

/// The longest request line, in bytes, without its line end (RFC 9112 §3 recommends at least 8000).
pub const REQUEST_LINE_MAX: usize = 8192;

/// The largest head, in bytes, including the empty lines around it.
pub const HEAD_MAX: usize = 32768;

/// The most fields in a head.
pub const FIELDS_MAX: usize = 100;

/// The search for the end of a head, resumed as bytes arrive.
#[derive(Debug, Default)]
pub struct HeadScanner {
    /// The number of bytes scanned.
    scanned: usize,
    /// The start of the current line.
    line_start: usize,
    /// Whether a request has begun to arrive, beyond empty lines.
    pub has_begun: bool,
    /// Whether the request line is complete.
    in_fields: bool,
}

/// The head of a request, its grammar checked.
#[derive(Debug)]
pub struct Head<'b> {
    /// The request line as received, without its line end.
    pub line: &'b [u8],
    /// The method.
    pub method: Method,
    /// The request-target: not empty, without spaces and control bytes, otherwise as received.
    pub target: &'b [u8],
    /// The client's version.
    pub version: Version,
    /// The header fields.
    pub fields: Fields<'b>,
}

/// A method (RFC 9110 §9), as far as this server distinguishes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Requests the representation.
    Get,
    /// Requests the fields of the GET response without its content.
    Head,
    /// Requests the communication options.
    Options,
    /// Requests a tunnel, which is not served.
    Connect,
    /// POST, PUT, DELETE, TRACE or PATCH (RFC 5789): recognized and not allowed.
    Unserved,
    /// An unrecognized method.
    Unknown,
}

/// A supported version of HTTP; later ones compare greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// The simple request, `GET` and a target alone; its response is the bare content.
    Http09,
    /// HTTP/1.0.
    Http10,
    /// HTTP/1.1, and any later 1.x (RFC 9110 §2.5).
    Http11,
}

/// The header fields of one head, in the order received.
#[derive(Debug, Default)]
pub struct Fields<'b> {
    bytes: &'b [u8],
    /// The inline capacity covers a browser's request.
    lines: SmallVec<FieldLine, 16>,
    /// The union of the names' [bits](name_filter_bit).
    name_filter: u64,
}

/// The positions of a field line's parts: their starts and ends.
#[derive(Clone, Copy, Debug)]
pub struct FieldLine {
    name: [u16; 2],
    /// Excludes the optional whitespace around the value.
    value: [u16; 2],
    /// Includes the line end.
    end: u16,
}

const _: () = assert!(HEAD_MAX <= u16::MAX as usize, "every position in a head fits in 16 bits");

impl HeadScanner {
    /// Continues in `bytes`, which begin with those of the previous calls; returns the head's length once it is complete.
    ///
    /// A head ends with an empty line. A first line that does not end in a version is a whole head: an HTTP/0.9 request,
    /// or an error that someone at a terminal should see at once.
    pub fn resume<'b>(&mut self, bytes: &'b [u8]) -> Result<Option<usize>, Reject<'b>> {
        let seen = &bytes[..bytes.len().min(HEAD_MAX)];
        let start = self.scanned;
        for end in find_all(b'\n', &seen[start..]).map(|at| start + at) {
            let line = without_cr(&seen[self.line_start..end]);
            self.line_start = end + 1;
            if self.ends_head(seen, line)? {
                return Ok(Some(self.line_start));
            }
        }
        self.scanned = seen.len();
        let line = &seen[self.line_start..];
        if !self.in_fields && !matches!(line, [] | [b'\r']) {
            self.has_begun = true;
            // A carriage return may be the last byte.
            check_request_line(seen, line, REQUEST_LINE_MAX + 1)?;
        }
        if seen.len() == HEAD_MAX { Err(Why::HeadTooLarge.because(first_line(seen))) } else { Ok(None) }
    }

    fn ends_head<'b>(&mut self, seen: &[u8], line: &'b [u8]) -> Result<bool, Reject<'b>> {
        if line.is_empty() || self.in_fields {
            return Ok(line.is_empty() && self.in_fields);
        }
        check_request_line(seen, line, REQUEST_LINE_MAX)?;
        self.has_begun = true;
        self.in_fields = true;
        Ok(!ends_in_version(line))
    }
}

/// Checks the first byte and the length of a request line, before which `start` can have empty lines.
fn check_request_line<'b>(start: &[u8], line: &'b [u8], max: usize) -> Result<(), Reject<'b>> {
    match line.first() {
        Some(&first) if !TCHAR.has(first) && proxy_protocol::begins(start) => {
            Err(Why::ProxyHeaderUnwanted.because(line))
        }
        Some(&first) if !TCHAR.has(first) => Err(Why::NotHttp.because(line)),
        _ if line.len() > max => Err(Why::RequestLineTooLong.because(line)),
        _ => Ok(()),
    }
}

impl<'b> Head<'b> {
    /// Parses a head of the length that [`HeadScanner`] found. After an error, no later bytes can be trusted to be a request.
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
    /// Parses a method; names are case-sensitive (RFC 9110 §9.1).
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
    /// Returns every value of the field, in order. Names are case-insensitive.
    pub fn all<'n>(&'n self, name: &'n str) -> impl Iterator<Item = &'b [u8]> + 'n {
        let is_absent = self.name_filter & name_filter_bit(name.as_bytes()) == 0;
        let lines = if is_absent { &[] } else { &self.lines[..] };
        let same = lines.iter().filter(|line| self.at(line.name).eq_ignore_ascii_case(name.as_bytes()));
        same.map(|line| self.at(line.value))
    }

    /// Returns the value of a singleton field; none if it is repeated, which has no right reading (RFC 9110 §5.3).
    pub fn single(&self, name: &str) -> Option<&'b [u8]> {
        let mut values = self.all(name);
        let value = values.next();
        if values.next().is_some() { None } else { value }
    }

    /// Returns every name and value, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&'b [u8], &'b [u8])> {
        self.lines.iter().map(|line| (self.at(line.name), self.at(line.value)))
    }

    fn at(&self, [start, end]: [u16; 2]) -> &'b [u8] {
        &self.bytes[start.into()..end.into()]
    }

    /// Parses the field lines up to the empty line.
    fn parse(bytes: &'b [u8]) -> Result<Fields<'b>, Reject<'b>> {
        let mut fields = Fields { bytes, ..Fields::default() };
        let mut start = 0;
        while !matches!(&bytes[start..], [] | [b'\n', ..] | [b'\r', b'\n', ..]) {
            if fields.lines.len() == FIELDS_MAX {
                return Err(Why::TooManyFields.because(split_line(&bytes[start..]).0));
            }
            let line = field_line(bytes, start)?;
            fields.name_filter |= name_filter_bit(fields.at(line.name));
            fields.lines.push(line);
            start = line.end.into();
        }
        Ok(fields)
    }
}

/// One of 64 bits, by the name's length and first letter: a Bloom filter, because most looked-up fields are absent.
fn name_filter_bit(name: &[u8]) -> u64 {
    let first = name.first().map_or(0, u8::to_ascii_lowercase);
    1 << ((name.len() ^ usize::from(first)) % 64)
}

/// Parses `method SP request-target SP HTTP-version` (RFC 9112 §3), or `GET SP request-target` of HTTP/0.9.
fn request_line(line: &[u8]) -> Result<(Method, &[u8], Version), Reject<'_>> {
    if line.contains(&b'\r') {
        return Err(Why::BareCr.because(line));
    }
    check_request_line(line, line, REQUEST_LINE_MAX)?;
    let words: SmallVec<&[u8], 4> = line.splitn(4, |&byte| byte == b' ').collect();
    let (method, target, version) = match words[..] {
        // A version without a target: the client expects a response with a head.
        [_, _] if ends_in_version(line) => return Err(Why::RequestLine.because(line)),
        [method @ b"GET", target] => (method, target, Version::Http09),
        [method, target, word] => (method, target, version(word)?),
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

/// Reports whether the line's last word looks like a version.
fn ends_in_version(line: &[u8]) -> bool {
    let space = line.iter().rposition(|&byte| byte == b' ');
    let last = space.and_then(|space| line.get(space + 1..space + 6));
    last.is_some_and(|start| start.eq_ignore_ascii_case(b"HTTP/"))
}

/// Parses the line at `start`, which is not empty: `field-name ":" OWS field-value OWS` (RFC 9112 §5).
pub fn field_line(bytes: &[u8], start: usize) -> Result<FieldLine, Reject<'_>> {
    let colon = start + token_len(&bytes[start..]);
    if colon > start && bytes.get(colon) == Some(&b':') {
        let end = colon + 1 + field_value_len(&bytes[colon + 1..]);
        let value_start = end - trim_ows_start(&bytes[colon + 1..end]).len();
        let value_end = value_start + trim_ows(&bytes[value_start..end]).len();
        let line = |line_end: usize| FieldLine {
            name: [start as u16, colon as u16],
            value: [value_start as u16, value_end as u16],
            end: (end + line_end) as u16,
        };
        match &bytes[end..] {
            [] => return Ok(line(0)),
            [b'\n', ..] => return Ok(line(1)),
            [b'\r', b'\n', ..] => return Ok(line(2)),
            _ => {}
        }
    }
    let line = split_line(&bytes[start..]).0;
    Err(field_line_error(line).because(line))
}

/// Classifies an invalid field line.
fn field_line_error(line: &[u8]) -> Why {
    match line.iter().position(|&byte| byte == b':').map(|colon| &line[..colon]) {
        _ if line.contains(&b'\r') => Why::BareCr,
        _ if matches!(line, [b' ' | b'\t', ..]) => Why::LineFolding,
        None => Why::MissingColon,
        Some([.., b' ' | b'\t']) => Why::SpaceBeforeColon,
        Some(name) if !is_token(name) => Why::FieldName,
        Some(_) => Why::FieldValue,
    }
}

/// Returns the first line that is not empty, as far as it has arrived.
pub fn first_line(bytes: &[u8]) -> &[u8] {
    split_line(skip_empty_lines(bytes)).0
}

/// Skips the empty lines that may precede a request (RFC 9112 §2.2).
fn skip_empty_lines(mut bytes: &[u8]) -> &[u8] {
    while let [b'\n', rest @ ..] | [b'\r', b'\n', rest @ ..] = bytes {
        bytes = rest;
    }
    bytes
}

/// Splits off the first line, as far as it has arrived, without its line end.
fn split_line(bytes: &[u8]) -> (&[u8], &[u8]) {
    let end = find(b'\n', bytes).unwrap_or(bytes.len());
    (without_cr(&bytes[..end]), bytes.get(end + 1..).unwrap_or_default())
}

/// Strips the optional carriage return before a line feed (RFC 9112 §2.2).
fn without_cr(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head_len(bytes: &[u8]) -> Option<usize> {
        HeadScanner::default().resume(bytes).expect("within the limits")
    }

    #[test]
    fn head_ends_with_empty_line() {
        for (bytes, expected) in [
            (&b"GET / HTTP/1.1\r\n\r\nmore"[..], Some(18)),
            (b"GET / HTTP/1.1\n\nmore", Some(16)),
            (b"\r\n\n\r\nGET / HTTP/1.1\r\na: b\r\n\r\n", Some(29)),
            (b"GET / HTTP/1.1\r\na: b\n\r\n", Some(23)),
            (b"GET / HTTP/1.1\r\na: b\r\n", None),
            (b"GET / HTTP/1.1\r\n\r", None),
            (b"\r\n\r\n", None),
            (b"", None),
        ] {
            assert_eq!(head_len(bytes), expected, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn first_line_without_version_is_whole_head() {
        for (bytes, expected) in [
            (&b"GET /\r\nmore"[..], Some(7)),
            (b"\nGET /\n", Some(7)),
            (b"hello\n", Some(6)),
            (b"HTTP/1.1\n", Some(9)),
            (b"GET /HTTP/1.1\n", Some(14)),
            (b"GET / http/1.1\n", None),
            (b"GET / HTTP/\n", None),
        ] {
            assert_eq!(head_len(bytes), expected, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn pieces_do_not_change_where_head_ends() {
        let bytes = b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\nGET";
        let mut scan = HeadScanner::default();
        let found = (0..=bytes.len()).find_map(|end| scan.resume(&bytes[..end]).expect("within the limits"));
        assert_eq!(found, Some(29));
        assert_eq!(head_len(bytes), found);
    }

    #[test]
    fn head_above_limit_is_refused() {
        let line = [b"GET /", "a".repeat(REQUEST_LINE_MAX - 14).as_bytes(), b" HTTP/1.1"].concat();
        assert_eq!(line.len(), REQUEST_LINE_MAX);
        let why = |bytes: &[u8]| HeadScanner::default().resume(bytes).expect_err("past the limit").why;
        assert_eq!(head_len(&[&line[..], b"\r\n\r\n"].concat()), Some(line.len() + 4));
        assert_eq!(why(&[b"G", &line[..], b"\r\n\r\n"].concat()), Why::RequestLineTooLong);
        assert_eq!(why(&[b"GG", &line[..]].concat()), Why::RequestLineTooLong);

        let start = b"GET / HTTP/1.1\r\na: ";
        let full = |size: usize| [start, "b".repeat(size - start.len() - 4).as_bytes(), b"\r\n\r\n"].concat();
        assert_eq!(head_len(&full(HEAD_MAX)), Some(HEAD_MAX));
        assert_eq!(why(&full(HEAD_MAX + 1)), Why::HeadTooLarge);
    }

    #[test]
    fn non_http_is_refused_at_its_first_byte() {
        for bytes in [&b"\x16\x03\x01"[..], b" GET /", b"\r\n\0", b"\rGET", b"\x16 HTTP/1.1\r\n"] {
            let refused = HeadScanner::default().resume(bytes).expect_err("no request");
            assert_eq!(refused.why, Why::NotHttp, "{}", bytes.escape_ascii());
        }
        let refused = HeadScanner::default().resume(b"\r\n\r\n\0\r\nQUIT\n\x21\x11").expect_err("no request");
        assert_eq!(refused.why, Why::ProxyHeaderUnwanted);
    }

    fn why(bytes: &[u8]) -> Option<Why> {
        Head::parse(bytes).err().map(|reject| reject.why)
    }

    #[test]
    fn head_is_parsed_into_its_parts() {
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
    fn repeated_field_has_no_single_value() {
        let head = Head::parse(b"GET / HTTP/1.1\r\na: 1\r\nA: 2\r\n\r\n").expect("valid");
        assert_eq!(head.fields.single("a"), None);
        assert_eq!(head.fields.all("a").collect::<Vec<_>>(), [b"1", b"2"]);
    }

    #[test]
    fn request_line_has_three_parts_and_single_spaces() {
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
    fn ambiguous_field_line_is_refused() {
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
    fn field_count_has_a_limit() {
        let head = |count: usize| format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(count));
        assert_eq!(why(head(FIELDS_MAX).as_bytes()), None);
        assert_eq!(why(head(FIELDS_MAX + 1).as_bytes()), Some(Why::TooManyFields));
    }
}
