//! Restarts, and a journal that was lost.

use std::time::Duration;

use upgrade_remediator::journal::{MemoryJournal, SqliteJournal, SqliteOptions};
use upgrade_remediator::model::decision::{Action, ManualOrder};
use upgrade_remediator::simulator::log::PutKind;

use super::harness::{FAILED, HOPELESS, HOUR, Harness, MINUTE, SECOND, Setup, shortly_before};
use crate::edited::Edited;

fn executed(times: u64) -> String {
    Edited::of(HOPELESS).set("cluster.task.execute_times", i64::try_from(times).unwrap()).text()
}

async fn restarted(harness: Harness) -> Harness {
    let (journal, stored) = ((*harness.journal).clone(), harness.journal.stored());
    harness.restarted(journal, &stored).await
}

#[tokio::test]
async fn executions_before_a_lost_journal_count_as_used_while_no_node_is_done() {
    // Executed three times: two retries are used, of three.
    let mut harness = Setup::new(&executed(3)).retries(3).start().await;
    harness.pass(6 * HOUR).await;
    let kinds: Vec<_> = harness.sent().iter().map(|sent| sent.kind).collect();
    assert_eq!(kinds, [PutKind::Retry, PutKind::Abort]);
    assert_eq!(harness.sent_at()[0], 8 * 60, "and its wait is that of the third retry");

    // Used up: it counts as first seen under the policy in force, and the grace applies.
    let mut harness = Setup::new(&executed(4)).retries(3).start().await;
    harness.pass(shortly_before(15 * MINUTE)).await;
    assert_eq!(harness.sent().len(), 0);
    harness.pass(6 * HOUR).await;
    assert_eq!((harness.aborts(), harness.sent_at(), harness.end()), (1, vec![900], "aborted".to_owned()));
}

#[tokio::test]
async fn with_a_node_done_executions_before_a_lost_journal_count_as_none() {
    let text = executed(3).replace("node = 1", "node = 2").replace("status = ", "completed = 1\nstatus = ");
    let mut harness = Setup::new(&text).retries(2).start().await;
    harness.pass(6 * HOUR).await;
    assert_eq!((harness.sent().len(), harness.aborts()), (2, 0));
    assert_eq!(harness.sent_at()[0], 120);
}

#[tokio::test]
async fn a_restart_changes_neither_the_wait_nor_what_is_used() {
    let mut whole = Setup::new(HOPELESS).retries(3).start().await;
    whole.pass(2 * HOUR).await;
    for restarts_every in [50 * SECOND, 3 * MINUTE + 7 * SECOND, 20 * MINUTE] {
        let mut harness = Setup::new(HOPELESS).retries(3).start().await;
        let mut passed = Duration::ZERO;
        while passed < 2 * HOUR {
            harness.pass(restarts_every).await;
            passed += restarts_every;
            harness = restarted(harness).await;
        }
        let kinds = |harness: &Harness| harness.sent().iter().map(|sent| sent.kind).collect::<Vec<_>>();
        assert_eq!(kinds(&harness), kinds(&whole), "{restarts_every:?}");
        assert_eq!(harness.end(), "aborted", "{restarts_every:?}");
        for (one, other) in harness.sent_at().iter().zip(whole.sent_at()) {
            assert!(
                one.abs_diff(other) <= 60,
                "{restarts_every:?}: {:?} {:?}",
                harness.sent_at(),
                whole.sent_at()
            );
        }
    }
}

#[tokio::test]
async fn a_crash_while_a_retry_is_under_way_sends_it_no_second_time() {
    for (taken, puts) in [(true, 1), (false, 2)] {
        let what = if taken { "what = \"delay\"" } else { "what = \"status\"\nstatus = 500" };
        let text = format!("{FAILED}\n[[fault]]\non = \"put\"\n{what}\ndelay = \"1h\"");
        let mut harness = Setup::new(&text).start().await;
        harness.dies_in_a_put(3 * MINUTE).await;
        let mut harness = restarted(harness).await;
        assert!(harness.known().open.is_some(), "the intent was there before the PUT left");
        harness.pass(3 * HOUR).await;
        assert_eq!((harness.sent().len(), harness.used()), (puts, 1), "taken: {taken}");
        assert_eq!(harness.end(), "resolved");
    }
}

#[tokio::test]
async fn a_crash_while_an_abort_is_under_way_is_a_humans() {
    let text = format!("{HOPELESS}\n[[fault]]\non = \"put\"\nwhat = \"delay\"\ndelay = \"1h\"");
    let mut harness = Setup::new(&text).retries(0).start().await;
    harness.dies_in_a_put(20 * MINUTE).await;
    let mut harness = restarted(harness).await;
    harness.pass(6 * HOUR).await;
    assert_eq!((harness.sent().len(), harness.end()), (1, "human: abort-unknown".to_owned()));
}

