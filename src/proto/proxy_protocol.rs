//! The PROXY protocol's header (HAProxy's proxy-protocol.txt, versions 1 and 2, §2.1 and §2.2).
//!
//! A proxy states its client's address in it, before the first byte of a connection. The header does not authenticate its
//! sender; the caller decides which peers are trusted.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use super::syntax::find;
use super::why::Why;

/// The largest accepted header of version 2, in bytes. Senders should keep to 536 (§2); the length field allows 65,551.
pub const HEADER_MAX: usize = 4096;

/// The longest line of version 1, in bytes, including its line end (§2.1).
const LINE_MAX: usize = 107;

/// The start of a header of version 1.
const PREFIX: &[u8] = b"PROXY ";

/// The start of a header of version 2; version and command, family and protocol, and a length follow.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// The length of a header of version 2 before its addresses, in bytes.
const FIXED_LEN: usize = SIGNATURE.len() + 4;

/// A complete header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Its length in bytes.
    pub len: usize,
    /// The stated source of the connection.
    pub source: Source,
}

/// The far end of a connection, as stated by a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The proxy itself, for example for a health check (`LOCAL`).
    Proxy,
    /// A client without a usable address (`UNKNOWN`, a Unix socket).
    Unknown,
    /// A client with this address.
    Client(SocketAddr),
}

/// Parses the header at the start of the bytes; none if it is still incomplete. Extensions of version 2 are skipped, even
/// a checksum: it is optional for the receiver (§2.2), and TCP has its own.
pub fn parse(bytes: &[u8]) -> Result<Option<Header>, Why> {
    let is_begun = |start: &[u8]| bytes.starts_with(start) || start.starts_with(bytes);
    if is_begun(PREFIX) {
        v1(bytes)
    } else if is_begun(SIGNATURE) {
        v2(bytes)
    } else {
        Err(Why::ProxyHeaderMissing)
    }
}

/// Reports whether bytes received in place of a request begin a header.
pub fn begins(bytes: &[u8]) -> bool {
    [&b"PROXY TCP"[..], b"PROXY UNKNOWN", &SIGNATURE[..5]].iter().any(|start| bytes.starts_with(start))
}

/// Parses version 1: `PROXY TCP4|TCP6 source destination source-port destination-port`, or `PROXY UNKNOWN` (§2.1).
fn v1(bytes: &[u8]) -> Result<Option<Header>, Why> {
    let seen = &bytes[..bytes.len().min(LINE_MAX)];
    let Some(end) = find(b'\n', seen) else {
        return if seen.len() == LINE_MAX { Err(Why::ProxyHeaderSyntax) } else { Ok(None) };
    };
    let line = seen[..end].strip_suffix(b"\r").ok_or(Why::ProxyHeaderSyntax)?;
    let mut words = line.splitn(3, |&byte| byte == b' ').skip(1);
    let source = match [words.next(), words.next()] {
        [Some(b"TCP4"), Some(ends)] => v1_source::<Ipv4Addr>(ends),
        [Some(b"TCP6"), Some(ends)] => v1_source::<Ipv6Addr>(ends),
        [Some(b"UNKNOWN"), _] => Some(Source::Unknown),
        _ => None,
    };
    source.map(|source| Some(Header { len: end + 1, source })).ok_or(Why::ProxyHeaderSyntax)
}

/// Parses both ends of a connection. Only the source is used, but the destination has to be valid too.
fn v1_source<A: FromStr + Into<IpAddr>>(ends: &[u8]) -> Option<Source> {
    let mut words = str::from_utf8(ends).ok()?.split(' ');
    let [source, _destination] = [words.next()?.parse::<A>().ok()?, words.next()?.parse::<A>().ok()?];
    let [port, _destination_port] = [port(words.next()?)?, port(words.next()?)?];
    words.next().is_none().then(|| canonical(source.into(), port))
}

/// Parses a port without leading zeros (§2.1).
fn port(word: &str) -> Option<u16> {
    word.parse().ok().filter(|port: &u16| port.to_string() == word)
}

/// Parses version 2: signature, version and command, family and protocol, length, addresses, extensions (§2.2).
fn v2(bytes: &[u8]) -> Result<Option<Header>, Why> {
    let Some((fixed, rest)) = bytes.split_first_chunk::<FIXED_LEN>() else { return Ok(None) };
    let [.., command, kind, high, low] = *fixed;
    let length = usize::from(u16::from_be_bytes([high, low]));
    let (family, protocol) = (kind >> 4, kind & 0xf);
    let needed = match (command, family) {
        // LOCAL has no addresses, whatever the family.
        (0x20, _) => 0,
        (0x21, 0..=3) if protocol <= 2 => [0, 12, 36, 216][usize::from(family)],
        _ => return Err(Why::ProxyHeaderSyntax),
    };
    let len = FIXED_LEN + length;
    if length < needed || len > HEADER_MAX {
        return Err(Why::ProxyHeaderSyntax);
    }
    let Some(addresses) = rest.get(..length) else { return Ok(None) };
    let source = match (command, kind) {
        (0x20, _) => Source::Proxy,
        (_, 0x11) => v2_source::<4>(addresses),
        (_, 0x21) => v2_source::<16>(addresses),
        _ => Source::Unknown,
    };
    Ok(Some(Header { len, source }))
}

