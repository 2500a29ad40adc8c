//! `serve`: a static file server that shows how a web server works.
//!
//! The way through the code: what was typed ([`cli`]) is given its meaning ([`config`]); the server ([`server`]) accepts
//! connections ([`net`]), reads requests ([`proto`]), has them answered ([`site`], from [`files`]) and sends the answers.
#![forbid(unsafe_code)]

mod cli;
mod config;
mod escape;
mod files;
mod net;
mod proto;
mod sandbox;
mod server;
mod site;

use std::fs;
use std::io::{self, ErrorKind, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};
use std::time::SystemTime;

use cli::Args;
use config::{CertificateSource, Config};
use env_logger::Target;
use net::listener::{BindError, Terms, bind_all, own_addrs};
use net::tls::certificates::Certificates;
use net::tls::self_signed;
use net::{rlimits, socket_activation};
use proto::date::{HttpDate, Rfc3339};
use sandbox::SandboxStatus;
use server::Server;
use server::accept::{Endpoint, Service};
use server::access_log::AccessLog;
use server::connections::Connections;
use server::log_writer::LogWriter;
use server::metrics::Metrics;
use server::sd_notify::SdNotify;
use server::tls::TlsEndpoint;

/// What was typed cannot be used.
const USAGE: u8 = 2;

/// What was asked for cannot be started.
const START: u8 = 1;

fn main() -> ExitCode {
    match start() {
        Ok(()) => ExitCode::SUCCESS,
        Err((code, what)) => {
            // Whoever closed standard error does not want to know.
            let _ = writeln!(io::stderr(), "serve: {what}");
            ExitCode::from(code)
        }
    }
}

/// Starts the server and returns once it has stopped. The error is an exit code and a line for the person who started it.
fn start() -> Result<(), (u8, String)> {
    let args = match cli::parse() {
        Err(shown) if !shown.use_stderr() => {
            // A reader of the help that went away has seen enough of it.
            let _ = shown.print();
            return Ok(());
        }
        args => args.map_err(|error| (USAGE, cli::explain(&error)))?,
    };
    let memory = rlimits::memory();
    if memory.is_some() {
        use_one_heap()?;
    }
    let level = log_filter(&args);
    let config = Config::new(args, memory).map_err(|error| (USAGE, error.to_string()))?;
    let diagnostics = LogWriter::to_stderr().map_err(no_thread)?;
    init_log(&level, diagnostics.clone());
    let mut notes = Vec::new();
    let keys = config.tls.as_ref().map(|tls| keys(tls, &mut notes)).transpose()?;
    let endpoints = open(&config)?;
    let sd_notify = SdNotify::from_env().map_err(|what| (START, what))?;
    drop_privileges(&config, keys.as_ref(), &mut notes)?;
    if endpoints.iter().any(|endpoint| endpoint.service == Service::SiteSession && endpoint.listener.is_inherited()) {
        notes.push("these sockets were passed to it (LISTEN_FDS); --bind and --port are not used".to_owned());
    }
    diagnostics.start().map_err(no_thread)?;
    let access_log = AccessLog::open(config.log).map_err(no_thread)?;
    let max_connections = config.server.max_connections.min(rlimits::connections(memory));
    let connections = Connections::new(max_connections, config.server.max_per_ip, config.trusted);
    let site_door = endpoints.iter().find(|endpoint| endpoint.service == Service::SiteSession);
    let port = site_door.map_or(config.port, |endpoint| endpoint.listener.addr.port());
    let hsts_secs = config.tls.as_ref().and_then(|tls| tls.hsts_secs);
    let tls = keys.map(|keys| TlsEndpoint { certificates: keys, hsts_secs, port });
    let metrics = endpoints.iter().any(|endpoint| endpoint.service == Service::Admin).then(Metrics::new);
    let server = Server::new(config.server, config.site, connections, access_log, diagnostics);
    server::run(Server { tls, metrics, sd_notify, ..server }, endpoints, &notes);
    Ok(())
}

/// Reads the keys, or makes one.
fn keys(tls: &config::Tls, notes: &mut Vec<String>) -> Result<Certificates, (u8, String)> {
    match &tls.certificates {
        CertificateSource::Files(pairs) => {
            let keys = Certificates::read(pairs.clone()).map_err(|error| (START, error.to_string()))?;
            notes.extend(keys.invalid().iter().map(|what| format!("warning: {what}")));
            Ok(keys)
        }
        CertificateSource::SelfSigned => {
            // It says no more than what the system is called.
            let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
            let names = ["localhost".to_owned(), host.trim().to_owned()];
            let loopback = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
            let addrs: Vec<_> = loopback.into_iter().chain(own_addrs()).collect();
            let made = self_signed::make(&names, &addrs, SystemTime::now());
            let (keys, fingerprint) = made.map_err(|error| (START, format!("--tls-self-signed: {error}")))?;
            notes.push(format!("its certificate is signed by itself; SHA-256 fingerprint {fingerprint}"));
            Ok(keys)
        }
    }
}

