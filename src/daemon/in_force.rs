//! The configuration in force, for reports: enough to know for any time the intervals, the limits
//! and the mode.

use serde_json::{Map, Value, json};

use crate::configuration::Loaded;

/// The sections of it.
const SECTIONS: [&str; 3] = ["poll.", "limits.", "breaker."];

/// Returns what this configuration and this version put in force, in JSON. It contains no secret.
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
