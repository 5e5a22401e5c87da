//! What `--json` prints has the shape that `docs/json.md` shows: every key of every command, no more and no fewer. A key that
//! is new, renamed or gone fails here until the document says so.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::Value;
use upgrade_remediator::model::event::Event;

use crate::support::edited::{Edited, waiting};
use crate::support::{Bench, FAILED_ONCE, RETRIES};

/// Below these any key can stand: tags and settings by their names, and what a reason or an event tells of itself.
const OPEN: [&str; 5] = ["tags", "effective", "windows", "details", "event"];

/// Every key with the path to it; elements of a list are `[]`.
fn paths(value: &Value, at: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                let path = format!("{at}.{key}");
                found.insert(path.clone());
                if !OPEN.contains(&key.as_str()) {
                    paths(value, &path, found);
                }
            }
        }
        Value::Array(elements) => elements.iter().for_each(|value| paths(value, &format!("{at}[]"), found)),
        _ => {}
    }
}

/// The kinds of values that stand at each path; `null` beside another one means that it may be missing.
fn kinds(value: &Value, at: &str, found: &mut BTreeMap<String, BTreeSet<&'static str>>) {
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    found.entry(at.to_owned()).or_default().insert(kind);
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                let path = format!("{at}.{key}");
                if OPEN.contains(&key.as_str()) {
                    found.entry(path).or_default().insert("open");
                } else {
                    kinds(value, &path, found);
                }
            }
        }
        Value::Array(elements) => elements.iter().for_each(|value| kinds(value, &format!("{at}[]"), found)),
        _ => {}
    }
}

/// The examples of the document by their headings.
fn documented() -> BTreeMap<String, Vec<Value>> {
    let document = include_str!("../../docs/json.md");
    let mut examples: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for section in document.split("\n## ").skip(1) {
        let name = section.lines().next().unwrap().trim_matches('`').to_owned();
        let blocks = section.split("```json\n").skip(1).map(|rest| rest.split("\n```").next().unwrap());
        let parse = |text| serde_json::from_str(text).unwrap_or_else(|error| panic!("{name}: {error}"));
        let parsed = blocks.map(parse).collect();
        examples.insert(name, parsed);
    }
    examples
}

