//! What is in force, for reports: enough to say of any time how often, by which limits and in which mode it was acted.

use serde_json::{Map, Value, json};

use crate::configuration::Loaded;

/// The sections that say so.
const SECTIONS: [&str; 3] = ["poll.", "limits.", "breaker."];

/// What this configuration and this version put in force, in JSON. No secret can stand in any of it.
pub(super) fn of(loaded: &Loaded) -> Value {
    let effective = loaded.effective();
    let wanted = |key: &str| SECTIONS.iter().any(|section| key.starts_with(section));
    let of_them = effective.into_iter().filter(|value| wanted(&value.key));
    let configuration: Map<String, Value> = of_them.map(|value| (value.key, value.value)).collect();
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "mode": loaded.configuration.mode.word(),
        "hash": loaded.hash(),
        "configuration": configuration,
    })
}
