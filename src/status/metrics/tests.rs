//! The page's form. What it counts over a lifecycle, and its names: `tests/web/metrics.rs`.

use super::*;
use crate::model::moment::{Moment, Mono};
use crate::status::{InForce, Refused};

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn report() -> Report {
    let at = time("2026-01-02T03:04:05Z");
    let configuration = InForce {
        file: "config.toml".to_owned(),
        since: at,
        hash: "abc".to_owned(),
        warnings: Vec::new(),
        refused: None,
    };
    Report {
        version: "1.2.3".to_owned(),
        at,
        started: at,
        mode: Mode::DryRun,
        configuration,
        conditions: Vec::new(),
        projects: Vec::new(),
        holds: Vec::new(),
        policies: Vec::new(),
        channels: Vec::new(),
    }
}

fn entry(number: u64, task: &str, event: Event) -> Entry {
    let subject = Subject {
        project: ProjectName::new("prod").unwrap(),
        cluster: ClusterId::new("c-1").unwrap(),
        task: TaskId::new(task).unwrap(),
    };
    let at = Moment { wall: Timestamp::UNIX_EPOCH, mono: Mono(0) };
    Entry { number, at, subject, event }
}

#[test]
fn counters_are_named_alike_in_comments_and_samples() {
    let metrics = Metrics::default();
    metrics.call(&ProjectName::new("prod").unwrap(), "list-tasks", "ok", Duration::from_millis(70));
    let page = metrics.render(&report(), &MetricsInput::default()).unwrap();
    assert!(
        page.contains(
            "# HELP upgrade_remediator_api_requests_total Requests to the CSS API.\n\
             # TYPE upgrade_remediator_api_requests_total counter\n\
             upgrade_remediator_api_requests_total{project=\"prod\",operation=\"list-tasks\",result=\"ok\"} 1\n"
        ),
        "{page}"
    );
    assert!(
        page.contains("upgrade_remediator_api_request_duration_seconds_bucket{le=\"0.1\",project=\"prod\""),
        "{page}"
    );
    assert!(!page.contains("EOF"), "{page}");
}

#[test]
fn a_refused_reload_and_the_mode_are_told() {
    let (metrics, mut report) = (Metrics::default(), report());
    let page = metrics.render(&report, &MetricsInput::default()).unwrap();
    assert!(page.contains("\nupgrade_remediator_config_last_reload_successful 1.0\n"), "{page}");
    assert!(page.contains("\nupgrade_remediator_enforcing 0.0\n"), "{page}");
    assert!(page.contains("\nupgrade_remediator_config_info{hash=\"abc\"} 1.0\n"), "{page}");
    assert!(page.contains("timestamp_seconds 1767323045.0\n"), "{page}");
    report.mode = Mode::Enforce;
    report.configuration.refused = Some(Refused { at: report.at, problems: Vec::new() });
    let page = metrics.render(&report, &MetricsInput::default()).unwrap();
    assert!(page.contains("\nupgrade_remediator_config_last_reload_successful 0.0\n"), "{page}");
    assert!(page.contains("\nupgrade_remediator_enforcing 1.0\n"), "{page}");
}

#[test]
fn what_the_kernel_does_not_tell_is_left_out() {
    let beside = MetricsInput {
        process: Process { open_fds: Some(7), ..Process::default() },
        ..MetricsInput::default()
    };
    let page = Metrics::default().render(&report(), &beside).unwrap();
    assert!(page.contains("\nprocess_open_fds 7.0\n"), "{page}");
    assert!(!page.contains("process_cpu") && !page.contains("journal_size"), "{page}");
}

#[test]
fn a_task_whose_retries_are_used_up_counts_once_until_it_is_given_back() {
    let metrics = Metrics::default();
    let used_up = || Event::Escalated { reason: Reason::RetriesExhausted { used: 3, external: 0 } };
    let counted = || {
        let page = metrics.render(&report(), &MetricsInput::default()).unwrap();
        let line = page.lines().find_map(|line| {
            line.strip_prefix("upgrade_remediator_budgets_used_up_total{project=\"prod\"} ")
        });
        line.unwrap().to_owned()
    };
    metrics.entry(&entry(1, "t", used_up()));
    metrics.entry(&entry(2, "t", used_up()));
    assert_eq!(counted(), "1");
    metrics.entry(&entry(3, "other", used_up()));
    assert_eq!(counted(), "2");
    let nothing = Event::Escalated { reason: Reason::PartialFailed { used: 0 } };
    metrics.entry(&entry(4, "third", nothing));
    assert_eq!(counted(), "2");
    metrics.entry(&entry(5, "t", Event::Ended(crate::model::event::Outcome::Gone)));
    metrics.entry(&entry(6, "t", used_up()));
    assert_eq!(counted(), "3");
}
