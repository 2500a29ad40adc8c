//! The language of the integration tests.
//!
//! A test fills a [`Folder`], starts the real binary on it with [`serve`], sends raw bytes and checks the raw
//! response. Nothing here depends on the server's inside, and nothing waits for a fixed time: every wait is for an
//! event, with a long limit that only a failing test reaches.

mod client;
mod folder;
mod proc;
mod process;
mod response;
mod server;
mod tls;

pub use client::{Client, GET};
pub use folder::{Folder, site};
pub use proc::{Proc, field};
pub use process::{BINARY, LIMIT, Process, binary, finish, free_port, output, program, run, until, without_settings};
pub use response::Response;
pub use server::{Server, Starter, serve};
pub use tls::{Trust, Version, certificate, fingerprint};

/// The rounds of a long race: `count` where the environment variable `SERVE_FULL_RACES` is set, otherwise a twentieth.
pub fn full_or_twentieth(count: usize) -> usize {
    if std::env::var_os("SERVE_FULL_RACES").is_some() { count } else { (count / 20).max(1) }
}
