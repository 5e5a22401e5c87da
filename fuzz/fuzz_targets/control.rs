//! Arbitrary bytes are a request over the control socket, or are refused in words.
#![no_main]
#![allow(dead_code, reason = "each target needs one entry of the file")]

#[path = "../../tests/entries/control.rs"]
mod control;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| control::try_request(bytes));
