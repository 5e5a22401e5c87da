//! How a task and its cluster are set up: journaled when the task is first seen and with each
//! failure, for reports. No decision depends on it, and all of it may be missing.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A task's own part takes no more than this, in characters of JSON.
const TASK_LIMIT: usize = 250;
/// No text of it is longer, in characters.
const TEXT_LIMIT: usize = 48;
/// The largest number of different groups of nodes.
const MOST_GROUPS: usize = 4;

/// The purpose of a task, as the API shows it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Setup {
    /// The id of the target image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<Box<str>>,
    /// The image's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_name: Option<Box<str>>,
    /// The engine after it, in lower case. The traits of the cluster have the one before it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub engine: Option<Box<str>>,
    /// The version after it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<Box<str>>,
    /// How many nodes it works on at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch_size: Option<u64>,
    /// The zone that an AZ switchover leaves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub az_from: Option<Box<str>>,
    /// The zones that it goes to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub az_to: Option<Box<str>>,
}

impl Setup {
    /// Returns the same in so little room that it can be kept for each task: long texts are cut,
    /// and then texts for people are dropped before those that identify it.
    #[must_use]
    pub fn bounded(mut self) -> Self {
        for text in [
            &mut self.image,
            &mut self.image_name,
            &mut self.engine,
            &mut self.version,
            &mut self.az_from,
            &mut self.az_to,
        ] {
            *text = text.take().filter(|text| !text.trim().is_empty()).map(|text| cut(&text));
        }
        if self.length() > TASK_LIMIT {
            self.image_name = None;
        }
        if self.length() > TASK_LIMIT {
            (self.az_from, self.az_to) = (None, None);
        }
        self
    }

    fn length(&self) -> usize {
        serde_json::to_string(self).map_or(usize::MAX, |text| text.len())
    }
}

/// Nodes of a cluster that are alike: as a list `[count, role, flavour, zone]` in JSON.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "(u32, Box<str>, Box<str>, Box<str>)", into = "(u32, Box<str>, Box<str>, Box<str>)")]
pub struct NodeGroup {
    /// What they are: `ess`, `ess-master`, …
    pub role: Box<str>,
    /// Their flavour; empty if unknown, or if they have several.
    pub flavour: Box<str>,
    /// Their zone; empty in the same cases.
    pub zone: Box<str>,
    /// Their number.
    pub count: u32,
}

impl From<(u32, Box<str>, Box<str>, Box<str>)> for NodeGroup {
    fn from((count, role, flavour, zone): (u32, Box<str>, Box<str>, Box<str>)) -> Self {
        Self { role, flavour, zone, count }
    }
}

impl From<NodeGroup> for (u32, Box<str>, Box<str>, Box<str>) {
    fn from(NodeGroup { role, flavour, zone, count }: NodeGroup) -> Self {
        (count, role, flavour, zone)
    }
}

/// The nodes of a cluster. Shared: most clusters have the same few kinds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "Vec<NodeGroup>", into = "Vec<NodeGroup>")]
pub struct Nodes(Arc<[NodeGroup]>);

impl Nodes {
    /// Groups nodes: role, flavour, zone. If there are too many groups, zones and then flavours are
    /// dropped; the count of each role stays.
    pub fn of<'a>(nodes: impl IntoIterator<Item = (&'a str, &'a str, &'a str)>) -> Self {
        let mut groups = Vec::new();
        for (role, flavour, zone) in nodes {
            add(&mut groups, NodeGroup { role: cut(role), flavour: cut(flavour), zone: cut(zone), count: 1 });
        }
        for without in [without_zone, NodeGroup::role_alone] {
            if groups.len() > MOST_GROUPS {
                let mut fewer = Vec::new();
                for group in groups {
                    add(&mut fewer, without(group));
                }
                groups = fewer;
            }
        }
        groups.truncate(2 * MOST_GROUPS);
        groups.sort();
        Self(groups.into())
    }

    /// The groups.
    pub fn iter(&self) -> impl Iterator<Item = &NodeGroup> {
        self.0.iter()
    }

    /// Returns whether no node is known.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the role of a node with this name, which the API makes of the cluster's name, the
    /// role and a number.
    pub fn role_of(&self, node: &str) -> Option<&str> {
        let named = |group: &&NodeGroup| node.contains(&format!("-{}-esn-", group.role));
        self.iter().filter(named).map(|group| &*group.role).max_by_key(|role| role.len())
    }

    /// Returns the zone of all nodes of this role, if all are in one.
    pub fn zone_of(&self, role: &str) -> Option<&str> {
        let mut zones = self.iter().filter(|group| &*group.role == role).map(|group| &*group.zone);
        let first = zones.next().filter(|zone| !zone.is_empty())?;
        zones.all(|zone| zone == first).then_some(first)
    }
}

