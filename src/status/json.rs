//! Journaled entries as JSON for programs: durations are seconds, and the names of the API's times
//! say that they have no zone.

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::model::event::StoredEntry;
use crate::model::hold::Scope;
use crate::model::scope_entry::{Line, ScopeEntry};

/// Returns an entry of the journal as `history --json` and the JSON API show it.
pub fn entry(entry: &StoredEntry) -> Value {
    json!({
        "number": entry.number,
        "at": entry.at,
        "project": entry.subject.project,
        "cluster": entry.subject.cluster,
        "task": entry.subject.task,
        "words": entry.event.words(entry.number),
        "event": plain(&entry.event),
    })
}

/// A line of the history as JSON.
pub fn line(line: Line<'_>) -> Value {
    match line {
        Line::Task(one) => entry(one),
        Line::Scope(one) => scope(one),
    }
}

/// Returns the same for an entry of a scope: it has no task, and a project or a cluster only if the
/// scope is one.
fn scope(entry: &ScopeEntry) -> Value {
    let (project, cluster) = match &entry.scope {
        Scope::All => (None, None),
        Scope::Project(name) => (Some(name), None),
        Scope::Cluster(id) => (None, Some(id)),
    };
    json!({
        "number": entry.number,
        "at": entry.at,
        "project": project,
        "cluster": cluster,
        "task": null,
        "scope": entry.scope,
        "words": entry.event.to_string(),
        "event": plain(&entry.event),
    })
}

/// Returns a value as JSON: the key of a duration ends in `_seconds`, and it is a number; the key
/// of a time of the API, which has no zone, ends in `_api_time`.
pub fn plain(value: &impl Serialize) -> Value {
    serde_json::to_value(value).map_or(Value::Null, renamed)
}

fn renamed(value: Value) -> Value {
    match value {
        Value::Array(all) => Value::Array(all.into_iter().map(renamed).collect()),
        Value::Object(all) => Value::Object(all.into_iter().map(|(key, value)| field(key, value)).collect()),
        other => other,
    }
}

fn field(key: String, value: Value) -> (String, Value) {
    match key.as_str() {
        "start_time" | "end_time" => (key.replace("_time", "_api_time"), value),
        _ => match value.as_object().and_then(seconds) {
            Some(seconds) => (format!("{key}_seconds"), json!(seconds)),
            None => (key, renamed(value)),
        },
    }
}

/// A duration as `serde` writes it.
fn seconds(value: &Map<String, Value>) -> Option<f64> {
    let (secs, nanos) = (value.get("secs")?.as_u64()?, value.get("nanos")?.as_u64()?);
    let nanos = u32::try_from(nanos).ok().filter(|_| value.len() == 2)?;
    Some(std::time::Duration::new(secs, nanos).as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_seconds_and_times_of_the_api_say_so() {
        let given = json!({
            "wait": { "secs": 90, "nanos": 500_000_000 },
            "shape": { "end_time": "2026-11-25T06:57:40" },
            "all": [{ "within": { "secs": 600, "nanos": 0 } }],
            "secs": 3,
        });
        let expected = json!({
            "wait_seconds": 90.5,
            "shape": { "end_api_time": "2026-11-25T06:57:40" },
            "all": [{ "within_seconds": 600.0 }],
            "secs": 3,
        });
        assert_eq!(plain(&given), expected);
    }
}
