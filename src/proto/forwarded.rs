//! Through whom a request came, as proxies write it: Forwarded (RFC 7239) and X-Forwarded-For.
//!
//! Each proxy adds the address from which the request came to it, at the end; what stands before, anyone can have written.
//! So the list is read from its end, for as long as it names proxies that are trusted. Of Forwarded only `for` is used:
//! no answer here depends on the scheme or the host that a client used (`proto`, `host`), since redirects are relative.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::request::Fields;
use super::syntax::{ByteClass, decimal, is_field_byte, token_len, trim_ows, trim_ows_start};

/// The client for whom the last of these proxies asks: the last address that is not one of theirs. What is no address,
/// such as `unknown`, a name that was made up, or anything malformed, ends the search, and the address behind it counts.
/// None where nothing is known but who the last proxy is.
///
/// Most proxies write only one of the two fields and pass on the other, which then a client could have made up. So if
/// both are there and do not agree, neither is believed.
pub fn client(fields: &Fields<'_>, is_proxy: impl Fn(IpAddr) -> bool) -> Option<IpAddr> {
    let mut forwarded = Walk { found: None, is_proxy: &is_proxy };
    let is_forwarded = fields.all("Forwarded").map(|line| forwarded.follow_forwarded(line)).count() > 0;
    let mut listed = Walk { found: None, is_proxy: &is_proxy };
    let is_listed = fields.all("X-Forwarded-For").map(|line| listed.follow_list(line)).count() > 0;
    match (is_forwarded, is_listed) {
        (true, true) => forwarded.found.filter(|_| forwarded.found == listed.found),
        (true, false) => forwarded.found,
        (false, _) => listed.found,
    }
}

/// A list that is followed from its first element on, once, with the same outcome as from its end: `found` is what a
/// search from here back would find.
struct Walk<'p> {
    found: Option<IpAddr>,
    is_proxy: &'p dyn Fn(IpAddr) -> bool,
}

impl Walk<'_> {
    /// Goes on to the next element: an address, or none where it is no address.
    fn step(&mut self, element: Option<IpAddr>) {
        let element = element.map(|ip| ip.to_canonical());
        self.found = match element {
            Some(ip) if (self.is_proxy)(ip) => self.found.or(element),
            _ => element,
        };
    }

    /// Follows a line of X-Forwarded-For: addresses between commas, some with a port.
    fn follow_list(&mut self, line: &[u8]) {
        line.split(|&byte| byte == b',').map(trim_ows).filter(|element| !element.is_empty()).for_each(|element| {
            self.step(bare_ipv6(element).or_else(|| node(element)));
        });
    }

    /// Follows a line of Forwarded: elements between commas, each of pairs between semicolons (RFC 7239 §4). Where the line
    /// is malformed it is not known which bytes somebody quoted, so it counts for nothing from its beginning on.
    fn follow_forwarded(&mut self, line: &[u8]) {
        let mut rest = line;
        loop {
            rest = trim_ows_start(rest);
            match rest {
                [] => return,
                [b',', more @ ..] => rest = more,
                _ => match element(rest) {
                    Some((node, more)) => {
                        self.step(node);
                        rest = more;
                    }
                    None => return self.found = None,
                },
            }
        }
    }
}

/// Parses `[ forwarded-pair ] *( ";" [ forwarded-pair ] )` up to a comma or the end (RFC 7239 §4): the address in its
/// `for`, if there is one, and what follows.
fn element(mut rest: &[u8]) -> Option<(Option<IpAddr>, &[u8])> {
    let mut nodes = None;
    loop {
        if !matches!(rest, [] | [b';' | b',', ..]) {
            let name = &rest[..token_len(rest)];
            let [b'=', value @ ..] = &rest[name.len()..] else { return None };
            let (value, more) = value_of(value).filter(|_| !name.is_empty())?;
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

/// Takes `token / quoted-string` off the beginning (RFC 9110 §5.6.4): its value, and what follows.
fn value_of(bytes: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let [b'"', quoted @ ..] = bytes else {
        let (token, rest) = bytes.split_at(token_len(bytes));
        return (!token.is_empty()).then(|| (token.to_vec(), rest));
    };
    let (mut value, mut rest) = (Vec::new(), quoted);
    loop {
        let (&byte, more) = match rest {
            [b'"', more @ ..] => return Some((value, more)),
            [b'\\', escaped @ ..] => escaped.split_first()?,
            _ => rest.split_first()?,
        };
        value.push(Some(byte).filter(|&byte| is_field_byte(byte))?);
        rest = more;
    }
}

/// Parses `nodename [ ":" node-port ]` of RFC 7239 §6, where the name is an address: IPv6 in brackets. Its port may be
/// made up (`_` and a name), and is not used.
fn node(text: &[u8]) -> Option<IpAddr> {
    const MADE_UP: ByteClass = ByteClass::alphanumeric_and(b"._-");
    let (ip, rest) = match text {
        [b'[', inner @ ..] => {
            let (inner, rest) = inner.split_at(inner.iter().position(|&byte| byte == b']')?);
            (bare_ipv6(inner)?, &rest[1..])
        }
        _ => {
            let (name, rest) = text.split_at(text.iter().position(|&byte| byte == b':').unwrap_or(text.len()));
            (str::from_utf8(name).ok()?.parse::<Ipv4Addr>().ok()?.into(), rest)
        }
    };
    let is_port = match rest {
        [] => true,
        [b':', b'_', name @ ..] => !name.is_empty() && name.iter().all(|&byte| MADE_UP.has(byte)),
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

    /// Whom these header lines name, where 10.0.0.0/8 and 2001:db8:ffff::/48 are the proxies.
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
