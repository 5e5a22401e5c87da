//! `[[policy]]`: which tasks it matches, how to retry, what at the end.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::channel::Channels;
use super::duration;
use super::key::KeyPath;
use super::kind::{AtLeastOne, Endless, List, Named, Positive, Ratio, Word};
use super::names::{self, Names};
use super::section::Section;
use super::table::{Of, Table as _, table};
use super::text::{Glob, check_name};
use super::window::{self, InWindow};
use crate::model::policy::{Expect, Match, Mode, OnExhausted, Pattern, Policy, Retry, Terms};
use crate::model::task::TaskKind;
use crate::model::text::shown;

/// Comparing all policies with each other is quadratic: after this number of comparisons there is
/// no further warning.
const MAX_COMPARISONS: usize = 1_000_000;

table! {
    /// The keys, as the file has them.
    pub(super) struct WrittenPolicy {
        name: Word,
        enabled: bool,
        mode: Mode,
        on_exhausted: OnExhausted,
        abort_grace: Duration,
        notify: List<Word>,
        matches = "match": Of<WrittenMatch>,
        retry: Of<WrittenRetry>,
        expect: Of<WrittenExpect>,
        window: Of<window::Written, InWindow>,
    }
}

table! {
    /// `[policy.match]`
    pub(super) struct WrittenMatch {
        project: List<Glob>,
        cluster: List<Glob>,
        engine: List<Glob>,
        version: List<Glob>,
        task: List<TaskKind>,
        tags: Named<Glob>,
    }
}

table! {
    /// `[policy.retry]`
    pub(super) struct WrittenRetry of Retry {
        max_retries: u32,
        initial_interval: Positive<Duration>,
        multiplier: AtLeastOne<f64>,
        max_interval: Positive<Duration>,
        randomization_factor: Ratio,
        max_elapsed_time: Endless,
        reset_on_progress: bool,
        retry_partial_failed: bool,
        count_external: bool,
    }
}

table! {
    /// `[policy.expect]`
    pub(super) struct WrittenExpect of Expect {
        per_node: Positive<Duration>,
        allowance: Duration,
        no_progress: Positive<Duration>,
    }
}

/// The policies of all files, in the order in which they are tried.
pub(super) struct Policies<'a> {
    mode: Mode,
    channels: &'a Channels<'a>,
    /// The names of all projects, valid or not; `None` if config.toml could not be read.
    projects: Option<&'a Names>,
    names: Names,
    enabled: Vec<Policy>,
    /// The channels, by the names of the policies that name some.
    pub(super) notify: BTreeMap<String, Vec<String>>,
    /// For each of them, whether a part of its `match` could not be read.
    doubtful: Vec<bool>,
    /// The number of comparisons of patterns that are left to find policies that are never used.
    comparisons: usize,
}

impl<'a> Policies<'a> {
    /// Makes an empty list. `mode` is the global one.
    pub(super) fn new(mode: Mode, channels: &'a Channels<'a>, projects: Option<&'a Names>) -> Self {
        Self {
            mode,
            channels,
            projects,
            names: Names::default(),
            enabled: Vec::new(),
            notify: BTreeMap::new(),
            doubtful: Vec::new(),
            comparisons: MAX_COMPARISONS,
        }
    }

    /// Returns the enabled ones.
    pub(super) fn into_enabled(self) -> Vec<Policy> {
        self.enabled
    }

    /// Adds the `[[policy]]` list of one file.
    pub(super) fn add(&mut self, list: &Section<'_>) {
        for section in list.tables() {
            section.only(WrittenPolicy::KEYS, |_| None);
            if let Some(written) = WrittenPolicy::read(&section, "") {
                self.add_one(&section, written);
            }
        }
    }

