//! What a reload changed, for people.

use std::collections::BTreeMap;

use crate::configuration::{Effective, Loaded};

/// Keys that are read at the start only.
const AT_START: [&str; 3] = ["journal.url", "control.socket", "log.format"];

/// Returns one line for each key with another value in force.
pub(super) fn changes(before: &Loaded, after: &Loaded) -> Vec<String> {
    let (before, after) = (values(before), values(after));
    let keys = before.keys().chain(after.keys().filter(|key| !before.contains_key(*key)));
    keys.filter_map(|key| {
        let line = match (before.get(key), after.get(key)) {
            (Some(old), Some(new)) if old.value == new.value => return None,
            (Some(old), Some(new)) => format!("{key}: {} → {} ({})", old.value, new.value, new.origin),
            (Some(old), None) => format!("{key}: {} → gone", old.value),
            (None, new) => {
                let (value, origin) = new.map(|new| (new.value.to_string(), new.origin.clone()))?;
                format!("{key}: new, {value} ({origin})")
            }
        };
        let waits = AT_START.contains(&key.as_str());
        Some(if waits { format!("{line}; takes effect at the next start") } else { line })
    })
    .collect()
}

fn values(loaded: &Loaded) -> BTreeMap<String, Effective> {
    loaded.effective().into_iter().map(|value| (value.key.clone(), value)).collect()
}
