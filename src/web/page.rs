//! What stands on the pages, as text that can be shown: names and error texts come from anywhere.

use askama::Template;
use jiff::Timestamp;
use std::fmt::Write as _;
use std::time::Duration;

use super::ClusterView;
use super::picture::Picture;
use crate::model::decision::Action;
use crate::model::explanation::{PolicyVerdict, Precondition};
use crate::model::level::Level;
use crate::model::outlook::Outlook;
use crate::model::policy::Mode;
use crate::model::record::PhaseWord;
use crate::model::text::{away, counted, named, shown, span, utc, utc_for_programs};
use crate::status::{ConditionReport, EndedReport, ProjectReport, Report, TaskReport};

/// More tasks of one kind are only counted: a page for people.
const MOST_TASKS: usize = 100;
/// No text is longer on a page.
const LONGEST: usize = 2_000;

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
    sums: Vec<Sum>,
    groups: Vec<Group>,
    ended: Vec<Ended>,
    ended_more: usize,
    projects: Vec<Project>,
    holds: Vec<(&'static str, String)>,
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

/// What every page bears.
struct Head {
    title: String,
    version: &'static str,
    at: Time,
}

impl Head {
    fn new(title: String, at: Timestamp) -> Self {
        Self { title, version: env!("CARGO_PKG_VERSION"), at: Time(at) }
    }
}

/// A time for people and for machines.
struct Time(Timestamp);

impl Time {
    fn words(&self) -> String {
        utc(self.0)
    }

    fn machine(&self) -> String {
        utc_for_programs(self.0)
    }
}

/// Words of ours, with `commands` in backticks.
struct Prose(Vec<(String, bool)>);

impl Prose {
    fn new(text: &str) -> Self {
        // What stands between two backticks is every other part.
        let parts = text.split('`').enumerate().filter(|(_, part)| !part.is_empty());
        Self(parts.map(|(place, part)| (part.to_owned(), place % 2 == 1)).collect())
    }
}

/// One number at the top.
struct Sum {
    number: usize,
    what: &'static str,
    /// It needs attention.
    alarms: bool,
}

/// Tasks that belong together.
struct Group {
    title: &'static str,
    id: &'static str,
    tasks: Vec<Task>,
    more: usize,
}

struct Task {
    cluster: String,
    name: String,
    project: String,
    kind: &'static str,
    state: &'static str,
    code: String,
    words: String,
    /// What blocks the next request: code, sentence, and the command that ends it.
    blocked_by: Vec<(String, String, Option<String>)>,
    next: Option<(Action, Time, String)>,
    what_next: String,
    next_step: Prose,
}

struct Project {
    name: String,
    clusters: String,
    /// A condition of level critical is in force.
    is_stopped: bool,
    notes: Vec<String>,
    facts: Vec<(&'static str, String)>,
}

/// A task that ended lately.
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
    /// Of level critical.
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

fn clean(text: &str) -> String {
    shown(text, LONGEST)
}

/// A name that somebody gave, or that there is none.
fn name(text: &str) -> String {
    named(text, 200)
}

impl Index {
    pub(super) fn new(report: &Report) -> Self {
        let all = || {
            report.projects.iter().flat_map(|project| project.tasks.iter().map(move |task| (project, task)))
        };
        let (mut eyes, mut hand, mut dry, mut run) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for (project, task) in all() {
            let outlook = &task.outlook;
            let (into, state) = match outlook.phase {
                Some(PhaseWord::Escalated) => (&mut eyes, "needs an operator"),
                Some(PhaseWord::Running) if task.runs_too_long_since.is_some() => {
                    (&mut eyes, "runs too long")
                }
                Some(PhaseWord::Running) => (&mut run, "running"),
                Some(PhaseWord::OutcomeUnknown) => (&mut hand, "outcome unknown"),
                _ if outlook.next.is_some_and(|next| next.action == Action::Abort) => {
                    (&mut eyes, "will be aborted")
                }
                _ if outlook.needs_attention => (&mut eyes, "left alone"),
                _ if outlook.blocked_by.iter().any(|block| block.code == "dry-run") => {
                    (&mut dry, "would be retried")
                }
                _ => (&mut hand, "failed"),
            };
            into.push(Task::new(project, task, state, report.at));
        }
        let silent = report.projects.iter().filter(|project| is_stopped(project, report)).count();
        let needs_operator =
            all().filter(|(_, task)| task.outlook.phase == Some(PhaseWord::Escalated)).count();
        let will_be_aborted =
            |task: &TaskReport| task.outlook.next.is_some_and(|next| next.action == Action::Abort);
        let aborts = all().filter(|(_, task)| will_be_aborted(task)).count();
        let sum = |number, what, alarms: bool| Sum { number, what, alarms: alarms && number > 0 };
        let clusters = report.projects.iter().map(|project| project.clusters).sum();
        let sums = vec![
            sum(clusters, one_or(clusters, "cluster watched", "clusters watched"), false),
            sum(run.len(), "running", false),
            sum(hand.len(), "in the daemon's hands", false),
            sum(needs_operator, one_or(needs_operator, "needs an operator", "need an operator"), true),
            sum(aborts, one_or(aborts, "abort to come", "aborts to come"), true),
            sum(silent, one_or(silent, "project stopped by a fault", "projects stopped by a fault"), true),
            sum(report.holds.len(), one_or(report.holds.len(), "hold", "holds"), false),
        ];
        let groups = vec![
            Group::new("Needs attention", "eyes", eyes),
            Group::new("In the daemon's hands", "hands", hand),
            Group::new("Would be retried (dry-run)", "dry", dry),
            Group::new("Running", "running", run),
        ];
        let ended: Vec<Ended> = report
            .projects
            .iter()
            .flat_map(|project| project.ended.iter().map(move |ended| Ended::new(project, ended, report.at)))
            .collect();
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
            conditions: report.conditions.iter().map(Condition::new).collect(),
            sums,
            groups,
            ended_more: ended.len().saturating_sub(MOST_TASKS),
            ended: ended.into_iter().take(MOST_TASKS).collect(),
            projects: report.projects.iter().map(|project| Project::new(project, report)).collect(),
            holds: report.holds.iter().map(|hold| (hold.effect(), clean(&hold.to_string()))).collect(),
            policies: report
                .policies
                .iter()
                .map(|policy| (clean(&policy.name), policy.words.clone()))
                .collect(),
            channels: report.channels.iter().map(Channel::new).collect(),
        }
    }

    fn quiet(&self) -> bool {
        self.groups.iter().all(|group| group.tasks.is_empty())
    }
}

fn one_or(number: usize, one: &'static str, many: &'static str) -> &'static str {
    if number == 1 { one } else { many }
}

