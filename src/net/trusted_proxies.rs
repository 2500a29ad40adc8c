//! Addresses that are trusted to speak for others: proxies. The only user of ipnet.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};

/// The addresses of proxies that are trusted.
#[derive(Debug, Default)]
pub struct TrustedProxies {
    networks: Vec<IpNet>,
}

impl TrustedProxies {
    /// Reads addresses and networks, such as `10.0.0.1` and `10.0.0.0/8`. The error says what to type instead.
    pub fn parse(names: &[String]) -> Result<TrustedProxies, String> {
        let networks = names.iter().map(|name| network(name.trim()));
        Ok(TrustedProxies { networks: networks.collect::<Result<_, _>>()? })
    }

    /// Reports whether nobody is trusted.
    pub fn is_empty(&self) -> bool {
        self.networks.is_empty()
    }

    /// Reports whether the address is trusted. An address of IPv4 that is written as one of IPv6 is what it is.
    pub fn contains(&self, ip: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(&ip.to_canonical()))
    }
}

fn network(name: &str) -> Result<IpNet, String> {
    if let Ok(ip) = name.parse::<IpAddr>() {
        return Ok(IpNet::from(ip.to_canonical()));
    }
    let network = canonical(name.parse::<IpNet>().map_err(|_| {
        format!("an address or a network, such as 10.0.0.1, 10.0.0.0/8 or 2001:db8::/32, not {name:?}")
    })?);
    if network.trunc() != network {
        let (ip, whole) = (network.addr(), network.trunc());
        return Err(format!(
            "{name} is one address in a network; type {whole} for the network, or {ip} for the address"
        ));
    }
    Ok(network)
}

/// A network of IPv4 that is written as one of IPv6 is what it is.
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
        TrustedProxies::parse(&[name.to_owned()]).expect(name).contains(ip.parse().expect(ip))
    }

    #[test]
    fn a_network_holds_its_addresses_and_no_other() {
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
        assert!(TrustedProxies::default().is_empty() && !TrustedProxies::default().contains([127, 0, 0, 1].into()));
    }

    #[test]
    fn what_is_no_network_is_refused_with_what_to_type() {
        for name in
            ["", "x", "10.0.0.0/33", "10.0.0.0/", "10.0.0/8", "10.0.0.0/-1", "10.0.0.0/255.0.0.0", "::/129", "[::1]"]
        {
            let error = TrustedProxies::parse(&[name.to_owned()]).expect_err(name);
            assert!(error.contains(&format!("{name:?}")) && error.contains("10.0.0.0/8"), "{error}");
        }
        for (name, network, address) in
            [("10.1.2.3/8", "10.0.0.0/8", "10.1.2.3"), ("2001:db8::1/32", "2001:db8::/32", "2001:db8::1")]
        {
            let error = TrustedProxies::parse(&[name.to_owned()]).expect_err(name);
            assert!(
                error.contains(&format!("type {network} ")) && error.contains(&format!("or {address} ")),
                "{error}"
            );
        }
    }
}
