//! Whether the page can be relied on: every project is reachable, and was polled recently.

use crate::model::condition::Code;
use crate::status::{ProjectReport, Report};

/// Returns what is missing for that, a line each.
pub(super) fn missing(report: &Report) -> Vec<String> {
    if report.projects.is_empty() {
        return vec!["there is no project in the configuration".to_owned()];
    }
    report
        .projects
        .iter()
        .filter(|project| !project.leaving)
        .filter_map(|project| of(project, report))
        .collect()
}

fn of(project: &ProjectReport, report: &Report) -> Option<String> {
    let name = &project.name;
    let is = |code: Code| {
        let mut of_it = report.conditions.iter().filter(|condition| condition.project.as_ref() == Some(name));
        of_it.any(|condition| condition.code == code.word())
    };
    let Some(live) = &project.live else {
        return Some(format!("project {name}: the daemon knows nothing of it yet"));
    };
    if is(Code::JournalFailing) {
        return Some(format!("project {name}: the journal cannot be written, so nothing is sent"));
    }
    if is(Code::Unreachable) {
        return Some(format!("project {name}: its clusters cannot be polled"));
    }
    if live.last_list.is_none() {
        return Some(format!("project {name}: its clusters were not completely listed yet"));
    }
    if live.never_read > 0 && live.oldest_poll.is_none() {
        return Some(format!("project {name}: none of its clusters was polled yet"));
    }
    let age = report.at.duration_since(live.oldest()?).as_secs_f64();
    (age > live.poll_age_limit_seconds).then(|| {
        format!(
            "project {name}: a cluster was last polled {age:.0} s ago, and {:.0} s is too long",
            live.poll_age_limit_seconds
        )
    })
}
