//! The pages of the list of clusters as they were last read. A list of ten thousand clusters is a
//! dozen megabytes of JSON that rarely changes: a page of the same bytes is not parsed again.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hasher};
use std::sync::{Arc, Mutex, PoisonError};

use super::wire::Page;
use super::wire::{self, WireError};
use crate::model::cluster::Cluster;
use crate::model::id::ClusterId;

/// The latest page at each index.
#[derive(Debug, Default)]
pub(super) struct Pages(Mutex<HashMap<Option<u64>, Known>>);

#[derive(Debug)]
struct Known {
    /// Its length and its hash.
    bytes: (usize, u64),
    clusters: Vec<Arc<Cluster>>,
    total_size: Option<u64>,
}

impl Pages {
    /// Parses the page that begins at this index.
    pub(super) fn read(
        &self,
        start: Option<u64>,
        body: &[u8],
    ) -> Result<Page<ClusterId, Arc<Cluster>>, WireError> {
        let mut hasher = DefaultHasher::new();
        hasher.write(body);
        let bytes = (body.len(), hasher.finish());
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(same) = known.get(&start).filter(|page| page.bytes == bytes) {
            let with_id = |cluster: &Arc<Cluster>| (cluster.id.clone(), Arc::clone(cluster));
            let items = same.clusters.iter().map(with_id).collect();
            return Ok(Page { items, unusable: Vec::new(), total_size: same.total_size });
        }
        known.remove(&start);
        let page = wire::clusters(body)?;
        // Unusable elements are reported each time.
        if page.unusable.is_empty() {
            let clusters = page.items.iter().map(|(_, cluster)| Arc::clone(cluster)).collect();
            known.insert(start, Known { bytes, clusters, total_size: page.total_size });
        }
        Ok(page)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_bytes_give_the_same_clusters_and_other_bytes_are_read() {
        let pages = Pages::default();
        let body = |version: &str| {
            format!(r#"{{"totalSize":1,"clusters":[{{"id":"c-1","datastore":{{"version":"{version}"}}}}]}}"#)
        };
        let read =
            |start, version: &str| pages.read(start, body(version).as_bytes()).unwrap().items.remove(0).1;
        let first = read(None, "7.6.2");
        assert!(Arc::ptr_eq(&read(None, "7.6.2"), &first));
        assert!(!Arc::ptr_eq(&read(Some(1_001), "7.6.2"), &first), "another page");
        assert_eq!(&*read(None, "7.9.3").version, "7.9.3");
        assert_eq!(read(None, "7.6.2"), first, "and back");
        assert!(pages.read(None, b"{}").is_err());
        let odd = br#"{"totalSize":2,"clusters":[{"id":"c-1"},7]}"#;
        assert_eq!(pages.read(None, odd).unwrap().unusable, pages.read(None, odd).unwrap().unusable);
    }
}
