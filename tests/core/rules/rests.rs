//! The rows of the table that let something rest: a cluster, the project, the credential; and those that must first
//! find out whether something is gone.

use std::time::Duration;

use upgrade_remediator::model::event::Event;
use upgrade_remediator::simulator::log::Operation;

use super::harness::{FAILED, HOUR, Harness, MINUTE, SECOND, Setup, shortly_before};
use crate::edited::Edited;

/// Three clusters, each with a failed task that works when it is executed again.
fn three(faults: &str) -> Setup {
    let cluster = |name: &str| Edited::of(FAILED).set("cluster.name", name).text();
    Setup::new(&format!("{}{}{}{faults}", cluster("a"), cluster("b"), cluster("c")))
}

fn put_fault(cluster: &str, times: &str, what: &str) -> String {
    let cluster = if cluster.is_empty() { String::new() } else { format!("cluster = \"{cluster}\"\n") };
    format!("\n[[fault]]\non = \"put\"\n{cluster}times = {times}\n{what}\n")
}

async fn until_the_first_put(setup: Setup) -> Harness {
    let mut harness = setup.start().await;
    harness.pass(2 * MINUTE).await;
    harness
}

fn clusters(harness: &Harness) -> Vec<String> {
    harness.sent().into_iter().map(|sent| sent.cluster).collect()
}

const WRONG_ADDRESS: &[&str] = &[
    "what = \"gateway-not-found\"",
    "what = \"status\"\nstatus = 404",
    "what = \"status\"\nstatus = 404\nbody = \"<html>Not found</html>\"",
    "what = \"status\"\nstatus = 404\ncode = \"APIGW.0103\"",
    "what = \"status\"\nstatus = 405",
    "what = \"status\"\nstatus = 405\ncode = \"APIGW.0501\"",
    "what = \"status\"\nstatus = 301",
    "what = \"status\"\nstatus = 302\nbody = \"<html>Log in</html>\"",
    "what = \"status\"\nstatus = 304",
    "what = \"status\"\nstatus = 307",
    "what = \"status\"\nstatus = 400\nbody = \"<html>Bad request</html>\"",
    "what = \"status\"\nstatus = 422\nbody = \"no JSON at all\"",
];

const FORBIDDEN_PROJECT: &[&str] = &[
    "what = \"status\"\nstatus = 403\ncode = \"APIGW.0302\"",
    "what = \"status\"\nstatus = 403\ncode = \"APIGW.0306\"",
    "what = \"status\"\nstatus = 403\ncode = \"APIGW.0310\"",
    "what = \"status\"\nstatus = 403\ncode = \"APIGW.0802\"",
    "what = \"status\"\nstatus = 403\ncode = \"CSS.0010\"",
    "what = \"status\"\nstatus = 403\ncode = \"CSS.5045\"",
    "what = \"status\"\nstatus = 403\ncode = \"CSS.0021\"",
    "what = \"status\"\nstatus = 400\ncode = \"CSS.0021\"",
];

#[tokio::test]
async fn a_wrong_address_and_codes_for_the_whole_project_let_the_project_rest() {
    for (faults, meaning) in [(WRONG_ADDRESS, "wrong-address"), (FORBIDDEN_PROJECT, "forbidden-project")] {
        for fault in faults {
            let mut harness = until_the_first_put(three(&put_fault("", "1", fault))).await;
            assert_eq!(harness.meanings(), [meaning], "{fault}");
            assert_eq!(clusters(&harness), ["a"], "{fault}: one PUT, and nothing after its answer");
            for name in ["a", "b", "c"] {
                let report = harness.reconcile_at(name).await;
                assert_eq!(super::harness::code(&report), "project-paused", "{fault}");
            }
            harness.pass(shortly_before(30 * MINUTE)).await;
            assert_eq!(harness.sent().len(), 1, "{fault}");
            assert_eq!(harness.recorder.heard("project-paused"), 1, "{fault}: told once for the project");
            // The rest is over, the probe is read again and waits an initial_interval, and so do the others after
            // the probe was accepted.
            harness.pass(2 * MINUTE + 40 * SECOND).await;
            assert_eq!(harness.sent().len(), 2, "{fault}: one probe");
            let probe = harness.sent_at()[1];
            harness.pass(10 * MINUTE).await;
            let others: Vec<u64> = harness.sent_at()[2..].to_vec();
            assert_eq!(others.len(), 2, "{fault}");
            assert!(others.iter().all(|at| *at >= probe + 120), "{fault}: {probe} {others:?}");
            harness.pass(2 * HOUR).await;
            for name in ["a", "b", "c"] {
                let known = harness.known_of(name);
                assert_eq!(known.used_ever.ours, 1, "{fault}: a refusal uses no retry");
                assert_eq!(known.outcome().unwrap().word(), "resolved", "{fault}");
            }
            assert_eq!(harness.sent().len(), 4, "{fault}");
        }
    }
}

