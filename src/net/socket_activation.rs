//! Socket activation (sd_listen_fds(3)): listening sockets inherited from systemd. They outlive the process, so a client
//! that connects during a restart waits for the next one. The only user of listenfd.

use std::env;
use std::process;
use std::time::Duration;

use listenfd::ListenFd;

use super::listener::Listener;

/// The most inherited sockets.
const MOST: usize = 64;

/// SD_LISTEN_FDS_START.
const FIRST: usize = 3;

/// An inherited socket.
#[derive(Debug)]
pub struct PassedSocket {
    /// Its `FileDescriptorName=`, or empty.
    pub name: String,
    /// The socket.
    pub listener: Listener,
}

/// Takes the inherited sockets. The error is a line for the operator.
///
/// It changes the environment, so it has to run before the first thread starts.
pub fn take(patience: Duration) -> Result<Vec<PassedSocket>, String> {
    let text = |name| env::var(name).ok();
    // Another process's variables may be in the environment, such as the parent's.
    if text("LISTEN_PID").and_then(|pid| pid.parse().ok()) != Some(process::id()) {
        return Ok(Vec::new());
    }
    let count = text("LISTEN_FDS").unwrap_or_default();
    let count = match count.parse::<usize>() {
        Ok(0) => return Ok(Vec::new()),
        Ok(count @ 1..=MOST) => count,
        _ => return Err(format!("LISTEN_FDS: expected a number from 0 to {MOST}, got {count:?}")),
    };
    let names = text("LISTEN_FDNAMES");
    let names: Vec<String> =
        names.map_or(vec![String::new(); count], |names| names.split(':').map(str::to_owned).collect());
    if names.len() != count {
        return Err(format!("LISTEN_FDNAMES: expected {count} names, got {}", names.len()));
    }
    let mut sockets = ListenFd::from_env();
    let take = |(at, name)| match sockets
        .take_tcp_listener(at)
        .and_then(|socket| socket.map(|socket| Listener::inherit(socket, patience)).transpose())
    {
        Ok(Some(listener)) => Ok(PassedSocket { name, listener }),
        Ok(None) => Err(format!("LISTEN_FDS: descriptor {} is not open", FIRST + at)),
        Err(error) => Err(format!(
            "LISTEN_FDS: descriptor {} is no listening TCP socket: {error}; ListenStream= needs a port, with or without an address",
            FIRST + at
        )),
    };
    names.into_iter().enumerate().map(take).collect()
}
