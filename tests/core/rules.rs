//! The rules of the domain, shown over real HTTP: the simulator on a loopback port, the daemon's own client and
//! look, and a clock that the story moves. What was sent is judged by the simulator's log, never by what the
//! daemon says of itself.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a story that cannot go on fails")]
#![expect(clippy::indexing_slicing, reason = "a story that cannot go on fails")]

mod abort;
mod answers;
mod breaker;
mod harness;
mod held;
mod lost;
mod others;
mod rests;
mod retention;
mod safe;
mod settling;
mod time;