#[tokio::test]
async fn each_refused_probe_doubles_the_rest_up_to_six_hours() {
    for fault in ["what = \"gateway-not-found\"", "what = \"status\"\nstatus = 403\ncode = \"CSS.0010\""] {
        let mut setup = three(&put_fault("", "\"always\"", fault));
        setup.poll.active_interval = MINUTE;
        let mut harness = setup.start().await;
        harness.pass(27 * HOUR).await;
        let sent = harness.sent_at();
        let pauses: Vec<u64> = sent.windows(2).map(|pair| (pair[1] - pair[0]) / 60).collect();
        // Each with the reconcile that finds the rest over, and the initial_interval after it.
        let expected = [30, 60, 120, 240, 360, 360, 360];
        assert_eq!(pauses.len(), expected.len(), "{pauses:?}");
        for (pause, rest) in pauses.iter().zip(expected) {
            assert!((rest..=rest + 4).contains(pause), "{pauses:?}");
        }
        assert_eq!(harness.recorder.heard("project-paused"), sent.len(), "told for each refusal");
        assert_eq!(harness.recorder.heard("escalated"), 0, "it is the project's fault, not any task's");
    }
}

#[tokio::test]
async fn a_403_for_one_cluster_lets_that_cluster_rest_and_the_others_go_on() {
    for fault in [
        "what = \"status\"\nstatus = 403",
        "what = \"status\"\nstatus = 403\ncode = \"APIGW.0401\"",
        "what = \"status\"\nstatus = 403\nbody = \"<html>Forbidden</html>\"",
        "what = \"status\"\nstatus = 403\ncode = \"CSS.0036\"",
    ] {
        let mut harness = until_the_first_put(three(&put_fault("a", "1", fault))).await;
        assert_eq!(harness.meanings()[0], "forbidden-cluster", "{fault}");
        assert_eq!(clusters(&harness), ["a", "b", "c"], "{fault}");
        assert_eq!(harness.reconcile().await, "cluster-paused", "{fault}");
        harness.pass(shortly_before(30 * MINUTE)).await;
        assert_eq!(harness.sent().len(), 3, "{fault}");
        harness.pass(HOUR).await;
        let sent = harness.sent_at();
        assert_eq!(sent.len(), 4, "{fault}");
        assert!((120 + 1_800 + 120..=120 + 1_800 + 160).contains(&sent[3]), "{fault}: {sent:?}");
        assert_eq!((harness.end(), harness.used()), ("resolved".to_owned(), 1), "{fault}");
    }
}

#[tokio::test]
async fn a_second_cluster_that_is_refused_lets_the_project_rest() {
    let fault = "what = \"status\"\nstatus = 403";
    let faults = put_fault("a", "1", fault) + &put_fault("b", "1", fault);
    let mut harness = until_the_first_put(three(&faults)).await;
    assert_eq!(clusters(&harness), ["a", "b"]);
    assert_eq!(super::harness::code(&harness.reconcile_at("c").await), "project-paused");
    harness.pass(shortly_before(30 * MINUTE)).await;
    assert_eq!(harness.sent().len(), 2);
    harness.pass(3 * HOUR).await;
    assert_eq!(harness.sent().len(), 5);
    assert_eq!(harness.recorder.heard("project-paused"), 1, "one word for the project");
}

#[tokio::test]
async fn the_refusal_of_one_cluster_doubles_its_own_rest() {
    let fault = put_fault("a", "\"always\"", "what = \"status\"\nstatus = 403");
    let mut harness = until_the_first_put(three(&fault)).await;
    harness.pass(4 * HOUR).await;
    let sent = harness.sent();
    let of_a: Vec<u64> =
        sent.iter().filter(|sent| sent.cluster == "a").map(|sent| sent.at.as_secs()).collect();
    let pauses: Vec<u64> = of_a.windows(2).map(|pair| (pair[1] - pair[0]) / 60).collect();
    assert_eq!(pauses.len(), 3, "{pauses:?}");
    for (pause, rest) in pauses.iter().zip([30, 60, 120]) {
        assert!((rest..=rest + 4).contains(pause), "{pauses:?}");
    }
    assert_eq!(harness.used(), 0);
}