/// Parses the source in the addresses of version 2: two addresses of `N` bytes, source first, then their ports.
fn v2_source<const N: usize>(addresses: &[u8]) -> Source
where
    IpAddr: From<[u8; N]>,
{
    let ip = addresses.first_chunk::<N>();
    let port = addresses.get(2 * N..).and_then(|rest| rest.first_chunk());
    ip.zip(port).map_or(Source::Unknown, |(ip, port)| canonical(IpAddr::from(*ip), u16::from_be_bytes(*port)))
}

/// Converts IPv4-mapped IPv6 addresses to IPv4.
fn canonical(ip: IpAddr, port: u16) -> Source {
    Source::Client(SocketAddr::new(ip.to_canonical(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(line: &str) -> Result<Option<Source>, Why> {
        let found = parse(line.as_bytes())?;
        Ok(found.map(|header| {
            assert_eq!(header.len, line.find('\n').expect("a complete line") + 1, "{line:?}");
            header.source
        }))
    }

    fn from(addr: &str) -> Result<Option<Source>, Why> {
        Ok(Some(Source::Client(addr.parse().expect("an address"))))
    }

    #[test]
    fn v1_header_states_the_client_in_one_form() {
        for (line, addr) in [
            ("PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\n", "192.0.2.1:56324"),
            ("PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\nGET / HTTP/1.1\r\n", "192.0.2.1:56324"),
            ("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", "255.255.255.255:65535"),
            ("PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n", "0.0.0.0:0"),
            ("PROXY TCP6 2001:db8::1 2001:DB8::2 1 2\r\n", "[2001:db8::1]:1"),
            ("PROXY TCP6 ::ffff:192.0.2.1 ::1 1 2\r\n", "192.0.2.1:1"),
        ] {
            assert_eq!(source(line), from(addr), "{line:?}");
        }
        let longest = format!("PROXY TCP6 {0} {0} 65535 65535\r\n", ["ffff"; 8].join(":"));
        assert_eq!((longest.len(), source(&longest).is_ok()), (104, true));
    }

    #[test]
    fn v1_unknown_ignores_the_rest_of_the_line() {
        for rest in ["", " ", " anything at all", " ffff:f::ffff ffff:f::f 65535 65535", " \u{e9}"] {
            assert_eq!(source(&format!("PROXY UNKNOWN{rest}\r\n")), Ok(Some(Source::Unknown)), "{rest:?}");
        }
        assert!(parse(b"PROXY UNKNOWN \xff\0\r\n").is_ok());
        assert!(source(&format!("PROXY UNKNOWN {}\r\n", "x".repeat(91))).is_ok());
        assert_eq!(source(&format!("PROXY UNKNOWN {}\r\n", "x".repeat(92))), Err(Why::ProxyHeaderSyntax));
    }

    #[test]
    fn malformed_v1_header_is_refused() {
        for line in [
            "PROXY \r\n",
            "PROXY  TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
            "PROXY TCP4  192.0.2.1 192.0.2.2 1 2\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 1  2\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 1 2 \r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 1 2 3\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2\r\n",
            "PROXY TCP4\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 1\t2\r\n",
            "PROXY TCP4 192.0.2.01 192.0.2.2 1 2\r\n",
            "PROXY TCP4 192.0.2 192.0.2.2 1 2\r\n",
            "PROXY TCP4 192.0.2.256 192.0.2.2 1 2\r\n",
            "PROXY TCP4 192.0.2.1 localhost 1 2\r\n",
            "PROXY TCP4 ::1 ::1 1 2\r\n",
            "PROXY TCP4 192.0.2.1 ::1 1 2\r\n",
            "PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n",
            "PROXY TCP6 [::1] ::1 1 2\r\n",
            "PROXY TCP6 ::1%lo ::1 1 2\r\n",
            "PROXY TCP6 1::2::3 ::1 1 2\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 01 2\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 1 00\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 65536 2\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 +1 2\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 1 -2\r\n",
            "PROXY TCP5 192.0.2.1 192.0.2.2 1 2\r\n",
            "PROXY tcp4 192.0.2.1 192.0.2.2 1 2\r\n",
            "PROXY UDP4 192.0.2.1 192.0.2.2 1 2\r\n",
            "PROXY UNKNOWN\n",
            "PROXY UNKNOWNS\r\n",
            "PROXY unknown\r\n",
            "PROXY / HTTP/1.1\r\n",
        ] {
            assert_eq!(source(line), Err(Why::ProxyHeaderSyntax), "{line:?}");
        }
        for line in
            ["proxy TCP4 192.0.2.1 192.0.2.2 1 2\r\n", "PROXYTCP4", "GET / HTTP/1.1\r\n", "PUT", "\r\nPROXY ", "\n"]
        {
            assert_eq!(source(line), Err(Why::ProxyHeaderMissing), "{line:?}");
        }
    }

    /// A header of version 2 with this version and command, family and protocol, and the bytes after the length.
    fn header(command: u8, kind: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).expect("it fits").to_be_bytes();
        [&SIGNATURE[..], &[command, kind], &length, rest].concat()
    }

    const V4: &[u8] = &[192, 0, 2, 1, 198, 51, 100, 1, 0xdc, 4, 1, 0xbb];

    #[test]
    fn v2_header_states_the_client_over_tcp() {
        let v6: Vec<u8> = [&[0x20, 1, 0xd, 0xb8][..], &[0; 11], &[1], &[0; 16], &[0, 80, 0, 81]].concat();
        let mapped: Vec<u8> = [&[0; 10][..], &[0xff, 0xff, 192, 0, 2, 1], &[0; 16], &[0, 80, 0, 81]].concat();
        let extended = [V4, &[3, 0, 4, 1, 2, 3, 4, 0xe0, 0, 1, 0]].concat();
        let client = |addr: &str| Source::Client(addr.parse().expect("an address"));
        for (command, kind, rest, expected) in [
            (0x21, 0x11, V4, client("192.0.2.1:56324")),
            (0x21, 0x11, &extended, client("192.0.2.1:56324")),
            (0x21, 0x21, &v6, client("[2001:db8::1]:80")),
            (0x21, 0x21, &mapped, client("192.0.2.1:80")),
            (0x21, 0x12, V4, Source::Unknown),
            (0x21, 0x10, V4, Source::Unknown),
            (0x21, 0x00, b"", Source::Unknown),
            (0x21, 0x01, b"abc", Source::Unknown),
            (0x21, 0x31, &[b'/'; 216], Source::Unknown),
            (0x20, 0x00, b"", Source::Proxy),
            (0x20, 0x11, V4, Source::Proxy),
            (0x20, 0xff, b"abc", Source::Proxy),
        ] {
            let bytes = header(command, kind, rest);
            let expected = Ok(Some(Header { len: bytes.len(), source: expected }));
            assert_eq!(parse(&bytes), expected, "{command:#x} {kind:#x}");
            assert_eq!(parse(&[&bytes[..], b"GET / HTTP/1.1\r\n"].concat()), expected, "{command:#x} {kind:#x}");
            assert!((0..bytes.len()).all(|end| parse(&bytes[..end]) == Ok(None)), "{command:#x} {kind:#x}");
        }
    }

    #[test]
    fn malformed_v2_header_is_refused() {
        for (command, kind, rest) in [
            (0x21, 0x11, &V4[..11]),
            (0x21, 0x21, V4),
            (0x21, 0x31, &[0; 215]),
            (0x21, 0x41, V4),
            (0x21, 0x13, V4),
            (0x21, 0xf1, V4),
            (0x22, 0x11, V4),
            (0x2f, 0x00, b""),
            (0x11, 0x11, V4),
            (0x31, 0x11, V4),
            (0x01, 0x11, V4),
            (0x20, 0x00, &[0; HEADER_MAX - FIXED_LEN + 1]),
        ] {
            assert_eq!(parse(&header(command, kind, rest)), Err(Why::ProxyHeaderSyntax), "{command:#x} {kind:#x}");
        }
        let largest = header(0x21, 0x11, &[7; HEADER_MAX - FIXED_LEN]);
        assert_eq!(parse(&largest).map(|found| found.map(|header| header.len)), Ok(Some(HEADER_MAX)));
        for signature in [&b"\r\n\r\n\0\r\nQUIT\r"[..], b"\r\n\r\nG", b"\r\n\r\n\0\n"] {
            assert_eq!(parse(signature), Err(Why::ProxyHeaderMissing));
        }
    }

    #[test]
    fn header_in_place_of_a_request_is_recognized() {
        for header in [&b"PROXY TCP4 1"[..], b"PROXY TCP6", b"PROXY UNKNOWN", b"\r\n\r\n\0\r\nQUIT\n\x21"] {
            assert!(begins(header));
        }
        for other in [&b"PROXY / HTTP/1.1"[..], b"\r\n\r\nGET /", b"", b"\0"] {
            assert!(!begins(other));
        }
    }
}