    fn add_one(&mut self, section: &Section<'_>, written: WrittenPolicy) {
        let name = self.names.of(section, "policy");
        if let Some(Err(problem)) = name.as_deref().map(check_name) {
            section.error("name", problem);
        }
        let defaults = Terms::defaults(name.as_deref().unwrap_or_default(), self.mode);
        let window = written.window.as_ref();
        let terms = Terms {
            mode: written.mode.unwrap_or(Mode::Enforce).min(self.mode),
            on_exhausted: written.on_exhausted.unwrap_or(defaults.on_exhausted),
            abort_grace: written.abort_grace.unwrap_or(defaults.abort_grace),
            retry: retry(&section.child("retry"), written.retry, defaults.retry),
            window: window.and_then(|window| window::window(&section.child("window"), window)),
            policy: defaults.policy,
        };
        let expect = written.expect.unwrap_or_default().or(Expect::default());
        let matches = matches(&section.child("match"), written.matches.unwrap_or_default());
        warn_of_expressions(&section.child("match"), &matches);
        self.warn_of_no_project(&section.child("match").child("project"), matches.project.as_deref());
        self.channels.check_names(section, "notify", written.notify.as_ref());
        if let Some(names) = written.notify {
            self.notify.insert(terms.policy.clone(), names.into_iter().flatten().collect());
        }
        if written.enabled == Some(false) {
            return;
        }
        // An unreadable line may match anything.
        let doubtful = section.child("match").any_dropped();
        if !doubtful {
            self.warn_of_unreachable(section, &matches);
        }
        self.doubtful.push(doubtful);
        self.enabled.push(Policy { matches, terms, expect });
    }

    /// Warns if a pattern for projects matches none.
    fn warn_of_no_project(&mut self, section: &Section<'_>, patterns: Option<&[Pattern]>) {
        let (Some(patterns), Some(projects)) = (patterns, self.projects.filter(|names| !names.is_empty()))
        else {
            return;
        };
        for (index, pattern) in patterns.iter().enumerate() {
            let left = &mut self.comparisons;
            let covered = projects.all().any(|name| {
                *left = left.saturating_sub(1);
                *left == 0 || pattern.covers(name)
            });
            if !covered {
                let message = format!("\"{}\" covers no project", shown(pattern.as_str(), 60));
                let words = ("the projects are", "the names of projects are those under [[project]]");
                let help = names::help(section, pattern.as_str(), projects.all(), words);
                section.element(index).warn_with_hint(message, help);
            }
        }
    }

    /// Returns whether one earlier policy matches all that this one matches, as far as their
    /// patterns alone show it.
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
            format!("the policy \"{name}\" before it covers every task that this one covers")
        };
        section.warn_with_hint(
            format!("the policy never applies: {why}"),
            "the first policy that matches governs a task: put the narrower one first",
        );
    }
}

/// Warns of patterns that are written as regular expressions: as globs they cover something else, or nothing.
fn warn_of_expressions(section: &Section<'_>, matches: &Match) {
    let warn = |section: &Section<'_>, pattern: &Pattern, dots: bool| {
        if !is_expression(pattern.as_str(), dots) {
            return;
        }
        let message = format!(
            "\"{}\" looks like a regular expression; a pattern is a glob over the whole name, in which * stands for any text",
            shown(pattern.as_str(), 60)
        );
        match glob_of(pattern.as_str()) {
            Some(meant) => {
                section.warn_with_hint(message, format!("did you mean \"{}\"?", shown(&meant, 60)));
            }
            None => section.warn_here(message),
        }
    };
    let lists = [
        ("project", &matches.project, true),
        ("cluster", &matches.cluster, true),
        ("engine", &matches.engine, true),
        // In "7.*" the dot is one.
        ("version", &matches.version, false),
    ];
    for (key, patterns, dots) in lists {
        for (index, pattern) in patterns.iter().flatten().enumerate() {
            warn(&section.child(key).element(index), pattern, dots);
        }
    }
    for (tag, pattern) in &matches.tags {
        warn(&section.child("tags").child(tag), pattern, true);
    }
}

/// Returns whether a pattern is meant as a regular expression. `dots`: `.*` is of one.
fn is_expression(pattern: &str, dots: bool) -> bool {
    let (start, end) = (pattern.starts_with('^'), pattern.ends_with('$'));
    let any = |marks: &[&str]| marks.iter().any(|mark| pattern.contains(mark));
    let escapes = ["\\d", "\\w", "\\s", "\\.", "\\b"];
    let groups = pattern.contains('(') && pattern.contains('|');
    start || end || (dots && any(&[".*"])) || any(&[".+"]) || any(&escapes) || groups
}

