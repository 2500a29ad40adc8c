//! Writes JSON values (RFC 8259), for listings and the access log. The only user of serde_json, which escapes the
//! strings; the rest of the grammar is too small to borrow, and this way an object's members stay in order.

use std::borrow::Cow;
use std::io::Write;

use serde::Serialize;

/// A member's value.
#[derive(Clone, Debug)]
pub enum Value<'v> {
    /// The absence of a value.
    Null,
    /// A number.
    Number(u64),
    /// A string.
    Text(Cow<'v, str>),
}

const IN_MEMORY: &str = "memory can always be written to";

/// Writes an object with these members, in this order.
pub fn object(out: &mut Vec<u8>, members: &[(&str, Value<'_>)]) {
    let mut before = b'{';
    for (name, value) in members {
        out.push(before);
        before = b',';
        out.push(b'"');
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b"\":");
        match value {
            Value::Null => out.extend_from_slice(b"null"),
            Value::Number(number) => write!(out, "{number}").expect(IN_MEMORY),
            Value::Text(value) => text(out, value),
        }
    }
    out.push(b'}');
}

/// Writes a string. Characters that JSON allows and a terminal or a reader of lines obeys, such as U+009B, are escaped too.
fn text(out: &mut Vec<u8>, text: &str) {
    let start = out.len();
    serde_json::to_writer(&mut *out, text).expect(IN_MEMORY);
    if out[start..].iter().all(|byte| (b' '..=b'~').contains(byte)) {
        return;
    }
    let written = out.split_off(start);
    for char in String::from_utf8_lossy(&written).chars() {
        if char.is_control() || turns_or_breaks(char) {
            write!(out, "\\u{:04x}", u32::from(char)).expect(IN_MEMORY);
        } else {
            out.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
        }
    }
}

/// Writes a value on one line. The same characters are escaped: they can only be within strings.
pub fn to_line(value: &impl Serialize) -> Vec<u8> {
    let json = serde_json::to_string(value).expect(IN_MEMORY);
    let mut line = String::with_capacity(json.len() + 1);
    for char in json.chars() {
        if char.is_control() || turns_or_breaks(char) {
            line += &format!("\\u{:04x}", u32::from(char));
        } else {
            line.push(char);
        }
    }
    line.push('\n');
    line.into_bytes()
}

/// Reports whether the character ends a line, or turns the text around it, though Unicode does not call it a control: the
/// separators of lines and paragraphs, and the formatting of text in two directions (UAX #9).
fn turns_or_breaks(char: char) -> bool {
    matches!(char, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(value: Value<'_>) -> String {
        let mut out = Vec::new();
        object(&mut out, &[("a", value)]);
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn no_control_character_is_left_in_a_string() {
        let text = "a\"\\\n\u{1b}\u{7f}\u{9b}é";
        assert_eq!(written(Value::Text(text.into())), r#"{"a":"a\"\\\n\u001b\u007f\u009bé"}"#);
    }

    #[test]
    fn no_character_is_left_in_a_string_that_ends_a_line_or_turns_it_around() {
        let text = "a\u{2028}\u{2029}\u{202e}b\u{61c}\u{200f}\u{2069}\u{202f}c";
        let expected = "{\"a\":\"a\\u2028\\u2029\\u202eb\\u061c\\u200f\\u2069\u{202f}c\"}";
        assert_eq!(written(Value::Text(text.into())), expected);
    }

    #[test]
    fn members_stay_in_order() {
        let mut out = Vec::new();
        object(&mut out, &[("b", Value::Number(1)), ("a", Value::Null)]);
        assert_eq!(out, b"{\"b\":1,\"a\":null}");
        assert_eq!(to_line(&["\u{9b}\u{202e}"]), b"[\"\\u009b\\u202e\"]\n");
    }
}
