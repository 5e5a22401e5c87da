//! The names of one list, each given once.

use std::collections::BTreeMap;

use super::kind::{Kind as _, Word};
use super::section::Section;
use crate::model::text::shown;

/// The names so far, with their places.
#[derive(Debug, Default)]
pub(super) struct Names(BTreeMap<String, String>);

impl Names {
    /// Adds the name of the `what` that this table is, and returns it if it has one, valid or not.
    pub(super) fn of(&mut self, section: &Section<'_>, what: &str) -> Option<String> {
        let Some(name) = Word::get(section, "name") else {
            section.missing("name", format!("missing; every {what} needs a name of its own"));
            return None;
        };
        if let Some(place) = self.0.get(&name) {
            let name = shown(&name, 60);
            section.error("name", format!("the {what} \"{name}\" is defined twice: also at {place}"));
        } else {
            self.0.insert(name.clone(), section.place("name"));
        }
        Some(name)
    }

    /// All of them.
    pub(super) fn all(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether there is this one.
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }
}
