//! Command line: the flags, their environment variables, their types and their help.
//!
//! A value is checked here as far as it needs nothing else; `config` relates values to each other and to the file system.

use std::error::Error;
use std::ffi::{OsStr, OsString};
use std::fmt::Display;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::os::unix::ffi::OsStrExt;
use std::str::FromStr;
use std::time::Duration;

use clap::builder::{BoolishValueParser, OsStringValueParser, TypedValueParser};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, CommandFactory, FromArgMatches, Parser};

use crate::files::root::Symlinks;
use crate::net::trusted_proxies::Network;
use crate::proto::syntax::is_token;
use crate::proto::target::RelPath;
use crate::server::access_log::Format;

/// A thread takes four memory maps; by default Linux gives a process 65,530.
const CONNECTIONS_MAX: usize = 16_000;

/// Serves the files of a directory over HTTP/1.1, 1.0 and 0.9: one blocking thread per connection.
///
/// Each flag can also be given as the environment variable named in brackets; a flag takes precedence.
#[derive(Debug, Parser)]
#[command(name = "serve", version, max_term_width = 100, allow_negative_numbers = true)]
pub struct Args {
    /// Directory to serve [default: .]
    #[arg(value_name = "DIR")]
    pub dir: Option<OsString>,
    /// Directory to serve, as a flag
    #[arg(short, long, value_name = "DIR", default_value = ".", hide_default_value = true)]
    pub root: OsString,
    /// Port to listen on; 0 picks a free one
    #[arg(short, long, value_name = "N", default_value = "8080", value_parser = number("a port", 0..=u16::MAX))]
    pub port: u16,
    /// IP address to listen on; repeatable [default: all, 0.0.0.0 and ::]
    #[arg(short, long, value_name = "ADDR", value_delimiter = ',', value_parser = ip)]
    pub bind: Vec<IpAddr>,
    /// Let other processes listen at the same addresses
    #[arg(long)]
    pub reuse_port: bool,
    /// Address and port for /health and /metrics [default: none]
    #[arg(long, value_name = "ADDR:PORT", value_parser = socket_addr)]
    pub admin: Option<SocketAddr>,
    /// PEM certificate chain for TLS; repeatable, one a line in the variable
    #[arg(long, value_name = "FILE")]
    pub tls_cert: Vec<OsString>,
    /// PEM key of each certificate, in the same order
    #[arg(long, value_name = "FILE")]
    pub tls_key: Vec<OsString>,
    /// Serve over TLS with a certificate made at startup
    #[arg(long)]
    pub tls_self_signed: bool,
    /// Port that redirects plain HTTP to HTTPS
    #[arg(long, value_name = "PORT", value_parser = number("a port", 0..=u16::MAX))]
    pub https_redirect: Option<u16>,
    /// Send Strict-Transport-Security with this max-age [default: none]
    #[arg(long, value_name = "SECONDS", value_parser = number("seconds", 0..=u32::MAX))]
    pub hsts: Option<u32>,
    /// Index files of a directory, by preference, separated by commas
    #[arg(long, value_name = "NAMES", default_value = "index.html", value_delimiter = ',')]
    #[arg(action = ArgAction::Set, value_parser = file_name)]
    pub index: Vec<RelPath>,
    /// List directories that have no index file
    #[arg(long)]
    pub list: bool,
    /// Page for missing files, below the root [default: 404.html, if present]
    #[arg(long, value_name = "FILE", value_parser = below_root())]
    pub not_found: Option<RelPath>,
    /// Serve names that begin with a dot, not only /.well-known/
    #[arg(long)]
    pub hidden: bool,
    /// Follow symbolic links that stay inside the root, none, or all
    #[arg(long, value_name = "inside|none|all", default_value = "inside", value_parser = symlinks)]
    pub symlinks: Symlinks,
    /// Charset of text files; "off" sends none
    #[arg(long, value_name = "NAME|off", default_value = "utf-8", value_parser = charset)]
    pub charset: std::option::Option<String>,
    /// Field for every response; repeatable, one a line in the variable
    #[arg(long = "header", value_name = "K: V")]
    pub headers: Vec<String>,
    /// Let caches reuse files for this long; 0: always revalidate
    #[arg(long, value_name = "SECONDS", default_value = "0", value_parser = number("seconds", 0..=u32::MAX))]
    pub cache: u32,
    /// Memory for cached files; 0 disables
    #[arg(long, value_name = "MIB", default_value = "64", value_parser = number("MiB", 0..=1_u64 << 20))]
    pub cache_memory: u64,
    /// Never serve app.js.br, .zst or .gz in place of app.js
    #[arg(long)]
    pub no_precompressed: bool,
    /// Compress text files larger than BYTES; "off" disables
    #[arg(long, value_name = "BYTES|off", default_value = "1024", value_parser = size)]
    pub compress: std::option::Option<u64>,
    /// Switch to this user once listening; needs root
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,
    /// Do not sandbox the process (writes, other files, exec, outgoing connections)
    #[arg(long)]
    pub no_sandbox: bool,
    /// Maximum number of connections; a full table evicts the longest idle
    #[arg(long, value_name = "N", default_value = "1024", value_parser = number("connections", 1..=CONNECTIONS_MAX))]
    pub max_connections: usize,
    /// Maximum per client address or IPv6 /64; 0: no limit
    #[arg(long, value_name = "N", default_value = "0", value_parser = number("connections", 0..=CONNECTIONS_MAX))]
    pub max_per_ip: usize,
    /// Proxy address or network that may state the client's address; repeatable
    #[arg(long = "trusted-proxy", value_name = "CIDR", value_delimiter = ',')]
    pub trusted_proxies: Vec<Network>,
    /// Require a PROXY header, version 1 or 2, from trusted proxies
    #[arg(long)]
    pub proxy_protocol: bool,
    /// Time limit for a request to arrive
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = secs(1))]
    pub header_timeout: Duration,
    /// Time limit for an idle connection between requests
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = secs(1))]
    pub idle_timeout: Duration,
    /// Time limit for each 64 KiB of a response
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = secs(1))]
    pub write_timeout: Duration,
    /// Let /health return 503 for this long before shutdown
    #[arg(long, value_name = "SECONDS", default_value = "0", value_parser = secs(0))]
    pub drain_delay: Duration,
    /// Time limit for responses in progress at shutdown
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = secs(1))]
    pub grace: Duration,
    /// Format of the access log on standard output
    #[arg(long, value_name = "common|combined|json|off", default_value = "common", value_parser = log_format)]
    pub log: std::option::Option<Format>,
    /// Show no URLs, no access log, and only errors
    #[arg(short, long)]
    pub quiet: bool,
    /// Log more: -v connections, -vv the seven steps of each exchange
    #[arg(short, long, action = ArgAction::Count, value_parser = number("a number", 0..=u8::MAX))]
    pub verbose: u8,
}

