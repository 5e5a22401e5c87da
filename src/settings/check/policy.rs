//! Policies: which tasks, how to retry, what at the end.

use std::collections::{BTreeMap, BTreeSet};

use super::super::written::{self, Table};
use super::channel::{Channels, names};
use super::section::Section;
use crate::model::policy::{Expect, Match, Mode, Pattern, Policy, Retry, Terms};
use crate::model::task::TaskKind;
use crate::model::text::shown;
use crate::settings::scalar::Strict;

/// No name and no pattern is longer, in characters; it also bounds what a glob can grow to when it is compiled.
const MAX_LENGTH: usize = 128;

/// Comparing all policies with each other is quadratic: after so many comparisons nothing more is said.
const MAX_COMPARISONS: usize = 1_000_000;

/// The policies of all files, in the order in which they are tried.
pub(super) struct Policies<'a> {
    mode: Mode,
    channels: &'a Channels<'a>,
    /// The names of all projects, good or not; `None` where config.toml could not be read.
    projects: Option<&'a BTreeSet<String>>,
    places: BTreeMap<String, String>,
    enabled: Vec<Policy>,
    /// Whom to tell, by the names of the policies that say it.
    pub(super) notify: BTreeMap<String, Vec<String>>,
    /// Of each of them, whether a part of its `match` could not be read.
    doubtful: Vec<bool>,
    /// How many comparisons of patterns are left to find out what is never tried.
    comparisons: usize,
}

impl<'a> Policies<'a> {
    /// None yet. `mode` is the global one.
    pub(super) fn new(
        mode: Mode,
        channels: &'a Channels<'a>,
        projects: Option<&'a BTreeSet<String>>,
    ) -> Self {
        Self {
            mode,
            channels,
            projects,
            places: BTreeMap::new(),
            enabled: Vec::new(),
            notify: BTreeMap::new(),
            doubtful: Vec::new(),
            comparisons: MAX_COMPARISONS,
        }
    }

    /// Those that are enabled.
    pub(super) fn into_enabled(self) -> Vec<Policy> {
        self.enabled
    }

    /// The `[[policy]]` list of one file; `section` is the list.
    pub(super) fn add(&mut self, section: &Section<'_>, written: &[Option<Table<written::Policy>>]) {
        for (index, policy) in written.iter().enumerate() {
            if let Some(Table(policy)) = policy {
                self.add_one(&section.element(index), policy);
            }
        }
    }

    fn add_one(&mut self, section: &Section<'_>, written: &written::Policy) {
        let name = self.name(section, written.name.as_ref());
        let defaults = Terms::defaults(name.as_deref().unwrap_or_default(), self.mode);
        let terms = Terms {
            mode: written.mode.as_ref().map_or(Mode::Enforce, |mode| mode.0).min(self.mode),
            on_exhausted: written.on_exhausted.as_ref().map_or(defaults.on_exhausted, |word| word.0),
            abort_grace: written.abort_grace.as_ref().map_or(defaults.abort_grace, |grace| grace.0),
            retry: retry(
                &section.child("retry"),
                written.retry.as_ref().map(|table| &table.0),
                defaults.retry,
            ),
            window: written
                .window
                .as_ref()
                .and_then(|table| super::window::window(&section.child("window"), &table.0)),
            policy: defaults.policy,
        };
        let expect = expect(&section.child("expect"), written.expect.as_ref().map(|table| &table.0));
        let matches = matches(&section.child("match"), written.matches.as_ref().map(|table| &table.0));
        self.warn_of_no_project(&section.child("match").child("project"), matches.project.as_deref());
        self.channels.named(section, "notify", written.notify.as_ref());
        if written.notify.is_some() {
            self.notify.insert(terms.policy.clone(), names(written.notify.as_ref()));
        }
        if written.enabled.as_ref().is_some_and(|enabled| !enabled.0) {
            return;
        }
        // A line that could not be read may have said anything.
        let doubtful = section.child("match").any_dropped();
        if !doubtful {
            self.warn_of_unreachable(section, &matches);
        }
        self.doubtful.push(doubtful);
        self.enabled.push(Policy { matches, terms, expect });
    }

