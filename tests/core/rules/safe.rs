//! What may be acted on at all.

use super::harness::{FAILED, HOPELESS, HOUR, MINUTE, SECOND, Setup, acted, code, shortly_before};
use crate::edited::Edited;

const BOTH_KINDS: [&str; 2] = ["upgrade", "az-switchover"];

/// A cluster with an older failed task and a newer one.
fn older_and_newer(older: &str, newer: &str, status: &str) -> String {
    format!(
        "[[cluster]]\nname = \"a\"\n\
         [[cluster.task]]\nkind = \"{older}\"\nstart = \"-3h\"\nend = \"-2h\"\nstatus = \"FAILED\"\n\
         [[cluster.task]]\nkind = \"{newer}\"\nstart = \"-1h\"\nstatus = \"{status}\"\n"
    )
}

#[tokio::test]
async fn a_failed_task_is_retried_whichever_kind_it_is() {
    for kind in BOTH_KINDS {
        let mut harness = Setup::new(&Edited::of(FAILED).set("cluster.task.kind", kind).text()).start().await;
        harness.pass(3 * HOUR).await;
        assert_eq!((harness.sent_at(), harness.end()), (vec![120], "resolved".to_owned()), "{kind}");
    }
}

#[tokio::test]
async fn nothing_but_failed_is_ever_acted_on() {
    for status in ["SUCCESS", "failed", "Failed", "FAIL", "ABORTED", "TERMINATED", "CANCELLED", "FAILED_X"] {
        let text = Edited::of(FAILED).set("cluster.task.status", status).text();
        let mut harness = Setup::new(&text).start().await;
        harness.pass(5 * HOUR).await;
        assert_eq!(harness.sent().len(), 0, "{status}");
        let unknown = usize::from(status != "SUCCESS");
        assert_eq!(harness.recorder.heard("unclear"), unknown, "{status}: told once, after an hour");
    }
    let mut harness =
        Setup::new("[[cluster]]\nname = \"a\"\n[[cluster.task]]\nkind = \"upgrade\"").start().await;
    harness.pass(40 * MINUTE).await;
    assert_eq!((harness.reconcile().await, harness.sent().len()), ("running", 0));
}

#[tokio::test]
async fn an_unknown_status_is_told_after_an_hour_and_not_before() {
    let mut harness = Setup::new(&Edited::of(FAILED).set("cluster.task.status", "ODD").text()).start().await;
    harness.pass(59 * MINUTE).await;
    assert_eq!(harness.recorder.heard("unclear"), 0);
    harness.pass(2 * MINUTE).await;
    assert_eq!(harness.recorder.heard("unclear"), 1);
}

#[tokio::test]
async fn an_older_failed_task_below_a_newer_one_is_history() {
    for older in BOTH_KINDS {
        for newer in BOTH_KINDS {
            for (status, expected) in [("SUCCESS", "idle"), ("TERMINATED", "unknown-status")] {
                let mut harness = Setup::new(&older_and_newer(older, newer, status)).start().await;
                harness.pass(6 * HOUR).await;
                assert_eq!(harness.reconcile().await, expected, "{older} {newer} {status}");
                assert_eq!(harness.sent().len(), 0, "{older} {newer} {status}");
            }
            let mut harness = Setup::new(&older_and_newer(older, newer, "FAILED")).lazily().start().await;
            harness.pass(2 * HOUR).await;
            let newest = harness.sent()[0].request.task.clone().unwrap();
            let known = harness.reconciler.project_state().clusters.values().next().unwrap().clone();
            assert_eq!(
                known.newest_start.as_ref().unwrap().1.as_str(),
                newest,
                "{older} {newer}: the newest alone"
            );
            assert!(harness.sent().iter().all(|sent| sent.request.task.as_ref() == Some(&newest)));
        }
    }
}

#[tokio::test]
async fn nothing_is_acted_on_while_any_task_of_either_kind_runs() {
    for (failed, runs) in [("upgrade", "az-switchover"), ("az-switchover", "upgrade")] {
        // The running task is the older one, so only the rule itself holds the PUT back.
        let text = format!(
            "node_time = \"2h\"\n[[cluster]]\nname = \"a\"\n\
             [[cluster.task]]\nkind = \"{runs}\"\nstart = \"-1h\"\n\
             [[cluster.task]]\nkind = \"{failed}\"\nstart = \"-30m\"\nend = \"-5m\"\nstatus = \"FAILED\"\n"
        );
        let mut harness = Setup::new(&text).start().await;
        harness.pass(4 * HOUR).await;
        assert_eq!((harness.reconcile().await, harness.sent().len()), ("running", 0), "{failed}");
    }
}

