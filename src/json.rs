//! Writes JSON values (RFC 8259), for listings and the access log. The only user of serde_json, which escapes the
//! strings; the rest of the grammar is too small to borrow, and this way an object's members stay in order.

use std::fmt::{self, Display};

/// A JSON value, written out.
#[derive(Clone, Debug)]
pub struct Json(String);

/// Writes a string.
pub fn text(text: &str) -> Json {
    // Writing a string to memory has no way to fail.
    let written = serde_json::to_string(text).unwrap_or_default();
    if !written.contains(char::is_control) {
        return Json(written);
    }
    // What is left are those that JSON allows and a terminal obeys, such as U+009B.
    let visible = |char: char| if char.is_control() { format!("\\u{:04x}", u32::from(char)) } else { char.to_string() };
    Json(written.chars().map(visible).collect())
}

/// Writes a number.
pub fn number(number: u64) -> Json {
    Json(number.to_string())
}

/// Writes the absence of a value.
pub fn null() -> Json {
    Json("null".to_owned())
}

/// Writes an array, one element a line.
pub fn array(elements: impl Iterator<Item = Json>) -> Json {
    let elements: Vec<_> = elements.map(|element| element.0).collect();
    Json(format!("[\n{}\n]", elements.join(",\n")))
}

/// Writes an object with these members, in this order.
pub fn object(members: &[(&str, Json)]) -> Json {
    let members: Vec<_> = members.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
    Json(format!("{{{}}}", members.join(",")))
}

impl Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_control_character_is_left_in_a_string() {
        let written = text("a\"\\\n\u{1b}\u{7f}\u{9b}é").to_string();
        assert_eq!(written, r#""a\"\\\n\u001b\u007f\u009bé""#);
    }

    #[test]
    fn members_stay_in_order() {
        let object = object(&[("b", number(1)), ("a", array([null(), text("x")].into_iter()))]);
        assert_eq!(object.to_string(), "{\"b\":1,\"a\":[\nnull,\n\"x\"\n]}");
    }
}
