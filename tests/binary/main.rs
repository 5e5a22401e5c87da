//! The real binary, looked at from outside.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod advice;
mod cli;
mod clock;
mod control;
mod crash;
mod credentials;
mod database;
mod doctor;
mod hostile;
mod json;
mod manual;
mod process;
mod proxy;
mod reload;
mod renamed;
mod secrets;
mod simulator;
mod supervised;
mod trace;

#[path = "../support/leaks.rs"]
mod leaks;
#[expect(dead_code, reason = "other tests need more of it")]
#[path = "../support/peers.rs"]
mod peers;
#[expect(dead_code, reason = "other tests need more of it")]
#[path = "../support/postgres.rs"]
mod server;
#[expect(dead_code, reason = "other tests need more of it")]
#[path = "../support/mod.rs"]
mod support;
#[expect(dead_code, reason = "other tests need more of it")]
#[path = "../support/tools.rs"]
mod tools;
