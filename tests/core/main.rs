//! The parts in virtual time and as pure functions, and the rules over real HTTP.

mod answers_arbitrary;
mod exhaustive;
mod properties;
mod rules;
mod schedule;
mod simulation;

/// As in the daemon. A fifth of a run of the simulation is spent on memory with the system's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
