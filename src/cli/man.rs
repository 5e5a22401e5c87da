//! `man`: the manual pages, made from the command line itself.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Command};
use clap_mangen::Man;

use super::{CommandResult, print};

/// What `man` takes.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// Write the pages of all commands to this folder instead of printing the first page.
    #[arg(long, value_name = "FOLDER")]
    folder: Option<PathBuf>,
}

/// Prints the page of the program, or writes it and those of its commands.
pub(super) fn man(options: &Options, command: Command) -> CommandResult {
    let command = command.disable_help_subcommand(true);
    match &options.folder {
        None => print(&String::from_utf8_lossy(&page(command)?))?,
        Some(folder) => clap_mangen::generate_to(command, folder)
            .with_context(|| format!("the pages cannot be written to {}", folder.display()))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn page(command: Command) -> std::io::Result<Vec<u8>> {
    let mut page = Vec::new();
    Man::new(command).render(&mut page)?;
    Ok(page)
}