#[tokio::test]
async fn where_one_kind_cannot_be_read_nothing_is_acted_on() {
    for what in [
        "what = \"server-error\"",
        "what = \"html\"",
        "what = \"nonsense\"",
        "what = \"truncated\"",
        "what = \"cut\"",
        "what = \"empty\"",
        "what = \"200-errCode\"",
        "what = \"202-CSS.0011\"",
        "what = \"throttled\"",
        "what = \"bad-request\"",
        "what = \"gateway-not-found\"",
        "what = \"status\"\nstatus = 200\nbody = \"{}\"",
        "what = \"status\"\nstatus = 200\nbody = '{\"detailList\": null}'",
        "what = \"status\"\nstatus = 200\nbody = '{\"detailList\": {}}'",
        "what = \"status\"\nstatus = 200\nbody = '[]'",
    ] {
        // From the first minute on the second of the two lists cannot be read.
        let text = format!("{FAILED}\n[[fault]]\non = \"tasks\"\nfrom = \"1m\"\ntimes = \"always\"\n{what}");
        let mut harness = Setup::new(&text).start().await;
        assert_eq!(harness.reconcile().await, "backoff");
        harness.pass(HOUR).await;
        assert_eq!(harness.sent().len(), 0, "{what}");
        assert_eq!(harness.end(), "open", "{what}: and nothing is closed");
        assert_eq!(code(&harness.reconcile_at("a").await), "error", "{what}");
        // Told once: of the cluster, or of the whole project where the answer means that.
        assert_eq!(
            harness.recorder.heard("cluster-unreachable") + harness.recorder.heard("unreachable"),
            1,
            "{what}"
        );
    }
}

#[tokio::test]
async fn where_only_the_second_list_cannot_be_read_nothing_is_acted_on() {
    // Every reading of the first kind is well; of the second kind each try fails.
    let well = 2;
    let text = format!(
        "{FAILED}\n[[fault]]\non = \"tasks\"\nnth = {}\ntimes = \"always\"\nwhat = \"bad-request\"",
        well + 2
    );
    let mut harness = Setup::new(&text).start().await;
    assert_eq!(harness.reconcile().await, "backoff");
    harness.skip(2 * MINUTE);
    assert_eq!(harness.reconcile().await, "error");
    assert_eq!(harness.sent().len(), 0);
}

#[tokio::test]
async fn a_list_that_is_shorter_than_it_says_lets_nothing_out() {
    for ways in ["total_size = \"one-more\"", "left_out = 1"] {
        let text = older_and_newer("upgrade", "upgrade", "FAILED");
        let text = format!("{text}[cluster.ways.tasks]\n{ways}\n");
        let mut harness = Setup::new(&text).start().await;
        let codes = harness.pass(5 * HOUR).await;
        assert!(codes.iter().all(|code| *code == "list-incomplete"), "{ways}: {codes:?}");
        assert_eq!(harness.sent().len(), 0, "{ways}");
        assert_eq!(harness.recorder.heard("list-incomplete"), 1, "{ways}: told once");
    }
}

#[tokio::test]
async fn lists_in_pages_and_in_any_order_are_read_whole() {
    for (order, page) in [("newest-first", 3), ("oldest-first", 3), ("shuffled", 1_000)] {
        let task = |start: u32, status: &str| {
            format!(
                "[[cluster.task]]\nkind = \"upgrade\"\nstart = \"-{start}h\"\nstatus = \"{status}\"\nend = \"-{start}h\"\n"
            )
        };
        let tasks: String = (2..12).map(|hours| task(hours, "FAILED")).collect();
        let newest = task(1, "SUCCESS");
        let text = format!(
            "[[cluster]]\nname = \"a\"\n{tasks}{newest}[ways]\norder = \"{order}\"\n[ways.tasks]\nmax_page = {page}\n"
        );
        let mut harness = Setup::new(&text).start().await;
        harness.pass(5 * HOUR).await;
        assert_eq!((harness.reconcile().await, harness.sent().len()), ("idle", 0), "{order}");
    }
}

#[tokio::test]
async fn two_tasks_with_the_same_start_let_nothing_out() {
    for (older, newer) in [("upgrade", "az-switchover"), ("upgrade", "upgrade")] {
        let text = older_and_newer(older, newer, "FAILED").replace("-3h", "-1h").replace("-2h", "-30m");
        let mut harness = Setup::new(&text).start().await;
        let codes = harness.pass(5 * HOUR).await;
        assert!(codes.iter().all(|code| *code == "order-unclear"), "{codes:?}");
        assert_eq!(harness.sent().len(), 0);
        assert_eq!(harness.recorder.heard("order-unclear"), 1, "told once");
    }
}

