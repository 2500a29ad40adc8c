//! The client's address from Forwarded (RFC 7239) and X-Forwarded-For.
//!
//! Each proxy appends the address of its peer, and a client can forge everything before that. The list is therefore read
//! from its end, as long as it names trusted proxies. Only `for` of Forwarded is used: redirects are relative, so no
//! response depends on `proto` or `host`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::request::Fields;
use super::syntax::{ByteClass, decimal, find, list, token_len, token_or_quoted, trim_ows_start};

/// Returns the client's address: the last one that is not a trusted proxy's. An element that is no address (`unknown`,
/// an obfuscated name, anything malformed) ends the search, and the address after it counts; none if there is none.
///
/// Most proxies write one of the two fields and pass on the other, which a client may have forged. If the two disagree,
/// both are ignored.
pub fn client(fields: &Fields<'_>, is_proxy: impl Fn(IpAddr) -> bool) -> Option<IpAddr> {
    // The lists are read forward: `found` is the result of the backward search if the list ended here.
    let step = |found: Option<IpAddr>, element: Option<IpAddr>| {
        let element = element.map(|ip| ip.to_canonical());
        if element.is_some_and(&is_proxy) { found.or(element) } else { element }
    };
    let forwarded = fields.all("Forwarded").flat_map(elements).fold(None, step);
    // In X-Forwarded-For, IPv6 needs brackets only before a port.
    let bare_node = |text| bare_ipv6(text).or_else(|| node(text));
    let listed = fields.all("X-Forwarded-For").flat_map(list).map(bare_node).fold(None, step);
    let has = |name| fields.all(name).next().is_some();
    match (has("Forwarded"), has("X-Forwarded-For")) {
        (true, true) => forwarded.filter(|_| forwarded == listed),
        (true, false) => forwarded,
        (false, _) => listed,
    }
}

/// Returns the address, if any, of each element in a line of Forwarded (RFC 7239 §4). No quote in a malformed line can be
/// trusted, so its rest counts as one element without an address.
fn elements(mut line: &[u8]) -> impl Iterator<Item = Option<IpAddr>> {
    std::iter::from_fn(move || {
        while let [b',' | b' ' | b'\t', rest @ ..] = line {
            line = rest;
        }
        let (node, rest) = (!line.is_empty()).then(|| element(line).unwrap_or_default())?;
        line = rest;
        Some(node)
    })
}

/// Parses `[ forwarded-pair ] *( ";" [ forwarded-pair ] )` (RFC 7239 §4); returns the address in its `for` and the rest.
fn element(mut rest: &[u8]) -> Option<(Option<IpAddr>, &[u8])> {
    let mut nodes = None;
    loop {
        if !matches!(rest, [] | [b';' | b',', ..]) {
            let name = &rest[..token_len(rest)];
            let [b'=', value @ ..] = &rest[name.len()..] else { return None };
            let (value, more) = token_or_quoted(value).filter(|_| !name.is_empty())?;
            if name.eq_ignore_ascii_case(b"for") && nodes.replace(value).is_some() {
                return None;
            }
            rest = more;
        }
        rest = trim_ows_start(rest);
        match rest {
            [b';', more @ ..] => rest = trim_ows_start(more),
            [] | [b',', ..] => return Some((nodes.and_then(|value| node(&value)), rest)),
            _ => return None,
        }
    }
}

/// Parses `nodename [ ":" node-port ]` (RFC 7239 §6) with an address as its name. The port, even obfuscated, is ignored.
fn node(text: &[u8]) -> Option<IpAddr> {
    const OBFUSCATED: ByteClass = ByteClass::alphanumeric_and(b"._-");
    let (ip, rest) = match text {
        [b'[', inner @ ..] => {
            let (inner, rest) = inner.split_at(find(b']', inner)?);
            (bare_ipv6(inner)?, &rest[1..])
        }
        _ => {
            let (name, rest) = text.split_at(find(b':', text).unwrap_or(text.len()));
            (str::from_utf8(name).ok()?.parse::<Ipv4Addr>().ok()?.into(), rest)
        }
    };
    let is_port = match rest {
        [] => true,
        [b':', b'_', name @ ..] => !name.is_empty() && name.iter().all(|&byte| OBFUSCATED.has(byte)),
        [b':', port @ ..] => port.len() <= 5 && decimal(port).is_some(),
        _ => false,
    };
    is_port.then_some(ip)
}

