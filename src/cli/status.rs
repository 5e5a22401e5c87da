//! `status`: what the running daemon knows of itself, or the journal while it is down.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde_json::json;

use super::hold::{Control, Presence, Unanswered, holds_in_force, unexpected};
use super::table::{text, wide};
use super::{CommandResult, Failure, journal, json_text, print_while_read};
use crate::clock::{Clock as _, SystemClock};
use crate::configuration::Loaded;
use crate::control::{Answer, Request};
use crate::daemon::ProjectStates;
use crate::journal::reader::Query;
use crate::model::channel::ChannelCounts;
use crate::model::hold::StoredHold;
use crate::model::id::ProjectName;
use crate::model::moment::Moment;
use crate::model::outlook::{Block, Outlook};
use crate::model::policy::Mode;
use crate::model::project_state::ProjectState;
use crate::model::record::{PhaseWord, TaskRecord};
use crate::model::text::{counted, shown, span, utc};
use crate::status::{ProjectReport, Report, ReportInput};

/// How.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// Print the status every two seconds, until interrupted.
    #[arg(long)]
    watch: bool,
}

/// Between two polls of `--watch`.
const AGAIN: Duration = Duration::from_secs(2);
/// Clears the terminal and goes to its top.
const CLEAR: &str = "\x1b[2J\x1b[H";

/// Prints it.
pub(super) fn status(
    control: &Control<'_>,
    configuration: impl Fn() -> Result<Loaded, Failure>,
    options: &Options,
    as_json: bool,
) -> CommandResult {
    let before = if as_json || !options.watch { "" } else { CLEAR };
    while print_while_read(&format!("{before}{}", once(control, &configuration, as_json)?))? && options.watch
    {
        #[expect(clippy::disallowed_methods, reason = "a person looks on, and nothing else runs here")]
        std::thread::sleep(AGAIN);
    }
    Ok(ExitCode::SUCCESS)
}

/// Returns the present state.
fn once(
    control: &Control<'_>,
    configuration: &impl Fn() -> Result<Loaded, Failure>,
    as_json: bool,
) -> Result<String, Failure> {
    match control.ask(&Request::Status) {
        Ok(Answer::Status { status }) => {
            if as_json {
                let mut value = serde_json::to_value(&status)?;
                if let Some(fields) = value.as_object_mut() {
                    fields.insert("running".to_owned(), true.into());
                }
                json_text(&value)
            } else {
                Ok(as_text(&status))
            }
        }
        Ok(answer) => Err(unexpected(answer)),
        Err(Unanswered::Nobody(nobody)) => {
            let loaded = configuration()?;
            let known = Known::read(&loaded)?;
            let reports = known.reports(&loaded);
            if as_json {
                let (running, why) = match control.presence() {
                    Presence::Down => (Some(false), nobody),
                    Presence::Runs(how) => (Some(true), format!("{nobody}, but {how}")),
                    Presence::Unknown(how) => (None, format!("{nobody}, but {how}")),
                };
                json_text(&json!({
                    "running": running, "why": why, "at": known.now.wall, "projects": reports, "holds": known.holds,
                }))
            } else {
                control.note_of_journal(
                    &nobody,
                    "the following comes from the daemon's journal. No request is sent while the daemon is down.",
                );
                let mut out = String::new();
                write_holds(&mut out, &known.holds);
                for project in &reports {
                    write_project(&mut out, project);
                }
                Ok(out)
            }
        }
        Err(Unanswered::Failed(error)) => Err(Failure::Other(error.into())),
    }
}

/// Returns the state of the journal, while no daemon runs.
pub(super) struct Known {
    pub(super) now: Moment,
    pub(super) states: BTreeMap<ProjectName, ProjectState>,
    holds: Vec<StoredHold>,
}

impl Known {
    /// Reads it; empty if there is no journal yet.
    pub(super) fn read(loaded: &Loaded) -> Result<Self, Failure> {
        let now = SystemClock::new().now();
        let mut known = Self { now, states: BTreeMap::new(), holds: Vec::new() };
        let Some(reader) = journal(&loaded.configuration)? else { return Ok(known) };
        known.holds = holds_in_force(&reader, now)?;
        let mut states = ProjectStates::default();
        let mut names: Vec<ProjectName> =
            loaded.configuration.projects.iter().map(|project| project.name.clone()).collect();
        for entry in reader.entries(&Query::default())? {
            if !names.contains(&entry.subject.project) {
                names.push(entry.subject.project.clone());
            }
            states.fold(entry, now);
        }
        known.states = names.into_iter().map(|name| (name.clone(), states.take(&name, now))).collect();
        Ok(known)
    }