#[tokio::test]
async fn a_start_that_is_missing_or_unreadable_lets_nothing_out() {
    for start in [
        "",
        ", \"startTime\": null",
        ", \"startTime\": \"\"",
        ", \"startTime\": \"soon\"",
        ", \"startTime\": 7.5",
    ] {
        // The list of AZ switchovers (every second reading) shows a strange task beside the failed one.
        let body = format!(
            "{{\"totalSize\": 1, \"detailList\": [{{\"id\": \"x\", \"status\": \"SUCCESS\"{start}}}]}}"
        );
        let answer = format!("what = \"status\"\nstatus = 200\nbody = '{body}'\n");
        let fault = |n| format!("[[fault]]\non = \"tasks\"\nnth = {}\n{answer}", 2 * n);
        let faults: Vec<String> = (1..200).map(fault).collect();
        let text = format!("{FAILED}{}", faults.concat());
        let mut harness = Setup::new(&text).start().await;
        harness.pass(30 * MINUTE).await;
        assert_eq!((harness.reconcile().await, harness.sent().len()), ("order-unclear", 0), "{start}");
    }
}

#[tokio::test]
async fn a_newer_task_that_vanishes_from_an_answer_does_not_make_the_older_one_the_newest() {
    let text = older_and_newer("upgrade", "upgrade", "FAILED").replace(
        "[[cluster.task]]\nkind = \"upgrade\"\nstart = \"-3h\"",
        "[[cluster.by_hand]]\ndo = \"abort\"\nat = \"1m\"\nleaves = \"vanishes\"\n\
         [[cluster.task]]\nkind = \"upgrade\"\nstart = \"-3h\"",
    );
    let mut harness = Setup::new(&text).start().await;
    assert_eq!(harness.reconcile().await, "backoff");
    harness.pass(6 * HOUR).await;
    assert_eq!((harness.reconcile().await, harness.sent().len()), ("newest-missing", 0));
    assert_eq!(harness.recorder.heard("newest-missing"), 1, "told once");

    // Also after a restart.
    let (journal, stored) = ((*harness.journal).clone(), harness.journal.stored());
    let mut harness = harness.restarted(journal, &stored).await;
    harness.pass(HOUR).await;
    assert_eq!((harness.reconcile().await, harness.sent().len()), ("newest-missing", 0));
}

/// A failed task with these times.
fn failed(start: &str, end: &str) -> String {
    Edited::of(FAILED).set("cluster.task.start", start).set("cluster.task.end", end).text()
}

#[tokio::test]
async fn an_old_failure_is_told_once_and_left_alone() {
    let text = failed("-80h", "-73h");
    let mut harness = Setup::new(&text).start().await;
    let codes = harness.pass(100 * HOUR).await;
    assert!(codes.iter().all(|code| *code == "too-old"), "{codes:?}");
    assert_eq!(harness.sent().len(), 0);
    assert_eq!(harness.recorder.heard("decided"), 1);

    let text = failed("-80h", "-71h");
    let mut harness = Setup::new(&text).start().await;
    harness.pass(10 * MINUTE).await;
    assert_eq!(harness.sent().len(), 1, "younger than max_failure_age");
}

#[tokio::test]
async fn without_an_end_the_latest_step_tells_the_age() {
    for way in ["absent", "blank"] {
        for (start, end, sent) in [("-80h", "-73h", 0), ("-80h", "-71h", 1)] {
            let text = failed(start, end);
            let mut harness = Setup::new(&format!("{text}[ways]\nend_time = \"{way}\"")).start().await;
            harness.pass(HOUR).await;
            assert_eq!(harness.sent().len(), sent, "{way} {end}");
        }
    }
}

#[tokio::test]
async fn a_task_that_began_long_ago_and_fails_now_is_fresh() {
    let text = "[[cluster]]\nname = \"a\"\n[[cluster.task]]\nkind = \"upgrade\"\nstart = \"-100h\"\n\
                node_time = \"103h\"\nfail = [{ node = 1, step = 12 }]\n";
    let mut harness = Setup::new(text).start().await;
    harness.pass(3 * HOUR).await;
    assert_eq!(harness.sent().len(), 1);
}

#[tokio::test]
async fn the_reading_before_a_put_is_of_both_kinds_and_another_one() {
    let mut harness = Setup::new(FAILED).start().await;
    harness.reconcile().await;
    harness.skip(2 * MINUTE);
    let before = harness.requests().len();
    assert!(acted(&harness.reconcile_at("a").await));
    let requests = harness.requests().split_off(before);
    let words: Vec<_> =
        requests.iter().map(|(_, r)| r.action_mode.clone().unwrap_or_else(|| r.method.clone())).collect();
    assert_eq!(words, ["UPGRADING", "AZ_MIGRATION", "UPGRADING", "AZ_MIGRATION", "PUT"]);
}