/// Parses the command line and the environment. The error is also clap's way to request its help.
pub fn parse() -> Result<Args, clap::Error> {
    let mut command = Args::command().mut_args(with_variable);
    let matches = command.try_get_matches_from_mut(std::env::args_os())?;
    let mut args = Args::from_arg_matches(&matches)?;
    let is_from = |name, source| matches.value_source(name) == Some(source);
    if is_from("headers", ValueSource::EnvVariable) {
        args.headers = args.headers.iter().flat_map(|lines| lines.lines()).map(str::to_owned).collect();
    }
    for (id, files) in [("tls_cert", &mut args.tls_cert), ("tls_key", &mut args.tls_key)] {
        if is_from(id, ValueSource::EnvVariable) {
            let lines = files.iter().flat_map(|text| text.as_bytes().split(|&byte| byte == b'\n'));
            *files = lines.filter(|line| !line.is_empty()).map(|line| OsStr::from_bytes(line).to_owned()).collect();
        }
    }
    if let Some(dir) = args.dir.take() {
        if is_from("root", ValueSource::CommandLine) {
            return Err(command.error(ErrorKind::ArgumentConflict, "the directory is given twice, once as --root"));
        }
        args.root = dir;
    }
    Ok(args)
}

/// Lets the environment give a flag: SERVE_LOG is --log. An empty variable counts as unset; a switch's is a boolean.
fn with_variable(arg: Arg) -> Arg {
    let Some(flag) = arg.get_long() else { return arg };
    let name = format!("SERVE_{}", flag.to_uppercase().replace('-', "_"));
    let is_switch = matches!(arg.get_action(), ArgAction::SetTrue);
    let arg = if is_switch { arg.value_parser(BoolishValueParser::new()) } else { arg };
    if std::env::var_os(&name).is_some_and(|value| value.is_empty()) { arg } else { arg.env(name) }
}