    /// Whether each pattern for projects covers one.
    fn warn_of_no_project(&mut self, section: &Section<'_>, patterns: Option<&[Pattern]>) {
        let (Some(patterns), Some(projects)) = (patterns, self.projects.filter(|names| !names.is_empty()))
        else {
            return;
        };
        for (index, pattern) in patterns.iter().enumerate() {
            let left = &mut self.comparisons;
            let covered = projects.iter().any(|name| {
                *left = left.saturating_sub(1);
                *left == 0 || pattern.covers(name)
            });
            if !covered {
                let message = format!("there is no project that \"{}\" covers", shown(pattern.as_str(), 60));
                let near = section.nearest(pattern.as_str(), projects.iter().map(String::as_str));
                let hint = match near {
                    Some(near) => format!("did you mean \"{near}\"?"),
                    None => "the names of projects are those under [[project]]".to_owned(),
                };
                section.element(index).warn_with_hint(message, hint);
            }
        }
    }

    /// Whether one policy before covers all that this one covers, as far as their patterns tell by themselves.
    fn warn_of_unreachable(&mut self, section: &Section<'_>, matches: &Match) {
        let left = &mut self.comparisons;
        if *left == 0 {
            return;
        }
        let mut before = self.enabled.iter().zip(&self.doubtful).filter(|(_, doubtful)| !**doubtful);
        let Some((before, _)) = before.find(|(before, _)| covers(&before.matches, matches, left)) else {
            return;
        };
        let name = shown(before.name(), 60);
        let why = if before.matches == Match::default() {
            format!("the policy \"{name}\" before it covers every task")
        } else {
            format!("the policy \"{name}\" before it covers everything that this one does")
        };
        section.warn_with_hint(
            format!("it is never tried: {why}"),
            "the first policy that matches governs a task: put the narrower one first",
        );
    }

    fn name(&mut self, section: &Section<'_>, written: Option<&Strict<String>>) -> Option<String> {
        let Some(Strict(name)) = written else {
            section.missing("name", "missing; every policy needs a name of its own");
            return None;
        };
        if let Err(problem) = check_name(name) {
            section.error("name", problem);
        }
        match self.places.get(name) {
            Some(place) => {
                section.error(
                    "name",
                    format!("the policy \"{}\" is defined twice: also at {place}", shown(name, 60)),
                );
            }
            None => {
                self.places.insert(name.clone(), section.place("name"));
            }
        }
        Some(name.clone())
    }
}

/// Whether every task that `narrow` covers is covered by `wide` too. Never said where it is not so; where the
/// comparisons are used up, it is not said at all.
fn covers(wide: &Match, narrow: &Match, left: &mut usize) -> bool {
    *left = left.saturating_sub(1);
    let one = |wide: &Pattern, narrow: &Pattern| {
        // A text without a glob stands for itself alone.
        let literal = !narrow.as_str().contains(['*', '?', '[', ']', '{', '}', '\\']);
        wide.as_str() == "*" || wide == narrow || (literal && wide.covers(narrow.as_str()))
    };
    let mut all = |wide: &Option<Vec<Pattern>>, narrow: &Option<Vec<Pattern>>| match (wide, narrow) {
        (None, _) => true,
        (Some(wide), None) => {
            *left = left.saturating_sub(wide.len());
            wide.iter().any(|pattern| pattern.as_str() == "*")
        }
        (Some(wide), Some(narrow)) => {
            !narrow.is_empty()
                && narrow.iter().all(|narrow| {
                    wide.iter().any(|wide| {
                        *left = left.saturating_sub(1);
                        *left > 0 && one(wide, narrow)
                    })
                })
        }
    };
    all(&wide.project, &narrow.project)
        && all(&wide.cluster, &narrow.cluster)
        && all(&wide.engine, &narrow.engine)
        && all(&wide.version, &narrow.version)
        && wide.task.as_ref().is_none_or(|wide| {
            let narrow = narrow.task.as_deref().unwrap_or(&TaskKind::ALL);
            narrow.iter().all(|kind| wide.contains(kind))
        })
        && wide.tags.iter().all(|(tag, wide)| {
            *left = left.saturating_sub(1);
            *left > 0 && narrow.tags.get(tag).is_some_and(|narrow| one(wide, narrow))
        })
        && *left > 0
}

/// A name that can be shown in one line and typed back.
pub(super) fn check_name(name: &str) -> Result<(), String> {
    let problem = if name.trim().is_empty() {
        "it is empty"
    } else if name.chars().count() > MAX_LENGTH {
        "at most 128 characters are allowed"
    } else if name.trim() != name {
        "blanks at its ends are not allowed"
    } else if shown(name, MAX_LENGTH) != name {
        "control and invisible characters are not allowed"
    } else {
        return Ok(());
    };
    Err(format!("found \"{}\"; {problem}", shown(name, 60)))
}

