//! The daemon with failure points, under a name of its own.

use std::process::ExitCode;

/// The same as in `src/main.rs`.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    upgrade_remediator::cli::main()
}
