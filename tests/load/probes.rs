//! Clients that come all the time and want a small file, and what became of them.

use std::fmt;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::{Server, field};

/// What a probe asks for.
pub const CONTENT: &str = "a small file\n";

/// Within this a client is answered, whatever others do.
const PROMISE: Duration = Duration::from_secs(1);

/// The time from one probe to the next. The next one does not wait until this one is answered, or a long time without
/// answers would count as a single one.
const PACE: Duration = Duration::from_millis(25);

/// So many probes at least say something about a second.
const ENOUGH: usize = 20;

/// A probe that has waited so long is lost.
const LIMIT: Duration = Duration::from_secs(30);

/// What became of the probes, and what the server took meanwhile.
pub struct Report {
    /// When each probe began, from the beginning of the attack, and how long it took or what went wrong.
    probes: Vec<(Duration, Result<Duration, String>)>,
    /// How long the attack took.
    length: Duration,
    /// The most threads that the server had.
    pub threads: usize,
    resident_kib: usize,
    /// The most memory that the sockets of the system had beyond what they had before.
    pub socket_kib: usize,
}

/// Sends probes from before an attack begins until it is over.
pub fn probe_during<A>(server: &Server, attack: impl FnOnce() -> A, mut is_over: impl FnMut(&mut A) -> bool) -> Report {
    probe(server.addr).expect("before the attack everybody is answered");
    let socket_kib_before = socket_kib();
    let mut report = Report { probes: Vec::new(), length: Duration::ZERO, threads: 0, resident_kib: 0, socket_kib: 0 };
    thread::scope(|scope| {
        let addr = server.addr;
        let began = Instant::now();
        let mut probes = Vec::new();
        let mut attack = attack();
        while !is_over(&mut attack) {
            probes.push((began.elapsed(), scope.spawn(move || probe(addr))));
            report.look(server);
            thread::sleep((began + PACE * probes.len() as u32).saturating_duration_since(Instant::now()));
        }
        report.length = began.elapsed();
        let outcome = |probe: thread::ScopedJoinHandle<'_, _>| probe.join().expect("a probe does not panic");
        report.probes = probes.into_iter().map(|(began, probe)| (began, outcome(probe))).collect();
    });
    report.socket_kib = report.socket_kib.saturating_sub(socket_kib_before);
    report
}

/// Makes a connection, asks for a small file, and returns how long it took until all of it was there.
fn probe(addr: SocketAddr) -> Result<Duration, String> {
    let began = Instant::now();
    let ask = || {
        let mut stream = TcpStream::connect_timeout(&addr, LIMIT)?;
        stream.set_read_timeout(Some(LIMIT))?;
        stream.write_all(b"GET /small.txt HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut response = String::new();
        stream.read_to_string(&mut response).map(|_| response)
    };
    let response = ask().map_err(|error| error.to_string())?;
    let is_right = response.starts_with("HTTP/1.1 200 ") && response.ends_with(&format!("\r\n\r\n{CONTENT}"));
    if is_right { Ok(began.elapsed()) } else { Err(format!("answered by {response:?}")) }
}

/// The memory of all TCP sockets of the machine; the kernel counts it in pages.
fn socket_kib() -> usize {
    let table = fs::read_to_string("/proc/net/sockstat").expect("the kernel has the table");
    let pages = field(&table, "TCP:").rsplit_once(" mem ").expect("the column exists").1;
    pages.parse::<usize>().expect("a number of pages") * rustix::param::page_size() / 1024
}

impl Report {
    /// Notes what the server has now.
    fn look(&mut self, server: &Server) {
        let proc = server.proc();
        self.threads = self.threads.max(proc.threads());
        self.resident_kib = self.resident_kib.max(proc.number("VmRSS:"));
        self.socket_kib = self.socket_kib.max(socket_kib());
    }

    /// Asserts that every probe was answered within a second, and that there were enough of them at both ends.
    #[track_caller]
    pub fn everybody_was_answered(&self) {
        let is_late = |outcome: &Result<Duration, String>| outcome.as_ref().is_ok_and(|time| *time <= PROMISE);
        let bad: Vec<_> = self.probes.iter().filter(|(_, outcome)| !is_late(outcome)).collect();
        assert!(bad.is_empty(), "{} of {} were not answered in time: {bad:?}", bad.len(), self.probes.len());
        let second = Duration::from_secs(1);
        let first = self.probes.iter().filter(|(at, _)| *at < second).count();
        let last = self.probes.iter().filter(|(at, _)| *at + second >= self.length).count();
        assert!(first >= ENOUGH && last >= ENOUGH, "{first} probes in the first second, {last} in the last");
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut times: Vec<Duration> =
            self.probes.iter().map(|(_, outcome)| outcome.as_ref().copied().unwrap_or(Duration::MAX)).collect();
        times.sort();
        let millis = |at: usize| times.get(at).map_or(f64::NAN, |time| time.as_secs_f64() * 1000.0);
        let (count, length) = (times.len(), self.length.as_secs_f64());
        write!(f, "{count} probes in {length:.1} s, worst {:.0} ms, ", millis(count.saturating_sub(1)))?;
        write!(f, "median {:.1} ms, {} threads, ", millis(count / 2), self.threads)?;
        write!(f, "{} MiB resident, {} MiB in sockets", self.resident_kib / 1024, self.socket_kib / 1024)
    }
}
