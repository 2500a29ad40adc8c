//! Entity tags and how they are compared (RFC 9110 §8.8.3).

use std::fmt;

/// The strong entity tag of a file as it is now: its length and its modification time to the nanosecond.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ETag {
    len: u64,
    secs: i64,
    nanos: u32,
}

/// How two tags are compared (RFC 9110 §8.8.3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// Neither is weak and the texts are the same.
    Strong,
    /// The texts are the same.
    Weak,
}

impl ETag {
    /// Makes the tag of a file of `len` bytes that was modified at so many seconds and nanoseconds from 1970.
    pub fn new(len: u64, secs: i64, nanos: u32) -> ETag {
        ETag { len, secs, nanos }
    }

    /// Reports whether the values of If-Match or If-None-Match hold this tag, or `*` alone.
    ///
    /// What follows a malformed element is not read: nothing can be said about it.
    pub fn is_in<'v>(&self, mut values: impl Iterator<Item = &'v [u8]>, comparison: Comparison) -> bool {
        let opaque = self.opaque();
        let matches = |tag: Tag<'_>| tag.opaque == opaque.as_bytes() && (comparison == Comparison::Weak || !tag.weak);
        values.any(|value| value == b"*" || tags(value).any(matches))
    }

    /// Reports whether the value is exactly this tag by strong comparison, as If-Range asks (RFC 9110 §13.1.5).
    pub fn is_exactly(&self, value: &[u8]) -> bool {
        let opaque = value.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\""));
        opaque == Some(self.opaque().as_bytes())
    }

    /// The text between the quotes: the three numbers in hexadecimal.
    fn opaque(&self) -> Opaque {
        let mut opaque = Opaque { bytes: [0; _], start: Opaque::MAX };
        opaque.push_number(self.nanos.into());
        opaque.push_byte(b'-');
        opaque.push_number(self.secs.cast_unsigned());
        opaque.push_byte(b'-');
        opaque.push_number(self.len);
        opaque
    }
}

/// The text of a tag, written from its end to its beginning. That way comparing it costs a third of what it costs by
/// way of formatting.
struct Opaque {
    bytes: [u8; Opaque::MAX],
    start: usize,
}

impl Opaque {
    /// Two numbers of 64 bits, one of 32, and two dashes.
    const MAX: usize = 16 + 1 + 16 + 1 + 8;

    fn push_byte(&mut self, byte: u8) {
        self.start -= 1;
        self.bytes[self.start] = byte;
    }

    fn push_number(&mut self, mut number: u64) {
        loop {
            self.push_byte(b"0123456789abcdef"[(number % 16) as usize]);
            number /= 16;
            if number == 0 {
                return;
            }
        }
    }

    fn as_bytes(&self) -> &[u8] {
        &self.bytes[self.start..]
    }
}

impl fmt::Display for ETag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.opaque().as_bytes().escape_ascii())
    }
}

/// A tag that a client sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Tag<'v> {
    weak: bool,
    opaque: &'v [u8],
}

/// Takes a list of tags apart, up to its first malformed element. A comma may stand inside a tag.
fn tags(mut rest: &[u8]) -> impl Iterator<Item = Tag<'_>> {
    std::iter::from_fn(move || {
        while let [b' ' | b'\t' | b',', after @ ..] = rest {
            rest = after;
        }
        let (weak, quoted) = match rest {
            [b'W', b'/', b'"', quoted @ ..] => (true, quoted),
            [b'"', quoted @ ..] => (false, quoted),
            _ => return None,
        };
        let end = quoted.iter().position(|&byte| !is_etagc(byte))?;
        let after = quoted[end..].strip_prefix(b"\"")?;
        rest = after;
        matches!(after, [] | [b' ' | b'\t' | b',', ..]).then_some(Tag { weak, opaque: &quoted[..end] })
    })
}

fn is_etagc(byte: u8) -> bool {
    byte == 0x21 || (0x23..=0x7e).contains(&byte) || byte >= 0x80
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_tags_is_taken_apart() {
        let tag = |weak, opaque| Tag { weak, opaque };
        for (value, expected) in [
            (&br#""a""#[..], vec![tag(false, &b"a"[..])]),
            (br#"W/"a" , "b,c",,"" "#, vec![tag(true, b"a"), tag(false, b"b,c"), tag(false, b"")]),
            (br#""a" x "b""#, vec![tag(false, b"a")]),
            (br#""a"b"#, vec![]),
            (br#"w/"a""#, vec![]),
            (br#"a"#, vec![]),
            (br#""a"#, vec![]),
            (b"\"a b\"", vec![]),
            (b"", vec![]),
        ] {
            assert_eq!(tags(value).collect::<Vec<_>>(), expected, "{}", value.escape_ascii());
        }
    }

    #[test]
    fn the_table_of_rfc_9110_8_8_3_2_holds() {
        let etag = ETag::new(1, 1, 1);
        for (value, strong, weak) in [
            (r#"W/"1-1-1""#, false, true),
            (r#"W/"2-1-1""#, false, false),
            (r#""1-1-1""#, true, true),
            ("*", true, true),
        ] {
            let is_in = |comparison| etag.is_in([value.as_bytes()].into_iter(), comparison);
            assert_eq!((is_in(Comparison::Strong), is_in(Comparison::Weak)), (strong, weak), "{value}");
        }
    }

    #[test]
    fn a_tag_tells_files_apart_by_length_and_nanosecond() {
        let etag = ETag::new(255, 16, 10);
        assert_eq!(etag.to_string(), "\"ff-10-a\"");
        assert_ne!(etag, ETag::new(255, 16, 11));
        assert_ne!(etag, ETag::new(254, 16, 10));
        assert_eq!(ETag::new(0, -1, 0).to_string(), "\"0-ffffffffffffffff-0\"");
    }
}
