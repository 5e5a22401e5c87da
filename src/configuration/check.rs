//! Checks the content of the files: values that are possible, names that exist. All problems are
//! reported, not only the first.

use super::channel::{AnyChannel, Channels, InChannels, WrittenNotify};
use super::checked::Configuration;
use super::credentials::{AllCredentials, AnyCredentials};
use super::environment::Environment;
use super::journal::WrittenJournal;
use super::kind::{List, Named};
use super::policy::{Policies, WrittenPolicy};
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

/// Checks everything. `whole` says whether config.toml could be read: names are looked up only
/// then. Returns a configuration if there is no error among the problems.
pub(super) fn check(
    tree: &Tree,
    policy_files: &[Tree],
    whole: bool,
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
    let control = config.control.unwrap_or_default().check(&top.child("control"), env);
    let http = config.http.unwrap_or_default().check(&top.child("http"));
    let channels = Channels::check(&top.child("channel"), whole);
    let mut notify = config.notify.unwrap_or_default().check(&top.child("notify"), &channels);

    let credentials = AllCredentials::check(top.child("credentials"));
    let projects = Projects::check(&top.child("project"), &credentials);
    channels.check_projects(&projects.names);

    let mut policies = Policies::new(mode, &channels, whole.then_some(&projects.names));
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

    let told = |key: &str| top.child(key).any_dropped();
    if !told("notify") && !told("policy") {
        channels.warn_of_unused(&top.child("channel"), &notify);
    }
    if whole && projects.is_empty() && !told("project") {
        top.warn_here("there is no [[project]]: the daemon has nothing to watch");
    }
    if whole && policies.is_empty() && !told("policy") {
        top.warn_with_hint(
            "there is no enabled [[policy]]: the daemon watches every task and sends no retry or abort",
            "copy 99-standard.toml (config/policies.d of the sources, examples/policies.d of the package) into policies.d \
             beside this file, or write a policy",
        );
    }
    let misplaced = top.entries().any(|(key, _)| InChannels::unknown(key).is_some());
    let no_channel = channels.good.is_empty() && !told("channel") && !told("notify") && !misplaced;
    if whole && mode == Mode::Enforce && no_channel {
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
