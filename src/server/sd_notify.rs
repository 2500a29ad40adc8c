//! sd_notify(3): ready, watchdog and stopping messages to the service manager.
//!
//! The crates for this connect for each message, which the sandbox forbids. So this socket is connected before, and kept.

use std::env;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::process;
use std::time::Duration;

/// SO_SNDTIMEO of the socket.
const SEND_TIMEOUT: Duration = Duration::from_secs(1);

/// Time for shutdown beyond the configured limits.
const SPARE: Duration = Duration::from_secs(5);

/// The service manager's socket, if there is one.
#[derive(Debug, Default)]
pub struct SdNotify {
    socket: Option<UnixDatagram>,
    /// The time between watchdog messages, if the manager expects them.
    pub watchdog_interval: Option<Duration>,
}

impl SdNotify {
    /// Connects to NOTIFY_SOCKET, if it is set. The error is a line for the operator.
    pub fn from_env() -> Result<SdNotify, String> {
        let Some(name) = env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else {
            return Ok(SdNotify::default());
        };
        let addr = match name.as_encoded_bytes().strip_prefix(b"@") {
            Some(name) => SocketAddr::from_abstract_name(name),
            None => SocketAddr::from_pathname(&name),
        };
        let socket = addr.and_then(|addr| connect(&addr));
        let socket = socket.map_err(|error| format!("NOTIFY_SOCKET: cannot connect to {}: {error}", name.display()))?;
        Ok(SdNotify { socket: Some(socket), watchdog_interval: watchdog_interval() })
    }

    /// Reports that the server accepts connections.
    pub fn ready(&self) {
        self.send("READY=1\nSTATUS=serving");
    }

    /// Reports that the process is alive.
    pub fn watchdog(&self) {
        if self.watchdog_interval.is_some() {
            self.send("WATCHDOG=1");
        }
    }

    /// Reports that the process will exit within this time.
    pub fn stopping(&self, time: Duration) {
        let micros = (time + SPARE).as_micros();
        self.send(&format!("STOPPING=1\nSTATUS=draining\nEXTEND_TIMEOUT_USEC={micros}"));
    }

    fn send(&self, message: &str) {
        if let Some(error) = self.socket.as_ref().and_then(|socket| socket.send(message.as_bytes()).err()) {
            log::warn!("sd_notify: cannot send {:?}: {error}", message.lines().next().unwrap_or_default());
        }
    }
}

fn connect(addr: &SocketAddr) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.connect_addr(addr)?;
    socket.set_write_timeout(Some(SEND_TIMEOUT))?;
    Ok(socket)
}

/// Half the manager's timeout, if the watchdog is enabled for this process.
fn watchdog_interval() -> Option<Duration> {
    let number = |name| env::var(name).ok()?.parse::<u64>().ok();
    let is_ours = env::var_os("WATCHDOG_PID").is_none() || number("WATCHDOG_PID") == Some(process::id().into());
    number("WATCHDOG_USEC").filter(|micros| is_ours && *micros > 1).map(|micros| Duration::from_micros(micros / 2))
}
