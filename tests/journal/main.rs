//! The journal and the outbox.

mod conformance;
mod file;
mod migration;
mod outbox;
mod store;
mod views;
