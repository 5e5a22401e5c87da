//! The values of the files, one table of them while it is read and checked, and the list of its
//! problems.
//!
//! `config` converts types silently when it deserialises (2.7 becomes 3, `"yes"` becomes true). So
//! it is asked for JSON values only, which keep the kinds of TOML; [`super::kind`] reads them,
//! strictly. All problems are reported, not only the first.

use std::cell::RefCell;
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::Value;

use super::key::{KeyPath, Segment};
use super::layer::{Layer, Origin};
use super::problem::{MAX_PROBLEMS, Problem, Severity, nearest};
use super::schema::{self, Key};

/// The values of a file (with the layers around it), the place of each key, and the problems.
#[derive(Default)]
pub(super) struct Tree {
    values: Value,
    origins: BTreeMap<KeyPath, Origin>,
    /// Keys that could not be read: reported already.
    dropped: RefCell<BTreeSet<KeyPath>>,
    found: RefCell<Vec<Problem>>,
    file: Option<PathBuf>,
    /// All keys of the configuration.
    keys: Arc<[Key]>,
}

const POLICIES_ONLY: &str = "a file of policies.d holds [[policy]] only; the rest belongs in config.toml";

/// What is wrong with a key that is not known in its place, and how to put it right.
pub(super) type Unknown = (String, Option<String>);

/// The part of an entry that a message marks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Key,
    Value,
}

impl Tree {
    /// Merges the layers, the last one winning. `keys` are all keys of the configuration.
    pub(super) fn of(layers: Vec<Layer>, keys: &Arc<[Key]>) -> Self {
        let mut tree = Self { keys: Arc::clone(keys), ..Self::default() };
        let mut builder = config::Config::builder();
        for layer in layers {
            tree.origins.extend(layer.origins.clone());
            tree.dropped.get_mut().extend(layer.dropped.clone());
            tree.file = layer.file.clone().or(tree.file);
            builder = builder.add_source(layer);
        }
        match builder.build().and_then(config::Config::try_deserialize::<Value>) {
            Ok(values) => tree.values = values,
            // No content of the layers leads here; without the error's text, which may repeat a
            // value.
            Err(_) => Section::of(&tree).error_here("the configuration cannot be combined"),
        }
        tree
    }

    /// Returns the problems.
    pub(super) fn into_problems(self) -> Vec<Problem> {
        self.found.into_inner()
    }

    /// Adds a problem at this key, or at the nearest table around it that has a place.
    fn problem(&self, path: &KeyPath, at: At, message: impl Into<String>) -> Problem {
        let mut problem = Problem::error(message);
        if !path.segments().is_empty() {
            problem.key = Some(path.label(&self.values));
        }
        let mut place = Some(path.clone());
        while let Some(here) = place {
            match self.origins.get(&here) {
                Some(Origin::File { source, key, value }) => {
                    // A missing key is shown at the head of its table.
                    let meant = if at == At::Key || here != *path { key } else { value };
                    return problem.pointing_at(source, meant);
                }
                Some(Origin::Environment(name)) => {
                    problem.message = format!("{} (from the environment variable {name})", problem.message);
                    return problem;
                }
                None => place = here.parent(),
            }
        }
        problem.file.clone_from(&self.file);
        problem
    }

    /// Errors and warnings are counted apart: warnings never refuse a configuration.
    fn report(&self, path: &KeyPath, at: At, message: impl Into<String>, hint: Option<String>) {
        self.tell(Severity::Error, path, at, message, hint);
    }

    fn tell(
        &self,
        severity: Severity,
        path: &KeyPath,
        at: At,
        message: impl Into<String>,
        hint: Option<String>,
    ) {
        let mut found = self.found.borrow_mut();
        let so_far = found.iter().filter(|problem| problem.severity == severity).count();
        match so_far.cmp(&MAX_PROBLEMS) {
            Ordering::Less => found.push(Problem { hint, severity, ..self.problem(path, at, message) }),
            Ordering::Equal => {
                let more = "too many problems; those that follow are not shown";
                found.push(Problem { severity, ..self.problem(&KeyPath::default(), At::Key, more) });
            }
            Ordering::Greater => {}
        }
    }

    fn is_full(&self) -> bool {
        self.found.borrow().len() >= MAX_PROBLEMS
    }

    /// Returns all keys by their labels, with their origins.
    pub(super) fn labelled_origins(&self) -> impl Iterator<Item = (String, String)> {
        self.origins.iter().map(|(path, origin)| (path.label(&self.values), origin.to_string()))
    }

