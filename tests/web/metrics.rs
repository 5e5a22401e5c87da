//! The page for Prometheus: the names of `docs/metrics.md` and no others, sound by promtool, and true of what a daemon did.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use upgrade_remediator::clock::SystemClock;
use upgrade_remediator::daemon::{Measured, process};
use upgrade_remediator::journal::Intent;
use upgrade_remediator::journal::memory::MemoryJournal;
use upgrade_remediator::model::answer::{Answer, Meaning};
use upgrade_remediator::model::decision::{Order, PassiveVerdict};
use upgrade_remediator::model::event::{Confirmation, Event, Outcome, Subject};
use upgrade_remediator::model::id::{ClusterId, ProjectName, TaskId};
use upgrade_remediator::model::level::Level;
use upgrade_remediator::model::moment::{Moment, Mono};
use upgrade_remediator::model::reason::Reason;
use upgrade_remediator::model::record::PhaseWord;
use upgrade_remediator::status::metrics::{Metrics, MetricsInput};
use upgrade_remediator::status::{BreakerState, ConditionReport, Report};

use crate::support::{Bench, FAILED_ONCE, RETRIES};
use crate::tools::PROMTOOL;

/// Metrics with their label names.
type Names = BTreeMap<String, BTreeSet<String>>;

/// As the document's table has them.
fn documented() -> Names {
    let mut names = Names::new();
    for row in include_str!("../../docs/metrics.md").lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let labels = cells[3].split(", ").filter(|label| !label.is_empty());
        let labels = labels.map(|label| label.trim_matches('`').to_owned()).collect();
        names.insert(cells[1].trim_matches('`').to_owned(), labels);
    }
    names
}

/// As the page has them, the series of a histogram under its name.
fn shown(page: &str) -> Names {
    let mut names = Names::new();
    for line in page.lines().filter(|line| !line.starts_with('#')) {
        let (series, _) = line.rsplit_once(' ').unwrap();
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        let name = ["_bucket", "_sum", "_count"]
            .into_iter()
            .find_map(|end| {
                name.strip_suffix(end).filter(|name| page.contains(&format!("# TYPE {name} histogram\n")))
            })
            .unwrap_or(name);
        let labels = labels.trim_end_matches('}').split("\",").filter_map(|label| label.split_once("=\""));
        let labels = labels.map(|(label, _)| label.to_owned()).filter(|label| label != "le");
        names.entry(name.to_owned()).or_default().extend(labels);
    }
    names
}

/// The value of one series.
fn value(page: &str, series: &str) -> Option<f64> {
    page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
}

fn subject() -> Subject {
    Subject {
        project: ProjectName::new("test").unwrap(),
        cluster: ClusterId::new("secret-cluster").unwrap(),
        task: TaskId::new("secret-task").unwrap(),
    }
}

fn now() -> Moment {
    Moment { wall: "2026-01-02T03:04:05Z".parse().unwrap(), mono: Mono(0) }
}

/// A retry without effect, one that is accepted by its answer, an escalation and the end.
async fn story(metrics: &Arc<Metrics>) {
    let journal =
        Measured::over(&MemoryJournal::new(1).into(), Arc::new(SystemClock::new()), Arc::clone(metrics));
    for meaning in [Meaning::ForbiddenCluster, Meaning::Accepted] {
        let until = now().wall;
        let reason = Reason::Backoff { retry: 1, max_retries: 3, wait: Duration::from_mins(1), until };
        let decided = Event::Decided { verdict: PassiveVerdict::Wait, reason };
        journal.record(now(), vec![(subject(), decided)]).await.unwrap();
        let due = Reason::RetryDue { retry: 1, max_retries: 3, waited: Duration::from_mins(1) };
        let order = Order::Retry(subject().task);
        let intent =
            Intent { subject: subject(), order, failure: 1, waited: Duration::from_mins(1), reason: due };
        let attempt = journal.begin(now(), intent).await.unwrap().attempt();
        let (code, request_id, retry_after) = (None, None, None);
        let answer =
            Answer { meaning, status: Some(200), code, message: String::new(), request_id, retry_after };
        journal.record(now(), vec![(subject(), Event::Answered { attempt, answer })]).await.unwrap();
        let settled = Event::Confirmed { attempt, settlement: Confirmation::WithoutEffect };
        journal.record(now(), vec![(subject(), settled)]).await.unwrap();
    }
    let reason = Reason::RetriesExhausted { used: 2, external: 0 };
    let lines = [Event::Escalated { reason }, Event::Ended(Outcome::ResolvedExternally)];
    journal.record(now(), lines.map(|event| (subject(), event)).to_vec()).await.unwrap();
}

