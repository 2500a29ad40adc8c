//! What the client would rather have (RFC 9110 §12.4.2, §12.5.1).

use super::request::Fields;
use super::syntax::{list, trim_ows};

/// A weight in thousandths: 0 is "not acceptable", 1000 the most (RFC 9110 §12.4.2).
pub type Weight = u16;

/// Returns the weight of a media type such as `text/html` in the Accept fields; where there are none, anything goes.
///
/// The most specific media range that matches decides. Parameters other than the weight are not looked at: no
/// representation here differs by them.
pub fn media_weight(fields: &Fields<'_>, media_type: &str) -> Weight {
    if fields.all("Accept").next().is_none() {
        return 1000;
    }
    let ranges = fields.all("Accept").flat_map(list).filter_map(|element| weighted(element));
    let matching = ranges.filter_map(|(range, weight)| Some((specificity(range, media_type.as_bytes())?, weight)));
    matching.max_by_key(|&(specificity, _)| specificity).map_or(0, |(_, weight)| weight)
}

/// Splits an element into its range and its weight; none where the weight is malformed.
fn weighted(element: &[u8]) -> Option<(&[u8], Weight)> {
    let mut parts = element.split(|&byte| byte == b';').map(trim_ows);
    let range = parts.next()?;
    let q = parts.find_map(|part| part.strip_prefix(b"q=").or(part.strip_prefix(b"Q=")));
    Some((range, q.map_or(Some(1000), qvalue)?))
}

/// `( "0" [ "." 0*3DIGIT ] ) / ( "1" [ "." 0*3("0") ] )`
fn qvalue(text: &[u8]) -> Option<Weight> {
    let (&whole, fraction) = text.split_first()?;
    let fraction = match fraction {
        [] => fraction,
        [b'.', digits @ ..] if digits.len() <= 3 && digits.iter().all(u8::is_ascii_digit) => digits,
        _ => return None,
    };
    let digit = |at: usize| fraction.get(at).map_or(0, |byte| Weight::from(byte - b'0'));
    let thousandths = digit(0) * 100 + digit(1) * 10 + digit(2);
    match whole {
        b'0' => Some(thousandths),
        b'1' if thousandths == 0 => Some(1000),
        _ => None,
    }
}

/// How exactly a media range names the type: 2 the type itself, 1 `type/*`, 0 `*/*`; none where it does not match.
fn specificity(range: &[u8], media_type: &[u8]) -> Option<u8> {
    if range.eq_ignore_ascii_case(media_type) {
        return Some(2);
    }
    let prefix = range.strip_suffix(b"*")?;
    let starts_so = media_type.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix));
    match prefix {
        b"*/" => Some(0),
        _ if prefix.ends_with(b"/") && starts_so => Some(1),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::request::Head;

    fn weight(accept: &str, media_type: &str) -> Weight {
        let bytes = format!("GET / HTTP/1.1\r\n{accept}\r\n\r\n");
        media_weight(&Head::parse(bytes.as_bytes()).expect("valid").fields, media_type)
    }

    #[test]
    fn the_most_specific_range_decides() {
        for (accept, media_type, expected) in [
            ("X: y", "text/html", 1000),
            ("Accept: */*", "text/html", 1000),
            ("Accept: text/*;q=0.3, text/html;q=0.7, */*;q=0.5", "text/html", 700),
            ("Accept: text/*;q=0.3, text/html;q=0.7, */*;q=0.5", "text/plain", 300),
            ("Accept: text/*;q=0.3, text/html;q=0.7, */*;q=0.5", "image/jpeg", 500),
            ("Accept: application/json", "text/html", 0),
            ("Accept: TEXT/HTML ; Q=0.25", "text/html", 250),
            ("Accept: text/html;level=1;q=0.5", "text/html", 500),
            ("Accept: text/html;q=0", "text/html", 0),
            ("Accept: text/html;q=0.1234, */*;q=0.1", "text/html", 100),
            ("Accept: text/html;q=1.001", "text/html", 0),
            ("Accept: text/html;q=2", "text/html", 0),
            ("Accept: text/html;q=", "text/html", 0),
            ("Accept: te*", "text/html", 0),
            ("Accept:", "text/html", 0),
            ("Accept: text/plain\r\nAccept: text/html;q=0.9", "text/html", 900),
        ] {
            assert_eq!(weight(accept, media_type), expected, "{accept:?} for {media_type}");
        }
    }
}