/// Listens where connections are wanted, first of all for the site. Sockets that were passed to the process take the
/// place of those it would bind.
fn open(config: &Config) -> Result<Vec<Endpoint>, (u8, String)> {
    let terms = Terms { patience: config.server.times.write, reuse_port: config.reuse_port };
    let behind = |service| move |listener| Endpoint { listener, service };
    let passed = socket_activation::take(terms.patience).map_err(|what| (START, what))?;
    let service_of = |name: &str| match name {
        "admin" => Service::Admin,
        "redirect" if config.tls.is_some() => Service::Redirect,
        _ => Service::SiteSession,
    };
    let endpoint = |passed: socket_activation::PassedSocket| behind(service_of(&passed.name))(passed.listener);
    let mut endpoints: Vec<Endpoint> = passed.into_iter().map(endpoint).collect();
    let lacks = |endpoints: &[Endpoint], service| !endpoints.iter().any(|endpoint| endpoint.service == service);
    let bind = |addrs: &[_], port, service| {
        let bound = bind_all(addrs, port, terms).map_err(|error| (START, explain(&error, service)))?;
        Ok(bound.into_iter().map(behind(service)))
    };
    if lacks(&endpoints, Service::SiteSession) {
        endpoints.extend(bind(&config.addrs, config.port, Service::SiteSession)?);
    }
    let redirect = config.tls.as_ref().and_then(|tls| tls.redirect_port);
    if let Some(port) = redirect.filter(|_| lacks(&endpoints, Service::Redirect)) {
        endpoints.extend(bind(&config.addrs, port, Service::Redirect)?);
    }
    if let Some(addr) = config.admin.filter(|_| lacks(&endpoints, Service::Admin)) {
        endpoints.extend(bind(&[addr.ip()], addr.port(), Service::Admin)?);
    }
    Ok(endpoints)
}

/// Gives up what is not needed any more once the listeners are there, and says how far that went.
fn drop_privileges(config: &Config, keys: Option<&Certificates>, notes: &mut Vec<String>) -> Result<(), (u8, String)> {
    if let Some(name) = &config.user {
        sandbox::switch_user(name).map_err(|error| (START, format!("--user: {name}: {error}")))?;
        let root = config.site.root.open().and_then(|root| root.probe());
        root.map_err(|error| (START, format!("--user: {name} may not enter the root: {error}")))?;
        for file in keys.map(Certificates::unreadable).unwrap_or_default() {
            notes.push(format!("warning: {name} may not read {}; when it changes, start again", file.display()));
        }
    }
    if sandbox::is_root() {
        notes.push("warning: it runs as root; --user NAME takes on the rights of another user".to_owned());
    }
    let confined = if config.sandbox {
        let mut places = config.site.root.places().map_err(|error| (START, format!("--root: {error}")))?;
        places.extend(keys.map(Certificates::places).unwrap_or_default());
        sandbox::enter(places).map_err(|error| (START, format!("--no-sandbox is needed here: {error}")))?
    } else {
        SandboxStatus::Disabled
    };
    notes.push(confined.to_string());
    Ok(())
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
    builder.parse_filters(filter);
    builder.format(|out, record| {
        let now = Rfc3339(HttpDate::clamped(SystemTime::now()));
        writeln!(out, "{now} {} {}", record.level(), record.args())
    });
    builder.target(Target::Pipe(Box::new(output)));
    builder.init();
}

/// Begins this program anew with one heap for all threads. Otherwise the C library reserves 64 MiB of address space for
/// each of several heaps; where there is a limit on that, no figure for what is left would hold.
fn use_one_heap() -> Result<(), (u8, String)> {
    const HEAPS: &str = "MALLOC_ARENA_MAX";
    if std::env::var_os(HEAPS).is_some() {
        return Ok(());
    }
    let mut args = std::env::args_os();
    let name = args.next().unwrap_or_default();
    // It only comes back if it fails, and then signals are not as they were, so that there is no going on.
    let again = |program| Command::new(program).arg0(name).args(args).env(HEAPS, "1").exec();
    let error = std::env::current_exe().map_or_else(|error| error, again);
    Err((START, format!("with its limit on memory it has to begin anew, and cannot: {error}; set {HEAPS}=1")))
}

fn no_thread(error: io::Error) -> (u8, String) {
    (START, format!("no thread can be started: {error}"))
}

/// Says why an address cannot be listened on, and what to type instead.
fn explain(bind: &BindError, service: Service) -> String {
    let (addr, port) = (bind.addr, bind.addr.port());
    let (port_flag, addr_flag) = match service {
        Service::SiteSession => ("--port", "--bind"),
        Service::Redirect => ("--https-redirect", "--bind"),
        Service::Admin => ("--admin", "--admin"),
    };
    let at = |port: u16| match service {
        Service::SiteSession => format!("--port {port}"),
        Service::Redirect => format!("--https-redirect {port}"),
        Service::Admin => format!("--admin {}", SocketAddr::new(addr.ip(), port)),
    };
    match bind.error.kind() {
        ErrorKind::AddrInUse => format!(
            "{port_flag}: {addr} is in use; stop the program that uses it, or try {}, or {} for a free one",
            at(port.checked_add(1).unwrap_or(8080)),
            at(0),
        ),
        ErrorKind::PermissionDenied => format!(
            "{port_flag}: {port} may not be listened on without the right to; run as root, or try {}",
            at(port.saturating_add(8000)),
        ),
        ErrorKind::AddrNotAvailable if service != Service::Admin => {
            format!("--bind: {} is no address of this machine; leave --bind out to listen on all", addr.ip())
        }
        ErrorKind::AddrNotAvailable => format!("{addr_flag}: {} is no address of this machine", addr.ip()),
        _ => format!("{addr_flag}: cannot listen on {addr}: {}", bind.error),
    }
}
