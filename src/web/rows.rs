//! The unfinished tasks of the index page, in groups: one value, whether it is shown as cards or as a table.

use jiff::Timestamp;

use super::search::Search;
use super::words::{Prose, Time, blocks, clean, name};
use crate::model::decision::Action;
use crate::model::record::PhaseWord;
use crate::model::text::away;
use crate::status::{ProjectReport, Report, TaskReport};

/// Further tasks of one group are only counted.
pub(super) const MOST_TASKS: usize = 100;
/// From this number on the tasks are a table.
const TABLE_FROM: usize = 20;

/// All groups, with how many tasks there are.
pub(super) struct Rows {
    pub(super) groups: Vec<Group>,
    /// A table, and not cards.
    pub(super) is_table: bool,
    /// Tasks that match the search.
    pub(super) matching: usize,
    /// All of them.
    pub(super) all: usize,
    pub(super) attention: usize,
    pub(super) handled: usize,
    pub(super) held: usize,
    pub(super) dry: usize,
    pub(super) running: usize,
    pub(super) old: usize,
}

/// Tasks that belong together.
pub(super) struct Group {
    pub(super) title: &'static str,
    pub(super) id: &'static str,
    pub(super) tasks: Vec<Task>,
    pub(super) more: usize,
}

pub(super) struct Task {
    pub(super) cluster: String,
    pub(super) name: String,
    pub(super) project: String,
    pub(super) kind: &'static str,
    pub(super) state: &'static str,
    pub(super) code: String,
    pub(super) words: String,
    /// What blocks the next request: code, sentence, and the command that ends it.
    pub(super) blocked_by: Vec<(String, String, Option<String>)>,
    pub(super) next: Option<(Action, Time, String)>,
    pub(super) what_next: String,
    pub(super) next_step: Prose,
}

/// The groups: their ids and titles.
const GROUPS: [(&str, &str); 6] = [
    ("eyes", "Needs attention"),
    ("hands", "Handled by the daemon"),
    ("held", "On hold"),
    ("dry", "Would be retried (dry-run)"),
    ("running", "Running"),
    ("old", "Old failures, which the daemon does not act on"),
];

/// A task of the report, with its group and the words for its state.
type Known<'a> = ((&'static str, &'static str), &'a ProjectReport, &'a TaskReport);

impl Rows {
    /// Makes the groups of the tasks that match. Only shown tasks are put into words.
    pub(super) fn new(report: &Report, search: &Search) -> Self {
        let tasks = report.projects.iter().flat_map(|project| {
            let of_project = project.tasks.iter();
            of_project.map(move |task| (standing(task), project, task))
        });
        let all: Vec<Known<'_>> = tasks.collect();
        let count = |id| all.iter().filter(|((group, _), ..)| *group == id).count();
        let asked: Vec<&Known<'_>> =
            all.iter().filter(|(_, project, task)| search.covers(project, task)).collect();
        let group = |(id, title)| {
            let mut known = asked.iter().filter(|((group, _), ..)| *group == id);
            let shown = known.by_ref().take(MOST_TASKS);
            let tasks = shown.map(|((_, state), project, task)| Task::new(project, task, state, report.at));
            Group { title, id, tasks: tasks.collect(), more: known.count() }
        };
        Self {
            groups: GROUPS.map(group).into(),
            is_table: asked.len() >= TABLE_FROM,
            matching: asked.len(),
            all: all.len(),
            attention: count("eyes"),
            handled: count("hands"),
            held: count("held"),
            dry: count("dry"),
            running: count("running"),
            old: count("old"),
        }
    }
}

/// Returns the group of a task, and the words for its state.
fn standing(task: &TaskReport) -> (&'static str, &'static str) {
    let outlook = &task.outlook;
    let is_blocked_by = |code: &str| outlook.blocked_by.iter().any(|block| block.code == code);
    match outlook.phase {
        Some(PhaseWord::Escalated) => ("eyes", "needs an operator"),
        Some(PhaseWord::Running) if task.runs_too_long_since.is_some() => ("eyes", "runs too long"),
        Some(PhaseWord::Running) => ("running", "running"),
        Some(PhaseWord::OutcomeUnknown) => ("hands", "request sent, not yet confirmed"),
        _ if outlook.request().is_some_and(|next| next.action == Action::Abort) => {
            ("eyes", "will be aborted")
        }
        _ if outlook.reason.code == "too-old" => ("old", "too old"),
        _ if is_blocked_by("on-hold") && outlook.needs_attention => ("eyes", "on hold"),
        _ if outlook.needs_attention => ("eyes", "not handled"),
        _ if is_blocked_by("on-hold") => ("held", "on hold"),
        _ if is_blocked_by("dry-run") => ("dry", "would be retried"),
        _ => ("hands", "failed"),
    }
}

impl Task {
    fn new(project: &ProjectReport, task: &TaskReport, state: &'static str, now: Timestamp) -> Self {
        let outlook = &task.outlook;
        Self {
            cluster: task.cluster.to_string(),
            name: name(&task.cluster_name),
            project: project.name.to_string(),
            kind: task.kind.word(),
            state,
            code: outlook.reason.code.clone(),
            words: clean(&outlook.reason.text),
            blocked_by: blocks(outlook),
            next: outlook.next.map(|next| (next.action, Time(next.at), away(next.at, now))),
            what_next: outlook.next_in_words(),
            next_step: Prose::of_step(outlook.next_step.as_deref(), &task.cluster),
        }
    }
}
