//! The oracle: a second parser of requests that shares no code with the server's. httparse reads heads; content is read
//! here, by the letter of RFC 9112.
//!
//! Where implementations may differ, the oracle follows the server: HTTP/1.2 to 1.9 are read as 1.1, a target may contain
//! bytes beyond ASCII, and a request of HTTP/0.9 is a GET and a target alone. Both accept a bare line feed in a head, and
//! neither in chunked framing.

/// The limits in the server's explanations.
const LINE_MAX: usize = 8192;
const HEAD_MAX: usize = 32768;
const FIELDS_MAX: usize = 100;
const CONTENT_MAX: u64 = 1024 * 1024;

/// The start of a stream of bytes.
#[derive(Debug)]
pub enum Read<'b> {
    /// A complete head.
    Head(RequestHead<'b>),
    /// No head; this number of bytes suffices to decide it.
    Bad(usize),
    /// An incomplete head.
    Partial,
}

/// The head of a request.
#[derive(Debug)]
pub struct RequestHead<'b> {
    /// Its length in bytes, with the empty lines around it.
    pub len: usize,
    pub method: &'b [u8],
    pub target: &'b [u8],
    /// The version; 9 is HTTP/0.9, 10 is HTTP/1.0, 11 is all above.
    pub version: u8,
    pub fields: Vec<(&'b [u8], &'b [u8])>,
}

/// The length of the content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    Exactly(u64),
    Chunked,
    /// Ambiguous framing, or content above the limit.
    Refused,
}

/// The result of reading chunked content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// The content ends after this number of bytes.
    Ends(usize),
    /// The content is malformed; this number of bytes suffices to decide it.
    Bad(usize),
    /// The content is incomplete.
    Partial,
}

impl<'b> RequestHead<'b> {
    /// Every value of a field.
    pub fn all<'n>(&'n self, name: &'n str) -> impl Iterator<Item = &'b [u8]> + 'n {
        self.fields.iter().filter(|(other, _)| other.eq_ignore_ascii_case(name.as_bytes())).map(|(_, value)| *value)
    }

    /// Reports whether the field is present.
    pub fn has(&self, name: &str) -> bool {
        self.all(name).next().is_some()
    }

    /// The elements of a list, in lower case.
    fn elements(&self, name: &str) -> Vec<Vec<u8>> {
        let lines = self.all(name).collect::<Vec<_>>().join(&b',').to_ascii_lowercase();
        let elements = lines.split(|byte| *byte == b',').map(|element| trim(element).to_vec());
        elements.filter(|element| !element.is_empty()).collect()
    }

    /// The length of the content (RFC 9112 §6.3).
    pub fn length(&self) -> Length {
        let lengths: Vec<_> = self.all("Content-Length").collect();
        if self.has("Transfer-Encoding") {
            let is_chunked = self.elements("Transfer-Encoding") == [b"chunked"];
            let is_clear = is_chunked && lengths.is_empty() && self.version == 11;
            return if is_clear { Length::Chunked } else { Length::Refused };
        }
        match lengths[..] {
            [] => Length::Exactly(0),
            [value] if !value.is_empty() && value.iter().all(u8::is_ascii_digit) => {
                let text = str::from_utf8(value).expect("digits are text");
                text.parse().ok().filter(|length| *length <= CONTENT_MAX).map_or(Length::Refused, Length::Exactly)
            }
            _ => Length::Refused,
        }
    }

    /// Whether 100 (Continue) is expected (RFC 9110 §10.1.1); none if the expectation is another.
    pub fn expects_continue(&self) -> Option<bool> {
        let expected = if self.version == 11 { self.elements("Expect") } else { Vec::new() };
        expected.iter().all(|expectation| expectation == b"100-continue").then_some(!expected.is_empty())
    }

    /// Whether the connection persists by the rules of RFC 9112 §9.3.
    pub fn persists(&self) -> bool {
        let options = self.elements("Connection");
        let has = |option: &[u8]| options.iter().any(|sent| sent == option);
        !has(b"close") && self.method != b"CONNECT" && (self.version == 11 || self.version == 10 && has(b"keep-alive"))
    }
}

