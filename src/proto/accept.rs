//! Content negotiation: media types and content codings (RFC 9110 §12.4.2, §12.5.1, §12.5.3).

use super::request::Fields;
use super::syntax::{list, trim_ows};

/// A quality value in thousandths: 0 is "not acceptable", 1000 is most preferred (RFC 9110 §12.4.2).
pub type Weight = u16;

/// A supported content coding (RFC 9110 §8.4.1), in the order of [`Coding::ALL`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// RFC 7932.
    Brotli,
    /// RFC 8878.
    Zstd,
    /// RFC 1952.
    Gzip,
}

impl Coding {
    /// All codings, usually the smallest output first.
    // measured: a page of 420 KB, at the highest level: br 55 KB, zstd 63 KB, gzip 88 KB
    pub const ALL: [Coding; 3] = [Coding::Brotli, Coding::Zstd, Coding::Gzip];

    /// Returns the name in Accept-Encoding and Content-Encoding.
    pub fn name(self) -> &'static str {
        match self {
            Coding::Brotli => "br",
            Coding::Zstd => "zstd",
            Coding::Gzip => "gzip",
        }
    }
}

/// Returns the codings that the client prefers to the identity, best first, then in the order of [`Coding::ALL`].
///
/// A request without Accept-Encoding gets the identity, because such clients often cannot decode anything. If nothing is
/// acceptable, the field is ignored (RFC 9110 §12.4.1) and the identity sent, since 406 would help nobody.
pub fn codings(fields: &Fields<'_>) -> impl Iterator<Item = Coding> + use<> {
    let mut weights = [None; Coding::ALL.len()];
    let (mut identity, mut others) = (None, None);
    for (token, weight) in fields.all("Accept-Encoding").flat_map(list).filter_map(weighted) {
        // The alias of gzip (RFC 9110 §8.4.1.3).
        let token = if token.eq_ignore_ascii_case(b"x-gzip") { b"gzip" } else { token };
        match Coding::ALL.into_iter().find(|coding| token.eq_ignore_ascii_case(coding.name().as_bytes())) {
            Some(coding) => weights[coding as usize] = Some(weight),
            None if token == b"*" => others = Some(weight),
            None if token.eq_ignore_ascii_case(b"identity") => identity = Some(weight),
            None => {}
        }
    }
    // An unnamed coding has the weight of `*`; without `*`, only the identity is acceptable.
    let least = identity.or(others).unwrap_or(0).max(1);
    let mut wanted = Coding::ALL.map(|coding| (weights[coding as usize].or(others).unwrap_or(0), coding));
    wanted.sort_by_key(|&(weight, _)| std::cmp::Reverse(weight));
    wanted.into_iter().filter(move |&(weight, _)| weight >= least).map(|(_, coding)| coding)
}

/// Returns the weight of a media type such as `text/html` in the Accept fields; the maximum without such a field.
///
/// The most specific media range decides. Other parameters are ignored: no representation here differs by them.
pub fn media_weight(fields: &Fields<'_>, media_type: &str) -> Weight {
    if fields.all("Accept").next().is_none() {
        return 1000;
    }
    let ranges = fields.all("Accept").flat_map(list).filter_map(weighted);
    let matching = ranges.filter_map(|(range, weight)| Some((specificity(range, media_type.as_bytes())?, weight)));
    matching.max_by_key(|&(specificity, _)| specificity).map_or(0, |(_, weight)| weight)
}

/// Splits an element into its name and weight; none if the weight is malformed.
fn weighted(element: &[u8]) -> Option<(&[u8], Weight)> {
    let mut parts = element.split(|&byte| byte == b';').map(trim_ows);
    let range = parts.next()?;
    let q = parts.find_map(|part| part.strip_prefix(b"q=").or(part.strip_prefix(b"Q=")));
    Some((range, q.map_or(Some(1000), qvalue)?))
}

/// `( "0" [ "." 0*3DIGIT ] ) / ( "1" [ "." 0*3("0") ] )`
fn qvalue(text: &[u8]) -> Option<Weight> {
    let (whole, fraction) = match text {
        [whole] => (whole, &[][..]),
        [whole, b'.', digits @ ..] if digits.len() <= 3 && digits.iter().all(u8::is_ascii_digit) => (whole, digits),
        _ => return None,
    };
    let thousandths = [100, 10, 1].iter().zip(fraction).map(|(unit, digit)| unit * Weight::from(digit - b'0')).sum();
    match whole {
        b'0' => Some(thousandths),
        b'1' if thousandths == 0 => Some(1000),
        _ => None,
    }
}

