//! Reaper: the thread that closes idle and lingering connections after a timeout, and notices replaced certificates.

use std::thread;
use std::time::{Duration, Instant};

use super::Server;
use super::conn_entry::LINGER;
use super::overload::SHED_LINGER;

/// The shortest pause between two rounds.
const PAUSE_MIN: Duration = Duration::from_millis(100);

/// Interval at which the certificate files are looked at.
const CERTIFICATE_CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// Sleeps no longer than the shortest timeout, so that no wait that begins meanwhile is over before the next round.
/// Each round takes the locks without which no connection is served, so the watchdog of systemd is fed here.
pub fn reap(server: &Server) {
    let limits = &server.options.limits;
    let shortest = limits.header_timeout.min(limits.idle_timeout).min(LINGER).min(SHED_LINGER).max(PAUSE_MIN);
    let shortest = server.sd_notify.watchdog_interval.map_or(shortest, |interval| interval.min(shortest));
    let mut check_certificates_at = Instant::now() + CERTIFICATE_CHECK_INTERVAL;
    loop {
        let now = Instant::now();
        let next = server.connections.expire().into_iter().chain(server.admin_connections.expire()).min();
        server.shed_connections.expire(now);
        server.sd_notify.watchdog();
        if let Some(tls) = &server.tls
            && now >= check_certificates_at
        {
            check_certificates_at = now + CERTIFICATE_CHECK_INTERVAL;
            tls.reload_if_changed();
        }
        thread::sleep(next.unwrap_or(shortest).clamp(PAUSE_MIN.min(shortest), shortest));
    }
}
