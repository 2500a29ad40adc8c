//! Connections: persistence, pipelining, timeouts, eviction, limits, shutdown and handover.

mod closing;
mod eviction;
mod handover;
mod keep_alive;
mod many;
mod memory;
mod overload;
mod per_ip;
mod pipelining;
mod shutdown;
mod socket_activation;
mod timeouts;

use std::fs::File;
use std::time::Duration;

use rustix::net::sockopt::set_socket_linger;

use crate::support::{Client, Folder, GET, Server, serve, site};

/// More bytes than the socket buffers of a connection hold.
const LARGE: usize = 48 << 20;

/// Returns a site with a file of `LARGE` bytes.
fn large() -> Folder {
    let folder = site().file("large.bin", "");
    let file = File::options().write(true).open(folder.at("large.bin")).expect("the file can be opened");
    file.set_len(LARGE as u64).expect("the file can be made long");
    folder
}

/// Returns a client whose connection is idle after one response.
#[track_caller]
fn idle(server: &Server) -> Client {
    let mut client = server.connect();
    client.send(GET).response().status(200).body("a page\n");
    server.rests();
    client
}

/// Resets the connection.
pub fn reset(client: Client) {
    set_socket_linger(client.stream(), Some(Duration::ZERO)).expect("the option can be set");
}

/// Asserts that these bytes get this response, whole, and that nothing follows it.
#[track_caller]
pub fn refused(server: &Server, bytes: &[u8], status: u16) {
    let mut client = server.connect();
    client.send(bytes);
    client.response().status(status).has("Connection", "close").says(&status.to_string());
    client.closed();
}

/// Runs `check` on a server started with the flag, then on one with its variable alone.
fn either(folder: &Folder, flag: &str, value: &str, check: impl Fn(&Server)) {
    let variable = format!("SERVE_{}", flag.trim_start_matches('-').to_uppercase().replace('-', "_"));
    eprintln!("--- with {flag} {value}");
    check(&serve(folder).args(&[flag, value]).start());
    eprintln!("--- with {variable}={value}");
    check(&serve(folder).env(&variable, value).start());
}
