//! Who is told what and when: by the parts that the daemon runs, over a journal in memory and in virtual time; and by the real
//! binary, to real receivers.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod channels;
mod delivery;
mod harness;
mod mail;
mod posts;
mod wording;

#[expect(dead_code, reason = "other tests need more of it")]
#[path = "../support/clocks.rs"]
mod clocks;
#[path = "../support/peers.rs"]
mod peers;
#[expect(dead_code, reason = "other tests need more of it")]
#[path = "../support/mod.rs"]
mod support;
#[expect(dead_code, reason = "other tests need more of it")]
#[path = "../support/tools.rs"]
mod tools;