/// Returns the precedence of a media range: 2 the type itself, 1 `type/*`, 0 `*/*`; none if it does not match.
fn specificity(range: &[u8], media_type: &[u8]) -> Option<u8> {
    if range.eq_ignore_ascii_case(media_type) {
        return Some(2);
    }
    let prefix = range.strip_suffix(b"*").filter(|prefix| prefix.ends_with(b"/"))?;
    let has_prefix = media_type.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix));
    if prefix == b"*/" { Some(0) } else { has_prefix.then_some(1) }
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
    fn most_specific_media_range_decides() {
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

    #[test]
    fn codings_are_ordered_by_weight() {
        for (fields, expected) in [
            // No coding is listed, or none is acceptable.
            ("X: y", ""),
            ("Accept-Encoding:", ""),
            ("Accept-Encoding: ,", ""),
            ("Accept-Encoding: identity", ""),
            ("Accept-Encoding: deflate, compress", ""),
            ("Accept-Encoding: gzip;q=0", ""),
            ("Accept-Encoding: *;q=0", ""),
            ("Accept-Encoding: identity;q=0", ""),
            ("Accept-Encoding: identity;q=0, *;q=0", ""),
            // The server chooses among equal weights.
            ("Accept-Encoding: gzip", "gzip"),
            ("Accept-Encoding: gzip, deflate", "gzip"),
            ("Accept-Encoding: gzip, deflate, br", "br gzip"),
            ("Accept-Encoding: gzip, deflate, br, zstd", "br zstd gzip"),
            ("Accept-Encoding: gzip;q=0.5, zstd;q=0.5", "zstd gzip"),
            ("Accept-Encoding: *", "br zstd gzip"),
            ("Accept-Encoding: *;q=0.001", "br zstd gzip"),
            ("Accept-Encoding: identity, gzip", "gzip"),
            // The client's weights come first.
            ("Accept-Encoding: gzip;q=1.0, br;q=0.8, zstd;q=0.9", "gzip zstd br"),
            ("Accept-Encoding: gzip, *;q=0.5", "gzip br zstd"),
            ("Accept-Encoding: br;q=0, *", "zstd gzip"),
            ("Accept-Encoding: gzip, *;q=0", "gzip"),
            ("Accept-Encoding: zstd;q=0.001", "zstd"),
            // The identity has a weight too, by its name or by the asterisk.
            ("Accept-Encoding: identity;q=0.5, gzip;q=0.4, br;q=0.6", "br"),
            ("Accept-Encoding: identity, gzip;q=0.999", ""),
            ("Accept-Encoding: gzip;q=0.2, *;q=0.3", "br zstd"),
            ("Accept-Encoding: identity;q=1, *;q=0.5", ""),
            ("Accept-Encoding: identity;q=0, gzip;q=0.1", "gzip"),
            ("Accept-Encoding: identity;q=0, *;q=0.1", "br zstd gzip"),
            ("Accept-Encoding: identity;q=0.1, *;q=0", ""),
            // Names in any case, spaces, an alias, several lines, the last of two contradicting elements.
            ("Accept-Encoding: GZip , BR;Q=0.5", "gzip br"),
            ("Accept-Encoding: gzip \t;\t q=0.5, zstd;q=0.6", "zstd gzip"),
            ("Accept-Encoding: x-gzip", "gzip"),
            ("Accept-Encoding: X-GZIP;q=0", ""),
            ("Accept-Encoding: br\r\nAccept-Encoding: gzip;q=0.1", "br gzip"),
            ("Accept-Encoding: gzip, gzip;q=0", ""),
            ("Accept-Encoding: gzip;q=0, gzip", "gzip"),
            // Malformed elements are ignored.
            ("Accept-Encoding: gzip;q=2, br", "br"),
            ("Accept-Encoding: gzip;q=0.1234, *;q=0.5", "br zstd gzip"),
            ("Accept-Encoding: gzip;q=-1", ""),
            ("Accept-Encoding: gzip;q=", ""),
            ("Accept-Encoding: gzip br", ""),
            ("Accept-Encoding: \"gzip\"", ""),
            ("Accept-Encoding: gzipped, brotli", ""),
            ("Accept-Encoding: ;q=1, gzip", "gzip"),
        ] {
            let bytes = format!("GET / HTTP/1.1\r\n{fields}\r\n\r\n");
            let head = Head::parse(bytes.as_bytes()).expect("valid");
            let names: Vec<_> = codings(&head.fields).map(Coding::name).collect();
            assert_eq!(names.join(" "), expected, "{fields:?}");
        }
    }
}