fn bare_ipv6(text: &[u8]) -> Option<IpAddr> {
    str::from_utf8(text).ok()?.parse::<Ipv6Addr>().ok().map(IpAddr::V6)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::request::Head;

    /// The client in these header lines, with 10.0.0.0/8 and 2001:db8:ffff::/48 as proxies.
    fn named(lines: &str) -> Option<String> {
        let bytes = format!("GET / HTTP/1.1\r\n{lines}\r\n\r\n");
        let head = Head::parse(bytes.as_bytes()).expect("a head");
        let is_proxy = |ip| match ip {
            IpAddr::V4(ip) => ip.octets()[0] == 10,
            IpAddr::V6(ip) => ip.segments()[..3] == [0x2001, 0xdb8, 0xffff],
        };
        client(&head.fields, is_proxy).map(|ip| ip.to_string())
    }

    #[track_caller]
    fn check(cases: &[(&str, &str)], before: &str) {
        for (value, expected) in cases {
            let lines: Vec<_> = value.split('|').map(|line| format!("{before}{line}")).collect();
            assert_eq!(named(&lines.join("\r\n")).unwrap_or_default(), *expected, "{value}");
        }
    }

    #[test]
    fn x_forwarded_for_is_followed_back_through_proxies() {
        check(
            &[
                ("192.0.2.1", "192.0.2.1"),
                ("192.0.2.9, 192.0.2.1", "192.0.2.1"),
                ("192.0.2.9, 192.0.2.1, 10.0.0.1", "192.0.2.1"),
                ("192.0.2.9,192.0.2.1 ,\t10.0.0.1,10.0.0.2", "192.0.2.1"),
                ("192.0.2.1|10.0.0.1", "192.0.2.1"),
                ("10.0.0.1|192.0.2.1", "192.0.2.1"),
                ("10.0.0.1, 10.0.0.2", "10.0.0.1"),
                (", 192.0.2.1,, 10.0.0.1,", "192.0.2.1"),
                ("192.0.2.1:80", "192.0.2.1"),
                ("2001:db8::1", "2001:db8::1"),
                ("[2001:db8::1]", "2001:db8::1"),
                ("[2001:db8::1]:80, 2001:db8:ffff::1", "2001:db8::1"),
                ("::ffff:192.0.2.1, ::ffff:10.0.0.1", "192.0.2.1"),
                ("192.0.2.1, unknown", ""),
                ("192.0.2.1, garbage, 10.0.0.1", "10.0.0.1"),
                ("192.0.2.1, unknown, 192.0.2.2", "192.0.2.2"),
                ("192.0.2.1, \"192.0.2.2\"", ""),
                ("192.0.2.1 192.0.2.2", ""),
                ("192.0.2.01", ""),
                ("192.0.2.1:", ""),
                ("192.0.2.1:999999", ""),
                ("192.0.2.1:80:80", ""),
                ("[192.0.2.1]", ""),
                ("[2001:db8::1", ""),
                ("[2001:db8::1]80", ""),
                ("fe80::1%eth0", ""),
                ("localhost", ""),
                ("\u{e9}", ""),
                ("", ""),
                (",", ""),
            ],
            "X-Forwarded-For: ",
        );
    }

    #[test]
    fn forwarded_is_parsed_by_its_grammar() {
        check(
            &[
                ("for=192.0.2.60;proto=http;by=203.0.113.43", "192.0.2.60"),
                ("For=\"[2001:db8:cafe::17]:4711\"", "2001:db8:cafe::17"),
                ("for=192.0.2.43, for=198.51.100.17;by=203.0.113.60;proto=http;host=example.com", "198.51.100.17"),
                ("for=192.0.2.43|for=10.0.0.1", "192.0.2.43"),
                ("for=192.0.2.9, for=192.0.2.1, FOR=10.0.0.1;host=\"a,b;c\\\"\"", "192.0.2.1"),
                ("for=192.0.2.1;;proto=http;, ,for=10.0.0.1 ; by=_x", "192.0.2.1"),
                ("by=10.0.0.1;for=\"192.0.2.1:_x-1\"", "192.0.2.1"),
                ("for=\"192.0.2\\.1\"", "192.0.2.1"),
                ("for=\"192.0.2.1:47011\", for=\"[2001:db8:ffff::1]\"", "192.0.2.1"),
                ("for=192.0.2.1, for=_hidden, for=10.0.0.1", "10.0.0.1"),
                ("for=192.0.2.1, for=unknown", ""),
                ("for=192.0.2.1, proto=https", ""),
                ("for=192.0.2.1, proto=https, for=10.0.0.1", "10.0.0.1"),
                ("for=192.0.2.1|for=;x|for=10.0.0.1", "10.0.0.1"),
                ("for=\"2001:db8::1\"", ""),
                ("for=[2001:db8::1]", ""),
                ("for=192.0.2.1:80", ""),
                ("for=192.0.2.1;for=192.0.2.1", ""),
                ("for = 192.0.2.1", ""),
                ("for= 192.0.2.1", ""),
                ("for=\"192.0.2.1", ""),
                ("for=\"192.0.2.1\\", ""),
                ("for=\"192.0.2.1\"x", ""),
                ("for=\" 192.0.2.1\"", ""),
                ("for=\"\"", ""),
                ("for=", ""),
                ("for", ""),
                ("=192.0.2.1", ""),
                ("192.0.2.1", ""),
                ("for=\", for=192.0.2.1", ""),
                ("for=192.0.2.7, for=\", for=\"192.0.2.1\"", ""),
            ],
            "Forwarded: ",
        );
    }

    #[test]
    fn both_fields_count_only_if_they_agree() {
        for (lines, expected) in [
            ("A: b", ""),
            ("Forwarded: for=192.0.2.1\r\nX-Forwarded-For: 192.0.2.1", "192.0.2.1"),
            ("Forwarded: for=192.0.2.9, for=192.0.2.1\r\nX-Forwarded-For: 192.0.2.1, 10.0.0.1", "192.0.2.1"),
            ("Forwarded: for=192.0.2.9\r\nX-Forwarded-For: 192.0.2.1", ""),
            ("Forwarded: for=unknown\r\nX-Forwarded-For: 192.0.2.1", ""),
            ("Forwarded: for=192.0.2.1\r\nX-Forwarded-For:", ""),
        ] {
            assert_eq!(named(lines).unwrap_or_default(), expected, "{lines}");
        }
    }
}
