//! The journal and the outbox.

mod conformance;
mod database;
mod file;
mod migration;
mod postgres;
mod simulated;
mod views;

#[path = "../support/postgres.rs"]
mod server;
#[expect(dead_code, reason = "other tests need more of it")]
#[path = "../support/tools.rs"]
mod tools;
