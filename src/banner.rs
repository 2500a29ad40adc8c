//! Startup banner: the addresses, the URLs and the notes printed on standard error when the server listens.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use crate::net::listener::own_addrs;
use crate::server::endpoint::{Endpoint, Service};

/// A URL's scheme (RFC 9110 §4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Plain HTTP.
    Http,
    /// HTTP over TLS.
    Https,
}

/// The banner. Programs read its first line, which is the site's address. With `notes` it has URLs and notes too.
pub fn banner(scheme: Scheme, endpoints: &[Endpoint], notes: Option<&[String]>) -> String {
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
fn urls(scheme: Scheme, addrs: &[SocketAddr]) -> Vec<String> {
    let mut urls = Vec::new();
    let mut add = |host: String, port: u16| {
        let port = if port == scheme.default_port() { String::new() } else { format!(":{port}") };
        let url = format!("{scheme}://{host}{port}/");
        if !urls.contains(&url) {
            urls.push(url);
        }
    };
    for addr in addrs {
        if !addr.ip().is_unspecified() {
            add(host(addr.ip()), addr.port());
            continue;
        }
        add("localhost".to_owned(), addr.port());
        for ip in own_addrs().into_iter().filter(|ip| ip.is_ipv4() == addr.is_ipv4()) {
            add(host(ip), addr.port());
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

impl Scheme {
    fn default_port(self) -> u16 {
        match self {
            Scheme::Http => 80,
            Scheme::Https => 443,
        }
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn url_omits_default_port_and_brackets_ipv6() {
        let urls_of = |scheme, addr: &str| urls(scheme, &[addr.parse().expect("an address")]);
        for (scheme, addr, url) in [
            (Scheme::Https, "[::1]:443", "https://[::1]/"),
            (Scheme::Https, "127.0.0.1:80", "https://127.0.0.1:80/"),
            (Scheme::Http, "127.0.0.1:8080", "http://127.0.0.1:8080/"),
            (Scheme::Http, "127.0.0.1:80", "http://127.0.0.1/"),
            (Scheme::Http, "[::1]:8080", "http://[::1]:8080/"),
            (Scheme::Http, "0.0.0.0:8080", "http://localhost:8080/"),
        ] {
            assert_eq!(urls_of(scheme, addr)[0], url, "{addr}");
        }
    }
}
