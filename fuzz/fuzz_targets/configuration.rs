//! Arbitrary bytes are a configuration or problems, and nothing else.
#![no_main]

#[path = "../../tests/entries/configuration.rs"]
mod configuration_entry;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| configuration_entry::try_configuration(bytes));
