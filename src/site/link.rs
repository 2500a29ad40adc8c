//! Links to files and directories, percent-encoded (RFC 3986 §2.1, §4.2). The only user of percent_encoding.

use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, percent_encode};

use crate::proto::target::Target;

/// All but the unreserved characters (RFC 3986 §2.3), the colon included, so that no name reads as a scheme.
const NAME: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The same without the slash.
const PATH: &AsciiSet = &NAME.remove(b'/');

/// Characters allowed neither in a path nor in a query (RFC 3986 §3.4); percent-encoded ones stay as they are.
const NOT_IN_LOCAL: &AsciiSet = &BRACKETS.add(b' ').add(b'"').add(b'#').add(b'\\').add(b'^').add(b'`').add(b'|');

const BRACKETS: &AsciiSet = &CONTROLS.add(b'<').add(b'>').add(b'[').add(b']').add(b'{').add(b'}');

/// Writes a name as a relative link.
pub fn to_name(name: &[u8]) -> String {
    percent_encode(name, NAME).to_string()
}

/// Writes the address of a directory, with its slash and the query, as a link from the root.
///
/// The path has no empty segment, so the link never begins with two slashes, which would name another host.
pub fn to_directory(target: &Target<'_>) -> String {
    let path = percent_encode(target.path.as_bytes(), PATH);
    let slash = if target.path.as_bytes().is_empty() { "" } else { "/" };
    let query = target.query.map(|query| format!("?{}", percent_encode(query, NOT_IN_LOCAL)));
    format!("/{path}{slash}{}", query.unwrap_or_default())
}

/// Writes the address of this path and query on the host over TLS. The host is valid, so the link stays on it.
pub fn over_tls(host: &[u8], port: u16, local: &[u8]) -> String {
    let host = percent_encode(host, CONTROLS);
    let port = if port == 443 { String::new() } else { format!(":{port}") };
    let slash = if local.starts_with(b"/") { "" } else { "/" };
    let local = percent_encode(local, NOT_IN_LOCAL);
    format!("https://{host}{port}{slash}{local}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn link_encodes_every_reserved_character() {
        assert_eq!(to_name(b"a b&c?d#e%f:g\"<h>\\\n\xff-._~1"), "a%20b%26c%3Fd%23e%25f%3Ag%22%3Ch%3E%5C%0A%FF-._~1");
    }

    #[test]
    fn address_over_tls_stays_on_host() {
        for (host, port, local, expected) in [
            ("a.example", 443, "/b?c", "https://a.example/b?c"),
            ("[::1]", 8443, "/", "https://[::1]:8443/"),
            ("a", 443, "", "https://a/"),
            ("a", 443, "?b", "https://a/?b"),
            ("a", 443, "//b.example/%2e%2e/", "https://a//b.example/%2e%2e/"),
            ("a", 443, "/\\b\"<>\u{e9}#", "https://a/%5Cb%22%3C%3E%C3%A9%23"),
            ("a", 443, "@b", "https://a/@b"),
            ("a", 443, "/b\r\nc: d", "https://a/b%0D%0Ac:%20d"),
        ] {
            assert_eq!(over_tls(host.as_bytes(), port, local.as_bytes()), expected);
        }
    }

    #[test]
    fn address_of_directory_stays_on_host() {
        for (raw, expected) in [
            ("/a", "/a/"),
            ("/", "/"),
            ("//evil.example", "/evil.example/"),
            ("/%5Cevil.example", "/%5Cevil.example/"),
            ("/\\evil.example", "/%5Cevil.example/"),
            ("/a%20b/c?d=e&f#", ""),
            ("/a%20b/c?d=/e?&%20f\u{e9}", "/a%20b/c/?d=/e?&%20f%C3%A9"),
            ("/a?", "/a/?"),
            ("/a?<b>\"|", "/a/?%3Cb%3E%22%7C"),
            ("http://host/a/../b", "/b/"),
        ] {
            let link = Target::parse(raw.as_bytes()).map(|target| to_directory(&target)).unwrap_or_default();
            assert_eq!(link, expected, "{raw}");
        }
    }
}
