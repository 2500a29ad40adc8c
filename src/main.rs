//! `serve`: a static file server that shows how a web server works.
//!
//! The way through the code: what was typed ([`cli`]) is given its meaning ([`config`]); the server ([`server`]) accepts
//! connections ([`net`]), reads requests ([`proto`]), has them answered ([`site`], from [`files`]) and sends the answers.
#![forbid(unsafe_code)]

mod cli;
mod config;
mod confine;
mod files;
mod json;
mod net;
mod proto;
mod server;
mod site;

use std::io::{self, ErrorKind, Write};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};
use std::time::SystemTime;

use cli::Args;
use config::Config;
use confine::Confined;
use env_logger::Target;
use net::listener::{BindError, Listener, Terms, bind_all};
use net::{inherited, limits};
use proto::date::{HttpDate, Rfc3339};
use server::Server;
use server::access_log::AccessLog;
use server::lines::Lines;
use server::manager::Manager;
use server::reception::{Door, Service};
use server::seats::Seats;

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
    let memory = limits::memory();
    if memory.is_some() {
        use_one_heap()?;
    }
    let config = Config::new(&args, memory).map_err(|error| (USAGE, error.to_string()))?;
    let diagnostics = Lines::to_stderr().map_err(no_thread)?;
    init_log(&args, diagnostics.clone());
    let doors = open(&config)?;
    let manager = Manager::find().map_err(|what| (START, what))?;
    let mut notes = give_up(&config)?;
    if doors.iter().any(|door| door.service == Service::Site && door.listener.is_inherited()) {
        notes.push("these sockets were passed to it (LISTEN_FDS); --bind and --port are not used".to_owned());
    }
    diagnostics.start().map_err(no_thread)?;
    let access_log = AccessLog::open(config.log).map_err(no_thread)?;
    let max_connections = config.server.max_connections.min(limits::connections(memory));
    let seats = Seats::new(max_connections, config.server.max_per_ip, config.trusted);
    let mut server = Server::new(config.server, config.site, seats, access_log, diagnostics);
    server.manager = manager;
    server::run(server, doors, &notes);
    Ok(())
}

/// Listens where connections are wanted. Sockets that were passed to the process take the place of those it would bind.
fn open(config: &Config) -> Result<Vec<Door>, (u8, String)> {
    let terms = Terms { patience: config.server.times.write, reuse_port: config.reuse_port };
    let passed = inherited::take(terms.patience).map_err(|what| (START, what))?;
    let door = |passed: inherited::Inherited| {
        let service = if passed.name == "admin" { Service::Admin } else { Service::Site };
        Door { listener: passed.listener, service }
    };
    let mut doors: Vec<Door> = passed.into_iter().map(door).collect();
    let lacks = |doors: &[Door], service| !doors.iter().any(|door| door.service == service);
    let bind = |addrs: &[_], port, service| {
        let bound = bind_all(addrs, port, terms).map_err(|error| (START, explain(&error, service)))?;
        Ok(bound.into_iter().map(move |listener: Listener| Door { listener, service }))
    };
    if lacks(&doors, Service::Site) {
        doors.extend(bind(&config.addrs, config.port, Service::Site)?);
    }
    if let Some(addr) = config.admin.filter(|_| lacks(&doors, Service::Admin)) {
        doors.extend(bind(&[addr.ip()], addr.port(), Service::Admin)?);
    }
    Ok(doors)
}

/// Gives up what is not needed any more once the listeners are there, and says how far that went.
fn give_up(config: &Config) -> Result<Vec<String>, (u8, String)> {
    let mut notes = Vec::new();
    if let Some(name) = &config.user {
        confine::become_user(name).map_err(|error| (START, format!("--user: {name}: {error}")))?;
        let root = config.site.root.open().and_then(|root| root.probe());
        root.map_err(|error| (START, format!("--user: {name} may not enter the root: {error}")))?;
    }
    if confine::is_root() {
        notes.push("warning: it runs as root; --user NAME takes on the rights of another user".to_owned());
    }
    let confined = if config.sandbox {
        let places = config.site.root.places().map_err(|error| (START, format!("--root: {error}")))?;
        confine::confine(places).map_err(|error| (START, format!("--no-sandbox is needed here: {error}")))?
    } else {
        Confined::Unwanted
    };
    notes.push(confined.to_string());
    Ok(notes)
}

/// Sets up the diagnostics on standard error: as `-q` and `-v` say, or else as RUST_LOG does.
fn init_log(args: &Args, output: Lines) {
    let level = match (args.quiet, args.verbose) {
        (true, _) => Some("error"),
        (false, 0) => None,
        (false, 1) => Some("debug"),
        (false, _) => Some("trace"),
    };
    let filter = level.map_or_else(|| std::env::var("RUST_LOG").unwrap_or("warn".to_owned()), str::to_owned);
    let mut builder = env_logger::Builder::new();
    builder.parse_filters(&filter);
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
        Service::Site => ("--port", "--bind"),
        Service::Admin => ("--admin", "--admin"),
    };
    let at = |port: u16| match service {
        Service::Site => format!("--port {port}"),
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
        ErrorKind::AddrNotAvailable if service == Service::Site => {
            format!("--bind: {} is no address of this machine; leave --bind out to listen on all", addr.ip())
        }
        ErrorKind::AddrNotAvailable => format!("{addr_flag}: {} is no address of this machine", addr.ip()),
        _ => format!("{addr_flag}: cannot listen on {addr}: {}", bind.error),
    }
}
