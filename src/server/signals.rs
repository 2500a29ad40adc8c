//! Signals that ask the server to stop. The only user of signal_hook.

use std::process;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::Server;

/// The signals, as whoever waits for them sees them.
pub struct Stop {
    told: Receiver<()>,
}

/// Watches for SIGTERM and SIGINT. The first ends [`Stop::wait`], the second ends the process.
pub fn watch(server: &Arc<Server>) -> Stop {
    let (tell, told) = channel();
    let stop = Stop { told };
    let mut signals = match Signals::new([SIGTERM, SIGINT]) {
        Ok(signals) => signals,
        Err(error) => {
            log::warn!("signals end the server at once, because they cannot be watched: {error}");
            return stop;
        }
    };
    let server = Arc::clone(server);
    let listen = move || {
        let mut signals = signals.forever();
        if signals.next().is_some() {
            let _ = tell.send(());
        }
        if let Some(signal) = signals.next() {
            server.finish();
            process::exit(128 + signal);
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
