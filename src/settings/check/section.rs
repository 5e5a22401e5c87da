//! A table that is being checked: where it stands, and where its problems go.

use std::cell::RefCell;
use std::time::Duration;

use super::super::duration;
use super::super::key::KeyPath;
use super::super::problem::{Problem, nearest};
use super::super::scalar::Strict;
use super::super::strict::{At, Tree};

/// More problems than this help nobody.
const MAX_FOUND: usize = 500;

/// One table of a file.
#[derive(Clone)]
pub(super) struct Section<'a> {
    tree: &'a Tree,
    path: KeyPath,
    found: &'a RefCell<Vec<Problem>>,
}

impl<'a> Section<'a> {
    /// The whole file.
    pub(super) fn top(tree: &'a Tree, found: &'a RefCell<Vec<Problem>>) -> Self {
        Self { tree, path: KeyPath::default(), found }
    }

    /// The table, or list, under a key.
    pub(super) fn child(&self, key: &str) -> Self {
        Self { path: self.path.key(key), ..self.clone() }
    }

    /// An element of this list.
    pub(super) fn element(&self, index: usize) -> Self {
        Self { path: self.path.index(index), ..self.clone() }
    }

    fn report(
        &self,
        path: &KeyPath,
        at: At,
        message: impl Into<String>,
        turn: impl FnOnce(Problem) -> Problem,
    ) {
        let mut found = self.found.borrow_mut();
        if found.len() < MAX_FOUND {
            found.push(turn(self.tree.problem(path, at, message)));
        } else if found.len() == MAX_FOUND {
            found.push(Problem::error("too many problems; those that follow are not shown"));
        }
    }

    /// The known word that is nearest to what was written; not looked for where no more problems are shown.
    pub(super) fn nearest<'k>(
        &self,
        written: &str,
        known: impl IntoIterator<Item = &'k str>,
    ) -> Option<&'k str> {
        if self.found.borrow().len() < MAX_FOUND { nearest(written, known) } else { None }
    }

    /// An error at the value of a key.
    pub(super) fn error(&self, key: &str, message: impl Into<String>) {
        self.report(&self.path.key(key), At::Value, message, |problem| problem);
    }

    /// The same, with advice.
    pub(super) fn error_with_hint(&self, key: &str, message: impl Into<String>, hint: impl Into<String>) {
        self.report(&self.path.key(key), At::Value, message, |problem| problem.with_hint(hint));
    }

    /// An error at a key itself.
    pub(super) fn error_at_key(&self, key: &str, message: impl Into<String>) {
        self.report(&self.path.key(key), At::Key, message, |problem| problem);
    }

    /// An error at this value as a whole.
    pub(super) fn error_here(&self, message: impl Into<String>) {
        self.report(&self.path, At::Value, message, |problem| problem);
    }

    /// A key that must be there is not. Silent where it is there and could not be read.
    pub(super) fn missing(&self, key: &str, message: impl Into<String>) {
        if !self.tree.was_dropped(&self.path.key(key)) {
            self.report(&self.path.key(key), At::Key, message, |problem| problem);
        }
    }

    /// Whether something in this table was told as a problem already, because it could not be read.
    pub(super) fn any_dropped(&self) -> bool {
        self.tree.any_dropped(&self.path)
    }

    /// A warning at a key.
    pub(super) fn warn(&self, key: &str, message: impl Into<String>) {
        self.report(&self.path.key(key), At::Key, message, Problem::as_warning);
    }

    /// A warning at this table as a whole.
    pub(super) fn warn_here(&self, message: impl Into<String>) {
        self.report(&self.path, At::Key, message, Problem::as_warning);
    }

    /// The same, with advice.
    pub(super) fn warn_with_hint(&self, message: impl Into<String>, hint: impl Into<String>) {
        self.report(&self.path, At::Key, message, |problem| problem.as_warning().with_hint(hint));
    }

    /// Whether a user set this key.
    pub(super) fn is_set(&self, key: &str) -> bool {
        self.tree.is_set(&self.path.key(key))
    }

    /// `FILE:LINE` of this key's value, for messages that name a second place.
    pub(super) fn place(&self, key: &str) -> String {
        self.tree.place(&self.path.key(key)).unwrap_or_else(|| "another place".to_owned())
    }

    /// A duration above zero.
    pub(super) fn positive(
        &self,
        key: &str,
        written: Option<&Strict<Duration>>,
        default: Duration,
    ) -> Duration {
        let duration = written.map_or(default, |written| written.0);
        if duration.is_zero() {
            self.error(key, "found \"0s\"; it must be longer than that");
        }
        duration
    }

    /// A count of at least one.
    pub(super) fn at_least_one(&self, key: &str, written: Option<&Strict<u32>>, default: u32) -> u32 {
        let count = written.map_or(default, |written| written.0);
        if count == 0 {
            self.error(key, "found 0; at least 1 is needed");
        }
        count
    }

    /// An absolute path.
    pub(super) fn absolute_path(&self, key: &str, path: &str) -> bool {
        let problem = if !path.starts_with('/') || path.starts_with("//") {
            "the path must be absolute"
        } else if path.chars().any(|c| c.is_control() || c == '\u{fffd}') {
            "the path has a control character, or is no text"
        } else if path.ends_with('/') {
            "the path is that of a folder; a file is needed"
        } else {
            return true;
        };
        self.error(key, format!("found \"{}\"; {problem}", crate::model::text::shown(path, 80)));
        false
    }

    /// A duration as a message shows it.
    pub(super) fn text(duration: Duration) -> String {
        format!("\"{}\"", duration::text(duration))
    }
}
