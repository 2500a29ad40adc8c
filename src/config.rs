//! What it means: every value parsed into its final type, or an error that names the flag and says what to type.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fmt;
use std::fs;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZero;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Duration;

use crate::cli::Args;
use crate::files::cache::Cache;
use crate::files::root::{Node, Root, RootPath, Symlinks};
use crate::net::tls::certificates::CertPair;
use crate::net::trusted_proxies::TrustedProxies;
use crate::proto::syntax::{is_field_byte, is_token};
use crate::proto::target::RelPath;
use crate::server::access_log::Format;
use crate::server::{self, Times};
use crate::site;
use crate::site::content_coding::Compression;
use crate::site::headers::{DefaultHeaders, OWN_FIELDS};
use crate::site::precompressed::WarnOnce;
use crate::site::semaphore::Semaphore;

/// A thread takes four memory maps, and Linux gives a process 65,530 of them unless told otherwise.
const CONNECTIONS_MAX: u64 = 16_000;

/// The field that tells browsers to come by TLS alone (RFC 6797 §6.1).
const HSTS: &str = "Strict-Transport-Security";

/// How many listings may be in memory at once.
const LISTINGS_MAX: usize = 64;

/// The most memory that making and holding one takes, with some to spare.
const LISTING_SPACE: u64 = 8 << 20;

/// The most memory that compressing one file takes, with some to spare.
const COMPRESSION_SPACE: u64 = 32 << 20;

/// How many files may be compressed at once to be kept, however many processors there are; half as many meanwhile are sent.
const COMPRESSIONS_MAX: usize = 8;

/// Everything the program is asked to do.
#[derive(Debug)]
pub struct Config {
    /// The addresses to listen on.
    pub addrs: Vec<IpAddr>,
    /// The port to listen on; 0 for any.
    pub port: u16,
    /// Whether other processes may listen at the same addresses.
    pub reuse_port: bool,
    /// Where the server answers for itself, if anywhere.
    pub admin: Option<SocketAddr>,
    /// How the site is served over TLS, if it is.
    pub tls: Option<Tls>,
    /// Whose rights to take on once it listens.
    pub user: Option<String>,
    /// Whether to give up what serving files does not need.
    pub sandbox: bool,
    /// The form of the access log, if there is one.
    pub log: Option<Format>,
    /// The proxies that are believed who their clients are.
    pub trusted: TrustedProxies,
    /// What the site layer is asked for.
    pub site: site::Site,
    /// What the server layer is asked for.
    pub server: server::Options,
}

/// What is asked for of a site over TLS.
#[derive(Debug)]
pub struct Tls {
    /// Where its certificates come from.
    pub certificates: CertificateSource,
    /// The port that sends plain HTTP there, if there is one; 0 for any.
    pub redirect_port: Option<u16>,
    /// For how long browsers are to come by TLS alone, if they are told.
    pub hsts_secs: Option<u64>,
}

/// Where certificates come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CertificateSource {
    /// Files.
    Files(Vec<CertPair>),
    /// One is made at the start.
    SelfSigned,
}

/// A value that cannot be used.
#[derive(Debug, PartialEq, Eq)]
pub struct ConfigError {
    flag: &'static str,
    what: String,
}

