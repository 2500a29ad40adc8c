//! Slow-client attacks, with far more clients than the connection limit: every other client gets its response within a
//! second, from the first second of the attack to its last.
//!
//! A binary of its own, because it measures time. `SERVE_LOAD_SECONDS=60 cargo test --release --test load --
//! --include-ignored --nocapture` is the long run; by default each attack takes 6 s.

mod probes;
mod slow_clients;
#[allow(dead_code, unused_imports, reason = "the tests in tests/it use all of it")]
#[path = "../it/support/mod.rs"]
mod support;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use probes::probe_during;
use slow_clients::{Kind, SlowClients};
use support::{Folder, Server, serve};

/// The connection limit.
const CONNECTIONS_MAX: usize = 1024;

/// The server's threads that serve no connection: accept loop, signals, reaper, and a writer for each of the two logs.
const OTHER_THREADS: usize = 5;

/// Limit on the memory of a socket whose client reads nothing.
const SOCKET_KIB_MAX: usize = 1024;

/// More bytes than the socket buffers of a connection hold.
const LARGE: usize = 48 << 20;

#[test]
#[ignore = "needs slowhttptest"]
fn thousand_slow_heads_delay_no_other_client() {
    attack("slow headers", &["-H", "-x", "24"], "small.txt", 1000);
}

#[test]
#[ignore = "needs slowhttptest"]
fn four_thousand_slow_heads_delay_no_other_client() {
    attack("slow headers", &["-H", "-x", "24"], "small.txt", 4000);
}

#[test]
#[ignore = "needs slowhttptest"]
fn thousand_slow_bodies_delay_no_other_client() {
    attack("slow body", &["-B", "-s", "8192", "-t", "POST", "-x", "10"], "small.txt", 1000);
}

#[test]
#[ignore = "needs slowhttptest"]
fn four_thousand_slow_bodies_delay_no_other_client() {
    attack("slow body", &["-B", "-s", "8192", "-t", "POST", "-x", "10"], "small.txt", 4000);
}

const SLOW_READ: [&str; 11] = ["-X", "-w", "512", "-y", "1024", "-n", "5", "-z", "32", "-k", "3"];

#[test]
#[ignore = "needs slowhttptest"]
fn thousand_slow_readers_delay_no_other_client() {
    attack("slow read", &SLOW_READ, "large.bin", 1000);
}

#[test]
#[ignore = "needs slowhttptest"]
fn four_thousand_slow_readers_delay_no_other_client() {
    attack("slow read", &SLOW_READ, "large.bin", 4000);
}

#[test]
fn slow_heads_at_low_limit_delay_no_other_client() {
    attack_small_table(Kind::Head);
}

#[test]
fn slow_bodies_at_low_limit_delay_no_other_client() {
    attack_small_table(Kind::Content);
}

#[test]
fn slow_readers_at_low_limit_delay_no_other_client() {
    attack_small_table(Kind::Response);
}

/// Runs slowhttptest with this number of connections, up to a thousand a second.
fn attack(name: &str, kind: &[&str], target: &str, connections: usize) {
    up_to_three_times(|| attack_once(name, kind, target, connections));
}

fn attack_once(name: &str, kind: &[&str], target: &str, connections: usize) {
    let folder = site();
    let server =
        serve(&folder).args(&["-v", "--log", "off", "--max-connections", &CONNECTIONS_MAX.to_string()]).start();
    let seconds = std::env::var("SERVE_LOAD_SECONDS").unwrap_or("6".to_owned());
    let statistics = Folder::new();
    let mut command = Command::new("slowhttptest");
    command.args(["-c", &connections.to_string(), "-r", "1000", "-l", &seconds, "-i", "2", "-p", "2"]);
    command.args(["-g", "-o"]).arg(statistics.at("statistics")).args(kind);
    command.args(["-u", &format!("http://{}/{target}", server.addr)]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let start = || command.spawn().expect("slowhttptest runs");
    let report = probe_during(&server, start, |child: &mut Child| child.try_wait().is_ok_and(|end| end.is_some()));

    let evicted = evicted(&server);
    let table = fs::read_to_string(statistics.at("statistics.csv")).expect("slowhttptest writes its table");
    let most = most_connections(&table);
    println!("{name}, {most} of {connections} connections: {report}; {evicted} evicted");
    // On a busy machine slowhttptest is late with some connections. The table has to be full for most of the time.
    let wanted = (connections * 9 / 10).min(CONNECTIONS_MAX + CONNECTIONS_MAX / 4);
    assert!(most >= wanted, "the attack reached {most} connections, not {wanted}\n{table}");
    let kept = OTHER_THREADS + wanted.min(CONNECTIONS_MAX);
    assert!(report.threads >= kept, "the attack took {} threads, not {kept}", report.threads);
    let expected = wanted.saturating_sub(CONNECTIONS_MAX) / 2;
    assert!(evicted >= expected, "{evicted} connections were evicted, not {expected}");
    assert!(report.socket_kib <= CONNECTIONS_MAX * SOCKET_KIB_MAX, "{} KiB in sockets", report.socket_kib);
    report.every_probe_succeeded();
}

fn attack_small_table(kind: Kind) {
    up_to_three_times(|| attack_small_table_once(kind));
}

fn attack_small_table_once(kind: Kind) {
    let (folder, limit, clients) = (site(), 64, 300);
    let server = serve(&folder).args(&["-v", "--log", "off", "--max-connections", &limit.to_string()]).start();
    let start = || SlowClients::start(server.addr, kind, clients);
    let report = probe_during(&server, start, SlowClients::are_done);
    let evicted = evicted(&server);
    println!("{kind:?} by {clients} clients, {limit} connections: {report}; {evicted} evicted");
    assert!(report.threads >= OTHER_THREADS + limit, "the table was never full: {} threads", report.threads);
    assert!(evicted >= clients - limit, "only {evicted} connections were evicted");
    assert!(report.socket_kib <= limit * SOCKET_KIB_MAX, "{} KiB in sockets", report.socket_kib);
    report.every_probe_succeeded();
}

/// Attacks up to three times, until every probe succeeds: a pause of the machine fails one attack, a vulnerable server fails
/// each.
fn up_to_three_times(attack: impl Fn()) {
    const ATTEMPTS: usize = 3;
    let _alone = alone();
    for attempt in 1..=ATTEMPTS {
        match catch_unwind(AssertUnwindSafe(&attack)) {
            Ok(()) => return,
            Err(failure) if attempt == ATTEMPTS => resume_unwind(failure),
            Err(_) => println!("attempt {attempt} of {ATTEMPTS} failed"),
        }
    }
}

/// Serializes the tests.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn site() -> Folder {
    Folder::new().file("small.txt", probes::CONTENT).file("large.bin", vec![b'x'; LARGE])
}

/// The maximum of open and closed connections together: the second and fourth columns of slowhttptest's table.
fn most_connections(table: &str) -> usize {
    let count = |line: &str| -> Option<usize> {
        let mut columns = line.split(',').map(str::parse::<usize>);
        Some(columns.nth(1)?.ok()? + columns.nth(1)?.ok()?)
    };
    table.lines().filter_map(count).max().unwrap_or(0)
}

/// Counts the connections that were evicted.
fn evicted(server: &Server) -> usize {
    server.diagnostics().iter().filter(|line| line.contains("closed: evicted")).count()
}
