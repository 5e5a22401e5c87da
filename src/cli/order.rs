//! `retry-now`, `abort` and `reset`: operators' orders for one cluster, over the daemon's control
//! socket.

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;

use anyhow::anyhow;
use clap::Args;
use serde_json::json;

use super::hold::{Control, START_IT, put, unexpected};
use super::{CommandResult, Failure, print, print_json};
use crate::clock::random_seed;
use crate::control::{Answer, Order, Request};
use crate::model::explanation::{Explanation, Why};
use crate::model::id::TaskId;
use crate::model::text::{counted, shown};

/// For which cluster, and why.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// Its name or its id.
    cluster: String,
    /// The reason, recorded in the history.
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// The id of the task; the command is refused if the task is no longer the newest of its cluster.
    #[arg(long, value_name = "ID")]
    task: Option<String>,
}

/// For which cluster, and why, and that it is meant.
#[derive(Debug, Args)]
pub(super) struct AbortOptions {
    #[command(flatten)]
    options: Options,
    /// Do not ask for confirmation; required without a terminal.
    #[arg(long)]
    yes: bool,
}

/// Sends one retry.
pub(super) fn retry_now(control: &Control<'_>, options: Options, as_json: bool) -> CommandResult {
    carry_out(control, &Request::RetryNow(options.order()?), "no request was sent", as_json)
}

/// Sends the abort. Without `--yes` the task is shown before, and the order is for that task.
pub(super) fn abort(control: &Control<'_>, options: AbortOptions, as_json: bool) -> CommandResult {
    let AbortOptions { options, yes } = options;
    let mut order = options.order()?;
    if !yes {
        if !std::io::stdin().is_terminal() {
            return Err(Failure::Usage("abort needs --yes where there is no terminal to ask on".to_owned()));
        }
        let request = Request::Explain { cluster: order.cluster.clone() };
        let explanation = match put(control, &request, "no request was sent", START_IT)? {
            Answer::Explained { explanation } => explanation,
            answer => return Err(unexpected(answer)),
        };
        let (task, question) = question(&explanation, order.task.as_ref())
            .map_err(|why| anyhow!("no request was sent: {why}"))?;
        if !is_meant(&question)? {
            return Err(Failure::Other(anyhow!("no request was sent")));
        }
        order.task = Some(task);
    }
    carry_out(control, &Request::Abort(order), "no request was sent", as_json)
}

/// Resets an escalated task.
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

/// Asks for confirmation on the terminal.
fn is_meant(question: &str) -> Result<bool, Failure> {
    let mut stderr = anstream::stderr();
    write!(stderr, "{question}")?;
    stderr.flush()?;
    let mut said = String::new();
    std::io::stdin().read_line(&mut said)?;
    Ok(matches!(said.trim(), "y" | "Y" | "yes"))
}

