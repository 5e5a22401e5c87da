//! `completions`: what a shell needs to complete this command line.

use std::process::ExitCode;

use clap::{Args, Command};
use clap_complete::Shell;

use super::{CommandResult, print};

/// What `completions` takes.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// The shell.
    shell: Shell,
}

/// Prints them.
pub(super) fn completions(options: &Options, mut command: Command) -> CommandResult {
    let name = command.get_name().to_owned();
    let mut text = Vec::new();
    clap_complete::generate(options.shell, &mut command, name, &mut text);
    print(&String::from_utf8_lossy(&text))?;
    Ok(ExitCode::SUCCESS)
}
