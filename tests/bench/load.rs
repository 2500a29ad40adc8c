//! The workloads and their measurement.

use std::fs;
use std::io::{self, ErrorKind};
use std::process::Command;

use rustls::HandshakeKind;

use super::handshakes;
use super::servers::{BenchSite, Server};

/// A workload.
pub struct Workload {
    /// Its name.
    pub name: &'static str,
    path: &'static str,
    connections: usize,
    kind: Kind,
    /// Whether the clients use TLS.
    pub is_tls: bool,
}

enum Kind {
    /// A TLS connection for each request.
    Handshakes(HandshakeKind),
    /// One request at a time on each persistent connection, with these fields.
    KeepAlive(&'static [&'static str]),
    /// The same, with the validator of the current representation.
    Conditional,
    /// The requests of a wrk script.
    Script(&'static str),
}

const MANY: &str = "local n = 0\n\
    request = function()\n\
    n = (n * 1103515245 + 12345) % 2147483648\n\
    return wrk.format('GET', '/many/' .. (n % 10000) .. '.html')\n\
    end\n";

const PIPELINED: &str = "init = function()\n\
    local all = {}\n\
    for i = 1, 16 do all[i] = wrk.format('GET', '/k1.html') end\n\
    batch = table.concat(all)\n\
    end\n\
    request = function() return batch end\n";

const BROWSER: [&str; 10] = [
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:153.0) Gecko/20100101 Firefox/153.0",
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
    "Accept-Language: en-US,en;q=0.5",
    "Accept-Encoding: identity",
    "Upgrade-Insecure-Requests: 1",
    "Sec-Fetch-Dest: document",
    "Sec-Fetch-Mode: navigate",
    "Sec-Fetch-Site: same-origin",
    "Sec-Fetch-User: ?1",
    "Priority: u=0, i",
];

/// The workloads, each for another part of a server.
pub const WORKLOADS: [Workload; 15] = [
    keep_alive("small", "/k1.html", 64),
    keep_alive("one", "/k1.html", 1),
    keep_alive("c1000", "/k1.html", 1000),
    Workload { kind: Kind::KeepAlive(&["Connection: close"]), ..keep_alive("close", "/k1.html", 64) },
    Workload { kind: Kind::Script(MANY), ..keep_alive("many", "/many/0.html", 64) },
    Workload { kind: Kind::Conditional, ..keep_alive("s304", "/k1.html", 64) },
    Workload { kind: Kind::Script(PIPELINED), ..keep_alive("pipe16", "/k1.html", 64) },
    keep_alive("k100", "/k100.bin", 64),
    keep_alive("m1", "/m1.bin", 32),
    keep_alive("m100", "/m100.bin", 4),
    Workload { kind: Kind::KeepAlive(&BROWSER), ..keep_alive("browser", "/k1.html", 64) },
    handshakes("tls-full", HandshakeKind::Full),
    handshakes("tls-resumed", HandshakeKind::Resumed),
    Workload { is_tls: true, ..keep_alive("tls-small", "/k1.html", 64) },
    Workload { is_tls: true, ..keep_alive("tls-m100", "/m100.bin", 4) },
];

const fn keep_alive(name: &'static str, path: &'static str, connections: usize) -> Workload {
    Workload { name, path, connections, kind: Kind::KeepAlive(&[]), is_tls: false }
}

const fn handshakes(name: &'static str, kind: HandshakeKind) -> Workload {
    Workload { kind: Kind::Handshakes(kind), is_tls: true, ..keep_alive(name, "/k1.html", 4) }
}

/// The figures of one server in one round.
#[derive(Clone, Debug)]
pub struct Figures {
    /// Responses per second.
    pub per_second: f64,
    /// The server's processor time for each response, in microseconds.
    pub cpu_micros: f64,
    /// Missing or unsuccessful responses.
    pub failed: u64,
}

impl Workload {
    /// Runs the workload against a server.
    pub fn run(&self, server: &Server, site: &BenchSite, seconds: usize) -> io::Result<Figures> {
        let mut wrk = Command::new("wrk");
        wrk.args(["-t1", &format!("-c{}", self.connections), &format!("-d{seconds}"), "--timeout", "10"]);
        match &self.kind {
            Kind::KeepAlive(fields) => wrk.args(fields.iter().flat_map(|field| ["-H", field])),
            Kind::Conditional => match server.condition(self.path)? {
                Some(field) => wrk.args(["-H", &field]),
                None => return Ok(Figures { per_second: 0.0, cpu_micros: 0.0, failed: 1 }),
            },
            Kind::Handshakes(kind) => {
                let before = server.cpu_micros()?;
                let (responses, failed) = handshakes::run(server.addr, self.path, *kind, self.connections, seconds);
                let cpu_micros = (server.cpu_micros()? - before) / (responses as f64).max(1.0);
                return Ok(Figures { per_second: responses as f64 / seconds as f64, cpu_micros, failed });
            }
            Kind::Script(text) => {
                let file = site.path.join("..").join(self.name).with_extension("lua");
                fs::write(&file, text)?;
                wrk.arg("-s").arg(file)
            }
        };
        let before = server.cpu_micros()?;
        let scheme = if self.is_tls { "https" } else { "http" };
        let output = wrk.arg(format!("{scheme}://{}{}", server.addr, self.path)).output().map_err(no_wrk)?;
        let used = server.cpu_micros()? - before;
        let report = String::from_utf8_lossy(&output.stdout);
        let responses = number_before(&report, " requests in").unwrap_or(0.0);
        let per_second = number_after(&report, "Requests/sec:").unwrap_or(0.0);
        let socket_errors = ["connect ", "read ", "write ", "timeout "].map(|kind| number_after(&report, kind));
        let others = number_after(&report, "Non-2xx or 3xx responses:");
        let failed = socket_errors.iter().chain([&others]).flatten().sum::<f64>() as u64;
        Ok(Figures { per_second, cpu_micros: used / responses.max(1.0), failed })
    }
}

fn no_wrk(error: io::Error) -> io::Error {
    match error.kind() {
        ErrorKind::NotFound => io::Error::other("wrk is not installed; try apt-get install wrk"),
        _ => error,
    }
}

fn number_after(text: &str, mark: &str) -> Option<f64> {
    let rest = text.split_once(mark)?.1.trim_start();
    rest[..rest.find(|char: char| !char.is_ascii_digit() && char != '.').unwrap_or(rest.len())].parse().ok()
}

fn number_before(text: &str, mark: &str) -> Option<f64> {
    text.split_once(mark)?.0.rsplit(char::is_whitespace).next()?.parse().ok()
}

/// The median of at least one value.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
