//! Configuration: the values of the command line checked against each other and the file system, as types of the layers
//! that use them.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs;
use std::io::ErrorKind;
use std::iter;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::SystemTime;

use crate::cli::Args;
use crate::files::cache::Cache;
use crate::files::root::{Node, Root, RootPath, Symlinks};
use crate::files::semaphore::Semaphore;
use crate::net::listener::{ListenOptions, own_addrs};
use crate::net::tls::certificates::{CertPair, Certificates};
use crate::net::tls::self_signed;
use crate::net::trusted_proxies::{Network, TrustedProxies};
use crate::proto::syntax::{is_field_byte, is_token};
use crate::proto::target::RelPath;
use crate::server;
use crate::server::access_log::Format;
use crate::server::connections::Limits;
use crate::server::endpoint::Service;
use crate::site;
use crate::site::content_coding::Compression;
use crate::site::headers::{DefaultHeaders, OWN_FIELDS};
use crate::site::precompressed::WarnOnce;

/// The error of a flag that has no meaning over plain HTTP.
const NEEDS_TLS: &str = "needs --tls-cert and --tls-key, or --tls-self-signed";

/// The most listings in memory at once.
const LISTINGS_MAX: u64 = 64;

/// The most memory for one listing, in bytes.
const LISTING_SPACE: u64 = 8 << 20;

/// The most memory for compressing one file, in bytes.
const COMPRESSION_SPACE: u64 = 32 << 20;

/// The most files compressed at once for the cache, on any number of processors.
const COMPRESSIONS_MAX: usize = 8;

/// The checked configuration.
#[derive(Debug)]
pub struct Config {
    /// The services to bind, each with its addresses and its port, which is 0 for any.
    pub services: Vec<(Service, Vec<IpAddr>, u16)>,
    /// How to listen.
    pub listen: ListenOptions,
    /// TLS, if the site is served over it.
    pub tls: Option<Tls>,
    /// The user to switch to once the server listens.
    pub user: Option<String>,
    /// Whether to sandbox the process.
    pub sandbox: bool,
    /// Whether only the addresses are printed at the start.
    pub is_quiet: bool,
    /// The format of the access log, if there is one.
    pub log: Option<Format>,
    /// The proxies that may state a client's address.
    pub trusted: TrustedProxies,
    /// The site.
    pub site: site::Site,
    /// The options of the server layer.
    pub server: server::Options,
}

/// The configuration of TLS.
#[derive(Debug)]
pub struct Tls {
    /// The files of its certificates, reread when they change; none for one made at startup.
    pub pairs: Vec<CertPair>,
    /// The max-age of Strict-Transport-Security, if it is sent.
    pub hsts_secs: Option<u64>,
}

impl Config {
    /// Checks the arguments together. `memory` is the limit on address space, in bytes; the cache takes at most a quarter.
    /// The error is a line for the operator.
    pub fn new(args: Args, memory: Option<u64>) -> Result<Config, String> {
        let memory = memory.unwrap_or(u64::MAX);
        let (root, opened) = root(args.root.as_ref(), args.symlinks)?;
        let headers = args.headers.iter().map(|line| header(line)).collect::<Result<Vec<_>, _>>()?;
        Ok(Config {
            services: services(&args),
            listen: ListenOptions { write_timeout: args.write_timeout, reuse_port: args.reuse_port },
            tls: tls(&args, &headers)?,
            sandbox: !args.no_sandbox,
            log: args.log.filter(|_| !args.quiet),
            trusted: trusted(args.trusted_proxies, args.proxy_protocol)?,
            site: site::Site {
                root,
                index: args.index,
                list: args.list,
                listings: Semaphore::new((memory / 8 / LISTING_SPACE).clamp(1, LISTINGS_MAX) as usize),
                not_found: not_found(args.not_found, &opened)?,
                hidden: args.hidden,
                charset: args.charset,
                files: Cache::new((args.cache_memory << 20).min(memory / 4)),
                headers: DefaultHeaders::new(args.cache.into(), &headers),
                compression: args.compress.and_then(|above| compression(above, memory)),
                precompressed: (!args.no_precompressed).then(WarnOnce::default),
            },
            server: server::Options {
                limits: Limits {
                    connections: args.max_connections,
                    per_ip: Some(args.max_per_ip).filter(|max| *max > 0),
                    header_timeout: args.header_timeout,
                    idle_timeout: args.idle_timeout,
                    write_timeout: args.write_timeout,
                },
                proxy_protocol: args.proxy_protocol,
                drain_delay: args.drain_delay,
                grace: args.grace,
            },
            user: args.user,
            is_quiet: args.quiet,
        })
    }
}

