//! When a task is terminated, and when an operator is called instead.

use upgrade_remediator::model::policy::OnExhausted;
use upgrade_remediator::simulator::log::PutKind;

use super::stage::{HOPELESS, HOUR, MINUTE, SECOND, Script, Stage, acted, shortly_before};

/// A hopeless task whose retries are used up at first sight.
fn exhausted(more: &str) -> Script {
    Script::new(&format!("{HOPELESS}\n{more}")).retries(0)
}

#[tokio::test]
async fn an_accepted_abort_closes_the_task_for_good() {
    for leaves in ["nothing", "field", "vanishes", "TERMINATED", "ABORTED"] {
        let mut stage = exhausted(&format!("[ways]\nafter_abort = \"{leaves}\"")).start().await;
        assert_eq!(stage.reconcile().await, "abort-pending", "{leaves}");
        stage.pass(shortly_before(15 * MINUTE)).await;
        assert_eq!(stage.sent().len(), 0, "{leaves}: not before its grace is over");
        stage.pass(2 * SECOND).await;
        let sent = stage.sent();
        assert_eq!((sent.len(), sent[0].kind), (1, PutKind::Abort), "{leaves}");
        assert_eq!(sent[0].request.query, [("retry_mode".to_owned(), "abort".to_owned())], "{leaves}");
        assert!(sent[0].taken, "{leaves}");
        assert_eq!(stage.end(), "aborted", "{leaves}");
        stage.pass(6 * HOUR).await;
        assert_eq!((stage.sent().len(), stage.end()), (1, "aborted".to_owned()), "{leaves}");
        assert_eq!(stage.ear.heard("escalated"), 0, "{leaves}");
        assert_eq!(stage.ear.heard("unknown-status"), 0, "{leaves}: what it shows is no riddle");
        let expected = if leaves == "vanishes" { "newest-missing" } else { "aborted-by-us" };
        assert_eq!(stage.reconcile().await, expected, "{leaves}");
    }
}

#[tokio::test]
async fn nothing_reopens_an_aborted_task_not_even_a_retry_by_hand() {
    let text = HOPELESS
        .replace("[[cluster.task]]", "[[cluster.by_hand]]\ndo = \"retry\"\nat = \"1h\"\n[[cluster.task]]");
    let mut stage = Script::new(&text).retries(0).start().await;
    stage.pass(6 * HOUR).await;
    assert_eq!((stage.sent().len(), stage.end()), (1, "aborted".to_owned()));
    assert_eq!(stage.reconcile().await, "aborted-by-us");
}

#[tokio::test]
async fn all_retries_come_before_the_abort() {
    let mut stage = Script::new(HOPELESS).retries(2).start().await;
    stage.pass(3 * HOUR).await;
    let kinds: Vec<_> = stage.sent().iter().map(|sent| sent.kind).collect();
    assert_eq!(kinds, [PutKind::Retry, PutKind::Retry, PutKind::Abort]);
    assert_eq!((stage.used(), stage.end()), (2, "aborted".to_owned()));
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
        let mut stage = exhausted(&format!("[[fault]]\non = \"abort\"\n{fault}")).start().await;
        stage.pass(15 * MINUTE + SECOND).await;
        assert_eq!(stage.meanings(), ["unknown"], "{fault}");
        stage.pass(30 * SECOND).await;
        assert_eq!(stage.end(), "human: abort-unknown", "{fault}");
        stage.pass(6 * HOUR).await;
        assert_eq!(stage.sent().len(), 1, "{fault}");
        assert_eq!(stage.ear.heard("escalated"), 1, "{fault}: told once");
    }
}

#[tokio::test]
async fn an_abort_that_is_refused_goes_by_the_same_table() {
    for (fault, sent_at, end) in [
        ("what = \"202-CSS.0011\"", vec![900, 1_020], "aborted"),
        ("what = \"throttled\"\nretry_after = \"10m\"", vec![900, 1_500], "aborted"),
        ("what = \"status\"\nstatus = 400\ncode = \"CSS.0001\"", vec![900], "human: not-acceptable"),
    ] {
        let mut stage = exhausted(&format!("[[fault]]\non = \"abort\"\n{fault}")).start().await;
        stage.pass(3 * HOUR).await;
        assert_eq!((stage.sent_at(), stage.end()), (sent_at, end.to_owned()), "{fault}");
        assert_eq!(stage.aborts(), stage.sent().len(), "{fault}");
    }
    for fault in [
        "what = \"status\"\nstatus = 403",
        "what = \"status\"\nstatus = 403\ncode = \"CSS.0010\"",
        "what = \"forbidden\"",
        "what = \"gateway-not-found\"",
    ] {
        let mut stage = exhausted(&format!("[[fault]]\non = \"abort\"\n{fault}")).start().await;
        stage.pass(15 * MINUTE + 30 * MINUTE).await;
        assert_eq!(stage.aborts(), 1, "{fault}: it rests");
        stage.pass(10 * MINUTE).await;
        assert_eq!((stage.aborts(), stage.end()), (2, "aborted".to_owned()), "{fault}");
    }
}