#[tokio::test]
async fn a_401_lets_the_credential_rest_and_nothing_at_all_is_sent_with_it() {
    for body in ["code = \"APIGW.0301\"", "body = \"<html>Log in</html>\"", ""] {
        let fault = put_fault("", "1", &format!("what = \"status\"\nstatus = 401\n{body}"));
        let mut harness = until_the_first_put(three(&fault)).await;
        assert_eq!(harness.meanings(), ["unauthorized"]);
        assert_eq!(clusters(&harness), ["a"]);
        harness.pass(shortly_before(5 * MINUTE)).await;
        let last = harness.requests().last().cloned().unwrap();
        assert_eq!((last.0, last.1.operation), (2 * MINUTE, Operation::Retry), "not even a reading");
        let problem = harness.reconcile_at("a").await.problem.unwrap();
        assert!(problem.contains("is paused until"), "{problem}");
        harness.pass(HOUR).await;
        let sent = harness.sent();
        assert_eq!(sent.len(), 4, "each goes out once more: {:?}", harness.sent_at());
        assert!(sent[1].at >= 7 * MINUTE, "{:?}", harness.sent_at());
        let of_a: Vec<_> = sent.iter().filter(|sent| sent.cluster == "a").collect();
        assert!(of_a[1].at >= 9 * MINUTE, "nothing overdue fires at once");
        let intents =
            harness.entries().into_iter().filter(|entry| matches!(entry.event, Event::Intent { .. }));
        assert_eq!(intents.count(), 4, "another PUT has an intent of its own");
        assert_eq!(harness.used(), 1, "the refusal used none");
    }
}

const GONE_OR_FORBIDDEN: &[&str] = &[
    "what = \"forbidden\"",
    "what = \"status\"\nstatus = 400\ncode = \"CSS.0047\"",
    "what = \"status\"\nstatus = 400\ncode = \"CSS.0082\"",
    "what = \"status\"\nstatus = 404\ncode = \"CSS.0007\"",
    "what = \"status\"\nstatus = 404\ncode = \"CSS.0015\"",
    "what = \"status\"\nstatus = 404\ncode = \"CSS.0036\"",
];

#[tokio::test]
async fn what_is_still_there_after_gone_or_forbidden_is_forbidden() {
    for fault in GONE_OR_FORBIDDEN {
        let mut harness = until_the_first_put(three(&put_fault("a", "1", fault))).await;
        assert_eq!(harness.meanings()[0], "gone-or-forbidden", "{fault}");
        assert_eq!(clusters(&harness), ["a", "b", "c"], "{fault}: it counts as a refusal only later");
        let codes = harness.pass(MINUTE).await;
        assert_eq!(codes.first(), Some(&"checking-if-gone"), "{fault}");
        assert_eq!(codes.last(), Some(&"cluster-paused"), "{fault}");
        harness.pass(29 * MINUTE).await;
        assert_eq!(harness.sent().len(), 3, "{fault}");
        harness.pass(2 * HOUR).await;
        assert_eq!(harness.sent().len(), 4, "{fault}");
        assert_eq!((harness.used(), harness.end()), (1, "resolved".to_owned()), "{fault}");
    }
}

#[tokio::test]
async fn two_clusters_that_are_still_there_let_the_project_rest() {
    let fault = "what = \"forbidden\"";
    let faults = put_fault("a", "1", fault) + &put_fault("b", "1", fault);
    let mut harness = until_the_first_put(three(&faults)).await;
    assert_eq!(clusters(&harness), ["a", "b", "c"]);
    assert_eq!(harness.recorder.heard("project-paused"), 0);
    harness.pass(MINUTE).await;
    assert_eq!(harness.recorder.heard("project-paused"), 1);
}

#[tokio::test]
async fn a_cluster_that_is_gone_closes_its_task() {
    for fault in GONE_OR_FORBIDDEN {
        let text = Edited::of(FAILED).set("cluster.deleted_at", "2m 5s").text();
        let text = format!("{text}{}", put_fault("", "1", fault));
        let mut harness = until_the_first_put(Setup::new(&text)).await;
        assert_eq!(harness.meanings(), ["gone-or-forbidden"], "{fault}");
        let report = {
            harness.skip(10 * SECOND);
            harness.reconcile_at("a").await
        };
        assert!(report.wants_discovery && report.decision.is_none(), "{fault}: {report:?}");
        assert_eq!(harness.end(), "open", "{fault}: missing from one answer is not gone");
        harness.pass(MINUTE).await;
        assert_eq!(harness.end(), "gone", "{fault}");
        harness.pass(2 * HOUR).await;
        assert_eq!(harness.sent().len(), 1, "{fault}");
        assert!(harness.reconciler.project_state().paused.is_empty(), "{fault}: no refusal");
    }
}

#[tokio::test]
async fn a_task_that_is_gone_in_two_looks_is_closed() {
    let by_hand = "[{ do = \"abort\", at = \"2m 5s\", leaves = \"vanishes\" }]";
    let text = Edited::of(FAILED).set_toml("cluster.by_hand", by_hand).text();
    let text =
        format!("{text}{}", put_fault("", "1", "what = \"status\"\nstatus = 404\ncode = \"CSS.0007\""));
    let mut harness = until_the_first_put(Setup::new(&text)).await;
    harness.skip(10 * SECOND);
    assert_eq!(harness.reconcile().await, "newest-missing");
    assert_eq!(harness.end(), "open", "missing from one answer is not gone");
    harness.skip(MINUTE);
    harness.reconcile().await;
    assert_eq!(harness.end(), "gone");
    harness.pass(2 * HOUR).await;
    assert_eq!(harness.sent().len(), 1);
}

