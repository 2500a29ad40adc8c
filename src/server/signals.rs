//! Signals that ask the server to stop, or to read its keys again. The only user of signal_hook.

use std::process;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::Server;

/// The signals, as whoever waits for them sees them.
pub struct Stop {
    told: Receiver<()>,
}

/// Watches for SIGTERM and SIGINT. The first ends [`Stop::wait`], the second ends the process. SIGHUP, where there are keys,
/// has them read again.
pub fn watch(server: &Arc<Server>) -> Stop {
    let (tell, told) = channel();
    let stop = Stop { told };
    let hangup = server.tls.as_ref().filter(|tls| tls.certificates.are_from_files()).map(|_| SIGHUP);
    let mut signals = match Signals::new([SIGTERM, SIGINT].into_iter().chain(hangup)) {
        Ok(signals) => signals,
        Err(error) => {
            log::warn!("signals end the server at once, because they cannot be watched: {error}");
            return stop;
        }
    };
    let server = Arc::clone(server);
    let listen = move || {
        let mut is_told = false;
        for signal in signals.forever() {
            match (signal, &server.tls) {
                (SIGHUP, Some(tls)) => tls.reload(),
                _ if !is_told => {
                    is_told = true;
                    let _ = tell.send(());
                }
                _ => {
                    server.finish();
                    process::exit(128 + signal);
                }
            }
        }
    };
    if let Err(error) = thread::Builder::new().name("signals".to_owned()).spawn(listen) {
        log::warn!("the server can only be ended by force, because no thread can be started: {error}");
    }
    stop
}

impl Stop {
    /// Waits for the first signal. Where none can be watched for, that takes for ever.
    pub fn wait(&self) {
        while self.told.recv().is_err() {
            thread::park();
        }
    }
}
