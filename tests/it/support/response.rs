//! One answer as it came over the wire, and what tests say about it.

/// A parsed response. Every assertion that fails prints the whole exchange.
pub struct Response {
    /// The status code; 0 for an HTTP/0.9 response, which has none.
    pub status: u16,
    /// The status line without its line end.
    pub status_line: String,
    /// The fields in the order they came.
    pub fields: Vec<(String, String)>,
    /// The content.
    pub body: Vec<u8>,
    /// The bytes sent and received so far, for messages.
    pub exchange: String,
}

impl Response {
    /// Asserts the status code.
    #[track_caller]
    pub fn status(self, code: u16) -> Response {
        assert_eq!(self.status, code, "wrong status\n{}", self.exchange);
        self
    }

    /// Asserts the content, byte for byte.
    #[track_caller]
    pub fn body(self, expected: impl AsRef<[u8]>) -> Response {
        let same = self.body == expected.as_ref();
        assert!(same, "wrong body, expected {:?}\n{}", show(expected.as_ref()), self.exchange);
        self
    }

    /// Asserts that the content, as text, contains `part`.
    #[track_caller]
    pub fn says(self, part: &str) -> Response {
        assert!(self.text().contains(part), "the body does not say {part:?}\n{}", self.exchange);
        self
    }

    /// Asserts that the content, as text, does not contain `part`.
    #[track_caller]
    pub fn never_says(self, part: &str) -> Response {
        assert!(!self.text().contains(part), "the body says {part:?}\n{}", self.exchange);
        self
    }

    /// Asserts that the field is there exactly once with this value.
    #[track_caller]
    pub fn has(self, name: &str, value: &str) -> Response {
        assert_eq!(self.all(name), [value], "wrong {name}\n{}", self.exchange);
        self
    }

    /// Asserts that the field is not there.
    #[track_caller]
    pub fn lacks(self, name: &str) -> Response {
        assert!(self.all(name).is_empty(), "{name} is not wanted\n{}", self.exchange);
        self
    }

    /// Returns the field's only value.
    #[track_caller]
    pub fn field(&self, name: &str) -> &str {
        let values = self.all(name);
        assert_eq!(values.len(), 1, "{name} is wanted exactly once\n{}", self.exchange);
        values[0]
    }

    /// Returns every value of the field.
    pub fn all(&self, name: &str) -> Vec<&str> {
        let same = self.fields.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name));
        same.map(|(_, v)| v.as_str()).collect()
    }

    /// Returns the content as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Formats bytes for reading, with a limit on their length.
pub fn show(bytes: &[u8]) -> String {
    const MOST: usize = 4000;
    let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(MOST)]).replace("\r\n", "\\r\\n\n");
    if bytes.len() > MOST { format!("{shown}… ({} bytes)", bytes.len()) } else { shown }
}