/// Returns the glob that a regular expression was meant as, if that is plain.
fn glob_of(pattern: &str) -> Option<String> {
    let (start, end) = (pattern.starts_with('^'), pattern.ends_with('$'));
    let text = pattern.trim_start_matches('^').trim_end_matches('$');
    let text = text.replace(".*", "*").replace(".+", "?*");
    // A regular expression that is not held to an end covers what has more there.
    let held = |held: bool, at: bool| if held || at { "" } else { "*" };
    let (before, after) = if start || end {
        (held(start, text.starts_with('*')), held(end, text.ends_with('*')))
    } else {
        ("", "")
    };
    let is_plain = !text.contains(['(', ')', '|', '\\', '+', '^', '$', '{', '[', '.']);
    is_plain.then(|| format!("{before}{text}{after}"))
}

/// Whether every task that `narrow` covers is covered by `wide` too. Never said where it is not so; where the
/// comparisons are used up, it is not said at all.
fn covers(wide: &Match, narrow: &Match, left: &mut usize) -> bool {
    *left = left.saturating_sub(1);
    let one = |wide: &Pattern, narrow: &Pattern| {
        // A text without a glob matches itself alone.
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

fn matches(section: &Section<'_>, written: WrittenMatch) -> Match {
    let empty = |key: &str| section.child(key).value().as_array().is_some_and(Vec::is_empty);
    for key in WrittenMatch::KEYS.iter().filter(|key| empty(key)) {
        section.error_with_hint(key, "an empty list covers nothing", "omit the key to cover everything");
    }
    let tags = written.tags.unwrap_or_default();
    if tags.contains_key("") {
        section.child("tags").error_at_key("", "a tag has a name");
    }
    let read = |list: Option<Vec<Option<Pattern>>>| list.map(|list| list.into_iter().flatten().collect());
    Match {
        project: read(written.project),
        cluster: read(written.cluster),
        task: written.task.map(|kinds| kinds.into_iter().flatten().collect()),
        engine: read(written.engine),
        version: read(written.version),
        tags,
    }
}

fn retry(section: &Section<'_>, written: Option<WrittenRetry>, default: Retry) -> Retry {
    let retry = written.unwrap_or_default().or(default);
    let (initial, longest) = (retry.initial_interval, retry.max_interval);
    if initial > longest && section.can_compare(&["initial_interval", "max_interval"]) {
        let at = if section.is_set("initial_interval") { "initial_interval" } else { "max_interval" };
        section.error(
            at,
            format!(
                "initial_interval is {}, longer than max_interval, which is {}",
                duration::quoted(initial),
                duration::quoted(longest)
            ),
        );
    }
    let comparable = section.can_compare(&["initial_interval", "max_elapsed_time", "max_retries"]);
    if retry.max_elapsed_time.is_some_and(|elapsed| elapsed < initial) && retry.max_retries > 0 && comparable
    {
        section.warn("max_elapsed_time", "the time ends before the first retry, so no retry is ever sent");
    }
    retry
}

/// Returns the values of a policy at this path, without its name and mode.
pub(super) fn list(path: &KeyPath, policy: &Policy, notify: Option<&Vec<String>>) -> Vec<(KeyPath, Value)> {
    let Policy { terms, matches, expect } = policy;
    let written = WrittenPolicy {
        on_exhausted: Some(terms.on_exhausted),
        abort_grace: Some(terms.abort_grace),
        notify: notify.map(|names| names.iter().cloned().map(Some).collect()),
        ..WrittenPolicy::default()
    };
    let globs = |list: &Option<Vec<Pattern>>| list.clone().map(|list| list.into_iter().map(Some).collect());
    let matching = WrittenMatch {
        project: globs(&matches.project),
        cluster: globs(&matches.cluster),
        task: matches.task.clone().map(|kinds| kinds.into_iter().map(Some).collect()),
        engine: globs(&matches.engine),
        version: globs(&matches.version),
        tags: None,
    };
    let at = |path: &KeyPath, values: Vec<(&'static str, Value)>| {
        values.into_iter().map(|(key, value)| (path.key(key), value)).collect::<Vec<_>>()
    };
    let tags = path.key("match").key("tags");
    [
        at(path, written.list()),
        at(&path.key("match"), matching.list()),
        matches.tags.iter().map(|(tag, pattern)| (tags.key(tag), json!(pattern.as_str()))).collect(),
        at(&path.key("retry"), WrittenRetry::with_all_of(&terms.retry).list()),
        at(&path.key("expect"), WrittenExpect::with_all_of(expect).list()),
        at(&path.key("window"), terms.window.iter().flat_map(window::list).collect()),
    ]
    .concat()
}
