//! Repr-Digest and Want-Repr-Digest (RFC 9530 §3, §4).
//!
//! The fields are dictionaries of RFC 8941 §3.2. Only members that the algorithms' preferences allow are parsed; anything
//! else voids the field, which may be ignored (RFC 9530 §4).

use super::request::Fields;
use super::syntax::{decimal_saturating, trim_ows};

/// Reports whether the client requests the SHA-256, the only algorithm offered (RFC 9530 §5). Preference 0 declines it, the last of several
/// preferences counts, and a malformed member voids the field (RFC 8941 §4.2).
pub fn is_requested(fields: &Fields<'_>) -> bool {
    let mut preference = 0;
    for member in fields.all("Want-Repr-Digest").flat_map(|value| value.split(|&byte| byte == b',')) {
        let Some((algorithm, preferred)) = parse_member(trim_ows(member)) else { return false };
        if algorithm == b"sha-256" {
            preference = preferred;
        }
    }
    preference > 0
}

/// Writes the value of Repr-Digest, with the digest as a byte sequence (RFC 8941 §4.1.8).
pub fn value(sha_256: &[u8; 32]) -> String {
    format!("sha-256=:{}:", base64(sha_256))
}

/// Parses an algorithm and a preference: an integer from 0 to 10 (RFC 9530 §4) of at most 15 digits (RFC 8941 §3.3.1).
fn parse_member(member: &[u8]) -> Option<(&[u8], u64)> {
    let equals = member.iter().position(|&byte| byte == b'=')?;
    let (key, integer) = (&member[..equals], &member[equals + 1..]);
    let preference = decimal_saturating(integer)?;
    (is_key(key) && preference <= 10 && integer.len() <= 15).then_some((key, preference))
}

/// `( lcalpha / "*" ) *( lcalpha / DIGIT / "_" / "-" / "." / "*" )` (RFC 8941 §3.1.2)
fn is_key(key: &[u8]) -> bool {
    let is_first = |byte: u8| byte.is_ascii_lowercase() || byte == b'*';
    let is_other = |byte: u8| is_first(byte) || byte.is_ascii_digit() || b"_-.".contains(&byte);
    key.first().is_some_and(|&byte| is_first(byte)) && key.iter().all(|&byte| is_other(byte))
}

/// Encodes bytes with padding (RFC 4648 §4).
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let quad = |group: &[u8]| {
        let byte = |at: usize| group.get(at).map_or(0, |&byte| u32::from(byte));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        let digit = |at: usize| char::from(DIGITS[(bits >> (18 - 6 * at) & 63) as usize]);
        std::array::from_fn::<_, 4, _>(|at| if at > group.len() { '=' } else { digit(at) })
    };
    bytes.chunks(3).flat_map(quad).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::request::Head;

    #[test]
    fn digest_is_requested_by_a_valid_preference() {
        for (lines, expected) in [
            ("X: y", false),
            // The examples of RFC 9530 §4.
            ("Want-Repr-Digest: sha-256=1", true),
            ("Want-Repr-Digest: sha-512=3, sha-256=10, unixsum=0", true),
            ("want-repr-digest: sha-256=10", true),
            ("Want-Repr-Digest: sha-256=010", true),
            ("Want-Repr-Digest: \tsha-256=5\t,\tmd5=1 ", true),
            ("Want-Repr-Digest: sha-512=3\r\nWant-Repr-Digest: sha-256=1", true),
            ("Want-Repr-Digest: sha-256=0, sha-256=1", true),
            ("Want-Repr-Digest: sha-256=1, sha-256=0", false),
            ("Want-Repr-Digest: sha-256=1\r\nWant-Repr-Digest: sha-256=0", false),
            ("Want-Repr-Digest: sha-256=0", false),
            ("Want-Repr-Digest: sha-256=000000000000000", false),
            ("Want-Repr-Digest: sha-512=10", false),
            ("Want-Content-Digest: sha-256=10", false),
            // Malformed members.
            ("Want-Repr-Digest:", false),
            ("Want-Repr-Digest: sha-256", false),
            ("Want-Repr-Digest: sha-256=", false),
            ("Want-Repr-Digest: sha-256=11", false),
            ("Want-Repr-Digest: sha-256=266", false),
            ("Want-Repr-Digest: sha-256=0000000000000001", false),
            ("Want-Repr-Digest: sha-256=-1", false),
            ("Want-Repr-Digest: sha-256=+1", false),
            ("Want-Repr-Digest: sha-256=1.0", false),
            ("Want-Repr-Digest: sha-256=a", false),
            ("Want-Repr-Digest: sha-256=?1", false),
            ("Want-Repr-Digest: sha-256=(1)", false),
            ("Want-Repr-Digest: sha-256 = 1", false),
            ("Want-Repr-Digest: sha-256= 1", false),
            ("Want-Repr-Digest: SHA-256=1", false),
            ("Want-Repr-Digest: sha-256=1,", false),
            ("Want-Repr-Digest: ,sha-256=1", false),
            ("Want-Repr-Digest: sha-256=1, \"sha-512\"=1", false),
            ("Want-Repr-Digest: sha-256=1, 2=3", false),
            ("Want-Repr-Digest: sha-256=1\r\nWant-Repr-Digest: x", false),
            ("Want-Repr-Digest: sha-256=1;q=1", false),
        ] {
            let bytes = format!("GET / HTTP/1.1\r\n{lines}\r\n\r\n");
            let head = Head::parse(bytes.as_bytes()).expect("valid");
            assert_eq!(is_requested(&head.fields), expected, "{lines:?}");
        }
    }

    /// The test vectors of RFC 4648 §10, and the digits `+` and `/`.
    #[test]
    fn base64_matches_the_vectors_of_rfc_4648() {
        for (bytes, expected) in [
            (&b""[..], ""),
            (b"f", "Zg=="),
            (b"fo", "Zm8="),
            (b"foo", "Zm9v"),
            (b"foob", "Zm9vYg=="),
            (b"fooba", "Zm9vYmE="),
            (b"foobar", "Zm9vYmFy"),
            (b"\xfb\xff\xfe", "+//+"),
        ] {
            assert_eq!(base64(bytes), expected);
        }
        assert_eq!(value(&[0; 32]), format!("sha-256=:{}=:", "A".repeat(43)));
    }
}
