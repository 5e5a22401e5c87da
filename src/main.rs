//! Arguments in, exit code out.

use std::process::ExitCode;

/// What it brings stands in docs/performance.md.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    upgrade_remediator::cli::main()
}
