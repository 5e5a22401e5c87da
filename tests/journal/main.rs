//! The journal and the outbox.

mod conformance;
mod file;
mod outbox;
mod views;
