//! Fuzz target of `checks::target`.
#![no_main]
#![allow(dead_code, reason = "each target uses only some of the parsers")]

#[path = "../checks.rs"]
mod checks;
#[path = "../../../src/proto/mod.rs"]
mod proto;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| checks::target(bytes));
