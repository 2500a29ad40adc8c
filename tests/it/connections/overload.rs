//! Shortage of descriptors, memory and threads: the server evicts a connection or sends a 503, and recovers.

use std::process::Command;

use crate::support::{Client, GET, Server, serve, site};

/// A user without other processes: the limit on threads counts those of all processes of a user.
const AS_UNIQUE_USER: [&str; 3] = ["--reuid", "65117", "--clear-groups"];

#[test]
#[ignore = "needs prlimit"]
fn few_descriptors_serve_every_client() {
    let folder = site();
    every_client_is_served(&serve(&folder).under("prlimit", &["--nofile=64:64"]).start(), 20);
}

#[test]
#[ignore = "needs prlimit"]
fn little_memory_serves_every_client() {
    let folder = site();
    // The code of a build without optimisation takes 14 MiB of it.
    for (mebibytes, connections) in [("40", 30), ("400", 50)] {
        let limit = format!("--as={}", mebibytes.to_owned() + "000000");
        every_client_is_served(&serve(&folder).under("prlimit", &[&limit]).start(), connections);
    }
}

/// Connects 700 clients that stay: each one gets a response, and the last `kept` connections remain open.
fn every_client_is_served(server: &Server, kept: usize) {
    let mut clients: Vec<Client> = Vec::new();
    for _ in 0..700 {
        let mut client = server.connect();
        client.send(GET).response().status(200).body("a page\n");
        clients.push(client);
    }
    server.rests();
    // The newest connections have waited for the shortest time.
    for client in clients.iter_mut().rev().take(kept) {
        client.send(GET).response().status(200).body("a page\n");
    }
    drop(clients);
    server.get("/page.txt").status(200).body("a page\n");
}

#[test]
#[ignore = "needs setpriv"]
fn thread_shortage_evicts_or_sheds() {
    let folder = site();
    let server = serve(&folder).under("setpriv", &AS_UNIQUE_USER).start();
    // The line with the address may precede the last thread.
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

fn limit_threads(server: &Server, most: usize) {
    let mut command = Command::new("setpriv");
    command.args(AS_UNIQUE_USER).args(["prlimit", "--pid", &server.pid().to_string(), &format!("--nproc={most}:")]);
    assert!(command.status().expect("setpriv runs").success(), "the limit can be set");
}