impl Tls {
    /// Reads or makes the certificates, and adds notes about them.
    pub fn load(&self, notes: &mut Vec<String>) -> Result<Certificates, String> {
        if !self.pairs.is_empty() {
            let (certificates, invalid) = Certificates::read(&self.pairs)?;
            notes.extend(invalid.iter().map(|what| format!("warning: {what}")));
            return Ok(certificates);
        }
        let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let mut addrs = vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        addrs.extend(own_addrs());
        let made = self_signed::make(&["localhost", host.trim()], &addrs, SystemTime::now());
        let (certificates, fingerprint) = made.map_err(|error| format!("--tls-self-signed: {error}"))?;
        notes.push(format!("its certificate is self-signed; SHA-256 fingerprint {fingerprint}"));
        Ok(certificates)
    }
}

/// Compression of files larger than `above`: one job a processor for files that the cache keeps, which takes
/// milliseconds, and half as many for files sent meanwhile. Under a memory limit an eighth of it has to suffice for one.
fn compression(above: u64, memory: u64) -> Option<Compression> {
    let processors = available_parallelism().map_or(1, NonZero::get).min(COMPRESSIONS_MAX);
    let fit = usize::try_from(memory / 8 / 2 / COMPRESSION_SPACE).unwrap_or(usize::MAX);
    let [cached, streams] = [processors, processors.div_ceil(2)].map(|most| Semaphore::new(most.min(fit)));
    (fit > 0).then_some(Compression { above, cached, streams })
}

/// The services to bind. The site's addresses, each once, are also those of the redirect; by default all, IPv4 and IPv6.
fn services(args: &Args) -> Vec<(Service, Vec<IpAddr>, u16)> {
    let mut seen = HashSet::new();
    let mut addrs: Vec<IpAddr> = args.bind.iter().copied().filter(|addr| seen.insert(*addr)).collect();
    if addrs.is_empty() {
        addrs = vec![Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()];
    }
    let redirect = args.https_redirect.map(|port| (Service::Redirect, addrs.clone(), port));
    let admin = args.admin.map(|addr| (Service::Admin, vec![addr.ip()], addr.port()));
    iter::once((Service::Site, addrs, args.port)).chain(redirect).chain(admin).collect()
}

/// TLS, if a certificate is configured.
fn tls(args: &Args, headers: &[(String, String)]) -> Result<Option<Tls>, String> {
    let (certs, keys) = (args.tls_cert.len(), args.tls_key.len());
    match (certs, keys, args.tls_self_signed) {
        (0, 0, false) if args.https_redirect.is_some() => return Err(format!("--https-redirect: {NEEDS_TLS}")),
        (0, 0, false) if args.hsts.is_some() => return Err(format!("--hsts: {NEEDS_TLS}")),
        (0, 0, false) => return Ok(None),
        (1.., _, true) | (_, 1.., true) => {
            return Err("--tls-self-signed: excludes --tls-cert and --tls-key".to_owned());
        }
        _ if certs != keys => {
            return Err(format!("--tls-key: expected one for each --tls-cert, got {keys} for {certs}"));
        }
        _ => {}
    }
    let pairs = pairs(args)?;
    if headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("Strict-Transport-Security")) {
        let what = "Strict-Transport-Security would be sent over plain HTTP too; use --hsts SECONDS";
        return Err(format!("--header: {what}"));
    }
    Ok(Some(Tls { pairs, hsts_secs: args.hsts.map(u64::from) }))
}

