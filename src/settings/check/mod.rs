//! What the files say → what is true: values that make sense, names that exist, and one answer to everything else.
//! Every problem is told, not the first.

mod channel;
mod credentials;
mod http;
mod policy;
mod project;
mod proxy;
mod section;
mod window;

use std::cell::RefCell;
use std::path::PathBuf;
use std::time::Duration;

use tracing_subscriber::EnvFilter;

use self::channel::Channels;
use self::credentials::AllCredentials;
use self::policy::Policies;
use self::project::Projects;
use self::section::Section;
use super::strict::Tree;
use super::written::{self, ConfigFile, Format, PolicyFile};
use super::{JournalUrl, Log, LogFormat, Problem, Settings, defaults};
use crate::model::project::{Breaker, Limits, Poll};
use crate::model::text::shown;

/// The cloud's times carry no zone, and may be up to 14 hours ahead of ours.
const RETENTION_BEYOND_AGE: Duration = Duration::from_hours(24);
/// What fits into an address of a Unix socket, in bytes: 107, less what its name ends in while it is made.
const MAX_SOCKET_PATH: usize = 103;

/// Checks everything. `whole` says whether config.toml could be read: names are looked up only then.
/// There are settings wherever there is no error among the problems.
pub(super) fn check(
    config: ConfigFile,
    tree: &Tree,
    policy_files: &[(PolicyFile, Tree)],
    whole: bool,
) -> (Option<Settings>, Vec<Problem>) {
    let found = RefCell::new(Vec::new());
    let top = Section::top(tree, &found);
    let mode = config.mode.map_or(defaults::MODE, |mode| mode.0);
    let (journal, retention) = journal(&top.child("journal"), &config.journal.unwrap_or_default().0);
    let poll = poll(&top.child("poll"), &config.poll.unwrap_or_default().0);
    let journal_section = top.child("journal");
    let least = poll.max_failure_age.saturating_add(RETENTION_BEYOND_AGE);
    if retention < least && journal_section.is_set("retention") {
        journal_section.warn(
            "retention",
            format!(
                "it is shorter than poll.max_failure_age and a day, which is {}, and that long is kept: what was forgotten \
                 earlier could be taken for a new failure",
                Section::text(least)
            ),
        );
    }
    let retention = retention.max(least);
    let limits = limits(&top.child("limits"), &config.limits.unwrap_or_default().0);
    let log = log(&top.child("log"), config.log.unwrap_or_default().0);

    let breaker = breaker(&top.child("breaker"), &config.breaker.unwrap_or_default().0);
    let control = control(&top.child("control"), config.control.unwrap_or_default().0);
    let http = http::check(&top.child("http"), config.http.unwrap_or_default().0);
    let channels = Channels::check(&top.child("channel"), config.channel.unwrap_or_default(), whole);
    let mut notify = channel::notify(&top.child("notify"), &config.notify.unwrap_or_default().0, &channels);

    let credentials = AllCredentials::check(top.child("credentials"), config.credentials.unwrap_or_default());
    let projects = Projects::check(&top.child("project"), config.project.unwrap_or_default(), &credentials);
    channels.check_projects(&projects.names);

    let mut policies = Policies::new(mode, &channels, whole.then_some(&projects.names));
    policies.add(&top.child("policy"), config.policy.as_deref().unwrap_or_default());
    for (file, tree) in policy_files {
        policies.add(&Section::top(tree, &found).child("policy"), file.policy.as_deref().unwrap_or_default());
    }
    notify.by_policy = std::mem::take(&mut policies.notify);
    let policies = policies.into_enabled();
    channels.warn_of_unused(&top.child("channel"), &notify);

    let told = |key: &str| top.child(key).any_dropped();
    if whole && projects.is_empty() && !told("project") {
        top.warn_here("there is no [[project]]: the daemon has nothing to watch");
    }
    if whole && policies.is_empty() && !told("policy") {
        top.warn_here("there is no enabled [[policy]]: every task is watched and none is touched");
    }
    let settings = match (journal, log) {
        (Some(journal), Some(log)) => Some(Settings {
            mode,
            journal,
            retention,
            poll,
            limits,
            breaker,
            control,
            http,
            log,
            notify,
            channels: channels.good,
            credentials: credentials.good,
            projects: projects.good,
            policies,
        }),
        _ => None,
    };
    (settings, found.into_inner())
}

fn journal(section: &Section<'_>, written: &written::Journal) -> (Option<JournalUrl>, Duration) {
    let retention = section.positive("retention", written.retention.as_ref(), defaults::RETENTION);
    (written.url.as_ref().and_then(|url| journal_url(section, &url.0)), retention)
}

