//! A cluster as the list of clusters shows it.

use std::collections::BTreeMap;

use super::id::ClusterId;

/// One entry of the list of clusters (`GET /v1.0/{project_id}/clusters`): what policies match on and what
/// people know it by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cluster {
    /// The cluster's id.
    pub id: ClusterId,
    /// The name its owner gave it; not unique. Empty where the API gave none.
    pub name: String,
    /// The engine in lower case: `elasticsearch`, `opensearch`, `logstash`. Empty where the API gave none.
    pub engine: String,
    /// The engine's version, such as `7.10.2`. Empty where the API gave none.
    pub version: String,
    /// What runs on it now, by the API's words; never the signal for an upgrade (no source says which words).
    pub actions: Vec<String>,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
}

/// The clusters of one project as one discovery found them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClusterList {
    /// The clusters, without those whose id could not stand in a URL.
    pub clusters: Vec<Cluster>,
    /// Entries without a usable id, as shown texts.
    pub unusable: Vec<String>,
    /// What the API said of their number.
    pub total_size: Option<u64>,
}

impl ClusterList {
    /// Whether the list shows every cluster of the project. Where the API told no number it does not.
    pub fn is_complete(&self) -> bool {
        self.total_size.is_some_and(|total| (self.clusters.len() + self.unusable.len()) as u64 >= total)
    }
}
