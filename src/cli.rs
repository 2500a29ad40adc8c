//! What was typed: the flags, their environment variables and their help. Nothing is interpreted here.
//!
//! Values stay text, so that `config` can say in one place, and in one form, what is wrong with them.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use clap::builder::BoolishValueParser;
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, CommandFactory, FromArgMatches, Parser};

/// Serves the files of a directory over HTTP/1.1, 1.0 and 0.9: one blocking thread per connection.
///
/// Each flag can also be given as the environment variable named in brackets; a flag that is typed counts more.
#[derive(Debug, Parser)]
#[command(name = "serve", version, max_term_width = 100, allow_negative_numbers = true)]
pub struct Args {
    /// The directory to serve [default: .]
    #[arg(value_name = "DIR")]
    pub dir: Option<OsString>,

    /// The directory to serve, for those who like a flag for it
    #[arg(short, long, value_name = "DIR", env = "SERVE_ROOT")]
    pub root: Option<OsString>,

    /// The port to listen on; 0 picks a free one
    #[arg(short, long, value_name = "N", env = "SERVE_PORT", default_value = "8080")]
    pub port: String,

    /// An IP address to listen on; can be repeated [default: all, 0.0.0.0 and ::]
    #[arg(short, long, value_name = "ADDR", env = "SERVE_BIND", value_delimiter = ',')]
    pub bind: Vec<String>,

    /// Let other processes listen at the same addresses, so that a new server can take over before the old one ends
    #[arg(long, env = "SERVE_REUSE_PORT", value_parser = BoolishValueParser::new())]
    pub reuse_port: bool,

    /// An address and port on which the server answers /health and /metrics [default: none]
    #[arg(long, value_name = "ADDR:PORT", env = "SERVE_ADMIN")]
    pub admin: Option<String>,

    /// Serve over TLS with this certificate and its chain, in PEM; can be repeated; in the variable, one a line
    #[arg(long, value_name = "FILE", env = "SERVE_TLS_CERT")]
    pub tls_cert: Vec<OsString>,

    /// The key of that certificate, in PEM; can be repeated, in the same order; in the variable, one a line
    #[arg(long, value_name = "FILE", env = "SERVE_TLS_KEY")]
    pub tls_key: Vec<OsString>,

    /// Serve over TLS with a certificate made at the start, for a local network or a test
    #[arg(long, env = "SERVE_TLS_SELF_SIGNED", value_parser = BoolishValueParser::new())]
    pub tls_self_signed: bool,

    /// A port that answers plain http by sending it to https
    #[arg(long, value_name = "PORT", env = "SERVE_HTTPS_REDIRECT")]
    pub https_redirect: Option<String>,

    /// For how long browsers are told to come by https alone [default: they are not told]
    #[arg(long, value_name = "SECONDS", env = "SERVE_HSTS")]
    pub hsts: Option<String>,

    /// The index files of a directory, by preference, separated by commas
    #[arg(long, value_name = "NAMES", env = "SERVE_INDEX", default_value = "index.html")]
    pub index: String,

    /// List directories that have no index file
    #[arg(long, env = "SERVE_LIST", value_parser = BoolishValueParser::new())]
    pub list: bool,

    /// The page for what is not there, a path below the root [default: 404.html, if the root has one]
    #[arg(long, value_name = "FILE", env = "SERVE_NOT_FOUND")]
    pub not_found: Option<OsString>,

    /// Serve names that begin with a dot; without it only /.well-known/ is
    #[arg(long, env = "SERVE_HIDDEN", value_parser = BoolishValueParser::new())]
    pub hidden: bool,

    /// Which symbolic links are followed: those that stay inside the root, none, or all
    #[arg(long, value_name = "inside|none|all", env = "SERVE_SYMLINKS", default_value = "inside")]
    pub symlinks: String,

    /// The charset of text files, or off
    #[arg(long, value_name = "NAME|off", env = "SERVE_CHARSET", default_value = "utf-8")]
    pub charset: String,

    /// A field for every answer; can be repeated; in the variable, one a line
    #[arg(long = "header", value_name = "K: V", env = "SERVE_HEADER")]
    pub headers: Vec<String>,

    /// How long a cache may keep a file without asking again; 0: it asks each time
    #[arg(long, value_name = "SECONDS", env = "SERVE_CACHE", default_value = "0")]
    pub cache: String,

    /// How much memory small files, and what is known of larger ones, may take, so that they need not be read again; 0 keeps
    /// none
    #[arg(long, value_name = "MIB", env = "SERVE_CACHE_MEMORY", default_value = "64")]
    pub cache_memory: String,

    /// Do not send app.js.br, app.js.zst or app.js.gz in the place of app.js to who accepts that
    #[arg(long, env = "SERVE_NO_PRECOMPRESSED", value_parser = BoolishValueParser::new())]
    pub no_precompressed: bool,

    /// Compress texts of more than so many bytes for who accepts that, or off
    #[arg(long, value_name = "BYTES|off", env = "SERVE_COMPRESS", default_value = "1024")]
    pub compress: String,

