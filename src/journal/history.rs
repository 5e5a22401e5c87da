//! The history in parts, with the names of its clusters: for `history`, which may be asked for years of it.

use std::collections::{BTreeMap, BTreeSet};

use thiserror::Error;

use super::error::JournalError;
use super::reader::{JournalReader, Query};
use crate::model::event::StoredEntry;
use crate::model::id::ClusterId;
use crate::model::text::shown;

/// No part has more entries.
const PART: u32 = 2_000;

/// A part of the history.
#[derive(Debug, Clone, PartialEq)]
pub struct History {
    /// Its entries, in order.
    pub entries: Vec<StoredEntry>,
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
    #[error("the journal knows no cluster {:?}", shown(name, 80))]
    UnknownCluster { name: String },
    /// Which is meant cannot be told.
    #[error("several clusters are named {:?}; give one of their ids: {}", shown(name, 80), ids.join(", "))]
    SeveralClusters { name: String, ids: Vec<String> },
}

impl History {
    /// The first part of what is asked for. Blocks.
    ///
    /// # Errors
    /// Where the journal cannot be read, or the cluster that is asked for cannot be told.
    pub fn read(reader: &JournalReader, query: &Query) -> Result<Self, HistoryError> {
        if let Some(name) = &query.cluster {
            let known = reader.clusters()?;
            let mut ids: Vec<String> =
                known.iter().filter(|known| known.name == *name).map(|known| known.id.to_string()).collect();
            ids.sort();
            ids.dedup();
            if ids.len() > 1 {
                return Err(HistoryError::SeveralClusters { name: name.clone(), ids });
            }
            if ids.is_empty() && !known.iter().any(|known| known.id.as_str() == name) {
                return Err(HistoryError::UnknownCluster { name: name.clone() });
            }
        }
        let entries = reader.entries(&Query { at_most: Some(PART), ..query.clone() })?;
        let more = entries.len() == PART as usize;
        let clusters: BTreeSet<_> =
            entries.iter().map(|entry| (&entry.subject.project, &entry.subject.cluster)).collect();
        let names = reader.cluster_names(&clusters)?;
        Ok(Self { entries, names, more })
    }
}
