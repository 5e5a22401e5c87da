//! What the machine gives, and the daemon as a service of it.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod resources;
mod service;
mod units;

#[expect(dead_code, reason = "other tests need more of it")]
#[path = "../support/clocks.rs"]
mod clocks;
#[path = "../support/parked.rs"]
mod parked;
#[expect(dead_code, reason = "other tests need more of it")]
#[path = "../support/reconciler.rs"]
mod reconciler;
#[expect(dead_code, reason = "other tests need more of it")]
#[path = "../support/mod.rs"]
mod support;
#[expect(dead_code, reason = "other tests need more of it")]
#[path = "../support/tools.rs"]
mod tools;
