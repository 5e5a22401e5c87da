//! `history`: what was seen, decided, sent and answered, from the journal, whether a daemon runs or not.

use std::process::ExitCode;

use clap::Args;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::{Failure, Outcome, print, print_json};
use crate::clock::{Clock as _, SystemClock};
use crate::journal::reader::{JournalReader, Query};
use crate::model::event::{Event, StoredEntry};
use crate::model::text::shown;
use crate::settings::{JournalUrl, Loaded};
use crate::status::history_json;

/// Which part of the history.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// Only of this cluster, by name or id.
    #[arg(long)]
    cluster: Option<String>,
    /// Only since then: a time (2026-01-02T03:04:05Z) or that long ago (2h, 3d).
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
}

/// Prints it, oldest first.
pub(super) fn history(loaded: &Loaded, options: &Options, json: bool) -> Outcome {
    let JournalUrl::Sqlite(path) = &loaded.settings.journal;
    let since = options.since.as_deref().map(since).transpose()?;
    let reader = JournalReader::open(path)?;
    if let Some(cluster) = &options.cluster {
        let known = reader.clusters()?;
        let mut named: Vec<String> =
            known.iter().filter(|known| known.name == *cluster).map(|known| known.id.to_string()).collect();
        named.sort();
        named.dedup();
        if named.len() > 1 {
            return Err(Failure::Usage(format!(
                "several clusters are named {cluster:?}; give one of their ids: {}",
                named.join(", ")
            )));
        }
        if !known.iter().any(|known| known.name == *cluster || known.id.as_str() == cluster) {
            return Err(Failure::Other(anyhow::anyhow!("the journal knows no cluster {cluster:?}")));
        }
    }
    let entries = reader.entries(&Query { cluster: options.cluster.clone(), since, ..Query::default() })?;
    if json {
        print_json(&Value::Array(entries.iter().map(history_json).collect()))?;
    } else {
        let names = reader.clusters()?;
        let name_of = |entry: &StoredEntry| {
            let known = names.iter().find(|known| known.id == entry.subject.cluster);
            known.map_or_else(|| entry.subject.cluster.to_string(), |known| shown(&known.name, 40))
        };
        let lines: Vec<String> = entries
            .iter()
            .map(|entry| {
                let at = entry.at.strftime("%F %T");
                format!("{at}  #{:<5} {}: {}\n", entry.number, name_of(entry), words(&entry.event))
            })
            .collect();
        let text = lines.concat();
        print(if text.is_empty() { "nothing in the journal\n" } else { &text })?;
    }
    Ok(ExitCode::SUCCESS)
}

fn words(event: &Event) -> String {
    shown(&event.to_string(), 2_000)
}

/// A time, or that long before now.
fn since(text: &str) -> Result<Timestamp, Failure> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time);
    }
    let bad = || {
        Failure::Usage(format!(
            "--since {text:?} is neither a time (2026-01-02T03:04:05Z) nor a duration (2h, 3d)"
        ))
    };
    let span: jiff::Span = text.parse().map_err(|_| bad())?;
    let ago = SignedDuration::try_from(span)
        .or_else(|_| span.to_duration(jiff::SpanRelativeTo::days_are_24_hours()));
    let ago = ago.map_err(|_| bad())?;
    if ago.is_negative() {
        return Err(bad());
    }
    SystemClock::new().now().wall.checked_sub(ago).map_err(|_| bad())
}
