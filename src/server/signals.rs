//! Signals that ask the server to stop, or to read its keys again. The only user of signal_hook.

use std::process;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::reception::{Door, Reception};

/// Watches for SIGTERM and SIGINT. The first ends the listening and lets what is being answered end; then something is
/// received here. The second ends the process. SIGHUP, where there are keys, has them read again.
pub fn watch(reception: Arc<Reception>, doors: Arc<Vec<Door>>) -> Receiver<()> {
    let (told, stopped) = channel();
    let hangup = reception.server.secure.as_ref().filter(|secure| secure.keys.have_files()).map(|_| SIGHUP);
    let mut signals = match Signals::new([SIGTERM, SIGINT].into_iter().chain(hangup)) {
        Ok(signals) => signals,
        Err(error) => {
            log::warn!("signals end the server at once, because they cannot be watched: {error}");
            return stopped;
        }
    };
    let stop = move || {
        let server = &reception.server;
        for signal in signals.forever() {
            if let (SIGHUP, Some(secure)) = (signal, &server.secure) {
                secure.reread();
                continue;
            }
            if server.seats.is_stopping() {
                server.finish();
                process::exit(128 + signal);
            }
            log::info!("stopping; a second signal stops at once");
            server.seats.stop();
            doors.iter().for_each(|door| reception.close(door));
            let _ = told.send(());
        }
    };
    if let Err(error) = thread::Builder::new().name("signals".to_owned()).spawn(stop) {
        log::warn!("the server can only be ended by force, because no thread can be started: {error}");
    }
    stopped
}
