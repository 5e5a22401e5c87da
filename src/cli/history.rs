//! `history`: what was observed, decided, sent and answered: the daemon's answer, or the journal
//! while it is down.

use std::io::IsTerminal as _;
use std::process::ExitCode;

use clap::Args;
use serde_json::Value;

use super::hold::{Control, Unanswered, unexpected};
use super::progress::{Progress, Work};
use super::since::since;
use super::{CommandResult, Failure, print, print_json};
use crate::clock::{Clock as _, SystemClock};
use crate::configuration::Loaded;
use crate::control::{Answer, Request};
use crate::journal::history::HistoryError;
use crate::journal::reader::Query;
use crate::journal::{History, Reader};
use crate::model::hold::Scope;
use crate::model::id::ClusterId;
use crate::model::scope_entry::{Line, Position};
use crate::model::text::{shown, utc};
use crate::status::json;

/// Which part of the history.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// Print the entries of this cluster only, by name or id.
    #[arg(long)]
    cluster: Option<String>,
    /// Print the entries since then only: a date (2026-01-02), a time (2026-01-02T03:04:05Z), a duration (2h, 3d), today or yesterday.
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
}

/// Prints it, oldest first: the daemon's answer, or the journal while it is down.
pub(super) fn history(
    control: &Control<'_>,
    configuration: impl Fn() -> Result<Loaded, Failure>,
    options: &Options,
    as_json: bool,
) -> CommandResult {
    let now = SystemClock::new().now().wall;
    let since = options.since.as_deref().map(|text| since(text, now)).transpose().map_err(Failure::Usage)?;
    let query = Query { cluster: options.cluster.clone(), since, ..Query::default() };
    let work = Work::default();
    // On a terminal the lines themselves show the progress.
    let progress = Progress::show("entries", work.clone(), as_json || std::io::stdout().is_terminal());
    let (mut journal, mut past) = (None, None);
    let mut values = Vec::new();
    let mut empty = true;
    loop {
        let part = match &journal {
            Some(journal) => of_journal(journal, &query, past.as_ref())?,
            None => match of_daemon(control, &query, past.clone())? {
                Ok(part) => part,
                Err(nobody) => {
                    control.note_of_journal(&nobody, "the following comes from the daemon's journal.");
                    journal = Some(configuration()?.configuration.journal.reader()?);
                    continue;
                }
            },
        };
        if as_json {
            values.extend(part.lines().into_iter().map(json::line));
        } else {
            print(&as_lines(&part))?;
        }
        work.did(part.lines().len());
        past = part.lines().last().map(|line| line.position());
        if past.is_none() {
            break;
        }
        empty = false;
        if !part.more {
            break;
        }
    }
    drop(progress);
    if as_json {
        print_json(&Value::Array(values))?;
    } else if empty {
        print("nothing in the journal\n")?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Returns the daemon's answer, or that it is down.
fn of_daemon(
    control: &Control<'_>,
    query: &Query,
    past: Option<Position>,
) -> Result<Result<History, String>, Failure> {
    let Query { cluster, since, .. } = query.clone();
    match control.ask(&Request::History { cluster, since, past }) {
        Ok(Answer::History { entries, scopes, names, more }) => {
            Ok(Ok(History { entries, scopes, names, more }))
        }
        Ok(answer) => Err(unexpected(answer)),
        Err(Unanswered::Nobody(nobody)) => Ok(Err(nobody)),
        Err(Unanswered::Failed(error)) => Err(Failure::Other(error.into())),
    }
}

fn of_journal(journal: &Reader, query: &Query, past: Option<&Position>) -> Result<History, Failure> {
    History::read(journal, query, past).map_err(|error| match error {
        HistoryError::SeveralClusters { .. } => Failure::Usage(error.to_string()),
        error => Failure::Other(error.into()),
    })
}

fn as_lines(part: &History) -> String {
    let name = |cluster: &ClusterId| {
        part.names.get(cluster).map_or_else(|| cluster.to_string(), |name| shown(name, 40))
    };
    let line = |line: Line<'_>| {
        let (at, of, words) = match line {
            Line::Task(entry) => {
                (entry.at, name(&entry.subject.cluster), shown(&entry.event.words(entry.number), 2_000))
            }
            Line::Scope(entry) => {
                let of = match &entry.scope {
                    Scope::Cluster(cluster) => name(cluster),
                    scope => scope.to_string(),
                };
                (entry.at, of, shown(&entry.event.to_string(), 2_000))
            }
        };
        format!("{}  #{:<5} {of}: {words}\n", utc(at), line.number())
    };
    part.lines().into_iter().map(line).collect()
}