impl Config {
    /// Reads the values of the arguments. Files kept in memory take no more than a quarter of this many bytes, if there is
    /// a limit.
    pub fn new(args: &Args, memory: Option<u64>) -> Result<Config, ConfigError> {
        let symlinks = symlinks(&args.symlinks)?;
        let (root, opened) = root(args.root.as_deref().unwrap_or(OsStr::new(".")), symlinks)?;
        let headers = args.headers.iter().map(|line| header(line)).collect::<Result<Vec<_>, _>>()?;
        let cache_secs = number("--cache", "seconds", &args.cache, 0, u64::from(u32::MAX))?;
        let seconds = |flag, text: &str| number(flag, "seconds", text, 1, 86_400).map(Duration::from_secs);
        let log = log_format(&args.log)?;
        let cache_memory = number("--cache-memory", "MiB", &args.cache_memory, 0, 1 << 20)? << 20;
        let trusted = trusted(&args.trusted_proxies, args.proxy_protocol)?;
        let tls = tls(args, &headers)?;
        Ok(Config {
            addrs: addrs(&args.bind)?,
            port: number("--port", "ports", &args.port, 0, u64::from(u16::MAX))? as u16,
            reuse_port: args.reuse_port,
            admin: args.admin.as_deref().map(admin).transpose()?,
            tls,
            user: args.user.clone(),
            sandbox: !args.no_sandbox,
            log: if args.quiet { None } else { log },
            trusted,
            site: site::Site {
                root,
                index: index(&args.index)?,
                list: args.list,
                listings: Semaphore::new(memory.map_or(LISTINGS_MAX, |memory| listings_in(memory / 8))),
                not_found: not_found(args.not_found.as_deref(), &opened)?,
                hidden: args.hidden,
                charset: charset(&args.charset)?,
                files: Cache::new(memory.map_or(cache_memory, |memory| cache_memory.min(memory / 4))),
                headers: DefaultHeaders::new(cache_secs, &headers),
                compression: compression(&args.compress, memory)?,
                precompressed: (!args.no_precompressed).then(WarnOnce::default),
            },
            server: server::Options {
                max_connections: number("--max-connections", "connections", &args.max_connections, 1, CONNECTIONS_MAX)?
                    as usize,
                max_per_ip: match number("--max-per-ip", "connections", &args.max_per_ip, 0, CONNECTIONS_MAX)? {
                    0 => None,
                    max => Some(max as usize),
                },
                proxy_protocol: args.proxy_protocol,
                times: Times {
                    header: seconds("--header-timeout", &args.header_timeout)?,
                    idle: seconds("--idle-timeout", &args.idle_timeout)?,
                    write: seconds("--write-timeout", &args.write_timeout)?,
                },
                drain_delay: Duration::from_secs(number("--drain-delay", "seconds", &args.drain_delay, 0, 86_400)?),
                grace: seconds("--grace", &args.grace)?,
                is_quiet: args.quiet,
            },
        })
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.flag, self.what)
    }
}

fn wrong<T>(flag: &'static str, what: String) -> Result<T, ConfigError> {
    Err(ConfigError { flag, what })
}

fn number(flag: &'static str, unit: &str, text: &str, least: u64, most: u64) -> Result<u64, ConfigError> {
    match text.parse() {
        Ok(number) if (least..=most).contains(&number) => Ok(number),
        _ => wrong(flag, format!("{unit} are a number from {least} to {most}, not {text:?}")),
    }
}

/// How many listings so much memory is enough for.
fn listings_in(memory: u64) -> usize {
    (memory / LISTING_SPACE).clamp(1, LISTINGS_MAX as u64) as usize
}

/// What is compressed: at once by as many as there are processors for what is kept, which takes milliseconds, and by half of
/// them for what is sent meanwhile. Where memory is limited an eighth of it has to be enough, or nothing is.
fn compression(text: &str, memory: Option<u64>) -> Result<Option<Compression>, ConfigError> {
    if text == "off" {
        return Ok(None);
    }
    let Ok(above) = text.parse() else {
        let what = format!("how many bytes a text has that is not worth it, such as 1024, or off, not {text:?}");
        return wrong("--compress", what);
    };
    let processors = available_parallelism().map_or(1, NonZero::get).min(COMPRESSIONS_MAX);
    let fit = memory.map_or(usize::MAX, |memory| (memory / 8 / 2 / COMPRESSION_SPACE) as usize);
    let at_once = [processors, processors.div_ceil(2)].map(|most| most.min(fit));
    Ok((fit > 0).then(|| Compression::new(above, at_once)))
}

/// All addresses, IPv4 and IPv6, unless some are named.
fn addrs(names: &[String]) -> Result<Vec<IpAddr>, ConfigError> {
    if names.is_empty() {
        return Ok(vec![IpAddr::from([0u8; 4]), IpAddr::from([0u16; 8])]);
    }
    let mut addrs = names
        .iter()
        .map(|name| match name.trim_start_matches('[').trim_end_matches(']').parse() {
            Ok(addr) => Ok(addr),
            Err(_) => wrong("--bind", format!("not an IP address, such as 127.0.0.1 or ::1: {name:?}")),
        })
        .collect::<Result<Vec<_>, _>>()?;
    let mut seen = HashSet::new();
    addrs.retain(|addr| seen.insert(*addr));
    Ok(addrs)
}

