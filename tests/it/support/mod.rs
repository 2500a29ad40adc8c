//! The little language the integration tests are written in.
//!
//! A test fills a [`Folder`], starts the real binary on it with [`serve`], sends raw bytes and looks at the raw
//! answer. Nothing here knows how the server works, and nothing waits for a fixed time: every wait is for an event, with
//! a long limit that only a failing test reaches.

mod client;
mod folder;
mod program;
mod response;
mod server;
mod tls;

pub use client::Client;
pub use folder::Folder;
pub use program::{output, program};
pub use response::Response;
pub use server::{Server, Starter, run, serve};
pub use tls::{Trust, Version, certificate, fingerprint};

/// Returns `count` where the environment variable SERVE_FULL_RACES is set, otherwise a twentieth of it, but at least 1.
pub fn full_or_twentieth(count: usize) -> usize {
    if std::env::var_os("SERVE_FULL_RACES").is_some() { count } else { (count / 20).max(1) }
}
