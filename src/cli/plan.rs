//! `plan`: polls everything once, and prints what would be done to each task and why. Sends and
//! records nothing, and reads the journal without locking or creating it.

use std::fmt::Write as _;
use std::process::ExitCode;
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::progress::{Progress, Work};
use super::table::{table, text};
use super::{CommandResult, Failure, block_on, journal_if_any, print, print_json};
use crate::clock::{Clock as _, SystemClock};
use crate::configuration::{Configuration, Environment, Loaded};
use crate::daemon::{Builder, HttpProject, ProjectStates, Projects};
use crate::journal::memory::MemoryJournal;
use crate::journal::reader::Query;
use crate::model::cluster::Cluster;
use crate::model::decision::{Decision, Verdict};
use crate::model::explanation::{AbortEffect, Peek};
use crate::model::hold::Holds;
use crate::model::reason::Reason;
use crate::model::text::shown;
use crate::notify::log::LogObserver;
use crate::schedule::Project as _;
use crate::telemetry;

type PlanProject = HttpProject;

/// What would be done for one cluster.
struct Line {
    project: String,
    cluster: Arc<Cluster>,
    result: Result<Peek, String>,
    /// If there is a task to decide about: every policy in its order, and why it does not match the
    /// task.
    policies: Vec<(String, Option<String>)>,
}