    /// Returns the places of secrets, windows and paths, by their labels, each as a problem that
    /// may be found later.
    pub(super) fn places(&self) -> impl Iterator<Item = (String, Problem)> {
        let wanted = |path: &&KeyPath| match path.segments() {
            [Segment::Key(top), _, Segment::Key(_)] if top == "credentials" || top == "channel" => true,
            [Segment::Key(top), _, Segment::Key(key)] => {
                (top == "policy" && key == "window")
                    || (top == "project" && matches!(key.as_str(), "proxy_password" | "ca_file" | "endpoint"))
            }
            [Segment::Key(top), _, Segment::Key(window), Segment::Key(key)] => {
                top == "policy" && window == "window" && key == "deny"
            }
            [Segment::Key(top), Segment::Key(key)] => {
                (top == "journal" && key == "url") || (top == "control" && key == "socket")
            }
            _ => false,
        };
        let place = |path: &KeyPath| {
            let is_window = path.segments().contains(&Segment::Key("window".to_owned()));
            let at = if is_window { At::Key } else { At::Value };
            (path.label(&self.values), self.problem(path, at, ""))
        };
        self.origins.keys().filter(wanted).map(place)
    }
}

/// The value in one place: a table, a list or a single value.
#[derive(Clone)]
pub(super) struct Section<'a> {
    tree: &'a Tree,
    path: KeyPath,
    value: &'a Value,
}

impl<'a> Section<'a> {
    /// The whole file.
    pub(super) fn of(tree: &'a Tree) -> Self {
        Self { tree, path: KeyPath::default(), value: &tree.values }
    }

    /// Returns the value of a key of this table.
    pub(super) fn child(&self, key: &str) -> Self {
        Self { path: self.path.key(key), value: self.value.get(key).unwrap_or(&Value::Null), tree: self.tree }
    }

    /// An element of this list.
    pub(super) fn element(&self, index: usize) -> Self {
        Self {
            path: self.path.index(index),
            value: self.value.get(index).unwrap_or(&Value::Null),
            tree: self.tree,
        }
    }

    /// Returns the elements of this list, also those that could not be read.
    pub(super) fn elements(&self) -> impl Iterator<Item = Self> {
        (0..self.value.as_array().map_or(0, Vec::len)).map(|index| self.element(index))
    }

    /// The tables of this list.
    pub(super) fn tables(&self) -> impl Iterator<Item = Self> {
        self.elements().filter(|element| element.value.is_object())
    }