/// Reads the head that the bytes begin with.
pub fn read_head(bytes: &[u8]) -> Read<'_> {
    let start = begin(bytes);
    let Some(rest) = bytes.get(start..).filter(|rest| !matches!(rest, [] | [b'\r'])) else {
        return if bytes.len() >= HEAD_MAX { Read::Bad(HEAD_MAX) } else { Read::Partial };
    };
    if start >= HEAD_MAX {
        return Read::Bad(HEAD_MAX);
    }
    if !is_tchar(rest[0]) {
        // A carriage return can still become an empty line.
        return Read::Bad(start + if rest[0] == b'\r' { 2 } else { 1 });
    }
    let line_feed = rest.iter().position(|byte| *byte == b'\n');
    let line = &rest[..line_feed.unwrap_or(rest.len())];
    let line = if line_feed.is_some() { line.strip_suffix(b"\r").unwrap_or(line) } else { line };
    if line.len() > LINE_MAX + usize::from(line_feed.is_none()) {
        return Read::Bad(start + line_feed.map_or(LINE_MAX + 2, |at| at + 1).min(LINE_MAX + 2));
    }
    let end = line_feed.and_then(|at| head_end(rest, at + 1, line)).map(|end| start + end);
    match end {
        Some(end) if end <= HEAD_MAX => parse(&bytes[..end], start, line).map_or(Read::Bad(end), Read::Head),
        _ if bytes.len() >= HEAD_MAX => Read::Bad(HEAD_MAX),
        _ => Read::Partial,
    }
}

/// The end of the empty lines that may precede a request (RFC 9112 §2.2).
pub fn begin(bytes: &[u8]) -> usize {
    let mut at = 0;
    loop {
        match &bytes[at..] {
            [b'\n', ..] => at += 1,
            [b'\r', b'\n', ..] => at += 2,
            _ => return at,
        }
    }
}

/// The end of a head whose fields begin at `at`: after its first line if that has no version.
fn head_end(bytes: &[u8], mut at: usize, line: &[u8]) -> Option<usize> {
    let word = line.rsplit(|byte| *byte == b' ').next().unwrap_or_default();
    if word.len() == line.len() || !word.to_ascii_uppercase().starts_with(b"HTTP/") {
        return Some(at);
    }
    loop {
        let length = bytes[at..].iter().position(|byte| *byte == b'\n')? + 1;
        let is_empty = matches!(&bytes[at..at + length], b"\n" | b"\r\n");
        at += length;
        if is_empty {
            return Some(at);
        }
    }
}

/// Parses a complete head, whose request line is `line`, after `start` bytes of empty lines.
fn parse<'b>(bytes: &'b [u8], start: usize, line: &'b [u8]) -> Option<RequestHead<'b>> {
    let words: Vec<_> = line.split(|byte| *byte == b' ').collect();
    if let [b"GET", target] = words[..] {
        let is_target = !target.is_empty() && !target.iter().any(u8::is_ascii_control);
        let is_simple = is_target && !target.to_ascii_uppercase().starts_with(b"HTTP/");
        return is_simple.then(|| RequestHead {
            len: bytes.len(),
            method: b"GET",
            target,
            version: 9,
            fields: Vec::new(),
        });
    }
    let [method, target, version] = words[..] else { return None };
    let version = match version {
        [b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'1'..=b'9'] => b"HTTP/1.1",
        version => version,
    };
    let plain: Vec<u8> = target.iter().map(|byte| if byte.is_ascii() { *byte } else { b'x' }).collect();
    let written = [method, b" ", &plain, b" ", version, b"\r\n\r\n"].concat();
    let mut no_fields = [];
    let mut request = httparse::Request::new(&mut no_fields);
    let is_line = request.parse(&written) == Ok(httparse::Status::Complete(written.len()));
    let version = request.version.filter(|_| is_line)? + 10;

    let fields_start = bytes[start..].iter().position(|byte| *byte == b'\n')? + start + 1;
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    match httparse::parse_headers(&bytes[fields_start..], &mut fields) {
        Ok(httparse::Status::Complete((end, fields))) => {
            assert_eq!(fields_start + end, bytes.len(), "httparse finds a different end");
            let fields = fields.iter().map(|field| (field.name.as_bytes(), field.value)).collect();
            Some(RequestHead { len: bytes.len(), method, target, version, fields })
        }
        Ok(httparse::Status::Partial) => panic!("httparse finds no end"),
        Err(_) => None,
    }
}

