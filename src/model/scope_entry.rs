//! What is journaled for a scope and not for a task: holds and their releases.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::event::StoredEntry;
use super::hold::{NewHold, Scope, StoredHold};
use super::text::{shown, utc};

/// An operator's order for a scope.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the variants' docs tell their fields")]
pub enum ScopeEvent {
    /// A hold was placed. Holds have numbers of their own, which operators know.
    Held { hold: u64, cluster_name: Option<String>, until: Option<Timestamp>, reason: String, by: String },
    /// The hold with this number was released.
    Released { hold: u64, by: String },
}

impl ScopeEvent {
    /// The words of all of them.
    pub const WORDS: [&'static str; 2] = ["held", "released"];

    /// The stable word: the same as in JSON.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Held { .. } => "held",
            Self::Released { .. } => "released",
        }
    }
}

impl fmt::Display for ScopeEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Held { hold, until, reason, by, .. } => {
                write!(f, "hold #{hold} by {by}")?;
                match until {
                    Some(until) => write!(f, " until {}", utc(*until))?,
                    None => f.write_str(" until it is released")?,
                }
                write!(f, ": {}", shown(reason, 200))
            }
            Self::Released { hold, by } => write!(f, "hold #{hold} released by {by}"),
        }
    }
}

/// One line of the journal whose subject is a scope.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScopeEntry {
    /// Its number.
    pub number: u64,
    /// When.
    pub at: Timestamp,
    /// The scope.
    pub scope: Scope,
    /// The order.
    #[serde(flatten)]
    pub event: ScopeEvent,
}

impl ScopeEntry {
    /// Makes the entry of a hold with this number.
    pub fn held(number: u64, hold: u64, new: NewHold) -> Self {
        let NewHold { at, scope, cluster_name, until, reason, by } = new;
        Self { number, at, scope, event: ScopeEvent::Held { hold, cluster_name, until, reason, by } }
    }
}

/// One line of the history.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Line<'a> {
    /// Of a task.
    Task(&'a StoredEntry),
    /// Of a scope.
    Scope(&'a ScopeEntry),
}

impl Line<'_> {
    /// Its number.
    pub fn number(self) -> u64 {
        match self {
            Self::Task(entry) => entry.number,
            Self::Scope(entry) => entry.number,
        }
    }

    /// Its place in the history.
    pub fn position(self) -> Position {
        match self {
            Self::Task(entry) => entry.into(),
            Self::Scope(entry) => entry.into(),
        }
    }
}

/// A place in the history, which is ordered by time, and lines of one time by project and number: numbers of two projects
/// say nothing about which line was first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Position {
    /// When the line was journaled.
    pub at: Timestamp,
    /// The name of its project; empty where it is of none.
    pub project: String,
    /// Its number.
    pub number: u64,
}

impl From<&StoredEntry> for Position {
    fn from(entry: &StoredEntry) -> Self {
        Self { at: entry.at, project: entry.subject.project.to_string(), number: entry.number }
    }
}

impl From<&ScopeEntry> for Position {
    fn from(entry: &ScopeEntry) -> Self {
        let project = match &entry.scope {
            Scope::Project(project) => project.to_string(),
            Scope::All | Scope::Cluster(_) => String::new(),
        };
        Self { at: entry.at, project, number: entry.number }
    }
}

/// Returns the holds of these entries, oldest first. A hold is released once; a release without a
/// hold is ignored.
pub fn fold(entries: impl IntoIterator<Item = ScopeEntry>) -> Vec<StoredHold> {
    let mut holds: BTreeMap<u64, StoredHold> = BTreeMap::new();
    for ScopeEntry { at, scope, event, .. } in entries {
        match event {
            ScopeEvent::Held { hold, cluster_name, until, reason, by } => {
                let new = NewHold { at, scope, cluster_name, until, reason, by };
                holds.insert(hold, StoredHold::new(hold, new));
            }
            ScopeEvent::Released { hold, by } => {
                if let Some(hold) = holds.get_mut(&hold)
                    && hold.released.is_none()
                {
                    hold.released = Some((at, by));
                }
            }
        }
    }
    holds.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    #[test]
    fn a_hold_is_released_by_the_first_word_that_says_so_and_by_no_other() {
        let hold = NewHold {
            at: at(1),
            scope: Scope::All,
            cluster_name: None,
            until: None,
            reason: "maintenance".to_owned(),
            by: "uid 0".to_owned(),
        };
        let released = |number, hold, by: &str| ScopeEntry {
            number,
            at: at(number.cast_signed()),
            scope: Scope::All,
            event: ScopeEvent::Released { hold, by: by.to_owned() },
        };
        let entries = [
            ScopeEntry::held(2, 3, hold.clone()),
            released(4, 2, "nobody"),
            released(7, 3, "uid 1"),
            released(9, 3, "uid 2"),
        ];
        let expected = StoredHold { released: Some((at(7), "uid 1".to_owned())), ..StoredHold::new(3, hold) };
        assert_eq!(fold(entries.clone()), [expected]);
        for entry in entries {
            let text = serde_json::to_string(&entry).unwrap();
            assert_eq!(serde_json::from_str::<ScopeEntry>(&text).unwrap(), entry);
            let event = serde_json::to_value(&entry.event).unwrap();
            assert_eq!(event["event"], entry.event.word());
            assert!(ScopeEvent::WORDS.contains(&entry.event.word()));
        }
    }
}