/// What the commands of one story print.
async fn real() -> BTreeMap<String, Vec<Value>> {
    let task = "[[cluster.task]]\nkind = \"upgrade\"\nstart = \"-10m\"\nend = \"-1m\"\nstatus = \"FAILED\"\n";
    // Which of two tasks with one start time is the newest is unclear: a condition.
    let unclear = format!("[[cluster]]\nname = \"unclear\"\n{task}{task}");
    let other = FAILED_ONCE.replace("node_time = \"200ms\"\n", "").replace("\"logs\"", "\"other\"");
    let quick = other.replace("\"other\"", "\"quick\"");
    let scenario = format!("{FAILED_ONCE}\n{other}\n{quick}\n{unclear}");
    // One is with an operator at once, so that there is something to give back; the other one waits, and no time passes for it.
    let escalates = Edited::of(RETRIES)
        .set("policy.name", "escalates")
        .set_toml("policy.match", "{ cluster = [\"logs\"] }")
        .set("policy.retry.max_retries", 0)
        .set("policy.on_exhausted", "escalate")
        .text();
    let quick =
        Edited::of(RETRIES).set("policy.name", "quick").set_toml("policy.match", "{ cluster = [\"quick\"] }");
    let policy = format!("{escalates}\n{}\n{}", quick.text(), waiting(RETRIES, "1h"));
    let bench = Bench::new(&scenario, &policy).await;
    // A channel that nobody listens at.
    let url = bench.folder.path().join("url");
    fs::write(&url, "http://127.0.0.1:1/").unwrap();
    fs::set_permissions(&url, fs::Permissions::from_mode(0o600)).unwrap();
    let channel = format!(
        "[[channel]]\nname = \"ops\"\ntype = \"webhook\"\nurl = {{ file = \"{}\" }}\n",
        url.display()
    );
    bench.edit("[[project]]", &format!("{channel}[notify]\ndefault = [\"ops\"]\n[[project]]"));
    let mut all: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    let mut keep = |name: &str, (code, out, err): (i32, String, String)| {
        let value =
            serde_json::from_str(&out).unwrap_or_else(|error| panic!("{name}: {code} {error} {out} {err}"));
        all.entry(name.to_owned()).or_default().push(value);
    };
    let daemon = bench.daemon();
    bench.journaled("the escalation", |event| matches!(event, Event::Escalated { .. })).await;
    bench.journaled("the wait", |event| matches!(event, Event::Decided { .. })).await;
    bench.ended(&["quick"]).await;
    let why = ["--reason", "by a test", "--json"];
    let with = |arguments: &[&'static str]| [arguments, &why].concat();
    keep("hold", bench.runs(&with(&["hold", "cluster:logs", "--for", "2h"])).await);
    keep("hold", bench.runs(&with(&["hold", "project:test"])).await);
    keep("holds", bench.runs(&["holds", "--json"]).await);
    keep("status", bench.runs(&["status", "--json"]).await);
    keep("release", bench.runs(&["release", "project:test", "--json"]).await);
    keep("release", bench.runs(&["release", "cluster:logs", "--json"]).await);
    keep("explain", bench.runs(&["explain", "logs", "--json"]).await);
    keep("explain", bench.runs(&["explain", "other", "--json"]).await);
    keep("plan", bench.runs(&["plan", "--json"]).await);
    keep("reset", bench.runs(&with(&["reset", "logs"])).await);
    keep("retry-now", bench.runs(&with(&["retry-now", "logs"])).await);
    keep("abort", bench.runs(&with(&["abort", "other", "--yes"])).await);
    keep("history", bench.runs(&["history", "--json"]).await);
    keep("check", bench.runs(&["check", "--json"]).await);
    keep("doctor", bench.runs(&["doctor", "--json"]).await);
    drop(daemon);
    keep("status", bench.runs(&["status", "--json"]).await);
    keep("explain", bench.runs(&["explain", "logs", "--json"]).await);
    bench.edit("mode = \"enforce\"", "mode = \"enforc\"");
    keep("check", bench.runs(&["check", "--json"]).await);
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_printed_is_what_the_document_shows() {
    let (documented, real) = (documented(), real().await);
    for (name, values) in &real {
        let examples = documented.get(name).unwrap_or_else(|| panic!("docs/json.md has no section {name}"));
        let all_paths = |values: &[Value]| {
            let mut found = BTreeSet::new();
            for value in values {
                paths(value, "", &mut found);
            }
            found
        };
        let (shown, printed) = (all_paths(examples), all_paths(values));
        let missing: Vec<_> = printed.difference(&shown).collect();
        let surplus: Vec<_> = shown.difference(&printed).collect();
        assert!(missing.is_empty(), "{name}: docs/json.md does not show {missing:?}");
        assert!(surplus.is_empty(), "{name}: docs/json.md shows what is not printed: {surplus:?}");

        let all_kinds = |values: &[Value]| {
            let mut found = BTreeMap::new();
            for value in values {
                kinds(value, "", &mut found);
            }
            found
        };
        let (shown, printed) = (all_kinds(examples), all_kinds(values));
        for (path, printed) in printed {
            let Some(shown) = shown.get(&path) else { continue };
            let other: Vec<_> = printed.difference(shown).filter(|kind| **kind != "null").collect();
            assert!(
                other.is_empty() || *shown == BTreeSet::from(["null"]),
                "{name}{path}: {shown:?}, and now {other:?}"
            );
        }
    }
    // The demo's are compared where it is run, in tests/binary/cli.rs.
    let sections: BTreeSet<&String> = documented.keys().collect();
    let known: BTreeSet<String> = real.keys().cloned().chain(["demo".to_owned()]).collect();
    assert_eq!(sections, known.iter().collect(), "a section of no command, or a command without one");
}