fn journal_url(section: &Section<'_>, url: &str) -> Option<JournalUrl> {
    if let Some(path) = url.strip_prefix("sqlite:") {
        return section.absolute_path("url", path).then(|| JournalUrl::Sqlite(PathBuf::from(path)));
    }
    // Not repeated: such a URL bears a password.
    if url.starts_with("postgres:") || url.starts_with("postgresql:") {
        section.error("url", "a journal in PostgreSQL comes in a later version; \"sqlite:/PATH\" is allowed");
    } else {
        section.error("url", "unknown kind of journal; \"sqlite:/PATH\" is needed");
    }
    None
}

fn breaker(section: &Section<'_>, written: &written::Breaker) -> Breaker {
    let default = Breaker::default();
    Breaker {
        failures: section.at_least_one("failures", written.failures.as_ref(), default.failures),
        within: section.positive("within", written.within.as_ref(), default.within),
        cooldown: section.positive("cooldown", written.cooldown.as_ref(), default.cooldown),
        probe: section.positive("probe", written.probe.as_ref(), default.probe),
    }
}

/// `""` turns it off.
fn control(section: &Section<'_>, written: written::Control) -> Option<PathBuf> {
    let path = written.socket?.0;
    if path.is_empty() || !section.absolute_path("socket", &path) {
        return None;
    }
    if path.len() > MAX_SOCKET_PATH {
        section.error(
            "socket",
            format!(
                "the path has {} bytes; the path of the socket may have at most {MAX_SOCKET_PATH}",
                path.len()
            ),
        );
        return None;
    }
    Some(PathBuf::from(path))
}

fn poll(section: &Section<'_>, written: &written::Poll) -> Poll {
    let default = Poll::default();
    let poll = Poll {
        discovery_interval: section.positive(
            "discovery_interval",
            written.discovery_interval.as_ref(),
            default.discovery_interval,
        ),
        idle_interval: section.positive(
            "idle_interval",
            written.idle_interval.as_ref(),
            default.idle_interval,
        ),
        active_interval: section.positive(
            "active_interval",
            written.active_interval.as_ref(),
            default.active_interval,
        ),
        settle_interval: section.positive(
            "settle_interval",
            written.settle_interval.as_ref(),
            default.settle_interval,
        ),
        settle_timeout: section.positive(
            "settle_timeout",
            written.settle_timeout.as_ref(),
            default.settle_timeout,
        ),
        max_failure_age: section.positive(
            "max_failure_age",
            written.max_failure_age.as_ref(),
            default.max_failure_age,
        ),
        request_timeout: section.positive(
            "request_timeout",
            written.request_timeout.as_ref(),
            default.request_timeout,
        ),
    };
    if poll.request_timeout >= poll.settle_timeout {
        let key = if section.is_set("settle_timeout") { "settle_timeout" } else { "request_timeout" };
        section.warn(
            key,
            format!(
                "request_timeout is {} and settle_timeout {}: a request still under way could count as not accepted",
                Section::text(poll.request_timeout),
                Section::text(poll.settle_timeout)
            ),
        );
    }
    poll
}

fn limits(section: &Section<'_>, written: &written::Limits) -> Limits {
    let default = Limits::default();
    Limits {
        max_requests_in_flight: section.at_least_one(
            "max_requests_in_flight",
            written.max_requests_in_flight.as_ref(),
            default.max_requests_in_flight,
        ),
        requests_per_second: section.at_least_one(
            "requests_per_second",
            written.requests_per_second.as_ref(),
            default.requests_per_second,
        ),
        max_actions_in_flight: section.at_least_one(
            "max_actions_in_flight",
            written.max_actions_in_flight.as_ref(),
            default.max_actions_in_flight,
        ),
        max_actions_per_hour: section.at_least_one(
            "max_actions_per_hour",
            written.max_actions_per_hour.as_ref(),
            default.max_actions_per_hour,
        ),
    }
}

fn log(section: &Section<'_>, written: written::Log) -> Option<Log> {
    let format = match written.format.map(|format| format.0) {
        Some(Format::Auto) => Some(LogFormat::Auto),
        Some(Format::Text) => Some(LogFormat::Text),
        Some(Format::Json) => Some(LogFormat::Json),
        Some(Format::Journald) => Some(LogFormat::Journald),
        None => None,
    };
    let filter = written.filter?.0;
    if let Err(error) = EnvFilter::builder().parse(&filter) {
        section.error(
            "filter",
            format!("found \"{}\"; these are no directives of tracing: {error}", shown(&filter, 60)),
        );
        return None;
    }
    Some(Log { filter, format: format? })
}
