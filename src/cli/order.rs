//! `retry-now`, `abort` and `reset`: what people order for one cluster, over the daemon's control socket.

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::hold::{Control, START_IT, put, unexpected};
use super::{CommandResult, Failure, print, print_json};
use crate::clock::random_seed;
use crate::control::{Answer, Order, Request};
use crate::model::id::TaskId;
use crate::model::text::shown;

/// For which cluster, and why.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// Its name or its id.
    cluster: String,
    /// Why, for those who read the history.
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// The task that is meant: refused if it is not the newest any more.
    #[arg(long, value_name = "ID")]
    task: Option<String>,
}

/// For which cluster, and why, and that it is meant.
#[derive(Debug, Args)]
pub(super) struct AbortOptions {
    #[command(flatten)]
    options: Options,
    /// Do not ask. Needed where nobody can be asked.
    #[arg(long)]
    yes: bool,
}

/// Sends one retry.
pub(super) fn retry_now(control: &Control<'_>, options: Options, as_json: bool) -> CommandResult {
    carry_out(control, &Request::RetryNow(options.order()?), "nothing was sent", as_json)
}

/// Sends the abort.
pub(super) fn abort(control: &Control<'_>, options: AbortOptions, as_json: bool) -> CommandResult {
    let AbortOptions { options, yes } = options;
    let order = options.order()?;
    if !yes && !is_meant(&order.cluster)? {
        return Err(Failure::Other(anyhow::anyhow!("nothing was sent")));
    }
    carry_out(control, &Request::Abort(order), "nothing was sent", as_json)
}

/// Takes a task back from an operator.
pub(super) fn reset(control: &Control<'_>, options: Options, as_json: bool) -> CommandResult {
    carry_out(control, &Request::Reset(options.order()?), "nothing was changed", as_json)
}

impl Options {
    fn order(self) -> Result<Order, Failure> {
        let Self { cluster, reason, task } = self;
        let task = task.map(|text| {
            TaskId::new(&text)
                .map_err(|error| Failure::Usage(format!("--task {:?}: {error}", shown(&text, 80))))
        });
        let command = format!("{:016x}{:016x}", random_seed(), random_seed());
        Ok(Order { cluster, task: task.transpose()?, reason, command })
    }
}

/// Asks on the terminal.
fn is_meant(cluster: &str) -> Result<bool, Failure> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::Usage("abort needs --yes where there is no terminal to ask on".to_owned()));
    }
    let mut stderr = anstream::stderr();
    write!(
        stderr,
        "Abort the newest task of {}? It ends the upgrade or switchover for good, and the daemon does nothing more for \
         it. [y/N] ",
        shown(cluster, 80)
    )?;
    stderr.flush()?;
    let mut said = String::new();
    std::io::stdin().read_line(&mut said)?;
    Ok(matches!(said.trim(), "y" | "Y" | "yes"))
}

fn carry_out(control: &Control<'_>, request: &Request, undone: &str, as_json: bool) -> CommandResult {
    match put(control, request, undone, START_IT)? {
        Answer::Done { cluster, cluster_name, task, words } => {
            if as_json {
                print_json(&json!({
                    "cluster": cluster, "cluster_name": cluster_name, "task": task, "words": words,
                }))?;
            } else {
                print(&format!("{} ({cluster}), task {task}: {words}\n", shown(&cluster_name, 80)))?;
            }
            Ok(ExitCode::SUCCESS)
        }
        answer => Err(unexpected(answer)),
    }
}
