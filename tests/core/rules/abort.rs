//! When a task is terminated, and when an operator is called instead.

use upgrade_remediator::model::policy::OnExhausted;
use upgrade_remediator::simulator::log::PutKind;

use super::harness::{HOPELESS, HOUR, Harness, MINUTE, SECOND, Setup, acted, shortly_before};
use crate::edited::Edited;

/// A hopeless task whose retries are used up at first sight.
fn exhausted(more: &str) -> Setup {
    Setup::new(&format!("{HOPELESS}\n{more}")).retries(0)
}

#[tokio::test]
async fn an_accepted_abort_closes_the_task_for_good() {
    for leaves in ["nothing", "field", "vanishes", "TERMINATED", "ABORTED"] {
        let mut harness = exhausted(&format!("[ways]\nafter_abort = \"{leaves}\"")).start().await;
        assert_eq!(harness.reconcile().await, "abort-pending", "{leaves}");
        harness.pass(shortly_before(15 * MINUTE)).await;
        assert_eq!(harness.sent().len(), 0, "{leaves}: not before its grace is over");
        harness.pass(2 * SECOND).await;
        let sent = harness.sent();
        assert_eq!((sent.len(), sent[0].kind), (1, PutKind::Abort), "{leaves}");
        assert_eq!(sent[0].request.query, [("retry_mode".to_owned(), "abort".to_owned())], "{leaves}");
        assert!(sent[0].taken, "{leaves}");
        assert_eq!(harness.end(), "aborted", "{leaves}");
        harness.pass(6 * HOUR).await;
        assert_eq!((harness.sent().len(), harness.end()), (1, "aborted".to_owned()), "{leaves}");
        assert_eq!(harness.recorder.heard("escalated"), 0, "{leaves}");
        assert_eq!(harness.recorder.heard("unclear"), 0, "{leaves}: what it shows is no riddle");
        let expected = if leaves == "vanishes" { "newest-missing" } else { "aborted-by-us" };
        assert_eq!(harness.reconcile().await, expected, "{leaves}");
    }
}

#[tokio::test]
async fn nothing_reopens_an_aborted_task_not_even_a_retry_by_hand() {
    let text = HOPELESS
        .replace("[[cluster.task]]", "[[cluster.by_hand]]\ndo = \"retry\"\nat = \"1h\"\n[[cluster.task]]");
    let mut harness = Setup::new(&text).retries(0).start().await;
    harness.pass(6 * HOUR).await;
    assert_eq!((harness.sent().len(), harness.end()), (1, "aborted".to_owned()));
    assert_eq!(harness.reconcile().await, "aborted-by-us");
}

#[tokio::test]
async fn all_retries_come_before_the_abort() {
    let mut harness = Setup::new(HOPELESS).retries(2).start().await;
    harness.pass(3 * HOUR).await;
    let kinds: Vec<_> = harness.sent().iter().map(|sent| sent.kind).collect();
    assert_eq!(kinds, [PutKind::Retry, PutKind::Retry, PutKind::Abort]);
    assert_eq!((harness.used(), harness.end()), (2, "aborted".to_owned()));
}

#[tokio::test]
async fn an_abort_of_unknown_outcome_is_escalated_and_never_sent_again() {
    for fault in [
        "what = \"server-error\"",
        "what = \"server-error\"\ntaken = true",
        "what = \"status\"\nstatus = 503\nretry_after = \"1m\"",
        "what = \"cut\"",
        "what = \"cut\"\ntaken = true",
        "what = \"truncated\"",
        "what = \"html\"",
        "what = \"200-errCode\"",
        "what = \"status\"\nstatus = 202",
        "what = \"status\"\nstatus = 204\ntaken = true",
    ] {
        let mut harness = exhausted(&format!("[[fault]]\non = \"abort\"\n{fault}")).start().await;
        harness.pass(15 * MINUTE + SECOND).await;
        assert_eq!(harness.meanings(), ["unknown"], "{fault}");
        harness.pass(30 * SECOND).await;
        assert_eq!(harness.end(), "human: abort-unknown", "{fault}");
        harness.pass(6 * HOUR).await;
        assert_eq!(harness.sent().len(), 1, "{fault}");
        assert_eq!(harness.recorder.heard("escalated"), 1, "{fault}: told once");
    }
}

