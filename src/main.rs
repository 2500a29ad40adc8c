//! `serve`: a static file server that shows how a web server works.
//!
//! The way through the code: [`cli`] parses the flags and [`config`] checks them together; the server ([`server`]) accepts
//! connections ([`net`]), reads requests ([`proto`]), makes responses ([`site`], from [`files`]) and sends them.
#![forbid(unsafe_code)]

mod banner;
mod cli;
mod config;
mod endpoints;
mod escape;
mod files;
mod net;
mod privileges;
mod proto;
mod sandbox;
mod server;
mod site;

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::SystemTime;

use banner::banner;
use cli::Args;
use config::Config;
use env_logger::Target;
use net::rlimits;
use proto::date::HttpDate;
use server::Server;
use server::access_log::AccessLog;
use server::connections::Limits;
use server::endpoint::Service;
use server::log_writer::LogWriter;
use server::metrics::Metrics;
use server::sd_notify::SdNotify;
use server::tls::TlsEndpoint;

/// The exit code for unusable arguments.
const USAGE: u8 = 2;

/// The exit code for a failed start.
const START: u8 = 1;

fn main() -> ExitCode {
    let outcome = match cli::parse() {
        Err(help) if !help.use_stderr() => {
            // A closed standard output is no failure.
            let _ = help.print();
            Ok(())
        }
        Err(error) => Err((USAGE, cli::explain(&error))),
        Ok(args) => run(args),
    };
    let Err((code, what)) = outcome else { return ExitCode::SUCCESS };
    let _ = writeln!(io::stderr(), "serve: {what}");
    ExitCode::from(code)
}

/// Runs the server until it has shut down. The error is an exit code and a line for the operator.
fn run(args: Args) -> Result<(), (u8, String)> {
    let memory = rlimits::memory();
    let filter = log_filter(&args);
    let config = Config::new(args, memory).map_err(|what| (USAGE, what))?;
    start(config, memory, &filter).map_err(|what| (START, what))
}

fn start(config: Config, memory: Option<u64>, filter: &str) -> Result<(), String> {
    let no_thread = |error| format!("cannot start a thread: {error}");
    let diagnostics = LogWriter::to_stderr().map_err(no_thread)?;
    init_log(filter, diagnostics.clone());
    let mut notes = Vec::new();
    let certificates = config.tls.as_ref().map(|tls| tls.load(&mut notes)).transpose()?;
    let endpoints = endpoints::open(&config)?;
    let sd_notify = SdNotify::from_env()?;
    notes.extend(privileges::drop(&config, certificates.as_ref())?);
    let site = endpoints.iter().find(|endpoint| endpoint.service == Service::Site).expect("the site has an endpoint");
    if site.listener.is_inherited() {
        notes.push("its sockets are inherited (LISTEN_FDS); --bind and --port are ignored".to_owned());
    }
    let banner = banner(config.tls.is_some(), &endpoints, (!config.is_quiet).then_some(&notes));
    let access_log = config.log.map(AccessLog::open).transpose().map_err(no_thread)?;
    let (asked, max) = (config.server.limits.connections, rlimits::connections(memory));
    if max < asked {
        log::warn!(
            "{max} connections at once, not {asked}, because of this process's limits on descriptors and memory"
        );
    }
    let limits = Limits { connections: asked.min(max), ..config.server.limits };
    let options = server::Options { limits, ..config.server };
    let (port, hsts_secs) = (site.listener.addr.port(), config.tls.and_then(|tls| tls.hsts_secs));
    let tls = certificates.map(|certificates| TlsEndpoint { certificates, hsts_secs, port });
    let metrics = endpoints.iter().any(|endpoint| endpoint.service == Service::Admin).then(Metrics::new);
    let server = Server::new(options, config.site, config.trusted, diagnostics);
    let server = Server { tls, access_log, metrics, sd_notify, ..server };
    server::run(server, endpoints, &banner).map_err(|error| error.to_string())
}

/// The filter of the diagnostics: `-q` and `-v`, or else RUST_LOG.
fn log_filter(args: &Args) -> String {
    match (args.quiet, args.verbose) {
        (true, _) => "error".to_owned(),
        (false, 0) => std::env::var("RUST_LOG").unwrap_or("warn".to_owned()),
        (false, 1) => "debug".to_owned(),
        (false, _) => "trace".to_owned(),
    }
}

/// Sets up the diagnostics on standard error.
fn init_log(filter: &str, output: LogWriter) {
    let mut builder = env_logger::Builder::new();
    builder.parse_filters(filter).target(Target::Pipe(Box::new(output)));
    builder.format(|out, record| {
        let now = HttpDate::clamped(SystemTime::now()).rfc3339();
        writeln!(out, "{now} {} {}", record.level(), record.args())
    });
    builder.init();
}
