//! Entity tags: their form and comparison (RFC 9110 §8.8.3). `site::represent` makes them of a file's fingerprint.

use std::{fmt, iter};

/// The entity tag of a representation. Tags of different forms differ in their number of dashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ETag {
    /// The identity of the file's content.
    pub fingerprint: Fingerprint,
    /// The name of the content coding, so that no two representations share a tag.
    pub coding: Option<&'static str>,
    /// Whether equal tags may stand for different bytes, which were not compared (RFC 9110 §8.8.1).
    pub is_weak: bool,
}

/// Identifies the content of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fingerprint {
    /// The SHA-256, the same for the same content anywhere; half of its bits make the tag.
    Content([u8; 32]),
    /// Numbers that tell the versions of a file too long to hash apart, on one machine.
    Metadata([u64; 6]),
}

/// Comparison of two tags (RFC 9110 §8.8.3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// Neither is weak and the texts are the same.
    Strong,
    /// The texts are the same.
    Weak,
}

impl ETag {
    /// Reports whether the values of If-Match or If-None-Match hold this tag before a malformed element, or `*` alone.
    pub fn is_in<'v>(&self, mut values: impl Iterator<Item = &'v [u8]>, comparison: Comparison) -> bool {
        let opaque = self.opaque();
        let is_comparable = |tag: Tag<'_>| comparison == Comparison::Weak || !(tag.weak || self.is_weak);
        let matches = |tag: Tag<'_>| tag.opaque == opaque && is_comparable(tag);
        values.any(|value| value == b"*" || tags(value).any(matches))
    }

    /// Reports whether the value is this tag by strong comparison, for If-Range (RFC 9110 §13.1.5).
    pub fn is_exactly(&self, value: &[u8]) -> bool {
        !self.is_weak && value == self.to_string().as_bytes()
    }

    /// Returns the text between the quotes: hexadecimal digits, and the coding.
    fn opaque(&self) -> Vec<u8> {
        let digit = |value: u8| b"0123456789abcdef"[usize::from(value)];
        let mut opaque = match self.fingerprint {
            // measured: a quarter of the time of `format!`
            Fingerprint::Content(sha) => sha[..16].iter().flat_map(|byte| [byte >> 4, byte & 15]).map(digit).collect(),
            Fingerprint::Metadata(numbers) => numbers.map(|number| format!("{number:x}")).join("-").into_bytes(),
        };
        if let Some(coding) = self.coding {
            opaque.push(b'-');
            opaque.extend_from_slice(coding.as_bytes());
        }
        opaque
    }
}

/// Reports whether a client's strong tag, such as `"1f-br"`, is one of a representation in this coding.
pub fn names_coding(value: &[u8], coding: &str) -> bool {
    let rest = value.strip_suffix(b"\"").and_then(|rest| rest.strip_suffix(coding.as_bytes()));
    value.starts_with(b"\"") && rest.is_some_and(|rest| rest.ends_with(b"-"))
}

impl fmt::Display for ETag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let weak = if self.is_weak { "W/" } else { "" };
        write!(f, "{weak}\"{}\"", self.opaque().escape_ascii())
    }
}

/// A tag that a client sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Tag<'v> {
    weak: bool,
    opaque: &'v [u8],
}

/// Parses a list of tags up to its first malformed element. A tag may hold a comma.
fn tags(mut rest: &[u8]) -> impl Iterator<Item = Tag<'_>> {
    let is_etagc = |byte: u8| matches!(byte, 0x21 | 0x23..=0x7e | 0x80..);
    iter::from_fn(move || {
        while let [b' ' | b'\t' | b',', after @ ..] = rest {
            rest = after;
        }
        let (weak, quoted) = match rest {
            [b'W', b'/', b'"', quoted @ ..] => (true, quoted),
            [b'"', quoted @ ..] => (false, quoted),
            _ => return None,
        };
        let end = quoted.iter().position(|&byte| !is_etagc(byte))?;
        rest = quoted[end..].strip_prefix(b"\"")?;
        matches!(rest, [] | [b' ' | b'\t' | b',', ..]).then_some(Tag { weak, opaque: &quoted[..end] })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn list_of_tags_is_parsed() {
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

    fn strong(fingerprint: Fingerprint) -> ETag {
        ETag { fingerprint, coding: None, is_weak: false }
    }

    const METADATA: Fingerprint = Fingerprint::Metadata([1, 2, 3, 4, 5, 6]);

    #[test]
    fn comparisons_are_those_of_rfc_9110() {
        let etag = strong(METADATA);
        for (value, strong, weak) in [
            (r#"W/"1-2-3-4-5-6""#, false, true),
            (r#"W/"2-2-3-4-5-6""#, false, false),
            (r#""1-2-3-4-5-6""#, true, true),
            ("*", true, true),
        ] {
            let is_in = |comparison| etag.is_in([value.as_bytes()].into_iter(), comparison);
            assert_eq!((is_in(Comparison::Strong), is_in(Comparison::Weak)), (strong, weak), "{value}");
        }
    }

    #[test]
    fn metadata_tag_holds_every_number() {
        assert_eq!(strong(Fingerprint::Metadata([255, 16, 10, 0, 1, 2])).to_string(), "\"ff-10-a-0-1-2\"");
        let longest = ETag { fingerprint: Fingerprint::Metadata([!0; 6]), coding: Some("zstd"), is_weak: true };
        assert_eq!(longest.to_string().len(), 4 + 6 * 16 + 5 + 5);
    }

    #[test]
    fn weak_tag_never_matches_strongly() {
        let strong = ETag { coding: Some("br"), ..strong(METADATA) };
        let weak = ETag { is_weak: true, ..strong };
        assert_eq!(weak.to_string(), r#"W/"1-2-3-4-5-6-br""#);
        for (value, is_same) in
            [(r#"W/"1-2-3-4-5-6-br""#, true), (r#""1-2-3-4-5-6-br""#, true), (r#""1-2-3-4-5-6""#, false), ("*", true)]
        {
            let is_in = |comparison| weak.is_in([value.as_bytes()].into_iter(), comparison);
            assert_eq!((is_in(Comparison::Strong), is_in(Comparison::Weak)), (value == "*", is_same), "{value}");
            assert!(!weak.is_exactly(value.as_bytes()), "{value}");
        }
        assert!(strong.is_exactly(b"\"1-2-3-4-5-6-br\""));
    }

    #[test]
    fn content_tag_has_all_digits_and_the_codings_name() {
        let digest = std::array::from_fn(|at| (at % 16 * 0x11) as u8);
        let tag = strong(Fingerprint::Content(digest));
        assert_eq!(tag.to_string(), "\"00112233445566778899aabbccddeeff\"");
        assert!(tag.is_exactly(b"\"00112233445566778899aabbccddeeff\""));
        assert_eq!(strong(Fingerprint::Content([0; 32])).to_string().len(), 2 + 32);
        let coded = ETag { coding: Some("gzip"), is_weak: true, ..tag };
        assert_eq!(coded.to_string(), "W/\"00112233445566778899aabbccddeeff-gzip\"");
    }

    #[test]
    fn coding_is_read_from_the_end_of_a_strong_tag() {
        for (value, expected) in [
            ("\"1f-br\"", true),
            ("\"-br\"", true),
            ("\"1f-gzip\"", false),
            ("\"1f\"", false),
            ("\"1fbr\"", false),
            ("W/\"1f-br\"", false),
            ("1f-br\"", false),
            ("\"1f-br", false),
            ("", false),
        ] {
            assert_eq!(names_coding(value.as_bytes(), "br"), expected, "{value}");
        }
    }
}
