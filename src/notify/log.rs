//! The observer that writes the log: one line for every change of state.

use tracing::{debug, error, info, warn};

use super::{Notification, Observer};
use crate::model::command::command;
use crate::model::condition::{Change, Standing};
use crate::model::level::Level;
use crate::model::text::{counted, named, utc};

/// Notifies by log lines.
#[derive(Debug, Clone, Copy, Default)]
pub struct LogObserver;

/// A macro of tracing takes its level as a constant, so each level has its own line.
macro_rules! line {
    ($level:expr, $($field:tt)+) => {
        match $level {
            Level::Debug => debug!($($field)+),
            Level::Info => info!($($field)+),
            Level::Warning => warn!($($field)+),
            Level::Critical => error!($($field)+),
        }
    };
}

impl Observer for LogObserver {
    fn tell(&self, notification: &Notification<'_>) {
        match notification {
            Notification::Journaled { cluster_name, entry } => {
                let (subject, event) = (&entry.subject, &entry.event);
                let words = event.words(entry.number);
                line!(
                    event.level(),
                    project = %subject.project,
                    cluster = %subject.cluster,
                    task = %subject.task,
                    entry = entry.number,
                    event = event.word(),
                    "{}: {words}{}",
                    name(cluster_name),
                    entry.advice().map(|advice| format!("; {advice}")).unwrap_or_default(),
                );
            }
            Notification::Condition(change) => tell_condition(change),
            Notification::LeftAlone { project, code, more } => {
                warn!(
                    %project, reason = *code,
                    "project {project}: the daemon does not act on {more} more failed tasks ({code}); to list them: `{}`", command("history"),
                );
            }
            Notification::Clusters { project, came, went, watched } => {
                let went = went.len();
                info!(%project, came, went, watched, "project {project}: {} watched ({came} new, {went} gone)", counted(*watched as u64, "cluster", "clusters"));
            }
        }
    }
}

/// `project prod: its clusters cannot be polled, …` and `project prod: its clusters can be polled again, after 5m`
fn tell_condition(change: &Change) {
    let Standing { project, condition, .. } = &change.standing;
    let code = condition.code();
    let subject = match condition.cluster() {
        Some((_, cluster_name)) => name(cluster_name),
        None => format!("project {project}"),
    };
    let (level, text) = if change.ended {
        let lasted = change.standing.lasted(change.at);
        (Level::Info, format!("{subject}: {}", condition.end_text(lasted)))
    } else {
        let advice = condition.advice().into_iter().next().map(|(purpose, command)| match command {
            Some(command) => format!("; {purpose}: `{command}`"),
            None => format!("; {purpose}"),
        });
        let since = change.standing.since;
        let lasts = if since < change.at { format!(" (since {})", utc(since)) } else { String::new() };
        (condition.level(), format!("{subject}: {}{lasts}{}", condition.text(), advice.unwrap_or_default()))
    };
    match condition.cluster() {
        Some((cluster, _)) => line!(level, %project, %cluster, condition = code.word(), "{text}"),
        None => line!(level, %project, condition = code.word(), "{text}"),
    }
}

fn name(cluster_name: &str) -> String {
    named(cluster_name, 80)
}
