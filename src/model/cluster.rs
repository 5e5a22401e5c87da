//! A cluster as the list of clusters shows it.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::id::ClusterId;
use super::setup::Nodes;

/// One entry of the list of clusters (`GET /v1.0/{project_id}/clusters`): the fields that policies
/// match on, and names for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cluster {
    /// The cluster's id.
    pub id: ClusterId,
    /// The name its owner gave it; not unique. Empty where the API gave none.
    pub name: String,
    /// The engine in lower case: `elasticsearch`, `opensearch`, `logstash`. Empty where the API gave none.
    pub engine: Arc<str>,
    /// The engine's version, such as `7.10.2`. Empty where the API gave none.
    pub version: Arc<str>,
    /// The operations that run on it, by the API's words; never the signal for an upgrade (no
    /// source says which words).
    pub actions: Vec<String>,
    /// Its tags.
    pub tags: Tags,
    /// Its nodes, as far as the list shows them: for reports.
    pub nodes: Nodes,
    /// A number that changes when the rest of the state in the list changes.
    pub state: u64,
}

/// Engines whose clusters have neither upgrade nor AZ-switchover tasks.
const WITHOUT_TASKS: [&str; 1] = ["logstash"];

impl Cluster {
    /// Returns whether its engine has tasks at all.
    pub fn may_have_tasks(&self) -> bool {
        !WITHOUT_TASKS.contains(&&*self.engine)
    }

    /// Makes a cluster that no list has shown yet, from the journal.
    pub fn recalled(id: ClusterId, name: String, traits: Traits) -> Self {
        let Traits { engine, version, tags } = traits;
        Self {
            id,
            name,
            engine: engine.into(),
            version: version.into(),
            actions: Vec::new(),
            tags,
            nodes: Nodes::default(),
            state: 0,
        }
    }

    /// What policies match on, beside the names.
    pub fn traits(&self) -> Traits {
        Traits { engine: (*self.engine).into(), version: (*self.version).into(), tags: self.tags.clone() }
    }
}

/// What policies match on, beside the names of the cluster and its project.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traits {
    /// As [`Cluster::engine`].
    pub engine: Box<str>,
    /// As [`Cluster::version`].
    pub version: Box<str>,
    /// As [`Cluster::tags`].
    pub tags: Tags,
}

/// The tags of a cluster, by their keys. A list and not a map, and shared: there are few, and of many clusters.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Tags(Arc<[(Box<str>, Box<str>)]>);

impl Tags {
    /// The value of a tag.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.iter().find(|(known, _)| *known == key).map(|(_, value)| value)
    }

    /// All of them, sorted by their keys.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (&**key, &**value))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Serialize for Tags {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<'de> Deserialize<'de> for Tags {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        BTreeMap::<Box<str>, Box<str>>::deserialize(deserializer).map(Self::from_iter)
    }
}

impl<K: Into<Box<str>>, V: Into<Box<str>>> FromIterator<(K, V)> for Tags {
    /// If a key is given twice, the last value counts.
    fn from_iter<I: IntoIterator<Item = (K, V)>>(tags: I) -> Self {
        let tags: BTreeMap<Box<str>, Box<str>> =
            tags.into_iter().map(|(key, value)| (key.into(), value.into())).collect();
        Self(tags.into_iter().collect())
    }
}

impl<K: Into<Box<str>>, V: Into<Box<str>>, const N: usize> From<[(K, V); N]> for Tags {
    fn from(tags: [(K, V); N]) -> Self {
        tags.into_iter().collect()
    }
}

/// The clusters of one project as one discovery found them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClusterList {
    /// The clusters, without those whose id could not stand in a URL.
    pub clusters: Vec<Arc<Cluster>>,
    /// Entries without a usable id, as shown texts.
    pub unusable: Vec<String>,
    /// The number of clusters, by the API.
    pub total_size: Option<u64>,
}

impl ClusterList {
    /// Returns whether the list shows every cluster of the project. Without a number from the API
    /// it does not.
    pub fn is_complete(&self) -> bool {
        self.total_size.is_some_and(|total| (self.clusters.len() + self.unusable.len()) as u64 >= total)
    }
}