/// Polls and prints.
pub(super) fn plan(loaded: &Loaded, environment: &Environment, json: bool) -> CommandResult {
    let configuration = &loaded.configuration;
    let _log = telemetry::start(&configuration.log.filter, configuration.log.format, environment)?;
    let clock = Arc::new(SystemClock::new());
    let (mut states, journal) = read_journal(configuration, &clock)?;
    let journal = (journal.into(), &mut states);
    let observer = Arc::new(LogObserver);
    let builder = Builder::new(environment, journal, &clock, &observer, &CancellationToken::new());
    let projects = Projects::build(configuration, builder, states).map_err(Failure::of_build)?;
    let Polled { lines, short, all } = {
        let work = Work::default();
        let _progress = Progress::show("clusters polled", work.clone(), json);
        block_on(poll_all(&projects, &work))?
    };
    if json {
        print_json(&Value::Array(lines.iter().map(as_json).collect()))?;
    } else {
        print(&format!("{}{}", as_text(&lines), short.concat()))?;
    }
    Ok(if all { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Returns the state of the journal; empty if there is none yet.
fn read_journal(
    configuration: &Configuration,
    clock: &SystemClock,
) -> Result<(ProjectStates, MemoryJournal), Failure> {
    let now = clock.now();
    let Ok(reader) = journal_if_any(configuration)? else {
        return Ok((ProjectStates::default(), MemoryJournal::default()));
    };
    let mut states = ProjectStates::with_holds(Holds::recall(reader.holds()?, now));
    let mut entries = reader.entries(&Query::default())?;
    for entry in &entries {
        states.fold(entry.clone(), now);
    }
    states.identified(&reader.names()?, configuration, now);
    for entry in &mut entries {
        entry.subject.project = states.renamed(&entry.subject.project).clone();
    }
    Ok((states, MemoryJournal::holding(reader.meta().seed, entries, now)))
}

/// The result of one poll of everything.
struct Polled {
    lines: Vec<Line>,
    /// A sentence for each project with an incomplete list.
    short: Vec<String>,
    /// Whether every project could be listed.
    all: bool,
}

async fn poll_all(projects: &Projects, work: &Work) -> Result<Polled, Failure> {
    let mut polled = Polled { lines: Vec::new(), short: Vec::new(), all: true };
    for project in projects.all() {
        let Some(list) = project.discover().await else {
            polled.all = false;
            continue;
        };
        if !list.is_complete() {
            let (name, seen) = (&project.project, list.clusters.len());
            let total =
                list.total_size.map_or_else(|| "an unknown number of".to_owned(), |total| total.to_string());
            polled.short.push(format!(
                "Project {name}: the list shows {seen} of {total} clusters; the daemon does not watch the others.\n"
            ));
        }
        polled.lines.extend(reconcile_at(project, list.clusters, work).await?);
    }
    Ok(polled)
}

async fn reconcile_at(
    project: &Arc<PlanProject>,
    clusters: Vec<Arc<Cluster>>,
    work: &Work,
) -> Result<Vec<Line>, Failure> {
    work.more(clusters.len());
    let mut polls = JoinSet::new();
    let mut lines = Vec::new();
    for cluster in clusters {
        // The client sends no more requests than the limits allow; this bounds the reconciles that
        // wait for it.
        if polls.len() >= 64
            && let Some(line) = polls.join_next().await
        {
            lines.push(line?);
            work.did(1);
        }
        let project = Arc::clone(project);
        polls.spawn(async move {
            let result = project.peek(&cluster).await;
            let task = result.as_ref().ok().and_then(|Peek { reading, decision, .. }| {
                decision.task.as_ref().and_then(|task| reading.task(task))
            });
            let policies = task.map(|task| project.policies_for(&cluster, task.kind)).unwrap_or_default();
            Line { project: project.project.to_string(), cluster, result, policies }
        });
    }
    while let Some(line) = polls.join_next().await {
        lines.push(line?);
        work.did(1);
    }
    lines.sort_by(|a, b| (&a.cluster.name, &a.cluster.id).cmp(&(&b.cluster.name, &b.cluster.id)));
    Ok(lines)
}

/// Clusters with nothing to do are counted, not listed.
fn is_quiet(line: &Line) -> bool {
    matches!(&line.result, Ok(peek) if peek.decision.reason == Reason::Idle)
}

/// Returns what an abort of the task would change; `None` if it was aborted already.
fn abort_of(line: &Line) -> Option<AbortEffect> {
    let Peek { reading, decision, .. } = line.result.as_ref().ok()?;
    let task = reading.task(decision.task.as_ref()?)?;
    AbortEffect::of(task, &line.cluster).filter(|_| decision.reason.code() != Reason::AbortedByUs.code())
}

fn verdict(decision: &Decision) -> &'static str {
    match decision.verdict {
        Verdict::Act(_) => "would send",
        Verdict::Wait => "wait",
        Verdict::Blocked => "blocked",
        Verdict::Escalate => "escalate",
    }
}

fn as_text(lines: &[Line]) -> String {
    let mut table = table(&["PROJECT", "CLUSTER", "WOULD", "WHY"]);
    for line in lines.iter().filter(|line| !is_quiet(line)) {
        let (would, why) = match &line.result {
            Ok(Peek { decision, outlook, .. }) => {
                let mut why = format!("{} [{}]", outlook.reason.text, outlook.reason.code);
                for (what, line) in outlook.in_words() {
                    let _ = write!(why, "\n{what}: {line}");
                }
                if matches!(decision.reason, Reason::NoPolicy) {
                    for (policy, mismatch) in &line.policies {
                        let _ = write!(why, "\n{policy}: {}", mismatch.as_deref().unwrap_or("covers it"));
                    }
                }
                if let Some(abort) = abort_of(line) {
                    let _ = write!(why, "\nan abort: {}", abort.words());
                }
                (verdict(decision), why)
            }
            Err(error) => ("cannot poll", shown(error, 400)),
        };
        table.add_row([line.project.clone(), shown(&line.cluster.name, 40), would.to_owned(), why]);
    }
    let quiet = lines.iter().filter(|line| is_quiet(line)).count();
    let shown_lines = lines.len() - quiet;
    let rows = if shown_lines > 0 { text(&table) } else { String::new() };
    format!("{rows}{} clusters polled, {quiet} with nothing to do. No request was sent.\n", lines.len())
}

fn as_json(line: &Line) -> Value {
    let cluster = &line.cluster;
    let mut out = json!({ "project": line.project, "cluster": cluster.id, "cluster_name": cluster.name });
    let more = match &line.result {
        Ok(Peek { decision, outlook, .. }) => json!({
            "task": decision.task,
            "verdict": decision.verdict.word(),
            "phase": outlook.phase,
            "reason": outlook.reason,
            "blocked_by": outlook.blocked_by,
            "next": outlook.next,
            "not_before": outlook.not_before,
            "needs_attention": outlook.needs_attention,
            "next_step": outlook.next_step,
            "details": crate::status::json::plain(&decision.reason),
            "next_poll_seconds": decision.next_poll.as_secs_f64(),
            "abort": abort_of(line),
            "policies": line.policies.iter().map(|(policy, mismatch)| {
                json!({ "policy": policy, "does_not_cover_it_because": mismatch })
            }).collect::<Vec<_>>(),
        }),
        Err(error) => json!({ "error": error }),
    };
    if let (Value::Object(out), Value::Object(more)) = (&mut out, more) {
        out.extend(more);
    }
    out
}
