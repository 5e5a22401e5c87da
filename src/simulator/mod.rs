//! A CSS API with tasks that fail by script: to try policies on, to point any client at, and to test the daemon.
//!
//! [`World`] is the whole behaviour, pure: it takes requests as values with the time they arrive at, gives
//! answers as values, and keeps a log that tells the truth about everything that happened. [`Simulator`] puts it
//! on a socket. What a world holds and what goes wrong in it, a [`Scenario`] says.
//!
//! It must never share a form of the wire, or the signing of it, with the client: its JSON is written from the
//! published samples and its check of signatures from the published description, so that one slip is not on both
//! sides.

mod calls;
mod cluster;
mod exchange;
mod faults;
mod given;
mod iam;
mod ids;
mod images;
pub mod log;
mod render;
mod route;
pub mod scenario;
mod server;
mod signature;
pub mod steps;
mod task;
mod time;
mod wire;
mod world;

pub use exchange::{Delivery, Response, SimAnswer, SimRequest, query_pairs};
pub use log::Verdict;
pub use scenario::{Scenario, ScenarioError};
pub use server::{Simulator, SimulatorError};
pub use time::{Offset, SimTime};
pub use world::World;
