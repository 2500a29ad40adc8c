//! Trusted proxies: the addresses and networks that may state a client's address. The only user of ipnet.

use std::net::IpAddr;
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net};

/// The networks of trusted proxies.
#[derive(Debug, Default)]
pub struct TrustedProxies(pub Vec<Network>);

/// An address or a network, such as `10.0.0.1` or `10.0.0.0/8`.
#[derive(Clone, Copy, Debug)]
pub struct Network(IpNet);

impl TrustedProxies {
    /// Reports whether the address is trusted. An IPv4-mapped IPv6 address counts as IPv4.
    pub fn contains(&self, ip: IpAddr) -> bool {
        self.0.iter().any(|network| network.0.contains(&ip.to_canonical()))
    }
}

impl FromStr for Network {
    type Err = String;

    /// Parses an address or a network. The error says what is expected.
    fn from_str(name: &str) -> Result<Network, String> {
        let name = name.trim();
        if let Ok(ip) = name.parse::<IpAddr>() {
            return Ok(Network(ip.to_canonical().into()));
        }
        let network = name.parse().map_err(|_| "expected an address or a network, such as 10.0.0.1 or 10.0.0.0/8")?;
        let network = canonical(network);
        let (ip, whole) = (network.addr(), network.trunc());
        if whole != network {
            return Err(format!("expected {whole} for the network or {ip} for the address"));
        }
        Ok(Network(network))
    }
}

/// Turns an IPv4-mapped IPv6 network into the IPv4 network.
fn canonical(network: IpNet) -> IpNet {
    let bits = network.prefix_len().checked_sub(96);
    match (network.addr().to_canonical(), network, bits) {
        (IpAddr::V4(ip), IpNet::V6(_), Some(bits)) => Ipv4Net::new(ip, bits).map_or(network, IpNet::V4),
        _ => network,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trusts(name: &str, ip: &str) -> bool {
        TrustedProxies(vec![name.parse().expect(name)]).contains(ip.parse().expect(ip))
    }

    #[test]
    fn network_contains_its_addresses_only() {
        for (name, inside, outside) in [
            ("10.0.0.0/8", "10.255.255.255", "11.0.0.0"),
            ("10.1.2.3", "10.1.2.3", "10.1.2.4"),
            ("10.1.2.3/32", "10.1.2.3", "10.1.2.2"),
            ("192.0.2.128/25", "192.0.2.128", "192.0.2.127"),
            ("0.0.0.0/0", "192.0.2.1", "2001:db8::1"),
            ("::/0", "2001:db8::1", "192.0.2.1"),
            ("2001:db8::/33", "2001:db8:7fff::1", "2001:db8:8000::1"),
            ("::1", "::1", "::2"),
            ("10.0.0.0/8", "::ffff:10.0.0.1", "::10.0.0.1"),
            ("::ffff:10.0.0.0/104", "10.255.0.1", "11.0.0.1"),
            ("::ffff:10.0.0.1", "10.0.0.1", "10.0.0.2"),
        ] {
            assert!(trusts(name, inside) && !trusts(name, outside), "{name}");
        }
        assert!(TrustedProxies::default().0.is_empty() && !TrustedProxies::default().contains([127, 0, 0, 1].into()));
    }

    #[test]
    fn invalid_network_error_shows_an_example() {
        for name in
            ["", "x", "10.0.0.0/33", "10.0.0.0/", "10.0.0/8", "10.0.0.0/-1", "10.0.0.0/255.0.0.0", "::/129", "[::1]"]
        {
            let error = name.parse::<Network>().expect_err(name);
            assert!(error.contains("10.0.0.0/8"), "{name}: {error}");
        }
        for (name, network, address) in
            [("10.1.2.3/8", "10.0.0.0/8", "10.1.2.3"), ("2001:db8::1/32", "2001:db8::/32", "2001:db8::1")]
        {
            let error = name.parse::<Network>().expect_err(name);
            assert_eq!(error, format!("expected {network} for the network or {address} for the address"));
        }
    }
}