/// Returns the question before an abort, and its task; or why there is nothing to ask. `meant`: the
/// task that the operator named.
fn question(it: &Explanation, meant: Option<&TaskId>) -> Result<(TaskId, String), String> {
    let name = shown(&it.cluster_name, 80);
    let Some(task) = &it.task else {
        let limits: Vec<String> = it.limits.iter().map(|limit| shown(limit, 400)).collect();
        let why = if limits.is_empty() { "the cluster has no task".to_owned() } else { limits.join("; ") };
        return Err(format!("no task of {name} can be shown: {why}"));
    };
    if let Some(meant) = meant.filter(|meant| **meant != task.id) {
        return Err(format!("the newest task of {name} is {}, and not {meant} [not-newest]", task.id));
    }
    let Some(abort) = &it.abort else {
        let Why { code, text } = &it.outlook.reason;
        return Err(format!("task {} of {name} cannot be aborted: {text} [{code}]", task.id));
    };
    if !abort.safe {
        return Err(format!("task {} of {name} cannot be aborted: {}", task.id, abort.words()));
    }
    let nodes = counted(u64::from(task.nodes), "node", "nodes");
    let done = task.nodes_done.map_or_else(|| "unknown".to_owned(), |done| done.to_string());
    let at = if task.current_node.is_empty() {
        String::new()
    } else {
        format!("; failed at {}", shown(&task.current_node, 80))
    };
    let step = task.failing_step.as_ref().map_or_else(|| "unknown".to_owned(), |step| shown(step, 200));
    let (kind, cluster, project) = (task.kind, &it.cluster, &it.project);
    let (id, status, leaves) = (&task.id, shown(&task.status, 40), &abort.leaves);
    Ok((
        id.clone(),
        format!(
            "{name} ({cluster}) in project {project}, {kind} {id}: {status}\n\
             Nodes:         {done} of {nodes} completed{at}\n\
             Failing step:  {step}\n\
             Consequence:   {leaves}. The daemon does nothing more for this task.\n\
             Abort it? [y/N] "
        ),
    ))
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::model::explanation::{AbortEffect, TaskFacts};
    use crate::model::id::{ClusterId, ProjectName};
    use crate::model::outlook::Outlook;
    use crate::model::reason::Reason;
    use crate::model::task::TaskKind;

    fn failed() -> Explanation {
        Explanation {
            at: "2026-01-02T03:04:05Z".parse().unwrap(),
            project: ProjectName::new("prod").unwrap(),
            cluster: ClusterId::new("c-1").unwrap(),
            cluster_name: "logs".to_owned(),
            engine: None,
            tags: BTreeMap::new(),
            limits: Vec::new(),
            task: Some(TaskFacts {
                id: TaskId::new("t-1").unwrap(),
                kind: TaskKind::Upgrade,
                status: "FAILED".to_owned(),
                started: None,
                ended: None,
                executions: Some(2),
                nodes_done: Some(0),
                nodes: 3,
                current_node: "ess-esn-1-1".to_owned(),
                failing_step: Some("step 2 Data migration".to_owned()),
            }),
            abort: Some(AbortEffect {
                safe: true,
                doubt: None,
                nodes: 3,
                nodes_done: Some(0),
                current_node: "ess-esn-1-1".to_owned(),
                leaves: "the task ends permanently, and the cluster keeps the version that it had".to_owned(),
            }),
            lifecycle: None,
            verdict: "wait".to_owned(),
            outlook: Outlook::new(None, &Reason::Idle, &[], None),
            next_poll_seconds: None,
            policies: Vec::new(),
            schedule: Vec::new(),
            preconditions: Vec::new(),
            window: None,
        }
    }

    #[test]
    fn before_an_abort_the_nodes_the_failing_step_and_the_consequence_are_shown() {
        let (task, asked) = question(&failed(), None).unwrap();
        assert_eq!(task.as_str(), "t-1");
        assert_eq!(
            asked,
            "logs (c-1) in project prod, upgrade t-1: FAILED\n\
             Nodes:         0 of 3 nodes completed; failed at ess-esn-1-1\n\
             Failing step:  step 2 Data migration\n\
             Consequence:   the task ends permanently, and the cluster keeps the version that it had. The daemon does \
             nothing more for this task.\n\
             Abort it? [y/N] "
        );
    }

    #[test]
    fn what_cannot_be_aborted_is_not_asked_about() {
        let told = |change: fn(&mut Explanation), meant: Option<&str>| {
            let mut explanation = failed();
            change(&mut explanation);
            question(&explanation, meant.map(|id| TaskId::new(id).unwrap()).as_ref()).unwrap_err()
        };
        assert!(told(|_| {}, Some("t-0")).contains("is t-1, and not t-0 [not-newest]"));
        assert!(told(|it| it.abort = None, None).ends_with("[idle]"));
        let unread = told(
            |it| {
                it.task = None;
                it.limits = vec!["the service did not answer".to_owned()];
            },
            None,
        );
        assert!(unread.ends_with("the service did not answer"), "{unread}");
        let unsafe_one = told(
            |it| {
                let abort = it.abort.as_mut().unwrap();
                (abort.safe, abort.nodes_done) = (false, Some(1));
                abort.leaves = "never sent: 1 of 3 nodes is completed".to_owned();
            },
            None,
        );
        assert!(unsafe_one.contains("never sent: 1 of 3 nodes is completed"), "{unsafe_one}");
    }
}
