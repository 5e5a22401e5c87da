//! `status`: what the running daemon knows of itself.

use std::fmt::Write as _;
use std::process::ExitCode;

use super::hold::{Control, unexpected};
use super::table::{table, text};
use super::{Failure, Outcome, print, print_json};
use crate::control::{Answer, Request};
use crate::model::policy::Mode;
use crate::model::text::{counted, shown};
use crate::status::{ProjectReport, Report};

/// Prints it.
pub(super) fn status(control: &Control<'_>, as_json: bool) -> Outcome {
    match control.ask(&Request::Status) {
        Ok(Answer::Status { status }) => {
            if as_json {
                print_json(&serde_json::to_value(&status)?)?;
            } else {
                print(&as_text(&status))?;
            }
            Ok(ExitCode::SUCCESS)
        }
        Ok(answer) => Err(unexpected(answer)),
        Err(error) => Err(Failure::Other(error.into())),
    }
}

fn as_text(report: &Report) -> String {
    let mode = match report.mode {
        Mode::DryRun => "dry-run: decides and tells, sends nothing",
        Mode::Enforce => "enforce: sends retries and aborts",
    };
    let time = |time: jiff::Timestamp| time.strftime("%F %T UTC").to_string();
    let mut out = format!(
        "upgrade-remediator {}, running since {}, mode {mode}\nsettings of {} as read at {}\n",
        report.version,
        time(report.started),
        shown(&report.settings.file, 200),
        time(report.settings.since)
    );
    if let Some(refused) = &report.settings.refused {
        let _ = writeln!(out, "a reload at {} changed nothing:", time(refused.at));
        for problem in &refused.problems {
            let _ = writeln!(out, "  {problem}");
        }
    }
    for hold in &report.holds {
        let _ = writeln!(out, "nothing is sent: {hold}");
    }
    report.projects.iter().for_each(|project| write_project(&mut out, project));
    out
}

fn write_project(out: &mut String, project: &ProjectReport) {
    let (sent, allowed) = project.actions_last_hour;
    let _ = writeln!(
        out,
        "\nproject {}: {}, {sent} of {allowed} actions in the last hour",
        project.name,
        counted(project.clusters as u64, "cluster", "clusters"),
    );
    if project.leaving {
        out.push_str("  it is gone from the settings; what is open is still settled\n");
    }
    if project.list_short {
        out.push_str("  the list of clusters is shorter than it says: some are not watched\n");
    }
    if let Some(why) = &project.sends_nothing {
        let _ = writeln!(out, "  nothing is sent in it: {}", why.words);
    }
    if let Some(seconds) = project.idle_interval_stretched_to {
        let _ = writeln!(
            out,
            "  idle clusters are read every {seconds:.0} s only: the rate is not enough for more"
        );
    }
    if project.tasks.is_empty() {
        out.push_str("  no task that is unfinished\n");
        return;
    }
    let mut rows = table(&["CLUSTER", "TASK", "STATE", "WHY"]);
    for task in &project.tasks {
        let (code, words) = task.why.as_ref().map_or(("", ""), |why| (why.code.as_str(), why.words.as_str()));
        let state = if task.with_human { format!("with a human\n({code})") } else { code.to_owned() };
        rows.add_row([shown(&task.cluster_name, 40), task.kind.to_string(), state, words.to_owned()]);
    }
    out.push_str(&text(&rows));
}
