//! The listener that is always there: the log. One line for every change of state, quiet otherwise.

use tracing::{debug, error, info, warn};

use super::{Notification, Observer};
use crate::model::level::Level;
use crate::model::project::PauseCause;
use crate::model::text::{counted, longer_span, shown, span, utc};

/// Tells by log lines.
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
                line!(
                    event.level(),
                    project = %subject.project,
                    cluster = %subject.cluster,
                    task = %subject.task,
                    entry = entry.number,
                    event = event.word(),
                    "{}: {event}{}",
                    name(cluster_name),
                    entry.advice().map(|advice| format!("; {advice}")).unwrap_or_default(),
                );
            }
            Notification::Cluster { project, cluster, cluster_name, reason } => {
                warn!(%project, %cluster, reason = reason.code(), "{}: nothing is sent: {reason}", name(cluster_name));
            }
            Notification::Unclear { project, cluster, cluster_name, reason } => {
                error!(
                    %project, %cluster, reason = reason.code(),
                    "{}: nothing is sent for it, for an hour by now; an operator should look: {reason}",
                    name(cluster_name),
                );
            }
            Notification::ProjectPaused { project, pause } => {
                let why = match pause.cause {
                    PauseCause::Forbidden => {
                        "the service forbids what was sent: check that the credential has css:cluster:retryAction"
                    }
                    PauseCause::WrongAddress => {
                        "something other than the service answered: check the endpoint, and any proxy before it"
                    }
                };
                error!(
                    %project, refusals = pause.refusals,
                    "project {project} sends nothing until {}, then one PUT as a probe: {why}",
                    utc(pause.until.wall),
                );
            }
            Notification::ProjectResumed { project } => info!(%project, "project {project} acts again"),
            Notification::Unreadable { project, cluster, cluster_name, error } => {
                warn!(%project, %cluster, "{}: cannot be read: {error}", name(cluster_name));
            }
            Notification::Readable { project, cluster, cluster_name } => {
                info!(%project, %cluster, "{}: can be read again", name(cluster_name));
            }
            Notification::JournalFails { project, error } => {
                error!(%project, "nothing is sent while the journal cannot be written: {error}");
            }
            Notification::CannotConnect { project, error } => {
                error!(%project, "project {project}: a PUT is due and waits, as no connection can be begun: {error}");
            }
            Notification::Connects { project } => {
                info!(%project, "project {project}: connections can be begun again");
            }
            Notification::JournalWorks { project } => info!(%project, "the journal is written again"),
            Notification::Unreachable { project, error, advice, .. } => {
                error!(%project, "project {project} cannot be seen, and nothing is sent in it: {error}; {advice}");
            }
            Notification::SeenAtFirst { project } => debug!(%project, "project {project} is seen"),
            Notification::Reachable { project } => info!(%project, "project {project} can be seen again"),
            Notification::ManyUnreadable { project, error } => {
                warn!(%project, "project {project}: more clusters cannot be read; the latest: {error}");
            }
            Notification::LeftAlone { project, code, more } => {
                warn!(
                    %project, reason = *code,
                    "project {project}: {more} more failed tasks are left alone ({code}); see: upgrade-remediator history",
                );
            }
            Notification::ListShort { project, seen, total, unusable } => {
                let total = total.map_or_else(|| "no number".to_owned(), |total| total.to_string());
                let unusable = unusable.iter().map(|id| shown(id, 60)).collect::<Vec<_>>().join(", ");
                warn!(
                    %project, seen, unusable,
                    "project {project}: the list shows {seen} clusters and says that there are {total}; some are not watched",
                );
            }
            Notification::Stretched { project, stretch: Some(stretch) } => {
                warn!(
                    %project,
                    "project {project}: {:.1} requests a second are not enough: clusters where nothing runs are read \
                     every {} instead of every {}; raise limits.requests_per_second or poll.idle_interval",
                    stretch.per_second, longer_span(stretch.actual), span(stretch.wanted),
                );
            }
            Notification::Stretched { project, stretch: None } => {
                info!(%project, "project {project}: clusters where nothing runs are read as often as they should be again");
            }
            Notification::Clusters { project, came, went, watched } => {
                let went = went.len();
                info!(%project, came, went, watched, "project {project}: {} watched ({came} new, {went} gone)", counted(*watched as u64, "cluster", "clusters"));
            }
        }
    }
}

fn name(cluster_name: &str) -> String {
    if cluster_name.is_empty() { "(no name)".to_owned() } else { shown(cluster_name, 80) }
}
