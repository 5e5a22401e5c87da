//! Arbitrary bytes are settings or problems, and nothing else.
#![no_main]

#[path = "../../tests/entries/settings.rs"]
mod settings_entry;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| settings_entry::try_settings(bytes));