/// What a real daemon tells of itself, with a task of an operator.
async fn real_report() -> Report {
    let policy = RETRIES
        .replace("max_retries = 3", "max_retries = 0")
        .replace("abort_grace", "on_exhausted = \"escalate\"\nabort_grace");
    let bench = Bench::new(FAILED_ONCE, &policy).await;
    let _daemon = bench.daemon();
    bench.journaled("the escalation", |event| matches!(event, Event::Escalated { .. })).await;
    let (code, out, err) = bench.runs(&["status", "--json"]).await;
    assert_eq!(code, 0, "{err}");
    serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_has_the_names_of_the_document_and_is_sound() {
    let metrics = Arc::new(Metrics::default());
    story(&metrics).await;
    metrics.iam_call("robot", "sign-in", "ok");
    metrics.call(&subject().project, "list-tasks", "throttled", Duration::from_millis(1));
    let mut report = real_report().await;
    let project = &mut report.projects[0];
    report.conditions = vec![ConditionReport {
        code: "breaker-open".to_owned(),
        level: Level::Critical,
        project: Some(project.name.clone()),
        cluster: None,
        since: report.at,
        text: "many failed".to_owned(),
        next_step: None,
    }];
    project.breaker = BreakerState::HalfOpen;
    let beside = MetricsInput { journal_bytes: Some(4096), process: process::read() };
    let page = metrics.render(&report, &beside).unwrap();

    let (documented, shown) = (documented(), shown(&page));
    assert!(documented.len() > 30, "{documented:?}");
    assert_eq!(documented, shown, "docs/metrics.md on the left, the page on the right");
    // What tells one cluster from another stays out.
    let task = &report.projects[0].tasks[0];
    for word in ["secret", task.cluster.as_str(), task.task.as_str(), &task.cluster_name] {
        assert!(!page.contains(word), "{word}: {page}");
    }

    for (series, expected) in [
        ("decisions_total{project=\"test\",reason=\"backoff\"}", 2.0),
        ("decisions_total{project=\"test\",reason=\"retry-due\"}", 2.0),
        ("attempts_total{project=\"test\",action=\"retry\",outcome=\"accepted\"}", 1.0),
        ("attempts_total{project=\"test\",action=\"retry\",outcome=\"forbidden\"}", 1.0),
        ("attempts_total{project=\"test\",action=\"abort\",outcome=\"not-sent\"}", 0.0),
        ("settlements_total{project=\"test\",outcome=\"without-effect\"}", 2.0),
        ("escalations_total{project=\"test\",reason=\"retries-exhausted\"}", 1.0),
        ("outcomes_total{project=\"test\",outcome=\"resolved-externally\"}", 1.0),
        ("budgets_used_up_total{project=\"test\"}", 1.0),
        ("iam_requests_total{credentials=\"robot\",operation=\"sign-in\",result=\"ok\"}", 1.0),
        // Each begin, record and so on is one commit.
        ("journal_commit_duration_seconds_count", 9.0),
        ("tasks{project=\"test\",kind=\"upgrade\",phase=\"escalated\"}", 1.0),
        ("tasks{project=\"test\",kind=\"upgrade\",phase=\"running\"}", 0.0),
        ("breaker_state{project=\"test\",state=\"half-open\"}", 1.0),
        ("breaker_state{project=\"test\",state=\"closed\"}", 0.0),
        ("conditions{project=\"test\",condition=\"breaker-open\"}", 1.0),
        ("conditions{project=\"test\",condition=\"unreachable\"}", 0.0),
        ("clusters{project=\"test\"}", 1.0),
    ] {
        assert_eq!(value(&page, &format!("upgrade_remediator_{series}")), Some(expected), "{series}: {page}");
    }

    let mut promtool = Command::new(&*PROMTOOL);
    let promtool = promtool.args(["check", "metrics"]).stdin(Stdio::piped());
    let mut child = promtool.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(page.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let told =
        [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    assert!(output.status.success() && told.trim().is_empty(), "{told}\n{page}");
}

/// What a running daemon sees of a project is fresh, and tells when it is not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_tells_how_fresh_its_looks_are() {
    let report = real_report().await;
    assert_eq!(report.configuration.hash.len(), 12);
    let project = &report.projects[0];
    assert_eq!((project.breaker, project.unknown_outcomes), (BreakerState::Closed, 0));
    assert_eq!(project.tasks[0].outlook.phase, Some(PhaseWord::Escalated));
    let live = project.live.as_ref().unwrap();
    assert_eq!(report.conditions, []);
    assert_eq!((live.watched, live.never_read, live.never_read_since, live.unreachable), (1, 0, None, 0));
    assert_eq!(live.oldest(), live.oldest_poll);
    for at in [live.last_list, live.oldest_poll] {
        let age = report.at.duration_since(at.unwrap());
        assert!(!age.is_negative() && age.as_secs() < 20, "{live:?}");
    }
    assert!(live.clock_offset_seconds.unwrap().abs() < 5, "{live:?}");
    assert!(live.poll_age_limit_seconds > 0.0, "{live:?}");

    // A service that is not there: nothing is read, and that is told.
    let bench = Bench::new(FAILED_ONCE, RETRIES).await;
    bench.configure("http://127.0.0.1:9", RETRIES);
    let daemon = bench.daemon();
    daemon.says("its clusters cannot be polled").await;
    let (_, out, _) = bench.runs(&["status", "--json"]).await;
    let report: Report = serde_json::from_str(&out).unwrap();
    let live = report.projects[0].live.as_ref().unwrap();
    let conditions: Vec<&str> = report.conditions.iter().map(|condition| condition.code.as_str()).collect();
    assert_eq!(conditions, ["unreachable"]);
    assert_eq!((live.watched, live.last_list, live.oldest()), (0, None, None));
}

/// The words that the alerts ask for are words that the page has.
#[test]
fn the_alerts_ask_for_words_that_the_page_has() {
    let rules = include_str!("../../config/monitoring/alerts.yaml");
    let states: BTreeSet<&str> = BreakerState::ALL.map(BreakerState::word).into();
    let phases: BTreeSet<&str> = PhaseWord::UNFINISHED.map(PhaseWord::word).into();
    let grace = Duration::ZERO;
    let pending = Reason::AbortPending { used: 0, external: 0, grace, after_put: None, until: now().wall };
    let mut found = 0;
    for (label, known) in
        [("state=", states), ("phase=", phases), ("reason=\"", BTreeSet::from([pending.code()]))]
    {
        for rest in rules.split(label).skip(1) {
            let words = rest.trim_start_matches(['~', '"']).split('"').next().unwrap();
            for word in words.split('|') {
                assert!(known.contains(word), "{label}{word}");
                found += 1;
            }
        }
    }
    assert!(found >= 5, "{found}");
}
