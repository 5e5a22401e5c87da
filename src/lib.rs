//! upgrade-remediator: retries, aborts or escalates failed upgrades and AZ switchovers of Huawei Cloud CSS.
//!
//! The stages of the flow, each a module; the others are what stages use.
//!
//! ```text
//!   schedule ──► reconcile ──► decide ──► journal ──► cloud ──► journal ──► notify
//!    when?       one pass      what?      intent       PUT      outcome     channels
//!                   ▲            │
//!                   └── state ◄──┘   the fold of the journal's events; read at the next poll
//! ```
//!
//! Read [`reconcile`] first.

// The flow.
pub mod schedule;

pub mod reconcile;

pub mod decide;

pub mod journal;

pub mod notify;

// What the stages use.
pub mod clock;
pub mod cloud;
pub mod model;

// What puts them together.
pub mod cli;
pub mod configuration;
pub mod connections;
pub mod control;
pub mod daemon;
pub mod descriptors;
pub mod lifecycle;
pub mod status;
pub mod supervisor;
pub mod telemetry;
pub mod web;

// What they are tried against.
mod failpoint;
pub mod simulator;

// The clocks of `tests/`, which name this crate as a test there does.
#[cfg(test)]
extern crate self as upgrade_remediator;
#[cfg(test)]
#[expect(dead_code, reason = "tests elsewhere need more of it")]
#[path = "../tests/support/clocks.rs"]
mod clocks;
