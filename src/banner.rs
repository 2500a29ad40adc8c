//! Startup banner: the addresses, the URLs and the notes printed on standard error when the server listens.

use std::net::{IpAddr, SocketAddr};

use crate::net::listener::own_addrs;
use crate::server::endpoint::{Endpoint, Service};

/// The banner. Programs read its first line, which is the site's address. With `notes` it has URLs and notes too.
pub fn banner(is_tls: bool, endpoints: &[Endpoint], notes: Option<&[String]>) -> String {
    let scheme = if is_tls { "https" } else { "http" };
    let addrs_of = |service| {
        endpoints.iter().filter(move |endpoint| endpoint.service == service).map(|endpoint| endpoint.listener.addr)
    };
    let sites: Vec<SocketAddr> = addrs_of(Service::Site).collect();
    let urls = if notes.is_some() { urls(scheme, &sites) } else { Vec::new() };
    let sites = sites.iter().map(|addr| format!("listening on {scheme}://{addr}\n"));
    let redirects = addrs_of(Service::Redirect).map(|addr| format!("redirecting on http://{addr}\n"));
    let admins = addrs_of(Service::Admin).map(|addr| format!("admin on http://{addr}\n"));
    let urls = urls.iter().map(|url| format!("  {url}\n"));
    let notes = notes.unwrap_or_default().iter().map(|note| format!("{note}\n"));
    sites.chain(redirects).chain(admins).chain(urls).chain(notes).collect()
}

/// The URLs at which a browser on this machine or near it reaches these addresses.
fn urls(scheme: &str, addrs: &[SocketAddr]) -> Vec<String> {
    let mut urls = Vec::new();
    for addr in addrs {
        let hosts = if addr.ip().is_unspecified() {
            let ips = own_addrs().into_iter().filter(|ip| ip.is_ipv4() == addr.is_ipv4());
            [String::from("localhost")].into_iter().chain(ips.map(host)).collect()
        } else {
            vec![host(addr.ip())]
        };
        for host in hosts {
            let url = match (scheme, addr.port()) {
                ("http", 80) | ("https", 443) => format!("{scheme}://{host}/"),
                (_, port) => format!("{scheme}://{host}:{port}/"),
            };
            if !urls.contains(&url) {
                urls.push(url);
            }
        }
    }
    urls
}

fn host(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn url_omits_default_port_and_brackets_ipv6() {
        let urls_of = |scheme, addr: &str| urls(scheme, &[addr.parse().expect("an address")]);
        for (scheme, addr, url) in [
            ("https", "[::1]:443", "https://[::1]/"),
            ("https", "127.0.0.1:80", "https://127.0.0.1:80/"),
            ("http", "127.0.0.1:8080", "http://127.0.0.1:8080/"),
            ("http", "127.0.0.1:80", "http://127.0.0.1/"),
            ("http", "[::1]:8080", "http://[::1]:8080/"),
            ("http", "0.0.0.0:8080", "http://localhost:8080/"),
        ] {
            assert_eq!(urls_of(scheme, addr)[0], url, "{addr}");
        }
    }
}
