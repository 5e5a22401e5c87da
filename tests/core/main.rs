//! The parts in virtual time and as pure functions, and the rules over real HTTP.

mod answers_arbitrary;
mod exhaustive;
mod properties;
mod rules;
mod schedule;
mod simulation;

#[path = "../support/clocks.rs"]
mod clocks;
#[expect(dead_code, reason = "other tests need more of it")]
#[path = "../support/edited.rs"]
mod edited;
#[path = "../support/reconciler.rs"]
mod reconciler;

/// As in the daemon. A fifth of a run of the simulation is spent on memory with the system's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
