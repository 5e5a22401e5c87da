//! The counters, and the page for Prometheus. `docs/metrics.md` has the names.
//!
//! Counters and histograms grow while the daemon works. Gauges are made from a [`Report`] at each
//! request, so they always agree with `status`. Labels are names of projects and words of fixed
//! lists, never clusters or tasks.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use prometheus_client::encoding::text;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::{BreakerState, ProjectReport, Report};
use crate::model::answer::Meaning;
use crate::model::condition::Code;
use crate::model::decision::Action;
use crate::model::event::{Confirmation, Entry, Event, Subject};
use crate::model::id::{AttemptId, ClusterId, ProjectName, TaskId};
use crate::model::policy::Mode;
use crate::model::reason::Reason;
use crate::model::record::PhaseWord;
use crate::model::task::TaskKind;

/// The type of the result of [`Metrics::render`].
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Outcomes of a PUT, as the label has them.
const OUTCOMES: [&str; 9] = [
    "accepted",
    "busy",
    "gone-or-forbidden",
    "forbidden",
    "wrong-address",
    "unauthorized",
    "not-acceptable",
    "unknown",
    "not-sent",
];
const NOT_SENT: &str = "not-sent";
const SETTLEMENTS: [&str; 3] = ["accepted", "without-effect", "not-accepted"];
const ENDINGS: [&str; 5] = ["resolved", "resolved-externally", "aborted", "superseded", "gone"];

/// Upper ends of the buckets, in seconds: a commit takes a few milliseconds on a good disk.
const COMMIT_BUCKETS: [f64; 13] = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0];
/// The same for a request, which takes a good part of a second and is given up after `request_timeout`.
const REQUEST_BUCKETS: [f64; 10] = [0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0];

type Labels = Vec<(&'static str, String)>;
type Counters = Family<Labels, Counter>;
type Histograms = Family<Labels, Histogram, fn() -> Histogram>;

fn request_histogram() -> Histogram {
    Histogram::new(REQUEST_BUCKETS)
}

/// The kernel's values of the process. Missing ones are left out.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Process {
    /// When it started, in seconds since 1970.
    pub started: Option<f64>,
    /// Processor time, in seconds.
    pub cpu_seconds: Option<f64>,
    /// Memory in use, in bytes.
    pub resident_bytes: Option<u64>,
    /// Open files and sockets.
    pub open_fds: Option<u64>,
    /// The allowed number of them.
    pub max_fds: Option<u64>,
}

/// What the page shows beside a [`Report`].
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct MetricsInput {
    /// The journal's size on disk, in bytes.
    pub journal_bytes: Option<u64>,
    /// The process.
    pub process: Process,
}

/// The counters since the process started.
#[derive(Debug)]
pub struct Metrics {
    decisions: Counters,
    attempts: Counters,
    settlements: Counters,
    escalations: Counters,
    outcomes: Counters,
    budgets_used_up: Counters,
    requests: Counters,
    request_durations: Histograms,
    iam_requests: Counters,
    commits: Histogram,
    under_way: Mutex<UnderWay>,
}

/// The state that is needed for later entries.
#[derive(Debug, Default)]
struct UnderWay {
    /// The action of each PUT without an answer yet.
    actions: BTreeMap<(ProjectName, AttemptId), Action>,
    /// Tasks whose retries were reported to be exhausted: each counts once.
    used_up: BTreeSet<(ProjectName, ClusterId, TaskId)>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            decisions: Counters::default(),
            attempts: Counters::default(),
            settlements: Counters::default(),
            escalations: Counters::default(),
            outcomes: Counters::default(),
            budgets_used_up: Counters::default(),
            requests: Counters::default(),
            request_durations: Histograms::new_with_constructor(request_histogram),
            iam_requests: Counters::default(),
            commits: Histogram::new(COMMIT_BUCKETS),
            under_way: Mutex::default(),
        }
    }
}