/// TLS, where there are keys or are to be.
fn tls(args: &Args, headers: &[(String, String)]) -> Result<Option<Tls>, ConfigError> {
    let pairs: Vec<_> = args.tls_cert.iter().zip(&args.tls_key).map(|(cert, key)| pair(cert, key)).collect();
    let certificates = match (args.tls_cert.len(), args.tls_key.len(), args.tls_self_signed) {
        (0, 0, false) => None,
        (0, 0, true) => Some(CertificateSource::SelfSigned),
        (_, _, true) => return wrong("--tls-self-signed", "takes the place of --tls-cert and --tls-key".to_owned()),
        (certs, keys, false) if certs == keys => Some(CertificateSource::Files(pairs)),
        (certs, keys, false) => {
            return wrong("--tls-key", format!("each --tls-cert needs its key; there are {certs} and {keys}"));
        }
    };
    let Some(certificates) = certificates else {
        let flags = [("--https-redirect", &args.https_redirect), ("--hsts", &args.hsts)];
        return match flags.into_iter().find(|(_, value)| value.is_some()) {
            Some((flag, _)) => wrong(flag, "needs --tls-cert and --tls-key, or --tls-self-signed".to_owned()),
            None => Ok(None),
        };
    };
    if let CertificateSource::Files(pairs) = &certificates {
        pairs.iter().try_for_each(|pair| is_outside(&pair.key, args.root.as_deref()))?;
    }
    if headers.iter().any(|(name, _)| name.eq_ignore_ascii_case(HSTS)) {
        return wrong("--header", format!("{HSTS} would be said over plain HTTP too; use --hsts SECONDS"));
    }
    let redirect = |text: &String| number("--https-redirect", "ports", text, 0, u64::from(u16::MAX));
    let hsts = |text: &String| number("--hsts", "seconds", text, 0, u64::from(u32::MAX));
    Ok(Some(Tls {
        certificates,
        redirect_port: args.https_redirect.as_ref().map(redirect).transpose()?.map(|port| port as u16),
        hsts_secs: args.hsts.as_ref().map(hsts).transpose()?,
    }))
}

fn pair(cert: &OsStr, key: &OsStr) -> CertPair {
    CertPair { cert: cert.into(), key: key.into() }
}

/// Refuses a key that anyone could ask for.
fn is_outside(key: &Path, root: Option<&OsStr>) -> Result<(), ConfigError> {
    let root = fs::canonicalize(root.unwrap_or(OsStr::new(".")));
    // A link in the root is followed with `--symlinks all`.
    let named = key.parent().map(|dir| if dir == Path::new("") { Path::new(".") } else { dir });
    let places = [fs::canonicalize(key).ok(), named.and_then(|dir| fs::canonicalize(dir).ok())];
    match root {
        Ok(root) if places.iter().flatten().any(|place| place.starts_with(&root)) => {
            wrong("--tls-key", format!("{} lies below the root and would be served; move it", key.display()))
        }
        _ => Ok(()),
    }
}

/// One address alone: what is told there is not for everybody.
fn admin(text: &str) -> Result<SocketAddr, ConfigError> {
    text.parse().or_else(|_| {
        wrong("--admin", format!("an IP address and a port, such as 127.0.0.1:9100 or [::1]:9100, not {text:?}"))
    })
}

/// The proxies that are trusted. Who is asked for PROXY headers has to be named.
fn trusted(names: &[String], proxy_protocol: bool) -> Result<TrustedProxies, ConfigError> {
    let trusted = TrustedProxies::parse(names).or_else(|error| wrong("--trusted-proxy", error))?;
    if proxy_protocol && trusted.is_empty() {
        let from = "from whom? add --trusted-proxy with the proxy's address or network, such as 10.0.0.0/8";
        return wrong("--proxy-protocol", from.to_owned());
    }
    Ok(trusted)
}

