//! Strict response parser (RFC 9112 §4, §5, §6.3). It accepts only the syntax that this server writes.

/// A parsed response.
#[derive(Debug)]
pub struct Response<'b> {
    pub status: u16,
    pub reason: &'b str,
    pub fields: Vec<(&'b str, &'b str)>,
    pub content: &'b [u8],
}

/// The statuses that have no content (RFC 9110 §6.4.1).
const BODILESS: [u16; 2] = [204, 304];

impl<'b> Response<'b> {
    /// Parses the response at the start of the bytes; returns it with the rest, or none if it is incomplete.
    pub fn read(bytes: &'b [u8], is_to_head: bool) -> Option<(Response<'b>, &'b [u8])> {
        let mut rest = bytes;
        let line = read_line(&mut rest)?;
        let status_line = line.strip_prefix("HTTP/1.1 ").unwrap_or_else(|| panic!("no status line: {line:?}"));
        let (code, reason) = status_line.split_once(' ').unwrap_or_else(|| panic!("no reason: {line:?}"));
        assert!(code.len() == 3 && code.bytes().all(|byte| byte.is_ascii_digit()), "{line:?}");
        let status = code.parse().expect("three digits are a number");
        let fields = read_fields(&mut rest)?;
        let mut response = Response { status, reason, fields, content: b"" };
        let length = response.field("Content-Length");
        assert_eq!(length.is_none(), BODILESS.contains(&status), "{response:?}");
        if let Some(length) = length.filter(|_| !is_to_head) {
            let length = length.parse().unwrap_or_else(|_| panic!("no length: {length:?}"));
            (response.content, rest) = rest.split_at_checked(length)?;
        }
        Some((response, rest))
    }

    /// Returns the value of a field that appears at most once.
    pub fn field(&self, name: &str) -> Option<&'b str> {
        let mut values = self.fields.iter().filter(|(other, _)| *other == name).map(|(_, value)| *value);
        let value = values.next();
        assert!(values.next().is_none(), "{name} is repeated: {:?}", self.fields);
        value
    }
}

/// Parses the fields and the empty line after them.
pub fn read_fields<'b>(rest: &mut &'b [u8]) -> Option<Vec<(&'b str, &'b str)>> {
    let mut fields = Vec::new();
    loop {
        let line = read_line(rest)?;
        if line.is_empty() {
            return Some(fields);
        }
        let (name, value) = line.split_once(": ").unwrap_or_else(|| panic!("no field: {line:?}"));
        assert!(name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') && !name.is_empty(), "{line:?}");
        assert!(!value.is_empty() && value.trim() == value, "{line:?}");
        fields.push((name, value));
    }
}

/// Reads a line of a head that ends in CRLF; returns none if it is incomplete.
fn read_line<'b>(rest: &mut &'b [u8]) -> Option<&'b str> {
    let end = rest.iter().position(|byte| byte.is_ascii_control())?;
    match rest[end..] {
        [b'\r', b'\n', ..] => {}
        [b'\r'] => return None,
        _ => panic!("a control byte in a head: {}", rest[..end + 1].escape_ascii()),
    }
    let line = str::from_utf8(&rest[..end]).expect("heads are text");
    *rest = &rest[end + 2..];
    Some(line)
}
