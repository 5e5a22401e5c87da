//! What people and other programs do to a task meanwhile, and readings that show the past.

use upgrade_remediator::journal::MemoryJournal;
use upgrade_remediator::model::event::{Event, StoredEntry};

use super::harness::{FAILED, HOPELESS, HOUR, MINUTE, SECOND, Setup};

fn by_hand(base: &str, what: &str) -> String {
    base.replace("[[cluster.task]]", &format!("[[cluster.by_hand]]\n{what}\n[[cluster.task]]"))
}

#[tokio::test]
async fn a_retry_by_hand_during_the_backoff_is_waited_for_and_uses_one_up() {
    // It works.
    let mut harness = Setup::new(&by_hand(FAILED, "do = \"retry\"\nat = \"1m\"")).start().await;
    harness.pass(3 * HOUR).await;
    assert_eq!((harness.sent().len(), harness.end()), (0, "resolved-externally".to_owned()));

    // It fails again.
    let mut harness = Setup::new(&by_hand(HOPELESS, "do = \"retry\"\nat = \"1m\"")).retries(2).start().await;
    harness.pass(MINUTE + 30 * SECOND).await;
    assert_eq!(harness.reconcile().await, "running");
    harness.pass(5 * HOUR).await;
    assert_eq!((harness.sent().len(), harness.aborts()), (2, 1), "one retry of ours and the abort");
    assert_eq!((harness.used(), harness.known().used_ever.external), (1, 1));
}

#[tokio::test]
async fn a_retry_by_hand_uses_none_up_where_the_policy_says_so() {
    let setup = Setup::new(&by_hand(HOPELESS, "do = \"retry\"\nat = \"1m\"")).retries(2);
    let mut harness = setup.terms(|terms| terms.retry.count_external = false).start().await;
    harness.pass(5 * HOUR).await;
    assert_eq!((harness.sent().len(), harness.aborts(), harness.used()), (3, 1, 2));
}

#[tokio::test]
async fn a_retry_by_hand_that_fails_between_two_looks_is_a_new_failure_and_no_touch() {
    // Reconciles every 30 s; the task fails again within 10 s.
    let text = by_hand(HOPELESS, "do = \"retry\"\nat = \"6m 1s\"");
    let setup = Setup::new(&format!("node_time = \"30s\"\n{text}"));
    let mut harness = setup.terms(|terms| terms.retry.initial_interval = 20 * MINUTE).start().await;
    harness.pass(7 * MINUTE).await;
    assert_eq!(harness.reconcile().await, "backoff");
    assert_eq!(harness.known().failure.unwrap().seen.number, 2);
    assert_eq!(harness.known().used_ever.external, 1);
    assert_eq!(harness.end(), "open");
}

#[tokio::test]
async fn each_kind_of_termination_by_hand_during_the_backoff_keeps_the_daemon_away() {
    for (leaves, end) in
        [("vanishes", "gone"), ("TERMINATED", "open"), ("field", "human: changed-externally")]
    {
        for at in ["6m", "10m", "19m 50s"] {
            let text = by_hand(HOPELESS, &format!("do = \"abort\"\nat = \"{at}\"\nleaves = \"{leaves}\""));
            let setup = Setup::new(&text).terms(|terms| terms.retry.initial_interval = 20 * MINUTE);
            let mut harness = setup.start().await;
            harness.pass(6 * HOUR).await;
            assert_eq!((harness.sent().len(), harness.end()), (0, end.to_owned()), "{leaves} {at}");
        }
    }
}

#[tokio::test]
async fn a_termination_by_hand_that_changes_nothing_cannot_be_seen() {
    // The documented limit: hold first, then act by hand. What is sent is at least no abort of ours too much.
    let text = by_hand(FAILED, "do = \"abort\"\nat = \"1m\"\nleaves = \"nothing\"");
    let mut harness = Setup::new(&text).start().await;
    harness.pass(3 * HOUR).await;
    assert_eq!((harness.sent().len(), harness.aborts()), (1, 0));
}

#[tokio::test]
async fn a_retry_by_hand_after_the_escalation_is_told_and_nothing_is_sent() {
    let text = by_hand(HOPELESS, "do = \"retry\"\nat = \"2h\"");
    let text =
        format!("{text}\n[[fault]]\non = \"put\"\nwhat = \"status\"\nstatus = 400\ncode = \"CSS.0001\"");
    let mut harness = Setup::new(&text).start().await;
    harness.pass(HOUR).await;
    assert_eq!(harness.end(), "human: not-acceptable");
    let failures = harness.recorder.heard("failed");
    harness.pass(5 * HOUR).await;
    assert_eq!(harness.recorder.heard("failed"), failures + 1, "a new failure is told");
    assert_eq!((harness.recorder.heard("running"), harness.sent().len()), (1, 1));
    assert_eq!(harness.reconcile().await, "needs-operator");

    let text = text.replace("times = \"always\"", "times = 1");
    let mut harness = Setup::new(&text).start().await;
    harness.pass(5 * HOUR).await;
    assert_eq!((harness.end(), harness.sent().len()), ("resolved-externally".to_owned(), 1));
}

#[tokio::test]
async fn a_newer_task_closes_the_failed_one() {
    for kind in ["upgrade", "az-switchover"] {
        let text =
            format!("{FAILED}[[cluster.task]]\nkind = \"{kind}\"\nstart = \"1m\"\nfail = [{{ node = 3 }}]\n");
        let mut harness = Setup::new(&text).start().await;
        harness.pass(5 * HOUR).await;
        let sent = harness.sent();
        assert_eq!(sent.len(), 1, "{kind}");
        let project_state = harness.reconciler.project_state();
        let history = project_state.clusters.values().next().unwrap();
        let closings: Vec<_> = history.tasks.values().map(|task| task.outcome().unwrap().word()).collect();
        assert!(closings.contains(&"superseded") && closings.contains(&"resolved"), "{kind}: {closings:?}");
        assert_eq!(sent[0].request.task.as_deref(), Some(history.newest_start.clone().unwrap().1.as_str()));
    }
}