fn matches(section: &Section<'_>, written: Option<&written::Match>) -> Match {
    let Some(written) = written else { return Match::default() };
    Match {
        project: patterns(section, "project", written.project.as_deref()),
        cluster: patterns(section, "cluster", written.cluster.as_deref()),
        task: tasks(section, written.task.as_deref()),
        engine: patterns(section, "engine", written.engine.as_deref()),
        version: patterns(section, "version", written.version.as_deref()),
        tags: written
            .tags
            .iter()
            .flatten()
            .filter_map(|(tag, value)| {
                let tags = section.child("tags");
                if tag.is_empty() {
                    tags.error_at_key(tag, "a tag has a name");
                }
                let compiled = pattern(&value.0).map_err(|error| tags.error(tag, error)).ok()?;
                Some((tag.clone(), compiled))
            })
            .collect(),
    }
}

fn tasks(section: &Section<'_>, written: Option<&[Option<Strict<TaskKind>>]>) -> Option<Vec<TaskKind>> {
    let written = written?;
    if written.is_empty() {
        empty_list(section, "task");
    }
    Some(written.iter().flatten().map(|kind| kind.0).collect())
}

fn patterns(
    section: &Section<'_>,
    key: &str,
    written: Option<&[Option<Strict<String>>]>,
) -> Option<Vec<Pattern>> {
    let written = written?;
    if written.is_empty() {
        empty_list(section, key);
    }
    let list = section.child(key);
    let compiled = written.iter().enumerate().filter_map(|(index, text)| {
        pattern(&text.as_ref()?.0).map_err(|error| list.element(index).error_here(error)).ok()
    });
    Some(compiled.collect())
}

fn empty_list(section: &Section<'_>, key: &str) {
    section.error_with_hint(key, "an empty list covers nothing", "leave the key away to cover everything");
}

fn pattern(text: &str) -> Result<Pattern, String> {
    check_name(text)?;
    Pattern::new(text)
        .map_err(|error| format!("found \"{}\"; it is no glob: {}", shown(text, 60), error.kind()))
}

fn expect(section: &Section<'_>, written: Option<&written::Expect>) -> Expect {
    let default = Expect::default();
    let Some(written) = written else { return default };
    Expect {
        per_node: section.positive("per_node", written.per_node.as_ref(), default.per_node),
        allowance: written.allowance.as_ref().map_or(default.allowance, |duration| duration.0),
        no_progress: section.positive("no_progress", written.no_progress.as_ref(), default.no_progress),
    }
}

fn retry(section: &Section<'_>, written: Option<&written::Retry>, default: Retry) -> Retry {
    let Some(written) = written else { return default };
    let initial_interval =
        section.positive("initial_interval", written.initial_interval.as_ref(), default.initial_interval);
    let max_interval = section.positive("max_interval", written.max_interval.as_ref(), default.max_interval);
    if initial_interval > max_interval {
        let at = if written.initial_interval.is_some() { "initial_interval" } else { "max_interval" };
        section.error(
            at,
            format!(
                "initial_interval is {}, longer than max_interval, which is {}",
                Section::text(initial_interval),
                Section::text(max_interval)
            ),
        );
    }
    let multiplier = written.multiplier.as_ref().map_or(default.multiplier, |number| number.0);
    if !(multiplier.is_finite() && multiplier >= 1.0) {
        section.error("multiplier", format!("found {multiplier}; at least 1 is needed"));
    }
    let randomization_factor =
        written.randomization_factor.as_ref().map_or(default.randomization_factor, |number| number.0);
    if !(0.0..=1.0).contains(&randomization_factor) {
        section.error("randomization_factor", format!("found {randomization_factor}; 0 to 1 is allowed"));
    }
    let max_retries = written.max_retries.as_ref().map_or(default.max_retries, |count| count.0);
    let max_elapsed_time =
        written.max_elapsed_time.as_ref().map_or(default.max_elapsed_time, |time| time.0.0);
    if let Some(elapsed) = max_elapsed_time {
        if elapsed.is_zero() {
            section.error("max_elapsed_time", "found \"0s\"; it must be longer than that, or \"none\"");
        } else if elapsed < initial_interval && max_retries > 0 {
            section.warn("max_elapsed_time", "it ends before the first retry: nothing is ever retried");
        }
    }
    let flag = |written: &Option<Strict<bool>>, default| written.as_ref().map_or(default, |flag| flag.0);
    Retry {
        max_retries,
        initial_interval,
        multiplier,
        max_interval,
        randomization_factor,
        max_elapsed_time,
        reset_on_progress: flag(&written.reset_on_progress, default.reset_on_progress),
        retry_partial_failed: flag(&written.retry_partial_failed, default.retry_partial_failed),
        count_external: flag(&written.count_external, default.count_external),
    }
}