    /// Returns the keys of this table, with their values.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&'a str, Self)> {
        let keys = self.value.as_object().into_iter().flat_map(serde_json::Map::keys);
        keys.map(|key| (key.as_str(), self.child(key)))
    }

    /// Returns the value; `None` also if it could not be read.
    pub(super) fn value(&self) -> &'a Value {
        self.value
    }

    /// Returns whether this key is present, valid or not.
    pub(super) fn has(&self, key: &str) -> bool {
        !self.child(key).value.is_null()
    }

    /// Returns the last step of the path, if it is a key.
    pub(super) fn key(&self) -> Option<&str> {
        match self.path.last() {
            Some(Segment::Key(key)) => Some(key),
            _ => None,
        }
    }

    /// Adds that this value cannot be read. It is reported once.
    pub(super) fn refuse(&self, message: impl Into<String>, hint: Option<String>) {
        if self.tree.dropped.borrow_mut().insert(self.path.clone()) {
            self.tree.report(&self.path, At::Value, message, hint);
        }
    }

    /// Refuses the unknown keys of this table. `foreign` says what is wrong with one, if more is
    /// known.
    pub(super) fn only(&self, known: &[&str], foreign: impl Fn(&str) -> Option<Unknown>) {
        for (key, here) in self.entries().filter(|(key, _)| !known.contains(key)) {
            here.tree.dropped.borrow_mut().insert(here.path.clone());
            if let Some((message, hint)) = foreign(key) {
                self.tree.report(&here.path, At::Key, message, hint);
                continue;
            }
            let near = self.nearest(key, known.iter().copied()).map(|near| format!("did you mean {near}?"));
            let hint = self.belonging(key, &here, known).or(near).unwrap_or_else(|| match known {
                ["policy"] => POLICIES_ONLY.to_owned(),
                _ => format!("known here: {}", known.join(", ")),
            });
            self.tree.report(&here.path, At::Key, "unknown key", Some(hint));
        }
    }

    /// Where a key belongs that is not among those known here, and is somewhere else.
    fn belonging(&self, key: &str, here: &Self, known: &[&str]) -> Option<String> {
        if self.tree.is_full() {
            return None;
        }
        let path: Vec<&str> = self
            .path
            .segments()
            .iter()
            .filter_map(|segment| match segment {
                Segment::Key(key) => Some(key.as_str()),
                Segment::Index(_) => None,
            })
            .collect();
        let is_table = here.value.is_object() || here.value.is_array();
        let (place, is_the_only) = schema::elsewhere(&self.tree.keys, &path, key, is_table)?;
        match known {
            // In a file of policies, what belongs into policies is worth its place; the rest is not.
            ["policy"] => place.contains("policy").then_some(place),
            _ if is_the_only => Some(place),
            _ => Some(format!("{place}; known here: {}", known.join(", "))),
        }
    }

    /// The known word that is nearest to what was written; not looked for where no more problems are shown.
    pub(super) fn nearest<'k>(
        &self,
        written: &str,
        known: impl IntoIterator<Item = &'k str>,
    ) -> Option<&'k str> {
        if self.tree.is_full() { None } else { nearest(written, known) }
    }

    /// An error at the value of a key.
    pub(super) fn error(&self, key: &str, message: impl Into<String>) {
        self.tree.report(&self.path.key(key), At::Value, message, None);
    }

    /// The same, with advice.
    pub(super) fn error_with_hint(&self, key: &str, message: impl Into<String>, hint: impl Into<String>) {
        self.tree.report(&self.path.key(key), At::Value, message, Some(hint.into()));
    }

    /// An error at a key itself.
    pub(super) fn error_at_key(&self, key: &str, message: impl Into<String>) {
        self.tree.report(&self.path.key(key), At::Key, message, None);
    }

    /// An error at this value as a whole.
    pub(super) fn error_here(&self, message: impl Into<String>) {
        self.tree.report(&self.path, At::Value, message, None);
    }

    /// Adds that a required key is missing. Adds nothing if it is there and could not be read.
    pub(super) fn missing(&self, key: &str, message: impl Into<String>) {
        let path = self.path.key(key);
        let told = self.tree.dropped.borrow().contains(&path);
        if !told {
            self.tree.report(&path, At::Key, message, None);
        }
    }

    /// Returns whether each of these keys could be read, or is absent: only then their values can
    /// be compared.
    pub(super) fn can_compare(&self, keys: &[&str]) -> bool {
        !keys.iter().any(|key| self.child(key).any_dropped())
    }

    /// Returns whether a problem of this table was reported already, because it could not be read.
    pub(super) fn any_dropped(&self) -> bool {
        let dropped = self.tree.dropped.borrow();
        let first = dropped.range(&self.path..).next();
        first.is_some_and(|found| found.segments().starts_with(self.path.segments()))
    }

    /// Whether the file has a key at its top that is not among those known there, and was told.
    pub(super) fn has_unknown(&self, known: &[&str]) -> bool {
        let is_unknown = |path: &KeyPath| match path.segments() {
            [Segment::Key(key)] => !known.contains(&key.as_str()),
            _ => false,
        };
        self.tree.dropped.borrow().iter().any(is_unknown)
    }

    fn warning(&self, path: &KeyPath, message: impl Into<String>, hint: Option<String>) {
        self.tree.tell(Severity::Warning, path, At::Key, message, hint);
    }

    /// A warning at a key.
    pub(super) fn warn(&self, key: &str, message: impl Into<String>) {
        self.warning(&self.path.key(key), message, None);
    }

    /// A warning at this table as a whole.
    pub(super) fn warn_here(&self, message: impl Into<String>) {
        self.warning(&self.path, message, None);
    }

    /// The same, with advice.
    pub(super) fn warn_with_hint(&self, message: impl Into<String>, hint: impl Into<String>) {
        self.warning(&self.path, message, Some(hint.into()));
    }

    /// Returns whether a user set this key, in a file or in the environment.
    pub(super) fn is_set(&self, key: &str) -> bool {
        self.tree.origins.contains_key(&self.path.key(key))
    }

    /// Returns `FILE:LINE` of this key's value, for messages that name a second place.
    pub(super) fn place(&self, key: &str) -> String {
        let origin = self.tree.origins.get(&self.path.key(key));
        origin.map_or_else(|| "another place".to_owned(), ToString::to_string)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::check::Whole;
    use super::super::environment::Environment;
    use super::super::problem::Problems;
    use super::super::schema::Masking;
    use super::super::{check, document};
    use super::*;

    fn layer(file: &str, text: &str) -> (Option<Layer>, Vec<Problem>) {
        document::parse(Path::new(file), text, &Arc::new(Masking::new(check::keys())))
    }

    /// Returns the errors of reading it.
    fn problems(text: &str) -> Vec<String> {
        let (layer, mut found) = layer("c.toml", text);
        let tree = Tree::of(vec![layer.unwrap()], &check::keys().into());
        check::check(&tree, &[], Whole::default(), &Environment::default());
        found.extend(tree.into_problems().into_iter().filter(Problem::is_error));
        Problems::in_order(found, &["c.toml".into()]).0.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_table_written_as_a_list_is_not_taken_for_one() {
        let found = problems("log = ['info', 'json']\n").join("\n");
        let expected =
            ["c.toml:1:7: log\n  found a list; a table is needed", "write log = { filter = …, format = … }"];
        assert!(expected.iter().all(|part| found.contains(part)), "{found}");
    }

    #[test]
    fn all_bad_values_of_a_list_are_told() {
        let text = "[[policy]]\nname = 'a'\nmatch.cluster = [1, 'x', true]\n";
        let found = problems(text);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].starts_with("error: c.toml:3:18: policy.a.match.cluster[0]"), "{found:?}");
        assert!(found[1].starts_with("error: c.toml:3:26: policy.a.match.cluster[2]"), "{found:?}");
    }

    #[test]
    fn an_unknown_key_is_pointed_at_itself_and_the_nearest_is_named() {
        let found = problems("[poll]\n  idle_intervall = '5m'\n[xyz]\n");
        assert_eq!(
            found[0],
            "error: c.toml:2:3: poll.idle_intervall\n  unknown key\n   |\n 2 |   idle_intervall = ***\n   \
             |   ^^^^^^^^^^^^^^\n  help: did you mean idle_interval?"
        );
        assert!(
            found[1].starts_with("error: c.toml:3:2: xyz\n  unknown key\n   |\n 3 | [xyz]\n")
                && found[1].contains("\n  help: known here: mode,"),
            "{found:?}"
        );
        assert_eq!(found.len(), 2);
    }

    #[test]
    fn one_bracket_too_few_is_explained() {
        let found = problems("[policy]\nname = 'a'\n");
        assert!(found[0].contains("write [[policy]]"), "{found:?}");
    }

    #[test]
    fn a_value_where_a_table_should_be_is_not_repeated() {
        let found =
            problems("[credentials]\nmain = 'canary-7f3a'\nb.access_key = 'canary-7f3a'\nb.user = 5\n");
        assert_eq!(found.len(), 4, "with the type that is missing: {found:?}");
        assert!(found.iter().all(|problem| !problem.contains("canary")), "{found:?}");
    }

    #[test]
    fn there_is_an_end_to_problems() {
        let text = (0..1_000).fold(String::new(), |text, n| text + &format!("k{n} = 1\n"));
        let found = problems(&text);
        assert_eq!(found.len(), MAX_PROBLEMS + 1);
        assert!(found.iter().any(|problem| problem.contains("too many problems")), "{found:?}");
    }

    #[test]
    fn however_many_warnings_there_are_they_refuse_nothing() {
        let project = "[[project]]\nname='p'\nregion='cn-north-4'\ncredentials='c0'\n";
        let text = (0..1_000)
            .fold(project.to_owned(), |text, n| text + &format!("[credentials.c{n}]\ntype='ecs-agency'\n"));
        let (layer, _) = layer("c.toml", &text);
        let tree = Tree::of(vec![layer.unwrap()], &check::keys().into());
        assert!(
            check::check(&tree, &[], Whole { main: true, policies: true }, &Environment::default()).is_some()
        );
        let found = tree.into_problems();
        assert_eq!(found.len(), MAX_PROBLEMS + 1);
        assert!(found.iter().all(|problem| !problem.is_error()));
    }

    #[test]
    fn the_higher_layer_wins_and_is_named() {
        let (low, _) = layer("low.toml", "[journal]\nurl = 'a'\nretention = '1d'\n");
        let (high, _) = layer("high.toml", "[journal]\nurl = 'b'\n");
        let tree = Tree::of(vec![low.unwrap(), high.unwrap()], &check::keys().into());
        let journal = Section::of(&tree).child("journal");
        assert_eq!(journal.child("url").value(), "b");
        assert_eq!([journal.place("url"), journal.place("retention")], ["high.toml:2", "low.toml:3"]);
    }
}
