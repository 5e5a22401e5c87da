//! What operators see in the sqlite3 shell.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

use std::time::Duration;

use rusqlite::Connection;
use rusqlite::types::Value;
use tempfile::TempDir;
use upgrade_remediator::journal::{Intent, Journal, SqliteJournal, SqliteOptions};
use upgrade_remediator::model::answer::{Answer, Meaning};
use upgrade_remediator::model::cluster::Traits;
use upgrade_remediator::model::decision::{Order, PassiveVerdict};
use upgrade_remediator::model::event::{Confirmation, Event, FailureSeen, Outcome, Shape, Subject};
use upgrade_remediator::model::id::{AttemptId, ClusterId, ProjectName, TaskId};
use upgrade_remediator::model::moment::{Moment, Mono};
use upgrade_remediator::model::policy::{Mode, Terms};
use upgrade_remediator::model::reason::Reason;
use upgrade_remediator::model::setup::{Nodes, Place};
use upgrade_remediator::model::task::{TaskKind, TaskStatus};

fn at(seconds: u64) -> Moment {
    Moment { wall: "2026-01-02T03:00:00Z".parse().unwrap(), mono: Mono(0) }
        .after(Duration::from_secs(seconds))
}

fn subject(task: &str) -> Subject {
    Subject {
        project: ProjectName::new("prod").unwrap(),
        cluster: ClusterId::new("c1").unwrap(),
        task: TaskId::new(task).unwrap(),
    }
}

fn shape(execute_times: u64) -> Shape {
    Shape { execute_times: Some(execute_times), end_time: "2026-01-02T02:59:00".parse().ok() }
}

fn seen(number: u32) -> Event {
    Event::Failed(Box::new(FailureSeen {
        number,
        status: TaskStatus::Failed,
        shape: shape(number.into()),
        seen_before: Duration::from_millis(15_250),
        whole: format!("{{\"n\":{number}}}"),
        completed: Some(0),
        total: 3,
        failing: "node-1: stop".to_owned(),
        external: 0,
        too_old: false,
        age_unknown: false,
        seen_to_happen: true,
        terms: Some(Terms::defaults("logs", Mode::Enforce)),
        place: Place::default(),
    }))
}

fn answer(meaning: Meaning) -> Answer {
    Answer {
        meaning,
        status: Some(200),
        code: None,
        message: "fine".to_owned(),
        request_id: Some("r-1".to_owned()),
        retry_after: Some(Duration::from_millis(2_500)),
    }
}

fn due() -> Reason {
    Reason::RetryDue { retry: 1, max_retries: 5, waited: Duration::from_mins(2) }
}

/// One story with four attempts that went differently, and a task of which nothing but a decision is known.
async fn told(directory: &TempDir) -> Connection {
    let path = directory.path().join("journal.db");
    let (journal, _) = SqliteJournal::open(&path, &SqliteOptions::new(at(0).wall, 1)).unwrap();
    let journal = Journal::from(journal);
    let record = async |seconds, event| {
        journal.record(at(seconds), vec![(subject("t1"), event)]).await.unwrap();
    };
    let begin = async |seconds| {
        let intent = Intent {
            subject: subject("t1"),
            order: Order::Retry(TaskId::new("t1").unwrap()),
            failure: 1,
            waited: Duration::from_millis(120_500),
            reason: due(),
        };
        journal.begin(at(seconds), intent).await.unwrap().attempt()
    };
    record(
        0,
        Event::FirstSeen {
            kind: TaskKind::Upgrade,
            cluster_name: "logs-1".to_owned(),
            traits: Traits::default(),
            start_time: "2026-01-02T01:00:00".parse().ok(),
            execute_times: Some(1),
            completed: Some(0),
            external: 0,
            setup: None,
            nodes: Nodes::default(),
        },
    )
    .await;
    record(0, seen(1)).await;
    record(0, Event::Decided { verdict: PassiveVerdict::Wait, reason: due() }).await;
    let settled: AttemptId = begin(10).await; // 4
    record(11, Event::Answered { attempt: settled, answer: answer(Meaning::Accepted) }).await;
    record(
        12,
        Event::ConfirmingPoll { attempt: settled, effect: true, status: TaskStatus::Failed, shape: shape(2) },
    )
    .await;
    record(13, Event::Confirmed { attempt: settled, settlement: Confirmation::Accepted }).await;
    record(13, seen(2)).await;
    let not_sent = begin(20).await; // 9
    record(21, Event::NotSent { attempt: not_sent }).await;
    let forbidden = begin(30).await; // 11
    record(31, Event::Answered { attempt: forbidden, answer: answer(Meaning::GoneOrForbidden) }).await;
    record(32, Event::StillThere { attempt: forbidden }).await;
    begin(40).await; // 14: still open
    record(50, Event::Escalated { reason: Reason::WithoutEffect { times: 2 } }).await;
    record(60, Event::Ended(Outcome::Superseded { by: TaskId::new("t2").unwrap() })).await;
    journal
        .record(
            at(70),
            vec![(subject("t2"), Event::Decided { verdict: PassiveVerdict::Wait, reason: due() })],
        )
        .await
        .unwrap();
    drop(journal);
    Connection::open(path).unwrap()
}

