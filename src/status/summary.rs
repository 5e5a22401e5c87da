//! The state of the daemon, in one line: for the service manager.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::model::condition::Code;
use crate::model::id::{ClusterId, ProjectName, TaskId};
use crate::model::outlook::{NextRequest, Outlook};
use crate::model::policy::Mode;
use crate::model::project_state::ProjectState;
use crate::model::record::{Phase, TaskRecord};
use crate::model::text::{utc, utc_of_day};

/// The part of a project in the line.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Summary {
    /// Clusters that the list of clusters has shown.
    pub clusters: usize,
    /// Tasks that the last poll showed running.
    pub running: usize,
    /// Escalated tasks.
    pub needs_operator: usize,
    /// The first request if nobody intervenes: of those that wait for each other, one is sent at
    /// the earliest of their times.
    pub next_action: Option<NextRequest>,
    /// The conditions in force.
    pub conditions: BTreeSet<Code>,
}

impl Summary {
    /// Makes it.
    pub fn new(
        clusters: usize,
        project_state: &ProjectState,
        outlook: impl Fn(&ClusterId, &TaskId, &TaskRecord) -> Outlook,
        conditions: BTreeSet<Code>,
    ) -> Self {
        let mut summary = Self { clusters, conditions, ..Self::default() };
        let mut next = None;
        for (cluster, record) in &project_state.clusters {
            for (id, task) in &record.tasks {
                match task.phase() {
                    Phase::Escalated(_) => summary.needs_operator += 1,
                    Phase::Running => summary.running += 1,
                    Phase::Failed(_) => {
                        next = next.into_iter().chain(outlook(cluster, id, task).request()).min();
                    }
                    Phase::OutcomeUnknown(_) | Phase::Ended(..) => {}
                }
            }
        }
        summary.next_action = next;
        summary
    }
}

/// Returns the line. `holds`: the number in force. `refused`: the last reload changed nothing.
pub fn line(
    mode: Mode,
    projects: &BTreeMap<&ProjectName, Summary>,
    holds: usize,
    refused: bool,
    now: Timestamp,
) -> String {
    let mut parts = Vec::new();
    if projects.is_empty() {
        parts.push("no project is watched: no [[project]] in the configuration".to_owned());
    } else {
        let clusters: usize = projects.values().map(|project| project.clusters).sum();
        let running: usize = projects.values().map(|project| project.running).sum();
        parts.extend([counted(clusters, "cluster"), format!("{running} running")]);
    }
    let of = |is_it: &dyn Fn(&Summary) -> bool| {
        let found: Vec<&str> =
            projects.iter().filter(|(_, project)| is_it(project)).map(|(name, _)| name.as_str()).collect();
        match found.len() {
            0 => None,
            1..=NAMED => Some(found.join(" and ")),
            count => Some(format!("{count} projects")),
        }
    };
    let is = |code: Code| of(&|project: &Summary| project.conditions.contains(&code));
    if let Some(unreachable) = is(Code::Unreachable) {
        parts.push(format!("{unreachable} cannot be polled"));
    }
    match projects.values().map(|project| project.needs_operator).sum() {
        0 => {}
        needs_operator => parts.push(format!("{needs_operator} needing an operator")),
    }
    if let Some(next) = projects.values().filter_map(|project| project.next_action).min() {
        parts.push(format!("next {} {}", next.action, time(next.at, now)));
    }
    match is(Code::BreakerOpen) {
        Some(open) => parts.push(format!("breaker open in {open}")),
        None if projects.is_empty() => {}
        None => parts.push("breaker closed".to_owned()),
    }
    let silent = [Code::ProjectPaused, Code::ClockOff, Code::JournalFailing, Code::NoConnection];
    if let Some(silent) = of(&|project| silent.iter().any(|code| project.conditions.contains(code))) {
        parts.push(format!("no request is sent in {silent}"));
    }
    if holds > 0 {
        parts.push(counted(holds, "hold"));
    }
    if refused {
        parts.push("the last reload was refused".to_owned());
    }
    let mode = if mode == Mode::DryRun { "dry-run: " } else { "" };
    format!("{mode}{}", parts.join(", "))
}

/// Further projects are only counted.
const NAMED: usize = 3;

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// Returns the time alone if it is within a day.
fn time(due: Timestamp, now: Timestamp) -> String {
    if due <= now {
        "now".to_owned()
    } else if due.duration_since(now).as_hours() < 24 {
        utc_of_day(due)
    } else {
        utc(due)
    }
}

#[cfg(test)]
mod tests {
    use crate::model::decision::Action;

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn line_of(mode: Mode, projects: &[(&str, Summary)], holds: usize, refused: bool) -> String {
        let names: Vec<ProjectName> =
            projects.iter().map(|(name, _)| ProjectName::new(name).unwrap()).collect();
        let projects = names.iter().zip(projects.iter().map(|(_, summary)| summary.clone())).collect();
        line(mode, &projects, holds, refused, at("2026-01-02T12:00:00Z"))
    }

    #[test]
    fn the_line_says_what_an_operator_asks_first() {
        let due = NextRequest { at: at("2026-01-02T14:05:00Z"), action: Action::Retry };
        let prod = Summary { clusters: 400, running: 2, next_action: Some(due), ..Summary::default() };
        let test = Summary { clusters: 12, running: 1, ..Summary::default() };
        assert_eq!(
            line_of(Mode::Enforce, &[("prod", prod.clone()), ("test", test)], 0, false),
            "412 clusters, 3 running, next retry 14:05 UTC, breaker closed"
        );
        let conditions = [Code::BreakerOpen].into();
        let ill = Summary { needs_operator: 1, conditions, ..prod.clone() };
        assert_eq!(
            line_of(Mode::Enforce, &[("prod", ill)], 1, true),
            "400 clusters, 2 running, 1 needing an operator, next retry 14:05 UTC, breaker open in prod, 1 hold, the last \
             reload was refused"
        );
        let late = NextRequest { at: at("2026-01-05T08:00:00Z"), action: Action::Abort };
        let late = Summary { clusters: 1, next_action: Some(late), ..prod };
        let conditions = [Code::Unreachable, Code::ProjectPaused].into();
        let paused = Summary { conditions, ..Summary::default() };
        assert_eq!(
            line_of(Mode::Enforce, &[("late", late), ("paused", paused)], 0, false),
            "1 cluster, 2 running, paused cannot be polled, next abort 2026-01-05 08:00:00 UTC, breaker closed, no request \
             is sent in paused"
        );
    }

    #[test]
    fn a_daemon_without_a_project_says_so() {
        assert_eq!(
            line_of(Mode::DryRun, &[], 0, false),
            "dry-run: no project is watched: no [[project]] in the configuration"
        );
    }
}
