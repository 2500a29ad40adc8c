//! The whole request loop over a connection in memory: what must hold for every client, whatever it says, however its
//! bytes arrive, and however slowly it listens.
//!
//! An input is a [`script`]. The server answers it, a second [reading](oracle) of the same bytes [foretells](foretell)
//! which answers are due, a strict [reader](response) takes apart what the server said, and the [judge] compares.
//!
//! The fuzz target runs this on made-up scripts, `server::tests` on the committed ones. It sees the server's modules as
//! `crate::server` and so on, and makes a server in one place alone: [`fixture`].

pub mod fixture;
mod foretell;
mod judge;
#[path = "../oracle.rs"]
mod oracle;
mod response;
mod script;

use std::sync::Once;

use crate::server::connection::Connection;
use crate::site::SiteSession;
use fixture::Fixture;
use script::{Client, Script};

/// Longer scripts are cut, so that no limit on the framing of chunks is reached, which the oracle does not know.
const LEN_MAX: usize = 60_000;

/// Runs a script and judges what the client heard.
pub fn check(fixture: &Fixture, bytes: &[u8]) {
    let script = Script::parse(&bytes[..bytes.len().min(LEN_MAX)]);
    listen_to_log(script.is_told);
    let stopped;
    let served = if script.stops() {
        stopped = fixture.new_server();
        &stopped
    } else {
        &fixture.server
    };
    let server = &served.server;
    let conn = server.connections.register(fixture.stream(), fixture.peer).expect("the table has room");
    let mut client = Client::new(&script, served);
    let site = SiteSession::new(fixture.site(&script));
    Connection::new(&mut client, server, &site, &conn).run();
    judge::judge(&script, &client.heard);
}

/// Checks the lines of `-vv`, where the script's options select it: they hold no control characters.
fn listen_to_log(is_told: bool) {
    struct Listener;
    impl log::Log for Listener {
        fn enabled(&self, _: &log::Metadata<'_>) -> bool {
            true
        }
        fn log(&self, record: &log::Record<'_>) {
            let told = record.args().to_string();
            assert!(!told.chars().any(|char| char.is_control() && char != '\t'), "{told:?}");
        }
        fn flush(&self) {}
    }
    static ONCE: Once = Once::new();
    ONCE.call_once(|| log::set_logger(&Listener).expect("nobody else listens"));
    log::set_max_level(if is_told { log::LevelFilter::Trace } else { log::LevelFilter::Off });
}