#[tokio::test]
async fn what_comes_up_between_the_two_readings_before_a_retry_stops_it() {
    for (what, expected) in [
        ("[[cluster.task]]\nkind = \"az-switchover\"\nafter_reads = 4", "running"),
        ("[[cluster.task]]\nkind = \"upgrade\"\nafter_reads = 4", "running"),
        ("[[cluster.task]]\nkind = \"upgrade\"\nafter_reads = 4\nstatus = \"SUCCESS\"", "idle"),
        ("[[cluster.by_hand]]\ndo = \"retry\"\nafter_reads = 4", "running"),
        ("[[cluster.by_hand]]\ndo = \"abort\"\nafter_reads = 4\nleaves = \"vanishes\"", "newest-missing"),
        ("[[cluster.by_hand]]\ndo = \"abort\"\nafter_reads = 4\nleaves = \"ABORTED\"", "unknown-status"),
    ] {
        let mut harness = Setup::new(&format!("{FAILED}{what}")).start().await;
        assert_eq!(harness.reconcile().await, "backoff");
        harness.skip(2 * MINUTE + SECOND);
        let report = harness.reconcile_at("a").await;
        assert!(!acted(&report), "{what}");
        assert_eq!(code(&report), expected, "{what}");
        assert_eq!(harness.sent().len(), 0, "{what}");
    }
    let mut harness = Setup::new(HOPELESS).start().await;
    harness.reconcile().await;
    harness.skip(2 * MINUTE + SECOND);
    assert!(acted(&harness.reconcile_at("a").await), "with nothing in between it goes out");
}

#[tokio::test]
async fn a_partial_failure_may_be_retried() {
    let text = Edited::of(FAILED).set("cluster.task.status", "PARTIAL_FAILED").text();
    let mut harness = Setup::new(&text).start().await;
    harness.pass(3 * HOUR).await;
    assert_eq!((harness.sent_at(), harness.end()), (vec![120], "resolved".to_owned()));
}

#[tokio::test]
async fn a_trouble_that_one_cluster_alone_shows_is_told_once_and_not_at_every_look() {
    let fleet = Edited::of(FAILED).set("cluster.count", 3).text();
    for what in ["what = \"throttled\"", "what = \"status\"\nstatus = 404\nbody = \"<html></html>\""] {
        let text = format!(
            "{fleet}\n[[fault]]\non = \"tasks\"\ncluster = \"a-2\"\nuntil = \"1h\"\ntimes = \"always\"\n{what}"
        );
        let mut harness = Setup::new(&text).start().await;
        harness.pass(shortly_before(HOUR)).await;
        assert_eq!(
            (harness.recorder.heard("unreachable"), harness.recorder.heard("reachable")),
            (1, 0),
            "{what}"
        );
        harness.pass(HOUR).await;
        assert_eq!(
            (harness.recorder.heard("unreachable"), harness.recorder.heard("reachable")),
            (1, 1),
            "{what}"
        );
    }
}

#[tokio::test]
async fn a_reading_whose_halves_lie_far_apart_lets_nothing_out() {
    // The second list of the reading before the PUT comes only after it was asked for three times.
    let text = format!(
        "{FAILED}\n[[fault]]\non = \"tasks\"\nnth = 6\ntimes = 2\nwhat = \"throttled\"\nretry_after = \"20s\""
    );
    let mut harness = Setup::new(&text).start().await;
    assert_eq!(harness.reconcile().await, "backoff");
    harness.skip(2 * MINUTE);
    let report = harness.reconcile_at("a").await;
    assert_eq!(harness.sent().len(), 0, "the first of the two lists is 40 s old: {report:?}");
    assert_eq!((code(&report), report.next_poll), ("slow-poll", 15 * SECOND));
    assert!(acted(&harness.reconcile_at("a").await));
}

#[tokio::test]
async fn an_incomplete_list_beside_a_failed_task_is_told_after_an_hour() {
    for (scenario, told) in [(FAILED, 1), ("[[cluster]]\nname = \"a\"\n", 0)] {
        let text = format!("{scenario}[cluster.ways.tasks]\ntotal_size = \"one-more\"\n");
        let mut harness = Setup::new(&text).start().await;
        harness.pass(shortly_before(HOUR)).await;
        assert_eq!((harness.recorder.heard("unclear"), harness.sent().len()), (0, 0));
        harness.pass(3 * HOUR).await;
        assert_eq!((harness.recorder.heard("unclear"), harness.sent().len()), (told, 0));
    }
}