impl Group {
    fn new(title: &'static str, id: &'static str, mut tasks: Vec<Task>) -> Self {
        let more = tasks.len().saturating_sub(MOST_TASKS);
        tasks.truncate(MOST_TASKS);
        Self { title, id, tasks, more }
    }
}

impl Task {
    fn new(project: &ProjectReport, task: &TaskReport, state: &'static str, now: Timestamp) -> Self {
        let outlook = &task.outlook;
        Self {
            cluster: task.cluster.to_string(),
            name: name(&task.cluster_name),
            project: project.name.to_string(),
            kind: task.kind.word(),
            state,
            code: outlook.reason.code.clone(),
            words: clean(&outlook.reason.text),
            blocked_by: blocks(outlook),
            next: outlook.next.map(|next| (next.action, Time(next.at), away(next.at, now))),
            what_next: outlook.next_in_words(),
            next_step: Prose::new(outlook.next_step.as_deref().unwrap_or_default()),
        }
    }
}

/// What blocks the next request, with what ends it.
fn blocks(outlook: &Outlook) -> Vec<(String, String, Option<String>)> {
    let blocks = outlook.blocked_by.iter();
    // What the reason says already is not said twice.
    let others = blocks.filter(|block| block.code != outlook.reason.code || block.ended_by.is_some());
    others.map(|block| (block.code.clone(), clean(&block.text), block.ended_by.clone())).collect()
}

impl Project {
    fn new(project: &ProjectReport, report: &Report) -> Self {
        let mut notes = Vec::new();
        if project.leaving {
            notes.push("it is gone from the configuration; what is open is still settled".to_owned());
        }
        let (sent, allowed) = project.actions_last_hour;
        let mut facts = vec![
            ("breaker", project.breaker.word().to_owned()),
            ("actions in the last hour", format!("{sent} of {allowed}")),
        ];
        if project.unknown_outcomes > 0 {
            facts.push(("PUTs of unknown outcome", project.unknown_outcomes.to_string()));
        }
        if let Some(live) = &project.live {
            let time =
                |time: Option<Timestamp>| time.map_or_else(|| "never".to_owned(), |time| Time(time).words());
            facts.extend(live.credential.as_ref().map(|stands| ("credential", clean(stands))));
            facts.push(("last whole list", time(live.last_list)));
            facts.push(("oldest poll", time(live.oldest())));
            if live.never_read > 0 {
                facts.push(("not read yet", counted(live.never_read as u64, "cluster", "clusters")));
            }
            if live.unreachable > 0 {
                facts.push(("cannot be polled", counted(live.unreachable as u64, "cluster", "clusters")));
            }
            if let Some(offset) = live.clock_offset_seconds {
                facts.push(("our clock minus the service's", format!("{offset} s")));
            }
            let pace = &live.limits;
            facts.push((
                "requests in flight, and a second",
                format!("{} and {}", pace.requests_in_flight, pace.requests_per_second),
            ));
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

/// Whether a condition of level critical is in force of the project itself.
fn is_stopped(project: &ProjectReport, report: &Report) -> bool {
    let mut of_it = report.conditions.iter().filter(|condition| condition.cluster.is_none());
    of_it.any(|condition| {
        condition.level == Level::Critical && condition.project.as_ref() == Some(&project.name)
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
            let _ = write!(words, ", {} waiting", counted(channel.waiting, "notice", "notices"));
        }
        if let Some(since) = channel.failing_since {
            let error = channel.last_error.as_deref().unwrap_or("no error was told");
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
                .map_or_else(|| "none allowed".to_owned(), |allowed| format!("of {allowed}"));
            let others = if lifecycle.by_others > 0 {
                format!(", {} by others", lifecycle.by_others)
            } else {
                String::new()
            };
            facts.push(("retries used", format!("{} {allowed}{others}", lifecycle.used)));
            facts.push(("PUTs sent", lifecycle.puts.to_string()));
            facts.extend(lifecycle.open.as_ref().map(|open| ("open", clean(open))));
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
            words: clean(&entry.event.to_string()),
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
            next_step: Prose::new(known.outlook.next_step.as_deref().unwrap_or_default()),
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
