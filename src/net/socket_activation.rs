//! Listening sockets that whoever starts the process has opened for it, as systemd does (sd_listen_fds(3)): they outlive
//! the process, so who connects while it is replaced waits for the next one. The only user of listenfd.

use std::env;
use std::process;
use std::time::Duration;

use listenfd::ListenFd;

use super::listener::Listener;

/// More sockets than this are a mistake.
const MOST: usize = 64;

/// The number of the first descriptor.
const FIRST: usize = 3;

/// A socket that was passed.
#[derive(Debug)]
pub struct PassedSocket {
    /// What it is called (`FileDescriptorName=`), where it has a name.
    pub name: String,
    /// The socket.
    pub listener: Listener,
}

/// Takes over the sockets that were passed to this process, if any were. The error is a line for who passed them.
///
/// It has to come before the first thread, because the variables that tell of them are taken out of the environment.
pub fn take(patience: Duration) -> Result<Vec<PassedSocket>, String> {
    let text = |name| env::var(name).ok();
    // They are another process's, such as the parent of this one, which has passed its environment on.
    if text("LISTEN_PID").and_then(|pid| pid.parse().ok()) != Some(process::id()) {
        return Ok(Vec::new());
    }
    let count = text("LISTEN_FDS").unwrap_or_default();
    let count = match count.parse::<usize>() {
        Ok(0) => return Ok(Vec::new()),
        Ok(count @ 1..=MOST) => count,
        _ => return Err(format!("LISTEN_FDS: sockets are a number from 0 to {MOST}, not {count:?}")),
    };
    let names = text("LISTEN_FDNAMES");
    let names: Vec<String> =
        names.map_or(vec![String::new(); count], |names| names.split(':').map(str::to_owned).collect());
    if names.len() != count {
        return Err(format!("LISTEN_FDNAMES: {count} sockets were passed, with {} names", names.len()));
    }
    let mut sockets = ListenFd::from_env();
    let take = |(at, name)| match sockets
        .take_tcp_listener(at)
        .and_then(|socket| socket.map(|socket| Listener::inherit(socket, patience)).transpose())
    {
        Ok(Some(listener)) => Ok(PassedSocket { name, listener }),
        Ok(None) => Err(format!("LISTEN_FDS: descriptor {} is there no more", FIRST + at)),
        Err(error) => Err(format!(
            "LISTEN_FDS: descriptor {} is no TCP socket that listens: {error}; ListenStream= needs a port, or an address and one",
            FIRST + at
        )),
    };
    names.into_iter().enumerate().map(take).collect()
}
