//! The control socket: how people speak to a running daemon.
//!
//! One request and one answer for each connection, each one line of JSON. Who asks is told by the kernel (the
//! peer's uid), who may ask by the socket's mode, 0660. The socket only carries words: what they do is decided by
//! whoever takes the [`Question`]s.

pub mod client;
pub mod protocol;
pub mod server;
mod user;

pub use client::{AskError, ask};
pub use protocol::{Answer, Order, Peer, Question, Request};
pub use server::{BindError, Reachable, Server, understand};
