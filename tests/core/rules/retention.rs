//! How long the journal keeps what is finished.

use std::time::Duration;

use super::harness::{HOPELESS, HOUR, Harness, Setup};
use crate::edited::Edited;

const DAY: Duration = Duration::from_hours(24);

/// A task that is aborted after a quarter of an hour, and what the service shows of it then.
async fn aborted(leaves: &str) -> Harness {
    let scenario = format!("{HOPELESS}\n[ways]\nafter_abort = \"{leaves}\"\n");
    let mut setup = Setup::new(&scenario).retries(0).lazily();
    setup.poll.idle_interval = HOUR;
    setup.poll.discovery_interval = HOUR;
    setup.retention = Some(10 * DAY);
    let mut harness = setup.start().await;
    harness.pass(HOUR).await;
    assert_eq!((harness.aborts(), harness.end()), (1, "aborted".to_owned()));
    harness
}

#[tokio::test]
async fn a_task_is_forgotten_some_time_after_its_end_once_the_service_lists_it_no_more() {
    let mut harness = aborted("vanishes").await;
    let before = harness.entries();
    harness.pass(9 * DAY).await;
    assert_eq!(harness.entries(), before, "nothing is written, and nothing is forgotten");
    harness.pass(2 * DAY).await;
    assert_eq!(harness.entries(), []);
    assert!(harness.reconciler.project_state().clusters.values().all(|cluster| cluster.tasks.is_empty()));
    harness.pass(2 * DAY).await;
    assert_eq!(harness.sent().len(), 1);
}

#[tokio::test]
async fn the_last_word_on_a_task_that_the_service_still_lists_is_never_removed() {
    let mut harness = aborted("nothing").await;
    let before = harness.entries();
    harness.pass(40 * DAY).await;
    assert_eq!(harness.entries(), before);
    assert_eq!((harness.sent().len(), harness.reconcile().await), (1, "aborted-by-us"));
}

#[tokio::test]
async fn what_ended_on_a_cluster_that_went_is_forgotten_too() {
    let scenario = Edited::of(HOPELESS).set("cluster.deleted_at", "5h").text();
    let mut setup = Setup::new(&scenario).retries(0).lazily();
    setup.poll.discovery_interval = HOUR;
    setup.retention = Some(10 * DAY);
    let mut harness = setup.start().await;
    harness.pass(5 * DAY).await;
    assert!(harness.clusters.is_empty() && !harness.entries().is_empty());
    harness.pass(6 * DAY).await;
    assert_eq!(harness.entries(), []);
}
