//! Whatever stands in `migrateParam` decides nothing.
#![no_main]
#![allow(dead_code, reason = "each target needs one entry of the file")]

#[path = "../../tests/entries/answers.rs"]
mod answers;
#[path = "../../tests/support/clocks.rs"]
mod clocks;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| answers::try_migrate_param(bytes));
