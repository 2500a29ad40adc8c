//! The PROXY header: who it is that a proxy speaks for, said before the first byte of the connection itself (HAProxy's
//! proxy-protocol.txt, versions 1 and 2, §2.1 and §2.2).
//!
//! Nobody can tell from the header whether it is true. Whom to believe is decided elsewhere.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use super::syntax::{decimal, find};
use super::why::Why;

/// The largest header of version 2 that is taken, in bytes. Its sender should keep it in one segment of 536 bytes (§2);
/// the length field could say up to 65,551.
pub const HEADER_MAX: usize = 4096;

/// The longest line of version 1, with its line end (§2.1).
const LINE_MAX: usize = 107;

/// How a header of version 1 begins.
const WORD: &[u8] = b"PROXY ";

/// How a header of version 2 begins; and then come version and command, family and protocol, and a length.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// The bytes of a header of version 2 before its addresses.
const FIXED: usize = SIGNATURE.len() + 4;

/// A whole header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// How many bytes it takes.
    pub len: usize,
    /// What it says.
    pub source: Source,
}

/// Who is at the far end of a connection, as a proxy says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The proxy itself, for example to see whether we are well (`LOCAL`).
    Proxy,
    /// Somebody whose address it does not say, or not in a form that means anything here (`UNKNOWN`, a Unix socket).
    Unnamed,
    /// This client.
    Client(SocketAddr),
}

/// Reads the header at the beginning of the bytes; none where they are the beginning of one that is not whole yet.
///
/// What follows the addresses in version 2 is skipped, a checksum too: to know it is left to the receiver (§2.2), and TCP
/// has its own.
pub fn parse(bytes: &[u8]) -> Result<Option<Header>, Why> {
    let is_begun = |mark: &[u8]| bytes.starts_with(mark) || mark.starts_with(bytes);
    if is_begun(WORD) {
        line(bytes)
    } else if is_begun(SIGNATURE) {
        block(bytes)
    } else {
        Err(Why::ProxyHeaderMissing)
    }
}

/// Reports whether these bytes, which came where a request should be, begin a header.
pub fn begins(bytes: &[u8]) -> bool {
    [&b"PROXY TCP"[..], b"PROXY UNKNOWN", &SIGNATURE[..5]].iter().any(|mark| bytes.starts_with(mark))
}

/// Version 1: `PROXY TCP4|TCP6 source destination source-port destination-port`, or `PROXY UNKNOWN` and anything (§2.1).
fn line(bytes: &[u8]) -> Result<Option<Header>, Why> {
    let seen = &bytes[..bytes.len().min(LINE_MAX)];
    let Some(end) = find(b'\n', seen) else {
        return if seen.len() == LINE_MAX { Err(Why::ProxyHeaderSyntax) } else { Ok(None) };
    };
    let line = seen[..end].strip_suffix(b"\r").ok_or(Why::ProxyHeaderSyntax)?;
    let mut words = line.splitn(3, |&byte| byte == b' ').skip(1);
    let source = match [words.next(), words.next()] {
        [Some(b"TCP4"), Some(ends)] => client::<Ipv4Addr>(ends),
        [Some(b"TCP6"), Some(ends)] => client::<Ipv6Addr>(ends),
        [Some(b"UNKNOWN"), _] => Some(Source::Unnamed),
        _ => None,
    };
    source.map(|source| Some(Header { len: end + 1, source })).ok_or(Why::ProxyHeaderSyntax)
}

/// Reads both ends of a connection. Only the source is used, but a line of which a part is wrong is wrong.
fn client<A: FromStr + Into<IpAddr>>(ends: &[u8]) -> Option<Source> {
    let mut words = str::from_utf8(ends).ok()?.split(' ');
    let [source, _destination] = [words.next()?.parse::<A>().ok()?, words.next()?.parse::<A>().ok()?];
    let [port, _destination_port] = [port(words.next()?)?, port(words.next()?)?];
    words.next().is_none().then(|| named(source.into(), port))
}

/// Reads a port, which has no zero before it (§2.1).
fn port(word: &str) -> Option<u16> {
    let is_plain = word == "0" || !word.starts_with('0');
    decimal(word.as_bytes()).filter(|_| is_plain).and_then(|port| port.try_into().ok())
}

/// Version 2: signature, version and command, family and protocol, length, addresses, and more that is skipped (§2.2).
fn block(bytes: &[u8]) -> Result<Option<Header>, Why> {
    let Some((fixed, rest)) = bytes.split_first_chunk::<FIXED>() else { return Ok(None) };
    let [.., command, kind, high, low] = *fixed;
    let length = usize::from(u16::from_be_bytes([high, low]));
    let (family, protocol) = (kind >> 4, kind & 0xf);
    let needed = match (command, family) {
        // What the proxy itself wants comes from nowhere else, whatever the family says.
        (0x20, _) => 0,
        (0x21, 0..=3) if protocol <= 2 => [0, 12, 36, 216][usize::from(family)],
        _ => return Err(Why::ProxyHeaderSyntax),
    };
    let len = FIXED + length;
    if length < needed || len > HEADER_MAX {
        return Err(Why::ProxyHeaderSyntax);
    }
    let Some(addresses) = rest.get(..length) else { return Ok(None) };
    let source = match (command, kind) {
        (0x20, _) => Source::Proxy,
        (_, 0x11) => at::<4>(addresses),
        (_, 0x21) => at::<16>(addresses),
        _ => Source::Unnamed,
    };
    Ok(Some(Header { len, source }))
}

/// The source in the addresses of version 2, each of `N` bytes: first it, then the destination, then the port of each.
fn at<const N: usize>(addresses: &[u8]) -> Source
where
    IpAddr: From<[u8; N]>,
{
    let ip = addresses.first_chunk::<N>();
    let port = addresses.get(2 * N..).and_then(|rest| rest.first_chunk());
    ip.zip(port).map_or(Source::Unnamed, |(ip, port)| named(IpAddr::from(*ip), u16::from_be_bytes(*port)))
}

/// An address of IPv4 that is written as one of IPv6 is what it is.
fn named(ip: IpAddr, port: u16) -> Source {
    Source::Client(SocketAddr::new(ip.to_canonical(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(line: &str) -> Result<Option<Source>, Why> {
        let found = parse(line.as_bytes())?;
        Ok(found.map(|header| {
            assert_eq!(header.len, line.find('\n').expect("a whole line") + 1, "{line:?}");
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
            assert_eq!(source(&format!("PROXY UNKNOWN{rest}\r\n")), Ok(Some(Source::Unnamed)), "{rest:?}");
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

    /// A header of version 2 with this version and command, family and protocol, and what comes after the length.
    fn v2(command: u8, kind: u8, rest: &[u8]) -> Vec<u8> {
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
            (0x21, 0x12, V4, Source::Unnamed),
            (0x21, 0x10, V4, Source::Unnamed),
            (0x21, 0x00, b"", Source::Unnamed),
            (0x21, 0x01, b"abc", Source::Unnamed),
            (0x21, 0x31, &[b'/'; 216], Source::Unnamed),
            (0x20, 0x00, b"", Source::Proxy),
            (0x20, 0x11, V4, Source::Proxy),
            (0x20, 0xff, b"abc", Source::Proxy),
        ] {
            let bytes = v2(command, kind, rest);
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
            (0x20, 0x00, &[0; HEADER_MAX - FIXED + 1]),
        ] {
            assert_eq!(parse(&v2(command, kind, rest)), Err(Why::ProxyHeaderSyntax), "{command:#x} {kind:#x}");
        }
        let largest = v2(0x21, 0x11, &[7; HEADER_MAX - FIXED]);
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
