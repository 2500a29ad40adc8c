//! Signals that ask the server to stop. The only user of signal_hook.

use std::process;
use std::sync::Arc;
use std::thread;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::Server;
use crate::net::listener::Listener;

/// Watches for SIGTERM and SIGINT. The first lets what is being answered end; the second ends the process.
pub fn watch(server: Arc<Server>, listeners: Arc<Vec<Listener>>) {
    let mut signals = match Signals::new([SIGTERM, SIGINT]) {
        Ok(signals) => signals,
        Err(error) => return log::warn!("signals end the server at once, because they cannot be watched: {error}"),
    };
    let stop = move || {
        for signal in signals.forever() {
            if server.seats.is_stopping() {
                server.finish();
                process::exit(128 + signal);
            }
            log::info!("stopping; a second signal stops at once");
            server.seats.stop();
            listeners.iter().for_each(Listener::wake);
        }
    };
    if let Err(error) = thread::Builder::new().name("signals".to_owned()).spawn(stop) {
        log::warn!("the server can only be ended by force, because no thread can be started: {error}");
    }
}