#[tokio::test]
async fn an_abort_that_is_refused_goes_by_the_same_table() {
    for (fault, sent_at, end) in [
        ("what = \"202-CSS.0011\"", vec![900, 1_020], "aborted"),
        ("what = \"throttled\"\nretry_after = \"10m\"", vec![900, 1_500], "aborted"),
        ("what = \"status\"\nstatus = 400\ncode = \"CSS.0001\"", vec![900], "human: not-acceptable"),
    ] {
        let mut harness = exhausted(&format!("[[fault]]\non = \"abort\"\n{fault}")).start().await;
        harness.pass(3 * HOUR).await;
        assert_eq!((harness.sent_at(), harness.end()), (sent_at, end.to_owned()), "{fault}");
        assert_eq!(harness.aborts(), harness.sent().len(), "{fault}");
    }
    for fault in [
        "what = \"status\"\nstatus = 403",
        "what = \"status\"\nstatus = 403\ncode = \"CSS.0010\"",
        "what = \"forbidden\"",
        "what = \"gateway-not-found\"",
    ] {
        let mut harness = exhausted(&format!("[[fault]]\non = \"abort\"\n{fault}")).start().await;
        harness.pass(15 * MINUTE + 30 * MINUTE).await;
        assert_eq!(harness.aborts(), 1, "{fault}: it rests");
        harness.pass(10 * MINUTE).await;
        assert_eq!((harness.aborts(), harness.end()), (2, "aborted".to_owned()), "{fault}");
    }
}

#[tokio::test]
async fn a_task_with_a_completed_node_is_a_humans() {
    let text = Edited::of(HOPELESS).set("cluster.task.fail.node", 2).set("cluster.task.completed", 1).text();
    let mut harness = Setup::new(&text).retries(1).start().await;
    harness.pass(6 * HOUR).await;
    assert_eq!((harness.sent().len(), harness.aborts()), (1, 0));
    assert_eq!(harness.end(), "human: node-completed");
}

#[tokio::test]
async fn only_an_exactly_empty_completed_nodes_means_none() {
    for way in ["absent", "null", "blank"] {
        let mut harness =
            Setup::new(&format!("{HOPELESS}\n[ways]\ncompleted_nodes = \"{way}\"")).retries(1).start().await;
        harness.pass(6 * HOUR).await;
        assert_eq!(harness.sent().len(), 1, "{way}: retried as the policy says");
        assert_eq!((harness.aborts(), harness.end()), (0, "human: node-completed".to_owned()), "{way}");
    }
}

#[tokio::test]
async fn several_nodes_at_once_are_a_humans() {
    let text = Edited::of(HOPELESS).set("cluster.task.batch_size", 2).text();
    let mut harness = Setup::new(&text).retries(1).start().await;
    harness.pass(6 * HOUR).await;
    assert_eq!((harness.sent().len(), harness.aborts()), (1, 0));
    assert_eq!(harness.end(), "human: node-completed");
}

#[tokio::test]
async fn a_partial_failure_is_never_aborted() {
    let text = HOPELESS
        .replace("FAILED", "PARTIAL_FAILED")
        .replace("node = 1,", "node = 1, status = \"PARTIAL_FAILED\",");
    for (retries, allowed, sent) in [(0, true, 0), (2, true, 2), (2, false, 0)] {
        let setup = Setup::new(&text).retries(retries);
        let mut harness = setup.terms(|terms| terms.retry.retry_partial_failed = allowed).start().await;
        harness.pass(6 * HOUR).await;
        assert_eq!((harness.sent().len(), harness.aborts()), (sent, 0));
        assert_eq!(harness.end(), "human: partial-failed");
    }
}

