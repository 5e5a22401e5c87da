//! How the daemon stands, in one line: for the service manager.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::model::id::{ClusterId, ProjectName, TaskId};
use crate::model::outlook::{NextRequest, Outlook};
use crate::model::policy::Mode;
use crate::model::project_state::ProjectState;
use crate::model::reason::Reason;
use crate::model::record::{Phase, TaskRecord};
use crate::model::text::{utc, utc_of_day};

/// What of a project goes into the line.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Summary {
    /// Clusters that the list of clusters has shown.
    pub clusters: usize,
    /// It cannot be seen at all: no list, no task.
    pub blind: bool,
    /// Tasks that were last read running.
    pub running: usize,
    /// Tasks that are an operator's.
    pub needs_operator: usize,
    /// The first request that is sent if nobody does anything.
    pub next_action: Option<NextRequest>,
    /// Why nothing is sent, where that is so for all of it.
    pub sends_nothing: Option<Reason>,
}

impl Summary {
    /// Puts it together. `sends_nothing`: what holds everything back now.
    pub fn new(
        (clusters, blind): (usize, bool),
        project_state: &ProjectState,
        outlook: impl Fn(&ClusterId, &TaskId, &TaskRecord) -> Outlook,
        sends_nothing: Option<&Reason>,
    ) -> Self {
        let mut summary = Self { clusters, blind, sends_nothing: sends_nothing.cloned(), ..Self::default() };
        let mut next = None;
        for (cluster, record) in &project_state.clusters {
            for (id, task) in &record.tasks {
                match task.phase() {
                    Phase::Escalated(_) => summary.needs_operator += 1,
                    Phase::Running => summary.running += 1,
                    Phase::Failed(_) => next = next.into_iter().chain(outlook(cluster, id, task).next).min(),
                    Phase::OutcomeUnknown(_) | Phase::Ended(..) => {}
                }
            }
        }
        summary.next_action = next;
        summary
    }
}

/// The line. `holds`: how many are in force. `refused`: the last reload changed nothing.
pub fn line(
    mode: Mode,
    projects: &BTreeMap<&ProjectName, Summary>,
    holds: usize,
    refused: bool,
    now: Timestamp,
) -> String {
    let mut parts = Vec::new();
    if projects.is_empty() {
        parts.push("nothing to watch: no [[project]] in the settings".to_owned());
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
    if let Some(blind) = of(&|project| project.blind) {
        parts.push(format!("{blind} cannot be seen"));
    }
    match projects.values().map(|project| project.needs_operator).sum() {
        0 => {}
        needs_operator => parts.push(format!("{needs_operator} needing an operator")),
    }
    if let Some(next) = projects.values().filter_map(|project| project.next_action).min() {
        parts.push(format!("next {} {}", next.action, time(next.at, now)));
    }
    let is_breaker = |project: &Summary| {
        matches!(project.sends_nothing, Some(Reason::BreakerOpen { .. } | Reason::BreakerProbing { .. }))
    };
    match of(&is_breaker) {
        Some(open) => parts.push(format!("breaker open in {open}")),
        None if projects.is_empty() => {}
        None => parts.push("breaker closed".to_owned()),
    }
    if let Some(quiet) = of(&|project| project.sends_nothing.is_some() && !is_breaker(project)) {
        parts.push(format!("nothing is sent in {quiet}"));
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

/// More projects are only counted.
const NAMED: usize = 3;

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// The time alone where it is within a day.
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
    use crate::model::id::AttemptId;
    use crate::model::project::PauseCause;

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
        let cluster = ClusterId::new("c").unwrap();
        let probing = Reason::BreakerProbing { attempt: AttemptId(1), cluster };
        let ill = Summary { needs_operator: 1, sends_nothing: Some(probing), ..prod.clone() };
        assert_eq!(
            line_of(Mode::Enforce, &[("prod", ill)], 1, true),
            "400 clusters, 2 running, 1 needing an operator, next retry 14:05 UTC, breaker open in prod, 1 hold, the last \
             reload was refused"
        );
        let late = NextRequest { at: at("2026-01-05T08:00:00Z"), action: Action::Abort };
        let late = Summary { clusters: 1, next_action: Some(late), ..prod };
        let until = at("2026-01-05T08:00:00Z");
        let paused = Reason::ProjectPaused { cause: PauseCause::Forbidden, until };
        let rests = Summary { blind: true, sends_nothing: Some(paused), ..Summary::default() };
        assert_eq!(
            line_of(Mode::Enforce, &[("late", late), ("rests", rests)], 0, false),
            "1 cluster, 2 running, rests cannot be seen, next abort 2026-01-05 08:00:00 UTC, breaker closed, nothing is \
             sent in rests"
        );
    }

    #[test]
    fn a_daemon_without_a_project_says_so() {
        assert_eq!(
            line_of(Mode::DryRun, &[], 0, false),
            "dry-run: nothing to watch: no [[project]] in the settings"
        );
    }
}