impl Metrics {
    /// Counts journaled entries.
    pub fn entry(&self, entry: &Entry) {
        let Subject { project, cluster, task } = &entry.subject;
        let count = |family: &Counters, labels: &[(&'static str, &str)]| add(family, project, labels);
        let task = || (project.clone(), cluster.clone(), task.clone());
        match &entry.event {
            Event::Decided { reason, .. } => {
                count(&self.decisions, &[("reason", reason.code())]);
                self.use_up(reason, task, &count);
            }
            Event::Escalated { reason } => {
                count(&self.decisions, &[("reason", reason.code())]);
                count(&self.escalations, &[("reason", reason.code())]);
                self.use_up(reason, task, &count);
            }
            Event::Intent { action, reason, .. } => {
                count(&self.decisions, &[("reason", reason.code())]);
                let request = (project.clone(), AttemptId(entry.number));
                self.under_way().actions.insert(request, *action);
            }
            Event::Answered { attempt, answer } => {
                self.attempt(&(project.clone(), *attempt), outcome(answer.meaning), &count);
            }
            Event::NotSent { attempt } => self.attempt(&(project.clone(), *attempt), NOT_SENT, &count),
            Event::Confirmed { settlement, .. } => {
                let outcome = match settlement {
                    Confirmation::Accepted => "accepted",
                    Confirmation::WithoutEffect => "without-effect",
                    Confirmation::NotAccepted => "not-accepted",
                };
                count(&self.settlements, &[("outcome", outcome)]);
            }
            Event::Ended(closing) => {
                count(&self.outcomes, &[("outcome", closing.word())]);
                self.under_way().used_up.remove(&task());
            }
            Event::Reset { .. } => {
                self.under_way().used_up.remove(&task());
            }
            _ => {}
        }
    }

    /// Takes in a reason by which the retries of a task may be exhausted.
    fn use_up(
        &self,
        reason: &Reason,
        task: impl Fn() -> (ProjectName, ClusterId, TaskId),
        count: &impl Fn(&Counters, &[(&'static str, &str)]),
    ) {
        let used_up = match reason {
            Reason::AbortPending { .. }
            | Reason::RetriesExhausted { .. }
            | Reason::NodeCompleted { .. }
            | Reason::PolicyChanged { .. } => true,
            // The policy of such a task may allow no retry at all.
            Reason::PartialFailed { used } => *used > 0,
            _ => false,
        };
        if used_up && self.under_way().used_up.insert(task()) {
            count(&self.budgets_used_up, &[]);
        }
    }

    fn attempt(
        &self,
        request: &(ProjectName, AttemptId),
        outcome: &str,
        count: &impl Fn(&Counters, &[(&'static str, &str)]),
    ) {
        // The intent of the request was journaled before.
        let action = self.under_way().actions.remove(request);
        if let Some(action) = action {
            count(&self.attempts, &[("action", action_word(action)), ("outcome", outcome)]);
        }
    }

    /// Counts one request to the CSS API.
    pub fn call(&self, project: &ProjectName, operation: &str, result: &str, took: Duration) {
        add(&self.requests, project, &[("operation", operation), ("result", result)]);
        let labels = labels(Some(project), &[("operation", operation)]);
        self.request_durations.get_or_create(&labels).observe(took.as_secs_f64());
    }

    /// Counts one request to IAM, with the credentials of this name in the configuration.
    pub fn iam_call(&self, credentials: &str, operation: &str, result: &str) {
        let told = [("credentials", credentials), ("operation", operation), ("result", result)];
        self.iam_requests.get_or_create(&labels(None, &told)).inc();
    }

    /// Counts one commit of the journal.
    pub fn commit(&self, took: Duration) {
        self.commits.observe(took.as_secs_f64());
    }

    /// Returns the page, in Prometheus' text form ([`CONTENT_TYPE`]).
    ///
    /// # Errors
    /// None that a `String` can have.
    pub fn render(&self, report: &Report, beside: &MetricsInput) -> Result<String, fmt::Error> {
        for project in &report.projects {
            self.begin_at_zero(&project.name);
        }
        let mut registry = Registry::with_prefix("upgrade_remediator");
        let page = &mut registry;
        of_the_daemon(page, report, beside);
        of_the_projects(page, report);
        self.register(page);
        let mut written = String::new();
        text::encode_registry(&mut written, &registry)?;
        // Without our prefix: these are the usual names for every process.
        let mut registry = Registry::default();
        of_the_process(&mut registry, &beside.process);
        text::encode_registry(&mut written, &registry)?;
        Ok(as_prometheus_reads_it(&written))
    }

    /// A series that exists from the start shows its first increase.
    fn begin_at_zero(&self, project: &ProjectName) {
        let begin = |family: &Counters, labels: &[(&'static str, &str)]| {
            drop(family.get_or_create(&self::labels(Some(project), labels)));
        };
        begin(&self.budgets_used_up, &[]);
        for outcome in SETTLEMENTS {
            begin(&self.settlements, &[("outcome", outcome)]);
        }
        for ending in ENDINGS {
            begin(&self.outcomes, &[("outcome", ending)]);
        }
        for action in [Action::Retry, Action::Abort].map(action_word) {
            for outcome in OUTCOMES {
                begin(&self.attempts, &[("action", action), ("outcome", outcome)]);
            }
        }
    }

    fn register(&self, page: &mut Registry) {
        page.register("api_requests", "Requests to the CSS API", self.requests.clone());
        let help = "Duration of requests to the CSS API";
        page.register("api_request_duration_seconds", help, self.request_durations.clone());
        let help = "Requests to IAM: signing in, keys, projects";
        page.register("iam_requests", help, self.iam_requests.clone());
        page.register("decisions", "Decisions that differ from the one before", self.decisions.clone());
        page.register(
            "attempts",
            "Retry and abort requests by the meaning of the response",
            self.attempts.clone(),
        );
        page.register(
            "settlements",
            "Retry and abort requests whose outcome polls confirmed",
            self.settlements.clone(),
        );
        page.register("escalations", "Tasks escalated to an operator", self.escalations.clone());
        page.register("outcomes", "Tasks that ended", self.outcomes.clone());
        page.register("budgets_used_up", "Tasks whose retries were exhausted", self.budgets_used_up.clone());
        let help = "Duration of commits to the journal";
        page.register("journal_commit_duration_seconds", help, self.commits.clone());
    }

    /// Every change is one step, so a panic leaves the counters consistent.
    fn under_way(&self) -> MutexGuard<'_, UnderWay> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn labels(project: Option<&ProjectName>, more: &[(&'static str, &str)]) -> Labels {
    let project = project.map(|project| ("project", project.to_string()));
    project.into_iter().chain(more.iter().map(|(key, value)| (*key, (*value).to_owned()))).collect()
}

fn add(family: &Counters, project: &ProjectName, more: &[(&'static str, &str)]) {
    family.get_or_create(&labels(Some(project), more)).inc();
}

fn action_word(action: Action) -> &'static str {
    match action {
        Action::Retry => "retry",
        Action::Abort => "abort",
    }
}

fn outcome(meaning: Meaning) -> &'static str {
    match meaning {
        Meaning::ForbiddenCluster | Meaning::ForbiddenProject => "forbidden",
        other => other.word(),
    }
}

/// The gauge of one name, while it is made.
struct Gauges(Family<Labels, Gauge<f64, AtomicU64>>);

impl Gauges {
    fn new(page: &mut Registry, name: &str, help: &str) -> Self {
        let family = Family::default();
        page.register(name, help, family.clone());
        Self(family)
    }

    fn set(&self, labels: &Labels, value: f64) {
        self.0.get_or_create(labels).set(value);
    }
}

/// One gauge without labels.
fn gauge(page: &mut Registry, name: &str, help: &str, value: f64) {
    let gauge = Gauge::<f64, AtomicU64>::default();
    gauge.set(value);
    page.register(name, help, gauge);
}

fn flag(on: bool) -> f64 {
    if on { 1.0 } else { 0.0 }
}

fn seconds(at: Timestamp) -> f64 {
    at.as_duration().as_secs_f64()
}

#[expect(clippy::cast_precision_loss, reason = "no count and no size comes near 2^52")]
fn number(value: u64) -> f64 {
    value as f64
}

fn count(value: usize) -> f64 {
    number(value as u64)
}

fn of_the_daemon(page: &mut Registry, report: &Report, beside: &MetricsInput) {
    let info = |page: &mut Registry, name, help, label, value: &str| {
        Gauges::new(page, name, help).set(&vec![(label, value.to_owned())], 1.0);
    };
    info(page, "build_info", "1, with the version", "version", &report.version);
    info(
        page,
        "config_info",
        "1, with the hash of the configuration in force",
        "hash",
        &report.configuration.hash,
    );
    let taken = report.configuration.refused.is_none();
    gauge(page, "config_last_reload_successful", "Whether the last reload was applied", flag(taken));
    let since = seconds(report.configuration.since);
    gauge(
        page,
        "config_last_reload_success_timestamp_seconds",
        "When a configuration was last applied",
        since,
    );
    let enforcing = flag(report.mode == Mode::Enforce);
    gauge(page, "enforcing", "Whether the global mode is enforce", enforcing);
    gauge(page, "projects", "Projects in the configuration", count(report.projects.len()));
    gauge(page, "holds", "Holds in force", count(report.holds.len()));
    if let Some(bytes) = beside.journal_bytes {
        gauge(page, "journal_size_bytes", "The size of the journal on disk", number(bytes));
    }
}

/// Adds one value for each project that has one.
fn each(
    page: &mut Registry,
    projects: &[ProjectReport],
    (name, help): (&str, &str),
    value: impl Fn(&ProjectReport) -> Option<f64>,
) {
    let gauges = Gauges::new(page, name, help);
    for project in projects {
        if let Some(value) = value(project) {
            gauges.set(&labels(Some(&project.name), &[]), value);
        }
    }
}

fn of_the_projects(page: &mut Registry, report: &Report) {
    let projects = &report.projects;
    let mut each =
        |name, help, value: &dyn Fn(&ProjectReport) -> Option<f64>| each(page, projects, (name, help), value);
    each("clusters", "Clusters that are watched", &|it| Some(count(it.live.as_ref()?.watched)));
    each("last_list_timestamp_seconds", "The last complete poll of the list of clusters", &|it| {
        it.live.as_ref()?.last_list.map(seconds)
    });
    each(
        "oldest_poll_timestamp_seconds",
        "Of all watched clusters, the oldest last successful poll",
        &|it| it.live.as_ref()?.oldest().map(seconds),
    );
    each("poll_age_limit_seconds", "A poll that is older than this is too old", &|it| {
        Some(it.live.as_ref()?.poll_age_limit_seconds)
    });
    each("tasks_running_too_long", "Tasks that run longer than their policies expect", &|it| {
        Some(count(it.tasks.iter().filter(|task| task.runs_too_long_since.is_some()).count()))
    });
    each("unknown_outcomes", "Retry and abort requests whose outcome is unknown", &|it| {
        Some(f64::from(it.unknown_outcomes))
    });
    each("actions_last_hour", "Retry and abort requests within the last hour", &|it| {
        Some(f64::from(it.actions_last_hour.0))
    });
    each("actions_per_hour_limit", "Limit of retry and abort requests within an hour", &|it| {
        Some(f64::from(it.actions_last_hour.1))
    });
    #[expect(clippy::cast_precision_loss, reason = "clocks are not 2^52 seconds apart")]
    each("clock_offset_seconds", "This machine's clock minus the CSS API's clock", &|it| {
        it.live.as_ref()?.clock_offset_seconds.map(|offset| offset as f64)
    });

    let tasks = Gauges::new(page, "tasks", "Unfinished tasks");
    let breakers = Gauges::new(
        page,
        "breaker_state",
        "1 for the current state of the circuit breaker, 0 for the others",
    );
    let conditions = Gauges::new(page, "conditions", "Conditions in force");
    for project in projects {
        let name = Some(&project.name);
        for kind in [TaskKind::Upgrade, TaskKind::AzSwitchover] {
            for phase in PhaseWord::UNFINISHED {
                let tasks_of = project.tasks.iter().filter(|task| task.kind == kind);
                let of_it = tasks_of.filter(|task| task.outlook.phase == Some(phase));
                tasks.set(
                    &labels(name, &[("kind", kind.word()), ("phase", phase.word())]),
                    count(of_it.count()),
                );
            }
        }
        for state in BreakerState::ALL {
            breakers.set(&labels(name, &[("state", state.word())]), flag(project.breaker == state));
        }
        for code in Code::ALL {
            let of_it = report
                .conditions
                .iter()
                .filter(|condition| condition.project.as_ref() == name && condition.code == code.word());
            conditions.set(&labels(name, &[("condition", code.word())]), count(of_it.count()));
        }
    }
}

fn of_the_process(page: &mut Registry, process: &Process) {
    let Process { started, cpu_seconds, resident_bytes, open_fds, max_fds } = process;
    for (name, help, value) in [
        ("process_start_time_seconds", "When the process started", *started),
        ("process_resident_memory_bytes", "Memory in use", resident_bytes.map(number)),
        ("process_open_fds", "Open files and sockets", open_fds.map(number)),
        ("process_max_fds", "Limit of open files and sockets", max_fds.map(number)),
    ] {
        if let Some(value) = value {
            gauge(page, name, help, value);
        }
    }
    if let Some(cpu) = cpu_seconds {
        page.register("process_cpu_seconds", "Processor time", ConstCounter::new(*cpu));
    }
}

/// Converts the `OpenMetrics` form to Prometheus' own, which names a counter in its comments as in
/// its samples.
fn as_prometheus_reads_it(open_metrics: &str) -> String {
    let mut page = String::with_capacity(open_metrics.len() + 256);
    let mut lines = open_metrics.lines().peekable();
    while let Some(line) = lines.next() {
        let help = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' '));
        let of_counter = |name: &str| format!("# TYPE {name} counter");
        if let Some((name, help)) = help
            && lines.next_if(|line| *line == of_counter(name)).is_some()
        {
            page.extend(["# HELP ", name, "_total ", help, "\n# TYPE ", name, "_total counter\n"]);
        } else {
            page.extend([line, "\n"]);
        }
    }
    page
}

#[cfg(test)]
mod tests;
