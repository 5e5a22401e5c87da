//! The history in parts, with the names of its clusters: for `history`, which may be asked for years of it.

use std::collections::{BTreeMap, BTreeSet};

use thiserror::Error;

use super::error::JournalError;
use super::location::Reader;
use super::query::{KnownCluster, Part, Query};
use crate::model::event::StoredEntry;
use crate::model::id::{ClusterId, ProjectName};
use crate::model::scope_entry::{Line, Position, ScopeEntry};
use crate::model::text::{did_you_mean, nearest, shown};

/// No part has more entries.
const PART: u32 = 2_000;

/// A part of the history.
#[derive(Debug, Clone, PartialEq)]
pub struct History {
    /// Its entries that are of tasks, in order.
    pub entries: Vec<StoredEntry>,
    /// Those that are of scopes, in order.
    pub scopes: Vec<ScopeEntry>,
    /// The names of its clusters.
    pub names: BTreeMap<ClusterId, String>,
    /// There is more after the last of them.
    pub more: bool,
}

/// Why there is none.
#[derive(Debug, Error)]
#[expect(missing_docs, reason = "the variants' docs and messages tell their fields")]
pub enum HistoryError {
    /// The journal cannot be read.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// No task of such a cluster stands in it.
    #[error("the journal knows no cluster {:?}{}", shown(name, 80), did_you_mean(nearest.as_deref()))]
    UnknownCluster { name: String, nearest: Option<String> },
    /// Which is meant cannot be told.
    #[error("several clusters are named {:?}; give one of their ids: {}", shown(name, 80), ids.join(", "))]
    SeveralClusters { name: String, ids: Vec<String> },
}

impl History {
    /// The first part of what is asked for, after this place. Blocks.
    ///
    /// # Errors
    /// Where the journal cannot be read, or the cluster that is asked for cannot be told.
    pub fn read(reader: &Reader, query: &Query, past: Option<&Position>) -> Result<Self, HistoryError> {
        let meant = match &query.cluster {
            Some(name) => Some(find(name, reader.clusters()?)?),
            None => None,
        };
        let entries = reader.entries(&part(query, past.cloned()))?;
        let scopes = scopes_of(reader.scopes()?, query, past, meant.as_deref());
        let names = reader.cluster_names(&clusters(&entries))?;
        Ok(Self::new(entries, scopes, names))
    }

    /// Of these entries, which were asked for as a [`part`], and all that was said of scopes after its beginning.
    pub(super) fn new(
        mut entries: Vec<StoredEntry>,
        mut scopes: Vec<ScopeEntry>,
        names: BTreeMap<ClusterId, String>,
    ) -> Self {
        let mut positions: Vec<Position> = entries.iter().map(Position::from).collect();
        positions.extend(scopes.iter().map(Position::from));
        positions.sort_unstable();
        let more = positions.len() >= PART as usize;
        if let Some(last) = positions.get(PART as usize - 1) {
            entries.retain(|entry| Position::from(entry) <= *last);
            scopes.retain(|entry| Position::from(entry) <= *last);
        }
        Self { entries, scopes, names, more }
    }

    /// All its lines, in order.
    pub fn lines(&self) -> Vec<Line<'_>> {
        let mut lines: Vec<Line<'_>> = self.entries.iter().map(Line::Task).collect();
        lines.extend(self.scopes.iter().map(Line::Scope));
        lines.sort_by_cached_key(|line| line.position());
        lines
    }
}

/// Those that are asked for, after this place: with the clusters that are meant, what covers one of them.
pub(super) fn scopes_of(
    scopes: Vec<ScopeEntry>,
    query: &Query,
    past: Option<&Position>,
    meant: Option<&[KnownCluster]>,
) -> Vec<ScopeEntry> {
    let covers = |entry: &ScopeEntry, known: &KnownCluster| entry.scope.covers(&known.project, &known.id);
    let wanted = |entry: &ScopeEntry| {
        query.since.is_none_or(|since| entry.at >= since)
            && past.is_none_or(|past| Position::from(entry) > *past)
            && meant.is_none_or(|meant| meant.iter().any(|known| covers(entry, known)))
    };
    scopes.into_iter().filter(wanted).collect()
}

/// The first part of what is asked for, after this place.
pub(super) fn part(query: &Query, past: Option<Position>) -> Query {
    Query { at_most: Some(PART), part: Part::History(past), ..query.clone() }
}

/// The clusters of these entries.
pub(super) fn clusters(entries: &[StoredEntry]) -> BTreeSet<(ProjectName, ClusterId)> {
    let of = |entry: &StoredEntry| (entry.subject.project.clone(), entry.subject.cluster.clone());
    entries.iter().map(of).collect()
}

/// The cluster that is meant, as each project knows it; or that it cannot be told.
pub(super) fn find(name: &str, known: Vec<KnownCluster>) -> Result<Vec<KnownCluster>, HistoryError> {
    let mut ids: Vec<String> =
        known.iter().filter(|known| known.name == *name).map(|known| known.id.to_string()).collect();
    ids.sort();
    ids.dedup();
    if ids.len() > 1 {
        return Err(HistoryError::SeveralClusters { name: name.to_owned(), ids });
    }
    if !known.iter().any(|known| is_meant(name, known)) {
        let nearest = nearest(name, known.iter().map(|known| known.name.as_str())).map(str::to_owned);
        return Err(HistoryError::UnknownCluster { name: name.to_owned(), nearest });
    }
    Ok(known.into_iter().filter(|known| is_meant(name, known)).collect())
}

/// Whether this text names it: by its id or by its name.
pub(super) fn is_meant(text: &str, known: &KnownCluster) -> bool {
    known.name == *text || known.id.as_str() == text
}
