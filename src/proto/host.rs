//! The Host field and the authority of a URL (RFC 9110 §7.2, RFC 9112 §3.2, RFC 3986 §3.2).
//!
//! This server serves one site, so the name of the host selects nothing. Its presence, once and valid, keeps proxies on
//! the way from reading the request differently.

use std::net::Ipv6Addr;

use super::request::{Head, Version};
use super::syntax::{ByteClass, find, hex_pair};
use super::why::{Reject, Why};

/// Checks that the request has the Host field that its version requires.
pub fn check<'b>(head: &Head<'b>) -> Result<(), Reject<'b>> {
    let mut hosts = head.fields.all("Host");
    match (hosts.next(), hosts.next()) {
        (None, _) if head.version < Version::Http11 => Ok(()),
        (None, _) => Err(Why::HostMissing.because(head.target)),
        (Some(_), Some(second)) => Err(Why::HostRepeated.because(second)),
        // A client sends an empty value if its URL has no authority (RFC 9112 §3.2).
        (Some(host), None) if host.is_empty() || is_host_port(host) => Ok(()),
        (Some(host), None) => Err(Why::HostInvalid.because(host)),
    }
}

/// Returns a checked request's host, without port: of a target in absolute-form, else of Host (RFC 9112 §3.2.2, §3.3).
pub fn of<'b>(head: &Head<'b>) -> Option<&'b [u8]> {
    let authority = split_authority(head.target).ok().and_then(|(authority, _)| authority);
    let host = authority.or_else(|| head.fields.single("Host"))?;
    Some(split_port(host).0).filter(|host| !host.is_empty())
}

/// Splits a target into its authority, in absolute-form only, and its path and query (RFC 9112 §3.2.1, §3.2.2).
pub fn split_authority(raw: &[u8]) -> Result<(Option<&[u8]>, &[u8]), Reject<'_>> {
    if raw.starts_with(b"/") {
        return Ok((None, raw));
    }
    let is_scheme_byte = |&byte: &u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    let scheme_len = raw.iter().position(|byte| !is_scheme_byte(byte)).unwrap_or(raw.len());
    let (scheme, rest) = raw.split_at(scheme_len);
    let Some(rest) = rest.strip_prefix(b"://") else {
        return Err(Why::TargetForm.because(raw));
    };
    if !scheme.eq_ignore_ascii_case(b"http") && !scheme.eq_ignore_ascii_case(b"https") {
        return Err(Why::TargetScheme.because(raw));
    }
    let end = rest.iter().position(|byte| b"/?".contains(byte)).unwrap_or(rest.len());
    let (authority, local) = rest.split_at(end);
    if is_host_port(authority) { Ok((Some(authority), local)) } else { Err(Why::TargetAuthority.because(raw)) }
}

/// Reports whether the bytes are `uri-host [ ":" port ]` with a host that is not empty.
pub fn is_host_port(bytes: &[u8]) -> bool {
    let (host, port) = split_port(bytes);
    let is_host = match host {
        [] => false,
        [b'[', literal @ .., b']'] => is_ip_literal(literal),
        _ => is_reg_name(host),
    };
    is_host && (port.is_empty() || port[0] == b':' && port[1..].iter().all(u8::is_ascii_digit))
}

/// Splits off the port, with its colon. Brackets belong to the host.
fn split_port(bytes: &[u8]) -> (&[u8], &[u8]) {
    let after_bracket = find(b']', bytes).map(|bracket| bracket + 1);
    bytes.split_at(after_bracket.or_else(|| find(b':', bytes)).unwrap_or(bytes.len()))
}

/// `IPv6address / IPvFuture` (RFC 3986 §3.2.2).
fn is_ip_literal(literal: &[u8]) -> bool {
    match literal {
        [b'v' | b'V', future @ ..] => find(b'.', future).is_some_and(|dot| {
            let (version, address) = (&future[..dot], &future[dot + 1..]);
            let is_hex = !version.is_empty() && version.iter().all(u8::is_ascii_hexdigit);
            is_hex && !address.is_empty() && address.iter().all(|&byte| NAME_BYTE.has(byte) || byte == b':')
        }),
        _ => str::from_utf8(literal).is_ok_and(|text| text.parse::<Ipv6Addr>().is_ok()),
    }
}

/// `*( unreserved / pct-encoded / sub-delims )` (RFC 3986 §3.2.2); an IPv4 address is one too.
fn is_reg_name(mut name: &[u8]) -> bool {
    loop {
        name = match name {
            [] => return true,
            [b'%', high, low, rest @ ..] if hex_pair(*high, *low).is_some() => rest,
            [byte, rest @ ..] if NAME_BYTE.has(*byte) => rest,
            _ => return false,
        };
    }
}

/// `unreserved / sub-delims` (RFC 3986 §2.2, §2.3).
const NAME_BYTE: ByteClass = ByteClass::alphanumeric_and(b"-._~!$&'()*+,;=");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_is_a_name_or_address_with_optional_port() {
        for good in [
            "localhost",
            "a",
            "example.com:80",
            "example.com:",
            "127.0.0.1:8080",
            "[::1]",
            "[::1]:8080",
            "[fe80::1:2]:",
            "[::ffff:1.2.3.4]",
            "[v1.a:b]",
            "ex%41mple",
            "a_b",
            "xn--bcher-kva.example",
            "a,b",
            "1.2.3",
        ] {
            assert!(is_host_port(good.as_bytes()), "{good}");
        }
        for bad in [
            "",
            ":80",
            "a:b",
            "a:80:80",
            "a b",
            "user@host",
            "http://a",
            "a/b",
            "a?b",
            "a#b",
            "a%4",
            "a%zz",
            "[::1",
            "::1",
            "[::1]80",
            "[]",
            "[:::1]",
            "[::1%25eth0]",
            "[v.a]",
            "[1.2.3.4]",
            "é",
            "a\\b",
            "a<b>",
            "a:+80",
        ] {
            assert!(!is_host_port(bad.as_bytes()), "{bad}");
        }
    }

    #[test]
    fn http_1_1_request_needs_one_valid_host() {
        for (bytes, expected) in [
            ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", None),
            ("GET / HTTP/1.1\r\nHost:\r\n\r\n", None),
            ("GET / HTTP/1.1\r\n\r\n", Some(Why::HostMissing)),
            ("GET http://a/ HTTP/1.1\r\n\r\n", Some(Why::HostMissing)),
            ("GET / HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n", Some(Why::HostRepeated)),
            ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", Some(Why::HostInvalid)),
            ("GET / HTTP/1.0\r\n\r\n", None),
            ("GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", Some(Why::HostRepeated)),
            ("GET / HTTP/1.0\r\nHost: a/b\r\n\r\n", Some(Why::HostInvalid)),
            ("GET /\r\n", None),
        ] {
            let head = Head::parse(bytes.as_bytes()).expect("valid");
            assert_eq!(check(&head).err().map(|reject| reject.why), expected, "{bytes:?}");
        }
    }
}
