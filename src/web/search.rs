//! The search of the index page: by name, project and phase. Its values are texts from outside.

use std::collections::BTreeSet;

use crate::model::record::PhaseWord;
use crate::model::text::{counted, shown};
use crate::status::{EndedReport, ProjectReport, Report, TaskReport};

/// The longest value; the rest is dropped.
const LONGEST: usize = 200;

/// The search. Empty values match everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Search {
    /// Part of the name or the id of a cluster, in any case.
    name: String,
    project: String,
    phase: String,
}

/// The form, and the result of the search.
#[derive(Debug)]
pub(super) struct Form {
    pub(super) name: String,
    /// Each with whether it is selected.
    pub(super) projects: Vec<(String, bool)>,
    pub(super) phases: Vec<(String, bool)>,
    /// `None`: there is no search, and everything is shown.
    pub(super) found: Option<Found>,
}

/// The result.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) is_empty: bool,
    pub(super) words: String,
    /// Values of the search that do not exist.
    pub(super) unknown: Vec<String>,
}

fn phases() -> impl Iterator<Item = &'static str> {
    PhaseWord::UNFINISHED.into_iter().chain([PhaseWord::Ended]).map(PhaseWord::word)
}

impl Search {
    /// Makes it from the parameters of a request: the first of each name counts, and others are
    /// ignored.
    pub(super) fn new(parameters: &[(String, String)]) -> Self {
        let value = |key: &str| {
            let found = parameters.iter().find(|(name, _)| name == key);
            let value = found.map_or("", |(_, value)| value.trim());
            value.chars().take(LONGEST).collect::<String>()
        };
        Self { name: value("q").to_lowercase(), project: value("project"), phase: value("phase") }
    }

    pub(super) fn is_active(&self) -> bool {
        *self != Self::default()
    }

    pub(super) fn covers(&self, project: &ProjectReport, task: &TaskReport) -> bool {
        let phase = task.outlook.phase.map(PhaseWord::word);
        self.covers_all(project, phase, &task.cluster_name, task.cluster.as_str())
    }

    pub(super) fn covers_ended(&self, project: &ProjectReport, task: &EndedReport) -> bool {
        let phase = Some(PhaseWord::Ended.word());
        self.covers_all(project, phase, &task.cluster_name, task.cluster.as_str())
    }

    fn covers_all(&self, project: &ProjectReport, phase: Option<&str>, name: &str, id: &str) -> bool {
        let has = |text: &str| text.to_lowercase().contains(&self.name);
        (self.project.is_empty() || self.project == project.name.as_str())
            && (self.phase.is_empty() || Some(self.phase.as_str()) == phase)
            && (self.name.is_empty() || has(name) || has(id))
    }

    /// Returns the form, for this number of matching tasks out of all.
    pub(super) fn form(&self, report: &Report, matching: usize, all: usize) -> Form {
        let projects: BTreeSet<&str> = report.projects.iter().map(|project| project.name.as_str()).collect();
        let choices = |known: &mut dyn Iterator<Item = &str>, asked: &str| {
            let mut choices: Vec<(String, bool)> = known.map(|one| (one.to_owned(), one == asked)).collect();
            if !asked.is_empty() && !choices.iter().any(|(_, is_asked)| *is_asked) {
                choices.push((shown(asked, LONGEST), true));
            }
            choices
        };
        let quoted = |text: &str| format!("“{}”", shown(text, LONGEST));
        let found = || {
            let mut asked = Vec::new();
            if !self.name.is_empty() {
                asked.push(format!("name or id contains {}", quoted(&self.name)));
            }
            if !self.project.is_empty() {
                asked.push(format!("project {}", quoted(&self.project)));
            }
            if !self.phase.is_empty() {
                asked.push(format!("phase {}", quoted(&self.phase)));
            }
            let asked = asked.join(", ");
            let mut unknown = Vec::new();
            if !self.project.is_empty() && !projects.contains(self.project.as_str()) {
                unknown.push(format!("No project is named {}.", quoted(&self.project)));
            }
            if !self.phase.is_empty() && !phases().any(|phase| phase == self.phase) {
                let known: Vec<&str> = phases().collect();
                unknown.push(format!(
                    "No phase is named {}; the phases are {}.",
                    quoted(&self.phase),
                    known.join(", ")
                ));
            }
            let words = match matching {
                0 => format!("No task matches: {asked}."),
                1 => format!("1 of {} matches: {asked}.", counted(all as u64, "task", "tasks")),
                _ => format!("{matching} of {} match: {asked}.", counted(all as u64, "task", "tasks")),
            };
            Found { is_empty: matching == 0, words, unknown }
        };
        Form {
            name: shown(&self.name, LONGEST),
            projects: choices(&mut projects.iter().copied(), &self.project),
            phases: choices(&mut phases(), &self.phase),
            found: self.is_active().then(found),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn search(query: &[(&str, &str)]) -> Search {
        let owned: Vec<(String, String)> =
            query.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Search::new(&owned)
    }

    #[test]
    fn the_first_value_of_each_name_counts_and_blanks_ask_for_nothing() {
        assert!(!search(&[("q", "  "), ("project", ""), ("utm", "x")]).is_active());
        assert_eq!(search(&[("q", " Logs "), ("q", "other")]), search(&[("q", "logs")]));
    }

    proptest! {
        #[test]
        fn no_value_is_longer_than_its_bound(value in "\\PC{0,600}") {
            let search = search(&[("q", &value), ("project", &value), ("phase", &value)]);
            prop_assert!(search.project.chars().count() <= LONGEST && search.phase.chars().count() <= LONGEST);
        }
    }
}
