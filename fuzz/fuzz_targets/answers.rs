//! Arbitrary bytes are an answer of the service (a list, a cluster, tasks, a PUT's) or an error, and nothing else.
#![no_main]
#![allow(dead_code, reason = "each target needs one entry of the file")]

#[path = "../../tests/entries/answers.rs"]
mod answers;
#[path = "../../tests/support/clocks.rs"]
mod clocks;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| answers::try_answer(bytes));
