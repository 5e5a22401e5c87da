//! A CSS API with tasks that fail by script: to try policies, to test any client, and to test the
//! daemon.
//!
//! [`World`] is the whole behaviour, pure: it takes requests as values with their time of arrival,
//! returns answers as values, and keeps a log of everything that really happened. [`Simulator`]
//! serves it on a socket. A [`Scenario`] describes the content of a world and its faults.
//!
//! It must never share a form of the wire, or the signing of it, with the client: its JSON is
//! written from the published samples and its check of signatures from the published description,
//! so that one mistake is not on both sides.

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
