//! What happens when the system has no more to give: descriptors, threads, memory. Who comes then waits or is told to
//! come again, who is there goes on, and it passes by itself.

use std::process::Command;

use crate::support::{Client, GET, Server, finish, serve, site};

/// The limit on threads counts those of all processes of a user, so this one is nobody else's.
const AS_NOBODY_ELSE: [&str; 3] = ["--reuid", "65117", "--clear-groups"];

#[test]
#[ignore = "needs prlimit"]
fn with_few_descriptors_everybody_is_answered() {
    let folder = site();
    everybody_is_answered(&serve(&folder).under("prlimit", &["--nofile=64:64"]).start(), 20);
}

#[test]
#[ignore = "needs prlimit"]
fn with_little_memory_everybody_is_answered() {
    let folder = site();
    // The program's own code takes up some of it: 14 MiB of a build without optimisation.
    for (mebibytes, connections) in [("40", 30), ("400", 500)] {
        let limit = format!("--as={}", mebibytes.to_owned() + "000000");
        everybody_is_answered(&serve(&folder).under("prlimit", &[&limit]).start(), connections);
    }
}

#[test]
#[ignore = "needs prlimit"]
fn a_program_that_has_to_begin_anew_and_cannot_says_so() {
    let folder = site();
    let program = folder.at("serve");
    std::fs::copy(env!("CARGO_BIN_EXE_serve"), &program).expect("the program can be copied");
    // It runs, but is nowhere any more.
    let script = "exec 9<\"$1\"; rm \"$1\"; exec timeout 20 prlimit --as=400000000 /proc/self/fd/9 --port 0";
    let mut command = Command::new("sh");
    let output = finish(command.args(["-c", script, "sh"]).arg(&program).env_remove("MALLOC_ARENA_MAX"));
    let said = output.stderr;
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.starts_with("serve: with its limit on memory it has to begin anew, and cannot: "), "{said}");
    assert!(said.ends_with("set MALLOC_ARENA_MAX=1\n") && said.lines().count() == 1, "{said}");
}

/// Far more clients come than there is room for, and stay; each is answered, and so many at least are kept.
fn everybody_is_answered(server: &Server, kept: usize) {
    let mut clients: Vec<Client> = Vec::new();
    for _ in 0..700 {
        let mut client = server.connect();
        client.send(GET).response().status(200).body("a page\n");
        clients.push(client);
    }
    server.rests();
    // The last to come are those that have waited shortest.
    for client in clients.iter_mut().rev().take(kept) {
        client.send(GET).response().status(200).body("a page\n");
    }
    drop(clients);
    server.get("/page.txt").status(200).body("a page\n");
}

#[test]
#[ignore = "needs setpriv"]
fn where_no_thread_can_be_started_who_comes_takes_one_over_or_is_told_to_come_again() {
    let folder = site();
    let server = serve(&folder).under("setpriv", &AS_NOBODY_ELSE).start();
    // It says that it listens before its last thread has begun.
    server.rests();
    let threads = server.proc().threads();
    limit_threads(&server, threads);
    let response = server.get("/page.txt").status(503).has("Retry-After", "1").has("Connection", "close");
    assert!(response.text().contains("cannot start a thread"), "{}", response.exchange);
    server.said(|line| line.contains("cannot start a thread"));

    limit_threads(&server, threads + 2);
    let mut first = server.connect();
    first.send(GET).response().status(200);
    server.rests();
    let mut second = server.connect();
    second.send(GET).response().status(200);
    server.rests();
    let mut third = server.connect();
    third.send(GET).response().status(200);
    first.closed();
    second.still_open();

    limit_threads(&server, threads + 3);
    server.connect().send(GET).response().status(200);
    second.still_open();
    third.still_open();
}

#[test]
fn an_address_has_no_more_connections_than_it_may() {
    let folder = site();
    for start in [
        serve(&folder).args(&["--max-per-ip", "2"]),
        serve(&folder).env("SERVE_MAX_PER_IP", "2"),
        serve(&folder).args(&["--max-per-ip", "2"]).env("SERVE_MAX_PER_IP", "3"),
    ] {
        let server = start.start();
        let mut idle: Vec<Client> = (0..2).map(|_| server.connect()).collect();
        for client in &mut idle {
            client.send(GET).response().status(200);
            server.rests();
        }
        let response = server.get("/page.txt").status(503).has("Retry-After", "1").has("Connection", "close");
        assert!(response.text().contains("from this address"), "{}", response.exchange);
        idle[0].closed();
        idle[1].still_open();
        server.rests();
        server.get("/page.txt").status(200);
        idle[1].still_open();
    }
}

#[test]
fn without_a_limit_an_address_may_have_all_connections() {
    let folder = site();
    let server = serve(&folder).args(&["--max-connections", "50", "--max-per-ip", "0"]).start();
    let mut clients: Vec<Client> = (0..50).map(|_| server.connect()).collect();
    clients.iter_mut().for_each(|client| client.still_open());
    clients.iter_mut().for_each(|client| client.still_open());
}

fn limit_threads(server: &Server, most: usize) {
    let mut command = Command::new("setpriv");
    command.args(AS_NOBODY_ELSE).args(["prlimit", "--pid", &server.pid().to_string(), &format!("--nproc={most}:")]);
    assert!(command.status().expect("setpriv runs").success(), "the limit can be set");
}