#[tokio::test]
async fn readings_that_show_the_past_of_a_minute_let_nothing_out_twice() {
    for (text, sent, end) in [(FAILED, 1, "resolved"), (HOPELESS, 4, "aborted")] {
        let text = format!("{text}\n[ways]\nstale_for = \"60s\"");
        let mut harness = Setup::new(&text).retries(3).start().await;
        harness.pass(6 * HOUR).await;
        assert_eq!((harness.sent().len(), harness.end()), (sent, end.to_owned()));
        let executions: Vec<_> = harness
            .sent()
            .iter()
            .filter_map(|sent| sent.request.put.clone())
            .map(|put| put.execution)
            .collect();
        assert_eq!(executions, (1..=sent as u64).collect::<Vec<_>>(), "one PUT for each failure");
    }
}

#[tokio::test]
async fn stale_readings_after_an_unknown_outcome_let_nothing_out_twice() {
    for taken in [true, false] {
        let text = format!(
            "{FAILED}\n[ways]\nstale_for = \"60s\"\n[[fault]]\non = \"put\"\nwhat = \"cut\"\ntaken = {taken}"
        );
        let mut harness = Setup::new(&text).start().await;
        harness.pass(5 * HOUR).await;
        assert_eq!(harness.sent().len(), if taken { 1 } else { 2 });
        assert_eq!((harness.used(), harness.end()), (1, "resolved".to_owned()));
    }
}

#[tokio::test]
async fn a_change_soon_after_the_first_sight_is_only_late() {
    // Within settle_timeout it becomes what later readings are compared with.
    let text = by_hand(FAILED, "do = \"abort\"\nat = \"1m\"\nleaves = \"field\"");
    let mut harness = Setup::new(&text).start().await;
    harness.pass(90 * SECOND).await;
    assert_eq!((harness.reconcile().await, harness.recorder.heard("changed")), ("backoff", 1));
    harness.pass(3 * HOUR).await;
    assert_eq!((harness.sent_at(), harness.end()), (vec![120], "resolved".to_owned()));
    assert_eq!(harness.recorder.heard("changed-externally"), 0);
}

/// How each story of the journal ended, as it was told.
fn closings(harness: &super::harness::Harness) -> Vec<String> {
    let closing = |entry: upgrade_remediator::model::event::Entry| match entry.event {
        Event::Ended(closing) => Some(format!("{}: {}", closing.word(), Event::Ended(closing.clone()))),
        _ => None,
    };
    harness.entries().into_iter().filter_map(closing).collect()
}

#[tokio::test]
async fn what_others_solved_replaced_or_took_away_is_told_once_and_closed() {
    let solved = by_hand(FAILED, "do = \"retry\"\nat = \"1m\"");
    let gone = by_hand(HOPELESS, "do = \"abort\"\nat = \"6m\"\nleaves = \"vanishes\"");
    let replaced = format!("{HOPELESS}[[cluster.task]]\nkind = \"upgrade\"\nstart = \"1m\"\n");
    for (text, told) in [
        (
            solved,
            "resolved-externally: resolved externally: the task succeeded without a retry by the daemon",
        ),
        (gone, "gone: the task is gone: two polls did not find it"),
        (replaced, "superseded: the task is superseded by the newer task "),
    ] {
        let mut harness =
            Setup::new(&text).terms(|terms| terms.retry.initial_interval = 20 * MINUTE).start().await;
        harness.pass(6 * HOUR).await;
        let closings = closings(&harness);
        let of_it = closings.iter().filter(|closing| closing.starts_with(told)).count();
        assert_eq!((of_it, harness.recorder.heard("ended")), (1, closings.len()), "{closings:?}");
        let sent = harness.sent().len();
        harness.pass(2 * HOUR).await;
        assert_eq!((harness.sent().len(), harness.recorder.heard("ended")), (sent, closings.len()), "{told}");
    }
}

#[tokio::test]
async fn a_task_that_runs_too_long_is_told_once_and_left_alone() {
    // Three nodes of three hours each, where 4 h 45 min are expected.
    let text = "node_time = \"3h\"\n[[cluster]]\nname = \"a\"\n[[cluster.task]]\nkind = \"upgrade\"\nstart = \"1m\"\n";
    let mut harness = Setup::new(text).lazily().start().await;
    harness.pass(4 * HOUR).await;
    assert_eq!(harness.recorder.heard("running-too-long"), 0);
    harness.pass(2 * HOUR).await;
    assert_eq!((harness.recorder.heard("running-too-long"), harness.reconcile().await), (1, "running"));
    let since = harness.known().runs_too_long().unwrap();

    // A new process knows that it was told, and since when the task runs.
    let stored: Vec<_> = harness
        .entries()
        .into_iter()
        .map(|entry| StoredEntry {
            number: entry.number,
            at: entry.at.wall,
            subject: entry.subject,
            event: entry.event,
        })
        .collect();
    let mut harness = harness.restarted(MemoryJournal::new(1), &stored).await;
    assert_eq!(harness.known().runs_too_long().map(|since| since.wall), Some(since.wall));
    harness.pass(2 * HOUR).await;
    assert_eq!(harness.recorder.heard("running-too-long"), 0, "it was told by the process before");
    harness.pass(3 * HOUR).await;
    assert_eq!((harness.end(), harness.known().runs_too_long()), ("resolved-externally".to_owned(), None));
    assert_eq!(harness.sent().len(), 0);
}
