//! The journal and the outbox.

mod conformance;
mod file;
mod migration;
mod simulated;
mod views;