    fn reports(&self, loaded: &Loaded) -> Vec<ProjectReport> {
        let report = |(name, project_state): (&ProjectName, &ProjectState)| {
            let around = ReportInput {
                name,
                clusters: project_state.clusters.len(),
                leaving: !loaded.configuration.projects.iter().any(|project| project.name == *name),
                max_actions_per_hour: loaded.configuration.limits.max_actions_per_hour,
                live: None,
            };
            let outlook = |_: &_, _: &_, task: &TaskRecord| Outlook::by_journal(task, Block::not_running());
            ProjectReport::new(&around, project_state, outlook, self.now)
        };
        self.states.iter().map(report).collect()
    }
}

fn as_text(report: &Report) -> String {
    let mode = match report.mode {
        Mode::DryRun => "dry-run: decides and notifies, sends no retry or abort",
        Mode::Enforce => "enforce: sends retries and aborts",
    };
    let mut out = format!(
        "upgrade-remediator {}, running since {}, mode {mode}\nconfiguration of {} as read at {}\n",
        report.version,
        utc(report.started),
        shown(&report.configuration.file, 200),
        utc(report.configuration.since)
    );
    for condition in &report.conditions {
        let (level, since) = (condition.level.word(), utc(condition.since));
        let _ = writeln!(out, "{level}, since {since} ({}): {}", condition.code, condition.text);
        if let Some(step) = &condition.next_step {
            let _ = writeln!(out, "  operator: {step}");
        }
    }
    if let Some(refused) = &report.configuration.refused {
        let _ = writeln!(out, "a reload at {} changed nothing:", utc(refused.at));
        for problem in &refused.problems {
            let _ = writeln!(out, "  {problem}");
        }
    }
    for warning in &report.configuration.warnings {
        let _ = writeln!(out, "warning of the configuration: {warning}");
    }
    write_holds(&mut out, &report.holds);
    for channel in &report.channels {
        write_channel(&mut out, channel);
    }
    report.projects.iter().for_each(|project| write_project(&mut out, project));
    out
}

/// Prints one line, and another one if it fails.
fn write_channel(out: &mut String, channel: &ChannelCounts) {
    let sent = counted(channel.sent, "message", "messages");
    let _ = write!(out, "channel {} ({}): {sent} sent", channel.name, channel.kind);
    if let (waiting @ 1.., Some(oldest)) = (channel.waiting, channel.oldest_waiting) {
        let oldest = utc(oldest);
        let _ = write!(
            out,
            ", {} waiting, the oldest since {oldest}",
            counted(waiting, "notification", "notifications")
        );
    }
    out.push('\n');
    if let (Some(since), Some(error)) = (channel.failing_since, &channel.last_error) {
        let since = utc(since);
        let _ =
            writeln!(out, "  the channel has not accepted a message since {since}: {}", shown(error, 200));
    }
}

fn write_holds(out: &mut String, holds: &[StoredHold]) {
    for hold in holds {
        let _ = writeln!(out, "{}: {hold}", hold.effect());
    }
}

fn write_project(out: &mut String, project: &ProjectReport) {
    let (sent, allowed) = project.actions_last_hour;
    let _ = writeln!(
        out,
        "\nproject {}: {}, {} sent in the last hour, {allowed} allowed",
        project.name,
        counted(project.clusters as u64, "cluster", "clusters"),
        counted(u64::from(sent), "request", "requests"),
    );
    if project.leaving {
        out.push_str("  no longer in the configuration; open requests are still confirmed\n");
    }
    if project.tasks.is_empty() {
        out.push_str("  no task is running or failed\n");
    } else {
        write_tasks(out, project);
    }
    if project.ended.is_empty() {
        return;
    }
    out.push_str("  ended in the last 24 hours:\n");
    let mut rows = wide(&["CLUSTER", "TASK", "OUTCOME", "REQUESTS", "FIRST FAILURE TO END", "ENDED"]);
    for ended in &project.ended {
        let lasted = Duration::try_from_secs_f64(ended.first_failure_to_end_seconds).unwrap_or_default();
        rows.add_row([
            shown(&ended.cluster_name, 40),
            ended.kind.to_string(),
            ended.outcome.clone(),
            format!("{} sent", ended.requests_sent),
            span(lasted),
            utc(ended.at),
        ]);
    }
    out.push_str(&text(&rows));
}

fn write_tasks(out: &mut String, project: &ProjectReport) {
    let mut rows = wide(&["CLUSTER", "TASK", "STATE", "WHY"]);
    for task in &project.tasks {
        let outlook = &task.outlook;
        let phase = outlook.phase.map_or("", PhaseWord::word);
        let mut state = format!("{phase}\n({})", outlook.reason.code);
        if let Some(since) = task.runs_too_long_since {
            let _ = write!(state, "\nrunning too long,\nsince {}", utc(since));
        }
        let mut why = outlook.reason.text.clone();
        for (what, line) in outlook.in_words() {
            let _ = write!(why, "\n{what}: {line}");
        }
        rows.add_row([shown(&task.cluster_name, 40), task.kind.to_string(), state, why]);
    }
    out.push_str(&text(&rows));
}