#[tokio::test]
async fn the_policy_may_say_to_escalate_instead() {
    let setup = Setup::new(HOPELESS).retries(1).terms(|terms| terms.on_exhausted = OnExhausted::Escalate);
    let mut harness = setup.start().await;
    harness.pass(6 * HOUR).await;
    assert_eq!((harness.sent().len(), harness.aborts()), (1, 0));
    assert_eq!(harness.end(), "human: retries-exhausted");
}

#[tokio::test]
async fn a_failure_that_was_first_seen_under_other_terms_is_not_aborted() {
    let mut harness = Setup::new(HOPELESS).retries(5).start().await;
    harness.reconcile().await;
    let mut fewer = super::harness::terms();
    fewer.retry.max_retries = 0;
    harness.govern(Some(fewer)).await;
    harness.pass(6 * HOUR).await;
    assert_eq!((harness.sent().len(), harness.end()), (0, "human: policy-changed".to_owned()));
}

#[tokio::test]
async fn a_failure_that_was_first_seen_without_a_policy_is_not_aborted() {
    let mut setup = Setup::new(HOPELESS);
    let mut terms = setup.terms.take().unwrap();
    terms.retry.max_retries = 0;
    let mut harness = setup.start().await;
    assert_eq!(harness.reconcile().await, "no-policy");
    harness.govern(Some(terms)).await;
    harness.pass(6 * HOUR).await;
    assert_eq!((harness.sent().len(), harness.end()), (0, "human: policy-changed".to_owned()));
}

#[tokio::test]
async fn a_new_failure_cancels_a_pending_abort_and_begins_its_own_grace() {
    let text = HOPELESS
        .replace("[[cluster.task]]", "[[cluster.by_hand]]\ndo = \"retry\"\nat = \"14m\"\n[[cluster.task]]");
    let mut harness = Setup::new(&text).retries(0).start().await;
    harness.pass(14 * MINUTE + SECOND).await;
    assert_eq!(harness.sent().len(), 0);
    harness.pass(3 * HOUR).await;
    let sent = harness.sent();
    assert_eq!((sent.len(), harness.end()), (1, "aborted".to_owned()));
    // It fails again in the middle of the first step of a node of 15 minutes: after 4 min 30 s.
    let failed_again = 14 * MINUTE + 270 * SECOND;
    assert!(sent[0].at >= failed_again + 15 * MINUTE, "{:?}", sent[0].at);
    assert!(sent[0].at <= failed_again + 16 * MINUTE, "{:?}", sent[0].at);
}

/// The reconciles until the reading that finds the abort due.
async fn until_due(harness: &mut Harness) {
    for _ in 0..2 {
        assert_eq!(harness.reconcile().await, "abort-pending");
        harness.skip(15 * MINUTE / 2);
    }
}

#[tokio::test]
async fn what_comes_up_between_the_two_readings_before_an_abort_stops_it() {
    // Two polls are readings 1 to 4; the one at 15 min is 5 and 6, and 7 and 8 right before the PUT.
    for (what, code) in [
        ("[[cluster.task]]\nkind = \"az-switchover\"\nafter_reads = 6", "running"),
        ("[[cluster.by_hand]]\ndo = \"retry\"\nafter_reads = 6", "running"),
        ("[[cluster.by_hand]]\ndo = \"abort\"\nafter_reads = 6\nleaves = \"vanishes\"", "newest-missing"),
        ("[[cluster.by_hand]]\ndo = \"abort\"\nafter_reads = 6\nleaves = \"TERMINATED\"", "unknown-status"),
        ("[[cluster.by_hand]]\ndo = \"abort\"\nafter_reads = 6\nleaves = \"field\"", "changed-externally"),
    ] {
        let mut harness = exhausted(what).start().await;
        until_due(&mut harness).await;
        let report = harness.reconcile_at("a").await;
        assert!(!acted(&report), "{what}");
        assert_eq!(super::harness::code(&report), code, "{what}");
        assert_eq!(harness.sent().len(), 0, "{what}");
    }
    let mut harness = exhausted("").start().await;
    until_due(&mut harness).await;
    assert!(acted(&harness.reconcile_at("a").await), "with nothing in between it goes out");
}