    /// The user whose rights serve takes on once it listens, where it was started as root
    #[arg(long, value_name = "NAME", env = "SERVE_USER")]
    pub user: Option<String>,

    /// Do not give up what serving files does not need: writing, other files, programs, connections out
    #[arg(long, env = "SERVE_NO_SANDBOX", value_parser = BoolishValueParser::new())]
    pub no_sandbox: bool,

    /// How many connections there may be at once; the one that has waited longest makes room for a new one
    #[arg(long, value_name = "N", env = "SERVE_MAX_CONNECTIONS", default_value = "1024")]
    pub max_connections: String,

    /// How many of them may come from one address, or one IPv6 /64 network; 0 sets no limit
    #[arg(long, value_name = "N", env = "SERVE_MAX_PER_IP", default_value = "0")]
    pub max_per_ip: String,

    /// The address or network of a proxy that is believed who the client is; can be repeated
    #[arg(long = "trusted-proxy", value_name = "CIDR", env = "SERVE_TRUSTED_PROXY", value_delimiter = ',')]
    pub trusted_proxies: Vec<String>,

    /// Ask trusted proxies for a PROXY header, version 1 or 2, before the first request
    #[arg(long, env = "SERVE_PROXY_PROTOCOL", value_parser = BoolishValueParser::new())]
    pub proxy_protocol: bool,

    /// How long a request may take to arrive
    #[arg(long, value_name = "SECONDS", env = "SERVE_HEADER_TIMEOUT", default_value = "60")]
    pub header_timeout: String,

    /// How long a connection may idle between requests
    #[arg(long, value_name = "SECONDS", env = "SERVE_IDLE_TIMEOUT", default_value = "60")]
    pub idle_timeout: String,

    /// How long a client may take for each 64 KiB of an answer
    #[arg(long, value_name = "SECONDS", env = "SERVE_WRITE_TIMEOUT", default_value = "60")]
    pub write_timeout: String,

    /// How long /health answers 503 before the server stops, so that balancers notice
    #[arg(long, value_name = "SECONDS", env = "SERVE_DRAIN_DELAY", default_value = "0")]
    pub drain_delay: String,

    /// How long answers in progress may take once the server stops
    #[arg(long, value_name = "SECONDS", env = "SERVE_GRACE", default_value = "5")]
    pub grace: String,

    /// The form of the access log, which goes to standard output
    #[arg(long, value_name = "common|combined|json|off", env = "SERVE_LOG", default_value = "common")]
    pub log: String,

    /// Show no URLs and no access log, and only errors
    #[arg(short, long, env = "SERVE_QUIET", value_parser = BoolishValueParser::new())]
    pub quiet: bool,

    /// Say more: -v what happens, -vv every exchange in its seven steps
    #[arg(short, long, env = "SERVE_VERBOSE", action = ArgAction::Count)]
    pub verbose: u8,
}

/// Reads the command line and the environment. The error is also how clap asks for its help to be shown.
pub fn parse() -> Result<Args, clap::Error> {
    // A variable that is set to nothing counts as not set.
    let is_empty = |arg: &Arg| arg.get_env().and_then(std::env::var_os).is_some_and(|value| value.is_empty());
    let mut command = Args::command().mut_args(|arg| if is_empty(&arg) { arg.env(None::<&str>) } else { arg });
    let matches = command.try_get_matches_from_mut(std::env::args_os())?;
    let mut args = Args::from_arg_matches(&matches)?;
    let is_from = |name, source| matches.value_source(name) == Some(source);
    if is_from("headers", ValueSource::EnvVariable) {
        args.headers = args.headers.iter().flat_map(|lines| lines.lines()).map(str::to_owned).collect();
    }
    for (id, files) in [("tls_cert", &mut args.tls_cert), ("tls_key", &mut args.tls_key)] {
        if is_from(id, ValueSource::EnvVariable) {
            *files = files.iter().flat_map(lines).collect();
        }
    }
    if args.dir.is_some() && is_from("root", ValueSource::CommandLine) {
        return Err(command.error(ErrorKind::ArgumentConflict, "the directory is given twice, once as --root"));
    }
    args.root = args.dir.take().or(args.root);
    Ok(args)
}

/// The lines that are not empty.
fn lines(text: &OsString) -> Vec<OsString> {
    let lines = text.as_bytes().split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| OsStr::from_bytes(line).to_owned()).collect()
}

/// Makes one line of what clap has to say about a command line, and of its advice.
pub fn explain(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let what = lines.next().unwrap_or_default();
    // That a flag nobody knows could be a value is no help here.
    let tips: Vec<_> =
        lines.filter_map(|line| line.strip_prefix("tip: ")).filter(|tip| !tip.contains("'-- ")).collect();
    let what = what.strip_prefix("error: ").unwrap_or(what);
    let tips = if tips.is_empty() { String::new() } else { format!("; {}", tips.join("; ")) };
    format!("{what}{tips}; serve --help lists the flags")
}