impl NodeGroup {
    fn role_alone(self) -> Self {
        Self { flavour: "".into(), zone: "".into(), ..self }
    }
}

fn without_zone(group: NodeGroup) -> NodeGroup {
    NodeGroup { zone: "".into(), ..group }
}

fn add(groups: &mut Vec<NodeGroup>, group: NodeGroup) {
    let is_alike = |known: &&mut NodeGroup| {
        (&known.role, &known.flavour, &known.zone) == (&group.role, &group.flavour, &group.zone)
    };
    match groups.iter_mut().find(is_alike) {
        Some(known) => known.count = known.count.saturating_add(group.count),
        None => groups.push(group),
    }
}

impl From<Vec<NodeGroup>> for Nodes {
    fn from(groups: Vec<NodeGroup>) -> Self {
        Self(groups.into())
    }
}

impl From<Nodes> for Vec<NodeGroup> {
    fn from(nodes: Nodes) -> Self {
        nodes.0.to_vec()
    }
}

/// Where a task failed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Place {
    /// The number of the step that failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<i64>,
    /// The role of the node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<Box<str>>,
    /// The zone, if all nodes of this role are in one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone: Option<Box<str>>,
}

impl Place {
    /// Makes the place from this node of such a cluster, and the step with this number.
    pub fn of(step: Option<i64>, node: &str, nodes: &Nodes) -> Self {
        let role = nodes.role_of(node);
        Self {
            step,
            role: role.map(Into::into),
            zone: role.and_then(|role| nodes.zone_of(role)).map(Into::into),
        }
    }

    /// Returns whether nothing is known of it.
    pub fn is_unknown(&self) -> bool {
        *self == Self::default()
    }
}

fn cut(text: &str) -> Box<str> {
    text.chars().filter(|c| !c.is_control()).take(TEXT_LIMIT).collect::<String>().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_of_a_task_stays_small_whatever_the_service_says() {
        let long = || Some("ü\"".repeat(500).into());
        let setup = Setup {
            image: long(),
            image_name: long(),
            engine: long(),
            version: long(),
            batch_size: Some(u64::MAX),
            az_from: long(),
            az_to: long(),
        };
        let usual = Setup {
            image: Some("439b5d30-5968-45df-b088-d030a858522d".into()),
            image_name: Some("7.10.2_24.3.0_0827".into()),
            engine: Some("elasticsearch".into()),
            version: Some("7.10.2".into()),
            batch_size: Some(1),
            ..Setup::default()
        };
        assert_eq!(usual.clone().bounded(), usual, "nothing of a usual one is left out");
        let nodes = Nodes::of([
            ("ess", "ess.spec-4u8g", "cn-north-4a"),
            ("ess-master", "ess.spec-4u8g", "cn-north-4b"),
        ]);
        let length = |value: &str| value.len();
        let whole =
            length(&serde_json::to_string(&usual).unwrap()) + length(&serde_json::to_string(&nodes).unwrap());
        assert!(whole <= 400, "{whole}");
        let cut = setup.bounded();
        assert!(cut.length() <= 2 * TASK_LIMIT && cut.image.is_some(), "{}", cut.length());
    }

    #[test]
    fn nodes_are_counted_by_role_however_many_kinds_there_are() {
        let zones: Vec<String> = (0..9).map(|zone| format!("az-{zone}")).collect();
        let data = zones.iter().map(|zone| ("ess", "big", zone.as_str()));
        let nodes = Nodes::of(data.chain([("ess-master", "small", "az-1")]));
        let groups: Vec<_> = nodes.iter().map(|group| (&*group.role, group.count, &*group.zone)).collect();
        assert_eq!(groups, [("ess", 9, ""), ("ess-master", 1, "")]);
        let text = serde_json::to_string(&nodes).unwrap();
        assert_eq!(text, r#"[[9,"ess","big",""],[1,"ess-master","small",""]]"#);
        assert_eq!(serde_json::from_str::<Nodes>(&text).unwrap(), nodes);
    }

    #[test]
    fn a_node_is_placed_by_its_name_and_by_the_zones_of_its_role() {
        let nodes = Nodes::of([
            ("ess", "big", "az-1"),
            ("ess", "big", "az-1"),
            ("ess-master", "small", "az-1"),
            ("ess-master", "small", "az-2"),
        ]);
        let place = |node| Place::of(Some(0), node, &nodes);
        assert_eq!(
            place("logs-ess-esn-2-1"),
            Place { step: Some(0), role: Some("ess".into()), zone: Some("az-1".into()) }
        );
        assert_eq!(
            place("logs-ess-master-esn-1-1"),
            Place { step: Some(0), role: Some("ess-master".into()), zone: None }
        );
        assert_eq!(place("else"), Place { step: Some(0), role: None, zone: None });
        assert!(Place::of(None, "", &Nodes::default()).is_unknown());
    }
}
