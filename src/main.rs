//! Arguments in, exit code out.

use std::process::ExitCode;

fn main() -> ExitCode {
    upgrade_remediator::cli::main()
}
