//! The thread that ends connections whose time is up, and sees when keys are replaced.

use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{io, thread};

use super::Server;
use super::connection::LINGER;
use super::overload::SHED_LINGER;

/// The least time between two looks.
const PAUSE_MIN: Duration = Duration::from_millis(100);

/// The least time between two looks at the files of keys.
const KEYS_PAUSE: Duration = Duration::from_secs(1);

/// Starts the thread.
pub fn start(server: &Arc<Server>) -> io::Result<()> {
    let server = Arc::clone(server);
    thread::Builder::new().name("watch".to_owned()).spawn(move || watch(&server))?;
    Ok(())
}

/// No connection may wait shorter than for `shortest`, so nothing that begins while this sleeps is due before it wakes.
///
/// To look takes the locks without which nobody is served. So whoever manages the process is told that it is alive here.
fn watch(server: &Server) -> ! {
    let times = &server.options.times;
    let shortest = times.header.min(times.idle).min(LINGER).min(SHED_LINGER).max(PAUSE_MIN);
    let shortest = server.sd_notify.watchdog_interval.map_or(shortest, |beat| beat.min(shortest));
    let mut look_at = Instant::now() + KEYS_PAUSE;
    loop {
        let now = Instant::now();
        let next = [&server.connections, &server.admin_connections]
            .into_iter()
            .filter_map(|connections| connections.dismiss_overdue(now))
            .min();
        server.shed_connections.end(now);
        server.sd_notify.watchdog();
        if let Some(tls) = &server.tls
            && now >= look_at
        {
            look_at = now + KEYS_PAUSE;
            tls.reload_if_changed();
        }
        thread::sleep(next.unwrap_or(shortest).clamp(PAUSE_MIN.min(shortest), shortest));
    }
}
