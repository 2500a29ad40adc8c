//! Fuzz target of `connection::check`: the whole request loop.
#![no_main]
#![allow(dead_code, reason = "nothing listens, and no signal comes")]

#[path = "../connection/mod.rs"]
mod connection;
#[path = "../../../src/escape.rs"]
mod escape;
#[path = "../../../src/files/mod.rs"]
mod files;
#[path = "../../../src/net/mod.rs"]
mod net;
#[path = "../../../src/proto/mod.rs"]
mod proto;
#[path = "../../../src/server/mod.rs"]
mod server;
#[path = "../../../src/site/mod.rs"]
mod site;

use std::sync::LazyLock;

use connection::fixture::Fixture;

/// A directory shared by all processes, so that its files were not modified recently.
static FIXTURE: LazyLock<Fixture> = LazyLock::new(|| Fixture::at(std::env::temp_dir().join("serve-fuzz")));

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| connection::check(&FIXTURE, bytes));
