//! `explain`: why the daemon is or is not acting on a cluster, and what would have to change.

use std::fmt::Write as _;
use std::process::ExitCode;

use clap::Args;

use super::hold::{Control, Unanswered, unexpected};
use super::status::Known;
use super::table::{table, text};
use super::{CommandResult, Failure, print, print_json};
use crate::configuration::Loaded;
use crate::control::{Answer, Request};
use crate::journal::HistoryError;
use crate::model::explanation::{Explanation, Lifecycle, TaskFacts};
use crate::model::outlook::Block;
use crate::model::text::{counted, nearest, shown, span, utc};

/// Which cluster.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// Its name or its id.
    cluster: String,
}

/// Prints it: the daemon's explanation, or that of the journal while the daemon is down.
pub(super) fn explain(
    control: &Control<'_>,
    configuration: impl FnOnce() -> Result<Loaded, Failure>,
    options: &Options,
    as_json: bool,
) -> CommandResult {
    let explanation = match control.ask(&Request::Explain { cluster: options.cluster.clone() }) {
        Ok(Answer::Explained { explanation }) => *explanation,
        Ok(answer) => return Err(unexpected(answer)),
        Err(Unanswered::Nobody(nobody)) => {
            control.note_of_journal(&nobody, "the following comes from the daemon's journal.");
            by_journal(&configuration()?, &options.cluster, &nobody)?
        }
        Err(Unanswered::Failed(error)) => return Err(Failure::Other(error.into())),
    };
    if as_json {
        print_json(&serde_json::to_value(&explanation)?)?;
    } else {
        print(&as_text(&explanation))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn by_journal(loaded: &Loaded, text: &str, down: &str) -> Result<Explanation, Failure> {
    let known = Known::read(loaded)?;
    let mut found = Vec::new();
    for (project, project_state) in &known.states {
        for (id, history) in &project_state.clusters {
            let cluster = history.recall(id);
            if id.as_str() == text || cluster.name == text {
                let limits = vec![down.to_owned()];
                found.push(Explanation::by_journal(
                    known.now.wall,
                    project,
                    &cluster,
                    history,
                    limits,
                    Block::not_running(),
                ));
            }
        }
    }
    match (found.pop(), found.is_empty()) {
        (Some(one), true) => Ok(one),
        (None, _) => {
            let clusters = known.states.values().flat_map(|project| &project.clusters);
            let names: Vec<String> = clusters.map(|(id, history)| history.recall(id).name).collect();
            let nearest = nearest(text, names.iter().map(String::as_str)).map(str::to_owned);
            Err(Failure::Other(HistoryError::UnknownCluster { name: text.to_owned(), nearest }.into()))
        }
        (Some(one), false) => {
            let ids = found.iter().chain([&one]).map(|one| one.cluster.to_string()).collect::<Vec<_>>();
            Err(Failure::Usage(format!(
                "several clusters are named {:?}; give one of their ids: {}",
                shown(text, 80),
                ids.join(", ")
            )))
        }
    }
}

/// Prints the explanation, the most urgent part first.
fn as_text(it: &Explanation) -> String {
    let mut out = format!("{} ({}) in project {}", shown(&it.cluster_name, 80), it.cluster, it.project);
    if let Some(engine) = &it.engine {
        let _ = write!(out, ", {}", shown(engine, 60));
    }
    for (key, value) in &it.tags {
        let _ = write!(out, ", {}={}", shown(key, 40), shown(value, 40));
    }
    out.push('\n');
    for limit in &it.limits {
        let _ = writeln!(out, "known only in part: {}", shown(limit, 400));
    }
    let mut rows = table(&["", ""]);
    rows.set_header(Vec::<String>::new());
    let mut row = |of: &str, what: String| {
        rows.add_row([of.to_owned(), what]);
    };
    row("NOW", format!("{}: {} [{}]", it.verdict, it.outlook.reason.text, it.outlook.reason.code));
    for (what, line) in it.outlook.in_words() {
        row(&what.to_uppercase(), line);
    }
    if let Some(seconds) = it.next_poll_seconds {
        let seconds = std::time::Duration::try_from_secs_f64(seconds).unwrap_or_default();
        row("NEXT POLL", format!("in {} at the latest", span(seconds)));
    }
    if let Some(task) = &it.task {
        row("TASK", task_in_words(task));
    }
    if let Some(lifecycle) = &it.lifecycle {
        row("SO FAR", lifecycle_in_words(lifecycle));
    }
    for step in &it.schedule {
        let at = step.at.map_or_else(String::new, |at| format!("{}: ", utc(at)));
        row("TO COME", format!("{at}{}", step.what));
    }
    for policy in &it.policies {
        let says = match (&policy.mismatch, policy.governs) {
            (Some(mismatch), _) => format!("does not cover the task: {mismatch}"),
            (None, true) => "governs the task".to_owned(),
            (None, false) => "covers the task too, but an earlier policy governs".to_owned(),
        };
        row("POLICY", format!("{}: {says}", shown(&policy.policy, 60)));
    }
    let _ = write!(out, "{}", text(&rows));
    if !it.preconditions.is_empty() {
        let mut rows = table(&["PRECONDITION", "", "VALUE", "REQUIRED"]);
        for precondition in &it.preconditions {
            let verdict = if precondition.passes { "ok" } else { "NO" };
            rows.add_row([
                precondition.name.clone(),
                verdict.to_owned(),
                shown(&precondition.value, 300),
                precondition.limit.clone(),
            ]);
        }
        let _ = write!(out, "\n{}", text(&rows));
    }
    out
}

fn task_in_words(task: &TaskFacts) -> String {
    let mut words = format!("{} {}: {}", task.kind, task.id, shown(&task.status, 40));
    let nodes = counted(u64::from(task.nodes), "node", "nodes");
    let _ = match (task.nodes, task.nodes_done) {
        // A task that has ended may name none.
        (0, None | Some(0)) => Ok(()),
        (_, Some(done)) => write!(words, ", {done} of {nodes} completed"),
        (_, None) => write!(words, ", how many of {nodes} are completed cannot be read"),
    };
    if !task.current_node.is_empty() {
        let _ = write!(words, ", at {}", shown(&task.current_node, 60));
    }
    if let Some(step) = &task.failing_step {
        let _ = write!(words, ", {}", shown(step, 80));
    }
    if let Some(n) = task.executions {
        let _ = write!(words, ", run {n}");
    }
    if let Some(started) = &task.started {
        let _ = write!(words, ", started {started}");
    }
    if let Some(ended) = &task.ended {
        let _ = write!(words, ", ended {ended}");
    }
    if task.started.is_some() || task.ended.is_some() {
        words.push_str(" (cloud time)");
    }
    words
}

fn lifecycle_in_words(lifecycle: &Lifecycle) -> String {
    if let Some(ended) = &lifecycle.ended {
        let failures = counted(u64::from(lifecycle.failures), "failure", "failures");
        let requests = counted(u64::from(lifecycle.puts), "request", "requests");
        return format!("ended: {ended}, after {failures} and {requests} sent");
    }
    let mut words = match lifecycle.allowed {
        Some(allowed) => {
            format!("{} of {} used", lifecycle.used, counted(u64::from(allowed), "retry", "retries"))
        }
        None => format!("{} used", counted(u64::from(lifecycle.used), "retry", "retries")),
    };
    if lifecycle.by_others > 0 {
        let _ = write!(words, " ({} external)", lifecycle.by_others);
    }
    let _ = write!(words, ", {} sent", counted(u64::from(lifecycle.puts), "request", "requests"));
    if let Some(failed) = lifecycle.failed {
        let _ = write!(words, ", failure {} first seen {}", lifecycle.failures, utc(failed));
    }
    if let Some(open) = &lifecycle.open {
        let _ = write!(words, "; {open}");
    }
    if let Some((since, why)) = &lifecycle.needs_operator {
        let _ = write!(words, "; escalated to an operator at {}: {} [{}]", utc(*since), why.text, why.code);
    }
    if let Some(since) = lifecycle.runs_too_long_since {
        let _ = write!(words, "; running too long, since {}", utc(since));
    }
    words
}
