//! Startup banner: the addresses, the URLs and the notes printed on standard error when the server listens.

use std::net::SocketAddr;

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
    let default_port = if scheme == "https" { ":443" } else { ":80" };
    let mut urls = Vec::new();
    for addr in addrs {
        let with_port = |ip| SocketAddr::new(ip, addr.port()).to_string();
        let mut hosts = vec![with_port(addr.ip())];
        if addr.ip().is_unspecified() {
            hosts = vec![format!("localhost:{}", addr.port())];
            hosts.extend(own_addrs().into_iter().filter(|ip| ip.is_ipv4() == addr.is_ipv4()).map(with_port));
        }
        for host in hosts {
            let url = format!("{scheme}://{}/", host.strip_suffix(default_port).unwrap_or(&host));
            if !urls.contains(&url) {
                urls.push(url);
            }
        }
    }
    urls
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