/// The rows as a shell prints them.
fn rows(connection: &Connection, sql: &str) -> Vec<String> {
    let mut select = connection.prepare(sql).unwrap();
    let columns = select.column_count();
    let row = |row: &rusqlite::Row<'_>| {
        let cells: Vec<_> = (0..columns)
            .map(|column| match row.get(column).unwrap() {
                Value::Null => "-".to_owned(),
                Value::Integer(number) => number.to_string(),
                Value::Real(number) => number.to_string(),
                Value::Text(text) => text,
                Value::Blob(_) => panic!("a blob"),
            })
            .collect();
        Ok(cells.join("|"))
    };
    select.query_map((), row).unwrap().map(Result::unwrap).collect()
}

#[tokio::test]
async fn attempts_stand_with_their_answer_and_how_they_were_settled() {
    let directory = TempDir::new().unwrap();
    let connection = told(&directory).await;
    assert_eq!(
        rows(
            &connection,
            "SELECT attempt, time, cluster_name, action, failure, waited_seconds, reason, outcome, http_status, \
             retry_after_seconds, confirmed_at, not_sent_at IS NOT NULL, found_still_there_at IS NOT NULL FROM attempts"
        ),
        [
            "4|2026-01-02T03:00:10.000Z|logs-1|retry|1|120.5|retry-due|accepted|200|2.5|2026-01-02T03:00:13.000Z|0|0",
            "9|2026-01-02T03:00:20.000Z|logs-1|retry|1|120.5|retry-due|not-sent|-|-|-|1|0",
            "11|2026-01-02T03:00:30.000Z|logs-1|retry|1|120.5|retry-due|gone-or-forbidden|200|2.5|-|0|1",
            "14|2026-01-02T03:00:40.000Z|logs-1|retry|1|120.5|retry-due|no-answer|-|-|-|0|0",
        ]
    );
}

#[tokio::test]
async fn tasks_show_their_first_failure_whole_and_how_they_ended() {
    let directory = TempDir::new().unwrap();
    let connection = told(&directory).await;
    assert_eq!(
        rows(
            &connection,
            "SELECT project, cluster_name, cluster, task, kind, first_seen, start_time, first_failed, \
             status_when_failed, failures, attempts, last_escalated, outcome, whole FROM tasks"
        ),
        [
            "prod|logs-1|c1|t1|upgrade|2026-01-02T03:00:00.000Z|2026-01-02T01:00:00|2026-01-02T03:00:00.000Z|FAILED|\
          2|4|2026-01-02T03:00:50.000Z|superseded|{\"n\":1}"
        ]
    );
}

#[tokio::test]
async fn each_kind_of_event_has_a_view_with_plain_columns() {
    let directory = TempDir::new().unwrap();
    let connection = told(&directory).await;
    assert_eq!(
        rows(
            &connection,
            "SELECT cluster_name, failure, status, execute_times, end_time, completed, total, failing, too_old, \
             seen_to_happen, seen_before_seconds, policy, mode, whole FROM failures"
        ),
        [
            "logs-1|1|FAILED|1|2026-01-02T02:59:00|0|3|node-1: stop|0|1|15.25|logs|enforce|{\"n\":1}",
            "logs-1|2|FAILED|2|2026-01-02T02:59:00|0|3|node-1: stop|0|1|15.25|logs|enforce|{\"n\":2}",
        ]
    );
    assert_eq!(
        rows(&connection, "SELECT number, attempt, effect, status, execute_times FROM confirming_polls"),
        ["6|4|1|FAILED|2"]
    );
    assert_eq!(
        rows(
            &connection,
            "SELECT task, cluster_name, verdict, reason, json_extract(details, '$.max_retries') FROM decisions"
        ),
        ["t1|logs-1|wait|retry-due|5", "t2|-|wait|retry-due|5"],
        "the name is known only where the task was seen first"
    );
    assert_eq!(
        rows(&connection, "SELECT time, reason, details FROM escalations"),
        ["2026-01-02T03:00:50.000Z|without-effect|{\"code\":\"without-effect\",\"times\":2}"]
    );
    assert_eq!(rows(&connection, "SELECT outcome, superseded_by FROM outcomes"), ["superseded|t2"]);
    assert_eq!(rows(&connection, "SELECT count(*), count(cluster_name) FROM entries"), ["17|16"]);
}
