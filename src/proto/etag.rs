//! Entity tags and how they are compared (RFC 9110 §8.8.3).

use std::fmt;

/// The entity tag of a representation of a file as it is now. By the number of their dashes no tag of one form is one of
/// another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ETag {
    of: Of,
    /// A number for the coding that the content is in, so that no two representations share a tag.
    coding: Option<u8>,
    is_weak: bool,
}

/// What a tag is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Of {
    /// The first bytes of a digest of the content: the same wherever the content lies, and whenever it was written.
    Content([u8; 16]),
    /// The length in bytes and the modification time: the seconds from 1970, negative before, and the nanoseconds.
    SizeAndTime(u64, i64, u32),
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
    /// Makes the strong tag of content with this digest: of its 256 bits, half.
    pub fn of_content(digest: &[u8; 32]) -> ETag {
        ETag { of: Of::Content(std::array::from_fn(|at| digest[at])), coding: None, is_weak: false }
    }

    /// Makes the strong tag of a file by its length in bytes and the time of its modification, from 1970.
    pub fn of_size_and_time(len: u64, secs: i64, nanos: u32) -> ETag {
        ETag { of: Of::SizeAndTime(len, secs, nanos), coding: None, is_weak: false }
    }

    /// Makes the tag of the same in the coding of this number.
    pub fn coded(self, coding: u8) -> ETag {
        ETag { coding: Some(coding), ..self }
    }

    /// Makes it weak: equal tags may stand for content that differs in its bytes, because nobody has compared it (RFC 9110
    /// §8.8.1).
    pub fn weak(self) -> ETag {
        ETag { is_weak: true, ..self }
    }

    /// Reports whether the values of If-Match or If-None-Match hold this tag, or `*` alone.
    ///
    /// What follows a malformed element is not read: nothing can be said about it.
    pub fn is_in<'v>(&self, mut values: impl Iterator<Item = &'v [u8]>, comparison: Comparison) -> bool {
        let opaque = self.opaque();
        let is_comparable = |tag: Tag<'_>| comparison == Comparison::Weak || !(tag.weak || self.is_weak);
        let matches = |tag: Tag<'_>| tag.opaque == opaque.as_bytes() && is_comparable(tag);
        values.any(|value| value == b"*" || tags(value).any(matches))
    }

    /// Reports whether the value is exactly this tag by strong comparison, as If-Range asks (RFC 9110 §13.1.5).
    pub fn is_exactly(&self, value: &[u8]) -> bool {
        let opaque = value.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\""));
        opaque == Some(self.opaque().as_bytes()) && !self.is_weak
    }

    /// The text between the quotes: all the digits of the content, or the numbers, in hexadecimal.
    fn opaque(&self) -> Opaque {
        let mut opaque = Opaque { bytes: [0; _], start: Opaque::MAX };
        if let Some(coding) = self.coding {
            opaque.push_number(coding.into());
            opaque.push_byte(b'-');
        }
        match self.of {
            Of::Content(bytes) => bytes.iter().rev().for_each(|byte| opaque.push_digits(*byte)),
            Of::SizeAndTime(len, secs, nanos) => {
                opaque.push_number(nanos.into());
                opaque.push_byte(b'-');
                opaque.push_number(secs.cast_unsigned());
                opaque.push_byte(b'-');
                opaque.push_number(len);
            }
        }
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
    /// Two numbers of 64 bits, one of 32, one of 8, and three dashes, which is more than 16 bytes and a coding take.
    const MAX: usize = 16 + 1 + 16 + 1 + 8 + 1 + 2;

    const DIGITS: &[u8; 16] = b"0123456789abcdef";

    fn push_byte(&mut self, byte: u8) {
        self.start -= 1;
        self.bytes[self.start] = byte;
    }

    fn push_number(&mut self, mut number: u64) {
        loop {
            self.push_byte(Opaque::DIGITS[(number % 16) as usize]);
            number /= 16;
            if number == 0 {
                return;
            }
        }
    }

    fn push_digits(&mut self, byte: u8) {
        self.push_byte(Opaque::DIGITS[usize::from(byte % 16)]);
        self.push_byte(Opaque::DIGITS[usize::from(byte / 16)]);
    }

    fn as_bytes(&self) -> &[u8] {
        &self.bytes[self.start..]
    }
}

impl fmt::Display for ETag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let weak = if self.is_weak { "W/" } else { "" };
        write!(f, "{weak}\"{}\"", self.opaque().as_bytes().escape_ascii())
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
        let etag = ETag::of_size_and_time(1, 1, 1);
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
        let etag = ETag::of_size_and_time;
        assert_eq!(etag(255, 16, 10).to_string(), "\"ff-10-a\"");
        assert_ne!(etag(255, 16, 10), etag(255, 16, 11));
        assert_ne!(etag(255, 16, 10), etag(254, 16, 10));
        assert_eq!(etag(0, -1, 0).to_string(), "\"0-ffffffffffffffff-0\"");
    }

    #[test]
    fn a_weak_tag_is_never_the_same_by_strong_comparison() {
        let strong = ETag::of_size_and_time(1, 1, 1).coded(2);
        let etag = |weak: bool| if weak { strong.weak() } else { strong };
        assert_eq!(etag(true).to_string(), r#"W/"1-1-1-2""#);
        for (value, is_same) in [(r#"W/"1-1-1-2""#, true), (r#""1-1-1-2""#, true), (r#""1-1-1""#, false), ("*", true)] {
            let is_in = |comparison| etag(true).is_in([value.as_bytes()].into_iter(), comparison);
            assert_eq!((is_in(Comparison::Strong), is_in(Comparison::Weak)), (value == "*", is_same), "{value}");
            assert!(!etag(true).is_exactly(value.as_bytes()), "{value}");
        }
        assert!(etag(false).is_exactly(b"\"1-1-1-2\""));
        let longest = ETag::of_size_and_time(!0, -1, !0).coded(!0).weak();
        assert_eq!(longest.to_string().len(), 4 + 16 + 1 + 16 + 1 + 8 + 1 + 2);
    }

    #[test]
    fn a_tag_of_content_has_all_its_digits_and_no_dash() {
        let digest = std::array::from_fn(|at| (at % 16 * 0x11) as u8);
        let tag = ETag::of_content(&digest);
        assert_eq!(tag.to_string(), "\"00112233445566778899aabbccddeeff\"");
        assert!(tag.is_exactly(b"\"00112233445566778899aabbccddeeff\""));
        assert_eq!(ETag::of_content(&[0; 32]).to_string().len(), 2 + 32);
        assert_eq!(tag.coded(2).weak().to_string(), "W/\"00112233445566778899aabbccddeeff-2\"");
    }
}
