//! The content of the pages, as text that can be shown: names and error texts come from outside.

use askama::Template;
use jiff::Timestamp;
use std::fmt::Write as _;
use std::time::Duration;

use super::ClusterView;
use super::picture::Picture;
use super::rows::{Group, MOST_TASKS, Rows};
use super::search::{Form, Search};
use super::texts;
use super::words::{Prose, Time, blocks, clean, name, one_or};
use crate::model::command::program;
use crate::model::condition::Code;
use crate::model::decision::Action;
use crate::model::explanation::{PolicyVerdict, Precondition};
use crate::model::level::Level;
use crate::model::policy::Mode;
use crate::model::text::{away, counted, span};
use crate::status::{BreakerState, ConditionReport, EndedReport, ProjectReport, Report, TaskReport};

/// The status page.
#[derive(Template)]
#[template(path = "index.html")]
pub(super) struct Index {
    head: Head,
    dry_run: bool,
    file: String,
    since: Time,
    warnings: Vec<String>,
    refused: Option<(Time, Vec<String>)>,
    conditions: Vec<Condition>,
    conditions_more: usize,
    sums: Vec<Sum>,
    /// No task is unfinished, with or without a search.
    quiet: bool,
    search: Form,
    is_table: bool,
    groups: Vec<Group>,
    ended: Vec<Ended>,
    ended_more: usize,
    projects: Vec<Project>,
    holds: Vec<(&'static str, String)>,
    holds_more: usize,
    policies: Vec<(String, String)>,
    channels: Vec<Channel>,
}

/// One cluster and the lifecycle of its tasks.
#[derive(Template)]
#[template(path = "cluster.html")]
pub(super) struct Cluster {
    head: Head,
    id: String,
    name: String,
    project: String,
    engine: String,
    tags: Vec<(String, String)>,
    limits: Vec<String>,
    code: String,
    words: String,
    blocked_by: Vec<(String, String, Option<String>)>,
    next: Option<(Action, Time, String)>,
    what_next: String,
    next_step: Prose,
    facts: Vec<(&'static str, String)>,
    schedule: Vec<(Option<Time>, String)>,
    policies: Vec<PolicyVerdict>,
    preconditions: Vec<Precondition>,
    picture: Option<Picture>,
    timeline: Vec<Line>,
    cut: bool,
}

/// The common part of all pages.
struct Head {
    title: String,
    version: &'static str,
    at: Time,
    /// What every command begins with.
    program: &'static str,
}

impl Head {
    fn new(title: String, at: Timestamp) -> Self {
        Self { title, version: env!("CARGO_PKG_VERSION"), at: Time(at), program: program() }
    }
}

/// One number at the top.
struct Sum {
    number: usize,
    what: &'static str,
    /// It needs attention.
    alarms: bool,
}

struct Project {
    name: String,
    clusters: String,
    /// A condition of level critical is in force.
    is_stopped: bool,
    notes: Vec<String>,
    facts: Vec<(&'static str, String)>,
}

/// A task that ended recently.
struct Ended {
    cluster: String,
    name: String,
    project: String,
    kind: &'static str,
    outcome: String,
    requests: String,
    lasted: String,
    at: Time,
    away: String,
}

/// A condition in force.
struct Condition {
    /// Whether its level is critical.
    is_critical: bool,
    code: String,
    since: Time,
    words: String,
    next_step: Prose,
}

struct Channel {
    name: String,
    kind: String,
    words: String,
    fails: bool,
}

/// One entry of the history.
struct Line {
    at: Time,
    number: u64,
    level: &'static str,
    event: &'static str,
    words: String,
}

impl Index {
    pub(super) fn new(report: &Report, search: &Search) -> Self {
        let all = || report.projects.iter().flat_map(|project| &project.tasks);
        let rows = Rows::new(report, search);
        let silent = report.projects.iter().filter(|project| is_stopped(project, report)).count();
        let will_be_aborted =
            |task: &&TaskReport| task.outlook.request().is_some_and(|next| next.action == Action::Abort);
        let aborts = all().filter(will_be_aborted).count();
        let sum = |number, what, alarms: bool| Sum { number, what, alarms: alarms && number > 0 };
        let clusters = report.projects.iter().map(|project| project.clusters).sum();
        let breakers =
            report.projects.iter().filter(|project| project.breaker != BreakerState::Closed).count();
        let mut sums = vec![
            sum(clusters, one_or(clusters, "cluster watched", "clusters watched"), false),
            sum(rows.running, "running", false),
            sum(rows.handled, "handled by the daemon", false),
            sum(rows.attention, one_or(rows.attention, "needs attention", "need attention"), true),
            sum(aborts, one_or(aborts, "abort to come", "aborts to come"), true),
            sum(silent, one_or(silent, "project stopped by a fault", "projects stopped by a fault"), true),
            sum(report.holds.len(), one_or(report.holds.len(), "hold", "holds"), false),
        ];
        let seldom = [
            sum(rows.held, "on hold", false),
            sum(rows.dry, "would be retried (dry-run)", false),
            sum(rows.old, one_or(rows.old, "old failure", "old failures"), false),
            sum(
                breakers,
                one_or(breakers, "circuit breaker not closed", "circuit breakers not closed"),
                true,
            ),
        ];
        sums.extend(seldom.into_iter().filter(|sum| sum.number > 0));
        let every_ended = || {
            let projects = report.projects.iter();
            projects.flat_map(|project| project.ended.iter().map(move |ended| (project, ended)))
        };
        let of_search = || every_ended().filter(|(project, ended)| search.covers_ended(project, ended));
        let (ended_all, ended_matching) = (every_ended().count(), of_search().count());
        let ended = of_search().take(MOST_TASKS);
        let ended = ended.map(|(project, ended)| Ended::new(project, ended, report.at)).collect();
        let holds = report.holds.iter().take(MOST_TASKS);
        let refused = report.configuration.refused.as_ref().map(|refused| {
            (Time(refused.at), refused.problems.iter().map(|problem| clean(problem)).collect())
        });
        Self {
            head: Head::new("Upgrades".to_owned(), report.at),
            dry_run: report.mode == Mode::DryRun,
            file: clean(&report.configuration.file),
            since: Time(report.configuration.since),
            warnings: report.configuration.warnings.iter().map(|warning| clean(warning)).collect(),
            refused,
            conditions: report.conditions.iter().take(MOST_TASKS).map(Condition::new).collect(),
            conditions_more: report.conditions.len().saturating_sub(MOST_TASKS),
            sums,
            quiet: rows.all == 0,
            search: search.form(report, rows.matching + ended_matching, rows.all + ended_all),
            is_table: rows.is_table,
            groups: rows.groups,
            ended_more: ended_matching.saturating_sub(MOST_TASKS),
            ended,
            projects: report.projects.iter().map(|project| Project::new(project, report)).collect(),
            holds: holds.map(|hold| (hold.effect(), clean(&hold.to_string()))).collect(),
            holds_more: report.holds.len().saturating_sub(MOST_TASKS),
            policies: report
                .policies
                .iter()
                .map(|policy| (clean(&policy.name), policy.words.clone()))
                .collect(),
            channels: report.channels.iter().map(Channel::new).collect(),
        }
    }
}

impl Project {
    fn new(project: &ProjectReport, report: &Report) -> Self {
        let mut notes = Vec::new();
        if project.leaving {
            notes.push("the project is no longer in the configuration; the daemon only confirms the outcome of requests that it sent".to_owned());
        }
        let (sent, allowed) = project.actions_last_hour;
        let mut facts = vec![
            ("breaker", project.breaker.word().to_owned()),
            ("requests to retry or abort in the last hour", format!("{sent} sent, {allowed} allowed")),
        ];
        if project.unknown_outcomes > 0 {
            facts.push(("requests of unknown outcome", project.unknown_outcomes.to_string()));
        }
        if let Some(live) = &project.live {
            let time =
                |time: Option<Timestamp>| time.map_or_else(|| "never".to_owned(), |time| Time(time).words());
            facts.extend(live.credential.as_ref().map(|stands| ("credential", clean(stands))));
            facts.push(("last complete list of clusters", time(live.last_list)));
            facts.push(("last poll of the cluster that was polled longest ago", time(live.oldest())));
            if live.never_read > 0 {
                facts.push(("not polled yet", counted(live.never_read as u64, "cluster", "clusters")));
            }
            if live.unreachable > 0 {
                facts.push(("cannot be polled", counted(live.unreachable as u64, "cluster", "clusters")));
            }
            if let Some(offset) = live.clock_offset_seconds {
                facts.push(("the daemon's clock minus the CSS API's", format!("{offset} s")));
            }
            let pace = &live.limits;
            facts.push(("requests in flight at most", pace.requests_in_flight.to_string()));
            facts.push(("requests a second at most", pace.requests_per_second.to_string()));
        }
        Self {
            name: project.name.to_string(),
            clusters: counted(project.clusters as u64, "cluster", "clusters"),
            is_stopped: is_stopped(project, report),
            notes,
            facts,
        }
    }
}

/// Returns whether a condition of level critical is in force of the project itself. Its circuit
/// breaker works as it should.
fn is_stopped(project: &ProjectReport, report: &Report) -> bool {
    let mut of_it = report.conditions.iter().filter(|condition| condition.cluster.is_none());
    of_it.any(|condition| {
        let is_fault = condition.level == Level::Critical && condition.code != Code::BreakerOpen.word();
        is_fault && condition.project.as_ref() == Some(&project.name)
    })
}

impl Ended {
    fn new(project: &ProjectReport, ended: &EndedReport, now: Timestamp) -> Self {
        let lasted = Duration::try_from_secs_f64(ended.first_failure_to_end_seconds).unwrap_or_default();
        Self {
            cluster: ended.cluster.to_string(),
            name: name(&ended.cluster_name),
            project: project.name.to_string(),
            kind: ended.kind.word(),
            outcome: ended.outcome.clone(),
            requests: counted(u64::from(ended.requests_sent), "request", "requests"),
            lasted: span(lasted),
            at: Time(ended.at),
            away: away(ended.at, now),
        }
    }
}

impl Condition {
    fn new(condition: &ConditionReport) -> Self {
        Self {
            is_critical: condition.level == Level::Critical,
            code: condition.code.clone(),
            since: Time(condition.since),
            words: clean(&condition.text),
            next_step: Prose::new(condition.next_step.as_deref().unwrap_or_default()),
        }
    }
}

impl Channel {
    fn new(channel: &crate::model::channel::ChannelCounts) -> Self {
        let mut words = format!("{} sent", counted(channel.sent, "message", "messages"));
        if channel.waiting > 0 {
            let _ = write!(words, ", {} waiting", counted(channel.waiting, "notification", "notifications"));
        }
        if let Some(since) = channel.failing_since {
            let error = channel.last_error.as_deref().unwrap_or("no error is known");
            let _ = write!(words, "; failing since {}: {}", Time(since).words(), clean(error));
        }
        Self {
            name: clean(&channel.name),
            kind: channel.kind.clone(),
            words,
            fails: channel.failing_since.is_some(),
        }
    }
}

impl Cluster {
    pub(super) fn new(view: &ClusterView) -> Self {
        let known = &view.explanation;
        let name = name(&known.cluster_name);
        let mut facts = Vec::new();
        if let Some(lifecycle) = &known.lifecycle {
            facts.push(("task", lifecycle.task.to_string()));
            facts.push(("failures", lifecycle.failures.to_string()));
            let allowed = lifecycle
                .allowed
                .map_or_else(|| "(no policy is known)".to_owned(), |allowed| format!("of {allowed}"));
            let others = if lifecycle.by_others > 0 {
                format!(", {} external", lifecycle.by_others)
            } else {
                String::new()
            };
            // Nothing is left to be used of a task that is over.
            if lifecycle.ended.is_none() {
                facts.push(("retries used", format!("{} {allowed}{others}", lifecycle.used)));
            }
            facts.push(("requests sent", lifecycle.puts.to_string()));
            facts.extend(
                lifecycle.open.as_ref().map(|open| ("request without a confirmed outcome", clean(open))),
            );
            facts.extend(
                lifecycle.needs_operator.as_ref().map(|(since, _)| ("escalated since", Time(*since).words())),
            );
            facts.extend(lifecycle.ended.as_ref().map(|ended| ("ended", ended.clone())));
        }
        let line = |entry: &crate::model::event::StoredEntry| Line {
            at: Time(entry.at),
            number: entry.number,
            level: entry.event.level().word(),
            event: entry.event.word(),
            words: clean(&entry.event.words(entry.number)),
        };
        Self {
            head: Head::new(name.clone(), known.at),
            id: known.cluster.to_string(),
            name,
            project: known.project.to_string(),
            engine: clean(known.engine.as_deref().unwrap_or_default()),
            tags: known.tags.iter().map(|(key, value)| (clean(key), clean(value))).collect(),
            limits: known.limits.iter().map(|limit| clean(limit)).collect(),
            code: known.outlook.reason.code.clone(),
            words: clean(&known.outlook.reason.text),
            blocked_by: blocks(&known.outlook),
            next: known.outlook.next.map(|next| (next.action, Time(next.at), away(next.at, known.at))),
            what_next: known.outlook.next_in_words(),
            next_step: Prose::of_step(known.outlook.next_step.as_deref(), &known.cluster),
            facts,
            schedule: known.schedule.iter().map(|step| (step.at.map(Time), clean(&step.what))).collect(),
            policies: known.policies.clone(),
            preconditions: known.preconditions.clone(),
            picture: Picture::new(view),
            timeline: view.timeline.iter().rev().map(line).collect(),
            cut: view.cut,
        }
    }
}

#[cfg(test)]
mod tests;