/// Checks that the root is a directory that can be served on this system. The path is made absolute, so that it means
/// the same for every connection; its links are followed anew for each.
fn root(path: &OsStr, symlinks: Symlinks) -> Result<(RootPath, Arc<Root>), ConfigError> {
    const FLAG: &str = "--root";
    let shown = Path::new(path).display();
    match fs::metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return wrong(FLAG, format!("no such directory: {shown}")),
        Ok(found) if !found.is_dir() => {
            return wrong(FLAG, format!("not a directory: {shown}; to serve one file, name the directory it is in"));
        }
        _ => {}
    }
    let path = std::path::absolute(path).or_else(|error| wrong(FLAG, format!("{error}: {shown}")))?;
    let root = RootPath::new(path, symlinks);
    let opened = root.open().or_else(|error| wrong(FLAG, format!("cannot be opened: {shown}: {error}")))?;
    match opened.probe() {
        Ok(()) => Ok((root, opened)),
        Err(error) => wrong(FLAG, format!("this system has no openat2, which Linux has since 5.6: {error}")),
    }
}

fn symlinks(text: &str) -> Result<Symlinks, ConfigError> {
    match text {
        "inside" => Ok(Symlinks::Inside),
        "none" => Ok(Symlinks::None),
        "all" => Ok(Symlinks::All),
        _ => wrong("--symlinks", format!("one of inside, none and all, not {text:?}")),
    }
}

fn index(names: &str) -> Result<Vec<RelPath>, ConfigError> {
    let name = |name: &str| match RelPath::new(name.as_bytes()) {
        Some(path) if !name.contains('/') => Ok(path),
        _ => wrong("--index", format!("names of files, separated by commas, not {names:?}")),
    };
    names.split(',').map(str::trim).map(name).collect()
}

/// The page for what is not there. One that is named has to be there; the default need not.
fn not_found(path: Option<&OsStr>, root: &Root) -> Result<RelPath, ConfigError> {
    const FLAG: &str = "--not-found";
    let name = path.unwrap_or(OsStr::new("404.html"));
    let Some(page) = RelPath::new(name.as_bytes()) else {
        return wrong(FLAG, format!("a path below the root, such as errors/404.html, not {name:?}"));
    };
    match root.open(&page) {
        Ok(Node::File(_)) => Ok(page),
        _ if path.is_none() => Ok(page),
        _ => wrong(FLAG, format!("no such file in the root: {}", Path::new(name).display())),
    }
}

fn charset(name: &str) -> Result<Option<String>, ConfigError> {
    match name {
        "off" => Ok(None),
        name if is_token(name.as_bytes()) => Ok(Some(name.to_owned())),
        _ => wrong("--charset", format!("the name of a charset, such as utf-8, or off, not {name:?}")),
    }
}

fn header(line: &str) -> Result<(String, String), ConfigError> {
    const FLAG: &str = "--header";
    let Some((name, value)) = line.split_once(':') else {
        return wrong(FLAG, format!("a name, a colon and a value, such as 'X-Frame-Options: DENY', not {line:?}"));
    };
    let value = value.trim_matches([' ', '\t']);
    if !is_token(name.as_bytes()) {
        return wrong(FLAG, format!("a name is made of letters, digits and hyphens, not {name:?}"));
    }
    if !value.bytes().all(is_field_byte) {
        return wrong(FLAG, format!("a value holds no line end and no control character: {line:?}"));
    }
    if OWN_FIELDS.iter().any(|own| own.eq_ignore_ascii_case(name)) {
        return wrong(FLAG, format!("{name} is written by serve from what it sends"));
    }
    Ok((name.to_owned(), value.to_owned()))
}

fn log_format(text: &str) -> Result<Option<Format>, ConfigError> {
    match text {
        "common" => Ok(Some(Format::Common)),
        "combined" => Ok(Some(Format::Combined)),
        "json" => Ok(Some(Format::Json)),
        "off" => Ok(None),
        _ => wrong("--log", format!("one of common, combined, json and off, not {text:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_a_field_that_cannot_break_an_answer() {
        let good = header("X-Frame-Options:  DENY ").expect("a field");
        assert_eq!(good, ("X-Frame-Options".to_owned(), "DENY".to_owned()));
        for bad in ["", "a", ": b", "a b: c", "a: b\r\nc: d", "a: b\0", "a\n: b", "content-length: 5", "Date: x"] {
            assert!(header(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn an_error_names_the_flag_and_says_what_fits() {
        let error = number("--port", "ports", "99999", 0, 65535).expect_err("too large");
        assert_eq!(error.to_string(), "--port: ports are a number from 0 to 65535, not \"99999\"");
    }
}
