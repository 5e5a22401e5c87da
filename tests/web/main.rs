//! What is served over HTTP: the status page, the metrics and the simulator.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod browser;
mod metrics;
mod monitoring;
mod page;
mod sdk;
mod simulator;

#[expect(dead_code, reason = "other tests need more of it")]
#[path = "../support/mod.rs"]
mod support;
#[path = "../support/tools.rs"]
mod tools;
