//! Checks the content of the files: values that are possible, names that exist. All problems are
//! reported, not only the first.

use tracing_subscriber::filter::Targets;

use super::channel::{AnyChannel, Channels, InChannels, WrittenNotify};
use super::checked::Configuration;
use super::credentials::{AllCredentials, AnyCredentials};
use super::environment::Environment;
use super::journal::WrittenJournal;
use super::kind::{List, Named};
use super::policy::{Policies, WrittenPolicy};
use super::problem::nearest;
use super::project::{AnyProject, Projects};
use super::schema::Key;
use super::section::{Section, Tree};
use super::sections::{
    Log, WrittenBreaker, WrittenControl, WrittenHttp, WrittenLimits, WrittenLog, WrittenPoll,
};
use super::table::{Help as _, Keyed as _, Later, Of, Table as _, table};
use crate::model::command::command;
use crate::model::policy::Mode;
use crate::model::project::{Breaker, Limits};
use crate::model::text::shown;

/// As the directives of the log's filter name this program.
const CRATE: &str = env!("CARGO_CRATE_NAME");
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

table! {
    /// config.toml
    struct ConfigFile {
        mode: Mode,
        journal: Of<WrittenJournal>,
        poll: Of<WrittenPoll>,
        limits: Of<WrittenLimits>,
        breaker: Of<WrittenBreaker>,
        notify: Of<WrittenNotify, InChannels>,
        http: Of<WrittenHttp>,
        control: Of<WrittenControl>,
        log: Of<WrittenLog>,
        project: List<Later<AnyProject>>,
        credentials: Named<Later<AnyCredentials>>,
        channel: List<Later<AnyChannel>>,
        policy: List<Later<WrittenPolicy>>,
    }
}

table! {
    /// A file of policies.d.
    struct PolicyFile {
        policy: List<Later<WrittenPolicy>>,
    }
}

/// All keys.
pub(super) fn keys() -> Vec<Key> {
    ConfigFile::keys(&[])
}

/// Which files could be read: only then are names looked up that they may give, and is absence told.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Whole {
    /// config.toml.
    pub(super) main: bool,
    /// Every file of policies.d.
    pub(super) policies: bool,
}

/// Checks everything.
/// There is a configuration wherever there is no error among the problems.
pub(super) fn check(
    tree: &Tree,
    policy_files: &[Tree],
    whole: Whole,
    env: &Environment,
) -> Option<Configuration> {
    let top = Section::of(tree);
    top.only(ConfigFile::KEYS, InChannels::unknown);
    let config = ConfigFile::read(&top, "")?;
    let mode = config.mode.unwrap_or_default();
    let poll = config.poll.unwrap_or_default().check(&top.child("poll"));
    let journal = config.journal.unwrap_or_default();
    let (journal, retention) = journal.check(&top, &poll, env);
    let limits = config.limits.unwrap_or_default().or(Limits::default());
    let breaker = config.breaker.unwrap_or_default().or(Breaker::default());
    let log = config.log.unwrap_or_default().or(Log::default());
    warn_of_silence(&top.child("log"), &log.filter);
    let control = config.control.unwrap_or_default().check(&top.child("control"), env);
    let http = config.http.unwrap_or_default().check(&top.child("http"));
    let channels = Channels::check(&top.child("channel"), whole.main);
    let mut notify = config.notify.unwrap_or_default().check(&top.child("notify"), &channels);

    let credentials = AllCredentials::check(top.child("credentials"));
    // A section of a name that is not known may be meant to be any other.
    let is_doubtful = top.has_unknown(ConfigFile::KEYS);
    let projects = Projects::check(&top.child("project"), &credentials, is_doubtful);
    channels.check_projects(&projects.names);

    let mut policies = Policies::new(mode, &channels, whole.main.then_some(&projects.names));
    policies.add(&top.child("policy"));
    for tree in policy_files {
        let file = Section::of(tree);
        file.only(PolicyFile::KEYS, |_| None);
        if PolicyFile::read(&file, "").is_some() {
            policies.add(&file.child("policy"));
        }
    }
    notify.by_policy = std::mem::take(&mut policies.notify);
    let policies = policies.into_enabled();

    // What only follows from an error is not told.
    let told = |key: &str| top.child(key).any_dropped() || is_doubtful;
    let told_of_policies =
        told("policy") || !whole.policies || policy_files.iter().any(|tree| Section::of(tree).any_dropped());
    if !told("notify") && !told_of_policies {
        channels.warn_of_unused(&top.child("channel"), &notify);
    }
    if whole.main && projects.is_empty() && !told("project") {
        top.warn_here("there is no [[project]]: the daemon has nothing to watch");
    }
    if whole.main && policies.is_empty() && !told_of_policies {
        top.warn_with_hint(
            "there is no enabled [[policy]]: the daemon watches every task and sends no retry or abort",
            "copy 99-standard.toml (config/policies.d of the sources, examples/policies.d of the package) into policies.d \
             beside this file, or write a policy",
        );
    }
    let no_channel = channels.good.is_empty() && !told("channel") && !told("notify");
    if whole.main && mode == Mode::Enforce && no_channel {
        top.child("mode").warn_with_hint(
            "in enforce the daemon sends retries and aborts, and there is no [[channel]]: nobody is notified of a task that \
             needs an operator",
            format!(
                "add a [[channel]], name it in [notify] under default, and test it: {}",
                command("notify-test NAME")
            ),
        );
    }
    let (journal_url, journal, database) = journal?;
    Some(Configuration {
        mode,
        journal_url,
        journal,
        database,
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
    })
}

/// Warns where no directive of the log's filter gives a level to this program: then nothing of it is logged.
fn warn_of_silence(section: &Section<'_>, filter: &str) {
    // Directives for spans and fields may give one within those.
    let Some(targets) = filter.parse::<Targets>().ok().filter(|_| !filter.contains('[')) else { return };
    let concerned = |target: &str| target.starts_with(CRATE) || CRATE.starts_with(target);
    if targets.default_level().is_some() || targets.iter().any(|(target, _)| concerned(target)) {
        return;
    }
    let written = filter.trim().to_lowercase();
    let level =
        nearest(&written, LEVELS).or_else(|| LEVELS.into_iter().find(|level| written.starts_with(level)));
    let hyphens = CRATE.replace('_', "-");
    let hint = match level {
        _ if filter.contains(&hyphens) => {
            format!("did you mean \"{}\"?", shown(&filter.replace(&hyphens, CRATE), 60))
        }
        Some(level) => format!("did you mean \"{level}\"?"),
        None => format!("add a level for everything else: \"info,{}\"", shown(filter, 60)),
    };
    let message = format!(
        "\"{}\" names other programs' parts only, so nothing of this program is logged, not even an error",
        shown(filter, 60)
    );
    section.child("filter").warn_with_hint(message, hint);
}