#[tokio::test]
async fn escalations_and_aborts_outlive_a_restart() {
    let fault = "[[fault]]\non = \"put\"\nwhat = \"status\"\nstatus = 400\ncode = \"CSS.0001\"";
    for (text, retries, end) in
        [(format!("{FAILED}{fault}"), 3, "human: not-acceptable"), (HOPELESS.to_owned(), 0, "aborted")]
    {
        let mut harness = Setup::new(&text).retries(retries).start().await;
        harness.pass(20 * MINUTE).await;
        assert_eq!((harness.sent().len(), harness.end()), (1, end.to_owned()));
        let mut harness = restarted(harness).await;
        harness.pass(3 * HOUR).await;
        assert_eq!((harness.sent().len(), harness.end()), (1, end.to_owned()));
        assert_eq!(harness.recorder.heard("escalated"), 0, "{end}: not told again");
    }
}

#[tokio::test]
async fn while_the_journal_cannot_be_written_nothing_is_sent() {
    let mut harness = Setup::new(FAILED).start().await;
    harness.reconcile().await;
    harness.journal.set_full(true);
    harness.pass(HOUR).await;
    assert_eq!(harness.sent().len(), 0);
    harness.journal.set_full(false);
    harness.pass(3 * HOUR).await;
    assert_eq!((harness.sent().len(), harness.end()), (1, "resolved".to_owned()));
}

#[tokio::test]
async fn an_answer_that_could_not_be_journaled_is_kept_and_nothing_is_sent_twice() {
    use upgrade_remediator::journal::memory::Failure;
    for failure in [Failure::BeforeKeeping, Failure::AfterKeeping] {
        // The first record of the reconcile that sends is the intent; the second is the answer.
        let mut harness = Setup::new(FAILED).start().await;
        harness.reconcile().await;
        harness.skip(2 * MINUTE);
        harness.journal.fail_next(failure);
        let report = harness.reconcile_at("a").await;
        assert!(report.problem.is_some(), "{failure:?}");
        assert_eq!(harness.sent().len(), 0, "{failure:?}: no PUT without its intent");
        harness.pass(3 * HOUR).await;
        assert_eq!(harness.sent().len(), 1, "{failure:?}");
    }
}

#[tokio::test]
async fn a_put_by_hand_that_left_is_not_told_as_one_that_did_not() {
    let text = format!("{FAILED}\n[[fault]]\non = \"put\"\nwhat = \"delay\"\ndelay = \"1h\"");
    let mut setup = Setup::new(&text);
    setup.poll.request_timeout = SECOND;
    let mut harness = setup.start().await;
    harness.reconciler.list().await.unwrap();
    harness.reconcile().await;
    let cluster = harness.clusters["a"].id.clone();
    let (command, by, why) = ("1".to_owned(), "uid 7".to_owned(), "now".to_owned());
    let ordered = ManualOrder { task: None, command, by, why };
    let mut order = Box::pin(harness.reconciler.act_manually(&cluster, Action::Retry, &ordered));
    let puts = || harness.requests().iter().filter(|(_, request)| request.method == "PUT").count();
    tokio::select! {
        done = &mut order => panic!("it was answered: {done:?}"),
        () = async { while puts() == 0 { tokio::time::sleep(SECOND / 500).await } } => {}
    }
    harness.journal.set_full(true);
    let error = order.await.unwrap_err();
    assert!(error.was_sent() && error.to_string().starts_with("a request was sent"), "{error}");
    harness.journal.set_full(false);
}

/// The whole of a story on the journal of the daemon itself, in a file, with a restart in its middle.
#[tokio::test]
async fn the_stories_end_alike_on_a_journal_in_a_file() {
    for (text, sent, end) in [(FAILED, 1, "resolved"), (HOPELESS, 4, "aborted")] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.db");
        let now = "2026-06-01T12:00:00Z".parse().unwrap();
        let open = || SqliteJournal::open(&path, &SqliteOptions::new(now, 1)).unwrap();
        let (journal, stored) = open();
        let mut harness = Setup::new(text).retries(3).start_on(journal, &stored).await;
        harness.pass(3 * MINUTE).await;
        assert_eq!(harness.sent().len(), 1);
        let closing = (*harness.journal).clone();
        let harness = harness.restarted(MemoryJournal::new(1), &[]).await;
        upgrade_remediator::journal::Store::close(&closing).await.unwrap();
        let (journal, stored) = open();
        assert!(!stored.is_empty());
        let mut harness = harness.restarted(journal, &stored).await;
        harness.pass(3 * HOUR).await;
        assert_eq!((harness.sent().len(), harness.end()), (sent, end.to_owned()));
    }
}
