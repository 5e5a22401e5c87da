//! The vocabulary: values that every other part speaks in. No I/O, no clock, no async.

pub mod advice;
pub mod answer;
pub mod breaker;
pub mod channel;
pub mod cluster;
pub mod decision;
pub mod event;
pub mod explanation;
pub mod hold;
pub mod id;
pub mod level;
pub mod moment;
pub mod names;
pub mod outbox;
pub mod policy;
pub mod project;
pub mod project_state;
pub mod proxy;
pub mod reason;
pub mod record;
pub mod secret;
pub mod task;
pub mod text;
pub mod window;
pub mod wording;
