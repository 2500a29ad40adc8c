//! Escaping of characters that a terminal or a line reader would obey, and JSON (RFC 8259) without them. The only user of
//! serde_json.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::Serializer;
use serde_json::ser::Formatter;

/// Reports whether a character is a control, ends a line (U+2028, U+2029) or reorders the text around it (UAX #9).
pub fn is_unprintable(char: char) -> bool {
    let reorders_or_breaks =
        matches!(char, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    char.is_control() || reorders_or_breaks
}

/// Writes a value as JSON, without unprintable characters and with each element of an array on its own line.
pub fn json(out: &mut Vec<u8>, value: &impl Serialize) {
    value.serialize(&mut Serializer::with_formatter(out, Printable)).expect("strings and numbers are JSON");
}

struct Printable;

impl Formatter for Printable {
    fn write_string_fragment<W: ?Sized + Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        if fragment.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
            return writer.write_all(fragment.as_bytes());
        }
        fragment.chars().try_for_each(|char| match char {
            _ if is_unprintable(char) => write!(writer, "\\u{:04x}", u32::from(char)),
            _ => writer.write_all(char.encode_utf8(&mut [0; 4]).as_bytes()),
        })
    }

    fn begin_array_value<W: ?Sized + Write>(&mut self, writer: &mut W, is_first: bool) -> io::Result<()> {
        writer.write_all(if is_first { b"\n" } else { b",\n" })
    }

    fn end_array<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b"\n]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(value: impl Serialize) -> String {
        let mut out = Vec::new();
        json(&mut out, &value);
        String::from_utf8(out).expect("JSON is UTF-8")
    }

    #[test]
    fn json_escapes_control_characters() {
        assert_eq!(written("a\"\\\n\u{1b}\u{7f}\u{9b}é"), r#""a\"\\\n\u001b\u007f\u009bé""#);
    }

    #[test]
    fn json_escapes_line_and_bidi_characters() {
        let text = "a\u{2028}\u{2029}\u{202e}b\u{61c}\u{200f}\u{2069}\u{202f}c";
        assert_eq!(written(text), "\"a\\u2028\\u2029\\u202eb\\u061c\\u200f\\u2069\u{202f}c\"");
    }

    #[test]
    fn json_keeps_the_order_of_members_and_elements() {
        #[derive(Serialize)]
        struct Entry {
            b: u8,
            a: Option<u8>,
        }
        let entries = [Entry { b: 1, a: None }, Entry { b: 0, a: None }];
        assert_eq!(written(entries), "[\n{\"b\":1,\"a\":null},\n{\"b\":0,\"a\":null}\n]");
    }
}