/// A number in a range; `unit` names it in the error.
fn number<T>(unit: &'static str, range: RangeInclusive<T>) -> impl TypedValueParser<Value = T>
where
    T: FromStr + PartialOrd + Display + Clone + Send + Sync + 'static,
{
    move |text: &str| match text.parse() {
        Ok(number) if range.contains(&number) => Ok(number),
        _ => Err(format!("expected {unit} from {} to {}", range.start(), range.end())),
    }
}

/// A timeout of at most a day.
fn secs(least: u64) -> impl TypedValueParser<Value = Duration> {
    number("seconds", least..=86_400).map(Duration::from_secs)
}

fn ip(text: &str) -> Result<IpAddr, &'static str> {
    let ip = text.trim_start_matches('[').trim_end_matches(']').parse();
    ip.or(Err("expected an IP address, such as 127.0.0.1 or ::1"))
}

fn socket_addr(text: &str) -> Result<SocketAddr, &'static str> {
    text.parse().or(Err("expected an IP address and a port, such as 127.0.0.1:9100 or [::1]:9100"))
}

fn file_name(text: &str) -> Result<RelPath, &'static str> {
    let name = RelPath::new(text.trim().as_bytes()).filter(|_| !text.contains('/'));
    name.ok_or("expected file names separated by commas")
}

fn below_root() -> impl TypedValueParser<Value = RelPath> {
    OsStringValueParser::new()
        .try_map(|path| RelPath::new(path.as_bytes()).ok_or("expected a path below the root, such as errors/404.html"))
}

fn symlinks(text: &str) -> Result<Symlinks, &'static str> {
    match text {
        "inside" => Ok(Symlinks::Inside),
        "none" => Ok(Symlinks::None),
        "all" => Ok(Symlinks::All),
        _ => Err("expected inside, none or all"),
    }
}

fn charset(text: &str) -> Result<Option<String>, &'static str> {
    match text {
        "off" => Ok(None),
        name if is_token(name.as_bytes()) => Ok(Some(name.to_owned())),
        _ => Err("expected the name of a charset, such as utf-8, or \"off\""),
    }
}

fn size(text: &str) -> Result<Option<u64>, &'static str> {
    match text {
        "off" => Ok(None),
        bytes => bytes.parse().map(Some).or(Err("expected a size in bytes, such as 1024, or \"off\"")),
    }
}

fn log_format(text: &str) -> Result<Option<Format>, &'static str> {
    match text {
        "common" => Ok(Some(Format::Common)),
        "combined" => Ok(Some(Format::Combined)),
        "json" => Ok(Some(Format::Json)),
        "off" => Ok(None),
        _ => Err("expected common, combined, json or off"),
    }
}

/// Makes one line of clap's error.
pub fn explain(error: &clap::Error) -> String {
    let text_of = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.as_str(),
        _ => "",
    };
    let Some(source) = error.source().filter(|_| error.kind() == ErrorKind::ValueValidation) else {
        return first_line(error);
    };
    // Only clap's own parser, which is the switches', explains differently.
    let expected = Some(source.to_string()).filter(|text| text.starts_with("expected "));
    let expected = expected.as_deref().unwrap_or("expected true or false");
    let flag = text_of(ContextKind::InvalidArg).split([' ', '.']).next().unwrap_or_default();
    format!("{flag}: {expected}, got {:?}", text_of(ContextKind::InvalidValue))
}

/// The first line of clap's text, and its tips.
fn first_line(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let what = lines.next().unwrap_or_default().trim_start_matches("error: ");
    // Passing an unknown flag as a value is no help here.
    let tips = lines.filter_map(|line| line.strip_prefix("tip: ")).filter(|tip| !tip.contains("'-- "));
    let tips: String = tips.map(|tip| format!("; {tip}")).collect();
    format!("{what}{tips}; serve --help lists the flags")
}