/// Reads chunked content, strictly (RFC 9112 §7.1).
pub fn read_chunked(bytes: &[u8]) -> Content {
    let mut at = 0;
    let mut total = 0u64;
    loop {
        let line = match read_line(bytes, &mut at) {
            Ok(line) => line,
            Err(other) => return other,
        };
        let Some(size) = chunk_size(line) else { return Content::Bad(at) };
        if size == 0 {
            break;
        }
        total = total.saturating_add(size);
        if total > CONTENT_MAX {
            return Content::Bad(at);
        }
        at += size as usize;
        match read_line(bytes, &mut at) {
            Ok([]) => {}
            Ok(_) => return Content::Bad(at),
            Err(other) => return other,
        }
    }
    loop {
        match read_line(bytes, &mut at) {
            Ok([]) => return Content::Ends(at),
            Ok(line) if is_field(line) => {}
            Ok(_) => return Content::Bad(at),
            Err(other) => return other,
        }
    }
}

/// Reads a line up to CR LF, and advances past it.
fn read_line<'b>(bytes: &'b [u8], at: &mut usize) -> Result<&'b [u8], Content> {
    let rest = bytes.get(*at..).ok_or(Content::Partial)?;
    let end = rest.iter().position(|byte| b"\r\n".contains(byte)).ok_or(Content::Partial)?;
    match rest[end..] {
        [b'\r', b'\n', ..] => {
            *at += end + 2;
            Ok(&rest[..end])
        }
        [b'\r'] => Err(Content::Partial),
        [b'\r', ..] => Err(Content::Bad(*at + end + 2)),
        _ => Err(Content::Bad(*at + end + 1)),
    }
}

fn chunk_size(line: &[u8]) -> Option<u64> {
    let digits = line.iter().position(|byte| !byte.is_ascii_hexdigit()).unwrap_or(line.len());
    let text = str::from_utf8(&line[..digits]).expect("digits are text").trim_start_matches('0');
    if digits == 0 || !is_extended(&line[digits..]) {
        return None;
    }
    match text.len() {
        0 => Some(0),
        1..=16 => u64::from_str_radix(text, 16).ok(),
        _ => Some(u64::MAX),
    }
}

/// Reports whether the rest of a chunk's first line is a list of extensions.
fn is_extended(mut rest: &[u8]) -> bool {
    while !rest.is_empty() {
        let Some(name) = trim_start(rest).strip_prefix(b";").map(trim_start) else { return false };
        let name_len = name.iter().take_while(|byte| is_tchar(**byte)).count();
        if name_len == 0 {
            return false;
        }
        rest = &name[name_len..];
        if let Some(value) = trim_start(rest).strip_prefix(b"=").map(trim_start) {
            let length = value_len(value);
            if length == 0 {
                return false;
            }
            rest = &value[length..];
        }
    }
    true
}

/// The length of the token or quoted string at the start; 0 if there is none.
fn value_len(bytes: &[u8]) -> usize {
    if bytes.first() != Some(&b'"') {
        return bytes.iter().take_while(|byte| is_tchar(**byte)).count();
    }
    let mut is_escaped = false;
    for (at, &byte) in bytes.iter().enumerate().skip(1) {
        match byte {
            0x00..=0x08 | 0x0a..=0x1f | 0x7f => return 0,
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    0
}

fn is_field(line: &[u8]) -> bool {
    let written = [line, b"\r\n\r\n"].concat();
    let mut fields = [httparse::EMPTY_HEADER];
    let parsed = httparse::parse_headers(&written, &mut fields);
    matches!(parsed, Ok(httparse::Status::Complete((_, [_]))))
}

/// RFC 9110 §5.6.2.
fn is_tchar(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn trim_start(bytes: &[u8]) -> &[u8] {
    &bytes[bytes.iter().take_while(|byte| b" \t".contains(byte)).count()..]
}

fn trim(bytes: &[u8]) -> &[u8] {
    let bytes = trim_start(bytes);
    &bytes[..bytes.len() - bytes.iter().rev().take_while(|byte| b" \t".contains(byte)).count()]
}
