//! What is asked of the servers, and what is measured.

use std::fs;
use std::io::{self, ErrorKind};
use std::process::Command;

use rustls::HandshakeKind;

use super::handshakes;
use super::servers::{Server, SiteSession};

/// A kind of load.
pub struct Workload {
    /// How it is called.
    pub name: &'static str,
    path: &'static str,
    connections: usize,
    kind: Kind,
    /// Whether it is put on the servers over TLS.
    pub is_tls: bool,
}

enum Kind {
    /// A connection over TLS for each request.
    Handshakes(HandshakeKind),
    /// One request at a time on each kept connection, with these fields.
    Kept(&'static [&'static str]),
    /// The same, if the client does not have it already.
    Conditional,
    /// The requests that a script for wrk makes.
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
    "Sec-Fetch-SiteSession: same-origin",
    "Sec-Fetch-User: ?1",
    "Priority: u=0, i",
];

/// The loads, each for another part of a server.
pub const WORKLOADS: [Workload; 15] = [
    kept("small", "/k1.html", 64),
    kept("one", "/k1.html", 1),
    kept("c1000", "/k1.html", 1000),
    Workload { kind: Kind::Kept(&["Connection: close"]), ..kept("close", "/k1.html", 64) },
    Workload { kind: Kind::Script(MANY), ..kept("many", "/many/0.html", 64) },
    Workload { kind: Kind::Conditional, ..kept("s304", "/k1.html", 64) },
    Workload { kind: Kind::Script(PIPELINED), ..kept("pipe16", "/k1.html", 64) },
    kept("k100", "/k100.bin", 64),
    kept("m1", "/m1.bin", 32),
    kept("m100", "/m100.bin", 4),
    Workload { kind: Kind::Kept(&BROWSER), ..kept("browser", "/k1.html", 64) },
    handshakes("tls-full", HandshakeKind::Full),
    handshakes("tls-resumed", HandshakeKind::Resumed),
    Workload { is_tls: true, ..kept("tls-small", "/k1.html", 64) },
    Workload { is_tls: true, ..kept("tls-m100", "/m100.bin", 4) },
];

const fn kept(name: &'static str, path: &'static str, connections: usize) -> Workload {
    Workload { name, path, connections, kind: Kind::Kept(&[]), is_tls: false }
}

const fn handshakes(name: &'static str, kind: HandshakeKind) -> Workload {
    Workload { kind: Kind::Handshakes(kind), is_tls: true, ..kept(name, "/k1.html", 4) }
}

/// What one server did in one round.
#[derive(Clone, Debug)]
pub struct Figures {
    /// Answers a second.
    pub per_second: f64,
    /// Microseconds of the server's processor time for each of them.
    pub cpu_micros: f64,
    /// Answers that did not come, or were not of success.
    pub failed: u64,
}

impl Workload {
    /// Puts the load on a server.
    pub fn run(&self, server: &Server, site: &SiteSession, seconds: usize) -> io::Result<Figures> {
        let mut wrk = Command::new("wrk");
        wrk.args(["-t1", &format!("-c{}", self.connections), &format!("-d{seconds}"), "--timeout", "10"]);
        match &self.kind {
            Kind::Kept(fields) => wrk.args(fields.iter().flat_map(|field| ["-H", field])),
            Kind::Conditional => match server.condition(self.path)? {
                Some(field) => wrk.args(["-H", &field]),
                None => return Ok(Figures { per_second: 0.0, cpu_micros: 0.0, failed: 1 }),
            },
            Kind::Handshakes(kind) => {
                let before = server.cpu_micros()?;
                let (answers, failed) = handshakes::run(server.addr, self.path, *kind, self.connections, seconds);
                let cpu_micros = (server.cpu_micros()? - before) / (answers as f64).max(1.0);
                return Ok(Figures { per_second: answers as f64 / seconds as f64, cpu_micros, failed });
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
        let said = String::from_utf8_lossy(&output.stdout);
        let answers = number_before(&said, " requests in").unwrap_or(0.0);
        let per_second = number_after(&said, "Requests/sec:").unwrap_or(0.0);
        let socket_errors = ["connect ", "read ", "write ", "timeout "].map(|kind| number_after(&said, kind));
        let others = number_after(&said, "Non-2xx or 3xx responses:");
        let failed = socket_errors.iter().chain([&others]).flatten().sum::<f64>() as u64;
        Ok(Figures { per_second, cpu_micros: used / answers.max(1.0), failed })
    }
}

fn no_wrk(error: io::Error) -> io::Error {
    match error.kind() {
        ErrorKind::NotFound => io::Error::other("wrk makes the load and is not installed; try apt-get install wrk"),
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

/// The value in the middle; there is one at least.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