#[tokio::test]
async fn a_task_with_a_completed_node_is_a_humans() {
    let text = HOPELESS.replace("node = 1", "node = 2").replace("status = ", "completed = 1\nstatus = ");
    let mut stage = Script::new(&text).retries(1).start().await;
    stage.pass(6 * HOUR).await;
    assert_eq!((stage.sent().len(), stage.aborts()), (1, 0));
    assert_eq!(stage.end(), "human: node-completed");
}

#[tokio::test]
async fn only_an_exactly_empty_completed_nodes_means_none() {
    for way in ["absent", "null", "blank"] {
        let mut stage =
            Script::new(&format!("{HOPELESS}\n[ways]\ncompleted_nodes = \"{way}\"")).retries(1).start().await;
        stage.pass(6 * HOUR).await;
        assert_eq!(stage.sent().len(), 1, "{way}: retried as the policy says");
        assert_eq!((stage.aborts(), stage.end()), (0, "human: node-completed".to_owned()), "{way}");
    }
}

#[tokio::test]
async fn several_nodes_at_once_are_a_humans() {
    let text = HOPELESS.replace("status = ", "batch_size = 2\nstatus = ");
    let mut stage = Script::new(&text).retries(1).start().await;
    stage.pass(6 * HOUR).await;
    assert_eq!((stage.sent().len(), stage.aborts()), (1, 0));
    assert_eq!(stage.end(), "human: node-completed");
}

#[tokio::test]
async fn a_partial_failure_is_never_aborted() {
    let text = HOPELESS
        .replace("FAILED", "PARTIAL_FAILED")
        .replace("node = 1,", "node = 1, status = \"PARTIAL_FAILED\",");
    for (retries, allowed, sent) in [(0, true, 0), (2, true, 2), (2, false, 0)] {
        let script = Script::new(&text).retries(retries);
        let mut stage = script.terms(|terms| terms.retry.retry_partial_failed = allowed).start().await;
        stage.pass(6 * HOUR).await;
        assert_eq!((stage.sent().len(), stage.aborts()), (sent, 0));
        assert_eq!(stage.end(), "human: partial-failed");
    }
}

#[tokio::test]
async fn the_policy_may_say_to_escalate_instead() {
    let script = Script::new(HOPELESS).retries(1).terms(|terms| terms.on_exhausted = OnExhausted::Escalate);
    let mut stage = script.start().await;
    stage.pass(6 * HOUR).await;
    assert_eq!((stage.sent().len(), stage.aborts()), (1, 0));
    assert_eq!(stage.end(), "human: retries-exhausted");
}

#[tokio::test]
async fn a_failure_that_was_first_seen_under_other_terms_is_not_aborted() {
    let mut stage = Script::new(HOPELESS).retries(5).start().await;
    stage.reconcile().await;
    let mut fewer = super::stage::terms();
    fewer.retry.max_retries = 0;
    stage.govern(Some(fewer)).await;
    stage.pass(6 * HOUR).await;
    assert_eq!((stage.sent().len(), stage.end()), (0, "human: policy-changed".to_owned()));
}

#[tokio::test]
async fn a_failure_that_was_first_seen_without_a_policy_is_not_aborted() {
    let mut script = Script::new(HOPELESS);
    let mut terms = script.terms.take().unwrap();
    terms.retry.max_retries = 0;
    let mut stage = script.start().await;
    assert_eq!(stage.reconcile().await, "no-policy");
    stage.govern(Some(terms)).await;
    stage.pass(6 * HOUR).await;
    assert_eq!((stage.sent().len(), stage.end()), (0, "human: policy-changed".to_owned()));
}

#[tokio::test]
async fn a_new_failure_cancels_a_pending_abort_and_begins_its_own_grace() {
    let text = HOPELESS
        .replace("[[cluster.task]]", "[[cluster.by_hand]]\ndo = \"retry\"\nat = \"14m\"\n[[cluster.task]]");
    let mut stage = Script::new(&text).retries(0).start().await;
    stage.pass(14 * MINUTE + SECOND).await;
    assert_eq!(stage.sent().len(), 0);
    stage.pass(3 * HOUR).await;
    let sent = stage.sent();
    assert_eq!((sent.len(), stage.end()), (1, "aborted".to_owned()));
    // It fails again in the middle of the first step of a node of 15 minutes: after 4 min 30 s.
    let failed_again = 14 * MINUTE + 270 * SECOND;
    assert!(sent[0].at >= failed_again + 15 * MINUTE, "{:?}", sent[0].at);
    assert!(sent[0].at <= failed_again + 16 * MINUTE, "{:?}", sent[0].at);
}

/// The reconciles until the reading that finds the abort due.
async fn until_due(stage: &mut Stage) {
    for _ in 0..2 {
        assert_eq!(stage.reconcile().await, "abort-pending");
        stage.skip(15 * MINUTE / 2);
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
        let mut stage = exhausted(what).start().await;
        until_due(&mut stage).await;
        let report = stage.reconcile_at("a").await;
        assert!(!acted(&report), "{what}");
        assert_eq!(super::stage::code(&report), code, "{what}");
        assert_eq!(stage.sent().len(), 0, "{what}");
    }
    let mut stage = exhausted("").start().await;
    until_due(&mut stage).await;
    assert!(acted(&stage.reconcile_at("a").await), "with nothing in between it goes out");
}
