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

/// Takes the inherited sockets, each with its `FileDescriptorName=`, or "". The error is a line for the operator.
///
/// It changes the environment, so it has to run before the first thread starts.
pub fn take(write_timeout: Duration) -> Result<Vec<(String, Listener)>, String> {
    let text = |name| env::var(name).ok();
    // Another process's variables may be in the environment, such as the parent's.
    if text("LISTEN_PID").and_then(|pid| pid.parse().ok()) != Some(process::id()) {
        return Ok(Vec::new());
    }
    let count = text("LISTEN_FDS").unwrap_or_default();
    let Some(count) = count.parse().ok().filter(|&count| count <= MOST) else {
        return Err(format!("LISTEN_FDS: expected a number from 0 to {MOST}, got {count:?}"));
    };
    let names = text("LISTEN_FDNAMES").filter(|_| count > 0);
    let names: Vec<_> = names.map_or(vec![String::new(); count], |names| names.split(':').map(str::to_owned).collect());
    if names.len() != count {
        return Err(format!("LISTEN_FDNAMES: expected {count} names, got {}", names.len()));
    }
    let mut sockets = ListenFd::from_env();
    let take = |(at, name)| {
        let fd = FIRST + at;
        let socket =
            sockets.take_tcp_listener(at).transpose().ok_or(format!("LISTEN_FDS: descriptor {fd} is not open"))?;
        let listener = socket.and_then(|socket| Listener::inherit(socket, write_timeout));
        let listener = listener.map_err(|error| {
            let hint = "ListenStream= needs a port, with or without an address";
            format!("LISTEN_FDS: descriptor {fd} is no listening TCP socket: {error}; {hint}")
        })?;
        Ok((name, listener))
    };
    names.into_iter().enumerate().map(take).collect()
}
