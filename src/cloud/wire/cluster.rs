//! One cluster, from a list or alone.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::lenient::{List, Loose, Object};
use crate::model::cluster::{Cluster, Tags};
use crate::model::id::ClusterId;
use crate::model::setup::Nodes;

/// The fields that are read.
#[derive(Deserialize)]
pub(super) struct Element<'a> {
    #[serde(borrow, default)]
    id: Loose<'a>,
    #[serde(borrow, default)]
    name: Loose<'a>,
    #[serde(borrow, default)]
    datastore: Object<Datastore<'a>>,
    #[serde(borrow, default)]
    actions: List<'a>,
    #[serde(borrow, default)]
    tags: List<'a>,
    #[serde(borrow, default)]
    instances: List<'a>,
    #[serde(borrow, default)]
    status: Loose<'a>,
    #[serde(borrow, default)]
    updated: Loose<'a>,
    #[serde(borrow, default, rename = "actionProgress")]
    progress: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "failedReason")]
    failure: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Datastore<'a> {
    #[serde(borrow, default, rename = "type")]
    engine: Loose<'a>,
    #[serde(borrow, default)]
    version: Loose<'a>,
}

/// One node.
#[derive(Deserialize)]
struct Instance<'a> {
    #[serde(borrow, default, rename = "type")]
    role: Loose<'a>,
    #[serde(borrow, default, rename = "specCode")]
    flavour: Loose<'a>,
    #[serde(borrow, default, rename = "azCode")]
    zone: Loose<'a>,
}

#[derive(Deserialize)]
struct Tag<'a> {
    #[serde(borrow, default)]
    key: Loose<'a>,
    #[serde(borrow, default)]
    value: Loose<'a>,
}

/// Values that many clusters have in common, kept once: ten thousand of them have two engines and
/// ten versions.
#[derive(Default)]
pub(super) struct Shared {
    texts: HashSet<Arc<str>>,
    tags: HashSet<Tags>,
    nodes: HashSet<Nodes>,
}

impl Shared {
    fn text(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.texts.get(text) {
            return Arc::clone(known);
        }
        let text: Arc<str> = text.into();
        self.texts.insert(Arc::clone(&text));
        text
    }

    fn nodes(&mut self, nodes: Nodes) -> Nodes {
        if let Some(known) = self.nodes.get(&nodes) {
            return known.clone();
        }
        self.nodes.insert(nodes.clone());
        nodes
    }

    fn tags(&mut self, tags: Tags) -> Tags {
        if let Some(known) = self.tags.get(&tags) {
            return known.clone();
        }
        self.tags.insert(tags.clone());
        tags
    }
}

/// Reads it, or says why it cannot be used.
pub(super) fn read(text: &str, shared: &mut Shared) -> Result<Cluster, String> {
    if !text.starts_with('{') {
        return Err("not an object".to_owned());
    }
    let element: Element<'_> =
        serde_json::from_str(text).map_err(|_| "JSON that contradicts itself".to_owned())?;
    model(&element, shared)
}

/// Returns the cluster, or why it cannot be used.
pub(super) fn model(element: &Element<'_>, shared: &mut Shared) -> Result<Cluster, String> {
    let Loose::Text(id) = &element.id else { return Err(format!("its id is {}", element.id.kind())) };
    let id = ClusterId::new(id).map_err(|error| error.to_string())?;
    let datastore = element.datastore.0.as_ref();
    let text = |field: Option<&Loose<'_>>| field.map(Loose::text_or_empty).unwrap_or_default();
    let engine = text(datastore.map(|datastore| &datastore.engine)).to_ascii_lowercase();
    let version = text(datastore.map(|datastore| &datastore.version));
    Ok(Cluster {
        id,
        name: element.name.text_or_empty(),
        engine: shared.text(&engine),
        version: shared.text(&version),
        actions: element.actions.names().unwrap_or_default(),
        tags: shared.tags(tags(element.tags)),
        nodes: shared.nodes(nodes(element.instances)),
        state: state(element),
    })
}

/// Returns a number that changes with its other fields. Any hash will do: it is neither secret nor
/// kept.
fn state(element: &Element<'_>) -> u64 {
    let mut hasher = DefaultHasher::new();
    for field in [&element.status, &element.updated] {
        field.text().hash(&mut hasher);
    }
    for field in [element.progress, element.failure] {
        field.map(RawValue::get).hash(&mut hasher);
    }
    hasher.finish()
}

