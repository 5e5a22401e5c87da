//! What only a database can do: another process takes over, an answer is lost, two processes begin it at once.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::time::Duration;

use upgrade_remediator::journal::postgres::connect::Limits;
use upgrade_remediator::journal::postgres::{
    Connector, PostgresOptions, PostgresUrl, ReadSecret, SchemaName,
};
use upgrade_remediator::journal::{Found, Journal, JournalError, JournalLocation, Query};
use upgrade_remediator::model::event::{Event, StoredEntry};
use upgrade_remediator::model::hold::{NewHold, Scope};
use upgrade_remediator::model::outbox::OutboxWrite;
use upgrade_remediator::model::secret::Secret;
use upgrade_remediator::model::text::chain;

use crate::conformance::entries::intent;
use crate::conformance::outbox::note;
use crate::conformance::{Kind as _, PATIENT, at, in_postgres, opening, project, subject, wall};
use crate::server::{DATABASE, PASSWORD, fresh_name, server};

/// The journal in a schema, as a process opens it whose statements may take so long.
fn location(schema: &str, statement: Duration) -> JournalLocation {
    let options = PostgresOptions {
        password: Some(ReadSecret::constant(Secret::from(PASSWORD))),
        schema: SchemaName::new(schema).unwrap(),
        ..PostgresOptions::new(PostgresUrl::parse(&server().url()).unwrap())
    };
    let limits = Limits { connect: PATIENT, whole: PATIENT, statement };
    JournalLocation::Postgres(Connector::new(options).unwrap().with_limits(limits))
}

fn opened(schema: &str, statement: Duration) -> Journal {
    location(schema, statement).open(&opening(), |_| {}).unwrap().journal
}

/// What stands in it, in short.
fn words(entries: &[StoredEntry]) -> Vec<String> {
    entries.iter().map(|entry| format!("{} {}", entry.number, entry.event.word())).collect()
}

