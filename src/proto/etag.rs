//! Entity tags and how they are compared (RFC 9110 §8.8.3).

use std::fmt;

/// The strong entity tag of a file as it is now. No tag of one form is one of the other: only the second has dashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ETag {
    /// The first bytes of a digest of the content: the same wherever the content lies, and whenever it was written.
    Content([u8; 16]),
    /// The length and the modification time to the nanosecond, from 1970.
    SizeAndTime {
        /// The length in bytes.
        len: u64,
        /// The seconds, negative before.
        secs: i64,
        /// The nanoseconds within the second.
        nanos: u32,
    },
    /// The same of a file, and a number for the coding that its content is in, so that no two representations share a tag.
    Coded {
        /// The length of the file in bytes.
        len: u64,
        /// The seconds of its modification.
        secs: i64,
        /// The nanoseconds within the second.
        nanos: u32,
        /// The number of the coding.
        coding: u8,
        /// Whether equal tags may stand for content that differs in its bytes, because nobody has compared it (RFC 9110
        /// §8.8.1).
        weak: bool,
    },
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
    /// Makes the tag of content with this digest: of its 256 bits, half.
    pub fn of_content(digest: &[u8; 32]) -> ETag {
        ETag::Content(std::array::from_fn(|at| digest[at]))
    }

    /// Reports whether the values of If-Match or If-None-Match hold this tag, or `*` alone.
    ///
    /// What follows a malformed element is not read: nothing can be said about it.
    pub fn is_in<'v>(&self, mut values: impl Iterator<Item = &'v [u8]>, comparison: Comparison) -> bool {
        let opaque = self.opaque();
        let is_comparable = |tag: Tag<'_>| comparison == Comparison::Weak || !(tag.weak || self.is_weak());
        let matches = |tag: Tag<'_>| tag.opaque == opaque.as_bytes() && is_comparable(tag);
        values.any(|value| value == b"*" || tags(value).any(matches))
    }

    /// Reports whether the value is exactly this tag by strong comparison, as If-Range asks (RFC 9110 §13.1.5).
    pub fn is_exactly(&self, value: &[u8]) -> bool {
        let opaque = value.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\""));
        opaque == Some(self.opaque().as_bytes()) && !self.is_weak()
    }

    fn is_weak(&self) -> bool {
        matches!(self, ETag::Coded { weak: true, .. })
    }

    /// The text between the quotes: all the digits of the content, or the numbers, in hexadecimal.
    fn opaque(&self) -> Opaque {
        let mut opaque = Opaque { bytes: [0; _], start: Opaque::MAX };
        if let ETag::Coded { coding, .. } = self {
            opaque.push_number((*coding).into());
            opaque.push_byte(b'-');
        }
        match self {
            ETag::Content(bytes) => bytes.iter().rev().for_each(|byte| opaque.push_digits(*byte)),
            ETag::SizeAndTime { len, secs, nanos } | ETag::Coded { len, secs, nanos, .. } => {
                opaque.push_number((*nanos).into());
                opaque.push_byte(b'-');
                opaque.push_number(secs.cast_unsigned());
                opaque.push_byte(b'-');
                opaque.push_number(*len);
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
    /// Two numbers of 64 bits, one of 32, one of 8, and three dashes, which is more than 16 bytes take.
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
        let weak = if self.is_weak() { "W/" } else { "" };
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
        let etag = ETag::SizeAndTime { len: 1, secs: 1, nanos: 1 };
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
        let etag = |len, secs, nanos| ETag::SizeAndTime { len, secs, nanos };
        assert_eq!(etag(255, 16, 10).to_string(), "\"ff-10-a\"");
        assert_ne!(etag(255, 16, 10), etag(255, 16, 11));
        assert_ne!(etag(255, 16, 10), etag(254, 16, 10));
        assert_eq!(etag(0, -1, 0).to_string(), "\"0-ffffffffffffffff-0\"");
    }

    #[test]
    fn a_weak_tag_is_never_the_same_by_strong_comparison() {
        let etag = |weak| ETag::Coded { len: 1, secs: 1, nanos: 1, coding: 2, weak };
        assert_eq!(etag(true).to_string(), r#"W/"1-1-1-2""#);
        for (value, is_same) in [(r#"W/"1-1-1-2""#, true), (r#""1-1-1-2""#, true), (r#""1-1-1""#, false), ("*", true)] {
            let is_in = |comparison| etag(true).is_in([value.as_bytes()].into_iter(), comparison);
            assert_eq!((is_in(Comparison::Strong), is_in(Comparison::Weak)), (value == "*", is_same), "{value}");
            assert!(!etag(true).is_exactly(value.as_bytes()), "{value}");
        }
        assert!(etag(false).is_exactly(b"\"1-1-1-2\""));
        let longest = ETag::Coded { len: !0, secs: -1, nanos: !0, coding: !0, weak: true };
        assert_eq!(longest.to_string().len(), 4 + 16 + 1 + 16 + 1 + 8 + 1 + 2);
    }

    #[test]
    fn a_tag_of_content_has_all_its_digits_and_no_dash() {
        let digest = std::array::from_fn(|at| (at % 16 * 0x11) as u8);
        let tag = ETag::of_content(&digest);
        assert_eq!(tag.to_string(), "\"00112233445566778899aabbccddeeff\"");
        assert!(tag.is_exactly(b"\"00112233445566778899aabbccddeeff\""));
        assert_eq!(ETag::of_content(&[0; 32]).to_string().len(), 2 + 32);
    }
}