/// How many PUTs left from the end of the first rest until this much later.
async fn probes_within(harness: &mut Harness, span: Duration) -> usize {
    harness.pass(30 * MINUTE).await;
    let before = harness.sent().len();
    harness.pass(span).await;
    harness.sent().len() - before
}

#[tokio::test]
async fn a_probe_of_unknown_outcome_is_the_only_one_until_it_is_settled() {
    let faults = put_fault("", "1", "what = \"status\"\nstatus = 403\ncode = \"CSS.0010\"")
        + &put_fault("", "1", "nth = 2\nwhat = \"server-error\"");
    let mut harness = until_the_first_put(three(&faults)).await;
    assert_eq!(probes_within(&mut harness, 7 * MINUTE).await, 1);
    harness.pass(3 * HOUR).await;
    assert_eq!(harness.sent().len(), 5, "the refused one, the one that was not taken, and one for each");

    let mut harness =
        until_the_first_put(three(&faults.replace("server-error\"", "server-error\"\ntaken = true"))).await;
    assert_eq!(probes_within(&mut harness, 2 * MINUTE + 40 * SECOND).await, 1);
    harness.pass(3 * HOUR).await;
    assert_eq!(harness.sent().len(), 4, "it was taken, as two readings say, and that ends the rest");
    assert_eq!(harness.recorder.heard("project-resumed"), 1);
}

#[tokio::test]
async fn a_probe_that_is_gone_or_forbidden_and_still_there_doubles_the_rest_of_the_project() {
    let faults = put_fault("", "1", "what = \"status\"\nstatus = 403\ncode = \"CSS.0010\"")
        + &put_fault("", "\"always\"", "what = \"forbidden\"");
    let mut harness = until_the_first_put(three(&faults)).await;
    assert_eq!(probes_within(&mut harness, 50 * MINUTE).await, 1);
    assert_eq!(harness.recorder.heard("project-paused"), 2);
}

#[tokio::test]
async fn a_crash_during_the_probe_does_not_stop_the_project_for_ever() {
    let faults = put_fault("", "1", "what = \"status\"\nstatus = 403\ncode = \"CSS.0010\"")
        + &put_fault("", "1", "nth = 2\nwhat = \"delay\"\ndelay = \"1h\"");
    let mut harness = until_the_first_put(three(&faults)).await;
    harness.pass(30 * MINUTE).await;
    // The process dies while it waits for the answer to the probe.
    harness.dies_in_a_put(5 * MINUTE).await;
    assert_eq!(harness.sent().len(), 2);
    let (journal, stored) = ((*harness.journal).clone(), harness.journal.stored());
    let mut harness = harness.restarted(journal, &stored).await;
    harness.pass(3 * HOUR).await;
    assert_eq!(harness.sent().len(), 4, "{:?}", harness.sent_at());
}

#[tokio::test]
async fn a_reload_lets_one_probe_out_at_once_and_the_others_wait_until_it_was_accepted() {
    let fault = "what = \"status\"\nstatus = 403\ncode = \"APIGW.0302\"";
    let mut harness = until_the_first_put(three(&put_fault("", "1", fault))).await;
    for name in ["a", "b", "c"] {
        harness.reconcile_at(name).await;
    }
    harness.pass(MINUTE).await;
    assert_eq!(harness.sent().len(), 1, "it rests");
    harness.govern(Some(super::harness::terms())).await;
    for name in ["b", "c", "a"] {
        harness.reconcile_at(name).await;
    }
    assert_eq!(clusters(&harness), ["a", "b"], "one probe, at once");
    let probe = harness.sent_at()[1];
    harness.pass(10 * MINUTE).await;
    let others = harness.sent_at()[2..].to_vec();
    assert_eq!(others.len(), 2);
    assert!(others.iter().all(|at| *at >= probe + 120), "{probe} {others:?}");
}

#[tokio::test]
async fn a_reload_ends_the_rest_of_a_single_cluster() {
    let fault = "what = \"status\"\nstatus = 403\ncode = \"CSS.0042\"";
    let mut harness = until_the_first_put(three(&put_fault("a", "1", fault))).await;
    assert_eq!(super::harness::code(&harness.reconcile_at("a").await), "cluster-paused");
    harness.govern(Some(super::harness::terms())).await;
    assert_eq!(super::harness::code(&harness.reconcile_at("a").await), "was-blocked");
    harness.pass(2 * MINUTE).await;
    assert_eq!(clusters(&harness).iter().filter(|name| *name == "a").count(), 2);
}