/// The certificates, each with its key. A key that the site would serve is refused.
fn pairs(args: &Args) -> Result<Vec<CertPair>, String> {
    let root = fs::canonicalize(&args.root);
    let is_below_root = |place: PathBuf| root.as_ref().is_ok_and(|root| place.starts_with(root));
    let is_served = |path: &Path| fs::canonicalize(path).is_ok_and(is_below_root);
    let pair = |(cert, key): (&OsString, &OsString)| {
        let key = Path::new(key);
        // `--symlinks all` follows a link in the root to the key.
        if is_served(key) || is_served(&Path::new(".").join(key.parent().unwrap_or(key))) {
            return Err(format!("--tls-key: {} lies below the root and would be served; move it", key.display()));
        }
        Ok(CertPair { cert: cert.into(), key: key.into() })
    };
    args.tls_cert.iter().zip(&args.tls_key).map(pair).collect()
}

/// The trusted proxies. PROXY headers need at least one.
fn trusted(networks: Vec<Network>, proxy_protocol: bool) -> Result<TrustedProxies, String> {
    if proxy_protocol && networks.is_empty() {
        let what = "needs --trusted-proxy with the proxy's address or network, such as 10.0.0.0/8";
        return Err(format!("--proxy-protocol: {what}"));
    }
    Ok(TrustedProxies(networks))
}

/// Opens the root, to refuse it early. The path is made absolute; its links are followed anew for each connection.
fn root(path: &Path, symlinks: Symlinks) -> Result<(RootPath, Arc<Root>), String> {
    let shown = path.display();
    match fs::metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Err(format!("--root: no such directory: {shown}")),
        Ok(found) if !found.is_dir() => {
            let hint = "to serve one file, name the directory it is in";
            return Err(format!("--root: not a directory: {shown}; {hint}"));
        }
        _ => {}
    }
    let absolute = std::path::absolute(path).map_err(|error| format!("--root: {error}: {shown}"))?;
    let root = RootPath::new(absolute, symlinks);
    let opened = root.open().map_err(|error| format!("--root: cannot be opened: {shown}: {error}"))?;
    let lacks = |error| format!("--root: this kernel lacks openat2, which Linux has since 5.6: {error}");
    opened.probe().map_err(lacks)?;
    Ok((root, opened))
}

/// The page for missing files. A configured one has to exist; the default need not.
fn not_found(page: Option<RelPath>, root: &Root) -> Result<RelPath, String> {
    let Some(page) = page else { return Ok(RelPath::new(b"404.html").expect("a file name")) };
    if matches!(root.open(&page), Ok(Node::File(_))) {
        return Ok(page);
    }
    Err(format!("--not-found: no such file in the root: {}", String::from_utf8_lossy(page.as_bytes())))
}

/// Parses a response field; it has no control characters, and `serve` does not write it from what it sends.
fn header(line: &str) -> Result<(String, String), String> {
    let (name, value) = line.split_once(':').unwrap_or_default();
    let value = value.trim_matches([' ', '\t']);
    if !is_token(name.as_bytes()) || !value.bytes().all(is_field_byte) {
        let example = "expected a name, a colon and a value, such as 'X-Frame-Options: DENY'";
        return Err(format!("--header: {example}, got {line:?}"));
    }
    if OWN_FIELDS.iter().any(|own| own.eq_ignore_ascii_case(name)) {
        return Err(format!("--header: {name} is written by serve from what it sends"));
    }
    Ok((name.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_cannot_break_a_response() {
        let good = header("X-Frame-Options:  DENY ").expect("a field");
        assert_eq!(good, ("X-Frame-Options".to_owned(), "DENY".to_owned()));
        for bad in ["", "a", ": b", "a b: c", "a: b\r\nc: d", "a: b\0", "a\n: b", "content-length: 5", "Date: x"] {
            assert!(header(bad).is_err(), "{bad:?}");
        }
    }
}