/// For reports alone: unreadable parts are dropped.
fn nodes(list: List<'_>) -> Nodes {
    let elements = list.elements().unwrap_or_default();
    let read = elements.into_iter().map(|raw| serde_json::from_str::<Object<Instance<'_>>>(raw.get()));
    let instances: Vec<Instance<'_>> = read.filter_map(|object| object.ok()?.0).collect();
    let texts = instances.iter().filter_map(|instance| {
        let text = |field: &Loose<'_>| field.text_or_empty();
        let role = instance.role.filled()?.into_owned();
        Some((role, text(&instance.flavour), text(&instance.zone)))
    });
    let texts: Vec<_> = texts.collect();
    Nodes::of(texts.iter().map(|(role, flavour, zone)| (role.as_str(), flavour.as_str(), zone.as_str())))
}

fn tags(list: List<'_>) -> Tags {
    let tag = |text: &str| {
        let tag: Object<Tag<'_>> = serde_json::from_str(text).ok()?;
        let tag = tag.0?;
        Some((tag.key.filled()?.into_owned(), tag.value.text_or_empty()))
    };
    list.elements().unwrap_or_default().into_iter().filter_map(|raw| tag(raw.get())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Cluster, String> {
        super::read(text, &mut Shared::default())
    }

    #[test]
    fn the_published_sample_is_read() {
        let cluster = read(
            r#"{"datastore":{"type":"elasticsearch","version":"7.10.2","subVersion":"7.10.2_24.3.0_0827"},
                "instances":[{"status":"200","type":"ess"}],"publicKibanaResp":null,"updated":"2023-10-09T02:07:13",
                "name":"css-8bc5","status":"200","actions":[],"actionProgress":{},"period":true,
                "id":"ea244205-d641-45d9-9dcb-ab2236bcd07e","tags":[{"key":"team","value":"search"}]}"#,
        )
        .unwrap();
        assert_eq!(cluster.id.as_str(), "ea244205-d641-45d9-9dcb-ab2236bcd07e");
        assert_eq!((cluster.name.as_str(), &*cluster.engine), ("css-8bc5", "elasticsearch"));
        assert_eq!(&*cluster.version, "7.10.2");
        assert_eq!(cluster.tags, [("team", "search")].into());
        assert!(cluster.actions.is_empty());
        let nodes: Vec<_> = cluster.nodes.iter().map(|group| (group.count, &*group.role)).collect();
        assert_eq!(nodes, [(1, "ess")]);
    }

    #[test]
    fn whatever_varies_is_taken() {
        for (fields, check) in [
            (
                r#""name":null,"datastore":null,"actions":null,"tags":null"#,
                (|c| c.name.is_empty() && c.engine.is_empty()) as fn(&Cluster) -> bool,
            ),
            (r#""instances":{"id":"x"},"name":7"#, |c| c.name == "7"),
            (r#""datastore":{"type":"OpenSearch","version":2}"#, |c| {
                &*c.engine == "opensearch" && &*c.version == "2"
            }),
            (r#""datastore":"elasticsearch""#, |c| c.engine.is_empty()),
            (r#""datastore":{"type":null}"#, |c| c.engine.is_empty()),
            (r#""actions":["REBOOTING","SOMETHING-NEW"]"#, |c| c.actions == ["REBOOTING", "SOMETHING-NEW"]),
            (r#""actions":"GROWING""#, |c| c.actions == ["GROWING"]),
            (r#""tags":[{"key":"a","value":null},{"key":null},7,{"key":"b","value":1}]"#, |c| {
                c.tags.iter().eq([("a", ""), ("b", "1")])
            }),
            (r#""tags":{"key":"a","value":"b"}"#, |c| c.tags.get("a") == Some("b")),
            (r#""tags":7,"unknown":{"deep":[1]}"#, |c| c.tags.is_empty()),
        ] {
            let cluster = read(&format!(r#"{{"id":"c-1",{fields}}}"#)).unwrap();
            assert!(check(&cluster), "{fields}: {cluster:?}");
        }
    }

    #[test]
    fn whatever_shows_that_something_happens_to_it_changes_its_state_and_nothing_else_does() {
        let state = |fields: &str| read(&format!(r#"{{"id":"c-1","status":"200"{fields}}}"#)).unwrap().state;
        let quiet = state("");
        assert_eq!(state(r#","endpoint":"10.0.0.1:9200","bandwidthSize":5"#), quiet);
        assert_eq!(state(r#","failedReason":null"#), quiet);
        for fields in [
            r#","updated":"2026-01-02T03:04:05""#,
            r#","actionProgress":{"UPGRADING":"40%"}"#,
            r#","failedReason":{"errorCode":"CSS.6001"}"#,
        ] {
            assert_ne!(state(fields), quiet, "{fields}");
        }
        assert_ne!(read(r#"{"id":"c-1","status":"303"}"#).unwrap().state, quiet);
    }

    #[test]
    fn what_clusters_have_in_common_is_kept_once() {
        let mut shared = Shared::default();
        let mut read = |id: &str| {
            let tags = r#"[{"key":"team","value":"search"}]"#;
            let json =
                format!(r#"{{"id":"{id}","datastore":{{"type":"opensearch","version":"2"}},"tags":{tags}}}"#);
            super::read(&json, &mut shared).unwrap()
        };
        let (one, other) = (read("a"), read("b"));
        assert!(Arc::ptr_eq(&one.engine, &other.engine) && Arc::ptr_eq(&one.version, &other.version));
        assert!(std::ptr::eq(one.tags.iter().next().unwrap().0, other.tags.iter().next().unwrap().0));
    }

    #[test]
    fn a_cluster_without_a_usable_id_is_none() {
        for json in [r#"{"name":"x"}"#, r#"{"id":"../x"}"#, r#"{"id":7}"#, r#"{"id":["x"]}"#, r#"["x"]"#, "7"]
        {
            assert!(read(json).is_err(), "{json}");
        }
    }
}
