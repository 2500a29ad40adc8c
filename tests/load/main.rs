//! Clients that are slow on purpose, far more of them than there is room for: whoever comes beside them is answered
//! within a second, from the first one of the attack to its last.
//!
//! A binary of its own, because what is measured here is time. `SERVE_LOAD_SECONDS=60 cargo test --release --test load --
//! --include-ignored --nocapture` is the long one; without the variable each attack takes 6 s.

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

/// How many connections there may be.
const SEATS: usize = 1024;

/// The server's threads that serve no connection: one each accepts, waits for signals, looks who idles too long, and
/// writes each of the two logs.
const OTHER_THREADS: usize = 5;

/// The most memory that the system may spend on a connection whose client takes nothing.
const SOCKET_KIB_MAX: usize = 1024;

/// More than the buffers between a server and a client that does not read can hold.
const LARGE: usize = 48 << 20;

#[test]
#[ignore = "needs slowhttptest"]
fn a_thousand_slow_heads_keep_nobody_out() {
    attack("slow headers", &["-H", "-x", "24"], "small.txt", 1000);
}

#[test]
#[ignore = "needs slowhttptest"]
fn four_thousand_slow_heads_keep_nobody_out() {
    attack("slow headers", &["-H", "-x", "24"], "small.txt", 4000);
}

#[test]
#[ignore = "needs slowhttptest"]
fn a_thousand_slow_contents_keep_nobody_out() {
    attack("slow body", &["-B", "-s", "8192", "-t", "POST", "-x", "10"], "small.txt", 1000);
}

#[test]
#[ignore = "needs slowhttptest"]
fn four_thousand_slow_contents_keep_nobody_out() {
    attack("slow body", &["-B", "-s", "8192", "-t", "POST", "-x", "10"], "small.txt", 4000);
}

const SLOW_READ: [&str; 11] = ["-X", "-w", "512", "-y", "1024", "-n", "5", "-z", "32", "-k", "3"];

#[test]
#[ignore = "needs slowhttptest"]
fn a_thousand_slow_readers_keep_nobody_out() {
    attack("slow read", &SLOW_READ, "large.bin", 1000);
}

#[test]
#[ignore = "needs slowhttptest"]
fn four_thousand_slow_readers_keep_nobody_out() {
    attack("slow read", &SLOW_READ, "large.bin", 4000);
}

#[test]
fn a_few_hundred_clients_that_send_a_head_slowly_keep_nobody_out_of_a_small_house() {
    attack_small_house(Kind::Head);
}

#[test]
fn a_few_hundred_clients_that_send_content_slowly_keep_nobody_out_of_a_small_house() {
    attack_small_house(Kind::Content);
}

#[test]
fn a_few_hundred_clients_that_read_slowly_keep_nobody_out_of_a_small_house() {
    attack_small_house(Kind::Response);
}

/// Lets slowhttptest loose with so many connections, up to a thousand of which come in a second.
fn attack(name: &str, kind: &[&str], target: &str, connections: usize) {
    again_and_again(|| attack_once(name, kind, target, connections));
}

fn attack_once(name: &str, kind: &[&str], target: &str, connections: usize) {
    let folder = site();
    let server = serve(&folder).args(&["-v", "--log", "off", "--max-connections", &SEATS.to_string()]).start();
    let seconds = std::env::var("SERVE_LOAD_SECONDS").unwrap_or("6".to_owned());
    let statistics = Folder::new();
    let mut command = Command::new("slowhttptest");
    command.args(["-c", &connections.to_string(), "-r", "1000", "-l", &seconds, "-i", "2", "-p", "2"]);
    command.args(["-g", "-o"]).arg(statistics.at("told")).args(kind);
    command.args(["-u", &format!("http://{}/{target}", server.addr)]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let start = || command.spawn().expect("slowhttptest runs");
    let report = probe_during(&server, start, |child: &mut Child| child.try_wait().is_ok_and(|end| end.is_some()));

    let made_room = made_room(&server);
    let told = fs::read_to_string(statistics.at("told.csv")).expect("slowhttptest leaves what it has seen");
    let most = most_connections(&told);
    println!("{name}, {most} of {connections} connections: {report}; {made_room} made room");
    // On a busy machine slowhttptest does not make all of them in time; what counts is that the house was full for long.
    let wanted = (connections * 9 / 10).min(SEATS + SEATS / 4);
    assert!(most >= wanted, "the attack reached {most} connections, not {wanted}\n{told}");
    let kept = OTHER_THREADS + wanted.min(SEATS);
    assert!(report.threads >= kept, "the attack took {} threads, not {kept}", report.threads);
    let evicted = wanted.saturating_sub(SEATS) / 2;
    assert!(made_room >= evicted, "only {made_room} had to make room for others, not {evicted}");
    assert!(report.socket_kib <= SEATS * SOCKET_KIB_MAX, "{} KiB in sockets", report.socket_kib);
    report.everybody_was_answered();
}

fn attack_small_house(kind: Kind) {
    again_and_again(|| attack_small_house_once(kind));
}

fn attack_small_house_once(kind: Kind) {
    let (folder, seats, clients) = (site(), 64, 300);
    let server = serve(&folder).args(&["-v", "--log", "off", "--max-connections", &seats.to_string()]).start();
    let start = || SlowClients::start(server.addr, kind, clients);
    let report = probe_during(&server, start, SlowClients::are_done);
    let made_room = made_room(&server);
    println!("{kind:?} by {clients} clients, {seats} connections: {report}; {made_room} made room");
    assert!(report.threads >= OTHER_THREADS + seats, "the house was never full: {} threads", report.threads);
    assert!(made_room >= clients - seats, "only {made_room} had to make room for others");
    assert!(report.socket_kib <= seats * SOCKET_KIB_MAX, "{} KiB in sockets", report.socket_kib);
    report.everybody_was_answered();
}

/// Attacks up to three times, until once everybody was answered: a machine that halts for a moment fails one attack, but a
/// server that lets itself be filled fails each.
fn again_and_again(attack: impl Fn()) {
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

/// Lets one test after another measure.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn site() -> Folder {
    Folder::new().file("small.txt", probes::CONTENT).file("large.bin", vec![b'x'; LARGE])
}

/// The most connections that slowhttptest had made, together with those that were closed again. Of its table's columns
/// the second and the fourth are these.
fn most_connections(told: &str) -> usize {
    let count = |line: &str| -> Option<usize> {
        let mut columns = line.split(',').map(str::parse::<usize>);
        Some(columns.nth(1)?.ok()? + columns.nth(1)?.ok()?)
    };
    told.lines().filter_map(count).max().unwrap_or(0)
}

/// How many connections were ended because others came.
fn made_room(server: &Server) -> usize {
    let reasons = ["this one had waited longest", "the client takes the response too slowly"];
    let is_told = |line: &&String| reasons.iter().any(|reason| line.ends_with(reason));
    server.diagnostics().iter().filter(is_told).count()
}
