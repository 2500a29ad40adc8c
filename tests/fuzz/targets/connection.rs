//! Fuzzes what `connection::check` checks: the whole request loop.
#![no_main]
#![allow(dead_code, reason = "nothing listens, and no signal comes")]

#[path = "../connection/mod.rs"]
mod connection;
#[path = "../../../src/files/mod.rs"]
mod files;
#[path = "../../../src/json.rs"]
mod json;
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

/// All processes share it, so that its files are no longer young.
static HOUSE: LazyLock<Fixture> = LazyLock::new(|| Fixture::at(std::env::temp_dir().join("serve-fuzz")));

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| connection::check(&HOUSE, bytes));