async fn record(journal: &Journal, event: Event) -> Result<u64, JournalError> {
    let entries = journal.record(at(1), vec![(subject("prod", "c-1", "task"), event)]).await?;
    Ok(entries[0].number)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_process_has_taken_over_takes_nothing_more_from_the_former_one() {
    let kind = in_postgres(&server().url());
    let former = kind.open();
    record(&former, Event::Missing).await.unwrap();
    let leased = former.leased(&project("prod")).await.unwrap();
    let other = kind.open();
    let is_fenced = |error: &JournalError| matches!(error, JournalError::Fenced { ours: 1, term: 2 });
    for journal in [&former, &leased] {
        let error = record(journal, Event::Missing).await.unwrap_err();
        assert!(is_fenced(&error), "{error}");
        let error = journal.begin(at(1), intent()).await.unwrap_err();
        assert!(is_fenced(&error), "{error}");
    }
    let write = || OutboxWrite::Note(note("prod", &["ops"]));
    let join = || OutboxWrite::Join { channel: "ops".to_owned() };
    let error = former.write(vec![join(), write()]).await.unwrap_err();
    assert!(is_fenced(&error), "{error}");
    former.forget(vec![subject("prod", "c-1", "task")]).await.unwrap_err();
    assert!(other.kept().await.unwrap().channels.is_empty(), "nothing of it was kept");
    assert_eq!(record(&other, Event::Reappeared).await.unwrap(), 2);
    assert_eq!(other.write(vec![join(), write()]).await.unwrap().len(), 1);
    assert_eq!(words(&other.entries(Query::default()).await.unwrap()), ["1 missing", "2 reappeared"]);
    // A hold is an operator's word, and is kept from anywhere.
    let (reason, by) = ("x".to_owned(), "uid 0".to_owned());
    let hold = NewHold { at: wall(), scope: Scope::All, cluster_name: None, until: None, reason, by };
    assert_eq!(former.place_hold(hold).await.unwrap().number, 1);
}

/// Holds the lock of the project's row while the journal is to keep an intent. `frees`: what lets go of it.
async fn without_an_answer(frees: impl AsyncFnOnce(&str)) -> (Vec<String>, Vec<String>) {
    let schema = fresh_name();
    let journal = opened(&schema, Duration::from_millis(500));
    record(&journal, Event::Missing).await.unwrap();
    // The lock is an admin's, in a session of its own.
    let mut lock = Connector::new(PostgresOptions {
        password: Some(ReadSecret::constant(Secret::from(PASSWORD))),
        ..PostgresOptions::new(PostgresUrl::parse(&server().url()).unwrap())
    })
    .unwrap()
    .connect()
    .await
    .unwrap();
    lock.batch(&format!("BEGIN; SELECT FROM {schema}.project WHERE name = 'prod' FOR UPDATE")).await.unwrap();
    let error = journal.begin(at(2), intent()).await.unwrap_err();
    let told = chain(&error);
    assert!(told.contains("whether") && told.contains("kept the statement is unknown"), "{told}");
    assert!(told.contains("no answer within"), "{told}");
    frees(&schema).await;
    lock.batch("ROLLBACK").await.unwrap();
    // Nobody waits for it any more, and the database may do it at any time.
    let waits = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%{schema}%' AND wait_event_type = 'Lock'"
    );
    while server().sql(DATABASE, &waits) != "0" {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    record(&journal, Event::Reappeared).await.unwrap();
    let now = words(&journal.entries(Query::default()).await.unwrap());
    journal.close().await.unwrap();
    let mut found = Vec::new();
    location(&schema, PATIENT).open(&opening(), |entry| found.push(entry)).unwrap();
    (now, words(&found))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_intent_whose_commit_had_no_answer_and_was_kept_is_journaled_as_not_sent() {
    let (now, found) = without_an_answer(async |_| {}).await;
    assert_eq!(now, ["1 missing", "2 intent", "3 not-sent", "4 reappeared"]);
    assert_eq!(found, now);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_intent_whose_commit_had_no_answer_and_was_not_kept_leaves_nothing() {
    let ends = async |schema: &str| {
        let all = format!(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
             WHERE query LIKE '%{schema}%' AND wait_event_type = 'Lock'"
        );
        assert_eq!(server().sql(DATABASE, &all), "1");
    };
    let (now, found) = without_an_answer(ends).await;
    assert_eq!(now, ["1 missing", "2 reappeared"]);
    assert_eq!(found, now);
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_that_begin_a_journal_at_once_begin_one() {
    let schema = fresh_name();
    let opens = (0..4).map(|_| {
        let schema = schema.clone();
        tokio::task::spawn_blocking(move || {
            location(&schema, PATIENT)
                .open(&opening(), |_| {})
                .map(|opened| (opened.found == Found::New, opened.journal))
        })
    });
    let mut ids = Vec::new();
    let mut created = 0;
    for open in opens.collect::<Vec<_>>() {
        let (is_new, journal) = open.await.unwrap().unwrap();
        ids.push(journal.meta().clone());
        created += u32::from(is_new);
    }
    ids.dedup();
    assert_eq!((ids.len(), created), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journal_that_is_newer_damaged_or_not_there_is_refused_in_words() {
    let schema = fresh_name();
    let refused = || {
        let refused = location(&schema, PATIENT).reader().err().unwrap();
        assert!(!chain(&refused).contains(PASSWORD));
        refused
    };
    let missing = refused();
    assert!(missing.is_missing() && missing.to_string().contains("start the daemon once"), "{missing}");
    let journal = opened(&schema, PATIENT);
    record(&journal, Event::Missing).await.unwrap();
    let both = || {
        let opened = location(&schema, PATIENT).open(&opening(), |_| {}).err().unwrap();
        chain(&opened)
    };
    let sql = |sql: &str| server().sql(DATABASE, &sql.replace('@', &format!("{schema}.")));
    sql("UPDATE @entry SET event = 'reappeared'");
    let told = both();
    assert!(told.contains("entry 1 of project \"prod\"") && told.contains("restore a backup"), "{told}");
    sql("UPDATE @entry SET event = 'missing'; UPDATE @journal SET schema = 99");
    for told in [both(), chain(&refused())] {
        assert!(told.contains("has schema 99") && told.contains("or a newer one"), "{told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journal_that_went_back_keeps_nothing_more() {
    let schema = fresh_name();
    let journal = opened(&schema, PATIENT);
    for _ in 0..3 {
        record(&journal, Event::Missing).await.unwrap();
    }
    let sql = format!(
        "DELETE FROM {schema}.entry WHERE number > 1; UPDATE {schema}.project SET last = 1 WHERE key > 0"
    );
    server().sql(DATABASE, &sql);
    for _ in 0..2 {
        let error = journal.begin(at(1), intent()).await.unwrap_err();
        assert!(matches!(error, JournalError::WentBack { known: 3, found: 1, .. }), "{error}");
    }
}
