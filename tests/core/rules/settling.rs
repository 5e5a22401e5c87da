//! Which PUT took effect, told by readings alone, where the API's fields behave in one of the ways that its
//! documentation leaves open.

use upgrade_remediator::simulator::log::PutKind;

use super::harness::{FAILED, HOPELESS, HOUR, MINUTE, SECOND, Setup};
use crate::edited::Edited;

/// Both fields in every way in which at least one of them tells of a new failure.
const TELLING: &[&str] = &[
    "",
    "execute_times = \"constant\"",
    "execute_times = \"grows-by-2\"",
    "execute_times = \"absent\"",
    "end_time = \"absent\"",
    "end_time = \"blank\"",
    "execute_times = \"grows-by-2\"\nend_time = \"absent\"",
];

#[tokio::test]
async fn retries_are_counted_rightly_whatever_the_fields_show() {
    for ways in TELLING {
        for fault in ["", "what = \"server-error\"\ntaken = true", "what = \"cut\"\ntaken = true"] {
            let fault = if fault.is_empty() {
                String::new()
            } else {
                format!("[[fault]]\non = \"retry\"\ntimes = \"always\"\n{fault}")
            };
            let setup = Setup::new(&format!("{HOPELESS}\n[ways]\n{ways}\n{fault}")).retries(3);
            let mut harness = setup.terms(|terms| terms.retry.count_external = false).start().await;
            harness.pass(8 * HOUR).await;
            let kinds: Vec<_> = harness.sent().iter().map(|sent| sent.kind).collect();
            let expected = [PutKind::Retry, PutKind::Retry, PutKind::Retry, PutKind::Abort];
            assert_eq!(kinds, expected, "{ways} {fault}");
            assert_eq!(harness.end(), "aborted", "{ways} {fault}");
        }
    }
}

#[tokio::test]
async fn growth_by_two_is_one_new_failure_and_beyond_our_own_retry_one_of_others() {
    let text = format!("{HOPELESS}\n[ways]\nexecute_times = \"grows-by-2\"");
    let mut harness = Setup::new(&text).retries(3).start().await;
    harness.pass(6 * HOUR).await;
    let kinds: Vec<_> = harness.sent().iter().map(|sent| sent.kind).collect();
    assert_eq!(kinds, [PutKind::Retry, PutKind::Retry, PutKind::Abort]);
    let known = harness.known();
    assert_eq!((known.used_ever.ours, known.used_ever.external), (2, 2));
    assert_eq!(known.failure.unwrap().seen.number, 3);
}

#[tokio::test]
async fn a_task_that_fails_again_before_it_is_read_is_one_new_failure() {
    for ways in TELLING {
        // A node takes 10 s: between two polls it has failed again.
        let text = format!("node_time = \"10s\"\n{HOPELESS}\n[ways]\n{ways}");
        let setup = Setup::new(&text).retries(2);
        let mut harness = setup.terms(|terms| terms.retry.count_external = false).start().await;
        harness.pass(8 * HOUR).await;
        let sent = harness.sent();
        assert_eq!((sent.len(), harness.aborts(), harness.end()), (3, 1, "aborted".to_owned()), "{ways}");
    }
}

#[tokio::test]
async fn where_no_field_can_tell_an_unknown_outcome_is_a_humans() {
    let text = format!(
        "{FAILED}\n[ways]\nexecute_times = \"absent\"\nend_time = \"absent\"\n\
         [[fault]]\non = \"put\"\nwhat = \"server-error\""
    );
    let mut harness = Setup::new(&text).start().await;
    harness.pass(8 * HOUR).await;
    assert_eq!((harness.sent().len(), harness.end()), (1, "human: cannot-confirm".to_owned()));
}

#[tokio::test]
async fn two_readings_settle_and_they_are_a_settle_interval_apart() {
    let text = format!("{FAILED}\n[[fault]]\non = \"put\"\nwhat = \"cut\"\ntaken = true");
    let mut harness = Setup::new(&text).start().await;
    harness.pass(2 * MINUTE).await;
    harness.skip(SECOND);
    assert_eq!(harness.reconcile().await, "running");
    assert!(harness.known().open.is_some(), "one reading is not enough");
    harness.skip(14 * SECOND);
    harness.reconcile().await;
    assert!(harness.known().open.is_some(), "the second comes too soon");
    harness.skip(SECOND);
    harness.reconcile().await;
    assert!(harness.known().open.is_none());
    assert_eq!(harness.known().used_ever.ours, 1);
}

#[tokio::test]
async fn progress_gives_the_retries_back() {
    // Each execution completes one node more and fails at the next one.
    let text = Edited::of(HOPELESS).set_toml(
        "cluster.task.fail",
        "[{ node = 1 }, { node = 2, execution = 2 }, { node = 3, execution = 3, times = \"always\" }]",
    );
    let text = text.text();
    let mut harness = Setup::new(&text).retries(1).start().await;
    harness.pass(8 * HOUR).await;
    assert_eq!(harness.sent().len(), 3, "one for each node");
    assert_eq!(harness.end(), "human: node-completed");

    let setup = Setup::new(&text).retries(1).terms(|terms| terms.retry.reset_on_progress = false);
    let mut harness = setup.start().await;
    harness.pass(8 * HOUR).await;
    assert_eq!(harness.sent().len(), 1, "unless the policy says otherwise");
}

#[tokio::test]
async fn waits_grow_between_retries_up_to_the_longest_and_begin_anew_with_progress() {
    let mut harness = Setup::new(&format!("node_time = \"10s\"\n{HOPELESS}")).retries(7).start().await;
    harness.pass(8 * HOUR).await;
    let sent = harness.sent();
    let retries: Vec<u64> =
        sent.iter().filter(|sent| sent.kind == PutKind::Retry).map(|sent| sent.at.as_secs()).collect();
    let waits: Vec<u64> = retries.windows(2).map(|pair| (pair[1] - pair[0]) / 60).collect();
    assert_eq!(retries[0], 120);
    // Each with the seconds until the new failure is seen.
    assert_eq!(waits, [4, 8, 16, 32, 60, 60]);
}
