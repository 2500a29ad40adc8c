//! What the process's manager, such as systemd, is told: that it is ready, that it is alive, that it stops (sd_notify(3)).
//!
//! The crates for this connect anew for each message, and that is forbidden once the process is confined. So the socket
//! is connected before, and kept.

use std::env;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::process;
use std::time::Duration;

/// How long a manager may take to receive a message.
const SEND_TIMEOUT: Duration = Duration::from_secs(1);

/// What stopping may take beyond what was asked for.
const SPARE: Duration = Duration::from_secs(5);

/// The manager, if there is one.
#[derive(Debug, Default)]
pub struct SdNotify {
    socket: Option<UnixDatagram>,
    /// How often it wants to know that the process is alive, if it does.
    pub watchdog_interval: Option<Duration>,
}

impl SdNotify {
    /// Finds the manager that the environment names. The error is a line for who starts the server.
    pub fn from_env() -> Result<SdNotify, String> {
        let Some(name) = env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else {
            return Ok(SdNotify::default());
        };
        let bytes = name.as_encoded_bytes();
        let socket = match bytes.strip_prefix(b"@") {
            Some(name) => SocketAddr::from_abstract_name(name),
            None => SocketAddr::from_pathname(&name),
        };
        let socket = socket.and_then(|addr| connect(&addr));
        let socket = socket.map_err(|error| format!("NOTIFY_SOCKET: nobody listens at {}: {error}", name.display()))?;
        Ok(SdNotify { socket: Some(socket), watchdog_interval: watchdog_interval() })
    }

    /// Says that connections are accepted.
    pub fn ready(&self) {
        self.send("READY=1\nSTATUS=serving");
    }

    /// Says that the process is alive.
    pub fn watchdog(&self) {
        if self.watchdog_interval.is_some() {
            self.send("WATCHDOG=1");
        }
    }

    /// Says that the process will end, within this time.
    pub fn stopping(&self, time: Duration) {
        let micros = (time + SPARE).as_micros();
        self.send(&format!("STOPPING=1\nSTATUS=draining\nEXTEND_TIMEOUT_USEC={micros}"));
    }

    fn send(&self, message: &str) {
        if let Some(error) = self.socket.as_ref().and_then(|socket| socket.send(message.as_bytes()).err()) {
            log::warn!(
                "the sd_notify of this process cannot be told {:?}: {error}",
                message.lines().next().unwrap_or_default()
            );
        }
    }
}

fn connect(addr: &SocketAddr) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.connect_addr(addr)?;
    socket.set_write_timeout(Some(SEND_TIMEOUT))?;
    Ok(socket)
}

/// Half the time after which a process that says nothing is taken for dead, where that is wanted of this one.
fn watchdog_interval() -> Option<Duration> {
    let number = |name| env::var(name).ok()?.parse::<u64>().ok();
    let is_ours = env::var_os("WATCHDOG_PID").is_none() || number("WATCHDOG_PID") == Some(process::id().into());
    number("WATCHDOG_USEC").filter(|micros| is_ours && *micros > 1).map(|micros| Duration::from_micros(micros / 2))
}
